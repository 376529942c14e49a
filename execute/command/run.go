package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/worker"
	"github.com/fettleops/fettle/ops"
)

// tokenVariable carries the token into the command's environment.
const tokenVariable = "FETTLE_RUN_TOKEN"

// mark is what is durable about one run. It is written before the process
// starts, when it has started and when it has ended.
type mark struct {
	State string    `json:"state"`
	Host  string    `json:"host"`
	At    time.Time `json:"at"`
	worker.ID
	Code  int    `json:"code,omitempty"`
	Fault string `json:"fault,omitempty"` // of an ended or refused run, empty when it worked
}

const (
	starting = "starting" // the process may or may not have come to life
	started  = "started"
	refused  = "refused" // it never started and never will under this token
	ended    = "ended"
)

func (m mark) text() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("command: a mark of strings and numbers always marshals: " + err.Error())
	}
	return string(b)
}

// once runs the action unless the token was seen before.
func (x *Executor) once(ctx context.Context, token execute.Token, rule Rule, a ops.PlanAction, out io.Writer) (execute.Result, error) {
	m := mark{State: starting, Host: x.env.Host, At: x.env.Clock().UTC()}
	file, fault := x.ready(ctx, a)
	if fault != "" {
		m.State, m.Fault = refused, fault
	}
	// The mark must be readable even when the caller no longer wants a start.
	recorded, fresh, err := x.env.Marks.Mark(context.WithoutCancel(ctx), string(token), m.text())
	if err != nil {
		return execute.Result{}, fmt.Errorf("command: not started, the mark could not be written: %w", err)
	}
	if !fresh {
		var seen mark
		if err := json.Unmarshal([]byte(recorded), &seen); err != nil {
			return execute.Result{}, &ops.UnknownOutcome{Err: fmt.Errorf("command: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
		}
		return x.again(ctx, token, rule, a, seen, out)
	}
	if fault != "" {
		return execute.Result{}, m.failure(a)
	}
	return x.start(ctx, token, rule, a, file, m, out)
}

// ready says why the action may not start now.
func (x *Executor) ready(ctx context.Context, a ops.PlanAction) (file, fault string) {
	if ctx.Err() != nil {
		return "", "not started: " + context.Cause(ctx).Error()
	}
	file, digest, err := identify(a.Args[0])
	switch {
	case err != nil:
		return "", "not started: " + err.Error()
	case file != a.After["file"] || digest != a.After["digest"]:
		return "", "not started: " + a.Args[0] + " is no longer the file that was planned"
	}
	return file, ""
}

// failure is the error of a run that ended badly or was refused.
func (m mark) failure(a ops.PlanAction) error {
	return fmt.Errorf("command: %s: %s: %w", filepath.Base(a.Args[0]), m.Fault, ops.ErrStalled)
}

// again answers for a run that was marked before.
func (x *Executor) again(ctx context.Context, token execute.Token, rule Rule, a ops.PlanAction, m mark, out io.Writer) (execute.Result, error) {
	switch {
	case m.State == ended && m.Fault == "":
		return execute.Result{Code: m.Code, Note: "had run already"}, nil
	case m.State == ended, m.State == refused:
		return execute.Result{Code: m.Code}, m.failure(a)
	case m.Host != x.env.Host:
		return execute.Result{}, x.hidden(a, fmt.Sprintf("it began on %s (pid %d) at %s; look there", m.Host, m.Pid, m.At.Format(time.RFC3339)))
	}
	left := max(rule.Timeout-x.env.Clock().Sub(m.At), 0)
	t := &tail{path: x.outputPath(token), out: out}
	still, _ := worker.Await(ctx, m.ID, worker.RunVariable, worker.Run(x.env.Dir, string(token)), x.cfg.manner(left), t.copy)
	t.copy()
	if len(still) > 0 {
		return execute.Result{}, x.hidden(a, fmt.Sprintf("it still runs as %v and could not be ended", still))
	}
	if !rule.Idempotent {
		t.remove()
		return execute.Result{}, x.hidden(a, fmt.Sprintf("it began at %s, the server was killed, and it has ended since; its exit code is lost", m.At.Format(time.RFC3339)))
	}
	file, fault := x.ready(ctx, a)
	if fault != "" {
		return execute.Result{}, x.hidden(a, "it had begun before the server was killed, and now: "+fault)
	}
	m.At, m.ID = x.env.Clock().UTC(), worker.ID{}
	return x.start(ctx, token, rule, a, file, m, out)
}

func (x *Executor) hidden(a ops.PlanAction, why string) error {
	return &ops.UnknownOutcome{Err: fmt.Errorf("command: %s: %s: %w", filepath.Base(a.Args[0]), why, ops.ErrUnavailable)}
}

// start starts the process, follows it to its end and records how it ended.
func (x *Executor) start(ctx context.Context, token execute.Token, rule Rule, a ops.PlanAction, file string, m mark, out io.Writer) (execute.Result, error) {
	durable := context.WithoutCancel(ctx)
	t := &tail{path: x.outputPath(token), out: out}
	f, err := os.OpenFile(t.path, os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return x.finish(durable, token, a, m, fmt.Sprintf("not started: %v", reason(err)))
	}
	failpoint.Hit("execute.command.start.before")
	proc, err := x.spawn(file, a.Args, token, f)
	failpoint.Hit("execute.command.start.after")
	_ = f.Close()
	if err != nil {
		t.remove()
		return x.finish(durable, token, a, m, fmt.Sprintf("not started: %v", reason(err)))
	}
	m.State, m.ID = started, proc.ID()
	if err := x.env.Marks.Note(durable, string(token), m.text()); err != nil {
		// The token in its environment still leads to the process.
		x.env.Log.LogAttrs(ctx, slog.LevelWarn, "pid not recorded", slog.Int("pid", m.Pid), slog.String("error", x.env.Redact(err.Error())))
	}
	code, err := proc.Wait(ctx, x.cfg.manner(rule.Timeout), t.copy)
	if err != nil {
		worker.KillMarked(worker.RunVariable, worker.Run(x.env.Dir, string(token)))
	}
	t.copy()
	t.remove()
	m.Code = code
	fault := ""
	switch {
	case err != nil:
		fault = err.Error()
	case !slices.Contains(rule.Success, code):
		fault = fmt.Sprintf("exited with %d", code)
	}
	return x.finish(durable, token, a, m, fault)
}

// finish records the end. When that fails the caller still learns the outcome;
// only a second call would not.
func (x *Executor) finish(ctx context.Context, token execute.Token, a ops.PlanAction, m mark, fault string) (execute.Result, error) {
	m.State, m.Fault = ended, x.env.Redact(fault)
	if err := x.env.Marks.Note(ctx, string(token), m.text()); err != nil {
		x.env.Log.LogAttrs(ctx, slog.LevelWarn, "end of a command not recorded", slog.String("error", x.env.Redact(err.Error())))
	}
	if m.Fault != "" {
		return execute.Result{Code: m.Code}, m.failure(a)
	}
	return execute.Result{Code: m.Code, Note: fmt.Sprintf("exited with %d", m.Code)}, nil
}

// spawn starts argv from file with a clean environment and no input.
func (x *Executor) spawn(file string, argv []string, token execute.Token, out *os.File) (*worker.Process, error) {
	return worker.Start(worker.Spec{File: file, Args: argv, Dir: x.cfg.Dir, Env: x.cfg.environment(x.env.Dir, token), Stdout: out, Stderr: out})
}

// manner is how commands are ended.
func (c *Config) manner(timeout time.Duration) worker.Manner {
	return worker.Manner{Signal: syscall.SIGTERM, Grace: c.Grace, Timeout: timeout}
}

// outputPath is where the command writes. It is a file, not a pipe, so that a
// killed server does not kill the command by its next line of output.
func (x *Executor) outputPath(token execute.Token) string {
	sum := sha256.Sum256([]byte(token))
	return filepath.Join(x.env.Dir, hex.EncodeToString(sum[:12])+".out")
}
