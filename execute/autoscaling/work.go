package autoscaling

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// apply looks at the group once more, and brings it to what the plan says.
func (r *run) apply(ctx context.Context, p ops.Plan) (string, error) {
	if r.m.Job == nil {
		if ctx.Err() != nil {
			return "", r.stopped(ctx, "before anything was changed")
		}
		args := p.Actions[0].Args
		s, err := r.see(ctx, args[0], args[1:])
		if err != nil {
			return "", err
		}
		if moved := execute.Moved(ops.Plan{Actions: p.Actions}, ops.Plan{Actions: s.plan().Actions}); moved != "" {
			return "", fmt.Errorf("autoscaling: group %s has moved since it was planned:\n%s: %w", r.group, r.env.Redact(moved), ops.ErrConflict)
		}
		if err := r.take(ctx, s.job()); err != nil {
			return "", err
		}
	}
	return r.work(ctx)
}

// take records the job before anything of it is done.
func (r *run) take(ctx context.Context, j *job) error {
	r.m.Job = j
	return r.keep(ctx)
}

// undo brings the group back to what the run forward has found.
func (r *run) undo(ctx context.Context, forward *run) (string, error) {
	f := forward.m.Job
	if f == nil {
		return "nothing had been changed", nil
	}
	if r.m.Job == nil {
		if ctx.Err() != nil {
			return "", r.stopped(ctx, "before anything was put back")
		}
		if err := r.withdraw(ctx, forward); err != nil {
			return "", err
		}
		j, err := r.inverse(ctx, f)
		if err != nil {
			return "", err
		}
		if err := r.take(ctx, j); err != nil {
			return "", err
		}
	}
	return r.work(ctx)
}

// inverse is the job that undoes f in the group as it is now. What somebody else
// has set meanwhile is not put over.
func (r *run) inverse(ctx context.Context, f *job) (*job, error) {
	g, err := r.describe(ctx, r.group)
	if err != nil {
		return nil, err
	}
	w := f.wide()
	if g.min != f.Was.Min && g.min != f.To.Min && g.min != w.Min || g.max != f.Was.Max && g.max != f.To.Max && g.max != w.Max {
		return nil, fmt.Errorf("autoscaling: the capacity of group %s was set by somebody else (%d to %d), and nothing is put over it: %w", r.group, g.min, g.max, ops.ErrConflict)
	}
	d := g.desired
	j := &job{Back: true, Was: goal{Min: g.min, Max: g.max, Desired: &d}, To: goal{Min: f.Was.Min, Max: f.Was.Max}}
	if clamped := max(f.To.Min, min(f.To.Max, *f.Was.Desired)); f.To.Desired != nil || clamped != *f.Was.Desired {
		j.To.Desired = f.Was.Desired
	}
	if f.Template == "" {
		return j, nil
	}
	is, err := r.template(ctx, g)
	if err != nil {
		return nil, err
	}
	if is.id != f.Template || is.version != f.Was.Version && is.version != f.To.Version {
		return nil, fmt.Errorf("autoscaling: group %s was given version %d of launch template %s by somebody else, and nothing is put over it: %w", r.group, is.version, is.id, ops.ErrConflict)
	}
	was := template{id: f.Template, version: f.Was.Version}
	if is.version != was.version || len(g.behind(was, r.cfg)) > 0 {
		j.Template, j.To.Version, j.Was.Version = f.Template, f.Was.Version, is.version
	}
	return j, nil
}

// work does the job from wherever an earlier call was cut off. Every step of it
// sets what it sets, and so may be done again.
func (r *run) work(ctx context.Context) (string, error) {
	j := r.m.Job
	if r.m.State != starting {
		if ctx.Err() != nil {
			return r.found(ctx)
		}
		if err := r.size(ctx, j.wide()); err != nil {
			return "", err
		}
		if j.Kind != "" && j.To.Version == 0 {
			if err := r.version(ctx); err != nil {
				return "", err
			}
		}
		if j.replaces() {
			if err := r.going(ctx); err != nil {
				return "", err
			}
		}
	}
	if j.replaces() {
		if err := r.refresh(ctx); err != nil {
			return "", err
		}
	}
	if ctx.Err() != nil {
		return r.found(ctx)
	}
	if err := r.size(ctx, goal{Min: j.To.Min, Max: j.To.Max, Desired: j.To.Desired}); err != nil {
		return "", err
	}
	if err := r.settle(ctx); err != nil {
		return "", err
	}
	note, err := r.reached(ctx)
	for range lagging {
		if err == nil || ctx.Err() != nil {
			break
		}
		r.wait(ctx)
		note, err = r.reached(ctx)
	}
	return note, err
}

