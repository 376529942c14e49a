package servicenow_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

func shuffled(c *simulator.Config) { c.ShuffleUnordered = true }

func TestFeedIsQuietWhenNothingMoves(t *testing.T) {
	i := start(t, shuffled)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	cursor := c.start()
	if came, next := c.pull(cursor); len(came) != 0 || next != cursor {
		t.Errorf("%v came, cursor %s became %s, though nothing moved since", came, cursor, next)
	}
	i.edit(t, made.Ref, "beth.anglin", nil, ops.TicketFields{}, "in the same second")
	came, next := c.pull(cursor)
	if came[made.Ref] != 1 {
		t.Errorf("came %d times, want once", came[made.Ref])
	}
	if came, _ := c.pull(next); len(came) != 0 {
		t.Errorf("came again within the overlap: %v", came)
	}
	if came, _ := c.pull(cursor); came[made.Ref] != 1 {
		t.Errorf("an old cursor gave %d, want the edit again: its answer may have been lost", came[made.Ref])
	}
}

func TestFeedOfManyInOneSecond(t *testing.T) {
	i := start(t, shuffled)
	c := i.open(t, i.settings(nil))
	var all []connector.Copy
	for range 250 {
		all = append(all, c.create(fields()))
	}
	cursor := c.start()
	i.wait(time.Second)
	for _, m := range all {
		i.edit(t, m.Ref, "beth.anglin", []connector.Field{connector.Title}, ops.TicketFields{Title: "x"}, "")
	}
	c.wire.each = func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if n := len(req.URL.String()); n > 2048 {
			t.Errorf("an address of %d characters, servers refuse it: %.100s...", n, req.URL)
		}
		return nil, nil
	}
	came, _ := c.pull(cursor)
	for _, m := range all {
		if came[m.Ref] == 0 {
			t.Fatalf("%s never came; %d of %d did", m.Display, len(came), len(all))
		}
	}
}

func TestFeedWhileRowsMove(t *testing.T) {
	i := start(t, shuffled)
	// Without an overlap, what a pull skips is lost.
	c := i.open(t, i.settings(map[string]any{"overlap": 0}))
	var all []connector.Copy
	for range 130 {
		all = append(all, c.create(fields()))
	}
	cursor := c.start() // everything is known, the next pull reads both pages
	i.wait(time.Second)
	quiet := all[129]
	i.edit(t, quiet.Ref, "beth.anglin", []connector.Field{connector.Title}, ops.TicketFields{Title: "must come"}, "")
	i.wait(time.Second)
	// Between the first page and the second, ten rows of the first move to the
	// end: ten of the second slip into the first, unread.
	moved := false
	c.wire.each = func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if !moved && strings.Contains(req.URL.RawQuery, "sysparm_offset=99") {
			moved = true
			for k := range 40 {
				i.edit(t, all[k].Ref, "carl", []connector.Field{connector.Title}, ops.TicketFields{Title: fmt.Sprint(k)}, "")
			}
		}
		return nil, nil
	}
	came, _ := c.pull(cursor)
	if !moved {
		t.Fatal("the pull never asked for a second page")
	}
	if came[quiet.Ref] == 0 {
		t.Error("the edit was skipped when rows moved between pages")
	}
	for k := range 40 {
		if came[all[k].Ref] == 0 {
			t.Errorf("the move of row %d was skipped", k)
		}
	}
}

func TestLateCommit(t *testing.T) {
	i := start(t, func(c *simulator.Config) {
		// Stamped half a minute before it became visible.
		c.Rows = map[string][]simulator.Record{}
		hidden := true
		c.HiddenRow = func(_, table string, r simulator.Record) bool {
			if r["short_description"] == "reveal" {
				hidden = false
			}
			return hidden && table == "incident" && r["short_description"] == "late"
		}
	})
	c := i.open(t, i.settings(nil))
	bare := ops.TicketFields{Title: "x", State: "new"}
	late, other := c.create(bare), c.create(bare)
	var more []connector.Copy
	for range 150 {
		more = append(more, c.create(bare))
	}
	cursor := c.start()
	i.wait(time.Second)
	i.edit(t, late.Ref, "beth.anglin", []connector.Field{connector.Title}, ops.TicketFields{Title: "late"}, "")
	i.wait(30 * time.Second)
	i.edit(t, other.Ref, "beth.anglin", []connector.Field{connector.Title}, ops.TicketFields{Title: "other"}, "")
	for _, m := range more {
		i.edit(t, m.Ref, "beth.anglin", []connector.Field{connector.Title}, ops.TicketFields{Title: "more"}, "")
	}
	came, cursor := c.pull(cursor)
	if came[late.Ref] != 0 || came[other.Ref] != 1 || len(came) != 151 {
		t.Fatalf("%v", came)
	}
	i.edit(t, other.Ref, "beth.anglin", []connector.Field{connector.Title}, ops.TicketFields{Title: "reveal"}, "")
	if _, err := c.Get(t.Context(), other.Ref); err != nil {
		t.Fatal(err)
	}
	// It comes on the first of two pages; what is on the second came already.
	if came, _ = c.pull(cursor); came[late.Ref] != 1 || came[other.Ref] != 1 || len(came) != 2 {
		t.Errorf("the late row came %d times, want once; %d others came, want the one that was edited", came[late.Ref], len(came)-1)
	}
}

