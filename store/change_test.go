package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

func TestChange(t *testing.T) {
	ctx := context.Background()
	d, err := db.OpenSQLite(ctx, filepath.Join(t.TempDir(), "f.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := store.Migrate(ctx, d); err != nil {
		t.Fatal(err)
	}
	s := store.New(d, time.Now)
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	save := func(c ops.Change, p ops.Plan, want error) {
		t.Helper()
		err := d.Write(ctx, func(tx db.Tx) error { return s.SaveChange(ctx, tx, c, p, now) })
		if !errors.Is(err, want) {
			t.Errorf("save %s: %v, want %v", c.ID, err, want)
		}
	}
	read := func(idOrKey string) ops.Change {
		t.Helper()
		c, err := s.Change(ctx, idOrKey)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	made := func(n int64, resource string) (ops.Change, ops.Plan) {
		id := fmt.Sprintf("c%d", n)
		p := ops.Plan{ID: id + "-p1", ChangeID: id, Revision: 1, Digest: "d1", Text: "+ do"}
		return ops.Change{
			ID: id, Number: n, State: ops.ChangeScheduled, Title: "Grow 100% of the shop", ResourceID: resource, IncidentID: "i1", PlanID: p.ID, PlanDigest: "d1", Revision: 1,
			Approvals: []ops.Approval{{ChangeID: id, Principal: "mia", Decision: ops.Approved, Digest: "d1", Revision: 1, At: now}},
		}, p
	}
	c1, p1 := made(1, "r1")
	save(c1, p1, nil)
	save(c1, p1, ops.ErrConflict) // it exists
	c := read("chg-1")
	if c.Version != 1 || c.Approvals[0].Principal != "mia" || read("c1").Key() != "CHG-1" {
		t.Errorf("read %+v", c)
	}
	c.State = ops.ChangeImplement
	c.Run = &ops.Run{ID: "run1", PlanID: p1.ID, State: ops.RunQueued, StartedAt: now}
	save(c, p1, nil)
	save(c, p1, ops.ErrConflict) // version 1 has moved on

	// At most one run per plan, and one unfinished per resource.
	again := read("c1")
	again.Run = &ops.Run{ID: "run2", PlanID: p1.ID, State: ops.RunQueued}
	save(again, p1, ops.ErrConflict)
	c2, p2 := made(2, "r1")
	c2.Run = &ops.Run{ID: "run3", PlanID: p2.ID, State: ops.RunQueued, StartedAt: now}
	save(c2, p2, ops.ErrConflict)
	done := read("c1")
	done.State, done.Run.State, done.ClosedAt = ops.ChangeClosed, ops.RunSucceeded, now
	save(done, p1, nil)
	save(c2, p2, nil)
	if run, err := s.Run(ctx, "run1"); err != nil || run.State != ops.RunSucceeded {
		t.Errorf("run1: %+v %v", run, err)
	}

	// At most one live change per runbook and resource.
	c3, p3 := made(3, "r2")
	c3.Runbook, c3.Run = "cpu", &ops.Run{ID: "run4", PlanID: p3.ID, State: ops.RunRunning, StartedAt: now}
	save(c3, p3, nil)
	c4, p4 := made(4, "r2")
	c4.Runbook = "cpu"
	save(c4, p4, ops.ErrConflict)
	err = d.Write(ctx, func(tx db.Tx) error {
		live, ended, err := s.RunbookHistory(ctx, tx, "cpu", "r2")
		if err != nil || live != "CHG-3" || !ended.IsZero() {
			t.Errorf("history: %q %s %v", live, ended, err)
		}
		holder, err := s.LockHolder(ctx, tx, c3.Lock(), "c9")
		if err != nil || holder != "CHG-3" {
			t.Errorf("holder: %q %v", holder, err)
		}
		if holder, err = s.LockHolder(ctx, tx, c3.Lock(), "c3"); err != nil || holder != "" {
			t.Errorf("holder beside itself: %q %v", holder, err)
		}
		at, resources, err := s.AutomatedStarts(ctx, tx, now.Add(-time.Second))
		if err != nil || len(at) != 1 || !at[0].Equal(now) || resources[0] != "r2" {
			t.Errorf("starts: %v %v %v", at, resources, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	list := func(f ops.ChangeFilter, want ...string) {
		t.Helper()
		got, err := s.Changes(ctx, f)
		if err != nil || len(got) != len(want) {
			t.Errorf("%+v: %d changes, %v, want %v", f, len(got), err, want)
			return
		}
		for i := range got {
			if got[i].ID != want[i] {
				t.Errorf("%+v: %s at %d, want %s", f, got[i].ID, i, want[i])
			}
		}
	}
	list(ops.ChangeFilter{}, "c3", "c2", "c1")
	list(ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeClosed}}, "c1")
	list(ops.ChangeFilter{Resource: "r1", Limit: 1}, "c2")
	list(ops.ChangeFilter{Incident: "i1", Before: 2}, "c1")
	list(ops.ChangeFilter{Text: "100%"}, "c3", "c2", "c1")
	list(ops.ChangeFilter{Text: "%x"})
	list(ops.ChangeFilter{Text: "chg-2"}, "c2")
	if p, err := s.Plan(ctx, p1.ID); err != nil || p.Text != "+ do" {
		t.Errorf("plan: %+v %v", p, err)
	}
	for _, missing := range []error{second(s.Change(ctx, "CHG-99")), second(s.Change(ctx, "nope")), second(s.Plan(ctx, "nope")), second(s.Run(ctx, "nope"))} {
		if !errors.Is(missing, ops.ErrNotFound) {
			t.Errorf("missing: %v", missing)
		}
	}
	if _, err := s.Change(ctx, "CHG-x"); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("CHG-x: %v", err)
	}
	late, err := s.OverdueChanges(ctx, now.Add(time.Millisecond), 10)
	if err != nil || len(late) != 2 || !late["c2"].Equal(now) {
		t.Errorf("overdue: %v %v", late, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestExecutionSwitch(t *testing.T) {
	ctx := context.Background()
	d, err := db.OpenSQLite(ctx, filepath.Join(t.TempDir(), "f.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := store.Migrate(ctx, d); err != nil {
		t.Fatal(err)
	}
	s := store.New(d, time.Now)
	set := func(reason string, stopped bool) {
		t.Helper()
		if err := d.Write(ctx, func(tx db.Tx) error { return s.SetExecutionStopped(ctx, tx, reason, stopped) }); err != nil {
			t.Fatal(err)
		}
		if got, is, err := s.ExecutionStopped(ctx); err != nil || is != stopped || (stopped && got != reason) {
			t.Errorf("switch: %q %v %v", got, is, err)
		}
	}
	set("smoke", true)
	set("fire", true)
	set("", false)
	if err := store.MigrateDown(ctx, d); err != nil {
		t.Errorf("migrate down: %v", err)
	}
}
