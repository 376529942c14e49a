package window_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
)

// TestExamplesOfAWS holds the expressions that the user guide of AWS Systems
// Manager documents ("Reference: Cron and rate expressions" and "Maintenance
// window scheduling options", in their forms over the years), what each means
// there, and the openings that follow.
func TestExamplesOfAWS(t *testing.T) {
	type want []string
	f := func(schedule, meaning, after string, offset int, want want) {
		t.Helper()
		w := compile(t, ops.Window{Schedule: schedule, OffsetDays: offset})
		var got []string
		for _, o := range w.Next(at(after), len(want)) {
			got = append(got, o.Start.Format("Mon 2006-01-02 15:04"))
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s, %q:\n got %v\nwant %v", schedule, meaning, got, want)
		}
	}
	const now = "2026-11-21T12:00:00Z" // a Saturday
	f("cron(0 10 * * ? *)", "10:00 AM every day", now, 0, want{"Sun 2026-11-22 10:00", "Mon 2026-11-23 10:00"})
	f("cron(15 12 * * ? *)", "12:15 PM every day", now, 0, want{"Sat 2026-11-21 12:15", "Sun 2026-11-22 12:15"})
	f("cron(0 18 ? * MON-FRI *)", "6:00 PM every Monday through Friday", now, 0, want{"Mon 2026-11-23 18:00", "Tue 2026-11-24 18:00", "Wed 2026-11-25 18:00", "Thu 2026-11-26 18:00", "Fri 2026-11-27 18:00", "Mon 2026-11-30 18:00"})
	f("cron(0 8 1 * ? *)", "8:00 AM every 1st day of the month", now, 0, want{"Tue 2026-12-01 08:00", "Fri 2027-01-01 08:00"})
	f("cron(0/15 * * * ? *)", "every 15 minutes", now, 0, want{"Sat 2026-11-21 12:15", "Sat 2026-11-21 12:30", "Sat 2026-11-21 12:45", "Sat 2026-11-21 13:00"})
	f("cron(0/10 * ? * MON-FRI *)", "every 10 minutes Monday through Friday", now, 0, want{"Mon 2026-11-23 00:00", "Mon 2026-11-23 00:10"})
	f("cron(0/5 8-17 ? * MON-FRI *)", "every 5 minutes Monday through Friday between 8:00 AM and 5:55 PM", "2026-11-23T17:50:00Z", 0, want{"Mon 2026-11-23 17:55", "Tue 2026-11-24 08:00"})
	f("cron(0 16 ? * TUE *)", "4 PM every Tuesday", now, 0, want{"Tue 2026-11-24 16:00"})
	f("cron(0 09 ? * WED *)", "9 AM every Wednesday", now, 0, want{"Wed 2026-11-25 09:00"})
	f("cron(0 2 ? * THU#3 *)", "02:00 AM the third Thursday of every month", now, 0, want{"Thu 2026-12-17 02:00", "Thu 2027-01-21 02:00"})
	f("cron(15 10 ? * * *)", "10:15 AM every day", now, 0, want{"Sun 2026-11-22 10:15"})
	f("cron(15 10 ? * MON-FRI *)", "10:15 AM every Monday to Friday", now, 0, want{"Mon 2026-11-23 10:15"})
	f("cron(0 2 L * ? *)", "02:00 AM on the last day of every month", now, 0, want{"Mon 2026-11-30 02:00", "Thu 2026-12-31 02:00"})
	f("cron(15 10 ? * 6L *)", "10:15 AM on the last Friday of every month", now, 0, want{"Fri 2026-11-27 10:15", "Fri 2026-12-25 10:15"})
	f("cron(0/30 * * * ? *)", "every 30 minutes", now, 0, want{"Sat 2026-11-21 12:30", "Sat 2026-11-21 13:00"})
	f("cron(0 0/4 * * ? *)", "every 4 hours", now, 0, want{"Sat 2026-11-21 16:00", "Sat 2026-11-21 20:00"})
	f("cron(15 13 ? * SUN *)", "every Sunday at 1:15 PM", now, 0, want{"Sun 2026-11-22 13:15"})
	f("cron(0 0 ? * 3#2 *)", "the second Tuesday: 3 is the third day of the week", now, 0, want{"Tue 2026-12-08 00:00"})
	f("cron(0 12 3W * ? *)", "the weekday closest to the third day of the month", now, 0, want{"Thu 2026-12-03 12:00", "Mon 2027-01-04 12:00"})
	// With seconds in front, with and without a year.
	f("cron(0 0 2 ? 1/1 THU#3 *)", "02:00 AM the third Thursday of every month", now, 0, want{"Thu 2026-12-17 02:00", "Thu 2027-01-21 02:00"})
	f("cron(0 15 10 ? * *)", "10:15 AM every day", now, 0, want{"Sun 2026-11-22 10:15"})
	f("cron(0 0 0 21 1/1 ? *)", "midnight on the 21st of each month", now, 0, want{"Mon 2026-12-21 00:00", "Thu 2027-01-21 00:00"})
	f("cron(0 15 10 ? * MON-FRI)", "10:15 AM every Monday to Friday", now, 0, want{"Mon 2026-11-23 10:15"})
	f("cron(0 0 2 L * ?)", "02:00 AM on the last day of every month", now, 0, want{"Mon 2026-11-30 02:00"})
	f("cron(0 15 10 ? * 6L)", "10:15 AM on the last Friday of every month", now, 0, want{"Fri 2026-11-27 10:15"})
	// The schedule offset: days after what cron names.
	f("cron(30 23 ? * TUE#3 *)", "11:30 PM two days after the third Tuesday", now, 2, want{"Thu 2026-12-17 23:30", "Thu 2027-01-21 23:30"})
	f("cron(0 0 ? * THU#2 *)", "three days after the second Thursday, a Sunday", now, 3, want{"Sun 2026-12-13 00:00", "Sun 2027-01-17 00:00"})
	f("cron(0 2 L * ? *)", "the day after the last of the month", now, 1, want{"Tue 2026-12-01 02:00", "Fri 2027-01-01 02:00"})
	// Rates and single times.
	f("rate(2 days)", "every other day", now, 0, want{"Mon 2026-11-23 00:00", "Wed 2026-11-25 00:00"})
	f("rate(1 hour)", "every hour", now, 0, want{"Sat 2026-11-21 13:00"})
	f("rate(30 minutes)", "every 30 minutes", now, 0, want{"Sat 2026-11-21 12:30"})
	f("at(2027-07-07T15:55:00)", "once", now, 0, want{"Wed 2027-07-07 15:55"})

	// From 3 PM for three hours with a cutoff of one: the last start is before 5 PM.
	w := compile(t, ops.Window{Schedule: "cron(0 15 * * ? *)", Duration: 3 * time.Hour, Cutoff: time.Hour})
	if o := w.Next(at(now), 1)[0]; !o.Cutoff.Equal(at("2026-11-21T17:00:00Z")) {
		t.Errorf("nothing starts after %s, want 17:00", o.Cutoff)
	}
	// A start date bounds the valid period and does not move the schedule: 9 AM
	// on the first Wednesday after it, in the window's own zone.
	w = compile(t, ops.Window{Schedule: "cron(0 09 ? * WED *)", TimeZone: "America/Los_Angeles", From: at("2021-01-01T00:00:00-08:00")})
	if o := w.Next(time.Time{}, 1)[0]; !o.Start.Equal(at("2021-01-06T09:00:00-08:00")) {
		t.Errorf("opens first on %s", o.Start)
	}
}
