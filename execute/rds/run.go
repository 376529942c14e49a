package rds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// memory is what is durable about one run.
type memory struct {
	State string    `json:"state"`
	At    time.Time `json:"at"`
	Since time.Time `json:"since"` // of the last event before it began
	Sent  bool      `json:"sent"`  // a reboot the service may have taken
	Note  string    `json:"note,omitempty"`
	Fault string    `json:"fault,omitempty"` // of an ended run, empty when it worked
}

const (
	begun = "begun" // nothing was changed
	going = "going" // the service may have been told
	ended = "ended"
)

// run is one call of Apply or RollBack.
type run struct {
	*Executor
	token    string
	id       string
	back     bool              // this is a rollback
	from, to map[string]string // attributes
	out      io.Writer
	m        memory
	said     string // the last status that was said
	heard    map[string]bool
	deaf     bool // events cannot be read
}

func (m memory) text() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("rds: a memory of texts always marshals: " + err.Error())
	}
	return string(b)
}

// recall records m under token unless something is recorded there, and returns
// what is.
func (x *Executor) recall(ctx context.Context, token string, m memory) (memory, error) {
	recorded, fresh, err := x.env.Marks.Mark(context.WithoutCancel(ctx), token, m.text())
	if err != nil {
		return m, fmt.Errorf("rds: the mark could not be written, nothing is done: %w", err)
	}
	if fresh {
		return m, nil
	}
	var seen memory
	if err := json.Unmarshal([]byte(recorded), &seen); err != nil {
		return m, &ops.UnknownOutcome{Err: fmt.Errorf("rds: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
	}
	return seen, nil
}

func (r *run) keep(ctx context.Context) error {
	return r.env.Marks.Note(context.WithoutCancel(ctx), r.token, r.m.text())
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

func (r *run) warn(ctx context.Context, what string, err error) {
	r.env.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("database", r.id), slog.String("error", r.env.Redact(err.Error())))
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

// do brings the database there unless the token was seen and its end is
// recorded.
func (r *run) do(ctx context.Context) (execute.Result, error) {
	first := memory{State: begun, At: r.env.Clock().UTC()}
	if ctx.Err() != nil {
		first.State, first.Fault = ended, "rds: not started: "+context.Cause(ctx).Error()
	}
	var err error
	if r.m, err = r.recall(ctx, r.token, first); err != nil {
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
		// How the database stands tells a later call the same.
		r.warn(ctx, "end of a run not recorded", kept)
	}
	return execute.Result{Note: note}, err
}

// goal says what is wanted, for people.
func (r *run) goal() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(r.to)) {
		if k == attributeState {
			out = append(out, r.to[k])
		} else {
			out = append(out, k+" "+r.to[k])
		}
	}
	return strings.Join(out, ", ")
}

func (r *run) move(ctx context.Context) (string, error) {
	if r.m.State == begun {
		if ctx.Err() != nil {
			return "", fmt.Errorf("rds: database %s: stopped before anything was changed: %w: %w", r.id, context.Cause(ctx), ops.ErrUnavailable)
		}
		there, err := r.prepare(ctx)
		if err != nil {
			return "", err
		}
		if there {
			return fmt.Sprintf("database %s was %s already", r.id, r.goal()), nil
		}
		r.m.State = going
		if err := r.keep(ctx); err != nil {
			return "", fmt.Errorf("rds: the mark could not be written, nothing is done: %w", err)
		}
	}
	if err := r.reach(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("database %s is %s", r.id, r.goal()), nil
}

// prepare looks at the database once more. It changes nothing.
func (r *run) prepare(ctx context.Context) (there bool, err error) {
	d, err := r.describe(ctx, r.id)
	if err != nil {
		return false, err
	}
	if err := r.cfg.mayTouch(d); err != nil {
		return false, err
	}
	r.m.Since = r.newest(ctx)
	missing := 0
	for k, want := range r.to {
		is := d.value(k)
		switch {
		case r.back && d.has(k, want):
			continue
		// What a failed run was doing to it is not somebody else's.
		case r.back && k == attributeState && d.moving():
		case !r.back && !d.has(k, r.from[k]), r.back && is != r.from[k]:
			return false, fmt.Errorf("rds: %s of database %s is %s and not %s: it was changed since, and stays as it is: %w", k, r.id, is, r.from[k], ops.ErrConflict)
		}
		missing++
	}
	if !r.back && d.moving() {
		return false, fmt.Errorf("rds: database %s is %s; wait until it is available: %w", r.id, d.Status, ops.ErrConflict)
	}
	return r.back && missing == 0 && len(d.ours(r.to)) == 0 && !d.moving(), nil
}
