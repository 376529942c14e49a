package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// maxAnswer bounds what one call may say. The JSON of a plan holds all of the
// configuration and of the state.
const maxAnswer = 256 << 20

// answer is what a call said.
type answer struct {
	stdout, stderr bytes.Buffer
	code           int
}

// call runs Terraform to its end in dir for something that changes nothing. A
// context that ends asks it to stop by SIGINT, as a person would, because a
// killed Terraform leaves a remote state locked.
func (x *Executor) call(ctx context.Context, dir string, args ...string) (*answer, error) {
	env, _, err := x.environment(ctx, "")
	if err != nil {
		return nil, err
	}
	var a answer
	cmd := exec.CommandContext(ctx, x.binary, args...)
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdout, cmd.Stderr = &bounded{&a.stdout}, &bounded{&a.stderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = x.cfg.Grace
	failpoint.Hit("execute.terraform.call.before")
	err = cmd.Run()
	failpoint.Hit("execute.terraform.call.after")
	if ctx.Err() != nil {
		return nil, fmt.Errorf("terraform: %s was stopped: %w: %w", args[0], context.Cause(ctx), ops.ErrUnavailable)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("terraform: %s: %w: %w", args[0], err, ops.ErrUnavailable)
	}
	a.code = cmd.ProcessState.ExitCode()
	if a.code < 0 {
		return nil, fmt.Errorf("terraform: %s was ended by %s: %w", args[0], cmd.ProcessState, ops.ErrUnavailable)
	}
	return &a, nil
}

// bounded takes what it has room for and drops the rest: a reader that goes
// away would end Terraform in the middle of its work.
type bounded struct{ *bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxAnswer - b.Len(); room > 0 {
		_, _ = b.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// find returns the program's path.
func find(binary string) (string, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("terraform: binary %q is not here; install Terraform or OpenTofu, or name its path: %w", binary, ops.ErrInvalid)
	}
	return filepath.Abs(path)
}

// version returns what a plan depends on besides its configuration: the
// program and the providers chosen by init.
func (x *Executor) version(ctx context.Context, root string) (string, error) {
	a, err := x.call(ctx, root, "version", "-json")
	if err != nil {
		return "", err
	}
	var v struct {
		Version   string            `json:"terraform_version"`
		Providers map[string]string `json:"provider_selections"`
	}
	if err := json.Unmarshal(a.stdout.Bytes(), &v); err != nil || v.Version == "" {
		return "", fmt.Errorf("terraform: %s does not say its version: %w", x.binary, ops.ErrInvalid)
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// init prepares a working copy. It never upgrades what a lock file pins.
func (x *Executor) init(ctx context.Context, root string) error {
	args := []string{"init", "-input=false", "-no-color", "-reconfigure"}
	if _, err := os.Stat(filepath.Join(root, ".terraform.lock.hcl")); err == nil {
		args = append(args, "-lockfile=readonly")
	}
	if x.cfg.PluginDir != "" {
		args = append(args, "-plugin-dir="+x.cfg.PluginDir)
	}
	for _, k := range sortedKeys(x.cfg.Backend) {
		args = append(args, "-backend-config="+k+"="+x.cfg.Backend[k])
	}
	a, err := x.call(ctx, root, args...)
	if err != nil {
		return err
	}
	if a.code != 0 {
		// A provider that could not be fetched and a mistake in the
		// configuration look the same here, so somebody may have to act.
		return fmt.Errorf("terraform: init: %s: %w", x.env.Redact(brief(a.stderr.String())), ops.ErrStalled)
	}
	return nil
}

// brief is what a person needs of Terraform's boxes of text.
func brief(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(strings.Trim(strings.TrimSpace(line), "╷│╵"))
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[:min(len(lines), 12)], " ")
}

// line is one message of Terraform's machine-readable output.
type line struct {
	Level      string      `json:"@level"`
	Message    string      `json:"@message"`
	Type       string      `json:"type"`
	Diagnostic *diagnostic `json:"diagnostic"`
	Changes    *struct {
		Operation string `json:"operation"`
	} `json:"changes"`
}

type diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
}

func (d diagnostic) String() string {
	s := d.Summary
	if d.Address != "" {
		s = d.Address + ": " + s
	}
	if d.Detail != "" {
		s += ": " + strings.Join(strings.Fields(d.Detail), " ")
	}
	return s
}

// faults are the errors among the messages.
func faults(messages []byte) []diagnostic {
	var found []diagnostic
	for raw := range bytes.Lines(messages) {
		var l line
		if json.Unmarshal(raw, &l) == nil && l.Diagnostic != nil && l.Diagnostic.Severity == "error" {
			found = append(found, *l.Diagnostic)
		}
	}
	return found
}

// classify makes one error of Terraform's. A lock somebody holds is a conflict
// that passes; a backend that does not answer cannot be told from a mistake in
// the configuration, except by trying again.
func (x *Executor) classify(what string, found []diagnostic, stderr string) error {
	for _, d := range found {
		if who, held := lockHolder(d); held {
			return fmt.Errorf("terraform: %s: the state is locked by %s; it is waited for, never unlocked by force: %w", what, x.env.Redact(who), ops.ErrConflict)
		}
	}
	var all []string
	for _, d := range found {
		all = append(all, d.String())
	}
	if len(all) == 0 {
		all = []string{brief(stderr)}
	}
	class := ops.ErrStalled
	if slices.ContainsFunc(found, func(d diagnostic) bool {
		return strings.HasPrefix(d.Summary, "Error acquiring the state lock") || strings.HasPrefix(d.Summary, "Error loading state") || strings.HasPrefix(d.Summary, "Failed to load state")
	}) {
		class = ops.ErrUnavailable
	}
	return fmt.Errorf("terraform: %s: %s: %w", what, x.env.Redact(strings.Join(all[:min(len(all), 5)], "; ")), class)
}

// lockHolder reads who holds the state out of Terraform's complaint.
func lockHolder(d diagnostic) (string, bool) {
	if !strings.Contains(d.Detail, "Lock Info:") {
		return "", false
	}
	field := map[string]string{}
	for text := range strings.Lines(d.Detail) {
		if k, v, ok := strings.Cut(strings.TrimSpace(text), ":"); ok {
			field[k] = strings.TrimSpace(v)
		}
	}
	return fmt.Sprintf("%s (%s, since %s, lock %s)", field["Who"], field["Operation"], field["Created"], field["ID"]), true
}

// wanted is what to plan for.
type wanted struct {
	digest  string            // of the working copy
	values  map[string]string // what changes have set, on top of the configuration's own
	destroy bool              // everything is taken away
	refresh bool              // the world is only looked at
}

// draft is a plan Terraform made.
type draft struct {
	*tfjson.Plan
	path    string // of the saved plan, which holds secrets in clear
	changes bool   // by Terraform's own exit code
}

// plan plans in a working copy and saves the plan at path.
func (x *Executor) plan(ctx context.Context, w wanted, path string) (draft, error) {
	if err := x.initialise(ctx, w.digest); err != nil {
		return draft{}, err
	}
	values := path + ".tfvars.json"
	defer func() { _ = os.Remove(values) }()
	if err := x.writeValues(ctx, w, values); err != nil {
		return draft{}, err
	}
	args := []string{"plan", "-json", "-input=false", "-detailed-exitcode", "-lock-timeout=" + x.cfg.LockTimeout.String(), "-out=" + path}
	for _, f := range x.cfg.VariableFiles {
		args = append(args, "-var-file="+f)
	}
	args = append(args, "-var-file="+values)
	if w.destroy {
		args = append(args, "-destroy")
	}
	if w.refresh {
		args = append(args, "-refresh-only")
	}
	a, err := x.call(ctx, x.root(w.digest), args...)
	if err != nil {
		return draft{}, err
	}
	if a.code != 0 && a.code != 2 {
		return draft{}, x.classify("plan", faults(a.stdout.Bytes()), a.stderr.String())
	}
	d := draft{path: path, changes: a.code == 2, Plan: &tfjson.Plan{}}
	shown, err := x.call(ctx, x.root(w.digest), "show", "-json", path)
	if err != nil {
		return draft{}, err
	}
	if shown.code != 0 {
		return draft{}, fmt.Errorf("terraform: show the plan: %s: %w", x.env.Redact(brief(shown.stderr.String())), ops.ErrUnavailable)
	}
	d.UseJSONNumber(true)
	if err := json.Unmarshal(shown.stdout.Bytes(), d.Plan); err != nil {
		return draft{}, fmt.Errorf("terraform: the JSON of the plan: %w: %w", err, ops.ErrInvalid)
	}
	if d.Complete != nil && !*d.Complete {
		return draft{}, fmt.Errorf("terraform: the plan is not complete: some changes are deferred to a second apply; apply in parts: %w", ops.ErrStalled)
	}
	for name := range w.values {
		if _, declared := d.Variables[name]; !declared {
			return draft{}, fmt.Errorf("terraform: the configuration declares no input variable %q: %w", name, ops.ErrInvalid)
		}
	}
	return d, nil
}

// writeValues writes all input variables into one file. It is not the command
// line, which everybody on the machine may read.
func (x *Executor) writeValues(ctx context.Context, w wanted, path string) error {
	all := map[string]any{}
	for k, v := range x.cfg.Variables {
		all[k] = v
	}
	for k, ref := range x.cfg.Secrets {
		v, err := x.secret(ctx, "secrets."+k, ref)
		if err != nil {
			return err
		}
		all[k] = v
	}
	for k, v := range w.values {
		all[k] = v
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("terraform: variables: %w: %w", err, ops.ErrInvalid)
	}
	return replaceFile(path, b)
}

// applyArgs are the arguments of an apply of a saved plan.
func (x *Executor) applyArgs(path string) []string {
	return []string{
		x.binary, "apply", "-json", "-input=false", "-lock-timeout=" + x.cfg.LockTimeout.String(),
		"-parallelism=" + strconv.Itoa(x.cfg.Parallelism), path,
	}
}

// failing lists the check blocks, and other conditions, that do not hold.
func failing(checks []tfjson.CheckResultStatic) []string {
	var out []string
	for _, c := range checks {
		if c.Status != tfjson.CheckStatusFail && c.Status != tfjson.CheckStatusError {
			continue
		}
		var why []string
		for _, i := range c.Instances {
			for _, p := range i.Problems {
				why = append(why, p.Message)
			}
		}
		if len(why) == 0 {
			why = []string{string(c.Status)}
		}
		out = append(out, c.Address.ToDisplay+": "+strings.Join(why, ", "))
	}
	slices.Sort(out)
	return out
}

// standing returns the checks of the state that do not hold, and whether
// anything is managed at all.
func (x *Executor) standing(ctx context.Context, digest string) ([]string, error) {
	a, err := x.call(ctx, x.root(digest), "show", "-json")
	if err != nil {
		return nil, err
	}
	var s tfjson.State
	if a.code != 0 || json.Unmarshal(a.stdout.Bytes(), &s) != nil {
		return nil, fmt.Errorf("terraform: show the state: %s: %w", x.env.Redact(brief(a.stderr.String())), ops.ErrUnavailable)
	}
	return failing(s.Checks), nil
}
