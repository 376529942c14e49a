package servicenow

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/strictyaml"
	"github.com/fettleops/fettle/ops"
)

func testMapping(change ...func(*Options)) mapping {
	var o Options
	o.Defaults()
	for _, f := range change {
		f(&o)
	}
	return newMapping(o, "https://acme.service-now.com", "inst-1")
}

func TestSeverityIn(t *testing.T) {
	m := testMapping()
	f := func(urgency, impact string, want ops.Severity) {
		t.Helper()
		if got := m.severityIn(urgency, impact); got != want {
			t.Errorf("urgency %s, impact %s is %q, want %q", urgency, impact, got, want)
		}
	}
	// As shipped, severities are the priorities 1 to 5.
	f("1", "1", ops.Critical)
	f("1", "2", ops.High)
	f("2", "2", ops.Medium)
	f("3", "2", ops.Low)
	f("3", "3", ops.Info)
	// What only a person sets falls where the lookup rules of a fresh instance put it.
	f("2", "1", ops.High)
	f("3", "1", ops.Medium)
	f("1", "3", ops.Medium)
	f("2", "3", ops.Low)
	f("", "2", "")
	f("x", "2", "")
}

func TestSeveritiesThatShareALevel(t *testing.T) {
	m := testMapping(func(o *Options) { o.Severity.Low, o.Severity.Info = Level{3, 3}, Level{3, 3} })
	want := ops.TicketFields{Severity: ops.Info, State: "new"}
	if got := m.normal(want, want, nobody); got.Severity != ops.Low {
		t.Errorf("info shows as %s, want low: the worse of two that look alike", got.Severity)
	}
}

func nobody(connector.Field, string) bool { return false }

func TestState(t *testing.T) {
	in := func(theirs, active, want string) {
		t.Helper()
		if got := stateIn(theirs, active); got != want {
			t.Errorf("state %s reads %s, want %s", theirs, got, want)
		}
	}
	in("1", "true", "new")
	in("2", "true", "in_progress")
	in("3", "true", "on_hold")
	in("6", "true", "resolved")
	in("7", "false", "closed")
	in("8", "false", "cancelled")
	in("12", "true", "in_progress") // a customer's own
	in("12", "false", "closed")

	out := func(ours, now, want string) {
		t.Helper()
		got, err := stateOut(ours, now)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("state %s over %s writes %q, %v; want %q", ours, now, got, err, want)
		}
	}
	out("new", "", "1")
	out("in_progress", "6", "2")
	out("on_hold", "2", "3")
	out("resolved", "2", "6")
	out("closed", "2", "6") // closing is the instance's
	out("closed", "7", "7")
	out("resolved", "7", "7")
	out("cancelled", "1", "8")
	out("gone", "1", "")
}

func TestCloseCodes(t *testing.T) {
	m := testMapping(func(o *Options) {
		o.CloseCodes = map[string]string{"duplicate": "Duplicate", "by_change": "Resolved by change"}
	})
	f := func(ours, theirs, back string) {
		t.Helper()
		if got := m.closeCodeOut(ours); got != theirs {
			t.Errorf("%s writes %s, want %s", ours, got, theirs)
		}
		if got := m.closeCodeIn(theirs); got != back {
			t.Errorf("%s reads %s, want %s", theirs, got, back)
		}
	}
	f("resolved", "Solution provided", "resolved")
	f("duplicate", "Duplicate", "duplicate")
	f("by_change", "Resolved by change", "by_change")
	f("Known error", "Known error", "Known error")
}

func TestCut(t *testing.T) {
	f := func(in string, n int, want string) {
		t.Helper()
		if got := cut(in, n); got != want {
			t.Errorf("cut(%q, %d) = %q, want %q", in, n, got, want)
		}
	}
	f("", 3, "")
	f("äöü", 3, "äöü")
	f("äöüß", 3, "äö…")
}

