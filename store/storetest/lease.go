package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/lease"
	"github.com/fettleops/fettle/ops"
)

var leaseRules = []rule{
	{
		name:  "lease/table",
		why:   "the table in memory stands for the one in the database in every test of who uses leases, so both keep one specification",
		check: keepsLeases,
	},
	{
		name:  "lease/one-holder",
		why:   "of all who reach for a lease at once one gets it, or a shard is read twice at the same time",
		check: onlyOneHolds,
	},
	{
		name:  "lease/scopes",
		why:   "two integrations may have the same shard",
		check: scopesApart,
	},
	{
		name:  "lease/free",
		why:   "a change that a crash interrupted goes on at once where nobody else can be alive, and never while a replica may hold it",
		check: freesOfTheDead,
	},
}

func freesOfTheDead(t *testing.T, h *house) {
	table, until := h.store.Leases("a"), h.clock().Add(time.Hour)
	_, err := table.Take(h.ctx, "shard-1", "dead", h.clock(), until)
	must(t, err)
	take := func(holder string) (e ops.Execution, err error) {
		err = h.db.Write(h.ctx, func(tx db.Tx) (err error) {
			e, err = h.store.TakeExecution(h.ctx, tx, ops.Execution{ID: "apply:run-1", ChangeID: "c1", RunID: "run-1", Lease: "resource:r1", Holder: holder}, until)
			return err
		})
		return e, err
	}
	_, err = take("dead")
	must(t, err)
	must(t, h.store.FreeLeases(h.ctx))
	l, err := table.Take(h.ctx, "shard-1", "next", h.clock(), until)
	e, busy := take("next")
	if h.db.Engine() == db.Postgres {
		wantClass(t, "a lease a replica may hold", err, lease.ErrHeld)
		wantClass(t, "an execution a replica may be at", busy, ops.ErrConflict)
		return
	}
	must(t, err)
	must(t, busy)
	if l.Owner != "next" || l.Epoch != 2 || e.Holder != "next" || e.Epoch != 2 {
		t.Errorf("taken over: %+v, %+v", l, e)
	}
}

func keepsLeases(t *testing.T, h *house) {
	LeaseTable(t, h.store.Leases("a"))
	_, err := h.store.Leases("a").Take(h.ctx, "shard-1", "x", h.clock(), h.clock())
	wantClass(t, "a lease that is held", err, ops.ErrConflict)
}

