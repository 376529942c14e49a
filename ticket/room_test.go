package ticket_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ticket"
)

func TestKey(t *testing.T) {
	key := ticket.Key("a", "snow", ops.TicketIncident, "incident/1")
	if len(key) != 32 || strings.Trim(key, "0123456789abcdef") != "" {
		t.Errorf("key %q is no ServiceNow sys_id", key)
	}
	f := func(same bool, installation, platform string, kind ops.TicketKind, subject string) {
		t.Helper()
		if got := ticket.Key(installation, platform, kind, subject); (got == key) != same {
			t.Errorf("Key(%s, %s, %s, %s) = %s; the same as %s: want %v", installation, platform, kind, subject, got, key, same)
		}
	}
	f(true, "a", "snow", ops.TicketIncident, "incident/1")
	f(false, "b", "snow", ops.TicketIncident, "incident/1")
	f(false, "a", "snow2", ops.TicketIncident, "incident/1")
	f(false, "a", "snow", ops.TicketEvent, "incident/1")
	f(false, "a", "snow", ops.TicketIncident, "incident/2")
	f(false, "as", "now", ops.TicketIncident, "incident/1") // the parts do not run into each other
}

func TestIncidentGoesAround(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(time.Second)
		for _, platform := range []string{"snow", "desk"} {
			c := h.shown(platform, i)
			f := c.Fields
			if f.Title != i.Title || f.Severity != ops.High || f.State != "new" || f.Group != "Cloud operations" || f.Resource != "web-1" {
				t.Errorf("%s opened with %+v", platform, f)
			}
			if !strings.Contains(f.Description, "Diagnostics, ") || !strings.Contains(f.Description, "none recorded") {
				t.Errorf("%s has no full context: %s", platform, f.Description)
			}
			if c.Key != h.on(platform, i).Key {
				t.Errorf("%s has key %s", platform, c.Key)
			}
		}
		if n := len(h.facts(i.Subject(), ops.TicketOpened)); n != 2 {
			t.Errorf("%d TicketOpened", n)
		}
		h.inSync(i)

		h.severity(i.ID, ops.Critical)
		h.run(time.Second)
		if got := h.shown("snow", i).Fields.Severity; got != ops.Critical {
			t.Errorf("severity %s", got)
		}

		h.resolve(i.ID, "CPU is back at 40 %")
		h.run(time.Second)
		if f := h.shown("snow", i).Fields; f.State != "resolved" || f.ResolveCode == "" || f.ResolveNote != "CPU is back at 40 %" {
			t.Errorf("resolved as %+v", f)
		}

		h.reopen(i.ID)
		h.run(time.Second)
		c := h.shown("snow", i)
		if c.Fields.State != "in_progress" {
			t.Errorf("reopened as %s", c.Fields.State)
		}
		var texts []string
		for _, n := range c.Notes {
			texts = append(texts, n.Text)
		}
		all := strings.Join(texts, "\n")
		for _, want := range []string{"Severity went from high to critical.", "Resolved.", "Reopened"} {
			if strings.Count(all, want) != 1 {
				t.Errorf("%q is in the notes %d times:\n%s", want, strings.Count(all, want), all)
			}
		}
		h.inSync(i)

		h.resolve(i.ID, "quiet again")
		h.run(time.Second)
		if f := h.shown("snow", i).Fields; f.State != "resolved" || f.ResolveNote != "quiet again" {
			t.Errorf("resolved the second time as %+v", f)
		}
		if n := len(h.snow.Calls("create")); n != 1 {
			t.Errorf("%d creates", n)
		}
	})
}

// Nothing is written when nothing changed, however often it is looked at.
func TestNothingWrittenWhenNothingChanged(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(5 * time.Minute)
		before := len(h.snow.Calls("create", "update", "add_note", "get", "find"))
		h.tell(i.Subject(), ops.IncidentShrankBody{Incident: h.incidents[i.ID], Was: ops.High}) // asks for what is there; one note
		h.run(time.Second)
		if got := h.snow.Calls("update"); len(got) != 0 {
			t.Errorf("updates without a change: %v", got)
		}
		h.run(time.Hour)
		after := h.snow.Calls("create", "update", "add_note", "get", "find")
		if len(after) != before+2 { // the note, and the look after it
			t.Errorf("calls of an hour without news: %v", after[before:])
		}
		if n := len(h.facts(i.Subject(), ops.TicketEdited)); n != 0 {
			t.Errorf("%d edits were told and nobody edited", n)
		}
	})
}

