package cloudformation_test

import (
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
)

// motoStack is one that moto really updates: a parameter, driven by a template
// parameter.
const motoStack = `{
	"AWSTemplateFormatVersion": "2010-09-09",
	"Parameters": {"Size": {"Type": "String", "Default": "1"}, "Other": {"Type": "String", "Default": "x"}},
	"Resources": {
		"Min": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/made/min", "Type": "String", "Value": {"Ref": "Size"}}},
		"Other1": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/made/other", "Type": "String", "Value": {"Ref": "Other"}}}
	}
}`

// TestAgainstMoto updates and rolls back a stack of a server that is not ours.
// It has no drift detection and no details in its change sets.
func TestAgainstMoto(t *testing.T) {
	peer.Long(t)
	url := peer.Moto(t)
	x := open(t, url, "stacks: [web], drift_check: false")
	awsxtest.Credentials(t)
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: url}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = aws_cfn.NewFromConfig(cfg).CreateStack(t.Context(), &aws_cfn.CreateStackInput{StackName: aws.String("web"), TemplateBody: aws.String(motoStack), Parameters: []types.Parameter{
		{ParameterKey: aws.String("Size"), ParameterValue: aws.String("3")}, {ParameterKey: aws.String("Other"), ParameterValue: aws.String("y")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	keys := parameter.NewSSM(cfg)
	stands := func(key, want string) {
		t.Helper()
		if p, err := keys.Get(t.Context(), key); err != nil || p.Value != want {
			t.Errorf("%s is %q, %v; want %s", key, p.Value, err, want)
		}
	}
	p, err := x.Plan(t.Context(), execute.Request{Change: change("Size=5")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := x.Plan(t.Context(), execute.Request{Change: change("Size=5")})
	if err != nil || again.ComputeDigest() != p.ComputeDigest() {
		t.Fatalf("planned again: %v\n%s", err, execute.Moved(p, again))
	}
	stands("/made/min", "3")
	for range 2 {
		if _, err := x.Apply(t.Context(), "t", p, io.Discard); err != nil {
			t.Fatalf("apply: %v", err)
		}
	}
	stands("/made/min", "5")
	stands("/made/other", "y")
	p, err = x.Plan(t.Context(), execute.Request{Change: change("Size=7")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Apply(t.Context(), "t2", p, io.Discard); err != nil {
		t.Fatalf("apply: %v", err)
	}
	stands("/made/min", "7")
	// Back to what the stack was created with is no change to moto.
	if _, err := x.RollBack(t.Context(), "t2", p, io.Discard); err != nil {
		t.Fatalf("roll back: %v", err)
	}
	stands("/made/min", "5")
}
