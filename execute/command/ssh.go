package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// SSH says on which host commands run, and by what that host is known.
type SSH struct {
	Host        string        `yaml:"host"`        // name or address; required
	Port        int           `yaml:"port"`        // default 22
	User        string        `yaml:"user"`        // required
	Key         string        `yaml:"key"`         // private key, by secret reference; required
	Passphrase  string        `yaml:"passphrase"`  // of the key, by secret reference
	HostKey     string        `yaml:"host_key"`    // the host's public key, as a line of known_hosts or of the host's own .pub file; this or fingerprint
	Fingerprint string        `yaml:"fingerprint"` // of the host's key, as ssh-keygen -l shows it: SHA256:...
	Timeout     time.Duration `yaml:"timeout"`     // of connecting, and of reaching the host again when a connection is lost; default 30s
	KeepAlive   time.Duration `yaml:"keep_alive"`  // a connection that does not answer for this long is given up; default 15s
	Dir         string        `yaml:"dir"`         // where runs are kept on the host; relative to the user's home or absolute; default .fettle/runs

	pinned ssh.PublicKey // nil with a fingerprint
}

// validate fills in the defaults and returns every fault.
func (s *SSH) validate() error {
	if s.Port == 0 {
		s.Port = 22
	}
	if s.Timeout == 0 {
		s.Timeout = 30 * time.Second
	}
	if s.KeepAlive == 0 {
		s.KeepAlive = 15 * time.Second
	}
	if s.Dir == "" {
		s.Dir = ".fettle/runs"
	}
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf("ssh."+format, args...)) }
	if s.Host == "" || strings.ContainsAny(s.Host, " /@") {
		bad("host %q is not a host name or address", s.Host)
	}
	if s.Port < 1 || s.Port > 65535 {
		bad("port %d is not between 1 and 65535", s.Port)
	}
	if s.User == "" {
		bad("user is empty; name who commands run as on %s", s.Host)
	}
	if s.Key == "" {
		bad("key is empty; write where the private key lies, like file:/etc/fettle/id_ed25519")
	}
	if s.Timeout < 0 || s.KeepAlive < 0 {
		bad("timeout and keep_alive must not be negative")
	}
	switch {
	case (s.HostKey == "") == (s.Fingerprint == ""):
		bad("host_key or fingerprint: write one of them, as `ssh-keyscan %s` and `ssh-keygen -lf` tell on a way you trust", s.Host)
	case s.HostKey != "":
		var err error
		if s.pinned, err = parseHostKey(s.HostKey); err != nil {
			bad("host_key %q: %w", s.HostKey, err)
		}
	case !strings.HasPrefix(s.Fingerprint, "SHA256:") || len(s.Fingerprint) != len("SHA256:")+43:
		bad("fingerprint %q is not of the form SHA256: and 43 characters", s.Fingerprint)
	}
	return errors.Join(faults...)
}

// parseHostKey reads a public key, with or without the host names of a line of
// known_hosts.
func parseHostKey(s string) (ssh.PublicKey, error) {
	if key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(s)); err == nil && len(bytes.TrimSpace(rest)) == 0 {
		return key, nil
	}
	marker, _, key, _, _, err := ssh.ParseKnownHosts([]byte(s))
	switch {
	case err != nil:
		return nil, errors.New("is neither a public key nor a line of known_hosts")
	case marker != "":
		return nil, fmt.Errorf("@%s is not supported; pin the host's own key", marker)
	}
	return key, nil
}

