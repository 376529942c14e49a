package servicenow_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/servicenow"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

func changeFields(kind ops.ChangeType) ops.TicketFields {
	return ops.TicketFields{
		Title: "CHG-1 scale web-01", Description: "the analysis", State: "assess", Type: kind, Risk: ops.RiskHigh, Group: "Service Desk", Resource: "web-01",
		Plan: connectortest.Mark(1), PlanText: "~ web-01", Rollback: "back again",
	}
}

var withChanges = connectortest.Values{"changes": map[string]any{}}

func (c *connection) createChange(kind ops.ChangeType) connector.Copy {
	c.Helper()
	c.keys++
	got, err := c.Create(c.Context(), strings.Repeat("0", 31)+string(rune('a'+c.keys)), ops.TicketChangeRequest, changeFields(kind))
	if err != nil {
		c.Fatal(err)
	}
	return got
}

func (c *connection) moveTo(seen connector.Copy, state ops.ChangeState) (connector.Copy, error) {
	c.Helper()
	f := seen.Fields
	f.State, f.ResolveCode, f.ResolveNote = string(state), string(ops.Successful), "done"
	return c.Update(c.Context(), seen.Ref, connector.Edit{Want: f, Changed: []connector.Field{connector.State, connector.ResolveCode, connector.ResolveNote}, Version: seen.Version})
}

// Each type goes its own way, and every move was asked for before it was made.
func TestTypesOfChanges(t *testing.T) {
	template := strings.Repeat("7", 32)
	i := start(t, func(c *simulator.Config) {
		c.Rows = map[string][]simulator.Record{
			"sys_user_group": {{"name": "Service Desk"}}, "cmdb_ci": {{"name": "web-01"}},
			"std_change_record_producer": {{"sys_id": template, "name": "Resize", "description": "of the template", "implementation_plan": "as always", "backout_plan": "as always"}},
		}
	})
	c := i.open(t, i.settings(connectortest.Values{"changes": map[string]any{"standard_template": template}}))

	standard := c.createChange(ops.ChangeStandard)
	if f := standard.Fields; f.Type != ops.ChangeStandard || f.Description != "of the template" || f.Plan != connectortest.Mark(1) {
		t.Errorf("standard opened as %+v", f)
	}
	if _, err := c.RequestApproval(t.Context(), standard.Ref, connectortest.Mark(1)); err == nil || !strings.Contains(err.Error(), "nobody is asked") {
		t.Errorf("a standard change asks nobody: %v", err)
	}
	done, err := c.moveTo(standard, ops.ChangeClosed)
	if err != nil || done.Fields.State != "closed" {
		t.Errorf("standard ended as %s, %v", done.Fields.State, err)
	}

	emergency := c.createChange(ops.ChangeEmergency)
	i.wait(time.Second)
	asked, err := c.RequestApproval(t.Context(), emergency.Ref, connectortest.Mark(1))
	if err != nil || !asked.Asked || asked.Fields.State != "authorize" {
		t.Fatalf("emergency asked as %+v, %v", asked, err)
	}
	c.wire.mu.Lock()
	c.wire.sent = nil
	c.wire.mu.Unlock()
	_, err = c.moveTo(asked, ops.ChangeImplement)
	c.fails(err, ops.ErrInvalid, "authorize", "Canceled", "New")
	if n := c.wire.requests("PATCH"); n != 0 {
		t.Errorf("%d moves were tried that the instance does not offer", n)
	}
	i.decide(t, emergency.Ref, "carl", ops.Approved, "")
	seen, err := c.Get(t.Context(), emergency.Ref)
	if err != nil || seen.Fields.State != "scheduled" || len(seen.Decisions) != 1 || seen.Decisions[0].User != "carl" {
		t.Errorf("approved as %+v, %v", seen, err)
	}
	if done, err = c.moveTo(seen, ops.ChangeReview); err != nil || done.Fields.State != "review" {
		t.Errorf("emergency stands at %s, %v", done.Fields.State, err)
	}
	if asked, moved := c.wire.requests("GET /api/sn_chg_rest/change/"), c.wire.requests("PATCH /api/sn_chg_rest/change/"); asked < moved-1 {
		t.Errorf("%d moves and %d questions", moved, asked)
	}

	plain := i.open(t, i.settings(withChanges))
	_, err = plain.Create(t.Context(), strings.Repeat("e", 32), ops.TicketChangeRequest, changeFields(ops.ChangeStandard))
	plain.fails(err, ops.ErrInvalid, "standard_template")
}

