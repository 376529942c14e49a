package webtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// watch is what detection would say of a small fleet, computed from the time
// alone: a value goes up and down with the hour of the day, and leaves its
// band where an anomaly is.
type watch struct{ list []*entity }

// entity is a watched entity of the estate.
type entity struct {
	ops.Watched
	features  []detect.Feature
	anomalies []ops.Anomaly
	silent    [2]time.Time // nothing was measured
	begins    time.Time
}

// hostFeatures are those of the group hosts.
var hostFeatures = []detect.Feature{{Name: "cpu", Unit: "1"}, {Name: "memory", Unit: "1"}, {Name: "network_io", Unit: "By/s"}, {Name: "disk_io", Unit: "By/s"}}

// Ids of watched series: with an open anomaly, one that learns, and one that
// is as expected and had maintenance.
const (
	Unusual  = "5e71e5000000000000000001"
	Learning = "5e71e5000000000000000002"
	Expected = "5e71e5000000000000000003"
	queue    = "5e71e5000000000000000004"
)

// Anomalies of the estate.
const (
	OpenAnomaly = "a0a0a0000000000000000001"
	pastAnomaly = "a0a0a0000000000000000002"
)

func newWatch() *watch {
	seen := start.Add(-20 * time.Second).Truncate(time.Minute)
	w := &watch{}
	add := func(id, group, name string, features []detect.Feature, learned int) *entity {
		e := &entity{
			Watched:  ops.Watched{ID: id, Group: group, Entity: name, Detector: "default", Tier: "full", Learned: learned, Needed: 128, SeenAt: seen},
			features: features, begins: start.Add(-10 * 24 * time.Hour),
		}
		w.list = append(w.list, e)
		return e
	}
	add(Learning, "hosts", "build-runner-07:9100", hostFeatures, 41).begins = start.Add(-41 * time.Minute)
	repaired := add(Expected, "hosts", "checkout-api-prod-eus:9100", hostFeatures, 128)
	syd := add(Unusual, "hosts", "edge-lb-syd:9100", hostFeatures, 128)
	syd.silent = [2]time.Time{start.Add(-220 * time.Minute), start.Add(-195 * time.Minute)}
	for n := range 3 {
		add(fmt.Sprintf("5e71e50000000000000001%02d", n), "hosts", fmt.Sprintf("web-eu-%02d:9100", n+1), hostFeatures, 128)
	}
	add(queue, "queues", "export-worker-asg", []detect.Feature{{Name: "depth"}}, 128)

	open := w.anomaly(syd, OpenAnomaly, start.Add(-38*time.Minute).Truncate(time.Minute), seen.Add(time.Minute), 2)
	open.Open = true
	syd.anomalies = append(syd.anomalies, open)
	syd.Anomaly = open.ID
	hot := start.Add(-115 * time.Minute).Truncate(time.Minute)
	repaired.anomalies = append(repaired.anomalies, w.anomaly(repaired, pastAnomaly, hot, hot.Add(40*time.Minute), 0))
	return w
}

// anomaly composes the record of a stretch in which a feature is off.
func (w *watch) anomaly(e *entity, id string, from, to time.Time, feature int) ops.Anomaly {
	a := ops.Anomaly{
		ID: id, Series: e.ID, Group: e.Group, Entity: e.Entity, Detector: e.Detector, From: from, To: to, Points: int(to.Sub(from) / time.Minute),
		At: from.Add(4 * time.Minute), Score: 0.93, Grade: 0.82, Confidence: 0.97,
	}
	with := *e
	with.anomalies = []ops.Anomaly{{From: from, To: to, Points: feature}}
	r := with.reading(a.At)
	blame := []float64{0.06, 0.04, 0.05, 0.03}[:len(e.features)]
	blame[feature] += 0.82
	order := []int{0, 1, 2, 3}[:len(e.features)]
	slices.SortStableFunc(order, func(x, y int) int { return int(math.Copysign(1, blame[y]-blame[x])) })
	at := func(v float32) *float64 { x := detect.Widen(v); return &x }
	for _, k := range order {
		f := e.features[k]
		a.Features = append(a.Features, ops.FeatureReading{Name: f.Name, Unit: f.Unit, Actual: at(r.Values[k]), Expected: at(r.Expected[k]), Low: at(r.Low[k]), High: at(r.High[k]), Blame: blame[k]})
	}
	for t := a.At.Add(-59 * time.Minute); !t.After(a.At); t = t.Add(time.Minute) {
		a.Spark = append(a.Spark, ops.Point{At: t, Value: detect.Widen(with.reading(t).Values[feature])})
	}
	a.Points = int(to.Sub(from) / time.Minute)
	return a
}