func (s *SSH) target() string {
	return "ssh:" + s.User + "@" + net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// keyTypes are the host keys asked for, the best first.
var keyTypes = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// errHostKey reports a host that is not the one that was pinned.
var errHostKey = errors.New("the host is not the one that was pinned")

// host is one connection to the host, made when it is needed.
type host struct {
	cfg *SSH
	env execute.Env

	mu     sync.Mutex
	client *ssh.Client
}

// connect returns the present connection or makes one.
func (h *host) connect(ctx context.Context) (*ssh.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil {
		return h.client, nil
	}
	signer, err := h.signer(ctx)
	if err != nil {
		return nil, err
	}
	// A pinned key says its type. Of a fingerprint it is not known, and a host
	// shows only one key at a time.
	asked := [][]string{algorithms(h.cfg.pinned)}
	if h.cfg.pinned == nil {
		asked = nil
		for _, kind := range keyTypes {
			asked = append(asked, []string{kind})
		}
	}
	var last error
	for _, kinds := range asked {
		h.client, err = h.dial(ctx, signer, kinds)
		if err == nil {
			return h.client, nil
		}
		if last == nil || errors.Is(err, errHostKey) {
			last = err
		}
		if ctx.Err() != nil || !(errors.Is(err, errHostKey) || strings.Contains(err.Error(), "no common algorithm")) {
			break
		}
	}
	return nil, last
}

func algorithms(key ssh.PublicKey) []string {
	switch {
	case key == nil:
		return nil
	case key.Type() == ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Type()}
}

func (h *host) signer(ctx context.Context) (ssh.Signer, error) {
	read := func(option, ref string) (string, error) {
		if h.env.Secret == nil {
			return "", fmt.Errorf("command: ssh.%s: no secrets can be read here: %w", option, ops.ErrInternal)
		}
		v, err := h.env.Secret(ctx, ref)
		if err != nil {
			return "", fmt.Errorf("command: ssh.%s: %w: %w", option, err, ops.ErrUnavailable)
		}
		return v, nil
	}
	text, err := read("key", h.cfg.Key)
	if err != nil {
		return nil, err
	}
	var signer ssh.Signer
	if h.cfg.Passphrase == "" {
		signer, err = ssh.ParsePrivateKey([]byte(text))
	} else {
		var pass string
		if pass, err = read("passphrase", h.cfg.Passphrase); err != nil {
			return nil, err
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(text), []byte(pass))
	}
	if err != nil {
		return nil, fmt.Errorf("command: ssh.key %s holds no private key that can be used (is a passphrase missing or wrong?): %w", h.cfg.Key, ops.ErrInvalid)
	}
	return signer, nil
}

// dial connects, checks who is there, and logs in.
func (h *host) dial(ctx context.Context, signer ssh.Signer, kinds []string) (*ssh.Client, error) {
	address := net.JoinHostPort(h.cfg.Host, strconv.Itoa(h.cfg.Port))
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	var d net.Dialer
	failpoint.Hit("execute.command.dial.before")
	conn, err := d.DialContext(ctx, "tcp", address)
	failpoint.Hit("execute.command.dial.after")
	if err != nil {
		return nil, fmt.Errorf("command: %w: %w", err, ops.ErrUnavailable)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var wrong error
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: h.cfg.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyAlgorithms: kinds,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			wrong = h.cfg.verify(key)
			return wrong
		},
	})
	if err != nil {
		_ = conn.Close()
		switch {
		case wrong != nil:
			return nil, fmt.Errorf("command: %s: %w: %w", address, wrong, ops.ErrDenied)
		case strings.Contains(err.Error(), "unable to authenticate"):
			return nil, fmt.Errorf("command: %s does not let %s in with the key %s; put its public part into ~%s/.ssh/authorized_keys there: %w", address, h.cfg.User, h.cfg.Key, h.cfg.User, ops.ErrDenied)
		}
		return nil, fmt.Errorf("command: %s: %w: %w", address, err, ops.ErrUnavailable)
	}
	client := ssh.NewClient(c, channels, requests)
	go h.keepAlive(client)
	return client, nil
}

// verify holds the key the host shows against the pinned one.
func (s *SSH) verify(key ssh.PublicKey) error {
	shown := ssh.FingerprintSHA256(key)
	want := s.Fingerprint
	if s.pinned != nil {
		want = ssh.FingerprintSHA256(s.pinned)
		if bytes.Equal(key.Marshal(), s.pinned.Marshal()) {
			return nil
		}
	} else if shown == s.Fingerprint {
		return nil
	}
	return fmt.Errorf("%w: it shows the %s key %s, pinned is %s; if the host was set up anew, look its key up on a way you trust "+
		"(ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub on it) and write it into ssh.host_key; else somebody stands in between", errHostKey, key.Type(), shown, want)
}

// keepAlive closes a connection that is open and dead.
func (h *host) keepAlive(c *ssh.Client) {
	tick := time.NewTicker(h.cfg.KeepAlive)
	defer tick.Stop()
	ended := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		answered := make(chan error, 1)
		go func() {
			_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
			answered <- err
		}()
		select {
		case <-ended:
			return
		case err := <-answered:
			if err != nil {
				_ = c.Close()
				return
			}
		case <-tick.C:
			_ = c.Close()
			return
		}
	}
}

