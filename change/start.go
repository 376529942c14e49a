package change

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/change/runbook"
	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
)

// estimate is how long the parts of a run take.
type estimate struct{ apply, observe, rollback time.Duration }

func (e estimate) need() time.Duration { return e.apply + e.observe + e.rollback }

// estimate takes the plan's own figures, else the executor's configured ones.
// A plan that cannot be undone needs no time for it.
func (g *Gate) estimate(c ops.Change, p ops.Plan) (estimate, error) {
	x := g.executors[c.Executor]
	e := estimate{apply: time.Duration(p.ApplySecs) * time.Second, observe: c.VerifyWithin}
	if e.apply <= 0 {
		e.apply = x.Apply
	}
	if e.apply <= 0 {
		return e, fmt.Errorf("nobody knows how long applying takes; configure an estimate for executor %s", c.Executor)
	}
	if len(p.Rollback) == 0 {
		return e, nil
	}
	if e.rollback = time.Duration(p.RollbackSecs) * time.Second; e.rollback <= 0 {
		e.rollback = x.Rollback
	}
	if e.rollback <= 0 {
		return e, fmt.Errorf("nobody knows how long rolling back takes; configure an estimate for executor %s", c.Executor)
	}
	return e, nil
}

// applicable returns the windows and freezes that are about this change, and
// what is wrong with the conditions of others. A window whose condition cannot
// be evaluated does not allow, and such a freeze denies.
func (g *Gate) applicable(c ops.Change, r ops.Resource) (windows, freezes []*window.Window, trouble []string) {
	failed := func(what, name string, err error) {
		if err != nil {
			trouble = append(trouble, fmt.Sprintf("whether the %s %s applies cannot be told: %v", what, name, err))
		}
	}
	only := ""
	if b := g.runbook(c.Runbook); b != nil {
		only = b.Window
	}
	for _, w := range g.windows {
		if only != "" && only != w.Name {
			continue
		}
		holds, err := w.For(&c, &r)
		failed("window", w.Name, err)
		if err == nil && holds {
			windows = append(windows, w)
		}
	}
	for _, f := range g.freezes {
		if overridden(c, f.Name) || !g.on(guardFreeze) {
			continue
		}
		holds, err := f.For(&c, &r)
		failed("freeze", f.Name, err)
		if err != nil || holds {
			freezes = append(freezes, f)
		}
	}
	return windows, freezes, trouble
}

func (g *Gate) runbook(name string) *runbook.Runbook {
	for _, r := range g.runbooks {
		if name != "" && r.Name == name {
			return r
		}
	}
	return nil
}

// when decides when the change may start.
func (m *move) when() window.Decision {
	c := m.s.Change
	e, err := m.g.estimate(c, m.s.Plan)
	if err != nil {
		return window.Decision{Why: err.Error()}
	}
	windows, freezes, trouble := m.g.applicable(c, m.w.Resource)
	m.trouble = trouble
	if offer := m.standingOffer(); offer != nil {
		windows = []*window.Window{offer}
	}
	need := e.need()
	if !m.g.on(guardFits) {
		need = e.apply
	}
	d := window.Decide(m.w.Now, need, windows, freezes)
	if !d.Start && !m.g.on(guardWindow) {
		d = window.Decision{Start: true, In: ops.Occurrence{Start: m.w.Now, End: m.w.Now.Add(need), Cutoff: m.w.Now.Add(need)}}
	}
	if !d.Start && len(trouble) > 0 {
		d.Why += "; " + strings.Join(trouble, "; ")
	}
	return d
}

// schedule puts an approved change into its window.
func (m *move) schedule(why string) {
	d := m.when()
	c := m.s.Change
	c.State, c.Window, c.Waiting = ops.ChangeScheduled, occurrence(d), ""
	m.tell(ops.ChangeScheduledBody{Change: c, Why: why + "; " + d.Why})
	switch {
	case d.Start:
		m.wake = m.w.Now
	case !d.Until.IsZero():
		m.wake = d.Until
	default:
		m.wait(d.Why, m.recheck())
	}
}

