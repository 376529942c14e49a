package rt

import (
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// A work order of a group is opened in the queue of work orders, whose planned
// times are read, and is not moved to the group's queue afterwards.
func TestWorkOrderOfAGroup(t *testing.T) {
	var o Options
	o.Defaults()
	o.Groups = map[string]string{"Cloud operations": "Cloud"}
	o.Queues = map[string]string{"work_order": "Orders", "incident": "Incidents"}
	f := func(kind ops.TicketKind, group, want string) {
		t.Helper()
		if got := o.queueFor(kind, group); got != want {
			t.Errorf("%s of %q is opened in %s, want %s", kind, group, got, want)
		}
	}
	f(ops.TicketWorkOrder, "Cloud operations", "Orders")
	f(ops.TicketWorkOrder, "", "Orders")
	f(ops.TicketIncident, "Cloud operations", "Cloud")
	f(ops.TicketIncident, "", "Incidents")

	at := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	in := func(queue string) ops.TicketFields {
		return o.fieldsOf(&ticket{Subject: "Window for CHG-1", Status: "new", Priority: "50", Starts: stamp{at}, Due: stamp{at.Add(time.Hour)}, queue: queue})
	}
	seen := in("Orders")
	if !seen.PlannedStart.Equal(at) || !seen.PlannedEnd.Equal(at.Add(time.Hour)) || seen.Group != "" {
		t.Errorf("reads %+v", seen)
	}
	want := seen
	want.Group = "Cloud operations"
	if diff := connector.Diff(o.normal(want, seen), seen); len(diff) != 0 {
		t.Errorf("would be written: %v", diff)
	}
	seen = in("Cloud")
	if !seen.PlannedStart.IsZero() || seen.Group != "Cloud operations" {
		t.Errorf("another ticket reads %+v", seen)
	}
}
