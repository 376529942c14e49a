package terraform

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/worker"
	"github.com/fettleops/fettle/ops"
)

// Config is one Terraform or OpenTofu configuration and what a change may ask
// of it.
type Config struct {
	Dir           string            `yaml:"dir"`            // the configuration, with every module it takes from a relative path; absolute; required
	Module        string            `yaml:"module"`         // the root module, relative to dir; default dir itself
	Previous      string            `yaml:"previous"`       // a directory laid out like dir that holds the configuration as it stands, for the way back; default: what was last applied here, then dir
	Binary        string            `yaml:"binary"`         // terraform or tofu, or a path; default terraform on the PATH
	Workspace     string            `yaml:"workspace"`      // default: default
	Variables     map[string]any    `yaml:"variables"`      // values of input variables; shown in plans unless declared sensitive
	VariableFiles []string          `yaml:"variable_files"` // .tfvars files, relative to the root module, read before variables
	Secrets       map[string]string `yaml:"secrets"`        // input variables by secret reference, env:NAME or file:PATH; never shown
	Backend       map[string]string `yaml:"backend"`        // settings for init -backend-config; no secrets, those come by secret_env
	Env           map[string]string `yaml:"env"`            // environment variables; no secrets
	PassEnv       []string          `yaml:"pass_env"`       // names of variables handed on from Fettle's own environment; else only PATH, HOME and LANG are set
	SecretEnv     map[string]string `yaml:"secret_env"`     // environment variables by secret reference
	PluginDir     string            `yaml:"plugin_dir"`     // providers are taken from this directory only (init -plugin-dir)
	Mirror        string            `yaml:"mirror"`         // providers are taken from this filesystem mirror only
	CLIConfig     string            `yaml:"cli_config"`     // a Terraform CLI configuration file, instead of mirror
	LockTimeout   time.Duration     `yaml:"lock_timeout"`   // how long to wait for a state lock somebody else holds; default 30s
	Parallelism   int               `yaml:"parallelism"`    // of apply; default 10
	Timeout       time.Duration     `yaml:"timeout"`        // of an apply, of rules that name none; default 30m
	Grace         time.Duration     `yaml:"grace"`          // between SIGINT and SIGKILL; a provider needs it to finish its call; default 2m
	Checks        string            `yaml:"checks"`         // fail: a check block that does not hold after an apply fails the run; warn: it is only told; default fail
	Allow         []Rule            `yaml:"allow"`          // the only actions there are; required
}

// Rule allows one action on the configuration. In YAML it may also be just the
// action's name, which then takes no values.
type Rule struct {
	Name             string            `yaml:"name"`              // what a change's action calls it; required
	Variables        map[string]string `yaml:"variables"`         // input variables a change must give, as name=value, each with the regular expression the whole value matches
	Timeout          time.Duration     `yaml:"timeout"`           // default: the executor's
	Estimate         time.Duration     `yaml:"estimate"`          // how long an apply takes; default: timeout
	RollbackEstimate time.Duration     `yaml:"rollback_estimate"` // how long undoing takes; default: estimate

	allow map[string]*regexp.Regexp
}

// SetSingle makes a rule of the name of one alone.
func (r *Rule) SetSingle(text string) { r.Name = text }

// UnmarshalYAML reads a rule, or the name of one alone.
func (r *Rule) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal(&r.Name); err == nil {
		return nil
	}
	type plain Rule
	return unmarshal((*plain)(r))
}

const (
	checksFail = "fail"
	checksWarn = "warn"
)