// lagging is how often a group that is not as wanted is read again: what the
// service tells may be some moments old.
const lagging = 5

// found says, without changing anything, whether the group is as wanted.
func (r *run) found(ctx context.Context) (string, error) {
	look, cancel := looking(ctx)
	defer cancel()
	g, err := r.describe(look, r.group)
	if d := r.m.Job.To.Desired; err == nil && d != nil && g.desired != *d {
		err = fmt.Errorf("autoscaling: group %s wants %d instances and not %d: %w", r.group, g.desired, *d, ops.ErrStalled)
	}
	note := ""
	if err == nil {
		note, err = r.reached(look)
	}
	if err != nil {
		return "", fmt.Errorf("%w; %w", r.stopped(ctx, "before it was done"), err)
	}
	return note, nil
}

// reached reads the group back.
func (r *run) reached(ctx context.Context) (string, error) {
	g, err := r.describe(ctx, r.group)
	if err != nil {
		return "", err
	}
	j := r.m.Job
	if g.min != j.To.Min || g.max != j.To.Max {
		return "", fmt.Errorf("autoscaling: read back, group %s has a capacity of %d to %d and not of %d to %d: %w", r.group, g.min, g.max, j.To.Min, j.To.Max, ops.ErrStalled)
	}
	if j.replaces() && r.m.Refresh == "" {
		return "", fmt.Errorf("autoscaling: the instances of group %s were not replaced: %w", r.group, ops.ErrStalled)
	}
	if j.Template != "" {
		is, err := r.template(ctx, g)
		if err != nil {
			return "", err
		}
		if is.version != j.To.Version || is.id != j.Template {
			return "", fmt.Errorf("autoscaling: read back, group %s has version %d of launch template %s and not version %d of %s: %w", r.group, is.version, is.id, j.To.Version, j.Template, ops.ErrStalled)
		}
		if left := g.behind(is, r.cfg); len(left) > 0 {
			return "", fmt.Errorf("autoscaling: read back, the instances %v of group %s are not of version %d: %w", left, r.group, is.version, ops.ErrStalled)
		}
		return fmt.Sprintf("group %s has %d to %d instances of version %d (%s)", r.group, g.min, g.max, is.version, is.kind), nil
	}
	return fmt.Sprintf("group %s has %d to %d instances", r.group, g.min, g.max), nil
}

// size sets what is not as wanted, and reads it back.
func (r *run) size(ctx context.Context, to goal) error {
	g, err := r.describe(ctx, r.group)
	if err != nil {
		return err
	}
	in := r.lacks(g, to)
	if in == nil {
		return nil
	}
	if ctx.Err() != nil {
		return r.stopped(ctx, "before its capacity was set")
	}
	r.say("Setting group %s to %d to %d instances", r.group, to.Min, to.Max)
	err = guarded("update", func() error {
		_, err := r.groups.UpdateAutoScalingGroup(context.WithoutCancel(ctx), in)
		return awsx.Write("autoscaling: update group "+r.group, err)
	})
	var unknown *ops.UnknownOutcome
	if err != nil && !errors.As(err, &unknown) {
		return err
	}
	look, cancel := looking(ctx)
	defer cancel()
	now, readErr := r.describe(look, r.group)
	switch {
	case readErr != nil:
		return &ops.UnknownOutcome{Err: readErr}
	case r.lacks(now, to) == nil:
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("autoscaling: group %s was updated, and read back it has %d to %d instances, %d wanted: %w", r.group, now.min, now.max, now.desired, ops.ErrStalled)
}

// lacks is the update that brings a group to a goal, nil when there is nothing
// to do.
func (r *run) lacks(g group, to goal) *autoscaling.UpdateAutoScalingGroupInput {
	in := &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: &r.group}
	some := false
	if g.min != to.Min || g.max != to.Max {
		in.MinSize, in.MaxSize, some = &to.Min, &to.Max, true
	}
	if to.Desired != nil && g.desired != *to.Desired {
		in.DesiredCapacity, some = to.Desired, true
	}
	if to.Version != 0 && g.LaunchTemplate != nil && aws.ToString(g.LaunchTemplate.Version) != strconv.FormatInt(to.Version, 10) {
		in.LaunchTemplate, some = r.spec(to.Version), true
	}
	if !some {
		return nil
	}
	return in
}

