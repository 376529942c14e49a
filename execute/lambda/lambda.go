// Package lambda is the executor that invokes functions of AWS Lambda.
//
// A change names a rule of the configuration, which says what is invoked with
// which payload. A plan pins the version of the function and the hash of its
// code, and that version is what runs.
//
// The service forgets who invoked a function, and a function cannot be stopped.
// It is therefore invoked at most once: a run is marked before it is, and one of
// which nobody knows what became of it is reported as unknown, unless a function
// that verifies says that the work is done. Only where the configuration says
// that the function finds a token, by which it does its work once, is it invoked
// again, with the same token.
package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors of functions.
var Driver = execute.Define("lambda", Open)

// Invoke is what a change may ask for. Its arguments are a rule and the fields
// that the rule asks for, as name=value.
const Invoke = "invoke"

// Executor invokes functions. Make it with Open.
type Executor struct {
	cfg    Config
	env    execute.Env
	client *lambda.Client
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid. It calls nobody.
func Open(ctx context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	a, err := awsx.Open(ctx, cfg.Config, awsx.Env{Session: env.Name, Transport: env.Transport, Secret: env.Secret})
	if err != nil {
		return nil, fmt.Errorf("lambda: executor %s: %w", env.Name, err)
	}
	return &Executor{cfg: cfg, env: env, client: lambda.NewFromConfig(a)}, nil
}

// Operations are the calls that change something, each with a failpoint before
// and after it.
var Operations = []string{"invoke"}

// guarded calls f between the failpoints of an operation.
func guarded(operation string, f func() error) error {
	failpoint.Hit("execute.lambda." + operation + ".before")
	err := f()
	failpoint.Hit("execute.lambda." + operation + ".after")
	return err
}

func once(o *lambda.Options) { o.Retryer = awsx.Once }

func (x *Executor) invalid(format string, args ...any) error {
	return fmt.Errorf("lambda: %s: %w", x.env.Redact(fmt.Sprintf(format, args...)), ops.ErrInvalid)
}

// call is one invocation: a rule with its fields and the version it is pinned to.
type call struct {
	rule   Rule
	fields map[string]string
	pin    pin
}

// pin is a version of a function.
type pin struct {
	arn, version, code string
	revision           string // of the unpublished code, where anything may change
	limit              time.Duration
}

const latest = "$LATEST"

// rule finds a rule and reads the fields for it.
func (x *Executor) call(name string, pairs []string) (call, error) {
	r, ok := x.cfg.rule(name)
	if !ok {
		return call{}, fmt.Errorf("lambda: rule %q is unknown; allowed are %s: %w", x.env.Redact(name), x.cfg.names(), ops.ErrDenied)
	}
	c := call{rule: r, fields: map[string]string{}}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		pattern, known := r.Fields[name]
		_, twice := c.fields[name]
		if !known || twice {
			return call{}, x.invalid("argument %q: rule %s takes each of the fields %v once, as name=value", p, r.Name, slices.Sorted(maps.Keys(r.Fields)))
		}
		if !regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(value) {
			return call{}, fmt.Errorf("lambda: argument %q: the value does not match %s: %w", x.env.Redact(p), pattern, ops.ErrDenied)
		}
		c.fields[name] = value
	}
	if len(c.fields) < len(r.Fields) {
		return call{}, x.invalid("rule %s needs the fields %v, as name=value", r.Name, slices.Sorted(maps.Keys(r.Fields)))
	}
	return c, nil
}

// other is a rule that is called with the same fields.
func (x *Executor) other(name string, c call) (call, bool) {
	r, ok := x.cfg.rule(name)
	return call{rule: r, fields: c.fields}, ok
}

// payload is what the function is sent, and its context, which may be empty.
func (c call) payload(token string) (body []byte, context string, err error) {
	all := map[string]any{}
	maps.Copy(all, c.rule.Payload)
	for k, v := range c.fields {
		all[k] = v
	}
	if place := placePattern.FindStringSubmatch(c.rule.Token); place != nil && token != "" {
		if place[1] == "payload" {
			all[place[2]] = hash(token)
		} else {
			b, err := json.Marshal(map[string]any{"custom": map[string]string{place[2]: hash(token)}})
			if err != nil {
				return nil, "", err
			}
			context = base64.StdEncoding.EncodeToString(b)
		}
	}
	body, err = json.Marshal(all)
	most := mostSync
	if c.rule.Event {
		most = mostEvent
	}
	if err == nil && len(body) > most-tokenRoom {
		err = fmt.Errorf("lambda: the payload of rule %s has %d bytes, and the service takes %d: %w", c.rule.Name, len(body), most-tokenRoom, ops.ErrInvalid)
	}
	return body, context, err
}