var (
	variableForm    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	environmentForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	c.defaults()
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !filepath.IsAbs(c.Dir) {
		bad("dir %q is not an absolute path; write where the configuration lies", c.Dir)
	}
	if !filepath.IsLocal(c.Module) {
		bad("module %q leads out of dir; write a path relative to it", c.Module)
	}
	for name, path := range map[string]string{"previous": c.Previous, "plugin_dir": c.PluginDir, "mirror": c.Mirror, "cli_config": c.CLIConfig} {
		if path != "" && !filepath.IsAbs(path) {
			bad("%s %q is not an absolute path", name, path)
		}
	}
	if strings.ContainsAny(c.Mirror, "\"\n\\") {
		bad("mirror %q: choose a path without quotes, backslashes and newlines", c.Mirror)
	}
	for _, f := range c.VariableFiles {
		if !filepath.IsLocal(f) {
			bad("variable_files: %q leads out of the root module; write a path relative to it", f)
		}
	}
	if c.CLIConfig != "" && c.Mirror != "" {
		bad("cli_config and mirror are both set; write the mirror into that file, or leave cli_config out")
	}
	if c.Checks != checksFail && c.Checks != checksWarn {
		bad("checks %q is neither fail nor warn", c.Checks)
	}
	if c.Timeout < 0 || c.Grace < 0 || c.LockTimeout < 0 || c.Parallelism < 0 {
		bad("timeout, grace, lock_timeout and parallelism must not be negative")
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(c.Variables)), slices.Collect(maps.Keys(c.Secrets))) {
		if !variableForm.MatchString(name) {
			bad("%q is no name of an input variable", name)
		}
	}
	for name := range c.Secrets {
		if _, twice := c.Variables[name]; twice {
			bad("variable %s is in variables and in secrets; keep one", name)
		}
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(c.Env)), slices.Collect(maps.Keys(c.SecretEnv)), c.PassEnv) {
		if why := reserved(name); why != "" {
			bad("environment variable %q: %s", name, why)
		}
	}
	if len(c.Allow) == 0 {
		bad("allow is empty; list the actions a change may ask for, like: allow: [apply]")
	}
	seen := map[string]bool{}
	for i := range c.Allow {
		r := &c.Allow[i]
		if err := r.complete(c); err != nil {
			bad("allow[%d]: %w", i, err)
		}
		if seen[r.Name] {
			bad("allow[%d]: name %q is used twice; give each rule a name of its own", i, r.Name)
		}
		seen[r.Name] = true
	}
	return errors.Join(faults...)
}

func (c *Config) defaults() {
	text := func(at *string, value string) {
		if *at == "" {
			*at = value
		}
	}
	span := func(at *time.Duration, value time.Duration) {
		if *at == 0 {
			*at = value
		}
	}
	text(&c.Module, ".")
	text(&c.Binary, "terraform")
	text(&c.Workspace, "default")
	text(&c.Checks, checksFail)
	span(&c.LockTimeout, 30*time.Second)
	span(&c.Timeout, 30*time.Minute)
	span(&c.Grace, 2*time.Minute)
	if c.Parallelism == 0 {
		c.Parallelism = 10
	}
}

// reserved says why a variable may not be set by hand: these decide what
// Terraform reads, writes and shows, and are ours.
func reserved(name string) string {
	switch {
	case !environmentForm.MatchString(name):
		return "no name of an environment variable"
	case strings.HasPrefix(name, "TF_VAR_"):
		return "write input variables into variables or secrets"
	case strings.HasPrefix(name, "TF_TOKEN_"), name == "TF_PLUGIN_CACHE_DIR", name == "TF_HTTP_USERNAME", name == "TF_HTTP_PASSWORD":
		return ""
	case strings.HasPrefix(name, "TF_"), name == "CHECKPOINT_DISABLE", name == tokenVariable, name == worker.RunVariable:
		return "it is set by the executor; use the option made for it"
	}
	return ""
}

func (r *Rule) complete(c *Config) error {
	if r.Name == "" || strings.ContainsAny(r.Name, "\n\r") {
		return fmt.Errorf("name %q: write what a change's action calls this, on one line", r.Name)
	}
	if r.Timeout == 0 {
		r.Timeout = c.Timeout
	}
	if r.Estimate == 0 {
		r.Estimate = r.Timeout
	}
	if r.RollbackEstimate == 0 {
		r.RollbackEstimate = r.Estimate
	}
	if r.Timeout < 0 || r.Estimate < 0 || r.RollbackEstimate < 0 {
		return errors.New("timeout and estimates must not be negative")
	}
	r.allow = map[string]*regexp.Regexp{}
	for name, expr := range r.Variables {
		if !variableForm.MatchString(name) {
			return fmt.Errorf("variables: %q is no name of an input variable", name)
		}
		if _, secret := c.Secrets[name]; secret {
			return fmt.Errorf("variables: %s is one of secrets, and a change shows what it asks for", name)
		}
		re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
		if err != nil || expr == "" {
			return fmt.Errorf("variables: say what %s may be as a regular expression, not %q", name, expr)
		}
		r.allow[name] = re
	}
	return nil
}

