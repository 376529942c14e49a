// Package record is a small keyed table with compare-and-set: what a driver may
// remember without a schema of its own. The store keeps it in the database;
// Memory keeps it in the process, for tests and tools.
package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// What a table answers. The store's errors also wrap the class of ops each
// stands for; connector adds it for a driver whatever table it is given.
var (
	// ErrMissing: no record has the key.
	ErrMissing = errors.New("no such record")
	// ErrMoved: somebody else wrote first.
	ErrMoved = errors.New("record has moved on")
	// ErrUnfit: the key or the value is none a table takes.
	ErrUnfit = errors.New("record does not fit")
)

// Record is one entry of a table.
type Record struct {
	Key     string
	Value   []byte
	Version int64 // grows with every write of this key; never 0, never used twice
}

// Any as an Edit's version writes whatever stands there.
const Any int64 = -1

// Edit is one write. A nil Value deletes the key.
type Edit struct {
	Key   string
	Value []byte
	// Version is the version the writer has seen: 0 means that the key must not
	// exist yet, Any that it does not matter.
	Version int64
}

// Table is a keyed table of one owner. Keys are non-empty UTF-8 of at most 512
// bytes, values at most 1 MiB. It is safe for concurrent use.
type Table interface {
	// Get returns the record under key, or ErrMissing.
	Get(ctx context.Context, key string) (Record, error)
	// List returns at most limit records whose key begins with prefix and comes
	// after the key after, in byte order of the keys.
	List(ctx context.Context, prefix, after string, limit int) ([]Record, error)
	// Write applies all edits or none. It returns ErrMoved when the
	// version of any of them is no longer the one seen.
	Write(ctx context.Context, edits ...Edit) error
	// Transact has f decide on the edits while nobody else can write, and applies
	// all or none. It is for what many write at once: Write would refuse all but
	// one of them. f may run twice, and does nothing but read and compute.
	Transact(ctx context.Context, f func(ctx context.Context, now Reader) ([]Edit, error)) error
}

// Reader reads single records. A Table is one.
type Reader interface {
	// Get returns the record under key, or ErrMissing.
	Get(ctx context.Context, key string) (Record, error)
}

// Limits of a key and a value, in bytes.
const (
	MaxKey   = 512
	MaxValue = 1 << 20
)

// Check returns ErrUnfit for an edit no table takes.
func (e Edit) Check() error {
	switch {
	case e.Key == "" || len(e.Key) > MaxKey:
		return fmt.Errorf("record key %.40q has %d bytes, not 1 to %d: %w", e.Key, len(e.Key), MaxKey, ErrUnfit)
	case len(e.Value) > MaxValue:
		return fmt.Errorf("record %s has %d bytes, more than %d: %w", e.Key, len(e.Value), MaxValue, ErrUnfit)
	}
	return nil
}

// Memory is a Table in the process's memory. The zero value is ready for use.
type Memory struct {
	mu   sync.Mutex
	rows map[string]Record
	last int64 // version given last, over all keys, so that none is used twice
}

var _ Table = (*Memory)(nil)

// Get implements Table.
func (m *Memory) Get(ctx context.Context, key string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return held{m}.Get(ctx, key)
}

// held is a table whose lock the reader holds.
type held struct{ *Memory }

func (m held) Get(_ context.Context, key string) (Record, error) {
	r, ok := m.rows[key]
	if !ok {
		return Record{}, fmt.Errorf("record %s: %w", key, ErrMissing)
	}
	return r, nil
}

// List implements Table.
func (m *Memory) List(ctx context.Context, prefix, after string, limit int) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Record
	for k, r := range m.rows {
		if strings.HasPrefix(k, prefix) && k > after {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(len(out), limit)], nil
}

// Write implements Table.
func (m *Memory) Write(ctx context.Context, edits ...Edit) error {
	return m.Transact(ctx, func(context.Context, Reader) ([]Edit, error) { return edits, nil })
}

// Transact implements Table.
func (m *Memory) Transact(ctx context.Context, f func(ctx context.Context, now Reader) ([]Edit, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	edits, err := f(ctx, held{m})
	if err != nil {
		return err
	}
	for _, e := range edits {
		if err := e.Check(); err != nil {
			return err
		}
		if e.Version != Any && m.rows[e.Key].Version != e.Version {
			return fmt.Errorf("record %s is at version %d, not %d: %w", e.Key, m.rows[e.Key].Version, e.Version, ErrMoved)
		}
	}
	if m.rows == nil {
		m.rows = map[string]Record{}
	}
	m.last++
	for _, e := range edits {
		if e.Value == nil {
			delete(m.rows, e.Key)
			continue
		}
		m.rows[e.Key] = Record{Key: e.Key, Value: slices.Clone(e.Value), Version: m.last}
	}
	return nil
}
