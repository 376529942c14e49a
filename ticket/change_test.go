package ticket_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ticket"
)

// What the room change tells, in the words of the tests.

func (h *house) raise(c ops.Change) ops.Change {
	h.Helper()
	h.number++
	c.ID, c.Number, c.State, c.Revision = fmt.Sprintf("c%d", h.number), h.number, ops.ChangeAssess, 1
	if c.Type == "" {
		c.Type = ops.ChangeNormal
	}
	c.Title, c.Team, c.Resource, c.Risk = "scale web-1 to m5.large", "cloud", "web-1", 0.6
	c.Reason, c.RequestedBy, c.CreatedAt = "utilisation is low", "densify", time.Now()
	h.changes[c.ID] = c
	h.tell(c.Subject(), ops.ChangeRaisedBody{Change: c, Why: "a recommendation"})
	return c
}

// planned makes the plan of the change's revision and asks for its approval.
func (h *house) planned(id string, approvers ...ops.Approvers) ops.Change {
	h.Helper()
	c := h.changes[id]
	p := ops.Plan{
		ID: fmt.Sprintf("%s-p%d", id, c.Revision), ChangeID: id, Revision: c.Revision, Executor: "aws", Target: "web-1", ApplySecs: 60, RollbackSecs: 30,
		Actions:  []ops.PlanAction{{Resource: "web-1", Verb: "update", After: map[string]string{"type": fmt.Sprintf("m5.%d", c.Revision)}}},
		Rollback: []ops.PlanAction{{Resource: "web-1", Verb: "update", Before: map[string]string{"type": "m5.large"}, After: map[string]string{"type": "m4.large"}}},
		Text:     fmt.Sprintf("~ web-1: m4.large -> m5.%d", c.Revision),
	}
	for n := range h.steps {
		p.Actions = append(p.Actions, ops.PlanAction{Resource: fmt.Sprintf("disk-%d", n+2), Verb: "create"})
	}
	p.Digest = p.ComputeDigest()
	h.plans[id] = append(h.plans[id], p)
	c.State, c.PlanID, c.PlanDigest, c.Approvers = ops.ChangeAuthorize, p.ID, p.Digest, approvers
	h.changes[id] = c
	h.tell(c.Subject(), ops.ApprovalRequestedBody{Change: c, Digest: p.Digest, Text: p.Text, Why: "needs an owner"})
	return c
}

var owner = ops.Approvers{Role: ops.ApplicationOwner, Count: 1}

func (h *house) edited(id string) {
	h.Helper()
	c := h.changes[id]
	c.State, c.PlanID, c.PlanDigest, c.Window, c.Approvers = ops.ChangeAssess, "", "", nil, nil
	c.Revision++
	h.changes[id] = c
	h.tell(c.Subject(), ops.ChangeEditedBody{Change: c, Why: "edited by ben"})
}

func (h *house) scheduled(id string, w *ops.Occurrence) {
	h.Helper()
	c := h.changes[id]
	c.State, c.Window = ops.ChangeScheduled, w
	h.changes[id] = c
	h.tell(c.Subject(), ops.ChangeScheduledBody{Change: c, Why: "approved"})
}

func (h *house) ends(id string, state ops.ChangeState, outcome ops.Outcome, why string) {
	h.Helper()
	c := h.changes[id]
	c.State, c.Outcome = state, outcome
	h.changes[id] = c
	h.tell(c.Subject(), ops.ChangeEndedBody{Change: c, Why: why})
}

// ofChange returns the ticket of a change on a platform.
func (h *house) ofChange(platform, id string, kind ops.TicketKind) ops.Ticket {
	h.Helper()
	all, err := h.store.TicketsAbout(context.Background(), ops.ChangeSubject(id))
	if err != nil {
		h.Fatal(err)
	}
	for _, t := range all {
		if t.Platform == platform && t.Kind == kind {
			return t
		}
	}
	h.Fatalf("no %s of %s on %s in %+v", kind, id, platform, all)
	return ops.Ticket{}
}