// choose returns the rule a change asks for and the values it gives. A refusal
// is a sentence that lists what is allowed.
func (c *Config) choose(action string, args []string) (Rule, map[string]string, string) {
	none := func(why string) (Rule, map[string]string, string) {
		var allowed []string
		for _, r := range c.Allow {
			s := r.Name
			for _, name := range slices.Sorted(maps.Keys(r.Variables)) {
				s += " " + name + "=" + r.Variables[name]
			}
			allowed = append(allowed, s)
		}
		slices.Sort(allowed)
		return Rule{}, nil, why + "; allowed are: " + strings.Join(allowed, "; ")
	}
	i := slices.IndexFunc(c.Allow, func(r Rule) bool { return r.Name == action })
	if i < 0 {
		return none(fmt.Sprintf("action %q is not allowed", action))
	}
	r, values := c.Allow[i], map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		allow, known := r.allow[name]
		_, twice := values[name]
		switch {
		case !ok:
			return none(fmt.Sprintf("action %s: %q is not of the form name=value", action, arg))
		case !known:
			return none(fmt.Sprintf("action %s may not set %q", action, name))
		case twice:
			return none(fmt.Sprintf("action %s: %s is given twice", action, name))
		case !allow.MatchString(value):
			return none(fmt.Sprintf("action %s: %s may not be %q", action, name, value))
		}
		values[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(r.allow)) {
		if _, given := values[name]; !given {
			return none(fmt.Sprintf("action %s: %s is missing", action, name))
		}
	}
	return r, values, ""
}

// environment is all that Terraform sees of ours, with the values in it that
// nobody may read. Its order is fixed.
func (x *Executor) environment(ctx context.Context, token string) (env, hidden []string, err error) {
	all := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": x.env.Dir, "LANG": "C.UTF-8",
	}
	for _, name := range x.cfg.PassEnv {
		if v, ok := os.LookupEnv(name); ok {
			all[name] = v
		}
	}
	maps.Copy(all, x.cfg.Env)
	for name, ref := range x.cfg.SecretEnv {
		v, err := x.secret(ctx, "secret_env."+name, ref)
		if err != nil {
			return nil, nil, err
		}
		all[name] = v
		hidden = append(hidden, v)
	}
	maps.Copy(all, map[string]string{
		"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1", "TF_WORKSPACE": x.cfg.Workspace, "TF_CLI_CONFIG_FILE": x.cliConfig(),
	})
	if x.cfg.Workspace == "default" {
		delete(all, "TF_WORKSPACE") // some backends know no workspaces and refuse even this one by name
	}
	if token != "" {
		all[tokenVariable], all[worker.RunVariable] = token, worker.Run(x.env.Dir, token)
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		env = append(env, k+"="+all[k])
	}
	return env, hidden, nil
}

func (x *Executor) secret(ctx context.Context, option, ref string) (string, error) {
	if x.env.Secret == nil {
		return "", fmt.Errorf("terraform: %s: no secrets can be read here: %w", option, ops.ErrInternal)
	}
	v, err := x.env.Secret(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("terraform: %s: %w: %w", option, err, ops.ErrUnavailable)
	}
	return v, nil
}

// cliConfig is where Terraform's own settings are, never those of the user we
// happen to be: they could redirect providers or send plans to a cloud.
func (x *Executor) cliConfig() string {
	if x.cfg.CLIConfig != "" {
		return x.cfg.CLIConfig
	}
	return filepath.Join(x.env.Dir, "cli.tfrc")
}

func (x *Executor) writeCLIConfig() error {
	if x.cfg.CLIConfig != "" {
		return nil
	}
	text := "# written by Fettle\n"
	if x.cfg.Mirror != "" {
		text += fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = \"%s\"\n  }\n}\n", x.cfg.Mirror)
	}
	return replaceFile(x.cliConfig(), []byte(text))
}