func TestFeedFollowsOursOnly(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	cursor := c.start()
	i.wait(time.Second)
	post := func(body map[string]string) {
		i.as(t, "beth.anglin", http.MethodPost, "/api/now/table/incident", body)
	}
	post(map[string]string{"short_description": "a stranger's"})
	post(map[string]string{"short_description": "another installation's", "correlation_id": made.Key, "correlation_display": "Fettle inst-2"})
	post(map[string]string{"short_description": "a person's copy", "correlation_id": made.Key, "correlation_display": "Fettle inst-1"})
	if came, _ := c.pull(cursor); len(came) != 0 {
		t.Errorf("%v came", came)
	}
	i.edit(t, made.Ref, "beth.anglin", nil, ops.TicketFields{}, "this one is ours")
	if came, _ := c.pull(cursor); len(came) != 1 || came[made.Ref] != 1 {
		t.Errorf("%v came, want %s", came, made.Ref)
	}
}

// An instance leaves out a condition on a field it does not show, and returns
// the rest: everybody's incidents.
func TestIgnoredQuery(t *testing.T) {
	i := start(t, func(c *simulator.Config) {
		c.HiddenFields = map[string][]string{"incident": {"correlation_display"}}
	})
	c := i.open(t, i.settings(nil))
	i.as(t, "beth.anglin", http.MethodPost, "/api/now/table/incident", map[string]string{"short_description": "theirs", "correlation_display": "Fettle inst-1"})
	_, _, err := c.Changes(t.Context(), "")
	c.fails(err, ops.ErrDenied, "correlation_display", "let the account read")
	c.fails(c.Check(t.Context()), ops.ErrDenied, "correlation_display")
}

func TestComments(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	made := c.create(fields())
	cursor := c.start()
	i.wait(time.Second)
	i.as(t, "carl", http.MethodPatch, "/api/now/table/incident/"+made.Ref, map[string]string{"comments": "for the caller"})
	got, _, err := c.Changes(t.Context(), cursor)
	if err != nil || len(got) != 1 || len(got[0].Notes) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := got[0].Notes[0]; n.Author != "carl" || n.Own || n.Text != "for the caller" || !n.At.Equal(i.clock()) {
		t.Errorf("%+v", n)
	}
}

func TestCursor(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(nil))
	for _, bad := range []string{"x", "{}", `{"at":"yesterday"}`, `[]`} {
		_, _, err := c.Changes(t.Context(), bad)
		c.fails(err, ops.ErrInvalid, "cursor")
	}
	// Before the first ticket there is a cursor too, and the first ticket is news.
	cursor := c.start()
	made := c.create(fields())
	if came, _ := c.pull(cursor); came[made.Ref] != 1 {
		t.Errorf("%v came, want the first ticket", came)
	}
}

func TestTimeZone(t *testing.T) {
	i := start(t, func(c *simulator.Config) { c.Users["berlin"] = secrets["env:PASSWORD"] })
	s := i.settings(nil)
	s.Auth = user("berlin")
	c := i.open(t, s)
	_, _, err := c.Changes(t.Context(), "")
	c.fails(err, ops.ErrInvalid, "Europe/Berlin", "set it to GMT")
	c.fails(c.Check(t.Context()), ops.ErrInvalid, "set it to GMT")
	// A ticket can be opened all the same: raw values are UTC in every zone.
	if made := c.create(fields()); !made.CreatedAt.Equal(i.clock()) {
		t.Errorf("created at %s, want %s", made.CreatedAt, i.clock())
	}
	i.as(t, "admin", http.MethodPatch, "/api/now/table/sys_user/"+i.userID("berlin"), map[string]string{"time_zone": "GMT"})
	c.start() // put right while we run
}
