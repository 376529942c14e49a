package cloudformation_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"

	"github.com/fettleops/fettle/execute/cloudformation"
	"github.com/fettleops/fettle/execute/cloudformation/cloudformationtest"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

const (
	secret = "s3cr3t-value"
	key    = "/densify/iaas/ec2/i-1/instanceType"
)

// driven is a stack whose instance type comes out of Parameter Store.
const driven = `{
	"Parameters": {
		"Type": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/default/type"},
		"Size": {"Type": "Number", "Default": "1"},
		"Password": {"Type": "String", "NoEcho": true, "Default": "changeme"}
	},
	"Resources": {
		"Server": {"Type": "AWS::EC2::Instance", "Properties": {"InstanceType": {"Ref": "Type"}, "UserData": {"Ref": "Password"}}},
		"Group": {"Type": "AWS::AutoScaling::AutoScalingGroup", "Properties": {"MinSize": {"Ref": "Size"}, "MaxSize": "9"}}
	}
}`

// world makes an account with the stack web in it.
func world(t *testing.T, a *cloudformationtest.Account, body string) *cloudformationtest.Stack {
	t.Helper()
	past := time.Now().Add(-24 * time.Hour)
	a.Parameters.Set("/default/type", "t3.nano", past)
	a.Parameters.Set(key, "m5.xlarge", past)
	s, err := a.Create("web", body, map[string]string{"Type": key, "Size": "3", "Password": "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	s.Takes = 20 * time.Millisecond
	return s
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	service := cloudformationtest.Start(t)
	account := func(dir string) *cloudformationtest.Account {
		return service.Account(filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir))
	}
	config := func(extra string) func(string) string {
		return func(dir string) string {
			return fmt.Sprintf("{region: eu-central-1, endpoint: %q, stacks: [web], replacement: conditional, poll: 10ms%s}", account(dir).URL, extra)
		}
	}
	// shaped is a case whose stack is shaped when its configuration is asked for.
	shaped := func(extra string, shape func(s *cloudformationtest.Stack)) func(string) string {
		return func(dir string) string {
			a := account(dir)
			s := a.Stack("web")
			a.With(func() { shape(s) })
			return config(extra)(dir)
		}
	}
	loud := []string{"the password is " + secret}
	for range 400 {
		loud = append(loud, strings.Repeat("x", 900))
	}
	change := ops.Change{ID: "c1", Action: cloudformation.Update, Args: []string{"web", key + "=m5.large"}}
	live := func(dir string) (is string) {
		a := account(dir)
		s := a.Stack("web")
		a.With(func() { is = s.Live["Server"]["InstanceType"] })
		return is
	}
	executetest.Run(t, cloudformation.Driver, executetest.Harness{
		Prepare: func(t *testing.T, dir string) { world(t, account(dir), driven) },
		Quick:   executetest.Case{Config: config(""), Change: change},
		Slow:    executetest.Case{Config: shaped("", func(s *cloudformationtest.Stack) { s.Takes = 1200 * time.Millisecond }), Change: change},
		Loud:    executetest.Case{Config: shaped("", func(s *cloudformationtest.Stack) { s.Chatter, s.Last = loud, "the end" }), Change: change},
		Fails: executetest.Case{Config: shaped("", func(s *cloudformationtest.Stack) {
			s.Chatter, s.Refuse, s.Live["Server"]["Other"] = loud[:1], "m5.large", secret
		}), Change: change},
		Endless: executetest.Case{Config: shaped(", timeout: 300ms", func(s *cloudformationtest.Stack) { s.Takes = 4 * time.Second }), Change: change},
		Secret:  secret,
		Begun:   func(_ *testing.T, dir string) int { return account(dir).Begun() },
		Stands:  func(_ *testing.T, dir string) bool { return live(dir) == "m5.large" },
		Disturb: func(_ *testing.T, dir string) {
			a := account(dir)
			s := a.Stack("web")
			a.With(func() { s.Live["Server"]["InstanceType"] = "t3.nano" })
		},
		Blind: func(_ *testing.T, dir string) { account(dir).Deny("DetectStackDrift") },
		Alter: func(_ *testing.T, dir string) { account(dir).Parameters.Set(key, "m5.2xlarge", time.Now()) },
		Alive: func(_ *testing.T, dir string) []string {
			a := account(dir)
			s := a.Stack("web")
			var out []string
			a.With(func() {
				if strings.HasSuffix(s.Status, "_IN_PROGRESS") {
					out = append(out, s.Status)
				}
			})
			return out
		},
		Crashes: []string{
			"execute.cloudformation.publish.before", "execute.parameter.put.before", "execute.parameter.put.after", "execute.parameter.label.after",
			"execute.cloudformation.publish.after", "execute.cloudformation.create.before", "execute.cloudformation.create.after",
			"execute.cloudformation.execute.before", "execute.cloudformation.execute.after",
		},
	})
}
