package autoscaling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// group is a group as the service describes it.
type group struct {
	types.AutoScalingGroup
	name              string
	min, max, desired int32
}

// describe reads a group.
func (x *Executor) describe(ctx context.Context, name string) (group, error) {
	out, err := x.groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	switch {
	case err != nil:
		return group{}, awsx.Read("autoscaling: describe group "+name, err)
	case len(out.AutoScalingGroups) != 1:
		return group{}, fmt.Errorf("autoscaling: there is no group %s: %w", x.env.Redact(name), ops.ErrNotFound)
	}
	g := out.AutoScalingGroups[0]
	return group{AutoScalingGroup: g, name: name, min: aws.ToInt32(g.MinSize), max: aws.ToInt32(g.MaxSize), desired: aws.ToInt32(g.DesiredCapacity)}, nil
}

// stackTag is what CloudFormation marks its groups with.
const stackTag = "aws:cloudformation:stack-name"

// ready refuses a group on which a change would get stuck, or which is somebody
// else's.
func (x *Executor) ready(g group) error {
	for _, t := range g.Tags {
		if aws.ToString(t.Key) == stackTag && !x.cfg.StackOwned {
			return fmt.Errorf("autoscaling: group %s belongs to the CloudFormation stack %s, which would drift; change the stack, or set stack_owned: %w", g.name, aws.ToString(t.Value), ops.ErrDenied)
		}
	}
	if status := aws.ToString(g.Status); status != "" {
		return fmt.Errorf("autoscaling: group %s is in the status %q: %w", g.name, status, ops.ErrStalled)
	}
	for _, p := range g.SuspendedProcesses {
		if name := aws.ToString(p.ProcessName); name == "Launch" || name == "Terminate" {
			return fmt.Errorf("autoscaling: the process %s of group %s is suspended, so its size and its instances would stay: %w", name, g.name, ops.ErrStalled)
		}
	}
	return nil
}

// replaceable refuses a group with instances that a refresh would wait an hour
// for and then fail.
func (x *Executor) replaceable(g group) error {
	for _, i := range g.Instances {
		switch id := aws.ToString(i.InstanceId); {
		case aws.ToBool(i.ProtectedFromScaleIn) && x.cfg.Protected == refuse:
			return fmt.Errorf("autoscaling: instance %s of group %s is protected from scale in; say in protected whether to leave or replace such: %w", id, g.name, ops.ErrStalled)
		case i.LifecycleState == types.LifecycleStateStandby && x.cfg.Standby == refuse:
			return fmt.Errorf("autoscaling: instance %s of group %s is in standby; say in standby whether to leave or replace such: %w", id, g.name, ops.ErrStalled)
		}
	}
	return nil
}

// serving counts the instances that are healthy and in service.
func (g group) serving() int32 {
	n := int32(0)
	for _, i := range g.Instances {
		if i.LifecycleState == types.LifecycleStateInService && aws.ToString(i.HealthStatus) == "Healthy" {
			n++
		}
	}
	return n
}

// behind lists the instances that are not of a version of the launch template,
// without those that the configuration leaves alone.
func (g group) behind(t template, cfg Config) []string {
	var out []string
	for _, i := range g.Instances {
		state := string(i.LifecycleState)
		switch {
		case strings.HasPrefix(state, "Terminat"), aws.ToBool(i.ProtectedFromScaleIn) && cfg.Protected == leave, state == string(types.LifecycleStateStandby) && cfg.Standby == leave:
			continue
		}
		if i.LaunchTemplate == nil || aws.ToString(i.LaunchTemplate.LaunchTemplateId) != t.id || aws.ToString(i.LaunchTemplate.Version) != t.number() {
			out = append(out, aws.ToString(i.InstanceId))
		}
	}
	slices.Sort(out)
	return out
}

// template is one version of a launch template.
type template struct {
	id, name string
	version  int64
	kind     string // instance type
	image    string
	follows  string // $Latest or $Default where the group names no number
}

func (t template) number() string { return strconv.FormatInt(t.version, 10) }

// errNoTemplate says that a group launches its instances in another way.
var errNoTemplate = fmt.Errorf("it launches its instances by a launch configuration or a mixed instances policy, which this executor does not change: %w", ops.ErrInvalid)

