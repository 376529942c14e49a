package autoscaling_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/autoscaling"
	"github.com/fettleops/fettle/execute/autoscaling/autoscalingtest"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

func open(t *testing.T, url, extra string, m execute.Marks) execute.Executor {
	t.Helper()
	awsxtest.Credentials(t)
	decode := func(into any) error {
		return yaml.NewDecoder(strings.NewReader(config(url, extra)), yaml.Strict()).Decode(into)
	}
	x, err := autoscaling.Driver.Open(t.Context(), decode, execute.Env{
		Name: "aws", Host: "here", Dir: t.TempDir(), Marks: m, Redact: func(s string) string { return s }, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

type bench struct {
	execute.Executor
	t       *testing.T
	account *autoscalingtest.Account
	group   *autoscalingtest.Group
	marks   *executetest.Marks
}

func newBench(t *testing.T, extra string) *bench {
	t.Helper()
	b := &bench{t: t, account: autoscalingtest.Start(t).Account("a"), marks: executetest.NewMarks()}
	b.group = world(b.account)
	b.Executor = open(t, b.account.URL, extra, b.marks)
	return b
}

func (b *bench) try(args ...string) (ops.Plan, error) {
	action := autoscaling.Update
	if len(args) == 1 {
		action = autoscaling.Refresh
	}
	return b.Plan(b.t.Context(), execute.Request{Change: ops.Change{ID: "c1", Action: action, Args: args}})
}

func (b *bench) plan(args ...string) ops.Plan {
	b.t.Helper()
	p, err := b.try(args...)
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	return p
}

func (b *bench) apply(token execute.Token, p ops.Plan) (string, error) {
	var out strings.Builder
	_, err := b.Apply(b.t.Context(), token, p, &out)
	return out.String(), err
}

func (b *bench) must(_ any, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) is(want string) {
	b.t.Helper()
	b.account.With(func() {
		if got := b.group.String(); got != want {
			b.t.Errorf("group is %s, want %s", got, want)
		}
	})
}

func (b *bench) wants(err, class error, says ...string) {
	b.t.Helper()
	if !errors.Is(err, class) {
		b.t.Errorf("got %v, want %v", err, class)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			b.t.Errorf("%q does not say %q", err, s)
		}
	}
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

const (
	four  = " m5.xlarge:1 m5.xlarge:1 m5.xlarge:1 m5.xlarge:1"
	large = " m5.large:5 m5.large:5 m5.large:5 m5.large:5"
)

func TestCapacity(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("web", "min=1", "max=3")
	has(t, p.Text, "-   max: 8\n+   max: 3", "-   desired: more than 3\n+   desired: 3", "! instances above 3 are terminated")
	// How many are wanted moves by itself, and is no part of the plan.
	b.account.With(func() { b.group.Desired = 5 })
	if now := b.plan("web", "min=1", "max=3"); now.ComputeDigest() != p.ComputeDigest() {
		t.Errorf("the digest follows the capacity that is wanted:\n%s", execute.Moved(p, now))
	}
	b.must(b.apply("t", p))
	b.is("1..3 want 3, version 1, m5.xlarge:1 m5.xlarge:1 m5.xlarge:1")
	if d, err := b.Drift(t.Context(), p); d != execute.InSync || err != nil {
		t.Errorf("drift: %s, %v", d, err)
	}
	b.must(b.RollBack(t.Context(), "t", p, io.Discard))
	b.is("2..8 want 5, version 1," + four + " m5.xlarge:1")
	if b.account.Begun() != 0 {
		t.Error("instances were replaced for a capacity")
	}

	p = b.plan("web", "desired=7")
	b.must(b.apply("t2", p))
	b.account.With(func() { b.group.Desired = 6 })
	if d, err := b.Drift(t.Context(), p); d != execute.Drifted || err != nil {
		t.Errorf("drift: %s, %v", d, err)
	}
	b.must(b.RollBack(t.Context(), "t2", p, io.Discard))
	b.is("2..8 want 5, version 1," + four + " m5.xlarge:1")
}

func TestTheGroupIsNeverSmallerOnTheWay(t *testing.T) {
	b := newBench(t, "")
	b.group.Takes = 300 * time.Millisecond
	p := b.plan("web", "type=m5.large", "min=5", "max=6")
	done := make(chan error, 1)
	go func() {
		_, err := b.apply("t", p)
		done <- err
	}()
	for looks := 0; ; looks++ {
		select {
		case err := <-done:
			if err != nil || looks == 0 {
				t.Fatalf("apply: %v after %d looks", err, looks)
			}
			b.is("5..6 want 5, version 5," + large + " m5.large:5")
			return
		case <-time.After(5 * time.Millisecond):
			b.account.With(func() {
				// It has grown before the first instance is replaced, and shrinks after the last.
				if g := b.group; g.Version == "1" && g.Max != 8 || g.Desired < 5 && strings.Contains(g.String(), "large:5") {
					t.Errorf("on the way the group is %s", g)
				}
			})
		}
	}
}

// hears does something once a word was said.
type hears struct {
	strings.Builder
	word string
	then func()
}

func (h *hears) Write(p []byte) (int, error) {
	n, err := h.Builder.Write(p)
	if h.then != nil && strings.Contains(h.String(), h.word) {
		h.then()
		h.then = nil
	}
	return n, err
}

func TestAnotherVersionAndBack(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("web", "version=2")
	has(t, p.Text, "-   version: 1\n+   version: 2", "-   image: ami-1\n+   image: ami-2", "undone by AWS when it fails")
	b.account.With(func() { b.group.Stuck = 0.5 })
	out := &hears{word: "InProgress, 50%", then: func() { b.account.With(func() { b.group.Stuck = 0 }) }}
	b.must(b.Apply(b.t.Context(), "t", p, out))
	b.is("2..8 want 4, version 2, m5.xlarge:2 m5.xlarge:2 m5.xlarge:2 m5.xlarge:2")
	has(t, out.String(), "Terminating EC2 instance", "Successful, 100%")
	out2 := new(strings.Builder)
	b.must(b.RollBack(t.Context(), "t", p, out2))
	b.is("2..8 want 4, version 1," + four)
	// An image that a parameter names cannot be undone by AWS, and is by a rollback.
	p = b.plan("web", "version=3")
	has(t, p.Text, "! not undone by AWS")
	b.must(b.apply("t2", p))
	b.must(b.RollBack(t.Context(), "t2", p, io.Discard))
	b.is("2..8 want 4, version 1," + four)
}

func TestAFailureIsUndoneByAWS(t *testing.T) {
	b := newBench(t, "")
	b.group.Fail = "the load balancer said no"
	p := b.plan("web", "type=m5.large", "max=6")
	_, err := b.apply("t", p)
	b.wants(err, ops.ErrStalled, "AWS has undone it", "the load balancer said no")
	b.is("2..8 want 4, version 1," + four)
	b.must(b.RollBack(t.Context(), "t", p, io.Discard))
	if b.account.Begun() != 1 {
		t.Errorf("%d refreshes: the rollback replaced what AWS had put back", b.account.Begun())
	}

	b = newBench(t, "auto_rollback: false\n")
	b.group.Fail = "no"
	p = b.plan("web", "type=m5.large")
	_, err = b.apply("t", p)
	b.wants(err, ops.ErrStalled, "ended in Failed at 50%")
	b.is("2..8 want 4, version 1, m5.large:5 m5.large:5 m5.xlarge:1 m5.xlarge:1")
	b.account.With(func() { b.group.Fail = "" })
	b.must(b.RollBack(t.Context(), "t", p, io.Discard))
	b.is("2..8 want 4, version 1," + four)
}

func TestAGroupThatFollowsIsPinned(t *testing.T) {
	b := newBench(t, "")
	b.account.With(func() {
		b.account.Templates[template].Versions = b.account.Templates[template].Versions[:2]
		b.group.Version = "$Latest"
		for _, i := range b.group.Instances {
			i.Version = "2"
		}
	})
	p := b.plan("web", "type=m5.large")
	has(t, p.Text, "-   version: $Latest\n+   version: new", "! the group follows $Latest and is set to version 2 first", "+ create a version of launch template lt-1", "undone by AWS")
	b.must(b.apply("t", p))
	b.is("2..8 want 4, version 3, m5.large:3 m5.large:3 m5.large:3 m5.large:3")
	b.must(b.RollBack(t.Context(), "t", p, io.Discard))
	b.is("2..8 want 4, version 2, m5.xlarge:2 m5.xlarge:2 m5.xlarge:2 m5.xlarge:2")
}

func TestLostAnswers(t *testing.T) {
	for _, action := range []string{"UpdateAutoScalingGroup", "CreateLaunchTemplateVersion", "StartInstanceRefresh"} {
		b := newBench(t, "")
		p := b.plan("web", "type=m5.large", "min=3")
		b.account.Lose(action)
		b.must(b.apply("t", p))
		b.is("3..8 want 4, version 5," + large)
		if b.account.Begun() != 1 || len(b.account.Templates[template].Versions) != 5 {
			t.Errorf("%s lost: %d refreshes, %d versions", action, b.account.Begun(), len(b.account.Templates[template].Versions))
		}
	}
}

func TestARefreshOfSomebodyElse(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("web", "version=2")
	b.account.With(func() { b.group.Takes = time.Minute })
	if _, bad := b.account.Do("StartInstanceRefresh", map[string][]string{"AutoScalingGroupName": {"web"}}); bad != nil {
		t.Fatal(bad)
	}
	_, err := b.try("web", "version=2")
	b.wants(err, ops.ErrStalled, "being replaced already", "refresh-")
	_, err = b.apply("t", p)
	b.wants(err, ops.ErrStalled, "being replaced already")
	// It began between our look and our start: the service refuses, and the one
	// that runs is not ours.
	b.marks.Rows["t2"] = mark("begun", "")
	_, err = b.apply("t2", p)
	b.wants(err, ops.ErrConflict, "InstanceRefreshInProgress")
	if b.account.Begun() != 1 {
		t.Errorf("%d refreshes", b.account.Begun())
	}
}

// mark is what a run of version=2 that was killed has left behind.
func mark(state, known string) string {
	return `{"state":"` + state + `","at":"` + time.Now().UTC().Format(time.RFC3339) + `","known":"` + known + `","job":{"Was":{"Min":2,"Max":8,"Desired":4,"Version":1},` +
		`"To":{"Min":2,"Max":8,"Version":2},"Template":"lt-1","Undo":true}}`
}

func TestAKilledRunAdoptsItsRefresh(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("web", "version=2")
	b.account.With(func() { b.group.Takes = 200 * time.Millisecond })
	start := map[string][]string{
		"AutoScalingGroupName": {"web"}, "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": {template}, "DesiredConfiguration.LaunchTemplate.Version": {"2"},
	}
	if _, bad := b.account.Do("StartInstanceRefresh", start); bad != nil {
		t.Fatal(bad)
	}
	b.marks.Rows["t"] = mark("starting", "")
	out, err := b.apply("t", p)
	b.must(out, err)
	has(t, out, "Following refresh")
	if b.account.Begun() != 1 {
		t.Errorf("%d refreshes", b.account.Begun())
	}
	// One that may no longer be begun, and of which nothing is seen, is unknown.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.marks.Rows["t2"] = mark("starting", b.account.Newest("web"))
	_, err = b.Apply(ctx, "t2", p, io.Discard)
	if !errors.As(err, new(*ops.UnknownOutcome)) {
		t.Errorf("got %v, want an unknown outcome", err)
	}
}

func TestARollbackHasAWSUndoWhatStillGoesOn(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("web", "version=2")
	b.account.With(func() { b.group.Stuck = 0.5 })
	start := map[string][]string{
		"AutoScalingGroupName": {"web"}, "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": {template}, "DesiredConfiguration.LaunchTemplate.Version": {"2"},
	}
	if _, bad := b.account.Do("StartInstanceRefresh", start); bad != nil {
		t.Fatal(bad)
	}
	b.marks.Rows["t"] = mark("starting", "")
	var out strings.Builder
	b.must(b.RollBack(t.Context(), "t", p, &out))
	b.is("2..8 want 4, version 1," + four)
	has(t, out.String(), "has ended in RollbackSuccessful")
	if b.account.Begun() != 1 {
		t.Errorf("%d refreshes", b.account.Begun())
	}
}

func TestWhatSomebodyElseHasSetStays(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("web", "max=6")
	b.account.With(func() { b.group.Max = 9 })
	_, err := b.apply("t", p)
	b.wants(err, ops.ErrConflict, "has moved")
	p = b.plan("web", "max=6")
	b.must(b.apply("t2", p))
	b.account.With(func() { b.group.Max = 7 })
	_, err = b.RollBack(t.Context(), "t2", p, io.Discard)
	b.wants(err, ops.ErrConflict, "somebody else")
	p = b.plan("web", "version=2")
	b.must(b.apply("t3", p))
	b.account.With(func() { b.group.Version = "3" })
	_, err = b.RollBack(t.Context(), "t3", p, io.Discard)
	b.wants(err, ops.ErrConflict, "somebody else")
	if d, err := b.Drift(t.Context(), p); d != execute.Drifted || err != nil {
		t.Errorf("drift: %s, %v", d, err)
	}
}

func TestInstancesOfTheSameConfiguration(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("web")
	has(t, p.Text, "~ replace the instances of group web", "! cannot be undone")
	b.account.Lose("StartInstanceRefresh")
	for range 2 {
		b.must(b.apply("t", p))
	}
	if b.account.Begun() != 1 {
		t.Errorf("%d refreshes", b.account.Begun())
	}
	if d, err := b.Drift(t.Context(), p); d != execute.Unknown || !errors.Is(err, ops.ErrStalled) {
		t.Errorf("drift: %s, %v", d, err)
	}
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); !errors.Is(err, ops.ErrStalled) {
		t.Errorf("rolled back: %v", err)
	}
}

func TestACapacityThatIsNotReached(t *testing.T) {
	b := newBench(t, "timeout: 200ms\n")
	b.group.Lazy = true
	p := b.plan("web", "desired=6")
	_, err := b.apply("t", p)
	b.wants(err, ops.ErrStalled, "timed out", "4 of 6 wanted instances are in service")
}

func TestRefusals(t *testing.T) {
	b := newBench(t, "")
	f := func(class error, says string, args ...string) {
		t.Helper()
		_, err := b.try(args...)
		b.wants(err, class, says)
	}
	f(ops.ErrDenied, "allowed are web, old, no*", "db", "min=1")
	f(ops.ErrNotFound, "no group none", "none", "min=1")
	f(ops.ErrInvalid, "once each", "web", "min=1", "min=2")
	f(ops.ErrInvalid, "once each", "web", "min")
	f(ops.ErrInvalid, "not a number", "web", "min=-1")
	f(ops.ErrInvalid, "not a number", "web", "desired=99999")
	f(ops.ErrInvalid, `there is no "colour"`, "web", "colour=red")
	f(ops.ErrInvalid, "moves by itself", "web", "version=$Latest")
	f(ops.ErrInvalid, "does not go with version=", "web", "version=2", "type=m5.large")
	f(ops.ErrInvalid, "do not fit together", "web", "min=9")
	f(ops.ErrInvalid, "do not fit together", "web", "desired=9")
	f(ops.ErrInvalid, "is so already", "web", "min=2", "type=m5.xlarge", "desired=4")
	f(ops.ErrInvalid, "is unknown in this region", "web", "type=m9.huge")
	f(ops.ErrInvalid, "arm64", "web", "type=m6g.large")
	f(ops.ErrNotFound, "no version 9", "web", "version=9")
	f(ops.ErrInvalid, "launch configuration", "old", "type=m5.large")
	_, err := b.Plan(t.Context(), execute.Request{Change: ops.Change{Action: autoscaling.Update, Args: []string{"web"}}})
	b.wants(err, ops.ErrInvalid, "needs what is to change")
	_, err = b.Plan(t.Context(), execute.Request{Change: ops.Change{Action: autoscaling.Refresh, Args: []string{"web", "min=1"}}})
	b.wants(err, ops.ErrInvalid, "a group and nothing else")
	_, err = b.Plan(t.Context(), execute.Request{Change: ops.Change{Action: autoscaling.Update}})
	b.wants(err, ops.ErrInvalid, "needs the name of a group")

	b.account.With(func() { b.group.Instances[1].Protected = true })
	f(ops.ErrStalled, "protected from scale in", "web", "type=m5.large")
	b.account.With(func() { b.group.Instances[1].Protected, b.group.Instances[1].State = false, "Standby" })
	f(ops.ErrStalled, "in standby", "web", "type=m5.large")
	b.account.With(func() { b.group.Version = "4" })
	f(ops.ErrInvalid, "says no instance type", "web", "type=m5.large")
	b.account.With(func() { b.group.Suspended = []string{"Launch"} })
	f(ops.ErrStalled, "process Launch", "web", "min=1")
	b.account.With(func() { b.group.Status = "Delete in progress" })
	f(ops.ErrStalled, "Delete in progress", "web", "min=1")
	b.account.With(func() { b.group.Tags = map[string]string{"aws:cloudformation:stack-name": "shop"} })
	f(ops.ErrDenied, "stack shop", "web", "min=1")
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	f := func(want string, shape func(*autoscaling.Config)) {
		t.Helper()
		c := autoscaling.Config{Config: awsx.Config{Region: "eu-central-1"}, Groups: []string{"web"}}
		shape(&c)
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	percent := func(n int32) *int32 { return &n }
	f("", func(*autoscaling.Config) {})
	f("groups is empty", func(c *autoscaling.Config) { c.Groups = nil })
	f("groups[0]", func(c *autoscaling.Config) { c.Groups = []string{"["} })
	f("min_healthy", func(c *autoscaling.Config) { c.MinHealthy = percent(101) })
	f("max_healthy", func(c *autoscaling.Config) { c.MaxHealthy = percent(99) })
	f("max_healthy", func(c *autoscaling.Config) { c.MinHealthy, c.MaxHealthy = percent(50), percent(151) })
	f("checkpoints[1]", func(c *autoscaling.Config) { c.Checkpoints = []int32{50, 50} })
	f("checkpoints[0]", func(c *autoscaling.Config) { c.Checkpoints = []int32{50} })
	f("", func(c *autoscaling.Config) { c.Checkpoints = []int32{50, 100} })
	f("checkpoint_delay needs", func(c *autoscaling.Config) { c.CheckpointDelay = time.Minute })
	f("protected", func(c *autoscaling.Config) { c.Protected = "kill" })
	f("standby", func(c *autoscaling.Config) { c.Standby = "wait" })
	f("alarms", func(c *autoscaling.Config) { c.Alarms = make([]string, 11) })
	f("at most 48h", func(c *autoscaling.Config) { c.Bake = 49 * time.Hour })
	f("negative", func(c *autoscaling.Config) { c.Grace = -1 })
}

// TestTheDoubleRefuses proves by raw calls that the double is as strict as the
// service.
func TestTheDoubleRefuses(t *testing.T) {
	a := autoscalingtest.Start(t).Account("raw")
	g := world(a)
	f := func(code, action string, pairs ...string) {
		t.Helper()
		in := map[string][]string{}
		for _, p := range pairs {
			k, v, _ := strings.Cut(p, "=")
			in[k] = []string{v}
		}
		if _, bad := a.Do(action, in); (bad == nil) != (code == "") || bad != nil && bad.Code != code {
			t.Errorf("%s %v: %+v, want %s", action, pairs, bad, code)
		}
	}
	const web, lt = "AutoScalingGroupName=web", "DesiredConfiguration.LaunchTemplate."
	f("ValidationError", "UpdateAutoScalingGroup", "AutoScalingGroupName=none", "MinSize=1")
	f("ValidationError", "UpdateAutoScalingGroup", web, "MinSize=9")
	f("ValidationError", "UpdateAutoScalingGroup", web, "DesiredCapacity=9")
	f("ValidationError", "UpdateAutoScalingGroup", web, "LaunchTemplate.LaunchTemplateId=lt-9", "LaunchTemplate.Version=1")
	f("ValidationError", "UpdateAutoScalingGroup", web, "LaunchTemplate.LaunchTemplateId=lt-1", "LaunchTemplate.Version=9")
	f("InvalidLaunchTemplateId.NotFound", "DescribeLaunchTemplateVersions", "LaunchTemplateId=lt-9")
	f("InvalidLaunchTemplateId.VersionNotFound", "DescribeLaunchTemplateVersions", "LaunchTemplateId=lt-1", "LaunchTemplateVersion.1=9")
	f("InvalidLaunchTemplateId.VersionNotFound", "CreateLaunchTemplateVersion", "LaunchTemplateId=lt-1", "SourceVersion=9")
	f("InvalidParameterValue", "CreateLaunchTemplateVersion", "LaunchTemplateId=lt-1", "SourceVersion=1", "ClientToken="+strings.Repeat("x", 129))
	f("InvalidParameterValue", "CreateLaunchTemplateVersion", "LaunchTemplateId=lt-1", "SourceVersion=1", "VersionDescription="+strings.Repeat("x", 256))
	for range 2 {
		f("", "CreateLaunchTemplateVersion", "LaunchTemplateId=lt-1", "SourceVersion=1", "ClientToken=t", "LaunchTemplateData.InstanceType=m5.large")
	}
	f("IdempotentParameterMismatch", "CreateLaunchTemplateVersion", "LaunchTemplateId=lt-1", "SourceVersion=2", "ClientToken=t")
	if n := len(a.Templates[template].Versions); n != 5 {
		t.Errorf("one token made %d versions", n-4)
	}
	f("InvalidInstanceType", "DescribeInstanceTypes", "InstanceType.1=m9.huge")
	f("ValidationError", "StartInstanceRefresh", "AutoScalingGroupName=none")
	f("ValidationError", "StartInstanceRefresh", web, "Preferences.MinHealthyPercentage=101")
	f("ValidationError", "StartInstanceRefresh", web, "Preferences.MaxHealthyPercentage=110")
	f("ValidationError", "StartInstanceRefresh", web, "Preferences.MinHealthyPercentage=0", "Preferences.MaxHealthyPercentage=110")
	f("ValidationError", "StartInstanceRefresh", web, "Preferences.CheckpointDelay=1")
	f("ValidationError", "StartInstanceRefresh", web, "Preferences.CheckpointPercentages.member.1=50", "Preferences.CheckpointPercentages.member.2=50")
	f("ValidationError", "StartInstanceRefresh", web, "Preferences.AutoRollback=true")
	f("ValidationError", "StartInstanceRefresh", web, lt+"LaunchTemplateId=lt-1", lt+"Version=9")
	f("ValidationError", "StartInstanceRefresh", web, lt+"LaunchTemplateId=lt-1", lt+"Version=$Latest", "Preferences.AutoRollback=true")
	f("ValidationError", "StartInstanceRefresh", web, lt+"LaunchTemplateId=lt-1", lt+"Version=3", "Preferences.AutoRollback=true")
	a.With(func() { g.Version = "$Default" })
	f("ValidationError", "StartInstanceRefresh", web, lt+"LaunchTemplateId=lt-1", lt+"Version=2", "Preferences.AutoRollback=true")
	f("ActiveInstanceRefreshNotFound", "CancelInstanceRefresh", web)
	f("ActiveInstanceRefreshNotFound", "RollbackInstanceRefresh", web)
	a.With(func() { g.Version, g.Takes = "1", time.Minute })
	f("", "StartInstanceRefresh", web)
	f("InstanceRefreshInProgress", "StartInstanceRefresh", web)
	f("IrreversibleInstanceRefresh", "RollbackInstanceRefresh", web)
	f("", "CancelInstanceRefresh", web)
	f("ValidationError", "DescribeInstanceRefreshes", "AutoScalingGroupName=none")
	f("InvalidAction", "DeleteAutoScalingGroup", web)
	a.Deny("StartInstanceRefresh")
	f("AccessDenied", "StartInstanceRefresh", web)
}