func (r *run) spec(version int64) *types.LaunchTemplateSpecification {
	return &types.LaunchTemplateSpecification{LaunchTemplateId: &r.m.Job.Template, Version: aws.String(strconv.FormatInt(version, 10))}
}

// settle waits until as many instances serve as the group wants.
func (r *run) settle(ctx context.Context) error {
	last := ""
	stopped, err := r.watch(ctx, func(ctx context.Context) (bool, error) {
		g, err := r.describe(ctx, r.group)
		if err != nil {
			return false, err
		}
		now := fmt.Sprintf("%d of %d wanted instances are in service", g.serving(), g.desired)
		if now != last {
			r.say("Group %s: %s", r.group, now)
			last = now
		}
		return g.serving() == g.desired, nil
	}, nil)
	if err == nil && stopped != nil {
		err = fmt.Errorf("autoscaling: group %s: %w, and %s: %w", r.group, stopped, last, ops.ErrStalled)
	}
	return err
}

// mark is how a version of a launch template says which run has made it.
func (r *run) mark() string { return "fettle " + hash(r.token)[:40] }

// version makes the version with the other instance type, or finds the one an
// earlier call has made. It is not in use until the refresh.
func (r *run) version(ctx context.Context) error {
	j := r.m.Job
	made, err := r.made(ctx)
	if err != nil {
		return err
	}
	for try := 0; made.version == 0; try++ {
		if ctx.Err() != nil {
			return r.stopped(ctx, "before a version of the launch template was made")
		}
		err := guarded("version", func() error {
			_, err := r.ec2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
				LaunchTemplateId: &j.Template, SourceVersion: aws.String(strconv.FormatInt(j.Was.Version, 10)), ClientToken: aws.String(hash(r.token)),
				LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: ec2types.InstanceType(j.Kind)}, VersionDescription: aws.String(r.mark()),
			})
			return awsx.Write("autoscaling: make a version of launch template "+j.Template, err)
		})
		var unknown *ops.UnknownOutcome
		if err != nil && (try > 1 || !errors.As(err, &unknown)) {
			return plain(err) // a version that nobody uses does no harm
		}
		look, cancel := looking(ctx)
		made, err = r.made(look)
		cancel()
		if err != nil {
			return err
		}
		if made.version == 0 && try > 1 {
			return fmt.Errorf("autoscaling: the version that was made of launch template %s is not there: %w", j.Template, ops.ErrStalled)
		}
	}
	if made.kind != j.Kind {
		return fmt.Errorf("autoscaling: read back, version %d of launch template %s has the instance type %s and not %s: %w", made.version, j.Template, made.kind, j.Kind, ops.ErrStalled)
	}
	r.say("Version %d of launch template %s has the instance type %s", made.version, j.Template, made.kind)
	j.To.Version = made.version
	return r.keep(ctx)
}

// plain takes from an error that nobody knows the outcome, where it does not
// matter.
func plain(err error) error {
	var unknown *ops.UnknownOutcome
	if errors.As(err, &unknown) {
		return unknown.Err
	}
	return err
}

// made finds the version that this run has made; the zero template if none.
func (r *run) made(ctx context.Context) (template, error) {
	j := r.m.Job
	in := &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &j.Template, MinVersion: aws.String(strconv.FormatInt(j.Was.Version, 10))}
	for {
		page, err := r.ec2.DescribeLaunchTemplateVersions(ctx, in)
		if err != nil {
			return template{}, awsx.Read("autoscaling: list the versions of launch template "+j.Template, err)
		}
		for _, v := range page.LaunchTemplateVersions {
			if aws.ToString(v.VersionDescription) == r.mark() {
				return templateOf(v), nil
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return template{}, nil
		}
		in.NextToken = page.NextToken
	}
}