// pinned finds out which version the rule's qualifier is now, and that it can be
// invoked. It invokes nothing.
func (x *Executor) pinned(ctx context.Context, r Rule) (pin, error) {
	p := pin{version: r.Qualifier}
	what := "lambda: function " + r.Function
	if q := r.Qualifier; q == "" || q == latest {
		p.version = latest
	} else if strings.Trim(q, "0123456789") != "" {
		out, err := x.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &r.Function, Name: &q})
		if err != nil {
			return p, awsx.Read(what+": read alias "+q, err)
		}
		if out.RoutingConfig != nil && len(out.RoutingConfig.AdditionalVersionWeights) > 0 {
			return p, fmt.Errorf("%s: alias %s is shared by several versions, so nobody can say which one would run: %w", what, q, ops.ErrStalled)
		}
		p.version = aws.ToString(out.FunctionVersion)
	}
	out, err := x.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &r.Function, Qualifier: &p.version})
	if err != nil {
		return p, awsx.Read(what+": read version "+p.version, err)
	}
	switch {
	case out.State != "" && out.State != types.StateActive && out.State != types.StateInactive:
		return p, fmt.Errorf("%s is in the state %s: %s: %w", what, out.State, x.env.Redact(aws.ToString(out.StateReason)), ops.ErrStalled)
	case out.LastUpdateStatus == types.LastUpdateStatusInProgress:
		return p, fmt.Errorf("%s is being updated: %w", what, ops.ErrStalled)
	}
	p.arn, p.code, p.limit = aws.ToString(out.FunctionArn), aws.ToString(out.CodeSha256), time.Duration(aws.ToInt32(out.Timeout))*time.Second
	if p.version == latest {
		p.revision = aws.ToString(out.RevisionId)
	}
	return p, nil
}

// Plan shows version, hash and payload of what would be invoked, and asks the
// service by a dry run whether it may be.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	c := r.Change
	switch {
	case c.Action != Invoke:
		return ops.Plan{}, x.invalid("action %q is unknown; allowed are %s", c.Action, Invoke)
	case len(c.Args) == 0:
		return ops.Plan{}, x.invalid("%s needs a rule as its first argument; allowed are %s", Invoke, x.cfg.names())
	}
	do, err := x.call(c.Args[0], c.Args[1:])
	if err != nil {
		return ops.Plan{}, err
	}
	var text strings.Builder
	a, err := x.action(ctx, &do, c.Args[1:], "+ invoke", &text)
	if err != nil {
		return ops.Plan{}, err
	}
	p := ops.Plan{Tool: "lambda", Target: "function:" + do.pin.arn, Actions: []ops.PlanAction{a}, Config: x.cfg.digest(do.rule), ApplySecs: seconds(do.rule.Estimate)}
	if back, ok := x.other(do.rule.Rollback, do); ok {
		undo, err := x.action(ctx, &back, c.Args[1:], "- undone by", &text)
		if err != nil {
			return ops.Plan{}, fmt.Errorf("%w (rollback of rule %s)", err, do.rule.Name)
		}
		p.Rollback, p.RollbackSecs = []ops.PlanAction{undo}, seconds(back.rule.Estimate)
	} else {
		text.WriteString("! cannot be undone\n")
	}
	p.Text = text.String()
	return p, nil
}

