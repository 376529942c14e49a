package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// searchOf is what people may find an anomaly by.
func searchOf(a *ops.Anomaly) string {
	words := []string{a.Group, a.Entity}
	for _, f := range a.Features {
		if f.Blame > 0 {
			words = append(words, f.Name)
		}
	}
	return strings.ToLower(strings.Join(words, " "))
}

// FindAnomalies returns the anomalies a filter selects, newest onset first.
func (s *Store) FindAnomalies(ctx context.Context, f ops.AnomalyFilter) ([]ops.Anomaly, error) {
	q := newQuery("SELECT body FROM anomaly")
	if len(f.States) > 0 {
		marks, values := make([]string, len(f.States)), make([]any, len(f.States))
		for i, state := range f.States {
			marks[i], values[i] = "?", bit(state == ops.AnomalyOpen)
		}
		q.where("is_open IN ("+strings.Join(marks, ",")+")", values...)
	}
	for _, c := range []struct{ column, value string }{{"series", f.Series}, {"watchers", f.Group}, {"entity", f.Entity}} {
		if c.value != "" {
			q.where(c.column+" = ?", c.value)
		}
	}
	if f.Text != "" {
		q.where(`search LIKE ? ESCAPE '\'`, "%"+escapeLike(strings.ToLower(f.Text))+"%")
	}
	if !f.From.IsZero() {
		q.where("(to_at > ? OR is_open = 1)", millis(f.From))
	}
	if !f.To.IsZero() {
		q.where("from_at < ?", millis(f.To))
	}
	if f.Before != "" {
		from, id, err := ops.ParseAnomalyCursor(f.Before)
		if err != nil {
			return nil, err
		}
		q.where("(from_at < ? OR (from_at = ? AND id > ?))", millis(from), millis(from), id)
	}
	text, args := q.end(" ORDER BY from_at DESC, id LIMIT ?", limit(f.Limit))
	rows, err := s.db.Read().Query(ctx, text, args...)
	found, err := db.Collect(rows, err, scanBody[ops.Anomaly])
	if err != nil {
		return nil, fmt.Errorf("store: find anomalies: %w", err)
	}
	return found, nil
}

// Anomaly returns the anomaly with this id.
func (s *Store) Anomaly(ctx context.Context, id string) (ops.Anomaly, error) {
	a, err := scanBody[ops.Anomaly](s.db.Read().QueryRow(ctx, "SELECT body FROM anomaly WHERE id = $1", id))
	if errors.Is(err, db.ErrNoRows) {
		return a, fmt.Errorf("there is no anomaly %q: %w", id, ops.ErrNotFound)
	}
	if err != nil {
		return a, fmt.Errorf("store: read anomaly %q: %w", id, err)
	}
	return a, nil
}

// IncidentsOfAlert returns the newest incidents, at most 100, that an alert is
// or was a member of, each with that member, newest first.
func (s *Store) IncidentsOfAlert(ctx context.Context, fingerprint string) ([]ops.Membership, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT a.body, i.body FROM alert a JOIN incident i ON i.id = a.incident_id
		WHERE a.fingerprint = $1 ORDER BY i.number DESC LIMIT 100`, fingerprint)
	found, err := db.Collect(rows, err, func(r db.Row) (ops.Membership, error) {
		var m ops.Membership
		var member, incident string
		if err := r.Scan(&member, &incident); err != nil {
			return m, err
		}
		return m, errors.Join(json.Unmarshal([]byte(member), &m.Member), json.Unmarshal([]byte(incident), &m.Incident))
	})
	if err != nil {
		return nil, fmt.Errorf("store: incidents of alert %s: %w", fingerprint, err)
	}
	return found, nil
}
