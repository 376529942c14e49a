package safetytest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change/safetytest"
	"github.com/fettleops/fettle/ops"
)

// A judge that has never found anybody guilty is no judge: each case tells a
// story that breaks exactly one property, and one that breaks none.
func TestOracleFindsEveryBreach(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	person := func(id string, r ops.Role) ops.Principal {
		return ops.Principal{ID: id, Name: id, Kind: ops.Person, Roles: []ops.Role{r}}
	}
	rules := safetytest.Rules{
		Open: func(at time.Time) (end, cutoff time.Time, ok bool) {
			return noon.Add(2 * time.Hour), noon.Add(time.Hour), !at.Before(noon)
		},
		Frozen: func(from, to time.Time) []string {
			if to.After(noon.Add(100*time.Minute)) && from.Before(noon.Add(3*time.Hour)) {
				return []string{"freeze"}
			}
			return nil
		},
		FourEyes:   0.7,
		Delegated:  func(of, to string, _ time.Time) bool { return of == "ann" && to == "vic" },
		WindowRole: ops.ChangeManager,
		Glass:      map[string][]ops.Role{"freeze": {ops.IncidentCommander}},
		Of:         func(string) (string, string) { return "", "" },
		Automatic:  func(c ops.Change) bool { return c.Type == ops.ChangeStandard },
		Need:       func(ops.Change) []ops.Approvers { return []ops.Approvers{{Role: ops.Approver, Count: 1}} },
		In: func(c ops.Change) string {
			if c.Action == "in snow" {
				return "snow"
			}
			return ""
		},
		Estimates: func(string) (time.Duration, time.Duration) { return 0, 0 },
		People: map[string]ops.Principal{
			"ann": person("ann", ops.Approver), "bob": person("bob", ops.Approver), "vic": person("vic", ops.Viewer),
			"bot": {ID: "bot", Name: "bot", Kind: ops.Service, Roles: []ops.Role{ops.Admin}},
		},
		MaxStarts: 1, MaxResources: 1, Per: time.Hour,
	}
	type story struct {
		change   ops.Change
		plan     ops.Plan
		approval ops.Approval
		startAt  time.Time
		digest   string
		stopped  bool
		again    bool // the same run starts twice
		edited   bool
		ordered  int // ApplyPlan orders
	}
	f := func(want string, spoil func(s *story)) {
		t.Helper()
		s := story{
			change:  ops.Change{ID: "c", State: ops.ChangeAssess, Type: ops.ChangeNormal, RequestedBy: "bob", ResourceID: "r", Revision: 1, VerifyWithin: time.Minute},
			plan:    ops.Plan{ID: "p", ChangeID: "c", Revision: 1, Rollback: []ops.PlanAction{{Verb: "run"}}, ApplySecs: 60, RollbackSecs: 60},
			startAt: noon, ordered: 1,
		}
		s.plan.Digest = s.plan.ComputeDigest()
		s.digest = s.plan.Digest
		s.approval = ops.Approval{ChangeID: "c", Principal: "ann", Decision: ops.Approved, Digest: s.plan.Digest, Revision: 1, Via: "api"}
		spoil(&s)
		o := safetytest.New(rules)
		var seq int64
		var got error
		tell := func(at time.Time, by string, subject string, body ops.FactBody) {
			seq++
			fact := ops.NewFact(subject, at, ops.Principal{Name: by}, "", body)
			fact.Seq = seq
			if err := o.Fact(fact); err != nil && got == nil {
				got = err
			}
		}
		asked := s.change
		asked.PlanID, asked.PlanDigest = s.plan.ID, s.plan.Digest
		run := ops.Run{ID: "run", PlanID: "p", Digest: s.digest, State: ops.RunQueued}
		tell(noon, "bob", "change/c", ops.ChangeRaisedBody{Change: s.change})
		tell(noon, "x", "change/c", ops.PlanMadeBody{Plan: s.plan})
		if s.edited {
			tell(noon, "ann", "change/c", ops.ChangeEditedBody{Change: s.change})
		}
		tell(noon, "x", "change/c", ops.ApprovalRequestedBody{Change: asked, Digest: s.plan.Digest})
		if s.approval.Principal != "" {
			tell(noon, "x", "change/c", ops.ApprovalGivenBody{Approval: s.approval})
		}
		if s.stopped {
			tell(noon, "x", ops.SystemSubject, ops.ExecutionSwitchBody{})
		}
		tell(s.startAt, "x", "change/c", ops.RunStartedBody{Run: run})
		if s.again {
			tell(s.startAt, "x", "change/c", ops.RunStartedBody{Run: run})
		}
		for range s.ordered {
			if err := o.Command(ops.NewCommand(ops.ApplyPlan, "change/c", nil), s.startAt); err != nil && got == nil {
				got = err
			}
		}
		switch {
		case want == "" && got != nil:
			t.Errorf("a lawful story is found guilty: %v", got)
		case want != "" && (got == nil || !strings.Contains(got.Error(), want)):
			t.Errorf("%v, want %q", got, want)
		}
	}
	f("", func(*story) {})
	f("", func(s *story) {
		s.change.Type, s.approval = ops.ChangeStandard, ops.Approval{Principal: "system", Decision: ops.Approved, Digest: s.plan.Digest, Revision: 1, Via: "policy"}
	})
	f("property 1 is broken: change c starts unapproved", func(s *story) { s.approval.Principal = "" })
	f("property 1 is broken: change c starts unapproved", func(s *story) { s.approval.Principal = "vic" })
	f("property 1 is broken: change c starts under digest", func(s *story) { s.digest = "other" })
	f("outside its window", func(s *story) { s.startAt = noon.Add(-time.Second) })
	f("outside its window", func(s *story) { s.startAt = noon.Add(time.Hour) })
	f("reaches into a freeze", func(s *story) { s.plan.ApplySecs = 6000 })
	f("property 2", func(s *story) { s.plan.RollbackSecs = 7200 })
	f("property 2", func(s *story) { s.plan.ApplySecs = 0 })
	f("who requested it", func(s *story) { s.approval.Principal = "bob" })
	f("who edited it", func(s *story) { s.edited = true })
	f("no known person", func(s *story) { s.approval.Principal = "bot" })
	f("no known person", func(s *story) { s.approval.Principal = "zoe" })
	f("about another plan", func(s *story) { s.approval.Revision = 0 })
	f("about another plan", func(s *story) { s.approval.Digest = "other" })
	f("a policy that does not say so", func(s *story) { s.approval.Via = "policy" })
	in := func(s *story) {
		s.change.Action, s.change.ApproveIn, s.change.Approvers = "in snow", "snow", []ops.Approvers{{Role: ops.Approver, Count: 1}}
	}
	f("only approvals in snow count", in)
	f("nobody saw", func(s *story) { in(s); s.approval.Ref, s.approval.Via = "snow:1", "snow" })
	f(`and its rule says "snow"`, func(s *story) { in(s); s.change.ApproveIn = "" })
	f("property 4", func(s *story) { s.again = true })
	f("applied twice", func(s *story) { s.ordered = 2 })
	f("execution is stopped", func(s *story) { s.stopped = true })
}