func TestPersonsEditFlowsOn(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(time.Second)
		done := ops.TicketFields{State: "resolved", ResolveCode: "Workaround", ResolveNote: "restarted by hand"}
		h.edit("snow", i, "anna.s", done, "Restarted the service.", connector.State, connector.ResolveCode, connector.ResolveNote)
		h.run(time.Minute)

		edits := h.facts(i.Subject(), ops.TicketEdited)
		if len(edits) != 1 {
			t.Fatalf("%d edits told, want 1", len(edits))
		}
		b, err := ops.Body[ops.TicketEditedBody](edits[0])
		if err != nil || b.By != "anna.s" || b.Person != "anna" || b.State != ops.IncidentResolved || len(b.Notes) != 1 || edits[0].Principal != "anna" {
			t.Errorf("told by %s: %+v, %v", edits[0].Principal, b, err)
		}
		if got := h.incidents[i.ID].State; got != ops.IncidentResolved {
			t.Errorf("the incident is %s", got)
		}
		if f := h.shown("desk", i).Fields; f.State != "resolved" || !strings.Contains(f.ResolveNote, "moved in snow") {
			t.Errorf("the other platform shows %+v", f)
		}
		// No echo: the person's words stand, and nothing was written back.
		if f := h.shown("snow", i).Fields; f.ResolveCode != "Workaround" || f.ResolveNote != "restarted by hand" {
			t.Errorf("the person's words became %+v", f)
		}
		if w := h.snow.Calls("update", "add_note"); len(w) != 0 {
			t.Errorf("echo to where it came from: %v", w)
		}
		h.inSync(i)

		// The alert fires again: reopened on both sides.
		h.reopen(i.ID)
		h.run(time.Minute)
		for _, p := range []string{"snow", "desk"} {
			if got := h.shown(p, i).Fields.State; got != "in_progress" {
				t.Errorf("%s is %s after it fired again", p, got)
			}
		}
		// And what the alert says when it resolves is written, as the state is.
		h.resolve(i.ID, "quiet")
		h.run(time.Minute)
		if f := h.shown("snow", i).Fields; f.State != "resolved" {
			t.Errorf("resolved as %+v", f)
		}
	})
}

func TestUnmappedUserIsShown(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(time.Second)
		h.edit("snow", i, "stranger", ops.TicketFields{Severity: ops.Low}, "", connector.Severity)
		h.run(time.Minute)
		edits := h.facts(i.Subject(), ops.TicketEdited)
		if len(edits) != 1 || edits[0].Principal != "snow:stranger" {
			t.Fatalf("told %+v", edits)
		}
		b, _ := ops.Body[ops.TicketEditedBody](edits[0])
		if b.Person != "" || b.By != "stranger" || !slices.Equal(b.Edits, []ops.FieldEdit{{Field: "severity", From: "high", To: "low"}}) {
			t.Errorf("told %+v", b)
		}
		// The edit stands, until the incident asks for something else.
		if got := h.shown("snow", i).Fields.Severity; got != ops.Low {
			t.Errorf("severity %s", got)
		}
		h.edit("snow", i, "stranger", ops.TicketFields{Severity: ops.High}, "", connector.Severity)
		h.run(time.Minute)
		if got := h.shown("snow", i).Fields.Severity; got != ops.High {
			t.Errorf("severity %s after the person took it back", got)
		}
		h.severity(i.ID, ops.Critical)
		h.run(time.Minute)
		if got := h.shown("snow", i).Fields.Severity; got != ops.Critical {
			t.Errorf("severity %s", got)
		}
	})
}

