package peer

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Alertmanager starts a real Alertmanager with the given configuration for the
// length of the test, alone in its cluster, and returns its base URL.
func Alertmanager(t testing.TB, configYAML string) (url string) {
	t.Helper()
	const pkg = "prometheus-alertmanager"
	bin := program(t, pkg, pkg)
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "alertmanager.yml"), configYAML)
	return serve(t, "alertmanager", "/-/ready", func(port int) *exec.Cmd {
		return exec.Command(bin, "--config.file="+config, "--storage.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+loopback(port), "--cluster.listen-address=")
	})
}

// Prometheus starts a real Prometheus for the length of the test and returns
// its base URL. Each entry of rules is a file of that name next to the
// configuration, so `rule_files: ["*.rules.yml"]` finds it.
func Prometheus(t testing.TB, configYAML string, rules map[string]string) (url string) {
	t.Helper()
	return prometheus(t, t.TempDir(), configYAML, rules)
}

// PrometheusHolding starts a real Prometheus that scrapes nothing and holds the
// samples of a text in the form of OpenMetrics, with a time in each line.
func PrometheusHolding(t testing.TB, openMetrics string) (url string) {
	t.Helper()
	tool := program(t, "promtool", "prometheus")
	dir := t.TempDir()
	text := write(t, filepath.Join(dir, "past.txt"), openMetrics)
	if out, err := exec.Command(tool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v: %s", err, out)
	}
	return prometheus(t, dir, "{}", nil)
}

func prometheus(t testing.TB, dir, configYAML string, rules map[string]string) (url string) {
	t.Helper()
	bin := program(t, "prometheus", "prometheus")
	config := write(t, filepath.Join(dir, "prometheus.yml"), configYAML)
	for name, text := range rules {
		write(t, filepath.Join(dir, filepath.Base(name)), text)
	}
	return serve(t, "prometheus", "/-/ready", func(port int) *exec.Cmd {
		return exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+loopback(port))
	})
}

// NodeExporter starts a real node_exporter for the length of the test and
// returns its base URL; the metrics are at /metrics.
func NodeExporter(t testing.TB) (url string) {
	t.Helper()
	const pkg = "prometheus-node-exporter"
	bin := program(t, pkg, pkg)
	return serve(t, "node_exporter", "/metrics", func(port int) *exec.Cmd {
		return exec.Command(bin, "--web.listen-address="+loopback(port))
	})
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
