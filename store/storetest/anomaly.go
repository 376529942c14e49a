package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var anomalyRules = []rule{
	{
		name:  "anomaly/find",
		why:   "people look for anomalies by entity, group, feature, state and time, page by page, and a page neither repeats nor leaves out one",
		check: findsAnomalies,
	},
	{
		name:  "anomaly/incident",
		why:   "an anomaly leads to its incident by the fingerprint of its alert",
		check: findsMemberships,
	},
}

func findsAnomalies(t *testing.T, h *house) {
	at := func(min int) time.Time { return h.clock().Add(time.Duration(min) * time.Minute) }
	anomaly := func(id, series, group, entity, feature string, from, to int, open bool) ops.Anomaly {
		return ops.Anomaly{
			ID: id, Series: series, Group: group, Entity: entity, From: at(from), To: at(to), Open: open,
			Features: []ops.FeatureReading{{Name: feature, Blame: 0.9}, {Name: "innocent"}},
		}
	}
	save := func(list ...ops.Anomaly) {
		h.write(func(tx db.Tx) error { return h.store.SaveAnomalies(h.ctx, tx, list) })
	}
	save(
		anomaly("a1", "s1", "hosts", "web1:9100", "cpu", -90, -80, false),
		anomaly("a2", "s1", "hosts", "web1:9100", "disk_io", -60, -50, true),
		anomaly("b1", "s2", "hosts", "Web2:9100", "cpu", -60, -40, false),
		anomaly("c1", "s3", "queues", "100%", "depth", -30, -20, false),
	)
	f := func(f ops.AnomalyFilter, want string) {
		t.Helper()
		list, err := h.store.FindAnomalies(h.ctx, f)
		must(t, err)
		var got []string
		for _, a := range list {
			got = append(got, a.ID)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%+v finds %q, want %q", f, s, want)
		}
	}
	f(ops.AnomalyFilter{}, "c1 a2 b1 a1")
	f(ops.AnomalyFilter{Series: "s1"}, "a2 a1")
	f(ops.AnomalyFilter{Group: "queues"}, "c1")
	f(ops.AnomalyFilter{Entity: "web1:9100", States: []ops.AnomalyState{ops.AnomalyOver}}, "a1")
	f(ops.AnomalyFilter{States: []ops.AnomalyState{ops.AnomalyOpen, ops.AnomalyOver}}, "c1 a2 b1 a1")
	f(ops.AnomalyFilter{Text: "WEB2"}, "b1")
	f(ops.AnomalyFilter{Text: "cpu"}, "b1 a1")
	f(ops.AnomalyFilter{Text: "innocent"}, "")
	f(ops.AnomalyFilter{Text: "%"}, "c1")
	f(ops.AnomalyFilter{From: at(-45)}, "c1 a2 b1")
	f(ops.AnomalyFilter{From: at(-15)}, "a2") // it is open
	f(ops.AnomalyFilter{To: at(-60)}, "a1")   // the end of a span is outside it
	f(ops.AnomalyFilter{From: at(-85), To: at(-55)}, "a2 b1 a1")

	var walked []string
	for before := ""; ; {
		page, err := h.store.FindAnomalies(h.ctx, ops.AnomalyFilter{Before: before, Limit: 1})
		must(t, err)
		if len(page) == 0 {
			break
		}
		walked = append(walked, page[0].ID)
		before = page[0].Cursor()
	}
	if s := strings.Join(walked, " "); s != "c1 a2 b1 a1" {
		t.Errorf("page by page there are %s", s)
	}
	for _, bad := range []string{"x", "-", "12-", "x-a1"} {
		_, err := h.store.FindAnomalies(h.ctx, ops.AnomalyFilter{Before: bad})
		wantClass(t, "cursor "+bad, err, ops.ErrInvalid)
	}

	grown := anomaly("a1", "s1", "hosts", "web1:9100", "memory", -90, -70, false)
	save(grown)
	f(ops.AnomalyFilter{Text: "memory"}, "a1")
	a, err := h.store.Anomaly(h.ctx, "a1")
	must(t, err)
	if !a.To.Equal(grown.To) {
		t.Errorf("a1 ends at %s", a.To)
	}
	_, err = h.store.Anomaly(h.ctx, "nobody")
	wantClass(t, "an anomaly nobody saw", err, ops.ErrNotFound)
}

func findsMemberships(t *testing.T, h *house) {
	for n, id := range []string{"i-1", "i-2", "i-3"} {
		h.write(func(tx db.Tx) error {
			i := ops.Incident{ID: id, Number: int64(n + 1), State: ops.IncidentNew, Severity: ops.Medium, GroupKey: id, OpenedAt: h.clock(), Version: 1}
			if err := h.store.SaveIncident(h.ctx, tx, i, ""); err != nil {
				return err
			}
			m := ops.Member{Alert: ops.Alert{Fingerprint: "f", State: ops.Firing, Anomaly: &ops.Anomaly{ID: "a-" + id}}, IncidentID: id}
			if n == 1 {
				m.Fingerprint = "another"
			}
			return h.store.SaveMembers(h.ctx, tx, []ops.Member{m})
		})
	}
	found, err := h.store.IncidentsOfAlert(h.ctx, "f")
	must(t, err)
	if len(found) != 2 || found[0].Incident.Key() != "INC-3" || found[1].Incident.Key() != "INC-1" || found[1].Member.Anomaly.ID != "a-i-1" {
		t.Errorf("the alert is in %+v", found)
	}
	if none, err := h.store.IncidentsOfAlert(h.ctx, "nobody"); err != nil || len(none) != 0 {
		t.Errorf("an unknown alert is in %+v, %v", none, err)
	}
}