func TestConflict(t *testing.T) {
	t.Parallel()
	f := func(policy ticket.Conflict, want ops.Severity, sync ops.SyncState) {
		t.Helper()
		t.Run(string(policy), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := open(t, setup{conflict: policy})
				i := h.incident(ops.High)
				h.run(time.Second)
				// Both change the severity before either hears of the other.
				h.edit("snow", i, "anna.s", ops.TicketFields{Severity: ops.Low}, "", connector.Severity)
				time.Sleep(time.Millisecond)
				h.severity(i.ID, ops.Critical)
				h.run(time.Minute)
				if got := h.shown("snow", i).Fields.Severity; got != want {
					t.Errorf("severity %s, want %s", got, want)
				}
				if got := h.on("snow", i).Sync; got != sync {
					t.Errorf("sync %s, want %s", got, sync)
				}
				if n := len(h.facts(i.Subject(), ops.TicketEdited)); n != 1 {
					t.Errorf("%d edits told", n)
				}
				if policy != ticket.Ask {
					return
				}
				by := ops.Principal{Name: "anna", Kind: ops.Person, Roles: []ops.Role{ops.Responder}}
				if err := h.room.Decide(context.Background(), h.on("snow", i).ID, true, by); err != nil {
					t.Fatal(err)
				}
				h.run(time.Minute)
				if got := h.shown("snow", i).Fields.Severity; got != ops.Critical {
					t.Errorf("severity %s after it was decided", got)
				}
				h.inSync(i)
			})
		})
	}
	f(ticket.PlatformWins, ops.Low, ops.SyncOK)
	f(ticket.FettleWins, ops.Critical, ops.SyncOK)
	f(ticket.NewestWins, ops.Critical, ops.SyncOK)
	f(ticket.Ask, ops.Low, ops.SyncConflict)
}

func TestOutageDrains(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		first := h.incident(ops.High)
		h.run(time.Second)
		h.snow.Break(connectortest.Unavailable())
		h.severity(first.ID, ops.Critical)
		var all []ops.Incident
		for n := range 20 {
			i := h.incident(ops.Medium)
			all = append(all, i)
			h.run(20 * time.Second)
			h.severity(i.ID, ops.High)
			if n%2 == 0 {
				h.resolve(i.ID, fmt.Sprintf("over %d", n))
			}
			h.run(10 * time.Second)
			// The other platform is not held up.
			if got := h.shown("desk", i).Fields.Severity; got != ops.High {
				t.Errorf("desk shows %s during the outage of snow", got)
			}
		}
		if tried := len(h.snow.Calls()); tried > 10*60 {
			t.Errorf("%d calls to a platform that is down", tried)
		}
		if got := h.on("snow", first); got.Sync != ops.SyncUnknown {
			t.Errorf("during the outage snow's ticket is %s, not unknown", got.Sync)
		}
		if n := len(h.facts(first.Subject(), ops.TicketTroubled)); n != 1 {
			t.Errorf("people were told of the trouble %d times", n)
		}
		h.snow.Break(nil)
		h.run(time.Minute)
		for n, i := range append(all, first) {
			h.inSync(i)
			c := h.shown("snow", i)
			want := string(h.incidents[i.ID].State)
			if c.Fields.State != want || c.Fields.Severity != h.incidents[i.ID].Severity {
				t.Errorf("%s shows %s %s", i.Key(), c.Fields.State, c.Fields.Severity)
			}
			at := []int{}
			for k, note := range c.Notes {
				if strings.Contains(note.Text, "Severity went") || strings.Contains(note.Text, "Resolved.") {
					at = append(at, k)
				}
			}
			wantNotes := 1
			if n%2 == 0 && n < len(all) {
				wantNotes = 2
			}
			if len(at) != wantNotes || !strings.Contains(c.Notes[at[0]].Text, "Severity went") {
				t.Errorf("%s has notes %+v", i.Key(), c.Notes)
			}
		}
		tickets, err := h.snowDesk.List(context.Background(), 0, 1000)
		if err != nil || len(tickets) != len(all)+1 {
			t.Errorf("%d tickets for %d incidents, %v", len(tickets), len(all)+1, err)
		}
	})
}

func TestThrottledWaitsAsAsked(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		h.snow.Next("create", connectortest.Fault{Err: connectortest.Throttled(45 * time.Second)})
		a, b := h.incident(ops.High), h.incident(ops.High)
		h.run(44 * time.Second)
		if n := len(h.snow.Calls("create")); n != 1 {
			t.Errorf("%d creates while the platform asked for patience", n)
		}
		h.run(5 * time.Second)
		h.inSync(a)
		h.inSync(b)
	})
}

// Nobody knows the outcome of the first write of each kind; whether it
// happened or not, the result is the same.
func TestLostAnswers(t *testing.T) {
	t.Run("happened", func(t *testing.T) {
		lostAnswers(t, connectortest.Fault{Err: connectortest.Unknown(), After: true}, 2, 1) // the lost update, and the stale one that finds it done
	})
	t.Run("did not happen", func(t *testing.T) {
		lostAnswers(t, connectortest.Fault{Err: connectortest.Unknown()}, 2, 2)
	})
	t.Run("too slow", func(t *testing.T) {
		lostAnswers(t, connectortest.Fault{Delay: time.Hour}, 2, 2)
	})
}

