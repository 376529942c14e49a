package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// ReplaceEdges makes links all that a source says about what needs what. Names
// that no resource answers to create one. It is atomic with tx, and saying the
// same again changes nothing.
func (s *Store) ReplaceEdges(ctx context.Context, tx db.Tx, source string, links []graph.Link) error {
	if source == "" {
		return fmt.Errorf("store: the source of edges is empty: %w", ops.ErrInvalid)
	}
	refs := make([]ops.ResourceRef, 0, 2*len(links))
	for _, l := range links {
		refs = append(refs, l.From, l.To)
	}
	ids, err := s.ResolveResources(ctx, tx, refs)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM resource_edge WHERE source = $1", source); err != nil {
		return fmt.Errorf("store: forget the edges of %s: %w", source, err)
	}
	for i := range links {
		if err := s.addEdge(ctx, tx, graph.Edge{From: ids[2*i], To: ids[2*i+1], Source: source}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) addEdge(ctx context.Context, tx db.Tx, e graph.Edge) error {
	if e.From == "" || e.To == "" || e.From == e.To {
		return nil
	}
	if _, err := tx.Exec(ctx, "INSERT INTO resource_edge (source, resource_id, needs_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", e.Source, e.From, e.To); err != nil {
		return fmt.Errorf("store: add the edge from %s to %s: %w", e.From, e.To, err)
	}
	return nil
}

// mergeEdges makes what was said about a merged resource be about the kept one.
func (s *Store) mergeEdges(ctx context.Context, tx db.Tx, keep, merge string) error {
	for _, statement := range []string{
		"INSERT INTO resource_edge (source, resource_id, needs_id) SELECT source, $1, needs_id FROM resource_edge WHERE resource_id = $2 AND needs_id <> $1 ON CONFLICT DO NOTHING",
		"INSERT INTO resource_edge (source, resource_id, needs_id) SELECT source, resource_id, $1 FROM resource_edge WHERE needs_id = $2 AND resource_id <> $1 ON CONFLICT DO NOTHING",
		"DELETE FROM resource_edge WHERE (resource_id = $2 OR needs_id = $2) AND $1 <> $2",
	} {
		if _, err := tx.Exec(ctx, statement, keep, merge); err != nil {
			return fmt.Errorf("store: merge the edges of %s into %s: %w", merge, keep, err)
		}
	}
	return nil
}

func scanEdge(r db.Row) (graph.Edge, error) {
	var e graph.Edge
	return e, r.Scan(&e.Source, &e.From, &e.To)
}

// Needs returns the ids of everything a resource depends on, directly or
// through others, without the resource itself.
func (s *Store) Needs(ctx context.Context, id string) ([]string, error) {
	return s.reach(ctx, id, "needs_id", "resource_id")
}

// NeededBy returns the ids of everything that depends on a resource, directly
// or through others, without the resource itself.
func (s *Store) NeededBy(ctx context.Context, id string) ([]string, error) {
	return s.reach(ctx, id, "resource_id", "needs_id")
}

// reach follows the edges from one column to the other as far as they lead.
func (s *Store) reach(ctx context.Context, id, to, from string) ([]string, error) {
	rows, err := s.db.Read().Query(ctx, `WITH RECURSIVE reach (id) AS (
			SELECT `+to+` FROM resource_edge WHERE `+from+` = $1
			UNION SELECT e.`+to+` FROM resource_edge e JOIN reach ON e.`+from+` = reach.id)
		SELECT id FROM reach WHERE id <> $1 ORDER BY id`, id)
	out, err := db.Collect(rows, err, func(r db.Row) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("store: read what depends on resource %s or it on: %w", id, err)
	}
	return out, nil
}

// Graph returns all edges as one graph.
func (s *Store) Graph(ctx context.Context) (*graph.Graph, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT source, resource_id, needs_id FROM resource_edge")
	edges, err := db.Collect(rows, err, scanEdge)
	if err != nil {
		return nil, fmt.Errorf("store: read the graph: %w", err)
	}
	return graph.New(edges), nil
}

// GraphNear returns the edges that are met within so many steps from a
// resource, in either direction, as r sees them: what a decision inside a
// transaction needs, without reading the whole graph.
func (s *Store) GraphNear(ctx context.Context, r db.Reader, id string, hops int) (*graph.Graph, error) {
	var all []graph.Edge
	seen := map[string]bool{id: true}
	ring := []string{id}
	for range hops {
		var next []string
		for part := range slices.Chunk(ring, lookups[len(lookups)-1]) {
			args := make([]any, len(part))
			for i, x := range part {
				args[i] = x
			}
			in := marks(len(part))
			rows, err := r.Query(ctx, "SELECT source, resource_id, needs_id FROM resource_edge WHERE resource_id IN ("+in+") OR needs_id IN ("+in+")", args...)
			found, err := db.Collect(rows, err, scanEdge)
			if err != nil {
				return nil, fmt.Errorf("store: read the graph near resource %s: %w", id, err)
			}
			for _, e := range found {
				all = append(all, e)
				for _, x := range []string{e.From, e.To} {
					if !seen[x] {
						seen[x] = true
						next = append(next, x)
					}
				}
			}
		}
		if ring = next; len(ring) == 0 {
			break
		}
	}
	return graph.New(all), nil
}

// ResourceNames returns the names of resources by id; ids nobody has are left out.
func (s *Store) ResourceNames(ctx context.Context, ids []string) (map[string]string, error) {
	out := map[string]string{}
	for part := range slices.Chunk(ids, lookups[len(lookups)-1]) {
		args := make([]any, len(part))
		for i, x := range part {
			args[i] = x
		}
		rows, err := s.db.Read().Query(ctx, "SELECT id, name FROM resource WHERE id IN ("+marks(len(part))+")", args...)
		_, err = db.Collect(rows, err, func(r db.Row) (struct{}, error) {
			var id, name string
			err := r.Scan(&id, &name)
			out[id] = name
			return struct{}{}, err
		})
		if err != nil {
			return nil, fmt.Errorf("store: read the names of resources: %w", err)
		}
	}
	return out, nil
}
