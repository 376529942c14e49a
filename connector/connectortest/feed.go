package connectortest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var feedRules = []Rule{
	{Name: "first cursor", Why: "a new connection must not take years of tickets for news", Test: firstCursor},
	{Name: "edits by others", Why: "people work in their platform and the incident must follow", Test: othersEdits},
	{Name: "notes by others", Why: "what people write must reach those who do not look there", Test: othersNotes},
	{Name: "echo", Why: "an edit of ours taken for a person's would go round for ever", Test: echo},
	{Name: "resume", Why: "after a restart no edit may be lost", Test: resume},
	{Name: "every edit comes", Why: "an edit in the same second as the last look must not be skipped", Test: sameSecond},
	{Name: "cancelled", Why: "a shutdown must not wait for a platform, nor send what nobody waits for", Test: cancelled},
	{Name: "check", Why: "a person who sets this up needs to hear what is wrong, not that something is", Test: checkConnection},
}

// since returns the changes after cursor that are about ref, oldest first.
func (s *Suite) since(cursor, ref string) []connector.Copy {
	s.Helper()
	all, _ := s.drain(s.conn, cursor)
	return slices.DeleteFunc(all, func(c connector.Copy) bool { return c.Ref != ref })
}

func (s *Suite) start() string {
	s.Helper()
	got, cursor, err := s.conn.Changes(s.Context(), "")
	if err != nil || cursor == "" || len(got) != 0 {
		s.Fatalf("first changes: %d tickets, cursor %q, %v; want none and a cursor", len(got), cursor, err)
	}
	return cursor
}

func firstCursor(s *Suite) {
	s.create()
	s.start()
}

func othersEdits(s *Suite) {
	made := s.create()
	cursor := s.start()
	s.Wait(time.Second)
	f := s.Fields
	f.State, f.Severity = string(ops.IncidentInProgress), ops.Low
	s.Edit(s.t, made.Ref, s.People[0], []connector.Field{connector.State, connector.Severity}, f, "")
	got := s.since(cursor, made.Ref)
	if len(got) == 0 {
		s.Fatal("the edit did not come")
	}
	last := got[len(got)-1]
	s.shows(last, f, connector.State, connector.Severity)
	if last.UpdatedBy != s.People[0] || last.Own {
		s.Errorf("edited by %q (own %v), want %s", last.UpdatedBy, last.Own, s.People[0])
	}
	if last.Key != made.Key {
		s.Errorf("key %s, want %s", last.Key, made.Key)
	}
	if last.Version == made.Version {
		s.Errorf("the version stayed %s", last.Version)
	}
	f.State, f.ResolveCode, f.ResolveNote = string(ops.IncidentResolved), "resolved", "restarted"
	s.Edit(s.t, made.Ref, s.People[1], []connector.Field{connector.State, connector.ResolveCode, connector.ResolveNote}, f, "")
	if c := s.get(made.Ref); c.Fields.State != string(ops.IncidentResolved) || c.UpdatedBy != s.People[1] {
		s.Errorf("state %s by %s, want resolved by %s", c.Fields.State, c.UpdatedBy, s.People[1])
	}
}

func othersNotes(s *Suite) {
	made := s.create()
	cursor := s.start()
	s.Wait(time.Second)
	s.Edit(s.t, made.Ref, s.People[1], nil, ops.TicketFields{}, "The fan is broken.")
	var found []connector.Note
	for _, c := range s.since(cursor, made.Ref) {
		for _, n := range c.Notes {
			if strings.Contains(n.Text, "The fan is broken.") {
				found = append(found, n)
			}
		}
	}
	if len(found) == 0 {
		s.Fatal("the note did not come")
	}
	for _, n := range found {
		if n.Own || n.Author != s.People[1] || n.ID != found[0].ID || n.At.IsZero() {
			s.Errorf("note %+v, want one id, a time and author %s", n, s.People[1])
		}
	}
}