func lostAnswers(t *testing.T, lost connectortest.Fault, updates, sent int) {
	t.Helper()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		h.snow.Next("create", lost)
		h.snow.Next("update", lost)
		h.snow.Next("add_note", lost)
		i := h.incident(ops.High)
		h.run(2 * time.Minute)
		h.severity(i.ID, ops.Low)
		h.run(2 * time.Minute)
		h.inSync(i)
		c := h.shown("snow", i)
		if c.Fields.Severity != ops.Low || len(c.Notes) != 1 {
			t.Errorf("shows %s and %d notes, want low and 1", c.Fields.Severity, len(c.Notes))
		}
		if n := len(h.snow.Calls("update")); n != updates {
			t.Errorf("%d updates, want %d", n, updates)
		}
		if n := len(h.snow.Calls("add_note")); n != sent {
			t.Errorf("%d notes sent, want %d", n, sent)
		}
		if n := len(h.facts(i.Subject(), ops.TicketEdited)); n != 0 {
			t.Errorf("an echo was told as an edit %d times", n)
		}
		tickets, err := h.snowDesk.List(context.Background(), 0, 10)
		if err != nil || len(tickets) != 1 {
			t.Errorf("%d tickets, %v", len(tickets), err)
		}
	})
}

// A platform without an idempotent create is not asked again before a ticket
// whose answer was lost must be visible.
func TestLostCreateSettles(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{careless: 20 * time.Second})
		h.snow.Next("create", connectortest.Fault{Err: connectortest.Unknown(), After: true})
		i := h.incident(ops.High)
		h.run(19 * time.Second)
		if n := len(h.snow.Calls("create", "find")); n != 1 {
			t.Errorf("%d creates and finds before it settled", n)
		}
		h.run(10 * time.Minute)
		h.inSync(i)
		if n := len(h.snow.Calls("create")); n != 1 {
			t.Errorf("%d creates", n)
		}
		opened := h.facts(i.Subject(), ops.TicketOpened)
		found := slices.ContainsFunc(opened, func(f ops.Fact) bool {
			b, _ := ops.Body[ops.TicketOpenedBody](f)
			return b.Platform == "snow" && b.Found
		})
		if len(opened) != 2 || !found {
			t.Errorf("told %d openings, found %v", len(opened), found)
		}
	})
}

// What slips through all the same is merged, and it is said.
func TestAuditMergesDuplicates(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{careless: 20 * time.Second})
		i := h.incident(ops.High)
		h.run(time.Second)
		kept := h.on("snow", i)
		// Another process was told to open it, and its answer took too long.
		double, err := h.snow.Platform.Create(context.Background(), kept.Key, ops.TicketIncident, ops.TicketFields{Title: i.Title, State: "new"})
		if err != nil {
			t.Fatal(err)
		}
		h.run(5 * time.Minute)
		if err := h.room.Audit(context.Background(), "snow"); err != nil {
			t.Fatal(err)
		}
		closed, err := h.snowDesk.Get(context.Background(), double.Ref)
		if err != nil || closed.Fields.State != "cancelled" || len(closed.Notes) != 1 || !strings.Contains(closed.Notes[0].Text, kept.Display) {
			t.Errorf("the double is %+v, %v", closed, err)
		}
		merged := h.facts(i.Subject(), ops.TicketDuplicate)
		if len(merged) != 1 {
			t.Fatalf("told %d merges", len(merged))
		}
		b, _ := ops.Body[ops.TicketDuplicateBody](merged[0])
		if b.Kept != kept.Display || b.Closed != double.Display {
			t.Errorf("told %+v", b)
		}
		if err := h.room.Audit(context.Background(), "snow"); err != nil || len(h.facts(i.Subject(), ops.TicketDuplicate)) != 1 {
			t.Errorf("a second audit merged again, %v", err)
		}
		h.severity(i.ID, ops.Low)
		h.run(time.Minute)
		if got := h.shown("snow", i); got.Ref != kept.Ref || got.Fields.Severity != ops.Low {
			t.Errorf("afterwards %s shows %s", got.Ref, got.Fields.Severity)
		}
	})
}

