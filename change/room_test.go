package change_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

func (h *house) want(c ops.Change, state ops.ChangeState, run ops.RunState) ops.Change {
	h.t.Helper()
	c = h.change(c.ID)
	got := ops.RunState("")
	if c.Run != nil {
		got = c.Run.State
	}
	if c.State != state || got != run {
		h.t.Fatalf("%s is %s with run %q, want %s with %q; waiting: %s", c.Key(), c.State, got, state, run, c.Waiting)
	}
	return c
}

func TestStandardChangeGoesAround(t *testing.T) {
	h := newHouse(t, testConfig())
	h.alert("r0", 0.85)
	c := h.only()
	if c.Action != "kill" || c.Type != ops.ChangeStandard || c.RequestedBy != "runbook/cpu" || c.IncidentID != "i-r0" || c.Key() != "CHG-1" {
		t.Fatalf("raised %+v", c)
	}
	if len(h.orders(ops.MakePlan, c.ID)) != 1 {
		t.Fatal("no plan was ordered")
	}
	h.alert("r0", 0.85) // one live change per runbook and resource
	c = h.planned(h.only(), true)
	c = h.want(c, ops.ChangeScheduled, "")
	if !strings.Contains(c.Approve, "automatically") || len(c.Approvals) != 1 || c.Approvals[0].Via != "policy" {
		t.Errorf("automatic approval is not visible: %q %+v", c.Approve, c.Approvals)
	}
	if c.Window == nil || !c.Window.Start.Equal(at("2026-11-22T02:00:00Z")) {
		t.Fatalf("window %+v", c.Window)
	}
	h.wakeDue()
	h.want(c, ops.ChangeScheduled, "") // not before its window
	h.now = at("2026-11-22T02:00:00Z")
	h.wakeDue()
	c = h.want(c, ops.ChangeImplement, ops.RunQueued)
	if len(h.orders(ops.ApplyPlan, c.ID)) != 1 {
		t.Fatal("not exactly one ApplyPlan")
	}
	h.tell(c.Subject(), ops.RunAppliedBody{Run: ops.Run{ID: c.Run.ID, Output: "ok"}})
	c = h.want(c, ops.ChangeImplement, ops.RunVerifying)
	h.tell(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: c.Run.ID, Word: ops.Better}})
	c = h.want(c, ops.ChangeClosed, ops.RunSucceeded)
	if c.Outcome != ops.Successful || c.Run.Output != "ok" {
		t.Errorf("closed as %s, %+v", c.Outcome, c.Run)
	}
	h.now = h.now.Add(5 * time.Minute)
	h.alert("r0", 0.85)
	all, _ := h.store.Changes(h.ctx, ops.ChangeFilter{})
	if len(all) != 1 {
		t.Error("the runbook did not cool down")
	}
	h.now = h.now.Add(6 * time.Minute)
	h.alert("r0", 0.85)
	h.only()
}

// start brings a change of r3, whose window is always open, to a queued run.
func (h *house) start(undo bool) ops.Change {
	h.t.Helper()
	h.alert("r3", 0.95)
	c := h.planned(h.only(), undo)
	h.wakeDue()
	return h.want(c, ops.ChangeImplement, ops.RunQueued)
}

