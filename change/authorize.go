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
	if a := c.Analysis; a != nil && a.Saving != nil && c.SavingMonthly == nil {
		if hourly, known := a.Saving.PerHour(); known {
			monthly := hourly * 730 // hours of a twelfth of a year
			c.SavingMonthly = &monthly
		}
	}
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
	if m.g.on(guardPlan) && (p.Digest == "" || p.Digest != p.ComputeDigest()) {
		m.end(ops.Withdrawn, fmt.Sprintf("the plan of revision %d does not match its digest", p.Revision))
		return
	}
	m.s.Plan = p
	c.State, c.PlanID, c.PlanDigest, c.Policy = ops.ChangeAuthorize, p.ID, p.Digest, m.g.digest
	rule, why, automatic := m.g.rule(c, m.w.Resource)
	c.Approve, c.Approvers, c.ApproveIn = why, rule.Approvers, rule.In
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
	high := c.Risk >= *g.FourEyesFrom && g.on(guardFourEyes)
	for i, rule := range g.Approval {
		holds, err := g.rules[i].Match(policy.Vars{Change: &c, Resource: &r})
		if err != nil {
			trouble = append(trouble, err.Error())
			continue
		}
		if !holds || (rule.Automatically && c.Type != ops.ChangeStandard && g.on(guardStandard)) {
			continue
		}
		if rule.Expires == 0 {
			rule.Expires = DefaultExpires
		}
		because := rule.Match + " matches"
		if rule.Automatically {
			if !high {
				return rule, fmt.Sprintf("pre-approved by policy: a standard change that matches %s is approved automatically", rule.Match), true
			}
			rule.Automatically = false
		}
		rule.Approvers, because = g.asked(rule.Approvers, c, because, high)
		return rule, fmt.Sprintf("needs %s%s, because %s", people(rule.Approvers), onlyIn(rule.In), because), false
	}
	rule = ApprovalRule{Expires: DefaultExpires}
	because := "no approval rule matches"
	rule.Approvers, because = g.asked([]ops.Approvers{{Role: ops.ChangeManager, Count: 1}}, c, because, high)
	why = fmt.Sprintf("needs %s, because %s", people(rule.Approvers), because)
	if len(trouble) > 0 {
		why += "; " + strings.Join(trouble, "; ")
	}
	return rule, why, false
}

// asked names the steps of a rule for one change: its owners, and a second
// pair of eyes where the risk is high.
func (g *Gate) asked(steps []ops.Approvers, c ops.Change, because string, high bool) ([]ops.Approvers, string) {
	out, n := slices.Clone(steps), 0
	for i, a := range out {
		n += a.Count
		switch {
		case a.Role != Owner:
		case c.Team == "":
			out[i].Role = ops.ChangeManager
			because += "; no team owns it, so a change manager is asked"
		default:
			out[i].Role = ops.ApplicationOwner
		}
	}
	if !high || n >= 2 {
		return out, because
	}
	because += fmt.Sprintf("; at a risk of %.2g two different persons must approve", c.Risk)
	if last := len(out) - 1; last >= 0 && len(out[last].People) == 0 {
		out[last].Count = 2
		return out, because
	}
	return append(out, ops.Approvers{Role: ops.ChangeManager, Count: 2 - n}), because
}

func onlyIn(platform string) string {
	switch platform {
	case "":
		return ""
	case ops.DeskPlatform:
		return " in Fettle and nowhere else"
	}
	return " in " + platform + " and nowhere else"
}

func people(in []ops.Approvers) string {
	out := make([]string, len(in))
	for i, a := range in {
		out[i] = a.String()
	}
	return strings.Join(out, ", then ")
}

// decided records an approval or a denial, if this person may give it on what
// they saw.
func (m *move) decided(e Decided) error {
	c := m.s.Change
	if err := known(e.Decision, c); err != nil {
		return err
	}
	absent, err := m.mayDecide(e.By, m.w.Now)
	if err != nil {
		return err
	}
	if err := m.sameDigest(e.Digest, c); err != nil {
		return err
	}
	if why := m.misplaced(e.Decision, ops.DeskPlatform); why != "" {
		return fmt.Errorf("%s: %s: %w", c.Key(), why, ops.ErrDenied)
	}
	m.decision(e.By, absent, ops.Approval{Decision: e.Decision, Comment: e.Comment, At: m.w.Now, Via: e.Via})
	return nil
}

// misplaced returns why an approval given in a platform does not count there,
// empty if it does. A denial counts from anywhere: it lets nothing happen.
func (m *move) misplaced(d ops.Decision, platform string) string {
	c := m.s.Change
	switch {
	case d != ops.Approved || c.ApproveIn == "" || c.ApproveIn == platform || !m.g.on(guardPlace):
		return ""
	case c.ApproveIn == ops.DeskPlatform:
		return "policy has it approved in Fettle only: on its page, by the API or with fettle changes approve"
	case m.w.Ticket == "":
		return fmt.Sprintf("policy has it approved in %s only, where its ticket is not opened yet", c.ApproveIn)
	}
	return fmt.Sprintf("policy has it approved in %s only; approve %s there", c.ApproveIn, m.w.Ticket)
}

func known(d ops.Decision, c ops.Change) error {
	if d == ops.Approved || d == ops.Refused {
		return nil
	}
	return fmt.Errorf("%s: decision %q is neither approved nor denied: %w", c.Key(), d, ops.ErrInvalid)
}

