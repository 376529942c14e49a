package ticket_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/ops"
)

// tasksOf returns the tasks of a change on snow.
func (h *house) tasksOf(id string) []connector.Task {
	h.Helper()
	all, err := h.snow.Tasks(h.Context(), h.ofChange("snow", id, ops.TicketChangeRequest).Ref)
	if err != nil {
		h.Fatal(err)
	}
	return all
}

// are fails unless the tasks of a change are in these states, in their order.
func (h *house) are(id string, states ...ops.TaskState) []connector.Task {
	h.Helper()
	h.run(time.Minute)
	all := h.tasksOf(id)
	var got []ops.TaskState
	for _, t := range all {
		got = append(got, t.State)
	}
	if !slices.Equal(got, states) {
		h.Fatalf("tasks %v, want %v", got, states)
	}
	return all
}

const (
	isOpen     = ops.TaskOpen
	working    = ops.TaskInProgress
	complete   = ops.TaskComplete
	incomplete = ops.TaskIncomplete
	skipped    = ops.TaskSkipped
)

// The run of a change, in the words of the tests.

func (h *house) began(id string) {
	h.Helper()
	c := h.changes[id]
	run := ops.Run{ID: "r-" + id, ChangeID: id, State: ops.RunRunning, StartedAt: time.Now()}
	c.State, c.Run = ops.ChangeImplement, &run
	h.changes[id] = c
	h.tell(c.Subject(), ops.RunBeganBody{Run: run, Change: c})
}

func (h *house) applied(id string) {
	h.Helper()
	c := h.changes[id]
	c.Run.State = ops.RunVerifying
	h.tell(c.Subject(), ops.RunAppliedBody{Run: *c.Run, Change: c})
}

func (h *house) verdict(id string, word ops.VerdictWord) {
	h.Helper()
	c := h.changes[id]
	v := ops.Verdict{ChangeID: id, RunID: c.Run.ID, Word: word, Why: "as measured", At: time.Now()}
	c.Verdict = &v
	h.changes[id] = c
	h.tell(c.Subject(), ops.VerdictGivenBody{Verdict: v})
}

func (h *house) finished(id string, state ops.RunState, outcome ops.Outcome) {
	h.Helper()
	c := h.changes[id]
	c.Run.State, c.Run.FinishedAt, c.State = state, time.Now(), ops.ChangeReview
	h.changes[id] = c
	h.tell(c.Subject(), ops.ChangeReviewedBody{Change: c, Why: "the verdict is final"})
	h.ends(id, ops.ChangeClosed, outcome, "reviewed")
}

// inWindow approves and schedules a change, and returns its window.
func (h *house) inWindow(id string) ops.Occurrence {
	h.Helper()
	h.decides(id, "anna.s", ops.Approved, "fits")
	start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	w := ops.Occurrence{Window: "night", Start: start, End: start.Add(time.Hour)}
	h.scheduled(id, &w)
	return w
}

func TestTasksFollowTheRun(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		h.steps = 1
		c := h.raise(ops.Change{})
		h.run(time.Minute)
		if all := h.tasksOf(c.ID); len(all) != 0 {
			t.Errorf("tasks without a plan: %+v", all)
		}
		c = h.planned(c.ID, owner)
		all := h.are(c.ID, isOpen, isOpen, isOpen)
		for i, want := range []connector.Task{
			{Kind: ops.TaskImplement, Order: 1, Title: "Step 1 of 2: update web-1"},
			{Kind: ops.TaskImplement, Order: 2, Title: "Step 2 of 2: create disk-2"},
			{Kind: ops.TaskVerify, Order: 3, Title: "Verify CHG-1 scale web-1 to m5.large"},
		} {
			if got := all[i]; got.Kind != want.Kind || got.Order != want.Order || got.Title != want.Title || !got.PlannedStart.IsZero() {
				t.Errorf("task %d is %+v, want %+v", i+1, got, want)
			}
		}
		for _, want := range []string{"Executor: aws", "Target: web-1", "- update web-1", "type: none -> m5.1", "apply 1m0s, roll back 30s", "revision 1, digest " + c.PlanDigest} {
			if !strings.Contains(all[0].Text, want) {
				t.Errorf("the task lacks %q:\n%s", want, all[0].Text)
			}
		}
		// Approval is asked for with the tasks in place.
		var order []string
		for _, call := range h.snow.Calls("put_task", "request_approval") {
			order = append(order, call.Op)
		}
		if !slices.Equal(order, []string{"put_task", "put_task", "put_task", "request_approval"}) {
			t.Errorf("calls %v", order)
		}
		w := h.inWindow(c.ID)
		for _, got := range h.are(c.ID, isOpen, isOpen, isOpen) {
			if !got.PlannedStart.Equal(w.Start) || !got.PlannedEnd.Equal(w.End) {
				t.Errorf("planned for %s to %s", got.PlannedStart, got.PlannedEnd)
			}
		}
		h.began(c.ID)
		h.are(c.ID, working, working, isOpen)
		h.applied(c.ID)
		h.are(c.ID, complete, complete, working)
		before := len(h.snow.Calls("put_task"))
		h.began(c.ID) // told again, and late
		h.applied(c.ID)
		h.are(c.ID, complete, complete, working)
		if n := len(h.snow.Calls("put_task")) - before; n != 0 {
			t.Errorf("the same news put %d tasks", n)
		}
		h.verdict(c.ID, ops.Better)
		if all = h.are(c.ID, complete, complete, complete); all[2].Note != "better\nas measured" || all[0].Note != "Applied." {
			t.Errorf("ended because %q and %q", all[0].Note, all[2].Note)
		}
		writes := len(h.snow.Calls("put_task"))
		h.finished(c.ID, ops.RunSucceeded, ops.Successful)
		h.are(c.ID, complete, complete, complete)
		h.run(time.Hour)
		if n := len(h.snow.Calls("put_task")) - writes; n != 0 {
			t.Errorf("%d tasks were put though nothing changed", n)
		}
		if row := h.ofChange("snow", c.ID, ops.TicketChangeRequest); row.Sync != ops.SyncOK || row.Work.Dirty || row.Seen.State != "closed" {
			t.Errorf("the ticket is %s (%s), %s", row.Sync, row.SyncNote, row.Seen.State)
		}
	})
}

