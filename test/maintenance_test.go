package test

import (
	"testing"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

const maintenance = "windows: [{name: patching, schedule: \"cron(0 2 * * ? *)\", duration: 10m, time_zone: Europe/Berlin, mute: true}]\n"

// During maintenance an alert is remembered and disturbs nobody: no ticket.
// When maintenance is over and it still fires, Fettle speaks up.
func TestMaintenanceMutes(t *testing.T) {
	Play(t, Story{Begin: "2026-06-01 01:59 Europe/Berlin", Config: maintenance, Events: []Event{
		At(2*minute, Fire("NodeDown", "web1")),
		Between(2*minute, 2*minute+10*sec, WantIncident(ops.IncidentNew, 1)),
		Throughout(2*minute, 11*minute-2*sec, WantSnowTickets(0)),
		Between(11*minute, 11*minute+20*sec, WantSnow(Fields{"state": "1"}), WantDesk(ops.IncidentNew)),
	}})
}

// What came and went during maintenance never becomes a ticket.
func TestMaintenanceIsForgotten(t *testing.T) {
	peer.Long(t)
	Play(t, Story{Begin: "2026-06-01 01:59 Europe/Berlin", Config: maintenance, Events: []Event{
		At(2*minute, Fire("NodeDown", "web1")),
		At(8*minute, Resolve("NodeDown", "web1")),
		Between(8*minute, 8*minute+10*sec, WantIncident(ops.IncidentResolved, 0)),
		At(13*minute, WantSnowTickets(0)),
	}})
}
