package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// makePlan plans a change and tells PlanMade or PlanFailed, once per revision.
func (r *Room) makePlan(ctx context.Context, c ops.Command) error {
	b, err := ops.CommandBody[ops.MakePlanBody](c)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("plan:%s:%d", b.ChangeID, b.Revision)
	if done, err := r.ended(ctx, id); done || err != nil {
		return err
	}
	ch, err := r.Changes.Change(ctx, b.ChangeID)
	if err != nil {
		return fmt.Errorf("execute: plan change %s: %w", b.ChangeID, err)
	}
	if (ch.State != ops.ChangeNew && ch.State != ops.ChangeAssess) || ch.Revision > b.Revision {
		return nil // withdrawn, or planned again since: nobody waits for this plan
	}
	if why, busy := r.busy(id); busy {
		return job.Snooze(r.Poll, why)
	}
	e, err := r.take(ctx, ops.Execution{ID: id, ChangeID: ch.ID, Lease: id})
	if err != nil {
		return r.later(err)
	}
	p, err := r.plan(ctx, ch, b.Revision)
	if err == nil {
		if err := r.link(ctx, p); err != nil {
			// The graph only says more about a plan that stands.
			r.log.LogAttrs(ctx, slog.LevelWarn, "what resources need of each other not learned", slog.String("change_id", ch.ID), slog.String("error", r.say(err)))
		}
	}
	var told ops.FactBody = ops.PlanMadeBody{Plan: p}
	if err != nil {
		if !permanent(err) {
			return errors.Join(err, r.release(ctx, e))
		}
		e.Error = r.say(err)
		told = ops.PlanFailedBody{ChangeID: ch.ID, Error: e.Error}
	}
	return r.tell(ctx, e, ch, c.Cause, told)
}

// plan asks the change's executor for a plan and completes it. The result
// depends on the world and the change, never on the time.
func (r *Room) plan(ctx context.Context, ch ops.Change, revision int) (ops.Plan, error) {
	ex, err := r.executor(ch.Executor)
	if err != nil {
		return ops.Plan{}, err
	}
	inputs, measured, err := r.measure(ctx, ch)
	if err != nil {
		return ops.Plan{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.PlanTime)
	defer cancel()
	failpoint.Hit("execute.plan.before")
	p, err := guarded(func() (ops.Plan, error) {
		return ex.Plan(ctx, Request{Change: ch, Inputs: inputs})
	})
	failpoint.Hit("execute.plan.after")
	if err != nil {
		return ops.Plan{}, fmt.Errorf("execute: plan %s: %w", ch.Key(), err)
	}
	p.ID, p.ChangeID, p.Revision, p.Executor = r.NewID(), ch.ID, revision, ch.Executor
	if len(inputs) > 0 {
		all := maps.Clone(inputs)
		maps.Copy(all, p.Inputs)
		p.Inputs = all
	}
	if err := r.announce(ctx, ch, &p); err != nil {
		return ops.Plan{}, err
	}
	p.Text = r.Redact(p.Text + measured)
	p.Digest = p.ComputeDigest()
	return p, nil
}

// linkTime bounds one look at what resources need of each other; with a planning
// it stays below the queue's limit for a job.
const linkTime = 10 * time.Second

// link learns from the executor what the resources of a plan need of each other,
// so that the gate keeps their order. It is known before the plan is.
func (r *Room) link(ctx context.Context, p ops.Plan) error {
	ex, err := r.executor(p.Executor)
	l, ok := ex.(Linker)
	if err != nil || !ok || r.Edges == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, linkTime)
	defer cancel()
	type answer struct {
		source string
		links  []graph.Link
	}
	failpoint.Hit("execute.link.before")
	a, err := guarded(func() (a answer, err error) {
		a.source, a.links, err = l.Links(ctx, p)
		return a, err
	})
	failpoint.Hit("execute.link.after")
	if err != nil {
		return err
	}
	return r.DB.Write(ctx, func(tx db.Tx) error { return r.Edges.ReplaceEdges(ctx, tx, a.source, a.links) })
}

