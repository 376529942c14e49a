package terraform

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

func parseConfig(t *testing.T, text string) (Config, error) {
	t.Helper()
	var c Config
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c, c.Validate()
}

func TestConfigFaults(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := parseConfig(t, text)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s\ngives %v, want %q", text, err, w)
			}
		}
		if len(want) == 0 && err != nil {
			t.Errorf("%s\ngives %v", text, err)
		}
	}
	f("dir: /srv/web\nallow: [apply]")
	f("{}", `dir "" is not an absolute path`, "allow is empty")
	f("dir: web\nmodule: ../x\nprevious: y\nmirror: z\nallow: [apply]", `dir "web"`, `module "../x"`, `previous "y"`, `mirror "z"`)
	f("dir: /w\nallow: [apply]\nchecks: sometimes\ntimeout: -1s", "checks", "negative")
	f("dir: /w\nallow: [apply, apply]", `"apply" is used twice`)
	f("dir: /w\nallow: [{name: x, variables: {size: '['}}, {variables: {}}]", "what size may be", `name ""`)
	f("dir: /w\nallow: [{name: x, variables: {pw: .*}}]\nsecrets: {pw: env:PW}\nvariables: {pw: x}", "pw is one of secrets", "in variables and in secrets")
	f("dir: /w\nallow: [apply]\npass_env: [AWS_PROFILE, TF_TOKEN_app_terraform_io]\nenv: {TF_PLUGIN_CACHE_DIR: /c}")
	f("dir: /w\nallow: [apply]\npass_env: [TF_LOG]\nenv: {TF_VAR_x: y}\nsecret_env: {TF_CLI_ARGS: env:X}\nvariable_files: [/etc/x]", `"TF_LOG"`, `"TF_VAR_x"`, `"TF_CLI_ARGS"`, "variable_files")
	f("dir: /w\nallow: [apply]\nmirror: /m\ncli_config: /c", "cli_config and mirror")
}

func TestChoose(t *testing.T) {
	c, err := parseConfig(t, "dir: /w\nallow: [apply, {name: resize, variables: {size: '[a-z0-9.]+', count: '[1-9]'}}]")
	if err != nil {
		t.Fatal(err)
	}
	f := func(action, args, want string) {
		t.Helper()
		r, values, why := c.choose(action, strings.Fields(args))
		if want == "" && (why != "" || r.Name != action || len(values) != len(strings.Fields(args))) {
			t.Errorf("%s %s: %s, %v, %q", action, args, r.Name, values, why)
		}
		if want != "" && (!strings.Contains(why, want) || !strings.Contains(why, "; allowed are: apply; resize count=[1-9] size=[a-z0-9.]+")) {
			t.Errorf("%s %s: %q, want %q", action, args, why, want)
		}
	}
	f("apply", "", "")
	f("resize", "size=m5.large count=3", "")
	f("resize", "count=3", "size is missing")
	f("resize", "size=m5.large count=30", `count may not be "30"`)
	f("resize", "size=a size=b count=1", "size is given twice")
	f("resize", "large", "name=value")
	f("apply", "size=a", `may not set "size"`)
	f("destroy", "", `action "destroy" is not allowed`)
}

func newExecutor(t *testing.T, config string) *Executor {
	t.Helper()
	c, err := parseConfig(t, config)
	if err != nil {
		t.Fatal(err)
	}
	return &Executor{cfg: c, env: execute.Env{Host: "here", Dir: t.TempDir(), Clock: time.Now, Log: slog.New(slog.DiscardHandler), Redact: func(s string) string { return s }, Secret: func(_ context.Context, ref string) (string, error) {
		if ref == "env:GONE" {
			return "", errors.New("not set")
		}
		return "value of " + ref, nil
	}}}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("AWS_PROFILE", "shop")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not for everybody")
	t.Setenv("TF_LOG", "trace")
	x := newExecutor(t, "dir: /w\nallow: [apply]\nworkspace: blue\npass_env: [AWS_PROFILE, NOT_THERE]\nenv: {A: b}\nsecret_env: {TOKEN: env:T}")
	env, hidden, err := x.environment(t.Context(), "t1")
	want := []string{
		"A=b", "AWS_PROFILE=shop", "CHECKPOINT_DISABLE=1", "FETTLE_RUN=" + x.env.Dir + "#t1", "FETTLE_RUN_TOKEN=t1", "HOME=" + x.env.Dir, "LANG=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TF_CLI_CONFIG_FILE=" + x.env.Dir + "/cli.tfrc", "TF_INPUT=0",
		"TF_IN_AUTOMATION=1", "TF_WORKSPACE=blue", "TOKEN=value of env:T",
	}
	if err != nil || !slices.Equal(env, want) || !slices.Equal(hidden, []string{"value of env:T"}) {
		t.Errorf("environment %q, hidden %q, %v; want %q", env, hidden, err, want)
	}
	x = newExecutor(t, "dir: /w\nallow: [apply]\nsecret_env: {TOKEN: env:GONE}")
	if _, _, err := x.environment(t.Context(), ""); !errors.Is(err, ops.ErrUnavailable) || !strings.Contains(err.Error(), "secret_env.TOKEN") {
		t.Errorf("a secret that cannot be read: %v", err)
	}
}

