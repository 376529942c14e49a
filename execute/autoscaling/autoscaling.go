// Package autoscaling is the executor on groups of Amazon EC2 Auto Scaling: it
// sets their capacity, gives them another instance type or another version of
// their launch template, and replaces their instances by instance refreshes.
//
// A refresh is started with the configuration the group is to have, so that AWS
// changes the group only when the refresh has succeeded and can undo one that
// fails. The group is never smaller on the way than before and after: capacity
// that grows does so before instances are replaced, and what shrinks shrinks
// after.
//
// Starting a refresh takes no token. What a run would start is therefore marked
// beforehand together with the newest refresh there was, and a server that takes
// over after a crash adopts the one it finds by that.
package autoscaling

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors of Auto Scaling groups.
var Driver = execute.Define("autoscaling", Open)

// What a change may ask for.
const (
	// Update sets capacity, instance type or launch template version. Its
	// arguments are the group and pairs of min=, max=, desired=, type= and
	// version=.
	Update = "update-group"
	// Refresh replaces every instance with one of the same configuration. Its
	// argument is the group.
	Refresh = "refresh-instances"
)

// Executor works on groups. Make it with Open.
type Executor struct {
	cfg    Config
	env    execute.Env
	groups *autoscaling.Client
	ec2    *ec2.Client
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid. It calls nobody.
func Open(ctx context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	a, err := awsx.Open(ctx, cfg.Config, awsx.Env{Session: env.Name, Transport: env.Transport, Secret: env.Secret})
	if err != nil {
		return nil, fmt.Errorf("autoscaling: executor %s: %w", env.Name, err)
	}
	return &Executor{cfg: cfg, env: env, groups: autoscaling.NewFromConfig(a), ec2: ec2.NewFromConfig(a)}, nil
}

// Operations are the calls that change something, each with a failpoint before
// and after it.
var Operations = []string{"update", "version", "start", "cancel", "undo"}

// guarded calls f between the failpoints of an operation.
func guarded(operation string, f func() error) error {
	failpoint.Hit("execute.autoscaling." + operation + ".before")
	err := f()
	failpoint.Hit("execute.autoscaling." + operation + ".after")
	return err
}

// once is for calls that a retry of the library could make twice.
func once(o *autoscaling.Options) { o.Retryer = awsx.Once }

func (x *Executor) invalid(format string, args ...any) error {
	return fmt.Errorf("autoscaling: %s: %w", x.env.Redact(fmt.Sprintf(format, args...)), ops.ErrInvalid)
}

// Plan shows how the group is and how it would be.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	c := r.Change
	switch {
	case c.Action != Update && c.Action != Refresh:
		return ops.Plan{}, x.invalid("action %q is unknown; allowed are %s, %s", c.Action, Update, Refresh)
	case len(c.Args) == 0:
		return ops.Plan{}, x.invalid("%s needs the name of a group as its first argument", c.Action)
	}
	s, err := x.see(ctx, c.Action, c.Args)
	if err != nil {
		return ops.Plan{}, err
	}
	return s.plan(), nil
}

// Apply brings the group to what the plan shows, or goes on with what was begun
// under the token.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	a, err := x.mine(p)
	if err != nil {
		return execute.Result{}, err
	}
	r := &run{Executor: x, token: string(token), group: a.Args[1], out: out}
	return r.do(ctx, func(ctx context.Context) (string, error) { return r.apply(ctx, p) })
}

// RollBack brings the group back to what Apply found.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	a, err := x.mine(p)
	if err != nil {
		return execute.Result{}, err
	}
	if len(p.Rollback) == 0 || a.Args[0] == Refresh {
		return execute.Result{}, fmt.Errorf("autoscaling: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	forward := &run{Executor: x, token: string(token), group: a.Args[1], out: out}
	// One that never began will not begin any more.
	if err := forward.recall(ctx, memory{State: ended, At: x.env.Clock().UTC(), Fault: "group " + a.Args[1] + ": rolled back before it began"}); err != nil {
		return execute.Result{}, err
	}
	r := &run{Executor: x, token: string(token) + "/rollback", group: a.Args[1], out: out}
	return r.do(ctx, func(ctx context.Context) (string, error) { return r.undo(ctx, forward) })
}

// mine returns the action of a plan this executor could have made.
func (x *Executor) mine(p ops.Plan) (ops.PlanAction, error) {
	if len(p.Actions) != 1 || len(p.Actions[0].Args) < 2 || p.Actions[0].Args[0] != Update && p.Actions[0].Args[0] != Refresh {
		return ops.PlanAction{}, fmt.Errorf("autoscaling: the plan has %d actions, not one of ours: %w", len(p.Actions), ops.ErrInvalid)
	}
	return p.Actions[0], x.mayTouch(p.Actions[0].Args[1])
}

// Drift compares capacity, launch template and instances of the group with the
// plan. What replacing instances did leaves nothing to compare.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	a, err := x.mine(p)
	if err != nil {
		return execute.Unknown, err
	}
	if a.Args[0] == Refresh {
		return execute.Unknown, fmt.Errorf("autoscaling: what %s did to group %s has no state to compare: %w", Refresh, a.Args[1], ops.ErrStalled)
	}
	g, err := x.describe(ctx, a.Args[1])
	if errors.Is(err, ops.ErrNotFound) {
		return execute.Drifted, nil
	}
	if err != nil {
		return execute.Unknown, err
	}
	w, err := x.read(a.Args[2:])
	if err != nil {
		return execute.Unknown, err
	}
	if w.min != nil && *w.min != g.min || w.max != nil && *w.max != g.max || w.desired != nil && *w.desired != g.desired {
		return execute.Drifted, nil
	}
	if a.After["template"] == "" {
		return execute.InSync, nil
	}
	t, err := x.template(ctx, g)
	switch {
	case errors.Is(err, ops.ErrNotFound), errors.Is(err, errNoTemplate):
		return execute.Drifted, nil
	case err != nil:
		return execute.Unknown, err
	case t.id != a.After["template"], w.version != 0 && t.version != w.version, w.kind != "" && t.kind != w.kind, len(g.behind(t, x.cfg)) > 0:
		return execute.Drifted, nil
	}
	return execute.InSync, nil
}
