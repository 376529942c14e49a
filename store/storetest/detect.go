package storetest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var detectRules = []rule{
	{
		name:  "detection/fence",
		why:   "two replicas that both score would open every anomaly twice: whoever was taken over may commit nothing more",
		check: fencesDetection,
	},
	{
		name:  "detection/place",
		why:   "what was committed is dropped by a replay, so the place moves only from where it is",
		check: movesDetection,
	},
	{
		name:  "detection/notes",
		why:   "a replay needs what was held before it begins, and the log has let go of it",
		check: keepsNotes,
	},
	{
		name:  "detection/watched",
		why:   "an entity that is known stays as it was first seen: a replay decides by it which samples are its own",
		check: keepsWatched,
	},
	{
		name:  "detection/anomalies",
		why:   "an anomaly that is told again is the same one, and one that is open is never too old",
		check: keepsAnomalies,
	},
	{
		name:  "detection/readings",
		why:   "an hour written twice after a crash is one hour",
		check: keepsReadings,
	},
}

func (h *house) take(holder string, lease time.Duration, alone bool) (p ops.DetectionPlace, err error) {
	h.t.Helper()
	err = h.db.Write(h.ctx, func(tx db.Tx) (err error) {
		p, err = h.store.TakeDetection(h.ctx, tx, 0, holder, h.clock(), h.clock().Add(lease), alone)
		return err
	})
	return p, err
}

func (h *house) move(from int64, to ops.DetectionPlace) error {
	return h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.MoveDetection(h.ctx, tx, 0, from, to) })
}

func (h *house) keepLease(epoch int64, until time.Time) error {
	return h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.KeepDetection(h.ctx, tx, 0, epoch, until) })
}

func fencesDetection(t *testing.T, h *house) {
	a, err := h.take("a", 3*time.Second, false)
	must(t, err)
	_, err = h.take("b", 3*time.Second, false)
	wantClass(t, "b takes what a holds", err, ops.ErrConflict)
	h.pass(2 * time.Second)
	must(t, h.keepLease(a.Epoch, h.clock().Add(3*time.Second)))
	h.pass(2 * time.Second)
	_, err = h.take("b", 3*time.Second, false)
	wantClass(t, "b takes what a holds on to", err, ops.ErrConflict)
	must(t, h.move(0, ops.DetectionPlace{Epoch: a.Epoch, Committed: 7, ReplayFrom: 3}))

	h.pass(2 * time.Second)
	b, err := h.take("b", 3*time.Second, false)
	must(t, err)
	if b.Epoch <= a.Epoch || b.Committed != 7 || b.ReplayFrom != 3 {
		t.Errorf("b begins at %+v after %+v", b, a)
	}
	wantClass(t, "a commits after b took over", h.move(7, ops.DetectionPlace{Epoch: a.Epoch, Committed: 9, ReplayFrom: 3}), ops.ErrConflict)
	wantClass(t, "a extends a lease that is over", h.keepLease(a.Epoch, h.clock().Add(time.Hour)), ops.ErrConflict)

	must(t, h.keepLease(b.Epoch, time.Time{})) // gives it back
	c, err := h.take("c", 3*time.Second, false)
	must(t, err)
	again, err := h.take("c", 3*time.Second, false)
	must(t, err)
	alone, err := h.take("d", 3*time.Second, true)
	must(t, err)
	if again.Epoch != c.Epoch+1 || alone.Epoch != c.Epoch+2 {
		t.Errorf("epochs %d, %d, %d: each tenure needs one of its own", c.Epoch, again.Epoch, alone.Epoch)
	}
}

func movesDetection(t *testing.T, h *house) {
	if p, err := h.store.Detection(h.ctx, 0); err != nil || p != (ops.DetectionPlace{}) {
		t.Errorf("before the first owner: %+v, %v", p, err)
	}
	p, err := h.take("a", time.Second, false)
	must(t, err)
	to := ops.DetectionPlace{Epoch: p.Epoch, Committed: 5, ReplayFrom: 2}
	must(t, h.move(0, to))
	wantClass(t, "from where it is no longer", h.move(0, ops.DetectionPlace{Epoch: p.Epoch, Committed: 6}), ops.ErrConflict)
	must(t, h.move(5, to))
	if got, err := h.store.Detection(h.ctx, 0); err != nil || got != to {
		t.Errorf("%+v, %v, want %+v", got, err, to)
	}
}

func keepsNotes(t *testing.T, h *house) {
	at := h.clock().UnixMilli()
	note := func(pos, until int64) ops.DetectionNote {
		return ops.DetectionNote{Offset: pos, Until: until, Body: fmt.Appendf(nil, "%d", pos)}
	}
	h.write(func(tx db.Tx) error {
		return h.store.SaveDetectionNotes(h.ctx, tx, []ops.DetectionNote{note(1, 0), note(2, at-5), note(3, at+5), note(4, 0), note(5, 0), note(9, at-5)})
	})
	h.write(func(tx db.Tx) error { // a repeat
		return h.store.SaveDetectionNotes(h.ctx, tx, []ops.DetectionNote{{Offset: 3, Until: 1, Body: []byte("other")}})
	})
	f := func(upTo int64, want string) {
		t.Helper()
		notes, err := h.store.DetectionNotes(h.ctx, upTo)
		must(t, err)
		got := ""
		for _, n := range notes {
			got += fmt.Sprintf("%d=%s ", n.Offset, n.Body)
		}
		if got != want {
			t.Errorf("up to %d: %q, want %q", upTo, got, want)
		}
	}
	f(4, "1=1 2=2 3=3 4=4 ")
	h.write(func(tx db.Tx) error { return h.store.DropDetectionNotes(h.ctx, tx, 4, h.clock()) })
	f(99, "3=3 4=4 5=5 9=9 ") // 1 was replaced by 4, 2 is over; 9 is after 4
}

