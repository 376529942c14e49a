package terraform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/worker"
	"github.com/fettleops/fettle/ops"
)

// tokenVariable carries the token into Terraform's environment, and into that
// of whatever its provisioners start.
const tokenVariable = "FETTLE_RUN_TOKEN"

// mark is what is durable about one run.
type mark struct {
	State string    `json:"state"`
	Host  string    `json:"host"`
	At    time.Time `json:"at"`
	worker.ID
	Code    int    `json:"code,omitempty"`
	Fault   string `json:"fault,omitempty"` // of an ended or refused run, empty when it worked
	Note    string `json:"note,omitempty"`
	Unknown bool   `json:"unknown,omitempty"` // it ended, and nobody can know how
}

const (
	planning = "planning" // nothing has begun
	starting = "starting" // the apply may or may not have come to life
	started  = "started"
	refused  = "refused" // it never began and never will under this token
	ended    = "ended"
)

func (m mark) text() string { return string(canonical(m)) }

// answer returns the outcome that is recorded.
func (m mark) answer() (execute.Result, error) {
	switch {
	case m.Unknown:
		return execute.Result{Code: m.Code}, hidden(m.Fault)
	case m.Fault != "":
		return execute.Result{Code: m.Code}, fmt.Errorf("terraform: %s: %w", m.Fault, ops.ErrStalled)
	}
	return execute.Result{Code: m.Code, Note: m.Note}, nil
}

func hidden(why string) error {
	return &ops.UnknownOutcome{Err: fmt.Errorf("terraform: %s: %w", why, ops.ErrUnavailable)}
}

// errand is one apply to be made once.
type errand struct {
	wanted
	rule   Rule
	after  applied // what stands when it has worked
	refuse func(ctx context.Context, rd *reader, d draft) (why string, err error)
}

// once does the errand unless the token was seen before.
func (x *Executor) once(ctx context.Context, token execute.Token, e errand, out io.Writer) (execute.Result, error) {
	m := mark{State: planning, Host: x.env.Host, At: x.env.Clock().UTC()}
	if ctx.Err() != nil {
		m.State, m.Fault = refused, "not started: "+context.Cause(ctx).Error()
	}
	recorded, fresh, err := x.env.Marks.Mark(context.WithoutCancel(ctx), string(token), m.text())
	if err != nil {
		return execute.Result{}, fmt.Errorf("terraform: not started, the mark could not be written: %w", err)
	}
	if fresh {
		if m.State == refused {
			return m.answer()
		}
		return x.begin(ctx, token, e, m, out)
	}
	var seen mark
	if err := json.Unmarshal([]byte(recorded), &seen); err != nil {
		return execute.Result{}, hidden("the mark of this run is unreadable: " + err.Error())
	}
	return x.again(ctx, token, e, seen, out)
}

// again answers for a run that was marked before.
func (x *Executor) again(ctx context.Context, token execute.Token, e errand, m mark, out io.Writer) (execute.Result, error) {
	durable := context.WithoutCancel(ctx)
	switch m.State {
	case ended, refused:
		return m.answer()
	case planning:
		return x.beginAnew(ctx, token, e, out)
	}
	if m.Host != x.env.Host {
		return execute.Result{}, hidden(fmt.Sprintf("it began on %s (pid %d) at %s; look there", m.Host, m.Pid, m.At.Format(time.RFC3339)))
	}
	t := x.transcript(durable, token, e.digest, out)
	left := max(e.rule.Timeout-x.env.Clock().Sub(m.At), 0)
	still, why := worker.Await(ctx, m.ID, worker.RunVariable, worker.Run(x.env.Dir, string(token)), x.manner(left, t), t.copy)
	if len(still) > 0 {
		return execute.Result{}, hidden(fmt.Sprintf("it still runs as %v and could not be ended", still))
	}
	t.copy()
	if !t.said && m.State == starting {
		return x.beginAnew(ctx, token, e, out) // not one word, and no process: the crash came before it
	}
	if why == nil && !t.told() {
		why = fmt.Errorf("it began at %s, the server was killed, and Terraform has ended since without telling how", m.At.Format(time.RFC3339))
	}
	return x.conclude(durable, token, e, m, t, why)
}

// beginAnew begins a run whose earlier server was killed before the effect.
func (x *Executor) beginAnew(ctx context.Context, token execute.Token, e errand, out io.Writer) (execute.Result, error) {
	m := mark{State: planning, Host: x.env.Host, At: x.env.Clock().UTC()}
	if ctx.Err() != nil {
		return x.finish(ctx, token, m, refused, "not started: "+context.Cause(ctx).Error())
	}
	if err := x.env.Marks.Note(context.WithoutCancel(ctx), string(token), m.text()); err != nil {
		return execute.Result{}, fmt.Errorf("terraform: not started, the mark could not be written: %w", err)
	}
	return x.begin(ctx, token, e, m, out)
}

