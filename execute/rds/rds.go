// Package rds is the executor that modifies, stops, starts and reboots database
// instances of RDS directly, where no stack or configuration owns them.
//
// What is modified is applied at once: our window is not the maintenance window
// of the database. A modification cannot be called off once the service has it,
// so whoever cancels one waits until it has settled and is told how the database
// stands; the rollback of the plan is the way back. Each step follows from
// describing the database, so that a server that takes over after a crash goes
// on from what stands.
package rds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors on RDS.
var Driver = execute.Define("rds", Open)

// What a change may ask for.
const (
	Resize = "resize" // arguments: a database and the class it shall have
	Modify = "modify" // arguments: a database, and class=, storage=, multi_az= or parameter_group= with their values
	Stop   = "stop"   // argument: a database
	Start  = "start"  // argument: a database
	Reboot = "reboot" // argument: a database
)

// Executor changes databases. Make it with Open.
type Executor struct {
	cfg    Config
	env    execute.Env
	client *rds.Client
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid. It calls nobody.
func Open(ctx context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	a, err := awsx.Open(ctx, cfg.Config, awsx.Env{Session: env.Name, Transport: env.Transport, Secret: env.Secret})
	if err != nil {
		return nil, fmt.Errorf("rds: executor %s: %w", env.Name, err)
	}
	return &Executor{cfg: cfg, env: env, client: rds.NewFromConfig(a)}, nil
}

// Operations are the calls that change something, each with a failpoint before
// and after it.
var Operations = []string{"modify", "stop", "start", "reboot"}

// guarded calls f between the failpoints of an operation.
func guarded(operation string, f func() error) error {
	failpoint.Hit("execute.rds." + operation + ".before")
	err := f()
	failpoint.Hit("execute.rds." + operation + ".after")
	return err
}

// once is for calls that a retry of the library could make twice.
func once(o *rds.Options) { o.Retryer = awsx.Once }

func (x *Executor) invalid(format string, args ...any) error {
	return fmt.Errorf("rds: %s: %w", x.env.Redact(fmt.Sprintf(format, args...)), ops.ErrInvalid)
}

// Plan shows how the database stands, what becomes of it, and what that costs.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	p, err := x.plan(ctx, r.Change)
	return p, x.quiet(err)
}

func (x *Executor) plan(ctx context.Context, c ops.Change) (ops.Plan, error) {
	if !slices.Contains(x.cfg.Actions, c.Action) {
		return ops.Plan{}, x.invalid("action %q is unknown; allowed are %s", c.Action, strings.Join(x.cfg.Actions, ", "))
	}
	want, err := x.wanted(c)
	if err != nil {
		return ops.Plan{}, err
	}
	d, err := x.describe(ctx, c.Args[0])
	if err != nil {
		return ops.Plan{}, err
	}
	if err := x.cfg.mayTouch(d); err != nil {
		return ops.Plan{}, err
	}
	f, err := x.check(ctx, c.Action, d, want)
	if err != nil {
		return ops.Plan{}, err
	}
	return x.render(c, d, want, f), nil
}

// wanted reads what a change wants, by attribute.
func (x *Executor) wanted(c ops.Change) (map[string]string, error) {
	switch c.Action {
	case Resize:
		if len(c.Args) != 2 || c.Args[1] == "" {
			return nil, x.invalid("%s takes two arguments, a database and a class", Resize)
		}
		return map[string]string{attributeClass: c.Args[1]}, nil
	case Modify:
		if len(c.Args) < 2 {
			return nil, x.invalid("%s takes a database and what to set: %s", Modify, strings.Join(settings, "=, ")+"=")
		}
		want := map[string]string{}
		for _, a := range c.Args[1:] {
			k, v, ok := strings.Cut(a, "=")
			if _, twice := want[k]; !ok || v == "" || twice || !slices.Contains(settings, k) {
				return nil, x.invalid("argument %q is not one of %s with a value, each once", a, strings.Join(settings, "=, ")+"=")
			}
			want[k] = v
		}
		if want[attributeStorage] != "" && want[attributeGroup] != "" {
			return nil, x.invalid("storage and parameter_group need a change each: while storage is optimised, which takes hours, the database cannot be rebooted for its group")
		}
		return want, nil
	}
	if len(c.Args) != 1 {
		return nil, x.invalid("%s takes one argument, a database", c.Action)
	}
	return map[string]string{attributeState: map[string]string{Stop: stopped, Start: available, Reboot: rebooted}[c.Action]}, nil
}

