package desk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

func TestDriver(t *testing.T) {
	connectortest.Run(t, desk.Driver, func(t *testing.T) connectortest.Harness {
		var table record.Memory
		now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
		people := openDesk(t, &table, func() time.Time { return now })
		return connectortest.Harness{
			User: "fettle", Records: &table, People: [2]string{"anna", "ben"}, Missing: "DESK-999999",
			Fields: ops.TicketFields{Group: "Cloud operations", Resource: "web-1", Extra: map[string]string{"category": "hardware"}},
			Now:    func() time.Time { return now },
			Wait:   func(d time.Duration) { now = now.Add(d) },
			Edit: func(t *testing.T, ref, user string, changed []connector.Field, f ops.TicketFields, note string) {
				t.Helper()
				if _, err := people.Edit(context.Background(), ref, user, changed, f, note); err != nil {
					t.Fatal(err)
				}
			},
			Decide: func(t *testing.T, ref, user string, d ops.Decision, comment string) {
				t.Helper()
				if _, err := people.Decide(context.Background(), ref, user, d, comment); err != nil {
					t.Fatal(err)
				}
			},
			Offer: func(t *testing.T, ref, user string, start, end time.Time) {
				t.Helper()
				f := ops.TicketFields{PlannedStart: start, PlannedEnd: end}
				if _, err := people.Edit(context.Background(), ref, user, []connector.Field{connector.PlannedStart, connector.PlannedEnd}, f, ""); err != nil {
					t.Fatal(err)
				}
			},
			Count: func(t *testing.T, key string) int {
				t.Helper()
				all, err := people.List(context.Background(), 0, 1000)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, c := range all {
					if c.Key == key {
						n++
					}
				}
				return n
			},
			Tasks: func(t *testing.T, ref string) int {
				t.Helper()
				all, err := people.Tasks(context.Background(), ref)
				if err != nil {
					t.Fatal(err)
				}
				return len(all)
			},
			Writes: func(t *testing.T) int {
				t.Helper()
				tasks, err := table.List(context.Background(), "task/", "", 1000)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, r := range tasks {
					n += int(r.Version)
				}
				// The counter of moves is written with every ticket.
				r, err := table.Get(context.Background(), "counter")
				if errors.Is(err, record.ErrMissing) {
					return n
				}
				if err != nil {
					t.Fatal(err)
				}
				return n + int(r.Version)
			},
		}
	})
}

func openDesk(t *testing.T, table connector.Records, c clock.Clock) *desk.Desk {
	t.Helper()
	conn, err := desk.Driver.Open(context.Background(), connector.Settings{}, connector.Env{Name: "desk", Clock: c, Records: table})
	if err != nil {
		t.Fatal(err)
	}
	d, ok := conn.Inner().(*desk.Desk)
	if !ok {
		t.Fatalf("the desk is a %T", conn.Inner())
	}
	return d
}
