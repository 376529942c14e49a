// Package analytics answers questions about the record: the backlog of a team
// at any instant, its daily snapshots, how long incidents take to resolve. It
// computes from the transitions of incidents, never from samples that may be
// missing.
package analytics

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Team is a team with the local time of day its backlog is counted at.
type Team struct {
	Name   string
	Zone   *time.Location
	Hour   int
	Minute int
}

// maxBackfill bounds how many days a team's missing snapshots are made up for.
const maxBackfill = 400

// Record is what analytics reads and keeps.
type Record interface {
	BacklogAt(ctx context.Context, at time.Time) (map[string]int, error)
	FirstTransition(ctx context.Context) (time.Time, error)
	Transitions(ctx context.Context, from, to time.Time, f func(ops.Transition) error) error
	SaveSnapshot(ctx context.Context, tx db.Tx, b ops.BacklogSnapshot) (bool, error)
	Snapshots(ctx context.Context, team string, from, to time.Time) ([]ops.BacklogSnapshot, error)
	LastSnapshot(ctx context.Context, team string) (string, error)
}

// Teller records facts.
type Teller interface {
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
}

// Writer runs write transactions.
type Writer interface {
	Write(ctx context.Context, fn func(tx db.Tx) error) error
}

// Room answers and, once a day and team, counts.
type Room struct {
	Teams  []Team
	Record Record
	Facts  Teller
	DB     Writer
	Clock  clock.Clock
	Logger *slog.Logger
}

// Instant returns when the team's time of day comes on a local date. Where the
// clock skips it, that is the same wall clock time counted with the offset
// before the gap (02:30 becomes 03:30); where it comes twice, the first.
func (t Team) Instant(year int, month time.Month, day int) time.Time {
	at := time.Date(year, month, day, t.Hour, t.Minute, 0, 0, t.Zone)
	if at.Hour() != t.Hour || at.Minute() != t.Minute {
		// In a gap time.Date may use the offset before or after it. Counted with
		// the offset before, the result lies after the gap.
		_, before := at.Add(-24 * time.Hour).Zone()
		return time.Date(year, month, day, t.Hour, t.Minute, 0, 0, time.UTC).Add(-time.Duration(before) * time.Second).In(t.Zone)
	}
	// In an overlap the same wall clock time also comes an offset change earlier.
	_, off := at.Zone()
	_, earlier := at.Add(-3 * time.Hour).Zone()
	if first := at.Add(-time.Duration(earlier-off) * time.Second); earlier > off && first.Hour() == t.Hour && first.Minute() == t.Minute {
		return first
	}
	return at
}

// Count makes every snapshot that is due and not there yet. It catches up
// after an outage, because the count is computed for the instant it stands
// for, and is safe to run at any time and on several replicas.
func (r *Room) Count(ctx context.Context) error {
	first, err := r.Record.FirstTransition(ctx)
	if err != nil {
		return fmt.Errorf("analytics: %w", err)
	}
	now := r.Clock()
	if first.IsZero() {
		first = now
	}
	for _, t := range r.Teams {
		if err := r.countTeam(ctx, t, first, now); err != nil {
			return fmt.Errorf("analytics: backlog of %s: %w", t.Name, err)
		}
	}
	return nil
}

func (r *Room) countTeam(ctx context.Context, t Team, first, now time.Time) error {
	last, err := r.Record.LastSnapshot(ctx, t.Name)
	if err != nil {
		return err
	}
	from := now.In(t.Zone).AddDate(0, 0, -maxBackfill)
	if local := first.In(t.Zone); local.After(from) {
		from = local
	}
	for day := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, time.UTC); ; day = day.AddDate(0, 0, 1) {
		at := t.Instant(day.Year(), day.Month(), day.Day())
		if at.After(now) {
			return nil
		}
		name := day.Format(time.DateOnly)
		if name <= last {
			continue
		}
		counts, err := r.Record.BacklogAt(ctx, at)
		if err != nil {
			return err
		}
		b := ops.BacklogSnapshot{Team: t.Name, Day: name, At: at.UTC(), Count: counts[t.Name]}
		err = r.DB.Write(ctx, func(tx db.Tx) error {
			made, err := r.Record.SaveSnapshot(ctx, tx, b)
			if err != nil || !made {
				return err
			}
			_, err = r.Facts.Tell(ctx, tx, ops.NewFact(ops.SystemSubject, at, ops.SystemPrincipal, "", ops.BacklogCountedBody(b)))
			return err
		})
		if err != nil {
			return err
		}
	}
}

