package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/cli"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
)

// fleet is what two hosts measured for three days, a sample a minute, with a
// daily pattern, a hard stretch, a counter that begins anew and a gap.
type fleet struct {
	begin, end time.Time
	hosts      []string
}

type sample struct {
	metric string
	labels map[string]string
	value  float64
}

// at returns what a host measured in a minute, nothing in the gap.
func (f fleet) at(host, minute int) []sample {
	if host == 1 && minute >= 2000 && minute < 2060 {
		return nil
	}
	day := math.Sin(2 * math.Pi * float64(minute%1440) / 1440)
	wobble := func(k int) float64 {
		return math.Sin(float64(minute*minute%9973)/7 + float64(host*31+k*17))
	}
	busy := 0.3 + 0.1*day
	var out []sample
	add := func(v float64, metric string, labels ...string) {
		l := map[string]string{"instance": f.hosts[host], "job": "node"}
		for i := 0; i < len(labels); i += 2 {
			l[labels[i]] = labels[i+1]
		}
		out = append(out, sample{metric, l, v})
	}
	up := minute
	if host == 0 && minute >= 3000 {
		up -= 3000 // it was started anew
	}
	t := float64(up)
	for cpu := range 2 {
		add(60*t*(1-busy)-300*day+10*wobble(cpu)+1e4, "node_cpu_seconds_total", "cpu", fmt.Sprint(cpu), "mode", "idle")
		add(60*t*0.01+1e4, "node_cpu_seconds_total", "cpu", fmt.Sprint(cpu), "mode", "iowait")
	}
	memory := 0.5 + 0.05*day + 0.01*wobble(9)
	if host == 0 && minute >= 2500 && minute < 2510 {
		memory = 0.02
	}
	add(memory*8e9, "node_memory_MemAvailable_bytes")
	add(8e9, "node_memory_MemTotal_bytes")
	add(1e6*t+1e5*wobble(3)+1e7, "node_network_receive_bytes_total", "device", "eth0")
	add(1e3*t, "node_network_receive_bytes_total", "device", "lo")
	add(5e5*t+1e4*wobble(4)+1e7, "node_network_transmit_bytes_total", "device", "eth0")
	add(2e5*t+1e4*wobble(5)+1e7, "node_disk_read_bytes_total", "device", "sda")
	add(3e5*t+1e4*wobble(6)+1e7, "node_disk_written_bytes_total", "device", "sda")
	return out
}

func (f fleet) minutes() int              { return int(f.end.Sub(f.begin) / time.Minute) }
func (f fleet) time(minute int) time.Time { return f.begin.Add(time.Duration(minute) * time.Minute) }