func TestRunsEnd(t *testing.T) {
	applied := func(h *house, c ops.Change) {
		h.tell(c.Subject(), ops.RunAppliedBody{Run: ops.Run{ID: c.Run.ID}})
	}
	verdict := func(h *house, c ops.Change, w ops.VerdictWord) {
		h.tell(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: c.Run.ID, Word: w}})
	}
	f := func(name string, undo bool, play func(h *house, c ops.Change), state ops.ChangeState, run ops.RunState, outcome ops.Outcome) {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, testConfig())
			c := h.start(undo)
			play(h, c)
			c = h.want(c, state, run)
			if c.Outcome != outcome {
				t.Errorf("outcome %q, want %q", c.Outcome, outcome)
			}
		})
	}
	f("worse is rolled back", true, func(h *house, c ops.Change) {
		applied(h, c)
		verdict(h, c, ops.Worse)
		h.want(c, ops.ChangeImplement, ops.RunRollingBack)
		if len(h.orders(ops.RollBackRun, c.ID)) != 1 {
			t.Error("no roll-back was ordered")
		}
		h.tell(c.Subject(), ops.RunRolledBackBody{Run: ops.Run{ID: c.Run.ID}})
	}, ops.ChangeClosed, ops.RunRolledBack, ops.Unsuccessful)
	f("a failed roll-back is held", true, func(h *house, c ops.Change) {
		applied(h, c)
		verdict(h, c, ops.Unchanged)
		h.tell(c.Subject(), ops.RunRolledBackBody{Run: ops.Run{ID: c.Run.ID}, Error: "gone"})
	}, ops.ChangeImplement, ops.RunHeld, "")
	f("worse without a way back closes", false, func(h *house, c ops.Change) {
		applied(h, c)
		verdict(h, c, ops.Worse)
	}, ops.ChangeClosed, ops.RunFailed, ops.Unsuccessful)
	f("unchanged rolls back where a cause had to go away", true, func(h *house, c ops.Change) {
		applied(h, c)
		verdict(h, c, ops.Unchanged)
	}, ops.ChangeImplement, ops.RunRollingBack, "")
	f("worse that cannot be rolled back now says why, and asks", true, func(h *house, c ops.Change) {
		applied(h, c)
		if err := h.room.StopExecution(h.ctx, manager, "smoke"); err != nil {
			t.Fatal(err)
		}
		h.tell(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: c.Run.ID, Word: ops.Worse, Why: "latency rose"}})
		for _, part := range []string{"worse", "latency rose", "cannot be rolled back now", "smoke", "a change manager must say"} {
			if w := h.change(c.ID).Waiting; !strings.Contains(w, part) {
				h.t.Errorf("it waits for %q, which does not say %q", w, part)
			}
		}
	}, ops.ChangeImplement, ops.RunHeld, "")
	f("a failed run is rolled back", true, func(h *house, c ops.Change) {
		h.tell(c.Subject(), ops.RunFailedBody{Run: ops.Run{ID: c.Run.ID}, Error: "exit 1"})
	}, ops.ChangeImplement, ops.RunRollingBack, "")
	f("an unknown outcome is held, for a person", true, func(h *house, c ops.Change) {
		h.tell(c.Subject(), ops.RunFailedBody{Run: ops.Run{ID: c.Run.ID}, Error: "timeout", Unknown: true})
		h.want(c, ops.ChangeImplement, ops.RunHeld)
		_, err := h.room.DecideHeld(h.ctx, owner, c.Key(), change.HeldSucceeded, "")
		is(t, err, ops.ErrDenied)
		_, err = h.room.DecideHeld(h.ctx, robot, c.Key(), change.HeldSucceeded, "")
		is(t, err, ops.ErrDenied)
		if _, err := h.room.DecideHeld(h.ctx, manager, c.Key(), change.HeldSucceeded, "looked"); err != nil {
			t.Error(err)
		}
	}, ops.ChangeClosed, ops.RunSucceeded, ops.SuccessfulWithIssues)
	f("a held run ends by time", true, func(h *house, c ops.Change) {
		h.tell(c.Subject(), ops.RunFailedBody{Run: ops.Run{ID: c.Run.ID}, Error: "timeout", Unknown: true})
		h.now = h.now.Add(8 * 24 * time.Hour)
		h.wakeDue()
	}, ops.ChangeClosed, ops.RunFailed, ops.Unsuccessful)
	f("inconclusive closes a standard change with issues", true, func(h *house, c ops.Change) {
		applied(h, c)
		verdict(h, c, ops.Inconclusive)
	}, ops.ChangeClosed, ops.RunSucceeded, ops.SuccessfulWithIssues)
	f("no answer is held", true, func(h *house, c ops.Change) {
		h.now = h.now.Add(time.Hour)
		h.wakeDue()
	}, ops.ChangeImplement, ops.RunHeld, "")
	f("no roll-back while execution is stopped", true, func(h *house, c ops.Change) {
		applied(h, c)
		if err := h.room.StopExecution(h.ctx, manager, "smoke"); err != nil {
			t.Fatal(err)
		}
		verdict(h, c, ops.Worse)
	}, ops.ChangeImplement, ops.RunHeld, "")
	f("a moved plan is approved anew", true, func(h *house, c ops.Change) {
		moved := plan(c, "b", true)
		h.tell(c.Subject(), ops.PlanMovedBody{ChangeID: c.ID, RunID: c.Run.ID, Approved: c.PlanDigest, Plan: moved, Moved: "b"})
		c = h.want(c, ops.ChangeAssess, ops.RunFailed)
		if c.Revision != 2 || c.Approvals[0].Void == "" || len(h.orders(ops.MakePlan, c.ID)) != 2 {
			t.Errorf("revision %d, approvals %+v", c.Revision, c.Approvals)
		}
		h.tell(c.Subject(), ops.PlanMadeBody{Plan: plan(c, "b", true)})
		h.wakeDue()
	}, ops.ChangeImplement, ops.RunQueued, "")
}

