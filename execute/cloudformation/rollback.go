package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// undo takes back what an earlier run did, by the inverse change set.
func (r *run) undo(ctx context.Context, forward memory) (string, error) {
	if forward.Job == nil {
		return "nothing had been changed", nil
	}
	if r.m.Job == nil {
		if ctx.Err() != nil {
			return "", r.stop(ctx, "before anything was put back")
		}
		f := r.forwards(forward)
		e, done, err := f.outcome(ctx)
		if err != nil {
			return "", err
		}
		switch {
		case done && e.status == types.ResourceStatusUpdateRollbackFailed:
			return "", f.withdraw(ctx, stuck(r.stack, r.env.Redact(e.why())))
		case !done || e.status != types.ResourceStatusUpdateComplete:
			for _, k := range forward.Job.Keys {
				if err := f.putBack(ctx, k, parameter.RolledBack); err != nil {
					return "", fmt.Errorf("cloudformation: %w", err)
				}
			}
			return "the update had not come about; nothing was left to undo", nil
		}
		if r.m.Job, err = r.backwards(ctx, forward.Job); err != nil {
			return "", err
		}
		if err := r.keep(ctx); err != nil {
			return "", fmt.Errorf("cloudformation: what to put back could not be recorded, nothing is done: %w", err)
		}
	}
	note, err := r.forward(ctx)
	if err == nil {
		note = "rolled back: " + note
	}
	return note, err
}

// forwards is the run to be undone.
func (r *run) forwards(m memory) *run {
	f := *r
	g := r.run(execute.Token(strings.TrimSuffix(r.token, "/rollback")), r.stack, r.plan, r.out)
	f.token, f.set, f.event, f.m = g.token, g.set, g.event, m
	return &f
}

// outcome waits for the end of a run's operation; done is false when its change
// set was never executed.
func (r *run) outcome(ctx context.Context) (e end, done bool, err error) {
	executed, err := r.executed(ctx)
	if err != nil || !executed {
		return end{}, false, err
	}
	e, err = r.follow(ctx)
	return e, true, err
}

// backwards is the job that leads back, on the world as it is now.
func (r *run) backwards(ctx context.Context, f *job) (*job, error) {
	b := &job{Set: f.Was, Was: f.Set, Template: f.Template, Back: true}
	for _, k := range f.Keys {
		is, err := r.keys.Get(ctx, k.Key)
		if err != nil {
			return nil, fmt.Errorf("cloudformation: %w", err)
		}
		switch is.Value {
		case k.From:
			continue
		case k.To:
			back := *k
			back.From, back.To, back.Version = k.To, k.From, is.Version
			b.Keys = append(b.Keys, &back)
		default:
			return nil, fmt.Errorf("cloudformation: parameter %s was written by somebody else since (version %d); nothing is put back over it: %w", k.Key, is.Version, ops.ErrStalled)
		}
	}
	return b, nil
}

// planContinue shows what stands in the way of a rollback that failed.
func (x *Executor) planContinue(ctx context.Context, c ops.Change, s stack) (ops.Plan, error) {
	if s.StackStatus != types.StackStatusUpdateRollbackFailed {
		return ops.Plan{}, fmt.Errorf("cloudformation: stack %s is in %s; %s is for UPDATE_ROLLBACK_FAILED: %w", s.name, s.StackStatus, Continue, ops.ErrInvalid)
	}
	list, err := x.client.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: &s.name})
	if err != nil {
		return ops.Plan{}, awsx.Read("cloudformation: describe the resources of "+s.name, err)
	}
	skip := c.Args[1:]
	a := ops.PlanAction{
		Resource: stackPrefix + s.name, Verb: "run", Args: append([]string{Continue, s.name}, skip...),
		Before: map[string]string{"status": string(s.StackStatus)}, After: map[string]string{"status": string(types.StackStatusUpdateRollbackComplete)},
	}
	var failed []string
	var text strings.Builder
	fmt.Fprintf(&text, "! go on rolling back stack %s: %s\n", s.name, aws.ToString(s.StackStatusReason))
	for _, r := range list.StackResources {
		if r.ResourceStatus != types.ResourceStatusUpdateFailed {
			continue
		}
		id := aws.ToString(r.LogicalResourceId)
		failed = append(failed, id)
		a.Before[id] = string(r.ResourceStatus)
		word := "try again"
		if slices.Contains(skip, id) {
			a.After[id], word = "skipped", "skip, leaving it as it is; the stack will say UPDATE_COMPLETE of it"
		}
		fmt.Fprintf(&text, "  %s (%s): %s: %s\n", id, aws.ToString(r.ResourceType), aws.ToString(r.ResourceStatusReason), word)
	}
	for _, id := range skip {
		if !slices.Contains(failed, id) {
			return ops.Plan{}, fmt.Errorf("cloudformation: resource %q of stack %s has not failed and cannot be skipped; failed have %s: %w", id, s.name, strings.Join(failed, ", "), ops.ErrInvalid)
		}
	}
	text.WriteString("! cannot be undone\n")
	return ops.Plan{
		Tool: "cloudformation", Target: aws.ToString(s.StackId), Actions: []ops.PlanAction{a}, Config: x.cfg.digest(),
		ApplySecs: seconds(x.cfg.Estimate), Text: text.String(),
	}, nil
}

// continueRollback does what planContinue showed.
func (r *run) continueRollback(ctx context.Context) (string, error) {
	look, cancel := looking(ctx)
	defer cancel()
	found, err := r.events(look, map[string]bool{})
	if err != nil {
		return "", &ops.UnknownOutcome{Err: err}
	}
	if len(found) == 0 {
		if ctx.Err() != nil {
			return "", r.stop(ctx, "before anything was changed")
		}
		err := guarded("continue", func() error {
			_, err := r.client.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{
				StackName: &r.stack, ClientRequestToken: &r.event, ResourcesToSkip: r.plan.Actions[0].Args[2:],
			}, once)
			return awsx.Write("cloudformation: continue the rollback of "+r.stack, err)
		})
		if err != nil {
			return "", err
		}
	}
	e, err := r.follow(ctx)
	switch {
	case err != nil:
		return "", err
	case e.status != types.ResourceStatusUpdateRollbackComplete:
		return "", errors.Join(stuck(r.stack, r.env.Redact(e.why())), e.stopped)
	}
	return "stack " + r.stack + " is in UPDATE_ROLLBACK_COMPLETE", nil
}
