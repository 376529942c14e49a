package execute

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// Changes answers what the gate has decided, from committed state.
type Changes interface {
	// Change returns a change with its run, window and approvals.
	Change(ctx context.Context, id string) (ops.Change, error)
	// Plan returns the plan with this id, as it was approved.
	Plan(ctx context.Context, id string) (ops.Plan, error)
}

// Switch answers whether all execution is stopped.
type Switch interface {
	ExecutionStopped(ctx context.Context) (reason string, stopped bool, err error)
}

// Gate answers, right before a tool acts, whether a change may still act: what
// forbids it may have been configured since its run was started.
type Gate interface {
	// MayAct returns why the change may not act for as long as it needs, empty
	// when it may.
	MayAct(ctx context.Context, c ops.Change, need time.Duration) (why string, err error)
}

// Journal keeps executions; *store.Store satisfies it and documents it.
type Journal interface {
	Execution(ctx context.Context, id string) (ops.Execution, error)
	TakeExecution(ctx context.Context, tx db.Tx, e ops.Execution, until time.Time) (ops.Execution, error)
	RenewExecution(ctx context.Context, tx db.Tx, e ops.Execution, until time.Time) error
	ActExecution(ctx context.Context, tx db.Tx, e ops.Execution, until time.Time) error
	EndExecution(ctx context.Context, tx db.Tx, e ops.Execution) error
	ReleaseExecution(ctx context.Context, tx db.Tx, e ops.Execution) error
}

// Facts tells facts in the caller's transaction.
type Facts interface {
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
}

// Edges keeps what resources need of each other; *store.Store satisfies it and
// documents it.
type Edges interface {
	ReplaceEdges(ctx context.Context, tx db.Tx, source string, links []graph.Link) error
}

// Measurer measures again what an alert was about. The second result is false
// when there is no recent value.
type Measurer interface {
	Measure(ctx context.Context, alert ops.Alert) (value float64, known bool, err error)
}

// Artefacts keeps a plan's JSON, content-addressed and encrypted, in the
// caller's transaction.
type Artefacts interface {
	Put(ctx context.Context, tx db.Tx, data []byte) (digest string, err error)
}

// Options are what a Room is made of. Fields without a comment that says
// otherwise are required.
type Options struct {
	DB      *db.DB
	Journal Journal
	Facts   Facts
	Changes Changes
	Switch  Switch
	// Gate is optional: without it freezes hold only as of the run's start.
	Gate      Gate
	Executors map[string]Executor // by configured name
	// Measurer is optional: without it no value is measured again.
	Measurer Measurer
	// DecideFunc names the decision a measured value leads to for a change,
	// such as the runbook step it chooses. The name, not the value, is part of
	// the plan's digest: a value that moves without changing the decision does
	// not void an approval. Optional: without it the value only illustrates the
	// plan's text, which is right where the chosen step already is the change's
	// Action and Args.
	DecideFunc func(ctx context.Context, c ops.Change, value float64) (decision string, err error)
	// Parameters is optional: without it no value is published. With it Queue is
	// required.
	Parameters Parameters
	Queue      job.Enqueuer
	// Artefacts is optional: without it plans live only in facts and the journal.
	// The digest is kept as the output of the planning's journal entry.
	Artefacts Artefacts
	// Edges is optional: without it nobody learns what executors know of them.
	Edges  Edges
	NewID  func() string
	Redact func(string) string
	Clock  clock.Clock
	Log    *slog.Logger
	Holder string // names this process among the replicas; unique per start
	// LeaseTime is how long a dead holder keeps a resource; default 15 s.
	LeaseTime time.Duration
	// Poll is how long a queued command waits at least before it looks whether its
	// work has ended; default 1 s.
	Poll time.Duration
	// PlanTime bounds one planning; default 45 s, below the queue's limit for a job.
	PlanTime time.Duration
}

