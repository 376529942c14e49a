package executetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

type rule struct {
	name, why string
	check     func(t *testing.T, d execute.Driver, h Harness)
}

var rules = []rule{
	{"plan changes nothing and is deterministic", "an approval is for what was shown, and asking must be free", planIsPure},
	{"another world, another digest", "an approval must be void when the plan would do something else", digestFollowsTheWorld},
	{"apply under one token works once", "a retry after a lost answer must not do the work twice", applyOnce},
	{"kill -9 in the middle never runs twice", "nobody may restart a shop twice because a server was killed", killedInTheMiddle},
	{"kill -9 at each failpoint never runs twice", "the moments between mark and effect are where a crash does harm", killedAtFailpoints},
	{"cancel stops the tool", "a person who stops a change means the tool, not our waiting for it", cancelStops},
	{"an ended context starts nothing", "after a crash the room asks what happened when it may no longer start", endedContextStartsNothing},
	{"timeout ends the tool with its children", "a child left behind goes on changing what nobody watches", timeoutEnds},
	{"output is streamed", "people watch a change while it runs", outputStreams},
	{"output is redacted and bounded", "output goes into tickets and facts that are kept for ever", outputIsSafe},
	{"failure is a failure", "a change that failed must be rolled back, not verified", failureFails},
	{"rollback restores, once", "the way back is part of what was approved", rollbackRestores},
	{"a plan without rollback is not rolled back", "pretending to have undone something is worse than saying it cannot be undone", rollbackNeedsContent},
	{"drift has three answers", "not being able to look must never pass for being in sync", driftAnswers},
	{"what is not allowed is refused by name", "a refusal must say what would have been allowed", unknownIsRefused},
	{"no secret in a refusal", "errors go into logs, facts and tickets", refusalHidesSecrets},
}

func planIsPure(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	first, second := w.plan(t), w.plan(t)
	if first.Digest != second.Digest {
		t.Errorf("two plans of one change differ:\n%s", execute.Moved(first, second))
	}
	again := open(t, d, h, w.dir, w.config)
	third, err := again.Plan(t.Context(), execute.Request{Change: w.change})
	if err != nil {
		t.Fatalf("plan by a second executor: %v", err)
	}
	if third.ComputeDigest() != first.Digest {
		t.Errorf("a restarted executor plans differently:\n%s", execute.Moved(first, third))
	}
	if n := h.Begun(t, w.dir); n != 0 || h.Stands(t, w.dir) {
		t.Errorf("planning began %d effects, stands=%v", n, h.Stands(t, w.dir))
	}
	if first.Text == "" || len(first.Actions) == 0 || first.Target == "" || first.Tool != d.Tool || first.ApplySecs <= 0 {
		t.Errorf("the plan lacks text, actions, target, tool or estimate: %+v", first)
	}
}

func digestFollowsTheWorld(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	before := w.plan(t)
	h.Alter(t, w.dir)
	after := w.plan(t)
	if before.Digest == after.Digest {
		t.Error("the world moved and the digest did not")
	}
	if execute.Moved(before, after) == "" {
		t.Error("nobody can see what moved")
	}
}

func applyOnce(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	p := w.plan(t)
	if _, err := w.Apply(t.Context(), "t1", p, io.Discard); err != nil {
		t.Fatalf("apply: %v", err)
	}
	if !h.Stands(t, w.dir) || h.Begun(t, w.dir) != 1 {
		t.Fatalf("after apply: stands=%v, begun %d times", h.Stands(t, w.dir), h.Begun(t, w.dir))
	}
	for _, x := range []execute.Executor{w, open(t, d, h, w.dir, w.config)} {
		if _, err := x.Apply(t.Context(), "t1", p, io.Discard); err != nil {
			t.Errorf("apply again: %v; want the recorded result", err)
		}
	}
	if n := h.Begun(t, w.dir); n != 1 {
		t.Errorf("three applies under one token began %d effects", n)
	}
}

// startChild starts the test binary again to apply p under token. What the
// tool says comes out of the reader.
func startChild(t *testing.T, w *world, token execute.Token, p ops.Plan, env ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	order, err := json.Marshal(child{Dir: w.dir, Config: w.config, Plan: p, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), append(env, childVariable+"="+string(order))...)
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, said
}