func TestRefusedTicketSaysWhyAndRecovers(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(time.Second)
		h.snow.Next("update", connectortest.Fault{Err: fmt.Errorf("assignment_group: no group is called X: %w", ops.ErrInvalid)})
		h.severity(i.ID, ops.Low)
		h.run(time.Minute)
		got := h.on("snow", i)
		if got.Sync != ops.SyncFailed || !strings.Contains(got.SyncNote, "no group is called X") || got.Work.Dirty {
			t.Errorf("sync %s (%s), dirty %v", got.Sync, got.SyncNote, got.Work.Dirty)
		}
		if n := len(h.shown("snow", i).Notes); n != 1 {
			t.Errorf("%d notes, want the one about the severity in spite of the refused field", n)
		}
		if n := len(h.facts(i.Subject(), ops.TicketTroubled)); n != 1 || len(h.ended) != 1 {
			t.Errorf("told %d times, %d commands ended", n, len(h.ended))
		}
		h.severity(i.ID, ops.Critical)
		h.run(time.Minute)
		h.inSync(i)
	})
}

// Wrong credentials are told once and tried again without anybody asking.
func TestDeniedRecovers(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		h.snow.Break(fmt.Errorf("answered 401: %w", ops.ErrDenied))
		i := h.incident(ops.High)
		h.run(10 * time.Minute)
		if got := h.on("snow", i); got.Sync != ops.SyncFailed || !strings.Contains(got.SyncNote, "401") {
			t.Errorf("sync %s (%s)", got.Sync, got.SyncNote)
		}
		if n := len(h.facts(i.Subject(), ops.TicketTroubled)); n != 1 {
			t.Errorf("told %d times", n)
		}
		if n := len(h.snow.Calls("create")); n < 5 || n > 15 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		h.snow.Break(nil)
		h.run(2 * time.Minute)
		h.inSync(i)
	})
}

func TestDeletedTicketIsNotOpenedAgain(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(time.Second)
		h.snow.Next("update", connectortest.Fault{Err: ops.ErrNotFound})
		h.severity(i.ID, ops.Low)
		h.run(time.Minute)
		if got := h.on("snow", i); got.Sync != ops.SyncFailed || !strings.Contains(got.SyncNote, "no longer on snow") {
			t.Errorf("sync %s (%s)", got.Sync, got.SyncNote)
		}
		if n := len(h.snow.Calls("create")); n != 1 {
			t.Errorf("%d creates", n)
		}
	})
}

func TestPlatformsSayHowTheyAre(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		h.snow.Break(connectortest.Unavailable())
		h.run(time.Minute) // a pull finds out, without any ticket
		got := h.room.Platforms()
		if len(got) != 2 || got[0].Name != "desk" || !got[0].Up || got[1].Up || got[1].Error == "" || got[1].Since.IsZero() {
			t.Errorf("in trouble: %+v", got)
		}
		h.snow.Break(nil)
		h.run(time.Minute)
		if got := h.room.Platforms(); !got[1].Up || got[1].Error != "" {
			t.Errorf("afterwards: %+v", got)
		}
	})
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: []ticket.Route{
			{Match: "critical", Platform: "snow", Kind: ops.TicketIncident}, {Match: "high", Platform: "snow", Kind: ops.TicketAlert},
		}})
		f := func(s ops.Severity, want ...string) {
			t.Helper()
			i := h.incident(s)
			h.run(time.Second)
			all, err := h.store.TicketsAbout(context.Background(), i.Subject())
			var got []string
			for _, x := range all {
				got = append(got, x.Platform+" "+string(x.Kind))
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s goes to %v, %v; want %v", s, got, err, want)
			}
		}
		f(ops.Critical, "snow incident")
		f(ops.High, "snow alert")
		f(ops.Low, "desk incident")

		// An incident that gets worse goes where such incidents go, too.
		i := h.incident(ops.Low)
		h.run(time.Second)
		h.severity(i.ID, ops.Critical)
		h.run(time.Second)
		if h.on("snow", i).Ref == "" || h.on("desk", i).Ref == "" {
			t.Error("a worse incident did not get its ticket")
		}
	})
}

