package ticket_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ticket"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs (go test ./ticket -update writes it):\n%s", path, got)
	}
}

func TestDescription(t *testing.T) {
	t.Parallel()
	f := func(name string, prepare func(h *house, i *ops.Incident)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := open(t, setup{})
				time.Sleep(10 * time.Minute)
				h.number++
				i := ops.Incident{
					ID: "i1", Number: 1, Title: "high-cpu on web-1", Severity: ops.High, State: ops.IncidentNew, Firing: 1, Total: 1, OpenedAt: time.Now(),
				}
				prepare(h, &i)
				h.incidents[i.ID] = i
				i.Muted = "" // a muted one would get no ticket; the window may open right after
				h.tell(i.Subject(), ops.IncidentOpenedBody{Incident: i, Why: "first alert of group web"})
				h.run(time.Second)
				golden(t, "description_"+name+".txt", h.shown("snow", i).Fields.Description)
			})
		})
	}
	f("full", func(h *house, i *ops.Incident) {
		i.Team, i.Muted, i.Total, i.Firing = "cloud", "sunday-night", 40, 30
		value := 0.93
		for n := range 30 {
			m := ops.Member{Alert: ops.Alert{
				Rule: "high-cpu", Severity: ops.High, State: ops.Firing, StartsAt: time.Now().Add(-5*time.Minute + time.Duration(n)*time.Second),
				Description: "CPU above\n 80 %", Resource: ops.ResourceRef{ID: "r1", Kind: "host", Name: fmt.Sprintf("web-%d", n%3+1)},
				Context: ops.AlertContext{
					Metric: "cpu_utilization", Operator: ">", Threshold: "0.80", Actual: "0.93", Value: &value, Unit: "1", Window: 5 * time.Minute,
					Query: "avg(rate(cpu[5m])) > 0.8", Reason: "3 of 3 datapoints",
				},
				Links: []ops.Link{{Title: "Runbook", URL: "https://example.com/runbook"}, {Title: "bad", URL: "javascript:alert(1)"}},
			}}
			if n == 1 {
				m.State, m.EndsAt = ops.Resolved, time.Now().Add(-time.Minute)
			}
			h.members[i.ID] = append(h.members[i.ID], m)
		}
		var cpu, net ops.Series
		cpu.Metric, cpu.Unit = "cpu_utilization", "1"
		net.Metric, net.Unit, net.Labels = "net_receive", "By/s", map[string]string{"device": "eth0"}
		for n := range 60 {
			at := time.Now().Add(time.Duration(n-60) * time.Minute)
			cpu.Points = append(cpu.Points, ops.Point{At: at, Value: 0.3 + 0.6*float64(n)/59})
			net.Points = append(net.Points, ops.Point{At: at, Value: 1000 + 500*math.Sin(float64(n)/5)})
		}
		cpu.Points[10].Value = math.NaN()
		h.series = []ops.Series{net, cpu, {SeriesID: ops.SeriesID{Metric: "empty"}}}
	})
	f("bare", func(*house, *ops.Incident) {})
	f("no_history", func(h *house, i *ops.Incident) { i.ResourceID, i.Resource, h.seriesErr = "r1", "web-1", errNoSeries })
}

func TestSparkline(t *testing.T) {
	f := func(want string, width int, values ...float64) {
		t.Helper()
		var points []ops.Point
		for _, v := range values {
			points = append(points, ops.Point{Value: v})
		}
		if got := ticket.Sparkline(points, width); got != want {
			t.Errorf("Sparkline(%v, %d) = %q, want %q", values, width, got, want)
		}
	}
	f("", 10)
	f("▁", 10, 5)
	f("▁▁▁", 10, 5, 5, 5)
	f("▁▄█", 10, 0, 5, 10)
	f("▁█", 2, 0, 0, 0, 10) // the peak stays
	f("▁█", 10, math.NaN(), 0, math.Inf(1), 1)
	f("", 0, 1)
}
