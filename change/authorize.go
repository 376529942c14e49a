package change

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// viaPolicy is how an automatic approval was given.
const viaPolicy = "policy"

// minDigest is how much of a digest a person must give at least.
const minDigest = 12

func (m *move) raise(e Raised) {
	c := e.Change
	c.State, c.Revision, c.CreatedAt, c.RequestedBy = ops.ChangeAssess, 1, m.w.Now, e.By.ID
	m.tell(ops.ChangeRaisedBody{Change: c, Why: e.Why})
	m.plan()
}

// plan orders the plan of the revision the change waits for.
func (m *move) plan() {
	c := m.s.Change
	if c.Revision > m.g.MaxRevisions {
		m.end(ops.Superseded, fmt.Sprintf("the plan had to be made anew %d times; raise the change again when what it acts on has settled", c.Revision-1))
		return
	}
	m.s.Plan = ops.Plan{}
	m.order(ops.MakePlan, ops.MakePlanBody{ChangeID: c.ID, Revision: c.Revision})
	m.wake = m.w.Now.Add(m.g.PlanWithin)
}

// planned asks for approval of a plan.
func (m *move) planned(p ops.Plan) {
	c := m.s.Change
	if c.State != ops.ChangeAssess || p.ChangeID != c.ID || p.Revision != c.Revision {
		return
	}
	if p.Digest == "" || p.Digest != p.ComputeDigest() {
		m.end(ops.Withdrawn, fmt.Sprintf("the plan of revision %d does not match its digest", p.Revision))
		return
	}
	m.s.Plan = p
	c.State, c.PlanID, c.PlanDigest, c.Policy = ops.ChangeAuthorize, p.ID, p.Digest, m.g.digest
	rule, why, automatic := m.g.rule(c, m.w.Resource)
	c.Approve, c.Approvers = why, rule.Approvers
	c.ExpiresAt = m.w.Now.Add(rule.Expires)
	m.tell(ops.ApprovalRequestedBody{Change: c, Digest: p.Digest, Text: p.Text, Why: why})
	if automatic {
		m.tell(ops.ApprovalGivenBody{Approval: ops.Approval{
			ChangeID: c.ID, Principal: ops.SystemPrincipal.ID, Name: viaPolicy, Decision: ops.Approved,
			Digest: p.Digest, Revision: p.Revision, Comment: why, At: m.w.Now, Via: viaPolicy,
		}})
		m.schedule(why)
		return
	}
	m.wake = c.ExpiresAt
}

// rule returns who approves a change and why, by the first rule that matches.
// A rule that cannot be evaluated matches nothing.
func (g *Gate) rule(c ops.Change, r ops.Resource) (rule ApprovalRule, why string, automatic bool) {
	var trouble []string
	for i, rule := range g.Approval {
		holds, err := g.rules[i].Match(policy.Vars{Change: &c, Resource: &r})
		if err != nil {
			trouble = append(trouble, err.Error())
			continue
		}
		if !holds || (rule.Automatically && c.Type != ops.ChangeStandard) {
			continue
		}
		if rule.Expires == 0 {
			rule.Expires = DefaultExpires
		}
		if rule.Automatically {
			return rule, fmt.Sprintf("approved automatically: a standard change that matches %s", rule.Match), true
		}
		return rule, fmt.Sprintf("needs %s, because %s matches", people(rule.Approvers), rule.Match), false
	}
	rule = ApprovalRule{Approvers: []ops.Approvers{{Role: ops.ChangeManager, Count: 1}}, Expires: DefaultExpires}
	why = fmt.Sprintf("needs %s, because no approval rule matches", people(rule.Approvers))
	if len(trouble) > 0 {
		why += "; " + strings.Join(trouble, "; ")
	}
	return rule, why, false
}

func people(in []ops.Approvers) string {
	out := make([]string, len(in))
	for i, a := range in {
		out[i] = fmt.Sprintf("%d × %s", a.Count, a.Role)
	}
	return strings.Join(out, ", then ")
}

// decided records an approval or a denial, if this person may give it on what
// they saw.
func (m *move) decided(e Decided) error {
	c := m.s.Change
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %w", c.Key(), fmt.Errorf(format, args...), ops.ErrDenied)
	}
	if e.Decision != ops.Approved && e.Decision != ops.Refused {
		return fmt.Errorf("%s: decision %q is neither approved nor denied: %w", c.Key(), e.Decision, ops.ErrInvalid)
	}
	if c.State != ops.ChangeAuthorize {
		return fmt.Errorf("%s is %s and waits for no approval: %w", c.Key(), c.State, ops.ErrConflict)
	}
	if !m.w.Now.Before(c.ExpiresAt) {
		return fmt.Errorf("%s: the request expired at %s: %w", c.Key(), c.ExpiresAt.UTC().Format(time.RFC3339), ops.ErrConflict)
	}
	if e.By.Kind != ops.Person || e.By.ID == "" {
		return refuse("only a person decides, %s is a %s", e.By.Name, e.By.Kind)
	}
	if err := e.By.Require(ops.MayApprove); err != nil {
		return fmt.Errorf("%s: %w", c.Key(), err)
	}
	if e.By.ID == c.RequestedBy {
		return refuse("%s requested it; somebody else must decide", e.By.Name)
	}
	if slices.Contains(c.EditedBy, e.By.ID) {
		return refuse("%s edited it; somebody else must decide", e.By.Name)
	}
	role, progress := awaited(c)
	if !e.By.Has(role) {
		return refuse("waits for the role %s (%s), which %s does not hold", role, progress, e.By.Name)
	}
	if err := inScope(e.By, role, c); err != nil {
		return refuse("%w", err)
	}
	for _, a := range standing(c) {
		if a.Principal == e.By.ID {
			return refuse("%s has approved it already; another person must", e.By.Name)
		}
	}
	if err := sameDigest(e.Digest, c); err != nil {
		return err
	}
	m.tell(ops.ApprovalGivenBody{Approval: ops.Approval{
		ChangeID: c.ID, Principal: e.By.ID, Name: e.By.Name, Decision: e.Decision, Digest: c.PlanDigest, Revision: c.Revision,
		Comment: e.Comment, At: m.w.Now, Via: e.Via,
	}})
	switch {
	case e.Decision == ops.Refused:
		m.end(ops.Denied, strings.TrimSpace("denied by "+e.By.Name+" "+e.Comment))
	case Approved(m.s.Change):
		m.schedule("approved by " + e.By.Name)
	}
	return nil
}

