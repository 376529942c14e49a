package change_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/ops"
)

// asksIn has a change raised by hand that must be approved in a platform by so
// many managers.
func asksIn(t *testing.T, platform string, count int) (*house, ops.Change) {
	t.Helper()
	low := 0.3
	c := testConfig()
	c.Approval = []change.ApprovalRule{{Match: "true", In: platform, Approvers: []ops.Approvers{{Role: ops.ChangeManager, Count: count}}}}
	return asks(t, c, change.Request{Risk: &low})
}

// What a rule wants approved in one platform is approved there and nowhere
// else; it is denied anywhere.
func TestApprovedInThatPlatformOnly(t *testing.T) {
	h, c := asksIn(t, "snow", 1)
	if c.ApproveIn != "snow" || !strings.HasPrefix(c.Approve, "needs 1 × change-manager in snow and nowhere else, because true matches") {
		t.Fatalf("asked in %q: %q", c.ApproveIn, c.Approve)
	}
	here := func(want string) {
		t.Helper()
		for _, via := range []string{"page", "api", "cli", "snow"} { // nobody makes it a platform's by saying so
			_, err := h.room.Decide(h.ctx, manager, c.ID, ops.Approved, c.PlanDigest, "", via)
			if !errors.Is(err, ops.ErrDenied) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", via, err, want)
			}
		}
	}
	here("CHG-1: policy has it approved in snow only, where its ticket is not opened yet")
	h.tickets = []ops.Ticket{
		{Platform: "rt", Kind: ops.TicketChangeRequest, Display: "7", URL: "https://rt/7"},
		{Platform: "snow", Kind: ops.TicketWorkOrder, Display: "INC1", URL: "https://snow/INC1"},
		{Platform: "snow", Kind: ops.TicketChangeRequest, Display: "CHG0030001", URL: "https://snow/CHG0030001"},
	}
	here("CHG-1: policy has it approved in snow only; approve CHG0030001 https://snow/CHG0030001 there")

	elsewhere := h.seen(c, manager.Name)
	elsewhere.Platform = "rt"
	h.tell(c.Subject(), elsewhere)
	c = h.want(c, ops.ChangeAuthorize, "")
	if last := c.Approvals[0]; !strings.Contains(last.Void, "approved in snow only; approve CHG0030001") || h.count(c.ID, ops.ApprovalGiven) != 0 {
		t.Fatalf("%+v", c.Approvals)
	}
	h.tell(c.Subject(), h.seen(c, manager.Name))
	if c = h.want(c, ops.ChangeScheduled, ""); c.ApproveIn != "snow" {
		t.Errorf("approved in %q", c.ApproveIn)
	}
}

func TestDeniedFromAnywhere(t *testing.T) {
	h, c := asksIn(t, "snow", 1)
	if _, err := h.room.Decide(h.ctx, manager, c.ID, ops.Refused, c.PlanDigest, "no", "page"); err != nil {
		t.Fatal(err)
	}
	if c = h.want(c, ops.ChangeCancelled, ""); c.Outcome != ops.Denied {
		t.Errorf("ended as %s", c.Outcome)
	}
	h, c = asksIn(t, "snow", 1)
	b := h.seen(c, manager.Name)
	b.Platform, b.Decision = "rt", ops.Refused
	h.tell(c.Subject(), b)
	h.want(c, ops.ChangeCancelled, "")
}

// Four eyes are two persons in that platform.
func TestFourEyesInThatPlatform(t *testing.T) {
	c := testConfig()
	c.Approval = []change.ApprovalRule{{Match: "true", In: "snow", Approvers: []ops.Approvers{{Role: ops.ChangeManager, Count: 1}}}}
	h, x := asks(t, c, change.Request{}) // unknown risk is the highest
	h.tell(x.Subject(), h.seen(x, manager.Name))
	b := h.seen(x, manager.Name)
	b.Approval = "the same person once more"
	h.tell(x.Subject(), b)
	if _, err := h.room.Decide(h.ctx, second, x.ID, ops.Approved, x.PlanDigest, "", "page"); !errors.Is(err, ops.ErrDenied) {
		t.Errorf("the second approves here: %v", err)
	}
	x = h.want(x, ops.ChangeAuthorize, "")
	h.tell(x.Subject(), h.seen(x, second.Name))
	h.want(x, ops.ChangeScheduled, "")
}

