package autoscaling_test

import (
	"context"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_autoscaling "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	aws_ec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// TestAgainstMoto sets and puts back the capacity of a group of a server that is
// not ours, and reads its launch template. It has no instance refreshes, so that
// nothing that replaces instances can be planned.
func TestAgainstMoto(t *testing.T) {
	peer.Long(t)
	url := peer.Moto(t)
	awsxtest.Credentials(t)
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: url}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := aws_ec2.NewFromConfig(cfg).CreateLaunchTemplate(t.Context(), &aws_ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("web"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: "m5.xlarge", ImageId: aws.String("ami-12c6146b")},
	})
	if err != nil {
		t.Fatal(err)
	}
	groups := aws_autoscaling.NewFromConfig(cfg)
	_, err = groups.CreateAutoScalingGroup(t.Context(), &aws_autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String("web"), MinSize: aws.Int32(1), MaxSize: aws.Int32(4), DesiredCapacity: aws.Int32(2), AvailabilityZones: []string{"eu-central-1a"},
		LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateId: made.LaunchTemplate.LaunchTemplateId, Version: aws.String("1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	x := open(t, url, "", executetest.NewMarks())
	plan := func(args ...string) ops.Plan {
		t.Helper()
		p, err := x.Plan(context.WithoutCancel(t.Context()), execute.Request{Change: ops.Change{ID: "c", Action: "update-group", Args: args}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	stands := func(least, most, desired int32) {
		t.Helper()
		out, err := groups.DescribeAutoScalingGroups(t.Context(), &aws_autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"web"}})
		if err != nil {
			t.Fatal(err)
		}
		if g := out.AutoScalingGroups[0]; *g.MinSize != least || *g.MaxSize != most || *g.DesiredCapacity != desired || int32(len(g.Instances)) != desired {
			t.Errorf("%d to %d, %d wanted, %d there; want %d to %d, %d", *g.MinSize, *g.MaxSize, *g.DesiredCapacity, len(g.Instances), least, most, desired)
		}
	}
	p := plan("web", "min=3", "max=6", "desired=5", "type=m5.xlarge")
	stands(1, 4, 2)
	for range 2 {
		if _, err := x.Apply(t.Context(), "t", p, io.Discard); err != nil {
			t.Fatalf("apply: %v", err)
		}
	}
	stands(3, 6, 5)
	if d, err := x.Drift(t.Context(), p); d != execute.InSync || err != nil {
		t.Errorf("drift: %s, %v", d, err)
	}
	if _, err := x.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatalf("roll back: %v", err)
	}
	stands(1, 4, 2)
}