// reading is what was measured and said in the minute that begins at t.
func (e *entity) reading(t time.Time) detect.Reading {
	n := len(e.features)
	row := make([]float32, 4*n)
	r := detect.Reading{At: t.UnixMilli(), Threshold: 1, Values: row[:n], Expected: row[n : 2*n], Low: row[2*n : 3*n], High: row[3*n:]}
	minute := float64(t.Unix() / 60)
	day := math.Sin(2*math.Pi*minute/1440 - 1.2)
	for k, f := range e.features {
		base, sway, noise := 0.34, 0.1, 0.02
		switch f.Name {
		case "memory":
			base, sway, noise = 0.62, 0.03, 0.006
		case "network_io":
			base, sway, noise = 4.2e6, 1.6e6, 3e5
		case "disk_io":
			base, sway, noise = 9e5, 2.5e5, 1.1e5
		case "depth":
			base, sway, noise = 40, 18, 4
		}
		expected := base + sway*day
		v := expected + noise*(0.7*math.Sin(minute*1.7+float64(k))+0.6*math.Sin(minute*0.31+2*float64(k)))
		for _, a := range e.anomalies {
			if off := e.off(a); off == k && !t.Before(a.From) && t.Before(a.To) {
				v += 12 * noise * (0.85 + 0.15*math.Sin(minute*0.9)) * math.Min(1, t.Sub(a.From).Minutes()/4+0.3)
			}
		}
		r.Values[k], r.Expected[k] = float32(v), float32(expected)
		r.Low[k], r.High[k] = float32(expected-2*noise), float32(expected+2*noise)
		r.Raw = max(r.Raw, float32(math.Abs(v-expected)/(2*noise)))
	}
	r.Score = r.Raw / (1 + r.Raw)
	if r.Raw > 1 {
		r.Grade = min(1, (r.Raw-1)/5)
	}
	return r
}

// off is the feature an anomaly is in: the one most to blame.
func (e *entity) off(a ops.Anomaly) int {
	if len(a.Features) == 0 {
		return a.Points
	}
	return slices.IndexFunc(e.features, func(f detect.Feature) bool { return f.Name == a.Features[0].Name })
}

// Series implements detect.Watching.
func (w *watch) Series(_ context.Context, f detect.SeriesFilter) ([]ops.Watched, error) {
	var out []ops.Watched
	for _, e := range w.list {
		g := detect.Group{Name: e.Group, Features: e.features}
		if (f.Group == "" || f.Group == e.Group) && (f.Entity == "" || f.Entity == e.Entity) && g.Finds(e.Entity, f.Text) {
			out = append(out, e.Watched)
		}
	}
	return out, nil
}

// One implements detect.Watching.
func (w *watch) One(_ context.Context, id string) (ops.Watched, []detect.Feature, error) {
	for _, e := range w.list {
		if e.ID == id {
			return e.Watched, e.features, nil
		}
	}
	return ops.Watched{}, nil, fmt.Errorf("series %q is not watched: %w", id, ops.ErrNotFound)
}

// Readings implements detect.Watching.
func (w *watch) Readings(_ context.Context, id string, from, to time.Time) ([]detect.Reading, error) {
	var out []detect.Reading
	for _, e := range w.list {
		if e.ID != id {
			continue
		}
		for t := from.Truncate(time.Minute); t.Before(to) && !t.After(e.SeenAt); t = t.Add(time.Minute) {
			if !t.Before(from) && !t.Before(e.begins) && (t.Before(e.silent[0]) || !t.Before(e.silent[1])) {
				out = append(out, e.reading(t))
			}
		}
	}
	return out, nil
}

// watched fills the house with the fleet and its anomalies.
func (h *House) watched() {
	w := newWatch()
	h.watch.list = w.list
	h.Write(func(ctx context.Context, tx db.Tx) error {
		for _, e := range w.list {
			if err := h.Store.SaveAnomalies(ctx, tx, e.anomalies); err != nil {
				return err
			}
		}
		return nil
	})
}

// Watch adds a series of one feature with an anomaly in its newest minutes, and
// returns its id.
func (h *House) Watch(group, name, feature string) string {
	h.t.Helper()
	e := &entity{
		Watched:  ops.Watched{ID: fmt.Sprintf("5e71e50000000000000002%02d", len(h.watch.list)), Group: group, Entity: name, Detector: group, Learned: 128, Needed: 128, SeenAt: start},
		features: []detect.Feature{{Name: feature, Unit: feature}}, begins: start.Add(-time.Hour),
	}
	a := h.watch.anomaly(e, "a"+e.ID[1:], start.Add(-10*time.Minute), start, 0)
	a.Open, e.Anomaly = true, a.ID
	e.anomalies = []ops.Anomaly{a}
	h.watch.list = append(h.watch.list, e)
	h.Write(func(ctx context.Context, tx db.Tx) error { return h.Store.SaveAnomalies(ctx, tx, e.anomalies) })
	return e.ID
}

// held holds the learning of the series with the open anomaly for its incident.
func (h *House) held(i ops.Incident) {
	for _, e := range h.watch.list {
		if e.ID == Unusual {
			e.Held = []ops.LearningHold{{Why: i.Key() + " is open", Key: i.Key(), From: i.OpenedAt, Until: i.OpenedAt.Add(24 * time.Hour)}}
		}
	}
}

// anomalous makes the first member of an incident the alert about the open
// anomaly.
func (h *House) anomalous(members []ops.Member) {
	for _, e := range h.watch.list {
		if e.ID == Unusual {
			a := e.anomalies[0]
			m := &members[0]
			m.Fingerprint, m.Anomaly, m.Integration = detect.FingerprintOf(e.Group, e.Entity), &a, detect.Sense
			m.Title, m.Resource = a.Features[0].Name+" is unusual on "+e.Entity, detect.ResourceOf(e.Entity)
			m.Context = ops.AlertContext{Metric: a.Features[0].Name, Unit: a.Features[0].Unit, Reason: detect.Sentence(a.Features[0])}
		}
	}
}
