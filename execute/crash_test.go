package execute_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/command"
	"github.com/fettleops/fettle/execute/dryrun"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

const crashDir = "FETTLE_EXECUTE_CRASH_DIR"

// crashHouse is a house whose executor runs a real command, a script that
// writes one line per run.
func crashHouse(t *testing.T, dir, holder string) *house {
	t.Helper()
	h := openHouse(t, dir, dryrun.Config{}, holder)
	cfg := command.Config{Allow: []command.Rule{{Name: "restart", Command: filepath.Join(dir, "restart")}}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	x, err := command.Open(t.Context(), cfg, execute.Env{Name: "rehearsal", Host: "here", Dir: dir, Marks: h.store.ExecutionMarks("rehearsal"), Redact: redact, Clock: time.Now, Log: h.opts.Log})
	if err != nil {
		t.Fatal(err)
	}
	h.opts.Executors = map[string]execute.Executor{"rehearsal": x}
	h.opts.LeaseTime, h.opts.Poll = 300*time.Millisecond, 20*time.Millisecond
	h.room = execute.New(h.opts)
	h.room.Register(h.queue)
	return h
}

// TestKilledAnywhereRunsOnce kills a real process at every step of applying a
// run, starts another on the same database, and counts.
func TestKilledAnywhereRunsOnce(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		h := crashHouse(t, dir, "killed")
		c := readChange(t, dir, h)
		h.order(c)
		h.run(20*time.Second, h.idle)
		return
	}
	points := []string{
		"execute.plan.before", "execute.plan.after",
		"execute.apply.before", "execute.apply.after",
		"execute.command.start.before", "execute.command.start.after",
		"commit.before:execute.(*Room).take", "commit.after:execute.(*Room).take",
		"commit.before:execute.(*Room).ready", "commit.after:execute.(*Room).ready",
		"commit.before:execute.(*Room).tell", "commit.after:execute.(*Room).tell",
		"commit.before:store.(*ExecutionMarks).Mark", "commit.after:store.(*ExecutionMarks).Mark",
		"commit.before:store.(*ExecutionMarks).Note", "commit.after:store.(*ExecutionMarks).Note",
	}
	unknowns := 0
	for _, point := range points {
		dir := t.TempDir()
		script := "#!/bin/sh\necho x >> '" + dir + "/runs'\n"
		if err := os.WriteFile(filepath.Join(dir, "restart"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		h := crashHouse(t, dir, "first")
		c := h.approve(h.propose("c1"))
		writeChange(t, dir, c, h.gate.plans[c.PlanID])
		h.close()

		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAnywhereRunsOnce$", "-test.timeout=1m")
		cmd.Env = append(os.Environ(), crashDir+"="+dir, failpoint.Env+"="+point)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%s was not reached: %v\n%s", point, err, out)
			continue
		}

		h = crashHouse(t, dir, "second")
		h.order(readChange(t, dir, h))
		h.run(20*time.Second, h.idle)
		runs, err := os.ReadFile(filepath.Join(dir, "runs"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		n := strings.Count(string(runs), "x")
		applied, failed := len(h.facts(ops.RunApplied, c.Subject())), h.facts(ops.RunBroke, c.Subject())
		switch {
		case n > 1:
			t.Errorf("%s: it ran %d times", point, n)
		case applied+len(failed) != 1:
			t.Errorf("%s: %d times applied and %d times failed were told", point, applied, len(failed))
		case applied == 1 && n != 1:
			t.Errorf("%s: told as applied, ran %d times", point, n)
		case applied == 0:
			if b := last[ops.RunFailedBody](h, c.Subject()); !b.Unknown {
				t.Errorf("%s: told as failed: %s", point, b.Error)
			}
			unknowns++
		}
		h.close()
	}
	// Only between a mark and the note of the end can an outcome be lost.
	if unknowns == 0 || unknowns > 6 {
		t.Errorf("%d of %d crashes left the outcome unknown", unknowns, len(points))
	}
}

type kept struct {
	Change ops.Change
	Plan   ops.Plan
}

func writeChange(t *testing.T, dir string, c ops.Change, p ops.Plan) {
	t.Helper()
	b, err := json.Marshal(kept{c, p})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "change.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readChange(t *testing.T, dir string, h *house) ops.Change {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "change.json"))
	if err != nil {
		t.Fatal(err)
	}
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		t.Fatal(err)
	}
	h.gate.changes[k.Change.ID], h.gate.plans[k.Plan.ID] = k.Change, k.Plan
	return k.Change
}

// A command that outlives its server is waited for, and then told as unknown.
func TestOrphanIsWaitedFor(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		t.Skip("the child of another test")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\necho begun\nsleep 1\necho x >> '" + dir + "/runs'\n"
	if err := os.WriteFile(filepath.Join(dir, "restart"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	h := crashHouse(t, dir, "first")
	c := h.approve(h.propose("c1"))
	writeChange(t, dir, c, h.gate.plans[c.PlanID])
	h.close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAnywhereRunsOnce$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), crashDir+"="+dir, failpoint.Env+"=commit.after:store.(*ExecutionMarks).Note")
	if err := cmd.Run(); err == nil {
		t.Fatal("the child was not killed")
	}
	h = crashHouse(t, dir, "second")
	defer h.close()
	h.order(readChange(t, dir, h))
	h.run(20*time.Second, h.idle)
	b := last[ops.RunFailedBody](h, c.Subject())
	runs, err := os.ReadFile(filepath.Join(dir, "runs"))
	if err != nil || string(runs) != "x\n" {
		t.Errorf("runs %q, %v; the orphan must have ended before it was told", runs, err)
	}
	if !b.Unknown || b.Run.Output != "begun\n" {
		t.Errorf("told %+v", b)
	}
}
