package change

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
)

// approvalSeen counts what an approver decided in a platform, if it may count.
// What may not is told with the reason and changes nothing else.
func (m *move) approvalSeen(b ops.ApprovalSeenBody) {
	c := m.s.Change
	ref := b.Platform + ":" + b.Approval
	seen := slices.ContainsFunc(c.Approvals, func(a ops.Approval) bool { return a.Ref == ref })
	if c.State.Terminal() || (seen && m.g.on(guardOnce)) {
		return
	}
	a := ops.Approval{
		ChangeID: c.ID, Name: b.Person, Decision: b.Decision, Digest: b.Digest, Revision: b.Revision, Comment: b.Comment,
		At: b.DecidedAt, Via: b.Platform, Ref: ref,
	}
	if a.Name == "" {
		a.Name = b.User
	}
	by, absent, why := m.countable(b)
	if why == "" {
		m.by = by
		m.decision(by, absent, a)
		return
	}
	what := "approval"
	if b.Decision != ops.Approved {
		what = "denial"
	}
	a.Principal, a.Void = by.ID, why
	m.tell(ops.PlatformWordVoidBody{
		ChangeID: c.ID, Platform: b.Platform, Display: b.Display, User: b.User, Person: b.Person, What: what, Why: why, Approval: &a,
	})
}

// countable returns who decided, in whose name, and why it does not count.
func (m *move) countable(b ops.ApprovalSeenBody) (by, absent ops.Principal, why string) {
	c := m.s.Change
	by, why = m.mapped(b.Platform, b.User, b.Person)
	switch {
	case why != "":
		return by, absent, why
	case known(b.Decision, c) != nil:
		return by, absent, fmt.Sprintf("%q is neither approved nor denied", b.Decision)
	case b.Approval == "":
		return by, absent, "the platform gave the decision no id"
	case c.State != ops.ChangeAuthorize:
		return by, absent, fmt.Sprintf("the change is %s and waits for no approval", c.State)
	case m.g.on(guardRevision) && b.Revision != c.Revision:
		return by, absent, fmt.Sprintf("it is about revision %d of the plan, and revision %d stands", b.Revision, c.Revision)
	case m.g.on(guardOnTicket) && (b.Digest == "" || !strings.EqualFold(b.Digest, c.PlanDigest)):
		return by, absent, fmt.Sprintf("the digest on the ticket (%.12s) is not that of the plan that stands (%.12s)", b.Digest, c.PlanDigest)
	case m.g.on(guardWritten) && (b.WrittenAt.IsZero() || !b.DecidedAt.After(b.WrittenAt)):
		return by, absent, fmt.Sprintf("it was decided at %s, in the same moment or before the plan stood on the ticket", b.DecidedAt.UTC().Format(time.RFC3339))
	}
	if why := m.misplaced(b.Decision, b.Platform); why != "" {
		return by, absent, why
	}
	absent, err := m.mayDecide(by, b.DecidedAt)
	if err != nil {
		return by, absent, err.Error()
	}
	return by, absent, ""
}

// mapped returns the person a platform's user is.
func (m *move) mapped(platform, user, person string) (ops.Principal, string) {
	p, found := m.w.People[person]
	switch {
	case found && p.ID != "":
		return p, ""
	case person == "":
		return p, fmt.Sprintf("nobody is mapped to the user %q of %s; name the user under people[].platforms", user, platform)
	}
	return p, fmt.Sprintf("%s is no person of the configuration", person)
}

// withdrawalSeen withdraws the change whose ticket was cancelled by somebody
// who might withdraw the change as well.
func (m *move) withdrawalSeen(b ops.WithdrawalSeenBody) {
	if m.s.Change.State.Terminal() {
		return
	}
	by, why := m.mapped(b.Platform, b.User, b.Person)
	if why == "" && by.Kind != ops.Person && m.g.on(guardPerson) {
		why = "only a person withdraws a change"
	}
	if why == "" {
		if err := m.mayWithdraw(by); err != nil {
			why = err.Error()
		}
	}
	if why != "" {
		m.tell(ops.PlatformWordVoidBody{ChangeID: m.s.Change.ID, Platform: b.Platform, Display: b.Display, User: b.User, Person: b.Person, What: "withdrawal", Why: why})
		return
	}
	m.by = by
	m.end(ops.Withdrawn, strings.TrimSpace(fmt.Sprintf("cancelled by %s in %s %s", by.Name, b.Platform, b.Why)))
}

// windowOffered takes the time that cloud operations gave the change. It is
// the change's only window until it is over.
func (m *move) windowOffered(b ops.WindowOfferedBody) {
	c := m.s.Change
	by, why := m.mapped(b.Platform, b.User, b.Person)
	offer := ops.Occurrence{Window: "offered by " + by.Name, Start: b.Start.UTC(), End: b.End.UTC(), Cutoff: b.End.UTC()}
	if c.State.Terminal() || (c.Offered != nil && c.Offered.Start.Equal(b.Start) && c.Offered.End.Equal(b.End)) {
		return
	}
	switch {
	case why != "":
	case m.g.on(guardOffer) && (by.Kind != ops.Person || !by.Has(m.g.WindowRole)):
		why = fmt.Sprintf("giving a window needs the role %s, which %s does not hold", m.g.WindowRole, by.Name)
	case c.State != ops.ChangeAssess && c.State != ops.ChangeAuthorize && c.State != ops.ChangeScheduled:
		why = fmt.Sprintf("the change is %s and takes no window", c.State)
	case !b.Start.Before(b.End) || b.End.Sub(b.Start) > window.MaxDuration:
		why = fmt.Sprintf("%s to %s is no window", stamp(b.Start), stamp(b.End))
	case !m.w.Now.Before(b.End):
		why = "the window is over already, it ended at " + stamp(b.End)
	}
	if why != "" {
		m.tell(ops.PlatformWordVoidBody{ChangeID: c.ID, Platform: b.Platform, Display: b.Display, User: b.User, Person: b.Person, What: "window", Why: why})
		return
	}
	m.by = by
	c.Offered = &offer
	m.tell(ops.WindowTakenBody{Change: c, Why: fmt.Sprintf("%s offered it in %s %s", by.Name, b.Platform, b.Display)})
	if c.State == ops.ChangeScheduled {
		m.schedule("another window")
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// standingOffer returns the offered window while it is not over.
func (m *move) standingOffer() *window.Window {
	o := m.s.Change.Offered
	if o == nil || !m.w.Now.Before(o.End) || !m.g.on(guardOffered) {
		return nil
	}
	w, err := window.Compile(ops.Window{Name: o.Window, Schedule: "always", From: o.Start, To: o.End, TimeZone: "UTC"})
	if err != nil {
		m.fault = fmt.Errorf("%s: %w: %w", m.s.Change.Key(), err, ops.ErrInternal) // it was checked when it was taken
	}
	return w
}
