// Package ssm is the executor on AWS Systems Manager: it puts parameters, runs
// commands on managed instances and starts automations.
//
// A change names a rule of the configuration, which says what is run; instances
// that a rule chooses by tag are listed in the plan, and only those are run on.
// The service forgets who sent a command, so a run is marked before its command
// is sent and the command carries the mark; a command of which neither mark nor
// service knows the id is reported as unknown, and never sent again.
package ssm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors on Systems Manager.
var Driver = execute.Define("ssm", Open)

// What a change may ask for.
const (
	Put   = "put-parameter"    // arguments: key=value
	Run   = "run-command"      // arguments: a rule, and instances unless the rule has targets
	Start = "start-automation" // argument: a rule
)

// Executor works through Systems Manager. Make it with Open.
type Executor struct {
	cfg    Config
	env    execute.Env
	client manager
	keys   parameter.Repository
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid. It calls nobody.
func Open(ctx context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	a, err := awsx.Open(ctx, cfg.Config, awsx.Env{Session: env.Name, Transport: env.Transport, Secret: env.Secret})
	if err != nil {
		return nil, fmt.Errorf("ssm: executor %s: %w", env.Name, err)
	}
	return &Executor{cfg: cfg, env: env, client: newManager(ssm.NewFromConfig(a)), keys: parameter.NewSSM(a)}, nil
}

// Operations are the calls that change something, each with a failpoint before
// and after it.
var Operations = []string{"put", "send", "start", "cancel"}

// guarded calls f between the failpoints of an operation.
func guarded(operation string, f func() error) error {
	failpoint.Hit("execute.ssm." + operation + ".before")
	err := f()
	failpoint.Hit("execute.ssm." + operation + ".after")
	return err
}

func once(o *ssm.Options) { o.Retryer = awsx.Once }

func (x *Executor) invalid(format string, args ...any) error {
	return fmt.Errorf("ssm: %s: %w", x.env.Redact(fmt.Sprintf(format, args...)), ops.ErrInvalid)
}

// Plan shows the value, or the document with its parameters and instances.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	c := r.Change
	switch c.Action {
	case Put:
		return x.planPut(ctx, c)
	case Run, Start:
		return x.planRun(ctx, c)
	}
	return ops.Plan{}, x.invalid("action %q is unknown; allowed are %s, %s, %s", c.Action, Put, Run, Start)
}

func (x *Executor) planPut(ctx context.Context, c ops.Change) (ops.Plan, error) {
	if len(c.Args) != 1 {
		return ops.Plan{}, x.invalid("%s takes one argument, key=value", Put)
	}
	key, value, ok := strings.Cut(c.Args[0], "=")
	if !ok || value == "" {
		return ops.Plan{}, x.invalid("argument %q is not key=value", c.Args[0])
	}
	if !x.cfg.mayPut(key) {
		return ops.Plan{}, fmt.Errorf("ssm: parameter %q is not allowed; allowed are %s: %w", x.env.Redact(key), strings.Join(x.cfg.Parameters, ", "), ops.ErrDenied)
	}
	p, err := x.keys.Get(ctx, key)
	switch {
	case err != nil:
		return ops.Plan{}, fmt.Errorf("ssm: %w", err)
	case p.Kind == parameter.Secure:
		return ops.Plan{}, x.invalid("parameter %s is a SecureString, whose value must not stand in a plan", key)
	case p.Value == value:
		return ops.Plan{}, x.invalid("parameter %s is %s already", key, value)
	}
	const takes = 30
	a := ops.PlanAction{Resource: key, Verb: "update", Before: map[string]string{"value": p.Value}, After: map[string]string{"value": value}, Args: []string{Put}}
	back := a
	back.Before, back.After = a.After, a.Before
	return ops.Plan{
		Tool: "ssm", Target: "parameter:" + key, Actions: []ops.PlanAction{a}, Rollback: []ops.PlanAction{back},
		Config: hash(x.cfg.Region + " " + x.cfg.Role), ApplySecs: takes, RollbackSecs: takes,
		Text: fmt.Sprintf("~ update parameter %s (version %d)\n-   value: %s\n+   value: %s\n", key, p.Version, p.Value, value),
	}, nil
}

// kinds are the types of document the two actions run.
var kinds = map[string]types.DocumentType{Run: types.DocumentTypeCommand, Start: types.DocumentTypeAutomation}

