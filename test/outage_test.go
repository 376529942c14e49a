package test

import (
	"testing"

	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// ServiceNow is away for ten minutes, in each of the ways it has. Meanwhile an
// incident comes, gets worse, gets a comment, goes and comes again. Afterwards
// there is one ticket, with everything that happened, in order and once.
func TestServiceNowIsAway(t *testing.T) {
	t.Parallel()
	ways := map[string]simulator.Fault{
		"down":        {Mode: simulator.Unavailable},
		"hibernating": {Mode: simulator.Hibernating},
		"throttling":  {Mode: simulator.RateLimited, RetryAfter: 2 * minute},
		"hanging":     {Mode: simulator.Hang},
		"deaf":        {Mode: simulator.DropAnswer}, // does what is asked, and nobody hears so
	}
	for way, fault := range ways {
		t.Run(way, func(t *testing.T) {
			if way != "deaf" {
				peer.Long(t) // the quick one is the hardest
			}
			Play(t, Story{Config: byRule, Events: []Event{
				At(0, Snow(fault)),
				At(10*sec, FireAs("warning", "HighCPU", "web1")),
				Between(10*sec, 40*sec, WantIncident(ops.IncidentNew, 1), WantDesk(ops.IncidentNew)), // the desk does not wait for it
				At(2*minute, FireAs("critical", "HighCPU", "web2")),
				At(3*minute, Comment("rob", "Looking into it.")),
				At(5*minute, Resolve("HighCPU", "web1", "web2")),
				Between(5*minute, 5*minute+30*sec, WantDesk(ops.IncidentResolved)),
				At(7*minute, FireAs("critical", "HighCPU", "web2")),
				At(10*minute, Snow(simulator.Fault{Mode: simulator.Off})),
				Between(10*minute, 13*minute, WantSnow(Fields{"state": "2", "urgency": "1", "impact": "1"}),
					WantNotes("1 alert joined", "Looking into it.", "Resolved.", "Reopened")),
				At(15*minute, WantIncidents(1), WantSnowTickets(1), WantDesk(ops.IncidentInProgress)),
			}})
		})
	}
}

// ServiceNow goes away after the ticket is there, and a person's edit comes
// back with it: both sides' changes stand.
func TestNoUpdateIsLost(t *testing.T) {
	Play(t, Story{Config: byRule, Events: []Event{
		At(0, FireAs("warning", "HighCPU", "web1")),
		Between(0, 10*sec, WantSnow(Fields{"state": "1", "urgency": "2"})),
		At(1*minute, Beth(Fields{"state": "2", "work_notes": "Mine."}), Snow(simulator.Fault{Mode: simulator.Unavailable})),
		At(2*minute, FireAs("critical", "HighCPU", "web2")),
		At(5*minute, Snow(simulator.Fault{Mode: simulator.Off})),
		Between(5*minute, 8*minute, WantSnow(Fields{"state": "2", "urgency": "1", "impact": "1"}), WantNotes("1 alert joined"),
			WantIncident(ops.IncidentInProgress, 2), WantTrail(ops.TicketEdited, "Mine.")),
	}})
}
