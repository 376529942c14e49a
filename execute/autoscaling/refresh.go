package autoscaling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// going records that from now on a refresh may have been started, and which was
// the newest before.
func (r *run) going(ctx context.Context) error {
	err := r.refreshes(ctx, r.group, func(i types.InstanceRefresh) bool {
		r.m.Known = aws.ToString(i.InstanceRefreshId)
		return false
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return r.stopped(ctx, "before its instances were replaced")
	}
	r.m.State = starting
	return r.keep(ctx)
}

// refresh starts the refresh unless it was, follows it, and says what became of
// it.
func (r *run) refresh(ctx context.Context) error {
	if r.m.Refresh == "" {
		live := context.WithoutCancel(ctx)
		if err := r.find(live); err != nil {
			return &ops.UnknownOutcome{Err: err}
		}
	}
	if r.m.Refresh == "" {
		if ctx.Err() != nil {
			return &ops.UnknownOutcome{Err: fmt.Errorf("autoscaling: nobody knows whether the instances of group %s were going to be replaced, and it may not be begun now: %w", r.group, ops.ErrUnavailable)}
		}
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	i, stopped, err := r.follow(ctx)
	if err != nil {
		return err
	}
	why := r.env.Redact(aws.ToString(i.StatusReason))
	switch {
	case i.Status == types.InstanceRefreshStatusSuccessful:
		return nil
	case stopped != nil:
		return fmt.Errorf("autoscaling: replacing the instances of group %s was cancelled (%w) and ended in %s: %s: %w", r.group, stopped, i.Status, why, ops.ErrStalled)
	case i.Status == types.InstanceRefreshStatusRollbackSuccessful:
		return fmt.Errorf("autoscaling: replacing the instances of group %s failed and AWS has undone it: %s: %w", r.group, why, ops.ErrStalled)
	}
	return fmt.Errorf("autoscaling: replacing the instances of group %s ended in %s at %d%%: %s: %w", r.group, i.Status, aws.ToInt32(i.PercentageComplete), why, ops.ErrStalled)
}

// desired is the configuration the refresh gives the group; nil for the one it
// has.
func (r *run) desired() *types.DesiredConfiguration {
	if r.m.Job.Recycle {
		return nil
	}
	return &types.DesiredConfiguration{LaunchTemplate: r.spec(r.m.Job.To.Version)}
}

// ours reports whether a refresh is one that this run would start.
func (r *run) ours(i types.InstanceRefresh) bool {
	if aws.ToTime(i.StartTime).Before(r.m.At.Add(-15*time.Minute)) && i.StartTime != nil { // clocks differ
		return false
	}
	if r.m.Job.Recycle {
		return i.DesiredConfiguration == nil || i.DesiredConfiguration.LaunchTemplate == nil && i.DesiredConfiguration.MixedInstancesPolicy == nil
	}
	d := i.DesiredConfiguration
	return d != nil && d.LaunchTemplate != nil && aws.ToString(d.LaunchTemplate.LaunchTemplateId) == r.m.Job.Template &&
		aws.ToString(d.LaunchTemplate.Version) == strconv.FormatInt(r.m.Job.To.Version, 10)
}

// find adopts the refresh that an earlier call has started, if it did.
func (r *run) find(ctx context.Context) error {
	id := ""
	err := r.refreshes(ctx, r.group, func(i types.InstanceRefresh) bool {
		switch is := aws.ToString(i.InstanceRefreshId); {
		case is == r.m.Known:
			return false
		case r.ours(i):
			id = is
		}
		return true
	})
	if err != nil || id == "" {
		return err
	}
	r.say("Following refresh %s of group %s", id, r.group)
	r.m.Refresh = id
	if err := r.keep(ctx); err != nil {
		r.warn(ctx, "id of a refresh not recorded", err) // it is found again
	}
	return nil
}

// start starts the refresh. Started a second time after a lost answer it would
// skip every instance that is as wanted; one that replaces them all is not
// started a second time.
func (r *run) start(ctx context.Context) error {
	j := r.m.Job
	in := &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: &r.group, DesiredConfiguration: r.desired(), Strategy: types.RefreshStrategyRolling, Preferences: r.preferences(),
	}
	what := "such of the same configuration"
	if !j.Recycle {
		what = fmt.Sprintf("version %d of launch template %s", j.To.Version, j.Template)
	}
	r.say("Replacing the instances of group %s by %s", r.group, what)
	var lost error // of an earlier try that may have started it all the same
	for range 3 {
		if err := r.stopped(ctx, "before its instances were replaced"); err != nil {
			return cmp.Or(lost, err)
		}
		err := guarded("start", func() error {
			out, err := r.groups.StartInstanceRefresh(context.WithoutCancel(ctx), in, once)
			if err == nil {
				r.m.Refresh = aws.ToString(out.InstanceRefreshId)
			}
			return awsx.Write("autoscaling: start a refresh of group "+r.group, err)
		})
		if err == nil {
			if kept := r.keep(ctx); kept != nil {
				r.warn(ctx, "id of a refresh not recorded", kept) // it is found again
			}
			return nil
		}
		var unknown *ops.UnknownOutcome
		if errors.As(err, &unknown) {
			lost = err
		}
		look, cancel := looking(ctx)
		findErr := r.find(look)
		cancel()
		switch {
		case findErr != nil:
			return &ops.UnknownOutcome{Err: findErr}
		case r.m.Refresh != "":
			return nil
		case lost == nil:
			return err
		case j.Recycle:
			return lost
		}
		r.wait(ctx)
	}
	return lost
}

func seconds(d time.Duration) *int32 {
	if d == 0 {
		return nil
	}
	s := int32(d / time.Second)
	return &s
}

// preferences are those of the configuration. A rollback stops at nothing that
// is meant to stop what is new.
func (r *run) preferences() *types.RefreshPreferences {
	j, cfg := r.m.Job, r.cfg
	p := &types.RefreshPreferences{MinHealthyPercentage: cfg.MinHealthy, MaxHealthyPercentage: cfg.MaxHealthy, InstanceWarmup: seconds(cfg.Warmup)}
	if !j.Recycle {
		p.SkipMatching = aws.Bool(true)
	}
	switch cfg.Protected {
	case leave:
		p.ScaleInProtectedInstances = types.ScaleInProtectedInstancesIgnore
	case replace:
		p.ScaleInProtectedInstances = types.ScaleInProtectedInstancesRefresh
	}
	switch cfg.Standby {
	case leave:
		p.StandbyInstances = types.StandbyInstancesIgnore
	case replace:
		p.StandbyInstances = types.StandbyInstancesTerminate
	}
	if j.Back {
		return p
	}
	p.BakeTime, p.CheckpointPercentages, p.CheckpointDelay = seconds(cfg.Bake), cfg.Checkpoints, seconds(cfg.CheckpointDelay)
	if j.Undo {
		p.AutoRollback = aws.Bool(true)
	}
	if len(cfg.Alarms) > 0 {
		p.AlarmSpecification = &types.AlarmSpecification{Alarms: cfg.Alarms}
	}
	return p
}

// follow says how the refresh and the group's activities go on, until the
// refresh has ended.
func (r *run) follow(ctx context.Context) (last types.InstanceRefresh, stopped, err error) {
	seen, state := map[string]bool{}, ""
	look := func(ctx context.Context) (bool, error) {
		out, err := r.groups.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: &r.group, InstanceRefreshIds: []string{r.m.Refresh}})
		if err != nil {
			return false, awsx.Read("autoscaling: read refresh "+r.m.Refresh, err)
		}
		if len(out.InstanceRefreshes) != 1 {
			return false, fmt.Errorf("autoscaling: refresh %s of group %s is not listed: %w", r.m.Refresh, r.group, ops.ErrUnavailable)
		}
		last = out.InstanceRefreshes[0]
		if err := r.activities(ctx, aws.ToTime(last.StartTime), seen); err != nil {
			return false, err
		}
		if now := strings.TrimSpace(fmt.Sprintf("%s, %d%% %s", last.Status, aws.ToInt32(last.PercentageComplete), aws.ToString(last.StatusReason))); now != state {
			r.say("Refresh %s: %s", r.m.Refresh, now)
			state = now
		}
		return slices.Contains(over, last.Status), nil
	}
	stopped, err = r.watch(ctx, look, func(ctx context.Context) error {
		if last.Status == types.InstanceRefreshStatusRollbackInProgress {
			r.say("AWS is undoing it already")
			return nil
		}
		return guarded("cancel", func() error {
			_, err := r.groups.CancelInstanceRefresh(ctx, &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: &r.group})
			return awsx.Read("autoscaling: cancel refresh "+r.m.Refresh, err)
		})
	})
	return last, stopped, err
}

