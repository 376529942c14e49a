package ssm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/execute/ssm"
	"github.com/fettleops/fettle/execute/ssm/ssmtest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

const (
	secret = "s3cr3t-value"
	key    = "/app/size"
)

// rules are what the executors under test may do.
const rules = `parameters: [/app/*]
runs:
- {name: patch, document: Patch, parameters: {Operation: [Install]}, targets: ["tag:role=web"], concurrency: "50", rollback: unpatch}
- {name: unpatch, document: Unpatch}
- {name: restart, document: Restart, concurrency: "1", errors: "0"}
- {name: many, document: Restart, targets: ["tag:role=many"], max_targets: 3}
- {name: brief, document: Restart, concurrency: "50", timeout: 300ms}
- {name: rebuild, document: Rebuild, parameters: {Image: [ami-1]}}
`

// world fills an account.
func world(a *ssmtest.Account) {
	a.Parameters.Set(key, "1", time.Now().Add(-time.Hour))
	for i := range 14 {
		a.Instances[fmt.Sprintf("i-%02d", i)] = &ssmtest.Instance{Tags: map[string]string{"role": "web"}}
	}
	for i := range 4 {
		a.Instances[fmt.Sprintf("m-%d", i)] = &ssmtest.Instance{Tags: map[string]string{"role": "many"}}
	}
	a.Instances["gone"] = &ssmtest.Instance{Ping: "ConnectionLost"}
	a.Documents["Patch"] = &ssmtest.Document{Type: "Command", Required: []string{"Operation"}, Says: "patched"}
	a.Documents["Unpatch"] = &ssmtest.Document{Type: "Command", Says: "unpatched"}
	a.Documents["Restart"] = &ssmtest.Document{Type: "Command", Says: "restarted"}
	a.Documents["Rebuild"] = &ssmtest.Document{Type: "Automation", Required: []string{"Image"}, Steps: []string{"make", "swap"}, Says: "done"}
}

func config(url, extra string) string {
	return "region: eu-central-1\nendpoint: " + url + "\npoll: 10ms\n" + extra + rules
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	service := ssmtest.Start(t)
	account := func(dir string) *ssmtest.Account {
		return service.Account(filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir))
	}
	shaped := func(shape func(a *ssmtest.Account)) func(string) string {
		return func(dir string) string {
			shape(account(dir))
			return config(account(dir).URL, "")
		}
	}
	plain := shaped(func(*ssmtest.Account) {})
	patch := ops.Change{ID: "c1", Action: ssm.Run, Args: []string{"patch"}}
	executetest.Run(t, ssm.Driver, executetest.Harness{
		Prepare: func(_ *testing.T, dir string) { world(account(dir)) },
		Quick:   executetest.Case{Config: plain, Change: ops.Change{ID: "c1", Action: ssm.Put, Args: []string{key + "=2"}}},
		Slow:    executetest.Case{Config: shaped(func(a *ssmtest.Account) { a.Documents["Patch"].Takes = 1200 * time.Millisecond }), Change: patch},
		Loud: executetest.Case{Config: shaped(func(a *ssmtest.Account) {
			a.Documents["Patch"].Says = "the password is " + secret + "\n" + strings.Repeat(strings.Repeat("x", 99)+"\n", 300)
			a.Instances["i-13"].Says = "the end"
		}), Change: patch},
		Fails: executetest.Case{Config: shaped(func(a *ssmtest.Account) { a.Documents["Patch"].Says, a.Instances["i-03"].Code = secret, 7 }), Change: patch},
		Endless: executetest.Case{
			Config: shaped(func(a *ssmtest.Account) { a.Documents["Restart"].Takes = time.Minute }),
			Change: ops.Change{ID: "c1", Action: ssm.Run, Args: []string{"brief", "i-00"}},
		},
		Secret: secret,
		Begun: func(_ *testing.T, dir string) int {
			n := account(dir).Begun()
			for version := range int64(20) {
				if v, ok := account(dir).Parameters.At(key, version); ok && v == "2" {
					n++
				}
			}
			return n
		},
		Stands: func(_ *testing.T, dir string) bool {
			v, _ := account(dir).Parameters.Value(key)
			return v == "2"
		},
		Disturb: func(_ *testing.T, dir string) { account(dir).Parameters.Set(key, "9", time.Now()) },
		Blind:   func(_ *testing.T, dir string) { account(dir).Deny("GetParameterHistory") },
		Alter:   func(_ *testing.T, dir string) { account(dir).Parameters.Set(key, "5", time.Now()) },
		Alive:   func(_ *testing.T, dir string) []string { return account(dir).Alive() },
		Crashes: []string{"execute.ssm.put.before", "execute.parameter.put.before", "execute.parameter.put.after", "execute.ssm.put.after"},
	})
}

