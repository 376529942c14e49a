// Package ec2 is the executor that stops, starts and resizes instances of EC2
// directly, where no stack or configuration owns them.
//
// A resize is a stop, a change of the type and a start. A run writes down how
// the instance stood before its first step; each further step follows from
// looking at the instance, so that a server that takes over after a crash goes
// on from whatever stands. What is refused, fails, times out or is cancelled on
// the way is put back: an instance that ran is never left stopped as long as the
// service starts it in either type.
package ec2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors on EC2.
var Driver = execute.Define("ec2", Open)

// What a change may ask for.
const (
	Stop   = "stop"   // argument: an instance
	Start  = "start"  // argument: an instance
	Resize = "resize" // arguments: an instance and the type it shall have
)

// Executor changes instances. Make it with Open.
type Executor struct {
	cfg    Config
	env    execute.Env
	client *ec2.Client
	groups *autoscaling.Client
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid. It calls nobody.
func Open(ctx context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	a, err := awsx.Open(ctx, cfg.Config, awsx.Env{Session: env.Name, Transport: env.Transport, Secret: env.Secret})
	if err != nil {
		return nil, fmt.Errorf("ec2: executor %s: %w", env.Name, err)
	}
	return &Executor{cfg: cfg, env: env, client: ec2.NewFromConfig(a), groups: autoscaling.NewFromConfig(a)}, nil
}

// Operations are the calls that change something, each with a failpoint before
// and after it.
var Operations = []string{"stop", "modify", "start"}

// guarded calls f between the failpoints of an operation.
func guarded(operation string, f func() error) error {
	failpoint.Hit("execute.ec2." + operation + ".before")
	err := f()
	failpoint.Hit("execute.ec2." + operation + ".after")
	return err
}

// once is for calls whose refusals the library would take for reasons to try
// again: a lack of capacity comes as an error of the server.
func once(o *ec2.Options) { o.Retryer = awsx.Once }

func (x *Executor) invalid(format string, args ...any) error {
	return fmt.Errorf("ec2: %s: %w", x.env.Redact(fmt.Sprintf(format, args...)), ops.ErrInvalid)
}

// standing is what this executor changes of an instance.
type standing struct {
	Type    string `json:"type"`
	Running bool   `json:"running"`
}

func (s standing) String() string { return s.state() + " as " + s.Type }

func (s standing) state() string {
	if s.Running {
		return "running"
	}
	return "stopped"
}

// The attributes of a plan.
const (
	attributeType    = "type"
	attributeState   = "state"
	attributeAddress = "public address"
	attributeStore   = "instance store"
)

// read is the standing a plan's attributes say.
func read(attributes map[string]string) standing {
	return standing{Type: attributes[attributeType], Running: attributes[attributeState] == "running"}
}

// Plan shows how the instance stands, what becomes of it, and what is lost on
// the way.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	p, err := x.plan(ctx, r.Change)
	return p, x.quiet(err)
}

func (x *Executor) plan(ctx context.Context, c ops.Change) (ops.Plan, error) {
	if !slices.Contains(x.cfg.Actions, c.Action) {
		return ops.Plan{}, x.invalid("action %q is unknown; allowed are %s", c.Action, strings.Join(x.cfg.Actions, ", "))
	}
	switch {
	case c.Action == Resize && (len(c.Args) != 2 || c.Args[1] == ""):
		return ops.Plan{}, x.invalid("%s takes two arguments, an instance and a type", Resize)
	case c.Action != Resize && len(c.Args) != 1:
		return ops.Plan{}, x.invalid("%s takes one argument, an instance", c.Action)
	}
	i, err := x.describe(ctx, c.Args[0])
	if err != nil {
		return ops.Plan{}, err
	}
	if err := x.cfg.mayTouch(i); err != nil {
		return ops.Plan{}, err
	}
	from, err := i.standing()
	if err != nil {
		return ops.Plan{}, err
	}
	to := from
	switch c.Action {
	case Resize:
		to.Type = c.Args[1]
	case Stop:
		to.Running = false
	case Start:
		to.Running = true
	}
	if from == to {
		return ops.Plan{}, x.invalid("instance %s is %s already", i.ID, from)
	}
	f, err := x.check(ctx, i, from, to)
	if err != nil {
		return ops.Plan{}, err
	}
	return x.render(c, i, from, to, f), nil
}