// begin plans, compares, and applies what it has just planned.
func (x *Executor) begin(ctx context.Context, token execute.Token, e errand, m mark, out io.Writer) (execute.Result, error) {
	durable := context.WithoutCancel(ctx)
	dir := x.runDir(token)
	never := func(why string) (execute.Result, error) {
		_ = os.RemoveAll(dir)
		return x.finish(durable, token, m, refused, "not started: "+why)
	}
	if err := x.present(e.digest); err != nil {
		return never(err.Error())
	}
	if err := os.RemoveAll(dir); err != nil {
		return never(err.Error())
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return never(err.Error())
	}
	d, err := x.plan(ctx, e.wanted, filepath.Join(dir, "plan"))
	if err != nil {
		return never(err.Error())
	}
	rd, err := x.reader(durable)
	if err != nil {
		return never(err.Error())
	}
	why, err := e.refuse(ctx, rd, d)
	switch {
	case err != nil:
		return never(err.Error())
	case why != "":
		return never(why)
	case ctx.Err() != nil:
		return never(context.Cause(ctx).Error())
	}
	m.State, m.At = starting, x.env.Clock().UTC()
	if err := x.env.Marks.Note(durable, string(token), m.text()); err != nil {
		return execute.Result{}, fmt.Errorf("terraform: not started, the mark could not be written: %w", err)
	}
	proc, secrets, err := x.spawn(ctx, token, e.digest, dir)
	if err != nil {
		return never(err.Error())
	}
	m.State, m.ID = started, proc.ID()
	if err := x.env.Marks.Note(durable, string(token), m.text()); err != nil {
		// The token in its environment still leads to the process.
		x.env.Log.LogAttrs(ctx, slog.LevelWarn, "pid not recorded", slog.Int("pid", m.Pid), slog.String("error", x.env.Redact(err.Error())))
	}
	t := &transcript{dir: dir, out: out, mask: masked(append(rd.concealed(d), secrets...))}
	code, err := proc.Wait(ctx, x.manner(e.rule.Timeout, t), t.copy)
	if err != nil {
		worker.KillMarked(worker.RunVariable, worker.Run(x.env.Dir, string(token)))
	}
	t.copy()
	m.Code = code
	return x.conclude(durable, token, e, m, t, err)
}

// manner is how an apply is ended. Terraform loses an interrupt that comes
// before its walk of the resources has begun, and a second one makes it drop
// the state.
func (x *Executor) manner(timeout time.Duration, t *transcript) worker.Manner {
	return worker.Manner{Signal: syscall.SIGINT, Grace: x.cfg.Grace, Timeout: timeout, Early: func() bool {
		t.copy()
		return !t.begun && !t.told()
	}}
}

// spawn starts the apply of the saved plan.
func (x *Executor) spawn(ctx context.Context, token execute.Token, digest, dir string) (*worker.Process, []string, error) {
	env, secrets, err := x.environment(ctx, string(token))
	if err != nil {
		return nil, nil, err
	}
	var files [2]*os.File
	for i, name := range []string{"out", "err"} {
		files[i], err = os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = files[i].Close() }()
	}
	failpoint.Hit("execute.terraform.apply.before")
	proc, err := worker.Start(worker.Spec{
		File: x.binary, Args: x.applyArgs(filepath.Join(dir, "plan")), Dir: x.root(digest), Env: env, Stdout: files[0], Stderr: files[1],
	})
	failpoint.Hit("execute.terraform.apply.after")
	return proc, secrets, err
}

// conclude finds out from what Terraform wrote how the apply ended, and records
// it. why is set when it did not end by itself.
func (x *Executor) conclude(ctx context.Context, token execute.Token, e errand, m mark, t *transcript, why error) (execute.Result, error) {
	text := func(first string) string {
		parts := []string{first}
		if first == "" {
			parts = nil
		}
		if why != nil {
			parts = append(parts, why.Error())
		}
		for _, d := range t.faults[:min(len(t.faults), 5)] {
			parts = append(parts, t.mask(d.String()))
		}
		if len(t.faults) == 0 {
			if said := t.stderr(); said != "" {
				parts = append(parts, said)
			}
		}
		return strings.Join(parts, "; ")
	}
	left := x.leftState()
	switch {
	case left != "":
		return x.finish(ctx, token, m, ended, text(left))
	case t.complete && m.Code == 0:
	case len(t.faults) > 0:
		return x.finish(ctx, token, m, ended, text("the apply failed"))
	default:
		// Killed in the middle, it took its knowledge along: what it had begun
		// may exist without being in the state.
		worker.KillMarked(worker.RunVariable, worker.Run(x.env.Dir, string(token)))
		m.Unknown = true
		return x.finish(ctx, token, m, ended, text("the apply was cut off"))
	}
	if err := x.rememberApplied(ctx, e.after); err != nil {
		x.env.Log.LogAttrs(ctx, slog.LevelWarn, "what was applied is not remembered", slog.String("error", x.env.Redact(err.Error())))
	}
	m.Code = 0
	checks, err := x.standing(ctx, e.digest)
	switch {
	case err != nil && x.cfg.Checks == checksFail:
		return x.finish(ctx, token, m, ended, t.mask("applied, but its checks could not be read: "+err.Error()))
	case len(checks) > 0 && x.cfg.Checks == checksFail && !e.destroy:
		return x.finish(ctx, token, m, ended, t.mask("applied, but not every check holds: "+strings.Join(checks, "; ")))
	}
	for _, c := range checks {
		_, _ = io.WriteString(t.out, t.mask("! "+c)+"\n")
	}
	m.Note = t.mask(t.summary)
	return x.finish(ctx, token, m, ended, "")
}

