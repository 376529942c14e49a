package window_test

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
)

var update = flag.Bool("update", false, "write golden files instead of comparing them")

func compile(t *testing.T, w ops.Window) *window.Window {
	t.Helper()
	if w.Name == "" {
		w.Name = "w"
	}
	if w.TimeZone == "" {
		w.TimeZone = "UTC"
	}
	if w.Duration == 0 {
		w.Duration = time.Hour
	}
	c, err := window.Compile(w)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestNext(t *testing.T) {
	f := func(zone, schedule, after string, want ...string) {
		t.Helper()
		w := compile(t, ops.Window{Schedule: schedule, TimeZone: zone})
		var got []string
		for _, o := range w.Next(at(after), len(want)) {
			got = append(got, o.Start.In(w.Zone()).Format(time.RFC3339))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s in %s after %s:\n got %v\nwant %v", schedule, zone, after, got, want)
		}
	}
	// AWS: 1 is Sunday.
	f("UTC", "cron(0 2 ? * SUN *)", "2026-11-21T00:00:00Z", "2026-11-22T02:00:00Z", "2026-11-29T02:00:00Z")
	f("UTC", "cron(0 2 ? * 1 *)", "2026-11-21T00:00:00Z", "2026-11-22T02:00:00Z")
	f("UTC", "cron(0 0 2 ? * 7 *)", "2026-11-21T00:00:00Z", "2026-11-21T02:00:00Z") // seven fields: seconds first
	f("UTC", "cron(15 10 ? * MON-FRI *)", "2026-11-20T10:15:00Z", "2026-11-23T10:15:00Z")
	f("UTC", "cron(0/30 8 1 1,7 ? 2027-2028)", "2026-11-20T00:00:00Z", "2027-01-01T08:00:00Z", "2027-01-01T08:30:00Z", "2027-07-01T08:00:00Z")
	f("UTC", "cron(0 2 ? * TUE#2 *)", "2026-11-11T00:00:00Z", "2026-12-08T02:00:00Z") // patch Tuesday
	f("UTC", "cron(0 2 ? * 3#5 *)", "2026-11-01T00:00:00Z", "2026-12-29T02:00:00Z")   // no fifth Tuesday in November
	f("UTC", "cron(0 2 L * ? *)", "2027-02-01T00:00:00Z", "2027-02-28T02:00:00Z", "2027-03-31T02:00:00Z")
	f("UTC", "cron(0 2 L 2 ? *)", "2028-01-01T00:00:00Z", "2028-02-29T02:00:00Z")
	f("UTC", "cron(0 2 ? * 6L *)", "2026-11-01T00:00:00Z", "2026-11-27T02:00:00Z") // last Friday
	f("UTC", "cron(0 2 ? * L *)", "2026-11-15T00:00:00Z", "2026-11-21T02:00:00Z")  // Saturday
	f("UTC", "cron(0 2 15W * ? *)", "2026-11-01T00:00:00Z", "2026-11-16T02:00:00Z", "2026-12-15T02:00:00Z")
	f("UTC", "cron(0 2 1W * ? *)", "2026-08-01T00:00:00Z", "2026-08-03T02:00:00Z") // Saturday the 1st stays in its month
	f("UTC", "cron(0 2 31W * ? *)", "2027-01-30T00:00:00Z", "2027-03-31T02:00:00Z")
	f("UTC", "cron(0 2 LW * ? *)", "2027-01-01T00:00:00Z", "2027-01-29T02:00:00Z")
	// Plain cron: 0 and 7 are Sunday, and either of two day fields is enough.
	f("UTC", "0 2 * * 0", "2026-11-21T00:00:00Z", "2026-11-22T02:00:00Z")
	f("UTC", "0 2 * * 7", "2026-11-21T00:00:00Z", "2026-11-22T02:00:00Z")
	f("UTC", "0 2 24 * MON", "2026-11-21T00:00:00Z", "2026-11-23T02:00:00Z", "2026-11-24T02:00:00Z")
	f("UTC", "0 2 */2 * MON", "2026-11-21T00:00:00Z", "2026-11-23T02:00:00Z", "2026-12-07T02:00:00Z")
	f("UTC", "0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z")
	// rate counts elapsed time, at opens once.
	f("Europe/Berlin", "rate(7 days)", "2026-11-21T00:00:00Z", "2026-11-26T01:00:00+01:00")
	f("Europe/Berlin", "at(2026-12-01T02:30:00)", "2026-11-21T00:00:00Z", "2026-12-01T02:30:00+01:00")
	f("Europe/Berlin", "at(2026-12-01T02:30)", "2026-12-01T01:30:00Z")

	// The clock jumps over the start: it opens by the offset before the jump.
	f("America/New_York", "cron(30 2 * * ? *)", "2026-03-07T12:00:00Z", "2026-03-08T03:30:00-04:00", "2026-03-09T02:30:00-04:00")
	f("America/New_York", "0 2 * * SUN", "2026-03-07T12:00:00Z", "2026-03-08T03:00:00-04:00", "2026-03-15T02:00:00-04:00")
	f("Europe/Berlin", "cron(30 2 * * ? *)", "2026-03-28T12:00:00Z", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00")
	f("Europe/Berlin", "*/30 2,3 * * *", "2026-03-28T12:00:00Z", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:00:00+02:00")
	f("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00:00Z", "2026-10-04T02:45:00+11:00", "2026-10-05T02:15:00+11:00")
	f("America/Santiago", "30 0 * * *", "2026-09-05T12:00:00Z", "2026-09-06T01:30:00-03:00", "2026-09-07T00:30:00-03:00")
	// The whole 30 December 2011 is missing in Apia.
	f("Pacific/Apia", "0 6 * * *", "2011-12-29T00:00:00Z", "2011-12-29T06:00:00-10:00", "2011-12-31T06:00:00+14:00", "2012-01-01T06:00:00+14:00")
	f("Pacific/Apia", "0 6,20 30 12 *", "2011-12-29T00:00:00Z", "2011-12-31T06:00:00+14:00", "2011-12-31T20:00:00+14:00")
	// The start comes twice: the first one counts.
	f("America/New_York", "30 1 * * *", "2026-10-31T12:00:00Z", "2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00")
	f("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00")
	f("Australia/Lord_Howe", "45 1 * * *", "2026-04-04T00:00:00Z", "2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30")
	f("Asia/Kolkata", "30 1 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00+05:30")
	// A schedule that ends.
	f("UTC", "cron(0 2 1 1 ? 2027)", "2027-01-01T02:00:00Z")
}

// In 2040 and later Go knows zones by their rule alone, and bounds them wrongly
// on the last day of leap years.
func TestResolveOnTheLastDayOfLeapYears(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Europe/Dublin", "UTC"} {
		z, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for civil := time.Date(2040, 12, 28, 0, 30, 0, 0, time.UTC); civil.Before(time.Date(2041, 1, 4, 0, 0, 0, 0, time.UTC)); civil = civil.Add(time.Hour) {
			if got := window.Resolve(civil, z).In(z).Format("2006-01-02T15:04"); got != civil.Format("2006-01-02T15:04") {
				t.Fatalf("%s in %s is %s", civil, zone, got)
			}
		}
	}
}

func TestWindowLastsElapsedTime(t *testing.T) {
	w := compile(t, ops.Window{Schedule: "0 1 25 10 *", TimeZone: "Europe/Berlin", Duration: 4 * time.Hour, Cutoff: time.Hour})
	o := w.Next(at("2026-10-20T00:00:00Z"), 1)[0]
	if got := o.End.In(w.Zone()).Format(time.RFC3339); got != "2026-10-25T04:00:00+01:00" {
		t.Errorf("four hours from 01:00+02 end at %s", got)
	}
	if got := o.Cutoff.In(w.Zone()).Format(time.RFC3339); got != "2026-10-25T03:00:00+01:00" {
		t.Errorf("cutoff at %s", got)
	}
}

func TestAt(t *testing.T) {
	f := func(w ops.Window, when, want string) {
		t.Helper()
		o, open := compile(t, w).At(at(when))
		got := ""
		if open {
			got = o.Start.Format(time.RFC3339) + "/" + o.End.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%s at %s: %q, want %q", w.Schedule, when, got, want)
		}
	}
	night := ops.Window{Schedule: "0 22 * * *", Duration: 4 * time.Hour}
	f(night, "2026-11-21T21:59:59Z", "")
	f(night, "2026-11-21T22:00:00Z", "2026-11-21T22:00:00Z/2026-11-22T02:00:00Z")
	f(night, "2026-11-22T01:59:59Z", "2026-11-21T22:00:00Z/2026-11-22T02:00:00Z")
	f(night, "2026-11-22T02:00:00Z", "")
	f(ops.Window{Schedule: "0 * * * *", Duration: 3 * time.Hour}, "2026-11-21T10:30:00Z", "2026-11-21T10:00:00Z/2026-11-21T13:00:00Z") // of three that are open, the last to close
	f(ops.Window{Schedule: "0 0 1 1 *", Duration: 200 * 24 * time.Hour}, "2026-06-01T00:00:00Z", "2026-01-01T00:00:00Z/2026-07-20T00:00:00Z")
	f(ops.Window{Schedule: "always"}, "2026-06-01T00:00:00Z", "1970-01-01T00:00:00Z/9999-12-31T23:59:59Z")
	f(ops.Window{Schedule: "rate(2 hours)"}, "2026-06-01T01:00:00Z", "")
	f(ops.Window{Schedule: "rate(2 hours)"}, "2026-06-01T02:30:00Z", "2026-06-01T02:00:00Z/2026-06-01T03:00:00Z")
	f(ops.Window{Schedule: "0 0 * * *", From: at("2026-06-02T00:00:00Z")}, "2026-06-01T00:30:00Z", "")
	f(ops.Window{Schedule: "0 0 * * *", To: at("2026-06-01T00:00:00Z")}, "2026-06-01T00:30:00Z", "")
}

func TestCompileExplainsWhatIsWrong(t *testing.T) {
	f := func(w ops.Window, want string) {
		t.Helper()
		if w.Name == "" {
			w.Name = "sunday"
		}
		if w.TimeZone == "" {
			w.TimeZone = "UTC"
		}
		_, err := window.Compile(w)
		if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), w.Name) {
			t.Errorf("%+v: %v, want %q", w, err, want)
		}
	}
	s := func(schedule string) ops.Window { return ops.Window{Schedule: schedule, Duration: time.Hour} }
	f(s("cron(0 2 ? * SUN)"), "5 fields")
	f(s("cron(0 2 * * SUN *)"), "exactly one of")
	f(s("cron(0 2 ? * ? *)"), "exactly one of")
	f(s("cron(60 2 ? * SUN *)"), `minute "60" is not within 0 to 59`)
	f(s("cron(5 0 2 ? * SUN *)"), "seconds")
	f(s("cron(0 2 ? * 0 *)"), `day of week "0" is not within 1 to 7`)
	f(s("cron(0 2 ? * SUN#6 *)"), "occurrence in the month")
	f(s("cron(0 2 ? * FRI-MON *)"), "runs backwards")
	f(s("cron(0 2 30 2 ? *)"), "never comes")
	f(s("cron(0 2 ? * SUN 2200)"), "year")
	f(s("0 2 L * *"), "day of month")
	f(s("0 2 ? * *"), "day of month")
	f(s("*/0 2 * * *"), "step of minute")
	f(s("rate(0 days)"), "rate")
	f(s("rate(5 weeks)"), "weeks")
	f(s("at(tomorrow)"), "local time")
	f(s("every day"), "write always")
	f(s("cron(0 2 ? * SUN *"), "write always")
	f(ops.Window{Schedule: "0 2 * * *"}, "duration")
	f(ops.Window{Schedule: "0 2 * * *", Duration: time.Hour, Cutoff: time.Hour}, "cutoff")
	f(ops.Window{Schedule: "always", TimeZone: "Europe/Berlln"}, "Berlln")
	f(ops.Window{Schedule: "always", TimeZone: "Local"}, "IANA")
	f(ops.Window{Schedule: "always", Applies: "resource.lables.env == 'x'"}, "labels")
	f(ops.Window{Deny: true}, "from and to")
	f(ops.Window{Deny: true, From: at("2027-01-02T00:00:00Z"), To: at("2027-01-01T00:00:00Z")}, "not before")
	f(ops.Window{}, "schedule is empty")
}

