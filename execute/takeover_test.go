package execute_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/dryrun"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// died leaves the journal as a killed process does: it had begun to act.
func (h *house) died(c ops.Change) {
	h.t.Helper()
	p, err := h.gate.Plan(h.t.Context(), c.PlanID)
	if err != nil {
		h.t.Fatal(err)
	}
	err = h.db.Write(h.t.Context(), func(tx db.Tx) error {
		until := time.Now().Add(15 * time.Second)
		e, err := h.store.TakeExecution(h.t.Context(), tx, ops.Execution{ID: "apply:" + c.Run.ID, ChangeID: c.ID, RunID: c.Run.ID, Lease: "resource:" + c.ResourceID, Holder: "dead"}, until)
		if err != nil {
			return err
		}
		e.Plan = &p
		return h.store.ActExecution(h.t.Context(), tx, e, until)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestTakeOverAfterACrash(t *testing.T) {
	f := func(name string, edit func(h *house, c *ops.Change, x *counting), check func(t *testing.T, h *house, c ops.Change, x *counting)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, dryrun.Config{})
				defer h.close()
				c := h.approve(h.propose("c1"))
				x := &counting{Executor: h.opts.Executors["rehearsal"]}
				h.opts.Executors["rehearsal"] = x
				h.died(c)
				edit(h, &c, x)
				h.gate.changes["c1"] = c
				h.order(c)
				start := time.Now()
				h.run(2*time.Hour, h.idle)
				if waited := time.Since(start); waited < 15*time.Second {
					t.Errorf("the dead holder's lease was taken after %s", waited)
				}
				check(t, h, c, x)
			})
		})
	}
	f("the same plan under the same token is handed to the tool", func(*house, *ops.Change, *counting) {}, func(t *testing.T, h *house, c ops.Change, x *counting) {
		last[ops.RunAppliedBody](h, c.Subject())
		if x.applies != 1 || x.ctxErr != nil || len(h.effects().Runs) != 1 {
			t.Errorf("applies %d, context %v, effects %+v", x.applies, x.ctxErr, h.effects())
		}
	})
	f("an outcome nobody knows is told as such", func(_ *house, _ *ops.Change, x *counting) {
		x.answer = &ops.UnknownOutcome{Err: errors.New("the tool is gone")}
	}, func(t *testing.T, h *house, c ops.Change, _ *counting) {
		if b := last[ops.RunFailedBody](h, c.Subject()); !b.Unknown {
			t.Errorf("told %+v", b)
		}
	})
	f("a tool that is no longer configured leaves it unknown", func(h *house, _ *ops.Change, _ *counting) {
		delete(h.opts.Executors, "rehearsal")
	}, func(t *testing.T, h *house, c ops.Change, _ *counting) {
		if b := last[ops.RunFailedBody](h, c.Subject()); !b.Unknown || !strings.Contains(b.Error, "not configured") {
			t.Errorf("told %+v", b)
		}
	})
	f("a panic of the driver leaves it unknown", func(h *house, _ *ops.Change, _ *counting) {
		h.opts.Executors["rehearsal"] = broken{}
	}, func(t *testing.T, h *house, c ops.Change, _ *counting) {
		if b := last[ops.RunFailedBody](h, c.Subject()); !b.Unknown || !strings.Contains(b.Error, "panic") {
			t.Errorf("told %+v", b)
		}
	})
	for name, edit := range map[string]func(h *house, c *ops.Change, x *counting){
		"past the window nothing is started": func(_ *house, c *ops.Change, _ *counting) {
			c.Window.End = time.Now().Add(5 * time.Second)
		},
		"while execution is stopped nothing is started": func(h *house, _ *ops.Change, _ *counting) { h.gate.stopped = "storm" },
		"outside implement nothing is started":          func(_ *house, c *ops.Change, _ *counting) { c.State = ops.ChangeReview },
	} {
		f(name, edit, func(t *testing.T, h *house, c ops.Change, x *counting) {
			if b := last[ops.RunFailedBody](h, c.Subject()); b.Unknown || x.ctxErr == nil || len(h.effects().Runs) != 0 {
				t.Errorf("told %+v; context %v, effects %+v", b, x.ctxErr, h.effects())
			}
		})
	}
}

type broken struct{ execute.Executor }

func (broken) Apply(context.Context, execute.Token, ops.Plan, io.Writer) (execute.Result, error) {
	panic("a defect")
}

func TestOneChangeAtATimePerResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{Takes: 10 * time.Minute})
		defer h.close()
		first, second := h.approve(h.propose("c1")), h.approve(h.propose("c2"))
		h.order(first)
		h.run(time.Minute, func() bool { _, err := h.store.Execution(t.Context(), "apply:run-c1"); return err == nil })
		h.order(second)
		h.run(time.Hour, h.idle)
		a := last[ops.RunAppliedBody](h, first.Subject())
		b := last[ops.PlanMovedBody](h, second.Subject()) // the first had moved its ground
		if b.Plan.Actions[0].Before["state"] != "restart" || a.Run.AppliedAt.IsZero() {
			t.Errorf("the second began before the first had ended: %+v", b.Plan)
		}
	})
}

func TestDrain(t *testing.T) {
	f := func(name string, patience time.Duration, check func(t *testing.T, h *house, c ops.Change, err error)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, dryrun.Config{Takes: 10 * time.Minute})
				defer h.close()
				c := h.approve(h.propose("c1"))
				h.order(c)
				h.run(time.Minute, func() bool {
					e, _ := h.store.Execution(t.Context(), "apply:run-c1")
					return e.Phase == ops.ExecutionActing
				})
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				check(t, h, c, h.room.Drain(ctx))
			})
		})
	}
	f("waits for the tool", time.Hour, func(t *testing.T, h *house, c ops.Change, err error) {
		if err != nil {
			t.Errorf("drain: %v", err)
		}
		last[ops.RunAppliedBody](h, c.Subject())
	})
	f("stops the tool when patience ends", time.Minute, func(t *testing.T, h *house, c ops.Change, err error) {
		if err == nil || !strings.Contains(err.Error(), "apply:run-c1") {
			t.Errorf("drain: %v", err)
		}
		if b := last[ops.RunFailedBody](h, c.Subject()); b.Unknown || !strings.Contains(b.Error, execute.ErrStopped.Error()) {
			t.Errorf("told %+v", b)
		}
	})
}