// activities says what the group has done since a time and is not in seen.
func (r *run) activities(ctx context.Context, since time.Time, seen map[string]bool) error {
	var lines []string
	in := &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: &r.group}
	for {
		page, err := r.groups.DescribeScalingActivities(ctx, in)
		if err != nil {
			return awsx.Read("autoscaling: list the activities of group "+r.group, err)
		}
		for _, a := range page.Activities { // newest first
			key := aws.ToString(a.ActivityId) + string(a.StatusCode)
			if aws.ToTime(a.StartTime).Before(since) {
				page.NextToken = nil
				break
			}
			if !seen[key] {
				seen[key] = true
				lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", aws.ToTime(a.StartTime).UTC().Format(time.TimeOnly), a.StatusCode, aws.ToString(a.Description), aws.ToString(a.StatusMessage))))
			}
		}
		if aws.ToString(page.NextToken) == "" {
			break
		}
		in.NextToken = page.NextToken
	}
	for _, l := range slices.Backward(lines) {
		r.say("%s", l)
	}
	return nil
}

// withdraw has AWS undo a refresh of the run forward that still goes on, and
// waits for that.
func (r *run) withdraw(ctx context.Context, forward *run) error {
	if forward.m.State != starting {
		return nil
	}
	if forward.m.Refresh == "" {
		if err := forward.find(ctx); err != nil || forward.m.Refresh == "" {
			return err
		}
	}
	asked := false
	i, stopped, err := forward.watchUndo(ctx, r.m.At, func(ctx context.Context, is types.InstanceRefresh) error {
		if asked || is.Status == types.InstanceRefreshStatusRollbackInProgress || is.Status == types.InstanceRefreshStatusCancelling {
			return nil
		}
		asked = true
		return guarded("undo", func() error {
			_, err := r.groups.RollbackInstanceRefresh(ctx, &autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: &r.group})
			if err == nil || awsx.Code(err) == "ActiveInstanceRefreshNotFound" {
				return nil
			}
			r.warn(ctx, "refresh not undone by AWS", err)
			_, err = r.groups.CancelInstanceRefresh(ctx, &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: &r.group})
			return awsx.Read("autoscaling: cancel refresh "+forward.m.Refresh, err)
		})
	})
	switch {
	case err != nil:
		return err
	case stopped != nil:
		return &ops.UnknownOutcome{Err: fmt.Errorf("autoscaling: refresh %s of group %s is in %s (%w): %w", forward.m.Refresh, r.group, i.Status, stopped, ops.ErrUnavailable)}
	}
	r.say("Refresh %s of group %s has ended in %s", forward.m.Refresh, r.group, i.Status)
	return nil
}

// watchUndo follows a refresh that undo is called for at each look until it has
// ended.
func (r *run) watchUndo(ctx context.Context, since time.Time, undo func(context.Context, types.InstanceRefresh) error) (last types.InstanceRefresh, stopped, err error) {
	r.m.At = since // the time for it runs from here
	stopped, err = r.watch(ctx, func(ctx context.Context) (bool, error) {
		var found bool
		err := r.refreshes(ctx, r.group, func(i types.InstanceRefresh) bool {
			found = aws.ToString(i.InstanceRefreshId) == r.m.Refresh
			last = i
			return !found
		})
		switch {
		case err != nil:
			return false, err
		case !found:
			return false, fmt.Errorf("autoscaling: refresh %s of group %s is not listed: %w", r.m.Refresh, r.group, ops.ErrUnavailable)
		case slices.Contains(over, last.Status):
			return true, nil
		}
		return false, undo(ctx, last)
	}, nil)
	return last, stopped, err
}
