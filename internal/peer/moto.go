package peer

import (
	"os/exec"
	"strconv"
	"testing"
)

// Moto starts a moto_server, which plays AWS, for the length of the test and
// returns its base URL. It is a Python program that no Debian package brings.
func Moto(t testing.TB) (url string) {
	t.Helper()
	bin, err := exec.LookPath("moto_server")
	if err != nil {
		absent(t, "moto_server", "pip install 'moto[server]' (no Debian package has it)")
	}
	return serve(t, "moto_server", "/moto-api/", func(port int) *exec.Cmd {
		return exec.Command(bin, "-H", "127.0.0.1", "-p", strconv.Itoa(port))
	})
}
