package change

import (
	"fmt"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// State is a change with its current plan. The plan is zero until one is made.
type State struct {
	Change ops.Change
	Plan   ops.Plan
}

// Fold returns the change after a fact of this room about it. A change is
// nothing but the fold of its facts, so replaying them gives the same change;
// only Version, the store's counter, is not part of that. Facts of other rooms
// leave it as it is: what they mean is told again by this room once it has
// heard them.
func Fold(c ops.Change, f ops.Fact) (ops.Change, error) {
	version := c.Version
	next, err := fold(c, f)
	if err != nil {
		return c, err
	}
	next.Version = version
	return next, nil
}

func fold(c ops.Change, f ops.Fact) (ops.Change, error) {
	switch f.Kind {
	case ops.ChangeRaised:
		b, err := ops.Body[ops.ChangeRaisedBody](f)
		return stamped(b.Change, f), err
	case ops.ApprovalRequested:
		b, err := ops.Body[ops.ApprovalRequestedBody](f)
		return stamped(b.Change, f), err
	case ops.ChangeScheduledAt:
		b, err := ops.Body[ops.ChangeScheduledBody](f)
		return stamped(b.Change, f), err
	case ops.ChangeEdited:
		b, err := ops.Body[ops.ChangeEditedBody](f)
		return stamped(b.Change, f), err
	case ops.RunMoved:
		b, err := ops.Body[ops.RunMovedBody](f)
		return stamped(b.Change, f), err
	case ops.ChangeReviewed:
		b, err := ops.Body[ops.ChangeReviewedBody](f)
		return stamped(b.Change, f), err
	case ops.ChangeEnded:
		b, err := ops.Body[ops.ChangeEndedBody](f)
		return stamped(b.Change, f), err
	case ops.ApprovalGiven:
		b, err := ops.Body[ops.ApprovalGivenBody](f)
		c.Approvals = append(append([]ops.Approval{}, c.Approvals...), b.Approval)
		return stamped(c, f), err
	case ops.ApprovalVoided:
		b, err := ops.Body[ops.ApprovalVoidedBody](f)
		if c.Run != nil && !c.Run.State.Final() {
			run := *c.Run
			run.State, run.Error, run.FinishedAt = ops.RunFailed, "nothing was applied: "+b.Why, f.At
			c.Run = &run
		}
		return stamped(again(c, b.Why), f), err
	case ops.ChangeWaiting:
		b, err := ops.Body[ops.ChangeWaitingBody](f)
		c.Waiting = b.Why
		return stamped(c, f), err
	case ops.PlatformWordVoid:
		b, err := ops.Body[ops.PlatformWordVoidBody](f)
		if b.Approval != nil && len(c.Approvals) < maxApprovals {
			c.Approvals = append(append([]ops.Approval{}, c.Approvals...), *b.Approval)
		}
		return stamped(c, f), err
	case ops.WindowTaken:
		b, err := ops.Body[ops.WindowTakenBody](f)
		return stamped(b.Change, f), err
	case ops.BreakGlassAsked:
		b, err := ops.Body[ops.BreakGlassAskedBody](f)
		return stamped(b.Change, f), err
	case ops.GlassBroken:
		b, err := ops.Body[ops.GlassBrokenBody](f)
		return stamped(b.Change, f), err
	case ops.RunStarted:
		b, err := ops.Body[ops.RunStartedBody](f)
		c.State, c.Run, c.Window, c.Waiting = ops.ChangeImplement, &b.Run, &b.Window, ""
		return stamped(c, f), err
	}
	return c, nil
}

// maxApprovals bounds how many decisions that do not count are kept beside
// those that do, so that a platform gone wild cannot fill a change.
const maxApprovals = 100

func stamped(c ops.Change, f ops.Fact) ops.Change {
	c.UpdatedAt = f.At
	return c
}

// again sends a change back to be planned anew: no approval given so far
// counts any more, and no freeze is overridden. An offered window stands: it
// is about the time and not about the plan.
func again(c ops.Change, why string) ops.Change {
	approvals := append([]ops.Approval{}, c.Approvals...)
	for i := range approvals {
		if approvals[i].Void == "" {
			approvals[i].Void = why
		}
	}
	if len(approvals) > 0 {
		c.Approvals = approvals
	}
	glass := slices.Clone(c.BreakGlass)
	for i := range glass {
		if glass[i].Void == "" {
			glass[i].Void = why
		}
	}
	c.BreakGlass = glass
	c.State, c.PlanID, c.PlanDigest, c.Window, c.Waiting = ops.ChangeAssess, "", "", nil, ""
	c.Approvers, c.ApproveIn, c.Approve, c.ExpiresAt = nil, "", "", time.Time{}
	c.Revision++
	return c
}

// Approved reports whether the plan that stands now has every approval it
// needs: decisions about exactly its digest and revision, that are not void.
func Approved(c ops.Change) bool {
	have, byPolicy := 0, false
	for _, a := range standing(c) {
		if a.Via == viaPolicy {
			byPolicy = true
		} else {
			have++
		}
	}
	if len(c.Approvers) == 0 {
		return byPolicy
	}
	return have >= wanted(c)
}

// standing returns the approvals that count.
func standing(c ops.Change) []ops.Approval {
	var out []ops.Approval
	for _, a := range c.Approvals {
		if c.Counts(a) {
			out = append(out, a)
		}
	}
	return out
}

func wanted(c ops.Change) int {
	n := 0
	for _, a := range c.Approvers {
		n += a.Count
	}
	return n
}

// awaited returns who must approve next, and how far it has come.
func awaited(c ops.Change) (ops.Approvers, string) {
	have := len(standing(c))
	for _, a := range c.Approvers {
		if have < a.Count {
			return a, fmt.Sprintf("%d of %d", have, a.Count)
		}
		have -= a.Count
	}
	return ops.Approvers{}, ""
}