const followsDefault = "$Default"

// template reads the version of the launch template that the group launches.
func (x *Executor) template(ctx context.Context, g group) (template, error) {
	if g.LaunchTemplate == nil {
		return template{}, fmt.Errorf("autoscaling: group %s: %w", g.name, errNoTemplate)
	}
	version := aws.ToString(g.LaunchTemplate.Version)
	if version == "" {
		version = followsDefault
	}
	t, err := x.versionOf(ctx, aws.ToString(g.LaunchTemplate.LaunchTemplateId), version)
	if strings.HasPrefix(version, "$") {
		t.follows = version
	}
	return t, err
}

// versionOf reads one version of a launch template.
func (x *Executor) versionOf(ctx context.Context, id, version string) (template, error) {
	out, err := x.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{version}})
	if code := awsx.Code(err); strings.HasPrefix(code, "InvalidLaunchTemplate") && strings.Contains(code, "NotFound") || err == nil && len(out.LaunchTemplateVersions) != 1 {
		return template{}, fmt.Errorf("autoscaling: launch template %s has no version %s: %w", id, version, ops.ErrNotFound)
	}
	if err != nil {
		return template{}, awsx.Read("autoscaling: describe launch template "+id, err)
	}
	return templateOf(out.LaunchTemplateVersions[0]), nil
}

func templateOf(v ec2types.LaunchTemplateVersion) template {
	t := template{id: aws.ToString(v.LaunchTemplateId), name: aws.ToString(v.LaunchTemplateName), version: aws.ToInt64(v.VersionNumber)}
	if d := v.LaunchTemplateData; d != nil {
		t.kind, t.image = string(d.InstanceType), aws.ToString(d.ImageId)
	}
	return t
}

// fits refuses an instance type on which the images of another do not run.
func (x *Executor) fits(ctx context.Context, was, will string) error {
	out, err := x.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []ec2types.InstanceType{ec2types.InstanceType(was), ec2types.InstanceType(will)}})
	if awsx.Code(err) == "InvalidInstanceType" {
		return x.invalid("instance type %q is unknown in this region: %v", will, err)
	}
	if err != nil {
		return awsx.Read("autoscaling: describe the instance types "+was+" and "+will, err)
	}
	runs := map[string][]ec2types.ArchitectureType{}
	for _, t := range out.InstanceTypes {
		if t.ProcessorInfo != nil {
			runs[string(t.InstanceType)] = t.ProcessorInfo.SupportedArchitectures
		}
	}
	if !slices.ContainsFunc(runs[will], func(a ec2types.ArchitectureType) bool { return slices.Contains(runs[was], a) }) {
		return x.invalid("instance type %s runs %v, and the image that runs on %s is made for %v", will, runs[will], was, runs[was])
	}
	return nil
}

// refreshes calls f with the refreshes of a group, newest first, until it
// returns false.
func (x *Executor) refreshes(ctx context.Context, name string, f func(types.InstanceRefresh) bool) error {
	in := &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: &name}
	for {
		page, err := x.groups.DescribeInstanceRefreshes(ctx, in)
		if err != nil {
			return awsx.Read("autoscaling: list the refreshes of group "+name, err)
		}
		for _, i := range page.InstanceRefreshes {
			if !f(i) {
				return nil
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return nil
		}
		in.NextToken = page.NextToken
	}
}

// over are the states of a refresh that no longer move.
var over = []types.InstanceRefreshStatus{
	types.InstanceRefreshStatusSuccessful, types.InstanceRefreshStatusFailed, types.InstanceRefreshStatusCancelled,
	types.InstanceRefreshStatusRollbackFailed, types.InstanceRefreshStatusRollbackSuccessful,
}

// idle refuses a group whose instances are being replaced already.
func (x *Executor) idle(ctx context.Context, name string) error {
	var busy error
	err := x.refreshes(ctx, name, func(i types.InstanceRefresh) bool {
		if !slices.Contains(over, i.Status) {
			busy = fmt.Errorf("autoscaling: the instances of group %s are being replaced already, by refresh %s (%s): %w", name, aws.ToString(i.InstanceRefreshId), i.Status, ops.ErrStalled)
		}
		return false
	})
	return errors.Join(err, busy)
}
