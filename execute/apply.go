package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// factOutput bounds the output a fact carries, because facts are kept for
// ever; the journal keeps OutputLimit.
const factOutput = 16 << 10

// applyPlan drives one run: it starts the work, which goes on by itself, and
// looks again until the outcome is recorded.
func (r *Room) applyPlan(ctx context.Context, c ops.Command) error {
	b, err := ops.CommandBody[ops.ApplyPlanBody](c)
	if err != nil {
		return err
	}
	w := work{id: "apply:" + b.RunID, cause: c.Cause}
	if done, err := r.prepare(ctx, &w, b.ChangeID, b.RunID); done || err != nil {
		return err
	}
	if w.entry.Phase == ops.ExecutionActing {
		return r.start(ctx, w, r.apply)
	}
	wait, refuse, err := r.mayStart(ctx, w.change, nil)
	switch {
	case err != nil:
		return err
	case refuse != "":
		return r.refuse(ctx, w, refuse)
	case wait != "":
		return job.Snooze(r.Poll, wait)
	}
	return r.start(ctx, w, r.apply)
}

// rollBackRun drives the undoing of one run the same way.
func (r *Room) rollBackRun(ctx context.Context, c ops.Command) error {
	b, err := ops.CommandBody[ops.RollBackRunBody](c)
	if err != nil {
		return err
	}
	w := work{id: "rollback:" + b.RunID, cause: c.Cause}
	if done, err := r.prepare(ctx, &w, b.ChangeID, b.RunID); done || err != nil {
		return err
	}
	wait, refuse, err := r.mayRollBack(ctx, w.change)
	switch {
	case err != nil:
		return err
	case w.entry.Phase == ops.ExecutionActing:
	case refuse != "":
		return fmt.Errorf("execute: roll back %s: %s: %w", w.change.Key(), refuse, ops.ErrDenied)
	case wait != "":
		return job.Snooze(r.Poll, wait)
	}
	return r.start(ctx, w, r.rollBack)
}

// work is one execution on its way through the room.
type work struct {
	id     string
	entry  ops.Execution // as last read or taken
	change ops.Change
	cause  string
}

// prepare reads what is known about the work. Done means its outcome is told
// and the command has nothing left to do.
func (r *Room) prepare(ctx context.Context, w *work, changeID, runID string) (done bool, err error) {
	w.entry, err = r.Journal.Execution(ctx, w.id)
	switch {
	case errors.Is(err, ops.ErrNotFound):
	case err != nil:
		return false, err
	case w.entry.Phase == ops.ExecutionEnded:
		return true, nil
	}
	if why, busy := r.busy(w.id); busy {
		return false, job.Snooze(r.patience(w.entry), why)
	}
	w.change, err = r.Changes.Change(ctx, changeID)
	if err != nil {
		return false, fmt.Errorf("execute: %s: %w", w.id, err)
	}
	if w.change.Run == nil || w.change.Run.ID != runID {
		return false, fmt.Errorf("execute: %s has no run %s: %w", w.change.Key(), runID, ops.ErrNotFound)
	}
	return false, nil
}

// patience is how long to wait before the next look at work that goes on, a
// quarter of the time it has taken so far: thousands of tools at work for hours
// must not keep the queue busy with looks. A successor takes over no later for
// it, because a dead holder's lease runs longer.
func (r *Room) patience(e ops.Execution) time.Duration {
	return max(r.Poll, min(r.now().Sub(e.StartedAt)/4, r.LeaseTime/2))
}

// start takes the lease and sets the work going.
func (r *Room) start(ctx context.Context, w work, do func(ctx context.Context, w work, out *Output)) error {
	e, err := r.take(ctx, ops.Execution{ID: w.id, ChangeID: w.change.ID, RunID: w.change.Run.ID, Lease: lease(w.change)})
	if err != nil {
		return r.later(err)
	}
	w.entry = e
	begun := r.begin(ctx, w.id, func(ctx context.Context, cancel context.CancelCauseFunc) {
		out := NewOutput(OutputLimit, r.Redact)
		held := r.hold(ctx, e, out, cancel)
		defer held()
		do(ctx, w, out)
	})
	if !begun {
		if err := r.release(ctx, e); err != nil {
			return err
		}
	}
	return job.Snooze(r.Poll, "the tool is at work")
}

// lease names what a change must hold alone: its resource, or everything its
// executor does where the resource is not known.
func lease(ch ops.Change) string {
	if ch.ResourceID != "" {
		return "resource:" + ch.ResourceID
	}
	return "executor:" + ch.Executor
}

