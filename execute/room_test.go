package execute_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/dryrun"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/job/jobtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// gate is the change room as the execute room sees it.
type gate struct {
	changes map[string]ops.Change
	plans   map[string]ops.Plan
	stopped string
	denied  string // what the gate says right before a tool acts
}

func (g *gate) MayAct(context.Context, ops.Change, time.Duration) (string, error) {
	return g.denied, nil
}

func (g *gate) Change(_ context.Context, id string) (ops.Change, error) {
	c, ok := g.changes[id]
	if !ok {
		return c, fmt.Errorf("change %s: %w", id, ops.ErrNotFound)
	}
	return c, nil
}

func (g *gate) Plan(_ context.Context, id string) (ops.Plan, error) {
	p, ok := g.plans[id]
	if !ok {
		return p, fmt.Errorf("plan %s: %w", id, ops.ErrNotFound)
	}
	return p, nil
}

func (g *gate) ExecutionStopped(context.Context) (string, bool, error) {
	return g.stopped, g.stopped != "", nil
}

// house is the execute room with its neighbours, on SQLite.
type house struct {
	t     *testing.T
	db    *db.DB
	store *store.Store
	queue *jobtest.Queue
	gate  *gate
	dir   string // of the dry-run executor
	opts  execute.Options
	room  *execute.Room
}

func newHouse(t *testing.T, cfg dryrun.Config) *house {
	t.Helper()
	return openHouse(t, dbtest.Dir(t), cfg, "one")
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func openHouse(t *testing.T, dir string, cfg dryrun.Config, holder string) *house {
	t.Helper()
	ctx := t.Context()
	d := schema.OpenAt(t, filepath.Join(dir, "fettle.db"))
	s := store.New(d, time.Now)
	h := &house{t: t, db: d, store: s, queue: jobtest.New(d, s), gate: &gate{changes: map[string]ops.Change{}, plans: map[string]ops.Plan{}}, dir: dir}
	x, err := dryrun.Open(ctx, cfg, execute.Env{Name: "rehearsal", Host: "here", Dir: dir, Marks: s.ExecutionMarks("rehearsal"), Redact: redact, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.opts = execute.Options{
		DB: d, Journal: s, Facts: s, Changes: h.gate, Switch: h.gate, Gate: h.gate,
		Executors: map[string]execute.Executor{"rehearsal": x}, NewID: s.NewID, Redact: redact,
		Clock: time.Now, Log: slog.New(slog.DiscardHandler), Holder: holder,
	}
	h.reopen()
	return h
}

// reopen makes the room by the options as they are now.
func (h *house) reopen() {
	h.room = execute.New(h.opts)
	h.room.Register(h.queue)
}

// close ends what a bubble must not leave behind.
func (h *house) close() {
	h.t.Helper()
	if err := h.room.Drain(context.Background()); err != nil {
		h.t.Errorf("drain: %v", err)
	}
	if err := h.db.Close(); err != nil {
		h.t.Errorf("close: %v", err)
	}
}

func redact(s string) string { return strings.ReplaceAll(s, "s3cr3t", "<redacted>") }

// propose puts a change in front of the room and lets it plan.
func (h *house) propose(id string) ops.Change {
	h.t.Helper()
	c := ops.Change{ID: id, Number: int64(len(h.gate.changes) + 1), Type: ops.ChangeStandard, State: ops.ChangeAssess, Executor: "rehearsal", Action: "restart", Resource: "shop", ResourceID: "r1", Revision: 1}
	h.gate.changes[id] = c
	h.queue.Add(ops.NewCommand(ops.MakePlan, c.Subject(), ops.MakePlanBody{ChangeID: id, Revision: 1}))
	h.run(time.Minute, func() bool { return len(h.facts(ops.PlanMade, c.Subject())) == 1 })
	made := last[ops.PlanMadeBody](h, c.Subject())
	h.gate.plans[made.Plan.ID] = made.Plan
	c.PlanID, c.PlanDigest = made.Plan.ID, made.Plan.Digest
	h.gate.changes[id] = c
	return c
}

// approve is all it takes for the change to run, in a window of an hour from now.
func (h *house) approve(c ops.Change) ops.Change {
	now := time.Now().UTC()
	c.State, c.Approve = ops.ChangeImplement, "policy standard"
	c.Window = &ops.Occurrence{Window: "night", Start: now, End: now.Add(time.Hour), Cutoff: now.Add(50 * time.Minute)}
	c.Run = &ops.Run{ID: "run-" + c.ID, ChangeID: c.ID, PlanID: c.PlanID, Digest: c.PlanDigest, State: ops.RunQueued, Token: "token-" + c.ID}
	h.gate.changes[c.ID] = c
	return c
}

func (h *house) order(c ops.Change) {
	h.queue.Add(ops.NewCommand(ops.ApplyPlan, c.Subject(), ops.ApplyPlanBody{ChangeID: c.ID, RunID: c.Run.ID}))
}

func (h *house) run(limit time.Duration, done func() bool) {
	h.t.Helper()
	if err := h.queue.Run(h.t.Context(), limit, done); err != nil {
		h.t.Fatal(err)
	}
}

// idle is true when no command waits.
func (h *house) idle() bool { return h.queue.Waiting() == 0 }

func (h *house) facts(kind ops.FactKind, subject string) []ops.Fact {
	h.t.Helper()
	all, err := h.store.FactsAbout(h.t.Context(), subject)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []ops.Fact
	for _, f := range all {
		if f.Kind == kind {
			out = append(out, f)
		}
	}
	return out
}

// last returns the one fact of T's kind about subject.
func last[T ops.FactBody](h *house, subject string) T {
	h.t.Helper()
	var zero T
	facts := h.facts(zero.FactKind(), subject)
	if len(facts) != 1 {
		all, _ := h.store.FactsAbout(h.t.Context(), subject)
		h.t.Fatalf("%d facts %s about %s, want one; all: %v", len(facts), zero.FactKind(), subject, all)
	}
	b, err := ops.Body[T](facts[0])
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *house) effects() dryrun.Effects {
	h.t.Helper()
	e, err := dryrun.Read(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

func TestPlanIsToldOncePerRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		c := h.propose("c1")
		h.queue.Add(ops.NewCommand(ops.MakePlan, c.Subject(), ops.MakePlanBody{ChangeID: "c1", Revision: 1}))
		h.run(time.Minute, h.idle)
		p := last[ops.PlanMadeBody](h, c.Subject()).Plan
		if p.Digest != p.ComputeDigest() || p.Executor != "rehearsal" || p.Revision != 1 || p.ChangeID != "c1" || p.ID == "" {
			t.Errorf("the plan is incomplete: %+v", p)
		}
		if len(h.effects().Runs) != 0 {
			t.Error("planning had an effect")
		}
	})
}

func TestUnknownExecutorIsRefusedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		h.gate.changes["c1"] = ops.Change{ID: "c1", State: ops.ChangeAssess, Executor: "terraform"}
		h.queue.Add(ops.NewCommand(ops.MakePlan, ops.ChangeSubject("c1"), ops.MakePlanBody{ChangeID: "c1"}))
		h.run(time.Minute, h.idle)
		b := last[ops.PlanFailedBody](h, ops.ChangeSubject("c1"))
		if !strings.Contains(b.Error, `"terraform"`) || !strings.Contains(b.Error, "rehearsal") {
			t.Errorf("the refusal %q does not name both", b.Error)
		}
	})
}

