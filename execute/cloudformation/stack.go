package cloudformation

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// stack is a stack as it stands.
type stack struct {
	types.Stack
	name     string
	declared map[string]types.ParameterDeclaration
	template string // as it was submitted
}

// stack reads a stack with its template.
func (x *Executor) stack(ctx context.Context, name string) (stack, error) {
	s := stack{name: name, declared: map[string]types.ParameterDeclaration{}}
	var err error
	if s.Stack, err = x.describe(ctx, name); err != nil {
		return s, err
	}
	summary, err := x.client.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{StackName: &name})
	if err != nil {
		return s, awsx.Read("cloudformation: summarise the template of "+name, err)
	}
	for _, p := range summary.Parameters {
		s.declared[aws.ToString(p.ParameterKey)] = p
	}
	body, err := x.client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &name, TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return s, awsx.Read("cloudformation: read the template of "+name, err)
	}
	s.template = aws.ToString(body.TemplateBody)
	return s, nil
}

func (x *Executor) describe(ctx context.Context, name string) (types.Stack, error) {
	out, err := x.client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	switch {
	case err != nil && awsx.Code(err) == "ValidationError" && strings.Contains(err.Error(), "does not exist"):
		return types.Stack{}, fmt.Errorf("cloudformation: stack %s does not exist in this account and region: %w", name, ops.ErrNotFound)
	case err != nil:
		return types.Stack{}, awsx.Read("cloudformation: describe stack "+name, err)
	case len(out.Stacks) != 1:
		return types.Stack{}, fmt.Errorf("cloudformation: %d stacks are called %s: %w", len(out.Stacks), name, ops.ErrUnavailable)
	}
	return out.Stacks[0], nil
}

// ready says why the stack cannot be updated now.
func (s stack) ready() error {
	switch status := s.StackStatus; status {
	case types.StackStatusCreateComplete, types.StackStatusUpdateComplete, types.StackStatusUpdateRollbackComplete,
		types.StackStatusImportComplete, types.StackStatusImportRollbackComplete:
		return nil
	case types.StackStatusUpdateRollbackFailed:
		return stuck(s.name, aws.ToString(s.StackStatusReason))
	default:
		if strings.HasSuffix(string(status), "_IN_PROGRESS") && status != types.StackStatusReviewInProgress {
			return fmt.Errorf("cloudformation: stack %s is in %s: %w", s.name, status, ops.ErrConflict)
		}
		return fmt.Errorf("cloudformation: stack %s is in %s, from which no update starts: %w", s.name, status, ops.ErrStalled)
	}
}

// stuck offers the way out of a rollback that failed.
func stuck(name, why string) error {
	return fmt.Errorf("cloudformation: stack %s is in UPDATE_ROLLBACK_FAILED (%s); remove the cause and raise a change with action %s and argument %s: %w", name, why, Continue, name, ops.ErrStalled)
}

// masked is what CloudFormation shows of a NoEcho parameter.
const masked = "****"

// parameters are all parameters of the stack, with those in set given their new
// value. One that is left out would fall back to the default of the template.
// A value that can be read is sent again, which is what UsePreviousValue means
// and also holds where somebody else has changed it meanwhile.
func (s stack) parameters(set map[string]string) []types.Parameter {
	var out []types.Parameter
	for _, p := range s.Parameters {
		key := aws.ToString(p.ParameterKey)
		q := types.Parameter{ParameterKey: &key}
		value, changed := set[key]
		switch {
		case changed:
			q.ParameterValue = &value
		case aws.ToBool(s.declared[key].NoEcho) || aws.ToString(p.ParameterValue) == masked:
			q.UsePreviousValue = aws.Bool(true)
		default:
			q.ParameterValue = p.ParameterValue
		}
		out = append(out, q)
	}
	return out
}

func (s stack) value(parameter string) (string, bool) {
	for _, p := range s.Parameters {
		if aws.ToString(p.ParameterKey) == parameter {
			return aws.ToString(p.ParameterValue), true
		}
	}
	return "", false
}

// reads reports whether a template parameter takes its value out of Parameter
// Store.
func (s stack) reads(parameter string) bool {
	return strings.HasPrefix(aws.ToString(s.declared[parameter].ParameterType), "AWS::SSM::Parameter::Value<")
}

// referencePattern finds dynamic references to Parameter Store, with or without
// a version.
var referencePattern = regexp.MustCompile(`\{\{resolve:ssm:([A-Za-z0-9_./-]+)(?::([0-9]+))?\}\}`)

