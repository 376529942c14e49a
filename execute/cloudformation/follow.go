package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// end is how an operation on a stack ended.
type end struct {
	status  types.ResourceStatus
	reasons []string // of what failed, first first
	stopped error    // why it was cancelled; nil when it was not
}

func (e end) why() string {
	if len(e.reasons) == 0 {
		return "CloudFormation gave no reason"
	}
	return strings.Join(e.reasons[:min(3, len(e.reasons))], "; ")
}

// cancelled is added to the token of a run in the events of its cancelling.
const cancelled = "-cancel"

// events returns the stack's events of this run that are not in seen, oldest
// first, and adds them to it.
func (r *run) events(ctx context.Context, seen map[string]bool) ([]types.StackEvent, error) {
	oldest := r.m.At.Add(-15 * time.Minute) // clocks differ
	var out []types.StackEvent
	in := &cloudformation.DescribeStackEventsInput{StackName: &r.stack}
	for {
		page, err := r.client.DescribeStackEvents(ctx, in)
		if err != nil {
			return nil, awsx.Read("cloudformation: read the events of "+r.stack, err)
		}
		for _, e := range page.StackEvents { // newest first
			id, by := aws.ToString(e.EventId), aws.ToString(e.ClientRequestToken)
			if seen[id] || aws.ToTime(e.Timestamp).Before(oldest) {
				page.NextToken = nil
				break
			}
			if by == r.event || by == r.event+cancelled {
				out = append(out, e)
			}
		}
		if aws.ToString(page.NextToken) == "" {
			break
		}
		in.NextToken = page.NextToken
	}
	for _, e := range out {
		seen[aws.ToString(e.EventId)] = true
	}
	slices.Reverse(out)
	return out, nil
}

// impatient is how many looks in a row may fail before nobody knows any more.
const impatient = 20

// follow streams the events of the run until its operation has ended. When ctx
// ends or the time is up, the update is cancelled, and followed until it has
// rolled back.
func (r *run) follow(ctx context.Context) (end, error) {
	var e end
	seen := map[string]bool{}
	var until time.Time // for rolling back what was cancelled
	live := context.WithoutCancel(ctx)
	for failed := 0; ; {
		found, err := r.events(live, seen)
		if err == nil && len(seen) == 0 {
			found, err = r.silent(live)
		}
		switch {
		case err != nil:
			if failed++; failed >= impatient {
				return e, &ops.UnknownOutcome{Err: err}
			}
		default:
			failed = 0
		}
		for _, ev := range found {
			if r.note(&e, ev) {
				return e, nil
			}
		}
		now := r.env.Clock()
		switch {
		case e.stopped != nil:
			if now.After(until) {
				return e, &ops.UnknownOutcome{Err: fmt.Errorf("cloudformation: stack %s still rolls back %s after it was cancelled (%w): %w", r.stack, r.cfg.Grace, e.stopped, ops.ErrUnavailable)}
			}
		case ctx.Err() != nil:
			e.stopped, until = context.Cause(ctx), now.Add(r.cfg.Grace)
			r.cancel(live)
		case now.After(r.m.At.Add(r.cfg.Timeout)):
			e.stopped, until = fmt.Errorf("it timed out after %s", r.cfg.Timeout), now.Add(r.cfg.Grace)
			r.cancel(live)
		}
		wait := ctx
		if e.stopped != nil {
			wait = live
		}
		_ = r.alive(wait, r.cfg.Poll) // an ended ctx is dealt with above
	}
}

// note says an event, and reports whether it is the last of the operation.
func (r *run) note(e *end, ev types.StackEvent) bool {
	reason := aws.ToString(ev.ResourceStatusReason)
	r.say("%s %s %s (%s) %s", aws.ToTime(ev.Timestamp).UTC().Format(time.TimeOnly), ev.ResourceStatus, aws.ToString(ev.LogicalResourceId), aws.ToString(ev.ResourceType), reason)
	if strings.HasSuffix(string(ev.ResourceStatus), "_FAILED") && reason != "" {
		e.reasons = append(e.reasons, aws.ToString(ev.LogicalResourceId)+": "+reason)
	}
	if aws.ToString(ev.PhysicalResourceId) != aws.ToString(ev.StackId) {
		return false
	}
	e.status = ev.ResourceStatus
	switch ev.ResourceStatus {
	case types.ResourceStatusUpdateComplete, types.ResourceStatusUpdateRollbackComplete, types.ResourceStatusUpdateRollbackFailed, types.ResourceStatusUpdateFailed:
		return true
	}
	return false
}

// silent looks at the change set and the stack where no event of the run is
// seen yet, or none ever carries its token.
func (r *run) silent(ctx context.Context) ([]types.StackEvent, error) {
	c, _, err := r.changeSet(ctx, r.stack, r.set)
	if err != nil && !errors.Is(err, ops.ErrNotFound) {
		return nil, err
	}
	if c.execution != types.ExecutionStatusExecuteComplete && c.execution != types.ExecutionStatusExecuteFailed {
		return nil, nil
	}
	s, err := r.describe(ctx, r.stack)
	if err != nil || strings.HasSuffix(string(s.StackStatus), "_IN_PROGRESS") {
		return nil, err
	}
	return []types.StackEvent{{
		Timestamp: aws.Time(r.env.Clock()), StackId: s.StackId, PhysicalResourceId: s.StackId, LogicalResourceId: s.StackName,
		ResourceType: aws.String("AWS::CloudFormation::Stack"), ResourceStatus: types.ResourceStatus(s.StackStatus), ResourceStatusReason: s.StackStatusReason,
	}}, nil
}

// cancel asks CloudFormation to undo the update. Where that is no longer
// possible, the update ends by itself and is followed all the same.
func (r *run) cancel(ctx context.Context) {
	r.say("Cancelling the update of stack %s", r.stack)
	err := guarded("cancel", func() error {
		_, err := r.client.CancelUpdateStack(ctx, &cloudformation.CancelUpdateStackInput{StackName: &r.stack, ClientRequestToken: aws.String(r.event + cancelled)})
		return err
	})
	if err != nil {
		r.warn(ctx, "update not cancelled", err)
	}
}