func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// action pins c and shows it.
func (x *Executor) action(ctx context.Context, c *call, pairs []string, what string, text *strings.Builder) (ops.PlanAction, error) {
	body, _, err := c.payload("")
	if err != nil {
		return ops.PlanAction{}, err
	}
	if c.pin, err = x.pinned(ctx, c.rule); err != nil {
		return ops.PlanAction{}, err
	}
	_, err = x.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &c.rule.Function, Qualifier: &c.pin.version, InvocationType: types.InvocationTypeDryRun, Payload: body})
	if err != nil {
		return ops.PlanAction{}, awsx.Read("lambda: ask whether function "+c.rule.Function+" may be invoked", err)
	}
	a := ops.PlanAction{Resource: c.rule.Name, Verb: "run", Args: append([]string{Invoke, c.rule.Name}, pairs...), After: map[string]string{
		"function": c.pin.arn, "version": c.pin.version, "code": c.pin.code, "payload": string(body), "type": string(c.rule.kind()),
	}}
	if c.pin.revision != "" {
		a.After["revision"] = c.pin.revision
	}
	fmt.Fprintf(text, "%s %s version %s (rule %s)\n    code %s\n    payload %s\n", what, c.pin.arn, c.pin.version, c.rule.Name, c.pin.code, body)
	if c.pin.version == latest {
		text.WriteString("! not a published version: what runs may change until it runs\n")
	}
	switch {
	case c.rule.Event && c.rule.Verify == "":
		text.WriteString("! asynchronously: nobody looks what becomes of it\n")
	case c.rule.Event:
		text.WriteString("    asynchronously\n")
	default:
		fmt.Fprintf(text, "    ended by the service after %s\n", c.pin.limit)
	}
	if c.rule.Token != "" {
		fmt.Fprintf(text, "    with the token of the run in %s, and again with the same when an answer is lost\n", c.rule.Token)
	} else {
		text.WriteString("    at most once\n")
	}
	check, ok := x.other(c.rule.Verify, *c)
	if !ok {
		return a, nil
	}
	if check.pin, err = x.pinned(ctx, check.rule); err != nil {
		return a, fmt.Errorf("%w (verify of rule %s)", err, c.rule.Name)
	}
	if body, _, err = check.payload(""); err != nil {
		return a, err
	}
	a.After["verify"], a.After["verify version"], a.After["verify code"], a.After["verify payload"] = check.pin.arn, check.pin.version, check.pin.code, string(body)
	fmt.Fprintf(text, "    verified by %s version %s (rule %s)\n", check.pin.arn, check.pin.version, check.rule.Name)
	return a, nil
}

func (r Rule) kind() types.InvocationType {
	if r.Event {
		return types.InvocationTypeEvent
	}
	return types.InvocationTypeRequestResponse
}

// Apply invokes the function and waits for its answer, and for verify.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	return x.act(ctx, string(token), p.Actions, out)
}

// RollBack invokes the function that undoes.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	if len(p.Rollback) == 0 {
		return execute.Result{}, fmt.Errorf("lambda: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	return x.act(ctx, string(token)+"/rollback", p.Rollback, out)
}

// mine returns the invocation that an action of a plan says, pinned as it says.
func (x *Executor) mine(actions []ops.PlanAction) (call, error) {
	if len(actions) != 1 || len(actions[0].Args) < 2 || actions[0].Args[0] != Invoke {
		return call{}, fmt.Errorf("lambda: the plan has %d actions, not one of ours: %w", len(actions), ops.ErrInvalid)
	}
	a := actions[0]
	c, err := x.call(a.Args[1], a.Args[2:])
	c.pin = pin{arn: a.After["function"], version: a.After["version"], code: a.After["code"], revision: a.After["revision"]}
	return c, err
}

func (x *Executor) act(ctx context.Context, token string, actions []ops.PlanAction, out io.Writer) (execute.Result, error) {
	c, err := x.mine(actions)
	if err != nil {
		return execute.Result{}, err
	}
	r := &run{Executor: x, token: token, call: c, action: actions[0], out: out}
	return r.do(ctx)
}

// Drift says whether the function is still the one of the plan, and whether its
// work still stands where a rule verifies that.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	c, err := x.mine(p.Actions)
	if err != nil {
		return execute.Unknown, err
	}
	is, err := x.pinned(ctx, c.rule)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		return execute.Drifted, nil
	case err != nil:
		return execute.Unknown, err
	case is.version != c.pin.version || is.code != c.pin.code:
		return execute.Drifted, nil
	case c.rule.Verify == "":
		return execute.Unknown, fmt.Errorf("lambda: the code of rule %s is the same; what it did has no state to compare without a verify: %w", c.rule.Name, ops.ErrStalled)
	}
	r := &run{Executor: x, call: c, action: p.Actions[0], out: io.Discard}
	ok, err := r.ask(ctx)
	switch {
	case err != nil:
		return execute.Unknown, err
	case !ok:
		return execute.Drifted, nil
	}
	return execute.InSync, nil
}