func TestWorkingCopy(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, perm os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), perm), os.Chmod(path, perm)); err != nil {
			t.Fatal(err)
		}
	}
	put("main.tf", "a", 0o644)
	put("modules/net/main.tf", "b", 0o644)
	x := newExecutor(t, "dir: "+dir+"\nallow: [apply]")
	take := func() string {
		t.Helper()
		d, err := x.take(dir)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := take()
	for _, name := range []string{"terraform.tfstate", "terraform.tfstate.backup", ".terraform/x", ".git/HEAD", "terraform.tfstate.d/blue/terraform.tfstate", overrideFile} {
		put(name, "x", 0o600)
	}
	if again := take(); again != first {
		t.Error("what Terraform and git keep for themselves moved the digest")
	}
	put("modules/net/main.tf", "c", 0o644)
	if take() == first {
		t.Error("an edited module did not move the digest")
	}
	put("modules/net/main.tf", "b", 0o644)
	put("hook.sh", "x", 0o644)
	plain := take()
	put("hook.sh", "x", 0o755)
	if take() == plain {
		t.Error("a script that became executable did not move the digest")
	}
	if b, err := os.ReadFile(filepath.Join(x.copyPath(first), "modules/net/main.tf")); err != nil || string(b) != "b" {
		t.Errorf("the first copy holds %q, %v", b, err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := x.take(dir); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "link") {
		t.Errorf("a link to a directory: %v", err)
	}
	if _, err := x.take(dir + "/nowhere"); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// Old copies go, except the one last applied and one that holds what nobody
// else has.
func TestPrune(t *testing.T) {
	x := newExecutor(t, "dir: /w\nallow: [apply]")
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	for _, c := range []string{"a", "b", "c", "d"} {
		if err := os.MkdirAll(x.copyPath(digest(c)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(x.copyPath(digest("c")), erroredState), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, c := range []string{"a", "b", "c"} {
		old := now.Add(-2 * keepCopies)
		if err := os.Chtimes(x.copyPath(digest(c)), old, old); err != nil {
			t.Fatal(err)
		}
	}
	scratch := func(name string, age time.Duration) string {
		path := filepath.Join(x.env.Dir, name)
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chtimes(path, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone := []string{scratch("plan-1", 2*keepScratch), scratch("drift-1", 2*keepScratch), scratch("runs/1", 2*keepCopies)}
	stay := []string{scratch("plan-2", time.Hour), scratch("runs/2", 2*keepScratch)}
	x.prune(digest("a"))
	for _, path := range slices.Concat(gone, stay) {
		if _, err := os.Stat(path); (err == nil) != slices.Contains(stay, path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(x.env.Dir, "copies", "*"))
	want := []string{x.copyPath(digest("a")), x.copyPath(digest("c")), x.copyPath(digest("d"))}
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %v, %v; want %v", left, err, want)
	}
}

func TestCLIConfig(t *testing.T) {
	f := func(option, want string) {
		t.Helper()
		x := newExecutor(t, "dir: /w\nallow: [apply]\n"+option)
		if err := x.writeCLIConfig(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(x.cliConfig())
		if want != "" && (err != nil || string(b) != want) {
			t.Errorf("%s: %q, %v; want %q", option, b, err, want)
		}
		if _, err := os.Stat(filepath.Join(x.env.Dir, "cli.tfrc")); (err == nil) != (want != "") {
			t.Errorf("%s: %v", option, err)
		}
	}
	f("", "# written by Fettle\n")
	f("mirror: /srv/m", "# written by Fettle\nprovider_installation {\n  filesystem_mirror {\n    path = \"/srv/m\"\n  }\n}\n")
	f("cli_config: /nowhere/rc", "")
}

func TestMissingBinary(t *testing.T) {
	_, err := Open(t.Context(), Config{Binary: "/nowhere/tofu"}, execute.Env{})
	if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "/nowhere/tofu") {
		t.Errorf("open without the program returned %v", err)
	}
}
