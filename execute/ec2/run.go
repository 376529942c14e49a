package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// memory is what is durable about one run.
type memory struct {
	State string    `json:"state"`
	At    time.Time `json:"at"`
	From  standing  `json:"from"`          // how the instance was found, and is put back
	Why   string    `json:"why,omitempty"` // it is put back
	Note  string    `json:"note,omitempty"`
	Fault string    `json:"fault,omitempty"` // of an ended run, empty when it worked
}

const (
	begun = "begun" // nothing was changed
	going = "going" // on the way to where the plan says
	back  = "back"  // on the way back
	ended = "ended"
)

// run is one call of Apply or RollBack.
type run struct {
	*Executor
	token    string
	id       string
	back     bool // this is a rollback
	from, to standing
	out      io.Writer
	m        memory
	said     string // the last state that was said
}

func (m memory) text() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("ec2: a memory of texts always marshals: " + err.Error())
	}
	return string(b)
}

// recall records m under token unless something is recorded there, and returns
// what is.
func (x *Executor) recall(ctx context.Context, token string, m memory) (memory, bool, error) {
	recorded, fresh, err := x.env.Marks.Mark(context.WithoutCancel(ctx), token, m.text())
	if err != nil {
		return m, false, fmt.Errorf("ec2: the mark could not be written, nothing is done: %w", err)
	}
	if fresh {
		return m, true, nil
	}
	var seen memory
	if err := json.Unmarshal([]byte(recorded), &seen); err != nil {
		return m, false, &ops.UnknownOutcome{Err: fmt.Errorf("ec2: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
	}
	return seen, false, nil
}

func (r *run) keep(ctx context.Context) error {
	return r.env.Marks.Note(context.WithoutCancel(ctx), r.token, r.m.text())
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

func (r *run) warn(ctx context.Context, what string, err error) {
	r.env.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("instance", r.id), slog.String("error", r.env.Redact(err.Error())))
}

// quiet takes secrets out of an error's text: the service's own texts are part
// of it.
func (x *Executor) quiet(err error) error {
	if err == nil {
		return nil
	}
	return redacted{x.env.Redact(err.Error()), err}
}

type redacted struct {
	text string
	err  error
}

func (q redacted) Error() string { return q.text }
func (q redacted) Unwrap() error { return q.err }

// do moves the instance unless the token was seen and its end is recorded.
func (r *run) do(ctx context.Context) (execute.Result, error) {
	first := memory{State: begun, At: r.env.Clock().UTC()}
	if ctx.Err() != nil {
		first.State, first.Fault = ended, "ec2: not started: "+context.Cause(ctx).Error()
	}
	var err error
	if r.m, _, err = r.recall(ctx, r.token, first); err != nil {
		return execute.Result{}, err
	}
	if r.m.State == ended {
		if r.m.Fault != "" {
			return execute.Result{}, fmt.Errorf("%s: %w", r.m.Fault, ops.ErrStalled)
		}
		return execute.Result{Note: r.m.Note}, nil
	}
	note, err := r.move(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	err = r.quiet(err)
	var unknown *ops.UnknownOutcome
	if errors.As(err, &unknown) {
		return execute.Result{}, err
	}
	r.m.State, r.m.Note = ended, note
	if err != nil {
		r.m.Fault = err.Error()
	}
	if kept := r.keep(ctx); kept != nil {
		// How the instance stands tells a later call the same.
		r.warn(ctx, "end of a run not recorded", kept)
	}
	return execute.Result{Note: note}, err
}

// move goes where the plan says, and back where that fails.
func (r *run) move(ctx context.Context) (string, error) {
	var fault error
	switch r.m.State {
	case begun:
		if ctx.Err() != nil {
			return "", fmt.Errorf("ec2: instance %s: stopped before anything was changed: %w: %w", r.id, context.Cause(ctx), ops.ErrUnavailable)
		}
		there, err := r.prepare(ctx)
		if err != nil {
			return "", err
		}
		if there {
			return fmt.Sprintf("instance %s was %s already", r.id, r.to), nil
		}
		r.m.State = going
		if err := r.keep(ctx); err != nil {
			return "", fmt.Errorf("ec2: how to put it back could not be recorded, nothing is done: %w", err)
		}
		fallthrough
	case going:
		if fault = r.forward(ctx); fault == nil {
			return fmt.Sprintf("instance %s is %s", r.id, r.to), nil
		}
		var unknown *ops.UnknownOutcome
		if errors.As(fault, &unknown) {
			return "", fault
		}
		r.m.State, r.m.Why = back, r.env.Redact(fault.Error())
		if err := r.keep(ctx); err != nil {
			r.warn(ctx, "the way back not recorded", err) // a later call finds the same fault again
		}
	default:
		fault = fmt.Errorf("%s: %w", r.m.Why, ops.ErrStalled)
	}
	return "", r.restore(ctx, fault)
}

// prepare looks at the instance once more. It changes nothing.
func (r *run) prepare(ctx context.Context) (there bool, err error) {
	i, err := r.describe(ctx, r.id)
	if err != nil {
		return false, err
	}
	if err := r.cfg.mayTouch(i); err != nil {
		return false, err
	}
	is, err := i.standing()
	moving := r.back && errors.Is(err, ops.ErrConflict) // as a killed run has left it
	if moving {
		is, err = standing{Type: i.Type, Running: i.State == types.InstanceStateNamePending}, nil
	}
	switch {
	case err != nil:
		return false, err
	case r.back && is == r.to && !moving:
		return true, nil
	// A failed run may have left the old type, or the instance stopped.
	case r.back && is.Type != r.from.Type && is.Type != r.to.Type, !r.back && is != r.from:
		return false, fmt.Errorf("ec2: instance %s is %s and not %s: it was changed since, and stays as it is: %w", r.id, is, r.from, ops.ErrConflict)
	}
	r.m.From = is
	return false, nil
}

// forward brings the instance to where the plan says before the time is up.
func (r *run) forward(ctx context.Context) error {
	left := r.m.At.Add(r.cfg.Timeout).Sub(r.env.Clock())
	ctx, cancel := context.WithTimeoutCause(ctx, left, fmt.Errorf("it timed out after %s", r.cfg.Timeout))
	defer cancel()
	return r.reach(ctx, way{to: r.to, types: []string{r.m.From.Type, r.to.Type}, checks: *r.cfg.StatusChecks && r.to.Running})
}

// restore brings the instance back to how it was found, and returns fault with
// what became of that.
func (r *run) restore(ctx context.Context, fault error) error {
	live, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.cfg.Grace, fmt.Errorf("it took longer than %s", r.cfg.Grace))
	defer cancel()
	lost := func(err error) error {
		return &ops.UnknownOutcome{Err: fmt.Errorf("%w; nobody knows how the instance stands: %w", fault, errors.Join(err, ops.ErrUnavailable))}
	}
	i, err := r.describe(live, r.id)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		return fmt.Errorf("%w; the instance is gone", fault)
	case err != nil:
		return lost(err)
	}
	goal := r.m.From
	if i.Type != r.m.From.Type && i.Type != r.to.Type {
		goal.Type = i.Type // somebody else's
	}
	// A rollback stays where it was to go, even if that fails its checks.
	if is, err := i.standing(); err == nil && (is == goal || r.back && is == r.to) {
		goal = is
		return fmt.Errorf("%w; the instance is %s", fault, goal)
	}
	r.say("Putting instance %s back to %s: %s", r.id, goal, r.env.Redact(fault.Error()))
	if err = r.reach(live, way{to: goal, types: []string{goal.Type, i.Type}, patient: true}); err == nil {
		return fmt.Errorf("%w; the instance is put back: %s", fault, goal)
	}
	look, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	if i, seen := r.describe(look, r.id); seen == nil {
		if is, settled := i.standing(); settled == nil {
			return fmt.Errorf("%w; the instance is %s and could not be put back to %s: %w", fault, is, goal, err)
		}
	}
	return lost(err)
}
