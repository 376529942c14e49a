package window_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
)

// TestImportOfAnExportOpensTheSameProperty writes windows as a calendar, reads
// them back and compares every opening of the year the calendar covers.
func TestImportOfAnExportOpensTheSameProperty(t *testing.T) {
	now := at("2026-11-21T12:34:56Z")
	rapid.Check(t, func(r *rapid.T) {
		var in []ops.Window
		for i := range rapid.IntRange(1, 3).Draw(r, "windows") {
			w := ops.Window{
				Name:     strings.TrimSpace(rapid.StringOfN(rapid.RuneFrom([]rune("aZ ,;:\\\"'<>é窓n\t")), 1, 90, -1).Draw(r, "name")) + fmt.Sprint(i),
				TimeZone: rapid.SampledFrom([]string{"Europe/Berlin", "UTC", "Australia/Lord_Howe", "America/New_York"}).Draw(r, "zone"),
				Duration: time.Duration(rapid.IntRange(1, 3000).Draw(r, "minutes")) * time.Minute,
				Applies:  rapid.SampledFrom([]string{"", `resource.labels["env"] == "a\\b,c;d"`}).Draw(r, "applies"),
				Schedule: rapid.SampledFrom([]string{"cron(30 2 ? * SUN *)", "0 1,2,3 * * 0", "rate(9 days)", "at(2027-03-28T02:30)", "cron(0 2 L * ? *)"}).Draw(r, "schedule"),
			}
			w.Name = strings.ReplaceAll(w.Name, "\t", " ")
			w.Cutoff = rapid.SampledFrom([]time.Duration{0, w.Duration / 2 / time.Second * time.Second}).Draw(r, "cutoff")
			switch rapid.IntRange(0, 5).Draw(r, "kind") {
			case 0:
				w.Deny, w.Schedule, w.Duration, w.Cutoff, w.BreakGlass = true, "", 0, 0, []ops.Role{ops.Admin, ops.ChangeManager}
				w.From = now.Add(time.Duration(rapid.IntRange(-9, 99).Draw(r, "from")) * time.Hour)
				w.To = w.From.Add(1000 * time.Hour)
			case 1:
				w.Deny = true
			case 2:
				w.Mute, w.Applies = true, ""
			case 3:
				w.Schedule, w.RRule, w.Start = "", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO", "2026-01-04T02:15:30"
			case 4:
				w.Schedule, w.ICal = "", "DTSTART:20261201T020000\nRRULE:FREQ=DAILY;COUNT=20\nEXDATE:20261203T020000\nRDATE:20270401T020000"
			}
			in = append(in, w)
		}
		book, err := window.NewBook(in)
		if err != nil {
			r.Fatal(err)
		}
		file, err := window.Calendar("Windows", book.Windows(), now, now)
		if err != nil {
			r.Fatal(err)
		}
		for line := range strings.SplitSeq(string(file), "\r\n") {
			if len(line) > 75 || !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n") {
				r.Fatalf("no content line: %q", line)
			}
		}
		out, err := window.Import(file, nil, false)
		if err != nil {
			if strings.Contains(err.Error(), "holds no event") && !strings.Contains(string(file), "BEGIN:VEVENT") {
				return
			}
			r.Fatalf("%v\n%s", err, file)
		}
		back, err := window.NewBook(out)
		if err != nil {
			r.Fatal(err)
		}
		for _, w := range book.Windows() {
			want, _ := w.Between(now, now.Add(window.Ahead), 10_000)
			if len(want) == 0 {
				continue
			}
			x, err := back.Window(w.Name)
			if err != nil {
				r.Fatalf("%v\n%s", err, file)
			}
			got, _ := x.Between(now, now.Add(window.Ahead), 10_000)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				r.Fatalf("%+v:\n got %v\nwant %v\n%s", x.Window, got, want, file)
			}
			if x.Kind() != w.Kind() || x.Applies != w.Applies || x.Cutoff != w.Cutoff || x.Zone().String() != w.Zone().String() || fmt.Sprint(x.BreakGlass) != fmt.Sprint(w.BreakGlass) {
				r.Fatalf("%+v became %+v", w.Window, x.Window)
			}
		}
	})
}

