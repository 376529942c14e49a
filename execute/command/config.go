package command

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/worker"
	"github.com/fettleops/fettle/ops"
)

// Config is what this machine, or a host, may be told to do.
type Config struct {
	SSH     *SSH              `yaml:"ssh"`     // the host commands run on; default: this machine
	Allow   []Rule            `yaml:"allow"`   // the only commands there are; required
	Dir     string            `yaml:"dir"`     // working directory; default /
	Env     map[string]string `yaml:"env"`     // added to PATH and LANG, which is all a command sees otherwise; shown in plans, so no secrets
	Timeout time.Duration     `yaml:"timeout"` // of rules that name none; default 5m
	Grace   time.Duration     `yaml:"grace"`   // between SIGTERM and SIGKILL; default 5s
}

// Rule allows one command. In YAML it may also be just the command's string.
//
// A command is words separated by spaces. A word is taken literally, or it is
// {name:regexp} and stands for one argument that matches the whole regular
// expression and does not begin with "-". The first word is an absolute path.
// Rollback and check use {name} for the argument the command was given.
type Rule struct {
	Name             string        `yaml:"name"`              // what a change's action calls it; default: the command's string
	Command          string        `yaml:"command"`           // required
	Rollback         string        `yaml:"rollback"`          // undoes it; default: it cannot be undone
	Check            string        `yaml:"check"`             // drift: exits 0 in sync, 1 drifted, else unknown; default: unknown
	Timeout          time.Duration `yaml:"timeout"`           // the whole process group is ended then; default: the executor's
	Estimate         time.Duration `yaml:"estimate"`          // how long it takes; default: timeout
	RollbackEstimate time.Duration `yaml:"rollback_estimate"` // how long undoing takes; default: timeout
	Success          []int         `yaml:"success"`           // exit codes that mean it worked; default: 0
	Idempotent       bool          `yaml:"idempotent"`        // running it twice does no harm, so a run whose outcome a crash hid is run again; default: false

	command, rollback, check pattern
}

// SetSingle makes a rule of the string of a command alone.
func (r *Rule) SetSingle(text string) { r.Command = text }

// UnmarshalYAML reads a rule, or the string of a command alone.
func (r *Rule) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal(&r.Command); err == nil {
		return nil
	}
	type plain Rule
	return unmarshal((*plain)(r))
}

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	if c.Dir == "" {
		c.Dir = "/"
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	var faults []error
	if !filepath.IsAbs(c.Dir) {
		faults = append(faults, fmt.Errorf("dir %q is not an absolute path", c.Dir))
	}
	if c.SSH != nil {
		if err := c.SSH.validate(); err != nil {
			faults = append(faults, err)
		}
	}
	if len(c.Allow) == 0 {
		faults = append(faults, errors.New("allow is empty; list the commands this executor may run"))
	}
	if c.Timeout < 0 || c.Grace < 0 {
		faults = append(faults, errors.New("timeout and grace must not be negative"))
	}
	seen := map[string]bool{}
	for i := range c.Allow {
		r := &c.Allow[i]
		if err := r.complete(c); err != nil {
			faults = append(faults, fmt.Errorf("allow[%d]: %w", i, err))
		}
		if seen[r.Name] {
			faults = append(faults, fmt.Errorf("allow[%d]: name %q is used twice; give each rule a name of its own", i, r.Name))
		}
		seen[r.Name] = true
	}
	return errors.Join(faults...)
}

func (r *Rule) complete(c *Config) error {
	if r.Name == "" {
		r.Name = r.Command
	} else if strings.HasPrefix(r.Name, "/") && r.Name != r.Command { // Validate may run twice
		return fmt.Errorf("name %q begins with /, which stands for a path; choose another", r.Name)
	}
	if r.Timeout == 0 {
		r.Timeout = c.Timeout
	}
	if r.Estimate == 0 {
		r.Estimate = r.Timeout
	}
	if r.RollbackEstimate == 0 {
		r.RollbackEstimate = r.Timeout
	}
	if len(r.Success) == 0 {
		r.Success = []int{0}
	}
	if r.Timeout < 0 || r.Estimate < 0 || r.RollbackEstimate < 0 {
		return errors.New("timeout and estimates must not be negative")
	}
	var err error
	if r.command, err = parse(r.Command, nil); err != nil {
		return fmt.Errorf("command %q: %w", r.Command, err)
	}
	if r.Rollback != "" {
		if r.rollback, err = parse(r.Rollback, r.command); err != nil {
			return fmt.Errorf("rollback %q: %w", r.Rollback, err)
		}
	}
	if r.Check != "" {
		if r.check, err = parse(r.Check, r.command); err != nil {
			return fmt.Errorf("check %q: %w", r.Check, err)
		}
	}
	return nil
}

// choose returns the rule a change asks for, the argument vector and the named
// arguments. A change names a rule and gives the arguments in order, or it
// gives the path and every word. A refusal is a sentence that lists what is
// allowed.
func (c *Config) choose(ch ops.Change) (Rule, []string, map[string]string, string) {
	none := func(why string) (Rule, []string, map[string]string, string) {
		var allowed []string
		for _, r := range c.Allow {
			s := r.Command
			if r.Name != r.Command {
				s = r.Name + " (" + s + ")"
			}
			allowed = append(allowed, s)
		}
		slices.Sort(allowed)
		return Rule{}, nil, nil, why + "; allowed are: " + strings.Join(allowed, "; ")
	}
	for _, r := range c.Allow {
		if r.Name == ch.Action && r.Name != r.Command {
			argv, values, err := r.command.fill(ch.Args)
			if err != nil {
				return none(fmt.Sprintf("action %s: %v", ch.Action, err))
			}
			return r, argv, values, ""
		}
	}
	argv := append(strings.Fields(ch.Action), ch.Args...)
	for _, r := range c.Allow {
		if values, ok := r.command.match(argv); ok {
			return r, argv, values, ""
		}
	}
	return none(fmt.Sprintf("%q is not allowed", argv))
}

// rule returns the rule a plan was made by, if it still allows argv.
func (c *Config) rule(name string, argv []string) (Rule, map[string]string, error) {
	for _, r := range c.Allow {
		if r.Name == name {
			if values, ok := r.command.match(argv); ok {
				return r, values, nil
			}
		}
	}
	return Rule{}, nil, fmt.Errorf("command: rule %q no longer allows %q: %w", name, argv, ops.ErrDenied)
}

// settings are what a plan's configuration digest is made of: everything that
// decides how this rule runs, and nothing of other rules.
func (c *Config) settings(r Rule) map[string]string {
	out := map[string]string{
		"tool": "command", "rule": r.Name, "command": r.Command, "rollback": r.Rollback, "check": r.Check,
		"timeout": r.Timeout.String(), "success": fmt.Sprint(r.Success), "idempotent": fmt.Sprint(r.Idempotent),
		"dir": c.Dir, "grace": c.Grace.String(),
	}
	for k, v := range c.Env {
		out["env."+k] = v
	}
	if c.SSH != nil {
		out["ssh"], out["host_key"] = c.SSH.target(), c.SSH.HostKey+c.SSH.Fingerprint
	}
	return out
}

// environment is all a command sees whose run is kept in dir. Its order is fixed.
func (c *Config) environment(dir string, token execute.Token) []string {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
	maps.Copy(env, c.Env)
	if token != "" {
		env[tokenVariable], env[worker.RunVariable] = string(token), worker.Run(dir, string(token))
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}
