package ticket_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ticket"
)

// ServiceNow lets only its approvers move a change request on. One whose change
// was approved elsewhere stays where it is, and says so to who reads it there:
// once that the change goes on, and once that it has ended. It follows when
// they approve after all.
func TestApprovedElsewhere(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h, sim := serviceNow(t)
		c := h.raise(ops.Change{})
		c = h.planned(c.ID, owner)
		h.run(2 * time.Minute)
		shown := func() simulator.Record { t.Helper(); return sim.Records("change_request")[0] }
		journal := func(text string, times int) {
			t.Helper()
			if got := fmt.Sprint(sim.Journal(ofSnow(h, c.ID))); strings.Count(got, text) != times {
				t.Errorf("%q is not written %d times in %s", text, times, got)
			}
		}
		a := ops.Approval{ChangeID: c.ID, Principal: "olga", Name: "olga", Decision: ops.Approved, Digest: c.PlanDigest, Revision: 1, Via: "page", At: time.Now()}
		c.Approvals = append(c.Approvals, a)
		h.changes[c.ID] = c
		h.tell(c.Subject(), ops.ApprovalGivenBody{Approval: a})
		start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		w := ops.Occurrence{Window: "night", Start: start, End: start.Add(time.Hour)}
		h.scheduled(c.ID, &w)
		h.run(time.Hour)
		journal("has the approvals its policy asks for, by olga (page), and goes on", 1)
		journal("This request stays in authorize, because only its own approvers can move it on", 1)
		if r := shown(); r["state"] != "-4" {
			t.Fatalf("the request is in state %s", r["state"])
		}
		run := ops.Run{ID: "r", ChangeID: c.ID, StartedAt: time.Now(), FinishedAt: time.Now().Add(time.Minute)}
		h.tell(c.Subject(), ops.RunStartedBody{Run: run, Window: w})
		h.tell(c.Subject(), ops.RunBeganBody{Run: run, Change: h.changes[c.ID]})
		h.ends(c.ID, ops.ChangeClosed, ops.Successful, "better")
		h.run(5 * time.Minute)
		journal("and goes on", 1)
		journal("is closed: successful.", 1)
		journal("Nothing is left to decide", 1)
		as(t, sim, "anna.s", http.MethodPatch, "/api/sn_chg_rest/change/"+ofSnow(h, c.ID)+"/approvals", map[string]string{"state": "approved"})
		h.run(5 * time.Minute)
		if r := shown(); r["state"] != "3" || r["close_code"] != "successful" {
			t.Errorf("approved late, the request is in state %s, %s", r["state"], r["close_code"])
		}
		journal("stays in", 2)
	})
}

// A request that follows its change has nothing to explain.
func TestApprovedThere(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h, sim := serviceNow(t)
		c := h.raise(ops.Change{})
		h.planned(c.ID, owner)
		h.run(2 * time.Minute)
		as(t, sim, "anna.s", http.MethodPatch, "/api/sn_chg_rest/change/"+ofSnow(h, c.ID)+"/approvals", map[string]string{"state": "approved"})
		h.run(2 * time.Minute)
		h.scheduled(c.ID, nil)
		h.run(5 * time.Minute)
		if got := fmt.Sprint(sim.Journal(ofSnow(h, c.ID))); strings.Contains(got, "stays in") || sim.Records("change_request")[0]["state"] != "-2" {
			t.Errorf("%s with %s", sim.Records("change_request")[0]["state"], got)
		}
	})
}

// Where a change must be approved it has a request, also where no route would
// open one: or nobody could ever approve it.
func TestRequestWhereItMustBeApproved(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: []ticket.Route{{Platform: "snow", Kind: ops.TicketChangeRequest, Match: "standard"}}})
		c := h.raise(ops.Change{})
		h.run(time.Minute)
		c = h.changes[c.ID]
		c.ApproveIn = "snow"
		h.changes[c.ID] = c
		h.planned(c.ID, owner)
		h.run(time.Minute)
		h.ofChange("snow", c.ID, ops.TicketChangeRequest)
		if n := len(h.snow.Calls("request_approval")); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}