// drop forgets a connection that failed, unless it was replaced since.
func (h *host) drop(c *ssh.Client) {
	_ = c.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client == c {
		h.client = nil
	}
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil {
		_ = h.client.Close()
		h.client = nil
	}
}

// errLost reports a script of which nobody knows how far it came.
var errLost = errors.New("the connection was lost")

// maxReply bounds what a script answers.
const maxReply = 1 << 20

// script runs a POSIX shell script to its end and returns what it printed. The
// script goes over standard input, so that the login shell on the host, which
// may be any, has nothing to interpret. An error that is errLost leaves open
// whether the script ran.
func (h *host) script(ctx context.Context, text string) (string, int, error) {
	client, err := h.connect(ctx)
	if err != nil {
		return "", -1, err
	}
	lost := func(err error) (string, int, error) {
		h.drop(client)
		return "", -1, fmt.Errorf("command: %s: %w (%w): %w", h.cfg.Host, errLost, err, ops.ErrUnavailable)
	}
	session, err := client.NewSession()
	if err != nil {
		return lost(err)
	}
	defer func() { _ = session.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	var out, said limited
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(text), &out, &said
	failpoint.Hit("execute.command.script.before")
	err = session.Run("exec /bin/sh -s")
	failpoint.Hit("execute.command.script.after")
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return out.String(), 0, nil
	case errors.As(err, &exit) && exit.Signal() == "":
		return out.String() + said.String(), exit.ExitStatus(), nil
	case ctx.Err() != nil:
		return "", -1, fmt.Errorf("command: %s: %w: %w", h.cfg.Host, errLost, context.Cause(ctx))
	}
	return lost(err)
}

type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxReply - l.Len(); room > 0 {
		_, _ = l.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func words(argv []string) string {
	out := make([]string, 0, len(argv))
	for _, a := range argv {
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}

// identify returns the file behind path on the host, and its SHA-256, with the
// rules of identify for local files.
func (h *host) identify(ctx context.Context, path string) (file, digest string, err error) {
	out, code, err := h.script(ctx, `LC_ALL=C; export LC_ALL
f=$(readlink -f -- `+quote(path)+`) && [ -f "$f" ] && [ -x "$f" ] || { echo "is not an executable file"; exit 3; }
m=$(stat -c %a -- "$f") && s=$(sha256sum < "$f") || { echo "cannot be read; the host needs readlink, stat and sha256sum"; exit 4; }
printf '%s\n%s\n%s\n' "$m" "$s" "$f"
`)
	switch {
	case err != nil:
		return "", "", err
	case code != 0:
		return "", "", fmt.Errorf("command: %s on %s %s: %w", path, h.cfg.Host, brief(out), ops.ErrInvalid)
	}
	lines := strings.SplitN(strings.TrimSuffix(out, "\n"), "\n", 3)
	if len(lines) != 3 || len(lines[1]) < 64 {
		return "", "", fmt.Errorf("command: %s on %s: the host's answer is not to be understood: %w", path, h.cfg.Host, ops.ErrUnavailable)
	}
	mode, err := strconv.ParseUint(lines[0], 8, 32)
	if err != nil || mode&0o022 != 0 {
		return "", "", fmt.Errorf("command: %s on %s may be written by its group or by everybody (mode %s); chmod go-w it: %w", lines[2], h.cfg.Host, lines[0], ops.ErrDenied)
	}
	return lines[2], "sha256:" + lines[1][:64], nil
}

func brief(s string) string {
	return execute.Shorten(strings.Join(strings.Fields(s), " "), 300)
}

// runName names a run's directory on the host.
func runName(token execute.Token) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:16])
}

// pipe copies what is new of a run's output.
type pipe struct {
	out io.Writer
	at  int64
}

// closing reports whether err means that the host cannot be the right one, so
// that trying again is of no use.
func closing(err error) bool {
	return slices.ContainsFunc([]error{ops.ErrDenied, ops.ErrInvalid, ops.ErrInternal}, func(c error) bool { return errors.Is(err, c) })
}
