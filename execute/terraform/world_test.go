package terraform_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/execute/terraform"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// world is a configuration with an executor on it.
type world struct {
	t     *testing.T
	dir   string // the configuration
	own   string
	marks *executetest.Marks
	x     execute.Executor
}

const shop = `
variable "size" { default = "small" }
variable "password" {
  default   = "none"
  sensitive = true
}
resource "terraform_data" "db" {
  input = { size = var.size, password = var.password, engine = "postgres" }
}
resource "terraform_data" "index" {
  triggers_replace = [var.size]
}
output "login" {
  value     = terraform_data.db.input.password
  sensitive = true
}
`

func newWorld(t *testing.T, main, options string) *world {
	t.Helper()
	peer.Terraform(t)
	w := &world{t: t, dir: t.TempDir(), own: t.TempDir(), marks: executetest.NewMarks()}
	write(t, filepath.Join(w.dir, "main.tf"), main)
	w.reopen(options)
	return w
}

func (w *world) reopen(options string) {
	w.t.Helper()
	x, err := w.open(options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.x = x
}

func (w *world) open(options string) (execute.Executor, error) {
	config := "dir: " + w.dir + "\ngrace: 10s\nlock_timeout: 0.1s\n" + options
	if !strings.Contains(options, "allow:") {
		config += "\nallow: [apply, {name: resize, variables: {size: '[a-z]+'}}]"
	}
	return terraform.Driver.Open(w.t.Context(), func(into any) error {
		return yaml.NewDecoder(strings.NewReader(config), yaml.Strict()).Decode(into)
	}, execute.Env{
		Name: "shop", Host: "here", Dir: w.own, Marks: w.marks, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		Redact: func(s string) string { return s },
		Secret: func(_ context.Context, ref string) (string, error) {
			if ref != "env:PASSWORD" {
				return "", errors.New("no such secret")
			}
			return "hunter2-of-the-shop", nil
		},
	})
}

func (w *world) tryPlan(action string, args ...string) (ops.Plan, error) {
	p, err := w.x.Plan(w.t.Context(), execute.Request{Change: ops.Change{ID: "c1", Action: action, Args: args}})
	p.Digest = p.ComputeDigest()
	return p, err
}

func (w *world) plan(action string, args ...string) ops.Plan {
	w.t.Helper()
	p, err := w.tryPlan(action, args...)
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return p
}

func (w *world) apply(token execute.Token, p ops.Plan) string {
	w.t.Helper()
	out := execute.NewOutput(execute.OutputLimit, nil)
	if _, err := w.x.Apply(w.t.Context(), token, p, out); err != nil {
		w.t.Fatalf("apply: %v\n%s", err, out.Text())
	}
	return out.Text()
}

// input returns an attribute of the database as the state has it.
func (w *world) input(name string) string {
	w.t.Helper()
	stateResources(w.t, w.dir)
	b, err := os.ReadFile(filepath.Join(w.dir, "terraform.tfstate"))
	if err != nil {
		w.t.Fatal(err)
	}
	var s struct {
		Resources []struct {
			Name      string
			Instances []struct {
				Attributes struct {
					Input struct{ Value map[string]string }
				}
			}
		}
	}
	if err := json.Unmarshal(b, &s); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range s.Resources {
		if r.Name == "db" {
			return r.Instances[0].Attributes.Input.Value[name]
		}
	}
	return ""
}

// A change of a value is shown attribute by attribute, is undone by the value
// before, and leaves no secret in what people read.
func TestChangeOfAValueAndBack(t *testing.T) {
	w := newWorld(t, shop, "secrets: {password: env:PASSWORD}")
	w.apply("t0", w.plan("apply"))
	p := w.plan("resize", "size=large")
	want := `# variable size = "large", asked for by this change
~ terraform_data.db
    ~ input.size: "small" -> "large"
    ~ output: (present value) -> (known after apply)
-/+ terraform_data.index  # replaced because of triggers_replace
    ~ id: ID -> (known after apply)
    ~ triggers_replace[0]: "small" -> "large"
Plan: 1 to add, 1 to change, 1 to destroy.
Undone by the previous configuration, which was planned now and changes nothing:
`
	if got := shown(p.Text); !strings.Contains(got, want) {
		t.Errorf("shown is\n%s\nwant\n%s", got, want)
	}
	said := w.apply("t1", p)
	if !strings.Contains(said, "Apply complete!") || w.input("size") != "large" {
		t.Errorf("size is %q after\n%s", w.input("size"), said)
	}
	kept, err := json.Marshal(p)
	if err != nil || strings.Contains(string(kept)+said, "hunter2") {
		t.Errorf("the secret is in %s\n%s, %v", kept, said, err)
	}
	if left, err := filepath.Glob(filepath.Join(w.own, "*", "*", "plan")); err != nil || len(left) > 0 {
		t.Errorf("saved plans, which hold secrets, were left: %v, %v", left, err)
	}
	for range 2 {
		if _, err := w.x.RollBack(t.Context(), "t1", p, io.Discard); err != nil {
			t.Fatalf("roll back: %v", err)
		}
		if w.input("size") != "small" {
			t.Fatalf("size is %q after the rollback", w.input("size"))
		}
	}
}

// shown cuts the head of a plan's text and what is random in it.
func shown(text string) string {
	_, text, _ = strings.Cut(text, "\n")
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "~ id: ") {
			line = "    ~ id: ID -> (known after apply)\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

// What one change has set, the next one does not take back in passing; an edit
// of the files ends that.
func TestValuesStayUntilTheFilesChange(t *testing.T) {
	peer.Long(t)
	w := newWorld(t, shop, "")
	w.apply("t0", w.plan("apply"))
	w.apply("t1", w.plan("resize", "size=large"))
	if p := w.plan("apply"); len(p.Actions) != 0 || !strings.Contains(p.Text, `size = "large", set by an earlier change`) {
		t.Errorf("a plan without values is\n%s", p.Text)
	}
	write(t, filepath.Join(w.dir, "main.tf"), strings.ReplaceAll(shop, `"postgres"`, `"mysql"`))
	p := w.plan("apply")
	if !strings.Contains(p.Text, `~ input.size: "large" -> "small"`) || !strings.Contains(p.Text, `~ input.engine: "postgres" -> "mysql"`) {
		t.Errorf("after an edit of the files the plan is\n%s", p.Text)
	}
	// Both are gone back to: the files as they were last applied are kept.
	w.apply("t2", p)
	if _, err := w.x.RollBack(t.Context(), "t2", p, io.Discard); err != nil {
		t.Fatalf("roll back: %v", err)
	}
	if w.input("size") != "large" || w.input("engine") != "postgres" {
		t.Errorf("after the rollback size is %s, engine is %s", w.input("size"), w.input("engine"))
	}
}

// A plan of what no known configuration describes cannot be undone, and says so.
func TestNoWayBackToTheUnknown(t *testing.T) {
	peer.Long(t)
	w := newWorld(t, shop, "")
	byHand(t, w.dir, "apply", "-auto-approve", "-var=size=medium")
	p := w.plan("resize", "size=large")
	if len(p.Rollback) != 0 || !strings.Contains(p.Text, "! cannot be undone: no known configuration describes what stands now") {
		t.Errorf("the plan has the rollback %v and says\n%s", p.Rollback, p.Text)
	}
	if _, err := w.x.RollBack(t.Context(), "t1", p, io.Discard); !errors.Is(err, ops.ErrStalled) {
		t.Errorf("roll back returned %v; want ErrStalled", err)
	}
	// A directory kept for this does describe it.
	previous := t.TempDir()
	write(t, filepath.Join(previous, "main.tf"), strings.Replace(shop, `"small"`, `"medium"`, 1))
	w.reopen("previous: " + previous)
	p = w.plan("resize", "size=large")
	w.apply("t2", p)
	if _, err := w.x.RollBack(t.Context(), "t2", p, io.Discard); err != nil || w.input("size") != "medium" {
		t.Errorf("roll back returned %v and size is %s", err, w.input("size"))
	}
}

// Nothing runs that is not what was planned, in either direction.
func TestMovedWorldIsRefused(t *testing.T) {
	peer.Long(t)
	w := newWorld(t, shop, "")
	w.apply("t0", w.plan("apply"))
	p := w.plan("resize", "size=large")
	byHand(t, w.dir, "apply", "-auto-approve", "-var=size=medium")
	_, err := w.x.Apply(t.Context(), "t1", p, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `"medium"`) || w.input("size") != "medium" {
		t.Errorf("apply returned %v; size is %s", err, w.input("size"))
	}
	if _, again := w.x.Apply(t.Context(), "t1", p, io.Discard); again == nil || again.Error() != err.Error() {
		t.Errorf("a second apply returned %v", again)
	}
	byHand(t, w.dir, "apply", "-auto-approve", "-var=size=small")
	p = w.plan("resize", "size=large")
	w.apply("t2", p)
	byHand(t, w.dir, "apply", "-auto-approve", "-var=size=huge")
	_, err = w.x.RollBack(t.Context(), "t2", p, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "not the approved one any more") || w.input("size") != "huge" {
		t.Errorf("roll back returned %v; size is %s", err, w.input("size"))
	}
}

func TestDigestFollowsSecretsByContent(t *testing.T) {
	w := newWorld(t, shop, "variables: {password: first-secret}")
	first := w.plan("apply")
	if again := w.plan("apply"); again.Digest != first.Digest {
		t.Errorf("two plans differ:\n%s", execute.Moved(first, again))
	}
	w.reopen("variables: {password: other-secret}")
	other := w.plan("apply")
	if other.Digest == first.Digest || strings.Contains(first.Text+other.Text+fmt.Sprint(first, other), "-secret") {
		t.Errorf("digests %s and %s, text\n%s", first.Digest, other.Digest, other.Text)
	}
}

const checked = `
variable "size" { default = "small" }
resource "terraform_data" "db" { 
  input = { size = var.size }
}
check "affordable" {
  assert {
    condition     = terraform_data.db.output.size != "huge"
    error_message = "nobody pays for this"
  }
}
`

// Terraform only warns of a check that does not hold.
func TestChecks(t *testing.T) {
	peer.Long(t)
	f := func(option, size, fault, said string) {
		t.Helper()
		w := newWorld(t, checked, option)
		out := execute.NewOutput(execute.OutputLimit, nil)
		_, err := w.x.Apply(t.Context(), "t1", w.plan("resize", "size="+size), out)
		if (fault == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), fault)) || !strings.Contains(out.Text(), said) {
			t.Errorf("%s, %s: %v\n%s", option, size, err, out.Text())
		}
		if w.input("size") != size {
			t.Errorf("%s, %s: size is %s", option, size, w.input("size"))
		}
	}
	f("", "large", "", "Apply complete!")
	f("", "huge", "applied, but not every check holds: check.affordable: nobody pays for this", "")
	f("checks: warn", "huge", "", "! check.affordable: nobody pays for this")
}

