package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// drifts is what a detection found, by logical id.
type drifts struct {
	moved   map[string]string // what differs
	checked map[string]bool   // what is as the template says
}

func (d drifts) String() string {
	var out []string
	for id, how := range d.moved {
		out = append(out, id+": "+how)
	}
	return strings.Join(sorted(out), "; ")
}

// detect has CloudFormation compare a stack with its template. It compares only
// properties that the template sets, and only types it can read.
func (x *Executor) detect(ctx context.Context, name string) (drifts, error) {
	found := drifts{moved: map[string]string{}, checked: map[string]bool{}}
	begun, err := x.client.DetectStackDrift(ctx, &cloudformation.DetectStackDriftInput{StackName: &name})
	if err != nil {
		return found, awsx.Read("cloudformation: detect drift of "+name, err)
	}
	for {
		s, err := x.client.DescribeStackDriftDetectionStatus(ctx, &cloudformation.DescribeStackDriftDetectionStatusInput{StackDriftDetectionId: begun.StackDriftDetectionId})
		if err != nil {
			return found, awsx.Read("cloudformation: detect drift of "+name, err)
		}
		if s.DetectionStatus == types.StackDriftDetectionStatusDetectionFailed {
			return found, fmt.Errorf("cloudformation: drift of %s could not be detected: %s: %w", name, x.env.Redact(aws.ToString(s.DetectionStatusReason)), ops.ErrUnavailable)
		}
		if s.DetectionStatus == types.StackDriftDetectionStatusDetectionComplete {
			break
		}
		if err := x.alive(ctx, x.cfg.Poll); err != nil {
			return found, fmt.Errorf("cloudformation: detect drift of %s: %w: %w", name, err, ops.ErrUnavailable)
		}
	}
	in := &cloudformation.DescribeStackResourceDriftsInput{StackName: &name}
	for {
		page, err := x.client.DescribeStackResourceDrifts(ctx, in)
		if err != nil {
			return found, awsx.Read("cloudformation: describe drift of "+name, err)
		}
		for _, r := range page.StackResourceDrifts {
			id := aws.ToString(r.LogicalResourceId)
			switch r.StackResourceDriftStatus {
			case types.StackResourceDriftStatusInSync:
				found.checked[id] = true
			case types.StackResourceDriftStatusDeleted:
				found.moved[id] = "deleted"
			case types.StackResourceDriftStatusModified:
				var how []string
				for _, d := range r.PropertyDifferences {
					how = append(how, fmt.Sprintf("%s is %s, not %s", aws.ToString(d.PropertyPath), aws.ToString(d.ActualValue), aws.ToString(d.ExpectedValue)))
				}
				found.moved[id] = strings.Join(sorted(how), ", ")
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return found, nil
		}
		in.NextToken = page.NextToken
	}
}

// Drift compares the resources the plan changed, its parameters and its keys
// with the plan. A resource CloudFormation cannot check is unknown.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	action, name, err := x.mine(p)
	if err != nil {
		return execute.Unknown, err
	}
	if action != Update {
		return execute.Unknown, fmt.Errorf("cloudformation: %s has no state of its own to compare: %w", action, ops.ErrStalled)
	}
	moved, err := x.astray(ctx, name, p)
	if err != nil {
		return execute.Unknown, err
	}
	if moved != "" {
		return execute.Drifted, nil
	}
	found, err := x.detect(ctx, name)
	if err != nil {
		return execute.Unknown, err
	}
	var unknown []string
	for _, a := range p.Actions {
		id, ok := logicalID(name, a)
		switch {
		case !ok || a.Verb == "delete":
		case found.moved[id] != "":
			return execute.Drifted, nil
		case !found.checked[id]:
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return execute.Unknown, fmt.Errorf("cloudformation: CloudFormation cannot check %s of stack %s for drift: %w", strings.Join(unknown, ", "), name, ops.ErrStalled)
	}
	return execute.InSync, nil
}

// logicalID is the resource of the stack an action is about.
func logicalID(stack string, a ops.PlanAction) (string, bool) {
	rest, ok := strings.CutPrefix(a.Resource, stack+"/")
	id, _, _ := strings.Cut(rest, " (")
	return id, ok
}

// astray says which parameter of the stack or key does not have the value the
// plan gives it; empty when all have.
func (x *Executor) astray(ctx context.Context, name string, p ops.Plan) (string, error) {
	d, err := x.describe(ctx, name)
	if err != nil {
		return "", err
	}
	s := stack{Stack: d, name: name}
	var out []string
	for _, a := range p.Actions {
		if key, ok := strings.CutPrefix(a.Resource, keyPrefix); ok {
			q, err := x.keys.Get(ctx, key)
			switch {
			case errors.Is(err, ops.ErrNotFound) || err == nil && q.Value != a.After["value"]:
				out = append(out, key)
			case err != nil:
				return "", fmt.Errorf("cloudformation: %w", err)
			}
		}
		for what, want := range a.After {
			parameter, ok := strings.CutPrefix(what, "parameter ")
			if is, _ := s.value(parameter); ok && strings.HasPrefix(a.Resource, stackPrefix) && is != want {
				out = append(out, parameter)
			}
		}
	}
	return strings.Join(sorted(out), ", "), nil
}
