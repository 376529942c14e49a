package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var incidentRules = []rule{
	{"incident/joined", "a fact carries few of the alerts that joined: the rest is found by the messages that brought them, and a runbook that waits for one of them must see it", incidentJoined},
	{"incident/first", "a ticket shows a few alerts of an incident that may have a hundred thousand, and must not read them all to know which", incidentFirst},
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

func incidentFirst(t *testing.T, h *house) {
	at := func(min int) time.Time { return h.clock().Add(time.Duration(min) * time.Minute) }
	for _, m := range []ops.Alert{
		{Fingerprint: "over", State: ops.Resolved, StartsAt: at(-9)},
		{Fingerprint: "late", State: ops.Firing, StartsAt: at(-1)},
		{Fingerprint: "b", State: ops.Firing, StartsAt: at(-5)},
		{Fingerprint: "a", State: ops.Firing, StartsAt: at(-5)},
	} {
		h.write(func(tx db.Tx) error {
			return h.store.SaveMembers(h.ctx, tx, []ops.Member{{Alert: m, IncidentID: "i"}, {Alert: m, IncidentID: "other"}})
		})
	}
	f := func(most int, want string) {
		t.Helper()
		members, err := h.store.FirstMembers(h.ctx, "i", most)
		must(t, err)
		if got := fingerprints(members); got != want {
			t.Errorf("the first %d: %s, want %s", most, got, want)
		}
	}
	f(2, "a b")
	f(9, "a b late over")
	after := func(last string, most int, want string) {
		t.Helper()
		members, err := h.store.MembersAfter(h.ctx, "i", last, most)
		must(t, err)
		if got := fingerprints(members); got != want {
			t.Errorf("%d after %q: %s, want %s", most, last, got, want)
		}
	}
	after("", 3, "a b late")
	after("late", 3, "over")
	after("over", 3, "")
}

func fingerprints(members []ops.Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.Fingerprint)
	}
	return strings.Join(all, " ")
}