// hold renews the lease, and the output kept with it, until the returned
// function is called. Only a proven take-over stops the tool: while the
// database does not answer, nobody else can begin anything either.
func (r *Room) hold(ctx context.Context, e ops.Execution, out *Output, cancel context.CancelCauseFunc) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(r.LeaseTime / 3)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			e.Output = out.Text()
			err := r.DB.Write(context.WithoutCancel(ctx), func(tx db.Tx) error {
				return r.Journal.RenewExecution(ctx, tx, e, r.now().Add(r.LeaseTime))
			})
			switch {
			case errors.Is(err, ops.ErrConflict):
				cancel(errTakenOver)
				return
			case err != nil:
				r.log.LogAttrs(ctx, slog.LevelWarn, "execution lease not renewed", slog.String("execution", e.ID), slog.String("error", r.say(err)))
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// refuse ends a run that was never begun.
func (r *Room) refuse(ctx context.Context, w work, why string) error {
	e, err := r.take(ctx, ops.Execution{ID: w.id, ChangeID: w.change.ID, RunID: w.change.Run.ID, Lease: w.id})
	if err != nil {
		return r.later(err)
	}
	e.Error = r.say(errors.New("not started: " + why))
	run := *w.change.Run
	run.Error = e.Error
	return r.tell(ctx, e, w.change, w.cause, ops.RunFailedBody{Run: run, Error: e.Error})
}

// apply plans again, compares, applies and records. It returns without telling
// anything only where the command's next look may safely begin again.
func (r *Room) apply(ctx context.Context, w work, out *Output) {
	run := *w.change.Run
	run.StartedAt = w.entry.StartedAt
	if w.entry.Phase != ops.ExecutionActing {
		b, ok := r.ready(ctx, &w)
		if b != nil {
			r.end(ctx, w, b)
			return
		}
		if !ok {
			r.letGo(ctx, w)
			return
		}
	} else if wait, refuse, err := r.mayStart(ctx, w.change, w.entry.Plan); err != nil || wait+refuse != "" {
		// Under an ended context the executor starts nothing; it only finds out.
		ended, cancel := context.WithCancel(ctx)
		cancel()
		ctx = ended
	}
	if win := w.change.Window; win != nil && !win.End.IsZero() {
		left := win.End.Sub(r.now()) - time.Duration(w.entry.Plan.RollbackSecs)*time.Second
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, left, fmt.Errorf("the window's end leaves only the time to roll back: %w", ops.ErrDenied))
		defer cancel()
	}
	if err := r.publish(ctx, w, out); err != nil {
		ended, cancel := context.WithCancelCause(ctx)
		cancel(err)
		ctx = ended // the tool starts nothing, and says whether it began earlier
	}
	res, err := r.call(ctx, w, func(ex Executor) (Result, error) {
		failpoint.Hit("execute.apply.before")
		res, err := ex.Apply(ctx, Token(run.Token), forTool(*w.entry.Plan), out)
		failpoint.Hit("execute.apply.after")
		return res, err
	})
	if err != nil && !unknown(err) {
		look, cancel := aside(ctx)
		if back := r.restore(look, w, parameter.Failed, out); back != nil {
			err = fmt.Errorf("%w; %w", err, back)
		}
		cancel()
	}
	run.AppliedAt = r.now()
	run.Output = Shorten(out.Text(), factOutput)
	w.entry.Output = out.Text()
	if err != nil {
		run.FinishedAt, run.Error = run.AppliedAt, r.say(err)
		w.entry.Error = run.Error
		r.end(ctx, w, ops.RunFailedBody{Run: run, Error: run.Error, Unknown: unknown(err)})
		return
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "plan applied", slog.String("change_id", w.change.ID), slog.String("run_id", run.ID), slog.String("note", r.Redact(res.Note)))
	r.end(ctx, w, ops.RunAppliedBody{Run: run, Change: w.change})
}

// ready makes the fresh plan and records that it is about to be applied. It
// returns what to tell instead, if anything, and whether to go on.
func (r *Room) ready(ctx context.Context, w *work) (told ops.FactBody, ok bool) {
	run := *w.change.Run
	failed := func(why string) (ops.FactBody, bool) {
		w.entry.Error = r.say(errors.New("not started: " + why))
		run.Error = w.entry.Error
		return ops.RunFailedBody{Run: run, Error: w.entry.Error}, false
	}
	again := func(err error) (ops.FactBody, bool) {
		if permanent(err) {
			return failed(err.Error())
		}
		r.log.LogAttrs(ctx, slog.LevelWarn, "run not started yet", slog.String("change_id", w.change.ID), slog.String("error", r.say(err)))
		return nil, false
	}
	approved, err := r.Changes.Plan(ctx, run.PlanID)
	if err != nil {
		return again(err)
	}
	fresh, err := r.plan(ctx, w.change, w.change.Revision)
	if err != nil {
		return again(err)
	}
	if fresh.Digest != run.Digest {
		moved := r.Redact(Moved(approved, fresh))
		w.entry.Error = Shorten("the plan moved: "+moved, maxError)
		return ops.PlanMovedBody{ChangeID: w.change.ID, RunID: run.ID, Approved: run.Digest, Plan: fresh, Moved: moved}, false
	}
	// Planning took its time; the world of the gate may have moved as well.
	ch, err := r.Changes.Change(ctx, w.change.ID)
	if err != nil {
		return again(err)
	}
	if ch.Run == nil || ch.Run.ID != run.ID {
		return failed("the change has another run")
	}
	w.change = ch
	wait, refuse, err := r.mayStart(ctx, ch, &fresh)
	switch {
	case err != nil:
		return again(err)
	case refuse != "":
		return failed(refuse)
	case wait != "":
		return nil, false
	}
	w.entry.Plan = &fresh
	err = r.DB.Write(ctx, func(tx db.Tx) error {
		if err := r.Journal.ActExecution(ctx, tx, w.entry, r.now().Add(r.LeaseTime)); err != nil {
			return err
		}
		_, err := r.Facts.Tell(ctx, tx, ops.NewFact(ch.Subject(), r.now(), ops.SystemPrincipal, w.cause, ops.RunBeganBody{Run: *ch.Run, Change: ch}))
		return err
	})
	if err != nil {
		w.entry.Plan = nil
		return again(err)
	}
	return nil, true
}