func TestDecide(t *testing.T) {
	sunday := compile(t, ops.Window{Name: "sunday", Schedule: "cron(0 2 ? * SUN *)", Duration: 4 * time.Hour, Cutoff: time.Hour})
	tuesday := compile(t, ops.Window{Name: "tuesday", Schedule: "cron(0 2 ? * TUE *)", Duration: time.Hour})
	open := compile(t, ops.Window{Name: "open", Schedule: "always"})
	for w, always := range map[*window.Window]bool{open: true, sunday: false} {
		if o, in := w.At(at("2026-11-22T02:00:00Z")); !in || o.Always() != always {
			t.Errorf("%s: open %t, always %t", w.Name, in, o.Always())
		}
	}
	freeze := compile(t, ops.Window{Name: "freeze", Deny: true, From: at("2026-11-22T05:00:00Z"), To: at("2026-11-29T04:00:00Z")})
	noon := compile(t, ops.Window{Name: "noon", Deny: true, Schedule: "0 12 * * *", Duration: time.Hour})
	f := func(now string, need time.Duration, windows, freezes []*window.Window, want string) {
		t.Helper()
		d := window.Decide(at(now), need, windows, freezes)
		got := "never"
		if d.Start {
			got = "now in " + d.In.Window
		} else if !d.Until.IsZero() {
			got = d.Until.UTC().Format(time.RFC3339) + " in " + d.In.Window
		}
		if got != want || d.Why == "" {
			t.Errorf("at %s for %s: %s (%s), want %s", now, need, got, d.Why, want)
		}
	}
	ws := func(w ...*window.Window) []*window.Window { return w }
	f("2026-11-22T02:00:00Z", time.Hour, ws(sunday), nil, "now in sunday")
	f("2026-11-22T04:59:59Z", time.Hour, ws(sunday), nil, "now in sunday")
	f("2026-11-22T05:00:00Z", time.Minute, ws(sunday), nil, "2026-11-29T02:00:00Z in sunday") // cutoff
	f("2026-11-22T03:01:00Z", 3*time.Hour, ws(sunday), nil, "2026-11-29T02:00:00Z in sunday") // rollback would not fit
	f("2026-11-22T06:00:00Z", 30*time.Minute, ws(sunday, tuesday), nil, "2026-11-24T02:00:00Z in tuesday")
	f("2026-11-22T06:00:00Z", 2*time.Hour, ws(sunday, tuesday), nil, "2026-11-29T02:00:00Z in sunday") // Tuesday is too short
	f("2026-11-22T02:00:00Z", 5*time.Hour, ws(sunday, tuesday), nil, "never")
	f("2026-11-22T02:00:00Z", time.Hour, nil, nil, "never")
	// Deny beats allow, and a run that would reach into a freeze does not start.
	f("2026-11-22T03:00:00Z", 2*time.Hour, ws(sunday), ws(freeze), "now in sunday")
	f("2026-11-22T03:00:01Z", 2*time.Hour, ws(sunday), ws(freeze), "2026-11-29T04:00:00Z in sunday")
	f("2026-11-22T03:00:01Z", 2*time.Hour, ws(open), ws(freeze), "2026-11-29T04:00:00Z in open")
	f("2026-11-29T03:00:00Z", time.Hour, ws(open, sunday), ws(freeze, noon), "2026-11-29T04:00:00Z in open")
	f("2026-11-21T11:30:00Z", time.Hour, ws(open), ws(noon), "2026-11-21T13:00:00Z in open")
	f("2026-11-21T11:30:00Z", 24*time.Hour, ws(open), ws(noon), "never") // every day meets noon
	f("2026-11-22T02:00:00Z", time.Hour, ws(compile(t, ops.Window{Schedule: "at(2026-11-01T00:00)"})), nil, "never")
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"always", "cron(0 15 10 ? * MON-FRI)", "cron(0 2 ? * SUN *)", "cron(0 0 2 LW * ? 2027-2029)", "*/5 1-3,7 * JAN MON#2", "rate(5 minutes)", "at(2026-12-01T02:30:00)", "cron(0 2 31W 2 ? *)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, schedule string) {
		w, err := window.Compile(ops.Window{Name: "w", Schedule: schedule, TimeZone: "America/New_York", Duration: time.Hour})
		if err != nil {
			if !errors.Is(err, ops.ErrInvalid) {
				t.Errorf("%q: %v has no class", schedule, err)
			}
			return
		}
		now := at("2026-03-08T06:00:00Z")
		last := now
		for _, o := range w.Next(now, 3) {
			if !o.Start.After(last) {
				t.Errorf("%q: %s does not follow %s", schedule, o.Start, last)
			}
			if got, open := w.At(o.Start); !open || !got.Start.Equal(o.Start) {
				t.Errorf("%q: At(%s) = %v, %v", schedule, o.Start, got, open)
			}
			last = o.Start
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	w, err := window.Compile(ops.Window{Name: "w", Schedule: "cron(0 2 ? * SUN *)", TimeZone: "Europe/Berlin", Duration: 4 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	now := at("2026-11-23T00:00:00Z")
	b.ReportAllocs()
	for b.Loop() {
		window.Decide(now, time.Hour, []*window.Window{w}, nil)
	}
}

// A reader may ask for any year. Where a rule can say no more it ends.
func TestOpeningsEndWithTheCalendar(t *testing.T) {
	f := func(w ops.Window, year, want int) {
		t.Helper()
		w.Name, w.TimeZone, w.Duration = "w", "Europe/Berlin", 30*time.Second
		c, err := window.Compile(w)
		if err != nil {
			t.Fatal(err)
		}
		found, more := c.Between(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), window.Forever, 20)
		if len(found) != want || more != (want == 20) {
			t.Errorf("%s in %d opens %d times (more: %t), want %d", c.Rule(), year, len(found), more, want)
		}
	}
	for _, w := range []ops.Window{{Schedule: "rate(1 minute)"}, {Schedule: "cron(0 2 ? * SUN *)"}, {RRule: "FREQ=MINUTELY", Start: "2026-11-23T22:00"}} {
		f(w, 1, 20)
		f(w, 2190, 20)
		f(w, 2300, 0)
		f(w, 9999, 0)
	}
}
