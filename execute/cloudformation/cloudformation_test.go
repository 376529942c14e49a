package cloudformation_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/cloudformation"
	"github.com/fettleops/fettle/execute/cloudformation/cloudformationtest"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

// bench is an executor on a strict account.
type bench struct {
	execute.Executor
	t       *testing.T
	account *cloudformationtest.Account
}

func open(t *testing.T, url, extra string) execute.Executor {
	t.Helper()
	awsxtest.Credentials(t)
	decode := func(into any) error {
		return yaml.NewDecoder(strings.NewReader("{region: eu-central-1, endpoint: \""+url+"\", poll: 5ms, "+extra+"}"), yaml.Strict()).Decode(into)
	}
	x, err := cloudformation.Driver.Open(t.Context(), decode, execute.Env{
		Name: "aws", Host: "here", Dir: t.TempDir(), Marks: executetest.NewMarks(),
		Redact: func(s string) string { return s }, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func newBench(t *testing.T, body, extra string) (*bench, *cloudformationtest.Stack) {
	t.Helper()
	a := cloudformationtest.Start(t).Account(filepath.Base(t.Name()))
	s := world(t, a, body)
	return &bench{open(t, a.URL, "stacks: [web], "+extra), t, a}, s
}

const normal = "replacement: conditional"

func change(args ...string) ops.Change {
	return ops.Change{ID: "c1", Action: cloudformation.Update, Args: append([]string{"web"}, args...)}
}

func (b *bench) plan(c ops.Change) ops.Plan {
	b.t.Helper()
	p, err := b.Plan(b.t.Context(), execute.Request{Change: c})
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	return p
}

func (b *bench) refuses(c ops.Change, class error, says ...string) {
	b.t.Helper()
	_, err := b.Plan(b.t.Context(), execute.Request{Change: c})
	b.wants(err, class, says...)
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

func (b *bench) apply(token execute.Token, p ops.Plan) {
	b.t.Helper()
	if _, err := b.Apply(b.t.Context(), token, p, io.Discard); err != nil {
		b.t.Fatalf("apply: %v", err)
	}
}

func (b *bench) key(want string) {
	b.t.Helper()
	if is, _ := b.account.Parameters.Value(key); is != want {
		b.t.Errorf("%s is %s, want %s", key, is, want)
	}
}

func (b *bench) live(id, property, want string) {
	b.t.Helper()
	s := b.account.Stack("web")
	var is string
	b.account.With(func() { is = s.Live[id][property] })
	if is != want {
		b.t.Errorf("%s of %s is %q, want %q", property, id, is, want)
	}
}

func TestAPlanShowsValuesAndLeavesNothingBehind(t *testing.T) {
	b, s := newBench(t, driven, normal)
	p := b.plan(change(key+"=m5.large", "Size=5"))
	for _, line := range []string{
		"~ update parameter " + key, "-   value: m5.xlarge", "+   value: m5.large", "-   parameter Size: 3", "+   parameter Size: 5",
		"~ update web/Server (AWS::EC2::Instance)", "-   Properties/InstanceType: m5.xlarge", "+   Properties/InstanceType: m5.large", "+   replacement: conditional",
		"~ update web/Group", "+   Properties/MinSize: 5",
	} {
		if !strings.Contains(p.Text, line) {
			t.Errorf("%q is not in\n%s", line, p.Text)
		}
	}
	clean := func() {
		t.Helper()
		if left := b.account.Parameters.Names("/fettle"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		b.account.With(func() {
			if left := s.Sets(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
		b.key("m5.xlarge")
	}
	clean()
	b.account.Deny("DescribeChangeSet")
	b.refuses(change(key+"=m5.large"), ops.ErrDenied)
	clean()
}

func TestAKilledPlanIsSweptByTheNext(t *testing.T) {
	b, s := newBench(t, driven, normal)
	b.account.Parameters.Set("/fettle/preview/c1", "left by a plan of this change", time.Now())
	b.account.Parameters.Set("/fettle/preview/killed", "old", time.Now().Add(-2*time.Hour))
	b.account.Parameters.Set("/fettle/preview/alive", "new", time.Now())
	make := func(name string) {
		_, bad := b.account.Do("CreateChangeSet", form("StackName", "web", "ChangeSetName", name, "UsePreviousTemplate", "true",
			"Parameters.member.1.ParameterKey", "Size", "Parameters.member.1.ParameterValue", "7"))
		if bad != nil {
			t.Fatal(bad)
		}
	}
	make("fettle-preview-killed")
	b.account.With(func() { s.Age(2 * time.Hour) })
	make("fettle-preview-alive")
	make("of-somebody-else")
	b.plan(change(key + "=m5.large"))
	if left := b.account.Parameters.Names("/fettle"); !slices.Equal(left, []string{"/fettle/preview/alive"}) {
		t.Errorf("keys left: %v", left)
	}
	b.account.With(func() {
		if left := s.Sets(); !slices.Equal(left, []string{"fettle-preview-alive", "of-somebody-else"}) {
			t.Errorf("change sets left: %v", left)
		}
	})
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

func TestEveryParameterIsSent(t *testing.T) {
	b, s := newBench(t, driven, normal)
	b.apply("t", b.plan(change(key+"=m5.large")))
	b.live("Group", "MinSize", "3") // its default is 1
	b.live("Server", "UserData", "hunter2")
	b.live("Server", "InstanceType", "m5.large")
	b.account.With(func() {
		if s.Params["Type"] != key {
			t.Errorf("the parameter points at %s", s.Params["Type"])
		}
	})
	b.key("m5.large")
}

func TestPlainParameters(t *testing.T) {
	b, _ := newBench(t, driven, "")
	p := b.plan(change("Size=5"))
	b.apply("t", p)
	b.live("Group", "MinSize", "5")
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.live("Group", "MinSize", "3")
}

var dynamic = strings.Replace(driven, `{"Ref": "Type"}`, `"{{resolve:ssm:`+key+`}}"`, 1)

func TestDynamicReferencesArePinnedToWhatWasApproved(t *testing.T) {
	b, s := newBench(t, dynamic, normal)
	p := b.plan(change(key + "=m5.large"))
	b.apply("t", p)
	b.live("Server", "InstanceType", "m5.large")
	b.account.With(func() {
		if !strings.Contains(s.Template, "{{resolve:ssm:"+key+":2}}") {
			t.Errorf("the template is %s", s.Template)
		}
	})
	if d, err := b.Drift(t.Context(), p); d != execute.InSync || err != nil {
		t.Errorf("drift: %s, %v", d, err)
	}
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.live("Server", "InstanceType", "m5.xlarge")
	b.key("m5.xlarge")
	b.account.With(func() {
		if s.Template != dynamic {
			t.Errorf("the template is %s", s.Template)
		}
	})
}

func TestAFailedUpdateTakesTheValueBack(t *testing.T) {
	b, s := newBench(t, driven, normal)
	p := b.plan(change(key + "=m5.large"))
	s.Refuse = "m5.large"
	var out strings.Builder
	_, err := b.Apply(t.Context(), "t", p, &out)
	b.wants(err, ops.ErrStalled, "failed and was rolled back", "Server: the value m5.large is refused")
	b.key("m5.xlarge")
	b.live("Server", "InstanceType", "m5.xlarge")
	if !strings.Contains(out.String(), "UPDATE_FAILED Server") || !strings.Contains(out.String(), "is m5.xlarge again") {
		t.Errorf("said %s", out.String())
	}
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Errorf("rolling back what came to nothing: %v", err)
	}
	b.key("m5.xlarge")
}

func TestAChangeSetThatMovedIsNotExecuted(t *testing.T) {
	b, s := newBench(t, driven, normal+", drift_check: false")
	p := b.plan(change(key + "=m5.large"))
	b.account.With(func() { s.Meanwhile("Group", "MinSize", "2") })
	_, err := b.Apply(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, "no longer what was planned", "web/Group", "nothing")
	b.key("m5.xlarge")
	if n := b.account.Begun(); n != 0 {
		t.Errorf("%d change sets were executed", n)
	}
	b.account.With(func() {
		if left := s.Sets(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestADriftedStackIsNotUpdated(t *testing.T) {
	b, s := newBench(t, driven, normal)
	p := b.plan(change(key + "=m5.large"))
	b.account.With(func() { s.Live["Group"]["MinSize"] = "0" })
	_, err := b.Apply(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, "has drifted", "Group: /MinSize is 0, not 3")
	b.key("m5.xlarge")
}

func TestCancelRollsBackAndTakesTheValueBack(t *testing.T) {
	b, s := newBench(t, driven, normal)
	p := b.plan(change(key + "=m5.large"))
	s.Takes = time.Minute
	s.Chatter = []string{"under way"}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("a person stopped it")
	r, w := io.Pipe()
	go func() {
		b := make([]byte, 4096)
		for said := ""; ; {
			n, err := r.Read(b)
			if said += string(b[:n]); strings.Contains(said, "under way") {
				b = b[:1]
				cancel(stop)
			}
			if err != nil {
				return
			}
		}
	}()
	b.account.With(func() { s.Hasten = true })
	_, err := b.Apply(ctx, "t", p, w)
	_ = w.Close()
	b.wants(err, stop, "was cancelled and rolled back")
	b.key("m5.xlarge")
	b.live("Server", "InstanceType", "m5.xlarge")
}

func TestAStuckRollbackIsOfferedAWayOut(t *testing.T) {
	b, s := newBench(t, driven, normal)
	p := b.plan(change(key + "=m5.large"))
	s.Refuse, s.Stuck = "m5.large", true
	_, err := b.Apply(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, "UPDATE_ROLLBACK_FAILED", cloudformation.Continue)
	b.key("m5.xlarge")
	b.refuses(change("Size=5"), ops.ErrStalled, cloudformation.Continue)
	_, err = b.RollBack(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, cloudformation.Continue)

	way := ops.Change{ID: "c2", Action: cloudformation.Continue, Args: []string{"web"}}
	again := b.plan(way)
	if !strings.Contains(again.Text, "Server (AWS::EC2::Instance)") || len(again.Rollback) > 0 {
		t.Errorf("the plan is %+v", again)
	}
	_, err = b.Apply(t.Context(), "t2", again, io.Discard)
	b.wants(err, ops.ErrStalled, "UPDATE_ROLLBACK_FAILED")

	b.refuses(ops.Change{Action: cloudformation.Continue, Args: []string{"web", "Group"}}, ops.ErrInvalid, "cannot be skipped", "Server")
	way.Args = append(way.Args, "Server")
	skip := b.plan(way)
	if !strings.Contains(skip.Text, "skip, leaving it as it is") {
		t.Errorf("the plan says %s", skip.Text)
	}
	n := b.account.Begun()
	for range 2 {
		b.apply("t3", skip)
	}
	if b.account.Begun() != n+1 {
		t.Errorf("continued %d times", b.account.Begun()-n)
	}
	b.refuses(way, ops.ErrInvalid, "UPDATE_ROLLBACK_COMPLETE")
}

func TestAlarmsUndoAnUpdate(t *testing.T) {
	const alarm = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:web"
	b, s := newBench(t, driven, normal+", rollback_alarms: [\""+alarm+"\"], monitoring: 10m")
	p := b.plan(change("Size=5"))
	if p.ApplySecs != 20*60 {
		t.Errorf("the estimate of %d s leaves out the monitoring", p.ApplySecs)
	}
	b.account.Alarm(alarm, true)
	_, err := b.Apply(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, "in ALARM")
	b.account.Alarm(alarm, false)
	b.apply("t2", b.plan(change("Size=5")))
	b.account.With(func() {
		if !slices.Equal(s.Alarms, []string{alarm}) {
			t.Errorf("watched by %v", s.Alarms)
		}
	})
}

func TestRollingBackPutsNothingOverSomebodyElsesValue(t *testing.T) {
	b, _ := newBench(t, driven, normal)
	p := b.plan(change(key + "=m5.large"))
	b.apply("t", p)
	b.account.Parameters.Set(key, "m7.large", time.Now())
	_, err := b.RollBack(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, "somebody else")
	b.key("m7.large")
}

func TestWhatCannotBeCheckedIsUnknown(t *testing.T) {
	b, s := newBench(t, driven, normal)
	p := b.plan(change(key + "=m5.large"))
	b.apply("t", p)
	b.account.With(func() { s.Unchecked = []string{"AWS::EC2::Instance"} })
	d, err := b.Drift(t.Context(), p)
	if d != execute.Unknown || err == nil || !strings.Contains(err.Error(), "Server") {
		t.Errorf("got %s, %v", d, err)
	}
	b.account.Parameters.Set(key, "m7.large", time.Now())
	if d, err := b.Drift(t.Context(), p); d != execute.Drifted || err != nil {
		t.Errorf("a key that moved: %s, %v", d, err)
	}
}

func TestRefusals(t *testing.T) {
	b, s := newBench(t, driven, "")
	f := func(class error, says string, args ...string) {
		t.Helper()
		b.refuses(change(args...), class, says)
	}
	f(ops.ErrInvalid, "names nothing to set")
	f(ops.ErrInvalid, "is not name=value", "Size")
	f(ops.ErrInvalid, "it has Password, Size, Type", "Sise=3")
	f(ops.ErrInvalid, "NoEcho", "Password=x")
	f(ops.ErrInvalid, "has these values already", "Size=3")
	f(ops.ErrInvalid, "given twice", "Size=4", "Size=5")
	f(ops.ErrInvalid, "given twice", "Type=a", key+"=b")
	f(ops.ErrInvalid, "does not read /other/key", "/other/key=x")
	f(ops.ErrDenied, "replacement: conditional", key+"=m5.large")
	b.refuses(ops.Change{Action: cloudformation.Update, Args: []string{"db", "Size=3"}}, ops.ErrDenied, "allowed are web")
	b.refuses(ops.Change{Action: cloudformation.Continue, Args: []string{"web"}}, ops.ErrInvalid, "is for UPDATE_ROLLBACK_FAILED")

	b.account.With(func() {
		s.Policy = `{"Statement": [{"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "Update:Modify", "Principal": "*", "Resource": "LogicalResourceId/Gr*"}]}`
	})
	f(ops.ErrDenied, "protects Group", "Size=5")
	b.account.With(func() { s.Status = "UPDATE_IN_PROGRESS" })
	f(ops.ErrConflict, "UPDATE_IN_PROGRESS", "Size=5")
	b.account.With(func() { s.Status = "ROLLBACK_COMPLETE" })
	f(ops.ErrStalled, "from which no update starts", "Size=5")
}

func TestAReplacementThatWasAllowedCannotBeUndone(t *testing.T) {
	body := strings.Replace(driven, `"MaxSize": "9"`, `"MaxSize": "9"}}, "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "Size"}`, 1)
	b, _ := newBench(t, body, normal)
	b.refuses(change("Size=5"), ops.ErrDenied, "replacement: allowed")
	b, _ = newBench(t, body, "replacement: allowed")
	p := b.plan(change("Size=5"))
	if len(p.Rollback) > 0 || !strings.Contains(p.Text, "-/+ replace web/Topic") || !strings.Contains(p.Text, "cannot be undone") {
		t.Errorf("the plan is %+v", p)
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	f := func(c cloudformation.Config, want string) {
		t.Helper()
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	ok := []string{"web"}
	arn := "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:a"
	f(cloudformation.Config{Stacks: ok}, "")
	f(cloudformation.Config{}, "stacks is empty")
	f(cloudformation.Config{Stacks: []string{"a["}}, "stacks[0]")
	f(cloudformation.Config{Stacks: ok, Replacement: "maybe"}, "replacement")
	f(cloudformation.Config{Stacks: ok, RollbackAlarms: []string{"web"}}, "no ARN")
	f(cloudformation.Config{Stacks: ok, RollbackAlarms: []string{arn, arn, arn, arn, arn, arn}}, "at most 5")
	f(cloudformation.Config{Stacks: ok, Monitoring: time.Minute}, "needs rollback_alarms")
	f(cloudformation.Config{Stacks: ok, RollbackAlarms: []string{arn}, Monitoring: 4 * time.Hour}, "up to 3h")
	f(cloudformation.Config{Stacks: ok, ServiceRole: "role"}, "service_role")
	f(cloudformation.Config{Stacks: ok, Preview: "preview"}, "parameter key")
	f(cloudformation.Config{Stacks: ok, Timeout: -1}, "negative")
}

// TestTheDoubleRefuses proves by raw calls that the double is as strict as the
// service.
func TestTheDoubleRefuses(t *testing.T) {
	a := cloudformationtest.Start(t).Account("raw")
	s := world(t, a, dynamic)
	f := func(action, code, says string, pairs ...string) {
		t.Helper()
		_, bad := a.Do(action, form(append([]string{"StackName", "web"}, pairs...)...))
		if bad == nil || bad.Code != code || !strings.Contains(bad.Message, says) {
			t.Errorf("%s %v: %+v, want %s %q", action, pairs, bad, code, says)
		}
	}
	set := func(pairs ...string) []string {
		return append([]string{"ChangeSetName", "c", "UsePreviousTemplate", "true"}, pairs...)
	}
	size := func(pairs ...string) []string {
		return set(append([]string{"Parameters.member.1.ParameterKey", "Size"}, pairs...)...)
	}
	f("DescribeStacks", "ValidationError", "does not exist", "StackName", "none")
	f("CreateChangeSet", "ValidationError", "changeSetName", set("ChangeSetName", "1st")...)
	f("CreateChangeSet", "ValidationError", "clientToken", set("ClientToken", "a/b")...)
	f("CreateChangeSet", "ValidationError", "already exists", set("ChangeSetType", "CREATE")...)
	f("CreateChangeSet", "ValidationError", "Exactly one", "ChangeSetName", "c")
	f("CreateChangeSet", "ValidationError", "51200", "ChangeSetName", "c", "TemplateBody", strings.Repeat("x", 51201))
	f("CreateChangeSet", "ValidationError", "between 0 and 180", set("RollbackConfiguration.MonitoringTimeInMinutes", "181")...)
	f("CreateChangeSet", "ValidationError", "do not exist in the template", set("Parameters.member.1.ParameterKey", "Sise", "Parameters.member.1.ParameterValue", "1")...)
	f("CreateChangeSet", "ValidationError", "Cannot specify usePreviousValue", size("Parameters.member.1.ParameterValue", "1", "Parameters.member.1.UsePreviousValue", "true")...)
	f("CreateChangeSet", "ValidationError", "Either UsePreviousValue", size()...)
	f("CreateChangeSet", "ValidationError", "must have values", "ChangeSetName", "c", "TemplateBody", strings.Replace(driven, `, "Default": "1"`, "", 1))
	f("CreateChangeSet", "ValidationError", "Unable to fetch", "ChangeSetName", "c", "TemplateBody", driven, "Parameters.member.1.ParameterKey", "Type", "Parameters.member.1.ParameterValue", "/none")
	f("CreateChangeSet", "ValidationError", "AllowedValues", "ChangeSetName", "c", "TemplateBody", strings.Replace(driven, `"Default": "1"`, `"Default": "1", "AllowedValues": ["1"]`, 1),
		"Parameters.member.1.ParameterKey", "Size", "Parameters.member.1.ParameterValue", "2")
	f("CreateChangeSet", "InsufficientCapabilitiesException", "CAPABILITY_IAM", "ChangeSetName", "c", "TemplateBody", strings.Replace(driven, "AWS::EC2::Instance", "AWS::IAM::Role", 1))
	f("DescribeChangeSet", "ChangeSetNotFound", "", "ChangeSetName", "none")
	f("ExecuteChangeSet", "ChangeSetNotFound", "", "ChangeSetName", "none")
	f("DeleteChangeSet", "ChangeSetNotFound", "", "ChangeSetName", "none")
	f("CancelUpdateStack", "ValidationError", "current stack status")
	f("ContinueUpdateRollback", "ValidationError", "can not continue rollback")
	f("DescribeStackDriftDetectionStatus", "ValidationError", "does not exist", "StackDriftDetectionId", "none")
	f("UpdateStack", "InvalidAction", "")

	status := func(name string) string {
		t.Helper()
		time.Sleep(a.Settle)
		out, bad := a.Do("DescribeChangeSet", form("StackName", "web", "ChangeSetName", name))
		if bad != nil {
			t.Fatal(bad)
		}
		return cloudformationtest.Text(out, "Status") + " " + cloudformationtest.Text(out, "StatusReason")
	}
	do := func(action string, pairs ...string) {
		t.Helper()
		if _, bad := a.Do(action, form(append([]string{"StackName", "web"}, pairs...)...)); bad != nil {
			t.Fatal(bad)
		}
	}
	previous := func(name string) []string {
		return []string{
			"ChangeSetName", name, "UsePreviousTemplate", "true", "Parameters.member.1.ParameterKey", "Size", "Parameters.member.1.UsePreviousValue", "true",
			"Parameters.member.2.ParameterKey", "Password", "Parameters.member.2.UsePreviousValue", "true",
			"Parameters.member.3.ParameterKey", "Type", "Parameters.member.3.UsePreviousValue", "true",
		}
	}
	// A dynamic reference whose value alone has moved is no change.
	a.Parameters.Set(key, "m5.large", time.Now())
	do("CreateChangeSet", previous("same")...)
	if got := status("same"); !strings.Contains(got, "FAILED") || !strings.Contains(got, "didn't contain changes") {
		t.Errorf("only the value of a dynamic reference moved: %s", got)
	}
	f("ExecuteChangeSet", "InvalidChangeSetStatus", "UNAVAILABLE", "ChangeSetName", "same")
	f("CreateChangeSet", "AlreadyExistsException", "", previous("same")...)
	// A parameter that is left out falls back to its default.
	do("CreateChangeSet", set()...)
	if got := status("c"); !strings.HasPrefix(got, "CREATE_COMPLETE") {
		t.Errorf("left out parameters changed nothing: %s", got)
	}
	f("ExecuteChangeSet", "ValidationError", "clientRequestToken", "ChangeSetName", "c", "ClientRequestToken", "a/b")
	s.Takes = time.Hour
	do("ExecuteChangeSet", "ChangeSetName", "c", "ClientRequestToken", "t")
	do("ExecuteChangeSet", "ChangeSetName", "c", "ClientRequestToken", "t")
	f("ExecuteChangeSet", "InvalidChangeSetStatus", "EXECUTE_IN_PROGRESS", "ChangeSetName", "c", "ClientRequestToken", "t2")
	f("DescribeChangeSet", "ChangeSetNotFound", "", "ChangeSetName", "same")
	f("CreateChangeSet", "ValidationError", "UPDATE_IN_PROGRESS", previous("d")...)
	f("DeleteChangeSet", "InvalidChangeSetStatus", "", "ChangeSetName", "c")
	f("DetectStackDrift", "ValidationError", "cannot be performed")
	if a.Begun() != 1 {
		t.Errorf("%d executions", a.Begun())
	}
}

func TestLinksOfAStack(t *testing.T) {
	f := func(body string, want ...string) {
		t.Helper()
		b, s := newBench(t, body, normal)
		p := b.plan(change("Size=5"))
		source, links, err := b.Executor.(execute.Linker).Links(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range links {
			got = append(got, l.From.Kind+" "+l.From.Aliases[len(l.From.Aliases)-1]+" -> "+l.To.Aliases[len(l.To.Aliases)-1])
		}
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "STACK", s.ID)
		}
		if source != "cloudformation:"+s.ID || !slices.Equal(got, want) {
			t.Errorf("%s says %v, want %v", source, got, want)
		}
	}
	f(driven) // its resources stand beside each other
	f(strings.Replace(driven, `"Group": {`, `"Group": {"DependsOn": "Server", `, 1),
		"AWS::AutoScaling::AutoScalingGroup cfn:STACK/Group -> cfn:STACK/Server")
}
