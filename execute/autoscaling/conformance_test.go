package autoscaling_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"

	"github.com/fettleops/fettle/execute/autoscaling"
	"github.com/fettleops/fettle/execute/autoscaling/autoscalingtest"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

const (
	secret   = "s3cr3t-value"
	template = "lt-1"
)

// world makes an account with the group web in it, of four instances.
func world(a *autoscalingtest.Account) *autoscalingtest.Group {
	g := &autoscalingtest.Group{Min: 2, Max: 8, Desired: 4, Template: template, Version: "1", Takes: 20 * time.Millisecond}
	a.With(func() {
		a.Types = map[string][]string{"m5.xlarge": {"x86_64"}, "m5.large": {"x86_64"}, "m6g.large": {"arm64"}}
		a.Templates[template] = &autoscalingtest.Template{Name: "web", Versions: []*autoscalingtest.Version{
			{Type: "m5.xlarge", Image: "ami-1"}, {Type: "m5.xlarge", Image: "ami-2"}, {Type: "m5.xlarge", Image: "resolve:ssm:/ami"}, {Image: "ami-1"},
		}}
		a.Groups["web"] = g
		a.Groups["old"] = &autoscalingtest.Group{Min: 1, Max: 1, Desired: 1, Launch: "lc"}
	})
	a.With(func() {})
	return g
}

func config(url, extra string) string {
	return "region: eu-central-1\nendpoint: " + url + "\ngroups: [web, old, no*]\npoll: 10ms\n" + extra
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	service := autoscalingtest.Start(t)
	account := func(dir string) *autoscalingtest.Account {
		return service.Account(filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir))
	}
	// shaped is a case whose group is shaped when its configuration is asked for.
	shaped := func(extra string, shape func(g *autoscalingtest.Group)) func(string) string {
		return func(dir string) string {
			a := account(dir)
			a.With(func() { shape(a.Groups["web"]) })
			return config(a.URL, extra)
		}
	}
	loud := []string{"the password is " + secret}
	for range 400 {
		loud = append(loud, strings.Repeat("x", 900))
	}
	change := ops.Change{ID: "c1", Action: autoscaling.Update, Args: []string{"web", "type=m5.large", "min=3", "max=6"}}
	executetest.Run(t, autoscaling.Driver, executetest.Harness{
		Prepare: func(_ *testing.T, dir string) { world(account(dir)) },
		Quick:   executetest.Case{Config: shaped("", func(*autoscalingtest.Group) {}), Change: change},
		Slow:    executetest.Case{Config: shaped("", func(g *autoscalingtest.Group) { g.Takes = 1200 * time.Millisecond }), Change: change},
		Loud:    executetest.Case{Config: shaped("", func(g *autoscalingtest.Group) { g.Chatter, g.Last = loud, "the end" }), Change: change},
		Fails:   executetest.Case{Config: shaped("", func(g *autoscalingtest.Group) { g.Fail = "the image said " + secret }), Change: change},
		Endless: executetest.Case{Config: shaped("timeout: 300ms\n", func(g *autoscalingtest.Group) { g.Takes = time.Minute }), Change: change},
		Secret:  secret,
		Begun:   func(_ *testing.T, dir string) int { return account(dir).Begun() },
		Stands: func(_ *testing.T, dir string) (stands bool) {
			a := account(dir)
			a.With(func() {
				g := a.Groups["web"]
				stands = g.Min == 3 && g.Max == 6 && g.Version != "1" && g.Instances[0].Type == "m5.large"
			})
			return stands
		},
		Disturb: func(_ *testing.T, dir string) {
			a := account(dir)
			a.With(func() { a.Groups["web"].Max = 9 })
		},
		Blind: func(_ *testing.T, dir string) { account(dir).Deny("DescribeAutoScalingGroups") },
		Alter: func(_ *testing.T, dir string) {
			a := account(dir)
			a.With(func() { a.Groups["web"].Version = "2" })
		},
		Alive: func(_ *testing.T, dir string) []string { return account(dir).Alive() },
		Crashes: []string{
			"execute.autoscaling.update.before", "execute.autoscaling.update.after", "execute.autoscaling.version.before", "execute.autoscaling.version.after",
			"execute.autoscaling.start.before", "execute.autoscaling.start.after",
		},
	})
}
