package command

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/worker"
	"github.com/fettleops/fettle/ops"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	var c Config
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		return c, err
	}
	return c, c.Validate()
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := load(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	f(`allow: []`, "allow is empty")
	f(`allow: [systemctl restart shop]`, "clean absolute path")
	f(`allow: [/usr/../bin/x]`, "clean absolute path")
	f(`allow: ["/bin/clean *"]`, "{name:regexp}")
	f(`allow: ["/bin/clean --dir={d:x}"]`, "a word of its own")
	f(`allow: ["/bin/clean {d:x}y"]`, "nothing may follow")
	f(`allow: ["/bin/clean {d:x"]`, "a { without its }")
	f(`allow: ["/bin/clean x}"]`, "a } without its {")
	f(`allow: ["/bin/clean {d:[}"]`, "error parsing regexp")
	f(`allow: ["/bin/clean {D:x}"]`, "the name must match")
	f(`allow: ["/bin/clean {d}"]`, "say what d may be")
	f(`allow: ["/bin/clean {d:x} {d:y}"]`, "declared twice")
	f(`allow: [{command: "/bin/a {d:x}", rollback: "/bin/b {e}"}]`, "a name the command declares")
	f(`allow: [{command: "/bin/a {d:x}", check: "/bin/b {d:y}"}]`, "a name the command declares")
	f(`allow: [{command: /bin/a, name: /bin/b}]`, "begins with /")
	f(`allow: [{command: /bin/a, name: x}, {command: /bin/b, name: x}]`, "used twice")
	f(`{allow: [/bin/a], dir: tmp}`, "not an absolute path")
	f(`{allow: [/bin/a], timeout: -1s}`, "must not be negative")
	f(`allow: [{command: /bin/a, shell: true}]`, "shell")
}

func TestOnlyAllowedArgumentVectors(t *testing.T) {
	c, err := load(t, `
allow:
- /usr/bin/systemctl restart shop
- name: clean
  command: /usr/local/bin/clean {dir:/var/tmp/[a-z]{1,8}} {days:[0-9]+}
`)
	if err != nil {
		t.Fatal(err)
	}
	f := func(action, args, want string) {
		t.Helper()
		var list []string
		if args != "" {
			list = strings.Split(args, "|")
		}
		_, argv, _, why := c.choose(ops.Change{Action: action, Args: list})
		if got := strings.Join(argv, "|"); got != want {
			t.Errorf("%s %q: got %q (%s), want %q", action, args, got, why, want)
		}
		if want == "" && !strings.Contains(why, "allowed are: /usr/bin/systemctl restart shop; clean (/usr/local/bin/clean ") {
			t.Errorf("%s %q: the refusal %q does not list what is allowed", action, args, why)
		}
	}
	f("/usr/bin/systemctl", "restart|shop", "/usr/bin/systemctl|restart|shop")
	f("/usr/bin/systemctl restart shop", "", "/usr/bin/systemctl|restart|shop")
	f("/usr/bin/systemctl", "restart|shop|mail", "")
	f("/usr/bin/systemctl", "restart", "")
	f("/usr/bin/systemctl", "stop|shop", "")
	f("systemctl", "restart|shop", "")
	f("clean", "/var/tmp/shop|7", "/usr/local/bin/clean|/var/tmp/shop|7")
	f("/usr/local/bin/clean", "/var/tmp/shop|7", "/usr/local/bin/clean|/var/tmp/shop|7")
	f("clean", "/var/tmp/shop", "")
	f("clean", "/var/tmp/shop|7|8", "")
	f("clean", "/var/tmp/../etc|7", "")
	f("clean", "/var/tmp/shop/x|7", "")
	f("clean", "/var/tmp/shop\n|7", "")
	f("clean", "/var/tmp/shop; rm -rf /|7", "")
	f("clean", "|7", "")
}

// A value that looks like an option is refused whatever the expression allows.
func TestArgumentsAreNeverOptions(t *testing.T) {
	c, err := load(t, `allow: [{name: clean, command: "/bin/clean {what:.*}"}]`)
	if err != nil {
		t.Fatal(err)
	}
	if _, argv, _, why := c.choose(ops.Change{Action: "clean", Args: []string{"--everything"}}); why == "" {
		t.Errorf("%q was allowed", argv)
	}
}

