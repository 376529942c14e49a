package execute

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// mayStart checks once more, at the last moment, everything a run needs. wait
// says what has not come yet, refuse what can no longer come. p is the plan
// about to be applied, nil before it is made.
func (r *Room) mayStart(ctx context.Context, ch ops.Change, p *ops.Plan) (wait, refuse string, err error) {
	now, run := r.now(), ch.Run
	if p == nil {
		approved, err := r.Changes.Plan(ctx, run.PlanID)
		if err != nil {
			return "", "", fmt.Errorf("execute: the approved plan of %s: %w", ch.Key(), err)
		}
		p = &approved
	}
	switch {
	case ch.State != ops.ChangeImplement:
		return "", fmt.Sprintf("the change is in %s, not in implement", ch.State), nil
	case run.State != ops.RunQueued && run.State != ops.RunRunning:
		return "", fmt.Sprintf("the run is %s", run.State), nil
	case run.Digest == "" || run.Digest != ch.PlanDigest || run.PlanID != ch.PlanID:
		return "", "the run is not of the change's current plan", nil
	case p.ComputeDigest() != run.Digest:
		return "", "the plan kept is not the one with the approved digest", nil
	}
	if why := unapproved(ch); why != "" {
		return "", why, nil
	}
	w := ch.Window
	if w == nil {
		return "", "the change has no window", nil
	}
	need := time.Duration(p.ApplySecs+p.RollbackSecs) * time.Second
	switch {
	case !w.End.IsZero() && now.Add(need).After(w.End):
		return "", fmt.Sprintf("applying and rolling back need %s, and window %s ends at %s", need, w.Window, w.End.Format(time.RFC3339)), nil
	case !w.Cutoff.IsZero() && !now.Before(w.Cutoff):
		return "", fmt.Sprintf("nothing starts in window %s after %s", w.Window, w.Cutoff.Format(time.RFC3339)), nil
	case now.Before(w.Start):
		return fmt.Sprintf("window %s opens at %s", w.Window, w.Start.Format(time.RFC3339)), "", nil
	}
	if refuse, err = r.denied(ctx, ch, need); err != nil || refuse != "" {
		return "", refuse, err
	}
	return r.stopped(ctx)
}

// denied asks the gate once more.
func (r *Room) denied(ctx context.Context, ch ops.Change, need time.Duration) (why string, err error) {
	if r.Gate == nil {
		return "", nil
	}
	if why, err = r.Gate.MayAct(ctx, ch, need); err != nil {
		return "", fmt.Errorf("execute: ask the gate about %s: %w", ch.Key(), err)
	}
	return why, nil
}

func (r *Room) mayRollBack(ctx context.Context, ch ops.Change) (wait, refuse string, err error) {
	if ch.State != ops.ChangeImplement || ch.Run.State != ops.RunRollingBack {
		return "", fmt.Sprintf("the change is in %s and its run %s", ch.State, ch.Run.State), nil
	}
	if wait, err = r.denied(ctx, ch, 0); err != nil || wait != "" {
		return wait, "", err
	}
	return r.stopped(ctx)
}

func (r *Room) stopped(ctx context.Context) (wait, refuse string, err error) {
	reason, stopped, err := r.Switch.ExecutionStopped(ctx)
	if err != nil {
		return "", "", fmt.Errorf("execute: read the execution switch: %w", err)
	}
	if stopped {
		return "execution is stopped: " + reason, "", nil
	}
	return "", "", nil
}

// unapproved says why the run's plan may not run; empty when it may. A standard
// change says in Approve which policy approved it beforehand.
func unapproved(ch ops.Change) string {
	of := func(d ops.Decision) bool {
		return slices.ContainsFunc(ch.Approvals, func(a ops.Approval) bool {
			there := d == ops.Refused || ch.ApproveIn == "" || a.In() == ch.ApproveIn
			return there && a.Decision == d && a.Digest == ch.Run.Digest && a.Void == ""
		})
	}
	switch {
	case of(ops.Refused):
		return "the plan was denied"
	case of(ops.Approved), ch.Type == ops.ChangeStandard && ch.Approve != "" && len(ch.Approvers) == 0:
		return ""
	}
	return "the plan's digest is not approved"
}