func occurrence(d window.Decision) *ops.Occurrence {
	if !d.Start && d.Until.IsZero() {
		return nil
	}
	in := d.In
	return &in
}

// recheck is when a wait without a known end is looked at again.
func (m *move) recheck() time.Time { return m.w.Now.Add(m.g.Recheck) }

// startOrWait starts a scheduled change if everything allows it now.
func (m *move) startOrWait() {
	c := m.s.Change
	if m.tooOld() {
		m.end(ops.MissedWindow, fmt.Sprintf("not started within %s of being raised", m.g.MaxAge))
		return
	}
	if m.g.on(guardApproved) && !Approved(c) {
		m.void("the approvals no longer cover the plan")
		return
	}
	if m.superseded() {
		return
	}
	d := m.when()
	if !d.Start {
		m.later(d)
		return
	}
	if why, until := m.blocked(d.In); why != "" {
		m.wait(why, until)
		return
	}
	e, _ := m.g.estimate(c, m.s.Plan) // when() has found it complete
	run := ops.Run{
		ID: derived("run", c.PlanID), ChangeID: c.ID, PlanID: c.PlanID, Digest: c.PlanDigest,
		State: ops.RunQueued, Token: derived("token", c.PlanID), StartedAt: m.w.Now,
	}
	m.tell(ops.RunStartedBody{Run: run, Window: d.In, Why: d.Why})
	m.order(ops.ApplyPlan, ops.ApplyPlanBody{ChangeID: c.ID, RunID: run.ID})
	m.wake = m.w.Now.Add(e.apply + m.g.Slack)
}

// derived makes an id that is the same whenever it is made of the same, such as
// a plan: so it has one run and the tool sees one token, whatever is retried.
func derived(what, of string) string {
	sum := sha256.Sum256([]byte("fettle " + what + " " + of))
	return hex.EncodeToString(sum[:16])
}

// later waits for the window that comes next, and counts the one that passed.
func (m *move) later(d window.Decision) {
	c := m.s.Change
	next := occurrence(d)
	passed := c.Window != nil && !m.w.Now.Before(c.Window.Start) && (next == nil || *next != *c.Window)
	if passed {
		c.Missed++
		missed := fmt.Sprintf("missed the window %s of %s", c.Window.Window, c.Window.Start.UTC().Format(time.RFC3339))
		if c.Waiting != "" {
			missed += " because " + c.Waiting
		}
		if next == nil || c.Missed >= m.g.MaxMissed {
			m.cancel(c, ops.MissedWindow, fmt.Sprintf("%s; %d missed; %s", missed, c.Missed, d.Why))
			return
		}
		d.Why = missed + "; " + d.Why
	}
	if next == nil {
		m.wait(d.Why, m.recheck())
		return
	}
	if c.Window == nil || *c.Window != *next {
		c.Window, c.Waiting = next, ""
		m.tell(ops.ChangeScheduledBody{Change: c, Why: d.Why})
		m.wake = d.Until
		return
	}
	m.wait(d.Why, d.Until)
}

// superseded plans again, or gives up, when the value measured now asks for
// another step of the runbook than the one that was approved.
func (m *move) superseded() bool {
	c := m.s.Change
	b := m.g.runbook(c.Runbook)
	if b == nil || m.w.Value == nil || c.Trigger == nil || len(c.EditedBy) > 0 {
		return false
	}
	step, why, ok, err := b.Choose(*c.Trigger, m.w.Value)
	if err != nil {
		return false // the condition cannot tell; what was approved stands
	}
	if !ok {
		m.end(ops.Superseded, why)
		return true
	}
	if step.Executor == c.Executor && step.Action == c.Action && slices.Equal(step.Args, c.Args) {
		return false
	}
	c.Executor, c.Action, c.Args = step.Executor, step.Action, step.Args
	m.tell(ops.ChangeEditedBody{Change: again(c, why), Why: why})
	m.plan()
	return true
}

// void sends the change back to be planned and approved anew.
func (m *move) void(why string) {
	c := m.s.Change
	m.tell(ops.ApprovalVoidedBody{ChangeID: c.ID, Digest: c.PlanDigest, Revision: c.Revision, Why: why})
	m.plan()
}
