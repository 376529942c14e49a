package safetytest

import (
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// answered notes the answer to a decision seen in a platform: one for each.
func (o *Oracle) answered(id string, a ops.Approval) error {
	key := id + "/" + a.Ref
	if o.refs[key] {
		return broken(3, "change %s answers the decision %s twice", id, a.Ref)
	}
	o.refs[key] = true
	return nil
}

func (o *Oracle) approval(id string, b *book, at time.Time, a ops.Approval) error {
	if b.asked == nil {
		return broken(3, "change %s is decided although no plan stands", id)
	}
	if a.Digest != b.asked.Digest || a.Revision != b.asked.Change.Revision {
		return broken(3, "change %s: the decision is about another plan than the one that stands", id)
	}
	if a.Via == "policy" {
		if len(b.editors) > 0 || !o.Automatic(b.change) || b.change.Risk >= o.FourEyes {
			return broken(3, "change %s is approved by a policy that does not say so", id)
		}
		b.given = append(b.given, a)
		return nil
	}
	if until := b.asked.Change.ExpiresAt; !until.IsZero() && !at.Before(until) {
		return broken(3, "change %s is decided at %s, and was asked about until %s", id, at, until)
	}
	if a.Ref != "" {
		if err := o.fromPlatform(id, b, a); err != nil {
			return err
		}
	}
	who := []string{a.Principal}
	if a.For != "" {
		who = append(who, a.For)
		if !o.Delegated(a.For, a.Principal, a.At) {
			return broken(3, "change %s is decided by %s for %s, who has not delegated it", id, a.Principal, a.For)
		}
	}
	for _, one := range who {
		p, known := o.People[one]
		switch {
		case !known || p.Kind != ops.Person:
			return broken(3, "change %s is decided by %s, who is no known person", id, one)
		case one == b.requester:
			return broken(3, "change %s is decided by %s, who requested it", id, one)
		case slices.Contains(b.editors, one):
			return broken(3, "change %s is decided by %s, who edited it", id, one)
		}
	}
	if a.Decision == ops.Approved {
		if in := o.place(b.change); in != "" && !o.heard(id, a, in) {
			return broken(3, "change %s is approved by %s via %s, and only approvals in %s count", id, a.Principal, a.Via, in)
		}
		b.given = append(b.given, a)
	}
	return nil
}

// place returns where a change has to be approved.
func (o *Oracle) place(c ops.Change) string {
	if o.In == nil {
		return ""
	}
	return o.In(c)
}

// heard reports whether an approval was given in a platform: seen there, or
// for the desk, in no platform at all.
func (o *Oracle) heard(id string, a ops.Approval, in string) bool {
	if a.Ref == "" {
		return in == "desk"
	}
	return slices.ContainsFunc(o.spoken[id+"/"+a.Ref], func(seen ops.ApprovalSeenBody) bool { return seen.Platform == in })
}

// fromPlatform compares a decision that counted with what was seen.
func (o *Oracle) fromPlatform(id string, b *book, a ops.Approval) error {
	if err := o.answered(id, a); err != nil {
		return err
	}
	err := broken(3, "change %s counts the decision %s, which nobody saw", id, a.Ref)
	for _, seen := range o.spoken[id+"/"+a.Ref] {
		switch {
		case o.People[a.Principal].Name != seen.Person || seen.Person == "":
			err = broken(3, "change %s counts a decision of %q for %s", id, seen.Person, a.Principal)
		case seen.Decision != a.Decision:
			err = broken(3, "change %s turns %s into %s", id, seen.Decision, a.Decision)
		case seen.Digest != b.asked.Digest || seen.Revision != b.asked.Change.Revision:
			err = broken(3, "change %s counts a decision about a plan that no longer stands", id)
		case seen.WrittenAt.IsZero() || !seen.DecidedAt.After(seen.WrittenAt):
			err = broken(3, "change %s counts a decision from before its plan stood on the ticket", id)
		default:
			return nil
		}
	}
	return err
}

func holds(p ops.Principal, r ops.Role) bool {
	return slices.Contains(p.Roles, r) || slices.Contains(p.Roles, ops.Admin)
}

func manages(p ops.Principal) bool {
	return holds(p, ops.ChangeManager) || holds(p, ops.IncidentCommander)
}

// approved reports whether different persons with the roles have approved.
func (o *Oracle) approved(b *book) bool {
	type voice struct{ person, right ops.Principal } // who spoke, and whose right it was
	var voices []voice
	for _, a := range b.given {
		if a.Via == "policy" {
			return true
		}
		v := voice{o.People[a.Principal], o.People[a.Principal]}
		if a.For != "" {
			v.right = o.People[a.For]
		}
		same := func(w voice) bool {
			return w.person.ID == v.person.ID || w.right.ID == v.right.ID || w.person.ID == v.right.ID || w.right.ID == v.person.ID
		}
		if !slices.ContainsFunc(voices, same) {
			voices = append(voices, v)
		}
	}
	if b.change.Risk >= o.FourEyes && len(voices) < 2 {
		return false
	}
	for _, need := range o.Need(b.change) {
		for range need.Count {
			i := slices.IndexFunc(voices, func(v voice) bool { return fits(v.right, need, b.change.Team) })
			if i < 0 {
				return false
			}
			voices = slices.Delete(voices, i, i+1)
		}
	}
	return true
}

func fits(p ops.Principal, need ops.Approvers, team string) bool {
	if len(need.People) > 0 {
		return slices.Contains(need.People, p.Name)
	}
	if !holds(p, need.Role) {
		return false
	}
	if team == "" || slices.Contains(p.Teams, team) {
		return true
	}
	return need.Role != ops.ApplicationOwner && (len(p.Teams) == 0 || manages(p))
}

// glass checks who overrides a freeze.
func (o *Oracle) glass(id string, b *book, f ops.Fact) error {
	if b.asked == nil {
		return broken(1, "change %s overrides a freeze for no plan", id)
	}
	var g ops.BreakGlass
	if f.Kind == ops.BreakGlassAsked {
		g = body[ops.BreakGlassAskedBody](f).Glass
	} else {
		g = body[ops.GlassBrokenBody](f).Glass
		if g.By == g.Second {
			return broken(1, "change %s overrides the freeze %s by one person alone", id, g.Freeze)
		}
		b.glass = append(b.glass, g)
	}
	for _, who := range []string{g.By, g.Second} {
		p := o.People[who]
		switch {
		case who == "" && f.Kind == ops.BreakGlassAsked:
		case p.Kind != ops.Person || !slices.ContainsFunc(o.Glass[g.Freeze], func(r ops.Role) bool { return holds(p, r) }):
			return broken(1, "change %s overrides the freeze %s by %q, who may not", id, g.Freeze, who)
		case who == b.requester || slices.Contains(b.editors, who):
			return broken(1, "change %s overrides the freeze %s by %q, who asked for the change", id, g.Freeze, who)
		case g.Reason == "":
			return broken(1, "change %s overrides the freeze %s without a reason", id, g.Freeze)
		}
	}
	return nil
}

// frozen reports whether a freeze that is not overridden meets [from, to).
func (o *Oracle) frozen(b *book, from, to time.Time) bool {
	return slices.ContainsFunc(o.Frozen(from, to), func(name string) bool {
		return !slices.ContainsFunc(b.glass, func(g ops.BreakGlass) bool { return g.Freeze == name })
	})
}

// reviewed reports how the change may be closed after glass was broken for it.
func (o *Oracle) reviewed(id string, b *book, c ops.Change) error {
	if len(b.used) == 0 || c.State != ops.ChangeClosed {
		return nil
	}
	if c.Review == nil || c.Review.By == "" || c.Review.Note == "" {
		return broken(1, "change %s is closed without the review that a broken freeze demands", id)
	}
	p := o.People[c.Review.By]
	took := slices.ContainsFunc(b.used, func(g ops.BreakGlass) bool { return g.By == p.ID || g.Second == p.ID })
	if p.Kind != ops.Person || !manages(p) || took || p.ID == b.requester {
		return broken(1, "the review of change %s is signed by %s, who may not", id, c.Review.By)
	}
	return nil
}
