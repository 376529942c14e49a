package cloudformation

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// stackPolicy is the policy of a stack: without one everything may be updated,
// with one only what a statement allows and none denies. CloudFormation holds
// an update against it too, but only in the middle of it.
type stackPolicy struct {
	Statement []statement
}

type statement struct {
	Effect      string
	Action      oneOrMore
	NotAction   oneOrMore
	Resource    oneOrMore
	NotResource oneOrMore
	Condition   map[string]map[string]oneOrMore
}

// oneOrMore is a text or a list of texts.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

func (x *Executor) policy(ctx context.Context, name string) (stackPolicy, error) {
	var p stackPolicy
	out, err := x.client.GetStackPolicy(ctx, &cloudformation.GetStackPolicyInput{StackName: &name})
	if err != nil {
		return p, awsx.Read("cloudformation: read the policy of stack "+name, err)
	}
	if body := aws.ToString(out.StackPolicyBody); body != "" {
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			return p, fmt.Errorf("cloudformation: the policy of stack %s is unreadable: %w: %w", name, err, ops.ErrStalled)
		}
	}
	return p, nil
}

// refuses says why the policy does not let a change pass; empty when it does.
// Additions are outside of it.
func (p stackPolicy) refuses(c types.ResourceChange) string {
	if p.Statement == nil || c.Action == types.ChangeActionAdd || c.Action == types.ChangeActionImport {
		return ""
	}
	actions := []string{"Update:Modify"}
	switch {
	case c.Action == types.ChangeActionRemove:
		actions = []string{"Update:Delete"}
	case c.Replacement == types.ReplacementTrue:
		actions = []string{"Update:Replace"}
	case c.Replacement == types.ReplacementConditional:
		actions = append(actions, "Update:Replace")
	}
	for _, action := range actions {
		permitted := false
		for _, s := range p.Statement {
			switch {
			case !s.applies(action, c):
			case s.Effect == "Deny":
				return "it denies " + action
			default:
				permitted = true
			}
		}
		if !permitted {
			return "nothing allows " + action
		}
	}
	return ""
}

func (s statement) applies(action string, c types.ResourceChange) bool {
	id := "LogicalResourceId/" + aws.ToString(c.LogicalResourceId)
	if !within(s.Action, s.NotAction, action) || !within(s.Resource, s.NotResource, id) {
		return false
	}
	for operator, keys := range s.Condition {
		for key, values := range keys {
			is := aws.ToString(c.ResourceType)
			known := key == "ResourceType" && (operator == "StringEquals" || operator == "StringLike")
			match := slices.ContainsFunc(values, func(v string) bool { return v == is || operator == "StringLike" && wild(v, is) })
			if known && !match || !known && s.Effect != "Deny" {
				return false // what is not understood denies and does not allow
			}
		}
	}
	return true
}

func within(list, except oneOrMore, s string) bool {
	any := func(l oneOrMore) bool { return slices.ContainsFunc(l, func(p string) bool { return wild(p, s) }) }
	if except != nil {
		return !any(except)
	}
	return any(list)
}

// wild matches * and ?, as policies have them.
func wild(pattern, s string) bool {
	p := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	ok, err := regexp.MatchString("^(?s:"+p+")$", s)
	return ok && err == nil
}