func TestChangeStepsBecomeNotes(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(time.Second)
		c := ops.Change{ID: "c1", Number: 7, Type: ops.ChangeStandard, State: ops.ChangeAuthorize, Title: "restart web-1", IncidentID: i.ID}
		h.changes[c.ID] = c
		run := ops.Run{ID: "r1", ChangeID: c.ID, Digest: "d1gest", Output: "done"}
		ended := c
		ended.State, ended.Outcome = ops.ChangeClosed, ops.Successful
		for _, body := range []ops.FactBody{
			ops.ChangeRaisedBody{Change: c, Why: "runbook high-cpu"},
			ops.ApprovalRequestedBody{Change: c, Digest: "d1gest", Text: "~ systemctl restart web", Why: "needs one application-owner"},
			ops.ApprovalGivenBody{Approval: ops.Approval{ChangeID: c.ID, Name: "anna", Decision: ops.Approved, Digest: "d1gest", Via: "page"}},
			ops.ApprovalVoidedBody{ChangeID: c.ID, Digest: "d0", Why: "the plan moved"},
			ops.ChangeScheduledBody{Change: c, Why: "next window"},
			ops.ChangeWaitingBody{ChangeID: c.ID, Why: "outside its window"},
			ops.RunStartedBody{Run: run, Window: ops.Occurrence{Window: "always"}},
			ops.RunAppliedBody{Run: run, Change: c},
			ops.RunFailedBody{Run: run, Error: "exit status 1"},
			ops.RunRolledBackBody{Run: run},
			ops.VerdictGivenBody{Verdict: ops.Verdict{ChangeID: c.ID, Word: ops.Better, Why: "the alert resolved", Waited: time.Minute}},
			ops.ChangeEndedBody{Change: ended, Why: "verified"},
			ops.ApprovalVoidedBody{ChangeID: "nobody", Why: "a change without an incident is nobody's note"},
		} {
			subject := c.Subject()
			if v, ok := body.(ops.ApprovalVoidedBody); ok && v.ChangeID == "nobody" {
				subject = ops.ChangeSubject("nobody")
			}
			h.tell(subject, body)
		}
		h.run(time.Minute)
		var texts []string
		for _, n := range h.shown("snow", i).Notes {
			texts = append(texts, n.Text)
		}
		golden(t, "change_notes.txt", strings.Join(texts, "\n---\n")+"\n")
		if n := h.on("snow", i).NotesOut; n != 12 {
			t.Errorf("%d notes counted", n)
		}
	})
}

// A muted incident has no ticket until the muting ends, and none at all when
// it was resolved by then.
func TestMutedHasNoTicket(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		f := func(id string, i ops.Incident, body ops.FactBody, tickets int) {
			t.Helper()
			i.ID, i.Severity, i.OpenedAt = id, ops.High, time.Now()
			switch b := body.(type) {
			case ops.IncidentOpenedBody:
				b.Incident = i
				body = b
			case ops.IncidentGrewBody:
				b.Incident = i
				body = b
			case ops.IncidentResolvedBody:
				b.Incident = i
				body = b
			}
			h.incidents[id] = i
			h.tell(i.Subject(), body)
			h.run(time.Second)
			found, err := h.store.TicketsAbout(t.Context(), i.Subject())
			if err != nil || len(found) != tickets {
				t.Errorf("after %T of %s there are %d tickets (%v), want %d", body, id, len(found), err, tickets)
			}
		}
		muted := ops.Incident{Number: 1, State: ops.IncidentNew, Muted: "sunday-night"}
		f("i1", muted, ops.IncidentOpenedBody{}, 0)
		f("i1", muted, ops.IncidentGrewBody{}, 0)
		f("i1", ops.Incident{Number: 1, State: ops.IncidentNew}, ops.IncidentGrewBody{}, 2)
		f("i2", muted, ops.IncidentOpenedBody{}, 0)
		f("i2", ops.Incident{Number: 2, State: ops.IncidentResolved, Muted: "sunday-night"}, ops.IncidentResolvedBody{}, 0)
		f("i3", muted, ops.IncidentOpenedBody{}, 0)
		f("i3", ops.Incident{Number: 3, State: ops.IncidentResolved}, ops.IncidentResolvedBody{}, 0)
	})
}

