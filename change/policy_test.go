package change_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/ops"
)

// asks has a change raised by hand under one rule and returns it planned.
func asks(t *testing.T, c change.Config, q change.Request) (*house, ops.Change) {
	t.Helper()
	h := newHouse(t, c)
	q.Title, q.Executor, q.Action, q.ResourceID = "by hand", "host", "tidy", "r0"
	raised, err := h.room.Raise(h.ctx, robotless, q, "api")
	if err != nil {
		t.Fatal(err)
	}
	return h, h.want(h.planned(raised, true), ops.ChangeAuthorize, "")
}

func TestWhoIsAsked(t *testing.T) {
	low, high := 0.3, 0.7
	f := func(steps []ops.Approvers, q change.Request, from float64, want string) {
		t.Helper()
		c := testConfig()
		c.Approval = []change.ApprovalRule{{Match: "true", Approvers: steps}}
		if from > 0 {
			c.FourEyesFrom = &from
		}
		_, got := asks(t, c, q)
		if !strings.HasPrefix(got.Approve, want) {
			t.Errorf("%q, want %q", got.Approve, want)
		}
	}
	one := []ops.Approvers{{Role: ops.Approver, Count: 1}}
	owners := []ops.Approvers{{Role: change.Owner, Count: 1}, {Role: ops.ChangeManager, Count: 2}}
	f(one, change.Request{Risk: &low}, 0, "needs 1 × approver, because true matches")
	f(one, change.Request{Risk: &high}, 0, "needs 2 × approver, because true matches; at a risk of 0.7 two different persons must approve")
	f(one, change.Request{}, 0, "needs 2 × approver, because true matches; at a risk of 1 two")
	f(one, change.Request{Risk: &low}, 0.3, "needs 2 × approver")
	f(one, change.Request{}, 1.1, "needs 1 × approver")
	f(owners, change.Request{Team: "shop", Risk: &low}, 0, "needs 1 × application-owner, then 2 × change-manager")
	f(owners, change.Request{Risk: &low}, 0, "needs 1 × change-manager, then 2 × change-manager, because true matches; no team owns it, so a change manager is asked")
	f([]ops.Approvers{{People: []string{"olga"}, Count: 1}}, change.Request{Risk: &low}, 0, "needs 1 × of olga, because")
	f([]ops.Approvers{{People: []string{"olga"}, Count: 1}}, change.Request{}, 0, "needs 1 × of olga, then 1 × change-manager")
}

// A standard change with little risk is approved by policy, and says so; with
// a high or unknown one two persons must.
func TestFourEyesBeatsAutomatic(t *testing.T) {
	f := func(risk *float64, state ops.ChangeState, says string) {
		t.Helper()
		c := testConfig()
		c.Approval = []change.ApprovalRule{{Match: "true", Automatically: true}}
		c.Runbooks[0].Risk = risk
		h := newHouse(t, c)
		h.alert("r0", 0.95)
		got := h.want(h.planned(h.only(), true), state, "")
		if !strings.HasPrefix(got.Approve, says) {
			t.Errorf("%q, want %q", got.Approve, says)
		}
	}
	low, high := 0.69, 0.7
	f(&low, ops.ChangeScheduled, "pre-approved by policy: a standard change that matches true")
	f(&high, ops.ChangeAuthorize, "needs 2 × change-manager")
	f(nil, ops.ChangeAuthorize, "needs 2 × change-manager")
}

func TestPolicyReadsCost(t *testing.T) {
	f := func(match string, saving *float64, want bool) {
		t.Helper()
		c := testConfig()
		c.Approval = []change.ApprovalRule{{Match: match, Approvers: []ops.Approvers{{People: []string{"olga"}, Count: 1}}}}
		g, err := change.NewGate(c)
		if err != nil {
			t.Fatal(err)
		}
		x := ops.Change{ID: "c", State: ops.ChangeAssess, Revision: 1, Executor: "host", SavingMonthly: saving, Risk: 0.1}
		next, err := g.Next(change.State{Change: x}, change.World{Now: at("2026-11-22T02:00:00Z")}, change.Heard{Fact: ops.NewFact("change/c", at("2026-11-22T02:00:00Z"), ops.SystemPrincipal, "", ops.PlanMadeBody{Plan: plan(x, "a", true)})})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(next.State.Change.Approve, "olga"); got != want {
			t.Errorf("%s with %v: %q", match, saving, next.State.Change.Approve)
		}
	}
	much, little := 500.0, 5.0
	f("change.saving_monthly > 100.0", &much, true)
	f("change.saving_monthly > 100.0", &little, false)
	f("change.saving_monthly > 100.0", nil, false) // unknown matches nothing
}