func (h *house) showsOf(platform, id string) connector.Copy {
	h.Helper()
	d := h.ownDesk
	if platform == "snow" {
		d = h.snowDesk
	}
	c, err := d.Get(context.Background(), h.ofChange(platform, id, ops.TicketChangeRequest).Ref)
	if err != nil {
		h.Fatal(err)
	}
	return c
}

func (h *house) decides(id, by string, d ops.Decision, comment string) {
	h.Helper()
	if _, err := h.snowDesk.Decide(context.Background(), h.ofChange("snow", id, ops.TicketChangeRequest).Ref, by, d, comment); err != nil {
		h.Fatal(err)
	}
}

func bodies[T ops.FactBody](h *house, subject string) []T {
	h.Helper()
	var zero T
	var out []T
	for _, f := range h.facts(subject, zero.FactKind()) {
		b, err := ops.Body[T](f)
		if err != nil {
			h.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

var changesToSnow = []ticket.Route{{Platform: "snow", Kind: ops.TicketChangeRequest}}

// The report of the analysis is on the ticket with the plan; one that is kept no
// longer holds up nothing.
func TestReportOfTheAnalysisIsAttached(t *testing.T) {
	t.Parallel()
	f := func(digest string, want ...string) {
		t.Helper()
		virtual(t, func(t *testing.T) {
			h := open(t, setup{routes: changesToSnow})
			h.artefacts = map[string][]byte{"d1": []byte("%PDF-1.7 of the shop")}
			c := h.raise(ops.Change{Analysis: &ops.Analysis{Report: digest}})
			h.planned(c.ID, owner)
			h.run(time.Second)
			got := h.showsOf("snow", c.ID)
			files, err := h.snowDesk.Files(t.Context(), got.Ref)
			if slices.Sort(files); err != nil || !slices.Equal(files, want) || !got.Asked {
				t.Errorf("report %q: files %v (%v), asked %t; want %v", digest, files, err, got.Asked, want)
			}
		})
	}
	f("d1", "analysis-report.pdf", "plan-r1.json")
	f("gone", "plan-r1.json")
	f("", "plan-r1.json")
}

func TestChangeGoesAround(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		h.run(time.Second)
		if got := h.showsOf("snow", c.ID); got.Fields.State != "assess" || got.Asked || !strings.Contains(got.Fields.Description, "Plan: being made.") {
			t.Errorf("opened as %+v", got)
		}
		c = h.planned(c.ID, owner)
		h.run(time.Second)
		got := h.showsOf("snow", c.ID)
		f := got.Fields
		if !got.Asked || f.State != "authorize" || f.Plan != ops.PlanMark(c.PlanDigest, 1) || f.Risk != ops.RiskHigh || f.Type != ops.ChangeNormal {
			t.Errorf("asked with %+v", got)
		}
		for _, want := range []string{"utilisation is low", "~ web-1: m4.large -> m5.1", "type: m5.large -> m4.large", "apply 1m0s, roll back 30s", "http://fettle.test/changes/CHG-1", c.PlanDigest, "- update web-1"} {
			if !strings.Contains(f.Description, want) {
				t.Errorf("the description lacks %q:\n%s", want, f.Description)
			}
		}
		if files, err := h.snowDesk.Files(t.Context(), got.Ref); err != nil || !slices.Equal(files, []string{"plan-r1.json"}) {
			t.Errorf("files %v, %v", files, err)
		}
		// The plan was written before anybody was asked.
		var order []string
		for _, call := range h.snow.Calls("create", "update", "request_approval") {
			order = append(order, call.Op)
		}
		if !slices.Equal(order, []string{"create", "update", "request_approval"}) {
			t.Errorf("calls %v", order)
		}

		h.run(time.Minute)
		h.decides(c.ID, "anna.s", ops.Approved, "fits")
		at := time.Now()
		h.run(time.Hour)
		seen := bodies[ops.ApprovalSeenBody](h, c.Subject())
		if len(seen) != 1 {
			t.Fatalf("%d approvals told", len(seen))
		}
		b := seen[0]
		if b.Person != "anna" || b.User != "anna.s" || b.Decision != ops.Approved || b.Digest != c.PlanDigest || b.Revision != 1 ||
			b.Comment != "fits" || !b.DecidedAt.Equal(at) || !b.WrittenAt.Before(b.DecidedAt) || b.ChangeID != c.ID || b.Display != got.Display {
			t.Errorf("told %+v", b)
		}

		start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		w := ops.Occurrence{Window: "night", Start: start, End: start.Add(time.Hour)}
		h.scheduled(c.ID, &w)
		h.run(time.Hour)
		if f := h.showsOf("snow", c.ID).Fields; f.State != "scheduled" || !f.PlannedStart.Equal(start) || !f.PlannedEnd.Equal(w.End) {
			t.Errorf("scheduled as %+v", f)
		}
		run := ops.Run{ID: "r", ChangeID: c.ID, State: ops.RunRunning, StartedAt: time.Now()}
		h.tell(c.Subject(), ops.RunStartedBody{Run: run, Window: w})
		h.run(10 * time.Minute)
		if f := h.showsOf("snow", c.ID).Fields; f.State != "scheduled" || !f.ActualStart.IsZero() {
			t.Errorf("before the plan was compared: %+v; a platform has no way back from implement", f)
		}
		h.tell(c.Subject(), ops.RunBeganBody{Run: run, Change: h.changes[c.ID]})
		h.run(10 * time.Minute)
		if f := h.showsOf("snow", c.ID).Fields; f.State != "implement" || f.ActualStart.IsZero() {
			t.Errorf("implemented as %+v", f)
		}
		run.State, run.FinishedAt = ops.RunSucceeded, time.Now()
		done := h.changes[c.ID]
		done.Run = &run
		h.changes[c.ID] = done
		h.tell(c.Subject(), ops.ChangeReviewedBody{Change: done, Why: "better"})
		h.ends(c.ID, ops.ChangeClosed, ops.SuccessfulWithIssues, "latency rose a little")
		h.run(time.Minute)
		got = h.showsOf("snow", c.ID)
		if f := got.Fields; f.State != "closed" || f.ResolveCode != "successful_with_issues" || f.ResolveNote != "latency rose a little" || f.ActualEnd.IsZero() || got.Asked {
			t.Errorf("closed as %+v", got)
		}
		for _, step := range []string{"waits for approval", "scheduled in window night", "run started", "in review", "closed: successful_with_issues"} {
			if n := strings.Count(fmt.Sprint(got.Notes), step); n != 1 {
				t.Errorf("%q is in the notes %d times", step, n)
			}
		}
		if n := len(h.snow.Calls("create")); n != 1 {
			t.Errorf("%d creates", n)
		}
		if told := h.facts(c.Subject(), ops.TicketEdited); len(told) != 0 {
			t.Errorf("edits nobody made: %s", told[0].Body)
		}
	})
}

// Each way a change can end ends its ticket, with the reason.
func TestChangeEnds(t *testing.T) {
	t.Parallel()
	for _, outcome := range []ops.Outcome{ops.Denied, ops.Withdrawn, ops.Expired, ops.Superseded, ops.MissedWindow, ops.Successful, ops.SuccessfulWithIssues, ops.Unsuccessful} {
		virtual(t, func(t *testing.T) {
			h := open(t, setup{routes: changesToSnow})
			c := h.raise(ops.Change{})
			h.planned(c.ID, owner)
			h.run(time.Second)
			state := ops.ChangeCancelled
			if outcome == ops.Successful || outcome == ops.SuccessfulWithIssues || outcome == ops.Unsuccessful {
				state = ops.ChangeClosed
			}
			h.ends(c.ID, state, outcome, "because")
			h.run(time.Second)
			got := h.showsOf("snow", c.ID)
			if f := got.Fields; f.State != string(state) || f.ResolveCode != string(outcome) || f.ResolveNote != "because" || got.Asked {
				t.Errorf("%s ended as %+v", outcome, got)
			}
			if n := len(bodies[ops.WithdrawalSeenBody](h, c.Subject())); n != 0 {
				t.Errorf("%s: our own end was told as a person's", outcome)
			}
		})
	}
}

// The plan changes while the platform is out of reach, and a person approves
// what still stands there: the decision is told with the plan it was about.
func TestPlanChangesBetweenDisplayAndApprove(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		one := h.planned(c.ID, owner)
		h.run(time.Minute)
		h.snow.Break(connectortest.Unavailable())
		h.edited(c.ID)
		two := h.planned(c.ID, owner)
		h.run(time.Second)
		h.decides(c.ID, "anna.s", ops.Approved, "")
		h.snow.Mend()
		h.run(5 * time.Minute)
		seen := bodies[ops.ApprovalSeenBody](h, c.Subject())
		if len(seen) != 1 || seen[0].Revision != 1 || seen[0].Digest != one.PlanDigest {
			t.Fatalf("told %+v", seen)
		}
		got := h.showsOf("snow", c.ID)
		if got.Fields.Plan != ops.PlanMark(two.PlanDigest, 2) || !got.Asked {
			t.Errorf("stands with %+v", got)
		}
		var order []string
		for _, call := range h.snow.Calls("update", "request_approval", "withdraw_approval") {
			if call.Err == nil {
				order = append(order, call.Op)
			}
		}
		if !slices.Equal(order, []string{"request_approval", "withdraw_approval", "update", "request_approval"}) {
			t.Errorf("calls %v", order)
		}
		h.decides(c.ID, "anna.s", ops.Approved, "")
		h.run(time.Minute)
		seen = bodies[ops.ApprovalSeenBody](h, c.Subject())
		if len(seen) != 2 || seen[1].Revision != 2 || seen[1].Digest != two.PlanDigest || !seen[1].DecidedAt.After(seen[1].WrittenAt) {
			t.Errorf("told %+v", seen)
		}
	})
}

