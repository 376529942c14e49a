package connectortest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
)

// Faulty stands between a Conn and a platform and breaks calls on request, for
// the tests of rooms. It counts what passes. It is safe for concurrent use.
type Faulty struct {
	connector.Platform

	mu    sync.Mutex
	down  error
	next  map[string][]Fault
	calls []Call
}

// Call is one call that reached the Faulty.
type Call struct {
	Op  string
	Ref string // or the key
	Err error
}

// Fault is what happens to one call.
type Fault struct {
	Err   error         // what the caller hears; nil lets the call through
	After bool          // the platform does its work first: the answer is lost
	Delay time.Duration // before anything else, unless the context ends first
}

// Unavailable is a platform that does not answer.
func Unavailable() error { return fmt.Errorf("connection refused: %w", ops.ErrUnavailable) }

// Unknown is a write nobody knows the outcome of.
func Unknown() error {
	return &ops.UnknownOutcome{Err: fmt.Errorf("the connection was cut: %w", ops.ErrUnavailable)}
}

// Throttled is a platform that asks for patience.
func Throttled(d time.Duration) error {
	return &ops.Throttled{After: d, Err: fmt.Errorf("answered 429")}
}

// Break makes every call fail with err from now on; nil makes it as before.
func (f *Faulty) Break(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

// Mend ends all faults, also those still queued.
func (f *Faulty) Mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.next = nil, nil
}

// Next queues faults for the next calls of an operation, one each.
func (f *Faulty) Next(op string, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = map[string][]Fault{}
	}
	f.next[op] = append(f.next[op], faults...)
}

// Calls returns the calls so far, or those of some operations.
func (f *Faulty) Calls(of ...string) []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Call
	for _, c := range f.calls {
		for _, op := range of {
			if c.Op == op {
				out = append(out, c)
			}
		}
		if len(of) == 0 {
			out = append(out, c)
		}
	}
	return out
}

func (f *Faulty) take(op string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return Fault{Err: f.down}
	}
	if q := f.next[op]; len(q) > 0 {
		f.next[op] = q[1:]
		return q[0]
	}
	return Fault{}
}

func (f *Faulty) do(ctx context.Context, op, ref string, call func() error) (err error) {
	fault := f.take(op)
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls = append(f.calls, Call{op, ref, err})
	}()
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fault.Err != nil && !fault.After {
		return fault.Err
	}
	if err := call(); err != nil {
		return err
	}
	return fault.Err
}

// Create implements connector.Platform.
func (f *Faulty) Create(ctx context.Context, key string, kind ops.TicketKind, t ops.TicketFields) (c connector.Copy, err error) {
	err = f.do(ctx, "create", key, func() (err error) { c, err = f.Platform.Create(ctx, key, kind, t); return err })
	return c, err
}

// Update implements connector.Platform.
func (f *Faulty) Update(ctx context.Context, ref string, e connector.Edit) (c connector.Copy, err error) {
	err = f.do(ctx, "update", ref, func() (err error) { c, err = f.Platform.Update(ctx, ref, e); return err })
	return c, err
}

// AddNote implements connector.Platform.
func (f *Faulty) AddNote(ctx context.Context, ref string, n ops.Note) error {
	return f.do(ctx, "add_note", ref, func() error { return f.Platform.AddNote(ctx, ref, n) })
}

// Get implements connector.Platform.
func (f *Faulty) Get(ctx context.Context, ref string) (c connector.Copy, err error) {
	err = f.do(ctx, "get", ref, func() (err error) { c, err = f.Platform.Get(ctx, ref); return err })
	return c, err
}

// Find implements connector.Platform.
func (f *Faulty) Find(ctx context.Context, key string) (c []connector.Copy, err error) {
	err = f.do(ctx, "find", key, func() (err error) { c, err = f.Platform.Find(ctx, key); return err })
	return c, err
}

// Changes implements connector.Platform.
func (f *Faulty) Changes(ctx context.Context, cursor string) (c []connector.Copy, next string, err error) {
	err = f.do(ctx, "changes", cursor, func() (err error) { c, next, err = f.Platform.Changes(ctx, cursor); return err })
	return c, next, err
}

// AsksApproval implements connector.Approver.
func (f *Faulty) AsksApproval() bool {
	a, ok := f.Platform.(connector.Approver)
	return ok && a.AsksApproval()
}

