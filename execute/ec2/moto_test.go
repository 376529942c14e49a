package ec2_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_ec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/ec2"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// TestAgainstMoto resizes an instance of a server that is not ours, and rolls it
// back. It is lax: nothing takes time there, the type of a running instance can
// be changed, capacity never lacks. ec2test is strict about those.
func TestAgainstMoto(t *testing.T) {
	peer.Long(t)
	url := peer.Moto(t)
	b := &bench{t: t, marks: executetest.NewMarks()}
	b.Executor = open(t, url, "change_public_address: true\n", b.marks)
	awsxtest.Credentials(t)
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: url}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	client := aws_ec2.NewFromConfig(cfg)
	images, err := client.DescribeImages(t.Context(), &aws_ec2.DescribeImagesInput{Filters: []types.Filter{{Name: aws.String("architecture"), Values: []string{"x86_64"}}}})
	if err != nil || len(images.Images) == 0 {
		t.Fatalf("%v, %d images", err, len(images.Images))
	}
	out, err := client.RunInstances(t.Context(), &aws_ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, InstanceType: types.InstanceTypeT3Large, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	is := func(kind types.InstanceType, state types.InstanceStateName) {
		t.Helper()
		d, err := client.DescribeInstances(t.Context(), &aws_ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err != nil {
			t.Fatal(err)
		}
		if i := d.Reservations[0].Instances[0]; i.InstanceType != kind || i.State.Name != state {
			t.Errorf("%s is %s as %s, want %s as %s", id, i.State.Name, i.InstanceType, state, kind)
		}
	}
	p, again := b.plan(ec2.Resize, id, "t3.medium"), b.plan(ec2.Resize, id, "t3.medium")
	if p.ComputeDigest() != again.ComputeDigest() {
		t.Fatalf("planned again:\n%s", execute.Moved(p, again))
	}
	is(types.InstanceTypeT3Large, types.InstanceStateNameRunning)
	var said strings.Builder
	for range 2 {
		if _, err := b.Apply(t.Context(), "t", p, &said); err != nil {
			t.Fatalf("apply: %v", err)
		}
	}
	is(types.InstanceTypeT3Medium, types.InstanceStateNameRunning)
	if d, err := b.Drift(t.Context(), p); d != execute.InSync {
		t.Errorf("drift: %s, %v", d, err)
	}
	if _, err := b.RollBack(t.Context(), "t", p, &said); err != nil {
		t.Fatalf("roll back: %v", err)
	}
	is(types.InstanceTypeT3Large, types.InstanceStateNameRunning)
	if d, err := b.Drift(t.Context(), p); d != execute.Drifted {
		t.Errorf("drift: %s, %v", d, err)
	}
	b.refuses(ops.ErrInvalid, "m5.bogus", ec2.Resize, id, "m5.bogus")
	b.refuses(ops.ErrInvalid, "architecture", ec2.Resize, id, "m6g.large")
	b.refuses(ops.ErrNotFound, "i-00000000", ec2.Stop, "i-00000000")
}
