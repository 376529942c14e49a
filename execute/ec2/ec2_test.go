package ec2_test

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
	"github.com/fettleops/fettle/execute/ec2"
	"github.com/fettleops/fettle/execute/ec2/ec2test"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

type bench struct {
	execute.Executor
	t       *testing.T
	account *ec2test.Account
	marks   *executetest.Marks
}

func open(t *testing.T, url, extra string, m execute.Marks) execute.Executor {
	t.Helper()
	awsxtest.Credentials(t)
	decode := func(into any) error {
		return yaml.NewDecoder(strings.NewReader(config(url, extra)), yaml.Strict()).Decode(into)
	}
	x, err := ec2.Driver.Open(t.Context(), decode, execute.Env{
		Name: "aws", Host: "here", Dir: t.TempDir(), Marks: m, Redact: func(s string) string { return s }, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func newBench(t *testing.T, extra string) *bench {
	t.Helper()
	b := &bench{t: t, account: ec2test.Start(t).Account("a"), marks: executetest.NewMarks()}
	world(b.account)
	b.Executor = open(t, b.account.URL, extra, b.marks)
	return b
}

func (b *bench) instance(shape func(i *ec2test.Instance)) {
	b.account.With(func() { shape(b.account.Instances[web]) })
}

func (b *bench) plan(action string, args ...string) ops.Plan {
	b.t.Helper()
	p, err := b.Plan(b.t.Context(), execute.Request{Change: ops.Change{ID: "c1", Action: action, Args: args}})
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	return p
}

func (b *bench) refuses(class error, says, action string, args ...string) {
	b.t.Helper()
	_, err := b.Plan(b.t.Context(), execute.Request{Change: ops.Change{Action: action, Args: args}})
	b.wants(err, class, says)
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

// stands checks how the instance stands.
func (b *bench) stands(kind, state string) {
	b.t.Helper()
	b.instance(func(i *ec2test.Instance) {
		if i.Type != kind || i.State != state {
			b.t.Errorf("the instance is %s as %s, want %s as %s", i.State, i.Type, state, kind)
		}
	})
}

func (b *bench) apply(ctx context.Context, token execute.Token, p ops.Plan) (string, error) {
	var out strings.Builder
	_, err := b.Apply(ctx, token, p, &out)
	return out.String(), err
}

func TestRefusals(t *testing.T) {
	b := newBench(t, "actions: [stop, resize]\ntypes: [m5.*, c5.*]\n")
	b.account.With(func() {
		b.account.Types["c5.arm"] = &ec2test.Type{Architectures: []string{"arm64"}}
		b.account.Types["c5.ena"] = &ec2test.Type{ENA: "required"}
		b.account.Types["c5.nvme"] = &ec2test.Type{NVMe: "required"}
		b.account.Types["c5.uefi"] = &ec2test.Type{BootModes: []string{"uefi"}}
		b.account.Types["c5.far"] = &ec2test.Type{Zones: []string{"eu-central-1c"}}
		b.account.Types["m5d.large"] = &ec2test.Type{Store: 75}
	})
	f := b.refuses
	f(ops.ErrInvalid, "allowed are stop, resize", ec2.Start, web)
	f(ops.ErrInvalid, "takes two arguments", ec2.Resize, web)
	f(ops.ErrInvalid, "takes one argument", ec2.Stop, web, "m5.large")
	f(ops.ErrInvalid, "is running as m5.xlarge already", ec2.Resize, web, "m5.xlarge")
	f(ops.ErrInvalid, "Malformed", ec2.Stop, "web")
	f(ops.ErrNotFound, "i-00000000", ec2.Stop, "i-00000000")
	f(ops.ErrDenied, "allowed are m5.*, c5.*", ec2.Resize, web, "x1.32xlarge")
	f(ops.ErrInvalid, "InvalidInstanceType", ec2.Resize, web, "m5.huge")
	f(ops.ErrInvalid, "architecture is x86_64", ec2.Resize, web, "c5.arm")
	f(ops.ErrInvalid, "not offered in eu-central-1a", ec2.Resize, web, "c5.far")
	shaped := func(class error, says string, shape func(i *ec2test.Instance), args ...string) {
		t.Helper()
		var was ec2test.Instance
		b.instance(func(i *ec2test.Instance) { was = *i; shape(i) })
		action := ec2.Stop
		if len(args) > 0 {
			action = ec2.Resize
		}
		f(class, says, action, append([]string{web}, args...)...)
		b.instance(func(i *ec2test.Instance) { *i = was })
	}
	shaped(ops.ErrInvalid, "ENA", func(i *ec2test.Instance) { i.NoENA = true }, "c5.ena")
	b.account.With(func() { b.account.Types["m5.old"] = &ec2test.Type{NVMe: "unsupported"} })
	shaped(ops.ErrInvalid, "set nvme_drivers", func(i *ec2test.Instance) { i.Type = "m5.old" }, "c5.nvme")
	shaped(ops.ErrInvalid, "boots by legacy-bios", func(i *ec2test.Instance) { i.BootMode = "legacy-bios" }, "c5.uefi")
	shaped(ops.ErrDenied, "root on an instance store", func(i *ec2test.Instance) { i.Root = "instance-store" })
	shaped(ops.ErrDenied, "Spot", func(i *ec2test.Instance) { i.Spot = true })
	shaped(ops.ErrDenied, "stack shop", func(i *ec2test.Instance) { i.Tags = map[string]string{"aws:cloudformation:stack-name": "shop"} })
	shaped(ops.ErrDenied, "group web-asg, which would replace it", func(i *ec2test.Instance) { i.Group = "web-asg" })
	shaped(ops.ErrDenied, "stop protection", func(i *ec2test.Instance) { i.StopLocked = true })
	shaped(ops.ErrDenied, "set lose_instance_store", func(i *ec2test.Instance) { i.Type = "m5d.large" }, "m5.large")
	shaped(ops.ErrDenied, "192.0.2.7, which is no Elastic IP", func(i *ec2test.Instance) { i.Address = "192.0.2.7" })
	shaped(ops.ErrConflict, "is pending", func(i *ec2test.Instance) { i.State = "pending" })
	shaped(ops.ErrNotFound, "is terminated", func(i *ec2test.Instance) { i.State = "terminated" })
	// Who may stop and not start again finds out when the plan is made.
	b.account.Deny("StartInstances")
	f(ops.ErrDenied, "ask for permission", ec2.Resize, web, "m5.large")
	if n := b.account.Calls("StopInstances"); n != 0 {
		t.Errorf("asking stopped it %d times", n)
	}
}

func TestOnlyListedInstances(t *testing.T) {
	b := newBench(t, "")
	f := func(list string, allowed bool) {
		t.Helper()
		decode := func(into any) error {
			return yaml.Unmarshal([]byte(strings.Replace(config(b.account.URL, ""), "[i-*]", list, 1)), into)
		}
		x, err := ec2.Driver.Open(t.Context(), decode, execute.Env{Name: "aws", Marks: b.marks, Redact: func(s string) string { return s }, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.Plan(t.Context(), execute.Request{Change: ops.Change{Action: ec2.Stop, Args: []string{web}}})
		if allowed != (err == nil) || err != nil && !errors.Is(err, ops.ErrDenied) {
			t.Errorf("%s: %v", list, err)
		}
	}
	f("[i-0000000a]", true)
	f("['tag:env=pr*']", true)
	f("['tag:env=test', i-0000000b]", false)
	f("['tag:team=*']", false) // it has none
}

func TestWhatIsLostStandsInThePlan(t *testing.T) {
	b := newBench(t, "lose_instance_store: true\nchange_public_address: true\nstack_members: true\n")
	b.account.With(func() {
		b.account.Types["m5d.xlarge"] = &ec2test.Type{Store: 150}
		i := b.account.Instances[web]
		i.Type, i.Address, i.Lasting, i.Group, i.Standby = "m5d.xlarge", "192.0.2.7", true, "g", true
		i.Tags["aws:cloudformation:stack-name"] = "shop"
	})
	p := b.plan(ec2.Resize, web, "m5.large")
	for _, s := range []string{"instance i-0000000a (web)", "192.0.2.7 is given up", "(150 GB) is lost for good", "termination protection stays on", "stack shop", "standby in Auto Scaling group g", "-   type: m5d.xlarge\n+   type: m5.large"} {
		if !strings.Contains(p.Text, s) {
			t.Errorf("%q is not in\n%s", s, p.Text)
		}
	}
	// Both are part of what is approved.
	b.account.With(func() { b.account.ElasticIPs["192.0.2.7"] = web })
	if now := b.plan(ec2.Resize, web, "m5.large"); now.ComputeDigest() == p.ComputeDigest() || strings.Contains(now.Text, "192.0.2.7") {
		t.Errorf("an Elastic IP stays:\n%s", now.Text)
	}
}

func TestAStoppedInstanceStaysStopped(t *testing.T) {
	b := newBench(t, "")
	b.instance(func(i *ec2test.Instance) { i.State = "stopped" })
	if _, err := b.apply(t.Context(), "t", b.plan(ec2.Resize, web, "m5.large")); err != nil {
		t.Fatal(err)
	}
	b.stands("m5.large", "stopped")
	if n := b.account.Calls("StartInstances"); n != 0 {
		t.Errorf("it was started %d times", n)
	}
}

func TestStopAndStart(t *testing.T) {
	b := newBench(t, "")
	stop := b.plan(ec2.Stop, web)
	if _, err := b.apply(t.Context(), "t", stop); err != nil {
		t.Fatal(err)
	}
	b.stands("m5.xlarge", "stopped")
	start := b.plan(ec2.Start, web)
	if _, err := b.apply(t.Context(), "t2", start); err != nil {
		t.Fatal(err)
	}
	b.stands("m5.xlarge", "running")
	if _, err := b.RollBack(t.Context(), "t2", start, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.stands("m5.xlarge", "stopped")
	if _, err := b.RollBack(t.Context(), "t", stop, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.stands("m5.xlarge", "running")
}

func TestWhatFailsIsPutBack(t *testing.T) {
	f := func(class error, says string, shape func(a *ec2test.Account)) {
		t.Helper()
		b := newBench(t, "boot: 50ms\n")
		b.account.With(func() { shape(b.account) })
		p := b.plan(ec2.Resize, web, "m5.large")
		out, err := b.apply(t.Context(), "t", p)
		b.wants(err, class, says, "put back: running as m5.xlarge")
		if !strings.Contains(out, "Putting instance "+web+" back to running as m5.xlarge") {
			t.Errorf("said %s", out)
		}
		b.stands("m5.xlarge", "running")
		// The room rolls back what failed, and finds it done.
		if res, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil || !strings.Contains(res.Note, "already") {
			t.Errorf("%v, %v", res, err)
		}
	}
	f(ops.ErrStalled, "no capacity for m5.large", func(a *ec2test.Account) { a.Types["m5.large"].Full = 1 })
	// The old type is short as well, for a while.
	f(ops.ErrStalled, "no capacity for m5.large", func(a *ec2test.Account) { a.Types["m5.large"].Full, a.Types["m5.xlarge"].Full = 1, 3 })
	f(ops.ErrStalled, "Internal error on launch", func(a *ec2test.Account) { a.Types["m5.large"].Falls = true })
	f(ops.ErrStalled, "does not pass its status checks after 50ms", func(a *ec2test.Account) { a.Types["m5.large"].Sick = true })
	f(ops.ErrDenied, "UnauthorizedOperation", func(a *ec2test.Account) { a.Instances[web].Says = nil; a.Types["m5.large"].Refused = true })
}

func TestAnInstanceThatCannotBePutBackIsSaidToBeDown(t *testing.T) {
	b := newBench(t, "grace: 200ms\n")
	p := b.plan(ec2.Resize, web, "m5.large")
	b.account.With(func() { b.account.Types["m5.large"].Full, b.account.Types["m5.xlarge"].Full = 1, 1000 })
	_, err := b.apply(t.Context(), "t", p)
	b.wants(err, ops.ErrStalled, "no capacity for m5.large", "is stopped as m5.xlarge and could not be put back")
	if errors.As(err, new(*ops.UnknownOutcome)) {
		t.Errorf("it is known how it stands: %v", err)
	}
	// The rollback goes on where that ended.
	b.account.With(func() { b.account.Types["m5.xlarge"].Full = 0 })
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.stands("m5.xlarge", "running")
}

func TestAnInstanceThatDoesNotStopIsLeftRunning(t *testing.T) {
	b := newBench(t, "settle: 30ms\n")
	b.instance(func(i *ec2test.Instance) { i.Deaf = true })
	_, err := b.apply(t.Context(), "t", b.plan(ec2.Resize, web, "m5.large"))
	b.wants(err, ops.ErrStalled, "was told to stop and is running", "the instance is running as m5.xlarge")
	b.stands("m5.xlarge", "running")
}

func TestARollbackWithoutCapacityLeavesItRunning(t *testing.T) {
	b := newBench(t, "")
	p := b.plan(ec2.Resize, web, "m5.large")
	if _, err := b.apply(t.Context(), "t", p); err != nil {
		t.Fatal(err)
	}
	b.account.With(func() { b.account.Types["m5.xlarge"].Full = 1 })
	_, err := b.RollBack(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, "no capacity for m5.xlarge", "put back: running as m5.large")
	b.stands("m5.large", "running")
}

func TestACancelledResizeIsPutBack(t *testing.T) {
	f := func(when string, takes time.Duration) {
		t.Helper()
		b := newBench(t, "")
		b.instance(func(i *ec2test.Instance) { i.Takes = takes })
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("a person stopped it")
		out := &until{when: when, then: func() { cancel(stop) }}
		_, err := b.Apply(ctx, "t", b.plan(ec2.Resize, web, "m5.large"), out)
		b.wants(err, stop)
		b.stands("m5.xlarge", "running")
		if left := b.account.Moving(); len(left) > 0 {
			t.Errorf("%s: %v", when, left)
		}
	}
	f("Stopping", 30*time.Millisecond)
	f("Changing", 30*time.Millisecond)
	f("Starting", 30*time.Millisecond)
	f("is pending as m5.large", 500*time.Millisecond) // it must not be there before the run hears of it
}

// until calls then once when something is said.
type until struct {
	said, when string
	then       func()
}

func (u *until) Write(p []byte) (int, error) {
	if u.said += string(p); strings.Contains(u.said, u.when) {
		u.then()
	}
	return len(p), nil
}

func TestLostAnswersDoNothingTwice(t *testing.T) {
	for _, action := range []string{"StopInstances", "ModifyInstanceAttribute", "StartInstances"} {
		b := newBench(t, "")
		p := b.plan(ec2.Resize, web, "m5.large")
		b.account.Lose(action)
		if _, err := b.apply(t.Context(), "t", p); err != nil {
			t.Errorf("%s: %v", action, err)
		}
		b.stands("m5.large", "running")
		for _, each := range []string{"StopInstances", "ModifyInstanceAttribute", "StartInstances"} {
			if n := b.account.Calls(each); n != 1 {
				t.Errorf("%s was lost and %s done %d times", action, each, n)
			}
		}
	}
}

func TestWhoTakesOverUnderAnEndedContextPutsItBack(t *testing.T) {
	b := newBench(t, "")
	p := b.plan(ec2.Resize, web, "m5.large")
	b.marks.Rows["t"] = `{"state":"going","at":"` + time.Now().UTC().Format(time.RFC3339) + `","from":{"type":"m5.xlarge","running":true}}`
	b.instance(func(i *ec2test.Instance) { i.State, i.Type = "stopped", "m5.large" })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.apply(ctx, "t", p)
	b.wants(err, ops.ErrUnavailable, "put back: running as m5.xlarge")
	b.stands("m5.xlarge", "running")
	// One that has arrived is found to have.
	b.marks.Rows["t2"] = `{"state":"going","at":"` + time.Now().UTC().Format(time.RFC3339) + `","from":{"type":"m5.xlarge","running":true}}`
	b.instance(func(i *ec2test.Instance) { i.Type = "m5.large" })
	if _, err := b.apply(ctx, "t2", p); err != nil {
		t.Errorf("it runs as was wanted: %v", err)
	}
}

func TestSomebodyElsesWorkIsLeftAlone(t *testing.T) {
	b := newBench(t, "")
	p := b.plan(ec2.Resize, web, "m5.large")
	b.instance(func(i *ec2test.Instance) { i.Type = "m5.2xlarge" })
	_, err := b.apply(t.Context(), "t", p)
	b.wants(err, ops.ErrConflict, "is running as m5.2xlarge and not running as m5.xlarge")
	_, err = b.RollBack(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrConflict, "stays as it is")
	// In the middle it is started again, as what somebody else made of it.
	b.marks.Rows["t2"] = `{"state":"going","at":"` + time.Now().UTC().Format(time.RFC3339) + `","from":{"type":"m5.xlarge","running":true}}`
	b.instance(func(i *ec2test.Instance) { i.State = "stopped" })
	_, err = b.apply(t.Context(), "t2", p)
	b.wants(err, ops.ErrConflict, "by somebody else", "put back: running as m5.2xlarge")
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	f := func(c ec2.Config, want string) {
		t.Helper()
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	all := []string{"*"}
	f(ec2.Config{Instances: all}, "")
	f(ec2.Config{}, "instances is empty")
	f(ec2.Config{Instances: []string{"tag:env"}}, "instances[0]")
	f(ec2.Config{Instances: []string{"env=prod"}}, "instances[0]")
	f(ec2.Config{Instances: []string{"i-["}}, "instances[0]")
	f(ec2.Config{Instances: all, Actions: []string{"terminate"}}, "actions[0]")
	f(ec2.Config{Instances: all, Types: []string{""}}, "types[0]")
	f(ec2.Config{Instances: all, Grace: -1}, "negative")
}

// TestTheDoubleRefuses proves by raw calls that the double is as strict as the
// service, where moto is not.
func TestTheDoubleRefuses(t *testing.T) {
	a := ec2test.Start(t).Account("raw")
	world(a)
	a.Types["c5n.ena"] = &ec2test.Type{ENA: "required"}
	a.Types["m5.full"] = &ec2test.Type{Full: 1}
	a.Instances["i-0000000b"] = &ec2test.Instance{Type: "m5.full", State: "stopped", NoENA: true}
	a.Instances["i-0000000c"] = &ec2test.Instance{Type: "m5.large", Root: "instance-store"}
	a.Instances["i-0000000d"] = &ec2test.Instance{Type: "m5.large", StopLocked: true}
	a.Instances["i-0000000e"] = &ec2test.Instance{Type: "m5.large", State: "terminated"}
	type m = map[string][]string
	f := func(action string, in m, code string) {
		t.Helper()
		if _, bad := a.Do(action, in); bad == nil || bad.Code != code {
			t.Errorf("%s %v: %+v, want %s", action, in, bad, code)
		}
	}
	on := func(id string) m { return m{"InstanceId.1": {id}} }
	size := func(id, kind string) m { return m{"InstanceId": {id}, "InstanceType.Value": {kind}} }
	f("DescribeInstances", on("web"), "InvalidInstanceID.Malformed")
	f("DescribeInstances", on("i-00000000"), "InvalidInstanceID.NotFound")
	f("StopInstances", m{}, "MissingParameter")
	f("StopInstances", on("i-00000000"), "InvalidInstanceID.NotFound")
	f("StopInstances", on("i-0000000c"), "UnsupportedOperation")
	f("StopInstances", on("i-0000000d"), "OperationNotPermitted")
	f("StopInstances", on("i-0000000e"), "IncorrectInstanceState")
	f("StopInstances", m{"InstanceId.1": {web}, "DryRun": {"true"}}, "DryRunOperation")
	f("StartInstances", on("i-0000000e"), "IncorrectInstanceState")
	f("StartInstances", on("i-0000000b"), "InsufficientInstanceCapacity")
	f("StartInstances", m{"InstanceId.1": {web}, "DryRun": {"true"}}, "DryRunOperation")
	f("ModifyInstanceAttribute", size(web, "m5.large"), "IncorrectInstanceState") // it runs; moto takes it
	f("ModifyInstanceAttribute", size("i-0000000b", "m5.bogus"), "InvalidInstanceAttributeValue")
	f("ModifyInstanceAttribute", size("i-0000000b", "c5n.ena"), "InvalidParameterCombination")
	f("ModifyInstanceAttribute", m{"InstanceId": {web}}, "InvalidParameterCombination")
	f("ModifyInstanceAttribute", m{"InstanceType.Value": {"m5.large"}}, "MissingParameter")
	f("ModifyInstanceAttribute", m{"InstanceId": {web}, "InstanceType.Value": {"m5.large"}, "DryRun": {"true"}}, "DryRunOperation")
	f("DescribeInstanceAttribute", m{"InstanceId": {web}, "Attribute": {"colour"}}, "InvalidParameterValue")
	f("DescribeInstanceTypes", m{"InstanceType.1": {"m5.bogus"}}, "InvalidInstanceType")
	f("DescribeInstanceTypeOfferings", m{}, "InvalidParameterValue")
	f("TerminateInstances", on(web), "InvalidAction")
	a.Deny("StopInstances")
	f("StopInstances", on(web), "UnauthorizedOperation")
	if n := a.Calls("StopInstances") + a.Calls("StartInstances") + a.Calls("ModifyInstanceAttribute"); n != 0 {
		t.Errorf("%d refused calls had an effect", n)
	}
	// A start is refused while it stops, and a stop while it starts.
	a.Instances["i-0000000f"] = &ec2test.Instance{Type: "m5.large", Takes: time.Minute}
	a.Instances["i-00000010"] = &ec2test.Instance{Type: "m5.large", State: "stopped", Takes: time.Minute}
	if _, bad := a.Do("StartInstances", on("i-00000010")); bad != nil {
		t.Error(bad)
	}
	f("ModifyInstanceAttribute", size("i-00000010", "m5.xlarge"), "IncorrectInstanceState")
}
