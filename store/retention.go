package store

import (
	"context"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Retention is how long each class of record stays. Facts stay for ever.
type Retention struct {
	Raw    time.Duration // signals with their raw payloads
	Alerts time.Duration // alerts that have resolved, and commands that have finished
}

// DefaultRetention keeps raw payloads 30 days and alerts 400 days.
var DefaultRetention = Retention{Raw: 30 * 24 * time.Hour, Alerts: 400 * 24 * time.Hour}

// expiring is one table that does not keep its rows for ever. Each noun that
// has one adds its line to the list below.
type expiring struct {
	table string
	key   string // its primary key, the columns separated by commas
	aged  string // a condition with $1, the time in milliseconds before which a row has aged
	age   func(Retention) time.Duration
	// sequence: the key numbers the rows. SQLite gives a number out again when
	// the newest row is gone, so that row stays.
	sequence bool
}

var expire = []expiring{
	{table: "command", key: "seq", aged: "state <> 'waiting' AND finished_at < $1", age: func(r Retention) time.Duration { return r.Alerts }, sequence: true},
	{table: "alert", key: "fingerprint, incident_id", aged: "state = 'resolved' AND last_seen < $1", age: func(r Retention) time.Duration { return r.Alerts }},
	{table: "notification", key: "id", aged: "state IN ('sent', 'listed', 'given_up') AND made_at < $1", age: func(r Retention) time.Duration { return r.Alerts }},
	{table: "session", key: "hash", aged: "expires_at < $1", age: func(Retention) time.Duration { return 0 }},
	{table: "blob", key: "digest", aged: "keep_until < $1", age: func(Retention) time.Duration { return 0 }},
}

// retainBatch bounds the rows one transaction deletes, so that retention never
// holds up a write for long.
const retainBatch = 500

// Retain deletes what has aged, a batch per transaction, and returns how many
// rows went. A period of zero or less is refused: it would delete everything.
func (s *Store) Retain(ctx context.Context, r Retention, now time.Time) (int64, error) {
	if r.Raw <= 0 || r.Alerts <= 0 {
		return 0, fmt.Errorf("store: retention periods must be positive, got %s and %s: %w", r.Raw, r.Alerts, ops.ErrInvalid)
	}
	total, err := s.batches(ctx, func(tx db.Tx) (int64, error) { return s.TrimSignals(ctx, tx, now.Add(-r.Raw), retainBatch) })
	if err != nil {
		return total, err
	}
	for _, e := range expire {
		statement := fmt.Sprintf("DELETE FROM %[1]s WHERE (%[2]s) IN (SELECT %[2]s FROM %[1]s WHERE %[3]s", e.table, e.key, e.aged)
		if e.sequence {
			statement += fmt.Sprintf(" AND %[1]s < (SELECT MAX(%[1]s) FROM %[2]s)", e.key, e.table)
		}
		statement += " LIMIT $2)"
		before := millis(now.Add(-e.age(r)))
		n, err := s.batches(ctx, func(tx db.Tx) (int64, error) { return tx.Exec(ctx, statement, before, int64(retainBatch)) })
		total += n
		if err != nil {
			return total, fmt.Errorf("store: delete what has aged in %s: %w", e.table, err)
		}
	}
	return total, nil
}

// batches runs drop, a transaction each, until it finds less than a full batch.
func (s *Store) batches(ctx context.Context, drop func(tx db.Tx) (int64, error)) (total int64, err error) {
	for gone := int64(retainBatch); gone == retainBatch; total += gone {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		err := s.db.Write(ctx, func(tx db.Tx) (err error) {
			gone, err = drop(tx)
			return err
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