// LeaseTable holds an empty table against the specification of lease.Table. It
// leaves shard-1 held for a long time.
func LeaseTable(t *testing.T, table lease.Table) {
	t.Helper()
	ctx, now := t.Context(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	until := now.Add(30 * time.Second)
	must(t, table.Make(ctx))
	must(t, table.Make(ctx, lease.Lease{Name: "shard-2", Checkpoint: "end"}, lease.Lease{Name: "shard-1", Checkpoint: "start", Owner: "nobody", Epoch: 7}))
	must(t, table.Make(ctx, lease.Lease{Name: "shard-1", Checkpoint: "other"}))
	list := func(want ...lease.Lease) {
		t.Helper()
		got, err := table.List(ctx)
		must(t, err)
		if len(got) != len(want) {
			t.Fatalf("leases %+v, want %+v", got, want)
		}
		for i := range got {
			if got[i].Name != want[i].Name || got[i].Owner != want[i].Owner || got[i].Epoch != want[i].Epoch || !got[i].Until.Equal(want[i].Until) || got[i].Checkpoint != want[i].Checkpoint {
				t.Errorf("lease %+v, want %+v", got[i], want[i])
			}
		}
	}
	two := lease.Lease{Name: "shard-2", Checkpoint: "end"}
	list(lease.Lease{Name: "shard-1", Checkpoint: "start"}, two)

	take := func(owner string, now, until time.Time) (lease.Lease, error) {
		return table.Take(ctx, "shard-1", owner, now, until)
	}
	a, err := take("a", now, until)
	must(t, err)
	if a.Checkpoint != "start" || a.Owner != "a" || a.Epoch != 1 || !a.Until.Equal(until) {
		t.Errorf("taken: %+v", a)
	}
	_, err = take("b", until.Add(-time.Millisecond), until.Add(time.Minute))
	wantClass(t, "a lease that holds still", err, lease.ErrHeld)
	must(t, table.Save(ctx, a, "17"))
	must(t, table.Renew(ctx, a, until.Add(time.Second)))
	_, err = take("b", until, until.Add(time.Minute))
	wantClass(t, "a lease that was renewed", err, lease.ErrHeld)
	list(lease.Lease{Name: "shard-1", Owner: "a", Epoch: 1, Until: until.Add(time.Second), Checkpoint: "17"}, two)

	// At its end it falls to who takes it, and the one before can do nothing more.
	b, err := take("b", until.Add(time.Second), until.Add(time.Minute))
	must(t, err)
	if b.Checkpoint != "17" || b.Epoch != 2 {
		t.Errorf("taken over: %+v", b)
	}
	wantClass(t, "a checkpoint of who lost it", table.Save(ctx, a, "18"), lease.ErrLost)
	wantClass(t, "a renewal of who lost it", table.Renew(ctx, a, until.Add(time.Hour)), lease.ErrLost)
	wantClass(t, "a release of who lost it", table.Release(ctx, a), lease.ErrLost)
	must(t, table.Remove(ctx, a))
	list(lease.Lease{Name: "shard-1", Owner: "b", Epoch: 2, Until: until.Add(time.Minute), Checkpoint: "17"}, two)

	// Who takes its own lease again is another holder than before.
	again, err := take("b", now, until.Add(time.Minute))
	must(t, err)
	wantClass(t, "a checkpoint from before", table.Save(ctx, b, "18"), lease.ErrLost)
	must(t, table.Save(ctx, again, "18"))
	must(t, table.Release(ctx, again))
	wantClass(t, "a checkpoint after the release", table.Save(ctx, again, "19"), lease.ErrLost)
	list(lease.Lease{Name: "shard-1", Epoch: 3, Checkpoint: "18"}, two)

	c, err := table.Take(ctx, "new", "c", now, until)
	must(t, err)
	if c.Checkpoint != "" || c.Epoch != 1 {
		t.Errorf("a lease nobody made: %+v", c)
	}
	must(t, table.Remove(ctx, c))
	must(t, table.Remove(ctx, c))
	wantClass(t, "a lease that was removed", table.Renew(ctx, c, until), lease.ErrLost)
	must(t, table.Remove(ctx, two))
	last, err := take("a", now, now.Add(1000*time.Hour))
	must(t, err)
	list(last)
}

func onlyOneHolds(t *testing.T, h *house) {
	table := h.store.Leases("a")
	must(t, table.Make(h.ctx, lease.Lease{Name: "shard", Checkpoint: "start"}))
	var mu sync.Mutex
	var got []lease.Lease
	together(func(i int) {
		l, err := table.Take(h.ctx, "shard", string(rune('A'+i)), h.clock(), h.clock().Add(time.Minute))
		if err != nil {
			if !errors.Is(err, lease.ErrHeld) {
				t.Errorf("taking: %v", err)
			}
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, l)
	})
	if len(got) != 1 || got[0].Epoch != 1 {
		t.Errorf("%d hold the lease: %+v", len(got), got)
	}
}

func scopesApart(t *testing.T, h *house) {
	a, b := h.store.Leases("a"), h.store.Leases("b")
	_, err := a.Take(h.ctx, "shard", "x", h.clock(), h.clock().Add(time.Minute))
	must(t, err)
	_, err = b.Take(h.ctx, "shard", "y", h.clock(), h.clock().Add(time.Minute))
	must(t, err)
	if got, err := b.List(h.ctx); err != nil || len(got) != 1 || got[0].Owner != "y" {
		t.Errorf("scope b: %+v, %v", got, err)
	}
}
