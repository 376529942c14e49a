package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const principalColumns = "p.id, p.name, p.kind, p.roles, p.teams, p.platforms"

// UpsertPrincipal makes or changes the principal of that name and returns it
// with its ID. A change of kind is refused with ops.ErrConflict: a service must
// not become a person who may approve.
func (s *Store) UpsertPrincipal(ctx context.Context, tx db.Tx, p ops.Principal) (ops.Principal, error) {
	if p.Name == "" || p.Name == ops.SystemPrincipal.Name {
		return p, fmt.Errorf("store: principal name %q is empty or reserved; use another: %w", p.Name, ops.ErrInvalid)
	}
	if p.Kind != ops.Person && p.Kind != ops.Service {
		return p, fmt.Errorf("store: principal %s has kind %q; use person or service: %w", p.Name, p.Kind, ops.ErrInvalid)
	}
	var kind string
	err := tx.QueryRow(ctx, `INSERT INTO principal (id, name, kind, roles, teams, platforms, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (name) DO UPDATE SET roles = excluded.roles, teams = excluded.teams, platforms = excluded.platforms, updated_at = excluded.updated_at
		RETURNING id, kind`,
		s.newID(), p.Name, string(p.Kind), marshal(p.Roles), marshal(p.Teams), marshal(p.Platforms), millis(s.clock())).Scan(&p.ID, &kind)
	if err != nil {
		return p, fmt.Errorf("store: write principal %s: %w", p.Name, err)
	}
	if kind != string(p.Kind) {
		return p, fmt.Errorf("store: principal %s is a %s and cannot become a %s; use another name: %w", p.Name, kind, p.Kind, ops.ErrConflict)
	}
	return p, nil
}

// Principal returns the principal of that id or name, or ops.ErrNotFound.
func (s *Store) Principal(ctx context.Context, idOrName string) (ops.Principal, error) {
	p, err := scanPrincipal(s.db.Read().QueryRow(ctx, "SELECT "+principalColumns+" FROM principal p WHERE p.id = $1 OR p.name = $1", idOrName))
	if errors.Is(err, db.ErrNoRows) {
		return p, fmt.Errorf("store: principal %q: %w", idOrName, ops.ErrNotFound)
	}
	if err != nil {
		return p, fmt.Errorf("store: read principal %q: %w", idOrName, err)
	}
	return p, nil
}

// Principals returns all principals by name.
func (s *Store) Principals(ctx context.Context) ([]ops.Principal, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT "+principalColumns+" FROM principal p ORDER BY p.name")
	return db.Collect(rows, err, scanPrincipal)
}

// PrincipalOn returns the principal a platform's user is mapped to, or
// ops.ErrNotFound. A user mapped to two principals is nobody: ops.ErrConflict.
func (s *Store) PrincipalOn(ctx context.Context, platform, user string) (ops.Principal, error) {
	all, err := s.Principals(ctx)
	if err != nil {
		return ops.Principal{}, fmt.Errorf("store: read principals: %w", err)
	}
	var found ops.Principal
	for _, p := range all {
		if user == "" || p.Platforms[platform] != user {
			continue
		}
		if found.ID != "" {
			return ops.Principal{}, fmt.Errorf("store: %s user %q is mapped to both %s and %s; map each user once: %w", platform, user, found.Name, p.Name, ops.ErrConflict)
		}
		found = p
	}
	if found.ID == "" {
		return found, fmt.Errorf("store: %s user %q is mapped to nobody: %w", platform, user, ops.ErrNotFound)
	}
	return found, nil
}

func scanPrincipal(r db.Row) (ops.Principal, error) {
	var p ops.Principal
	return p, r.Scan(principalFields(&p)...)
}

// principalFields are the destinations of principalColumns.
func principalFields(p *ops.Principal) []any {
	return []any{&p.ID, &p.Name, (*string)(&p.Kind), inJSON{&p.Roles}, inJSON{&p.Teams}, inJSON{&p.Platforms}}
}

// marshal writes a list or map of strings as JSON; nil becomes null.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // lists and maps of strings always marshal
		panic(fmt.Sprintf("store: %T does not marshal: %v", v, err))
	}
	return string(b)
}

// inJSON scans a TEXT column of JSON into dest.
type inJSON struct{ dest any }

// Scan implements sql.Scanner, which both engines' drivers use.
func (j inJSON) Scan(src any) error {
	switch v := src.(type) {
	case string:
		return json.Unmarshal([]byte(v), j.dest)
	case []byte:
		return json.Unmarshal(v, j.dest)
	}
	return fmt.Errorf("expected JSON text, got %T", src)
}