func keepsWatched(t *testing.T, h *house) {
	a := ops.Watched{ID: "a", Group: "hosts", Entity: "web1", Detector: "rcf", Tier: "full", First: 7, Learned: 1, Needed: 9}
	b := ops.Watched{ID: "b", Group: "apps", Entity: "shop", Detector: "rcf", First: 8}
	save := func(w ...ops.Watched) {
		h.write(func(tx db.Tx) error { return h.store.SaveWatched(h.ctx, tx, w) })
	}
	save(a, b)
	now := a
	now.First, now.Tier, now.Learned, now.SeenAt = 99, "small", 3, h.clock()
	save(now)
	h.write(func(tx db.Tx) error {
		return h.store.SaveAnomalies(h.ctx, tx, []ops.Anomaly{{ID: "x", Series: "a", Open: true}})
	})
	got, err := h.store.Watched(h.ctx)
	must(t, err)
	a.Learned, a.SeenAt, a.Anomaly = 3, h.clock(), "x"
	if len(got) != 2 || !reflect.DeepEqual(got[0], b) || !reflect.DeepEqual(got[1], a) {
		t.Errorf("%+v, want %+v and %+v", got, b, a)
	}
	h.write(func(tx db.Tx) error { return h.store.ForgetWatched(h.ctx, tx, []string{"a", "unknown"}) })
	if got, err = h.store.Watched(h.ctx); err != nil || len(got) != 1 || got[0].ID != "b" {
		t.Errorf("%+v, %v", got, err)
	}
}

func keepsAnomalies(t *testing.T, h *house) {
	at := func(hours int) time.Time { return h.clock().Add(time.Duration(hours) * time.Hour) }
	save := func(a ...ops.Anomaly) {
		h.write(func(tx db.Tx) error { return h.store.SaveAnomalies(h.ctx, tx, a) })
	}
	save(ops.Anomaly{ID: "old", Series: "a", From: at(-9), To: at(-8)}, ops.Anomaly{ID: "long", Series: "a", From: at(-9), To: at(-8), Open: true},
		ops.Anomaly{ID: "new", Series: "b", From: at(-2), To: at(-1), Open: true})
	save(ops.Anomaly{ID: "new", Series: "b", From: at(-2), To: at(0), Points: 7})
	f := func(series string, from, to, limit int, want string) {
		t.Helper()
		list, err := h.store.Anomalies(h.ctx, series, at(from), at(to), limit)
		must(t, err)
		got := ""
		for _, a := range list {
			got += fmt.Sprintf("%s:%d ", a.ID, a.Points)
		}
		if got != want {
			t.Errorf("%q from %d to %d: %q, want %q", series, from, to, got, want)
		}
	}
	f("", -99, 99, 9, "new:7 long:0 old:0 ")
	f("", -99, 99, 1, "new:7 ")
	f("a", -99, 99, 9, "long:0 old:0 ")
	f("a", -7, 99, 9, "long:0 ") // it is open still
	f("b", -99, -3, 9, "")
	open, err := h.store.OpenAnomalies(h.ctx)
	must(t, err)
	if len(open) != 1 || open[0].ID != "long" {
		t.Errorf("open: %+v", open)
	}
	h.write(func(tx db.Tx) error {
		_, err := h.store.DropAnomalies(h.ctx, tx, at(-5), 10)
		return err
	})
	f("", -99, 99, 9, "new:7 long:0 ")
}

func keepsReadings(t *testing.T, h *house) {
	at := func(hours int) time.Time { return h.clock().Add(time.Duration(hours) * time.Hour) }
	chunk := func(series string, hour int, body string) ops.ReadingChunk {
		return ops.ReadingChunk{Series: series, Start: at(hour), Body: []byte(body)}
	}
	save := func(c ...ops.ReadingChunk) {
		h.write(func(tx db.Tx) error { return h.store.SaveReadings(h.ctx, tx, c) })
	}
	save(chunk("a", 1, "x"), chunk("a", 2, "y"), chunk("b", 1, "z"))
	save(chunk("a", 2, "again"))
	f := func(from, to int, want string) {
		t.Helper()
		list, err := h.store.Readings(h.ctx, "a", at(from), at(to))
		must(t, err)
		got := ""
		for _, c := range list {
			got += string(c.Body) + " "
		}
		if got != want {
			t.Errorf("from %d to %d: %q, want %q", from, to, got, want)
		}
	}
	f(0, 9, "x again ")
	f(2, 9, "again ")
	f(0, 2, "x ")
	h.write(func(tx db.Tx) error {
		n, err := h.store.DropReadings(h.ctx, tx, at(2), 10)
		if err == nil && n != 2 {
			t.Errorf("%d dropped, want 2", n)
		}
		return err
	})
	f(0, 9, "again ")
}
