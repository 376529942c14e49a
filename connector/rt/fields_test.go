package rt

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

func defaults() *Options {
	o := &Options{}
	o.Defaults()
	return o
}

func TestState(t *testing.T) {
	set := stamp{time.Unix(1, 0)}
	f := func(o *Options, tk ticket, want ops.IncidentState) {
		t.Helper()
		if got := o.state(&tk); got != string(want) {
			t.Errorf("status %s is %s, want %s", tk.Status, got, want)
		}
	}
	f(defaults(), ticket{Status: "new"}, ops.IncidentNew)
	f(defaults(), ticket{Status: "open"}, ops.IncidentInProgress)
	f(defaults(), ticket{Status: "stalled"}, ops.IncidentOnHold)
	f(defaults(), ticket{Status: "resolved"}, ops.IncidentResolved)
	f(defaults(), ticket{Status: "rejected"}, ops.IncidentCancelled)
	f(defaults(), ticket{Status: "waiting", Started: set}, ops.IncidentInProgress)
	f(defaults(), ticket{Status: "answered", Started: set, Resolved: set}, ops.IncidentResolved)
	f(defaults(), ticket{Status: "triage"}, ops.IncidentNew)
	o := defaults()
	o.Statuses = map[string]string{"on_hold": "waiting", "closed": "archived"}
	f(o, ticket{Status: "waiting", Started: set}, ops.IncidentOnHold)
	f(o, ticket{Status: "archived", Resolved: set}, ops.IncidentClosed)
	if got := defaults().shownState("closed"); got != "resolved" {
		t.Errorf("closed is shown as %s", got)
	}
}

func TestSeverity(t *testing.T) {
	f := func(priority text, want ops.Severity) {
		t.Helper()
		if got := defaults().severity(priority); got != want {
			t.Errorf("priority %s is %s, want %s", priority, got, want)
		}
	}
	f("100", ops.Critical)
	f("1000", ops.Critical)
	f("75", ops.High)
	f("63", ops.High)
	f("62", ops.Medium)
	f("0", ops.Info)
	f("-5", ops.Info)
	f("", ops.Info)
}

func TestSubject(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := subject(in); got != want || !utf8.ValidString(got) {
			t.Errorf("subject(%q) = %q, want %q", in, got, want)
		}
	}
	f(" two  spaces ", "two  spaces")
	f("a\r\nb\nc\rd", "a b c d")
	f(strings.Repeat("x", 201), strings.Repeat("x", 200))
	f("x"+strings.Repeat("ü", 120), "x"+strings.Repeat("ü", 99))
}

func TestNormal(t *testing.T) {
	o := defaults()
	o.Groups = map[string]string{"Cloud": "CloudQueue"}
	o.ResourceField = "Resource"
	seen := ops.TicketFields{
		Title: "t", State: "in_progress", Severity: ops.High, Group: "Cloud", Assignee: "anna", Description: "",
		Extra: map[string]string{"Site": "B"},
	}
	f := func(want, normal ops.TicketFields) {
		t.Helper()
		if got := o.normal(want, seen); !reflect.DeepEqual(got, normal) {
			t.Errorf("normal(%+v) = %+v, want %+v", want, got, normal)
		}
	}
	f(seen, seen)
	f(ops.TicketFields{
		Title: "a\nb", State: "closed", Severity: ops.Low, Group: "Cloud", Assignee: "Anna", Resource: "web-1",
		Description: "long", ResolveCode: "c", ResolveNote: "n", Extra: map[string]string{"Due": "2026-12-01T11:00:00+01:00"},
	}, ops.TicketFields{
		Title: "a b", State: "resolved", Severity: ops.Low, Group: "Cloud", Assignee: "anna", Resource: "web-1",
		Extra: map[string]string{"Site": "B", "Due": "2026-12-01T10:00:00Z"},
	})
	f(ops.TicketFields{Title: "t"}, ops.TicketFields{Title: "t", State: "in_progress", Severity: ops.High, Group: "Cloud", Extra: seen.Extra})
	f(ops.TicketFields{Title: "t", Group: "Unknown"}, ops.TicketFields{Title: "t", State: "in_progress", Severity: ops.High, Group: "General", Extra: seen.Extra})
}