// A delegate decides with the rights of the absent person, within the span,
// and never about what either of them asked for.
func TestDelegation(t *testing.T) {
	f := func(what string, spoil func(h *house, c *change.Config), by ops.Principal, says string) {
		t.Helper()
		c := testConfig()
		c.Approval = []change.ApprovalRule{{Match: "true", Approvers: []ops.Approvers{{Role: ops.ApplicationOwner, Count: 2}}}}
		c.Delegations = []change.Delegation{{Of: "olga", To: "vic", From: at("2026-11-21T00:00:00Z"), Until: at("2026-11-22T00:00:00Z")}}
		low := 0.1
		h, x := asks(t, c, change.Request{Risk: &low})
		spoil(h, &c)
		h.config = c
		h.restart()
		x, err := h.room.Decide(h.ctx, by, x.ID, ops.Approved, x.PlanDigest, "", "api")
		switch {
		case says == "" && (err != nil || x.Approvals[0].Name != "vic for olga" || x.Approvals[0].Principal != "vic" || x.Approvals[0].For != "olga"):
			t.Errorf("%s: %+v %v", what, x.Approvals, err)
		case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
			t.Errorf("%s: %v does not say %q", what, err, says)
		}
	}
	f("within", func(*house, *change.Config) {}, viewer, "")
	f("too early", func(h *house, _ *change.Config) { h.now = at("2026-11-20T23:59:59Z") }, viewer, "may not approve")
	f("too late", func(h *house, _ *change.Config) { h.now = at("2026-11-22T00:00:00Z") }, viewer, "may not approve")
	f("nobody delegated", func(_ *house, c *change.Config) { c.Delegations = nil }, viewer, "may not approve")
	f("the absent is gone", func(h *house, _ *change.Config) { delete(h.people, "olga") }, viewer, "may not approve")
	f("the absent holds no role", func(h *house, _ *change.Config) { h.people["olga"] = person("olga", ops.Viewer) }, viewer, "may not approve")
	f("the delegate asked for it", func(_ *house, c *change.Config) { c.Delegations[0].To = robotless.Name }, robotless, "requested it")
	f("the absent asked for it", func(h *house, _ *change.Config) {
		rita := robotless
		rita.Name, rita.Roles = "olga", owner.Roles
		h.people["olga"] = rita
	}, viewer, "may not approve")
	f("the absent decided", func(h *house, _ *change.Config) {
		x := h.only()
		if _, err := h.room.Decide(h.ctx, owner, x.ID, ops.Approved, x.PlanDigest, "", "api"); err != nil {
			t.Fatal(err)
		}
	}, viewer, "approved by olga already")
	f("the delegate decided", func(h *house, _ *change.Config) {
		x := h.only()
		if _, err := h.room.Decide(h.ctx, viewer, x.ID, ops.Approved, x.PlanDigest, "", "api"); err != nil {
			t.Fatal(err)
		}
	}, owner, "approved by vic for olga already")
}

// The span of a delegation is compared with when the delegate decided, by the
// platform's clock.
func TestDelegationInAPlatform(t *testing.T) {
	c := testConfig()
	c.Delegations = []change.Delegation{{Of: "olga", To: "vic", From: at("2026-11-21T00:00:00Z"), Until: at("2026-11-22T00:00:00Z")}}
	h := newHouse(t, c)
	x := h.asked()
	b := h.seen(x, viewer.Name)
	h.now = h.now.Add(20 * time.Hour) // heard late
	h.tell(x.Subject(), b)
	if x = h.change(x.ID); len(x.Approvals) != 1 || x.Approvals[0].Name != "vic for olga" || x.Approvals[0].Void != "" {
		t.Errorf("%+v", x.Approvals)
	}
}

