package autoscaling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// memory is what is durable about one run. Its job is complete before the first
// effect, so that whoever takes over knows what to go on with and what to put
// back.
type memory struct {
	State   string    `json:"state"`
	At      time.Time `json:"at"`
	Job     *job      `json:"job,omitempty"`
	Known   string    `json:"known,omitempty"`   // the newest refresh before ours
	Refresh string    `json:"refresh,omitempty"` // ours
	Note    string    `json:"note,omitempty"`
	Fault   string    `json:"fault,omitempty"` // of an ended run, empty when it worked
}

const (
	begun    = "begun"    // nothing was changed unless there is a job
	starting = "starting" // a refresh may have been started
	ended    = "ended"
)

// goal is how a group is to be.
type goal struct {
	Min, Max int32
	Desired  *int32 // nil: as the service has it
	Version  int64  // of the launch template; 0: it is made, or none is set
}

// job is everything one run needs.
type job struct {
	Recycle  bool // instances are replaced by such of the same configuration
	Was, To  goal // Was.Desired is never nil
	Template string
	Pin      bool   // the group names no number of a version and is given one first
	Kind     string // the instance type of the version that is made; empty when none is
	Undo     bool   // AWS undoes a refresh that fails
	Back     bool   // this is a rollback
}

// replaces reports whether instances are replaced.
func (j *job) replaces() bool { return j.Recycle || j.Template != "" }

// wide is the group on the way: as large as it was and as large as it will be.
func (j *job) wide() goal {
	w := goal{Min: max(j.Was.Min, j.To.Min), Max: max(j.Was.Max, j.To.Max)}
	if j.To.Desired != nil && *j.To.Desired > *j.Was.Desired {
		w.Desired = j.To.Desired
	}
	if j.Pin {
		w.Version = j.Was.Version
	}
	return w
}

func (s *sight) job() *job {
	d := s.group.desired
	j := &job{
		Recycle: s.args[0] == Refresh, Template: s.was.id, Pin: s.was.follows != "", Undo: s.undoes(),
		Was: goal{Min: s.group.min, Max: s.group.max, Desired: &d, Version: s.was.version},
		To:  goal{Min: s.min, Max: s.max, Desired: s.wish.desired, Version: s.will.version},
	}
	if s.was.id != "" && s.will.version == 0 {
		j.Kind = s.will.kind
	}
	return j
}

// run is one call of Apply or RollBack.
type run struct {
	*Executor
	token string
	group string
	out   io.Writer
	m     memory
}

func (m memory) text() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("autoscaling: a memory of texts and numbers always marshals: " + err.Error())
	}
	return string(b)
}

// recall records first under the token unless something is recorded there, and
// takes over what is.
func (r *run) recall(ctx context.Context, first memory) error {
	recorded, fresh, err := r.env.Marks.Mark(context.WithoutCancel(ctx), r.token, first.text())
	if err != nil {
		return fmt.Errorf("autoscaling: the mark could not be written, nothing is done: %w", err)
	}
	if r.m = first; fresh {
		return nil
	}
	r.m = memory{}
	if err := json.Unmarshal([]byte(recorded), &r.m); err != nil {
		return &ops.UnknownOutcome{Err: fmt.Errorf("autoscaling: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
	}
	return nil
}

func (r *run) keep(ctx context.Context) error {
	if err := r.env.Marks.Note(context.WithoutCancel(ctx), r.token, r.m.text()); err != nil {
		return fmt.Errorf("autoscaling: the mark could not be written, nothing more is done: %w", err)
	}
	return nil
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

func (r *run) warn(ctx context.Context, what string, err error) {
	r.env.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("group", r.group), slog.String("error", r.env.Redact(err.Error())))
}

// do runs act unless the token was seen and its end is recorded.
func (r *run) do(ctx context.Context, act func(ctx context.Context) (string, error)) (execute.Result, error) {
	first := memory{State: begun, At: r.env.Clock().UTC()}
	if ctx.Err() != nil {
		first.State, first.Fault = ended, "not started: "+context.Cause(ctx).Error()
	}
	if err := r.recall(ctx, first); err != nil {
		return execute.Result{}, err
	}
	if r.m.State == ended {
		if r.m.Fault != "" {
			return execute.Result{}, fmt.Errorf("%s: %w", r.m.Fault, ops.ErrStalled)
		}
		return execute.Result{Note: r.m.Note}, nil
	}
	note, err := act(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	var unknown *ops.UnknownOutcome
	if errors.As(err, &unknown) {
		return execute.Result{}, err
	}
	r.m.State, r.m.Note = ended, note
	if err != nil {
		r.m.Fault = r.env.Redact(err.Error())
	}
	if kept := r.keep(ctx); kept != nil {
		// The group and its refreshes tell a later call the same.
		r.warn(ctx, "end of a run not recorded", kept)
	}
	return execute.Result{Note: note}, err
}

// stopped is the error of a run whose ctx has ended; nil while it has not.
func (r *run) stopped(ctx context.Context, when string) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("autoscaling: group %s: stopped %s: %w: %w", r.group, when, context.Cause(ctx), ops.ErrUnavailable)
}

// looking is a context for finding out what has happened, which must be
// possible after ctx has ended.
func looking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}

// wait waits until the next look, or until ctx ends.
func (r *run) wait(ctx context.Context) {
	t := time.NewTimer(r.cfg.Poll)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// impatient is how many looks in a row may fail before nobody knows any more.
const impatient = 20

// watch looks again and again until look says that it is over. When ctx ends or
// the time is up, it calls stop once, and gives it Grace to take effect; without
// a stop there is nothing to wait for. It returns why it was stopped, if it was.
func (r *run) watch(ctx context.Context, look func(ctx context.Context) (over bool, err error), stop func(ctx context.Context) error) (stopped, err error) {
	live := context.WithoutCancel(ctx)
	var until time.Time
	for failed := 0; ; {
		over, err := look(live)
		switch {
		case err != nil:
			if failed++; failed >= impatient {
				return stopped, &ops.UnknownOutcome{Err: err}
			}
		case over:
			return stopped, nil
		default:
			failed = 0
		}
		now := r.env.Clock()
		switch {
		case stopped != nil && now.After(until):
			return stopped, &ops.UnknownOutcome{Err: fmt.Errorf("autoscaling: what was cancelled on group %s still goes on after %s (%w): %w", r.group, r.cfg.Grace, stopped, ops.ErrUnavailable)}
		case stopped != nil:
		case ctx.Err() != nil:
			stopped = context.Cause(ctx)
		case now.After(r.m.At.Add(r.cfg.Timeout)):
			stopped = fmt.Errorf("it timed out after %s", r.cfg.Timeout)
		}
		if stopped != nil && stop == nil {
			return stopped, nil
		}
		if stopped != nil && until.IsZero() {
			until = now.Add(r.cfg.Grace)
			r.say("Cancelling: %v", stopped)
			if err := stop(live); err != nil {
				r.warn(live, "not cancelled", err)
			}
		}
		if stopped != nil {
			r.wait(live)
		} else {
			r.wait(ctx)
		}
	}
}