// A fact carries twenty of the alerts that joined; the runbook is for the last of
// them.
func TestARunbookSeesTheAlertsAFactOnlyCounts(t *testing.T) {
	h := newHouse(t, testConfig())
	i := ops.Incident{ID: "i", Number: 1}
	member := func(joined int64, rule string) ops.Alert {
		a := ops.Alert{Fingerprint: fmt.Sprint(joined), Rule: rule, State: ops.Firing, Resource: ops.ResourceRef{ID: "r0"}}
		h.members = append(h.members, ops.Member{Alert: a, IncidentID: i.ID, Joined: joined})
		return a
	}
	member(1, "disk") // told before
	var carried []ops.Alert
	for n := range int64(ops.MaxFactAlerts) {
		carried = append(carried, member(2+n, "other"))
	}
	tell := func(last int64) {
		h.tell(i.Subject(), ops.IncidentGrewBody{Incident: i, Alerts: carried, Count: int(last) - 1, Joined: ops.Span{First: 2, Last: last}})
	}
	weigh := func() {
		for _, c := range h.commands {
			if c.Kind != ops.WeighAlerts {
				continue
			}
			if err := h.handlers[ops.WeighAlerts](h.ctx, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	tell(21)
	weigh()
	if all, err := h.store.Changes(h.ctx, ops.ChangeFilter{}); err != nil || len(all) != 0 {
		t.Fatalf("changes %+v, %v, want none: nothing the runbook waits for joined", all, err)
	}
	member(22, "disk")
	tell(22)
	weigh()
	weigh() // a command may come twice
	if c := h.only(); c.Trigger == nil || c.Trigger.Fingerprint != "22" {
		t.Errorf("the change is for %+v", c.Trigger)
	}
}

// asked raises a risky change of r0 and has it planned.
func (h *house) asked() ops.Change {
	h.t.Helper()
	h.tell("incident/i", ops.IncidentOpenedBody{Incident: ops.Incident{ID: "i"}, Alerts: []ops.Alert{{Rule: "disk", State: ops.Firing, Resource: ops.ResourceRef{ID: "r0"}}}})
	return h.want(h.planned(h.only(), true), ops.ChangeAuthorize, "")
}

func TestDecide(t *testing.T) {
	h := newHouse(t, testConfig())
	c := h.asked()
	f := func(by ops.Principal, digest string, want error, says string) {
		t.Helper()
		before := len(h.facts(c.ID))
		got, err := h.room.Decide(h.ctx, by, c.Key(), ops.Approved, digest, "", "api")
		is(t, err, want)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
		if len(h.facts(c.ID)) != before || got.State != ops.ChangeAuthorize {
			t.Error("a refused decision was recorded")
		}
	}
	f(robot, c.PlanDigest, ops.ErrDenied, "only a person")
	f(ops.SystemPrincipal, c.PlanDigest, ops.ErrDenied, "only a person")
	f(viewer, c.PlanDigest, ops.ErrDenied, "may not approve")
	f(manager, c.PlanDigest, ops.ErrDenied, "waits for the role application-owner (0 of 1)")
	f(owner, strings.Repeat("0", 64), ops.ErrConflict, "not the one that stands now")
	f(owner, c.PlanDigest[:11], ops.ErrInvalid, "too short")
	f(owner, "", ops.ErrInvalid, "too short")
	f(owner, c.PlanDigest+"@2", ops.ErrConflict, "revision 2")
	f(owner, c.PlanDigest+"00", ops.ErrConflict, "not the one")
	if _, err := h.room.Decide(h.ctx, owner, c.Key(), ops.Approved, strings.ToUpper(c.PlanDigest[:12])+"@1", "fine", "cli"); err != nil {
		t.Fatal(err)
	}
	both := owner
	both.Roles = []ops.Role{ops.ApplicationOwner, ops.ChangeManager}
	f(both, c.PlanDigest, ops.ErrDenied, "approved it already")
	got, err := h.room.Decide(h.ctx, manager, c.ID, ops.Approved, c.PlanDigest, "", "page")
	if err != nil || got.State != ops.ChangeScheduled {
		t.Fatalf("%s, %v", got.State, err)
	}
	_, err = h.room.Decide(h.ctx, second, c.ID, ops.Approved, c.PlanDigest, "", "page")
	is(t, err, ops.ErrConflict)
}

func TestRequesterAndEditorDoNotDecide(t *testing.T) {
	h := newHouse(t, testConfig())
	c, err := h.room.Raise(h.ctx, second, change.Request{Title: "grow", ResourceID: "r3", Executor: "host", Action: "grow"}, "api")
	if err != nil {
		t.Fatal(err)
	}
	c = h.want(h.planned(c, true), ops.ChangeAuthorize, "") // no rule matches: one change manager
	_, err = h.room.Decide(h.ctx, second, c.ID, ops.Approved, c.PlanDigest, "", "api")
	is(t, err, ops.ErrDenied)
	if c, err = h.room.Edit(h.ctx, manager, c.ID, "grow-more", nil, "more"); err != nil || c.State != ops.ChangeAssess || c.Revision != 2 {
		t.Fatalf("%+v %v", c, err)
	}
	h.tell(c.Subject(), ops.PlanMadeBody{Plan: plan(ops.Change{ID: c.ID, Revision: 1}, "late", true)}) // the plan of before comes late
	c = h.want(c, ops.ChangeAssess, "")
	c = h.planned(c, true)
	_, err = h.room.Decide(h.ctx, manager, c.ID, ops.Approved, c.PlanDigest, "", "api")
	is(t, err, ops.ErrDenied)
	third := person("tom", ops.ChangeManager)
	if _, err = h.room.Decide(h.ctx, third, c.ID, ops.Approved, c.PlanDigest, "", "api"); err != nil {
		t.Error(err)
	}
}

func TestAskedAgainNothingNewIsRaised(t *testing.T) {
	h := newHouse(t, testConfig())
	q := change.Request{Key: "k", Title: "grow", ResourceID: "r3", Executor: "host", Action: "grow", Args: []string{"1"}}
	first, err := h.room.Raise(h.ctx, manager, q, "api")
	if err != nil {
		t.Fatal(err)
	}
	h.planned(first, true)
	f := func(by ops.Principal, turn func(*change.Request), want string) {
		t.Helper()
		q := q
		turn(&q)
		c, err := h.room.Raise(h.ctx, by, q, "api")
		if want == "" {
			is(t, err, ops.ErrInvalid)
		} else if err != nil || c.Key() != want {
			t.Errorf("%s, %v, want %s", c.Key(), err, want)
		}
	}
	f(manager, func(*change.Request) {}, "CHG-1")
	f(manager, func(q *change.Request) { q.Args = []string{"2"} }, "")
	f(manager, func(q *change.Request) { q.Key = strings.Repeat("k", 256) }, "")
	f(manager, func(q *change.Request) { q.Key = "l" }, "CHG-2")
	f(second, func(*change.Request) {}, "CHG-3") // a key is the person's own
	f(manager, func(q *change.Request) { q.Key = "" }, "CHG-4")
	f(manager, func(q *change.Request) { q.Key = "" }, "CHG-5")
	if got, err := h.room.Cancel(h.ctx, manager, first.ID, "done otherwise", "api"); err != nil || got.State != ops.ChangeCancelled {
		t.Fatalf("%s, %v", got.State, err)
	}
	f(manager, func(*change.Request) {}, "CHG-1")
	h.room.Rows = &late{Rows: h.room.Rows} // as if another replica were raising it just now
	f(manager, func(*change.Request) {}, "CHG-1")
}

// late does not see what is there at its first look.
type late struct {
	change.Rows
	looked bool
}

func (l *late) LoadChange(ctx context.Context, tx db.Tx, idOrKey string) (ops.Change, ops.Plan, time.Time, error) {
	if !l.looked {
		l.looked = true
		return ops.Change{}, ops.Plan{}, time.Time{}, ops.ErrNotFound
	}
	return l.Rows.LoadChange(ctx, tx, idOrKey)
}

func TestDenyExpireCancel(t *testing.T) {
	h := newHouse(t, testConfig())
	c := h.asked()
	if _, err := h.room.Decide(h.ctx, owner, c.ID, ops.Refused, c.PlanDigest, "not now", "page"); err != nil {
		t.Fatal(err)
	}
	if c = h.want(c, ops.ChangeCancelled, ""); c.Outcome != ops.Denied {
		t.Errorf("outcome %s", c.Outcome)
	}
	h.now = h.now.Add(time.Hour)
	c = h.asked()
	h.now = h.now.Add(72*time.Hour - time.Second)
	h.wakeDue()
	h.want(c, ops.ChangeAuthorize, "")
	h.now = h.now.Add(time.Second)
	_, err := h.room.Decide(h.ctx, owner, c.ID, ops.Approved, c.PlanDigest, "", "page")
	is(t, err, ops.ErrConflict)
	h.wakeDue()
	if c = h.want(c, ops.ChangeCancelled, ""); c.Outcome != ops.Expired {
		t.Errorf("outcome %s", c.Outcome)
	}
	h.now = h.now.Add(time.Hour)
	c = h.asked()
	_, err = h.room.Cancel(h.ctx, viewer, c.Key(), "", "api")
	is(t, err, ops.ErrDenied)
	if c, err = h.room.Cancel(h.ctx, manager, c.Key(), "changed my mind", "api"); err != nil || c.Outcome != ops.Withdrawn {
		t.Errorf("%s %v", c.Outcome, err)
	}
	h.now = at("2026-11-26T10:00:00Z") // after the freeze
	c = h.start(true)
	_, err = h.room.Cancel(h.ctx, manager, c.Key(), "", "api")
	is(t, err, ops.ErrConflict)
}

func TestSwitchHoldsAndReleases(t *testing.T) {
	h := newHouse(t, testConfig())
	is(t, h.room.StopExecution(h.ctx, owner, "no"), ops.ErrDenied)
	is(t, h.room.StopExecution(h.ctx, manager, " "), ops.ErrInvalid)
	if err := h.room.StopExecution(h.ctx, manager, "smoke in the server room"); err != nil {
		t.Fatal(err)
	}
	h.alert("r3", 0.95)
	c := h.planned(h.only(), true)
	for range 5 {
		h.wakeDue()
		h.now = h.now.Add(time.Minute)
	}
	c = h.want(c, ops.ChangeScheduled, "")
	if n := h.count(c.ID, ops.ChangeWaiting); n != 1 || !strings.Contains(c.Waiting, "smoke in the server room (mia)") {
		t.Errorf("told %d times that it waits for %q, want once", n, c.Waiting)
	}
	is(t, h.room.ResumeExecution(h.ctx, robot, "go"), ops.ErrDenied)
	if err := h.room.ResumeExecution(h.ctx, manager, "aired"); err != nil {
		t.Fatal(err)
	}
	h.wakeDue()
	h.want(c, ops.ChangeImplement, ops.RunQueued)
}

func TestMissedWindowsEnd(t *testing.T) {
	h := newHouse(t, testConfig())
	if err := h.room.StopExecution(h.ctx, manager, "holiday"); err != nil {
		t.Fatal(err)
	}
	h.alert("r0", 0.95)
	c := h.planned(h.only(), true)
	for range 400 {
		h.now = h.now.Add(30 * time.Minute)
		h.wakeDue()
	}
	c = h.want(c, ops.ChangeCancelled, "")
	if c.Outcome != ops.MissedWindow || c.Missed != 3 {
		t.Errorf("%s after %d missed", c.Outcome, c.Missed)
	}
	facts := h.facts(c.ID)
	if last := string(facts[len(facts)-1].Body); !strings.Contains(last, "holiday") {
		t.Errorf("does not say why: %s", last)
	}
}

func TestMeasuredAgain(t *testing.T) {
	f := func(value float64, state ops.ChangeState, action string, outcome ops.Outcome) {
		t.Helper()
		h := newHouse(t, testConfig())
		h.alert("r0", 0.95)
		c := h.planned(h.only(), true)
		h.value, h.now = &value, at("2026-11-22T02:00:00Z")
		h.wakeDue()
		c = h.change(c.ID)
		if c.State != state || c.Action != action || c.Outcome != outcome {
			t.Errorf("value %v: %s %s %s, want %s %s %s", value, c.State, c.Action, c.Outcome, state, action, outcome)
		}
	}
	f(0.97, ops.ChangeImplement, "scale", "")
	f(0.85, ops.ChangeAssess, "kill", "")
	f(0.20, ops.ChangeCancelled, "scale", ops.Superseded)
}

// TestUnchangedWithoutACauseDidNoHarm: an optimisation has nothing that must go away.
func TestUnchangedWithoutACauseDidNoHarm(t *testing.T) {
	f := func(word ops.VerdictWord, incident string, run ops.RunState, outcome ops.Outcome) {
		t.Helper()
		h := newHouse(t, testConfig())
		c, err := h.room.Raise(h.ctx, manager, change.Request{Title: "grow", ResourceID: "r3", IncidentID: incident, Executor: "host", Action: "grow"}, "api")
		if err != nil {
			t.Fatal(err)
		}
		c = h.planned(c, true)
		for _, p := range []ops.Principal{second, person("tom", ops.ChangeManager)} { // unknown risk: four eyes
			if _, err := h.room.Decide(h.ctx, p, c.ID, ops.Approved, c.PlanDigest, "", "api"); err != nil {
				t.Fatal(err)
			}
		}
		h.wakeDue()
		c = h.want(c, ops.ChangeImplement, ops.RunQueued)
		h.tell(c.Subject(), ops.RunAppliedBody{Run: *c.Run})
		h.tell(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: c.Run.ID, Word: word}})
		if c = h.change(c.ID); c.Run.State != run || c.Outcome != outcome {
			t.Errorf("%s with incident %q: run %s, outcome %q; want %s, %q", word, incident, c.Run.State, c.Outcome, run, outcome)
		}
	}
	f(ops.Unchanged, "", ops.RunSucceeded, ops.Successful)
	f(ops.Unchanged, "i1", ops.RunRollingBack, "")
	f(ops.Worse, "", ops.RunRollingBack, "")
	f(ops.Inconclusive, "", ops.RunHeld, "")
}

func TestOneRunPerResource(t *testing.T) {
	h := newHouse(t, testConfig())
	first := h.start(true)
	c, err := h.room.Raise(h.ctx, manager, change.Request{Title: "grow", ResourceID: "r3", Executor: "host", Action: "grow"}, "api")
	if err != nil {
		t.Fatal(err)
	}
	c = h.planned(c, true)
	for _, p := range []ops.Principal{second, person("tom", ops.ChangeManager)} { // unknown risk: four eyes
		if _, err := h.room.Decide(h.ctx, p, c.ID, ops.Approved, c.PlanDigest, "", "api"); err != nil {
			t.Fatal(err)
		}
	}
	h.wakeDue()
	c = h.want(c, ops.ChangeScheduled, "")
	if !strings.Contains(c.Waiting, first.Key()) {
		t.Errorf("waits for %q", c.Waiting)
	}
	h.tell(first.Subject(), ops.RunAppliedBody{Run: *first.Run})
	h.tell(first.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: first.Run.ID, Word: ops.Better}})
	h.now = h.now.Add(time.Minute)
	h.wakeDue()
	h.want(c, ops.ChangeImplement, ops.RunQueued)
}

