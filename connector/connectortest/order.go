package connectortest

import (
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var orderRules = []Rule{
	{Name: "open a work order", Order: true, Why: "cloud operations give a window for what the work order shows", Test: openOrder},
	{Name: "open a work order twice", Order: true, Why: "of two work orders of one change, each could be given a window", Test: openOrderTwice},
	{Name: "window in a work order", Order: true, Why: "the change starts in the window that cloud operations gave, and in no other", Test: windowOfOrder},
	{Name: "window outlives our writes", Order: true, Why: "a window that a note or an edit of ours takes away is given in vain", Test: windowStays},
	{Name: "end a work order", Order: true, Why: "nobody plans a window for a change that is over", Test: endOrder},
	{Name: "person ends a work order", Order: true, Why: "cloud operations who turn it down must be heard", Test: orderEnded},
}

func (s *Suite) order() connector.Copy {
	s.Helper()
	return s.orderKey(s.key())
}

func (s *Suite) orderKey(key string) connector.Copy {
	s.Helper()
	f := s.Fields
	f.Title, f.Extra = "Window for CHG-1: scale web-1", nil // that may hold a date
	c, err := s.conn.Create(s.Context(), key, ops.TicketWorkOrder, f)
	if err != nil {
		s.Fatalf("create a work order: %v", err)
	}
	return c
}

func openOrder(s *Suite) {
	made := s.order()
	got := s.get(made.Ref)
	if got.Kind == ops.TicketChangeRequest || got.Key != made.Key || got.Fields.Title != "Window for CHG-1: scale web-1" || !ops.IncidentState(got.Fields.State).Open() {
		s.Errorf("opened %+v", got)
	}
	if !got.Fields.PlannedStart.IsZero() || !got.Fields.PlannedEnd.IsZero() {
		s.Errorf("nobody gave a window, and it shows %s to %s", got.Fields.PlannedStart, got.Fields.PlannedEnd)
	}
}

func openOrderTwice(s *Suite) {
	key := s.key()
	one, two := s.orderKey(key), s.orderKey(key)
	if n := s.Count(s.t, key); two.Ref != one.Ref || n != 1 {
		s.Errorf("opened %s and %s, %d under one key", one.Ref, two.Ref, n)
	}
}

// offer has the second person give a window, and returns what the feed brings.
func (s *Suite) offer(ref string, start time.Time) connector.Copy {
	s.Helper()
	s.pass()
	cursor := s.cursorNow()
	s.Offer(s.t, ref, s.People[1], start, start.Add(time.Hour))
	return s.came(cursor, ref)
}

func windowOfOrder(s *Suite) {
	made := s.order()
	for _, start := range []time.Time{planned, planned.Add(48 * time.Hour)} { // given, and moved
		c := s.offer(made.Ref, start)
		if !c.Fields.PlannedStart.Equal(start) || !c.Fields.PlannedEnd.Equal(start.Add(time.Hour)) {
			s.Errorf("came with %s to %s, want an hour from %s", c.Fields.PlannedStart, c.Fields.PlannedEnd, start)
		}
		if c.Own || c.UpdatedBy != s.People[1] {
			s.Errorf("came by %s, own %v", c.UpdatedBy, c.Own)
		}
	}
}

func windowStays(s *Suite) {
	made := s.order()
	s.offer(made.Ref, planned)
	if err := s.conn.AddNote(s.Context(), made.Ref, ops.Note{ID: "0192f1c0-0000-7000-8000-" + s.key()[:12], Author: "fettle", Text: "Scheduled."}); err != nil {
		s.Fatal(err)
	}
	f := s.get(made.Ref).Fields
	f.Title = "Window for CHG-1: scale web-1 to three"
	s.update(made.Ref, f, connector.Title)
	if got := s.get(made.Ref).Fields; !got.PlannedStart.Equal(planned) || !got.PlannedEnd.Equal(planned.Add(time.Hour)) {
		s.Errorf("shows %s to %s", got.PlannedStart, got.PlannedEnd)
	}
}

func endOrder(s *Suite) {
	for _, state := range []ops.IncidentState{ops.IncidentResolved, ops.IncidentCancelled} {
		made := s.order()
		f := made.Fields
		f.State, f.ResolveCode, f.ResolveNote = string(state), "resolved", "the change is over"
		s.update(made.Ref, f, resolving...)
		got := s.get(made.Ref)
		s.shows(got, f, resolving...)
		if ops.IncidentState(got.Fields.State).Open() {
			s.Errorf("ended as %s", got.Fields.State)
		}
	}
}

func orderEnded(s *Suite) {
	made := s.order()
	s.pass()
	cursor := s.cursorNow()
	f := made.Fields
	f.State, f.ResolveCode, f.ResolveNote = string(ops.IncidentResolved), "resolved", "no window this month"
	s.Edit(s.t, made.Ref, s.People[0], resolving, f, "")
	if c := s.came(cursor, made.Ref); ops.IncidentState(c.Fields.State).Open() || c.Own || c.UpdatedBy != s.People[0] {
		s.Errorf("came as %s by %s, own %v", c.Fields.State, c.UpdatedBy, c.Own)
	}
}
