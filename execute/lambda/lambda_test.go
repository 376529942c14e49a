package lambda_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/execute/lambda"
	"github.com/fettleops/fettle/execute/lambda/lambdatest"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

const secret = "s3cr3t-value"

// rules are what the executors under test may do.
const rules = `invokes:
- {name: resize, function: sizer, qualifier: live, payload: {value: large}, verify: check, rollback: unresize}
- {name: unresize, function: sizer, qualifier: live, payload: {value: small}}
- {name: check, function: look, qualifier: "1", payload: {value: large}}
- {name: once, function: sizer, qualifier: "1", payload: {value: large}}
- {name: set, function: sizer, payload: {deep: {list: [1, two]}}, fields: {value: "[a-z]+"}, rollback: unset}
- {name: unset, function: sizer, payload: {reason: back}, fields: {value: "[a-z]+"}}
- {name: known, function: knower, payload: {value: large}, token: payload.request}
- {name: told, function: listener, payload: {value: large}, token: context.request}
- {name: later, function: sizer, payload: {value: large}, event: true, verify: check}
- {name: forget, function: sizer, payload: {value: large}, event: true}
- {name: soon, function: sizer, payload: {value: large}, timeout: 200ms}
- {name: never, function: sizer, payload: {value: small}, verify: check, timeout: 200ms}
- {name: shared, function: sizer, qualifier: both}
- {name: none, function: none}
- {name: odd, function: sizer, payload: {value: large}, verify: talker}
- {name: talker, function: talker}
`

// world fills an account.
func world(a *lambdatest.Account) {
	a.With(func() {
		a.State["size"] = "small"
		code := func(c lambdatest.Code) *lambdatest.Function {
			c.SHA = "sha-1"
			other := c
			other.SHA = "sha-2"
			return &lambdatest.Function{Versions: []*lambdatest.Code{&c, &other}, Aliases: map[string]string{"live": "1", "both": "2"}, Shared: "both", RevisionID: "r1"}
		}
		a.Functions["sizer"] = code(lambdatest.Code{Writes: "size", Logs: "START\nsized\nEND", Answer: `"sized it"`})
		a.Functions["knower"] = code(lambdatest.Code{Writes: "size", Token: "request"})
		a.Functions["listener"] = code(lambdatest.Code{Writes: "size", Token: "context.request"})
		a.Functions["look"] = code(lambdatest.Code{Reads: "size"})
		a.Functions["talker"] = code(lambdatest.Code{Answer: `"fine"`})
	})
}

func config(url, extra string) string {
	return "region: eu-central-1\nendpoint: " + url + "\npoll: 10ms\n" + extra + rules
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	service := lambdatest.Start(t)
	account := func(dir string) *lambdatest.Account {
		return service.Account(filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir))
	}
	// shaped is a case whose function is shaped when its configuration is asked for.
	shaped := func(shape func(f *lambdatest.Function, c *lambdatest.Code)) func(string) string {
		return func(dir string) string {
			a := account(dir)
			a.With(func() { shape(a.Functions["sizer"], a.Functions["sizer"].Versions[0]) })
			return config(a.URL, "")
		}
	}
	change := ops.Change{ID: "c1", Action: lambda.Invoke, Args: []string{"resize"}}
	executetest.Run(t, lambda.Driver, executetest.Harness{
		Prepare: func(_ *testing.T, dir string) { world(account(dir)) },
		Quick:   executetest.Case{Config: shaped(func(*lambdatest.Function, *lambdatest.Code) {}), Change: change},
		Slow:    executetest.Case{Config: shaped(func(_ *lambdatest.Function, c *lambdatest.Code) { c.Takes = 1200 * time.Millisecond }), Change: change},
		Loud: executetest.Case{Config: shaped(func(_ *lambdatest.Function, c *lambdatest.Code) {
			c.Logs = "the password is " + secret
			c.Answer = `"` + strings.Repeat(strings.Repeat("x", 900)+`\n`, 400) + `the end"`
		}), Change: change},
		Fails: executetest.Case{Config: shaped(func(_ *lambdatest.Function, c *lambdatest.Code) { c.Logs, c.Fails = secret, "no access with "+secret }), Change: change},
		Endless: executetest.Case{Config: shaped(func(f *lambdatest.Function, c *lambdatest.Code) {
			f.Timeout, c.Takes = 300*time.Millisecond, time.Minute
		}), Change: change},
		Secret: secret,
		Begun:  func(_ *testing.T, dir string) int { return account(dir).Begun() },
		Stands: func(_ *testing.T, dir string) (stands bool) {
			a := account(dir)
			a.With(func() { stands = a.State["size"] == "large" })
			return stands
		},
		Disturb: func(_ *testing.T, dir string) {
			a := account(dir)
			a.With(func() { a.State["size"] = "medium" })
		},
		Blind: func(_ *testing.T, dir string) { account(dir).Deny("GetFunctionConfiguration") },
		Alter: func(_ *testing.T, dir string) {
			a := account(dir)
			a.With(func() { a.Functions["sizer"].Aliases["live"] = "2" })
		},
		Alive:   func(_ *testing.T, dir string) []string { return account(dir).Alive() },
		Crashes: []string{"execute.lambda.invoke.before", "execute.lambda.invoke.after"},
	})
}

