package connectortest

import (
	"errors"
	"strings"
	"sync"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var contentRules = []Rule{
	{Name: "create and get", Why: "what we wanted must be what people see", Test: createAndGet},
	{Name: "create twice", Why: "a retry after a lost reply must not open a second ticket", Test: createTwice},
	{Name: "create concurrently", Why: "two workers on one incident must not open two tickets", Test: createConcurrently},
	{Name: "find", Why: "after a lost reply the key is all we have", Test: find},
	{Name: "severity round trip", Why: "a severity that changes on its way there and back would be written again for ever", Test: severities},
	{Name: "only named fields", Why: "a field a person set must not be overwritten in passing", Test: onlyNamed},
	{Name: "stale update", Why: "a person's edit we have not seen must not be overwritten", Test: staleUpdate},
	{Name: "nothing to write", Why: "a write without a change fills histories and wakes people", Test: nothingToWrite},
	{Name: "resolve", Why: "platforms refuse to resolve without code and note, some of them silently", Test: resolve},
	{Name: "reopen", Why: "an alert that fires again must not stay hidden in a resolved ticket", Test: reopen},
	{Name: "note", Why: "a note that cannot be recognised would be delivered twice or taken for a person's", Test: note},
	{Name: "missing ticket", Why: "a ticket that is gone must not be taken for a platform that is down", Test: missing},
}

func createAndGet(s *Suite) {
	made := s.create()
	if !strings.HasPrefix(made.URL, "http://") && !strings.HasPrefix(made.URL, "https://") {
		s.Errorf("url %q is none a person can open", made.URL)
	}
	got := s.get(made.Ref)
	if got.Ref != made.Ref || got.Display != made.Display || got.Key != made.Key {
		s.Errorf("created %s %s under %s, read %s %s under %s", made.Ref, made.Display, made.Key, got.Ref, got.Display, got.Key)
	}
	s.shows(got, s.Fields, connector.Fields...)
	if got.Version != made.Version {
		s.Errorf("version %s at creation, %s when read again without a write between", made.Version, got.Version)
	}
}

func createTwice(s *Suite) {
	key := s.key()
	one := s.createKey(key)
	two := s.createKey(key)
	if two.Ref != one.Ref {
		s.Errorf("second create gave %s, the first %s", two.Ref, one.Ref)
	}
	// Also with a connection that remembers nothing of the first.
	again, err := s.open(s.Settings, s.Secrets).Create(s.Context(), key, s.Kind, s.Fields)
	if err != nil || again.Ref != one.Ref {
		s.Errorf("create after a restart gave %s, %v; want %s", again.Ref, err, one.Ref)
	}
	if n := s.Count(s.t, key); n != 1 {
		s.Errorf("%d tickets under one key", n)
	}
}

func createConcurrently(s *Suite) {
	key := s.key()
	var wg sync.WaitGroup
	refs, errs := make([]string, 6), make([]error, 6)
	for i := range refs {
		wg.Go(func() {
			c, err := s.conn.Create(s.Context(), key, s.Kind, s.Fields)
			refs[i], errs[i] = c.Ref, err
		})
	}
	wg.Wait()
	for i := range refs {
		if errs[i] != nil || refs[i] != refs[0] {
			s.Errorf("create %d gave %q, %v; want %q", i, refs[i], errs[i], refs[0])
		}
	}
	if n := s.Count(s.t, key); n != 1 {
		s.Errorf("%d tickets under one key", n)
	}
}

func find(s *Suite) {
	made := s.create()
	s.create()
	got, err := s.conn.Find(s.Context(), made.Key)
	if err != nil || len(got) != 1 || got[0].Ref != made.Ref || got[0].Key != made.Key {
		s.Errorf("find gave %+v, %v; want %s", got, err, made.Ref)
	}
	got, err = s.conn.Find(s.Context(), s.key())
	if err != nil || len(got) != 0 {
		s.Errorf("find of a key nobody used gave %+v, %v", got, err)
	}
}

func severities(s *Suite) {
	made := s.create()
	for _, want := range []ops.Severity{ops.Critical, ops.Info, ops.Medium, ops.Low, ops.High} {
		f := s.Fields
		f.Severity = want
		s.shows(s.update(made.Ref, f, connector.Severity), f, connector.Severity)
		if got := s.get(made.Ref); got.Fields.Severity != want {
			s.Errorf("severity %s reads back as %s", want, got.Fields.Severity)
		}
	}
}

func onlyNamed(s *Suite) {
	made := s.create()
	f := s.Fields
	f.Title, f.Severity = "must not be written", ops.Low
	s.update(made.Ref, f, connector.Severity)
	got := s.get(made.Ref)
	s.shows(got, f, connector.Severity)
	if got.Fields.Title != made.Fields.Title {
		s.Errorf("title became %q though only the severity was to be written", got.Fields.Title)
	}
}

func staleUpdate(s *Suite) {
	made := s.create()
	theirs := s.Fields
	theirs.Title = "edited by a person"
	s.Edit(s.t, made.Ref, s.People[0], []connector.Field{connector.Title}, theirs, "")
	ours := s.Fields
	ours.Title = "ours"
	_, err := s.conn.Update(s.Context(), made.Ref, connector.Edit{Want: ours, Changed: []connector.Field{connector.Title}, Version: made.Version})
	s.fails("stale update", err, ops.ErrConflict)
	got := s.get(made.Ref)
	s.shows(got, theirs, connector.Title)
	s.shows(s.update(made.Ref, ours, connector.Title), ours, connector.Title)
}

func nothingToWrite(s *Suite) {
	made := s.create()
	before := s.writes()
	got, err := s.conn.Update(s.Context(), made.Ref, connector.Edit{Want: s.Fields, Version: made.Version})
	if err != nil {
		s.Fatal(err)
	}
	if n := s.writes() - before; n != 0 {
		s.Errorf("%d writes for no change", n)
	}
	if got.Version != made.Version {
		s.Errorf("version went from %s to %s without a change", made.Version, got.Version)
	}
}

var resolving = []connector.Field{connector.State, connector.ResolveCode, connector.ResolveNote}

func (s *Suite) resolved() ops.TicketFields {
	f := s.Fields
	f.State, f.ResolveCode, f.ResolveNote = string(ops.IncidentResolved), "resolved", "CPU is back at 40 %."
	return f
}

func resolve(s *Suite) {
	made := s.create()
	bare := s.Fields
	bare.State = string(ops.IncidentResolved)
	_, err := s.conn.Update(s.Context(), made.Ref, connector.Edit{Want: bare, Changed: []connector.Field{connector.State}, Version: made.Version})
	s.fails("resolve without code and note", err, ops.ErrInvalid)
	if got := s.get(made.Ref); got.Fields.State == string(ops.IncidentResolved) {
		s.Errorf("resolved without code and note")
	}
	// The state alone is named: the driver sends along what it needs.
	s.update(made.Ref, s.resolved(), connector.State)
	got := s.get(made.Ref)
	if got.Fields.State != string(ops.IncidentResolved) {
		s.Errorf("state %s after resolving", got.Fields.State)
	}
	s.shows(got, s.resolved(), resolving...)
}

func reopen(s *Suite) {
	made := s.create()
	s.update(made.Ref, s.resolved(), resolving...)
	f := s.Fields
	f.State = string(ops.IncidentInProgress)
	s.update(made.Ref, f, connector.State)
	if got := s.get(made.Ref); got.Fields.State != string(ops.IncidentInProgress) {
		s.Errorf("state %s after reopening", got.Fields.State)
	}
	s.update(made.Ref, s.resolved(), resolving...)
	if got := s.get(made.Ref); got.Fields.State != string(ops.IncidentResolved) {
		s.Errorf("state %s after resolving again", got.Fields.State)
	}
}

func note(s *Suite) {
	made := s.create()
	ours := []ops.Note{
		{ID: "0192f1c0-0000-7000-8000-" + s.key()[:12], Author: "fettle", Text: "Change CHG-1 waits for approval.\nPlan:\n  ~ web-1 <scale> & more"},
		{ID: "0192f1c0-0000-7000-8000-" + s.key()[:12], Author: "fettle", Text: "Approved."},
	}
	for _, n := range ours {
		if err := s.conn.AddNote(s.Context(), made.Ref, n); err != nil {
			s.Fatalf("add note: %v", err)
		}
	}
	s.Edit(s.t, made.Ref, s.People[0], nil, ops.TicketFields{}, "I am looking at it.")
	got := s.get(made.Ref)
	var own []connector.Note
	person := 0
	for _, n := range got.Notes {
		switch {
		case n.Own:
			own = append(own, n)
		case strings.Contains(n.Text, "I am looking at it."):
			person++
			if n.Author != s.People[0] || n.ID == "" {
				s.Errorf("the person's note has author %q and id %q", n.Author, n.ID)
			}
		}
	}
	if person != 1 {
		s.Errorf("the person's note is there %d times", person)
	}
	if len(own) != len(ours) {
		s.Fatalf("%d notes of ours came back, want %d: %+v", len(own), len(ours), own)
	}
	for i, n := range own {
		if n.ID != ours[i].ID || !strings.Contains(n.Text, ours[i].Text) {
			s.Errorf("note %d came back as %s %q, want %s %q", i, n.ID, n.Text, ours[i].ID, ours[i].Text)
		}
	}
}

func missing(s *Suite) {
	_, err := s.conn.Get(s.Context(), s.Missing)
	s.fails("get", err, ops.ErrNotFound)
	_, err = s.conn.Update(s.Context(), s.Missing, connector.Edit{Want: s.Fields, Changed: []connector.Field{connector.Title}, Version: "1"})
	s.fails("update", err, ops.ErrNotFound)
	err = s.conn.AddNote(s.Context(), s.Missing, ops.Note{ID: "n", Text: "x"})
	s.fails("add note", err, ops.ErrNotFound)
	if errors.As(err, new(*ops.UnknownOutcome)) {
		s.Errorf("a refusal is no unknown outcome: %v", err)
	}
}
