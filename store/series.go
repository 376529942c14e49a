package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// SaveChunk writes a stretch of a series over what is known of it.
func (s *Store) SaveChunk(ctx context.Context, tx db.Tx, key string, c ops.SeriesChunk) error {
	labels, err := json.Marshal(c.Series.Labels)
	if err != nil {
		return fmt.Errorf("store: labels of %s: %w", c.Series.Metric, err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO series_chunk (key, step, start, resource, metric, labels, unit, body) VALUES ($1,$2,$3,$4,$5,$6,$7,$8)
		ON CONFLICT (key, step, start) DO UPDATE SET unit=excluded.unit, body=excluded.body`,
		key, c.Step.Milliseconds(), millis(c.Start), c.Series.Resource, c.Series.Metric, string(labels), c.Unit, c.Body)
	if err != nil {
		return fmt.Errorf("store: save %s of %s: %w", c.Series.Metric, c.Series.Resource, err)
	}
	return nil
}

// ChunksOf returns the chunks of a resource that start in [from, to), oldest first.
func (s *Store) ChunksOf(ctx context.Context, resource string, step time.Duration, from, to time.Time) ([]ops.SeriesChunk, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT metric, labels, unit, start, body FROM series_chunk
		WHERE resource = $1 AND step = $2 AND start >= $3 AND start < $4 ORDER BY key, start`, resource, step.Milliseconds(), millis(from), millis(to))
	return db.Collect(rows, err, func(r db.Row) (ops.SeriesChunk, error) {
		c := ops.SeriesChunk{Series: ops.SeriesID{Resource: resource}, Step: step}
		var labels string
		var start int64
		if err := r.Scan(&c.Series.Metric, &labels, &c.Unit, &start, &c.Body); err != nil {
			return c, err
		}
		c.Start = fromMillis(start)
		return c, json.Unmarshal([]byte(labels), &c.Series.Labels)
	})
}

// DropChunks deletes at most limit chunks that start before an instant.
func (s *Store) DropChunks(ctx context.Context, tx db.Tx, step time.Duration, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, `DELETE FROM series_chunk WHERE (key, step, start) IN
		(SELECT key, step, start FROM series_chunk WHERE step = $1 AND start < $2 LIMIT $3)`, step.Milliseconds(), millis(before), int64(limit))
}