// A change stands under the rule of its plan, whatever the configuration says
// since; planned anew it stands under the new one.
func TestPlaceIsThatOfThePlan(t *testing.T) {
	h, c := asksIn(t, "snow", 1)
	h.config.Approval[0].In = ""
	h.restart()
	if _, err := h.room.Decide(h.ctx, manager, c.ID, ops.Approved, c.PlanDigest, "", "page"); !errors.Is(err, ops.ErrDenied) {
		t.Fatalf("%v", err)
	}
	edited, err := h.room.Edit(h.ctx, second, c.ID, "extend-more", nil, "not enough")
	if err != nil || edited.ApproveIn != "" {
		t.Fatalf("%q %v", edited.ApproveIn, err)
	}
	h.tell(c.Subject(), ops.PlanMadeBody{Plan: plan(edited, "b", true)})
	if c = h.want(c, ops.ChangeAuthorize, ""); c.ApproveIn != "" || strings.Contains(c.Approve, "snow") {
		t.Errorf("asked in %q: %s", c.ApproveIn, c.Approve)
	}
	_, err = h.room.Decide(h.ctx, manager, c.ID, ops.Approved, c.PlanDigest, "", "page")
	if err != nil {
		t.Error(err)
	}
}

// The desk is Fettle itself: page, API and command line.
func TestApprovedInFettleOnly(t *testing.T) {
	h, c := asksIn(t, ops.DeskPlatform, 1)
	h.tell(c.Subject(), h.seen(c, manager.Name))
	c = h.want(c, ops.ChangeAuthorize, "")
	if last := c.Approvals[0]; !strings.Contains(last.Void, "approved in Fettle only") {
		t.Errorf("%+v", last)
	}
	if _, err := h.room.Decide(h.ctx, manager, c.ID, ops.Approved, c.PlanDigest, "", "cli"); err != nil {
		t.Fatal(err)
	}
	h.want(c, ops.ChangeScheduled, "")
}

// Glass is broken here for what is approved there: they are two questions.
func TestGlassForWhatIsApprovedElsewhere(t *testing.T) {
	low := 0.3
	c := testConfig()
	c.Approval = []change.ApprovalRule{{Match: "true", In: "snow", Approvers: []ops.Approvers{{Role: ops.ChangeManager, Count: 1}}}}
	c.Freezes = []ops.Window{{Name: "freeze", TimeZone: "UTC", From: at("2026-11-20T00:00:00Z"), To: at("2026-11-25T00:00:00Z"), BreakGlass: []ops.Role{ops.IncidentCommander}}}
	h, x := asks(t, c, change.Request{Risk: &low})
	for _, by := range []ops.Principal{person("ivo", ops.IncidentCommander), person("ida", ops.IncidentCommander)} {
		if _, err := h.room.BreakGlass(h.ctx, by, x.ID, "freeze", "it burns"); err != nil {
			t.Fatal(err)
		}
	}
	if x = h.want(x, ops.ChangeAuthorize, ""); !x.BreakGlass[0].InForce() {
		t.Fatalf("%+v", x.BreakGlass)
	}
	h.tell(x.Subject(), h.seen(x, manager.Name))
	if x = h.want(x, ops.ChangeScheduled, ""); x.Window == nil || x.Window.Start.Sub(h.now) > 24*time.Hour {
		t.Errorf("%+v", x.Window)
	}
}

func TestNobodyApprovesInAPlatformWhatIsApprovedAutomatically(t *testing.T) {
	c := testConfig()
	c.Approval = []change.ApprovalRule{{Match: "true", Automatically: true, In: "snow"}}
	if _, err := change.NewGate(c); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "policies.approval[0].in") {
		t.Error(err)
	}
}

// A condition that cannot be evaluated is no secret: the change says why it
// waits, for windows, which do not allow then, and freezes, which deny.
func TestConditionThatCannotBeEvaluated(t *testing.T) {
	f := func(want string, spoil func(c *change.Config)) {
		t.Helper()
		low := 0.3
		c := testConfig()
		c.Approval = []change.ApprovalRule{{Match: "true", Approvers: []ops.Approvers{{Role: ops.ChangeManager, Count: 1}}}}
		spoil(&c)
		h, x := asks(t, c, change.Request{Risk: &low})
		if _, err := h.room.Decide(h.ctx, manager, x.ID, ops.Approved, x.PlanDigest, "", "page"); err != nil {
			t.Fatal(err)
		}
		x = h.want(x, ops.ChangeScheduled, "")
		said := x.Waiting
		for _, fact := range h.facts(x.ID) {
			if b, err := ops.Body[ops.ChangeScheduledBody](fact); fact.Kind == ops.ChangeScheduledAt && err == nil {
				said += b.Why
			}
		}
		if !strings.Contains(said, want) {
			t.Errorf("%q, want %q", said, want)
		}
	}
	const broken = `change.args[7] == "x"`
	f("cannot be told: policy: evaluate", func(c *change.Config) {
		for i := range c.Windows {
			if !c.Windows[i].Mute {
				c.Windows[i].Applies = broken
			}
		}
	})
	f("whether the freeze odd applies cannot be told", func(c *change.Config) {
		c.Freezes = []ops.Window{{Name: "odd", TimeZone: "UTC", Applies: broken, From: at("2026-11-20T00:00:00Z"), To: at("2026-11-25T00:00:00Z")}}
	})
}
