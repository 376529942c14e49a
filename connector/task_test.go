package connector_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// What a caller puts is checked before a driver hears of it.
func TestTasksAreChecked(t *testing.T) {
	c, err := desk.Driver.Open(t.Context(), connector.Settings{}, connector.Env{Name: "desk", Clock: time.Now, Records: &record.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.Create(t.Context(), "k", ops.TicketChangeRequest, ops.TicketFields{Title: "x"})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.FixedZone("", 3600))
	good := connector.Task{Key: strings.Repeat("a", 32), Kind: ops.TaskImplement, Title: "x", Order: 1, State: ops.TaskOpen, PlannedStart: at, PlannedEnd: at}
	f := func(says string, change func(*connector.Task)) {
		t.Helper()
		task := good
		change(&task)
		_, err := c.PutTask(t.Context(), made.Ref, task)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, ops.ErrInternal)) {
			t.Errorf("%+v: %v, want %q", task, err, says)
		}
	}
	f("", func(*connector.Task) {})
	f("key of 32", func(x *connector.Task) { x.Key = "A" + x.Key[1:] })
	f("a title", func(x *connector.Task) { x.Title = " " })
	f("a place", func(x *connector.Task) { x.Order = 0 })
	f("of kind", func(x *connector.Task) { x.Kind = "plan" })
	f("state", func(x *connector.Task) { x.State = "done" })
	f("say why", func(x *connector.Task) { x.State = ops.TaskSkipped })
	f("no others", func(x *connector.Task) { x.Note = "early" })
	f("one of two", func(x *connector.Task) { x.PlannedEnd = time.Time{} })
	f("parts of a second", func(x *connector.Task) { x.PlannedEnd = at.Add(time.Millisecond) })
	all, err := c.Tasks(t.Context(), made.Ref)
	if err != nil || len(all) != 1 || !all[0].PlannedStart.Equal(at) || all[0].PlannedStart.Location() != time.UTC {
		t.Errorf("%+v, %v", all, err)
	}
}
