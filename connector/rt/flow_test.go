package rt_test

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/rt"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

var update = flag.Bool("update", false, "record testdata anew from a real Request Tracker")

// flow is a story told against Request Tracker: a real one when it is recorded
// or when the long tests run, the recording otherwise.
type flow struct {
	name string
	run  func(t *testing.T, s *stage)
}

// stage is where a flow plays.
type stage struct {
	hands
	live      bool
	transport http.RoundTripper
}

// open connects as a user. Keys are of the flow, so that recordings agree.
func (s *stage) open(t *testing.T, user string, o connector.Section) *connector.Conn {
	t.Helper()
	address := s.url
	set, secrets := settings(address, user, o)
	c, err := rt.Driver.Open(t.Context(), set, connector.Env{
		Name: "rt", Installation: "test", Clock: time.Now, Secrets: secretsOf(secrets), Records: &record.Memory{},
		HTTP: client{s.transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// person does something in Request Tracker; in a recording it has been done.
func (s *stage) person(t *testing.T, user, method, path string, in any) {
	t.Helper()
	if s.live {
		s.do(t, user, method, path, in, nil)
	}
}

type secretsOf map[string]string

func (s secretsOf) Resolve(_ context.Context, ref string) (string, error) { return s[ref], nil }

// client is the least an HTTP client must do.
type client struct{ http.RoundTripper }

func (c client) Do(req *http.Request, _ connector.Effect) (*http.Response, error) {
	resp, err := c.RoundTrip(req)
	if err != nil {
		return nil, &ops.UnknownOutcome{Err: errors.Join(err, ops.ErrUnavailable)}
	}
	return resp, nil
}

func cpu() ops.TicketFields {
	return ops.TicketFields{
		Title: "CPU of web-1 above 90 %", Description: "Alert: high-cpu\nÜmlaut <b>", State: "new", Severity: ops.High,
		Group: "Cloud operations", Resource: "web-1",
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func fails(t *testing.T, what string, err, class error, says string) {
	t.Helper()
	if !errors.Is(err, class) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v; want %v that says %q", what, err, class, says)
	}
}

var flows = []flow{
	{"lifecycle", func(t *testing.T, s *stage) {
		c, ctx, ok := s.open(t, "fettle", options()), t.Context(), must[connector.Copy](t)
		made := ok(c.Create(ctx, "flow-lifecycle", ops.TicketIncident, cpu()))
		want := cpu()
		if d := sortedFields(made, want); len(d) > 0 || made.Key != "flow-lifecycle" || !made.Own || made.UpdatedBy != "fettle" {
			t.Errorf("created %+v, differs in %v", made, d)
		}
		if again := ok(c.Create(ctx, "flow-lifecycle", ops.TicketIncident, cpu())); again.Ref != made.Ref {
			t.Errorf("created %s and %s under one key", made.Ref, again.Ref)
		}
		edit := func(v connector.Copy, f ops.TicketFields, fields ...connector.Field) connector.Copy {
			t.Helper()
			got := ok(c.Update(ctx, v.Ref, connector.Edit{Want: f, Changed: fields, Version: v.Version}))
			for _, x := range fields {
				if connector.Value(got.Fields, x) != connector.Value(f, x) {
					t.Errorf("%s is %q, want %q", x, connector.Value(got.Fields, x), connector.Value(f, x))
				}
			}
			return got
		}
		want.State, want.Severity, want.Assignee, want.Group = "in_progress", ops.Critical, "anna", "Network team"
		want.Title, want.Extra = "CPU of web-1 above 95 %", map[string]string{"Severity": "High", "Due": "2027-01-02T03:04:05Z"}
		now := edit(made, want, connector.State, connector.Severity, connector.Assignee, connector.Group, connector.Title,
			connector.ExtraField("Severity"), connector.ExtraField("Due"))
		if now.Version == made.Version {
			t.Errorf("version %s stayed", now.Version)
		}
		want.State = "on_hold"
		now = edit(now, want, connector.State)
		want.State, want.ResolveCode, want.ResolveNote = "resolved", "fixed", "CPU is back\nat 40 %."
		now = edit(now, want, connector.State)
		if now.Fields.ResolveCode != "fixed" || now.Fields.ResolveNote != "CPU is back\nat 40 %." {
			t.Errorf("resolved with %q, %q", now.Fields.ResolveCode, now.Fields.ResolveNote)
		}
		want.State, want.Assignee, want.ResolveCode, want.ResolveNote = "in_progress", "", "", ""
		now = edit(now, want, connector.State, connector.Assignee, connector.ResolveCode, connector.ResolveNote)
		want.State = "cancelled"
		now = edit(now, want, connector.State)
		if got := ok(c.Get(ctx, made.Ref)); !reflect.DeepEqual(got.Fields, now.Fields) || len(got.Notes) != 1 || !got.Notes[0].Own ||
			!strings.HasPrefix(got.Notes[0].ID, "resolution-") || got.Notes[0].Text != "Resolved: fixed\n\nCPU is back\nat 40 %." {
			t.Errorf("reads %+v", got)
		}
	}},
	{"refused", func(t *testing.T, s *stage) {
		c, ctx, ok := s.open(t, "fettle", options()), t.Context(), must[connector.Copy](t)
		made := ok(c.Create(ctx, "flow-refused", ops.TicketIncident, cpu()))
		f := func(says string, class error, set func(*ops.TicketFields), fields ...connector.Field) {
			t.Helper()
			want := cpu()
			set(&want)
			now := ok(c.Get(ctx, made.Ref))
			_, err := c.Update(ctx, made.Ref, connector.Edit{Want: want, Changed: fields, Version: now.Version})
			fails(t, says, err, class, says)
		}
		f("assignee", ops.ErrInvalid, func(f *ops.TicketFields) { f.Assignee = "nosuch" }, connector.Assignee)
		f("extra.Severity", ops.ErrInvalid, func(f *ops.TicketFields) { f.Extra = map[string]string{"Severity": "Bogus"} }, connector.ExtraField("Severity"))
		f("extra.Nope", ops.ErrInvalid, func(f *ops.TicketFields) { f.Extra = map[string]string{"Nope": "x"} }, connector.ExtraField("Nope"))
		f("extra.Due", ops.ErrInvalid, func(f *ops.TicketFields) { f.Extra = map[string]string{"Due": "tomorrow"} }, connector.ExtraField("Due"))
		f("state", ops.ErrInvalid, func(f *ops.TicketFields) { f.State = "bogus" }, connector.State)
		f("resolve_code", ops.ErrInvalid, func(f *ops.TicketFields) { f.State = "resolved" }, connector.State)

		s.person(t, "anna", http.MethodPut, "/ticket/"+made.Ref, map[string]any{"Subject": "anna was here"})
		_, err := c.Update(ctx, made.Ref, connector.Edit{Want: cpu(), Changed: []connector.Field{connector.Title}, Version: made.Version})
		fails(t, "stale", err, ops.ErrConflict, made.Version)
		// anna wrote last, but not in between: the value is at fault.
		f("assignee", ops.ErrInvalid, func(f *ops.TicketFields) { f.Assignee = "nosuch" }, connector.Assignee)
		_, err = c.Get(ctx, "999999")
		fails(t, "missing", err, ops.ErrNotFound, "999999")
		fails(t, "note on missing", c.AddNote(ctx, "999999", ops.Note{ID: "n", Text: "x"}), ops.ErrNotFound, "999999")

		_, err = s.open(t, "fettle", options("queue", "Bare", "groups", map[string]any{})).Create(ctx, "flow-refused-2", ops.TicketIncident, cpu())
		fails(t, "no field", err, ops.ErrInvalid, `queue "Bare": shows no custom field FettleKey`)
		_, err = s.open(t, "fettle", options("queue", "Nowhere", "groups", map[string]any{})).Create(ctx, "flow-refused-3", ops.TicketIncident, cpu())
		fails(t, "no queue", err, ops.ErrInvalid, `queue "Nowhere" does not exist`)
	}},
	{"dropped key", func(t *testing.T, s *stage) {
		// blind sees the field and may not set it: the create is answered 201.
		c, ctx := s.open(t, "blind", options()), t.Context()
		_, err := c.Create(ctx, "flow-dropped", ops.TicketIncident, cpu())
		fails(t, "first", err, ops.ErrInvalid, "custom field FettleKey")
		_, err = c.Create(ctx, "flow-dropped", ops.TicketIncident, cpu())
		fails(t, "second", err, ops.ErrInvalid, "no ticket is opened for 5m")
	}},
	{"notes and feed", func(t *testing.T, s *stage) {
		c, ctx, ok := s.open(t, "fettle", options()), t.Context(), must[connector.Copy](t)
		one := ok(c.Create(ctx, "flow-feed-1", ops.TicketIncident, cpu()))
		two := ok(c.Create(ctx, "flow-feed-2", ops.TicketIncident, cpu()))
		none, cursor, err := c.Changes(ctx, "")
		if err != nil || len(none) > 0 {
			t.Fatalf("first changes: %d, %v", len(none), err)
		}
		if err := c.AddNote(ctx, two.Ref, ops.Note{ID: "01-note", Author: "fettle", Text: "Change CHG-1 waits.\n  ~ web-1 <scale>"}); err != nil {
			t.Fatal(err)
		}
		s.person(t, "anna", http.MethodPost, "/ticket/"+two.Ref+"/comment",
			map[string]any{"Content": "<p>I am <b>looking</b></p><p>at&nbsp;it.</p>", "ContentType": "text/html"})
		s.person(t, "ben", http.MethodPost, "/ticket/"+one.Ref+"/correspond", map[string]any{"Content": "Forged [fettle:01-note]\nmore", "ContentType": "text/plain"})
		s.person(t, "anna", http.MethodPut, "/ticket/"+two.Ref, map[string]any{"Status": "open", "Priority": 20})
		moved, next, err := c.Changes(ctx, cursor)
		if err != nil || len(moved) != 2 || moved[0].Ref != one.Ref || moved[1].Ref != two.Ref {
			t.Fatalf("changes %+v, %v; want %s and %s", moved, err, one.Ref, two.Ref)
		}
		last := moved[1]
		if last.Own || last.UpdatedBy != "anna" || last.Fields.State != "in_progress" || last.Fields.Severity != ops.Low || last.Key != "flow-feed-2" {
			t.Errorf("anna's edit came as %+v", last)
		}
		note := func(n connector.Note, author, id, text string, own bool) {
			t.Helper()
			if n.Author != author || id != "" && n.ID != id || n.ID == "" || n.Text != text || n.Own != own || n.At.IsZero() {
				t.Errorf("note %+v, want %s by %s: %q", n, id, author, text)
			}
		}
		if len(last.Notes) != 2 || len(moved[0].Notes) != 1 {
			t.Fatalf("notes %+v and %+v", moved[0].Notes, last.Notes)
		}
		note(last.Notes[0], "fettle", "01-note", "Change CHG-1 waits.\n  ~ web-1 <scale>", true)
		note(last.Notes[1], "anna", "", "I am looking\nat it.", false)
		note(moved[0].Notes[0], "ben", "", "Forged [fettle:01-note]\nmore", false)
		if got := ok(c.Get(ctx, two.Ref)); !reflect.DeepEqual(got.Notes, last.Notes) {
			t.Errorf("get shows notes %+v, the feed %+v", got.Notes, last.Notes)
		}
		if rest, same, err := c.Changes(ctx, next); err != nil || len(rest) > 0 || same != next {
			t.Errorf("then came %d tickets, cursor %q after %q, %v", len(rest), same, next, err)
		}
	}},
	{"duplicates", func(t *testing.T, s *stage) {
		c, ctx, ok := s.open(t, "fettle", options()), t.Context(), must[connector.Copy](t)
		first := ok(c.Create(ctx, "flow-twice", ops.TicketIncident, cpu()))
		for range 2 {
			s.person(t, "root", http.MethodPost, "/ticket", map[string]any{
				"Queue": "General", "Subject": "again", "CustomFields": map[string]any{"FettleKey": "flow-twice"},
			})
		}
		found, err := c.Find(ctx, "flow-twice")
		if err != nil || len(found) != 3 || found[0].Ref != first.Ref {
			t.Fatalf("found %+v, %v", found, err)
		}
		s.person(t, "root", http.MethodPut, "/ticket/"+found[1].Ref, map[string]any{"MergeInto": first.Ref})
		s.person(t, "root", http.MethodDelete, "/ticket/"+found[2].Ref, nil)
		_, err = c.Get(ctx, found[1].Ref)
		fails(t, "merged", err, ops.ErrNotFound, "was merged into "+first.Ref)
		_, err = c.Get(ctx, found[2].Ref)
		fails(t, "deleted", err, ops.ErrNotFound, "was deleted")
		if found, err = c.Find(ctx, "flow-twice"); err != nil || len(found) != 1 {
			t.Errorf("left are %d, %v", len(found), err)
		}
	}},
	{"bare", func(t *testing.T, s *stage) {
		// Nothing is configured: what Request Tracker has no field for is not carried.
		c, ctx, ok := s.open(t, "fettle", connectortest.Values{"resolve_with": "correspond"}), t.Context(), must[connector.Copy](t)
		made := ok(c.Create(ctx, "flow-bare", ops.TicketIncident, cpu()))
		if d := connector.Diff(c.Normal(cpu(), made.Fields), made.Fields); len(d) > 0 {
			t.Errorf("differs in %v", d)
		}
		over := cpu()
		over.State, over.ResolveCode, over.ResolveNote = "closed", "fixed", "gone"
		made = ok(c.Update(ctx, made.Ref, connector.Edit{Want: over, Changed: []connector.Field{connector.State}, Version: made.Version}))
		if made.Fields.State != "resolved" {
			t.Errorf("state %s, want resolved", made.Fields.State)
		}
		if got := ok(c.Get(ctx, made.Ref)); len(got.Notes) != 1 || got.Notes[0].Text != "Resolved: fixed\n\ngone" {
			t.Errorf("notes %+v", got.Notes)
		}
	}},
	{"blocked", func(t *testing.T, s *stage) {
		c, ctx, ok := s.open(t, "fettle", options()), t.Context(), must[connector.Copy](t)
		made := ok(c.Create(ctx, "flow-blocked-1", ops.TicketIncident, cpu()))
		other := ok(c.Create(ctx, "flow-blocked-2", ops.TicketIncident, cpu()))
		s.person(t, "anna", http.MethodPut, "/ticket/"+made.Ref, map[string]any{"AddDependsOn": []string{other.Ref}})
		over := cpu()
		over.State, over.ResolveCode, over.ResolveNote = "resolved", "fixed", "gone"
		resolve := func() (connector.Copy, error) {
			return c.Update(ctx, made.Ref, connector.Edit{Want: over, Changed: []connector.Field{connector.State}, Version: ok(c.Get(ctx, made.Ref)).Version})
		}
		_, err := resolve()
		fails(t, "with an unresolved dependency", err, ops.ErrInvalid, `state was to be "resolved" and is "new"`)
		s.person(t, "anna", http.MethodPut, "/ticket/"+made.Ref, map[string]any{"DeleteDependsOn": []string{other.Ref}})
		if got := ok(resolve()); got.Fields.State != "resolved" {
			t.Errorf("state %s, want resolved", got.Fields.State)
		}
		// The first attempt left the message there.
		if got := ok(c.Get(ctx, made.Ref)); len(got.Notes) != 1 {
			t.Errorf("notes %+v, want the resolution once", got.Notes)
		}
	}},
	{"check", func(t *testing.T, s *stage) {
		s.person(t, "root", http.MethodPost, "/ticket", map[string]any{"Queue": "General", "Subject": "somebody else's"})
		ctx := t.Context()
		if err := s.open(t, "fettle", options()).Check(ctx); err != nil {
			t.Error(err)
		}
		err := s.open(t, "mute", options("queue", "Nowhere")).Check(ctx)
		for _, says := range []string{"CreateTicket", "CommentOnTicket", "ModifyTicket", "SeeCustomField", `queue "Nowhere" does not exist`} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("check says %v, without %q", err, says)
			}
		}
	}},
}

func TestFlows(t *testing.T) {
	var peer hands
	if *update {
		peer = start(t)
	}
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			file := filepath.Join("testdata", strings.ReplaceAll(f.name, " ", "-")+".txt")
			if *update {
				r := &recorder{url: peer.url}
				defer func() { // also of a failure, to see why
					if err := os.WriteFile(file, r.log.Bytes(), 0o644); err != nil {
						t.Error(err)
					}
				}()
				f.run(t, &stage{hands: peer, live: true, transport: r})
				return
			}
			r := replay(t, file)
			f.run(t, &stage{hands: hands{t, r.url}, transport: transport})
			r.done(t)
		})
	}
}
