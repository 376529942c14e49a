package ssm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// clientToken is the token of a run as the UUID the service wants. Under one it
// starts one execution, however often it is asked.
func (r *run) clientToken() string {
	h := []byte(hash(r.token))
	h[12], h[16] = '5', '8'
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:32])
}

// settledAutomation are the states of an execution that no longer move.
var settledAutomation = []types.AutomationExecutionStatus{
	types.AutomationExecutionStatusSuccess, types.AutomationExecutionStatusTimedout, types.AutomationExecutionStatusCancelled, types.AutomationExecutionStatusFailed,
	types.AutomationExecutionStatusRejected, types.AutomationExecutionStatusCompletedWithSuccess, types.AutomationExecutionStatusCompletedWithFailure,
	types.AutomationExecutionStatusExited,
}

// automation starts the execution, or finds the one an earlier call has
// started, and follows its steps.
func (r *run) automation(ctx context.Context) (string, error) {
	if r.m.State == begun {
		if err := r.going(ctx); err != nil {
			return "", err
		}
	}
	if r.m.ID == "" {
		if ctx.Err() != nil {
			return "", &ops.UnknownOutcome{Err: fmt.Errorf("ssm: nobody knows whether %s was started, and it may not be now: %w", r.rule.Document, ops.ErrUnavailable)}
		}
		if err := r.start(ctx); err != nil {
			return "", err
		}
	}
	var last types.AutomationExecution
	states := map[string]types.AutomationExecutionStatus{}
	look := func(ctx context.Context) (bool, error) {
		out, err := r.client.GetAutomationExecution(ctx, &ssm.GetAutomationExecutionInput{AutomationExecutionId: &r.m.ID})
		if err != nil {
			return false, awsx.Read("ssm: read execution "+r.m.ID, err)
		}
		last = *out.AutomationExecution
		for _, s := range last.StepExecutions {
			id := aws.ToString(s.StepExecutionId)
			if states[id] == s.StepStatus {
				continue
			}
			states[id] = s.StepStatus
			r.say("step %s: %s %s", aws.ToString(s.StepName), s.StepStatus, aws.ToString(s.FailureMessage))
			for _, text := range s.Outputs {
				r.say("%s", strings.Join(text, "\n"))
			}
		}
		return slices.Contains(settledAutomation, last.AutomationExecutionStatus), nil
	}
	stopped, err := r.watch(ctx, look, func(ctx context.Context) error {
		_, err := r.client.StopAutomationExecution(ctx, &ssm.StopAutomationExecutionInput{AutomationExecutionId: &r.m.ID, Type: types.StopTypeCancel})
		return awsx.Read("ssm: stop execution "+r.m.ID, err)
	})
	if err != nil {
		return "", err
	}
	switch status := last.AutomationExecutionStatus; {
	case status == types.AutomationExecutionStatusSuccess || status == types.AutomationExecutionStatusCompletedWithSuccess:
		return fmt.Sprintf("%s ended in %s", r.rule.Document, status), nil
	case stopped != nil:
		return "", fmt.Errorf("ssm: %s was stopped (%w) and ended in %s: %w", r.rule.Document, stopped, status, ops.ErrStalled)
	default:
		return "", fmt.Errorf("ssm: %s ended in %s: %s: %w", r.rule.Document, status, r.env.Redact(aws.ToString(last.FailureMessage)), ops.ErrStalled)
	}
}

func (r *run) start(ctx context.Context) error {
	version := r.action.After["version"]
	in := &ssm.StartAutomationExecutionInput{
		DocumentName: &r.rule.Document, DocumentVersion: &version, Parameters: r.rule.Parameters, ClientToken: aws.String(r.clientToken()),
		AlarmConfiguration: r.alarm(),
	}
	r.say("Starting %s version %s", r.rule.Document, version)
	return guarded("start", func() error {
		out, err := r.client.StartAutomationExecution(context.WithoutCancel(ctx), in)
		if err != nil {
			return awsx.Write("ssm: start "+r.rule.Document, err)
		}
		r.m.ID = aws.ToString(out.AutomationExecutionId)
		if err := r.keep(ctx); err != nil {
			r.warn(ctx, "id of an execution not recorded", err) // the token leads to it
		}
		return nil
	})
}
