package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var changeRules = []rule{
	{
		name:  "change/compare-and-set",
		why:   "two replicas that decide about one change at once must not both be right",
		check: changesCompareAndSet,
	},
	{
		name:  "change/one-run",
		why:   "at most one run per plan and one unfinished run per resource, whatever fails",
		check: runsOnce,
	},
	{
		name:  "change/one-remediation",
		why:   "a runbook that is triggered again must not remediate beside itself",
		check: remediatesOnce,
	},
	{
		name:  "change/list",
		why:   "people find a change by state, resource, incident, number and words",
		check: listsChanges,
	},
	{
		name:  "change/wake",
		why:   "a change whose wake-up was lost must be found, or it sleeps for ever",
		check: findsSleepers,
	},
	{
		name:  "change/line",
		why:   "an end wakes those it held up, and not everybody who waits",
		check: wakesTheLine,
	},
	{
		name:  "change/switch",
		why:   "one switch stops all execution, and says why",
		check: switchesExecution,
	},
}

// aChange is a scheduled change with its plan.
func (h *house) aChange(n int64, resource string) (ops.Change, ops.Plan) {
	id := fmt.Sprintf("c%d", n)
	p := ops.Plan{ID: id + "-p1", ChangeID: id, Revision: 1, Digest: "d1", Text: "+ do"}
	return ops.Change{
		ID: id, Number: n, State: ops.ChangeScheduled, Title: "Grow 100% of the shop", ResourceID: resource, IncidentID: "i1", CreatedAt: h.clock(),
		PlanID: p.ID, PlanDigest: p.Digest, Revision: 1,
		Approvals: []ops.Approval{{ChangeID: id, Principal: "mia", Decision: ops.Approved, Digest: "d1", Revision: 1, At: h.clock()}},
	}, p
}

func (h *house) saveChange(c ops.Change, p ops.Plan) error {
	return h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.SaveChange(h.ctx, tx, c, p, h.clock()) })
}

func (h *house) readChange(idOrKey string) ops.Change {
	h.t.Helper()
	c, err := h.store.Change(h.ctx, idOrKey)
	must(h.t, err)
	return c
}

func changesCompareAndSet(t *testing.T, h *house) {
	c, p := h.aChange(1, "r1")
	must(t, h.saveChange(c, p))
	wantClass(t, "the same new change again", h.saveChange(c, p), ops.ErrConflict)
	c = h.readChange("chg-1")
	if c.Version != 1 || c.Approvals[0].Principal != "mia" || h.readChange("c1").Key() != "CHG-1" {
		t.Errorf("read back %+v", c)
	}
	c.State = ops.ChangeAssess
	must(t, h.saveChange(c, p))
	wantClass(t, "a change that has moved on", h.saveChange(c, p), ops.ErrConflict)
	h.write(func(tx db.Tx) error {
		loaded, plan, wake, err := h.store.LoadChange(h.ctx, tx, "CHG-1")
		if loaded.Version != 2 || plan.Text != "+ do" || !wake.Equal(h.clock()) {
			t.Errorf("loaded version %d, plan %q, wake %s", loaded.Version, plan.Text, wake)
		}
		return err
	})
	if plans, err := h.store.PlansOfChange(h.ctx, "c1"); err != nil || len(plans) != 1 {
		t.Errorf("plans: %v, %v", plans, err)
	}
	_, err := h.store.Change(h.ctx, "CHG-99")
	wantClass(t, "a missing key", err, ops.ErrNotFound)
	_, err = h.store.Change(h.ctx, "CHG-x")
	wantClass(t, "a bad key", err, ops.ErrInvalid)
	_, err = h.store.Plan(h.ctx, "nope")
	wantClass(t, "a missing plan", err, ops.ErrNotFound)
	_, err = h.store.Run(h.ctx, "nope")
	wantClass(t, "a missing run", err, ops.ErrNotFound)
}

