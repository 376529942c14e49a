package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// Records returns the table of one owner; owners never see each other's keys.
func (s *Store) Records(namespace string) record.Table {
	return &records{db: s.db, namespace: namespace}
}

type records struct {
	db        *db.DB
	namespace string
}

func (r *records) Get(ctx context.Context, key string) (record.Record, error) {
	return r.get(ctx, r.db.Read(), key)
}

func (r *records) get(ctx context.Context, from db.Reader, key string) (record.Record, error) {
	out := record.Record{Key: key}
	err := from.QueryRow(ctx, "SELECT version, value FROM record WHERE namespace = $1 AND key = $2",
		r.namespace, []byte(key)).Scan(&out.Version, &out.Value)
	switch {
	case errors.Is(err, db.ErrNoRows):
		return record.Record{}, fmt.Errorf("record %s: %w: %w", key, record.ErrMissing, ops.ErrNotFound)
	case err != nil:
		return record.Record{}, fmt.Errorf("store: read record %s: %w", key, err)
	}
	return out, nil
}

func (r *records) List(ctx context.Context, prefix, after string, limit int) ([]record.Record, error) {
	// No valid UTF-8 holds the byte 0xff, so it ends the range of the prefix.
	to := append([]byte(prefix), 0xff)
	rows, err := r.db.Read().Query(ctx, `SELECT key, version, value FROM record
		WHERE namespace = $1 AND key >= $2 AND key < $3 AND key > $4 ORDER BY key LIMIT $5`,
		r.namespace, []byte(prefix), to, []byte(after), int64(limit))
	out, err := db.Collect(rows, err, func(row db.Row) (record.Record, error) {
		var rec record.Record
		var key []byte
		err := row.Scan(&key, &rec.Version, &rec.Value)
		rec.Key = string(key)
		return rec, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: list records %s: %w", prefix, err)
	}
	return out, nil
}

func (r *records) Write(ctx context.Context, edits ...record.Edit) error {
	return r.db.Write(ctx, func(tx db.Tx) error { return r.apply(ctx, tx, edits) })
}

func (r *records) Transact(ctx context.Context, f func(ctx context.Context, now record.Reader) ([]record.Edit, error)) error {
	return r.db.Write(ctx, func(tx db.Tx) error {
		edits, err := f(ctx, recordsIn{r, tx})
		if err != nil {
			return err
		}
		return r.apply(ctx, tx, edits)
	})
}

// recordsIn reads the table as a transaction sees it.
type recordsIn struct {
	*records
	tx db.Tx
}

func (r recordsIn) Get(ctx context.Context, key string) (record.Record, error) {
	return r.get(ctx, r.tx, key)
}

// apply refuses before it writes, so that a writer who comes too late costs
// those it shares the transaction with nothing.
func (r *records) apply(ctx context.Context, tx db.Tx, edits []record.Edit) error {
	for _, e := range edits {
		if err := e.Check(); err != nil {
			return fmt.Errorf("%w: %w", err, ops.ErrInvalid)
		}
	}
	if len(edits) == 0 {
		return nil
	}
	versions, err := r.versions(ctx, tx, edits)
	if err != nil {
		return err
	}
	for _, e := range edits {
		if e.Version != record.Any && versions[e.Key] != e.Version {
			return fmt.Errorf("record %s is no longer at version %d: %w: %w", e.Key, e.Version, record.ErrMoved, ops.ErrConflict)
		}
	}
	// One count over all keys, so that a key that was deleted and comes back
	// never has a version again that somebody has seen.
	var version int64
	err = tx.QueryRow(ctx, `INSERT INTO number (kind, last) VALUES ('record', 1)
		ON CONFLICT (kind) DO UPDATE SET last = number.last + 1 RETURNING last`).Scan(&version)
	if err != nil {
		return fmt.Errorf("store: next record version: %w", err)
	}
	for _, e := range edits {
		if e.Value == nil {
			tx.Send(ctx, "DELETE FROM record WHERE namespace = $1 AND key = $2", r.namespace, []byte(e.Key))
			continue
		}
		tx.Send(ctx, `INSERT INTO record (namespace, key, version, value) VALUES ($1, $2, $3, $4)
			ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, version = excluded.version`,
			r.namespace, []byte(e.Key), version, e.Value)
	}
	return nil
}

// versions returns at which version the edited records are, those that are
// there.
func (r *records) versions(ctx context.Context, tx db.Tx, edits []record.Edit) (map[string]int64, error) {
	out := make(map[string]int64, len(edits))
	for part := range slices.Chunk(edits, maxMarks) {
		args := []any{r.namespace}
		for _, e := range part {
			args = append(args, []byte(e.Key))
		}
		rows, err := tx.Query(ctx, "SELECT key, version FROM record WHERE namespace = $1 AND key IN ("+strings.TrimPrefix(marks(len(args)), "$1,")+")", args...)
		_, err = db.Collect(rows, err, func(row db.Row) (struct{}, error) {
			var key []byte
			var version int64
			err := row.Scan(&key, &version)
			out[string(key)] = version
			return struct{}{}, err
		})
		if err != nil {
			return nil, fmt.Errorf("store: versions of records: %w", err)
		}
	}
	return out, nil
}
