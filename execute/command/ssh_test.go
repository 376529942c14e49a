package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

const (
	someKey     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl4m+Z0WCR6OBTaCVZSrxN0YzUMwr8oMrCGLd5ZpTnC"
	fingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

func TestSSHConfigFaults(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		var c Config
		if err := yaml.NewDecoder(strings.NewReader("allow: [/bin/true]\nssh: {"+text+"}"), yaml.Strict()).Decode(&c); err != nil {
			t.Fatal(err)
		}
		err := c.Validate()
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s\ngives %v, want %q", text, err, w)
			}
		}
		if len(want) == 0 && err != nil {
			t.Errorf("%s\ngives %v", text, err)
		}
	}
	f("host: db1, user: ops, key: 'file:/k', host_key: " + someKey)
	f("host: db1, user: ops, key: 'file:/k', host_key: 'db1,10.0.0.7 " + someKey + "'")
	f("host: db1, user: ops, key: 'file:/k', fingerprint: '" + fingerprint + "'")
	f("host: 'ops@db1', port: 70000", `ssh.host "ops@db1"`, "ssh.port 70000", "ssh.user is empty", "ssh.key is empty", "ssh.host_key or fingerprint")
	f("host: db1, user: ops, key: 'file:/k', fingerprint: 'MD5:00', timeout: -1s", "SHA256: and 43", "negative")
	f("host: db1, user: ops, key: 'file:/k', host_key: 'ssh-ed25519 nonsense'", "neither a public key nor")
	f("host: db1, user: ops, key: 'file:/k', host_key: '@cert-authority db1 "+someKey+"'", "@cert-authority is not supported")
	f("host: db1, user: ops, key: 'file:/k', host_key: "+someKey+", fingerprint: '"+fingerprint+"'", "write one of them")
}

// away is a host behind a way that can be cut.
type away struct {
	*Executor
	t    *testing.T
	dir  string
	peer peer.SSH
	way  *way
}

// way hands connections on to a server until it is cut.
type way struct {
	to string
	l  net.Listener

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWay(t *testing.T, port int) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{to: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), l: l}
	t.Cleanup(func() {
		_ = l.Close()
		w.set(true)
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(in)
		}
	}()
	return w
}

func (w *way) carry(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.conns = append(w.conns, in, out)
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(out, in)
		close(done)
	}()
	_, _ = io.Copy(in, out)
	_ = in.Close()
	<-done
}

// set cuts the way, or opens it again.
func (w *way) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func goAway(t *testing.T, script, rule, options string) *away {
	t.Helper()
	peer.Long(t)
	s := peer.SSHD(t)
	a := &away{t: t, dir: t.TempDir(), peer: s, way: newWay(t, s.Port)}
	path := filepath.Join(a.dir, "act")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nD='"+a.dir+"'\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if options == "" {
		options = "host_key: " + s.HostKey
	}
	cfg, err := a.config(options, rule)
	if err != nil {
		t.Fatal(err)
	}
	a.Executor = a.open(cfg)
	return a
}

func (a *away) config(options, rule string) (Config, error) {
	var c Config
	text := fmt.Sprintf("grace: 200ms\nallow: [{name: act, command: '%s/act'%s}]\nssh: {host: 127.0.0.1, port: %d, user: %s, key: 'file:%s', timeout: 3s, dir: '%s/runs', %s}",
		a.dir, rule, a.way.l.Addr().(*net.TCPAddr).Port, a.peer.User, a.peer.KeyFile, a.dir, options)
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		a.t.Fatal(err)
	}
	return c, c.Validate()
}

func (a *away) open(cfg Config) *Executor {
	a.t.Helper()
	x, err := Open(a.t.Context(), cfg, execute.Env{
		Name: "away", Host: "here", Dir: a.t.TempDir(), Marks: memory{}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		Redact: func(s string) string { return s },
		Secret: func(_ context.Context, ref string) (string, error) {
			b, err := os.ReadFile(strings.TrimPrefix(ref, "file:"))
			return string(b), err
		},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return x.(*Executor)
}

func (a *away) plan() ops.Plan {
	a.t.Helper()
	p, err := a.Plan(a.t.Context(), execute.Request{Change: ops.Change{ID: "c1", Action: "act"}})
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

func (a *away) ran() string {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.dir, "ran"))
	if err != nil && !os.IsNotExist(err) {
		a.t.Fatal(err)
	}
	return string(b)
}

// cutter cuts the way when something is said, and opens it again after a while.
type cutter struct {
	*execute.Output
	once sync.Once
	way  *way
	back time.Duration
	then func()
}

func (c *cutter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "begun") {
		c.once.Do(func() {
			c.way.set(true)
			if c.back > 0 {
				time.AfterFunc(c.back, func() { c.way.set(false) })
			}
			c.then()
		})
	}
	return c.Output.Write(p)
}

