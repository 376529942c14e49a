package peer

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
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
		cmd := exec.Command(bin, "-H", "127.0.0.1", "-p", strconv.Itoa(port))
		// It reads the profile of its user and fails on an empty one.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
		return cmd
	})
}