// resume applies again under the token of a killed child.
func resume(t *testing.T, d execute.Driver, h Harness, w *world, token execute.Token, p ops.Plan) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 2 {
		_, err := open(t, d, h, w.dir, w.config).Apply(ctx, token, p, io.Discard)
		var unknown *ops.UnknownOutcome
		if err != nil && !errors.As(err, &unknown) {
			t.Errorf("resume: %v; want the outcome or an UnknownOutcome", err)
		}
		if n := h.Begun(t, w.dir); n > 1 || (err == nil && n != 1) {
			t.Errorf("resume returned %v and the effect began %d times", err, n)
		}
	}
	still(t, h, w)
}

func still(t *testing.T, h Harness, w *world) {
	t.Helper()
	if h.Alive == nil {
		return
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		alive := h.Alive(t, w.dir)
		if len(alive) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("still running: %v", alive)
			return
		}
	}
}

func killedInTheMiddle(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Slow)
	p := w.plan(t)
	cmd, said := startChild(t, w, "t1", p)
	if _, err := io.ReadFull(said, make([]byte, 1)); err != nil {
		t.Fatalf("the child never began: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	resume(t, d, h, w, "t1", p)
}

func killedAtFailpoints(t *testing.T, d execute.Driver, h Harness) {
	for _, point := range h.Crashes {
		w := newWorld(t, d, h, h.Quick)
		p := w.plan(t)
		cmd, said := startChild(t, w, "t1", p, failpoint.Env+"="+point)
		_, _ = io.Copy(io.Discard, said)
		err := cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%s: the child ended with %v; it must reach the failpoint and be killed there", point, err)
			continue
		}
		resume(t, d, h, w, "t1", p)
	}
}

func cancelStops(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Slow)
	p := w.plan(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	out := newWatched(h)
	because := errors.New("a person stopped it")
	go func() {
		<-out.said
		cancel(because)
	}()
	defer cancel(nil)
	_, err := w.Apply(ctx, "t1", p, out)
	if err == nil || !strings.Contains(err.Error(), because.Error()) {
		t.Errorf("apply returned %v; want an error that says who stopped it", err)
	}
	if h.Alive != nil {
		if alive := h.Alive(t, w.dir); len(alive) > 0 {
			t.Errorf("apply returned while %v still ran", alive)
		}
	}
	n := h.Begun(t, w.dir)
	_, err = w.Apply(t.Context(), "t1", p, io.Discard)
	if again := h.Begun(t, w.dir); again > 1 {
		t.Errorf("applying a cancelled token again began the effect %d times after %d (%v)", again, n, err)
	}
}

func endedContextStartsNothing(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	p := w.plan(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Apply(ctx, "t1", p, io.Discard); err == nil {
		t.Error("apply under an ended context reported success")
	}
	if n := h.Begun(t, w.dir); n != 0 {
		t.Errorf("%d effects began", n)
	}
	if _, err := w.Apply(t.Context(), "t2", p, io.Discard); err != nil {
		t.Fatalf("apply: %v", err)
	}
	if _, err := w.Apply(ctx, "t2", p, io.Discard); err != nil {
		t.Errorf("what an earlier call did is not found out under an ended context: %v", err)
	}
}

func timeoutEnds(t *testing.T, d execute.Driver, h Harness) {
	if h.Endless.Config == nil {
		t.Skip("this tool has no timeout of its own; the room's context ends it, see the rule about cancel")
	}
	w := newWorld(t, d, h, h.Endless)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := w.Apply(ctx, "t1", w.plan(t), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "timed out") || ctx.Err() != nil {
		t.Errorf("apply returned %v; want an error that says it timed out, and soon", err)
	}
	still(t, h, w)
}

func outputStreams(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Slow)
	p := w.plan(t)
	out, done := newWatched(h), make(chan error, 1)
	go func() {
		_, err := w.Apply(t.Context(), "t1", p, out)
		done <- err
	}()
	select {
	case <-out.said:
	case err := <-done:
		t.Fatalf("apply ended (%v) before anything was said", err)
	}
	if err := <-done; err != nil {
		t.Errorf("apply: %v", err)
	}
}

func outputIsSafe(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Loud)
	out := newWatched(h)
	if _, err := w.Apply(t.Context(), "t1", w.plan(t), out); err != nil {
		t.Fatalf("apply: %v", err)
	}
	text := out.Text()
	if strings.Contains(text, h.Secret) || !strings.Contains(text, "<redacted>") {
		t.Errorf("the secret was not redacted in %q...", text[:min(len(text), 200)])
	}
	if len(text) > execute.OutputLimit+100 || !strings.Contains(text, "the end") || !strings.Contains(text, "left out") {
		t.Errorf("%d bytes were kept; want head and tail within %d", len(text), execute.OutputLimit)
	}
}

