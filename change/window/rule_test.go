package window_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
)

// TestRules takes its rules from RFC 5545, 3.8.5.3, where New York is the zone
// of every example and 2 September 1997, 9 o'clock, the start of most.
func TestRules(t *testing.T) {
	f := func(start, rule, after string, want ...string) {
		t.Helper()
		w := compile(t, ops.Window{RRule: rule, Start: start, TimeZone: "America/New_York"})
		var got []string
		for _, o := range w.Next(at(after+"T00:00:00Z"), len(want)) {
			got = append(got, o.Start.In(w.Zone()).Format("2006-01-02 15:04 MST"))
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s from %s after %s:\n got %v\nwant %v", rule, start, after, got, want)
		}
	}
	const start = "1997-09-02T09:00"
	f(start, "FREQ=DAILY;COUNT=10", "1997-09-10", "1997-09-10 09:00 EDT", "1997-09-11 09:00 EDT")
	f(start, "FREQ=DAILY;UNTIL=19971224T000000Z", "1997-12-23", "1997-12-23 09:00 EST")
	f(start, "FREQ=WEEKLY;INTERVAL=2;WKST=SU", "1997-10-25", "1997-10-28 09:00 EST", "1997-11-11 09:00 EST")
	f(start, "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR", "1997-09-01", "1997-09-03 09:00 EDT", "1997-09-05 09:00 EDT", "1997-09-15 09:00 EDT")
	f("1997-08-05T09:00", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997-08-01", "1997-08-05 09:00 EDT", "1997-08-10 09:00 EDT", "1997-08-19 09:00 EDT", "1997-08-24 09:00 EDT")
	f("1997-08-05T09:00", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997-08-01", "1997-08-05 09:00 EDT", "1997-08-17 09:00 EDT", "1997-08-19 09:00 EDT", "1997-08-31 09:00 EDT")
	f("1997-09-05T09:00", "FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "1998-06-01", "1998-06-05 09:00 EDT")
	f("1997-09-07T09:00", "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "1997-09-01", "1997-09-07 09:00 EDT", "1997-09-28 09:00 EDT", "1997-11-02 09:00 EST", "1997-11-30 09:00 EST")
	f("1997-09-28T09:00", "FREQ=MONTHLY;BYMONTHDAY=-3", "1997-09-01", "1997-09-28 09:00 EDT", "1997-10-29 09:00 EST")
	f(start, "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11", "1999-03-01", "1999-03-10 09:00 EST", "1999-03-11 09:00 EST")
	f("1997-03-10T09:00", "FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "1999-01-01", "1999-01-10 09:00 EST", "1999-02-10 09:00 EST")
	f("1997-01-01T09:00", "FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,200", "2000-01-01", "2000-01-01 09:00 EST", "2000-04-09 09:00 EDT", "2000-07-18 09:00 EDT")
	f("1997-05-19T09:00", "FREQ=YEARLY;BYDAY=20MO", "1998-01-01", "1998-05-18 09:00 EDT")
	f("1997-05-12T09:00", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1998-01-01", "1998-05-11 09:00 EDT")
	f("1997-05-12T09:00", "FREQ=YEARLY;BYWEEKNO=20", "1998-01-01", "1998-05-11 09:00 EDT") // its day is that of the start
	f(start, "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1998-01-01", "1998-02-13 09:00 EST", "1998-03-13 09:00 EST", "1998-11-13 09:00 EST", "1999-08-13 09:00 EDT", "2000-10-13 09:00 EDT")
	f("1996-11-05T09:00", "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "1997-01-01", "2000-11-07 09:00 EST", "2004-11-02 09:00 EST", "2008-11-04 09:00 EST")
	f("1997-09-29T09:00", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-10-01", "1997-10-30 09:00 EST")
	f(start, "FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z", "1997-09-02", "1997-09-02 09:00 EDT", "1997-09-02 12:00 EDT", "1997-09-02 15:00 EDT")
	f(start, "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10", "1997-09-03", "1997-09-03 09:00 EDT", "1997-09-03 09:20 EDT", "1997-09-03 09:40 EDT", "1997-09-03 10:00 EDT")
	// Of February only long years have a 29th.
	f("1996-02-29T09:00", "FREQ=YEARLY", "1997-01-01", "2000-02-29 09:00 EST")
	// The start is one only when the rule names it.
	f(start, "FREQ=WEEKLY;BYDAY=SU", "1997-09-01", "1997-09-07 09:00 EDT")
	// The gap and the overlap of the clock are those of cron.
	f("2020-01-01T02:30", "FREQ=DAILY", "2026-03-08", "2026-03-08 03:30 EDT", "2026-03-09 02:30 EDT")
	f("2020-01-01T01:30", "FREQ=DAILY", "2026-11-01", "2026-11-01 01:30 EDT", "2026-11-02 01:30 EST")
	f("2020-01-01T00:30", "FREQ=HOURLY", "2026-11-01T04:00:00Z"[:10], "2026-10-31 20:30 EDT", "2026-10-31 21:30 EDT", "2026-10-31 22:30 EDT", "2026-10-31 23:30 EDT", "2026-11-01 00:30 EDT", "2026-11-01 01:30 EDT", "2026-11-01 02:30 EST")
}

func TestEvents(t *testing.T) {
	f := func(ical string, duration time.Duration, want ...string) {
		t.Helper()
		w, err := window.Compile(ops.Window{Name: "w", ICal: ical, TimeZone: "Europe/Berlin", Duration: duration})
		if err != nil {
			t.Errorf("%s: %v", ical, err)
			return
		}
		var got []string
		for _, o := range w.Next(time.Time{}, len(want)+1) {
			got = append(got, o.Start.Format("01-02T15:04")+"+"+strings.TrimSuffix(o.End.Sub(o.Start).String(), "0m0s"))
		}
		if strings.Join(got[:min(len(got), len(want))], " ") != strings.Join(want, " ") {
			t.Errorf("%s:\n got %v\nwant %v", ical, got, want)
		}
	}
	f("DTSTART:20261122T020000\nDTEND:20261122T060000", 0, "11-22T01:00+4h") // a zone of its own it has not
	f("DTSTART:20261122T020000Z\nDURATION:PT4H", 0, "11-22T02:00+4h")
	f("DTSTART;TZID=America/New_York:20261122T020000\nDURATION:PT4H\nRRULE:FREQ=WEEKLY;COUNT=2", time.Hour, "11-22T07:00+1h", "11-29T07:00+1h")
	f("DTSTART;TZID=/citadel.org/20210210_1/Europe/London:20261122T020000\nDURATION:PT4H", 0, "11-22T02:00+4h")
	f("BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227\nEND:VEVENT", 0, "12-23T23:00+72h")
	f("DTSTART;VALUE=DATE:20261024\nDTEND;VALUE=DATE:20261026", 0, "10-23T22:00+49h") // the night has an hour more
	f("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=DAILY;COUNT=2", 0, "12-23T23:00+24h", "12-24T23:00+24h")
	f("DTSTART:20261122T020000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20261124\nEXDATE:20261123T020000\nRDATE:20261130T030000,20261201T030000", 0,
		"11-22T01:00+1h", "11-24T01:00+1h", "11-30T02:00+1h", "12-01T02:00+1h")
	f("DTSTART:20261122T020000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE;VALUE=DATE:20261123", 0, "11-22T01:00+1h", "11-24T01:00+1h")
	f("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Patching\\, web\r\nDTSTART:20261122T020000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;\r\n COUNT=3\r\nEND:VEVENT\r\n"+
		"BEGIN:VEVENT\r\nUID:1\r\nRECURRENCE-ID:20261123T020000Z\r\nDTSTART:20261123T050000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", 0,
		"11-22T02:00+1h", "11-23T05:00+1h", "11-24T02:00+1h")
}

func TestRulesSayWhatIsWrong(t *testing.T) {
	f := func(w ops.Window, want string) {
		t.Helper()
		w.Name, w.TimeZone = "sunday", "UTC"
		if w.Duration == 0 && w.ICal == "" {
			w.Duration = time.Hour
		}
		_, err := window.Compile(w)
		if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(fmt.Sprint(err), want) || !strings.Contains(fmt.Sprint(err), `window "sunday"`) {
			t.Errorf("%+v: %v, want %q", w, err, want)
		}
	}
	rule := func(s string) ops.Window { return ops.Window{RRule: s, Start: "2026-11-22T02:00"} }
	f(rule("BYDAY=SU"), "FREQ is missing")
	f(rule("FREQ=SECONDLY"), "FREQ=SECONDLY is none of")
	f(rule("FREQ=DAILY;FREQ=DAILY"), "FREQ stands there twice")
	f(rule("FREQ=DAILY;BYSECOND=30"), "open on the minute")
	f(rule("FREQ=DAILY;BYEASTER=0"), "BYEASTER is no part")
	f(rule("FREQ=DAILY;COUNT=0"), "COUNT=0 is not within")
	f(rule("FREQ=DAILY;COUNT=2;UNTIL=20270101"), "exclude each other")
	f(rule("FREQ=DAILY;UNTIL=soon"), "UNTIL")
	f(rule("FREQ=DAILY;BYHOUR=24"), `"24" is not within 0 to 23`)
	f(rule("FREQ=WEEKLY;BYDAY=2MO"), "counts weekdays")
	f(rule("FREQ=WEEKLY;BYDAY=XX"), "is no day")
	f(rule("FREQ=MONTHLY;BYDAY=0MO"), "is no day")
	f(rule("FREQ=MONTHLY;BYSETPOS=1"), "picks among")
	f(rule("FREQ=MONTHLY;BYWEEKNO=1"), "BYWEEKNO needs")
	f(rule("FREQ=MONTHLY;BYYEARDAY=1"), "BYYEARDAY needs")
	f(rule("FREQ=WEEKLY;BYMONTHDAY=1"), "BYMONTHDAY cannot")
	f(rule("FREQ=DAILY;WKST=1"), "WKST=1 is no day")
	f(rule("FREQ"), "is not NAME=VALUE")
	// Rules that never come true, some of which a naive walk would never leave.
	f(rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), "rrule never opens")
	f(rule("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"), "rrule never opens")
	f(rule("FREQ=HOURLY;INTERVAL=24;BYHOUR=5"), "never comes to the hours")
	f(rule("FREQ=MINUTELY;INTERVAL=60;BYMINUTE=5"), "never comes to the hours")
	f(rule("FREQ=DAILY;UNTIL=20261121"), "rrule never opens")
	f(rule("FREQ=YEARLY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29;COUNT=1;BYDAY=MO;BYSETPOS=2"), "rrule never opens")
	f(ops.Window{RRule: "FREQ=DAILY"}, "start is missing")
	f(ops.Window{RRule: "FREQ=DAILY", Start: "tomorrow"}, "start: ")
	f(ops.Window{Schedule: "always", Start: "2026-11-22T02:00"}, "start belongs to rrule")
	f(ops.Window{RRule: "FREQ=DAILY", Schedule: "0 2 * * *"}, "keep one of schedule, rrule and ical")
	f(ops.Window{Schedule: "rate(1 day)", OffsetDays: 1}, "offset_days needs a schedule of cron")
	f(ops.Window{Schedule: "0 2 * * *", OffsetDays: 7}, "offset_days 7 is not within")
	f(ops.Window{Schedule: "cron(0 2 30 2 ? *)"}, "never comes")
	f(ops.Window{Schedule: "0 2 31 4,6 *"}, "never comes")
	f(ops.Window{Schedule: "cron(0 2 ? 2 MON#5 2027)"}, "never comes")
	f(ops.Window{Schedule: "0 2 1 1 *", From: at("2027-02-01T00:00:00Z"), To: at("2027-03-01T00:00:00Z")}, "schedule never opens between from and to")
	ical := func(s string) ops.Window { return ops.Window{ICal: s} }
	f(ical("RRULE:FREQ=DAILY"), "DTSTART is missing")
	f(ical("DTSTART:20261122T020000"), "duration 0s must be above zero")
	f(ical("DTSTART:22.11.2026\nDURATION:PT1H"), "DTSTART: \"22.11.2026\"")
	f(ical("DTSTART;TZID=W. Europe Standard Time:20261122T020000\nDURATION:PT1H"), "is no IANA name")
	f(ical("DTSTART:20261122T020000\nDTEND:20261122T010000"), "DTEND: is not after DTSTART")
	f(ical("DTSTART:20261122T020000\nDTEND:20261122T030000\nDURATION:PT1H"), "exclude each other")
	f(ical("DTSTART:20261122T020000\nDURATION:1h"), "DURATION: ")
	f(ical("DTSTART:20261122T020000\nDURATION:PT1H\nRRULE:FREQ=DAILY\nRRULE:FREQ=DAILY"), "RRULE: stands there twice")
	f(ical("DTSTART:20261122T020000\nDURATION:PT1H\nRRULE:FREQ=OFTEN"), "RRULE: FREQ=OFTEN")
	f(ical("DTSTART:20261122T020000\nDURATION:PT1H\nEXRULE:FREQ=DAILY"), "EXRULE")
	f(ical("DTSTART:20261122T020000\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20261122T020000/PT1H"), "is a period")
	f(ical("DTSTART:20261122T020000\nDURATION:PT1H\nEXDATE:20261122T020000"), "ical never opens")
	f(ical("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261122T020000\nDURATION:PT1H\nEND:VEVENT\n"), "cut off")
	f(ical("BEGIN:VEVENT\nDTSTART:20261122T020000\nDURATION:PT1H\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20261122T020000\nDURATION:PT1H\nEND:VEVENT"), "holds 2 events")
	f(ical("hello"), "is no iCalendar")
}
