package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// SaveIncident writes an incident. A version of 1 inserts it; a higher one
// replaces the version before it, and ops.ErrConflict says that somebody else
// was faster. A change of state is kept as a transition too.
func (s *Store) SaveIncident(ctx context.Context, tx db.Tx, i ops.Incident, was ops.IncidentState) error {
	body, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("store: incident %s: %w", i.Key(), err)
	}
	search := strings.ToLower(i.Key() + " " + i.Title + " " + i.Rule + " " + i.Resource)
	if i.Version == 1 {
		_, err = tx.Exec(ctx, `INSERT INTO incident (id, number, state, severity, team, group_key, resource_id, search, opened_at, resolved_at, version, body)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)`,
			i.ID, i.Number, string(i.State), string(i.Severity), i.Team, i.GroupKey, i.ResourceID, search, millis(i.OpenedAt), millis(i.ResolvedAt), i.Version, string(body))
	} else {
		var n int64
		n, err = tx.Exec(ctx, `UPDATE incident SET state=$2, severity=$3, team=$4, resource_id=$5, search=$6, resolved_at=$7, version=$8, body=$9
			WHERE id=$1 AND version=$8-1`,
			i.ID, string(i.State), string(i.Severity), i.Team, i.ResourceID, search, millis(i.ResolvedAt), i.Version, string(body))
		if err == nil && n == 0 {
			return fmt.Errorf("store: %s is no longer at version %d: %w", i.Key(), i.Version-1, ops.ErrConflict)
		}
	}
	if err != nil {
		return fmt.Errorf("store: save %s: %w", i.Key(), err)
	}
	if i.State == was {
		return nil
	}
	_, err = tx.Exec(ctx, `INSERT INTO incident_transition (incident_id, at, from_state, to_state, team, severity, seq) VALUES ($1,$2,$3,$4,$5,$6,$7)`,
		i.ID, millis(i.UpdatedAt), string(was), string(i.State), i.Team, string(i.Severity), i.Version)
	if err != nil {
		return fmt.Errorf("store: transition of %s: %w", i.Key(), err)
	}
	return nil
}

// SaveMembers writes members over what is known of them. No two may be the
// same alert of the same incident.
func (s *Store) SaveMembers(ctx context.Context, tx db.Tx, members []ops.Member) error {
	rows := make([][]any, len(members))
	for i, m := range members {
		body, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("store: alert %s: %w", m.Fingerprint, err)
		}
		rows[i] = []any{m.Fingerprint, m.IncidentID, string(m.State), millis(m.StartsAt), millis(m.LastSeen), m.Joined, string(body)}
	}
	err := db.InsertMany(ctx, tx, "INSERT INTO alert (fingerprint, incident_id, state, starts_at, last_seen, joined, body)",
		`ON CONFLICT (fingerprint, incident_id) DO UPDATE SET state=excluded.state, starts_at=excluded.starts_at, last_seen=excluded.last_seen, joined=excluded.joined, body=excluded.body`, rows)
	if err != nil {
		return fmt.Errorf("store: save %d alerts: %w", len(members), err)
	}
	return nil
}

func scanBody[T any](r db.Row) (T, error) {
	var v T
	var body string
	if err := r.Scan(&body); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return v, fmt.Errorf("store: read a %T: %w: %w", v, err, ops.ErrInternal)
	}
	return v, nil
}

// Incident returns the incident with this id or number (INC-42 or 42).
func (s *Store) Incident(ctx context.Context, idOrKey string) (ops.Incident, error) {
	return s.incident(ctx, s.db.Read(), idOrKey)
}

// IncidentIn is Incident inside a transaction, where it sees the caller's own writes.
func (s *Store) IncidentIn(ctx context.Context, tx db.Tx, idOrKey string) (ops.Incident, error) {
	return s.incident(ctx, tx, idOrKey)
}

func (s *Store) incident(ctx context.Context, r db.Reader, idOrKey string) (ops.Incident, error) {
	column, value := "id", any(idOrKey)
	if n, ok := number("INC", idOrKey); ok {
		column, value = "number", n
	}
	i, err := scanBody[ops.Incident](r.QueryRow(ctx, "SELECT body FROM incident WHERE "+column+" = $1", value))
	if errors.Is(err, db.ErrNoRows) {
		return i, fmt.Errorf("there is no incident %q: %w", idOrKey, ops.ErrNotFound)
	}
	if err != nil {
		return i, fmt.Errorf("store: read incident %q: %w", idOrKey, err)
	}
	return i, nil
}