// refers reports whether the template reads key by a dynamic reference.
func (s stack) refers(key string) bool {
	for _, m := range referencePattern.FindAllStringSubmatch(s.template, -1) {
		if m[1] == key {
			return true
		}
	}
	return false
}

// repoint returns the template with the dynamic references to the keys of to
// replaced by what it says, such as /key:7.
func repoint(template string, to map[string]string) string {
	return referencePattern.ReplaceAllStringFunc(template, func(ref string) string {
		if now, ok := to[referencePattern.FindStringSubmatch(ref)[1]]; ok {
			return "{{resolve:ssm:" + now + "}}"
		}
		return ref
	})
}

// target is what the arguments of a change come to on a stack.
type target struct {
	set     map[string]string // template parameters and their new values
	keys    []*keyed
	dynamic bool // a dynamic reference reads one of the keys, so the template is sent
}

// keyed is a key of Parameter Store that the stack reads.
type keyed struct {
	Key, From, To string
	Version       int64
	Kind, Data    string
	Parameters    []string `json:",omitempty"` // the template parameters that point at it
	Dynamic       bool     `json:",omitempty"`
}

// aim finds out what name=value arguments mean on s.
func (x *Executor) aim(ctx context.Context, s stack, args []string) (target, error) {
	t := target{set: map[string]string{}}
	bad := func(format string, a ...any) (target, error) {
		return target{}, fmt.Errorf("cloudformation: %s: %w", x.env.Redact(fmt.Sprintf(format, a...)), ops.ErrInvalid)
	}
	if len(args) == 0 {
		return bad("%s of %s names nothing to set; add arguments such as InstanceType=m5.large or /densify/iaas/ec2/i-1/instanceType=m5.large", Update, s.name)
	}
	known := slices.Sorted(maps.Keys(s.declared))
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" || value == "" {
			return bad("argument %q is not name=value", arg)
		}
		key := name
		if !strings.HasPrefix(name, "/") {
			d, ok := s.declared[name]
			switch {
			case !ok:
				return bad("stack %s has no parameter %q; it has %s", s.name, name, strings.Join(known, ", "))
			case aws.ToBool(d.NoEcho):
				return bad("parameter %s of stack %s is NoEcho: its value must not stand in a plan", name, s.name)
			case !s.reads(name):
				if _, twice := t.set[name]; twice {
					return bad("parameter %s is given twice", name)
				}
				t.set[name] = value
				continue
			}
			key, _ = s.value(name)
		}
		k, err := x.keyed(ctx, s, key, value)
		if err != nil {
			return target{}, err
		}
		if slices.ContainsFunc(t.keys, func(o *keyed) bool { return o.Key == key }) {
			return bad("key %s is given twice", key)
		}
		t.keys, t.dynamic = append(t.keys, k), t.dynamic || k.Dynamic
	}
	return t, nil
}

// keyed reads a key and finds out how the stack reads it.
func (x *Executor) keyed(ctx context.Context, s stack, key, value string) (*keyed, error) {
	k := &keyed{Key: key, To: value, Dynamic: s.refers(key)}
	for _, p := range s.Parameters {
		if name := aws.ToString(p.ParameterKey); s.reads(name) && aws.ToString(p.ParameterValue) == key {
			k.Parameters = append(k.Parameters, name)
		}
	}
	slices.Sort(k.Parameters)
	if len(k.Parameters) == 0 && !k.Dynamic {
		return nil, fmt.Errorf("cloudformation: stack %s does not read %s: no parameter of type AWS::SSM::Parameter::Value points at it and no {{resolve:ssm:%s}} stands in the template; "+
			"a value that a custom resource looks up cannot be planned, set a template parameter instead: %w", s.name, key, key, ops.ErrInvalid)
	}
	p, err := x.keys.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("cloudformation: %w", err)
	}
	k.From, k.Version, k.Kind, k.Data = p.Value, p.Version, string(p.Kind), p.DataType
	return k, nil
}

// submission is one change set to make.
type submission struct {
	name     string
	set      map[string]string
	template string // empty: the one the stack has
}

// maxTemplate is what CloudFormation takes of a template without an S3 bucket.
const maxTemplate = 51200