func TestQuote(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, ok := quote(in)
		if got != want || ok != (want != "") {
			t.Errorf("quote(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
	f("Cloud operations", "Cloud operations")
	f("a^ORactive=true", "a^^ORactive=true")
	f("javascript:gs.getUserID()", "")
	f(" JavaScript:x", "")
	f("a\nb", "")
	f("\xff", "")
	f("", "")
}

func TestCheckExtra(t *testing.T) {
	f := func(name string, ok bool) {
		t.Helper()
		if err := checkExtra(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	f("u_service", true)
	f("category", true)
	f("caller_id", true)
	f("priority", false) // computed: never sent
	f("sys_id", false)
	f("correlation_id", false)
	f("work_notes", false)
	f("Category", false)
	f("a b", false)
	f("assignment_group.name", false)
	f("", false)
}

func TestZoneFault(t *testing.T) {
	f := func(zone, raw, shown string, ok bool) {
		t.Helper()
		me := row{"time_zone": {value: zone}, "sys_created_on": {value: raw, display: shown}}
		if got := zoneFault(me); (got == "") != ok {
			t.Errorf("zone %q, %s shown as %s: %q", zone, raw, shown, got)
		}
	}
	f("GMT", "2026-07-01 10:00:00", "2026-07-01 10:00:00", true)
	f("", "2026-07-01 10:00:00", "2026-07-01 10:00:00", true)
	f("", "2026-07-01 10:00:00", "2026-07-01 12:00:00", false) // the instance's default zone
	f("", "2026-07-01 10:00:00", "01/07/2026 10:00", true)     // another format says nothing
	f("Europe/London", "2026-01-01 10:00:00", "2026-01-01 10:00:00", false)
	f("", "", "", true)
}

func TestNotes(t *testing.T) {
	f := func(text, wantID, wantText string) {
		t.Helper()
		id, got := marked("none", text)
		if id != wantID || got != wantText {
			t.Errorf("%q reads as %s %q, want %s %q", text, id, got, wantID, wantText)
		}
	}
	sent := noteOut(ops.Note{ID: "0192f1c0-0000-7000-8000-000000000001", Text: "[code]<b>x</b>[/CODE]\nlast line"})["work_notes"]
	f(sent, "0192f1c0-0000-7000-8000-000000000001", "(code)<b>x</b>(/CODE)\nlast line")
	f("no mark", "none", "no mark")
	f("[fettle:a] in the middle", "none", "[fettle:a] in the middle")
}

func TestShownNotes(t *testing.T) {
	got := shownNotes(row{
		"work_notes": {value: "2026-11-21 09:02:00 - Beth Anglin (Work notes)\nsecond\nline\n\n2026-11-21 09:01:00 - Fettle (Bot) (Work notes)\nfirst\n\n[fettle:n-1]\n\n"},
		"comments":   {value: "2026-11-21 09:01:30 - Abel Tuter (Additional comments)\r\nhello\r\n\r\n"},
	})
	if len(got) != 3 {
		t.Fatalf("%d notes, want 3: %+v", len(got), got)
	}
	f := func(i int, author, text string, own bool) {
		t.Helper()
		if n := got[i]; n.Author != author || n.Text != text || n.Own != own || n.ID == "" {
			t.Errorf("note %d is %+v, want %s %q own %v", i, n, author, text, own)
		}
	}
	f(0, "Fettle (Bot)", "first", true)
	f(1, "Abel Tuter", "hello", false)
	f(2, "Beth Anglin", "second\nline", false)
	if want := time.Date(2026, 11, 21, 9, 2, 0, 0, time.UTC); !got[2].At.Equal(want) || got[0].ID != "n-1" {
		t.Errorf("%+v", got)
	}
}

func TestNormal(t *testing.T) {
	m := testMapping()
	lost := func(f connector.Field, name string) bool { return f == connector.Group && name == "Nobody" }
	base := ops.TicketFields{Title: "t", Description: "d", State: "in_progress", Severity: ops.High}
	f := func(name string, change func(want, seen *ops.TicketFields), differs ...connector.Field) {
		t.Helper()
		want, seen := base, base
		change(&want, &seen)
		got := connector.Diff(m.normal(want, seen, lost), seen)
		if len(got) != len(differs) || len(got) > 0 && got[0] != differs[0] {
			t.Errorf("%s: differs in %v, want %v", name, got, differs)
		}
	}
	f("equal", func(_, _ *ops.TicketFields) {})
	f("a title too long", func(want, seen *ops.TicketFields) {
		want.Title = strings.Repeat("ä", 200)
		seen.Title = strings.Repeat("ä", 159) + "…"
	})
	f("closed is resolved there", func(want, seen *ops.TicketFields) {
		want.State, want.ResolveCode, want.ResolveNote = "closed", "resolved", "n"
		seen.State, seen.ResolveCode, seen.ResolveNote = "resolved", "resolved", "n"
	})
	f("closed by the instance", func(want, seen *ops.TicketFields) {
		want.State, want.ResolveCode, want.ResolveNote = "resolved", "resolved", "n"
		seen.State, seen.ResolveCode, seen.ResolveNote = "closed", "resolved", "n"
	})
	f("reopened there", func(want, seen *ops.TicketFields) {
		want.State, want.ResolveCode, want.ResolveNote = "resolved", "resolved", "n"
		seen.State = "in_progress"
	}, connector.State, connector.ResolveCode, connector.ResolveNote)
	f("a group that does not exist", func(want, _ *ops.TicketFields) { want.Group = "Nobody" })
	f("a group in another case", func(want, seen *ops.TicketFields) { want.Group, seen.Group = "cloud ops", "Cloud Ops" })
	f("a group by assignment rule", func(_, seen *ops.TicketFields) { seen.Group = "Service Desk" })
	f("another group", func(want, seen *ops.TicketFields) { want.Group, seen.Group = "A", "B" }, connector.Group)
	f("a field nobody asked for", func(_, seen *ops.TicketFields) { seen.Extra = map[string]string{"category": "x"} })
	f("a field asked for", func(want, seen *ops.TicketFields) {
		want.Extra, seen.Extra = map[string]string{"category": "y"}, map[string]string{"category": "x"}
	}, connector.ExtraField("category"))
	f("severity", func(want, _ *ops.TicketFields) { want.Severity = ops.Low }, connector.Severity)
	f("no severity", func(want, _ *ops.TicketFields) { want.Severity = "" })
}

func TestConfiguration(t *testing.T) {
	f := func(text string, wants ...string) {
		t.Helper()
		raw, faults := strictyaml.Parse("fettle.yaml", []byte(text))
		if faults != nil {
			t.Fatal(faults)
		}
		var c struct {
			Auth    Auth    `yaml:"auth"`
			Options Options `yaml:"options"`
		}
		err := raw.Decode(&c)
		if len(wants) == 0 && err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q in it", text, err, want)
			}
		}
		if len(wants) == 0 && (c.Options.Severity.High == Level{} || c.Options.Fields["category"] == "") {
			t.Errorf("%s: no defaults: %+v", text, c.Options)
		}
	}
	f("auth: {basic: {username: fettle, password: env:SNOW_PASSWORD}}")
	f("auth: {oauth: {client_id: env:SNOW_ID, client_secret: env:SNOW_SECRET}}")
	f("auth: {oauth: {client_id: env:I, client_secret: env:S, username: fettle, password: env:P}, }\noptions: {severity: {critical: {urgency: 1, impact: 1}}, lookup_ttl: 5m, overlap: 0s, close_codes: {duplicate: Duplicate}}")
	f("auth: {api_key: file:/run/secrets/snow}")
	f("auth: {}", "exactly one of basic, oauth and api_key")
	f("auth: {api_key: env:K, basic: {username: u, password: env:P}}", "not 2")
	f("auth: {basic: {username: fettle, password: hunter2}}", "auth.basic.password")
	f("auth: {oauth: {client_id: env:I, client_secret: env:S, username: fettle}}", "username and password go together")
	f("auth: {api_key: env:K}\noptions: {severity: {high: {urgency: 0, impact: 4}}}", "fettle.yaml:2:22: options.severity.high: urgency 0 and impact 4")
	f("auth: {api_key: env:K}\noptions: {fields: {priority: '1', 'bad name': x}}", "options.fields: bad name", "options.fields: priority")
	f("auth: {api_key: env:K}\noptions: {close_code: '', hold_reason: 0, overlap: 2h, lookup_ttl: 0s}", "close_code", "hold_reason", "overlap", "lookup_ttl")
	f("auth: {api_key: env:K}\noptions: {closecode: x}", `did you mean "close_code"?`)
}