// Room is the execute room. Make it with New, register it, and Drain it before
// the database closes.
type Room struct {
	Options
	log *slog.Logger

	mu       sync.Mutex
	live     map[string]*task // by execution id
	draining bool
}

// task is a tool at work in this process.
type task struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// New returns the room.
func New(o Options) *Room {
	if o.LeaseTime <= 0 {
		o.LeaseTime = 15 * time.Second
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.PlanTime <= 0 {
		o.PlanTime = 45 * time.Second
	}
	return &Room{Options: o, log: o.Log.With(slog.String("room", "execute")), live: map[string]*task{}}
}

// Register names the room's commands to the queue.
func (r *Room) Register(q job.Registrar) {
	q.Handle(ops.MakePlan, r.makePlan)
	q.Handle(ops.ApplyPlan, r.applyPlan)
	q.Handle(ops.RollBackRun, r.rollBackRun)
	q.Handle(ops.LabelParameter, r.labelParameter)
	for _, kind := range ops.Heard("execute") {
		q.Hear("execute", kind, r.hear)
	}
}

// ErrStopped is why a tool is cancelled when the server stops before the tool
// has finished.
var ErrStopped = errors.New("the server stopped before the tool had finished")

// errTakenOver is why a tool is cancelled whose lease another replica took.
var errTakenOver = errors.New("another replica has taken over")

// Drain begins nothing new and waits for the tools at work. When ctx ends
// first it stops them, waits until each has stopped and its outcome is
// recorded, and returns an error that names them.
func (r *Room) Drain(ctx context.Context) error {
	r.mu.Lock()
	r.draining = true
	live := maps.Clone(r.live)
	r.mu.Unlock()
	var stopped []string
	for _, id := range slices.Sorted(maps.Keys(live)) {
		t := live[id]
		select {
		case <-t.done:
		case <-ctx.Done():
			t.cancel(ErrStopped)
			<-t.done
			stopped = append(stopped, id)
		}
	}
	if len(stopped) > 0 {
		return fmt.Errorf("execute: stopped before they had finished: %s: %w", strings.Join(stopped, ", "), ops.ErrUnavailable)
	}
	return nil
}

// begin starts work as a task, unless id is at work here or the room drains.
func (r *Room) begin(ctx context.Context, id string, work func(ctx context.Context, cancel context.CancelCauseFunc)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining || r.live[id] != nil {
		return false
	}
	// The job that starts the work ends long before the work does.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	t := &task{cancel: cancel, done: make(chan struct{})}
	r.live[id] = t
	go func() {
		defer func() {
			cancel(nil)
			r.mu.Lock()
			delete(r.live, id)
			r.mu.Unlock()
			close(t.done)
		}()
		work(ctx, cancel)
	}()
	return true
}

// busy reports whether nothing may be begun for id now, and why.
func (r *Room) busy(id string) (why string, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.live[id] != nil:
		return "the tool is at work", true
	case r.draining:
		return "the server is stopping", true
	}
	return "", false
}

func (r *Room) executor(name string) (Executor, error) {
	if e, ok := r.Executors[name]; ok {
		return e, nil
	}
	names := slices.Sorted(maps.Keys(r.Executors))
	return nil, fmt.Errorf("execute: executor %q is not configured; configured are %s: %w", name, strings.Join(names, ", "), ops.ErrInvalid)
}

// now is the room's clock in UTC at the precision the store keeps.
func (r *Room) now() time.Time { return r.Clock().UTC().Truncate(time.Millisecond) }

// maxError bounds an error text that goes into a fact.
const maxError = 2 << 10

func (r *Room) say(err error) string { return Shorten(r.Redact(err.Error()), maxError) }

// permanent reports whether the same call will fail again until a person acts.
func permanent(err error) bool {
	class := ops.Class(err)
	return slices.ContainsFunc([]error{ops.ErrInvalid, ops.ErrDenied, ops.ErrNotFound, ops.ErrStalled}, func(c error) bool { return errors.Is(class, c) })
}
