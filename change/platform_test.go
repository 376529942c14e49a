package change_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/ops"
)

// seen is an approval that the ticket room saw, as it should be.
func (h *house) seen(c ops.Change, person string) ops.ApprovalSeenBody {
	return ops.ApprovalSeenBody{
		ChangeID: c.ID, TicketID: "t", Platform: "snow", Display: "CHG0030001", Approval: "a-" + person, User: person + ".sn", Person: person,
		Decision: ops.Approved, Digest: c.PlanDigest, Revision: c.Revision, WrittenAt: h.now, DecidedAt: h.now.Add(time.Second),
	}
}

// An approval in a platform counts only for the person it is mapped to, and
// only for the plan that stood on the ticket when it was given. What does not
// count is told with the reason and changes nothing else.
func TestPlatformApproval(t *testing.T) {
	f := func(why string, spoil func(h *house, c ops.Change, b *ops.ApprovalSeenBody)) {
		t.Helper()
		h := newHouse(t, testConfig())
		c := h.asked()
		b := h.seen(c, owner.Name)
		spoil(h, c, &b)
		before, given := h.change(c.ID), h.count(c.ID, ops.ApprovalGiven)
		h.tell(c.Subject(), b)
		after := h.change(c.ID)
		if why == "" {
			if n := len(after.Approvals); n != 1 || after.Approvals[0].Void != "" || after.Approvals[0].Principal != owner.ID || after.Approvals[0].Via != "snow" {
				t.Errorf("an approval that counts was not counted: %+v", after.Approvals)
			}
			return
		}
		if after.State != before.State || change.Approved(after) || h.count(c.ID, ops.ApprovalGiven) != given {
			t.Errorf("%s: it counted: %+v", why, after.Approvals)
		}
		if last := after.Approvals[len(after.Approvals)-1]; !strings.Contains(last.Void, why) || h.count(c.ID, ops.PlatformWordVoid) != 1 {
			t.Errorf("%+v does not say %q", last, why)
		}
	}
	f("", func(*house, ops.Change, *ops.ApprovalSeenBody) {})
	f("", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.DecidedAt = b.WrittenAt.Add(time.Nanosecond) })
	// By the second the two may have been either way round.
	f("before the plan stood on the ticket", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.DecidedAt = b.WrittenAt })
	f(`nobody is mapped to the user "olga.sn"`, func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Person = "" })
	f("zoe is no person", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Person = "zoe" })
	f("only a person decides", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Person = robot.Name })
	f("may not approve", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Person = viewer.Name })
	f("waits for the role application-owner", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Person = manager.Name })
	f("is not that of the plan that stands", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Digest = strings.Repeat("0", 64) })
	f("is not that of the plan that stands", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Digest = b.Digest[:12] })
	f("is not that of the plan that stands", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Digest = "" })
	f("about revision 2", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Revision = 2 })
	f("before the plan stood on the ticket", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) {
		b.DecidedAt = b.WrittenAt.Add(-time.Millisecond)
	})
	f("before the plan stood on the ticket", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.WrittenAt = time.Time{} })
	f("no id", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Approval = "" })
	f("neither approved nor denied", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Decision = "cancelled" })
	f("may not approve", func(_ *house, _ ops.Change, b *ops.ApprovalSeenBody) { b.Person, b.Decision = viewer.Name, ops.Refused })
	f("expired", func(h *house, _ ops.Change, _ *ops.ApprovalSeenBody) { h.now = h.now.Add(73 * time.Hour) })
	f("approved it already", func(h *house, c ops.Change, b *ops.ApprovalSeenBody) {
		both := owner
		both.Roles = []ops.Role{ops.ApplicationOwner, ops.ChangeManager}
		h.people[owner.Name] = both
		if _, err := h.room.Decide(h.ctx, both, c.ID, ops.Approved, c.PlanDigest, "", "api"); err != nil {
			t.Fatal(err)
		}
		b.Approval = "another"
	})
}

