// Package terraform is the executor that plans and applies one Terraform or
// OpenTofu configuration.
//
// A plan of ours holds what `terraform show -json` says of a saved plan:
// each resource with every attribute that differs, sensitive ones as keyed
// hashes, and the way back: the plan of the previous configuration, proven by
// its changing nothing now. Saved plans hold secrets in clear, so none is kept:
// Apply plans again, compares, and applies that fresh plan, which Terraform
// itself refuses when the state has moved since.
//
// The apply is a process of its own that outlives a killed server. What it
// writes is what tells its outcome, so it is found again and waited for, and
// never begun twice. A working copy of the configuration, kept by its digest,
// stands between a directory that people edit and what was approved.
package terraform

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// Driver opens executors of Terraform configurations.
var Driver = execute.Define("terraform", Open)

// Executor plans and applies. Make it with Open.
type Executor struct {
	cfg    Config
	env    execute.Env
	binary string     // its path
	initMu sync.Mutex // over the preparation of working copies
}

var _ execute.Executor = (*Executor)(nil)

// Open returns the executor. cfg must be valid. The program must be there.
func Open(_ context.Context, cfg Config, env execute.Env) (execute.Executor, error) {
	binary, err := find(cfg.Binary)
	if err != nil {
		return nil, err
	}
	x := &Executor{cfg: cfg, env: env, binary: binary}
	if err := x.writeCLIConfig(); err != nil {
		return nil, err
	}
	return x, nil
}

// The inputs of a plan, from which an apply and a way back are made again.
const (
	inputAction   = "action"
	inputFiles    = "files"
	inputVariable = "variable."
	backTo        = "rollback" // the digest of a configuration, or backToNothing
	backVariable  = "rollback.variable."
	backToNothing = "destroy"
)

