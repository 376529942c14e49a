package detect_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
)

// TestViewOfWhatThePipelineSaw looks at a series through the whole room:
// samples, pipeline, store, view.
func TestViewOfWhatThePipelineSaw(t *testing.T) {
	dir := dbtest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		l := newLab(t, dir)
		defer l.close()
		l.start()
		l.append(records(hosts(2), 2, 0, 500, step, 2)...)
		l.settle()
		v := &detect.Viewer{Watching: l.pipe, Record: l.store}
		page, total, err := v.Series(ctx, ops.WatchedFilter{Entity: "h0:9100"})
		must(t, err)
		if total != 1 || len(page) != 1 || page[0].State() == ops.WatchedLearning {
			t.Fatalf("h0 is %+v of %d", page, total)
		}
		from, to := begin, begin.Add(500*step)
		x, err := v.View(ctx, page[0].ID, from, to)
		must(t, err)
		l.halt()
		if x.Gone || len(x.Features) != 2 || x.Features[1].Name != "m1" || len(x.Findings) != 8 || x.Resource.Name != "h0" {
			t.Errorf("the view holds %d features, %d findings about %q", len(x.Features), len(x.Findings), x.Resource.Name)
		}
		graded := 0
		for i, r := range x.Readings {
			if len(r.Values) != 2 || len(r.High) != 2 || r.Threshold != 1 {
				t.Fatalf("reading %d is %+v", i, r)
			}
			if r.Grade > 0 {
				graded++
				if !(r.Raw > r.Threshold) || !slices.ContainsFunc(x.Findings, func(f detect.Finding) bool {
					at := time.UnixMilli(r.At)
					return !at.Before(f.From.Truncate(time.Minute)) && at.Before(f.To)
				}) {
					t.Errorf("reading %d is graded %v at %v of %v outside every anomaly", i, r.Grade, r.Raw, r.Threshold)
				}
			}
		}
		if graded == 0 {
			t.Error("no reading is graded")
		}
	})
}

// fixed is a Watching of one series.
type fixed struct {
	list     []ops.Watched
	readings []detect.Reading
}

func (f fixed) Series(_ context.Context, q detect.SeriesFilter) ([]ops.Watched, error) {
	return slices.DeleteFunc(slices.Clone(f.list), func(w ops.Watched) bool {
		return q.Group != "" && q.Group != w.Group || q.Entity != "" && q.Entity != w.Entity || !(&detect.Group{Name: w.Group}).Finds(w.Entity, q.Text)
	}), nil
}

func (f fixed) One(_ context.Context, id string) (ops.Watched, []detect.Feature, error) {
	for _, w := range f.list {
		if w.ID == id {
			return w, []detect.Feature{{Name: "cpu"}}, nil
		}
	}
	return ops.Watched{}, nil, ops.ErrNotFound
}

func (f fixed) Readings(context.Context, string, time.Time, time.Time) ([]detect.Reading, error) {
	return slices.Clone(f.readings), nil
}

// nightly is open from one to two every night, and says only the first.
type nightly struct{ asked []ops.Resource }

func (n *nightly) Spans(_ context.Context, r ops.Resource, from, to time.Time) []ops.Occurrence {
	n.asked = append(n.asked, r)
	day := from.Truncate(24 * time.Hour)
	o := ops.Occurrence{Window: "nightly", Start: day.Add(time.Hour), End: day.Add(2 * time.Hour)}
	if !from.Before(o.End) {
		o.Start, o.End = o.Start.Add(24*time.Hour), o.End.Add(24*time.Hour)
	}
	if !o.Start.Before(to) {
		return nil
	}
	return []ops.Occurrence{o}
}

func TestAPageOfSeries(t *testing.T) {
	var all []ops.Watched
	for _, name := range []string{"db1", "db2", "web1", "web2", "web3"} {
		w := ops.Watched{ID: "id-" + name, Group: "hosts", Entity: name, Learned: 128, Needed: 128}
		switch name {
		case "db2":
			w.Learned = 41
		case "web2":
			w.Anomaly = "a"
		}
		all = append(all, w)
	}
	v := &detect.Viewer{Watching: fixed{list: all}}
	f := func(q ops.WatchedFilter, total int, want ...string) {
		t.Helper()
		page, n, err := v.Series(context.Background(), q)
		must(t, err)
		var got []string
		for _, w := range page {
			got = append(got, w.Entity)
		}
		if !slices.Equal(got, want) || n != total {
			t.Errorf("%+v gives %v of %d, want %v of %d", q, got, n, want, total)
		}
	}
	f(ops.WatchedFilter{}, 5, "db1", "db2", "web1", "web2", "web3")
	f(ops.WatchedFilter{Text: "WEB"}, 3, "web1", "web2", "web3")
	f(ops.WatchedFilter{Text: "hosts", Limit: 2}, 5, "db1", "db2")
	f(ops.WatchedFilter{Limit: 2, After: all[1].Cursor()}, 5, "web1", "web2")
	f(ops.WatchedFilter{After: ops.Watched{Group: "hosts", Entity: "forgotten"}.Cursor(), Limit: 1}, 5, "web1")
	f(ops.WatchedFilter{States: []ops.WatchedState{ops.WatchedLearning}}, 1, "db2")
	f(ops.WatchedFilter{States: []ops.WatchedState{ops.WatchedAnomalous}}, 1, "web2")
	f(ops.WatchedFilter{Group: "queues"}, 0)
	if _, _, err := v.Series(context.Background(), ops.WatchedFilter{After: "x"}); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a cursor nobody gave is %v", err)
	}
	if got := all[1].Progress(); got != "learning, 41 of 128 points" {
		t.Errorf("db2 is %q", got)
	}
}