// inScope refuses an application owner of another team, and anybody who is
// bound to other teams and is no change manager.
func inScope(p ops.Principal, role ops.Role, c ops.Change) error {
	if c.Team == "" || slices.Contains(p.Teams, c.Team) {
		return nil
	}
	if role == ops.ApplicationOwner || (len(p.Teams) > 0 && !p.May(ops.MayManageChanges)) {
		return fmt.Errorf("it belongs to team %s and %s to %v", c.Team, p.Name, p.Teams)
	}
	return nil
}

func sameDigest(given string, c ops.Change) error {
	digest, revision, has := strings.Cut(strings.ToLower(strings.TrimSpace(given)), "@")
	if len(digest) < minDigest {
		return fmt.Errorf("%s: digest %q is too short, give at least %d letters of the plan you saw: %w", c.Key(), given, minDigest, ops.ErrInvalid)
	}
	if !strings.HasPrefix(c.PlanDigest, digest) {
		return fmt.Errorf("%s: the plan you saw (%.12s) is not the one that stands now (%.12s, revision %d); read it again: %w", c.Key(), digest, c.PlanDigest, c.Revision, ops.ErrConflict)
	}
	if has && revision != strconv.Itoa(c.Revision) {
		return fmt.Errorf("%s: you saw revision %s of the plan and revision %d stands now; read it again: %w", c.Key(), revision, c.Revision, ops.ErrConflict)
	}
	return nil
}

// edited changes what is to be done. Everything decided about the earlier plan
// is void, and the editor can approve no later one.
func (m *move) edited(e Edited) error {
	c := m.s.Change
	switch {
	case e.By.Kind != ops.Person:
		return fmt.Errorf("%s: only a person edits, %s is a %s: %w", c.Key(), e.By.Name, e.By.Kind, ops.ErrDenied)
	case e.By.ID != c.RequestedBy && !e.By.May(ops.MayManageChanges):
		return fmt.Errorf("%s: only who requested it or a change manager may edit it: %w", c.Key(), ops.ErrDenied)
	case e.Action == "":
		return fmt.Errorf("%s: action is empty; say what is to be done: %w", c.Key(), ops.ErrInvalid)
	case c.State != ops.ChangeAssess && c.State != ops.ChangeAuthorize && c.State != ops.ChangeScheduled:
		return fmt.Errorf("%s is %s and can no longer be edited: %w", c.Key(), c.State, ops.ErrConflict)
	}
	if !slices.Contains(c.EditedBy, e.By.ID) {
		c.EditedBy = append(slices.Clone(c.EditedBy), e.By.ID)
	}
	c.Action, c.Args = e.Action, e.Args
	c.Type, c.Risk = notStandard(c.Type), 1 // what was judged before is no longer what is done
	c = again(c, "edited by "+e.By.Name)
	m.tell(ops.ChangeEditedBody{Change: c, Why: e.Why})
	m.plan()
	return nil
}

func notStandard(t ops.ChangeType) ops.ChangeType {
	if t == ops.ChangeStandard {
		return ops.ChangeNormal
	}
	return t
}

func (m *move) withdrawn(e Withdrawn) error {
	c := m.s.Change
	if e.By.ID != c.RequestedBy && !e.By.May(ops.MayManageChanges) {
		return fmt.Errorf("%s: only who requested it or a change manager may cancel it: %w", c.Key(), ops.ErrDenied)
	}
	if !ops.CanMoveChange(c.State, ops.ChangeCancelled) {
		return fmt.Errorf("%s is %s and can no longer be cancelled: %w", c.Key(), c.State, ops.ErrConflict)
	}
	m.end(cmp.Or(e.Outcome, ops.Withdrawn), strings.TrimSpace("cancelled by "+e.By.Name+" "+e.Why))
	return nil
}

// tooOld reports whether the change has waited longer than any may.
func (m *move) tooOld() bool { return m.w.Now.Sub(m.s.Change.CreatedAt) >= m.g.MaxAge }

func (m *move) woken() {
	c := m.s.Change
	switch c.State {
	case ops.ChangeAssess:
		m.end(ops.Expired, fmt.Sprintf("executor %s made no plan within %s", c.Executor, m.g.PlanWithin))
	case ops.ChangeAuthorize:
		if m.w.Now.Before(c.ExpiresAt) {
			m.wake = c.ExpiresAt
			return
		}
		m.end(ops.Expired, fmt.Sprintf("nobody decided by %s", c.ExpiresAt.UTC().Format(time.RFC3339)))
	case ops.ChangeScheduled:
		m.startOrWait()
	case ops.ChangeImplement:
		m.overdue()
	}
}
