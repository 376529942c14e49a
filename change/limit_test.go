package change_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// byHand raises a change of r3, whose window is always open, and has it
// planned and approved.
func (h *house) byHand(q change.Request) ops.Change {
	h.t.Helper()
	q.Title, q.Executor, q.Action = "by hand", "host", "tidy"
	c, err := h.room.Raise(h.ctx, robotless, q, "api")
	if err != nil {
		h.t.Fatal(err)
	}
	c = h.want(h.planned(c, true), ops.ChangeAuthorize, "")
	for _, p := range []ops.Principal{owner, manager, second} {
		_, _ = h.room.Decide(h.ctx, p, c.ID, ops.Approved, c.PlanDigest, "", "api")
	}
	return h.want(c, ops.ChangeScheduled, "")
}

// robotless is who asks for changes here: a person who approves none of them.
var robotless = person("rita", ops.ChangeManager)

// crowd is a house whose resources share a service or an account, all with a
// window that is always open.
func crowd(t *testing.T, limits change.Concurrency) *house {
	c := testConfig()
	c.Windows = []ops.Window{{Name: "any", Schedule: "always", TimeZone: "UTC"}}
	c.Concurrency = limits
	h := newHouse(t, c)
	for id, labels := range labelled {
		r := h.resources[id]
		r.Labels = labels
		h.resources[id] = r
	}
	return h
}

func TestConcurrency(t *testing.T) {
	f := func(limits change.Concurrency, first, then, waits string) {
		t.Helper()
		h := crowd(t, limits)
		a := h.byHand(change.Request{ResourceID: first})
		h.wakeDue()
		a = h.want(a, ops.ChangeImplement, ops.RunQueued)
		b := h.byHand(change.Request{ResourceID: then})
		h.wakeDue()
		if waits == "" {
			h.want(b, ops.ChangeImplement, ops.RunQueued)
			return
		}
		if b = h.want(b, ops.ChangeScheduled, ""); b.Waiting != waits {
			t.Errorf("waits for %q, want %q", b.Waiting, waits)
		}
		h.tell(a.Subject(), ops.RunAppliedBody{Run: *a.Run})
		h.tell(a.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: a.Run.ID, Word: ops.Better}})
		h.wakeDue() // the end of the one wakes the other
		h.want(b, ops.ChangeImplement, ops.RunQueued)
	}
	f(change.Concurrency{}, "r0", "r1", "")
	f(change.Concurrency{Total: 1}, "r0", "r1", "1 changes run, which is the limit")
	f(change.Concurrency{Total: 2}, "r0", "r1", "")
	f(change.Concurrency{PerService: 1}, "r0", "r1", "1 changes of the service a run, which is the limit")
	f(change.Concurrency{PerService: 1}, "r0", "r2", "")
	f(change.Concurrency{PerAccount: 1}, "r0", "r2", "1 changes of the account x run, which is the limit")
	f(change.Concurrency{PerAccount: 1, AccountLabel: "env"}, "r0", "r1", "1 changes of the account prod run, which is the limit")
	f(change.Concurrency{PerService: 1, ServiceLabel: "none"}, "r0", "r1", "")
}

// What a resource depends on is changed first, when both wait for the same
// opening of a window; of two that depend on each other the older goes first.
func TestDependencyOrder(t *testing.T) {
	f := func(needs map[string][]string, first, then string) {
		t.Helper()
		h := newHouse(t, testConfig())
		h.needs = needs
		changes := map[string]ops.Change{}
		for _, id := range []string{"r0", "r1"} {
			changes[id] = h.byHand(change.Request{ResourceID: id})
		}
		h.now = at("2026-11-22T02:00:00Z")
		h.wakeDue()
		a := h.want(changes[first], ops.ChangeImplement, ops.RunQueued)
		b := h.want(changes[then], ops.ChangeScheduled, "")
		h.now = h.now.Add(time.Minute)
		h.wakeDue()
		if b = h.want(b, ops.ChangeScheduled, ""); !strings.HasPrefix(b.Waiting, a.Key()+" works on") {
			t.Errorf("waits for %q", b.Waiting)
		}
		h.tell(a.Subject(), ops.RunAppliedBody{Run: *a.Run})
		h.tell(a.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: a.Run.ID, Word: ops.Better}})
		h.wakeDue() // the end of the one wakes the other
		h.want(b, ops.ChangeImplement, ops.RunQueued)
	}
	f(map[string][]string{"r1": {"r0"}}, "r0", "r1")
	f(map[string][]string{"r0": {"r1"}}, "r1", "r0")
	f(map[string][]string{"r0": {"r1"}, "r1": {"r0"}}, "r0", "r1")
}

// An end wakes a few of those that wait for a place, the oldest first, and not
// thousands that find it taken.
func TestAnEndWakesTheNextInLine(t *testing.T) {
	h := crowd(t, change.Concurrency{Total: 1})
	var all []ops.Change
	for i := range 8 {
		id := fmt.Sprintf("n%d", i)
		h.resources[id] = ops.Resource{ID: id, Name: id, Labels: map[string]string{}}
		all = append(all, h.byHand(change.Request{ResourceID: id}))
		h.wakeDue()
	}
	for i, c := range all {
		c = h.want(c, ops.ChangeImplement, ops.RunQueued)
		for _, waits := range all[i+1:] {
			h.want(waits, ops.ChangeScheduled, "")
		}
		woken := len(h.orders(ops.WakeChange, all[len(all)-1].ID))
		h.tell(c.Subject(), ops.RunAppliedBody{Run: *c.Run})
		h.tell(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: c.Run.ID, Word: ops.Better}})
		if i == 0 && len(h.orders(ops.WakeChange, all[len(all)-1].ID)) != woken {
			t.Error("the first end woke the last in line")
		}
		h.wakeDue()
	}
}