// number reads INC-42, inc-42 or 42 as the number 42 of the prefix INC.
func number(prefix, s string) (int64, bool) {
	if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) && s[len(prefix)] == '-' {
		s = s[len(prefix)+1:]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0
}

// Incidents returns the incidents a filter selects, newest first.
func (s *Store) Incidents(ctx context.Context, f ops.IncidentFilter) ([]ops.Incident, error) {
	q := newQuery("SELECT body FROM incident")
	whereIn(q, "state", f.States)
	whereIn(q, "severity", f.Severities)
	if f.Team != "" {
		q.where("team = ?", f.Team)
	}
	if f.Resource != "" {
		q.where("resource_id = ?", f.Resource)
	}
	if f.Text != "" {
		q.where(`search LIKE ? ESCAPE '\'`, "%"+escapeLike(strings.ToLower(f.Text))+"%")
	}
	if !f.OpenedFrom.IsZero() {
		q.where("opened_at >= ?", millis(f.OpenedFrom))
	}
	if !f.OpenedTo.IsZero() {
		q.where("opened_at < ?", millis(f.OpenedTo))
	}
	if f.Before > 0 {
		q.where("number < ?", f.Before)
	}
	text, args := q.end(" ORDER BY number DESC LIMIT ?", limit(f.Limit))
	rows, err := s.db.Read().Query(ctx, text, args...)
	return db.Collect(rows, err, scanBody[ops.Incident])
}

// LiveIncidents returns what correlation must remember: every open incident
// and those resolved since the given time.
func (s *Store) LiveIncidents(ctx context.Context, resolvedSince time.Time) ([]ops.Incident, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT body FROM incident WHERE state IN ('new','in_progress','on_hold') OR (state = 'resolved' AND resolved_at >= $1) ORDER BY number`,
		millis(resolvedSince))
	return db.Collect(rows, err, scanBody[ops.Incident])
}

// Members returns the alerts of an incident, those that fire first, then newest first.
func (s *Store) Members(ctx context.Context, incidentID string) ([]ops.Member, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT body FROM alert WHERE incident_id = $1 ORDER BY state, last_seen DESC, fingerprint", incidentID)
	return db.Collect(rows, err, scanBody[ops.Member])
}

// FirstMembers returns the alerts of an incident that began first, at most so
// many, those that fire before the others.
func (s *Store) FirstMembers(ctx context.Context, incidentID string, most int) ([]ops.Member, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT body FROM alert WHERE incident_id = $1 ORDER BY state, starts_at, fingerprint LIMIT $2", incidentID, int64(most))
	return db.Collect(rows, err, scanBody[ops.Member])
}

// MembersAfter returns alerts of an incident in the order of their fingerprints,
// those after one, at most so many.
func (s *Store) MembersAfter(ctx context.Context, incidentID, fingerprint string, most int) ([]ops.Member, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT body FROM alert WHERE incident_id = $1 AND fingerprint > $2 ORDER BY fingerprint LIMIT $3", incidentID, fingerprint, int64(most))
	return db.Collect(rows, err, scanBody[ops.Member])
}

// Joined returns the alerts of an incident that fire and last joined it by the
// messages of a span, in that order.
func (s *Store) Joined(ctx context.Context, incidentID string, span ops.Span) ([]ops.Member, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT body FROM alert WHERE incident_id = $1 AND joined BETWEEN $2 AND $3 AND state = $4 ORDER BY joined, fingerprint",
		incidentID, span.First, span.Last, string(ops.Firing))
	return db.Collect(rows, err, scanBody[ops.Member])
}

// LatestMember returns the newest record of an alert over all incidents.
func (s *Store) LatestMember(ctx context.Context, fingerprint string) (ops.Member, error) {
	m, err := scanBody[ops.Member](s.db.Read().QueryRow(ctx, "SELECT body FROM alert WHERE fingerprint = $1 ORDER BY last_seen DESC LIMIT 1", fingerprint))
	if errors.Is(err, db.ErrNoRows) {
		return m, fmt.Errorf("there is no alert %q: %w", fingerprint, ops.ErrNotFound)
	}
	return m, err
}