var errLacks = fmt.Errorf("the platform behind it cannot: %w", ops.ErrInvalid)

// RequestApproval implements connector.Approver.
func (f *Faulty) RequestApproval(ctx context.Context, ref, plan string) (c connector.Copy, err error) {
	err = f.do(ctx, "request_approval", ref, func() (err error) {
		a, ok := f.Platform.(connector.Approver)
		if !ok {
			return errLacks
		}
		c, err = a.RequestApproval(ctx, ref, plan)
		return err
	})
	return c, err
}

// WithdrawApproval implements connector.Approver.
func (f *Faulty) WithdrawApproval(ctx context.Context, ref, why string) (c connector.Copy, err error) {
	err = f.do(ctx, "withdraw_approval", ref, func() (err error) {
		a, ok := f.Platform.(connector.Approver)
		if !ok {
			return errLacks
		}
		c, err = a.WithdrawApproval(ctx, ref, why)
		return err
	})
	return c, err
}

// Extra implements connector.Describer.
func (f *Faulty) Extra(kind ops.TicketKind, c ops.Change) map[string]string {
	d, ok := f.Platform.(connector.Describer)
	if !ok {
		return nil
	}
	return d.Extra(kind, c)
}

// KeepsFiles tells whether the platform behind it keeps files.
func (f *Faulty) KeepsFiles() bool {
	_, ok := f.Platform.(connector.Attacher)
	return ok
}

// KnowsConflicts tells whether the platform behind it compares planned times.
func (f *Faulty) KnowsConflicts() bool {
	_, ok := f.Platform.(connector.ConflictReader)
	return ok
}

// Attach implements connector.Attacher.
func (f *Faulty) Attach(ctx context.Context, ref string, file connector.File) error {
	return f.do(ctx, "attach", ref, func() error {
		a, ok := f.Platform.(connector.Attacher)
		if !ok {
			return errLacks
		}
		return a.Attach(ctx, ref, file)
	})
}

// Files implements connector.Attacher.
func (f *Faulty) Files(ctx context.Context, ref string) (names []string, err error) {
	err = f.do(ctx, "files", ref, func() (err error) {
		a, ok := f.Platform.(connector.Attacher)
		if !ok {
			return errLacks
		}
		names, err = a.Files(ctx, ref)
		return err
	})
	return names, err
}

// Conflicts implements connector.ConflictReader.
func (f *Faulty) Conflicts(ctx context.Context, ref string) (lines []string, err error) {
	err = f.do(ctx, "conflicts", ref, func() (err error) {
		r, ok := f.Platform.(connector.ConflictReader)
		if !ok {
			return errLacks
		}
		lines, err = r.Conflicts(ctx, ref)
		return err
	})
	return lines, err
}

// KeepsTasks implements connector.Tasker.
func (f *Faulty) KeepsTasks() bool {
	k, ok := f.Platform.(connector.Tasker)
	return ok && k.KeepsTasks()
}

// PutTask implements connector.Tasker.
func (f *Faulty) PutTask(ctx context.Context, ref string, t connector.Task) (got connector.Task, err error) {
	err = f.do(ctx, "put_task", ref, func() (err error) {
		k, ok := f.Platform.(connector.Tasker)
		if !ok {
			return errLacks
		}
		got, err = k.PutTask(ctx, ref, t)
		return err
	})
	return got, err
}

// Tasks implements connector.Tasker.
func (f *Faulty) Tasks(ctx context.Context, ref string) (all []connector.Task, err error) {
	err = f.do(ctx, "tasks", ref, func() (err error) {
		k, ok := f.Platform.(connector.Tasker)
		if !ok {
			return errLacks
		}
		all, err = k.Tasks(ctx, ref)
		return err
	})
	return all, err
}

// Careless is a platform without an idempotent create: it opens a ticket
// whenever it is asked to, and finds one only Settle after it was opened.
type Careless struct {
	connector.Platform
	Settle time.Duration
	Clock  clock.Clock

	mu   sync.Mutex
	made map[string]int // tickets opened under a key
}

var _ connector.Settler = (*Careless)(nil)

// SettleTime implements connector.Settler.
func (c *Careless) SettleTime() time.Duration { return c.Settle }

