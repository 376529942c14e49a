package ticket_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/ops"
)

// Whatever is lost, once the platform works again each decision a person made
// was told once, none looks as if it was about a plan the person was not asked
// about, and the ticket shows the plan that waits, or the end.
func TestWhateverHappensToChanges(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed < 9; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			virtual(t, func(t *testing.T) { whateverChanges(t, rand.New(rand.NewPCG(seed, 2))) })
		})
	}
}

// decided is what a person really decided on.
type decided struct {
	plan string
	what ops.Decision
}

func whateverChanges(t *testing.T, r *rand.Rand) {
	s := setup{routes: changesToSnow}
	if r.IntN(2) == 0 {
		s.careless = time.Duration(1+r.IntN(60)) * time.Second
	}
	h := open(t, s)
	faults := []connectortest.Fault{
		{Err: connectortest.Unavailable()},
		{Err: connectortest.Unknown()},
		{Err: connectortest.Unknown(), After: true},
		{Err: connectortest.Throttled(20 * time.Second)},
		{Delay: time.Minute},
		{Err: fmt.Errorf("401: %w", ops.ErrDenied)},
	}
	operations := []string{"create", "update", "add_note", "get", "find", "changes", "request_approval", "withdraw_approval", "attach", "put_task"}
	var all []ops.Change
	truth := map[string]decided{} // by the platform's id of the decision
	cancelled := map[string]bool{}
	for range 60 {
		if len(all) == 0 || r.IntN(8) == 0 {
			all = append(all, h.raise(ops.Change{}))
			h.run(time.Millisecond)
		}
		c := h.changes[all[r.IntN(len(all))].ID]
		ref := h.ofChange("snow", c.ID, ops.TicketChangeRequest).Ref
		switch r.IntN(9) {
		case 0, 1:
			if c.State == ops.ChangeAssess {
				h.planned(c.ID, owner)
			}
		case 2:
			if c.State == ops.ChangeAuthorize {
				h.edited(c.ID)
			}
		case 3:
			if c.State == ops.ChangeAuthorize && r.IntN(3) == 0 {
				h.ends(c.ID, ops.ChangeCancelled, ops.Expired, "nobody decided")
			}
		case 4, 5:
			h.snow.Next(operations[r.IntN(len(operations))], faults[r.IntN(len(faults))])
		case 6:
			if r.IntN(2) == 0 {
				h.snow.Break(connectortest.Unavailable())
			} else {
				h.snow.Break(nil)
			}
		case 7, 8:
			if ref != "" {
				personDecides(h, ref, r, truth)
			}
			if ref != "" && r.IntN(12) == 0 && !cancelled[c.ID] {
				f := ops.TicketFields{State: "cancelled"}
				_, err := h.snowDesk.Edit(context.Background(), ref, "anna.s", []connector.Field{connector.State}, f, "")
				cancelled[c.ID] = err == nil
			}
		}
		h.run(time.Duration(r.IntN(40_000)) * time.Millisecond)
	}
	h.snow.Mend()
	h.run(20 * time.Minute)
	if err := h.room.Audit(context.Background(), "snow"); err != nil {
		t.Error(err)
	}
	h.run(5 * time.Minute)

	told := map[string]int{}
	for _, c := range all {
		c = h.changes[c.ID]
		for _, b := range bodies[ops.ApprovalSeenBody](h, c.Subject()) {
			told[b.Approval]++
			about := truth[b.Approval]
			if b.Decision != about.what {
				t.Errorf("%s: told %+v, the person said %s", c.Key(), b, about.what)
			}
			if ops.PlanMark(b.Digest, b.Revision) != about.plan && b.DecidedAt.After(b.WrittenAt) {
				t.Errorf("%s: %+v counts for a plan the person was not asked about (%s)", c.Key(), b, about.plan)
			}
		}
		if n := len(bodies[ops.WithdrawalSeenBody](h, c.Subject())); n > 1 || n == 1 && !cancelled[c.ID] {
			t.Errorf("%s: %d withdrawals told", c.Key(), n)
		}
		row, got := h.ofChange("snow", c.ID, ops.TicketChangeRequest), h.showsOf("snow", c.ID)
		if row.Work.Dirty || row.Sync != ops.SyncOK {
			t.Errorf("%s is %s (%s), dirty %v", c.Key(), row.Sync, row.SyncNote, row.Work.Dirty)
		}
		chaosTasks(h, c, got.Ref, cancelled[c.ID])
		switch {
		case c.State == ops.ChangeCancelled:
			if got.Fields.State != "cancelled" || got.Asked {
				t.Errorf("%s ended, its ticket shows %s, asked %v", c.Key(), got.Fields.State, got.Asked)
			}
		case c.State == ops.ChangeAuthorize && !cancelled[c.ID]:
			decided := slices.ContainsFunc(got.Decisions, func(d connector.Decision) bool {
				return truth[d.ID].plan == got.Fields.Plan
			})
			if got.Fields.Plan != ops.PlanMark(c.PlanDigest, c.Revision) || !got.Asked && !decided {
				t.Errorf("%s waits for approval of %s, its ticket shows %s, asked %v", c.Key(), ops.PlanMark(c.PlanDigest, c.Revision), got.Fields.Plan, got.Asked)
			}
		case c.State == ops.ChangeAssess:
			if got.Asked {
				t.Errorf("%s is planned anew and people can still decide", c.Key())
			}
		}
	}
	for id := range truth {
		if told[id] != 1 {
			t.Errorf("decision %s was told %d times", id, told[id])
		}
	}
	tickets, err := h.snowDesk.List(context.Background(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		working := 0
		for _, x := range tickets {
			if x.Fields.Title == c.Key()+" "+c.Title && x.Fields.ResolveCode != string(ops.Superseded) {
				working++
			}
		}
		if working != 1 {
			t.Errorf("%s has %d tickets", c.Key(), working)
		}
	}
}

// chaosTasks fails unless the tasks of the plan that stands are there, open, and
// all others have ended.
func chaosTasks(h *house, c ops.Change, ref string, cancelled bool) {
	h.Helper()
	tasks, err := h.snowDesk.Tasks(context.Background(), ref)
	if err != nil {
		h.Fatal(err)
	}
	open := 0
	for _, t := range tasks {
		if !t.State.Ended() {
			open++
		}
	}
	switch {
	case c.State == ops.ChangeCancelled && open != 0:
		h.Errorf("%s ended with open tasks: %+v", c.Key(), tasks)
	case c.State == ops.ChangeAuthorize && !cancelled && open != 2:
		h.Errorf("%s waits with %d open tasks: %+v", c.Key(), open, tasks)
	}
}

// personDecides makes one decision on a ticket that asks for one.
func personDecides(h *house, ref string, r *rand.Rand, truth map[string]decided) {
	h.Helper()
	ctx := context.Background()
	before, err := h.snowDesk.Get(ctx, ref)
	if err != nil {
		h.Fatal(err)
	}
	what := []ops.Decision{ops.Approved, ops.Refused}[r.IntN(2)]
	after, err := h.snowDesk.Decide(ctx, ref, []string{"anna.s", "carl"}[r.IntN(2)], what, "so it is")
	if err != nil {
		return // nobody is asked, or this person has decided
	}
	for _, d := range after.Decisions {
		if !slices.ContainsFunc(before.Decisions, func(x connector.Decision) bool { return x.ID == d.ID }) {
			truth[d.ID] = decided{before.Fields.Plan, what}
		}
	}
	// Other platforms move on by themselves once they count enough approvals.
	if what == ops.Approved && r.IntN(2) == 0 && ops.CanMoveChange(ops.ChangeState(after.Fields.State), ops.ChangeScheduled) {
		f := ops.TicketFields{State: string(ops.ChangeScheduled)}
		if _, err := h.snowDesk.Edit(ctx, ref, "carl", []connector.Field{connector.State}, f, ""); err != nil {
			h.Fatal(err)
		}
	}
}

// The answer of a request is lost, or late, and what it did is read before: it
// is no edit, and taking it back would take back what people decided meanwhile.
func TestRequestSeenBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		h.run(time.Minute)
		h.snow.Next("request_approval", connectortest.Fault{Err: connectortest.Unknown(), After: true})
		h.planned(c.ID, owner)
		h.run(time.Second) // before the request is tried again
		if got := h.showsOf("snow", c.ID); !got.Asked {
			t.Fatalf("nobody is asked: %+v", got)
		}
		if err := h.room.Pull(t.Context(), "snow"); err != nil {
			t.Fatal(err)
		}
		h.decides(c.ID, "anna.s", ops.Approved, "")
		h.run(5 * time.Minute)
		var order []string
		for _, call := range h.snow.Calls("update", "request_approval", "withdraw_approval") {
			order = append(order, call.Op)
		}
		if !slices.Equal(order, []string{"update", "request_approval", "request_approval"}) {
			t.Errorf("calls %v", order)
		}
		if edits := bodies[ops.TicketEditedBody](h, c.Subject()); len(edits) != 0 {
			t.Errorf("told as edited: %+v", edits)
		}
		if seen := bodies[ops.ApprovalSeenBody](h, c.Subject()); len(seen) != 1 || seen[0].Revision != 1 {
			t.Errorf("told %+v", seen)
		}
	})
}
