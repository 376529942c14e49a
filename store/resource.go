package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// ResolveResources returns the resource id of each ref, in order; an empty ref
// gives an empty id.
//
// A ref whose aliases name one resource is that resource, and aliases it adds
// are kept. One whose aliases name none creates a resource. One whose aliases
// name several is the resource of its first known alias: two resources become
// one by MergeResources only, never because a sender mixed them up. A ref with
// a name and no alias is known by kind and name. Refs of one call that share
// an alias get one id.
func (s *Store) ResolveResources(ctx context.Context, tx db.Tx, refs []ops.ResourceRef) ([]string, error) {
	wanted := make([][]string, len(refs))
	var names []string
	for i, ref := range refs {
		wanted[i] = aliasesOf(ref)
		names = append(names, wanted[i]...)
	}
	owner, err := s.owners(ctx, tx, names)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(refs))
	for i, ref := range refs {
		id := ref.ID
		for _, a := range wanted[i] {
			id = cmp.Or(id, owner[a])
		}
		if id == "" {
			if len(wanted[i]) == 0 {
				continue
			}
			if id, err = s.createResource(ctx, tx, ref, wanted[i]); err != nil {
				return nil, err
			}
		}
		for _, a := range wanted[i] {
			if owner[a] != "" {
				continue
			}
			if _, err := tx.Exec(ctx, "INSERT INTO resource_alias (alias, resource_id) VALUES ($1, $2)", a, id); err != nil {
				return nil, fmt.Errorf("store: name resource %s %q: %w", id, a, err)
			}
			owner[a] = id
		}
		ids[i] = id
	}
	return ids, nil
}

func aliasesOf(ref ops.ResourceRef) []string {
	out := slices.DeleteFunc(slices.Clone(ref.Aliases), func(a string) bool { return a == "" })
	if len(out) == 0 && ref.ID == "" && ref.Name != "" {
		out = []string{ops.Alias("name", ref.Kind+"/"+ref.Name)}
	}
	return out
}

func (s *Store) createResource(ctx context.Context, tx db.Tx, ref ops.ResourceRef, aliases []string) (string, error) {
	name := ref.Name
	if name == "" {
		_, name, _ = strings.Cut(aliases[0], ":")
	}
	id := s.newID()
	_, err := tx.Exec(ctx, "INSERT INTO resource (id, kind, name, labels, merged_into, created_at) VALUES ($1, $2, $3, 'null', '', $4)",
		id, ref.Kind, name, millis(s.clock()))
	if err != nil {
		return "", fmt.Errorf("store: create resource %q: %w", name, err)
	}
	return id, nil
}

// lookups are the sizes of IN list that are used, so that few statements serve
// any number of values.
var lookups = []int{1, 8, 64, 512}

// owners returns the resource id of each alias that has one.
func (s *Store) owners(ctx context.Context, r db.Reader, aliases []string) (map[string]string, error) {
	aliases = slices.Clone(aliases)
	slices.Sort(aliases)
	aliases = slices.Compact(aliases)
	out := make(map[string]string, len(aliases))
	for len(aliases) > 0 {
		size := lookups[len(lookups)-1]
		for _, n := range lookups {
			if n >= len(aliases) {
				size = n
				break
			}
		}
		n := min(size, len(aliases))
		args := make([]any, size)
		for i := range args {
			args[i] = aliases[min(i, n-1)] // the last one fills the list
		}
		aliases = aliases[n:]
		rows, err := r.Query(ctx, "SELECT alias, resource_id FROM resource_alias WHERE alias IN ("+marks(size)+")", args...)
		_, err = db.Collect(rows, err, func(r db.Row) (struct{}, error) {
			var alias, id string
			err := r.Scan(&alias, &id)
			out[alias] = id
			return struct{}{}, err
		})
		if err != nil {
			return nil, fmt.Errorf("store: look up resources: %w", err)
		}
	}
	return out, nil
}

// marks returns $1,$2,...,$n.
func marks(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		if i > 1 {
			b.WriteByte(',')
		}
		b.WriteString("$" + strconv.Itoa(i))
	}
	return b.String()
}