// measure looks again at what the change's trigger was about. The value itself
// goes into the plan's text only; the decision it leads to goes into the inputs.
func (r *Room) measure(ctx context.Context, ch ops.Change) (inputs map[string]string, text string, err error) {
	if r.Measurer == nil || ch.Trigger == nil {
		return nil, "", nil
	}
	failpoint.Hit("execute.measure.before")
	value, known, err := r.Measurer.Measure(ctx, *ch.Trigger)
	failpoint.Hit("execute.measure.after")
	if err != nil {
		return nil, "", fmt.Errorf("execute: measure for %s: %w", ch.Key(), err)
	}
	name := ch.Trigger.Context.Metric
	if name == "" {
		name = ch.Trigger.Rule
	}
	if !known {
		text = fmt.Sprintf("\n# %s: no recent value\n", name)
		if r.DecideFunc != nil {
			inputs = map[string]string{"decision": "no recent value"}
		}
		return inputs, text, nil
	}
	text = fmt.Sprintf("\n# %s is %s now\n", name, strconv.FormatFloat(value, 'g', 6, 64))
	if r.DecideFunc != nil {
		decision, err := r.DecideFunc(ctx, ch, value)
		if err != nil {
			return nil, "", fmt.Errorf("execute: decide for %s: %w", ch.Key(), err)
		}
		inputs = map[string]string{"decision": decision}
	}
	return inputs, text, nil
}

// guarded turns a driver's panic into an error of ours, so that one driver's
// defect neither stops the server nor is taken for an outcome.
func guarded[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the executor: %v: %w\n%s", p, ops.ErrInternal, Shorten(string(debug.Stack()), maxError))
		}
	}()
	return f()
}

// ended reports whether the work with this journal id is over and told.
func (r *Room) ended(ctx context.Context, id string) (bool, error) {
	e, err := r.Journal.Execution(ctx, id)
	if errors.Is(err, ops.ErrNotFound) {
		return false, nil
	}
	return e.Phase == ops.ExecutionEnded, err
}

// take begins e or takes it over for this process.
func (r *Room) take(ctx context.Context, e ops.Execution) (ops.Execution, error) {
	e.Holder = r.Holder
	var taken ops.Execution
	err := r.DB.Write(ctx, func(tx db.Tx) error {
		var err error
		taken, err = r.Journal.TakeExecution(ctx, tx, e, r.now().Add(r.LeaseTime))
		return err
	})
	return taken, err
}

// later turns a lease that is not to be had now into a look some time later.
func (r *Room) later(err error) error {
	if errors.Is(err, ops.ErrConflict) {
		return job.Snooze(r.Poll, err.Error())
	}
	return err
}

func (r *Room) release(ctx context.Context, e ops.Execution) error {
	ctx = context.WithoutCancel(ctx)
	return r.DB.Write(ctx, func(tx db.Tx) error { return r.Journal.ReleaseExecution(ctx, tx, e) })
}

// tell ends e and tells of it in one transaction. Somebody else having taken e
// over is no error: they tell what became of it.
func (r *Room) tell(ctx context.Context, e ops.Execution, ch ops.Change, cause string, b ops.FactBody) error {
	ctx = context.WithoutCancel(ctx)
	err := r.DB.Write(ctx, func(tx db.Tx) error {
		if made, ok := b.(ops.PlanMadeBody); ok && r.Artefacts != nil {
			artefact, err := json.Marshal(made.Plan)
			if err != nil {
				return fmt.Errorf("execute: plan %s: %w", made.Plan.ID, err)
			}
			if e.Output, err = r.Artefacts.Put(ctx, tx, artefact); err != nil {
				return fmt.Errorf("execute: keep plan %s: %w", made.Plan.ID, err)
			}
		}
		if err := r.Journal.EndExecution(ctx, tx, e); err != nil {
			return err
		}
		_, err := r.Facts.Tell(ctx, tx, ops.NewFact(ch.Subject(), r.now(), ops.SystemPrincipal, cause, b))
		return err
	})
	if errors.Is(err, ops.ErrConflict) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "execution was taken over", slog.String("execution", e.ID), slog.String("change_id", ch.ID))
		return nil
	}
	return err
}