func TestPlatformDecisionCountsOnce(t *testing.T) {
	h := newHouse(t, testConfig())
	c := h.asked()
	told := h.tell(c.Subject(), h.seen(c, owner.Name))
	h.hear(told)
	h.tell(c.Subject(), h.seen(c, owner.Name)) // told again, by another process
	if c = h.change(c.ID); len(c.Approvals) != 1 || c.State != ops.ChangeAuthorize {
		t.Fatalf("%s with %+v", c.State, c.Approvals)
	}
	h.tell(c.Subject(), h.seen(c, manager.Name))
	c = h.want(c, ops.ChangeScheduled, "")
	if a := c.Approvals[1]; a.Name != "mia" || a.Ref != "snow:a-mia" {
		t.Errorf("%+v", a)
	}
	h.tell(c.Subject(), h.seen(c, second.Name)) // too late: told, and nothing else
	c = h.want(c, ops.ChangeScheduled, "")
	if last := c.Approvals[2]; !strings.Contains(last.Void, "scheduled and waits for no approval") {
		t.Errorf("%+v", last)
	}
}

func TestPlatformDenialEnds(t *testing.T) {
	h := newHouse(t, testConfig())
	c := h.asked()
	b := h.seen(c, owner.Name)
	b.Decision, b.Comment = ops.Refused, "not in the sale"
	h.tell(c.Subject(), b)
	if c = h.want(c, ops.ChangeCancelled, ""); c.Outcome != ops.Denied {
		t.Errorf("ended as %s", c.Outcome)
	}
	facts := len(h.facts(c.ID))
	b.Approval = "late"
	h.tell(c.Subject(), b)
	if n := len(h.facts(c.ID)); n != facts+1 {
		t.Errorf("%d facts of ours after the end", n-facts-1)
	}
}

// The plan changes between display and approve. Who looked at the old one and
// approves it now, here or in a platform, has approved nothing, and nothing
// runs.
func TestPlanChangesBetweenDisplayAndApprove(t *testing.T) {
	for _, how := range []string{"api", "platform", "platform with the new revision on the old digest"} {
		t.Run(how, func(t *testing.T) {
			h := newHouse(t, testConfig())
			shown := h.asked()
			c, err := h.room.Edit(h.ctx, second, shown.ID, "extend-more", nil, "not enough")
			if err != nil {
				t.Fatal(err)
			}
			h.tell(c.Subject(), ops.PlanMadeBody{Plan: plan(c, "b", true)})
			c = h.want(c, ops.ChangeAuthorize, "")
			if c.PlanDigest == shown.PlanDigest || c.Revision != 2 {
				t.Fatal("the plan did not change")
			}
			for _, p := range []ops.Principal{owner, manager} {
				b := h.seen(shown, p.Name)
				switch how {
				case "api":
					_, err := h.room.Decide(h.ctx, p, c.ID, ops.Approved, shown.PlanDigest, "", "api")
					if err == nil || p.ID == owner.ID && !errors.Is(err, ops.ErrConflict) {
						t.Errorf("%s approved what is gone: %v", p.Name, err)
					}
					continue
				case "platform":
					b.WrittenAt, b.DecidedAt = h.now.Add(-time.Hour), h.now.Add(time.Hour)
				default:
					b.Revision = 2
				}
				h.tell(c.Subject(), b)
			}
			for range 100 {
				h.now = h.now.Add(time.Hour)
				h.wakeDue()
			}
			if n := len(h.orders(ops.ApplyPlan, c.ID)); n != 0 || h.count(c.ID, ops.RunStarted) != 0 {
				t.Errorf("it ran %d times", n)
			}
			if c = h.want(c, ops.ChangeCancelled, ""); c.Outcome != ops.Expired {
				t.Errorf("ended as %s", c.Outcome)
			}
		})
	}
}

func TestPlatformWithdrawal(t *testing.T) {
	f := func(person string, state ops.ChangeState) {
		t.Helper()
		h := newHouse(t, testConfig())
		c := h.asked()
		h.tell(c.Subject(), ops.WithdrawalSeenBody{ChangeID: c.ID, Platform: "snow", User: "x", Person: person, At: h.now})
		c = h.want(c, state, "")
		if void := h.count(c.ID, ops.PlatformWordVoid); (state == ops.ChangeAuthorize) != (void == 1) || (c.Outcome == ops.Withdrawn) == (void == 1) {
			t.Errorf("by %q: %s, told %d times that it does not count", person, c.Outcome, void)
		}
	}
	f(manager.Name, ops.ChangeCancelled)
	f(owner.Name, ops.ChangeAuthorize)
	f(robot.Name, ops.ChangeAuthorize)
	f("", ops.ChangeAuthorize)
	f("zoe", ops.ChangeAuthorize)
}