func labelsOf(s sample) []series.Label {
	var out []series.Label
	for k, v := range s.labels {
		out = append(out, series.Label{Name: k, Value: v})
	}
	slices.SortFunc(out, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func selector(s sample) string {
	var b strings.Builder
	for i, l := range labelsOf(s) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%q", l.Name, l.Value)
	}
	return "{" + b.String() + "}"
}

// openMetrics writes everything for promtool.
func (f fleet) openMetrics() string {
	lines := map[string][]string{}
	for m := range f.minutes() {
		for h := range f.hosts {
			for _, s := range f.at(h, m) {
				lines[s.metric] = append(lines[s.metric], fmt.Sprintf("%s%s %v %d", s.metric, selector(s), s.value, f.time(m).Unix()))
			}
		}
	}
	var b strings.Builder
	for metric, l := range lines {
		kind, family := "gauge", metric
		if name, ok := strings.CutSuffix(metric, "_total"); ok {
			kind, family = "counter", name
		}
		fmt.Fprintf(&b, "# TYPE %s %s\n%s\n", family, kind, strings.Join(l, "\n"))
	}
	return b.String() + "# EOF\n"
}

// csv writes everything in the long form.
func (f fleet) csv() string {
	var b strings.Builder
	b.WriteString("time,metric,value,instance,job,cpu,mode,device\n")
	for m := range f.minutes() {
		for h := range f.hosts {
			for _, s := range f.at(h, m) {
				fmt.Fprintf(&b, "%s,%s,%v,%s,%s,%s,%s,%s\n", f.time(m).Format(time.RFC3339), s.metric, s.value, s.labels["instance"], s.labels["job"], s.labels["cpu"], s.labels["mode"], s.labels["device"])
			}
		}
	}
	return b.String()
}

// live sends minutes as they would have come.
func (f fleet) live(t *testing.T, a *server, from, to int) {
	t.Helper()
	var records []series.Record
	for m := from; m < to; m++ {
		for h := range f.hosts {
			found := f.at(h, m)
			if len(found) == 0 {
				continue
			}
			var b series.Batch
			for _, s := range found {
				b.Series(&series.Descriptor{Metric: s.metric, Labels: labelsOf(s)})
				b.Sample(f.time(m).UnixMilli(), s.value)
			}
			records = append(records, series.Record{Kind: series.Samples, Body: b.Append(nil)})
		}
	}
	for chunk := range slices.Chunk(records, 1000) {
		if _, err := a.app.Samples.Append(t.Context(), chunk...); err != nil {
			t.Fatal(err)
		}
	}
	a.caughtUp(t)
}

// server is a whole installation.
type server struct {
	app *app.App
	url string
	dir string
	api *client.Client
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	cfg, err := config.Load("test", []byte("detect: {host: {enabled: false}, groups: [{name: nodes, features: [{set: node_exporter}], detector: zscore, tier: full}]}"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	s.app, err = app.New(ctx, app.Options{
		Config: cfg, DataDir: s.dir, Listener: l, Logger: slog.New(slog.DiscardHandler), Version: "test", Ready: func(u string) { ready <- u },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case s.url = <-ready:
	case err := <-done:
		t.Fatal("the server ended: ", err)
	}
	token, err := os.ReadFile(filepath.Join(s.dir, app.AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	s.api = client.New(s.url, strings.TrimSpace(string(token)))
	return s
}

func (s *server) caughtUp(t *testing.T) {
	t.Helper()
	eventually(t, "detection at the end of the log", func() error {
		b, err := s.app.Samples.Bounds(t.Context())
		if err != nil {
			return err
		}
		p, err := s.app.Store.Detection(t.Context(), 0)
		if err == nil && p.Committed < b.Last {
			err = fmt.Errorf("%d of %d", p.Committed, b.Last)
		}
		return err
	})
}

var blanks = regexp.MustCompile(" +")

// fettle runs the command line against the server; of the blanks of a table one
// is left.
func (s *server) fettle(t *testing.T, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, notes bytes.Buffer
	code = cli.Main(append(args, "--server", s.url, "--data-dir", s.dir), stdin, &out, &notes)
	return code, blanks.ReplaceAllString(out.String(), " "), notes.String()
}

// readings is what the page of each entity shows.
func (s *server) readings(t *testing.T, f fleet) map[string]string {
	t.Helper()
	list, err := s.api.Series(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, w := range list.Items {
		v, err := s.api.OneSeries(t.Context(), w.ID, url.Values{"from": {f.begin.Format(time.RFC3339)}, "to": {f.end.Add(time.Hour).Format(time.RFC3339)}})
		if err != nil {
			t.Fatal(err)
		}
		if len(v.At) < f.minutes()-100 {
			t.Errorf("%d readings of %s", len(v.At), w.Entity)
		}
		b, err := json.Marshal([]any{w.Progress, v.At, v.Score, v.Raw, v.Grade, v.Features})
		if err != nil {
			t.Fatal(err)
		}
		out[w.Entity] = string(b)
	}
	return out
}

// TestPastFromPrometheus compares models that lived three days with models
// that learned them from a real Prometheus, by its query API and by remote
// read, and from a table: every reading, and those of what came live after it.
func TestPastFromPrometheus(t *testing.T) {
	peer.Long(t)
	end := time.Now().Add(-time.Hour).Truncate(time.Hour).UTC()
	f := fleet{begin: end.Add(-72 * time.Hour), end: end, hosts: []string{"web1:9100", "web2:9100"}}
	prom := peer.PrometheusHolding(t, f.openMetrics())
	after := f.minutes() + 30

	lived := serve(t)
	f.live(t, lived, 0, after)
	want := lived.readings(t, f)
	graded, err := lived.api.Anomalies(t.Context(), nil)
	if err != nil || len(graded.Items) == 0 {
		t.Fatalf("nothing was anomalous for those who lived it: %v", err)
	}

	check := func(name string, stdin io.Reader, source ...string) {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			args := append([]string{"detect", "bootstrap", "--group", "nodes", "--days", "4"}, source...)
			code, out, notes := s.fettle(t, stdin, args...)
			if code != 0 || !strings.Contains(out, "taught 2 entities") || !strings.Contains(out, "ready 2 of 2 entities") {
				t.Fatalf("ended with %d:\n%s%s", code, out, notes)
			}
			if name == "steps" {
				return // by the step Prometheus fills gaps with what was five minutes before
			}
			f.live(t, s, f.minutes(), after)
			got := s.readings(t, f)
			for entity, w := range want {
				if got[entity] != w {
					t.Errorf("%s: readings differ from those who lived it: %s", entity, difference(got[entity], w))
				}
			}
			if found, err := s.api.Anomalies(t.Context(), nil); err != nil || len(found.Items) != 0 {
				t.Errorf("the past opened %d anomalies, %v", len(found.Items), err)
			}
			if name == "table" {
				return
			}
			// Twice changes nothing.
			before, err := s.app.Samples.Bounds(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			code, out, notes = s.fettle(t, nil, args...)
			if code != 0 || !strings.Contains(out, "taught 0 entities") || !strings.Contains(out, "left alone 2 that had learned enough") || !strings.Contains(out, "web1:9100, web2:9100") {
				t.Errorf("the second time it ended with %d:\n%s%s", code, out, notes)
			}
			s.caughtUp(t)
			if now := s.readings(t, f); now["web1:9100"] != got["web1:9100"] || now["web2:9100"] != got["web2:9100"] {
				t.Error("the second time changed readings")
			}
			if records, err := s.app.Samples.Read(t.Context(), before.Last, 1<<30); err != nil || slices.ContainsFunc(records, func(r series.Record) bool { return r.Kind == series.Past }) {
				t.Errorf("the second time sent a past: %v", err)
			}
		})
	}
	check("query", nil, "--prometheus", prom)
	check("remote-read", nil, "--remote-read", prom+"/api/v1/read")
	check("steps", nil, "--prometheus", prom, "--step", "1m")
	check("table", strings.NewReader(f.csv()), "--csv", "-")
}

// TestAnInterruptedPastGoesOn breaks the source half way, and then goes on.
func TestAnInterruptedPastGoesOn(t *testing.T) {
	end := time.Now().Add(-time.Hour).Truncate(time.Hour).UTC()
	f := fleet{begin: end.Add(-36 * time.Hour), end: end, hosts: []string{"web1:9100", "web2:9100"}}
	broken := true
	var asked []time.Time
	prom := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "password-7c1e" {
			t.Errorf("signed as %q", user)
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		at, err := strconv.ParseFloat(r.Form.Get("time"), 64)
		if err != nil {
			t.Error(err)
		}
		metric, span, _ := strings.Cut(r.Form.Get("query"), "[")
		ms, err := strconv.Atoi(strings.TrimSuffix(span, "ms]"))
		if err != nil {
			t.Error(err)
		}
		to := time.UnixMilli(int64(math.Round(at * 1000)))
		if broken && to.After(f.begin.Add(20*time.Hour)) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "the disk password-7c1e is full")
			return
		}
		asked = append(asked, to)
		type one struct {
			Metric map[string]string `json:"metric"`
			Values [][2]any          `json:"values"`
		}
		found := map[string]*one{}
		for m := range f.minutes() {
			if d := to.Sub(f.time(m)).Milliseconds(); d < 0 || d > int64(ms) {
				continue
			}
			for h := range f.hosts {
				for _, s := range f.at(h, m) {
					if !strings.Contains(metric, strconv.Quote(s.metric)) {
						continue
					}
					key := selector(s)
					if found[key] == nil {
						s.labels["__name__"] = s.metric
						found[key] = &one{Metric: s.labels}
					}
					found[key].Values = append(found[key].Values, [2]any{f.time(m).Unix(), strconv.FormatFloat(s.value, 'g', -1, 64)})
				}
			}
		}
		answer := map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": slices.Collect(maps.Values(found))}}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer prom.Close()
	t.Setenv("PROM_PASSWORD", "password-7c1e")
	s := serve(t)
	args := []string{"detect", "bootstrap", "--group", "nodes", "--days", "2", "--prometheus", prom.URL, "--user", "ann", "--password", "env:PROM_PASSWORD"}
	code, out, notes := s.fettle(t, nil, args...)
	if code == 0 || !strings.Contains(notes, "run the same command again") || !strings.Contains(notes, "403") || strings.Contains(out+notes, "password-7c1e") {
		t.Fatalf("with a broken source it ended with %d:\n%s%s", code, out, notes)
	}
	broken = false
	first := len(asked)
	code, out, notes = s.fettle(t, nil, args...)
	if code != 0 || !strings.Contains(notes, "going on after") || !strings.Contains(out, "ready 2 of 2 entities") || !strings.Contains(out, fmt.Sprintf("samples %d", 20*f.minutes()-600)) {
		t.Fatalf("it did not go on but ended with %d:\n%s%s", code, out, notes)
	}
	if asked[first].Before(f.begin.Add(6 * time.Hour)) {
		t.Errorf("it began anew, at %s", asked[first])
	}
	lived := serve(t)
	after := f.minutes() + 10
	f.live(t, lived, 0, after)
	f.live(t, s, f.minutes(), after)
	want, got := lived.readings(t, f), s.readings(t, f)
	for entity, w := range want {
		if got[entity] != w {
			t.Errorf("%s: readings differ from those who lived it: %s", entity, difference(got[entity], w))
		}
	}

	list, err := s.api.Series(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	id := list.Items[0].ID
	code, out, notes = s.fettle(t, nil, "series", "champion", id, "--json", "--rounds", "2", "--detector", "null,zscore,mad,seasonal,cusum")
	var ranking struct {
		Entity    string
		Points    int
		Standings []struct {
			Detector         string
			AveragePrecision float64 `json:"average_precision"`
			Planted          int
		}
	}
	if err := json.Unmarshal([]byte(out), &ranking); err != nil || code != 0 {
		t.Fatalf("ended with %d, %v:\n%s%s", code, err, out, notes)
	}
	n := len(ranking.Standings)
	if ranking.Entity != "web1:9100" || ranking.Points < 2000 || n != 5 || ranking.Standings[0].Planted == 0 ||
		ranking.Standings[0].AveragePrecision < 2*ranking.Standings[n-1].AveragePrecision {
		t.Errorf("ranking %+v", ranking)
	}
	if at := slices.IndexFunc(ranking.Standings, func(s struct {
		Detector         string
		AveragePrecision float64 `json:"average_precision"`
		Planted          int
	},
	) bool {
		return s.Detector == "null"
	}); at < n/2 {
		t.Errorf("the detector that says nothing is number %d of %d", at+1, n)
	}
	if code, out, _ = s.fettle(t, nil, "series", "champion", id, "--rounds", "1", "--detector", "zscore,null"); code != 0 || !strings.Contains(out, "RANK DETECTOR PRECISION") {
		t.Errorf("ended with %d:\n%s", code, out)
	}
}

func difference(a, b string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("at %d: %.120s, want %.120s", i, a[max(0, i-40):], b[max(0, i-40):])
		}
	}
	return fmt.Sprintf("lengths %d and %d", len(a), len(b))
}