// Create implements connector.Platform.
func (c *Careless) Create(ctx context.Context, key string, kind ops.TicketKind, t ops.TicketFields) (connector.Copy, error) {
	c.mu.Lock()
	if c.made == nil {
		c.made = map[string]int{}
	}
	c.made[key]++
	n := c.made[key]
	c.mu.Unlock()
	made, err := c.Platform.Create(ctx, numbered(key, n), kind, t)
	made.Key = key
	return made, err
}

// Find implements connector.Platform.
func (c *Careless) Find(ctx context.Context, key string) ([]connector.Copy, error) {
	c.mu.Lock()
	made := c.made[key]
	c.mu.Unlock()
	var out []connector.Copy
	for n := 1; n <= made; n++ {
		got, err := c.Platform.Find(ctx, numbered(key, n))
		if err != nil {
			return nil, err
		}
		for _, t := range got {
			if c.Clock().Sub(t.CreatedAt) >= c.Settle {
				t.Key = key
				out = append(out, t)
			}
		}
	}
	return out, nil
}

// Get implements connector.Platform.
func (c *Careless) Get(ctx context.Context, ref string) (connector.Copy, error) {
	got, err := c.Platform.Get(ctx, ref)
	got.Key, _, _ = strings.Cut(got.Key, "+")
	return got, err
}

// Update implements connector.Platform.
func (c *Careless) Update(ctx context.Context, ref string, e connector.Edit) (connector.Copy, error) {
	got, err := c.Platform.Update(ctx, ref, e)
	got.Key, _, _ = strings.Cut(got.Key, "+")
	return got, err
}

// Changes implements connector.Platform.
func (c *Careless) Changes(ctx context.Context, cursor string) ([]connector.Copy, string, error) {
	got, next, err := c.Platform.Changes(ctx, cursor)
	for i := range got {
		got[i].Key, _, _ = strings.Cut(got[i].Key, "+")
	}
	return got, next, err
}

// AsksApproval implements connector.Approver.
func (c *Careless) AsksApproval() bool {
	a, ok := c.Platform.(connector.Approver)
	return ok && a.AsksApproval()
}

// RequestApproval implements connector.Approver.
func (c *Careless) RequestApproval(ctx context.Context, ref, plan string) (connector.Copy, error) {
	a, ok := c.Platform.(connector.Approver)
	if !ok {
		return connector.Copy{}, errLacks
	}
	got, err := a.RequestApproval(ctx, ref, plan)
	got.Key, _, _ = strings.Cut(got.Key, "+")
	return got, err
}

// WithdrawApproval implements connector.Approver.
func (c *Careless) WithdrawApproval(ctx context.Context, ref, why string) (connector.Copy, error) {
	a, ok := c.Platform.(connector.Approver)
	if !ok {
		return connector.Copy{}, errLacks
	}
	got, err := a.WithdrawApproval(ctx, ref, why)
	got.Key, _, _ = strings.Cut(got.Key, "+")
	return got, err
}

// Attach implements connector.Attacher.
func (c *Careless) Attach(ctx context.Context, ref string, file connector.File) error {
	a, ok := c.Platform.(connector.Attacher)
	if !ok {
		return errLacks
	}
	return a.Attach(ctx, ref, file)
}

// Files implements connector.Attacher.
func (c *Careless) Files(ctx context.Context, ref string) ([]string, error) {
	a, ok := c.Platform.(connector.Attacher)
	if !ok {
		return nil, errLacks
	}
	return a.Files(ctx, ref)
}

// KeepsTasks implements connector.Tasker.
func (c *Careless) KeepsTasks() bool {
	k, ok := c.Platform.(connector.Tasker)
	return ok && k.KeepsTasks()
}

// PutTask implements connector.Tasker.
func (c *Careless) PutTask(ctx context.Context, ref string, t connector.Task) (connector.Task, error) {
	k, ok := c.Platform.(connector.Tasker)
	if !ok {
		return connector.Task{}, errLacks
	}
	return k.PutTask(ctx, ref, t)
}

// Tasks implements connector.Tasker.
func (c *Careless) Tasks(ctx context.Context, ref string) ([]connector.Task, error) {
	k, ok := c.Platform.(connector.Tasker)
	if !ok {
		return nil, errLacks
	}
	return k.Tasks(ctx, ref)
}

func numbered(key string, n int) string { return fmt.Sprintf("%s+%d", key, n) }
