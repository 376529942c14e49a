package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// SSH is a private OpenSSH server that lets the present user in.
type SSH struct {
	Port    int    // on 127.0.0.1
	User    string // the present one
	KeyFile string // a private key that is let in
	HostKey string // the host's public key, as in authorized_keys: type and base64
}

const sshPackage = "openssh-server openssh-client"

// SSHD starts an OpenSSH server for the length of the test. It knows one key,
// and no password. As root it needs the user sshd and makes /run/sshd, as the
// package's own service does.
func SSHD(t testing.TB) SSH {
	t.Helper()
	sshd := program(t, "sshd", sshPackage)
	keygen := program(t, "ssh-keygen", sshPackage)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", at(name)).CombinedOutput(); err != nil {
			t.Fatalf("peer: ssh-keygen: %v\n%s", err, out)
		}
	}
	public, err := os.ReadFile(at("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	port := listen(t, "sshd", func(port int) *exec.Cmd {
		write(t, at("config"), fmt.Sprintf(`Port %d
ListenAddress 127.0.0.1
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthenticationMethods publickey
MaxStartups 100
PrintMotd no
`, port, at("host"), at("user.pub")))
		return exec.Command(sshd, "-D", "-e", "-f", at("config"))
	}, func(ctx context.Context, port int) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", loopback(port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return SSH{Port: port, User: me.Username, KeyFile: at("user"), HostKey: strings.TrimSpace(string(public))}
}
