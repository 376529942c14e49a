package ec2

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// instance is what matters here of an instance, as the service describes it.
type instance struct {
	ID, Type, Zone               string
	Architecture, Virtualization string
	Root, BootMode, Lifecycle    string
	State                        types.InstanceStateName
	Reason, Why                  string // code and text of the last change of state
	ENA                          bool
	Tags                         map[string]string
	Addresses                    []string // public ones
}

func (i instance) called() string {
	if name := i.Tags["Name"]; name != "" {
		return " (" + name + ")"
	}
	return ""
}

// standing refuses an instance that is on its way or gone.
func (i instance) standing() (standing, error) {
	switch i.State {
	case types.InstanceStateNameRunning, types.InstanceStateNameStopped:
		return standing{Type: i.Type, Running: i.State == types.InstanceStateNameRunning}, nil
	case types.InstanceStateNamePending, types.InstanceStateNameStopping:
		return standing{}, fmt.Errorf("ec2: instance %s is %s; wait until it is running or stopped: %w", i.ID, i.State, ops.ErrConflict)
	}
	return standing{}, fmt.Errorf("ec2: instance %s is %s: %w", i.ID, i.State, ops.ErrNotFound)
}

func (x *Executor) describe(ctx context.Context, id string) (instance, error) {
	out, err := x.client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return instance{}, awsx.Read("ec2: describe instance "+x.env.Redact(id), err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if aws.ToString(i.InstanceId) == id {
				return condense(i), nil
			}
		}
	}
	return instance{}, fmt.Errorf("ec2: instance %s does not exist in this account and region: %w", x.env.Redact(id), ops.ErrNotFound)
}

func condense(i types.Instance) instance {
	out := instance{
		ID: aws.ToString(i.InstanceId), Type: string(i.InstanceType), Architecture: string(i.Architecture), Virtualization: string(i.VirtualizationType),
		Root: string(i.RootDeviceType), BootMode: string(i.CurrentInstanceBootMode), Lifecycle: string(i.InstanceLifecycle), ENA: aws.ToBool(i.EnaSupport),
		Tags: map[string]string{},
	}
	if i.State != nil {
		out.State = i.State.Name
	}
	if i.Placement != nil {
		out.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	if i.StateReason != nil {
		out.Reason, out.Why = aws.ToString(i.StateReason.Code), aws.ToString(i.StateReason.Message)
	}
	for _, t := range i.Tags {
		out.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	public := func(a string) {
		if a != "" && !slices.Contains(out.Addresses, a) {
			out.Addresses = append(out.Addresses, a)
		}
	}
	public(aws.ToString(i.PublicIpAddress))
	for _, n := range i.NetworkInterfaces {
		if n.Association != nil {
			public(aws.ToString(n.Association.PublicIp))
		}
		for _, p := range n.PrivateIpAddresses {
			if p.Association != nil {
				public(aws.ToString(p.Association.PublicIp))
			}
		}
	}
	slices.Sort(out.Addresses)
	return out
}

// findings are what a plan says beside the type and the state.
type findings struct {
	addresses []string // given up
	store     string   // lost
	notes     []string
}

const stackTag = "aws:cloudformation:stack-name"

// check refuses what the service would refuse in the window, and what costs
// more than the configuration allows.
func (x *Executor) check(ctx context.Context, i instance, from, to standing) (findings, error) {
	var f findings
	denied := func(format string, args ...any) error {
		return fmt.Errorf("ec2: instance %s %s: %w", i.ID, fmt.Sprintf(format, args...), ops.ErrDenied)
	}
	switch stack := i.Tags[stackTag]; {
	case i.Root == string(types.DeviceTypeInstanceStore):
		return f, denied("has its root on an instance store: it cannot be stopped, only replaced")
	case i.Lifecycle == string(types.InstanceLifecycleTypeSpot):
		return f, denied("is a Spot instance, whose type does not change and which only its request starts again; replace it")
	case stack != "" && !x.cfg.StackMembers:
		return f, denied("belongs to stack %s of CloudFormation: change the stack, or set stack_members and let it drift", stack)
	case stack != "":
		f.notes = append(f.notes, "stack "+stack+" of CloudFormation drifts from now on")
	}
	if err := x.ungrouped(ctx, i, &f); err != nil {
		return f, err
	}
	kinds, err := x.kinds(ctx, i, to.Type)
	if err != nil {
		return f, err
	}
	if from.Type != to.Type {
		if err := x.fits(ctx, i, kinds[from.Type], kinds[to.Type]); err != nil {
			return f, err
		}
	}
	if from.Running {
		if err := x.stoppable(ctx, i, kinds[from.Type], &f); err != nil {
			return f, err
		}
	}
	return f, x.permitted(ctx, i.ID, from, to)
}

// ungrouped refuses members of Auto Scaling groups, which would be replaced the
// moment they stop.
func (x *Executor) ungrouped(ctx context.Context, i instance, f *findings) error {
	out, err := x.groups.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{i.ID}})
	if err != nil {
		return awsx.Read("ec2: look for the Auto Scaling group of instance "+i.ID, err)
	}
	for _, m := range out.AutoScalingInstances {
		group := aws.ToString(m.AutoScalingGroupName)
		if aws.ToString(m.LifecycleState) != "Standby" {
			return fmt.Errorf("ec2: instance %s is in Auto Scaling group %s, which would replace it once it stops; change the group, or put the instance into standby: %w", i.ID, group, ops.ErrDenied)
		}
		f.notes = append(f.notes, "it is in standby in Auto Scaling group "+group)
	}
	return nil
}

