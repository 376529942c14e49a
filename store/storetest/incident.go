package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var incidentRules = []rule{
	{"incident/joined", "a fact carries few of the alerts that joined: the rest is found by the messages that brought them, and a runbook that waits for one of them must see it", incidentJoined},
}

func incidentJoined(t *testing.T, h *house) {
	save := func(incident, alert string, joined int64, state ops.AlertState) {
		h.write(func(tx db.Tx) error {
			return h.store.SaveMembers(h.ctx, tx, []ops.Member{{Alert: ops.Alert{Fingerprint: alert, State: state}, IncidentID: incident, Joined: joined}})
		})
	}
	save("i", "c", 3, ops.Firing)
	save("i", "b", 3, ops.Firing)
	save("i", "a", 2, ops.Firing)
	save("i", "over", 3, ops.Resolved)
	save("i", "later", 5, ops.Firing)
	save("other", "x", 3, ops.Firing)
	f := func(first, last int64, want string) {
		t.Helper()
		members, err := h.store.Joined(h.ctx, "i", ops.Span{First: first, Last: last})
		must(t, err)
		var got []string
		for _, m := range members {
			got = append(got, fmt.Sprintf("%s:%d", m.Fingerprint, m.Joined))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("by messages %d to %d: %v, want %s", first, last, got, want)
		}
	}
	f(2, 4, "a:2 b:3 c:3")
	f(3, 3, "b:3 c:3")
	f(4, 4, "")
	save("i", "a", 7, ops.Firing) // fires again
	f(2, 3, "b:3 c:3")
	f(1, 9, "b:3 c:3 later:5 a:7")
}