func TestMutedAndComments(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.High)
		h.run(time.Second)
		h.move(i.ID, func(i *ops.Incident) { i.Muted = "sunday-night" },
			func(i ops.Incident) ops.FactBody { return ops.IncidentGrewBody{Incident: i, Was: i.Severity} })
		h.tell(i.Subject(), ops.IncidentCommentedBody{Note: ops.Note{Author: "ben", Text: "fan is loud"}, Via: "desk"})
		h.run(time.Second)
		texts := func(platform string) (out []string) {
			for _, n := range h.shown(platform, i).Notes {
				out = append(out, n.Text)
			}
			return out
		}
		muted, comment := "In maintenance window sunday-night: this incident is muted until it ends.", "ben (desk): fan is loud"
		if got := texts("snow"); !slices.Equal(got, []string{muted, comment}) {
			t.Errorf("snow has notes %q", got)
		}
		if got := texts("desk"); !slices.Equal(got, []string{muted}) {
			t.Errorf("desk, where the comment was written, has notes %q", got)
		}
	})
}

// The queue bounds how long a command may take, and its pause after a failure
// doubles up to minutes. A platform that is slow must not cost that.
func TestACommandOutOfTimeComesBackSoon(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: []ticket.Route{{Platform: "snow", Kind: ops.TicketIncident}}})
		i := h.incident(ops.High)
		h.deliver()
		h.snow.Next("create", connectortest.Fault{Delay: time.Hour})
		q := h.queue[0]
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if after, snoozed := job.Snoozed(h.handlers[q.c.Kind](ctx, q.c)); !snoozed || after > 30*time.Second {
			t.Errorf("snoozed %v for %s, want soon", snoozed, after)
		}
		h.run(time.Minute)
		h.inSync(i)
	})
}

// A process that dies between its last look and the end of its command leaves
// that command to its successor, which may have queued another one meanwhile.
func TestTwoCommandsOfOneTicketSendANoteOnce(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{routes: []ticket.Route{{Platform: "snow", Kind: ops.TicketIncident}}})
		i := h.incident(ops.High)
		h.run(time.Minute)
		h.inSync(i)
		h.severity(i.ID, ops.Low)
		h.severity(i.ID, ops.Critical)
		h.deliver()
		if len(h.queue) != 1 {
			t.Fatalf("%d commands, want 1", len(h.queue))
		}
		q := h.queue[0]
		h.queue = nil
		slow := connectortest.Fault{Delay: time.Second}
		h.snow.Next("add_note", slow, slow, slow, slow)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { h.carryOut(t.Context(), q) })
		}
		both.Wait()
		h.run(time.Minute)
		h.inSync(i)
		notes := map[string]int{}
		for _, n := range h.shown("snow", i).Notes {
			notes[n.ID]++
		}
		for id, n := range notes {
			if n != 1 {
				t.Errorf("note %s is there %d times", id, n)
			}
		}
		if len(notes) == 0 {
			t.Error("no note was sent")
		}
	})
}

// A write whose answer was lost may come about after the next one, where a
// platform is slow: after kill -9 it finds what was sent in its queue. Nobody has
// edited the ticket then, and it is written again as it is wanted.
func TestAWriteThatComesLateIsNobodysEdit(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h := open(t, setup{})
		i := h.incident(ops.Medium)
		h.run(time.Second)
		h.snow.Next("update", connectortest.Fault{Err: connectortest.Unknown()})
		h.severity(i.ID, ops.Critical)
		h.run(10 * time.Millisecond)
		h.severity(i.ID, ops.High)
		h.run(30 * time.Second)
		comes := func() {
			t.Helper()
			edit := connector.Edit{Want: ops.TicketFields{Severity: ops.Critical}, Changed: []connector.Field{connector.Severity}, Version: h.shown("snow", i).Version}
			if _, err := h.snowDesk.Update(t.Context(), h.on("snow", i).Ref, edit); err != nil {
				t.Fatal(err)
			}
			h.tell(i.Subject(), ops.IncidentCommentedBody{Note: ops.Note{Author: "ben", Text: "fan is loud"}, Via: "page"}) // and we look
			h.run(10 * time.Second)
		}
		if got := h.shown("snow", i).Fields.Severity; got != ops.High {
			t.Fatalf("after the retry snow shows %s", got)
		}
		comes()
		if edits := h.facts(i.Subject(), ops.TicketEdited); len(edits) > 0 {
			t.Errorf("our own late write was told as an edit: %s", edits[0].Body)
		}
		if got := h.shown("snow", i).Fields.Severity; got != ops.High {
			t.Errorf("a late write stands: snow shows %s", got)
		}
		// Much later it is somebody who uses our account.
		h.run(5 * time.Minute)
		comes()
		if edits := h.facts(i.Subject(), ops.TicketEdited); len(edits) != 1 {
			t.Errorf("%d edits were told of the one by hand", len(edits))
		}
	})
}
