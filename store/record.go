package store

import (
	"context"
	"errors"
	"fmt"

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
	out := record.Record{Key: key}
	err := r.db.Read().QueryRow(ctx, "SELECT version, value FROM record WHERE namespace = $1 AND key = $2",
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
	for _, e := range edits {
		if err := e.Check(); err != nil {
			return fmt.Errorf("%w: %w", err, ops.ErrInvalid)
		}
	}
	return r.db.Write(ctx, func(tx db.Tx) error {
		// One count over all keys, so that a key that was deleted and comes back
		// never has a version again that somebody has seen.
		var version int64
		err := tx.QueryRow(ctx, `INSERT INTO number (kind, last) VALUES ('record', 1)
			ON CONFLICT (kind) DO UPDATE SET last = number.last + 1 RETURNING last`).Scan(&version)
		if err != nil {
			return fmt.Errorf("store: next record version: %w", err)
		}
		for _, e := range edits {
			if err := r.write(ctx, tx, e, version); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *records) write(ctx context.Context, tx db.Tx, e record.Edit, version int64) error {
	var n int64
	var err error
	key := []byte(e.Key)
	switch {
	case e.Value == nil:
		n, err = tx.Exec(ctx, "DELETE FROM record WHERE namespace = $1 AND key = $2 AND (version = $3 OR $3 = -1)", r.namespace, key, e.Version)
		if e.Version == record.Any {
			n = 1 // it does not matter whether there was one
		}
	case e.Version > 0:
		n, err = tx.Exec(ctx, "UPDATE record SET value = $3, version = $4 WHERE namespace = $1 AND key = $2 AND version = $5",
			r.namespace, key, e.Value, version, e.Version)
	default:
		n, err = tx.Exec(ctx, `INSERT INTO record (namespace, key, version, value) VALUES ($1, $2, $3, $4)
			ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, version = excluded.version WHERE $5 = -1`,
			r.namespace, key, version, e.Value, e.Version)
	}
	if err != nil {
		return fmt.Errorf("store: write record %s: %w", e.Key, err)
	}
	if n == 0 {
		return fmt.Errorf("record %s is no longer at version %d: %w: %w", e.Key, e.Version, record.ErrMoved, ops.ErrConflict)
	}
	return nil
}
