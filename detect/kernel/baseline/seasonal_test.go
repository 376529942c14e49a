package baseline

import (
	"math"
	"testing"
	"time"
)

const hourMs = 60 * minute

// office is busy from 9 to 17 on workdays in its zone.
func office(g *splitmix, at int64, zone *time.Location) float64 {
	now := time.UnixMilli(at).In(zone)
	x := 100.0
	if now.Weekday() != time.Saturday && now.Weekday() != time.Sunday && now.Hour() >= 9 && now.Hour() < 17 {
		x = 1000
	}
	return x * (1 + 0.05*g.normal())
}

func seasonalAfter(t *testing.T, zone *time.Location, from, to int64, step int64) (*Seasonal, *splitmix) {
	t.Helper()
	s, err := NewSeasonal(SeasonalSettings{Features: 1, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	for at := from; at < to; at += step {
		process(t, s, at, []float64{office(g, at, zone)}, false)
	}
	return s, g
}

func TestSeasonalKnowsTheHourOfTheWeek(t *testing.T) {
	monday := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for _, step := range []int64{hourMs, 10 * minute, minute} {
		s, _ := seasonalAfter(t, time.UTC, monday, monday+4*7*24*hourMs, step)
		next := monday + 4*7*24*hourMs
		f := func(day, hour int64, x float64, strange bool, expected float64) {
			t.Helper()
			at := next + (day*24+hour)*hourMs
			got := process(t, s, at, []float64{x}, true)
			if strange && got < 8 || !strange && got > 3 {
				t.Errorf("step %v ms, day %d at %d: %v scores %v, strange: %v", step, day, hour, x, got, strange)
			}
			if e := s.Expected(nil)[0]; math.Abs(e-expected) > 0.1*expected {
				t.Errorf("step %v ms, day %d at %d: expected %v, want about %v", step, day, hour, e, expected)
			}
		}
		f(0, 3, 100, false, 100)
		f(0, 4, 1000, true, 100) // busy at night
		f(0, 12, 1000, false, 1000)
		f(0, 13, 100, true, 1000) // quiet at noon
		f(5, 12, 100, false, 100) // but not on a Saturday
		f(5, 13, 1000, true, 100)
		f(6, 3, 100, false, 100)
	}
}

// Four days know the hour of the day, one day knows only what came last.
func TestSeasonalFallsBack(t *testing.T) {
	monday := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	f := func(days int64, want knowledge) {
		t.Helper()
		s, g := seasonalAfter(t, time.UTC, monday, monday+days*24*hourMs, 10*minute)
		at := monday + (days*24+12)*hourMs
		process(t, s, at, []float64{office(g, at, time.UTC)}, true)
		if got := s.tracks[0].now.known; got != want {
			t.Errorf("after %d days the expectation comes from %d, want %d", days, got, want)
		}
	}
	f(1, fromRecent)
	f(2, fromRecent)
	f(3, fromHourOfDay)
	f(14, fromHourOfDay)
	f(21, fromHourOfWeek)
}

// Nine in Berlin is nine in Berlin, in summer and in winter.
func TestSeasonalFollowsTheZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("no time zones on this machine: %v", err)
	}
	monday := time.Date(2026, 9, 21, 0, 0, 0, 0, berlin).UnixMilli()
	change := time.Date(2026, 10, 25, 12, 0, 0, 0, berlin).UnixMilli()
	s, _ := seasonalAfter(t, berlin, monday, change, 10*minute)
	nine := time.Date(2026, 10, 26, 9, 0, 0, 0, berlin).UnixMilli() // winter time now
	if got := process(t, s, nine, []float64{1000}, true); got > 3 {
		t.Errorf("a busy nine o'clock after the change of clocks scores %v", got)
	}
	if got := process(t, s, nine+8*hourMs, []float64{1000}, true); got < 8 {
		t.Errorf("a busy five o'clock after the change of clocks scores %v", got)
	}
}

// An hour of the week keeps at most six values of each visit, so that 32 values
// are five weeks and not the last half hour.
func TestSeasonalRemembersWeeks(t *testing.T) {
	s, err := NewSeasonal(SeasonalSettings{Features: 1})
	if err != nil {
		t.Fatal(err)
	}
	for week := range int64(4) {
		for m := range int64(60) {
			process(t, s, week*hoursPerWeek*hourMs+m*minute, []float64{float64(week)}, false)
		}
	}
	h := &s.tracks[0].hours[0]
	if len(h.values) != 24 || h.values[0] != 0 || h.values[23] != 3 || h.visits != 4 {
		t.Errorf("an hour seen four times keeps %v over %d visits", h.values, h.visits)
	}
}

func TestHoursBefore1970(t *testing.T) {
	f := func(a, b, want int64) {
		t.Helper()
		if got := floorDiv(a, b); got != want {
			t.Errorf("floorDiv(%d, %d) = %d, want %d", a, b, got, want)
		}
	}
	f(7, 3, 2)
	f(-7, 3, -3)
	f(-6, 3, -2)
	f(0, 3, 0)
	if h := hourOfWeek(-1); h != hoursPerWeek-1 {
		t.Errorf("the hour before 1970 is hour %d of the week", h)
	}
}