// How a run can end, and what its tasks say then.
func TestTasksOfARunThatFails(t *testing.T) {
	t.Parallel()
	f := func(name string, do func(h *house, id string), states ...ops.TaskState) {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := open(t, setup{routes: changesToSnow})
				c := h.raise(ops.Change{})
				h.planned(c.ID, owner)
				h.run(time.Minute)
				h.inWindow(c.ID)
				h.run(time.Minute)
				h.began(c.ID)
				h.run(time.Minute)
				do(h, c.ID)
				h.are(c.ID, states...)
			})
		})
	}
	broke := func(h *house, id string, unknown bool) {
		h.tell(ops.ChangeSubject(id), ops.RunFailedBody{Run: *h.changes[id].Run, Error: strings.Repeat("stack rolled back ", 100), Unknown: unknown})
	}
	undone := func(h *house, id, fault string) {
		h.tell(ops.ChangeSubject(id), ops.RunRolledBackBody{Run: *h.changes[id].Run, Error: fault})
	}
	f("failed", func(h *house, id string) { broke(h, id, false) }, incomplete, isOpen)
	f("nobody knows", func(h *house, id string) { broke(h, id, true) }, working, isOpen)
	f("rolled back", func(h *house, id string) { undone(h, id, "") }, incomplete, isOpen)
	f("not rolled back", func(h *house, id string) { undone(h, id, "denied") }, working, isOpen)
	f("failed to the end", func(h *house, id string) {
		broke(h, id, false)
		h.finished(id, ops.RunFailed, ops.Unsuccessful)
	}, incomplete, skipped)
	f("worse", func(h *house, id string) {
		h.applied(id)
		h.verdict(id, ops.Worse)
		undone(h, id, "")
		h.finished(id, ops.RunRolledBack, ops.Unsuccessful)
	}, complete, incomplete)
	f("inconclusive", func(h *house, id string) {
		h.applied(id)
		h.verdict(id, ops.Inconclusive)
	}, complete, working)
	f("a person keeps it", func(h *house, id string) {
		h.applied(id)
		h.verdict(id, ops.Inconclusive)
		h.finished(id, ops.RunSucceeded, ops.SuccessfulWithIssues)
	}, complete, complete)
	f("held, then failed", func(h *house, id string) {
		broke(h, id, true)
		h.run(time.Hour)
		h.finished(id, ops.RunFailed, ops.Unsuccessful)
	}, incomplete, skipped)
}

