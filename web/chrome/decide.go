package chrome

import (
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// MayDecide returns why a principal may not approve or deny a change now,
// empty if they may, in their own name or in that of somebody absent. The gate
// checks again; this only spares people buttons that cannot work.
func MayDecide(p ops.Principal, absent []ops.Principal, c ops.Change) string {
	switch {
	case c.State != ops.ChangeAuthorize:
		return "This change does not wait for approval."
	case p.Kind != ops.Person:
		return "Only a person approves. You are signed in as a " + string(p.Kind) + "."
	case c.RequestedBy == p.ID:
		return "You asked for this change. Somebody else has to approve it."
	case slices.Contains(c.EditedBy, p.ID):
		return "You worked on this plan. Somebody else has to approve it."
	}
	for _, a := range standing(c) {
		switch p.ID {
		case a.Principal:
			return "You approved this plan already. Another person has to as well."
		case a.For:
			return "It is approved in your name already, by " + a.Name + ". Another person has to as well."
		}
	}
	own := lacks(p, c)
	if own == "" || InNameOf(p, absent, c) != "" {
		return ""
	}
	return own
}

// InNameOf returns the name of the absent person in whose name a principal
// would decide, empty when they would in their own or not at all.
func InNameOf(p ops.Principal, absent []ops.Principal, c ops.Change) string {
	if lacks(p, c) == "" {
		return ""
	}
	for _, a := range absent {
		took := a.ID == c.RequestedBy || slices.Contains(c.EditedBy, a.ID) ||
			slices.ContainsFunc(standing(c), func(s ops.Approval) bool { return s.Principal == a.ID || s.For == a.ID })
		if !took && lacks(a, c) == "" {
			return a.Name
		}
	}
	return ""
}

// lacks returns what a principal lacks to give the decision that is awaited.
func lacks(p ops.Principal, c ops.Change) string {
	step := awaited(c)
	if len(step.People) > 0 {
		if slices.Contains(step.People, p.Name) {
			return ""
		}
		return "It waits for " + strings.Join(step.People, " or ") + "."
	}
	switch {
	case !p.May(ops.MayApprove):
		return "Approving needs one of the roles approver, application-owner, change-manager, incident-commander or admin."
	case step.Role != "" && !p.Has(step.Role):
		return "It waits for the role " + string(step.Role) + ", which you do not hold."
	case c.Team == "" || slices.Contains(p.Teams, c.Team):
		return ""
	case step.Role == ops.ApplicationOwner || len(p.Teams) > 0 && !p.May(ops.MayManageChanges):
		return "It belongs to team " + c.Team + ", and you to " + teams(p.Teams) + "."
	}
	return ""
}

func teams(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// standing returns the approvals of the plan that stands.
func standing(c ops.Change) []ops.Approval {
	var out []ops.Approval
	for _, a := range c.Approvals {
		if c.Counts(a) {
			out = append(out, a)
		}
	}
	return out
}

// awaited returns who must approve next.
func awaited(c ops.Change) ops.Approvers {
	have := len(standing(c))
	for _, a := range c.Approvers {
		if have < a.Count {
			return a
		}
		have -= a.Count
	}
	return ops.Approvers{}
}

// Step is one step of an approval and how far it has come.
type Step struct {
	Asked ops.Approvers
	By    []string // who approved, for people
	Left  int      // how many are still needed
}

// Steps lists who must approve the plan that stands, in order.
func Steps(c ops.Change) []Step {
	have := standing(c)
	var out []Step
	for _, a := range c.Approvers {
		s := Step{Asked: a, Left: a.Count}
		for s.Left > 0 && len(have) > 0 {
			s.By, have = append(s.By, have[0].Name), have[1:]
			s.Left--
		}
		out = append(out, s)
	}
	return out
}

// Elsewhere is where the reader has to go to approve a change.
type Elsewhere struct {
	Platform string
	Ticket   *ops.Ticket // nil: it is not opened yet
}

// ApprovedElsewhere returns where a change that waits has to be approved, nil
// when that is here. tickets are those of the change.
func ApprovedElsewhere(c ops.Change, tickets []ops.Ticket) *Elsewhere {
	if c.State != ops.ChangeAuthorize || c.ApproveIn == "" || c.ApproveIn == ops.DeskPlatform {
		return nil
	}
	out := &Elsewhere{Platform: c.ApproveIn}
	for _, t := range tickets {
		if t.Platform == c.ApproveIn && t.Kind == ops.TicketChangeRequest && t.Display != "" {
			out.Ticket = &t
		}
	}
	return out
}
