package cloudformation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// How the actions of a plan name what they act on. Every other action is about
// a resource of the stack.
const (
	stackPrefix = "stack "
	keyPrefix   = "parameter "
)

// planUpdate makes the change set, renders it and leaves nothing behind.
func (x *Executor) planUpdate(ctx context.Context, c ops.Change, s stack) (ops.Plan, error) {
	t, err := x.aim(ctx, s, c.Args[1:])
	if err != nil {
		return ops.Plan{}, err
	}
	if t.trim(s); len(t.set)+len(t.keys) == 0 {
		return ops.Plan{}, fmt.Errorf("cloudformation: stack %s has these values already: %w", s.name, ops.ErrInvalid)
	}
	found, names, err := x.preview(ctx, c.ID, s, t)
	if err != nil {
		return ops.Plan{}, err
	}
	if found.empty {
		return ops.Plan{}, fmt.Errorf("cloudformation: nothing in stack %s depends on these values: %w", s.name, ops.ErrInvalid)
	}
	policy, err := x.policy(ctx, s.name)
	if err != nil {
		return ops.Plan{}, err
	}
	if err := x.permit(s.name, found.list, policy); err != nil {
		return ops.Plan{}, err
	}
	resources := render(s.name, found.list, names)
	p := ops.Plan{Tool: "cloudformation", Target: aws.ToString(s.StackId), Config: x.cfg.digest()}
	head := ops.PlanAction{
		Resource: stackPrefix + s.name, Verb: "update", Args: append([]string{Update, s.name}, t.args(func(k *keyed) string { return k.To }, t.set)...),
		Before: map[string]string{"template": hash(s.template)}, After: map[string]string{},
	}
	old := map[string]string{}
	for name, value := range t.set {
		old[name], _ = s.value(name)
		head.Before["parameter "+name], head.After["parameter "+name] = old[name], value
	}
	p.Actions = append(p.Actions, head)
	for _, k := range t.keys {
		p.Actions = append(p.Actions, ops.PlanAction{
			Resource: keyPrefix + k.Key, Verb: "update", Before: map[string]string{"value": k.From}, After: map[string]string{"value": k.To},
		})
	}
	p.Actions = append(p.Actions, resources...)
	monitoring := x.cfg.Monitoring
	if rc := s.RollbackConfiguration; rc != nil && len(x.cfg.RollbackAlarms) == 0 {
		monitoring = time.Duration(aws.ToInt32(rc.MonitoringTimeInMinutes)) * time.Minute
	}
	p.ApplySecs = seconds(x.cfg.Estimate + monitoring)
	if !slices.ContainsFunc(resources, func(a ops.PlanAction) bool { return a.Replace || a.Verb == "delete" }) {
		p.Rollback, p.RollbackSecs = inverse(p.Actions, t.args(func(k *keyed) string { return k.From }, old)), p.ApplySecs
	}
	p.Text = describe(p, s)
	return p, nil
}

func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// trim drops what stands already.
func (t *target) trim(s stack) {
	maps.DeleteFunc(t.set, func(name, value string) bool { is, _ := s.value(name); return is == value })
	t.keys = slices.DeleteFunc(t.keys, func(k *keyed) bool { return k.From == k.To })
	t.dynamic = slices.ContainsFunc(t.keys, func(k *keyed) bool { return k.Dynamic })
}

// args are the arguments that lead to these values, in a fixed order.
func (t target) args(value func(*keyed) string, set map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		out = append(out, name+"="+set[name])
	}
	for _, k := range t.keys {
		out = append(out, k.Key+"="+value(k))
	}
	return out
}

// inverse is the plan's actions taken back, last first.
func inverse(actions []ops.PlanAction, args []string) []ops.PlanAction {
	var out []ops.PlanAction
	for _, a := range slices.Backward(actions) {
		a.Before, a.After = a.After, a.Before
		if a.Verb == "create" {
			a.Verb = "delete"
		}
		if a.Args != nil {
			a.Args = append(slices.Clone(a.Args[:2]), args...)
		}
		out = append(out, a)
	}
	return out
}

var uncleanPattern = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// previewKey is where the value for the n-th key of a change stands during a
// plan.
func (x *Executor) previewKey(change string, n int) string {
	key := x.cfg.Preview + "/" + uncleanPattern.ReplaceAllString(cmp.Or(change, "change"), "-")
	if n > 0 {
		key += fmt.Sprintf("-%d", n+1)
	}
	return key
}

const previewSet = "fettle-preview-"