// What is heard while a ticket is being written must not go out with that write:
// tasks end before their request does, and an old request for approval is
// withdrawn before a new plan stands there.
func TestNothingOvertakesWhatComesBeforeIt(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		f := func(heard func(h *house, id string), want ...string) {
			t.Helper()
			h := open(t, setup{routes: changesToSnow})
			c := h.raise(ops.Change{})
			h.planned(c.ID, owner)
			h.run(time.Minute)
			before := len(h.snow.Calls())
			h.scheduled(c.ID, &ops.Occurrence{Window: "nightly", Start: time.Now().Add(time.Hour), End: time.Now().Add(2 * time.Hour)})
			h.meanwhile = func() { heard(h, c.ID) }
			h.run(time.Minute)
			var got []string
			for _, call := range h.snow.Calls()[before:] {
				if slices.Contains([]string{"put_task", "update", "withdraw_approval"}, call.Op) {
					got = append(got, call.Op)
				}
			}
			if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
				t.Errorf("calls %v, want %v first", got, want)
			}
		}
		f(func(h *house, id string) { h.ends(id, ops.ChangeCancelled, ops.Denied, "not this week") }, "put_task", "put_task", "update")
		f(func(h *house, id string) { h.edited(id); h.planned(id, owner) }, "withdraw_approval", "put_task", "put_task", "update")
	})
}