func (x *Executor) planRun(ctx context.Context, c ops.Change) (ops.Plan, error) {
	if len(c.Args) == 0 {
		return ops.Plan{}, x.invalid("%s needs a rule as its first argument; allowed are %s", c.Action, x.cfg.names())
	}
	rule, ok := x.cfg.rule(c.Args[0])
	if !ok {
		return ops.Plan{}, fmt.Errorf("ssm: rule %q is unknown; allowed are %s: %w", x.env.Redact(c.Args[0]), x.cfg.names(), ops.ErrDenied)
	}
	instances, err := x.instances(ctx, c, rule)
	if err != nil {
		return ops.Plan{}, err
	}
	a, err := x.action(ctx, c.Action, rule, instances)
	if err != nil {
		return ops.Plan{}, err
	}
	p := ops.Plan{
		Tool: "ssm", Target: rule.Document + ":" + cmp.Or(strings.Join(instances, ","), rule.Name), Actions: []ops.PlanAction{a},
		Config: x.cfg.digest(rule), ApplySecs: seconds(rule.Estimate),
	}
	var text strings.Builder
	show(&text, "+ run", a, rule)
	if back, ok := x.cfg.rule(rule.Rollback); ok {
		undo, err := x.action(ctx, c.Action, back, instances)
		if err != nil {
			return ops.Plan{}, fmt.Errorf("%w (rollback of rule %s)", err, rule.Name)
		}
		p.Rollback, p.RollbackSecs = []ops.PlanAction{undo}, seconds(back.Estimate)
		show(&text, "- undone by", undo, back)
	} else {
		text.WriteString("! cannot be undone\n")
	}
	p.Text = text.String()
	return p, nil
}

func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

func show(b *strings.Builder, what string, a ops.PlanAction, r Rule) {
	fmt.Fprintf(b, "%s %s version %s (rule %s)\n", what, r.Document, a.After["version"], r.Name)
	for _, k := range slices.Sorted(maps.Keys(r.Parameters)) {
		fmt.Fprintf(b, "    %s: %q\n", k, r.Parameters[k])
	}
	for _, i := range a.Args[2:] {
		fmt.Fprintf(b, "    on %s\n", i)
	}
	if len(a.Args) > 2 {
		fmt.Fprintf(b, "    %s at once, until %s have failed\n", r.Concurrency, r.Errors)
	}
	if r.Alarm != "" {
		fmt.Fprintf(b, "    stopped by alarm %s\n", r.Alarm)
	}
	fmt.Fprintf(b, "    cancelled after %s\n", r.Timeout)
}

// instances are the managed instances the change is about, by id.
func (x *Executor) instances(ctx context.Context, c ops.Change, r Rule) ([]string, error) {
	named := c.Args[1:]
	switch {
	case c.Action == Start && len(named) > 0:
		return nil, x.invalid("%s takes a rule and nothing else; what it works on stands in the rule's parameters", Start)
	case c.Action == Start:
		return nil, nil
	case len(r.Targets) > 0 && len(named) > 0:
		return nil, x.invalid("rule %s has targets of its own and takes no instances", r.Name)
	case len(r.Targets) == 0 && len(named) == 0:
		return nil, x.invalid("rule %s needs instances as arguments", r.Name)
	}
	in := &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(50)}
	for _, t := range r.Targets {
		k, v, _ := strings.Cut(t, "=")
		in.Filters = append(in.Filters, types.InstanceInformationStringFilter{Key: &k, Values: strings.Split(v, ",")})
	}
	if len(named) > 0 {
		in.Filters = []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: named}}
	}
	online := map[string]types.PingStatus{}
	for {
		page, err := x.client.DescribeInstanceInformation(ctx, in)
		if err != nil {
			return nil, awsx.Read("ssm: list the managed instances", err)
		}
		for _, i := range page.InstanceInformationList {
			online[aws.ToString(i.InstanceId)] = i.PingStatus
		}
		if aws.ToString(page.NextToken) == "" {
			break
		}
		in.NextToken = page.NextToken
	}
	for _, id := range named {
		if _, ok := online[id]; !ok {
			return nil, fmt.Errorf("ssm: instance %s is not managed by Systems Manager in this account and region: %w", x.env.Redact(id), ops.ErrNotFound)
		}
	}
	ids := slices.Sorted(maps.Keys(online))
	if len(ids) == 0 {
		return nil, fmt.Errorf("ssm: rule %s finds no instance: %w", r.Name, ops.ErrStalled)
	}
	if len(ids) > r.MaxTargets {
		return nil, fmt.Errorf("ssm: rule %s finds %d instances, more than its max_targets %d: %w", r.Name, len(ids), r.MaxTargets, ops.ErrDenied)
	}
	for _, id := range ids {
		if online[id] != types.PingStatusOnline {
			return nil, fmt.Errorf("ssm: instance %s is %s, so nothing would reach it: %w", id, online[id], ops.ErrStalled)
		}
	}
	return ids, nil
}

