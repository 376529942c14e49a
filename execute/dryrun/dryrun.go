// Package dryrun is the executor that touches nothing outside one file of its
// own. It keeps there which state each resource was brought to, so that plans,
// effects, drift and rollbacks are real and can be read, in rehearsals and in
// every test of a room.
package dryrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// Driver opens dry-run executors.
var Driver = execute.Define("dryrun", Open)

// Config says what the rehearsal looks like.
type Config struct {
	Actions  []string      `yaml:"actions"`  // the actions it accepts; default: any
	Takes    time.Duration `yaml:"takes"`    // how long an apply or a rollback takes; default 0
	Estimate time.Duration `yaml:"estimate"` // of an apply, and of a rollback; default: takes, at least 1s
	Says     string        `yaml:"says"`     // what it prints while it works; default: what it does
	Fail     []string      `yaml:"fail"`     // actions that fail after takes, having changed nothing; default: none
}

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() error {
	if c.Takes < 0 || c.Estimate < 0 {
		return errors.New("takes and estimate must not be negative")
	}
	return nil
}

// Effects is everything a dry-run executor has done.
type Effects struct {
	State map[string]string `json:"state"` // by resource: the action it was last brought to
	Runs  map[string]Run    `json:"runs"`  // by token, "/rollback" added for rollbacks
}

// Run is one effect of a dry run.
type Run struct {
	Resource string         `json:"resource"`
	From     string         `json:"from"`
	To       string         `json:"to"`
	At       time.Time      `json:"at"`
	Result   execute.Result `json:"result"`
}

const absent = "untouched"

// Executor rehearses. Make it with Open.
type Executor struct {
	cfg  Config
	env  execute.Env
	path string
	mu   sync.Mutex // over the file, within this process
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor whose effects live in env.Dir.
func Open(_ context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	return &Executor{cfg: cfg, env: env, path: filepath.Join(env.Dir, effectsFile)}, nil
}

const effectsFile = "effects.json"

// Read returns the effects kept in an executor's directory; none when it has
// done nothing yet.
func Read(dir string) (Effects, error) {
	e := Effects{State: map[string]string{}, Runs: map[string]Run{}}
	b, err := os.ReadFile(filepath.Join(dir, effectsFile))
	if errors.Is(err, os.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("dryrun: read effects: %w", err)
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("dryrun: read effects: %w: %w", err, ops.ErrInternal)
	}
	return e, nil
}

func (x *Executor) write(e Effects) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("dryrun: write effects: %w", err)
	}
	tmp := x.path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("dryrun: write effects: %w", err)
	}
	return os.Rename(tmp, x.path)
}

// Plan shows which state the resource would be brought from and to.
func (x *Executor) Plan(_ context.Context, r execute.Request) (ops.Plan, error) {
	c := r.Change
	if len(x.cfg.Actions) > 0 && !slices.Contains(x.cfg.Actions, c.Action) {
		return ops.Plan{}, fmt.Errorf("dryrun: action %q is not allowed; allowed are %s: %w", x.env.Redact(c.Action), strings.Join(x.cfg.Actions, ", "), ops.ErrInvalid)
	}
	if c.Action == "" {
		return ops.Plan{}, fmt.Errorf("dryrun: action is empty; name what should be rehearsed: %w", ops.ErrInvalid)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e, err := Read(x.env.Dir)
	if err != nil {
		return ops.Plan{}, err
	}
	resource := c.Resource
	if resource == "" {
		resource = "nothing in particular"
	}
	from, to := e.state(resource), strings.Join(append([]string{c.Action}, c.Args...), " ")
	secs := int(max(x.cfg.Estimate, x.cfg.Takes, time.Second).Round(time.Second) / time.Second)
	return ops.Plan{
		Tool: "dryrun", Target: "dryrun:" + resource,
		Actions:   []ops.PlanAction{{Resource: resource, Verb: "update", Before: map[string]string{"state": from}, After: map[string]string{"state": to}, Args: append([]string{c.Action}, c.Args...)}},
		Rollback:  []ops.PlanAction{{Resource: resource, Verb: "update", Before: map[string]string{"state": to}, After: map[string]string{"state": from}}},
		ApplySecs: secs, RollbackSecs: secs,
		Text: fmt.Sprintf("Rehearsal only, nothing is touched.\n~ %s\n-   state: %s\n+   state: %s\n", resource, from, to),
	}, nil
}

func (e Effects) state(resource string) string {
	if s, ok := e.State[resource]; ok {
		return s
	}
	return absent
}

// Apply brings the resource to its new state in the file. Under a token it has
// seen it changes nothing and returns the recorded result; an apply that was
// killed before the file was written changed nothing and is done again.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	return x.move(ctx, string(token), p.Actions, out)
}

// RollBack brings the resource back, in the same way.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	if len(p.Rollback) == 0 {
		return execute.Result{}, fmt.Errorf("dryrun: the plan has no rollback: %w", ops.ErrStalled)
	}
	return x.move(ctx, string(token)+"/rollback", p.Rollback, out)
}

func (x *Executor) move(ctx context.Context, key string, actions []ops.PlanAction, out io.Writer) (execute.Result, error) {
	if len(actions) != 1 {
		return execute.Result{}, fmt.Errorf("dryrun: the plan has %d actions, not one of ours: %w", len(actions), ops.ErrInvalid)
	}
	a := actions[0]
	if run, ok, err := x.seen(key); ok || err != nil {
		return run.Result, err
	}
	if ctx.Err() != nil {
		return execute.Result{}, fmt.Errorf("dryrun: not started: %w", context.Cause(ctx))
	}
	says := x.cfg.Says
	if says == "" {
		says = fmt.Sprintf("%s: %s -> %s", a.Resource, a.Before["state"], a.After["state"])
	}
	if _, err := io.WriteString(out, says+"\n"); err != nil {
		return execute.Result{}, fmt.Errorf("dryrun: %w", err)
	}
	wait := time.NewTimer(x.cfg.Takes)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return execute.Result{}, fmt.Errorf("dryrun: stopped before anything was changed: %w", context.Cause(ctx))
	}
	if len(a.Args) > 0 && slices.Contains(x.cfg.Fail, a.Args[0]) {
		return execute.Result{Code: 1}, fmt.Errorf("dryrun: %s fails, as its configuration says: %w", a.Args[0], ops.ErrStalled)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e, err := Read(x.env.Dir)
	if err != nil {
		return execute.Result{}, err
	}
	res := execute.Result{Note: "rehearsed: " + a.After["state"]}
	e.State[a.Resource] = a.After["state"]
	e.Runs[key] = Run{Resource: a.Resource, From: a.Before["state"], To: a.After["state"], At: x.env.Clock().UTC(), Result: res}
	return res, x.write(e)
}

func (x *Executor) seen(key string) (Run, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, err := Read(x.env.Dir)
	run, ok := e.Runs[key]
	return run, ok, err
}

// Drift compares the file with the plan.
func (x *Executor) Drift(_ context.Context, p ops.Plan) (execute.Drift, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, err := Read(x.env.Dir)
	if err != nil {
		return execute.Unknown, err
	}
	for _, a := range p.Actions {
		if e.state(a.Resource) != a.After["state"] {
			return execute.Drifted, nil
		}
	}
	return execute.InSync, nil
}
