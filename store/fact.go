package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const factColumns = "seq, id, subject, kind, version, at, recorded_at, principal, cause, body, prev, hash"

// Tell records facts in the order given and returns them as recorded: with
// their sequence numbers, ids and place in their subject's hash chain.
func (s *Store) Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	var last int64
	var first string // hash of the newest fact about what the first of facts is about
	err := tx.QueryRow(ctx, `SELECT COALESCE((SELECT MAX(seq) FROM fact), 0), COALESCE((SELECT hash FROM fact WHERE subject = $1 ORDER BY seq DESC LIMIT 1), '')`,
		facts[0].Subject).Scan(&last, &first)
	if err != nil {
		return nil, fmt.Errorf("store: read the last fact, and that about %s: %w", facts[0].Subject, err)
	}
	now := s.clock().UTC().Truncate(time.Millisecond)
	prev := map[string]string{facts[0].Subject: first}
	out := make([]ops.Fact, 0, len(facts))
	for _, f := range facts {
		if f.Subject == "" || f.Kind == "" {
			return nil, fmt.Errorf("store: a fact needs subject and kind, got %q and %q: %w", f.Subject, f.Kind, ops.ErrInternal)
		}
		hash, known := prev[f.Subject]
		if !known {
			err := tx.QueryRow(ctx, "SELECT hash FROM fact WHERE subject = $1 ORDER BY seq DESC LIMIT 1", f.Subject).Scan(&hash)
			if err != nil && !errors.Is(err, db.ErrNoRows) {
				return nil, fmt.Errorf("store: read the chain of %s: %w", f.Subject, err)
			}
		}
		last++
		f.Seq, f.ID, f.RecordedAt, f.Prev = last, s.newID(), now, hash
		f.At = f.At.UTC().Truncate(time.Millisecond)
		f.Hash = f.ComputeHash()
		prev[f.Subject] = f.Hash
		tx.Send(ctx, "INSERT INTO fact ("+factColumns+") VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)",
			f.Seq, f.ID, f.Subject, string(f.Kind), int64(f.Version), f.At.UnixMilli(), f.RecordedAt.UnixMilli(), f.Principal, f.Cause, string(f.Body), f.Prev, f.Hash)
		out = append(out, f)
	}
	for _, f := range s.told {
		tx.AfterCommit(f)
	}
	return out, nil
}

func scanFact(r db.Row) (ops.Fact, error) {
	var f ops.Fact
	var kind, body string
	var version, at, recorded int64
	err := r.Scan(&f.Seq, &f.ID, &f.Subject, &kind, &version, &at, &recorded, &f.Principal, &f.Cause, &body, &f.Prev, &f.Hash)
	f.Kind, f.Body, f.Version = ops.FactKind(kind), []byte(body), int(version)
	f.At, f.RecordedAt = fromMillis(at), fromMillis(recorded)
	return f, err
}

// FactsAfter returns at most limit facts with a sequence number above after,
// oldest first. No kinds means all kinds.
func (s *Store) FactsAfter(ctx context.Context, after int64, limit int, kinds ...ops.FactKind) ([]ops.Fact, error) {
	query, args := "SELECT "+factColumns+" FROM fact WHERE seq > $1", []any{after}
	if len(kinds) > 0 {
		marks := make([]string, len(kinds))
		for i, k := range kinds {
			args = append(args, string(k))
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		query += " AND kind IN (" + strings.Join(marks, ",") + ")"
	}
	args = append(args, int64(limit))
	query += fmt.Sprintf(" ORDER BY seq LIMIT $%d", len(args))
	rows, err := s.db.Read().Query(ctx, query, args...)
	return db.Collect(rows, err, scanFact)
}

// FactsAbout returns every fact of a subject, oldest first.
func (s *Store) FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT "+factColumns+" FROM fact WHERE subject = $1 ORDER BY seq", subject)
	return db.Collect(rows, err, scanFact)
}

// LastFact returns the sequence number of the newest fact, zero when there is none.
func (s *Store) LastFact(ctx context.Context) (int64, error) {
	var last int64
	err := s.db.Read().QueryRow(ctx, "SELECT COALESCE(MAX(seq), 0) FROM fact").Scan(&last)
	return last, err
}

// Cursor returns how far the named follower has come, zero at the beginning.
func (s *Store) Cursor(ctx context.Context, name string) (int64, error) {
	var at int64
	err := s.db.Read().QueryRow(ctx, "SELECT position FROM cursor WHERE name = $1", name).Scan(&at)
	if errors.Is(err, db.ErrNoRows) {
		return 0, nil
	}
	return at, err
}

// MoveCursor moves a follower from one position to the next inside the
// transaction that holds what it did there. It returns ops.ErrConflict when
// another replica has moved it already; the caller then rolls back and reads
// the position again.
func (s *Store) MoveCursor(ctx context.Context, tx db.Tx, name string, from, to int64) error {
	n, err := tx.Exec(ctx, "UPDATE cursor SET position = $3 WHERE name = $1 AND position = $2", name, from, to)
	if err == nil && n == 0 && from == 0 {
		n, err = tx.Exec(ctx, "INSERT INTO cursor (name, position) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, to)
	}
	if err != nil {
		return fmt.Errorf("store: move cursor %s: %w", name, err)
	}
	if n == 0 {
		return fmt.Errorf("store: cursor %s is no longer at %d: %w", name, from, ops.ErrConflict)
	}
	return nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
