package peer

import (
	"context"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Telemetrygen runs OpenTelemetry's own load generator to its end, with the
// arguments given, and returns what it said and whether it failed. It is a Go
// program that Debian does not have, looked for on the PATH and where `go
// install` puts it.
func Telemetrygen(ctx context.Context, t testing.TB, args ...string) (output string, err error) {
	t.Helper()
	out, err := exec.CommandContext(ctx, telemetrygen(t), args...).CombinedOutput()
	return string(out), err
}

func telemetrygen(t testing.TB) string {
	t.Helper()
	const name = "telemetrygen"
	places := []string{name}
	if bin := os.Getenv("GOBIN"); bin != "" {
		places = append(places, filepath.Join(bin, name))
	}
	for _, path := range filepath.SplitList(build.Default.GOPATH) {
		places = append(places, filepath.Join(path, "bin", name))
	}
	for _, place := range places {
		if p, err := exec.LookPath(place); err == nil {
			return p
		}
	}
	absent(t, name, "go install github.com/open-telemetry/opentelemetry-collector-contrib/cmd/"+name+"@v0.161.0")
	return ""
}