// A value that moves without changing the decision does not void an approval.
func TestDecisionNotValueIsPartOfTheDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		value := 85.0
		o := h.opts
		o.Measurer = measurer(func() float64 { return value })
		o.DecideFunc = func(_ context.Context, _ ops.Change, v float64) (string, error) {
			if v > 90 {
				return "scale", nil
			}
			return "restart", nil
		}
		h.room = execute.New(o)
		h.room.Register(h.queue)
		digest := func(v float64) string {
			value = v
			id := fmt.Sprint("c", v)
			h.gate.changes[id] = ops.Change{ID: id, State: ops.ChangeNew, Executor: "rehearsal", Action: "restart", Trigger: &ops.Alert{Context: ops.AlertContext{Metric: "cpu"}}}
			h.queue.Add(ops.NewCommand(ops.MakePlan, ops.ChangeSubject(id), ops.MakePlanBody{ChangeID: id}))
			h.run(time.Minute, h.idle)
			p := last[ops.PlanMadeBody](h, ops.ChangeSubject(id)).Plan
			if want := fmt.Sprintf("cpu is %g now", v); !strings.Contains(p.Text, want) {
				t.Errorf("%q does not say %q", p.Text, want)
			}
			return p.Digest
		}
		if digest(85) != digest(89) {
			t.Error("85 and 89 lead to the same step and to two digests")
		}
		if digest(89.5) == digest(91) {
			t.Error("89.5 and 91 lead to two steps and to one digest")
		}
	})
}

type measurer func() float64

func (m measurer) Measure(context.Context, ops.Alert) (float64, bool, error) { return m(), true, nil }

func TestApplyTellsWhatHappenedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{Takes: 3 * time.Minute, Says: "password s3cr3t"})
		defer h.close()
		c := h.approve(h.propose("c1"))
		h.order(c)
		h.order(c) // delivered twice
		h.run(10*time.Minute, h.idle)
		h.order(c) // and once more when all is over
		h.run(10*time.Minute, h.idle)
		b := last[ops.RunAppliedBody](h, c.Subject())
		if b.Run.Output != "password <redacted>\n" || b.Run.AppliedAt.Sub(b.Run.StartedAt) < 3*time.Minute || b.Change.ID != "c1" {
			t.Errorf("told %+v", b.Run)
		}
		if e := h.effects(); e.State["shop"] != "restart" || len(e.Runs) != 1 {
			t.Errorf("effects %+v", e)
		}
		e, err := h.store.Execution(t.Context(), "apply:run-c1")
		if err != nil || e.Phase != ops.ExecutionEnded || e.Plan == nil || e.Plan.Digest != c.PlanDigest || e.Output == "" {
			t.Errorf("journal %+v, %v", e, err)
		}
	})
}

// Everything is checked once more at the actuator, whatever the gate said.
func TestActuatorRefuses(t *testing.T) {
	f := func(name, want string, edit func(h *house, c *ops.Change)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, dryrun.Config{})
				defer h.close()
				c := h.approve(h.propose("c1"))
				edit(h, &c)
				h.gate.changes["c1"] = c
				h.order(c)
				h.run(2*time.Hour, h.idle)
				b := last[ops.RunFailedBody](h, c.Subject())
				if !strings.Contains(b.Error, want) || !strings.HasPrefix(b.Error, "not started: ") || b.Unknown {
					t.Errorf("told %q, unknown %v; want %q", b.Error, b.Unknown, want)
				}
				if len(h.effects().Runs) != 0 {
					t.Error("it ran all the same")
				}
			})
		})
	}
	f("before approval", "in authorize", func(_ *house, c *ops.Change) { c.State = ops.ChangeAuthorize })
	f("cancelled", "in cancelled", func(_ *house, c *ops.Change) { c.State = ops.ChangeCancelled })
	f("run ended", "run is failed", func(_ *house, c *ops.Change) { c.Run.State = ops.RunFailed })
	f("planned again since", "current plan", func(_ *house, c *ops.Change) { c.PlanDigest = "other" })
	f("no approval", "not approved", func(_ *house, c *ops.Change) { c.Type = ops.ChangeNormal })
	f("standard without its policy", "not approved", func(_ *house, c *ops.Change) { c.Approve = "" })
	f("approval of another digest", "not approved", func(_ *house, c *ops.Change) {
		c.Type, c.Approvals = ops.ChangeNormal, []ops.Approval{{Decision: ops.Approved, Digest: "other"}}
	})
	f("void approval", "not approved", func(_ *house, c *ops.Change) {
		c.Type, c.Approvals = ops.ChangeNormal, []ops.Approval{{Decision: ops.Approved, Digest: c.PlanDigest, Void: "expired"}}
	})
	f("approved and denied", "denied", func(_ *house, c *ops.Change) {
		c.Approvals = []ops.Approval{{Decision: ops.Approved, Digest: c.PlanDigest}, {Decision: ops.Refused, Digest: c.PlanDigest}}
	})
	f("no window", "no window", func(_ *house, c *ops.Change) { c.Window = nil })
	f("past the cutoff", "nothing starts", func(_ *house, c *ops.Change) { c.Window.Cutoff = c.Window.Start })
	f("no time to roll back", "need 2s", func(_ *house, c *ops.Change) { c.Window.End = c.Window.Start.Add(1500 * time.Millisecond) })
	f("the kept plan was altered", "approved digest", func(h *house, c *ops.Change) {
		p := h.gate.plans[c.PlanID]
		p.Target = "elsewhere"
		h.gate.plans[c.PlanID] = p
	})
	f("frozen since", "the freeze year-end denies it", func(h *house, _ *ops.Change) { h.gate.denied = "the freeze year-end denies it" })
	f("stopped until the window is over", "nothing starts", func(h *house, _ *ops.Change) { h.gate.stopped = "storm" })
}

func TestRunWaitsForItsWindowAndTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		c := h.approve(h.propose("c1"))
		opens := time.Now().Add(20 * time.Minute).UTC()
		c.Window.Start = opens
		h.gate.stopped = "storm"
		h.order(c)
		h.run(time.Hour, func() bool { return time.Now().After(opens.Add(5 * time.Minute)) })
		if len(h.effects().Runs) != 0 {
			t.Fatal("it ran while execution was stopped")
		}
		h.gate.stopped = ""
		h.run(time.Hour, h.idle)
		if b := last[ops.RunAppliedBody](h, c.Subject()); b.Run.StartedAt.Before(opens.Add(5 * time.Minute)) {
			t.Errorf("it started at %s", b.Run.StartedAt)
		}
	})
}

func TestPlanThatMovedIsNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		c := h.approve(h.propose("c1"))
		other := h.propose("c2")
		other.Action = "stop"
		x := h.opts.Executors["rehearsal"]
		p, err := x.Plan(t.Context(), execute.Request{Change: other})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Apply(t.Context(), "by hand", p, io.Discard); err != nil {
			t.Fatal(err)
		}
		h.order(c)
		h.run(time.Minute, h.idle)
		b := last[ops.PlanMovedBody](h, c.Subject())
		if want := "shop before state:\n- untouched\n+ stop"; !strings.Contains(b.Moved, want) || b.Approved != c.PlanDigest || b.Plan.Digest == c.PlanDigest {
			t.Errorf("told %+v; want %q", b, want)
		}
		if h.effects().State["shop"] != "stop" {
			t.Error("it was applied all the same")
		}
	})
}

func TestWindowEndStopsTheTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{Takes: 2 * time.Hour, Estimate: 10 * time.Minute})
		defer h.close()
		c := h.approve(h.propose("c1"))
		c.Run.State = ops.RunQueued
		// The estimate was wrong; the tool would go on after the window.
		p := h.gate.plans[c.PlanID]
		p.ApplySecs, p.RollbackSecs = 600, 600
		h.gate.plans[c.PlanID] = p
		o := h.opts
		o.Executors = map[string]execute.Executor{"rehearsal": hasty{h.opts.Executors["rehearsal"]}}
		h.room = execute.New(o)
		h.room.Register(h.queue)
		h.order(c)
		h.run(3*time.Hour, h.idle)
		b := last[ops.RunFailedBody](h, c.Subject())
		if !strings.Contains(b.Error, "only the time to roll back") || b.Run.AppliedAt.After(c.Window.End.Add(-10*time.Minute)) {
			t.Errorf("told %q at %s, the window ends at %s", b.Error, b.Run.AppliedAt, c.Window.End)
		}
	})
}

// hasty underestimates.
type hasty struct{ execute.Executor }

func (x hasty) Plan(ctx context.Context, r execute.Request) (ops.Plan, error) {
	p, err := x.Executor.Plan(ctx, r)
	p.ApplySecs, p.RollbackSecs = 600, 600
	return p, err
}

func TestRollBackUndoesWhatWasApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		c := h.approve(h.propose("c1"))
		h.order(c)
		h.run(time.Minute, h.idle)
		c.Run.State = ops.RunRollingBack
		undo := ops.NewCommand(ops.RollBackRun, c.Subject(), ops.RollBackRunBody{ChangeID: c.ID, RunID: c.Run.ID, Why: "worse"})
		h.queue.Add(undo, undo)
		h.run(time.Minute, h.idle)
		if b := last[ops.RunRolledBackBody](h, c.Subject()); b.Error != "" {
			t.Errorf("told %+v", b)
		}
		if e := h.effects(); e.State["shop"] != "untouched" {
			t.Errorf("effects %+v", e)
		}
	})
}

func TestRollBackOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		c := h.approve(h.propose("c1"))
		c.Run.State = ops.RunRollingBack
		h.queue.Add(ops.NewCommand(ops.RollBackRun, c.Subject(), ops.RollBackRunBody{ChangeID: c.ID, RunID: c.Run.ID}))
		h.run(time.Minute, h.idle)
		if b := last[ops.RunRolledBackBody](h, c.Subject()); b.Error != "" || !strings.Contains(b.Run.Output, "Nothing had been applied") {
			t.Errorf("told %+v", b)
		}
	})
}

func TestTwoReplicasRunItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{Takes: 10 * time.Minute})
		defer h.close()
		c := h.approve(h.propose("c1"))
		o := h.opts
		o.Holder = "two"
		counter := &counting{Executor: h.opts.Executors["rehearsal"]}
		o.Executors = map[string]execute.Executor{"rehearsal": counter}
		second := execute.New(o)
		queue := jobtest.New(h.db, h.store)
		second.Register(queue)
		h.order(c)
		queue.Add(ops.NewCommand(ops.ApplyPlan, c.Subject(), ops.ApplyPlanBody{ChangeID: c.ID, RunID: c.Run.ID}))
		done := make(chan error)
		h.run(time.Minute, func() bool { _, err := h.store.Execution(t.Context(), "apply:run-c1"); return err == nil })
		go func() { done <- queue.Run(t.Context(), time.Hour, func() bool { return queue.Waiting() == 0 }) }()
		h.run(time.Hour, h.idle)
		if err := <-done; err != nil {
			t.Error(err)
		}
		last[ops.RunAppliedBody](h, c.Subject())
		if counter.applies != 0 {
			t.Errorf("the second replica called the tool %d times", counter.applies)
		}
	})
}

type counting struct {
	execute.Executor
	applies int
	ctxErr  error
	answer  error
}

func (x *counting) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	x.applies++
	x.ctxErr = ctx.Err()
	if x.answer != nil {
		return execute.Result{}, x.answer
	}
	return x.Executor.Apply(ctx, token, p, out)
}
