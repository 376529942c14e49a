package test

import (
	"testing"

	"github.com/fettleops/fettle/ops"
)

const byRule = "correlate: {group_by: [rule]}\n"

// Four hundred machines cry at once. It is one cause: one incident, one ticket
// per platform, resolved when the last machine is well again.
func TestAlertStorm(t *testing.T) {
	Play(t, Story{Config: byRule, Events: []Event{
		At(10*sec, Fire("NodeDown", hosts(200)...), Fire("NodeDown", hosts(400)[200:]...)),
		Between(10*sec, 20*sec, WantIncident(ops.IncidentNew, 400), WantDesk(ops.IncidentNew), WantSnow(Fields{
			"state": "1", "short_description": "*", "urgency": "1", "impact": "2", "assignment_group": "*", "category": "Cloud Infrastructure",
		})),
		At(2*minute, Resolve("NodeDown", hosts(399)...)),
		Between(2*minute, 3*minute, WantIncident(ops.IncidentNew, 1)),
		Throughout(3*minute, 5*minute, WantIncident(ops.IncidentNew, 1), WantSnow(Fields{"state": "1"})),
		At(6*minute, Resolve("NodeDown", "web400")),
		Between(6*minute, 6*minute+10*sec, WantIncident(ops.IncidentResolved, 0), WantDesk(ops.IncidentResolved),
			WantSnow(Fields{"state": "6", "close_code": "Solution provided", "close_notes": "*"})),
		At(20*minute, WantIncidents(1), WantSnowTickets(1)),
	}})
}