// Plan plans the configuration with the values the change asks for, and the way
// back.
func (x *Executor) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	rule, asked, why := x.cfg.choose(r.Change.Action, r.Change.Args)
	if why != "" {
		return ops.Plan{}, fmt.Errorf("terraform: %s: %w", x.env.Redact(why), ops.ErrDenied)
	}
	digest, err := x.take(x.cfg.Dir)
	if err != nil {
		return ops.Plan{}, err
	}
	last, err := x.lastApplied(ctx)
	if err != nil {
		return ops.Plan{}, err
	}
	x.prune(last.Files)
	kept := last.valuesFor(digest)
	w := wanted{digest: digest, values: merged(kept, asked)}
	scratch, err := os.MkdirTemp(x.env.Dir, "plan-")
	if err != nil {
		return ops.Plan{}, fmt.Errorf("terraform: %w: %w", err, ops.ErrUnavailable)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	d, err := x.plan(ctx, w, filepath.Join(scratch, "plan"))
	if err != nil {
		return ops.Plan{}, err
	}
	rd, err := x.reader(ctx)
	if err != nil {
		return ops.Plan{}, err
	}
	p, version, err := x.content(ctx, rd, rule, w, d)
	if err != nil {
		return ops.Plan{}, err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# %s %s in %s, module %s, workspace %s\n", filepath.Base(x.binary), version, x.cfg.Dir, x.cfg.Module, x.cfg.Workspace)
	for _, name := range sortedKeys(w.values) {
		origin := "asked for by this change"
		if _, now := asked[name]; !now {
			origin = "set by an earlier change"
		}
		fmt.Fprintf(&text, "# variable %s = %q, %s\n", name, w.values[name], origin)
	}
	for _, c := range d.ResourceDrift {
		fmt.Fprintf(&text, "# %s was changed outside of Terraform\n", c.Address)
	}
	if len(p.Actions) == 0 {
		text.WriteString("No changes.\n")
	} else {
		text.WriteString(render(p.Actions, reasons(d)))
	}
	for _, c := range failing(d.Checks) {
		fmt.Fprintf(&text, "! %s\n", c)
	}
	if len(p.Actions) > 0 {
		b, err := x.wayBack(ctx, rd, w, kept, last, d, p.Actions, scratch)
		if err != nil {
			return ops.Plan{}, err
		}
		b.into(&p, &text, seconds(rule.RollbackEstimate))
	}
	p.Text = masked(rd.concealed(d))(text.String())
	return p, nil
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// content is what Terraform would do, without the way back. Apply compares by
// it.
func (x *Executor) content(ctx context.Context, rd *reader, rule Rule, w wanted, d draft) (p ops.Plan, version string, err error) {
	made, err := x.version(ctx, x.root(w.digest))
	if err != nil {
		return ops.Plan{}, "", err
	}
	variables := map[string]any{}
	for name, v := range d.Variables {
		variables[name] = v.Value
	}
	settings, err := json.Marshal(map[string]any{
		"made": made, "program": filepath.Base(x.binary), "dir": x.cfg.Dir, "module": x.cfg.Module, "workspace": x.cfg.Workspace,
		"variables": variables, "backend": x.cfg.Backend, "env": x.cfg.Env, "checks": x.cfg.Checks, "timeout": rule.Timeout.String(),
	})
	if err != nil {
		return ops.Plan{}, "", fmt.Errorf("terraform: %w: %w", err, ops.ErrInvalid)
	}
	mac := hmac.New(sha256.New, rd.key) // keyed: secret variables are among them
	mac.Write(settings)
	p = ops.Plan{
		Tool: "terraform", Target: fmt.Sprintf("terraform:%s (workspace %s)", filepath.Join(x.cfg.Dir, x.cfg.Module), x.cfg.Workspace),
		Actions: rd.actions(d), Config: hex.EncodeToString(mac.Sum(nil)), ApplySecs: max(seconds(rule.Estimate), 1),
		Inputs: map[string]string{inputAction: rule.Name, inputFiles: w.digest},
	}
	for name, v := range w.values {
		p.Inputs[inputVariable+name] = v
	}
	return p, d.TerraformVersion, nil
}

// back is a way back, or why there is none.
type back struct {
	to      wanted
	actions []ops.PlanAction
	none    string
}

// wayBack finds the configuration that describes what stands now. It is planned
// before the change is approved: one that would change anything does not
// describe it, and going back to it would be another change.
func (x *Executor) wayBack(ctx context.Context, rd *reader, w wanted, kept map[string]string, last applied, d draft, actions []ops.PlanAction, scratch string) (back, error) {
	undo, why := inverse(actions)
	if why != "" {
		return back{none: why}, nil
	}
	if empty(d.PriorState) {
		return back{to: wanted{digest: w.digest, values: w.values, destroy: true}, actions: undo}, nil
	}
	var tried []string
	for _, c := range x.candidates(w, kept, last) {
		if c.fault != "" {
			tried = append(tried, c.name+": "+c.fault)
			continue
		}
		before, err := x.plan(ctx, c.wanted, filepath.Join(scratch, "back"))
		switch {
		case err != nil && !errors.Is(err, ops.ErrStalled) && !errors.Is(err, ops.ErrInvalid):
			return back{}, err
		case err != nil:
			tried = append(tried, c.name+": "+err.Error())
		default:
			moves := slices.DeleteFunc(rd.actions(before), func(a ops.PlanAction) bool { return strings.HasPrefix(a.Resource, outputPrefix) })
			if len(moves) == 0 {
				return back{to: c.wanted, actions: undo}, nil
			}
			tried = append(tried, fmt.Sprintf("%s would %s %s", c.name, moves[0].Verb, moves[0].Resource))
		}
	}
	if len(tried) == 0 {
		tried = []string{"only the configuration to be applied is known"}
	}
	return back{none: "no known configuration describes what stands now (" + strings.Join(tried, "; ") + ")"}, nil
}

type candidate struct {
	wanted
	name  string
	fault string
}

// candidates are the configurations that may describe what stands now: what was
// last applied here, the directory kept for this, and the present one without
// the values this change brings.
func (x *Executor) candidates(w wanted, kept map[string]string, last applied) []candidate {
	var out []candidate
	add := func(c candidate) {
		same := func(o wanted) bool { return o.digest == c.digest && maps.Equal(o.values, c.values) }
		if c.fault == "" && (same(w) || slices.ContainsFunc(out, func(o candidate) bool { return same(o.wanted) })) {
			return
		}
		out = append(out, c)
	}
	if last.Files != "" {
		c := candidate{wanted: wanted{digest: last.Files, values: last.Values}, name: "what was applied last"}
		if _, err := os.Stat(x.copyPath(last.Files)); err != nil {
			c.fault = "its files are not on this machine"
		}
		add(c)
	}
	if x.cfg.Previous != "" {
		c := candidate{name: "the configuration in " + x.cfg.Previous}
		digest, err := x.take(x.cfg.Previous)
		if err != nil {
			c.fault = err.Error()
		}
		c.wanted = wanted{digest: digest, values: last.valuesFor(digest)}
		add(c)
	}
	add(candidate{wanted: wanted{digest: w.digest, values: kept}, name: "the configuration without this change's values"})
	return out
}

func (b back) into(p *ops.Plan, text *strings.Builder, secs int) {
	if b.none != "" {
		fmt.Fprintf(text, "! cannot be undone: %s\n", b.none)
		return
	}
	p.Rollback, p.RollbackSecs = b.actions, max(secs, 1)
	p.Inputs[backTo] = b.to.digest
	if b.to.destroy {
		p.Inputs[backTo] = backToNothing
		text.WriteString("Undone by destroying what it creates, because nothing stands now:\n")
	} else {
		for name, v := range b.to.values {
			p.Inputs[backVariable+name] = v
		}
		text.WriteString("Undone by the previous configuration, which was planned now and changes nothing:\n")
	}
	for line := range strings.Lines(render(b.actions, nil)) {
		text.WriteString("  " + line)
	}
	if slices.ContainsFunc(b.actions, func(a ops.PlanAction) bool { return a.Verb == "create" || a.Verb == "replace" }) {
		text.WriteString("! what a destroyed resource held does not come back with it\n")
	}
}

// Apply applies the plan.
func (x *Executor) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	rule, values, err := x.ordered(p)
	if err != nil {
		return execute.Result{}, err
	}
	w := wanted{digest: p.Inputs[inputFiles], values: values}
	return x.once(ctx, token, errand{
		wanted: w, rule: rule, after: applied{Files: w.digest, Values: values},
		refuse: func(ctx context.Context, rd *reader, d draft) (string, error) {
			now, _, err := x.content(ctx, rd, rule, w, d)
			if err != nil {
				return "", err
			}
			now.Executor, now.Rollback = p.Executor, p.Rollback
			now.Inputs = merged(p.Inputs, now.Inputs)
			if moved := execute.Moved(p, now); moved != "" {
				return "what would be done now is not what was planned:\n" + moved, nil
			}
			return "", nil
		},
	}, out)
}

// ordered reads out of a plan what it was made for, if that is still allowed.
func (x *Executor) ordered(p ops.Plan) (Rule, map[string]string, error) {
	if p.Inputs[inputFiles] == "" || p.Inputs[inputAction] == "" {
		return Rule{}, nil, fmt.Errorf("terraform: the plan is none of ours: %w", ops.ErrInvalid)
	}
	i := slices.IndexFunc(x.cfg.Allow, func(r Rule) bool { return r.Name == p.Inputs[inputAction] })
	if i < 0 {
		return Rule{}, nil, fmt.Errorf("terraform: action %q is no longer allowed: %w", p.Inputs[inputAction], ops.ErrDenied)
	}
	rule, values := x.cfg.Allow[i], valuesOf(p.Inputs, inputVariable)
	for name, allow := range rule.allow {
		if !allow.MatchString(values[name]) {
			return Rule{}, nil, fmt.Errorf("terraform: action %s no longer allows %s to be %q: %w", rule.Name, name, x.env.Redact(values[name]), ops.ErrDenied)
		}
	}
	return rule, values, nil
}

// RollBack applies the previous configuration, when that does what was approved
// and nothing else.
func (x *Executor) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	rule, values, err := x.ordered(p)
	if err != nil {
		return execute.Result{}, err
	}
	to := p.Inputs[backTo]
	if len(p.Rollback) == 0 || to == "" {
		return execute.Result{}, fmt.Errorf("terraform: the plan has no rollback; undo it by hand: %w", ops.ErrStalled)
	}
	w := wanted{digest: to, values: valuesOf(p.Inputs, backVariable)}
	after := applied{Files: w.digest, Values: w.values}
	if to == backToNothing {
		w, after = wanted{digest: p.Inputs[inputFiles], values: values, destroy: true}, applied{}
	}
	return x.once(ctx, token+"/rollback", errand{
		wanted: w, rule: rule, after: after,
		refuse: func(_ context.Context, rd *reader, d draft) (string, error) {
			if why := beyond(p.Rollback, rd.actions(d)); why != "" {
				return "the way back is not the approved one any more: " + why + "; undo it by hand or by a change of its own", nil
			}
			return "", nil
		},
	}, out)
}