// BacklogPoint is the backlog of one team at one instant.
type BacklogPoint struct {
	At    time.Time `json:"at"`
	Team  string    `json:"team"`
	Count int       `json:"backlog_incident_count"`
}

// Backlog returns the backlog at the end of every step in [from, to], per
// team, computed from transitions; an empty team means all teams that ever had
// an incident, in the order of their names.
func (r *Room) Backlog(ctx context.Context, team string, from, to time.Time, step time.Duration) ([]BacklogPoint, error) {
	if step <= 0 || !from.Before(to) || to.Sub(from)/step > 10_000 {
		return nil, fmt.Errorf("from %s to %s by %s is no range of 1 to 10,000 steps: %w", from.Format(time.RFC3339), to.Format(time.RFC3339), step, ops.ErrInvalid)
	}
	counts, err := r.Record.BacklogAt(ctx, from)
	if err != nil {
		return nil, err
	}
	var out []BacklogPoint
	emit := func(at time.Time) {
		names := make([]string, 0, len(counts))
		for t := range counts {
			names = append(names, t)
		}
		slices.Sort(names)
		for _, t := range names {
			if team == "" || t == team {
				out = append(out, BacklogPoint{At: at.UTC(), Team: t, Count: counts[t]})
			}
		}
	}
	next := from
	err = r.Record.Transitions(ctx, from.Add(time.Millisecond), to.Add(time.Millisecond), func(t ops.Transition) error {
		for t.At.After(next) {
			emit(next)
			next = next.Add(step)
		}
		counts[t.Team] += delta(t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for !next.After(to) {
		emit(next)
		next = next.Add(step)
	}
	return out, nil
}

func delta(t ops.Transition) int {
	d := 0
	if t.To.Open() {
		d++
	}
	if t.From.Open() {
		d--
	}
	return d
}

// Resolution says how long incidents took from opening to being resolved.
type Resolution struct {
	Team     string        `json:"team,omitempty"`
	Resolved int           `json:"resolved"` // how many were resolved in the range
	Mean     time.Duration `json:"mttr"`     // mean time to resolve
	Median   time.Duration `json:"median"`
	P90      time.Duration `json:"p90"`
}

// MTTR returns the time to resolve of the incidents whose last resolution
// falls in [from, to), counted from their opening, over all reopenings. An
// empty team means all.
func (r *Room) MTTR(ctx context.Context, team string, from, to time.Time) (Resolution, error) {
	opened := map[string]time.Time{}
	took := map[string]time.Duration{}
	err := r.Record.Transitions(ctx, time.UnixMilli(1), to, func(t ops.Transition) error {
		if team != "" && t.Team != team {
			return nil
		}
		if t.From == "" {
			opened[t.IncidentID] = t.At
		}
		switch {
		case t.To == ops.IncidentResolved && !t.At.Before(from):
			took[t.IncidentID] = t.At.Sub(opened[t.IncidentID])
		case t.To.Open():
			delete(took, t.IncidentID) // reopened: it was not over
		}
		return nil
	})
	if err != nil {
		return Resolution{}, err
	}
	all := make([]time.Duration, 0, len(took))
	var sum time.Duration
	for _, d := range took {
		all = append(all, d)
		sum += d
	}
	out := Resolution{Team: team, Resolved: len(all)}
	if len(all) == 0 {
		return out, nil
	}
	slices.Sort(all)
	rank := func(q float64) time.Duration { return all[min(len(all)-1, int(q*float64(len(all))))] }
	out.Mean, out.Median, out.P90 = sum/time.Duration(len(all)), rank(0.5), rank(0.9)
	return out, nil
}

// ParseTimeOfDay reads 19:00.
func ParseTimeOfDay(s string) (hour, minute int, err error) {
	t, err := time.Parse("15:04", strings.TrimSpace(s))
	if err != nil {
		return 0, 0, fmt.Errorf("time of day %q is not like 19:00: %w", s, ops.ErrInvalid)
	}
	return t.Hour(), t.Minute(), nil
}
