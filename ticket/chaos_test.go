package ticket_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ticket"
)

// Whatever happens in whatever order, once the platforms work again there is
// one ticket per incident and platform, it shows what is wanted, every note is
// there once and in order, and nothing of ours was taken for a person's edit.
func TestWhateverHappens(t *testing.T) {
	t.Parallel()
	for seed := uint64(97); seed < 105; seed++ { // 101 once lost the resolve note of a reopened ticket
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			virtual(t, func(t *testing.T) { whatever(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func whatever(t *testing.T, r *rand.Rand) {
	s := setup{conflict: []ticket.Conflict{ticket.PlatformWins, ticket.FettleWins, ticket.NewestWins}[r.IntN(3)]}
	if r.IntN(2) == 0 {
		s.careless = time.Duration(1+r.IntN(60)) * time.Second
	}
	h := open(t, s)
	faults := []connectortest.Fault{
		{Err: connectortest.Unavailable()},
		{Err: connectortest.Unknown()},
		{Err: connectortest.Unknown(), After: true},
		{Err: connectortest.Throttled(20 * time.Second)},
		{Delay: time.Minute},
		{Delay: 5 * time.Second},
		{Err: fmt.Errorf("401: %w", ops.ErrDenied)},
	}
	var all []ops.Incident
	edits := map[string]int{}
	for range 60 {
		if len(all) == 0 || r.IntN(8) == 0 {
			all = append(all, h.incident(ops.Severities[r.IntN(5)]))
			h.run(time.Millisecond)
		}
		i := all[r.IntN(len(all))]
		now := h.incidents[i.ID]
		switch r.IntN(9) {
		case 0, 1:
			h.severity(i.ID, ops.Severities[r.IntN(5)])
		case 2:
			if now.State.Open() {
				h.resolve(i.ID, "quiet")
			}
		case 3:
			if now.State == ops.IncidentResolved {
				h.reopen(i.ID)
			}
		case 4:
			h.tell(i.Subject(), ops.IncidentCommentedBody{Note: ops.Note{Author: "ben", Text: "a comment"}, Via: "page"})
		case 5, 6:
			op := []string{"create", "update", "add_note", "get", "find", "changes"}[r.IntN(6)]
			h.snow.Next(op, faults[r.IntN(len(faults))])
		case 7:
			if r.IntN(2) == 0 {
				h.snow.Break(connectortest.Unavailable())
			} else {
				h.snow.Break(nil)
			}
		case 8:
			edits[i.ID] += personEdits(h, i, r)
		}
		h.run(time.Duration(r.IntN(40_000)) * time.Millisecond)
	}
	h.snow.Mend()
	h.run(20 * time.Minute)
	if err := h.room.Audit(context.Background(), "snow"); err != nil {
		t.Error(err)
	}
	h.run(time.Minute)

	open, err := h.snowDesk.List(context.Background(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		h.inSync(i)
		for _, platform := range []string{"snow", "desk"} {
			row, c := h.on(platform, i), h.shown(platform, i)
			for _, f := range connector.Fields {
				want, is := connector.Value(row.Want, f), connector.Value(c.Fields, f)
				if want != "" && want != is {
					t.Errorf("%s on %s: %s is %q, wanted %q", i.Key(), platform, f, is, want)
				}
			}
			notes, err := h.store.TicketNotes(context.Background(), row.ID)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for _, n := range notes {
				if n.State != ops.NoteRead {
					want = append(want, n.ID)
				}
			}
			for _, n := range c.Notes {
				if n.Own {
					got = append(got, n.ID)
				}
			}
			if !slices.Equal(want, got) {
				t.Errorf("%s on %s has notes %v, want %v", i.Key(), platform, got, want)
			}
		}
		if told := len(h.facts(i.Subject(), ops.TicketEdited)); told > edits[i.ID] {
			t.Errorf("%s: %d edits told, people made %d", i.Key(), told, edits[i.ID])
		}
		working := 0
		for _, c := range open {
			if c.Fields.Title == i.Title && c.Fields.State != string(ops.IncidentCancelled) {
				working++
			}
		}
		if working != 1 {
			t.Errorf("%s has %d tickets on snow", i.Key(), working)
		}
	}
}

// personEdits makes one edit in snow if there is a ticket to edit, and returns
// how many were made.
func personEdits(h *house, i ops.Incident, r *rand.Rand) int {
	h.Helper()
	ref := h.on("snow", i).Ref
	if ref == "" {
		return 0
	}
	c, err := h.snowDesk.Get(context.Background(), ref)
	if err != nil {
		h.Fatal(err)
	}
	f, changed, note := c.Fields, []connector.Field(nil), ""
	switch r.IntN(4) {
	case 0:
		f.Severity, changed = ops.Severities[r.IntN(5)], []connector.Field{connector.Severity}
	case 1:
		f.Assignee, changed = "anna", []connector.Field{connector.Assignee}
	case 2:
		note = "a person was here"
	case 3:
		if !ops.CanMoveIncident(ops.IncidentState(f.State), ops.IncidentInProgress) {
			return 0
		}
		f.State, changed = string(ops.IncidentInProgress), []connector.Field{connector.State}
	}
	if _, err := h.snowDesk.Edit(context.Background(), ref, "anna.s", changed, f, note); err != nil {
		h.Fatal(err)
	}
	return 1
}