// finish records the end. When that fails the caller still learns the outcome;
// only a second call would have to find it out again.
func (x *Executor) finish(ctx context.Context, token execute.Token, m mark, state, fault string) (execute.Result, error) {
	m.State, m.Fault = state, execute.Shorten(x.env.Redact(fault), maxFault)
	if err := x.env.Marks.Note(context.WithoutCancel(ctx), string(token), m.text()); err != nil {
		x.env.Log.LogAttrs(ctx, slog.LevelWarn, "end of an apply not recorded", slog.String("error", x.env.Redact(err.Error())))
		return m.answer()
	}
	if err := os.RemoveAll(x.runDir(token)); err != nil {
		x.env.Log.LogAttrs(ctx, slog.LevelWarn, "saved plan not removed", slog.String("error", x.env.Redact(err.Error())))
	}
	return m.answer()
}

// maxFault bounds the error of a run, which facts carry.
const maxFault = 4 << 10

// runDir holds the saved plan and what the apply writes. They are files, not
// pipes, so that a killed server does not end the apply by its next line.
func (x *Executor) runDir(token execute.Token) string {
	sum := sha256.Sum256([]byte(token))
	return filepath.Join(x.env.Dir, "runs", hex.EncodeToString(sum[:12]))
}

// transcript reads what an apply writes.
type transcript struct {
	dir  string
	out  io.Writer
	mask func(string) string
	mute bool // provisioners are left out: what is sensitive is not known

	at       int64
	partial  []byte
	said     bool
	begun    bool // the first resource is being changed
	complete bool
	summary  string
	faults   []diagnostic
}

// transcript returns one of a run that began before a crash. What is sensitive
// in it is read from the saved plan again.
func (x *Executor) transcript(ctx context.Context, token execute.Token, digest string, out io.Writer) *transcript {
	t := &transcript{dir: x.runDir(token), out: out, mask: x.env.Redact, mute: true}
	rd, err := x.reader(ctx)
	if err != nil {
		return t
	}
	a, err := x.call(ctx, x.root(digest), "show", "-json", filepath.Join(t.dir, "plan"))
	d := draft{Plan: &tfjson.Plan{}}
	d.UseJSONNumber(true)
	if err != nil || a.code != 0 || json.Unmarshal(a.stdout.Bytes(), d.Plan) != nil {
		return t
	}
	_, secrets, err := x.environment(ctx, "")
	if err != nil {
		return t
	}
	t.mask, t.mute = masked(append(rd.concealed(d), secrets...)), false
	return t
}

// told reports whether Terraform said how it ended.
func (t *transcript) told() bool { return t.complete || len(t.faults) > 0 }

// copy hands on what is new, as text. A file that is gone has nothing new.
func (t *transcript) copy() {
	f, err := os.Open(filepath.Join(t.dir, "out"))
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.NewSectionReader(f, t.at, maxAnswer))
	if err != nil {
		return
	}
	t.at += int64(len(b))
	t.partial = append(t.partial, b...)
	for {
		end := bytes.IndexByte(t.partial, '\n')
		if end < 0 {
			return
		}
		t.line(t.partial[:end])
		t.partial = t.partial[end+1:]
	}
}

func (t *transcript) line(raw []byte) {
	var l line
	t.said = true
	if err := json.Unmarshal(raw, &l); err != nil {
		l = line{Message: string(raw)}
	}
	text := l.Message
	switch l.Type {
	case "planned_change", "resource_drift":
		return // the plan has shown them
	case "apply_start":
		t.begun = true
	case "provision_progress":
		if t.mute {
			return
		}
	case "change_summary":
		if l.Changes != nil && (l.Changes.Operation == "apply" || l.Changes.Operation == "destroy") {
			t.complete, t.summary = true, l.Message
		}
	case "diagnostic":
		if l.Diagnostic != nil {
			if l.Diagnostic.Severity == "error" {
				t.faults = append(t.faults, *l.Diagnostic)
			}
			text = strings.ToUpper(l.Diagnostic.Severity[:min(1, len(l.Diagnostic.Severity))]) + l.Diagnostic.Severity[min(1, len(l.Diagnostic.Severity)):] + ": " + l.Diagnostic.String()
		}
	}
	_, _ = io.WriteString(t.out, t.mask(text)+"\n")
}

// stderr is what Terraform said beside its messages, when it broke.
func (t *transcript) stderr() string {
	b, err := os.ReadFile(filepath.Join(t.dir, "err"))
	if err != nil {
		return ""
	}
	return t.mask(brief(string(b)))
}