func open(t *testing.T, text string, m execute.Marks) execute.Executor {
	t.Helper()
	awsxtest.Credentials(t)
	decode := func(into any) error {
		return yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(into)
	}
	x, err := lambda.Driver.Open(t.Context(), decode, execute.Env{
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
	account *lambdatest.Account
	marks   *executetest.Marks
}

func newBench(t *testing.T, extra string) *bench {
	t.Helper()
	b := &bench{t: t, account: lambdatest.Start(t).Account("a"), marks: executetest.NewMarks()}
	world(b.account)
	b.Executor = open(t, config(b.account.URL, extra), b.marks)
	return b
}

func (b *bench) try(args ...string) (ops.Plan, error) {
	return b.Plan(b.t.Context(), execute.Request{Change: ops.Change{ID: "c1", Action: lambda.Invoke, Args: args}})
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

func (b *bench) function(name string, f func(f *lambdatest.Function)) {
	b.account.With(func() { f(b.account.Functions[name]) })
}

// state wants a text of the account, which functions have written.
func (b *bench) state(key, want string) {
	b.t.Helper()
	b.account.With(func() {
		if is := b.account.State[key]; is != want {
			b.t.Errorf("%s is %q, want %q", key, is, want)
		}
	})
}

func (b *bench) killed(token string) {
	b.marks.Rows[token] = `{"state":"going","at":"` + time.Now().UTC().Format(time.RFC3339Nano) + `"}`
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

func (b *bench) unknown(err error, says ...string) {
	b.t.Helper()
	if !errors.As(err, new(*ops.UnknownOutcome)) {
		b.t.Errorf("got %v, want an unknown outcome", err)
		return
	}
	b.wants(err, ops.ErrUnavailable, says...)
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

func TestThePlanPinsWhatRuns(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("resize")
	has(t, p.Text, "+ invoke arn:aws:lambda:eu-central-1:123456789012:function:sizer:1 version 1 (rule resize)", "code sha-1", `payload {"value":"large"}`, "at most once", "verified by", "- undone by")
	b.function("sizer", func(f *lambdatest.Function) { f.Aliases["live"] = "2" })
	_, err := b.apply("t", p)
	b.wants(err, ops.ErrConflict, "version 2 with the code sha-2 now, and 1 with sha-1 was planned")
	if d, err := b.Drift(t.Context(), p); d != execute.Drifted || err != nil {
		t.Errorf("drift: %s, %v", d, err)
	}
	// Of the unpublished code, anything may change.
	p = b.plan("set", "value=large")
	has(t, p.Text, "! not a published version", `{"deep":{"list":[1,"two"]},"value":"large"}`)
	b.function("sizer", func(f *lambdatest.Function) { f.RevisionID = "r2" })
	if now := b.plan("set", "value=large"); now.ComputeDigest() == p.ComputeDigest() {
		t.Error("the environment of the function changed and the digest did not")
	}
	_, err = b.apply("t2", p)
	b.wants(err, ops.ErrConflict)
	if b.account.Begun() != 0 {
		t.Error("it was invoked all the same")
	}
}

func TestFieldsAndTheWayBack(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("set", "value=huge")
	out, err := b.apply("t", p)
	if err != nil {
		t.Fatal(err)
	}
	has(t, out, "Invoking", "START\nsized\nEND", "sized it")
	b.state("size", "huge")
	if d, err := b.Drift(t.Context(), p); d != execute.Unknown || !errors.Is(err, ops.ErrStalled) {
		t.Errorf("drift without verify: %s, %v", d, err)
	}
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.state("writes", "xx")
}

func TestAFunctionErrorIsAFailure(t *testing.T) {
	b := newBench(t, "")
	b.function("sizer", func(f *lambdatest.Function) { f.Versions[0].Fails = "no such size" })
	p := b.plan("once")
	for range 2 {
		_, err := b.apply("t", p)
		b.wants(err, ops.ErrStalled, "failed (Unhandled): Error: no such size")
		if errors.As(err, new(*ops.UnknownOutcome)) {
			t.Error("a failure that is known is unknown")
		}
	}
	if b.account.Begun() != 1 {
		t.Errorf("invoked %d times", b.account.Begun())
	}
	b.function("sizer", func(f *lambdatest.Function) { f.Throttled = true })
	_, err := b.apply("t2", p)
	b.wants(err, ops.ErrThrottled)
}

func TestWhatNobodyKnowsIsNotInvokedAgain(t *testing.T) {
	b := newBench(t, "")
	p := b.plan("once")
	b.account.Lose()
	for range 2 {
		_, err := b.apply("lost", p)
		b.unknown(err)
	}
	b.killed("killed")
	_, err := b.apply("killed", p)
	b.unknown(err, "not invoked a second time")
	if b.account.Begun() != 1 {
		t.Errorf("invoked %d times", b.account.Begun())
	}
	// One that verifies says what became of it.
	p = b.plan("resize")
	b.killed("verified")
	if _, err := b.apply("verified", p); err != nil {
		t.Errorf("the work is done: %v", err)
	}
	b.account.With(func() { b.account.State["size"] = "small" })
	b.killed("not")
	_, err = b.apply("not", p)
	b.unknown(err, "does not find its work done")
	if b.account.Begun() != 1 {
		t.Errorf("invoked %d times", b.account.Begun())
	}
}

func TestAFunctionThatKnowsItsTokenIsInvokedAgain(t *testing.T) {
	for _, rule := range []string{"known", "told"} {
		b := newBench(t, "")
		p := b.plan(rule)
		has(t, p.Text, "again with the same")
		b.account.Lose()
		if _, err := b.apply("t", p); err != nil {
			t.Fatal(err)
		}
		b.killed("t")
		if _, err := b.apply("t", p); err != nil {
			t.Fatal(err)
		}
		b.state("writes", "x")
		if b.account.Begun() != 3 {
			t.Errorf("%s: invoked %d times, want twice and once after the crash", rule, b.account.Begun())
		}
		if _, err := b.apply("t2", p); err != nil {
			t.Fatal(err)
		}
		b.state("writes", "xx")
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t, "")
	b.function("sizer", func(f *lambdatest.Function) { f.Versions[1].Takes = 100 * time.Millisecond })
	p := b.plan("later")
	has(t, p.Text, "asynchronously")
	out, err := b.apply("t", p)
	if err != nil {
		t.Fatal(err)
	}
	has(t, out, "The service has taken the event", "Verifying by rule check", "size is small", "size is large")
	b.state("size", "large")
	has(t, b.plan("forget").Text, "! asynchronously: nobody looks")
	if _, err := b.apply("t2", b.plan("forget")); err != nil {
		t.Fatal(err)
	}
}

func TestTimeIsUp(t *testing.T) {
	b := newBench(t, "grace: 50ms\n")
	p := b.plan("never")
	_, err := b.apply("t", p)
	b.wants(err, ops.ErrStalled, "timed out after 200ms", "does not find the work")
	b.function("sizer", func(f *lambdatest.Function) { f.Versions[1].Takes = 700 * time.Millisecond })
	_, err = b.apply("t2", b.plan("soon"))
	b.unknown(err, "timed out after 200ms")
	b.idle()
	// A function that is to be stopped goes on, and is not waited for for ever.
	b.function("sizer", func(f *lambdatest.Function) { f.Versions[0].Takes = 700 * time.Millisecond })
	once := b.plan("once")
	ctx, stop := context.WithCancelCause(t.Context())
	go func() {
		for len(b.account.Alive()) == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		stop(errors.New("a person stopped it"))
	}()
	_, err = b.Apply(ctx, "t3", once, io.Discard)
	stop(nil)
	b.unknown(err, "cannot be stopped and still ran after 50ms", "a person stopped it")
	b.idle()
}

// idle waits until no function runs any more.
func (b *bench) idle() {
	for len(b.account.Alive()) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t, "")
	f := func(class error, says string, args ...string) {
		t.Helper()
		_, err := b.try(args...)
		b.wants(err, class, says)
	}
	f(ops.ErrInvalid, "needs a rule")
	f(ops.ErrDenied, "allowed are resize, unresize", "rm")
	f(ops.ErrInvalid, "each of the fields [] once", "resize", "value=1")
	f(ops.ErrInvalid, "needs the fields [value]", "set")
	f(ops.ErrInvalid, "once, as name=value", "set", "value=a", "value=b")
	f(ops.ErrDenied, "does not match [a-z]+", "set", "value=a1")
	f(ops.ErrDenied, "does not match", "set", "value")
	f(ops.ErrNotFound, "Function not found", "none")
	f(ops.ErrStalled, "shared by several versions", "shared")
	_, err := b.apply("t", b.plan("odd"))
	b.unknown(err, `answered "\"fine\"" and not {"ok": true}`)
	b.function("sizer", func(f *lambdatest.Function) { f.Updating = true })
	f(ops.ErrStalled, "is being updated", "set", "value=a")
	b.function("sizer", func(f *lambdatest.Function) { f.Pending = true })
	f(ops.ErrStalled, "in the state Pending", "resize")
	b.function("sizer", func(f *lambdatest.Function) { f.Pending, f.Updating = false, false })
	b.account.Deny("InvokeFunction")
	f(ops.ErrDenied, "may be invoked", "resize") // by a dry run, before anybody approves
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	f := func(want string, shape func(*lambda.Rule)) {
		t.Helper()
		r := lambda.Rule{Name: "a", Function: "f"}
		shape(&r)
		c := lambda.Config{Config: awsx.Config{Region: "eu-central-1"}, Invokes: []lambda.Rule{
			{Name: "check", Function: "f"}, {Name: "event", Function: "f", Event: true}, {Name: "fields", Function: "f", Fields: map[string]string{"x": "."}}, r,
		}}
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
	big := map[string]any{"x": strings.Repeat("x", 1_000_000)}
	f("", func(*lambda.Rule) {})
	f("required", func(r *lambda.Rule) { r.Function = "" })
	f("used twice", func(r *lambda.Rule) { r.Name = "check" })
	f("version or alias in qualifier", func(r *lambda.Rule) { r.Function = "f:live" })
	f("", func(r *lambda.Rule) { r.Function = "arn:aws:lambda:eu-central-1:123456789012:function:f" })
	f("", func(r *lambda.Rule) { r.Payload = big })
	f("the service takes 999000", func(r *lambda.Rule) { r.Payload, r.Event = big, true })
	f("no JSON", func(r *lambda.Rule) { r.Payload = map[string]any{"x": func() {}} })
	f("regular expression", func(r *lambda.Rule) { r.Fields = map[string]string{"x": "("} })
	f("write it once", func(r *lambda.Rule) {
		r.Fields, r.Payload = map[string]string{"x": "."}, map[string]any{"x": 1}
	})
	f("payload.NAME or context.NAME", func(r *lambda.Rule) { r.Token = "request" })
	f("has no context", func(r *lambda.Rule) { r.Token, r.Event = "context.request", true })
	f("has that field already", func(r *lambda.Rule) { r.Token, r.Payload = "payload.x", map[string]any{"x": 1} })
	f("name of no rule", func(r *lambda.Rule) { r.Rollback = "none" })
	f("must answer", func(r *lambda.Rule) { r.Verify = "event" })
	f("other fields", func(r *lambda.Rule) { r.Verify = "fields" })
	f("", func(r *lambda.Rule) { r.Verify, r.Rollback = "check", "event" })
	f("negative", func(r *lambda.Rule) { r.Timeout = -1 })
	if err := (&lambda.Config{Grace: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "invokes is empty") || !strings.Contains(err.Error(), "negative") {
		t.Errorf("empty: %v", err)
	}
}

// TestTheDoubleRefuses proves by raw calls that the double is as strict as the
// service.
func TestTheDoubleRefuses(t *testing.T) {
	a := lambdatest.Start(t).Account("raw")
	world(a)
	f := func(want int, code, method, path, body string, headers ...string) http.Header {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, a.URL+"/2015-03-31/functions/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || resp.Header.Get("X-Amzn-Errortype") != code {
			t.Errorf("%s %s: %d %s, want %d %s", method, path, resp.StatusCode, resp.Header.Get("X-Amzn-Errortype"), want, code)
		}
		return resp.Header
	}
	const kind, about = "X-Amz-Invocation-Type", "X-Amz-Client-Context"
	f(404, "ResourceNotFoundException", "GET", "none/configuration", "")
	f(404, "ResourceNotFoundException", "GET", "sizer/configuration?Qualifier=9", "")
	f(404, "ResourceNotFoundException", "GET", "sizer/aliases/none", "")
	f(404, "UnknownOperationException", "DELETE", "sizer", "")
	f(404, "ResourceNotFoundException", "POST", "none/invocations", "{}")
	f(404, "ResourceNotFoundException", "POST", "sizer/invocations?Qualifier=gone", "{}")
	f(400, "InvalidRequestContentException", "POST", "sizer/invocations", "{")
	f(400, "InvalidRequestContentException", "POST", "sizer/invocations", "{}", about, "no base64")
	f(400, "InvalidRequestContentException", "POST", "sizer/invocations", "{}", about, strings.Repeat("A", 3584))
	f(400, "InvalidParameterValueException", "POST", "sizer/invocations", "{}", kind, "Sometime")
	f(413, "RequestTooLargeException", "POST", "sizer/invocations", `"`+strings.Repeat("x", 6<<20)+`"`)
	f(413, "RequestTooLargeException", "POST", "sizer/invocations", `"`+strings.Repeat("x", 1<<20)+`"`, kind, "Event")
	f(204, "", "POST", "sizer/invocations", "{}", kind, "DryRun")
	if a.Begun() != 0 {
		t.Errorf("refusals and dry runs ran %d functions", a.Begun())
	}
	if h := f(200, "", "POST", "sizer/invocations?Qualifier=live", "{}"); h.Get("X-Amz-Executed-Version") != "1" || h.Get("X-Amz-Function-Error") != "" {
		t.Errorf("invoked: %v", h)
	}
	f(202, "", "POST", "sizer/invocations", "{}", kind, "Event")
	a.With(func() { a.Functions["sizer"].Versions[1].Fails = "no" })
	if h := f(200, "", "POST", "sizer/invocations", "{}"); h.Get("X-Amz-Function-Error") != "Unhandled" {
		t.Errorf("failed: %v", h)
	}
	a.With(func() { a.Functions["sizer"].Throttled = true })
	f(429, "TooManyRequestsException", "POST", "sizer/invocations", "{}")
	a.With(func() { a.Functions["sizer"].Throttled, a.Functions["sizer"].Pending = false, true })
	f(409, "ResourceConflictException", "POST", "sizer/invocations", "{}")
	a.Deny("InvokeFunction")
	f(403, "AccessDeniedException", "POST", "sizer/invocations", "{}")
}