func TestTasksOfARevision(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		h.planned(c.ID, owner)
		one := h.are(c.ID, isOpen, isOpen)
		h.edited(c.ID)
		h.are(c.ID, isOpen, isOpen) // no other plan is made yet
		h.planned(c.ID, owner)
		two := h.are(c.ID, skipped, isOpen, skipped, isOpen)
		if two[0].Key != one[0].Key || two[1].Key == one[0].Key || two[0].Note != "Replaced by the plan of revision 2." {
			t.Errorf("first %+v, then %+v", one, two)
		}
		if n := len(h.ofChange("snow", c.ID, ops.TicketChangeRequest).Work.Tasks); n != 4 {
			t.Errorf("%d tasks are kept", n)
		}
		h.edited(c.ID)
		h.planned(c.ID, owner)
		h.are(c.ID, skipped, skipped, isOpen, skipped, skipped, isOpen)
		if n := len(h.ofChange("snow", c.ID, ops.TicketChangeRequest).Work.Tasks); n != 4 {
			t.Errorf("%d tasks are kept; those long over need not be", n)
		}
		// A plan that was replaced before anybody saw it leaves no task.
		h.snow.Break(connectortest.Unavailable())
		h.edited(c.ID)
		h.planned(c.ID, owner)
		h.run(time.Second)
		h.edited(c.ID)
		h.planned(c.ID, owner)
		h.run(time.Second)
		h.snow.Mend()
		h.are(c.ID, skipped, skipped, skipped, isOpen, skipped, skipped, skipped, isOpen)
	})
}

// Every way a change can end before its run ends its tasks.
func TestTasksEndWithTheirChange(t *testing.T) {
	t.Parallel()
	for _, outcome := range []ops.Outcome{ops.Denied, ops.Withdrawn, ops.Expired, ops.Superseded, ops.MissedWindow} {
		virtual(t, func(t *testing.T) {
			h := open(t, setup{routes: changesToSnow})
			c := h.raise(ops.Change{})
			h.planned(c.ID, owner)
			h.are(c.ID, isOpen, isOpen)
			h.ends(c.ID, ops.ChangeCancelled, outcome, "because")
			all := h.are(c.ID, skipped, skipped)
			if want := string(outcome) + "\nbecause"; all[0].Note != want || all[1].Note != want {
				t.Errorf("ended because %q and %q, want %q", all[0].Note, all[1].Note, want)
			}
			// The tasks went first: many platforms let nobody edit them after that.
			calls := h.snow.Calls("put_task", "update")
			if last := calls[len(calls)-1]; last.Op != "update" {
				t.Errorf("the last call was %s", last.Op)
			}
		})
	}
}

// The answer of a task is lost, or the process dies before it kept it: the same
// task is looked for and none is made a second time.
func TestLostAnswerMakesNoSecondTask(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h, sim := serviceNow(t)
		h.steps = 2
		c := h.raise(ops.Change{})
		h.run(time.Minute)
		h.snow.Next("put_task", connectortest.Fault{}, connectortest.Fault{Err: connectortest.Unknown(), After: true})
		h.planned(c.ID, owner)
		h.run(time.Second)
		if n := len(sim.Records("change_task")); n != 2 {
			t.Fatalf("%d tasks", n)
		}
		row := h.ofChange("snow", c.ID, ops.TicketChangeRequest)
		if got := row.Work.Tasks; got[0].SentAt != (time.Time{}) || got[1].SentAt.IsZero() || !got[2].SentAt.IsZero() || got[1].Shown.State != "" {
			t.Errorf("kept as %+v", got)
		}
		h.run(30 * time.Second)
		if n := len(h.snow.Calls("put_task")); n != 2 {
			t.Errorf("it was asked again before the answer must be visible: %d calls", n)
		}
		h.run(2 * time.Minute)
		keys := map[string]int{}
		for _, r := range sim.Records("change_task") {
			keys[r["correlation_id"]]++
		}
		if len(keys) != 4 || len(sim.Records("change_task")) != 4 {
			t.Errorf("tasks by key: %v", keys)
		}
		// Beginning and end are lost as well.
		h.snow.Next("put_task", connectortest.Fault{Err: connectortest.Unknown(), After: true}, connectortest.Fault{Err: connectortest.Unknown()})
		h.ends(c.ID, ops.ChangeCancelled, ops.Expired, "nobody decided")
		h.run(10 * time.Minute)
		for _, r := range sim.Records("change_task") {
			if r["state"] != "4" {
				t.Errorf("%s is %s", r["number"], r["state"])
			}
		}
		if n := len(sim.Records("change_task")); n != 4 || sim.Records("change_request")[0]["state"] != "4" {
			t.Errorf("%d tasks, the change request is %s", n, sim.Records("change_request")[0]["state"])
		}
	})
}

