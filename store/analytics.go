package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Transitions calls f with every change of an incident's state in [from, to),
// oldest first, until f returns an error.
func (s *Store) Transitions(ctx context.Context, from, to time.Time, f func(ops.Transition) error) error {
	rows, err := s.db.Read().Query(ctx, `SELECT incident_id, at, from_state, to_state, team, severity FROM incident_transition
		WHERE at >= $1 AND at < $2 ORDER BY at, incident_id, seq`, millis(from), millis(to))
	if err != nil {
		return fmt.Errorf("store: read transitions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t ops.Transition
		var at int64
		var was, is, severity string
		if err := rows.Scan(&t.IncidentID, &at, &was, &is, &t.Team, &severity); err != nil {
			return fmt.Errorf("store: read a transition: %w", err)
		}
		t.At, t.From, t.To, t.Severity = fromMillis(at), ops.IncidentState(was), ops.IncidentState(is), ops.Severity(severity)
		if err := f(t); err != nil {
			return err
		}
	}
	return rows.Err()
}

// openDelta is +1 for a transition into the open states and -1 for one out of them.
const openDelta = `(CASE WHEN to_state IN ('new','in_progress','on_hold') THEN 1 ELSE 0 END - CASE WHEN from_state IN ('new','in_progress','on_hold') THEN 1 ELSE 0 END)`

// BacklogAt returns how many incidents of each team were open at an instant,
// computed from the transitions up to and including it.
func (s *Store) BacklogAt(ctx context.Context, at time.Time) (map[string]int, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT team, SUM(`+openDelta+`) FROM incident_transition WHERE at <= $1 GROUP BY team`, millis(at))
	type count struct {
		team string
		n    int64
	}
	counts, err := db.Collect(rows, err, func(r db.Row) (count, error) {
		var c count
		return c, r.Scan(&c.team, &c.n)
	})
	if err != nil {
		return nil, fmt.Errorf("store: backlog at %s: %w", at.Format(time.RFC3339), err)
	}
	out := map[string]int{}
	for _, c := range counts {
		out[c.team] = int(c.n)
	}
	return out, nil
}

// FirstTransition returns when the first incident opened, zero when none has.
func (s *Store) FirstTransition(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.db.Read().QueryRow(ctx, "SELECT COALESCE(MIN(at), 0) FROM incident_transition").Scan(&at)
	return fromMillis(at), err
}

// SaveSnapshot keeps a day's snapshot and reports whether it is new. A day
// that has one keeps it.
func (s *Store) SaveSnapshot(ctx context.Context, tx db.Tx, b ops.BacklogSnapshot) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO backlog_snapshot (team, day, at, count) VALUES ($1,$2,$3,$4) ON CONFLICT (team, day) DO NOTHING`,
		b.Team, b.Day, millis(b.At), int64(b.Count))
	if err != nil {
		return false, fmt.Errorf("store: save the backlog of %s on %s: %w", b.Team, b.Day, err)
	}
	return n == 1, nil
}

// Snapshots returns a team's snapshots in [from, to), oldest first; an empty
// team means all teams.
func (s *Store) Snapshots(ctx context.Context, team string, from, to time.Time) ([]ops.BacklogSnapshot, error) {
	q := newQuery("SELECT team, day, at, count FROM backlog_snapshot")
	q.where("at >= ?", millis(from))
	q.where("at < ?", millis(to))
	if team != "" {
		q.where("team = ?", team)
	}
	text, args := q.end(" ORDER BY at, team")
	rows, err := s.db.Read().Query(ctx, text, args...)
	return db.Collect(rows, err, func(r db.Row) (ops.BacklogSnapshot, error) {
		var b ops.BacklogSnapshot
		var at, count int64
		err := r.Scan(&b.Team, &b.Day, &at, &count)
		b.At, b.Count = fromMillis(at), int(count)
		return b, err
	})
}

// LastSnapshot returns the local date of a team's newest snapshot, empty when it has none.
func (s *Store) LastSnapshot(ctx context.Context, team string) (string, error) {
	var day string
	err := s.db.Read().QueryRow(ctx, "SELECT day FROM backlog_snapshot WHERE team = $1 ORDER BY day DESC LIMIT 1", team).Scan(&day)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	return day, err
}