// A lock is waited for and told, never broken.
func TestHeldLock(t *testing.T) {
	peer.Long(t)
	w := newWorld(t, shop, "")
	w.apply("t0", w.plan("apply"))
	p := w.plan("resize", "size=large")
	holder := exec.Command("terraform", "console")
	holder.Dir, holder.Env = w.dir, append(os.Environ(), "CHECKPOINT_DISABLE=1")
	byHand(t, w.dir, "validate")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = holder.Wait()
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(w.dir, ".terraform.tfstate.lock.info")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lock was never taken")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err = w.tryPlan("apply")
	if !errors.Is(err, ops.ErrConflict) || !strings.Contains(err.Error(), "locked by ") || !strings.Contains(err.Error(), "@") {
		t.Errorf("plan under a held lock returned %v; want ErrConflict and who holds it", err)
	}
	if _, err := w.x.Apply(t.Context(), "t1", p, io.Discard); err == nil || !strings.Contains(err.Error(), "locked by ") {
		t.Errorf("apply under a held lock returned %v", err)
	}
	if d, err := w.x.Drift(t.Context(), p); d != execute.Unknown || err == nil {
		t.Errorf("drift under a held lock is %s, %v", d, err)
	}
}

// A state that could not be stored stops everything until a person has looked.
func TestLeftState(t *testing.T) {
	w := newWorld(t, shop, "")
	w.apply("t0", w.plan("apply"))
	copies, err := filepath.Glob(filepath.Join(w.own, "copies", "*"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("working copies: %v, %v", copies, err)
	}
	write(t, filepath.Join(copies[0], "errored.tfstate"), "{}")
	if _, err := w.tryPlan("resize", "size=large"); !errors.Is(err, ops.ErrStalled) || !strings.Contains(err.Error(), "state push errored.tfstate") {
		t.Errorf("plan beside a left state returned %v", err)
	}
}

func TestDriftFindsWhatOthersApplied(t *testing.T) {
	peer.Long(t)
	w := newWorld(t, shop, "")
	p := w.plan("resize", "size=large")
	w.apply("t1", p)
	f := func(want execute.Drift) {
		t.Helper()
		if got, err := w.x.Drift(t.Context(), p); got != want || (err != nil) != (want == execute.Unknown) {
			t.Errorf("drift is %s, %v; want %s", got, err, want)
		}
	}
	f(execute.InSync)
	write(t, filepath.Join(w.dir, "main.tf"), shop+"# edited since\n")
	f(execute.InSync) // what was applied still stands
	byHand(t, w.dir, "apply", "-auto-approve", "-var=size=medium")
	f(execute.Drifted)
	if err := os.RemoveAll(filepath.Join(w.own, "copies")); err != nil {
		t.Fatal(err)
	}
	f(execute.Unknown)
}

func TestUndeclaredVariable(t *testing.T) {
	w := newWorld(t, shop, "allow: [{name: resize, variables: {sise: .*}}]")
	if _, err := w.tryPlan("resize", "sise=large"); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), `"sise"`) {
		t.Errorf("plan returned %v; want ErrInvalid that names the variable", err)
	}
}