func (x *Executor) render(c ops.Change, i instance, from, to standing, f findings) ops.Plan {
	before := map[string]string{attributeType: from.Type, attributeState: from.state()}
	after := map[string]string{attributeType: to.Type, attributeState: to.state()}
	back := ops.PlanAction{
		Resource: "instance " + i.ID, Verb: "update", Args: append([]string{c.Action}, c.Args...),
		Before: map[string]string{attributeType: to.Type, attributeState: to.state()}, After: map[string]string{attributeType: from.Type, attributeState: from.state()},
	}
	var text strings.Builder
	fmt.Fprintf(&text, "~ %s instance %s%s\n", c.Action, i.ID, i.called())
	if from.Type != to.Type {
		fmt.Fprintf(&text, "-   type: %s\n+   type: %s\n", from.Type, to.Type)
	}
	switch {
	case from.Running != to.Running:
		fmt.Fprintf(&text, "-   state: %s\n+   state: %s\n", from.state(), to.state())
	case from.Running:
		text.WriteString("    it is stopped, changed and started again\n")
	default:
		text.WriteString("    it is stopped and stays so\n")
	}
	if len(f.addresses) > 0 {
		before[attributeAddress], after[attributeAddress] = strings.Join(f.addresses, ", "), "another, or none"
		fmt.Fprintf(&text, "!   public address %s is given up for good: it is no Elastic IP\n", strings.Join(f.addresses, ", "))
	}
	if f.store != "" {
		before[attributeStore], after[attributeStore] = f.store, "empty"
		fmt.Fprintf(&text, "!   what is on its instance store (%s) is lost for good\n", f.store)
	}
	for _, n := range f.notes {
		fmt.Fprintf(&text, "    %s\n", n)
	}
	return ops.Plan{
		Tool: "ec2", Target: "instance:" + i.ID, Config: x.cfg.digest(), Text: text.String(),
		Actions:   []ops.PlanAction{{Resource: back.Resource, Verb: back.Verb, Before: before, After: after, Args: back.Args}},
		Rollback:  []ops.PlanAction{back},
		ApplySecs: seconds(x.cfg.Estimate), RollbackSecs: seconds(x.cfg.Estimate),
	}
}

// Apply brings the instance to where the plan says, or puts it back.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	a, err := mine(p.Actions)
	if err != nil {
		return execute.Result{}, err
	}
	r := &run{Executor: x, token: string(token), id: a.Args[1], from: read(a.Before), to: read(a.After), out: out}
	return r.do(ctx)
}

// RollBack brings the instance back to how the plan found it. What was lost by
// stopping it stays lost.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	if len(p.Rollback) == 0 {
		return execute.Result{}, fmt.Errorf("ec2: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	a, err := mine(p.Rollback)
	if err != nil {
		return execute.Result{}, err
	}
	// A run that never began will not begin any more.
	never := memory{State: ended, At: x.env.Clock().UTC(), Fault: "ec2: instance " + a.Args[1] + ": rolled back before it began"}
	if _, _, err := x.recall(ctx, string(token), never); err != nil {
		return execute.Result{}, err
	}
	r := &run{Executor: x, token: string(token) + "/rollback", id: a.Args[1], back: true, from: read(a.Before), to: read(a.After), out: out}
	return r.do(ctx)
}

// mine returns the action of a plan this executor could have made.
func mine(actions []ops.PlanAction) (ops.PlanAction, error) {
	if len(actions) != 1 || len(actions[0].Args) < 2 || read(actions[0].Before).Type == "" || read(actions[0].After).Type == "" {
		return ops.PlanAction{}, fmt.Errorf("ec2: the plan has %d actions, not one of ours: %w", len(actions), ops.ErrInvalid)
	}
	return actions[0], nil
}

// Drift compares type and state of the instance with the plan.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	a, err := mine(p.Actions)
	if err != nil {
		return execute.Unknown, err
	}
	i, err := x.describe(ctx, a.Args[1])
	if errors.Is(err, ops.ErrNotFound) {
		return execute.Drifted, nil
	}
	if err != nil {
		return execute.Unknown, x.quiet(err)
	}
	if is, err := i.standing(); err != nil || is != read(a.After) {
		return execute.Drifted, nil //nolint:nilerr // an instance between two states is not where the plan left it
	}
	return execute.InSync, nil
}