func TestCommandsAreSentOnce(t *testing.T) {
	b := newBench(t)
	p := b.plan(ssm.Run, "patch")
	f := func(token execute.Token, shape func(), check func(error)) {
		t.Helper()
		n := b.account.Begun()
		shape()
		_, err := b.Apply(t.Context(), token, p, io.Discard)
		check(err)
		_, err = b.Apply(t.Context(), token, p, io.Discard)
		check(err)
		if b.account.Begun() != n+1 {
			t.Errorf("%s: %d commands were sent", token, b.account.Begun()-n)
		}
	}
	worked := func(err error) {
		t.Helper()
		if err != nil {
			t.Errorf("apply: %v", err)
		}
	}
	f("plain", func() {}, worked)
	f("lost", func() { b.account.Lose("SendCommand") }, worked)
	// A server that was killed before it knew the id finds the command.
	p = b.plan(ssm.Run, "patch")
	b.marks.Rows["killed"] = `{"state":"going","at":"` + time.Now().UTC().Format(time.RFC3339) + `"}`
	_, err := b.Apply(t.Context(), "killed", p, io.Discard)
	if !errors.As(err, new(*ops.UnknownOutcome)) {
		t.Errorf("nobody knows whether it was sent: %v", err)
	}
	b.marks.Rows["lost"] = b.marks.Rows["killed"]
	n := b.account.Begun()
	if _, err := b.Apply(t.Context(), "lost", p, io.Discard); err != nil || b.account.Begun() != n {
		t.Errorf("the command that was sent: %v, %d more", err, b.account.Begun()-n)
	}
}

type bench struct {
	execute.Executor
	t       *testing.T
	account *ssmtest.Account
	marks   *executetest.Marks
}