// A provider that is not in the mirror is not looked for on the network.
func TestMirrorOnly(t *testing.T) {
	for _, option := range []string{"mirror: ", "plugin_dir: "} {
		w := newWorld(t, `resource "local_file" "x" { filename = "x" }`, option+t.TempDir())
		if _, err := w.tryPlan("apply"); !errors.Is(err, ops.ErrStalled) || !strings.Contains(err.Error(), "hashicorp/local") {
			t.Errorf("%s: plan returned %v; want ErrStalled that names the provider", option, err)
		}
	}
}

// A plan that changes nothing can be approved and applied like any other.
func TestNothingToDo(t *testing.T) {
	w := newWorld(t, "", "")
	p := w.plan("apply")
	if len(p.Actions) != 0 || !strings.Contains(p.Text, "No changes.") {
		t.Errorf("the plan is\n%s", p.Text)
	}
	w.apply("t1", p)
}

const slow = `
resource "terraform_data" "standing" {
  provisioner "local-exec" {
    command = "echo x >> $W/begun; echo begun; sleep 1.5; echo $SECRET; echo finished"
    environment = { W = %q, SECRET = "plain" }
  }
}
resource "terraform_data" "after" { 
  input = terraform_data.standing.id 
}
`

const adoptVariable = "FETTLE_TERRAFORM_ADOPT"

