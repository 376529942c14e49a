package analytics_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestInstant holds every minute of the day against an oracle that walks all
// instants of two days, around clock changes in both hemispheres.
func TestInstant(t *testing.T) {
	f := func(zoneName, day string) {
		t.Helper()
		z := zone(t, zoneName)
		d, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		first := map[string]time.Time{} // wall clock -> first instant that shows it
		for at := d.Add(-15 * time.Hour); at.Before(d.Add(39 * time.Hour)); at = at.Add(time.Minute) {
			local := at.In(z)
			key := local.Format("2006-01-02 15:04")
			if _, seen := first[key]; !seen {
				first[key] = at
			}
		}
		for minute := range 24 * 60 {
			team := analytics.Team{Zone: z, Hour: minute / 60, Minute: minute % 60}
			got := team.Instant(d.Year(), d.Month(), d.Day()).UTC()
			want, exists := first[fmt.Sprintf("%s %02d:%02d", day, team.Hour, team.Minute)]
			if !exists { // in a gap: the same distance after midnight as if the clock had not moved
				want = first[day+" 00:00"].Add(time.Duration(minute) * time.Minute)
			}
			if !got.Equal(want) {
				t.Errorf("%s %s %02d:%02d is %s, want %s", zoneName, day, team.Hour, team.Minute, got, want)
				return
			}
		}
	}
	f("Europe/Berlin", "2026-03-29")
	f("Europe/Berlin", "2026-10-25")
	f("America/New_York", "2026-03-08")
	f("America/New_York", "2026-11-01")
	f("Australia/Lord_Howe", "2026-04-05")
	f("Australia/Lord_Howe", "2026-10-04")
	f("Asia/Kolkata", "2026-11-21")
	f("UTC", "2026-11-21")
}

type world struct {
	t     *testing.T
	store *store.Store
	db    *db.DB
	room  *analytics.Room
	now   time.Time
	n     int64
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func newWorld(t *testing.T, start time.Time, teams ...analytics.Team) *world {
	t.Helper()
	d := schema.Open(t)
	w := &world{t: t, db: d, now: start}
	clock := func() time.Time { return w.now }
	w.store = store.New(d, clock)
	w.room = &analytics.Room{Teams: teams, Record: w.store, Facts: w.store, DB: d, Clock: clock, Logger: slog.New(slog.DiscardHandler)}
	return w
}

// incident opens one for a team and moves it through states, each after a wait.
func (w *world) incident(team string, moves ...any) {
	w.t.Helper()
	w.n++
	i := ops.Incident{ID: fmt.Sprint("i", w.n), Number: w.n, State: ops.IncidentNew, Team: team, OpenedAt: w.now, UpdatedAt: w.now, Version: 1}
	save := func(was ops.IncidentState) {
		w.t.Helper()
		if err := w.db.Write(context.Background(), func(tx db.Tx) error { return w.store.SaveIncident(context.Background(), tx, i, was) }); err != nil {
			w.t.Fatal(err)
		}
	}
	save("")
	at := w.now
	for k := 0; k < len(moves); k += 2 {
		at = at.Add(moves[k].(time.Duration))
		was := i.State
		i.State, i.UpdatedAt = moves[k+1].(ops.IncidentState), at
		i.Version++
		save(was)
	}
}

func (w *world) snapshots(team string) string {
	w.t.Helper()
	if err := w.room.Count(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	list, err := w.store.Snapshots(context.Background(), team, time.Time{}, w.now.Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, b := range list {
		out = append(out, fmt.Sprintf("%s %s %d", b.Day, b.At.Format("15:04"), b.Count))
	}
	return strings.Join(out, "; ")
}

func TestTheDailySnapshotIsTakenAtTheTeamsEvening(t *testing.T) {
	ny := zone(t, "America/New_York")
	w := newWorld(t, time.Date(2026, 10, 31, 12, 0, 0, 0, ny), analytics.Team{Name: "EUC", Zone: ny, Hour: 19})
	w.incident("EUC")
	w.incident("EUC", 26*time.Hour, ops.IncidentResolved)
	w.incident("Support")
	if got := w.snapshots("EUC"); got != "" {
		t.Errorf("before the evening: %q", got)
	}
	w.now = time.Date(2026, 11, 3, 0, 0, 0, 0, ny) // the server was off for two evenings; the clock went back on the first of November
	want := "2026-10-31 23:00 2; 2026-11-01 00:00 1; 2026-11-02 00:00 1"
	if got := w.snapshots("EUC"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := w.snapshots("EUC"); got != want {
		t.Errorf("counting twice changed it to %q", got)
	}
}

func TestBacklogAtAnyInstant(t *testing.T) {
	w := newWorld(t, time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	start := w.now
	w.incident("EUC", 90*time.Minute, ops.IncidentResolved, time.Hour, ops.IncidentInProgress)
	points, err := w.room.Backlog(context.Background(), "", start.Add(-time.Hour), start.Add(3*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range points {
		got = append(got, fmt.Sprintf("%s=%d", p.At.Format("15"), p.Count))
	}
	if s := strings.Join(got, " "); s != "00=1 01=1 02=0 03=1" {
		t.Errorf("got %s", s)
	}
}

func TestMTTRCountsToTheLastResolution(t *testing.T) {
	w := newWorld(t, time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	start := w.now
	w.incident("EUC", time.Hour, ops.IncidentResolved, 24*time.Hour, ops.IncidentClosed)
	w.incident("EUC", time.Hour, ops.IncidentResolved, time.Hour, ops.IncidentInProgress, time.Hour, ops.IncidentResolved)
	w.incident("EUC", time.Hour, ops.IncidentResolved, time.Hour, ops.IncidentInProgress) // open again: not counted
	w.incident("Support", 10*time.Hour, ops.IncidentResolved)
	r, err := w.room.MTTR(context.Background(), "EUC", start, start.Add(48*time.Hour))
	if err != nil || r.Resolved != 2 || r.Mean != 2*time.Hour {
		t.Errorf("got %+v, %v; want 2 incidents with a mean of 2h", r, err)
	}
}
