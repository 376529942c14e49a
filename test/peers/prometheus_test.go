package peers

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

// point is a sample as both sides name it.
type point struct {
	series string // name and labels in JSON, which sorts them
	at     int64
}

// TestPrometheusWritesWhatItScraped compares what the door appended with what
// Prometheus itself has: every sample, to the bit, though the log was broken
// for a while.
func TestPrometheusWritesWhatItScraped(t *testing.T) {
	peer.Long(t)
	log := seriestest.NewLog()
	h := intaketest.Open(t, intaketest.Setup{
		Driver: remotewrite.Driver, Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": "prometheus-writes-0123456789"}, Samples: log, Clock: time.Now,
	})
	door := httptest.NewServer(h.Door)
	defer door.Close()
	ending := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE ending gauge\nending{odd=\"\\\"\\\\ü\"} 5e-324\n# TYPE big_total counter\nbig_total 1.7976931348623157e308\n")
	}))
	defer ending.Close()
	prom := peer.Prometheus(t, `
global: {scrape_interval: 1s, external_labels: {}}
scrape_configs:
  - job_name: node
    static_configs: [{targets: ["`+host(peer.NodeExporter(t))+`"]}]
  - job_name: ending
    static_configs: [{targets: ["`+host(ending.URL)+`"]}]
remote_write:
  - url: `+door.URL+`/in/`+intaketest.Name+`
    authorization: {credentials: prometheus-writes-0123456789}
    queue_config: {batch_send_deadline: 1s}
`, nil)

	eventually(t, "samples of three scrapes", func() error { return scrapes(t, h, "ending", 3) })
	log.Break(errors.New("disk is full"))
	broke := time.Now()
	eventually(t, "a delivery while the log is broken", func() error {
		if !strings.Contains(h.Logs(), "delivery not taken") {
			return errors.New("none yet")
		}
		return nil
	})
	log.Break(nil)
	ending.Close()
	eventually(t, "the mark that a series ended", func() error {
		for p, v := range appended(t, h) {
			if strings.Contains(p.series, `"ending"`) && series.IsStale(v) {
				return nil
			}
		}
		return errors.New("no such mark")
	})
	want := scraped(t, prom)
	if len(want) < 1000 {
		t.Fatalf("Prometheus has %d samples", len(want))
	}
	eventually(t, "every sample Prometheus has", func() error {
		got := appended(t, h)
		for p, v := range want {
			if ours, ok := got[p]; !ok || math.Float64bits(ours) != math.Float64bits(v) {
				return fmt.Errorf("%s at %d is %v (there: %v), want %v", p.series, p.at, ours, ok, v)
			}
		}
		return nil
	})
	for p, v := range appended(t, h) {
		// What was scraped since the query is not looked at, and queries leave marks out.
		if _, ok := want[p]; !ok && !math.IsNaN(v) && p.at < broke.UnixMilli() {
			t.Errorf("%s at %d is %v, and Prometheus does not have it", p.series, p.at, v)
		}
	}
	t.Logf("%d samples, equal to the bit", len(want))
}

func host(u string) string {
	_, rest, _ := strings.Cut(u, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// appended is every sample in the log.
func appended(t *testing.T, h *intaketest.House) map[point]float64 {
	t.Helper()
	var bodies [][]byte
	for _, r := range h.Samples(t) {
		bodies = append(bodies, r.Body)
	}
	return read(t, bodies)
}

// read is every sample in the bodies of records.
func read(t *testing.T, bodies [][]byte) map[point]float64 {
	t.Helper()
	out := map[point]float64{}
	for _, body := range bodies {
		var r series.BatchReader
		if err := r.Open(body); err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			d, err := series.ParseKey(r.Key())
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]string{"__name__": d.Metric}
			for _, l := range d.Labels {
				names[l.Name] = l.Value
			}
			for _, p := range r.Points() {
				out[point{named(t, names), p.At}] = p.Value
			}
		}
	}
	return out
}

func named(t *testing.T, labels map[string]string) string {
	t.Helper()
	b, err := json.Marshal(labels)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// scrapes waits for a metric to have been scraped so often.
func scrapes(t *testing.T, h *intaketest.House, metric string, want int) error {
	t.Helper()
	n := 0
	for p := range appended(t, h) {
		if strings.Contains(p.series, `"__name__":"`+metric+`"`) {
			n++
		}
	}
	if n < want {
		return fmt.Errorf("%d of %s", n, metric)
	}
	return nil
}

// scraped asks Prometheus for every sample it has.
func scraped(t *testing.T, prom string) map[point]float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, prom+"/api/v1/query?query="+url.QueryEscape(`{__name__=~".+"}[1h]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("Prometheus answered %s, %v", resp.Status, err)
	}
	out := map[point]float64{}
	for _, r := range answer.Data.Result {
		name := named(t, r.Metric)
		for _, v := range r.Values {
			seconds, ok := v[0].(float64)
			text, isText := v[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if !ok || !isText || err != nil {
				t.Fatalf("value %v", v)
			}
			out[point{name, int64(math.Round(seconds * 1000))}] = value
		}
	}
	return out
}
