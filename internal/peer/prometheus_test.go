package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestAlertmanagerCallsItsWebhook(t *testing.T) {
	type message struct {
		Version, Status string
		Alerts          []struct{ Labels map[string]string }
	}
	got := make(chan message, 8)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Errorf("webhook body: %v", err)
		}
		got <- m
	}))
	defer hook.Close()
	am := Alertmanager(t, `
route: {receiver: hook, group_wait: 10ms}
receivers: [{name: hook, webhook_configs: [{url: "`+hook.URL+`"}]}]
`)
	body := `[{"labels":{"alertname":"DiskFull","instance":"web-1"}}]`
	resp, err := http.Post(am+"/api/v2/alerts", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("posting an alert: %s", resp.Status)
	}
	select {
	case m := <-got:
		if m.Version != "4" || m.Status != "firing" || len(m.Alerts) != 1 || m.Alerts[0].Labels["instance"] != "web-1" {
			t.Errorf("webhook received %+v, want the alert posted", m)
		}
	case <-time.After(readyWithin):
		t.Error("the webhook was never called")
	}
}

func TestPrometheusScrapesAndEvaluates(t *testing.T) {
	Long(t) // it looks for its targets every five seconds
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "disk_used_ratio 0.95")
	}))
	defer target.Close()
	url := Prometheus(t, `
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
rule_files: ["*.rules.yml"]
scrape_configs: [{job_name: test, static_configs: [{targets: ["`+strings.TrimPrefix(target.URL, "http://")+`"]}]}]
`, map[string]string{"disk.rules.yml": `
groups: [{name: disk, rules: [{alert: DiskFull, expr: "disk_used_ratio > 0.9"}]}]
`})
	eventually(t, func(ctx context.Context) error {
		var answer struct {
			Data struct{ Alerts []struct{ State string } }
		}
		if err := fetch(ctx, url+"/api/v1/alerts", &answer); err != nil {
			return err
		}
		if a := answer.Data.Alerts; len(a) != 1 || a[0].State != "firing" {
			return fmt.Errorf("alerts are %+v, want one firing", a)
		}
		return nil
	})
}

func TestNodeExporterMeasuresThisMachine(t *testing.T) {
	url := NodeExporter(t)
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\nnode_memory_MemTotal_bytes ") {
		t.Errorf("no memory size in %d bytes of metrics", len(text))
	}
}

// TestServeTriesAnotherPort plays a peer whose port was taken between finding
// and using it: such a peer ends at once.
func TestServeTriesAnotherPort(t *testing.T) {
	const pkg = "prometheus-node-exporter"
	bin := program(t, pkg, pkg)
	var ports []int
	url := serve(t, "node_exporter", "/metrics", func(port int) *exec.Cmd {
		ports = append(ports, port)
		if len(ports) == 1 {
			return exec.Command("false")
		}
		return exec.Command(bin, "--web.listen-address="+loopback(port))
	})
	if len(ports) != 2 || url != "http://"+loopback(ports[1]) {
		t.Errorf("ports %v were tried and %s returned, want the second of two", ports, url)
	}
}

func fetch(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

func eventually(t *testing.T, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
