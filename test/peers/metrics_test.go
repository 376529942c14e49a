package peers

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/test/house"
)

// TestPrometheusWritesThroughTwoDeathsOfTheServer lets a real Prometheus write
// to the real binary, which is killed twice. Prometheus sends again what was
// not acknowledged, so the sample log must end up with every sample that
// Prometheus itself has, to the bit.
func TestPrometheusWritesThroughTwoDeathsOfTheServer(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	h := house.New(t, house.Options{Checkpoint: "240h", Detect: `
  groups: [{name: node, features: node_exporter, step: 1s}]
`})
	const ready = 2 * time.Minute
	h.Start("")
	h.Ready(ready)
	prom := peer.Prometheus(t, `
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: node
    static_configs: [{targets: ["`+host(peer.NodeExporter(t))+`"]}]
remote_write:
  - url: `+h.Base+`/in/metrics
    authorization: {credentials: `+house.WebhookToken+`}
    queue_config: {batch_send_deadline: 1s, max_samples_per_send: 200, max_shards: 4, min_backoff: 30ms, max_backoff: 500ms}
`, nil)
	eventually(t, "the first samples in the log", func() error { return more(t, h, 1000) })
	for death := range 2 {
		time.Sleep(3 * time.Second)
		h.Kill()
		if !h.Killed() {
			t.Fatalf("the server ended by itself:\n%s", h.Tail(10))
		}
		time.Sleep(2 * time.Second) // scrapes go on; what they bring waits in Prometheus
		had := len(logged(t, h))
		h.Start("")
		h.Ready(ready)
		eventually(t, fmt.Sprintf("samples after death %d", death+1), func() error { return more(t, h, had+1000) })
	}
	want := scraped(t, prom)
	if len(want) < 5000 {
		t.Fatalf("Prometheus has %d samples", len(want))
	}
	eventually(t, "every sample Prometheus has", func() error {
		got := logged(t, h)
		missing, example := 0, ""
		for p, v := range want {
			if ours, ok := got[p]; !ok || math.Float64bits(ours) != math.Float64bits(v) {
				missing, example = missing+1, fmt.Sprintf("%s at %d is %v (there: %v), want %v", p.series, p.at, ours, ok, v)
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d are missing, such as %s", missing, len(want), example)
		}
		return nil
	})
	h.Detected(5 * time.Minute)
	t.Logf("%d samples, equal to the bit", len(want))
	h.Stop()
	if points := h.Findings(t.Context()).Readings; len(points) != 1 {
		t.Errorf("%d entities are watched, want the one machine", len(points))
	}
}

// more reports whether the log holds at least so many samples.
func more(t *testing.T, h *house.House, want int) error {
	t.Helper()
	if n := len(logged(t, h)); n < want {
		return fmt.Errorf("%d of %d", n, want)
	}
	return nil
}

// logged is every sample in the log of a house, which may run.
func logged(t *testing.T, h *house.House) map[point]float64 {
	t.Helper()
	return read(t, h.Samples())
}
