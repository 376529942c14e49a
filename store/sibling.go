package store

import (
	"context"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// maxAlike bounds how many resources of a kind are looked at for those alike.
const maxAlike = 10_000

// ResourcesLike returns the ids of the resources of the same kind with the same
// labels team and service, in the order of their ids; none when the resource
// has neither label.
func (s *Store) ResourcesLike(ctx context.Context, own ops.Resource) ([]string, error) {
	team, service := own.Labels["team"], own.Labels["service"]
	if team == "" && service == "" {
		return nil, nil
	}
	rows, err := s.db.Read().Query(ctx, "SELECT id, labels FROM resource WHERE kind = $1 AND id <> $2 AND merged_into = '' ORDER BY id LIMIT $3", own.Kind, own.ID, int64(maxAlike))
	found, err := db.Collect(rows, err, func(r db.Row) (ops.Resource, error) {
		var out ops.Resource
		return out, r.Scan(&out.ID, inJSON{&out.Labels})
	})
	if err != nil {
		return nil, fmt.Errorf("store: resources like %s: %w", own.ID, err)
	}
	var out []string
	for _, r := range found {
		if r.Labels["team"] == team && r.Labels["service"] == service {
			out = append(out, r.ID)
		}
	}
	return out, nil
}

// ResourcesTouched returns the ids of the resources on which a run began in
// [from, to) or has not ended.
func (s *Store) ResourcesTouched(ctx context.Context, from, to time.Time) (map[string]bool, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT DISTINCT resource_id FROM run
		WHERE resource_id <> '' AND (started_at >= $1 AND started_at < $2 OR state NOT IN ($3, $4, $5))`,
		millis(from), millis(to), string(ops.RunSucceeded), string(ops.RunFailed), string(ops.RunRolledBack))
	ids, err := db.Collect(rows, err, func(r db.Row) (string, error) {
		var id string
		return id, r.Scan(&id)
	})
	if err != nil {
		return nil, fmt.Errorf("store: resources touched: %w", err)
	}
	out := map[string]bool{}
	for _, id := range ids {
		out[id] = true
	}
	return out, nil
}