func TestOnlyThePinnedHost(t *testing.T) {
	a := goAway(t, "true", "", "")
	shown := "SHA256:"
	f := func(name, options, want string) {
		t.Helper()
		cfg, err := a.config(options, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.open(cfg).Plan(t.Context(), execute.Request{Change: ops.Change{Action: "act"}})
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: plan returned %v, want %q", name, err, want)
		}
		if err != nil && !errors.Is(err, ops.ErrDenied) {
			t.Errorf("%s: %v is not ErrDenied", name, err)
		}
		if err != nil {
			if _, rest, ok := strings.Cut(err.Error(), "ssh-ed25519 key "); ok {
				shown, _, _ = strings.Cut(rest, ",")
			}
		}
	}
	f("another key", "host_key: "+someKey, "the host is not the one that was pinned: it shows the ssh-ed25519 key SHA256:")
	f("another fingerprint", "fingerprint: '"+fingerprint+"'", "write it into ssh.host_key")
	f("the fingerprint it showed", "fingerprint: '"+shown+"'", "")
	f("a line of known_hosts", "host_key: '127.0.0.1 "+a.peer.HostKey+"'", "")
}

func TestKeyThatIsNotLetIn(t *testing.T) {
	a := goAway(t, "true", "", "")
	// The host's own private key is a good key, and nobody's.
	b, err := os.ReadFile(filepath.Join(filepath.Dir(a.peer.KeyFile), "host"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.peer.KeyFile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Plan(t.Context(), execute.Request{Change: ops.Change{Action: "act"}}); !errors.Is(err, ops.ErrDenied) || !strings.Contains(err.Error(), "authorized_keys") {
		t.Errorf("plan returned %v; want ErrDenied and the fix", err)
	}
	if err := os.WriteFile(a.peer.KeyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Plan(t.Context(), execute.Request{Change: ops.Change{Action: "act"}}); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("plan returned %v; want ErrInvalid", err)
	}
}

// A lost connection is made again; the run goes on meanwhile, once.
func TestLostConnection(t *testing.T) {
	f := func(name string, back time.Duration, want string, unknown bool) {
		t.Helper()
		a := goAway(t, `echo x >> "$D/ran"; echo begun; until [ -e "$D/cut" ]; do sleep 0.05; done; echo "it's done"; exit 4`, ", success: [4]", "")
		p := a.plan()
		out := &cutter{Output: execute.NewOutput(execute.OutputLimit, nil), way: a.way, back: back, then: func() {
			if err := os.WriteFile(filepath.Join(a.dir, "cut"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}}
		res, err := a.Apply(t.Context(), "t1", p, out)
		var u *ops.UnknownOutcome
		if errors.As(err, &u) != unknown || (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: apply returned %+v, %v; want %q", name, res, err, want)
		}
		a.way.set(false)
		// Asked again, the host still knows.
		res, err = a.Apply(t.Context(), "t1", p, out)
		if err != nil || res.Code != 4 || a.ran() != "x\n" {
			t.Errorf("%s: apply again returned %+v, %v; it ran %q", name, res, err, a.ran())
		}
		if !strings.Contains(out.Text(), "it's done\n") {
			t.Errorf("%s: said was %q", name, out.Text())
		}
	}
	f("for a moment", 500*time.Millisecond, "", false)
	f("for good", 0, "what became of it is not known", true)
}

// What never reached the host never began, and says so.
func TestHostOutOfReach(t *testing.T) {
	a := goAway(t, `echo x >> "$D/ran"`, "", "")
	p := a.plan()
	a.way.set(true)
	var u *ops.UnknownOutcome
	for range 2 {
		if _, err := a.Apply(t.Context(), "t1", p, io.Discard); err == nil || errors.As(err, &u) || !strings.Contains(err.Error(), "not started") {
			t.Errorf("apply returned %v; want a known failure", err)
		}
		a.way.set(false)
	}
	if a.ran() != "" {
		t.Errorf("it ran %q", a.ran())
	}
}

// A run whose processes are all gone without an exit code is not known, unless
// it may be run again.
func TestKilledOnTheHost(t *testing.T) {
	f := func(rule, ran string, unknown bool) {
		t.Helper()
		a := goAway(t, `echo x >> "$D/ran"; [ -e "$D/again" ] && exit 0; touch "$D/again"; kill -s KILL -- -$(cut -d' ' -f5 /proc/$$/stat)`, rule, "")
		_, err := a.Apply(t.Context(), "t1", a.plan(), io.Discard)
		var u *ops.UnknownOutcome
		if errors.As(err, &u) != unknown || (err != nil) != unknown || a.ran() != ran {
			t.Errorf("%s: apply returned %v, it ran %q", rule, err, a.ran())
		}
	}
	f("", "x\n", true)
	f(", idempotent: true", "x\nx\n", false)
}

// A run that is cancelled is asked to end first, with all of its group.
func TestAskedToEndOnTheHost(t *testing.T) {
	a := goAway(t, `(trap 'echo child >> "$D/ran"; exit' TERM; while :; do sleep 0.02; done) & trap 'wait; echo asked >> "$D/ran"; exit 9' TERM; echo begun; while :; do sleep 0.02; done`, "", "")
	cfg := a.cfg
	cfg.Grace = 20 * time.Second
	x := a.open(cfg)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	out := &once{Output: execute.NewOutput(execute.OutputLimit, nil), do: func() { cancel(errors.New("a person stopped it")) }}
	if _, err := x.Apply(ctx, "t1", a.plan(), out); err == nil || !strings.Contains(err.Error(), "a person stopped it") || a.ran() != "child\nasked\n" {
		t.Errorf("apply returned %v; said was %q", err, a.ran())
	}
}

// once does something when the first thing is said.
type once struct {
	*execute.Output
	sync.Once
	do func()
}

func (o *once) Write(p []byte) (int, error) {
	if len(p) > 0 {
		o.Do(o.do)
	}
	return o.Output.Write(p)
}

func TestSwappedFileOnTheHost(t *testing.T) {
	a := goAway(t, "true", "", "")
	p := a.plan()
	if err := os.WriteFile(filepath.Join(a.dir, "act"), []byte("#!/bin/sh\necho x >> "+a.dir+"/ran\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Apply(t.Context(), "t1", p, io.Discard); err == nil || !strings.Contains(err.Error(), "no longer the file that was planned") || a.ran() != "" {
		t.Errorf("apply returned %v and ran %q", err, a.ran())
	}
	if err := os.Chmod(filepath.Join(a.dir, "act"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Plan(t.Context(), execute.Request{Change: ops.Change{Action: "act"}}); !errors.Is(err, ops.ErrDenied) || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("plan of a file that everybody may write returned %v", err)
	}
}

// No argument is interpreted by a shell on the way.
func TestArgumentsArriveAsTheyAre(t *testing.T) {
	f := func(arg string) {
		t.Helper()
		if got := quote(arg); strings.ReplaceAll(strings.Trim(got, "'"), `'\''`, "'") != strings.Trim(arg, "'") {
			t.Errorf("%q is quoted as %s", arg, got)
		}
	}
	f("a b")
	f("$(reboot)")
	f("it's")
	a := goAway(t, `printf '%s|' "$@" > "$D/ran"`, "", "")
	cfg, err := a.config("host_key: "+a.peer.HostKey, "")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Allow[0].Command += " {x:(?s).*} {y:(?s).*}"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	x := a.open(cfg)
	args := []string{"it's $(reboot) `x` \\ \"", "two\nlines; *"}
	p, err := x.Plan(t.Context(), execute.Request{Change: ops.Change{Action: "act", Args: args}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Apply(t.Context(), "t1", p, io.Discard); err != nil || a.ran() != strings.Join(args, "|")+"|" {
		t.Errorf("arrived %q, %v; want %q", a.ran(), err, args)
	}
}
