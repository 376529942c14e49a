package change

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// breakGlass asks for, or confirms, the overriding of one freeze for this
// change and the plan that stands.
func (m *move) breakGlass(e GlassBroken) error {
	c := m.s.Change
	reason := strings.TrimSpace(e.Reason)
	if err := e.By.Require(ops.MayApprove); err != nil {
		return fmt.Errorf("%s: %w", c.Key(), err)
	}
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %w", c.Key(), fmt.Errorf(format, args...), ops.ErrDenied)
	}
	i := slices.IndexFunc(m.g.Freezes, func(f ops.Window) bool { return f.Name == e.Freeze })
	switch {
	case c.State != ops.ChangeAuthorize && c.State != ops.ChangeScheduled:
		return fmt.Errorf("%s is %s; a freeze is overridden for a change that waits for approval or for its window: %w", c.Key(), c.State, ops.ErrConflict)
	case i < 0:
		return fmt.Errorf("%s: there is no freeze %q: %w", c.Key(), e.Freeze, ops.ErrInvalid)
	case reason == "":
		return fmt.Errorf("%s: reason is empty; say why the freeze cannot be waited for: %w", c.Key(), ops.ErrInvalid)
	case e.By.Kind != ops.Person || e.By.ID == "":
		return refuse("only a person breaks glass, %s is a %s", e.By.Name, e.By.Kind)
	}
	roles := m.g.Freezes[i].BreakGlass
	switch {
	case len(roles) == 0:
		return refuse("the freeze %s has no break_glass: nobody may override it", e.Freeze)
	case m.g.on(guardGlassRole) && !slices.ContainsFunc(roles, e.By.Has):
		return refuse("overriding the freeze %s needs one of the roles %v, which %s does not hold", e.Freeze, roles, e.By.Name)
	case m.g.on(guardGlassOwn) && (e.By.ID == c.RequestedBy || slices.Contains(c.EditedBy, e.By.ID)):
		return refuse("%s requested or edited it; others must override the freeze", e.By.Name)
	}
	at := slices.IndexFunc(c.BreakGlass, func(b ops.BreakGlass) bool { return b.Freeze == e.Freeze && b.Void == "" })
	c.BreakGlass = slices.Clone(c.BreakGlass)
	if at < 0 {
		glass := ops.BreakGlass{Freeze: e.Freeze, Reason: reason, By: e.By.ID, ByName: e.By.Name, At: m.w.Now, Revision: c.Revision}
		c.BreakGlass = append(c.BreakGlass, glass)
		m.tell(ops.BreakGlassAskedBody{Change: c, Glass: glass, Roles: roles})
		if m.g.on(guardGlassPair) {
			return nil
		}
		at = len(c.BreakGlass) - 1
	}
	glass := &c.BreakGlass[at]
	switch {
	case glass.Second != "":
		return fmt.Errorf("%s: the freeze %s is overridden already, by %s and %s: %w", c.Key(), e.Freeze, glass.ByName, glass.SecondName, ops.ErrConflict)
	case m.g.on(guardGlassPair) && glass.By == e.By.ID:
		return refuse("%s asked for it; a second person with one of the roles %v must confirm it", e.By.Name, roles)
	}
	glass.Second, glass.SecondName, glass.SecondAt, glass.SecondWords = e.By.ID, e.By.Name, m.w.Now, reason
	m.tell(ops.GlassBrokenBody{Change: c, Glass: *glass})
	if c.State == ops.ChangeScheduled {
		m.schedule("the freeze " + e.Freeze + " is overridden")
	}
	return nil
}

// overridden reports whether a freeze does not deny the change.
func overridden(c ops.Change, freeze string) bool {
	return slices.ContainsFunc(c.BreakGlass, func(b ops.BreakGlass) bool { return b.Freeze == freeze && b.InForce() })
}

// brokenFreezes names the freezes that are overridden for the change.
func brokenFreezes(c ops.Change) (out []string) {
	for _, b := range c.BreakGlass {
		if b.InForce() {
			out = append(out, b.Freeze)
		}
	}
	return out
}

// signed ends the review of a change for which glass was broken.
func (m *move) signed(e Signed) error {
	c := m.s.Change
	note := strings.TrimSpace(e.Note)
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %w", c.Key(), fmt.Errorf(format, args...), ops.ErrDenied)
	}
	if err := e.By.Require(ops.MayManageChanges); err != nil {
		return fmt.Errorf("%s: %w", c.Key(), err)
	}
	switch {
	case c.State != ops.ChangeReview || c.Review == nil:
		return fmt.Errorf("%s is %s and waits for no review: %w", c.Key(), c.State, ops.ErrConflict)
	case note == "":
		return fmt.Errorf("%s: the note is empty; write what the review found: %w", c.Key(), ops.ErrInvalid)
	case e.By.Kind != ops.Person || e.By.ID == "":
		return refuse("only a person signs a review, %s is a %s", e.By.Name, e.By.Kind)
	}
	took := e.By.ID == c.RequestedBy || slices.ContainsFunc(c.BreakGlass, func(b ops.BreakGlass) bool {
		return b.InForce() && (b.By == e.By.ID || b.Second == e.By.ID)
	})
	if took && m.g.on(guardReviewer) {
		return refuse("%s requested it or broke the glass; somebody else must sign the review", e.By.Name)
	}
	review := *c.Review
	review.By, review.Name, review.Note, review.At = e.By.ID, e.By.Name, note, m.w.Now
	c.Review = &review
	m.closed(c, fmt.Sprintf("reviewed by %s: %s", e.By.Name, note))
	return nil
}

func (m *move) closed(c ops.Change, why string) {
	c.State, c.ClosedAt, c.Waiting = ops.ChangeClosed, m.w.Now, ""
	m.tell(ops.ChangeEndedBody{Change: c, Why: why})
}
