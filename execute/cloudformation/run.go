package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// do runs act unless the token was seen and its end is recorded.
func (r *run) do(ctx context.Context, act func(ctx context.Context) (string, error)) (execute.Result, error) {
	first := memory{State: begun, At: r.env.Clock().UTC()}
	if ctx.Err() != nil {
		first.State, first.Fault = ended, "not started: "+context.Cause(ctx).Error()
	}
	var err error
	if r.m, _, err = r.recall(ctx, r.token, first); err != nil {
		return execute.Result{}, err
	}
	if r.m.State != ended {
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
			// The events of the stack tell a later call the same.
			r.warn(ctx, "end of an update not recorded", kept)
		}
		return execute.Result{Note: note}, err
	}
	if r.m.Fault != "" {
		return execute.Result{}, fmt.Errorf("%s: %w", r.m.Fault, ops.ErrStalled)
	}
	return execute.Result{Note: r.m.Note}, nil
}

func (r *run) warn(ctx context.Context, what string, err error) {
	r.env.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("stack", r.stack), slog.String("error", r.env.Redact(err.Error())))
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

// looking is a context for finding out and putting right what has happened,
// which must be possible after ctx has ended.
func looking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}

func (r *run) stop(ctx context.Context, when string) error {
	return fmt.Errorf("cloudformation: stack %s: stopped %s: %w: %w", r.stack, when, context.Cause(ctx), ops.ErrUnavailable)
}

// update applies the plan.
func (r *run) update(ctx context.Context) (string, error) {
	if r.m.Job == nil {
		if ctx.Err() != nil {
			return "", r.stop(ctx, "before anything was changed")
		}
		j, err := r.prepare(ctx)
		if err != nil {
			return "", err
		}
		r.m.Job = j
		if err := r.keep(ctx); err != nil {
			return "", fmt.Errorf("cloudformation: what to put back could not be recorded, nothing is done: %w", err)
		}
	}
	return r.forward(ctx)
}

// prepare looks at the world once more and says what there is to do. It changes
// nothing.
func (r *run) prepare(ctx context.Context) (*job, error) {
	s, err := r.Executor.stack(ctx, r.stack)
	if err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	if hash(s.template) != r.plan.Actions[0].Before["template"] {
		return nil, fmt.Errorf("cloudformation: the template of stack %s is no longer the one that was planned with: %w", r.stack, ops.ErrConflict)
	}
	t, err := r.aim(ctx, s, r.plan.Actions[0].Args[2:])
	if err != nil {
		return nil, err
	}
	was := map[string]string{}
	for name := range t.set {
		was[name], _ = s.value(name)
		if was[name] != r.plan.Actions[0].Before["parameter "+name] {
			return nil, fmt.Errorf("cloudformation: parameter %s of stack %s has moved since it was planned: %w", name, r.stack, ops.ErrConflict)
		}
	}
	for _, k := range t.keys {
		i := slices.IndexFunc(r.plan.Actions, func(a ops.PlanAction) bool { return a.Resource == keyPrefix+k.Key })
		if i < 0 || r.plan.Actions[i].Before["value"] != k.From {
			return nil, fmt.Errorf("cloudformation: parameter %s has moved since it was planned: %w", k.Key, ops.ErrConflict)
		}
	}
	if *r.cfg.DriftCheck {
		r.say("Looking for drift of stack %s", r.stack)
		found, err := r.detect(ctx, r.stack)
		if err != nil {
			return nil, err
		}
		if len(found.moved) > 0 {
			return nil, fmt.Errorf("cloudformation: stack %s has drifted, and an update would overwrite or trip over that: %s; "+
				"bring it back, or take what it is now into the template: %w", r.stack, found, ops.ErrStalled)
		}
	}
	j := &job{Set: t.set, Was: was, Keys: t.keys}
	if t.dynamic {
		j.Template = s.template
	}
	return j, nil
}

// forward goes on from wherever an earlier call was cut off: the events of the
// stack tell whether the change set was executed.
func (r *run) forward(ctx context.Context) (string, error) {
	look, cancel := looking(ctx)
	defer cancel()
	executed, err := r.executed(look)
	if err != nil {
		return "", &ops.UnknownOutcome{Err: err}
	}
	if !executed {
		if ctx.Err() != nil {
			return "", r.abandon(ctx, r.stop(ctx, "before the change set was executed"))
		}
		empty, err := r.ready(ctx)
		switch {
		case err != nil:
			return "", r.abandon(ctx, err)
		case empty:
			if moved, err := r.reached(look); err != nil || moved != "" {
				return "", r.abandon(ctx, errors.Join(err, fmt.Errorf("cloudformation: there is nothing to change in stack %s, and read back it does not have the wanted %s: %w", r.stack, moved, ops.ErrStalled)))
			}
			return "nothing was left to change", nil
		}
		if err := r.execute(ctx); err != nil {
			var unknown *ops.UnknownOutcome
			if errors.As(err, &unknown) {
				return "", err
			}
			return "", r.abandon(ctx, err)
		}
	}
	e, err := r.follow(ctx)
	if err != nil {
		return "", err
	}
	return r.conclude(ctx, e)
}

