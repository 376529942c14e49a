package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// FactLog is the fact log as the queue follows it. The store is one.
type FactLog interface {
	// FactsAfter returns at most limit facts above a sequence number, oldest first.
	FactsAfter(ctx context.Context, after int64, limit int, kinds ...ops.FactKind) ([]ops.Fact, error)
	// LastFact returns the sequence number of the newest fact.
	LastFact(ctx context.Context) (int64, error)
	// Cursor returns how far a follower has come.
	Cursor(ctx context.Context, name string) (int64, error)
	// MoveCursor moves it, or returns ops.ErrConflict when it is no longer at from.
	MoveCursor(ctx context.Context, tx db.Tx, name string, from, to int64) error
}

// Options is what a queue is made of.
type Options struct {
	Clock      clock.Clock
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	MaxWorkers int                   // commands carried out at a time; 0 means 32
}

// Queue carries out commands, delivers facts and runs periodic work. It is
// safe for concurrent use; register everything before Start.
type Queue struct {
	db     *db.DB
	facts  FactLog
	clock  clock.Clock
	log    *slog.Logger
	river  runner
	bell   *bell
	metric *metrics

	handlers  map[ops.CommandKind]Handler
	rooms     []*room
	periodics []*periodic

	mu       sync.Mutex
	started  bool
	stopping chan struct{}
	cancel   context.CancelFunc
	loops    sync.WaitGroup
	stopOnce sync.Once
	stopErr  error
}

var (
	_ Enqueuer  = (*Queue)(nil)
	_ Registrar = (*Queue)(nil)
)

// Open prepares the queue on an open, migrated database and brings the queue's
// own tables up to date. Nothing runs before Start; Enqueue works at once.
func Open(ctx context.Context, d *db.DB, facts FactLog, o Options) (*Queue, error) {
	if o.Clock == nil || o.Logger == nil {
		return nil, fmt.Errorf("job: a queue needs a clock and a logger: %w", ops.ErrInternal)
	}
	q := &Queue{
		db: d, facts: facts, clock: o.Clock, log: o.Logger, bell: newBell(),
		handlers: map[ops.CommandKind]Handler{}, stopping: make(chan struct{}),
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &worker{queue: q}); err != nil {
		return nil, fmt.Errorf("job: make the worker: %w", err)
	}
	log := slog.New(quiet{o.Logger.Handler()})
	poll := 250 * time.Millisecond // what another replica queued to be due soon has no bell here
	if d.Engine() == db.SQLite {
		poll = 15 * time.Second // there is none: the bell rings for all that is due
	}
	var reindex []string // River's own choice
	if d.Engine() == db.SQLite {
		reindex = []string{} // it would look for PostgreSQL's indexes every midnight, and warn
	}
	r, err := newRunner(d, &river.Config{
		CancelledJobRetentionPeriod: keepJobs,
		CompletedJobRetentionPeriod: keepJobs,
		DiscardedJobRetentionPeriod: keepJobs,
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           poll,
		JobTimeout:                  jobTimeout,
		RescueStuckJobsAfter:        rescueAfter,
		MaxAttempts:                 maxAttempts,
		ReindexerIndexNames:         reindex,
		RetryPolicy:                 soon{o.Clock, q.bell},
		Logger:                      log,
		Queues:                      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: cmp.Or(o.MaxWorkers, 32)}},
		Workers:                     workers,
		Test:                        river.TestConfig{Time: ourTime{o.Clock, d.Engine() == db.SQLite}},
	}, q.clock, q.bell)
	if err != nil {
		return nil, err
	}
	q.river = r
	if err := q.migrate(ctx, log); err != nil {
		return nil, err
	}
	if q.metric, err = newMetrics(o.Registerer, q); err != nil {
		return nil, err
	}
	return q, nil
}

// migrationLock keeps replicas that start together from migrating together.
const migrationLock = 0x666574746c6a // "fettlj"

func (q *Queue) migrate(ctx context.Context, log *slog.Logger) (err error) {
	if q.db.Engine() == db.SQLite {
		return q.river.migrate(ctx, log)
	}
	conn, err := q.db.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("job: migrate the queue: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("job: wait for the migration lock: %w", err)
	}
	defer func() {
		_, unlock := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
		err = errors.Join(err, unlock)
	}()
	return q.river.migrate(ctx, log)
}

// Handle names the handler of a kind of command. A second handler for one
// kind is a defect and panics.
func (q *Queue) Handle(kind ops.CommandKind, h Handler) {
	q.registering()
	if _, taken := q.handlers[kind]; taken {
		panic(fmt.Sprintf("job: command %s has two handlers", kind))
	}
	q.handlers[kind] = h
}

// Hear names a room's listener for a kind of fact. A second listener of one
// room for one kind is a defect and panics. A room that is new to a database
// hears it from the first fact on.
func (q *Queue) Hear(name string, kind ops.FactKind, l Listener) {
	q.registering()
	i := slices.IndexFunc(q.rooms, func(r *room) bool { return r.name == name })
	if i < 0 {
		i = len(q.rooms)
		q.rooms = append(q.rooms, newRoom(name))
	}
	r := q.rooms[i]
	if _, taken := r.listeners[kind]; taken {
		panic(fmt.Sprintf("job: room %s has two listeners for %s", name, kind))
	}
	r.listeners[kind] = l
	r.kinds = append(r.kinds, kind)
}