// adoption is what a killed server was doing.
type adoption struct {
	Dir, Own string
	Marks    map[string]string
	Plan     ops.Plan
}

// The server is killed in the middle of an apply. Terraform goes on, stores a
// whole state, and a new server learns its real outcome.
func TestKilledServerFindsItsApplyAgain(t *testing.T) {
	peer.Long(t)
	if order := os.Getenv(adoptVariable); order != "" {
		var a adoption
		if err := json.Unmarshal([]byte(order), &a); err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, dir: a.Dir, own: a.Own, marks: &executetest.Marks{Rows: a.Marks}}
		w.reopen("")
		_, err := w.x.Apply(t.Context(), "t1", a.Plan, os.Stdout)
		t.Fatalf("apply returned %v before the kill", err)
	}
	f := func(name string, killTerraform bool) {
		w := newWorld(t, "", "")
		write(t, filepath.Join(w.dir, "main.tf"), fmt.Sprintf(slow, w.dir))
		p := w.plan("apply")
		order, err := json.Marshal(adoption{Dir: w.dir, Own: w.own, Marks: w.marks.Rows, Plan: p})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledServerFindsItsApplyAgain$")
		cmd.Env = append(os.Environ(), adoptVariable+"="+string(order))
		said, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var seen strings.Builder
		for buf := make([]byte, 1024); !strings.Contains(seen.String(), "(local-exec): begun"); {
			n, err := said.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				t.Fatalf("%s: the child ended:\n%s", name, seen.String())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		// The marks of the killed server: its apply had begun.
		mark, err := json.Marshal(map[string]any{"state": "starting", "host": "here", "at": time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		w.marks.Rows["t1"] = string(mark)
		if killTerraform {
			for _, pid := range workers(t, w.own) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		out := execute.NewOutput(execute.OutputLimit, nil)
		for range 2 {
			_, err = w.x.Apply(t.Context(), "t1", p, out)
			var unknown *ops.UnknownOutcome
			switch {
			case killTerraform && !errors.As(err, &unknown):
				t.Errorf("%s: apply returned %v; want an UnknownOutcome", name, err)
			case !killTerraform && err != nil:
				t.Errorf("%s: apply returned %v; want the outcome\n%s", name, err, out.Text())
			}
		}
		if n := len(lines(t, filepath.Join(w.dir, "begun"))); n != 1 {
			t.Errorf("%s: it began %d times", name, n)
		}
		if got := len(stateResources(t, w.dir)); !killTerraform && got != 2 {
			t.Errorf("%s: the state holds %d resources", name, got)
		}
		if !killTerraform && !strings.Contains(out.Text(), "finished") {
			t.Errorf("%s: the output after the kill is lost:\n%s", name, out.Text())
		}
		// Nothing that was left behind stands in the way of the next plan.
		w.plan("apply")
	}
	f("the server", false)
	f("the server and Terraform", true)
}

// workers finds the Terraform that applies a plan kept in own.
func workers(t *testing.T, own string) []int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), own) || !strings.Contains(string(b), "\x00apply\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/cmdline", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatal("no Terraform applies")
	}
	return pids
}

func TestLinksOfAState(t *testing.T) {
	w := newWorld(t, shop+"\nresource \"terraform_data\" \"web\" {\n  input = terraform_data.db.id\n}\n", "secrets: {password: env:PASSWORD}")
	f := func(p ops.Plan, want int) {
		t.Helper()
		source, links, err := w.x.(execute.Linker).Links(t.Context(), p)
		if err != nil || source != "terraform:shop" || len(links) != want {
			t.Fatalf("%s says %+v (%v), want %d", source, links, err, want)
		}
		for _, l := range links {
			if l.From.Kind != "terraform_data" || !strings.Contains(fmt.Sprint(l.From.Aliases), "terraform_data.web") || !strings.Contains(fmt.Sprint(l.To.Aliases), "terraform_data.db") {
				t.Errorf("linked %+v", l)
			}
		}
	}
	p := w.plan("apply")
	f(p, 0) // nothing is there yet
	w.apply("t0", p)
	f(w.plan("resize", "size=large"), 1)
}