// A model without the way back keeps the old request: nothing is written over it.
func TestNoWayBack(t *testing.T) {
	i := start(t, func(c *simulator.Config) { c.NoRevert = true })
	c := i.open(t, i.settings(withChanges))
	made := c.createChange(ops.ChangeNormal)
	i.wait(time.Second)
	if _, err := c.RequestApproval(t.Context(), made.Ref, connectortest.Mark(1)); err != nil {
		t.Fatal(err)
	}
	_, err := c.WithdrawApproval(t.Context(), made.Ref, "")
	c.fails(err, ops.ErrInvalid, "reverted to New", "Canceled")
}

func TestOnHoldIsSaid(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(withChanges))
	made := c.createChange(ops.ChangeNormal)
	id := strings.TrimPrefix(made.Ref, "change_request/")
	i.as(t, "carl", http.MethodPatch, "/api/now/table/change_request/"+id, map[string]string{"on_hold": "true", "on_hold_reason": "frozen for the audit"})
	seen, err := c.Get(t.Context(), made.Ref)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.moveTo(seen, ops.ChangeCancelled)
	c.fails(err, ops.ErrInvalid, "on hold: frozen for the audit", "nowhere")
}

// A mark somebody else wrote is as young as the ticket: no earlier decision
// can count for it. Two marks name no plan.
func TestTamperedPlan(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(withChanges))
	made := c.createChange(ops.ChangeNormal)
	i.wait(time.Second)
	if _, err := c.RequestApproval(t.Context(), made.Ref, connectortest.Mark(1)); err != nil {
		t.Fatal(err)
	}
	i.wait(time.Second)
	i.decide(t, made.Ref, "carl", ops.Approved, "")
	i.wait(time.Second)
	write := func(text string) connector.Copy {
		t.Helper()
		i.as(t, "carl", http.MethodPatch, "/api/now/table/change_request/"+strings.TrimPrefix(made.Ref, "change_request/"), map[string]string{"justification": text})
		got, err := c.Get(t.Context(), made.Ref)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := write("[fettle-plan:" + connectortest.Mark(2) + "]")
	if got.Fields.Plan != connectortest.Mark(2) || len(got.Decisions) != 1 || !got.Decisions[0].At.Before(got.PlanAt) {
		t.Errorf("a mark by a person: %s at %s, decisions %+v", got.Fields.Plan, got.PlanAt, got.Decisions)
	}
	got = write("[fettle-plan:" + connectortest.Mark(1) + "] [fettle-plan:" + connectortest.Mark(2) + "]")
	if got.Fields.Plan != "" || !got.PlanAt.IsZero() {
		t.Errorf("two marks: %q at %s", got.Fields.Plan, got.PlanAt)
	}
}

func TestConflicts(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(withChanges))
	planned := func() connector.Copy {
		t.Helper()
		made := c.createChange(ops.ChangeNormal)
		f := made.Fields
		f.PlannedStart = i.clock().Add(time.Hour)
		f.PlannedEnd = f.PlannedStart.Add(time.Hour)
		return c.update(made, f, connector.PlannedStart, connector.PlannedEnd)
	}
	one := planned()
	if lines, err := c.Conflicts(t.Context(), one.Ref); err != nil || len(lines) != 0 {
		t.Errorf("alone: %v, %v", lines, err) // its status says Conflict all the same
	}
	two := planned()
	if lines, err := c.Conflicts(t.Context(), two.Ref); err != nil || !slices.Equal(lines, []string{"CI already scheduled: " + one.Display}) {
		t.Errorf("two at once: %v, %v", lines, err)
	}
}

func TestRisksAreChecked(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(connectortest.Values{"changes": map[string]any{"risks": map[string]any{"very_high": "0"}}}))
	c.fails(c.Check(t.Context()), ops.ErrInvalid, "options.changes.risks", "1, 2, 3, 4")
}

// How long a create may still be under way is the instance's, and said by who
// runs it.
func TestSettleTimeOfAChange(t *testing.T) {
	i := start(t)
	f := func(changes map[string]any, want time.Duration) {
		t.Helper()
		c := i.open(t, i.settings(connectortest.Values{"changes": changes}))
		if d, needed := c.SettleTime(ops.TicketChangeRequest); d != want || !needed {
			t.Errorf("%v: %s, %t; want %s", changes, d, needed, want)
		}
	}
	f(map[string]any{}, time.Minute)
	f(map[string]any{"settle": 5 * time.Second}, 5*time.Second)
	o := servicenow.Options{Changes: &servicenow.Changes{Settle: -time.Second}}
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "changes.settle: -1s; write a duration above zero") {
		t.Errorf("below zero: %v", err)
	}
}
