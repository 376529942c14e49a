package rt

import (
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// Request Tracker counts seconds. Within one, the numbers of transactions say
// whether a decision was about the plan that stands, and its time must say so.
func TestDecisionInTheSecondOfThePlan(t *testing.T) {
	const plan = "00000000000000000000000000000000000000000000000000000000000000aa@2"
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	p := &platform{o: Options{Changes: &Changes{Approved: "approved", Statuses: map[string]string{"authorize": "approval"}}}}
	f := func(name string, planID, decisionID text, decided time.Time, counts bool) {
		t.Helper()
		steps := []step{
			{ID: planID, Type: "CustomField", NewValue: plan, Creator: object{"fettle"}, Created: stamp{at}},
			{ID: decisionID, Type: "Status", OldValue: "approval", NewValue: "approved", Creator: object{"anna"}, Created: stamp{decided}},
		}
		if planID == "" {
			steps = steps[1:] // it was opened with the plan
		}
		c := connector.Copy{Fields: ops.TicketFields{Plan: plan}}
		p.decided(&ticket{Created: stamp{at}}, &c, steps, "fettle")
		if len(c.Decisions) != 1 || c.Decisions[0].At.After(c.PlanAt) != counts || c.Decisions[0].At.Sub(decided).Abs() > time.Second {
			t.Errorf("%s: %+v, the plan was written at %s", name, c.Decisions, c.PlanAt)
		}
	}
	f("before it", "20", "10", at, false)
	f("after it", "20", "30", at, true)
	f("later", "20", "30", at.Add(time.Minute), true)
	f("earlier", "20", "10", at.Add(-time.Minute), false)
	f("opened with it", "", "10", at, true)
}

// One move is one decision. A second person moves the ticket back and decides,
// which is another one.
func TestTwoPersonsDecide(t *testing.T) {
	const plan = "00000000000000000000000000000000000000000000000000000000000000aa@1"
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	p := &platform{o: Options{Changes: &Changes{Approved: "approved", Statuses: map[string]string{"authorize": "approval"}}}}
	c := connector.Copy{Fields: ops.TicketFields{Plan: plan}}
	p.decided(&ticket{Created: stamp{at}}, &c, []step{
		{ID: "1", Type: "CustomField", NewValue: plan, Creator: object{"fettle"}, Created: stamp{at}},
		{ID: "2", Type: "Status", OldValue: "approval", NewValue: "approved", Creator: object{"anna"}, Created: stamp{at.Add(time.Minute)}},
		{ID: "3", Type: "Status", OldValue: "approved", NewValue: "approval", Creator: object{"ben"}, Created: stamp{at.Add(2 * time.Minute)}},
		{ID: "4", Type: "Status", OldValue: "approval", NewValue: "approved", Creator: object{"ben"}, Created: stamp{at.Add(2 * time.Minute)}},
	}, "fettle")
	if d := c.Decisions; len(d) != 2 || d[0].User != "anna" || d[1].User != "ben" || d[0].ID == d[1].ID {
		t.Errorf("decided %+v", d)
	}
}

// What a person writes with a decision is a transaction of its own, and a busy
// server takes seconds between the two.
func TestCommentOfADecision(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	note := func(after time.Duration, by, text string) connector.Note {
		return connector.Note{Note: ops.Note{At: at.Add(after), Author: by, Text: text}}
	}
	f := func(want string, notes ...connector.Note) {
		t.Helper()
		if got := comment(notes, "ben", at); got != want {
			t.Errorf("comment %q, want %q", got, want)
		}
	}
	f("")
	f("not this week", note(0, "ben", "not this week"))
	f("not this week", note(-11*time.Second, "ben", "not this week"))
	f("not this week", note(4*time.Second, "ben", "not this week"))
	f("not this week", note(-40*time.Second, "ben", "looking at it"), note(-3*time.Second, "ben", "not this week"), note(30*time.Second, "ben", "thanks"))
	f("", note(0, "anna", "fine with me"), note(-2*time.Minute, "ben", "looking at it"))
}
