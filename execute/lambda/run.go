package lambda

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// memory is what is durable about one run.
type memory struct {
	State string    `json:"state"`
	At    time.Time `json:"at"`
	Note  string    `json:"note,omitempty"`
	Fault string    `json:"fault,omitempty"` // of an ended run, empty when it worked
}

const (
	begun    = "begun"    // nothing was invoked
	going    = "going"    // it may have been invoked
	answered = "answered" // it has worked; verify may still be asked
	ended    = "ended"
)

// run is one call of Apply or RollBack.
type run struct {
	*Executor
	call
	token  string
	action ops.PlanAction
	out    io.Writer
	m      memory
}

func (m memory) text() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("lambda: a memory of texts always marshals: " + err.Error())
	}
	return string(b)
}

func (r *run) keep(ctx context.Context) error {
	return r.env.Marks.Note(context.WithoutCancel(ctx), r.token, r.m.text())
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

// do invokes unless the token was seen and its end is recorded.
func (r *run) do(ctx context.Context) (execute.Result, error) {
	r.m = memory{State: begun, At: r.env.Clock().UTC()}
	if ctx.Err() != nil {
		r.m.State, r.m.Fault = ended, "not started: "+context.Cause(ctx).Error()
	}
	recorded, fresh, err := r.env.Marks.Mark(context.WithoutCancel(ctx), r.token, r.m.text())
	if err != nil {
		return execute.Result{}, fmt.Errorf("lambda: the mark could not be written, nothing is done: %w", err)
	}
	if !fresh {
		r.m = memory{}
		if err := json.Unmarshal([]byte(recorded), &r.m); err != nil {
			return execute.Result{}, &ops.UnknownOutcome{Err: fmt.Errorf("lambda: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
		}
	}
	if r.m.State == ended {
		if r.m.Fault != "" {
			return execute.Result{}, fmt.Errorf("%s: %w", r.m.Fault, ops.ErrStalled)
		}
		return execute.Result{Note: r.m.Note}, nil
	}
	note, err := r.work(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	var unknown *ops.UnknownOutcome
	if errors.As(err, &unknown) {
		return execute.Result{}, err
	}
	r.m.State, r.m.Note = ended, note
	if err != nil {
		r.m.Fault = r.env.Redact(err.Error())
	}
	if kept := r.keep(ctx); kept != nil {
		// A later call will find that it may have been invoked, and not do it again.
		r.env.Log.LogAttrs(ctx, slog.LevelWarn, "end of an invocation not recorded", slog.String("rule", r.rule.Name), slog.String("error", r.env.Redact(kept.Error())))
	}
	return execute.Result{Note: note}, err
}

// work invokes the function where that may be done, and verifies.
func (r *run) work(ctx context.Context) (string, error) {
	switch {
	case r.m.State == begun:
		if err := r.begin(ctx); err != nil {
			return "", err
		}
		if err := r.invoke(ctx); err != nil {
			return "", err
		}
	case r.m.State == going:
		if done, err := r.resume(ctx); err != nil || done != "" {
			return done, err
		}
	}
	if r.m.State = answered; r.rule.Verify == "" {
		if r.rule.Event {
			return fmt.Sprintf("function %s was handed the event; what becomes of it nobody looks at", r.rule.Function), nil
		}
		return fmt.Sprintf("function %s version %s has worked", r.rule.Function, r.pin.version), nil
	}
	if err := r.keep(ctx); err != nil {
		return "", &ops.UnknownOutcome{Err: fmt.Errorf("lambda: that rule %s has worked could not be recorded: %w", r.rule.Name, err)}
	}
	return r.verify(ctx)
}

// begin looks whether the function is the planned one, and records that from now
// on it may have been invoked.
func (r *run) begin(ctx context.Context) error {
	stopped := func() error {
		return fmt.Errorf("lambda: not started: %w: %w", context.Cause(ctx), ops.ErrUnavailable)
	}
	if ctx.Err() != nil {
		return stopped()
	}
	is, err := r.pinned(ctx, r.rule)
	if err != nil {
		return err
	}
	if is.version != r.pin.version || is.code != r.pin.code || is.revision != r.pin.revision {
		return fmt.Errorf("lambda: function %s is version %s with the code %s now, and %s with %s was planned: %w", r.rule.Function, is.version, is.code, r.pin.version, r.pin.code, ops.ErrConflict)
	}
	if ctx.Err() != nil {
		return stopped()
	}
	r.m.State = going
	if err := r.keep(ctx); err != nil {
		return fmt.Errorf("lambda: the mark could not be written, nothing is done: %w", err)
	}
	return nil
}

// resume goes on with an invocation of which nobody knows what became of it:
// with its token where it has one, else by verify alone. It returns a note when
// there is nothing more to do.
func (r *run) resume(ctx context.Context) (string, error) {
	if r.rule.Token != "" && ctx.Err() == nil {
		r.say("Nobody knows what became of the invocation; it is made again with the same token")
		return "", r.invoke(ctx)
	}
	lost := fmt.Errorf("lambda: nobody knows whether function %s was invoked and what became of it, and it is not invoked a second time", r.rule.Function)
	if r.rule.Verify == "" {
		return "", &ops.UnknownOutcome{Err: fmt.Errorf("%w: %w", lost, ops.ErrUnavailable)}
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	ok, err := r.ask(look)
	switch {
	case err != nil:
		return "", &ops.UnknownOutcome{Err: fmt.Errorf("%w; %w", lost, err)}
	case !ok:
		return "", &ops.UnknownOutcome{Err: fmt.Errorf("%w; rule %s does not find its work done: %w", lost, r.rule.Verify, ops.ErrUnavailable)}
	}
	return fmt.Sprintf("rule %s finds the work of function %s done", r.rule.Verify, r.rule.Function), nil
}

// tries is how often a function that knows its token is invoked.
const tries = 3

// invoke invokes the function and waits for its answer. A function cannot be
// stopped: after ctx has ended it is waited for Grace, in which it may end.
func (r *run) invoke(ctx context.Context) error {
	live, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.rule.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(r.cfg.Grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-live.Done():
		}
	})
	defer stop()
	r.say("Invoking %s version %s", r.pin.arn, r.pin.version)
	var err error
	for try := range tries {
		if try > 0 && (r.rule.Token == "" || ctx.Err() != nil) {
			break
		}
		err = r.send(live)
		var unknown *ops.UnknownOutcome
		if !errors.As(err, &unknown) || live.Err() != nil {
			break
		}
	}
	switch {
	case live.Err() != nil && ctx.Err() != nil:
		return &ops.UnknownOutcome{Err: fmt.Errorf("lambda: function %s cannot be stopped and still ran after %s: %w", r.rule.Function, r.cfg.Grace, ops.ErrUnavailable)}
	case live.Err() != nil:
		return &ops.UnknownOutcome{Err: fmt.Errorf("lambda: function %s timed out after %s and was not heard of: %w", r.rule.Function, r.rule.Timeout, ops.ErrUnavailable)}
	case err == nil && ctx.Err() != nil:
		return fmt.Errorf("lambda: function %s could not be stopped and has done its work: %w: %w", r.rule.Function, context.Cause(ctx), ops.ErrStalled)
	}
	return err
}

// send is one invocation.
func (r *run) send(ctx context.Context) error {
	body, about, err := r.payload(r.token)
	if err != nil {
		return err
	}
	in := &lambda.InvokeInput{FunctionName: &r.rule.Function, Qualifier: &r.pin.version, InvocationType: r.rule.kind(), Payload: body}
	if !r.rule.Event {
		in.LogType = types.LogTypeTail
	}
	if about != "" {
		in.ClientContext = &about
	}
	var out *lambda.InvokeOutput
	err = guarded("invoke", func() (err error) {
		out, err = r.client.Invoke(ctx, in, once)
		return awsx.Write("lambda: invoke function "+r.rule.Function, err)
	})
	if err != nil {
		return err
	}
	r.tail(out)
	switch {
	case r.rule.Event && out.StatusCode != http.StatusAccepted, !r.rule.Event && out.StatusCode != http.StatusOK:
		return &ops.UnknownOutcome{Err: fmt.Errorf("lambda: function %s was answered for with %d: %w", r.rule.Function, out.StatusCode, ops.ErrUnavailable)}
	case r.rule.Event:
		r.say("The service has taken the event")
		return nil
	case out.FunctionError != nil:
		return fmt.Errorf("lambda: function %s failed (%s): %s: %w", r.rule.Function, aws.ToString(out.FunctionError), r.env.Redact(reason(out.Payload)), ops.ErrStalled)
	}
	r.say("%s", text(out.Payload))
	if v := aws.ToString(out.ExecutedVersion); v != "" && v != r.pin.version {
		return fmt.Errorf("lambda: version %s of function %s ran, and %s was planned: %w", v, r.rule.Function, r.pin.version, ops.ErrStalled)
	}
	return nil
}

// tail says the end of the function's log, of which the service keeps 4 KB.
func (r *run) tail(out *lambda.InvokeOutput) {
	b, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if log := strings.TrimSpace(string(b)); err == nil && log != "" {
		r.say("%s", log)
	}
}

// text is an answer for people: a text as it is, all else as JSON.
func text(payload []byte) string {
	var s string
	if json.Unmarshal(payload, &s) == nil {
		return s
	}
	return string(payload)
}

// reason is what a function that failed says.
func reason(payload []byte) string {
	var e struct{ ErrorType, ErrorMessage string }
	if json.Unmarshal(payload, &e) != nil || e.ErrorType+e.ErrorMessage == "" {
		return execute.Shorten(string(payload), 300)
	}
	return execute.Shorten(strings.TrimPrefix(e.ErrorType+": "+e.ErrorMessage, ": "), 300)
}

// ask invokes the function that verifies, as it was pinned.
func (r *run) ask(ctx context.Context) (bool, error) {
	check, known := r.other(r.rule.Verify, r.call)
	if !known {
		return false, fmt.Errorf("lambda: rule %s is no longer there: %w", r.rule.Verify, ops.ErrDenied)
	}
	body, _, err := check.payload("")
	if err != nil {
		return false, err
	}
	version := cmp.Or(r.action.After["verify version"], latest)
	out, err := r.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &check.rule.Function, Qualifier: &version, InvocationType: types.InvocationTypeRequestResponse, Payload: body})
	if err != nil {
		return false, awsx.Read("lambda: verify by function "+check.rule.Function, err)
	}
	var answer struct {
		OK   *bool  `json:"ok"`
		Note string `json:"note"`
	}
	switch {
	case out.FunctionError != nil:
		return false, fmt.Errorf("lambda: function %s, which verifies, failed: %s: %w", check.rule.Function, r.env.Redact(reason(out.Payload)), ops.ErrUnavailable)
	case json.Unmarshal(out.Payload, &answer) != nil || answer.OK == nil:
		return false, fmt.Errorf(`lambda: function %s, which verifies, answered %q and not {"ok": true} or {"ok": false}: %w`, check.rule.Function, r.env.Redact(execute.Shorten(string(out.Payload), 100)), ops.ErrUnavailable)
	}
	if answer.Note != "" {
		r.say("%s", answer.Note)
	}
	return *answer.OK, nil
}

// impatient is how many looks in a row may fail before nobody knows any more.
const impatient = 20

// verify asks until the work is done, ctx ends or the time is up.
func (r *run) verify(ctx context.Context) (string, error) {
	r.say("Verifying by rule %s", r.rule.Verify)
	live, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.rule.Timeout+time.Minute)
	defer cancel()
	for failed := 0; ; {
		ok, err := r.ask(live)
		switch {
		case err != nil:
			if failed++; failed >= impatient {
				return "", &ops.UnknownOutcome{Err: err}
			}
		case ok:
			return fmt.Sprintf("rule %s finds the work of function %s done", r.rule.Verify, r.rule.Function), nil
		default:
			failed = 0
		}
		switch {
		case ctx.Err() != nil:
			return "", fmt.Errorf("lambda: rule %s does not find the work of function %s done: %w: %w", r.rule.Verify, r.rule.Function, context.Cause(ctx), ops.ErrStalled)
		case r.env.Clock().After(r.m.At.Add(r.rule.Timeout)):
			return "", fmt.Errorf("lambda: rule %s timed out after %s: it does not find the work of function %s done: %w", r.rule.Verify, r.rule.Timeout, r.rule.Function, errors.Join(err, ops.ErrStalled))
		}
		t := time.NewTimer(r.cfg.Poll)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}