// preview has CloudFormation compute what the target would change. Keys and
// change set it makes for that are gone when it returns, whatever happens; what
// a killed process left is swept by the next plan.
func (x *Executor) preview(ctx context.Context, change string, s stack, t target) (found changes, names normal, err error) {
	sub := submission{name: previewSet + hash(change)[:16], set: maps.Clone(t.set)}
	if err := x.sweep(ctx, s.name, change, sub.name); err != nil {
		return changes{}, names, err
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	leave := func(what string, err error) {
		if err != nil && !errors.Is(err, ops.ErrNotFound) {
			x.env.Log.LogAttrs(after, slog.LevelWarn, "preview left behind for the next plan to sweep", slog.String("what", what), slog.String("error", x.env.Redact(err.Error())))
		}
	}
	names = normal{preview: map[string]string{}}
	for n, k := range t.keys {
		key := x.previewKey(change, n)
		var put parameter.Parameter
		err := guarded("preview", func() (err error) {
			put, err = x.keys.Put(ctx, parameter.Edit{
				Key: key, Value: k.To, Kind: parameter.Kind(k.Kind), DataType: k.Data, Token: "preview/" + change + "/" + key,
				Note: "Preview of " + k.Key + " for a plan; deleted when it is made.",
			})
			return err
		})
		defer func() { leave(key, x.unpreview(after, key)) }()
		if err != nil {
			return changes{}, names, fmt.Errorf("cloudformation: preview of %s: %w", k.Key, err)
		}
		names.preview[put.Key], names.keys = k.Key, append(names.keys, k.Key)
		for _, p := range k.Parameters {
			sub.set[p] = put.Key
		}
	}
	if t.dynamic {
		to := map[string]string{}
		for preview, key := range names.preview {
			to[key] = preview
		}
		sub.template = repoint(s.template, to)
	}
	defer func() { leave(sub.name, x.discard(after, s.name, sub.name)) }()
	if err := x.create(ctx, s, sub); err != nil {
		return changes{}, names, err
	}
	found, err = x.settled(ctx, s.name, sub.name)
	return found, names, err
}

// unpreview deletes a preview key, whatever its version.
func (x *Executor) unpreview(ctx context.Context, key string) error {
	p, err := x.keys.Get(ctx, key)
	if err != nil {
		return err
	}
	return guarded("preview", func() error { return x.keys.Delete(ctx, key, p.Version) })
}

// orphaned is the age at which a preview is nobody's: planning is bounded by far
// less.
const orphaned = time.Hour

// sweep deletes what plans of this change, and killed plans of any, left behind.
func (x *Executor) sweep(ctx context.Context, s, change, own string) error {
	old := x.env.Clock().Add(-orphaned)
	list, err := x.keys.List(ctx, x.cfg.Preview)
	if err != nil {
		return fmt.Errorf("cloudformation: look for orphaned previews: %w", err)
	}
	mine := x.previewKey(change, 0)
	for _, p := range list {
		if p.Key != mine && !strings.HasPrefix(p.Key, mine+"-") && p.At.After(old) {
			continue
		}
		if err := x.unpreview(ctx, p.Key); err != nil && !errors.Is(err, ops.ErrNotFound) {
			return fmt.Errorf("cloudformation: delete the orphaned preview %s: %w", p.Key, err)
		}
	}
	in := &cloudformation.ListChangeSetsInput{StackName: &s}
	for {
		page, err := x.client.ListChangeSets(ctx, in)
		if err != nil {
			return awsx.Read("cloudformation: list the change sets of "+s, err)
		}
		for _, c := range page.Summaries {
			name := aws.ToString(c.ChangeSetName)
			if name != own && (!strings.HasPrefix(name, previewSet) || aws.ToTime(c.CreationTime).After(old)) {
				continue
			}
			if err := x.discard(ctx, s, name); err != nil && !errors.Is(err, ops.ErrNotFound) {
				return err
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return nil
		}
		in.NextToken = page.NextToken
	}
}

// normal makes change sets comparable that name one value by a preview key, by
// its real key, or by a version of it.
type normal struct {
	preview map[string]string // preview key to real key
	keys    []string
}

func (n normal) text(s string) string {
	// Longest first: one preview key may begin with another.
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(n.preview))) {
		s = strings.ReplaceAll(s, p, n.preview[p])
	}
	return referencePattern.ReplaceAllStringFunc(s, func(ref string) string {
		if m := referencePattern.FindStringSubmatch(ref); slices.Contains(n.keys, m[1]) {
			return "{{resolve:ssm:" + m[1] + "}}"
		}
		return ref
	})
}

var verbs = map[types.ChangeAction]string{
	types.ChangeActionAdd: "create", types.ChangeActionImport: "create", types.ChangeActionRemove: "delete",
	types.ChangeActionModify: "update", types.ChangeActionDynamic: "update", types.ChangeActionSyncWithActual: "update",
}

