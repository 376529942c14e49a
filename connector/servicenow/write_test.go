package servicenow_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

func TestNothingIsWrittenWhenNothingChanged(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	before := i.sim.Counts()
	f := fields()
	// All is named, as a repair does that does not know what differs.
	got := c.update(made, f, connector.Fields...)
	if n := i.sim.Counts().Writes - before.Writes; n != 0 || got.Version != made.Version {
		t.Errorf("%d writes, version %s to %s, for no change", n, made.Version, got.Version)
	}
	if d := connector.Diff(c.Normal(f, got.Fields), got.Fields); len(d) != 0 {
		t.Errorf("differs in %v", d)
	}
	// Looking and pulling write nothing either.
	c.pull(c.start())
	if _, err := c.Find(t.Context(), made.Key); err != nil {
		t.Error(err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if n := i.sim.Counts().Writes - before.Writes; n != 0 {
		t.Errorf("%d writes by looking", n)
	}
	// One change is one request that holds this change only.
	f.Severity = ops.Low
	c.update(got, f, connector.Fields...)
	log := i.sim.Requests()
	writes := slices.DeleteFunc(log, func(r simulator.Request) bool { return r.Method == http.MethodGet })
	if last := writes[len(writes)-1]; len(writes) != 2 || last.Body != `{"urgency":"3"}` {
		t.Errorf("%d writes, the last %s; want the create and one of the urgency alone", len(writes), last.Body)
	}
}

func TestCreateWritesWhatTheSeedAsks(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	c.create(fields())
	r := i.sim.Incidents()[0]
	f := func(name, want string) {
		t.Helper()
		if r[name] != want {
			t.Errorf("%s is %q, want %q", name, r[name], want)
		}
	}
	f("category", "Cloud Infrastructure")
	f("subcategory", "Monitoring Alert")
	f("urgency", "1")
	f("impact", "2")
	f("priority", "2") // computed, never sent
	f("correlation_display", "Fettle inst-1")
	f("correlation_id", r["sys_id"])
	for _, q := range i.sim.Requests() {
		if strings.Contains(q.Body, "priority") {
			t.Errorf("priority was sent: %s", q.Body)
		}
	}
}

func TestCreateAdoptsWhatIsThere(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	// The write happens, a proxy answers for the instance.
	f := func(name string, answer func(req *http.Request) *http.Response) {
		t.Run(name, func(t *testing.T) {
			c.wire.each = func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				if req.Method != http.MethodPost {
					return nil, nil
				}
				resp, err := next.RoundTrip(req)
				if err != nil {
					return nil, err
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				return answer(req), nil
			}
			made := c.create(fields())
			c.wire.each = nil
			if got, err := c.Get(t.Context(), made.Ref); err != nil || got.Key != made.Key || i.count(t, made.Key) != 1 {
				t.Errorf("%+v, %v, %d tickets", got, err, i.count(t, made.Key))
			}
		})
	}
	f("502", func(req *http.Request) *http.Response {
		return says(req, 502, "text/html", "<html>Bad Gateway</html>")
	})
	f("200 instead of 201", func(req *http.Request) *http.Response { return says(req, 200, "application/json", `{"result":{}}`) })
	f("duplicate key", func(req *http.Request) *http.Response {
		return says(req, 403, "application/json", `{"error":{"message":"Operation Failed","detail":"Unique Key violation"},"status":"failure"}`)
	})
}

func TestCreateWithoutALook(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	// The key is taken, and the instance sleeps before anybody can see by whom.
	c.wire.each = func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if strings.HasSuffix(req.URL.Path, made.Ref) {
			return says(req, 200, "text/html", "<html>hibernating</html>"), nil
		}
		return nil, nil
	}
	_, err := c.Create(t.Context(), made.Key, ops.TicketIncident, fields())
	c.fails(err, ops.ErrUnavailable, "Unique Key", "asleep")
	if !errors.As(err, new(*ops.UnknownOutcome)) {
		t.Errorf("%v, want an unknown outcome: the ticket is there", err)
	}
}

func TestCreateKeepsOffStrangers(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	key := strings.Repeat("ab", 16)
	i.as(t, "beth.anglin", http.MethodPost, "/api/now/table/incident", map[string]string{"sys_id": key, "short_description": "theirs"})
	_, err := c.Create(t.Context(), key, ops.TicketIncident, fields())
	c.fails(err, ops.ErrConflict, "taken by INC")
	if found, err := c.Find(t.Context(), key); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	_, err = c.Create(t.Context(), "short", ops.TicketIncident, fields())
	c.fails(err, ops.ErrInternal, "32 hexadecimal digits")
	_, err = c.Create(t.Context(), key, ops.TicketChangeRequest, fields())
	c.fails(err, ops.ErrInvalid, "changes: {}")
	_, err = c.Create(t.Context(), key, ops.TicketWorkOrder, fields())
	c.fails(err, ops.ErrInvalid, "kind: incident")
}

func TestLifeOfAnIncident(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	f := fields()
	state := func(to ops.IncidentState, theirs string) {
		t.Helper()
		f.State = string(to)
		made = c.update(made, f, connector.State)
		if r := i.sim.Incidents()[0]; r["state"] != theirs {
			t.Errorf("%s is state %s there, want %s", to, r["state"], theirs)
		}
	}
	state(ops.IncidentInProgress, "2")
	state(ops.IncidentOnHold, "3")
	if r := i.sim.Incidents()[0]; r["hold_reason"] != "5" {
		t.Errorf("hold reason %q, want 5, awaiting change", r["hold_reason"])
	}
	state(ops.IncidentInProgress, "2")
	f.ResolveCode, f.ResolveNote = "resolved", "restarted"
	state(ops.IncidentClosed, "6") // closing is the instance's
	if d := connector.Diff(c.Normal(f, made.Fields), made.Fields); len(d) != 0 {
		t.Errorf("closed shows as resolved, but differs in %v", d)
	}
	state(ops.IncidentInProgress, "2")
	if made.Fields.ResolveCode != "" || made.Fields.ResolveNote != "" {
		t.Errorf("reopened, but still shows resolution %q %q", made.Fields.ResolveCode, made.Fields.ResolveNote)
	}
	// Resolving the same way again: the code stands there, and is sent anew.
	state(ops.IncidentResolved, "6")
	i.as(t, "admin", http.MethodPatch, "/api/now/table/incident/"+made.Ref, map[string]string{"state": "7"})
	got, err := c.Get(t.Context(), made.Ref)
	if err != nil || got.Fields.State != "closed" || got.UpdatedBy != "admin" || got.Own {
		t.Errorf("%+v, %v", got, err)
	}
	if d := connector.Diff(c.Normal(f, got.Fields), got.Fields); len(d) != 0 {
		t.Errorf("closed there, resolved here, differs in %v", d)
	}
	f.State = "in_progress"
	_, err = c.Update(t.Context(), made.Ref, connector.Edit{Want: f, Changed: []connector.Field{connector.State}, Version: got.Version})
	c.fails(err, ops.ErrDenied, "role itil")
}

func TestRefusals(t *testing.T) {
	i := start(t, func(c *simulator.Config) {
		c.BusinessRules = []simulator.BusinessRule{{Name: "No disks", SysID: "br1", Table: "incident", Query: "short_descriptionLIKEdisk"}}
		c.Users["nobody"], c.Profiles["nobody"] = secrets["env:PASSWORD"], simulator.Profile{}
		c.Users["mfa"], c.Profiles["mfa"] = secrets["env:PASSWORD"], simulator.Profile{MFA: true, Roles: []string{"itil"}}
	})
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	edit := func(c *connection, changed connector.Field, change func(*ops.TicketFields)) error {
		f := fields()
		change(&f)
		_, err := c.Update(t.Context(), made.Ref, connector.Edit{Want: f, Changed: []connector.Field{changed}, Version: made.Version})
		return err
	}
	c.fails(edit(c, connector.Title, func(f *ops.TicketFields) { f.Title = "disk full" }), ops.ErrInvalid, "403", "aborted by Business Rule 'No disks")
	c.fails(edit(c, connector.State, func(f *ops.TicketFields) { f.State, f.ResolveCode, f.ResolveNote = "resolved", "Magic", "n" }),
		ops.ErrInvalid, "close_code", "Magic", "Workaround provided", "options.close_code")
	c.fails(edit(c, connector.ExtraField("u_nowhere"), func(f *ops.TicketFields) { f.Extra = map[string]string{"u_nowhere": "x"} }),
		ops.ErrInvalid, "u_nowhere")
	c.fails(edit(c, connector.ExtraField("priority"), func(f *ops.TicketFields) { f.Extra = map[string]string{"priority": "1"} }),
		ops.ErrInvalid, "priority", "leave it out")

	as := func(name string) *connection {
		s := i.settings(nil)
		s.Auth = user(name)
		return i.open(t, s)
	}
	c.fails(edit(as("nobody"), connector.State, func(f *ops.TicketFields) { f.State, f.ResolveCode, f.ResolveNote = "resolved", "resolved", "n" }),
		ops.ErrDenied, "role itil")
	_, err := as("mfa").Get(t.Context(), made.Ref)
	c.fails(err, ops.ErrDenied, "second factor")

	// Where an instance hides its choices, its own refusal is passed on.
	blind := start(t, func(c *simulator.Config) {
		c.HiddenRow = func(_, table string, _ simulator.Record) bool { return table == "sys_choice" }
	})
	c = blind.open(t, blind.settings(nil))
	made = c.create(fields())
	c.fails(edit(c, connector.State, func(f *ops.TicketFields) { f.State, f.ResolveCode, f.ResolveNote = "resolved", "Magic", "n" }),
		ops.ErrInvalid, "Data Policy", "reported as missing")
}

func TestThrottled(t *testing.T) {
	i := start(t, func(c *simulator.Config) { c.RateLimits = []simulator.RateLimit{{SysID: "rl1", Limit: 3}} })
	c := i.open(t, i.settings(nil))
	i.wait(10 * time.Minute)
	var err error
	for range 4 {
		_, err = c.Find(t.Context(), strings.Repeat("0", 32))
	}
	c.fails(err, ops.ErrThrottled, "Rate limit exceeded")
	if d := ops.RetryAfter(err); d <= 0 || d > time.Hour {
		t.Errorf("wait %s, want the rest of the hour", d)
	}
}

func TestNames(t *testing.T) {
	i := start(t, func(c *simulator.Config) {
		c.Rows = map[string][]simulator.Record{
			"sys_user_group": {{"name": "Cloud operations"}},
			"cmdb_ci":        {{"name": "web-01"}, {"name": "web-01", "operational_status": "6"}, {"name": "db-01"}},
		}
	})
	c := i.open(t, i.settings(nil))
	f := func(group, resource, wantGroup, wantResource string, says ...string) connector.Copy {
		t.Helper()
		want := fields()
		want.Group, want.Resource = group, resource
		made := c.create(want)
		if made.Fields.Group != wantGroup || made.Fields.Resource != wantResource {
			t.Errorf("%s and %s became %q and %q", group, resource, made.Fields.Group, made.Fields.Resource)
		}
		if d := connector.Diff(c.Normal(want, made.Fields), made.Fields); len(d) != 0 {
			t.Errorf("%s and %s would be written again and again: %v", group, resource, d)
		}
		for _, s := range says {
			if !strings.Contains(c.log.String(), s) {
				t.Errorf("nobody is told %q", s)
			}
		}
		return made
	}
	f("Cloud operations", "db-01", "Cloud operations", "db-01")
	f("cloud operations", "db-01", "", "db-01", "no record in sys_user_group") // names are case-sensitive in queries
	f("Nobody", "web-01", "", "", "no record in sys_user_group", "several records in cmdb_ci")
	f("x^ORname=Cloud operations", "javascript:gs.getUserID()", "", "", "no name of a record")

	// Names are asked for once, until the answer is old.
	asked := c.wire.requests("GET /api/now/table/cmdb_ci")
	made := f("Cloud operations", "db-01", "Cloud operations", "db-01")
	if n := c.wire.requests("GET /api/now/table/cmdb_ci") - asked; n != 0 {
		t.Errorf("%d more look-ups of a known name", n)
	}
	i.wait(11 * time.Minute)
	made = c.update(made, fields(), connector.Resource) // web-01, twice there
	if n := c.wire.requests("GET /api/now/table/cmdb_ci") - asked; n != 1 || made.Fields.Resource != "db-01" {
		t.Errorf("%d look-ups of an old name, resource %q; an unknown name must leave what is there", n, made.Fields.Resource)
	}

	// A filter tells two of a name apart.
	narrow := i.open(t, i.settings(map[string]any{"ci_filter": "operational_status=1"}))
	narrow.keys = 100
	if got := narrow.create(fields()); got.Fields.Resource != "web-01" {
		t.Errorf("resource %q, want the one in operation", got.Fields.Resource)
	}
}

func TestAssignee(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	f := fields()
	f.Assignee = "beth.anglin"
	if made = c.update(made, f, connector.Assignee); made.Fields.Assignee != "beth.anglin" {
		t.Errorf("assigned to %q", made.Fields.Assignee)
	}
}

func TestExtraFieldsComeBackAfterARestart(t *testing.T) {
	i := start(t)
	f := fields()
	f.Extra = map[string]string{"contact_type": "monitoring"}
	made := i.open(t, i.settings(nil)).create(f)
	fresh := i.open(t, i.settings(nil))
	writes := i.sim.Counts().Writes
	got := fresh.update(made, f, connector.ExtraField("contact_type"))
	if got.Fields.Extra["contact_type"] != "monitoring" || i.sim.Counts().Writes != writes {
		t.Errorf("%v, %d writes; it stood there already", got.Fields.Extra, i.sim.Counts().Writes-writes)
	}
}

func TestNoteIsSentOnce(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	i.sim.SetFault(simulator.Fault{Mode: simulator.DropAnswer, Times: 1, Writes: true})
	err := c.AddNote(t.Context(), made.Ref, ops.Note{ID: "n-1", Text: "once"})
	if !errors.As(err, new(*ops.UnknownOutcome)) {
		t.Fatalf("%v, want an unknown outcome", err)
	}
	got, err := c.Get(t.Context(), made.Ref)
	if err != nil || len(got.Notes) != 1 || got.Notes[0].ID != "n-1" || !got.Notes[0].Own || got.Notes[0].Text != "once" {
		t.Errorf("%+v, %v; want the note to be recognised, so that nobody sends it again", got.Notes, err)
	}
	c.fails(c.AddNote(t.Context(), made.Ref, ops.Note{ID: "not [an] id", Text: "x"}), ops.ErrInternal)
	if n := len(i.sim.Journal(made.Ref)); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestHiddenJournals(t *testing.T) {
	f := func(name string, change func(*simulator.Config), each func(*http.Request, http.RoundTripper) (*http.Response, error)) {
		t.Run(name, func(t *testing.T) {
			i := start(t, change)
			c := i.open(t, i.settings(nil))
			c.wire.each = each
			made := c.create(fields())
			if err := c.AddNote(t.Context(), made.Ref, ops.Note{ID: "n-1", Text: "ours\nin two lines"}); err != nil {
				t.Fatal(err)
			}
			i.wait(time.Second)
			i.edit(t, made.Ref, "beth.anglin", nil, ops.TicketFields{}, "theirs")
			got, err := c.Get(t.Context(), made.Ref)
			if err != nil || len(got.Notes) != 2 {
				t.Fatalf("%+v, %v; want two notes", got.Notes, err)
			}
			ours, theirs := got.Notes[0], got.Notes[1]
			if ours.ID != "n-1" || !ours.Own || ours.Text != "ours\nin two lines" {
				t.Errorf("ours is %+v", ours)
			}
			if theirs.Own || theirs.Author != "Beth Anglin" || theirs.Text != "theirs" || !theirs.At.Equal(i.clock()) {
				t.Errorf("theirs is %+v", theirs)
			}
		})
	}
	f("rows hidden", func(c *simulator.Config) {
		c.HiddenRow = func(_, table string, _ simulator.Record) bool { return table == "sys_journal_field" }
	}, nil)
	f("table refused", func(*simulator.Config) {}, func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if !strings.HasSuffix(req.URL.Path, "/sys_journal_field") {
			return nil, nil
		}
		return says(req, 403, "application/json", `{"error":{"message":"Operation Failed","detail":"ACL"},"status":"failure"}`), nil
	})
}

func TestHibernating(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	i.sim.SetDown(simulator.Hibernating)
	c.fails(c.Check(t.Context()), ops.ErrUnavailable, "asleep", "wake it")
	_, err := c.Create(t.Context(), fmt.Sprintf("%032x", 7), ops.TicketIncident, fields())
	c.fails(err, ops.ErrUnavailable, "asleep")
	i.sim.SetFault(simulator.Fault{})
}