// Drift looks at the world first, and then whether the applied configuration
// still describes it: somebody may have applied another one.
func (x *Executor) Drift(ctx context.Context, p ops.Plan) (execute.Drift, error) {
	_, values, err := x.ordered(p)
	if err != nil {
		return execute.Unknown, err
	}
	w := wanted{digest: p.Inputs[inputFiles], values: values}
	if err := x.present(w.digest); err != nil {
		return execute.Unknown, err
	}
	scratch, err := os.MkdirTemp(x.env.Dir, "drift-")
	if err != nil {
		return execute.Unknown, fmt.Errorf("terraform: %w: %w", err, ops.ErrUnavailable)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	for _, refresh := range []bool{true, false} {
		w.refresh = refresh
		d, err := x.plan(ctx, w, filepath.Join(scratch, "plan"))
		if err != nil {
			return execute.Unknown, err
		}
		if d.changes {
			return execute.Drifted, nil
		}
	}
	return execute.InSync, nil
}

// present makes sure of a working copy: the one kept, or a new one of a
// directory that has not changed since.
func (x *Executor) present(digest string) error {
	if _, err := os.Stat(x.copyPath(digest)); err == nil {
		return x.touch(x.copyPath(digest))
	}
	for _, dir := range []string{x.cfg.Dir, x.cfg.Previous} {
		if dir == "" {
			continue
		}
		if got, err := x.take(dir); err == nil && got == digest {
			return nil
		}
	}
	return fmt.Errorf("terraform: the files with digest %s are neither kept on this machine nor in %s any more: %w", digest, x.cfg.Dir, ops.ErrStalled)
}

func valuesOf(inputs map[string]string, prefix string) map[string]string {
	out := map[string]string{}
	for k, v := range inputs {
		if name, ok := strings.CutPrefix(k, prefix); ok {
			out[name] = v
		}
	}
	return out
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
