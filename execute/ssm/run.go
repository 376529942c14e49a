package ssm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/ops"
)

// memory is what is durable about one run.
type memory struct {
	State   string    `json:"state"`
	At      time.Time `json:"at"`
	ID      string    `json:"id,omitempty"`      // of the command or the execution
	Version int64     `json:"version,omitempty"` // of the parameter that is written over
	Note    string    `json:"note,omitempty"`
	Fault   string    `json:"fault,omitempty"` // of an ended run, empty when it worked
}

const (
	begun = "begun" // nothing was changed
	going = "going" // it may have been sent
	ended = "ended"
)

// run is one call of Apply or RollBack.
type run struct {
	*Executor
	token  string
	back   bool // this is a rollback
	action ops.PlanAction
	rule   Rule
	out    io.Writer
	m      memory
}

func (m memory) text() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("ssm: a memory of texts always marshals: " + err.Error())
	}
	return string(b)
}

func (r *run) keep(ctx context.Context) error {
	return r.env.Marks.Note(context.WithoutCancel(ctx), r.token, r.m.text())
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

func (r *run) warn(ctx context.Context, what string, err error) {
	r.env.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("rule", r.action.Resource), slog.String("error", r.env.Redact(err.Error())))
}

// do runs act unless the token was seen and its end is recorded.
func (r *run) do(ctx context.Context, act func(ctx context.Context) (string, error)) (execute.Result, error) {
	r.m = memory{State: begun, At: r.env.Clock().UTC()}
	if ctx.Err() != nil {
		r.m.State, r.m.Fault = ended, "not started: "+context.Cause(ctx).Error()
	}
	recorded, fresh, err := r.env.Marks.Mark(context.WithoutCancel(ctx), r.token, r.m.text())
	if err != nil {
		return execute.Result{}, fmt.Errorf("ssm: the mark could not be written, nothing is done: %w", err)
	}
	if !fresh {
		r.m = memory{}
		if err := json.Unmarshal([]byte(recorded), &r.m); err != nil {
			return execute.Result{}, &ops.UnknownOutcome{Err: fmt.Errorf("ssm: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
		}
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
		// The service tells a later call the same.
		r.warn(ctx, "end of a run not recorded", kept)
	}
	return execute.Result{Note: note}, err
}

// going records that from now on the service may have been told.
func (r *run) going(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ssm: not started: %w: %w", context.Cause(ctx), ops.ErrUnavailable)
	}
	r.m.State = going
	if err := r.keep(ctx); err != nil {
		return fmt.Errorf("ssm: the mark could not be written, nothing is done: %w", err)
	}
	return nil
}

// put writes the value over exactly the one the plan showed.
func (r *run) put(ctx context.Context) (string, error) {
	key, want := r.action.Resource, r.action.After["value"]
	if r.m.State == begun {
		is, err := r.keys.Get(ctx, key)
		if err != nil {
			return "", fmt.Errorf("ssm: %w", err)
		}
		if r.back && is.Value == want {
			return "parameter " + key + " was " + want + " already", nil
		}
		if is.Value != r.action.Before["value"] {
			return "", fmt.Errorf("ssm: parameter %s has moved since (version %d), and nothing is put over it: %w", key, is.Version, ops.ErrConflict)
		}
		r.m.Version = is.Version
		if err := r.going(ctx); err != nil {
			return "", err
		}
	}
	if ctx.Err() != nil {
		return r.found(ctx)
	}
	r.say("Putting parameter %s over version %d", key, r.m.Version)
	var p parameter.Parameter
	err := guarded("put", func() (err error) {
		p, err = r.keys.Put(ctx, parameter.Edit{Key: key, Value: want, Version: r.m.Version, Token: r.token})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ssm: %w", err)
	}
	r.say("Parameter %s is %s (version %d)", key, p.Value, p.Version)
	label := parameter.Executed
	if r.back {
		label = parameter.RolledBack
	}
	if err := r.keys.Mark(ctx, key, p.Version, label); err != nil {
		r.warn(ctx, "label not put on a parameter", err)
	}
	return fmt.Sprintf("parameter %s is at version %d", key, p.Version), nil
}

// found says, without writing anything, whether an earlier call has put the
// value.
func (r *run) found(ctx context.Context) (string, error) {
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	is, err := r.keys.Get(look, r.action.Resource)
	switch {
	case err != nil:
		return "", &ops.UnknownOutcome{Err: fmt.Errorf("ssm: %w", err)}
	case is.Version == r.m.Version:
		return "", fmt.Errorf("ssm: stopped before the parameter was put: %w: %w", context.Cause(ctx), ops.ErrUnavailable)
	case is.Version == r.m.Version+1 && is.Value == r.action.After["value"]:
		return fmt.Sprintf("parameter %s is at version %d", is.Key, is.Version), nil
	}
	return "", &ops.UnknownOutcome{Err: fmt.Errorf("ssm: parameter %s has been written again since (version %d): %w", is.Key, is.Version, ops.ErrUnavailable)}
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
// the rule's time is up, it calls stop once, and gives it Grace to take effect.
// It returns why it was stopped, if it was.
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
			return stopped, &ops.UnknownOutcome{Err: fmt.Errorf("ssm: %s was cancelled and still runs after %s (%w): %w", r.rule.Name, r.cfg.Grace, stopped, ops.ErrUnavailable)}
		case stopped != nil:
		case ctx.Err() != nil:
			stopped = context.Cause(ctx)
		case now.After(r.m.At.Add(r.rule.Timeout)):
			stopped = fmt.Errorf("it timed out after %s", r.rule.Timeout)
		}
		if stopped != nil && until.IsZero() {
			until = now.Add(r.cfg.Grace)
			r.say("Cancelling: %v", stopped)
			if err := guarded("cancel", func() error { return stop(live) }); err != nil {
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