func runsOnce(t *testing.T, h *house) {
	c1, p1 := h.aChange(1, "r1")
	c1.Run = &ops.Run{ID: "run1", PlanID: p1.ID, State: ops.RunQueued, StartedAt: h.clock()}
	must(t, h.saveChange(c1, p1))
	twice := h.readChange("c1")
	twice.Run = &ops.Run{ID: "run2", PlanID: p1.ID, State: ops.RunQueued}
	wantClass(t, "a second run of a plan", h.saveChange(twice, p1), ops.ErrConflict)
	c2, p2 := h.aChange(2, "r1")
	c2.Run = &ops.Run{ID: "run3", PlanID: p2.ID, State: ops.RunQueued, StartedAt: h.clock()}
	wantClass(t, "a second run on a resource", h.saveChange(c2, p2), ops.ErrConflict)
	// The indexes refuse what does not come this way, too.
	err := h.db.Write(h.ctx, func(tx db.Tx) error {
		_, err := tx.Exec(h.ctx, "INSERT INTO run SELECT 'other', change_id, 'c1-p2', lock, resource_id, automated, state, started_at, body FROM run WHERE id = 'run1'")
		return err
	})
	if err == nil {
		t.Error("the schema lets two unfinished runs hold one lock")
	}
	h.write(func(tx db.Tx) error {
		holder, err := h.store.LockHolder(h.ctx, tx, c1.Lock(), "c2")
		if holder != "CHG-1" {
			t.Errorf("the lock is held by %q", holder)
		}
		return err
	})
	beside := func(except string, want ...string) {
		t.Helper()
		h.write(func(tx db.Tx) error {
			ids, err := h.store.RunningResources(h.ctx, tx, except)
			if !slices.Equal(ids, want) {
				t.Errorf("beside %s run %v, want %v", except, ids, want)
			}
			return err
		})
	}
	beside("c2", "r1")
	beside("c1")
	h.write(func(tx db.Tx) error {
		waits, plan := h.aChange(3, "r3")
		waits.State = ops.ChangeScheduled
		return h.store.SaveChange(h.ctx, tx, waits, plan, time.Time{})
	})
	h.write(func(tx db.Tx) error {
		needs := []string{"r3"}
		for i := range 1200 { // more than one statement takes
			needs = append(needs, fmt.Sprintf("other%d", i))
		}
		found, err := h.store.UnderWay(h.ctx, tx, needs, "c1")
		if len(found) != 1 || found[0].ID != "c3" || found[0].Version != 1 {
			t.Errorf("under way: %+v", found)
		}
		if found, err := h.store.UnderWay(h.ctx, tx, []string{"r3"}, "c3"); len(found) != 0 || err != nil {
			t.Errorf("under way beside itself: %+v %v", found, err)
		}
		return err
	})
	done := h.readChange("c1")
	done.State, done.Run.State = ops.ChangeClosed, ops.RunSucceeded
	must(t, h.saveChange(done, p1))
	must(t, h.saveChange(c2, p2))
	if run, err := h.store.Run(h.ctx, "run1"); err != nil || run.State != ops.RunSucceeded {
		t.Errorf("the run is %+v, %v", run, err)
	}
	if runs, err := h.store.RunsOfChange(h.ctx, "c2"); err != nil || len(runs) != 1 {
		t.Errorf("runs: %v, %v", runs, err)
	}
}

func remediatesOnce(t *testing.T, h *house) {
	c1, p1 := h.aChange(1, "r1")
	c1.Runbook, c1.Run = "cpu", &ops.Run{ID: "run1", PlanID: p1.ID, State: ops.RunRunning, StartedAt: h.clock()}
	must(t, h.saveChange(c1, p1))
	c2, p2 := h.aChange(2, "r1")
	c2.Runbook = "cpu"
	wantClass(t, "a second live change", h.saveChange(c2, p2), ops.ErrConflict)
	history := func(wantLive string, wantEnded time.Time) {
		t.Helper()
		h.write(func(tx db.Tx) error {
			live, ended, err := h.store.RunbookHistory(h.ctx, tx, "cpu", "r1")
			if live != wantLive || !ended.Equal(wantEnded) {
				t.Errorf("history is %q, %s, want %q, %s", live, ended, wantLive, wantEnded)
			}
			return err
		})
	}
	history("CHG-1", time.Time{})
	h.write(func(tx db.Tx) error {
		at, resources, err := h.store.AutomatedStarts(h.ctx, tx, h.clock().Add(-time.Second), 10)
		if len(at) != 1 || !at[0].Equal(h.clock()) || resources[0] != "r1" {
			t.Errorf("starts %v of %v", at, resources)
		}
		return err
	})
	done := h.readChange("c1")
	done.State, done.Run.State, done.ClosedAt = ops.ChangeClosed, ops.RunFailed, h.clock()
	must(t, h.saveChange(done, p1))
	history("", done.ClosedAt)
	h.pass(time.Second)
	c2.Run = &ops.Run{ID: "run2", PlanID: p2.ID, State: ops.RunRunning, StartedAt: h.clock()}
	must(t, h.saveChange(c2, p2))
	h.write(func(tx db.Tx) error {
		at, _, err := h.store.AutomatedStarts(h.ctx, tx, h.clock().Add(-time.Minute), 1)
		if len(at) != 1 || !at[0].Equal(h.clock()) {
			t.Errorf("the newest start is %v, want only %s", at, h.clock())
		}
		must(t, err)
		if at, _, err = h.store.AutomatedStarts(h.ctx, tx, h.clock().Add(-time.Minute), 10); len(at) != 2 || !at[0].Before(at[1]) {
			t.Errorf("the starts are %v, want two, oldest first", at)
		}
		return err
	})
}