func newBench(t *testing.T) *bench {
	t.Helper()
	awsxtest.Credentials(t)
	b := &bench{t: t, account: ssmtest.Start(t).Account("a"), marks: executetest.NewMarks()}
	world(b.account)
	decode := func(into any) error {
		return yaml.NewDecoder(strings.NewReader(config(b.account.URL, "grace: 5s\n")), yaml.Strict()).Decode(into)
	}
	var err error
	b.Executor, err = ssm.Driver.Open(t.Context(), decode, execute.Env{
		Name: "aws", Host: "here", Dir: t.TempDir(), Marks: b.marks, Redact: func(s string) string { return s }, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) plan(action string, args ...string) ops.Plan {
	b.t.Helper()
	p, err := b.Plan(b.t.Context(), execute.Request{Change: ops.Change{ID: "c1", Action: action, Args: args}})
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	return p
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

func TestEveryInstanceCounts(t *testing.T) {
	b := newBench(t)
	b.account.Instances["i-05"].Lost = true
	var out strings.Builder
	_, err := b.Apply(t.Context(), "t", b.plan(ssm.Run, "patch"), &out)
	// The service calls the command itself a success.
	b.wants(err, ops.ErrStalled, "failed on 1 of 14 instances", "i-05: Undeliverable")
	if !strings.Contains(out.String(), "i-04: Success\npatched\ni-04: exit code 0") {
		t.Errorf("said %s", out.String())
	}
}

func TestErrorsStopAtTheCap(t *testing.T) {
	b := newBench(t)
	b.account.Instances["i-01"].Code = 3
	b.account.Documents["Restart"].Takes = 30 * time.Millisecond
	_, err := b.Apply(t.Context(), "t", b.plan(ssm.Run, "restart", "i-00", "i-01", "i-02"), io.Discard)
	b.wants(err, ops.ErrStalled, "i-01: Failed", "i-02: Terminated")
}

func TestACommandIsUndoneOnTheSameInstances(t *testing.T) {
	b := newBench(t)
	p := b.plan(ssm.Run, "patch")
	if _, err := b.Apply(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.account.Instances["i-99"] = &ssmtest.Instance{Tags: map[string]string{"role": "web"}}
	var out strings.Builder
	if _, err := b.RollBack(t.Context(), "t", p, &out); err != nil || !strings.Contains(out.String(), "unpatched") || strings.Contains(out.String(), "i-99") {
		t.Errorf("%v, said %s", err, out.String())
	}
	if d, err := b.Drift(t.Context(), p); d != execute.Unknown || !errors.Is(err, ops.ErrStalled) {
		t.Errorf("drift of a command: %s, %v", d, err)
	}
}

func TestAutomation(t *testing.T) {
	b := newBench(t)
	b.account.Documents["Rebuild"].Takes = 20 * time.Millisecond
	p := b.plan(ssm.Start, "rebuild")
	var out strings.Builder
	b.account.Lose("StartAutomationExecution")
	for range 2 {
		if _, err := b.Apply(t.Context(), "t", p, &out); err != nil {
			t.Fatal(err)
		}
	}
	if b.account.Begun() != 1 || !strings.Contains(out.String(), "step swap: Success") {
		t.Errorf("started %d times, said %s", b.account.Begun(), out.String())
	}
	// A server that was killed before it knew the id starts it no second time.
	b.marks.Rows["t"] = `{"state":"going","at":"` + time.Now().UTC().Format(time.RFC3339) + `"}`
	if _, err := b.Apply(t.Context(), "t", p, io.Discard); err != nil || b.account.Begun() != 1 {
		t.Errorf("started %d times, %v", b.account.Begun(), err)
	}

	b.account.Documents["Rebuild"].FailStep = "swap"
	_, err := b.Apply(t.Context(), "t2", p, io.Discard)
	b.wants(err, ops.ErrStalled, "ended in Failed")

	b.account.Documents["Rebuild"].Takes = time.Minute
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("a person stopped it")
	r, w := io.Pipe()
	go func() {
		said := ""
		for buf := make([]byte, 999); ; {
			n, err := r.Read(buf)
			if said += string(buf[:n]); strings.Contains(said, "InProgress") {
				cancel(stop)
			}
			if err != nil {
				return
			}
		}
	}()
	_, err = b.Apply(ctx, "t3", p, w)
	_ = w.Close()
	b.wants(err, stop, "was stopped", "Cancelled")
	if left := b.account.Alive(); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	f := func(class error, says, action string, args ...string) {
		t.Helper()
		_, err := b.Plan(t.Context(), execute.Request{Change: ops.Change{Action: action, Args: args}})
		b.wants(err, class, says)
	}
	f(ops.ErrInvalid, "takes one argument", ssm.Put)
	f(ops.ErrInvalid, "is not key=value", ssm.Put, key)
	f(ops.ErrDenied, "allowed are /app/*", ssm.Put, "/other=1")
	f(ops.ErrNotFound, "/app/none", ssm.Put, "/app/none=1")
	f(ops.ErrInvalid, "is 1 already", ssm.Put, key+"=1")
	f(ops.ErrInvalid, "needs a rule", ssm.Run)
	f(ops.ErrDenied, "allowed are patch, unpatch", ssm.Run, "rm")
	f(ops.ErrInvalid, "takes no instances", ssm.Run, "patch", "i-00")
	f(ops.ErrInvalid, "needs instances", ssm.Run, "restart")
	f(ops.ErrNotFound, "i-77 is not managed", ssm.Run, "restart", "i-77")
	f(ops.ErrStalled, "ConnectionLost", ssm.Run, "restart", "gone")
	f(ops.ErrDenied, "max_targets 3", ssm.Run, "many")
	f(ops.ErrInvalid, "of type Automation", ssm.Run, "rebuild", "i-00")
	f(ops.ErrInvalid, "of type Command", ssm.Start, "patch")
	f(ops.ErrInvalid, "takes a rule and nothing else", ssm.Start, "rebuild", "i-00")
	delete(b.account.Documents, "Patch")
	f(ops.ErrNotFound, "Patch does not exist", ssm.Run, "patch")
}

func TestAnotherDocumentIsAnotherPlan(t *testing.T) {
	b := newBench(t)
	was := b.plan(ssm.Run, "patch")
	b.account.Documents["Patch"].Hash = "h2"
	if now := b.plan(ssm.Run, "patch"); now.ComputeDigest() == was.ComputeDigest() {
		t.Error("the document changed and the digest did not")
	}
}

func TestPuttingOverSomebodyElsesValueIsRefused(t *testing.T) {
	b := newBench(t)
	p := b.plan(ssm.Put, key+"=2")
	b.account.Parameters.Set(key, "3", time.Now())
	_, err := b.Apply(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrConflict, "has moved")
	p = b.plan(ssm.Put, key+"=2")
	if _, err := b.Apply(t.Context(), "t2", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.account.Parameters.Set(key, "4", time.Now())
	_, err = b.RollBack(t.Context(), "t2", p, io.Discard)
	b.wants(err, ops.ErrConflict, "has moved")
	if v, _ := b.account.Parameters.Value(key); v != "4" {
		t.Errorf("%s stands", v)
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	f := func(c ssm.Config, want string) {
		t.Helper()
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	one := func(shape func(*ssm.Rule)) ssm.Config {
		r := ssm.Rule{Name: "a", Document: "D"}
		shape(&r)
		return ssm.Config{Runs: []ssm.Rule{r}}
	}
	f(one(func(*ssm.Rule) {}), "")
	f(ssm.Config{}, "list what this executor may do")
	f(ssm.Config{Parameters: []string{"app"}}, "parameters[0]")
	f(ssm.Config{Parameters: []string{"/a/*/b"}}, "parameters[0]")
	f(ssm.Config{Parameters: []string{"/a"}, Grace: -1}, "negative")
	f(one(func(r *ssm.Rule) { r.Document = "" }), "required")
	f(ssm.Config{Runs: []ssm.Rule{{Name: "a", Document: "D"}, {Name: "a", Document: "D"}}}, "used twice")
	f(one(func(r *ssm.Rule) { r.MaxTargets = 51 }), "max_targets")
	f(one(func(r *ssm.Rule) { r.Concurrency = "0" }), "concurrency")
	f(one(func(r *ssm.Rule) { r.Errors = "-1" }), "errors")
	f(one(func(r *ssm.Rule) { r.Delivery = time.Second }), "delivery")
	f(one(func(r *ssm.Rule) { r.Rollback = "b" }), "no rule")
	f(one(func(r *ssm.Rule) { r.Targets = []string{"web"} }), "tag:name=value")
}

// TestTheDoubleRefuses proves by raw calls that the double is as strict as the
// service.
func TestTheDoubleRefuses(t *testing.T) {
	a := ssmtest.Start(t).Account("raw")
	world(a)
	type m = map[string]any
	f := func(operation string, in m, code string) {
		t.Helper()
		if _, bad := a.Do(operation, in); bad == nil || bad.Code != code {
			t.Errorf("%s %v: %+v, want %s", operation, in, bad, code)
		}
	}
	on := []any{"i-00"}
	send := func(extra m) m {
		in := m{"DocumentName": "Patch", "InstanceIds": on, "Parameters": m{"Operation": []any{"Install"}}}
		for k, v := range extra {
			in[k] = v
		}
		return in
	}
	many := make([]any, 51)
	f("SendCommand", send(m{"DocumentName": "None"}), "InvalidDocument")
	f("SendCommand", send(m{"DocumentName": "Rebuild"}), "InvalidDocument")
	f("SendCommand", send(m{"DocumentVersion": "2"}), "InvalidDocumentVersion")
	f("SendCommand", send(m{"InstanceIds": nil}), "ValidationException")
	f("SendCommand", send(m{"InstanceIds": many}), "ValidationException")
	f("SendCommand", send(m{"InstanceIds": []any{"i-77"}}), "InvalidInstanceId")
	f("SendCommand", send(m{"InstanceIds": []any{"gone"}}), "InvalidInstanceId")
	f("SendCommand", send(m{"TimeoutSeconds": 29.0}), "ValidationException")
	f("SendCommand", send(m{"MaxConcurrency": "0"}), "ValidationException")
	f("SendCommand", send(m{"MaxErrors": "some"}), "ValidationException")
	f("SendCommand", send(m{"Comment": strings.Repeat("x", 101)}), "ValidationException")
	f("SendCommand", send(m{"Parameters": m{}}), "InvalidParameters")
	f("SendCommand", send(m{"Parameters": m{"Operation": []any{"x"}, "Else": []any{"y"}}}), "InvalidParameters")
	f("ListCommands", m{"CommandId": "none"}, "InvalidCommandId")
	f("ListCommandInvocations", m{"CommandId": "none"}, "InvalidCommandId")
	f("CancelCommand", m{"CommandId": "none"}, "InvalidCommandId")
	f("DescribeInstanceInformation", m{"Filters": []any{m{"Key": "colour", "Values": []any{"red"}}}}, "InvalidFilterKey")
	f("DescribeDocument", m{"Name": "None"}, "InvalidDocument")
	out, bad := a.Do("SendCommand", send(nil))
	if bad != nil {
		t.Fatal(bad)
	}
	id := out.(m)["Command"].(m)["CommandId"]
	f("GetCommandInvocation", m{"CommandId": id, "InstanceId": "i-00"}, "InvocationDoesNotExist") // for a moment
	f("GetCommandInvocation", m{"CommandId": id, "InstanceId": "i-01"}, "InvocationDoesNotExist")

	const token = "00000000-0000-4000-8000-000000000000"
	start := func(extra m) m {
		in := m{"DocumentName": "Rebuild", "ClientToken": token, "Parameters": m{"Image": []any{"ami-1"}}}
		for k, v := range extra {
			in[k] = v
		}
		return in
	}
	f("StartAutomationExecution", start(m{"DocumentName": "None"}), "AutomationDefinitionNotFoundException")
	f("StartAutomationExecution", start(m{"DocumentName": "Patch"}), "AutomationDefinitionNotFoundException")
	f("StartAutomationExecution", start(m{"DocumentVersion": "9"}), "AutomationDefinitionVersionNotFoundException")
	f("StartAutomationExecution", start(m{"ClientToken": "run-1"}), "ValidationException")
	f("StartAutomationExecution", start(m{"Parameters": m{}}), "InvalidAutomationExecutionParametersException")
	f("GetAutomationExecution", m{"AutomationExecutionId": "none"}, "AutomationExecutionNotFoundException")
	first, bad := a.Do("StartAutomationExecution", start(nil))
	again, worse := a.Do("StartAutomationExecution", start(nil))
	if bad != nil || worse != nil || fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("one token, two executions: %v, %v", first, again)
	}
	f("StartAutomationExecution", start(m{"Parameters": m{"Image": []any{"ami-2"}}}), "IdempotentParameterMismatch")
	f("StopAutomationExecution", m{"AutomationExecutionId": first.(m)["AutomationExecutionId"]}, "InvalidAutomationStatusUpdateException")
	f("CreateOpsItem", m{}, "UnknownOperationException")
}