// ready publishes the keys, makes the change set and compares it. Empty means
// that the stack is as wanted already, which only a rollback may find.
func (r *run) ready(ctx context.Context) (empty bool, err error) {
	s, err := r.Executor.stack(ctx, r.stack)
	if err != nil {
		return false, err
	}
	names, to := normal{}, map[string]string{}
	for _, k := range r.m.Job.Keys {
		p, err := r.publish(ctx, k)
		if err != nil {
			return false, err
		}
		names.keys = append(names.keys, k.Key)
		to[k.Key] = fmt.Sprintf("%s:%d", k.Key, p.Version)
	}
	sub := submission{name: r.set, set: r.m.Job.Set, template: r.m.Job.Template}
	if !r.m.Job.Back {
		sub.template = repoint(sub.template, to)
	}
	if err := r.create(ctx, s, sub); err != nil {
		return false, err
	}
	found, err := r.settled(ctx, r.stack, r.set)
	if err != nil {
		return false, err
	}
	if found.execution == types.ExecutionStatusObsolete {
		return false, fmt.Errorf("cloudformation: somebody else has updated stack %s meanwhile: %w", r.stack, ops.ErrConflict)
	}
	now := render(r.stack, found.list, names)
	if r.m.Job.Back {
		empty = found.empty
		err = r.within(now)
	} else {
		err = r.same(now)
	}
	if err == nil && empty {
		err = r.discard(ctx, r.stack, r.set)
	}
	return empty, err
}

// publish makes the value of a key readable.
func (r *run) publish(ctx context.Context, k *keyed) (p parameter.Parameter, err error) {
	err = guarded("publish", func() error {
		p, err = r.keys.Put(ctx, parameter.Edit{Key: k.Key, Value: k.To, Version: k.Version, Token: r.token + k.Key})
		return err
	})
	if err != nil {
		return p, fmt.Errorf("cloudformation: %w", err)
	}
	r.say("Parameter %s is %s (version %d)", k.Key, k.To, p.Version)
	label := parameter.Published
	if r.m.Job.Back {
		label = parameter.RolledBack
	}
	r.label(ctx, k.Key, p.Version, label)
	return p, nil
}

// label is for templates and people who read labels; nothing depends on it.
func (r *run) label(ctx context.Context, key string, version int64, l parameter.Label) {
	if err := r.keys.Mark(ctx, key, version, l); err != nil {
		r.warn(ctx, "label not put on a parameter", err)
	}
}

// same holds the change set made now against the plan.
func (r *run) same(now []ops.PlanAction) error {
	var planned []ops.PlanAction
	for _, a := range r.plan.Actions {
		if _, ok := logicalID(r.stack, a); ok {
			planned = append(planned, a)
		}
	}
	if moved := execute.Moved(ops.Plan{Actions: planned}, ops.Plan{Actions: now}); moved != "" {
		return fmt.Errorf("cloudformation: the change set of stack %s is no longer what was planned:\n%s: %w", r.stack, r.env.Redact(moved), ops.ErrStalled)
	}
	return nil
}

// within holds the change set of a rollback against the plan: it may touch only
// what the plan's rollback names, and replace or delete nothing the plan's does
// not.
func (r *run) within(now []ops.PlanAction) error {
	for _, a := range now {
		i := slices.IndexFunc(r.plan.Rollback, func(p ops.PlanAction) bool { return p.Resource == a.Resource })
		switch {
		case i < 0:
			return fmt.Errorf("cloudformation: rolling back would also %s %s, which the plan did not say: %w", a.Verb, a.Resource, ops.ErrStalled)
		case a.Verb != r.plan.Rollback[i].Verb || a.Replace:
			return fmt.Errorf("cloudformation: rolling back would %s %s, and the plan said %s: %w", a.Verb, a.Resource, r.plan.Rollback[i].Verb, ops.ErrStalled)
		}
	}
	return nil
}

// execute executes the change set. Under one token CloudFormation does it once.
func (r *run) execute(ctx context.Context) error {
	var err error
	for range 3 {
		err = guarded("execute", func() error {
			_, err := r.client.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{StackName: &r.stack, ChangeSetName: &r.set, ClientRequestToken: &r.event}, once)
			return err
		})
		if err == nil {
			r.say("Change set %s of stack %s is being executed", r.set, r.stack)
			return nil
		}
		look, cancel := looking(ctx)
		done, lookErr := r.executed(look)
		cancel()
		if lookErr == nil && done {
			return nil
		}
		err = awsx.Write("cloudformation: execute the change set of "+r.stack, err)
		var unknown *ops.UnknownOutcome
		if !errors.As(err, &unknown) || ctx.Err() != nil || r.alive(ctx, r.cfg.Poll) != nil {
			break
		}
	}
	return err
}