func TestEdit(t *testing.T) {
	o := defaults()
	o.ResourceField = "Resource"
	f := func(want ops.TicketFields, changed []connector.Field, body string) {
		t.Helper()
		c, err := o.edit(want, changed)
		got, _ := json.Marshal(c)
		if err != nil || string(got) != body {
			t.Errorf("edit of %v is %s, %v; want %s", changed, got, err, body)
		}
	}
	all := ops.TicketFields{Title: "t", State: "on_hold", Severity: ops.Low, Extra: map[string]string{"Due": "2026-12-01T11:00:00+01:00", "Site": "B"}}
	f(all, []connector.Field{connector.State}, `{"Status":"stalled"}`)
	f(all, []connector.Field{connector.Assignee, connector.Severity}, `{"Owner":"Nobody","Priority":25}`)
	f(all, []connector.Field{connector.ExtraField("Due"), connector.ExtraField("Starts")}, `{"Due":"2026-12-01 10:00:00","Starts":"1970-01-01 00:00:00"}`)
	f(all, []connector.Field{connector.ExtraField("Site"), connector.Resource}, `{"CustomFields":{"Resource":null,"Site":"B"}}`)
	bad := func(want ops.TicketFields, field connector.Field) {
		t.Helper()
		if c, err := o.edit(want, []connector.Field{field}); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), string(field)) {
			t.Errorf("edit of %s is %v, %v", field, c, err)
		}
	}
	bad(ops.TicketFields{}, connector.Title)
	bad(ops.TicketFields{State: "asleep"}, connector.State)
	bad(ops.TicketFields{Severity: "urgent"}, connector.Severity)
	bad(ops.TicketFields{Extra: map[string]string{"FettleKey": "x"}}, connector.ExtraField("FettleKey"))
	bad(ops.TicketFields{Extra: map[string]string{"Due": "soon"}}, connector.ExtraField("Due"))
	c, err := o.opening("General", "k", ops.TicketFields{Title: "t", State: "on_hold", Description: "d"})
	got, _ := json.Marshal(c)
	want := `{"Content":"d","ContentType":"text/plain","CustomFields":{"FettleKey":"k"},"Queue":"General","Subject":"t"}`
	if err != nil || string(got) != want {
		t.Errorf("opening is %s, %v; want %s", got, err, want)
	}
}

func TestQuoted(t *testing.T) {
	if got, want := keyQuery("K", `a' OR 'x\`, 0), `'CF.{K}' = 'a\' OR \'x\\' AND id > 0`; got != want {
		t.Errorf("query %s, want %s", got, want)
	}
}

func TestMark(t *testing.T) {
	f := func(id, s, written string) {
		t.Helper()
		if got := marked(id, s); got != written {
			t.Errorf("marked %q, want %q", got, written)
		}
		if gotID, got := unmarked(written); gotID != id || got != s {
			t.Errorf("unmarked %q, %q; want %q, %q", gotID, got, id, s)
		}
	}
	f("01-a", "one", "one [fettle:01-a]")
	f("01-a", "one\ntwo\n", "one [fettle:01-a]\ntwo\n")
	f("x", "", " [fettle:x]")
	f("x", "says [fettle:y]", "says [fettle:y] [fettle:x]")
	if id, s := unmarked("one\ntwo [fettle:x]"); id != "" || s != "one\ntwo [fettle:x]" {
		t.Errorf("a mark below the first line was taken: %q, %q", id, s)
	}
}

func TestPlain(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
	f("<p>a &amp; <b>b</b></p><p>c<br/>d</p>", "a & b\nc\nd")
	f("<style>p{}</style><script>x()</script><ul><li>one</li><li>two</li></ul>", "one\ntwo")
	f("no tags", "no tags")
}

// Request Tracker writes one value as a string here and as a number there.
func TestDecode(t *testing.T) {
	var tk ticket
	err := json.Unmarshal([]byte(`{"type":"ticket","Type":"ticket","id":10,"Priority":"60","Status":"new","Queue":{"id":"1"},
		"Due":"1970-01-01T00:00:00Z","LastUpdated":"2026-11-21T13:03:38Z","CustomFields":[{"name":"Logo","values":[{"filename":"x"}]},{"name":"K","values":["a","b"]}]}`), &tk)
	if err != nil || tk.ID != "10" || tk.Priority.number() != 60 || !tk.Due.IsZero() || tk.LastUpdated.IsZero() || tk.field("K") != "a\nb" || tk.field("Logo") != "" {
		t.Errorf("ticket %+v, %v", tk, err)
	}
	for _, s := range []string{`{"Type":"Comment","type":"transaction","id":"5"}`, `{"type":"transaction","id":5,"Type":"Comment"}`} {
		var x transaction
		if err := json.Unmarshal([]byte(s), &x); err != nil || !x.isNote() || x.ID != "5" {
			t.Errorf("%s is %+v, %v", s, x, err)
		}
	}
	var list found[object]
	if err := json.Unmarshal([]byte(`{"pages":0.0,"total":0,"items":[]}`), &list); err != nil || !list.complete() {
		t.Errorf("an empty list is %+v, %v", list, err)
	}
}