// letGo leaves work that has not begun to act to the command's next look.
func (r *Room) letGo(ctx context.Context, w work) {
	if err := r.release(ctx, w.entry); err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "execution lease not given back", slog.String("execution", w.id), slog.String("error", r.say(err)))
	}
}

// rollBack undoes the artefact that was applied.
func (r *Room) rollBack(ctx context.Context, w work, out *Output) {
	run := *w.change.Run
	done := func(err error) {
		run.FinishedAt = r.now()
		w.entry.Output = out.Text()
		run.Output = Shorten(w.entry.Output, factOutput)
		if err != nil {
			run.Error = r.say(err)
			w.entry.Error = run.Error
		}
		r.end(ctx, w, ops.RunRolledBackBody{Run: run, Error: w.entry.Error})
	}
	if w.entry.Phase != ops.ExecutionActing {
		applied, err := r.Journal.Execution(ctx, "apply:"+run.ID)
		if errors.Is(err, ops.ErrNotFound) || (err == nil && applied.Plan == nil) {
			_, _ = io.WriteString(out, "Nothing had been applied, so there was nothing to undo.\n")
			done(nil)
			return
		}
		if err == nil {
			w.entry.Plan = applied.Plan
			err = r.DB.Write(ctx, func(tx db.Tx) error {
				return r.Journal.ActExecution(ctx, tx, w.entry, r.now().Add(r.LeaseTime))
			})
		}
		if err != nil {
			r.log.LogAttrs(ctx, slog.LevelWarn, "rollback not started yet", slog.String("change_id", w.change.ID), slog.String("error", r.say(err)))
			r.letGo(ctx, w)
			return
		}
	} else if wait, refuse, err := r.mayRollBack(ctx, w.change); err != nil || wait+refuse != "" {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		ctx = ended
	}
	if ctx.Err() == nil {
		// First, because the tool may read it.
		if err := r.restore(ctx, w, parameter.RolledBack, out); err != nil {
			ended, cancel := context.WithCancelCause(ctx)
			cancel(err)
			ctx = ended
		}
	}
	_, err := r.call(ctx, w, func(ex Executor) (Result, error) {
		failpoint.Hit("execute.rollback.before")
		res, err := ex.RollBack(ctx, Token(run.Token), forTool(*w.entry.Plan), out)
		failpoint.Hit("execute.rollback.after")
		return res, err
	})
	done(err)
}

// call calls the executor the plan was made by. A tool that can no longer be
// asked, and a driver's panic, leave the outcome unknown.
func (r *Room) call(ctx context.Context, w work, f func(Executor) (Result, error)) (Result, error) {
	ex, err := r.executor(w.change.Executor)
	if err != nil {
		return Result{}, &ops.UnknownOutcome{Err: err}
	}
	res, err := guarded(func() (Result, error) { return f(ex) })
	if err != nil && errors.Is(err, ops.ErrInternal) && !unknown(err) {
		err = &ops.UnknownOutcome{Err: err}
	}
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return res, err
}

func unknown(err error) bool {
	var u *ops.UnknownOutcome
	return errors.As(err, &u)
}

// endTries bounds how often the outcome is written again when the database
// refuses. After that the lease runs out, and the command asks the executor
// under the same token what became of it.
const endTries = 6

func (r *Room) end(ctx context.Context, w work, b ops.FactBody) {
	for try := range endTries {
		err := r.tell(ctx, w.entry, w.change, w.cause, b)
		if err == nil {
			return
		}
		r.log.LogAttrs(ctx, slog.LevelError, "outcome not recorded", slog.String("execution", w.id), slog.String("error", r.say(err)))
		if errors.Is(err, db.ErrClosed) {
			return
		}
		time.Sleep(100 * time.Millisecond << try)
	}
}