func (x *Executor) render(c ops.Change, d database, want map[string]string, f findings) ops.Plan {
	was := map[string]string{}
	for k := range want {
		was[k] = d.value(k)
	}
	a := ops.PlanAction{Resource: "database " + d.ID, Verb: "update", Args: append([]string{c.Action}, c.Args...), Before: maps.Clone(was), After: maps.Clone(want)}
	for k, v := range f.pending {
		a.Before["pending "+k], a.After["pending "+k] = v, "applied"
	}
	p := ops.Plan{Tool: "rds", Target: "database:" + d.ID, Config: x.cfg.digest(), Actions: []ops.PlanAction{a}, ApplySecs: seconds(x.cfg.Estimate)}
	var text strings.Builder
	fmt.Fprintf(&text, "~ %s database %s (%s %s)\n", c.Action, d.ID, d.Engine, d.Version)
	back := ops.PlanAction{Resource: a.Resource, Verb: a.Verb, Args: a.Args, Before: map[string]string{}, After: map[string]string{}}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		fmt.Fprintf(&text, "-   %s: %s\n+   %s: %s\n", k, was[k], k, want[k])
		if k != attributeStorage && want[k] != rebooted {
			back.Before[k], back.After[k] = want[k], was[k]
		}
	}
	for _, n := range f.notes {
		fmt.Fprintf(&text, "    %s\n", n)
	}
	for _, k := range slices.Sorted(maps.Keys(f.pending)) {
		fmt.Fprintf(&text, "!   applied with it: pending %s %s\n", k, f.pending[k])
	}
	if _, grows := want[attributeStorage]; grows {
		text.WriteString("!   storage cannot shrink: a rollback leaves it at its new size\n")
	}
	if len(back.After) > 0 {
		p.Rollback, p.RollbackSecs = []ops.PlanAction{back}, seconds(x.cfg.Estimate)
	} else {
		text.WriteString("!   cannot be undone\n")
	}
	p.Text = text.String()
	return p
}

// Apply brings the database to where the plan says.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	a, err := mine(p.Actions)
	if err != nil {
		return execute.Result{}, err
	}
	r := &run{Executor: x, token: string(token), id: a.Args[1], from: own(a.Before), to: own(a.After), out: out}
	return r.do(ctx)
}

// RollBack brings back what the plan can undo.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	if len(p.Rollback) == 0 {
		return execute.Result{}, fmt.Errorf("rds: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	a, err := mine(p.Rollback)
	if err != nil {
		return execute.Result{}, err
	}
	// A run that never began will not begin any more.
	never := memory{State: ended, At: x.env.Clock().UTC(), Fault: "rds: database " + a.Args[1] + ": rolled back before it began"}
	if _, err := x.recall(ctx, string(token), never); err != nil {
		return execute.Result{}, err
	}
	r := &run{Executor: x, token: string(token) + "/rollback", id: a.Args[1], back: true, from: own(a.Before), to: own(a.After), out: out}
	return r.do(ctx)
}

// mine returns the action of a plan this executor could have made.
func mine(all []ops.PlanAction) (ops.PlanAction, error) {
	if len(all) != 1 || len(all[0].Args) < 2 || !slices.Contains(actions, all[0].Args[0]) || len(own(all[0].After)) == 0 {
		return ops.PlanAction{}, fmt.Errorf("rds: the plan has %d actions, not one of ours: %w", len(all), ops.ErrInvalid)
	}
	if n, ok := all[0].After[attributeStorage]; ok {
		if _, err := strconv.ParseInt(n, 10, 32); err != nil {
			return ops.PlanAction{}, fmt.Errorf("rds: the plan's storage is no number of GiB, so it is not one of ours: %w", ops.ErrInvalid)
		}
	}
	return all[0], nil
}

// own are the attributes this executor changes; others only tell.
func own(attributes map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range attributes {
		if k == attributeState || slices.Contains(settings, k) {
			out[k] = v
		}
	}
	return out
}

// Drift compares the database with the plan. A reboot leaves nothing to compare.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	a, err := mine(p.Actions)
	if err != nil {
		return execute.Unknown, err
	}
	if a.After[attributeState] == rebooted {
		return execute.Unknown, fmt.Errorf("rds: what a reboot of database %s did has no state to compare: %w", a.Args[1], ops.ErrStalled)
	}
	d, err := x.describe(ctx, a.Args[1])
	if errors.Is(err, ops.ErrNotFound) {
		return execute.Drifted, nil
	}
	if err != nil {
		return execute.Unknown, x.quiet(err)
	}
	for k, v := range own(a.After) {
		// One that is backed up or optimised is still as available as it was left.
		up := k == attributeState && v == available && !d.broken() && !slices.Contains(down, d.Status)
		if !up && !d.has(k, v) {
			return execute.Drifted, nil
		}
	}
	return execute.InSync, nil
}
