package change

import (
	"fmt"
	"strings"
	"time"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
)

// hear takes a fact of another room into account. A fact that comes late,
// twice, or about another run or plan changes nothing.
func (m *move) hear(f ops.Fact) error {
	c := m.s.Change
	switch f.Kind {
	case ops.PlanMade:
		b, err := ops.Body[ops.PlanMadeBody](f)
		if err != nil {
			return err
		}
		m.planned(b.Plan)
	case ops.PlanFailed:
		b, err := ops.Body[ops.PlanFailedBody](f)
		if err != nil {
			return err
		}
		if c.State == ops.ChangeAssess {
			m.end(ops.Withdrawn, "no plan could be made: "+b.Error)
		}
	case ops.PlanMoved:
		b, err := ops.Body[ops.PlanMovedBody](f)
		if err != nil {
			return err
		}
		if m.runIs(b.RunID, ops.RunQueued, ops.RunRunning) {
			m.void("the plan made in the window is not the approved one: " + b.Moved)
		}
	case ops.RunApplied:
		b, err := ops.Body[ops.RunAppliedBody](f)
		if err != nil {
			return err
		}
		m.applied(b.Run)
	case ops.RunBroke:
		b, err := ops.Body[ops.RunFailedBody](f)
		if err != nil {
			return err
		}
		m.broke(b)
	case ops.RunUndone:
		b, err := ops.Body[ops.RunRolledBackBody](f)
		if err != nil {
			return err
		}
		m.undone(b)
	case ops.VerdictGiven:
		b, err := ops.Body[ops.VerdictGivenBody](f)
		if err != nil {
			return err
		}
		m.judged(b.Verdict)
	case ops.ApprovalSeen:
		b, err := ops.Body[ops.ApprovalSeenBody](f)
		if err != nil {
			return err
		}
		m.approvalSeen(b)
	case ops.WithdrawalSeen:
		b, err := ops.Body[ops.WithdrawalSeenBody](f)
		if err != nil {
			return err
		}
		m.withdrawalSeen(b)
	case ops.WindowOffered:
		b, err := ops.Body[ops.WindowOfferedBody](f)
		if err != nil {
			return err
		}
		m.windowOffered(b)
	}
	return nil
}

// runIs reports whether the change's run is this one and in one of the states.
func (m *move) runIs(id string, states ...ops.RunState) bool {
	c := m.s.Change
	if c.State != ops.ChangeImplement || c.Run == nil || c.Run.ID != id {
		return false
	}
	for _, s := range states {
		if c.Run.State == s {
			return true
		}
	}
	return false
}

// run moves the run on, with what note changes of it, and tells.
func (m *move) run(to ops.RunState, why string, note func(*ops.Run)) {
	if from := m.s.Change.Run.State; from == ops.RunQueued && to != ops.RunRunning && !ops.CanMoveRun(from, to) {
		m.run(ops.RunRunning, "the tool has begun", nil)
	}
	c := m.s.Change
	run := *c.Run
	from := run.State
	if from != to && !ops.CanMoveRun(from, to) {
		m.fault = fmt.Errorf("run of %s may not go from %s to %s: %w", c.Key(), from, to, ops.ErrInternal)
		return
	}
	run.State = to
	if note != nil {
		note(&run)
	}
	if to.Final() {
		run.FinishedAt = m.w.Now
	}
	c.Run, c.Waiting = &run, ""
	m.tell(ops.RunMovedBody{Change: c, From: from, Why: why})
}

func (m *move) applied(told ops.Run) {
	note := func(r *ops.Run) {
		r.Output, r.AppliedAt = told.Output, told.AppliedAt
		if r.AppliedAt.IsZero() {
			r.AppliedAt = m.w.Now
		}
	}
	switch {
	case m.runIs(told.ID, ops.RunQueued, ops.RunRunning):
		m.run(ops.RunVerifying, "applied; observing whether the cause goes away", note)
		m.wake = m.w.Now.Add(m.s.Change.VerifyWithin + m.g.Slack)
	case m.runIs(told.ID, ops.RunHeld):
		m.run(ops.RunHeld, "the tool answered late that it applied the plan", note)
		m.wait(heldWhy("the tool answered late that it applied the plan"), m.w.Now.Add(m.g.HeldFor))
	}
}

