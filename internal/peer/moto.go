package peer

import (
	"os"
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
		const how = "moto_server is missing: pip install 'moto[server]' (no Debian package has it)"
		if os.Getenv("FETTLE_PEERS") == "required" {
			t.Fatal(how + ", and FETTLE_PEERS=required")
		}
		t.Skip(how)
	}
	return serve(t, "moto_server", "/moto-api/", func(port int) *exec.Cmd {
		return exec.Command(bin, "-H", "127.0.0.1", "-p", strconv.Itoa(port))
	})
}