// kinds describes the type the instance has and the one it shall have.
func (x *Executor) kinds(ctx context.Context, i instance, want string) (map[string]types.InstanceTypeInfo, error) {
	ask := []types.InstanceType{types.InstanceType(i.Type)}
	if want != i.Type {
		if err := x.cfg.mayGive(want); err != nil {
			return nil, err
		}
		ask = append(ask, types.InstanceType(want))
	}
	out, err := x.client.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: ask})
	if err != nil {
		return nil, awsx.Read("ec2: describe the types of instance "+i.ID, err)
	}
	kinds := map[string]types.InstanceTypeInfo{}
	for _, k := range out.InstanceTypes {
		kinds[string(k.InstanceType)] = k
	}
	for _, k := range ask {
		if _, ok := kinds[string(k)]; !ok {
			return nil, x.invalid("there is no instance type %s in this region", k)
		}
	}
	return kinds, nil
}

// fits compares what the instance is with what its new type takes.
func (x *Executor) fits(ctx context.Context, i instance, from, to types.InstanceTypeInfo) error {
	no := func(format string, args ...any) error {
		return x.invalid("instance %s cannot become %s: %s", i.ID, to.InstanceType, fmt.Sprintf(format, args...))
	}
	ena := func(k types.InstanceTypeInfo) bool {
		return k.NetworkInfo != nil && k.NetworkInfo.EnaSupport == types.EnaSupportRequired
	}
	nvme := func(k types.InstanceTypeInfo) types.EbsNvmeSupport {
		if k.EbsInfo == nil {
			return ""
		}
		return k.EbsInfo.NvmeSupport
	}
	switch {
	case to.ProcessorInfo != nil && i.Architecture != "" && !slices.Contains(to.ProcessorInfo.SupportedArchitectures, types.ArchitectureType(i.Architecture)):
		return no("its architecture is %s and the type takes %v", i.Architecture, to.ProcessorInfo.SupportedArchitectures)
	case len(to.SupportedVirtualizationTypes) > 0 && i.Virtualization != "" && !slices.Contains(to.SupportedVirtualizationTypes, types.VirtualizationType(i.Virtualization)):
		return no("its virtualization is %s and the type takes %v", i.Virtualization, to.SupportedVirtualizationTypes)
	case len(to.SupportedRootDeviceTypes) > 0 && i.Root != "" && !slices.Contains(to.SupportedRootDeviceTypes, types.RootDeviceType(i.Root)):
		return no("its root device is %s and the type takes %v", i.Root, to.SupportedRootDeviceTypes)
	case len(to.SupportedBootModes) > 0 && i.BootMode != "" && !slices.Contains(to.SupportedBootModes, types.BootModeType(i.BootMode)):
		return no("it boots by %s and the type by %v", i.BootMode, to.SupportedBootModes)
	case ena(to) && !ena(from) && !i.ENA:
		return no("the type needs enhanced networking (ENA), and the instance has it off; install its driver and set enaSupport first")
	case nvme(to) == types.EbsNvmeSupportRequired && nvme(from) == types.EbsNvmeSupportUnsupported && !x.cfg.NVMe:
		return no("volumes become NVMe devices, and nobody knows whether its image has the driver; set nvme_drivers if all have")
	}
	if i.Zone == "" {
		return nil
	}
	out, err := x.client.DescribeInstanceTypeOfferings(ctx, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone,
		Filters: []types.Filter{
			{Name: aws.String("instance-type"), Values: []string{string(to.InstanceType)}},
			{Name: aws.String("location"), Values: []string{i.Zone}},
		},
	})
	if err != nil {
		return awsx.Read("ec2: look where type "+string(to.InstanceType)+" is offered", err)
	}
	if len(out.InstanceTypeOfferings) == 0 {
		return no("the type is not offered in %s", i.Zone)
	}
	return nil
}