func TestWhatAnEntityIsFoundBy(t *testing.T) {
	g := detect.Group{Name: "Hosts", Features: []detect.Feature{{Name: "cpu"}}, Metrics: []string{"node_cpu_seconds_total"}}
	f := func(text string, want bool) {
		t.Helper()
		if got := g.Finds("Web1:9100", text); got != want {
			t.Errorf("%q finds it: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "web1", "WEB1:9100", "hosts", "hosts web1", "cpu", "node_CPU", "instance=web1", `instance="web1:9100"`, "group=hosts"} {
		f(text, true)
	}
	for _, text := range []string{"web2", "instance", "instance=web2", "job=web1", "memory", "=", "web1="} {
		f(text, false)
	}
}

// TestWhatHappenedAround puts changes, maintenance and incidents beside the
// readings.
func TestWhatHappenedAround(t *testing.T) {
	l := newLab(t, dbtest.Dir(t))
	defer l.close()
	ctx := context.Background()
	noon := begin.Add(12 * time.Hour)
	at := func(min int) time.Time { return noon.Add(time.Duration(min) * time.Minute) }
	write := func(fn func(tx db.Tx) error) { t.Helper(); must(t, l.core.Write(ctx, fn)) }
	write(func(tx db.Tx) error {
		ids, err := l.store.ResolveResources(ctx, tx, []ops.ResourceRef{detect.ResourceOf("web1:9100"), {Kind: "host", Aliases: []string{"host:other"}}})
		if err != nil {
			return err
		}
		for n, c := range []struct {
			resource   string
			start, end int
		}{{ids[0], -30, -20}, {ids[0], -300, -200}, {ids[1], -30, -20}, {ids[0], -90, -55}} {
			id := string(rune('a' + n))
			p := ops.Plan{ID: "plan-" + id, ChangeID: id, Text: id}
			p.Digest = p.ComputeDigest()
			x := ops.Change{ID: id, Number: int64(n + 1), Type: ops.ChangeStandard, State: ops.ChangeClosed, ResourceID: c.resource, CreatedAt: noon, PlanID: p.ID, PlanDigest: p.Digest}
			x.Run = &ops.Run{ID: "run-" + id, ChangeID: id, PlanID: p.ID, Digest: p.Digest, State: ops.RunSucceeded, StartedAt: at(c.start), FinishedAt: at(c.end)}
			if err := l.store.SaveChange(ctx, tx, x, p, time.Time{}); err != nil {
				return err
			}
		}
		planned := ops.Change{ID: "z", Number: 9, Type: ops.ChangeStandard, State: ops.ChangeNew, ResourceID: ids[0], CreatedAt: noon}
		if err := l.store.SaveChange(ctx, tx, planned, ops.Plan{}, time.Time{}); err != nil {
			return err
		}
		// Three anomalies: the first is in INC-1 by time, the second is what INC-2
		// heard last, the third was in maintenance and opened nothing.
		for n, a := range [][2]int{{-50, -45}, {-20, -10}, {-5, -4}} {
			x := ops.Anomaly{ID: string(rune('p' + n)), Series: "id-1", Group: "hosts", Entity: "web1:9100", From: at(a[0]), To: at(a[1])}
			if err := l.store.SaveAnomalies(ctx, tx, []ops.Anomaly{x}); err != nil {
				return err
			}
		}
		for n, m := range [][2]int{{-50, -40}, {-20, -9}} {
			i := ops.Incident{ID: string(rune('1' + n)), Number: int64(n + 1), State: ops.IncidentResolved, Severity: ops.Medium, GroupKey: "g", OpenedAt: at(m[0]), Version: 1}
			if err := l.store.SaveIncident(ctx, tx, i, ""); err != nil {
				return err
			}
			member := ops.Member{Alert: ops.Alert{Fingerprint: detect.FingerprintOf("hosts", "web1:9100"), State: ops.Resolved}, IncidentID: i.ID, FirstSeen: at(m[0]), LastSeen: at(m[1])}
			if n == 1 {
				member.Anomaly = &ops.Anomaly{ID: "q"}
			}
			if err := l.store.SaveMembers(ctx, tx, []ops.Member{member}); err != nil {
				return err
			}
		}
		return nil
	})
	w := &nightly{}
	watched := ops.Watched{ID: "id-1", Group: "hosts", Entity: "web1:9100"}
	v := &detect.Viewer{
		Watching: fixed{[]ops.Watched{watched}, []detect.Reading{{Values: make([]float32, 1)}, {Values: make([]float32, 3)}}}, Record: l.store, Windows: w,
	}
	x, err := v.View(ctx, "id-1", at(-60), at(60))
	must(t, err)
	var changes []string
	for _, c := range x.Changes {
		changes = append(changes, c.ID)
	}
	if !slices.Equal(changes, []string{"d", "a"}) {
		t.Errorf("the changes are %v", changes)
	}
	var incidents []string
	for _, f := range x.Findings {
		key := "none"
		if f.Incident != nil {
			key = f.Incident.Key()
		}
		incidents = append(incidents, f.ID+" "+key)
	}
	if !slices.Equal(incidents, []string{"r none", "q INC-2", "p INC-1"}) {
		t.Errorf("the anomalies are in %v", incidents)
	}
	if len(x.Readings) != 1 {
		t.Error("a reading of other features is shown")
	}
	x, err = v.View(ctx, "id-1", begin, begin.Add(7*24*time.Hour))
	must(t, err)
	if len(x.Windows) != 7 || !x.Windows[6].Start.Equal(begin.Add(145*time.Hour)) {
		t.Errorf("a week has %d nights, the last at %v", len(x.Windows), x.Windows)
	}
	if got := w.asked[0].Labels["instance"]; got != "web1:9100" {
		t.Errorf("windows are asked about the instance %q", got)
	}
	f, err := v.Anomaly(ctx, "q")
	must(t, err)
	if f.Incident == nil || f.Incident.Key() != "INC-2" {
		t.Errorf("q is in %+v", f.Incident)
	}
	for _, span := range [][2]time.Time{{noon, noon}, {noon, at(-1)}, {noon, noon.Add(32 * 24 * time.Hour)}} {
		if _, err := v.View(ctx, "id-1", span[0], span[1]); !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("from %s to %s gives %v", span[0], span[1], err)
		}
	}

	forgotten := &detect.Viewer{Watching: fixed{}, Record: l.store, Windows: w}
	x, err = forgotten.View(ctx, "id-1", at(-60), at(60))
	must(t, err)
	if !x.Gone || x.Entity != "web1:9100" || len(x.Findings) != 3 || len(x.Changes) != 2 {
		t.Errorf("what is watched no more shows %+v", x)
	}
	if _, err := forgotten.View(ctx, "nobody", at(-60), at(60)); !errors.Is(err, ops.ErrNotFound) {
		t.Errorf("a series nobody knows is %v", err)
	}
}

func TestSentence(t *testing.T) {
	p := func(v float64) *float64 { return &v }
	f := func(in ops.FeatureReading, want string) {
		t.Helper()
		if got := detect.Sentence(in); got != want {
			t.Errorf("Sentence(%+v) = %q, want %q", in, got, want)
		}
	}
	f(ops.FeatureReading{Name: "cpu", Unit: "1", Actual: p(0.97), Expected: p(0.31), Low: p(0.25), High: p(0.4)}, "cpu 0.97 where 0.31 was expected (0.25 to 0.4)")
	f(ops.FeatureReading{Name: "net", Unit: "By/s", Actual: p(7_363_646), Expected: p(904_000), Low: p(683_000), High: p(1_123_000)}, "net 7.36 MB/s where 0.9 MB/s was expected (0.68 to 1.12)")
	f(ops.FeatureReading{Name: "free", Unit: "By", Actual: p(900)}, "free 900 B")
	f(ops.FeatureReading{Name: "lag", Unit: "ms", Actual: p(12)}, "lag 12 ms")
	f(ops.FeatureReading{Name: "cpu"}, "cpu was not measured")
}

func TestWiden(t *testing.T) {
	f := func(in float32, want float64) {
		t.Helper()
		if got := detect.Widen(in); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("Widen(%v) = %v, want %v", in, got, want)
		}
	}
	f(0.31, 0.31)
	f(-1e-30, -1e-30)
	f(float32(math.NaN()), math.NaN())
	f(float32(math.Inf(1)), math.Inf(1))
}