func listsChanges(t *testing.T, h *house) {
	for n, resource := range []string{"r1", "r1", "r2"} {
		c, p := h.aChange(int64(n+1), resource)
		if n == 0 {
			c.State = ops.ChangeClosed
		}
		must(t, h.saveChange(c, p))
	}
	f := func(filter ops.ChangeFilter, want ...string) {
		t.Helper()
		found, err := h.store.Changes(h.ctx, filter)
		must(t, err)
		var got []string
		for _, c := range found {
			got = append(got, c.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v finds %v, want %v", filter, got, want)
		}
	}
	f(ops.ChangeFilter{}, "c3", "c2", "c1")
	f(ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeClosed, ops.ChangeNew}}, "c1")
	f(ops.ChangeFilter{Resource: "r1", Limit: 1}, "c2")
	f(ops.ChangeFilter{Incident: "i1", Before: 2}, "c1")
	f(ops.ChangeFilter{Text: "GROW 100%"}, "c3", "c2", "c1")
	f(ops.ChangeFilter{Text: "%x"})
	f(ops.ChangeFilter{Text: "chg-2"}, "c2")
	if of, err := h.store.ChangesOfIncident(h.ctx, "i1"); err != nil || len(of) != 3 {
		t.Errorf("%d changes of the incident, %v", len(of), err)
	}
}

func findsSleepers(t *testing.T, h *house) {
	for n := range int64(2) {
		c, p := h.aChange(n+1, "r1")
		if n == 1 {
			c.State = ops.ChangeAuthorize
		}
		must(t, h.saveChange(c, p))
	}
	due := h.clock()
	late, err := h.store.OverdueChanges(h.ctx, due.Add(time.Millisecond), 10)
	if err != nil || len(late) != 2 || !late["c2"].Equal(due) {
		t.Errorf("overdue %v, %v", late, err)
	}
	if late, err = h.store.OverdueChanges(h.ctx, due, 10); err != nil || len(late) != 0 {
		t.Errorf("overdue before the time: %v, %v", late, err)
	}
	h.pass(time.Minute)
	h.write(func(tx db.Tx) error {
		ids, err := h.store.WakeScheduled(h.ctx, tx, h.clock())
		if !slices.Equal(ids, []string{"c1"}) {
			t.Errorf("woke %v, want c1, the only one in scheduled", ids)
		}
		return err
	})
}

// Those of the resources first, then the oldest of the rest; neither who does
// not stand in line nor who is due already.
func wakesTheLine(t *testing.T, h *house) {
	for n := range int64(7) {
		c, p := h.aChange(n+1, fmt.Sprintf("r%d", n+1))
		if n == 4 {
			c.State = ops.ChangeAuthorize
		}
		must(t, h.saveChange(c, p))
	}
	now := h.clock().Add(-time.Minute)
	h.write(func(tx db.Tx) error {
		for _, id := range []string{"c2", "c3", "c4", "c5", "c6", "c7"} {
			h.store.StandInLine(h.ctx, tx, id, true)
		}
		h.store.StandInLine(h.ctx, tx, "c3", false)
		return nil
	})
	f := func(resources []string, most int, want ...string) {
		t.Helper()
		h.write(func(tx db.Tx) error {
			got, err := h.store.WakeLine(h.ctx, tx, now, resources, most)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("woke %v, want %v", got, want)
			}
			return err
		})
	}
	f([]string{"r6", "r3", "r5", ""}, 1, "c2", "c6")
	f(nil, 0)
	f([]string{"r6"}, 0)
	f(nil, 5, "c4", "c7")
	f(nil, 5)
	if _, _, due, err := loadChange(h, "c7"); err != nil || !due.Equal(now) {
		t.Errorf("c7 is due at %s, %v, want %s", due, err, now)
	}
}

func loadChange(h *house, id string) (c ops.Change, p ops.Plan, due time.Time, err error) {
	h.write(func(tx db.Tx) error {
		c, p, due, err = h.store.LoadChange(h.ctx, tx, id)
		return nil
	})
	return c, p, due, err
}

func switchesExecution(t *testing.T, h *house) {
	f := func(reason string, stopped bool) {
		t.Helper()
		h.write(func(tx db.Tx) error { return h.store.SetExecutionStopped(h.ctx, tx, reason, stopped) })
		if got, is, err := h.store.ExecutionStopped(h.ctx); err != nil || is != stopped || got != reason {
			t.Errorf("the switch says %q, %v, %v, want %q, %v", got, is, err, reason, stopped)
		}
	}
	f("smoke", true)
	f("fire", true)
	f("", false)
}