// decision records what a person who may decide said about the plan that
// stands, and does what follows. absent is in whose name, zero: their own.
func (m *move) decision(by, absent ops.Principal, a ops.Approval) {
	c := m.s.Change
	a.ChangeID, a.Principal, a.Name, a.Digest, a.Revision = c.ID, by.ID, by.Name, c.PlanDigest, c.Revision
	if absent.ID != "" {
		a.Name, a.For = by.Name+" for "+absent.Name, absent.ID
	}
	m.tell(ops.ApprovalGivenBody{Approval: a})
	switch {
	case a.Decision == ops.Refused:
		m.end(ops.Denied, strings.TrimSpace("denied by "+a.Name+" "+a.Comment))
	case Approved(m.s.Change):
		m.schedule("approved by " + a.Name)
	}
}

// mayDecide returns in whose name a person may decide about the plan that
// stands: zero in their own. at is when they decided.
func (m *move) mayDecide(by ops.Principal, at time.Time) (absent ops.Principal, err error) {
	c := m.s.Change
	refuse := func(format string, args ...any) (ops.Principal, error) {
		return absent, fmt.Errorf("%s: %w: %w", c.Key(), fmt.Errorf(format, args...), ops.ErrDenied)
	}
	switch {
	case c.State != ops.ChangeAuthorize:
		return absent, fmt.Errorf("%s is %s and waits for no approval: %w", c.Key(), c.State, ops.ErrConflict)
	case m.g.on(guardExpired) && !m.w.Now.Before(c.ExpiresAt):
		return absent, fmt.Errorf("%s: the request expired at %s: %w", c.Key(), c.ExpiresAt.UTC().Format(time.RFC3339), ops.ErrConflict)
	case m.g.on(guardPerson) && (by.Kind != ops.Person || by.ID == ""):
		return refuse("only a person decides, %s is a %s", by.Name, by.Kind)
	case m.g.on(guardRequester) && by.ID == c.RequestedBy:
		return refuse("%s requested it; somebody else must decide", by.Name)
	case m.g.on(guardEditor) && slices.Contains(c.EditedBy, by.ID):
		return refuse("%s edited it; somebody else must decide", by.Name)
	}
	absent, err = m.inWhoseName(by, at)
	if err != nil {
		return absent, err
	}
	if !m.g.on(guardTwice) {
		return absent, nil
	}
	for _, a := range standing(c) {
		switch {
		case a.Principal == by.ID:
			return refuse("%s has approved it already; another person must", by.Name)
		case a.For == by.ID || (absent.ID != "" && (a.Principal == absent.ID || a.For == absent.ID)):
			return refuse("it is approved by %s already; another person must", a.Name)
		}
	}
	return absent, nil
}

// inWhoseName returns whose right to decide a person uses: the own one, or
// that of somebody absent who has delegated it.
func (m *move) inWhoseName(by ops.Principal, at time.Time) (absent ops.Principal, err error) {
	c := m.s.Change
	own := m.g.mayGive(by, c)
	if own == nil {
		return absent, nil
	}
	for _, d := range m.g.Delegations {
		p, found := m.w.People[d.Of]
		switch {
		case d.To != by.Name || !found || p.Kind != ops.Person:
		case m.g.on(guardSpan) && (at.Before(d.From) || !at.Before(d.Until)):
		case m.g.on(guardAbsent) && (p.ID == c.RequestedBy || slices.Contains(c.EditedBy, p.ID)):
		case m.g.mayGive(p, c) == nil:
			return p, nil
		}
	}
	return absent, own
}

// mayGive returns why a person's rights do not suffice for the decision that
// is awaited next.
func (g *Gate) mayGive(p ops.Principal, c ops.Change) error {
	step, progress := awaited(c)
	if len(step.People) > 0 {
		if g.on(guardRole) && !slices.Contains(step.People, p.Name) {
			return fmt.Errorf("%s: waits for %s (%s), who %s is not: %w", c.Key(), strings.Join(step.People, " or "), progress, p.Name, ops.ErrDenied)
		}
		return nil
	}
	if !g.on(guardRole) {
		return nil
	}
	if err := p.Require(ops.MayApprove); err != nil {
		return fmt.Errorf("%s: %w", c.Key(), err)
	}
	if !p.Has(step.Role) {
		return fmt.Errorf("%s: waits for the role %s (%s), which %s does not hold: %w", c.Key(), step.Role, progress, p.Name, ops.ErrDenied)
	}
	if err := inScope(p, step.Role, c); err != nil && g.on(guardTeam) {
		return fmt.Errorf("%s: %w: %w", c.Key(), err, ops.ErrDenied)
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

func (m *move) sameDigest(given string, c ops.Change) error {
	if !m.g.on(guardShown) {
		return nil
	}
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
	if m.g.on(guardEdited) {
		c.Type, c.Risk = notStandard(c.Type), 1 // what was judged before is no longer what is done
	}
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
	if err := m.mayWithdraw(e.By); err != nil {
		return err
	}
	m.end(cmp.Or(e.Outcome, ops.Withdrawn), strings.TrimSpace("cancelled by "+e.By.Name+" "+e.Why))
	return nil
}

func (m *move) mayWithdraw(by ops.Principal) error {
	c := m.s.Change
	if m.g.on(guardWithdrawer) && by.ID != c.RequestedBy && !by.May(ops.MayManageChanges) {
		return fmt.Errorf("%s: only who requested it or a change manager may cancel it: %w", c.Key(), ops.ErrDenied)
	}
	if !ops.CanMoveChange(c.State, ops.ChangeCancelled) {
		return fmt.Errorf("%s is %s and can no longer be cancelled: %w", c.Key(), c.State, ops.ErrConflict)
	}
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
	case ops.ChangeReview:
		m.wake = m.w.Now.Add(m.g.HeldFor) // it ends by a person's word only
	}
}