func echo(s *Suite) {
	made := s.create()
	cursor := s.start()
	s.Wait(time.Second)
	f := s.Fields
	f.Severity = ops.Low
	wrote := s.update(made.Ref, f, connector.Severity)
	if !wrote.Own {
		s.Errorf("our own edit is by %q and not ours", wrote.UpdatedBy)
	}
	got := s.since(cursor, made.Ref)
	if len(got) == 0 {
		return // a feed without our own edits is fine
	}
	if last := got[len(got)-1]; !last.Own || last.Version != wrote.Version {
		s.Errorf("our edit came back own %v, version %s; want version %s", last.Own, last.Version, wrote.Version)
	}
}

func resume(s *Suite) {
	var made []connector.Copy
	for range 3 {
		made = append(made, s.create())
	}
	cursor := s.start()
	edit := func(i int) {
		s.Wait(time.Second)
		f := s.Fields
		f.Title = "edited"
		s.Edit(s.t, made[i].Ref, s.People[0], []connector.Field{connector.Title}, f, "")
	}
	edit(2)
	edit(0)
	first, middle := s.drain(s.conn, cursor)
	seen := func(all []connector.Copy) []int {
		var out []int
		for _, c := range all {
			i := slices.IndexFunc(made, func(m connector.Copy) bool { return m.Ref == c.Ref && c.Fields.Title == "edited" })
			if i >= 0 && !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
		return out
	}
	if got := seen(first); !slices.Equal(got, []int{2, 0}) {
		s.Errorf("edits of tickets 2 and 0 came as %v", got)
	}
	edit(1)
	// A new process has nothing but the cursor.
	fresh := s.open(s.Settings, s.Secrets)
	rest, _ := s.drain(fresh, middle)
	if got := seen(rest); !slices.Contains(got, 1) {
		s.Errorf("the edit of ticket 1 did not come after a restart: %v", got)
	}
	// The first answer was lost on the way to us: the old cursor gives all again.
	again, _ := s.drain(fresh, cursor)
	if got := seen(again); len(got) != 3 {
		s.Errorf("from the old cursor came %v, want all three", got)
	}
}

func sameSecond(s *Suite) {
	made := s.create()
	cursor := s.start()
	f := s.Fields
	for _, title := range []string{"one", "two", "three"} {
		f.Title = title
		s.Edit(s.t, made.Ref, s.People[0], []connector.Field{connector.Title}, f, "")
		all, next := s.drain(s.conn, cursor)
		cursor = next
		found := slices.ContainsFunc(all, func(c connector.Copy) bool { return c.Ref == made.Ref && c.Fields.Title == title })
		if !found {
			s.Errorf("edit %q did not come", title)
		}
	}
}

func cancelled(s *Suite) {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	key := s.key()
	before := s.writes()
	_, err := s.conn.Create(ctx, key, s.Kind, s.Fields)
	s.fails("create", err, ops.ErrUnavailable)
	_, _, err = s.conn.Changes(ctx, "")
	s.fails("changes", err, ops.ErrUnavailable)
	if n := s.writes() - before; n != 0 {
		s.Errorf("%d writes were sent after the caller was gone", n)
	}
	if n := s.Count(s.t, key); n != 0 {
		s.Errorf("%d tickets were opened after the caller was gone", n)
	}
}

func checkConnection(s *Suite) {
	if err := s.conn.Check(s.Context()); err != nil {
		s.Errorf("check of a good connection: %v", err)
	}
	for _, b := range s.Broken {
		err := s.open(b.Settings, b.Secrets).Check(s.Context())
		if err == nil {
			s.Errorf("check of %q found nothing", b.Name)
			continue
		}
		s.errs = append(s.errs, err)
		if !strings.Contains(err.Error(), b.Says) {
			s.Errorf("check of %q says %q, which does not hold %q", b.Name, err, b.Says)
		}
		for _, v := range b.Secrets {
			if strings.Contains(err.Error(), v) {
				s.Errorf("check of %q shows a secret: %v", b.Name, err)
			}
		}
	}
}
