package peer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestChromiumRunsAPage(t *testing.T) {
	Long(t)
	path := Chromium(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<p id=x></p><script>x.textContent = "six times seven is " + 6*7</script>`))
	}))
	defer page.Close()
	args := []string{
		"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(),
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	var stderr tail
	cmd := exec.CommandContext(ctx, path, append(args, "--dump-dom", page.URL)...)
	cmd.Stderr = &stderr
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v; its output:\n%s", err, stderr.String())
	}
	if !strings.Contains(string(dom), "six times seven is 42") {
		t.Errorf("page was rendered as %s", dom)
	}
}