func TestWindowlessAndUnknownEstimatesWait(t *testing.T) {
	c := testConfig()
	c.Windows = nil
	h := newHouse(t, c)
	h.alert("r0", 0.95)
	if w := h.want(h.planned(h.only(), true), ops.ChangeScheduled, ""); !strings.Contains(w.Waiting, "no window applies") {
		t.Errorf("waits for %q", w.Waiting)
	}
	h = newHouse(t, testConfig())
	h.alert("r0", 0.95)
	p := plan(h.only(), "a", true)
	p.RollbackSecs = 0
	h.tell(h.only().Subject(), ops.PlanMadeBody{Plan: p})
	if w := h.want(h.only(), ops.ChangeScheduled, ""); !strings.Contains(w.Waiting, "how long rolling back takes") {
		t.Errorf("waits for %q", w.Waiting)
	}
	h.now = h.now.Add(21 * 24 * time.Hour)
	id := h.only().ID
	h.wakeDue()
	if w := h.want(ops.Change{ID: id}, ops.ChangeCancelled, ""); w.Outcome != ops.MissedWindow {
		t.Errorf("ends as %s", w.Outcome)
	}
}

func TestSweepWakesWhatWasForgotten(t *testing.T) {
	h := newHouse(t, testConfig())
	h.alert("r3", 0.95)
	c := h.planned(h.only(), true)
	h.commands = nil // every wake-up is lost
	if err := h.sweep(h.ctx); err != nil {
		t.Fatal(err)
	}
	h.want(c, ops.ChangeScheduled, "")
	h.now = h.now.Add(2 * time.Minute)
	if err := h.sweep(h.ctx); err != nil {
		t.Fatal(err)
	}
	h.want(c, ops.ChangeImplement, ops.RunQueued)
}

