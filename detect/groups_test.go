package detect_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// TestTheHostIsWatched takes the samples of Fettle's own sampler the way of all
// metrics: by the ready set, its features, a model, and an alert about the
// host that rules speak of, too.
func TestTheHostIsWatched(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		set, err := feature.Compile([]feature.Group{{Name: "host", Features: []feature.Feature{{Set: "host"}}, Detector: "ewma", Severity: ops.Low}})
		must(t, err)
		l.selection = detect.Select(set)
		var rs []series.Record
		for s := range 300 {
			at := begin.Add(time.Duration(s) * step).UnixMilli()
			cpu := 0.3 + 0.02*math.Sin(float64(s))
			if s >= 204 {
				cpu = 0.97
			}
			var b series.Batch
			for _, m := range []struct {
				name, unit string
				value      float64
			}{{"cpu_utilization", "1", cpu}, {"disk_read_bytes_per_second", "By/s", 100}, {"disk_write_bytes_per_second", "By/s", 20}, {"memory_utilization", "1", 0.5}, {"unknown", "", 9}} {
				b.Series(&series.Descriptor{Metric: m.name, Temporality: series.Gauge, Unit: m.unit, Labels: []series.Label{{Name: "resource", Value: "db1.example.com"}}})
				b.Sample(at, m.value)
			}
			rs = append(rs, series.Record{Kind: series.Samples, Body: b.Append(nil)})
		}
		l.start()
		l.append(rs...)
		l.settle()
		l.halt()
		l.start() // the steps that are open are in the snapshots
		defer l.halt()
		messages, err := l.store.SignalsAfter(t.Context(), 0, 10)
		must(t, err)
		if len(messages) == 0 {
			t.Fatal("no alert")
		}
		a := messages[0].Signals[0].Alert
		got := fmt.Sprintf("%s|%s|%s|%s|%s|%s|%v|%s|%s", messages[0].Integration, a.Rule, a.Severity, a.Title, a.Resource.Kind, a.Resource.Name, a.Resource.Aliases, a.Context.Metric, a.Context.Actual)
		want := "detect|anomaly/host|low|cpu_utilization is unusual on db1.example.com|host|db1.example.com|[host:db1.example.com]|cpu_utilization|0.97"
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !strings.Contains(a.Description, "cpu_utilization 0.97 where 0.3") {
			t.Error(a.Description)
		}
		if want := "https://fettle.example/series/" + a.Anomaly.Series; len(a.Links) != 1 || a.Links[0].URL != want {
			t.Errorf("links %v, want %s", a.Links, want)
		}
		time.Sleep(2 * time.Second)
		w, features, err := l.pipe.One(t.Context(), a.Anomaly.Series)
		must(t, err)
		if w.Entity != "db1.example.com" || fmt.Sprint(features) != "[{cpu_utilization 1} {memory_utilization 1} {network_io By/s} {disk_io By/s}]" {
			t.Errorf("%+v %v", w, features)
		}
		readings, err := l.pipe.Readings(t.Context(), w.ID, begin, begin.Add(time.Hour))
		must(t, err)
		last := readings[len(readings)-1]
		if last.Values[3] != 120 || !math.IsNaN(float64(last.Values[2])) || last.Values[0] < 0.96 {
			t.Errorf("%+v", last)
		}
	})
}
