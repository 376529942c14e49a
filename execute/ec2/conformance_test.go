package ec2_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"

	"github.com/fettleops/fettle/execute/ec2"
	"github.com/fettleops/fettle/execute/ec2/ec2test"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

const (
	secret = "s3cr3t-value"
	web    = "i-0000000a"
)

// world fills an account.
func world(a *ec2test.Account) {
	a.Instances[web] = &ec2test.Instance{Type: "m5.xlarge", Tags: map[string]string{"Name": "web", "env": "prod"}, Takes: 15 * time.Millisecond}
	for _, k := range []string{"m5.xlarge", "m5.large", "m5.2xlarge"} {
		a.Types[k] = &ec2test.Type{}
	}
}

func config(url, extra string) string {
	return "region: eu-central-1\nendpoint: " + url + "\npoll: 10ms\ninstances: [i-*]\n" + extra
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	service := ec2test.Start(t)
	account := func(dir string) *ec2test.Account {
		return service.Account(filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir))
	}
	// shaped is a case whose account is shaped when its configuration is asked for.
	shaped := func(extra string, shape func(a *ec2test.Account)) func(string) string {
		return func(dir string) string {
			a := account(dir)
			a.With(func() { shape(a) })
			return config(a.URL, extra)
		}
	}
	slow := func(d time.Duration) func(a *ec2test.Account) {
		return func(a *ec2test.Account) { a.Instances[web].Takes = d }
	}
	loud := []string{"the password is " + secret}
	for n := range 40 {
		loud = append(loud, fmt.Sprint(n, strings.Repeat("x", 10000)))
	}
	loud = append(loud, "the end")
	resize := ops.Change{ID: "c1", Action: ec2.Resize, Args: []string{web, "m5.large"}}
	is := func(dir string) (kind, state string) {
		a := account(dir)
		a.With(func() { kind, state = a.Instances[web].Type, a.Instances[web].State })
		return kind, state
	}
	executetest.Run(t, ec2.Driver, executetest.Harness{
		Prepare: func(_ *testing.T, dir string) { world(account(dir)) },
		Quick:   executetest.Case{Config: shaped("", slow(15*time.Millisecond)), Change: resize},
		Slow:    executetest.Case{Config: shaped("", slow(510*time.Millisecond)), Change: resize},
		Loud:    executetest.Case{Config: shaped("", func(a *ec2test.Account) { a.Instances[web].Says = loud }), Change: resize},
		Fails: executetest.Case{Config: shaped("", func(a *ec2test.Account) {
			a.Types["m5.large"].Full, a.Instances[web].Tags["said"] = 1, secret
		}), Change: resize},
		Endless: executetest.Case{Config: shaped("timeout: 150ms\n", slow(250*time.Millisecond)), Change: resize},
		Secret:  secret,
		Begun: func(_ *testing.T, dir string) int {
			a := account(dir)
			return max(a.Calls("StopInstances"), a.Calls("ModifyInstanceAttribute m5.large"))
		},
		Stands: func(_ *testing.T, dir string) bool {
			kind, _ := is(dir)
			return kind == "m5.large"
		},
		Disturb: func(_ *testing.T, dir string) {
			a := account(dir)
			a.With(func() { a.Instances[web].Type = "m5.xlarge" })
		},
		Blind: func(_ *testing.T, dir string) { account(dir).Deny("DescribeInstances") },
		Alter: func(_ *testing.T, dir string) {
			a := account(dir)
			a.With(func() { a.Instances[web].Type = "m5.2xlarge" })
		},
		Alive: func(_ *testing.T, dir string) []string { return account(dir).Moving() },
		Crashes: []string{
			"execute.ec2.stop.before", "execute.ec2.stop.after", "execute.ec2.modify.before", "execute.ec2.modify.after",
			"execute.ec2.start.before", "execute.ec2.start.after",
		},
	})
}
