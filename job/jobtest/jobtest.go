// Package jobtest is a queue for tests of rooms: commands live in memory, one
// is worked at a time, and facts are delivered from the store in their order.
// It keeps the promises of job that a room relies on: a command exists only if
// its transaction commits, a snooze is not a failure, and an error is tried
// again. Under testing/synctest its waits take no time.
package jobtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// Facts reads the fact log.
type Facts interface {
	FactsAfter(ctx context.Context, after int64, limit int, kinds ...ops.FactKind) ([]ops.Fact, error)
}

// Queue works commands and delivers facts when Run is called.
type Queue struct {
	db    *db.DB
	facts Facts

	handlers  map[ops.CommandKind]job.Handler
	listeners map[ops.FactKind][]job.Listener
	heard     int64

	mu      sync.Mutex
	waiting []item
	ended   []Ended
}

type item struct {
	command ops.Command
	due     time.Time
	tries   int
}

// Ended is a command that ended with an error for good.
type Ended struct {
	Command ops.Command
	Err     error
}

var (
	_ job.Enqueuer  = (*Queue)(nil)
	_ job.Registrar = (*Queue)(nil)
)

// New returns an empty queue.
func New(d *db.DB, facts Facts) *Queue {
	return &Queue{db: d, facts: facts, handlers: map[ops.CommandKind]job.Handler{}, listeners: map[ops.FactKind][]job.Listener{}}
}

// Handle names the handler of a kind of command.
func (q *Queue) Handle(kind ops.CommandKind, h job.Handler) { q.handlers[kind] = h }

// Hear adds a listener for a kind of fact.
func (q *Queue) Hear(_ string, kind ops.FactKind, l job.Listener) {
	q.listeners[kind] = append(q.listeners[kind], l)
}

// Every is refused: periodic work is called directly in tests.
func (q *Queue) Every(name string, _ time.Duration, _ func(context.Context) error) {
	panic("jobtest: call " + name + " directly")
}

// Enqueue queues commands when the transaction commits.
func (q *Queue) Enqueue(_ context.Context, tx db.Tx, commands ...ops.Command) error {
	tx.AfterCommit(func() { q.Add(commands...) })
	return nil
}

// Add queues commands at once.
func (q *Queue) Add(commands ...ops.Command) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range commands {
		due := c.At
		if due.IsZero() {
			due = time.Now()
		}
		q.waiting = append(q.waiting, item{command: c, due: due})
	}
}

// Ended returns the commands that ended with an error for good.
func (q *Queue) Ended() []Ended {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.ended)
}

// Waiting returns how many commands have not ended.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Run works until done reports true; it fails after limit.
func (q *Queue) Run(ctx context.Context, limit time.Duration, done func() bool) error {
	end := time.Now().Add(limit)
	for !done() {
		if time.Now().After(end) {
			return fmt.Errorf("jobtest: not done after %s; %d commands wait", limit, q.Waiting())
		}
		if err := q.deliver(ctx); err != nil {
			return err
		}
		it, ok := q.take()
		if !ok {
			time.Sleep(q.pause())
			continue
		}
		q.settle(it, q.work(ctx, it))
	}
	return q.deliver(ctx)
}

// pause is until the next command is due, at most a second: facts also come
// from work that goes on outside of commands.
func (q *Queue) pause() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return 10 * time.Millisecond
	}
	next := time.Second
	for _, it := range q.waiting {
		next = min(next, time.Until(it.due))
	}
	return max(next, time.Millisecond)
}

func (q *Queue) work(ctx context.Context, it item) error {
	h, ok := q.handlers[it.command.Kind]
	if !ok {
		return fmt.Errorf("jobtest: nobody handles %s: %w", it.command.Kind, ops.ErrInvalid)
	}
	return h(ctx, it.command)
}

// take removes the earliest command that is due.
func (q *Queue) take() (item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	best := -1
	for i, it := range q.waiting {
		if !it.due.After(time.Now()) && (best < 0 || it.due.Before(q.waiting[best].due)) {
			best = i
		}
	}
	if best < 0 {
		return item{}, false
	}
	it := q.waiting[best]
	q.waiting = slices.Delete(q.waiting, best, best+1)
	return it, true
}

func (q *Queue) settle(it item, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		return
	}
	if after, ok := job.Snoozed(err); ok {
		it.due = time.Now().Add(after)
		q.waiting = append(q.waiting, it)
		return
	}
	class := ops.Class(err)
	switch {
	case slices.ContainsFunc([]error{ops.ErrInvalid, ops.ErrDenied, ops.ErrNotFound, ops.ErrStalled}, func(c error) bool { return errors.Is(class, c) }):
		q.ended = append(q.ended, Ended{it.command, err})
	default:
		it.tries++
		it.due = time.Now().Add(time.Duration(it.tries) * time.Second)
		q.waiting = append(q.waiting, it)
	}
}

func (q *Queue) deliver(ctx context.Context) error {
	for {
		facts, err := q.facts.FactsAfter(ctx, q.heard, 100)
		if err != nil || len(facts) == 0 {
			return err
		}
		for _, f := range facts {
			err := q.db.Write(ctx, func(tx db.Tx) error {
				for _, l := range q.listeners[f.Kind] {
					if err := l(ctx, tx, f); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("jobtest: %s was not heard: %w", f.Kind, err)
			}
			q.heard = f.Seq
		}
	}
}
