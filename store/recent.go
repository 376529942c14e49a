package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// maxRecent bounds the messages kept for the follower of the signal log. One
// that is further behind reads them from the database.
const maxRecent = 8192

// recent holds the newest messages of the signal log that this process
// appended, as they were before they were encoded: a run without a gap in its
// numbers. It spares the follower reading, decrypting and decoding what was
// encoded and encrypted a moment ago. The log stays the truth: whatever is not
// here is there.
type recent struct {
	mu   sync.Mutex
	run  []ops.Message // of consecutive numbers
	last int64         // the number of the newest in run
}

// add takes a committed message in, in the order of commits.
func (r *recent) add(m ops.Message) {
	m.Raw = nil // the sender's buffer, which is used again
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Seq != r.last+1 || len(r.run) >= maxRecent {
		clear(r.run)
		r.run = r.run[:0]
	}
	r.run = append(r.run, m)
	r.last = m.Seq
}

// after returns the messages that follow a number, at most limit, and nothing
// when the next one is not here. It forgets what lies before them.
func (r *recent) after(seq int64, limit int) []ops.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	skip := seq - (r.last - int64(len(r.run)))
	if skip < 0 || skip >= int64(len(r.run)) {
		return nil
	}
	n := copy(r.run, r.run[skip:])
	clear(r.run[n:])
	r.run = r.run[:n]
	return append([]ops.Message(nil), r.run[:min(n, limit)]...)
}

// FollowSignals is SignalsAfter without the raw payloads, for the one follower
// that works the log in order: what this process appended lately comes from
// memory. Callers must not change what the messages point to.
func (s *Store) FollowSignals(ctx context.Context, after int64, limit int) ([]ops.Message, error) {
	if m := s.recent.after(after, limit); m != nil {
		return m, nil
	}
	rows, err := s.db.Read().Query(ctx, "SELECT seq, recorded_at, sealed, body, NULL FROM signal WHERE seq > $1 ORDER BY seq LIMIT $2", after, int64(limit))
	messages, err := db.Collect(rows, err, s.scanMessage)
	if err != nil {
		return nil, fmt.Errorf("store: follow signals after %d: %w", after, err)
	}
	return messages, nil
}