// executed reports whether the change set of this run was executed.
func (r *run) executed(ctx context.Context) (bool, error) {
	found, err := r.events(ctx, map[string]bool{})
	if err != nil || len(found) > 0 {
		return len(found) > 0, err
	}
	c, _, err := r.changeSet(ctx, r.stack, r.set)
	if errors.Is(err, ops.ErrNotFound) {
		return false, nil
	}
	switch c.execution {
	case types.ExecutionStatusExecuteInProgress, types.ExecutionStatusExecuteComplete, types.ExecutionStatusExecuteFailed:
		return true, err
	}
	return false, err
}

// conclude says what an update came to, and puts back what it published when it
// came to nothing.
func (r *run) conclude(ctx context.Context, e end) (string, error) {
	look, cancel := looking(ctx)
	defer cancel()
	why := e.why()
	switch e.status {
	case types.ResourceStatusUpdateComplete:
		if moved, err := r.reached(look); err != nil {
			return "", &ops.UnknownOutcome{Err: err}
		} else if moved != "" {
			return "", fmt.Errorf("cloudformation: stack %s was updated, and read back it does not have the planned %s: %w", r.stack, moved, ops.ErrStalled)
		}
		for _, k := range r.m.Job.Keys {
			if !r.m.Job.Back {
				r.label(look, k.Key, k.Version+1, parameter.Executed)
			}
		}
		if e.stopped != nil {
			return "the update of stack " + r.stack + " was complete before it could be cancelled", nil
		}
		return "stack " + r.stack + " is in UPDATE_COMPLETE", nil
	case types.ResourceStatusUpdateRollbackFailed:
		return "", r.withdraw(look, stuck(r.stack, r.env.Redact(why)))
	case types.ResourceStatusUpdateRollbackComplete:
		if e.stopped != nil {
			return "", r.withdraw(look, fmt.Errorf("cloudformation: the update of stack %s was cancelled and rolled back: %w: %w", r.stack, e.stopped, ops.ErrStalled))
		}
		return "", r.withdraw(look, fmt.Errorf("cloudformation: the update of stack %s failed and was rolled back: %s: %w", r.stack, r.env.Redact(why), ops.ErrStalled))
	}
	return "", r.withdraw(look, fmt.Errorf("cloudformation: stack %s is in %s: %s: %w", r.stack, e.status, r.env.Redact(why), ops.ErrStalled))
}

// reached says which parameter does not have the wanted value.
func (r *run) reached(ctx context.Context) (string, error) {
	d, err := r.describe(ctx, r.stack)
	if err != nil {
		return "", err
	}
	s := stack{Stack: d, name: r.stack}
	for _, name := range slices.Sorted(maps.Keys(r.m.Job.Set)) {
		if is, _ := s.value(name); is != r.m.Job.Set[name] {
			return "parameter " + name, nil
		}
	}
	return "", nil
}

// abandon undoes what was prepared for a change set that was not executed.
func (r *run) abandon(ctx context.Context, cause error) error {
	look, cancel := looking(ctx)
	defer cancel()
	if err := r.discard(look, r.stack, r.set); err != nil && !errors.Is(err, ops.ErrNotFound) {
		r.warn(look, "change set not deleted", err)
	}
	return r.withdraw(look, cause)
}

// withdraw puts back the values this run made readable, and returns cause with
// what could not be put back. A rollback withdraws nothing: it has put back.
func (r *run) withdraw(ctx context.Context, cause error) error {
	if r.m.Job.Back {
		return cause
	}
	for _, k := range r.m.Job.Keys {
		if err := r.putBack(ctx, k, parameter.Failed); err != nil {
			cause = fmt.Errorf("%w; %w", cause, err)
		}
	}
	return cause
}

// putBack restores a key that this run may have written. A value of somebody
// else stays.
func (r *run) putBack(ctx context.Context, k *keyed, l parameter.Label) error {
	is, err := r.keys.Get(ctx, k.Key)
	switch {
	case err != nil:
		return fmt.Errorf("parameter %s could not be put back to %s: %w", k.Key, k.From, err)
	case is.Version == k.Version, is.Value == k.From:
		return nil // never written, or put back already
	case is.Version != k.Version+1:
		return fmt.Errorf("parameter %s was written by somebody else and stays at version %d: %w", k.Key, is.Version, ops.ErrConflict)
	}
	return guarded("restore", func() error {
		p, err := r.keys.Put(ctx, parameter.Edit{Key: k.Key, Value: k.From, Version: is.Version, Token: r.token + "/back" + k.Key})
		if err != nil {
			return fmt.Errorf("parameter %s could not be put back to %s: %w", k.Key, k.From, err)
		}
		r.say("Parameter %s is %s again", k.Key, k.From)
		r.label(ctx, k.Key, p.Version, l)
		return nil
	})
}