// What stands in line when the last moment to start passes has missed its
// window, and says so at once.
func TestWhatStandsInLineMissesItsWindow(t *testing.T) {
	h := newHouse(t, testConfig())
	h.needs = map[string][]string{"r1": {"r0"}}
	first, then := h.byHand(change.Request{ResourceID: "r0"}), h.byHand(change.Request{ResourceID: "r1"})
	h.now = at("2026-11-22T02:00:00Z")
	h.wakeDue()
	h.want(first, ops.ChangeImplement, ops.RunQueued)
	window := *h.want(then, ops.ChangeScheduled, "").Window
	for h.now.Before(window.End) {
		wakes := h.orders(ops.WakeChange, then.ID)
		if h.now = wakes[len(wakes)-1].At; h.now.After(window.End) {
			t.Fatalf("it is looked at again at %s, after the window ended at %s", h.now, window.End)
		}
		h.wakeDue()
		if c := h.want(then, ops.ChangeScheduled, ""); c.Missed == 1 {
			if c.Window == nil || !c.Window.Start.After(window.End) {
				t.Errorf("it missed %v and waits for %v", window, c.Window)
			}
			return
		}
	}
	t.Error("it never missed its window")
}

// A change that moves to another window, or is withdrawn, holds up nobody.
func TestWhatLeavesItsWindowFreesTheNext(t *testing.T) {
	h := newHouse(t, testConfig())
	h.needs = map[string][]string{"r1": {"r0"}}
	first, then := h.byHand(change.Request{ResourceID: "r0"}), h.byHand(change.Request{ResourceID: "r1"})
	h.now = at("2026-11-22T02:00:00Z")
	wakes := h.orders(ops.WakeChange, then.ID)
	if err := h.handlers[ops.WakeChange](h.ctx, wakes[len(wakes)-1]); err != nil {
		t.Fatal(err)
	}
	if c := h.want(then, ops.ChangeScheduled, ""); !strings.HasPrefix(c.Waiting, first.Key()+" goes first") {
		t.Errorf("waits for %q", c.Waiting)
	}
	if _, err := h.room.Cancel(h.ctx, robotless, first.ID, "not now", "api"); err != nil {
		t.Fatal(err)
	}
	h.wakeDue()
	h.want(then, ops.ChangeImplement, ops.RunQueued)
}

// What was withdrawn stands in no line any more.
func TestWhatIsWithdrawnLeavesTheLine(t *testing.T) {
	h := newHouse(t, testConfig())
	h.needs = map[string][]string{"r1": {"r0"}}
	_, then := h.byHand(change.Request{ResourceID: "r0"}), h.byHand(change.Request{ResourceID: "r1"})
	stand := func(want int) {
		t.Helper()
		var n int
		if err := h.db.(*db.DB).Read().QueryRow(h.ctx, "SELECT COUNT(*) FROM change WHERE in_line = 1").Scan(&n); err != nil || n != want {
			t.Errorf("%d stand in line, want %d: %v", n, want, err)
		}
	}
	h.now = at("2026-11-22T02:00:00Z")
	h.wakeDue()
	stand(1)
	if _, err := h.room.Cancel(h.ctx, robotless, then.ID, "not now", "api"); err != nil {
		t.Fatal(err)
	}
	stand(0)
}

// Nothing starts in the last minutes in which it could not be undone: applying,
// observing and rolling back must be over before the window ends.
func TestNothingStartsThatCouldNotRollBack(t *testing.T) {
	f := func(clock string, starts bool) {
		t.Helper()
		c := testConfig()
		c.Windows[0].Cutoff = 0
		h := newHouse(t, c)
		if err := h.room.StopExecution(h.ctx, manager, "until then"); err != nil {
			t.Fatal(err)
		}
		x := h.byHand(change.Request{ResourceID: "r0", VerifyWithin: 5 * time.Minute}) // 1 min to apply, 2 to undo: 8 in all
		h.now = at(clock)
		if err := h.room.ResumeExecution(h.ctx, manager, "now"); err != nil {
			t.Fatal(err)
		}
		h.wakeDue()
		if got := h.change(x.ID).State == ops.ChangeImplement; got != starts {
			t.Errorf("at %s: started %t, want %t", clock, got, starts)
		}
	}
	f("2026-11-22T02:00:00Z", true)
	f("2026-11-22T05:52:00Z", true)
	f("2026-11-22T05:52:00.001Z", false)
	f("2026-11-22T05:59:59Z", false)
}

// A change that lost its approvals on the way to its window starts nothing.
func TestStartNeedsTheApprovals(t *testing.T) {
	f := func(guard string, starts bool) {
		t.Helper()
		h := newHouse(t, testConfig())
		c := h.byHand(change.Request{ResourceID: "r0"})
		g, err := change.NewGate(h.config)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Approvals {
			c.Approvals[i].Void = "gone"
		}
		next, err := g.Without(guard).Next(change.State{Change: c, Plan: plan(c, "a", true)}, change.World{Now: at("2026-11-22T02:00:00Z"), Resource: h.resources["r0"]}, change.Woken{})
		if err != nil {
			t.Fatal(err)
		}
		if got := next.State.Change.State == ops.ChangeImplement; got != starts {
			t.Errorf("without %q: %s", guard, next.State.Change.State)
		}
	}
	f("", false)
	f("only an approved plan starts", true)
}
