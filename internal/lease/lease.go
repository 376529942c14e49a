// Package lease lets one of several servers do a piece of work at a time, and
// the next one go on where it stopped. The store keeps the table in the
// database; Memory keeps it in the process, for tests.
//
// A lease says until when it holds, by the clocks of the servers, which must
// agree to well within its length. A server that loses its lease without
// noticing may still do work for a moment, so work must be harmless when done
// twice; what it did not lose is the checkpoint, which only the holder writes.
package lease

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a table answers. The store's errors also wrap ops.ErrConflict.
var (
	// ErrHeld: somebody else holds the lease.
	ErrHeld = errors.New("the lease is held by another")
	// ErrLost: the lease is no longer the one that was taken.
	ErrLost = errors.New("the lease was lost")
)

// Lease is one piece of work.
type Lease struct {
	Name string
	// Owner is who does it; empty when it was given back.
	Owner string
	// Epoch grows whenever the lease is taken: owner and epoch together name one
	// holder, also when one and the same comes back.
	Epoch int64
	// Until is when it falls to whoever takes it. Milliseconds count.
	Until time.Time
	// Checkpoint is how far the work came, in the words of who does it.
	Checkpoint string
}

// Free reports whether anybody may take it.
func (l Lease) Free(now time.Time) bool { return l.Owner == "" || !now.Before(l.Until) }

// Table holds the leases of one kind of work. It is safe for concurrent use.
type Table interface {
	// List returns all leases by name.
	List(ctx context.Context) ([]Lease, error)
	// Make makes leases that nobody holds, with their name and checkpoint. Those
	// that exist stay as they are.
	Make(ctx context.Context, leases ...Lease) error
	// Take takes the lease, making it where there is none: one that is free at
	// now, or that owner holds already. The answer is what to give to the other
	// methods, with the checkpoint as it stands. Else it returns ErrHeld.
	Take(ctx context.Context, name, owner string, now, until time.Time) (Lease, error)
	// Renew holds on to it until a later time. It returns ErrLost when somebody
	// took it, or removed it; that it has run out does not matter.
	Renew(ctx context.Context, held Lease, until time.Time) error
	// Save writes the checkpoint, or returns ErrLost as Renew does.
	Save(ctx context.Context, held Lease, checkpoint string) error
	// Release gives it back, to be taken at once, or returns ErrLost.
	Release(ctx context.Context, held Lease) error
	// Remove removes the lease of this name and epoch, if there still is one.
	Remove(ctx context.Context, l Lease) error
}

// Memory is a Table in the process's memory. The zero value is ready for use.
type Memory struct {
	mu   sync.Mutex
	rows map[string]Lease
}

var _ Table = (*Memory)(nil)

// List implements Table.
func (m *Memory) List(ctx context.Context) ([]Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Lease, 0, len(m.rows))
	for _, l := range m.rows {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Lease) int { return strings.Compare(a.Name, b.Name) })
	return out, ctx.Err()
}

// Make implements Table.
func (m *Memory) Make(ctx context.Context, leases ...Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, l := range leases {
		if _, ok := m.rows[l.Name]; !ok {
			m.put(Lease{Name: l.Name, Checkpoint: l.Checkpoint})
		}
	}
	return nil
}

func (m *Memory) put(l Lease) {
	if m.rows == nil {
		m.rows = map[string]Lease{}
	}
	m.rows[l.Name] = l
}

// Take implements Table.
func (m *Memory) Take(ctx context.Context, name, owner string, now, until time.Time) (Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Lease{}, err
	}
	l := m.rows[name]
	if l.Owner != owner && !l.Free(now) {
		return Lease{}, ErrHeld
	}
	l.Name, l.Owner, l.Until = name, owner, until
	l.Epoch++
	m.put(l)
	return l, nil
}

// Renew implements Table.
func (m *Memory) Renew(ctx context.Context, held Lease, until time.Time) error {
	return m.change(ctx, held, func(l *Lease) { l.Until = until })
}

// Save implements Table.
func (m *Memory) Save(ctx context.Context, held Lease, checkpoint string) error {
	return m.change(ctx, held, func(l *Lease) { l.Checkpoint = checkpoint })
}

// Release implements Table.
func (m *Memory) Release(ctx context.Context, held Lease) error {
	return m.change(ctx, held, func(l *Lease) { l.Owner, l.Until = "", time.Time{} })
}

func (m *Memory) change(ctx context.Context, held Lease, edit func(*Lease)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	l, ok := m.rows[held.Name]
	if !ok || l.Owner != held.Owner || l.Epoch != held.Epoch {
		return ErrLost
	}
	edit(&l)
	m.put(l)
	return nil
}

// Remove implements Table.
func (m *Memory) Remove(ctx context.Context, l Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.rows[l.Name].Epoch == l.Epoch {
		delete(m.rows, l.Name)
	}
	return nil
}