// stoppable refuses what stopping would cost, unless that is allowed.
func (x *Executor) stoppable(ctx context.Context, i instance, kind types.InstanceTypeInfo, f *findings) error {
	attribute := func(name types.InstanceAttributeName) (bool, error) {
		out, err := x.client.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &i.ID, Attribute: name})
		if err != nil {
			return false, awsx.Read(fmt.Sprintf("ec2: read %s of instance %s", name, i.ID), err)
		}
		v := out.DisableApiStop
		if name == types.InstanceAttributeNameDisableApiTermination {
			v = out.DisableApiTermination
		}
		return v != nil && aws.ToBool(v.Value), nil
	}
	protected, err := attribute(types.InstanceAttributeNameDisableApiStop)
	switch {
	case err != nil:
		return err
	case protected:
		return fmt.Errorf("ec2: instance %s has stop protection; take it off (disableApiStop) first: %w", i.ID, ops.ErrDenied)
	}
	lasting, err := attribute(types.InstanceAttributeNameDisableApiTermination)
	if err != nil {
		return err
	}
	if lasting {
		f.notes = append(f.notes, "its termination protection stays on")
	}
	if aws.ToBool(kind.InstanceStorageSupported) {
		f.store = string(kind.InstanceType)
		if kind.InstanceStorageInfo != nil {
			f.store = fmt.Sprintf("%d GB", aws.ToInt64(kind.InstanceStorageInfo.TotalSizeInGB))
		}
		if !x.cfg.StoreLoss {
			return fmt.Errorf("ec2: instance %s has instance-store volumes (%s), and stopping loses what is on them; set lose_instance_store if that may be: %w", i.ID, f.store, ops.ErrDenied)
		}
	}
	f.addresses, err = x.fleeting(ctx, i)
	if err == nil && len(f.addresses) > 0 && !x.cfg.AddressChange {
		err = fmt.Errorf("ec2: instance %s has public address %s, which is no Elastic IP and is given up when it stops; set change_public_address if that may be: %w",
			i.ID, strings.Join(f.addresses, ", "), ops.ErrDenied)
	}
	return err
}

// fleeting are the public addresses that are not Elastic IPs.
func (x *Executor) fleeting(ctx context.Context, i instance) ([]string, error) {
	if len(i.Addresses) == 0 {
		return nil, nil
	}
	out, err := x.client.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: []types.Filter{{Name: aws.String("instance-id"), Values: []string{i.ID}}}})
	if err != nil {
		return nil, awsx.Read("ec2: look for the Elastic IPs of instance "+i.ID, err)
	}
	return slices.DeleteFunc(slices.Clone(i.Addresses), func(a string) bool {
		return slices.ContainsFunc(out.Addresses, func(e types.Address) bool {
			return a == aws.ToString(e.PublicIp) || a == cmp.Or(aws.ToString(e.CustomerOwnedIp), aws.ToString(e.CarrierIp))
		})
	}), nil
}

// permitted asks the service whether it would let us do each step there may be,
// the way back included: who may stop and not start finds out now.
func (x *Executor) permitted(ctx context.Context, id string, from, to standing) error {
	yes, ids := aws.Bool(true), []string{id}
	asks := []func() error{
		func() error {
			_, err := x.client.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: ids, DryRun: yes}, once)
			return err
		},
		func() error {
			_, err := x.client.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: ids, DryRun: yes}, once)
			return err
		},
	}
	if !from.Running && !to.Running {
		asks = nil
	}
	if from.Type != to.Type {
		asks = append(asks, func() error {
			_, err := x.client.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{
				InstanceId: &id, InstanceType: &types.AttributeValue{Value: &to.Type}, DryRun: yes,
			}, once)
			return err
		})
	}
	for _, ask := range asks {
		// Some of it is wrong for the state the instance is in now.
		if err := ask(); err != nil && awsx.Code(err) != "DryRunOperation" && awsx.Code(err) != "IncorrectInstanceState" {
			return awsx.Read("ec2: ask for permission to change instance "+id, err)
		}
	}
	return nil
}