// memory keeps marks in a map.
type memory map[string]string

func (m memory) Mark(_ context.Context, token, note string) (string, bool, error) {
	if seen, ok := m[token]; ok {
		return seen, false, nil
	}
	m[token] = note
	return note, true, nil
}

func (m memory) Note(_ context.Context, token, note string) error {
	m[token] = note
	return nil
}

type bench struct {
	*Executor
	dir   string
	marks memory
}

// newBench opens an executor with one rule for a script.
func newBench(t *testing.T, script, rule string) bench {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(script, "$D", dir)+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg, err := load(t, "grace: 50ms\nallow: [{name: tool, command: "+path+rule+"}]")
	if err != nil {
		t.Fatal(err)
	}
	marks := memory{}
	x := &Executor{cfg: cfg, env: execute.Env{Name: "local", Host: "here", Dir: dir, Marks: marks, Clock: time.Now, Log: slog.New(slog.DiscardHandler), Redact: func(s string) string { return s }}}
	return bench{x, dir, marks}
}

func (b bench) plan(t *testing.T) ops.Plan {
	t.Helper()
	p, err := b.Plan(t.Context(), execute.Request{Change: ops.Change{Action: "tool", Resource: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b bench) ran(t *testing.T) string {
	t.Helper()
	out, err := os.ReadFile(filepath.Join(b.dir, "ran"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(out)
}

func TestSwappedFileIsNotRun(t *testing.T) {
	b := newBench(t, `echo first >> "$D/ran"`, "")
	p := b.plan(t)
	if err := os.WriteFile(filepath.Join(b.dir, "tool"), []byte("#!/bin/sh\necho other >> '"+b.dir+"/ran'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(t.Context(), "t1", p, io.Discard); err == nil || !strings.Contains(err.Error(), "no longer the file that was planned") {
		t.Errorf("apply returned %v", err)
	}
	if b.ran(t) != "" {
		t.Error("the swapped file was run")
	}
}

func TestFileThatOthersMayWriteIsRefused(t *testing.T) {
	b := newBench(t, "exit 0", "")
	if err := os.Chmod(filepath.Join(b.dir, "tool"), 0o720); err != nil {
		t.Fatal(err)
	}
	_, err := b.Plan(t.Context(), execute.Request{Change: ops.Change{Action: "tool"}})
	if !errors.Is(err, ops.ErrDenied) || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("plan returned %v", err)
	}
}

// An approval of one rule does not depend on the others.
func TestConfigDigestIsTheRules(t *testing.T) {
	b := newBench(t, "exit 0", "")
	before := b.plan(t).Config
	b.cfg.Allow = append(b.cfg.Allow, Rule{Name: "another"})
	if b.plan(t).Config != before {
		t.Error("another rule voids this one's approvals")
	}
	b.cfg.Allow[0].Timeout *= 2
	if b.plan(t).Config == before {
		t.Error("a longer timeout does not show in the digest")
	}
}

func TestCommandSeesACleanWorld(t *testing.T) {
	t.Setenv("FETTLE_SECRET", "x")
	b := newBench(t, `env | sort > "$D/ran"; pwd >> "$D/ran"; cat >> "$D/ran"`, "")
	b.cfg.Env = map[string]string{"JAVA_HOME": "/opt/java"}
	if _, err := b.Apply(t.Context(), "t1", b.plan(t), io.Discard); err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(b.ran(t)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		names = append(names, name)
	}
	// The shell itself adds PWD, and _ for the command it runs.
	names = slices.DeleteFunc(names, func(s string) bool { return s == "PWD" || s == "_" || s == "OLDPWD" || s == "SHLVL" })
	if got := strings.Join(names, " "); got != "FETTLE_RUN FETTLE_RUN_TOKEN JAVA_HOME LANG PATH /" {
		t.Errorf("the command saw %q", got)
	}
}

// after leaves the mark of a killed server's run.
func (b bench) after(t *testing.T, m mark) {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b.marks["t1"] = string(text)
}

func TestHiddenOutcome(t *testing.T) {
	f := func(name, rule string, m mark, want string, unknown bool, ran string) {
		t.Helper()
		b := newBench(t, `echo x >> "$D/ran"`, rule)
		p := b.plan(t)
		m.At = time.Now()
		b.after(t, m)
		_, err := b.Apply(t.Context(), "t1", p, io.Discard)
		var u *ops.UnknownOutcome
		if errors.As(err, &u) != unknown || (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: apply returned %v, want %q", name, err, want)
		}
		if got := b.ran(t); got != ran {
			t.Errorf("%s: ran %q, want %q", name, got, ran)
		}
	}
	f("perhaps never started", "", mark{State: starting, Host: "here"}, "exit code is lost", true, "")
	f("gone by now", "", mark{State: started, Host: "here", ID: worker.ID{Pid: 1 << 30, Start: "1"}}, "exit code is lost", true, "")
	f("a later process of that number is not it", "", mark{State: started, Host: "here", ID: worker.ID{Pid: os.Getpid(), Start: "1"}}, "exit code is lost", true, "")
	f("on another machine", "", mark{State: started, Host: "there", ID: worker.ID{Pid: 7}}, "it began on there (pid 7)", true, "")
	f("harmless to run again", ", idempotent: true", mark{State: started, Host: "here", ID: worker.ID{Pid: 1 << 30, Start: "1"}}, "", false, "x\n")
	f("harmless, but on another machine", ", idempotent: true", mark{State: started, Host: "there"}, "look there", true, "")
	f("had worked", "", mark{State: ended, Host: "here"}, "", false, "")
	f("had failed", "", mark{State: ended, Host: "here", Code: 3, Fault: "exited with 3"}, "exited with 3", false, "")
	f("had been refused", ", idempotent: true", mark{State: refused, Host: "here", Fault: "not started: late"}, "not started: late", false, "")
}

func TestExitCodesThatMeanSuccess(t *testing.T) {
	b := newBench(t, "exit 2", ", success: [0, 2]")
	if res, err := b.Apply(t.Context(), "t1", b.plan(t), io.Discard); err != nil || res.Code != 2 {
		t.Errorf("apply returned %+v, %v", res, err)
	}
}

// heard calls a function with each thing a command says.
type heard func()

func (h heard) Write(p []byte) (int, error) {
	h()
	return len(p), nil
}

// Two installations on one machine, a copy beside its original, may run under
// the same token. Ending one of the runs leaves the other alone.
func TestARunOfAnotherInstallationIsLeftAlone(t *testing.T) {
	t.Parallel()
	its := newBench(t, `echo begun; until [ -e "$D/go" ]; do sleep 0.02; done; echo x >> "$D/ran"`, "")
	ours := newBench(t, "echo begun; sleep 60", "")
	begun, done := make(chan struct{}), make(chan error, 1)
	plan := its.plan(t)
	go func() {
		_, err := its.Apply(t.Context(), "t1", plan, heard(sync.OnceFunc(func() { close(begun) })))
		done <- err
	}()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := ours.Apply(ctx, "t1", ours.plan(t), heard(cancel)); err == nil {
		t.Error("the run that was cancelled succeeded")
	}
	if err := os.WriteFile(filepath.Join(its.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || its.ran(t) != "x\n" {
		t.Errorf("the other run ended with %v and has done %q", err, its.ran(t))
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("/bin/clean {d:[a-z]{1,3}} x", "abc")
	f.Add("/bin/a {x:.*}", "-rf")
	f.Add("/bin/a {x:a|b}", "ab")
	f.Fuzz(func(t *testing.T, s, arg string) {
		p, err := parse(s, nil)
		if err != nil {
			return
		}
		named := 0
		for _, w := range p {
			if w.name != "" {
				named++
			}
		}
		args := slices.Repeat([]string{arg}, named)
		argv, values, err := p.fill(args)
		if err != nil {
			return
		}
		if len(argv) != len(p) || !filepath.IsAbs(argv[0]) && p[0].name == "" {
			t.Fatalf("%q with %q became %q", s, arg, argv)
		}
		again, ok := p.match(argv)
		if !ok || len(again) != len(values) || strings.HasPrefix(arg, "-") && named > 0 {
			t.Fatalf("%q filled with %q gives %q, which it matches: %v", s, arg, argv, ok)
		}
	})
}
