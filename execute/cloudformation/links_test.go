package cloudformation

import (
	"errors"
	"testing"

	"github.com/fettleops/fettle/ops"
)

func TestTemplateInJSON(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got, err := templateJSON(text)
		if err != nil || string(got) != want {
			t.Errorf("%s\nis %s (%v)\nwant %s", text, got, err, want)
		}
	}
	f(`{"Resources": {}}`, `{"Resources": {}}`)
	f(`
AWSTemplateFormatVersion: 2010-09-09
Resources:
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    DependsOn: [Role, Topic]
    Properties:
      MinSize: 2
      Template: !Ref Template
      Arn: !GetAtt Role.Arn
      Name: !Sub "${Role}-x"
      Zones: !GetAZs ""
      Text: |
        two
        lines
      Joined: !Join [",", [!Ref A, plain]]
      On: !!bool true
      Nothing:
  Role: {Type: AWS::IAM::Role}
`, `{"AWSTemplateFormatVersion":"2010-09-09","Resources":{"Group":{"DependsOn":["Role","Topic"],"Properties":{"Arn":{"Fn::GetAtt":"Role.Arn"},"Joined":{"Fn::Join":[",",[{"Ref":"A"},"plain"]]},"MinSize":"2","Name":{"Fn::Sub":"${Role}-x"},"Nothing":null,"On":"true","Template":{"Ref":"Template"},"Text":"two\nlines\n","Zones":{"Fn::GetAZs":""}},"Type":"AWS::AutoScaling::AutoScalingGroup"},"Role":{"Type":"AWS::IAM::Role"}}}`)
	for _, text := range []string{"a: [", "--- a\n--- b\n", "{a: *b}", "? [x]\n: y"} {
		if got, err := templateJSON(text); !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("%q is %s (%v), want an error", text, got, err)
		}
	}
}