func (x *Executor) create(ctx context.Context, s stack, sub submission) error {
	in := &cloudformation.CreateChangeSetInput{
		StackName: &s.name, ChangeSetName: &sub.name, ChangeSetType: types.ChangeSetTypeUpdate, ClientToken: &sub.name,
		Parameters: s.parameters(sub.set), Tags: s.Tags, NotificationARNs: s.NotificationARNs, RoleARN: s.RoleARN,
		RollbackConfiguration: s.RollbackConfiguration, Description: aws.String("Made by Fettle."),
	}
	for _, c := range x.cfg.Capabilities {
		in.Capabilities = append(in.Capabilities, types.Capability(c))
	}
	if len(x.cfg.NotificationARNs) > 0 {
		in.NotificationARNs = x.cfg.NotificationARNs
	}
	if x.cfg.ServiceRole != "" {
		in.RoleARN = &x.cfg.ServiceRole
	}
	if len(x.cfg.RollbackAlarms) > 0 {
		in.RollbackConfiguration = &types.RollbackConfiguration{MonitoringTimeInMinutes: aws.Int32(int32(x.cfg.Monitoring.Minutes()))}
		for _, a := range x.cfg.RollbackAlarms {
			in.RollbackConfiguration.RollbackTriggers = append(in.RollbackConfiguration.RollbackTriggers, types.RollbackTrigger{Arn: &a, Type: aws.String("AWS::CloudWatch::Alarm")})
		}
	}
	switch {
	case sub.template == "":
		in.UsePreviousTemplate = aws.Bool(true)
	case len(sub.template) > maxTemplate:
		return fmt.Errorf("cloudformation: the template of %s has %d bytes, and with a dynamic reference it must be sent, of which CloudFormation takes %d; "+
			"read the key by a parameter of type AWS::SSM::Parameter::Value instead: %w", s.name, len(sub.template), maxTemplate, ops.ErrStalled)
	default:
		in.TemplateBody = &sub.template
	}
	err := guarded("create", func() error {
		_, err := x.client.CreateChangeSet(ctx, in)
		return err
	})
	if awsx.Code(err) == "AlreadyExistsException" {
		return nil // made by an earlier call under this name
	}
	return awsx.Read("cloudformation: create a change set for "+s.name, err)
}

// changes is a change set that CloudFormation has computed.
type changes struct {
	id        string
	status    types.ChangeSetStatus
	execution types.ExecutionStatus
	empty     bool
	list      []types.ResourceChange
}

// settled waits until the change set is computed and returns it whole.
func (x *Executor) settled(ctx context.Context, s, name string) (changes, error) {
	for {
		c, reason, err := x.changeSet(ctx, s, name)
		switch {
		case err != nil:
			return c, err
		case c.status == types.ChangeSetStatusCreateComplete:
			return c, nil
		case c.status == types.ChangeSetStatusFailed:
			if strings.Contains(reason, "didn't contain changes") || strings.Contains(reason, "No updates are to be performed") {
				c.empty = true
				return c, nil
			}
			return c, fmt.Errorf("cloudformation: the change set of %s failed: %s: %w", s, x.env.Redact(reason), ops.ErrStalled)
		}
		if err := x.alive(ctx, x.cfg.Poll); err != nil {
			return c, fmt.Errorf("cloudformation: the change set of %s is in %s: %w: %w", s, c.status, err, ops.ErrUnavailable)
		}
	}
}

func (x *Executor) changeSet(ctx context.Context, s, name string) (c changes, reason string, err error) {
	in := &cloudformation.DescribeChangeSetInput{StackName: &s, ChangeSetName: &name, IncludePropertyValues: aws.Bool(true)}
	for {
		out, err := x.client.DescribeChangeSet(ctx, in)
		if err != nil && strings.Contains(err.Error(), "does not exist") {
			return c, "", fmt.Errorf("cloudformation: stack %s has no change set %s: %w", s, name, ops.ErrNotFound)
		}
		if err != nil {
			return c, "", awsx.Read("cloudformation: describe a change set of "+s, err)
		}
		c.id, c.status, c.execution, reason = aws.ToString(out.ChangeSetId), out.Status, out.ExecutionStatus, aws.ToString(out.StatusReason)
		for _, ch := range out.Changes {
			if ch.ResourceChange != nil {
				c.list = append(c.list, *ch.ResourceChange)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			return c, reason, nil
		}
		in.NextToken = out.NextToken
	}
}

func (x *Executor) discard(ctx context.Context, s, name string) error {
	return guarded("discard", func() error {
		_, err := x.client.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: &s, ChangeSetName: &name})
		return awsx.Read("cloudformation: delete a change set of "+s, err)
	})
}
