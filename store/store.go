// Package store is the SQL of Fettle: one file per noun, one set of queries
// for SQLite and PostgreSQL, and the migrations that make their tables.
//
// Methods that write take the caller's db.Tx, so that a state, the fact that
// tells of it and the command that follows commit together. Methods that read
// take a context and answer from committed state. A Store satisfies the small
// interfaces the rooms declare by its shape; it imports no room.
package store

import (
	"github.com/google/uuid"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
)

// Store reads and writes every noun.
type Store struct {
	db    *db.DB
	clock clock.Clock
	newID func() string
	told  []func()
	seal  Sealer // of the signal log; nil keeps it readable

	recent recent
}

// OnFact has f called after every commit that recorded facts, on the writer's
// goroutine: f must not block and must not write. Call it before the store is
// used.
func (s *Store) OnFact(f func()) { s.told = append(s.told, f) }

// New returns the store on an open, migrated database.
func New(d *db.DB, now clock.Clock) *Store {
	return &Store{db: d, clock: now, newID: newID}
}

// NewID returns a new uuidv7: unique, and ordered by the time it was made.
func (s *Store) NewID() string { return s.newID() }

func newID() string { return uuid.Must(uuid.NewV7()).String() }