// Every runs f about every interval. The name identifies the work over
// restarts and replicas; two of one name, or an interval that is not positive,
// is a defect and panics.
func (q *Queue) Every(name string, interval time.Duration, f func(ctx context.Context) error) {
	q.registering()
	if interval <= 0 || slices.ContainsFunc(q.periodics, func(p *periodic) bool { return p.name == name }) {
		panic(fmt.Sprintf("job: periodic work %q twice or with interval %s", name, interval))
	}
	q.periodics = append(q.periodics, &periodic{name: name, interval: interval, f: f})
}

func (q *Queue) registering() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.started {
		panic("job: registered after Start")
	}
}

// Start begins to work. Only Stop ends it: ctx bounds the start alone.
func (q *Queue) Start(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.started || q.halted() {
		return fmt.Errorf("job: started twice, or after Stop: %w", ops.ErrInternal)
	}
	if q.db.Engine() == db.SQLite {
		if err := q.free(ctx); err != nil {
			return err
		}
	}
	run := context.WithoutCancel(ctx)
	if err := q.river.start(run); err != nil {
		return fmt.Errorf("job: start the queue: %w", err)
	}
	q.started = true
	run, q.cancel = context.WithCancel(run)
	for _, r := range q.rooms {
		q.loops.Go(func() { q.deliver(run, r) })
	}
	for _, p := range q.periodics {
		q.loops.Go(func() { q.repeat(run, p) })
	}
	return nil
}

// free makes the jobs a dead process was working on available again, ends its
// term as River's leader, without which what is due later would lie until the
// term is over, and rings for what it would have rung for. The lock on the
// database file proves that it is dead and that nobody else works.
func (q *Queue) free(ctx context.Context) error {
	now := q.clock()
	var due []time.Time
	err := q.db.Write(ctx, func(tx db.Tx) error {
		tx.Send(ctx, "UPDATE river_job SET state = 'available' WHERE state = 'running'")
		tx.Send(ctx, "DELETE FROM river_leader")
		rows, err := tx.Query(ctx, "SELECT run_at FROM command WHERE state = 'waiting' AND run_at > $1 AND run_at <= $2",
			now.UnixMilli(), now.Add(dueSoon).UnixMilli())
		if err != nil {
			return err
		}
		defer rows.Close()
		due = due[:0]
		for rows.Next() {
			var at int64
			if err := rows.Scan(&at); err != nil {
				return err
			}
			due = append(due, time.UnixMilli(at))
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("job: free the jobs of the last process: %w", err)
	}
	q.bell.ringAt(now, due)
	return nil
}

// haltTimeout bounds how long a command may take to notice that it was cancelled.
const haltTimeout = 5 * time.Second

// Stop ends the work: nothing new begins, and what runs may finish until ctx
// ends; then it is cancelled, and queued again where it did not finish. A
// second Stop returns what the first did.
func (q *Queue) Stop(ctx context.Context) error {
	q.stopOnce.Do(func() {
		q.mu.Lock()
		started := q.started
		q.mu.Unlock()
		if !started {
			close(q.stopping)
			return
		}
		q.cancel()
		err := q.river.stop(ctx)
		close(q.stopping)
		if err != nil {
			halt, cancel := context.WithTimeout(context.WithoutCancel(ctx), haltTimeout)
			defer cancel()
			err = q.river.halt(halt)
		}
		if err != nil {
			q.stopErr = fmt.Errorf("job: stop: %w", err)
		}
		q.loops.Wait()
	})
	return q.stopErr
}

// Ready returns nil when the queue works: it has started, is not stopping, and
// its database answers.
func (q *Queue) Ready(ctx context.Context) error {
	q.mu.Lock()
	started := q.started
	q.mu.Unlock()
	if q.halted() {
		return fmt.Errorf("job: the queue has stopped: %w", ops.ErrUnavailable)
	}
	if !started {
		return fmt.Errorf("job: the queue has not started: %w", ops.ErrUnavailable)
	}
	_, err := q.Depth(ctx)
	return err
}

// maxDepth bounds what Depth counts, so that asking stays cheap when it matters.
const maxDepth = 100_000

// Depth returns how many commands are due and not finished, those being
// carried out included, at most 100,000.
func (q *Queue) Depth(ctx context.Context) (int, error) {
	var n int64
	err := q.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM
		(SELECT 1 FROM command WHERE state = 'waiting' AND run_at <= $1 LIMIT $2) AS due`,
		q.clock().UnixMilli(), int64(maxDepth)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("job: read the depth: %w", err)
	}
	return int(n), nil
}

// pause waits for d, for wake or for the end of ctx, and reports whether to go on.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-wake:
	}
	return ctx.Err() == nil
}