func TestChangeDenied(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		h.planned(c.ID, owner)
		h.run(time.Minute)
		h.decides(c.ID, "carl", ops.Refused, "not this week")
		h.run(time.Minute)
		seen := bodies[ops.ApprovalSeenBody](h, c.Subject())
		if len(seen) != 1 || seen[0].Decision != ops.Refused || seen[0].Person != "" || seen[0].User != "carl" || seen[0].Comment != "not this week" {
			t.Errorf("told %+v", seen)
		}
	})
}

func TestChangeCancelledByAPerson(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		h.planned(c.ID, owner)
		h.run(time.Minute)
		f := ops.TicketFields{State: "cancelled", ResolveCode: "withdrawn", ResolveNote: "we keep it"}
		_, err := h.snowDesk.Edit(t.Context(), h.ofChange("snow", c.ID, ops.TicketChangeRequest).Ref, "anna.s", []connector.Field{connector.State, connector.ResolveCode, connector.ResolveNote}, f, "")
		if err != nil {
			t.Fatal(err)
		}
		h.run(time.Hour)
		seen := bodies[ops.WithdrawalSeenBody](h, c.Subject())
		if len(seen) != 1 || seen[0].Person != "anna" || seen[0].Why != "we keep it" || seen[0].ChangeID != c.ID || seen[0].At.IsZero() {
			t.Fatalf("told %+v", seen)
		}
		h.ends(c.ID, ops.ChangeCancelled, ops.Withdrawn, "cancelled by anna")
		h.run(time.Minute)
		if f := h.showsOf("snow", c.ID).Fields; f.State != "cancelled" {
			t.Errorf("ended as %s", f.State)
		}
		if n := len(bodies[ops.WithdrawalSeenBody](h, c.Subject())); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// A window comes from the change's own ticket, or from a work order that is
// opened when the change is approved and has none.
func TestWindowOffered(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: append(slices.Clone(changesToSnow), ticket.Route{Platform: "desk", Kind: ops.TicketWorkOrder})})
		c := h.raise(ops.Change{})
		h.planned(c.ID, owner)
		h.run(time.Minute)
		if n := len(h.desk.Calls("create")); n != 0 {
			t.Errorf("a work order before the approval")
		}
		h.scheduled(c.ID, nil)
		h.run(time.Minute)
		order := h.ofChange("desk", c.ID, ops.TicketWorkOrder)
		start := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
		set := func(d interface {
			Edit(ctx context.Context, ref, by string, changed []connector.Field, f ops.TicketFields, note string) (connector.Copy, error)
		}, ref string, start time.Time, fields ...connector.Field,
		) {
			t.Helper()
			f := ops.TicketFields{PlannedStart: start, PlannedEnd: start.Add(time.Hour)}
			if _, err := d.Edit(t.Context(), ref, "anna.s", fields, f, ""); err != nil {
				t.Fatal(err)
			}
			h.run(time.Minute)
		}
		want := func(n int, ticketID string, start time.Time) {
			t.Helper()
			seen := bodies[ops.WindowOfferedBody](h, c.Subject())
			if len(seen) != n {
				t.Fatalf("%d windows told, want %d", len(seen), n)
			}
			if b := seen[n-1]; b.TicketID != ticketID || !b.Start.Equal(start) || !b.End.Equal(start.Add(time.Hour)) || b.User != "anna.s" || b.ChangeID != c.ID {
				t.Errorf("told %+v", b)
			}
		}
		set(h.ownDesk, order.Ref, start, connector.PlannedStart)
		if n := len(bodies[ops.WindowOfferedBody](h, c.Subject())); n != 0 {
			t.Errorf("half a window was told")
		}
		set(h.ownDesk, order.Ref, start, connector.PlannedEnd)
		want(1, order.ID, start)
		h.scheduled(c.ID, &ops.Occurrence{Window: "offered", Start: start, End: start.Add(time.Hour)})
		h.run(time.Hour)
		want(1, order.ID, start) // our own write of it is nobody's offer

		request := h.ofChange("snow", c.ID, ops.TicketChangeRequest)
		later := start.Add(48 * time.Hour)
		set(h.snowDesk, request.Ref, later, connector.PlannedStart, connector.PlannedEnd)
		want(2, request.ID, later)

		h.ends(c.ID, ops.ChangeClosed, ops.Successful, "done")
		h.run(time.Minute)
		got, err := h.ownDesk.Get(t.Context(), order.Ref)
		if err != nil || got.Fields.State != "resolved" {
			t.Errorf("the work order ended as %s, %v", got.Fields.State, err)
		}
		if n := len(h.desk.Calls("create")); n != 1 {
			t.Errorf("%d work orders", n)
		}
	})
}

