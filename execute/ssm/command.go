package ssm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// comment is how a command says which run sent it.
func (r *run) comment() string { return "fettle " + hash(r.token)[:40] }

// command sends the command, or finds the one an earlier call has sent, and
// follows it on every instance.
func (r *run) command(ctx context.Context) (string, error) {
	if r.m.State == begun {
		if err := r.going(ctx); err != nil {
			return "", err
		}
		if err := r.send(ctx); err != nil {
			return "", err
		}
	}
	if r.m.ID == "" {
		if err := r.find(ctx); err != nil {
			return "", err
		}
	}
	return r.follow(ctx)
}

func (r *run) send(ctx context.Context) error {
	version := r.action.After["version"]
	in := &ssm.SendCommandInput{
		DocumentName: &r.rule.Document, DocumentVersion: &version, InstanceIds: r.action.Args[2:], Parameters: r.rule.Parameters,
		MaxConcurrency: &r.rule.Concurrency, MaxErrors: &r.rule.Errors, TimeoutSeconds: aws.Int32(int32(r.rule.Delivery / time.Second)), Comment: aws.String(r.comment()),
	}
	in.AlarmConfiguration = r.alarm()
	r.say("Sending %s version %s to %s", r.rule.Document, version, strings.Join(r.action.Args[2:], ", "))
	return guarded("send", func() error {
		out, err := r.client.SendCommand(context.WithoutCancel(ctx), in, once)
		if err != nil {
			err = awsx.Write("ssm: send "+r.rule.Document, err)
			var unknown *ops.UnknownOutcome
			if errors.As(err, &unknown) {
				r.warn(ctx, "the answer to a command was lost", err)
				return nil // it is looked for
			}
			return err
		}
		r.m.ID = aws.ToString(out.Command.CommandId)
		if err := r.keep(ctx); err != nil {
			r.warn(ctx, "id of a command not recorded", err) // it is found by its comment
		}
		return nil
	})
}

func (r *run) alarm() *types.AlarmConfiguration {
	if r.rule.Alarm == "" {
		return nil
	}
	return &types.AlarmConfiguration{Alarms: []types.Alarm{{Name: &r.rule.Alarm}}}
}

// looks is how often a command is looked for: the service lists it only in the
// long run.
const looks = 10

// find finds a command that may have been sent.
func (r *run) find(ctx context.Context) error {
	live := context.WithoutCancel(ctx)
	after := r.m.At.Add(-15 * time.Minute).UTC().Format(time.RFC3339)
	var last error
	for range looks {
		in := &ssm.ListCommandsInput{Filters: []types.CommandFilter{{Key: types.CommandFilterKeyInvokedAfter, Value: &after}}}
		for {
			page, err := r.client.ListCommands(live, in)
			if last = err; err != nil {
				break
			}
			for _, c := range page.Commands {
				if aws.ToString(c.Comment) == r.comment() {
					r.m.ID = aws.ToString(c.CommandId)
					return nil
				}
			}
			if aws.ToString(page.NextToken) == "" {
				break
			}
			in.NextToken = page.NextToken
		}
		r.wait(live)
	}
	return &ops.UnknownOutcome{Err: fmt.Errorf("ssm: nobody knows whether %s was sent at %s; look for a command with the comment %q: %w",
		r.rule.Document, r.m.At.Format(time.RFC3339), r.comment(), errors.Join(last, ops.ErrUnavailable))}
}

// done are the states of an invocation that no longer move.
var done = []types.CommandInvocationStatus{
	types.CommandInvocationStatusSuccess, types.CommandInvocationStatusCancelled, types.CommandInvocationStatusTimedOut, types.CommandInvocationStatusFailed,
}

// overall are the states of a command in which no invocation is begun any more.
var overall = []types.CommandStatus{
	types.CommandStatusSuccess, types.CommandStatusCancelled, types.CommandStatusFailed, types.CommandStatusTimedOut,
}

// follow says what each instance answers. The command's own status is not
// enough: it can be Success while some instances were never reached.
func (r *run) follow(ctx context.Context) (string, error) {
	states := map[string]string{}
	look := func(ctx context.Context) (bool, error) {
		list, err := r.invocations(ctx)
		if err != nil {
			return false, err
		}
		finished := 0
		for _, i := range list {
			id, detail := aws.ToString(i.InstanceId), cmp.Or(aws.ToString(i.StatusDetails), string(i.Status))
			over := slices.Contains(done, i.Status)
			if over {
				finished++
			}
			if states[id] == detail {
				continue
			}
			r.say("%s: %s", id, detail)
			if over {
				if err := r.output(ctx, id); err != nil {
					return false, err
				}
			}
			states[id] = detail
		}
		if finished == len(r.action.Args)-2 {
			return true, nil
		}
		over, err := r.over(ctx)
		return over && finished == len(list) && len(list) > 0, err
	}
	stopped, err := r.watch(ctx, look, func(ctx context.Context) error {
		_, err := r.client.CancelCommand(ctx, &ssm.CancelCommandInput{CommandId: &r.m.ID})
		return awsx.Read("ssm: cancel command "+r.m.ID, err)
	})
	if err != nil {
		return "", err
	}
	var bad []string
	for _, id := range r.action.Args[2:] {
		if state := cmp.Or(states[id], "never reached"); state != string(types.CommandInvocationStatusSuccess) {
			bad = append(bad, id+": "+state)
		}
	}
	switch {
	case len(bad) == 0:
		return fmt.Sprintf("%s succeeded on %d instances", r.rule.Document, len(r.action.Args)-2), nil
	case stopped != nil:
		return "", fmt.Errorf("ssm: %s was cancelled (%w): %s: %w", r.rule.Document, stopped, strings.Join(bad, ", "), ops.ErrStalled)
	}
	return "", fmt.Errorf("ssm: %s failed on %d of %d instances: %s: %w", r.rule.Document, len(bad), len(r.action.Args)-2, strings.Join(bad, ", "), ops.ErrStalled)
}

func (r *run) over(ctx context.Context) (bool, error) {
	out, err := r.client.ListCommands(ctx, &ssm.ListCommandsInput{CommandId: &r.m.ID})
	if err != nil {
		return false, awsx.Read("ssm: list command "+r.m.ID, err)
	}
	return len(out.Commands) == 1 && slices.Contains(overall, out.Commands[0].Status), nil
}

func (r *run) invocations(ctx context.Context) ([]types.CommandInvocation, error) {
	var out []types.CommandInvocation
	in := &ssm.ListCommandInvocationsInput{CommandId: &r.m.ID, MaxResults: aws.Int32(50)}
	for {
		page, err := r.client.ListCommandInvocations(ctx, in)
		if err != nil {
			return nil, awsx.Read("ssm: list the invocations of command "+r.m.ID, err)
		}
		out = append(out, page.CommandInvocations...)
		if aws.ToString(page.NextToken) == "" {
			return out, nil
		}
		in.NextToken = page.NextToken
	}
}

// output says what the command said on an instance, as far as the service keeps
// it: 24,000 characters, and 8,000 of errors.
func (r *run) output(ctx context.Context, id string) error {
	out, err := r.client.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: &r.m.ID, InstanceId: &id})
	if err != nil {
		return awsx.Read("ssm: read what was said on "+id, err)
	}
	for _, text := range []string{aws.ToString(out.StandardOutputContent), aws.ToString(out.StandardErrorContent)} {
		if text = strings.TrimRight(text, "\n"); text != "" {
			r.say("%s", text)
		}
	}
	r.say("%s: exit code %d", id, out.ResponseCode)
	return nil
}