func TestMuted(t *testing.T) {
	h := newHouse(t, testConfig())
	f := func(r ops.Resource, labels map[string]string, when, want string) {
		t.Helper()
		if got, ok := h.room.Muted(h.ctx, r, labels, at(when)); got != want || ok != (want != "") {
			t.Errorf("%v %v at %s: %q, want %q", r, labels, when, got, want)
		}
	}
	f(h.resources["r3"], nil, "2026-11-21T12:30:00Z", "maintenance")
	f(h.resources["r3"], nil, "2026-11-21T13:00:00Z", "")
	f(h.resources["r0"], nil, "2026-11-21T12:30:00Z", "")
	f(ops.Resource{}, map[string]string{"env": "test"}, "2026-11-21T12:30:00Z", "maintenance")
	f(h.resources["r0"], map[string]string{"env": "test"}, "2026-11-21T12:30:00Z", "") // the resource's own label counts more
}

func TestNewNamesEveryFault(t *testing.T) {
	c := testConfig()
	c.Windows[0].TimeZone = "Mars"
	c.Approval[0].Match = "change.typ == 'x'"
	c.Approval[1].Approvers[0].Role = ops.Viewer
	c.Runbooks[0].Steps[0].Executor = "nobody"
	_, err := change.NewGate(c)
	is(t, err, ops.ErrInvalid)
	for _, want := range []string{"Mars", `did you mean "type"`, "may approve", `no executor "nobody"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