// action pins the document by version and hash.
func (x *Executor) action(ctx context.Context, action string, r Rule, instances []string) (ops.PlanAction, error) {
	in := &ssm.DescribeDocumentInput{Name: &r.Document}
	if r.Version != "" {
		in.DocumentVersion = &r.Version
	}
	out, err := x.client.DescribeDocument(ctx, in)
	if err != nil && awsx.Code(err) == "InvalidDocument" {
		return ops.PlanAction{}, fmt.Errorf("ssm: document %s does not exist: %w", r.Document, ops.ErrNotFound)
	}
	if err != nil {
		return ops.PlanAction{}, awsx.Read("ssm: describe document "+r.Document, err)
	}
	d := out.Document
	if d.DocumentType != kinds[action] || d.Status != types.DocumentStatusActive {
		return ops.PlanAction{}, fmt.Errorf("ssm: document %s is %s and of type %s; %s needs an active one of type %s: %w", r.Document, d.Status, d.DocumentType, action, kinds[action], ops.ErrInvalid)
	}
	a := ops.PlanAction{
		Resource: r.Name, Verb: "run", Args: append([]string{action, r.Name}, instances...),
		After: map[string]string{"document": r.Document, "version": aws.ToString(d.DocumentVersion), "hash": aws.ToString(d.Hash)},
	}
	for k, v := range r.Parameters {
		a.After["parameter "+k] = fmt.Sprintf("%q", v)
	}
	return a, nil
}

// Apply puts the parameter, or sends what the plan shows and waits for its end.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	return x.act(ctx, string(token), false, p.Actions, out)
}

// RollBack puts the old value back, or runs the rule that undoes.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	if len(p.Rollback) == 0 {
		return execute.Result{}, fmt.Errorf("ssm: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	return x.act(ctx, string(token)+"/rollback", true, p.Rollback, out)
}

func (x *Executor) act(ctx context.Context, token string, back bool, actions []ops.PlanAction, out io.Writer) (execute.Result, error) {
	if len(actions) != 1 || len(actions[0].Args) == 0 {
		return execute.Result{}, fmt.Errorf("ssm: the plan has %d actions, not one of ours: %w", len(actions), ops.ErrInvalid)
	}
	r := &run{Executor: x, token: token, back: back, action: actions[0], out: out}
	if actions[0].Args[0] == Put {
		if !x.cfg.mayPut(actions[0].Resource) {
			return execute.Result{}, fmt.Errorf("ssm: parameter %s is no longer allowed: %w", actions[0].Resource, ops.ErrDenied)
		}
		return r.do(ctx, r.put)
	}
	rule, ok := x.cfg.rule(actions[0].Resource)
	if !ok || len(actions[0].Args) < 2 {
		return execute.Result{}, fmt.Errorf("ssm: rule %s is no longer there: %w", actions[0].Resource, ops.ErrDenied)
	}
	r.rule = rule
	if actions[0].Args[0] == Start {
		return r.do(ctx, r.automation)
	}
	return r.do(ctx, r.command)
}

// Drift compares a parameter with the plan. What a command or an automation did
// is not known to the service.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	if len(p.Actions) != 1 || len(p.Actions[0].Args) == 0 {
		return execute.Unknown, fmt.Errorf("ssm: the plan has %d actions, not one of ours: %w", len(p.Actions), ops.ErrInvalid)
	}
	a := p.Actions[0]
	if a.Args[0] != Put {
		return execute.Unknown, fmt.Errorf("ssm: what %s of rule %s did has no state to compare: %w", a.Args[0], a.Resource, ops.ErrStalled)
	}
	is, err := x.keys.Get(ctx, a.Resource)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		return execute.Drifted, nil
	case err != nil:
		return execute.Unknown, fmt.Errorf("ssm: %w", err)
	case is.Value != a.After["value"]:
		return execute.Drifted, nil
	}
	return execute.InSync, nil
}