func TestCalendar(t *testing.T) {
	book, err := window.NewBook([]ops.Window{
		{Name: "Sunday, early", Schedule: "cron(0 2 ? * SUN *)", TimeZone: "Europe/Berlin", Duration: 4 * time.Hour, Cutoff: time.Hour, Applies: `resource.kind == "database"`},
		{Name: "year end", Deny: true, TimeZone: "UTC", From: at("2026-12-20T00:00:00Z"), To: at("2027-01-04T00:00:00Z"), BreakGlass: []ops.Role{ops.Admin}},
		{Name: "any time", Schedule: "always", TimeZone: "UTC"},
		{Name: "patching", Schedule: "0 3 1 12 *", TimeZone: "UTC", Duration: time.Hour, Mute: true},
		{Name: "restless", Schedule: "* * * * *", TimeZone: "UTC", Duration: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := at("2026-11-22T04:00:00Z")
	first := book.Windows()[:4]
	file, err := window.Calendar("Fettle windows", first, now, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := window.Calendar("Fettle windows", first, now, now)
	if err != nil || string(again) != string(file) {
		t.Errorf("the same calendar is written in two ways: %v", err)
	}
	got := strings.Join(strings.Split(strings.ReplaceAll(string(file), "\r\n", "\n"), "\n")[:38], "\n") + "\n"
	const golden = "testdata/calendar.ics"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the calendar begins\n%s\nwant\n%s", got, want)
	}
	if n := strings.Count(string(file), "BEGIN:VEVENT"); n != 53+1+1+1 {
		t.Errorf("%d events: a year of Sundays, a freeze, one that never closes and one maintenance", n)
	}
	for _, want := range []string{"DTEND:20271123T040000Z\r\n", "SUMMARY:Freeze: year end\r\n", "SUMMARY:Maintenance: patching\r\n", "X-FETTLE-BREAK-GLASS:admin\r\n"} {
		if !strings.Contains(string(file), want) {
			t.Errorf("no %q", want)
		}
	}
	restless, err := window.Calendar("x", book.Windows()[4:], now, now)
	if err != nil || strings.Count(string(restless), "BEGIN:VEVENT") != 5000 || !strings.Contains(string(restless), "X-FETTLE-COMPLETE-UNTIL:20261125T151900Z") {
		t.Errorf("a file that is cut does not say so: %v", err)
	}
}

func TestImport(t *testing.T) {
	f := func(body string, zone string, freezes bool, want ...string) {
		t.Helper()
		z, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		if zone == "" {
			z = nil
		}
		found, err := window.Import([]byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"+strings.ReplaceAll(body, "\n", "\r\n")+"\r\nEND:VCALENDAR\r\n"), z, freezes)
		var got []string
		for _, w := range found {
			got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s|%s|%v", w.Name, w.TimeZone, w.Schedule, w.RRule, w.Start, strings.TrimSpace(w.ICal), w.Duration))
			if w.Deny {
				got[len(got)-1] += "|freeze " + w.From.UTC().Format(time.RFC3339) + " " + w.To.UTC().Format(time.RFC3339)
			}
		}
		if err != nil {
			got = []string{err.Error()}
			if !errors.Is(err, ops.ErrInvalid) {
				t.Errorf("%v has no class", err)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s:\n got %q\nwant %q", body, got, want)
			return
		}
		for i := range want {
			if err == nil && got[i] != want[i] || !strings.Contains(got[i], want[i]) {
				t.Errorf("%s:\n got %q\nwant %q", body, got[i], want[i])
			}
		}
	}
	const weekly = "BEGIN:VEVENT\nUID:1\nSUMMARY:Weekly\nDTSTART;TZID=Europe/Berlin:20261122T020000\nDTEND;TZID=Europe/Berlin:20261122T060000\nRRULE:FREQ=WEEKLY;BYDAY=SU\nEND:VEVENT\n"
	f(weekly, "", false, "Weekly|Europe/Berlin||FREQ=WEEKLY;BYDAY=SU|2026-11-22T02:00||4h0m0s")
	f(weekly+weekly, "", false, "Weekly|Europe/Berlin||FREQ=WEEKLY;BYDAY=SU|2026-11-22T02:00||4h0m0s", "Weekly (2)|Europe/Berlin||FREQ=WEEKLY;BYDAY=SU|2026-11-22T02:00||4h0m0s")
	// One that was moved, one that was made longer, one that was called off.
	f(weekly+"BEGIN:VEVENT\nUID:1\nRECURRENCE-ID;TZID=Europe/Berlin:20261129T020000\nDTSTART;TZID=Europe/Berlin:20261130T020000\nDURATION:PT4H\nEND:VEVENT\n"+
		"BEGIN:VEVENT\nUID:1\nSUMMARY:Weekly, long\nRECURRENCE-ID;TZID=Europe/Berlin:20261206T020000\nDTSTART;TZID=Europe/Berlin:20261206T020000\nDURATION:PT8H\nEND:VEVENT\n"+
		"BEGIN:VEVENT\nUID:1\nSTATUS:CANCELLED\nRECURRENCE-ID;TZID=Europe/Berlin:20261213T020000\nDTSTART;TZID=Europe/Berlin:20261213T020000\nEND:VEVENT\n", "", false,
		"Weekly|Europe/Berlin||||DTSTART;TZID=Europe/Berlin:20261122T020000\nRRULE:FREQ=WEEKLY;BYDAY=SU\nRDATE;TZID=Europe/Berlin:20261130T020000\nEXDATE;TZID=Europe/Berlin:20261129T020000,20261206T020000,20261213T020000|4h0m0s",
		"Weekly, long|Europe/Berlin|at(2026-12-06T02:00)||||8h0m0s")
	f("BEGIN:VEVENT\nSTATUS:CANCELLED\nDTSTART:20261122T020000Z\nDURATION:PT1H\nEND:VEVENT", "", false, "holds no event")
	f("BEGIN:VEVENT\nSUMMARY:Holiday\nDTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227\nEND:VEVENT", "Europe/Berlin", true, "Holiday|Europe/Berlin|||||0s|freeze 2026-12-23T23:00:00Z 2026-12-26T23:00:00Z")
	f("BEGIN:VEVENT\nSUMMARY:Once\nDTSTART:20261122T020000Z\nDURATION:PT1H\nEND:VEVENT", "", false, "Once|UTC|at(2026-11-22T02:00)||||1h0m0s")
	f("BEGIN:VEVENT\nSUMMARY:Holiday\nDTSTART;VALUE=DATE:20261224\nEND:VEVENT", "", false, "event 1 (Holiday): DTSTART: has no time zone; say which one is meant with --time-zone")
	const outlook = "BEGIN:VEVENT\nSUMMARY:O\nDTSTART;TZID=W. Europe Standard Time:20261122T020000\nDURATION:PT1H\nEND:VEVENT"
	f(outlook, "", false, `DTSTART: TZID "W. Europe Standard Time" is no IANA name`)
	f(outlook, "Europe/Berlin", false, "O|Europe/Berlin|at(2026-11-22T02:00)||||1h0m0s")
	f("BEGIN:VEVENT\nSUMMARY:O\nDTSTART:20261122T020000Z\nEND:VEVENT", "", false, `event "O": lasts no time`)
	f("BEGIN:VEVENT\nSUMMARY:O\nDTSTART:20261122T020000Z\nDURATION:PT1H\nRRULE:FREQ=SECONDLY\nEND:VEVENT", "", false, `event "O": window "O": rrule "FREQ=SECONDLY": FREQ=SECONDLY is none of`)
	f("BEGIN:VTODO\nEND:VTODO", "", false, "holds no event")
	f("BEGIN:VEVENT\nDTSTART:20261122T020000Z", "", false, "is no iCalendar")
}

func FuzzRule(f *testing.F) {
	for _, s := range []string{
		"FREQ=WEEKLY;BYDAY=SU", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "FREQ=MINUTELY;INTERVAL=7;BYHOUR=1,2", "FREQ=HOURLY;INTERVAL=5;UNTIL=20270101T000000Z",
		"FREQ=DAILY;COUNT=3", "FREQ=YEARLY;BYYEARDAY=-1,366;BYHOUR=0,23", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;INTERVAL=3", "RRULE:FREQ=MONTHLY;BYMONTHDAY=-31",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rule string) {
		consistent(t, ops.Window{Name: "w", RRule: rule, Start: "2025-12-28T02:30", TimeZone: "America/New_York", Duration: time.Hour})
	})
}

func FuzzICal(f *testing.F) {
	for _, s := range []string{
		"DTSTART:20261122T020000Z\nDURATION:PT4H", "DTSTART;TZID=Europe/Berlin:20261122T020000\nDTEND;TZID=Europe/Berlin:20261122T060000\nRRULE:FREQ=WEEKLY;BYDAY=SU\nEXDATE;TZID=Europe/Berlin:20261129T020000\nRDATE:20270101T000000Z,20270102T000000Z",
		"BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:X\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\nSUMMARY:a\\, b\r\nDTSTART;VALUE=DATE:20261224\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		"BEGIN:VEVENT\nDTSTART:20261122T020000\nDURATION:P1DT2H\nX-FETTLE-WINDOW:w\nX-FETTLE-KIND:freeze\nEND:VEVENT",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		consistent(t, ops.Window{Name: "w", ICal: text, TimeZone: "Europe/Berlin"})
		if !strings.HasPrefix(text, "BEGIN:VCALENDAR") {
			text = "BEGIN:VCALENDAR\n" + text + "\nEND:VCALENDAR"
		}
		found, err := window.Import([]byte(text), time.UTC, false)
		if err != nil {
			if !errors.Is(err, ops.ErrInvalid) {
				t.Errorf("%v has no class", err)
			}
			return
		}
		if _, err := window.NewBook(found); err != nil {
			t.Errorf("an import is no configuration: %v", err)
		}
	})
}

// consistent compiles a window and compares what it says of its openings.
func consistent(t *testing.T, in ops.Window) {
	t.Helper()
	w, err := window.Compile(in)
	if err != nil {
		if !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("%v has no class", err)
		}
		return
	}
	last := at("2026-03-08T06:00:00Z")
	for _, o := range w.Next(last, 3) {
		if !o.Start.After(last) {
			t.Errorf("%s does not follow %s", o.Start, last)
		}
		if got, open := w.At(o.Start); !open || !got.Start.Equal(o.Start) {
			t.Errorf("At(%s) = %v, %v", o.Start, got, open)
		}
		last = o.Start
	}
}

// BenchmarkNextOfThousand asks a thousand windows, of all syntaxes, for their
// next opening.
func BenchmarkNextOfThousand(b *testing.B) {
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"}
	var in []ops.Window
	for i := range 1000 {
		w := ops.Window{Name: fmt.Sprint(i), TimeZone: zones[i%len(zones)], Duration: time.Hour}
		switch i % 5 {
		case 0:
			w.Schedule = fmt.Sprintf("cron(%d 2 ? * TUE#2 *)", i%60)
		case 1:
			w.Schedule = fmt.Sprintf("%d 2 * * 0", i%60)
		case 2:
			w.Schedule = "rate(7 days)"
		case 3:
			w.RRule, w.Start = "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", fmt.Sprintf("2015-03-01T02:%02d", i%60)
		case 4:
			w.RRule, w.Start = "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", fmt.Sprintf("2015-03-01T02:%02d", i%60)
		}
		in = append(in, w)
	}
	book, err := window.NewBook(in)
	if err != nil {
		b.Fatal(err)
	}
	now := at("2026-11-23T00:00:00Z")
	b.ReportAllocs()
	for b.Loop() {
		for _, w := range book.Windows() {
			if len(w.Next(now, 1)) != 1 {
				b.Fatalf("%s never opens", w.Name)
			}
		}
	}
}
