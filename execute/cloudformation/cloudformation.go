// Package cloudformation is the executor that updates stacks of AWS
// CloudFormation, by change sets alone.
//
// A plan is the change set CloudFormation itself computes, rendered with values
// before and after. Where a value comes out of Parameter Store, the change set
// of the plan reads it from a preview key that holds the recommended value and
// is deleted before Plan returns; the real key moves only in Apply, where the
// change set is made again and must say the same. If it does not, or if the
// update is undone, the old value is back before Apply returns.
//
// Whatever is made is named after the token of the run, so that a server that
// takes over after a crash finds the change set, and by the events of the stack
// what became of it.
package cloudformation

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors of CloudFormation stacks.
var Driver = execute.Define("cloudformation", Open)

// What a change may ask for.
const (
	// Update sets template parameters or keys of Parameter Store that the stack
	// reads. Its arguments are the stack and name=value pairs, where a name that
	// begins with / is a key.
	Update = "update-stack"
	// Continue is the way out of UPDATE_ROLLBACK_FAILED. Its arguments are the
	// stack and, as a last resort, the logical ids of resources to skip.
	Continue = "continue-update-rollback"
)

// Executor updates stacks. Make it with Open.
type Executor struct {
	cfg    Config
	env    execute.Env
	client stacks
	keys   parameter.Repository
	alive  func(ctx context.Context, d time.Duration) error // waits for d, or until ctx ends
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid. It calls nobody.
func Open(ctx context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	a, err := awsx.Open(ctx, cfg.Config, awsx.Env{Session: env.Name, Transport: env.Transport, Secret: env.Secret})
	if err != nil {
		return nil, fmt.Errorf("cloudformation: executor %s: %w", env.Name, err)
	}
	return &Executor{cfg: cfg, env: env, client: newStacks(cloudformation.NewFromConfig(a)), keys: parameter.NewSSM(a), alive: sleep}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Operations are the calls that change something, each with a failpoint before
// and after it.
var Operations = []string{"preview", "create", "discard", "publish", "execute", "cancel", "restore", "continue"}

// guarded calls f between the failpoints of an operation.
func guarded(operation string, f func() error) error {
	failpoint.Hit("execute.cloudformation." + operation + ".before")
	err := f()
	failpoint.Hit("execute.cloudformation." + operation + ".after")
	return err
}

// once is for calls that a retry of the library could make twice.
func once(o *cloudformation.Options) { o.Retryer = awsx.Once }

// Plan renders what the change would do to its stack.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	c := r.Change
	switch {
	case c.Action != Update && c.Action != Continue:
		return ops.Plan{}, fmt.Errorf("cloudformation: action %q is unknown; allowed are %s, %s: %w", x.env.Redact(c.Action), Update, Continue, ops.ErrInvalid)
	case len(c.Args) == 0:
		return ops.Plan{}, fmt.Errorf("cloudformation: %s needs the name of a stack as its first argument: %w", c.Action, ops.ErrInvalid)
	}
	name := c.Args[0]
	if err := x.mayTouch(name); err != nil {
		return ops.Plan{}, err
	}
	s, err := x.stack(ctx, name)
	if err != nil {
		return ops.Plan{}, err
	}
	if c.Action == Continue {
		return x.planContinue(ctx, c, s)
	}
	if err := s.ready(); err != nil {
		return ops.Plan{}, err
	}
	return x.planUpdate(ctx, c, s)
}

// Apply executes the planned change set, or what was begun under the token.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	action, name, err := x.mine(p)
	if err != nil {
		return execute.Result{}, err
	}
	r := x.run(token, name, p, out)
	if action == Continue {
		return r.do(ctx, r.continueRollback)
	}
	return r.do(ctx, r.update)
}

// RollBack puts parameters, keys and template back to what the plan found.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	action, name, err := x.mine(p)
	if err != nil {
		return execute.Result{}, err
	}
	if len(p.Rollback) == 0 || action == Continue {
		return execute.Result{}, fmt.Errorf("cloudformation: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	forward, err := x.memory(ctx, string(token), name)
	if err != nil {
		return execute.Result{}, err
	}
	r := x.run(token+"/rollback", name, p, out)
	return r.do(ctx, func(ctx context.Context) (string, error) { return r.undo(ctx, forward) })
}

// mine returns action and stack of a plan this executor could have made.
func (x *Executor) mine(p ops.Plan) (action, stack string, err error) {
	heads := 0
	for _, a := range p.Actions {
		if strings.HasPrefix(a.Resource, stackPrefix) {
			heads++
		}
	}
	if heads != 1 || len(p.Actions[0].Args) < 2 || !strings.HasPrefix(p.Actions[0].Resource, stackPrefix) {
		return "", "", fmt.Errorf("cloudformation: the plan has %d actions and none or several for a stack, not one of ours: %w", len(p.Actions), ops.ErrInvalid)
	}
	action, stack = p.Actions[0].Args[0], p.Actions[0].Args[1]
	if action != Update && action != Continue {
		return "", "", fmt.Errorf("cloudformation: the plan is not one of ours: %w", ops.ErrInvalid)
	}
	return action, stack, x.mayTouch(stack)
}
