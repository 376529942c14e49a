package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// impatient is how many looks or lost answers in a row there may be before
// nobody knows any more.
const impatient = 20

// way is where an instance shall go, and what is remembered on the way.
type way struct {
	to      standing
	types   []string // another one is somebody else's doing
	checks  bool     // it must pass its status checks
	patient bool     // a refused start is tried again until the time is up

	told    map[string]time.Time // when a step was taken
	was     map[types.InstanceStateName]bool
	running time.Time // since when, for the checks
}

// reach looks at the instance, takes the next step and looks again, until it
// stands where it shall. Each step can be told twice without harm, so that a
// lost answer only means another look. When ctx ends, it returns why; nothing
// is begun any more then.
func (r *run) reach(ctx context.Context, w way) error {
	w.told, w.was = map[string]time.Time{}, map[types.InstanceStateName]bool{}
	live := context.WithoutCancel(ctx)
	for failed := 0; ; r.wait(ctx) {
		i, err := r.describe(live, r.id)
		var step string
		switch {
		case errors.Is(err, ops.ErrNotFound):
			return err
		case err == nil:
			r.tell(i)
			step, err = r.next(live, &w, i)
			if err == nil && step == "" {
				return nil
			}
			if err != nil && !errors.Is(err, errLook) {
				return err
			}
		}
		if err == nil && step != later {
			if ctx.Err() != nil {
				return r.stopped(ctx)
			}
			err = r.take(live, &w, step)
			if known := final(err); known != nil && (step != "start" || !w.patient) {
				return known
			} else if known != nil {
				r.say("%s, trying again", r.env.Redact(known.Error()))
				err = nil
			}
		}
		if ctx.Err() != nil {
			return r.stopped(ctx)
		}
		if err == nil {
			failed = 0
		} else if failed++; failed >= impatient {
			if errors.Is(err, ops.ErrConflict) {
				return err
			}
			return &ops.UnknownOutcome{Err: err}
		}
	}
}

func (r *run) stopped(ctx context.Context) error {
	return fmt.Errorf("ec2: instance %s: stopped on the way: %w: %w", r.id, context.Cause(ctx), ops.ErrUnavailable)
}

// wait waits until the next look, or until ctx ends.
func (r *run) wait(ctx context.Context) {
	t := time.NewTimer(r.cfg.Poll)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// tell says how the instance stands when that is new.
func (r *run) tell(i instance) {
	line := fmt.Sprintf("instance %s is %s as %s", i.ID, i.State, i.Type)
	if i.Why != "" {
		line += " (" + i.Why + ")"
	}
	if line != r.said {
		r.say("%s", line)
		r.said = line
	}
}

// later is the step of waiting.
const later = "later"

// errLook marks an error of looking, after which one looks again.
var errLook = errors.New("look again")

// next is the step an instance needs, empty when it stands where it shall.
func (r *run) next(ctx context.Context, w *way, i instance) (string, error) {
	w.was[i.State] = true
	is, err := i.standing()
	switch {
	case errors.Is(err, ops.ErrConflict):
		return later, nil
	case err != nil:
		return "", err
	case !slices.Contains(w.types, is.Type):
		return "", fmt.Errorf("ec2: instance %s has become %s on the way, by somebody else: %w", i.ID, is.Type, ops.ErrConflict)
	}
	step := ""
	switch {
	case is.Running && is != w.to:
		step = "stop"
	case is.Type != w.to.Type:
		step = "modify"
	case is != w.to:
		step = "start"
	case w.checks:
		return r.checked(ctx, w, i)
	default:
		return "", nil
	}
	at, told := w.told[step]
	if !told {
		return step, nil
	}
	if step == "start" && (w.was[types.InstanceStateNamePending] || blamed(i.Reason)) {
		if w.patient {
			delete(w.told, step)
			delete(w.was, types.InstanceStateNamePending)
			return later, nil
		}
		return "", fmt.Errorf("ec2: instance %s did not start as %s: %s %s: %w", i.ID, i.Type, i.Reason, i.Why, ops.ErrStalled)
	}
	if step == "stop" && w.was[types.InstanceStateNameStopped] {
		return "", fmt.Errorf("ec2: instance %s was started by somebody else on the way: %w", i.ID, ops.ErrConflict)
	}
	if r.env.Clock().After(at.Add(r.cfg.Settle)) {
		return "", fmt.Errorf("ec2: instance %s was told to %s and is %s after %s: %w", i.ID, step, is, r.cfg.Settle, ops.ErrStalled)
	}
	return later, nil
}

// blamed reports that a stopped instance was not stopped by anybody who asked
// for it.
func blamed(reason string) bool {
	return strings.HasPrefix(reason, "Server.") || strings.HasPrefix(reason, "Client.") && !strings.HasPrefix(reason, "Client.UserInitiated")
}

// checked waits for the status checks of an instance that runs.
func (r *run) checked(ctx context.Context, w *way, i instance) (string, error) {
	out, err := r.client.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{i.ID}})
	if err != nil {
		return "", fmt.Errorf("%w: %w", awsx.Read("ec2: read the status checks of instance "+i.ID, err), errLook)
	}
	status := "not known yet"
	if len(out.InstanceStatuses) == 1 && out.InstanceStatuses[0].InstanceStatus != nil && out.InstanceStatuses[0].SystemStatus != nil {
		s := out.InstanceStatuses[0]
		if s.InstanceStatus.Status == types.SummaryStatusOk && s.SystemStatus.Status == types.SummaryStatusOk {
			return "", nil
		}
		status = fmt.Sprintf("instance %s, system %s", s.InstanceStatus.Status, s.SystemStatus.Status)
	}
	now := r.env.Clock()
	if w.running.IsZero() {
		w.running = now
		r.say("Waiting for the status checks of instance %s", i.ID)
	}
	if now.After(w.running.Add(r.cfg.Boot)) {
		return "", fmt.Errorf("ec2: instance %s runs as %s and does not pass its status checks after %s (%s): %w", i.ID, i.Type, r.cfg.Boot, status, ops.ErrStalled)
	}
	return later, nil
}

// take takes one step.
func (r *run) take(ctx context.Context, w *way, step string) error {
	ids := []string{r.id}
	var err error
	switch step {
	case "stop":
		r.say("Stopping instance %s", r.id)
		err = guarded(step, func() error {
			_, err := r.client.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: ids}, once)
			return err
		})
	case "modify":
		r.say("Changing instance %s to %s", r.id, w.to.Type)
		err = guarded(step, func() error {
			_, err := r.client.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &r.id, InstanceType: &types.AttributeValue{Value: aws.String(w.to.Type)}}, once)
			return err
		})
	case "start":
		r.say("Starting instance %s", r.id)
		err = guarded(step, func() error {
			_, err := r.client.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: ids}, once)
			return err
		})
	}
	if err == nil {
		w.told[step] = r.env.Clock()
		return nil
	}
	what := fmt.Sprintf("ec2: %s instance %s", step, r.id)
	if strings.HasPrefix(awsx.Code(err), "Insufficient") { // instance, host or reserved capacity, as an error of the server
		return fmt.Errorf("%s: the service has no capacity for %s: %w: %w", what, w.to.Type, err, ops.ErrStalled)
	}
	return awsx.Write(what, err)
}

// final returns err if it is a refusal: what was lost, throttled or came at the
// wrong moment is found out by another look.
func final(err error) error {
	if err == nil || errors.Is(err, ops.ErrUnavailable) || errors.Is(err, ops.ErrThrottled) || awsx.Code(err) == "IncorrectInstanceState" {
		return nil
	}
	return err
}
