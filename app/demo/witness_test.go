package demo

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
)

// The demo stopped at the first station that nothing shows, however many of the
// later ones something shows.
func TestSummaryNamesTheStation(t *testing.T) {
	now := time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC)
	value := 0.95
	all := []ops.Fact{
		ops.NewFact("i", now, ops.SystemPrincipal, "", ops.IncidentOpenedBody{Alerts: []ops.Alert{{Context: ops.AlertContext{Value: &value}}}}),
		ops.NewFact("i", now, ops.SystemPrincipal, "", ops.TicketOpenedBody{Platform: "desk"}),
		ops.NewFact("c", now, ops.SystemPrincipal, "", ops.PlanMadeBody{Plan: ops.Plan{Digest: "d"}}),
		ops.NewFact("c", now, ops.SystemPrincipal, "", ops.ApprovalGivenBody{Approval: ops.Approval{Decision: ops.Approved, Digest: "d"}}),
		ops.NewFact("c", now, ops.SystemPrincipal, "", ops.RunStartedBody{Window: ops.Occurrence{Start: now.Add(-time.Second), End: now.Add(time.Second)}}),
		ops.NewFact("c", now, ops.SystemPrincipal, "", ops.RunAppliedBody{}),
		ops.NewFact("c", now, ops.SystemPrincipal, "", ops.VerdictGivenBody{Verdict: ops.Verdict{Word: ops.Better}}),
		ops.NewFact("i", now, ops.SystemPrincipal, "", ops.IncidentResolvedBody{}),
	}
	f := func(want string, edit func(w *witness)) {
		t.Helper()
		var out strings.Builder
		w := &witness{demo: &demo{Options: Options{Out: &out}}, facts: append([]ops.Fact(nil), all...), effect: true, intact: true}
		w.snow = snowIncident{Number: "INC0010001", State: "6", CloseCode: "Solved", Notes: "CHG-1"}
		w.change.Key, w.change.Outcome = "CHG-1", ops.Successful
		edit(w)
		got := ""
		if err := w.summary(); err != nil {
			got = err.Error()
		}
		if want != "" {
			want = "the loop stopped at the station " + want
		}
		if no := strings.Contains(out.String(), " no "); got != want || no != (want != "") {
			t.Errorf("got %q, want %q:\n%s", got, want, out.String())
		}
	}
	without := func(k ops.FactKind) func(w *witness) {
		return func(w *witness) {
			for i, fact := range w.facts {
				if fact.Kind == k {
					w.facts = append(w.facts[:i], w.facts[i+1:]...)
					return
				}
			}
			t.Errorf("there is no %s", k)
		}
	}
	f("", func(*witness) {})
	f("observe", without(ops.IncidentOpened))
	f("ticket", without(ops.TicketOpened))
	f("ticket", func(w *witness) { w.snow.Number = "" })
	f("approve", without(ops.ApprovalGiven))
	f("approve", func(w *witness) { w.facts[2].Body = json.RawMessage(`{"plan":{"digest":"another"}}`) })
	f("window", without(ops.RunStarted))
	f("window", func(w *witness) { w.facts[4].At = now.Add(time.Minute) })
	f("execute", func(w *witness) { w.effect = false })
	f("verify", without(ops.VerdictGiven))
	f("resolve", func(w *witness) { w.snow.State = "2" })
	f("learn", func(w *witness) { w.intact = false })
	f("learn", func(w *witness) { w.snow.Notes = "" })
}
