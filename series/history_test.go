package series_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/store"
)

var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

type world struct {
	t     *testing.T
	db    *db.DB
	store *store.Store
	h     *series.History
	now   time.Time
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func newWorld(t *testing.T) *world {
	t.Helper()
	d := schema.Open(t)
	w := &world{t: t, db: d, now: start}
	w.store = store.New(d, func() time.Time { return w.now })
	w.restart()
	return w
}

func (w *world) restart() {
	w.h = series.Open(w.store, w.db, func() time.Time { return w.now }, series.Retention{})
}

// measure appends one sample of cpu every step, its value the minute number.
func (w *world) measure(d, step time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(step) {
		v := float64(int(w.now.Sub(start) / time.Minute))
		err := w.h.Append(context.Background(), []ops.Sample{{Series: ops.SeriesID{Resource: "web1", Metric: "cpu"}, Unit: "1", Point: ops.Point{At: w.now, Value: v}}})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) flush() {
	w.t.Helper()
	if err := w.h.Flush(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// recent describes the last d of web1: metric, points, first and last value.
func (w *world) recent(d time.Duration) string {
	w.t.Helper()
	list, err := w.h.Recent(context.Background(), "web1", w.now.Add(-d), w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, s := range list {
		for i := 1; i < len(s.Points); i++ {
			if !s.Points[i].At.After(s.Points[i-1].At) {
				w.t.Errorf("points out of order at %s", s.Points[i].At)
			}
		}
		out = append(out, fmt.Sprintf("%s %d points %.0f..%.0f", s.Metric, len(s.Points), s.Points[0].Value, s.Points[len(s.Points)-1].Value))
	}
	return strings.Join(out, "; ")
}

func TestRecentIsRawThenMinutesThenHours(t *testing.T) {
	w := newWorld(t)
	w.measure(5*time.Hour, 10*time.Second)
	w.flush()
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := w.recent(d); got != want {
			t.Errorf("last %s: got %q, want %q", d, got, want)
		}
	}
	f(time.Hour, "cpu 360 points 240..299")
	if got := w.recent(5 * time.Hour); !strings.HasSuffix(got, " 0..299") {
		t.Errorf("five hours: %s", got)
	}
}

func TestARestartGoesOnWithTheSameHour(t *testing.T) {
	w := newWorld(t)
	w.measure(30*time.Minute, 10*time.Second)
	w.flush()
	w.restart()
	w.measure(10*time.Minute, 10*time.Second)
	w.flush()
	w.restart()
	if got, want := w.recent(time.Hour), "cpu 40 points 0..39"; got != want {
		t.Errorf("got %q, want %q: minutes of both lives", got, want)
	}
}

// brokenWriter refuses to write while it is broken.
type brokenWriter struct {
	*db.DB
	broken bool
}

func (b *brokenWriter) Write(ctx context.Context, fn func(db.Tx) error) error {
	if b.broken {
		return errors.New("the disk is full")
	}
	return b.DB.Write(ctx, fn)
}

func TestAFlushThatFailsIsMadeUpForAcrossTheHour(t *testing.T) {
	w := newWorld(t)
	writer := &brokenWriter{DB: w.db, broken: true}
	w.h = series.Open(w.store, writer, func() time.Time { return w.now }, series.Retention{})
	w.measure(50*time.Minute, time.Minute)
	if err := w.h.Flush(context.Background()); err == nil {
		t.Fatal("a refused write was not reported")
	}
	w.measure(30*time.Minute, time.Minute) // the hour ends meanwhile
	if err := w.h.Flush(context.Background()); err == nil {
		t.Fatal("a refused write was not reported")
	}
	writer.broken = false
	w.flush()
	w.restart()
	if got, want := w.recent(2*time.Hour), "cpu 80 points 0..79"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRetainDropsOnlyWhatIsPastItsTime(t *testing.T) {
	w := newWorld(t)
	w.measure(2*time.Hour, time.Minute)
	w.flush()
	w.restart()
	w.now = start.Add(31 * 24 * time.Hour)
	if err := w.h.Retain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.recent(32*24*time.Hour), "cpu 2 points 30..90"; got != want {
		t.Errorf("got %q, want %q: the hours outlive the minutes", got, want)
	}
}

func BenchmarkAppend(b *testing.B) {
	d := schema.OpenAt(b, filepath.Join(b.TempDir(), "fettle.db"))
	h := series.Open(store.New(d, time.Now), d, time.Now, series.Retention{})
	at := start
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Second)
		if err := h.Append(context.Background(), []ops.Sample{{Series: ops.SeriesID{Resource: "web1", Metric: "cpu"}, Point: ops.Point{At: at, Value: 1}}}); err != nil {
			b.Fatal(err)
		}
	}
}