// MergeResources makes two resources one under an explicit rule: what named
// the merged one names the kept one from now on, and its id leads there. Both
// must exist and differ; the merge is a fact about the kept resource.
func (s *Store) MergeResources(ctx context.Context, tx db.Tx, by ops.Principal, keep, merge, rule string) error {
	if keep == merge {
		return fmt.Errorf("store: resource %s cannot merge with itself: %w", keep, ops.ErrInvalid)
	}
	for _, id := range []string{keep, merge} {
		var into string
		err := tx.QueryRow(ctx, "SELECT merged_into FROM resource WHERE id = $1", id).Scan(&into)
		if errors.Is(err, db.ErrNoRows) || into != "" {
			return fmt.Errorf("store: resource %s does not exist or was merged into %q: %w", id, into, ops.ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("store: read resource %s: %w", id, err)
		}
	}
	for _, statement := range []string{
		"UPDATE resource_alias SET resource_id = $1 WHERE resource_id = $2",
		"UPDATE resource SET merged_into = $1 WHERE id = $2 OR merged_into = $2",
	} {
		if _, err := tx.Exec(ctx, statement, keep, merge); err != nil {
			return fmt.Errorf("store: merge resource %s into %s: %w", merge, keep, err)
		}
	}
	if err := s.mergeEdges(ctx, tx, keep, merge); err != nil {
		return err
	}
	_, err := s.Tell(ctx, tx, ops.NewFact("resource/"+keep, s.clock(), by, "", ops.ResourceMergedBody{Kept: keep, Merged: merge, Rule: rule}))
	return err
}

// Resource returns the resource of an id or an alias, following merges, or
// ops.ErrNotFound.
func (s *Store) Resource(ctx context.Context, idOrAlias string) (ops.Resource, error) {
	return s.resource(ctx, s.db.Read(), idOrAlias)
}

func (s *Store) resource(ctx context.Context, r db.Reader, idOrAlias string) (ops.Resource, error) {
	rows, err := r.Query(ctx, `WITH found AS (SELECT id, kind, name, labels FROM resource
			WHERE id = COALESCE((SELECT resource_id FROM resource_alias WHERE alias = $1), (SELECT merged_into FROM resource WHERE id = $1 AND merged_into <> ''), $1))
		SELECT 'resource' AS part, id, kind, name, labels FROM found
		UNION ALL SELECT 'alias', alias, '', '', 'null' FROM resource_alias WHERE resource_id = (SELECT id FROM found)
		UNION ALL SELECT 'needs', needs_id, '', '', 'null' FROM (SELECT DISTINCT needs_id FROM resource_edge WHERE resource_id = (SELECT id FROM found)) AS edge
		ORDER BY 1, 2`, idOrAlias)
	var out ops.Resource
	_, err = db.Collect(rows, err, func(r db.Row) (struct{}, error) {
		var part string
		var one ops.Resource
		err := r.Scan(&part, &one.ID, &one.Kind, &one.Name, inJSON{&one.Labels})
		switch part {
		case "alias":
			out.Aliases = append(out.Aliases, one.ID)
		case "needs":
			out.DependsOn = append(out.DependsOn, one.ID)
		case "resource":
			out.ID, out.Kind, out.Name, out.Labels = one.ID, one.Kind, one.Name, one.Labels
		}
		return struct{}{}, err
	})
	if err != nil {
		return out, fmt.Errorf("store: read resource %q: %w", idOrAlias, err)
	}
	if out.ID == "" {
		return out, fmt.Errorf("store: resource %q: %w", idOrAlias, ops.ErrNotFound)
	}
	return out, nil
}

// CountResources returns how many resources are known, those that were merged
// into another left out.
func (s *Store) CountResources(ctx context.Context) (int, error) {
	var n int64
	if err := s.db.Read().QueryRow(ctx, "SELECT COUNT(*) FROM resource WHERE merged_into = ''").Scan(&n); err != nil {
		return 0, fmt.Errorf("store: count resources: %w", err)
	}
	return int(n), nil
}

// DescribeResource sets what is known about a resource besides its aliases:
// kind and name unless empty, labels as they are, and what the configuration
// says it depends on.
func (s *Store) DescribeResource(ctx context.Context, tx db.Tx, r ops.Resource) error {
	n, err := tx.Exec(ctx, `UPDATE resource SET kind = CASE WHEN $2 = '' THEN kind ELSE $2 END, name = CASE WHEN $3 = '' THEN name ELSE $3 END, labels = $4
		WHERE id = $1`, r.ID, r.Kind, r.Name, marshal(r.Labels))
	if err != nil {
		return fmt.Errorf("store: describe resource %s: %w", r.ID, err)
	}
	if n == 0 {
		return fmt.Errorf("store: resource %q: %w", r.ID, ops.ErrNotFound)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM resource_edge WHERE source = $1 AND resource_id = $2", graph.ConfigSource, r.ID); err != nil {
		return fmt.Errorf("store: describe resource %s: %w", r.ID, err)
	}
	for _, needs := range r.DependsOn {
		if err := s.addEdge(ctx, tx, graph.Edge{From: r.ID, To: needs, Source: graph.ConfigSource}); err != nil {
			return err
		}
	}
	return nil
}

// DeclareResources takes in the resources of the configuration, under the ids
// they have there. One that was discovered under one of their aliases becomes
// part of the declared one: naming the alias is the explicit rule that merges
// ask for. What the configuration said before about dependencies is forgotten.
func (s *Store) DeclareResources(ctx context.Context, tx db.Tx, by ops.Principal, declared []ops.Resource) error {
	for _, r := range declared {
		var into string
		err := tx.QueryRow(ctx, "SELECT merged_into FROM resource WHERE id = $1", r.ID).Scan(&into)
		switch {
		case errors.Is(err, db.ErrNoRows):
			_, err = tx.Exec(ctx, "INSERT INTO resource (id, kind, name, labels, merged_into, created_at) VALUES ($1, $2, $3, 'null', '', $4)",
				r.ID, r.Kind, cmp.Or(r.Name, r.ID), millis(s.clock()))
		case err == nil && into != "":
			_, err = tx.Exec(ctx, "UPDATE resource SET merged_into = '' WHERE id = $1", r.ID)
		}
		if err != nil {
			return fmt.Errorf("store: declare resource %s: %w", r.ID, err)
		}
		owner, err := s.owners(ctx, tx, r.Aliases)
		if err != nil {
			return err
		}
		for _, alias := range r.Aliases {
			other := owner[alias]
			switch {
			case other == r.ID:
			case other == "":
				if _, err := tx.Exec(ctx, "INSERT INTO resource_alias (alias, resource_id) VALUES ($1, $2)", alias, r.ID); err != nil {
					return fmt.Errorf("store: name resource %s %q: %w", r.ID, alias, err)
				}
			case slices.ContainsFunc(declared, func(d ops.Resource) bool { return d.ID == other }):
				// The configuration moved the alias from one of its resources to another.
				if _, err := tx.Exec(ctx, "UPDATE resource_alias SET resource_id = $1 WHERE alias = $2", r.ID, alias); err != nil {
					return fmt.Errorf("store: name resource %s %q: %w", r.ID, alias, err)
				}
			default:
				if err := s.MergeResources(ctx, tx, by, r.ID, other, "configuration: resources["+r.ID+"].aliases"); err != nil {
					return err
				}
				for a, of := range owner {
					if of == other {
						owner[a] = r.ID
					}
				}
			}
			owner[alias] = r.ID
		}
	}
	if _, err := tx.Exec(ctx, "DELETE FROM resource_edge WHERE source = $1", graph.ConfigSource); err != nil {
		return fmt.Errorf("store: forget the edges of the configuration: %w", err)
	}
	for _, r := range declared {
		if err := s.DescribeResource(ctx, tx, r); err != nil {
			return err
		}
	}
	return nil
}