// A note or an edit of ours that goes out between a person's edit and our next
// look must not make the edit ours: who gave the window decides whether it counts.
func TestWindowIsGivenBesideOurOwnWrites(t *testing.T) {
	t.Parallel()
	f := func(name string, ours func(h *house, c ops.Change)) {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := open(t, setup{routes: append(slices.Clone(changesToSnow), ticket.Route{Platform: "desk", Kind: ops.TicketWorkOrder})})
				c := h.raise(ops.Change{})
				h.planned(c.ID, owner)
				h.run(time.Minute)
				h.scheduled(c.ID, nil)
				h.run(time.Minute + 5*time.Second)
				order := h.ofChange("desk", c.ID, ops.TicketWorkOrder)
				start := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
				w := ops.TicketFields{PlannedStart: start, PlannedEnd: start.Add(time.Hour)}
				if _, err := h.ownDesk.Edit(t.Context(), order.Ref, "anna.s", []connector.Field{connector.PlannedStart, connector.PlannedEnd}, w, ""); err != nil {
					t.Fatal(err)
				}
				ours(h, h.changes[c.ID])
				h.run(time.Second) // before the next pull
				h.run(time.Minute)
				seen := bodies[ops.WindowOfferedBody](h, c.Subject())
				if len(seen) != 1 || seen[0].User != "anna.s" || !seen[0].Start.Equal(start) {
					t.Errorf("told %+v", seen)
				}
			})
		})
	}
	f("a note", func(h *house, c ops.Change) {
		h.tell(c.Subject(), ops.ChangeWaitingBody{ChangeID: c.ID, Why: "no window yet"})
	})
	f("an edit", func(h *house, c ops.Change) {
		c.Team = "network"
		h.changes[c.ID] = c
		h.scheduled(c.ID, nil)
	})
}

