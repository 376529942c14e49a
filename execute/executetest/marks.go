package executetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// Marks are an executor's marks in the memory of a test. Rows are what is
// recorded, by token: a test may set them before it opens the executor, or while
// the executor does nothing, to say what an earlier life has left.
type Marks struct {
	Rows map[string]string
	mu   sync.Mutex
}

var _ execute.Marks = (*Marks)(nil)

// NewMarks returns marks with nothing recorded.
func NewMarks() *Marks { return &Marks{Rows: map[string]string{}} }

// Mark implements execute.Marks.
func (m *Marks) Mark(_ context.Context, token, note string) (recorded string, fresh bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if was, ok := m.Rows[token]; ok {
		return was, false, nil
	}
	m.Rows[token] = note
	return note, true, nil
}

// Note implements execute.Marks. A token that nobody marked is ErrInternal.
func (m *Marks) Note(_ context.Context, token, note string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.Rows[token]; !ok {
		return fmt.Errorf("note on %s, which has no mark: %w", token, ops.ErrInternal)
	}
	m.Rows[token] = note
	return nil
}