func TestBreakGlass(t *testing.T) {
	ivo, ida, both := person("ivo", ops.IncidentCommander), person("ida", ops.IncidentCommander), person("bo", ops.IncidentCommander, ops.ChangeManager)
	start := func() (*house, ops.Change) {
		c := testConfig()
		c.Freezes[0].BreakGlass = []ops.Role{ops.IncidentCommander}
		c.Freezes = append(c.Freezes, ops.Window{Name: "sealed", TimeZone: "UTC", From: at("2026-12-23T00:00:00Z"), To: at("2026-12-25T00:00:00Z")})
		h := newHouse(t, c)
		x := h.byHand(change.Request{ResourceID: "r0"})
		h.now = at("2026-11-23T02:00:00Z")
		h.wakeDue()
		return h, h.want(x, ops.ChangeScheduled, "")
	}
	h, x := start()
	refused := func(by ops.Principal, freeze, reason string, class error, says string) {
		t.Helper()
		_, err := h.room.BreakGlass(h.ctx, by, x.ID, freeze, reason)
		is(t, err, class)
		if err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	refused(ivo, "none", "fire", ops.ErrInvalid, "no freeze")
	refused(ivo, "sealed", "fire", ops.ErrDenied, "nobody may override it")
	refused(ivo, "freeze", " ", ops.ErrInvalid, "reason is empty")
	refused(manager, "freeze", "fire", ops.ErrDenied, "needs one of the roles [incident-commander]")
	refused(robot, "freeze", "fire", ops.ErrDenied, "only a person")
	own := robotless
	own.Roles = append(own.Roles, ops.IncidentCommander)
	refused(own, "freeze", "fire", ops.ErrDenied, "requested or edited")
	if _, err := h.room.BreakGlass(h.ctx, ivo, x.ID, "freeze", "fire"); err != nil {
		t.Fatal(err)
	}
	refused(ivo, "freeze", "fire", ops.ErrDenied, "a second person")
	h.wakeDue()
	x = h.want(x, ops.ChangeScheduled, "") // one person alone overrides nothing
	if _, err := h.room.BreakGlass(h.ctx, both, x.ID, "freeze", "yes, fire"); err != nil {
		t.Fatal(err)
	}
	refused(ida, "freeze", "fire", ops.ErrConflict, "overridden already, by ivo and bo")
	h.wakeDue()
	x = h.want(x, ops.ChangeImplement, ops.RunQueued)
	h.tell(x.Subject(), ops.RunAppliedBody{Run: *x.Run})
	h.tell(x.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: x.Run.ID, Word: ops.Better}})
	x = h.want(x, ops.ChangeReview, ops.RunSucceeded)
	for range 5 {
		h.now = h.now.Add(30 * 24 * time.Hour)
		h.wakeDue()
	}
	x = h.want(x, ops.ChangeReview, ops.RunSucceeded) // no time signs it
	for _, by := range []ops.Principal{both, owner, robot, robotless} {
		_, err := h.room.SignReview(h.ctx, by, x.ID, "right")
		is(t, err, ops.ErrDenied)
	}
	_, err := h.room.SignReview(h.ctx, manager, x.ID, " ")
	is(t, err, ops.ErrInvalid)
	if x, err = h.room.SignReview(h.ctx, manager, x.ID, "it was right"); err != nil {
		t.Fatal(err)
	}
	if x = h.want(x, ops.ChangeClosed, ops.RunSucceeded); x.Outcome != ops.Successful || x.Review.Name != "mia" || x.Review.Note != "it was right" {
		t.Errorf("%s %+v", x.Outcome, x.Review)
	}
	// A new plan ends it.
	h, x = start()
	for _, by := range []ops.Principal{ivo, ida} {
		if _, err := h.room.BreakGlass(h.ctx, by, x.ID, "freeze", "fire"); err != nil {
			t.Fatal(err)
		}
	}
	if x, err = h.room.Edit(h.ctx, manager, x.ID, "more", nil, "more"); err != nil || x.BreakGlass[0].InForce() || x.BreakGlass[0].Void == "" {
		t.Errorf("%+v %v", x.BreakGlass, err)
	}
}

// The gate is asked again right before a tool acts.
func TestMayAct(t *testing.T) {
	h := newHouse(t, testConfig())
	c := h.byHand(change.Request{ResourceID: "r0"})
	f := func(clock string, want string) {
		t.Helper()
		h.now = at(clock)
		if got, err := h.room.MayAct(h.ctx, c, time.Hour); err != nil || got != want {
			t.Errorf("at %s: %q %v, want %q", clock, got, err, want)
		}
	}
	f("2026-11-22T23:00:00Z", "")
	f("2026-11-22T23:00:00.001Z", "the freeze freeze denies it")
	f("2026-11-24T23:59:59Z", "the freeze freeze denies it")
	f("2026-11-25T00:00:00Z", "")
}