// A standard change of an incident is told there, and has a ticket of its own
// only where a route asks for one. Nobody is asked to approve it.
func TestStandardChange(t *testing.T) {
	t.Parallel()
	f := func(tickets int, routes ...ticket.Route) {
		t.Helper()
		virtual(t, func(t *testing.T) {
			h := open(t, setup{routes: append(slices.Clone(both), routes...)})
			i := h.incident(ops.High)
			h.run(time.Second)
			c := h.raise(ops.Change{Type: ops.ChangeStandard, IncidentID: i.ID, Runbook: "scale"})
			h.planned(c.ID)
			h.run(time.Second)
			if !strings.Contains(fmt.Sprint(h.shown("snow", i).Notes), "waits for approval") {
				t.Errorf("the incident's ticket does not tell of its change")
			}
			all, err := h.store.TicketsAbout(t.Context(), c.Subject())
			if err != nil || len(all) != tickets {
				t.Errorf("%d tickets of the change, %v; want %d", len(all), err, tickets)
			}
			for _, call := range h.snow.Calls("request_approval") {
				t.Errorf("somebody was asked: %+v", call)
			}
		})
	}
	f(0)
	f(1, ticket.Route{Platform: "snow", Kind: ops.TicketChangeRequest, Match: "standard"})
	f(0, ticket.Route{Platform: "snow", Kind: ops.TicketChangeRequest, Match: "normal"})
	// Any other change has one, at the desk when nobody says where.
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		c := h.raise(ops.Change{})
		h.run(time.Second)
		h.ofChange("desk", c.ID, ops.TicketChangeRequest)
	})
}

// A window that is always open plans nothing: there is no date for that, and
// Request Tracker refuses the epoch.
func TestAlwaysOpenWindowPlansNoTime(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		c = h.planned(c.ID)
		h.scheduled(c.ID, &ops.Occurrence{Window: "any-time", Start: time.Unix(0, 0), End: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)})
		h.run(time.Minute)
		if f := h.showsOf("snow", c.ID).Fields; f.State != "scheduled" || !f.PlannedStart.IsZero() || !f.PlannedEnd.IsZero() {
			t.Errorf("scheduled as %+v", f)
		}
	})
}