func TestOfferedWindow(t *testing.T) {
	h := newHouse(t, testConfig())
	c := h.asked()
	offer := func(person string, from, to string) ops.Change {
		t.Helper()
		h.tell(c.Subject(), ops.WindowOfferedBody{ChangeID: c.ID, Platform: "snow", Display: "WO1", User: "x", Person: person, Start: at(from), End: at(to)})
		c = h.change(c.ID)
		return c
	}
	for _, who := range []string{"", "zoe", owner.Name, robot.Name} {
		if offer(who, "2026-11-21T14:00:00Z", "2026-11-21T16:00:00Z"); c.Offered != nil {
			t.Errorf("%q gave a window", who)
		}
	}
	offer(manager.Name, "2026-11-21T16:00:00Z", "2026-11-21T14:00:00Z")
	offer(manager.Name, "2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z")
	if c.Offered != nil || h.count(c.ID, ops.PlatformWordVoid) != 6 {
		t.Fatalf("%+v", c.Offered)
	}
	offer(manager.Name, "2026-11-22T14:00:00Z", "2026-11-22T16:00:00Z")
	offer(manager.Name, "2026-11-22T14:00:00Z", "2026-11-22T16:00:00Z") // again
	if c.Offered == nil || h.count(c.ID, ops.WindowTaken) != 1 {
		t.Fatalf("%+v", c.Offered)
	}
	h.approveAll(c)
	c = h.want(c, ops.ChangeScheduled, "")
	if c.Window == nil || !c.Window.Start.Equal(at("2026-11-22T14:00:00Z")) || c.Window.Window != "offered by mia" {
		t.Fatalf("booked %+v", c.Window)
	}
	h.now = at("2026-11-22T03:00:00Z") // the configured window is open: it was not given
	h.wakeDue()
	h.want(c, ops.ChangeScheduled, "")
	offer(second.Name, "2026-11-22T18:00:00Z", "2026-11-22T20:00:00Z") // replaces the earlier
	h.now = at("2026-11-22T14:30:00Z")
	h.wakeDue()
	h.want(c, ops.ChangeScheduled, "")
	h.now = at("2026-11-22T18:00:00Z")
	h.wakeDue()
	c = h.want(c, ops.ChangeImplement, ops.RunQueued)
	if c.Window.Window != "offered by sam" {
		t.Errorf("runs in %+v", c.Window)
	}
	h.tell(c.Subject(), ops.PlanMovedBody{ChangeID: c.ID, RunID: c.Run.ID, Moved: "x"})
	if c = h.want(c, ops.ChangeAssess, ops.RunFailed); c.Offered == nil || c.Approvals[0].Void == "" {
		t.Error("a moved plan must keep the window and void the approvals")
	}
}

// A freeze denies an offered window as well, and one that is too short for
// rolling back lets nothing start. Once it is over, the configured ones count.
func TestOfferedWindowObeysTheRest(t *testing.T) {
	h := newHouse(t, testConfig())
	c := h.asked()
	h.tell(c.Subject(), ops.WindowOfferedBody{ChangeID: c.ID, Platform: "snow", Person: manager.Name, Start: at("2026-11-23T12:00:00Z"), End: at("2026-11-23T18:00:00Z")})
	h.approveAll(h.change(c.ID))
	for h.now.Before(at("2026-11-25T01:00:00Z")) {
		h.now = h.now.Add(30 * time.Minute)
		h.wakeDue()
		h.want(c, ops.ChangeScheduled, "")
	}
	h.tell(c.Subject(), ops.WindowOfferedBody{ChangeID: c.ID, Platform: "snow", Person: manager.Name, Start: at("2026-11-25T01:00:00Z"), End: at("2026-11-25T01:05:00Z")})
	for h.now.Before(at("2026-11-25T02:00:00Z")) {
		h.wakeDue()
		h.want(c, ops.ChangeScheduled, "")
		h.now = h.now.Add(time.Minute)
	}
	h.wakeDue()
	if c = h.want(c, ops.ChangeImplement, ops.RunQueued); c.Window.Window != "night" {
		t.Errorf("runs in %+v", c.Window)
	}
}

// approveAll has the owner and the manager approve.
func (h *house) approveAll(c ops.Change) {
	h.t.Helper()
	for _, p := range []ops.Principal{owner, manager} {
		if _, err := h.room.Decide(h.ctx, p, c.ID, ops.Approved, c.PlanDigest, "", "api"); err != nil {
			h.t.Fatal(err)
		}
	}
}
