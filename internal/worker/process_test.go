package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/worker"
)

const variable = "FETTLE_WORKER_TEST"

func start(t *testing.T, script string) (*worker.Process, string) {
	t.Helper()
	value := filepath.Join(t.TempDir(), "marked")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	p, err := worker.Start(worker.Spec{File: "/bin/sh", Args: []string{"sh", "-c", script}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin", variable + "=" + value}, Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { worker.KillMarked(variable, value) })
	return p, value
}

func manner(timeout time.Duration) worker.Manner {
	return worker.Manner{Signal: syscall.SIGINT, Grace: 100 * time.Millisecond, Timeout: timeout}
}

func TestWaitTellsHowItEnded(t *testing.T) {
	f := func(script string, code int, fault string) {
		t.Helper()
		p, _ := start(t, script)
		got, err := p.Wait(t.Context(), manner(time.Minute), nil)
		if got != code || (fault == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s: %d, %v; want %d, %q", script, got, err, code, fault)
		}
	}
	f("exit 0", 0, "")
	f("exit 7", 7, "")
	f("kill -9 $$", -1, "signal 9")
}

func TestEndsWithAllChildren(t *testing.T) {
	f := func(script string, timeout time.Duration, want error, text string) {
		t.Helper()
		p, value := start(t, script)
		ctx, cancel := context.WithCancelCause(t.Context())
		if want != nil {
			cancel(want)
		}
		defer cancel(nil)
		_, err := p.Wait(ctx, manner(timeout), nil)
		if err == nil || !strings.Contains(err.Error(), text) || (want != nil && !errors.Is(err, want)) {
			t.Errorf("%s: %v", script, err)
		}
		worker.KillMarked(variable, value)
		for deadline := time.Now().Add(10 * time.Second); len(worker.Marked(variable, value)) > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v still run", script, worker.Marked(variable, value))
			}
		}
	}
	f("trap '' INT; sleep 60 & sleep 60", 50*time.Millisecond, nil, "timed out")
	f("sleep 60 & sleep 60", time.Minute, errors.New("a person"), "a person")
	f("setsid sleep 60 & sleep 60", time.Minute, errors.New("a person"), "a person")
}

// A worker is found again by its id and, when that was not written down in
// time, by what it carries in its environment.
func TestFoundAgain(t *testing.T) {
	p, value := start(t, "sleep 60")
	id := p.ID()
	if !id.Alive() || !slices.Equal(worker.Orphans(id, variable, value), []int{id.Pid}) {
		t.Errorf("%+v is not found", id)
	}
	if other := (worker.ID{Pid: id.Pid, Start: "1"}); other.Alive() || len(worker.Orphans(other, variable, value)) != 0 {
		t.Error("a process that took the number over is taken for the worker")
	}
	if got := worker.Orphans(worker.ID{}, variable, value); !slices.Contains(got, id.Pid) {
		t.Errorf("found %v by its environment, want %d", got, id.Pid)
	}
	still, why := worker.Await(t.Context(), worker.ID{}, variable, value, manner(50*time.Millisecond), func() {})
	if len(still) > 0 || why == nil || !strings.Contains(why.Error(), "timed out") || id.Alive() {
		t.Errorf("await returned %v, %v", still, why)
	}
	if still, why := worker.Await(t.Context(), id, variable, value, manner(time.Minute), func() {}); len(still) > 0 || why != nil {
		t.Errorf("await of what is gone returned %v, %v", still, why)
	}
}

// A worker that would lose the signal is not asked before it is ready.
func TestAskedWhenReady(t *testing.T) {
	dir := t.TempDir()
	p, _ := start(t, "trap '' INT; sleep 0.3; trap 'exit 5' INT; touch '"+dir+"/ready'; while :; do sleep 0.05; done")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := manner(time.Minute)
	m.Grace = 20 * time.Second
	m.Early = func() bool {
		_, err := os.Stat(dir + "/ready")
		return err != nil
	}
	if code, err := p.Wait(ctx, m, nil); code != 5 || err == nil {
		t.Errorf("it ended with %d, %v; want its own answer to the signal", code, err)
	}
}