func (m *move) broke(b ops.RunFailedBody) {
	if !m.runIs(b.Run.ID, ops.RunQueued, ops.RunRunning) {
		return
	}
	note := func(r *ops.Run) { r.Output, r.Error = b.Run.Output, b.Error }
	if b.Unknown {
		m.hold("nobody knows whether it was applied: "+b.Error, note)
		return
	}
	m.rollBackOr("applying failed: "+b.Error, note)
}

func (m *move) undone(b ops.RunRolledBackBody) {
	if !m.runIs(b.Run.ID, ops.RunRollingBack) {
		return
	}
	note := func(r *ops.Run) {
		if b.Run.Output != "" {
			r.Output = b.Run.Output
		}
		if b.Error != "" {
			r.Error = b.Error
		}
	}
	if b.Error != "" {
		m.hold("rolling back failed: "+b.Error, note)
		return
	}
	m.finish(ops.RunRolledBack, ops.Unsuccessful, "rolled back", note)
}

func (m *move) judged(v ops.Verdict) {
	c := m.s.Change
	if !m.runIs(v.RunID, ops.RunVerifying, ops.RunHeld) || c.Verdict != nil {
		return
	}
	why := fmt.Sprintf("verification says %s: %s", v.Word, v.Why)
	if c.Run.State == ops.RunHeld {
		c.Verdict = &v
		m.tell(ops.RunMovedBody{Change: c, From: ops.RunHeld, Why: why + "; the run stays held"})
		return
	}
	m.verdict(v, why)
}

func (m *move) verdict(v ops.Verdict, why string) {
	record := func(word string) {
		c := m.s.Change
		c.Verdict = &v
		m.tell(ops.RunMovedBody{Change: c, From: c.Run.State, Why: word})
	}
	record(why)
	switch v.Word {
	case ops.Better:
		m.finish(ops.RunSucceeded, ops.Successful, why, nil)
	case ops.Unchanged:
		if c := m.s.Change; c.Trigger == nil && c.IncidentID == "" {
			m.finish(ops.RunSucceeded, ops.Successful, why+"; no cause had to go away, so it did no harm", nil)
			return
		}
		m.rollBackOr(why, nil)
	case ops.Worse:
		m.rollBackOr(why, nil)
	default:
		if m.s.Change.Type == ops.ChangeStandard || m.g.CloseInconclusive {
			m.finish(ops.RunSucceeded, ops.SuccessfulWithIssues, why, nil)
			return
		}
		m.hold(why, nil)
	}
}

// rollBackOr undoes the run. What cannot be undone is closed as it is; what
// cannot be undone now, because of the clock or the switch, is held.
func (m *move) rollBackOr(why string, note func(*ops.Run)) {
	if len(m.s.Plan.Rollback) == 0 {
		m.finish(ops.RunFailed, ops.Unsuccessful, why+"; the plan cannot be undone", note)
		return
	}
	if obstacle := m.cannotRollBack(); obstacle != "" {
		m.hold(why+"; it cannot be rolled back now: "+obstacle, note)
		return
	}
	m.rollBack(why, note)
}

func (m *move) rollBack(why string, note func(*ops.Run)) {
	m.run(ops.RunRollingBack, why, note)
	c := m.s.Change
	m.order(ops.RollBackRun, ops.RollBackRunBody{ChangeID: c.ID, RunID: c.Run.ID, Why: why})
	e, _ := m.g.estimate(c, m.s.Plan)
	m.wake = m.w.Now.Add(e.rollback + m.g.Slack)
}

// cannotRollBack returns why undoing may not begin now, empty when it may: it
// runs under the same switch, window and freezes as applying.
func (m *move) cannotRollBack() string {
	c := m.s.Change
	if m.w.Stopped != "" && m.g.on(guardUndoSwitch) {
		return "execution is stopped: " + m.w.Stopped
	}
	e, err := m.g.estimate(c, m.s.Plan)
	if err != nil {
		return err.Error()
	}
	if late := c.Window == nil || m.w.Now.Before(c.Window.Start) || m.w.Now.Add(e.rollback).After(c.Window.End); late && m.g.on(guardUndoWindow) {
		return "it would not be over when the window ends"
	}
	_, freezes, _ := m.g.applicable(c, m.w.Resource)
	if f, frozen := window.Frozen(m.w.Now, e.rollback, freezes); frozen && m.g.on(guardUndoFreeze) {
		return "the freeze " + f.Window
	}
	return ""
}