// On a strict instance: it closes no change request with open tasks, takes none
// outside its change, and lets nobody edit them after its end.
func TestTasksOnServiceNow(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h, sim := serviceNow(t)
		c := h.raise(ops.Change{})
		h.planned(c.ID, owner)
		h.are(c.ID, isOpen, isOpen)
		id := ofSnow(h, c.ID)
		as(t, sim, "anna.s", "PATCH", "/api/sn_chg_rest/change/"+id+"/approvals", map[string]string{"state": "approved"})
		start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		h.scheduled(c.ID, &ops.Occurrence{Window: "night", Start: start, End: start.Add(time.Hour)})
		if got := h.are(c.ID, isOpen, isOpen); !got[0].PlannedStart.Equal(start) {
			t.Errorf("planned for %s", got[0].PlannedStart)
		}
		later := start.Add(24 * time.Hour)
		h.scheduled(c.ID, &ops.Occurrence{Window: "night", Start: later, End: later.Add(time.Hour)})
		if got := h.are(c.ID, isOpen, isOpen); !got[0].PlannedStart.Equal(later) || !got[1].PlannedEnd.Equal(later.Add(time.Hour)) {
			t.Errorf("planned for %+v", got)
		}
		h.began(c.ID)
		h.are(c.ID, working, isOpen)
		h.applied(c.ID)
		h.are(c.ID, complete, working)
		h.verdict(c.ID, ops.Unchanged)
		h.finished(c.ID, ops.RunSucceeded, ops.Successful)
		h.are(c.ID, complete, complete)
		if r := sim.Records("change_request")[0]; r["state"] != "3" {
			t.Errorf("it stands at %s", r["state"])
		}
		for _, r := range sim.Records("change_task") {
			if r["state"] != "3" || r["close_code"] != "successful" || r["close_notes"] == "" {
				t.Errorf("%s ended as %v", r["number"], r)
			}
		}
	})
	// All of it while the instance was away: it catches up, and closes.
	virtual(t, func(t *testing.T) {
		h, sim := serviceNow(t)
		c := h.raise(ops.Change{Type: ops.ChangeEmergency})
		h.run(time.Minute)
		h.snow.Break(connectortest.Unavailable())
		h.planned(c.ID)
		start := time.Now().UTC().Truncate(time.Second)
		h.scheduled(c.ID, &ops.Occurrence{Window: "night", Start: start, End: start.Add(time.Hour)})
		h.began(c.ID)
		h.applied(c.ID)
		h.verdict(c.ID, ops.Better)
		h.finished(c.ID, ops.RunSucceeded, ops.Successful)
		h.run(time.Minute)
		h.snow.Mend()
		h.are(c.ID, complete, complete)
		for _, r := range sim.Records("change_task") {
			if r["state"] != "3" {
				t.Errorf("%s is %s", r["number"], r["state"])
			}
		}
	})
}

// A task the platform does not take holds up nothing, and people are told.
func TestTaskThatIsRefused(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		h.run(time.Minute)
		h.snow.Next("put_task", connectortest.Fault{Err: fmt.Errorf("state: nobody may: %w", ops.ErrInvalid)})
		h.planned(c.ID, owner)
		h.run(time.Minute)
		got := h.showsOf("snow", c.ID)
		if !got.Asked || !strings.Contains(fmt.Sprint(got.Notes), `The task "Step 1 of 1: update web-1" could not be shown as open`) {
			t.Errorf("asked %v, notes %v", got.Asked, got.Notes)
		}
		if all := h.tasksOf(c.ID); len(all) != 1 || all[0].Kind != ops.TaskVerify {
			t.Errorf("tasks %+v", all)
		}
		if n := len(h.snow.Calls("put_task")); n != 2 {
			t.Errorf("%d tasks put", n)
		}
		// What comes next is tried again.
		h.inWindow(c.ID)
		h.are(c.ID, isOpen, isOpen)
	})
}

func TestPlanOfManySteps(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		h.steps = 49
		c := h.raise(ops.Change{})
		h.planned(c.ID, owner)
		h.run(time.Minute)
		all := h.tasksOf(c.ID)
		if len(all) != 21 || all[19].Title != "Step 20 of 50: create disk-20, and 30 more" || all[20].Order != 21 {
			t.Fatalf("%d tasks, the last are %+v", len(all), all[len(all)-2:])
		}
		if !strings.Contains(all[19].Text, "- create disk-50") || strings.Contains(all[18].Text, "disk-20") {
			t.Errorf("the last step says\n%s", all[19].Text)
		}
		if !h.showsOf("snow", c.ID).Asked {
			t.Errorf("nobody was asked")
		}
	})
}

// Whoever opens a ticket for the change later gets its tasks as well.
func TestTasksOfALateTicket(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: changesToSnow})
		c := h.raise(ops.Change{})
		h.snow.Break(connectortest.Unavailable())
		h.planned(c.ID, owner)
		h.run(time.Minute)
		h.snow.Mend()
		h.are(c.ID, isOpen, isOpen)
	})
}
