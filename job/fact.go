package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const (
	// factBatch is how many facts a room hears in one transaction.
	factBatch = 64
	// farBehind is how many facts that do not concern a room its cursor may
	// trail before it is moved past them.
	farBehind = 1000
	// maxFactBackoff is the longest pause before a fact that a room could not
	// take is tried again.
	maxFactBackoff = time.Minute
)

// room is one follower of the fact log.
type room struct {
	name      string
	kinds     []ops.FactKind
	listeners map[ops.FactKind]Listener
	wake      chan struct{}
}

func newRoom(name string) *room {
	return &room{name: name, listeners: map[ops.FactKind]Listener{}, wake: make(chan struct{}, 1)}
}

func (r *room) cursor() string { return "room/" + r.name }

// Wake tells the queue that facts were committed. It never blocks, so it may be
// called after every commit. Without it facts are found when they are next looked for.
func (q *Queue) Wake() {
	for _, r := range q.rooms {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// place is how far a room has come: its durable cursor, and how far beyond it
// nothing concerns the room.
type place struct {
	known   bool
	cursor  int64
	scanned int64
}

// deliver brings a room its facts, in order, until ctx ends.
func (q *Queue) deliver(ctx context.Context, r *room) {
	poll := time.Second // facts told by other replicas
	if q.db.Engine() == db.SQLite {
		poll = 15 * time.Second // there are none, and each commit here wakes us
	}
	at := place{}
	failures := 0
	for ctx.Err() == nil {
		heard, err := q.hear(ctx, r, &at)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errMoved):
			at.known = false
			if !pause(ctx, backoff(at.cursor, 1, 200*time.Millisecond, 200*time.Millisecond), nil) {
				return
			}
		case err != nil:
			failures++
			again := backoff(at.cursor, failures, 200*time.Millisecond, maxFactBackoff)
			q.metric.listenerFailed(r.name)
			q.log.LogAttrs(ctx, slog.LevelWarn, "room could not take a fact",
				slog.String("room", r.name), slog.Int("attempt", failures), slog.Duration("again_after", again), slog.String("error", text(err)))
			at.known = false
			if !pause(ctx, again, nil) {
				return
			}
		case heard > 0:
			failures = 0
			q.metric.heard(r.name, heard)
		default:
			failures = 0
			if !pause(ctx, poll, r.wake) {
				return
			}
		}
	}
}

// errMoved says that another replica has moved the room's cursor.
var errMoved = errors.New("the cursor was moved by another replica")

// hear delivers one batch and returns how many facts were heard, zero when
// there is nothing to hear now.
func (q *Queue) hear(ctx context.Context, r *room, at *place) (int, error) {
	if !at.known {
		cursor, err := q.facts.Cursor(ctx, r.cursor())
		if err != nil {
			return 0, fmt.Errorf("job: read the cursor of %s: %w", r.name, err)
		}
		*at = place{known: true, cursor: cursor, scanned: cursor}
	}
	// Read before the facts are: up to here the search below misses nothing.
	last, err := q.facts.LastFact(ctx)
	if err != nil {
		return 0, fmt.Errorf("job: read the last fact: %w", err)
	}
	if last <= at.scanned {
		return 0, nil
	}
	facts, err := q.facts.FactsAfter(ctx, at.scanned, factBatch, r.kinds...)
	if err != nil {
		return 0, fmt.Errorf("job: read facts for %s: %w", r.name, err)
	}
	if len(facts) == 0 {
		at.scanned = last
		if at.scanned-at.cursor < farBehind {
			return 0, nil
		}
		_, err := q.tell(ctx, r, at, nil, last)
		return 0, err
	}
	failed, err := q.tell(ctx, r, at, facts, facts[len(facts)-1].Seq)
	if err != nil && failed > 0 { // those before the one that failed
		facts = facts[:failed]
		_, err = q.tell(ctx, r, at, facts, facts[failed-1].Seq)
	}
	if err != nil {
		return 0, err
	}
	return len(facts), nil
}

// tell runs the listeners on facts and moves the cursor to the position to in
// one transaction. On failure it returns the index of the fact that failed.
func (q *Queue) tell(ctx context.Context, r *room, at *place, facts []ops.Fact, to int64) (failed int, err error) {
	err = q.db.Write(ctx, func(tx db.Tx) error {
		failed = 0
		if err := q.facts.MoveCursor(ctx, tx, r.cursor(), at.cursor, to); err != nil {
			if errors.Is(err, ops.ErrConflict) {
				return errMoved
			}
			return err
		}
		for i, f := range facts {
			if err := r.listeners[f.Kind](ctx, tx, f); err != nil {
				failed = i
				return fmt.Errorf("job: %s hears %s (fact %d about %s): %w", r.name, f.Kind, f.Seq, f.Subject, err)
			}
		}
		return nil
	})
	if err != nil {
		return failed, err
	}
	at.cursor, at.scanned = to, to
	return 0, nil
}