func failureFails(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Fails)
	p := w.plan(t)
	for range 2 {
		out := newWatched(h)
		_, err := w.Apply(t.Context(), "t1", p, out)
		var unknown *ops.UnknownOutcome
		if err == nil || errors.As(err, &unknown) {
			t.Fatalf("apply returned %v; want a known failure", err)
		}
		if text := err.Error() + out.Text(); strings.Contains(text, h.Secret) {
			t.Errorf("the secret is in %q", text)
		}
	}
	if n := h.Begun(t, w.dir); n > 1 {
		t.Errorf("a failed run was begun %d times under one token", n)
	}
}

func rollbackRestores(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	p := w.plan(t)
	if _, err := w.Apply(t.Context(), "t1", p, io.Discard); err != nil {
		t.Fatalf("apply: %v", err)
	}
	for range 2 {
		if _, err := w.RollBack(t.Context(), "t1", p, io.Discard); err != nil {
			t.Fatalf("roll back: %v", err)
		}
		if h.Stands(t, w.dir) {
			t.Fatal("the effect still stands after a rollback")
		}
	}
	if _, err := w.Apply(t.Context(), "t2", w.plan(t), io.Discard); err != nil {
		t.Fatalf("apply: %v", err)
	}
	if _, err := w.RollBack(t.Context(), "t1", p, io.Discard); err != nil {
		t.Errorf("roll back again: %v; want the recorded result", err)
	}
	if !h.Stands(t, w.dir) {
		t.Error("a second rollback under the first token undid another run")
	}
}

func rollbackNeedsContent(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	p := w.plan(t)
	if _, err := w.Apply(t.Context(), "t1", p, io.Discard); err != nil {
		t.Fatalf("apply: %v", err)
	}
	p.Rollback = nil
	if _, err := w.RollBack(t.Context(), "t1", p, io.Discard); !errors.Is(err, ops.ErrStalled) {
		t.Errorf("roll back returned %v; want ErrStalled", err)
	}
	if !h.Stands(t, w.dir) {
		t.Error("it was undone all the same")
	}
}

func driftAnswers(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	p := w.plan(t)
	if _, err := w.Apply(t.Context(), "t1", p, io.Discard); err != nil {
		t.Fatalf("apply: %v", err)
	}
	f := func(want execute.Drift) {
		t.Helper()
		got, err := w.Drift(t.Context(), p)
		if got != want || (err != nil) != (want == execute.Unknown) {
			t.Errorf("drift is %s, %v; want %s", got, err, want)
		}
	}
	f(execute.InSync)
	h.Disturb(t, w.dir)
	f(execute.Drifted)
	if n := h.Begun(t, w.dir); n != 1 {
		t.Errorf("looking for drift began effects: %d in all", n)
	}
	h.Blind(t, w.dir)
	f(execute.Unknown)
}

func unknownIsRefused(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	c := w.change
	c.Action = "no-such-thing"
	_, err := w.Plan(t.Context(), execute.Request{Change: c})
	if !errors.Is(err, ops.ErrInvalid) && !errors.Is(err, ops.ErrDenied) {
		t.Fatalf("plan returned %v; want ErrInvalid or ErrDenied", err)
	}
	for _, part := range []string{"no-such-thing", "allowed are", w.change.Action} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not contain %q", err, part)
		}
	}
}

func refusalHidesSecrets(t *testing.T, d execute.Driver, h Harness) {
	w := newWorld(t, d, h, h.Quick)
	c := w.change
	c.Action, c.Args = "no-such-thing-"+h.Secret, []string{h.Secret}
	if _, err := w.Plan(t.Context(), execute.Request{Change: c}); err == nil || strings.Contains(err.Error(), h.Secret) {
		t.Errorf("plan returned %v; want a refusal without the secret", err)
	}
	p := w.plan(t)
	p.Actions = append(p.Actions, p.Actions...)
	if _, err := w.Apply(t.Context(), "t1", p, io.Discard); err == nil || strings.Contains(fmt.Sprint(err), h.Secret) {
		t.Errorf("apply of a plan it never made returned %v", err)
	}
}
