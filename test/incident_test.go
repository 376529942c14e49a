package test

import (
	"testing"
	"time"

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
		At(30*sec, WantListed("vic", 400)),
		At(1*minute, Resolve("NodeDown", hosts(399)...)),
		Between(1*minute, 70*sec, WantIncident(ops.IncidentNew, 1)),
		Throughout(70*sec, 90*sec, WantIncident(ops.IncidentNew, 1), WantSnow(Fields{"state": "1"})),
		At(2*minute, Resolve("NodeDown", "web400")),
		Between(2*minute, 130*sec, WantIncident(ops.IncidentResolved, 0), WantDesk(ops.IncidentResolved),
			WantSnow(Fields{"state": "6", "close_code": "Solution provided", "close_notes": "*"})),
		At(3*minute, WantIncidents(1), WantSnowTickets(1)),
	}})
}

// What resolved and fires again is the same incident: the ticket is in work
// again, and no second one is opened.
func TestFiresAgain(t *testing.T) {
	Play(t, Story{Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantSnow(Fields{"state": "1"}), WantDesk(ops.IncidentNew)),
		At(1*minute, Resolve("HighCPU", "web1")),
		Between(1*minute, 70*sec, WantSnow(Fields{"state": "6"}), WantDesk(ops.IncidentResolved)),
		At(3*minute, Fire("HighCPU", "web1")),
		Between(3*minute, 190*sec, WantIncident(ops.IncidentInProgress, 1), WantReopened(1),
			WantSnow(Fields{"state": "2"}), WantDesk(ops.IncidentInProgress), WantNotes("Resolved.", "Reopened: it fires again.")),
		At(4*minute, WantIncidents(1), WantSnowTickets(1)),
	}})
}

// The ticket's urgency and impact follow the worst alert that fires.
func TestSeverityFollows(t *testing.T) {
	Play(t, Story{Config: byRule, Events: []Event{
		At(0, FireAs("warning", "HighCPU", "web1")),
		Between(0, 10*sec, WantSnow(Fields{"urgency": "2", "impact": "2", "priority": "3"})),
		At(1*minute, FireAs("critical", "HighCPU", "web2")),
		Between(1*minute, 70*sec, WantSnow(Fields{"urgency": "1", "impact": "1", "priority": "1"})),
		At(2*minute, Resolve("HighCPU", "web2")),
		Between(2*minute, 130*sec, WantSnow(Fields{"urgency": "2", "impact": "2"})),
	}})
}

// Beth resolves the incident in ServiceNow. Fettle takes it over, the desk
// follows, and ServiceNow hears nothing of its own news.
func TestPersonResolvesInServiceNow(t *testing.T) {
	Play(t, Story{Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantSnow(Fields{"state": "1"}), WantDesk(ops.IncidentNew)),
		At(1*minute, Beth(Fields{"state": "6", "close_code": "Workaround provided", "close_notes": "Restarted the worker."})),
		Between(1*minute, 2*minute, WantIncident(ops.IncidentResolved, 1), WantDesk(ops.IncidentResolved),
			WantTrail(ops.TicketEdited, "beth.anglin"), WantTrail(ops.IncidentMoved, "ann changed INC")),
		At(4*minute, WantNoWrites, WantSnow(Fields{"state": "6", "close_code": "Workaround provided", "close_notes": "Restarted the worker."})),
	}})
}

// What a person writes in ServiceNow is part of the incident's story, and is
// not sent back.
func TestPersonWritesWorkNote(t *testing.T) {
	Play(t, Story{Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantSnow(Fields{"state": "1"})),
		At(1*minute, Beth(Fields{"work_notes": "The batch job runs wild, I am on it."})),
		Between(1*minute, 2*minute, WantTrail(ops.TicketEdited, "The batch job runs wild")),
		At(3*minute, WantNoWrites, WantIncident(ops.IncidentNew, 1)),
	}})
}

// For an hour nothing changes, although Alertmanager repeats itself every five
// minutes: nothing is written.
func TestNothingChangesNothingIsWritten(t *testing.T) {
	repeat := []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantSnow(Fields{"state": "1"})),
		At(1*minute, Count),
	}
	for i := range 12 {
		repeat = append(repeat, At(minute+5*minute*time.Duration(i), Fire("HighCPU", "web1")))
	}
	Play(t, Story{Events: append(repeat, Throughout(1*minute, 61*minute, WantNoWrites, WantIncident(ops.IncidentNew, 1)))})
}
