// Package command is the executor that runs allow-listed commands, on the
// machine Fettle runs on as Fettle's own user, or over SSH on a host outside any
// cloud. Arguments are never interpreted by a shell.
//
// A plan names the exact argument vector and the SHA-256 of the file that
// would be run, so that a binary swapped after the approval voids it. (Of a
// script this is the script, not its interpreter.) A command is marked durably
// before it starts. A run whose outcome a crash has hidden is never started
// again, unless its rule says it is idempotent; a process that survived the
// crash is found by its pid and start time, or by its token, and waited for. On
// a host of its own, a run keeps its exit code there, so that a crash of ours and
// a lost connection hide nothing.
package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors of local commands.
var Driver = execute.Define("command", Open)

// Executor runs allowed commands. Make it with Open.
type Executor struct {
	cfg Config
	env execute.Env
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid.
func Open(_ context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	return &Executor{cfg: cfg, env: env}, nil
}

// Plan shows the argument vector, the file behind it and what would undo it.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	rule, argv, values, why := x.cfg.choose(r.Change)
	if why != "" {
		return ops.Plan{}, fmt.Errorf("command: %s: %w", x.env.Redact(why), ops.ErrDenied)
	}
	target, where, resource := "local:"+x.env.Name, "", r.Change.Resource
	identified := func(argv []string) (file, digest string, err error) { return identify(argv[0]) }
	if x.cfg.SSH != nil {
		target, where = x.cfg.SSH.target(), " on "+x.cfg.SSH.Host
		h := &host{cfg: x.cfg.SSH, env: x.env}
		defer h.close()
		identified = func(argv []string) (file, digest string, err error) { return h.identify(ctx, argv[0]) }
	}
	if resource == "" {
		resource = "this machine"
		if x.cfg.SSH != nil {
			resource = x.cfg.SSH.Host
		}
	}
	action := func(argv []string) (ops.PlanAction, error) {
		file, digest, err := identified(argv)
		return ops.PlanAction{
			Resource: resource, Verb: "run", Args: argv,
			After: map[string]string{"rule": rule.Name, "file": file, "digest": digest},
		}, err
	}
	run, err := action(argv)
	if err != nil {
		return ops.Plan{}, err
	}
	settings, err := json.Marshal(x.cfg.settings(rule))
	if err != nil {
		return ops.Plan{}, fmt.Errorf("command: %w", err)
	}
	config := sha256.Sum256(settings)
	p := ops.Plan{
		Tool: "command", Target: target, Actions: []ops.PlanAction{run},
		Config: hex.EncodeToString(config[:]), ApplySecs: seconds(rule.Estimate),
	}
	var text strings.Builder
	fmt.Fprintf(&text, "+ run %q%s\n    file %s %s\n    in %s, at most %s", argv, where, run.After["file"], run.After["digest"], x.cfg.Dir, rule.Timeout)
	if rule.Idempotent {
		text.WriteString(", again if a crash hides its outcome")
	}
	text.WriteByte('\n')
	if rule.rollback == nil {
		text.WriteString("! cannot be undone\n")
	} else {
		undo, err := action(rule.rollback.render(values))
		if err != nil {
			return ops.Plan{}, fmt.Errorf("command: rollback: %w", err)
		}
		p.Rollback, p.RollbackSecs = []ops.PlanAction{undo}, seconds(rule.RollbackEstimate)
		fmt.Fprintf(&text, "- undone by %q\n    file %s %s\n", undo.Args, undo.After["file"], undo.After["digest"])
	}
	p.Text = text.String()
	return p, nil
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// identify returns the regular file behind path and its SHA-256. A file that
// others may write is refused: its digest would promise nothing.
func identify(path string) (file, digest string, err error) {
	file, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", "", fmt.Errorf("command: %s: %w: %w", path, reason(err), ops.ErrInvalid)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", "", fmt.Errorf("command: %s: %w: %w", path, reason(err), ops.ErrInvalid)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", "", fmt.Errorf("command: %s: %w: %w", path, reason(err), ops.ErrInvalid)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return "", "", fmt.Errorf("command: %s is not an executable file: %w", file, ops.ErrInvalid)
	case info.Mode()&0o022 != 0:
		return "", "", fmt.Errorf("command: %s may be written by its group or by everybody (mode %v); chmod go-w it: %w", file, info.Mode().Perm(), ops.ErrDenied)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", "", fmt.Errorf("command: read %s: %w: %w", file, err, ops.ErrUnavailable)
	}
	return file, "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// reason drops the path an error of the file system repeats.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Apply runs the planned command.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	if len(p.Actions) != 1 {
		return execute.Result{}, fmt.Errorf("command: the plan has %d actions, not one of ours: %w", len(p.Actions), ops.ErrInvalid)
	}
	rule, _, err := x.cfg.rule(p.Actions[0].After["rule"], p.Actions[0].Args)
	if err != nil {
		return execute.Result{}, err
	}
	if x.cfg.SSH != nil {
		return x.onceRemote(ctx, token, rule, p.Actions[0], out)
	}
	return x.once(ctx, token, rule, p.Actions[0], out)
}

// RollBack runs the command the plan names for undoing.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	if len(p.Rollback) != 1 || len(p.Actions) != 1 {
		return execute.Result{}, fmt.Errorf("command: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	undo := p.Rollback[0]
	rule, values, err := x.cfg.rule(p.Actions[0].After["rule"], p.Actions[0].Args)
	if err != nil {
		return execute.Result{}, err
	}
	if fmt.Sprint(rule.rollback.render(values)) != fmt.Sprint(undo.Args) {
		return execute.Result{}, fmt.Errorf("command: rule %q no longer allows the rollback %q: %w", rule.Name, undo.Args, ops.ErrDenied)
	}
	if x.cfg.SSH != nil {
		return x.onceRemote(ctx, token+"/rollback", rule, undo, out)
	}
	return x.once(ctx, token+"/rollback", rule, undo, out)
}

// Drift runs the rule's check: exit 0 is in sync, 1 is drifted.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	if len(p.Actions) != 1 {
		return execute.Unknown, fmt.Errorf("command: the plan has %d actions, not one of ours: %w", len(p.Actions), ops.ErrInvalid)
	}
	rule, values, err := x.cfg.rule(p.Actions[0].After["rule"], p.Actions[0].Args)
	if err != nil {
		return execute.Unknown, err
	}
	if rule.check == nil {
		return execute.Unknown, fmt.Errorf("command: rule %q has no check: %w", rule.Name, ops.ErrStalled)
	}
	argv := rule.check.render(values)
	check := x.check
	if x.cfg.SSH != nil {
		check = x.checkRemote
	}
	code, err := check(ctx, rule, argv)
	switch {
	case err != nil:
		return execute.Unknown, fmt.Errorf("command: check of rule %q: %w", rule.Name, err)
	case code == 0:
		return execute.InSync, nil
	case code == 1:
		return execute.Drifted, nil
	}
	return execute.Unknown, fmt.Errorf("command: check of rule %q exited with %d, neither 0 nor 1: %w", rule.Name, code, ops.ErrStalled)
}

// check runs a rule's check on this machine and returns its exit code.
func (x *Executor) check(ctx context.Context, rule Rule, argv []string) (int, error) {
	file, _, err := identify(argv[0])
	if err != nil {
		return -1, err
	}
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = out.Close() }()
	proc, err := x.spawn(file, argv, "", out)
	if err != nil {
		return -1, err
	}
	return proc.Wait(ctx, x.cfg.manner(rule.Timeout), nil)
}