// render turns a change set into actions, in the order of their resources.
func render(s string, list []types.ResourceChange, n normal) []ops.PlanAction {
	var out []ops.PlanAction
	for _, c := range list {
		a := ops.PlanAction{
			Resource: fmt.Sprintf("%s/%s (%s)", s, aws.ToString(c.LogicalResourceId), aws.ToString(c.ResourceType)),
			Verb:     cmp.Or(verbs[c.Action], strings.ToLower(string(c.Action))), Replace: c.Replacement == types.ReplacementTrue,
			Before: map[string]string{}, After: map[string]string{},
		}
		if a.Replace {
			a.Verb = "replace"
		}
		for _, d := range c.Details {
			if d.Target == nil {
				continue
			}
			name := strings.TrimPrefix(aws.ToString(d.Target.Path), "/")
			if name == "" {
				name = strings.Trim(string(d.Target.Attribute)+"/"+aws.ToString(d.Target.Name), "/")
			}
			a.Before[name] = cmp.Or(a.Before[name], n.text(aws.ToString(d.Target.BeforeValue)))
			a.After[name] = cmp.Or(a.After[name], n.text(aws.ToString(d.Target.AfterValue)))
		}
		if len(c.Details) == 0 {
			contexts(a, n.text(aws.ToString(c.BeforeContext)), n.text(aws.ToString(c.AfterContext)))
		}
		if c.Replacement == types.ReplacementConditional {
			a.After["replacement"] = "conditional"
		}
		if c.PolicyAction != "" {
			a.After["policy"] = string(c.PolicyAction)
		}
		if c.Action == types.ChangeActionDynamic {
			a.After["action"] = "decided while executing"
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b ops.PlanAction) int { return strings.Compare(a.Resource, b.Resource) })
	return out
}

// contexts fills in the properties that differ between two whole resources.
func contexts(a ops.PlanAction, before, after string) {
	type whole struct{ Properties map[string]json.RawMessage }
	var was, is whole
	if json.Unmarshal([]byte(cmp.Or(before, "{}")), &was) != nil || json.Unmarshal([]byte(cmp.Or(after, "{}")), &is) != nil {
		a.Before["context"], a.After["context"] = before, after
		return
	}
	for name := range was.Properties {
		if string(was.Properties[name]) != string(is.Properties[name]) {
			a.Before["Properties/"+name], a.After["Properties/"+name] = string(was.Properties[name]), string(is.Properties[name])
		}
	}
	for name := range is.Properties {
		if _, both := was.Properties[name]; !both {
			a.After["Properties/"+name] = string(is.Properties[name])
		}
	}
}

// permit refuses what nobody should have to find in a long list.
func (x *Executor) permit(s string, list []types.ResourceChange, policy stackPolicy) error {
	for _, c := range list {
		id, kind := aws.ToString(c.LogicalResourceId), aws.ToString(c.ResourceType)
		switch {
		case kind == "AWS::CloudFormation::Stack":
			return fmt.Errorf("cloudformation: %s of stack %s is a nested stack, and what would change in it is not shown; change the nested stack itself: %w", id, s, ops.ErrStalled)
		case c.Replacement == types.ReplacementTrue && x.cfg.Replacement != allowed:
			return fmt.Errorf("cloudformation: %s (%s) of stack %s would be replaced; that needs replacement: allowed: %w", id, kind, s, ops.ErrDenied)
		case c.Replacement == types.ReplacementConditional && x.cfg.Replacement == never:
			return fmt.Errorf("cloudformation: %s (%s) of stack %s may have to be replaced; that needs replacement: conditional: %w", id, kind, s, ops.ErrDenied)
		}
		if why := policy.refuses(c); why != "" {
			return fmt.Errorf("cloudformation: the stack policy of %s protects %s (%s): %s: %w", s, id, kind, why, ops.ErrDenied)
		}
	}
	return nil
}

// describe is the plan for people.
func describe(p ops.Plan, s stack) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Change set of stack %s (%s)\n", s.name, s.StackStatus)
	if rc := s.RollbackConfiguration; rc != nil && len(rc.RollbackTriggers) > 0 {
		fmt.Fprintf(&b, "  watched by %d alarms\n", len(rc.RollbackTriggers))
	}
	for _, a := range p.Actions {
		sign := map[string]string{"create": "+", "delete": "-", "replace": "-/+"}[a.Verb]
		fmt.Fprintf(&b, "%s %s %s\n", cmp.Or(sign, "~"), a.Verb, a.Resource)
		names := maps.Clone(a.Before)
		maps.Copy(names, a.After)
		for _, n := range slices.Sorted(maps.Keys(names)) {
			if a.Before[n] != "" && n != "template" {
				fmt.Fprintf(&b, "-   %s: %s\n", n, a.Before[n])
			}
			if a.After[n] != "" {
				fmt.Fprintf(&b, "+   %s: %s\n", n, a.After[n])
			}
		}
	}
	if !slices.ContainsFunc(p.Actions, func(a ops.PlanAction) bool { _, ok := logicalID(s.name, a); return ok }) {
		b.WriteString("! CloudFormation names no resource that would change\n")
	}
	if len(p.Rollback) == 0 {
		b.WriteString("! cannot be undone: what is replaced or deleted does not come back\n")
	}
	return b.String()
}