func heldWhy(why string) string {
	return "held: " + why + "; a change manager must say whether it succeeded, failed or is to be rolled back"
}

// hold stops the run until a person has looked.
func (m *move) hold(why string, note func(*ops.Run)) {
	m.run(ops.RunHeld, why, note)
	m.wait(heldWhy(why), m.w.Now.Add(m.g.HeldFor))
}

// finish ends the run, reviews and closes the change.
func (m *move) finish(run ops.RunState, outcome ops.Outcome, why string, note func(*ops.Run)) {
	m.run(run, why, note)
	c := m.s.Change
	c.State, c.Outcome = ops.ChangeReview, outcome
	broken := brokenFreezes(c)
	if len(broken) > 0 && m.g.on(guardReview) {
		c.Review = &ops.Review{Why: "the freeze " + strings.Join(broken, ", ") + " was overridden"}
		c.Waiting = c.Review.Why + "; a change manager who had no part in it must sign the review"
		m.tell(ops.ChangeReviewedBody{Change: c, Why: why + "; " + c.Waiting})
		m.wake = m.w.Now.Add(m.g.HeldFor)
		return
	}
	m.tell(ops.ChangeReviewedBody{Change: c, Why: why})
	m.closed(m.s.Change, why)
}

// overdue is the end of patience with a run.
func (m *move) overdue() {
	c := m.s.Change
	switch c.Run.State {
	case ops.RunQueued, ops.RunRunning:
		m.hold("the executor has not answered since "+c.Run.StartedAt.UTC().Format(time.RFC3339), nil)
	case ops.RunVerifying:
		why := "no verdict came in time"
		m.verdict(ops.Verdict{ChangeID: c.ID, RunID: c.Run.ID, Word: ops.Inconclusive, Why: why, Waited: m.w.Now.Sub(c.Run.AppliedAt), At: m.w.Now}, why)
	case ops.RunRollingBack:
		m.hold("the executor has not said whether it was rolled back", nil)
	case ops.RunHeld:
		m.finish(ops.RunFailed, ops.Unsuccessful, fmt.Sprintf("held, and nobody decided within %s", m.g.HeldFor), nil)
	}
}

// settled follows a person's word about a held run.
func (m *move) settled(e Settled) error {
	c := m.s.Change
	if c.State != ops.ChangeImplement || c.Run == nil || c.Run.State != ops.RunHeld {
		return fmt.Errorf("%s has no held run: %w", c.Key(), ops.ErrConflict)
	}
	if e.By.Kind != ops.Person {
		return fmt.Errorf("%s: only a person decides about a held run, %s is a %s: %w", c.Key(), e.By.Name, e.By.Kind, ops.ErrDenied)
	}
	if err := e.By.Require(ops.MayManageChanges); err != nil {
		return fmt.Errorf("%s: %w", c.Key(), err)
	}
	why := strings.TrimSpace(fmt.Sprintf("%s says %s %s", e.By.Name, e.Word, e.Why))
	switch e.Word {
	case HeldSucceeded:
		m.finish(ops.RunSucceeded, ops.SuccessfulWithIssues, why, nil)
	case HeldFailed:
		m.finish(ops.RunFailed, ops.Unsuccessful, why, nil)
	case HeldRollBack:
		if len(m.s.Plan.Rollback) == 0 {
			return fmt.Errorf("%s: the plan cannot be undone: %w", c.Key(), ops.ErrDenied)
		}
		if obstacle := m.cannotRollBack(); obstacle != "" {
			return fmt.Errorf("%s cannot be rolled back now: %s; raise an emergency change instead: %w", c.Key(), obstacle, ops.ErrDenied)
		}
		m.rollBack(why, nil)
	default:
		return fmt.Errorf("%s: %q is none of succeeded, failed, roll_back: %w", c.Key(), e.Word, ops.ErrInvalid)
	}
	return nil
}
