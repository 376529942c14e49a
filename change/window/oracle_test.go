package window_test

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
)

// The oracle knows a schedule as sets of numbers and walks every minute of the
// clock on the wall. It shares nothing with the package but the text that is
// written from the sets.

type oracleSchedule struct {
	minutes, hours, weekdays []int // weekdays 0..6, Sunday first
}

func (s oracleSchedule) cron(r *rapid.T) string {
	list := func(in []int, add int) string {
		out := make([]string, len(in))
		for i, n := range in {
			out[i] = fmt.Sprint(n + add)
		}
		return strings.Join(out, ",")
	}
	if rapid.Bool().Draw(r, "amazon") {
		return fmt.Sprintf("cron(%s %s ? * %s *)", list(s.minutes, 0), list(s.hours, 0), list(s.weekdays, 1))
	}
	return fmt.Sprintf("%s %s * * %s", list(s.minutes, 0), list(s.hours, 0), list(s.weekdays, 0))
}

func (s oracleSchedule) has(wall time.Time) bool {
	return slices.Contains(s.minutes, wall.Minute()) && slices.Contains(s.hours, wall.Hour()) && slices.Contains(s.weekdays, int(wall.Weekday()))
}

// starts walks the instants from..to minute by minute. A time on the wall
// counts the first time it is seen; times the wall skips count as if it had
// gone on as before.
func (s oracleSchedule) starts(zone *time.Location, from, to time.Time) []time.Time {
	wallAt := func(t time.Time) time.Time {
		y, mo, d := t.In(zone).Date()
		h, mi, _ := t.In(zone).Clock()
		return time.Date(y, mo, d, h, mi, 0, 0, time.UTC)
	}
	seen := map[int64]bool{}
	var out []time.Time
	last := wallAt(from.Add(-49 * time.Hour))
	for t := from.Add(-48 * time.Hour).Truncate(time.Minute); t.Before(to); t = t.Add(time.Minute) {
		wall := wallAt(t)
		for skipped, late := last.Add(time.Minute), time.Duration(0); skipped.Before(wall) && len(seen) > 0; skipped, late = skipped.Add(time.Minute), late+time.Minute {
			if s.has(skipped) {
				out = append(out, t.Add(late))
			}
		}
		if !seen[wall.Unix()] && s.has(wall) {
			out = append(out, t)
		}
		seen[wall.Unix()] = true
		if wall.After(last) || len(seen) == 1 {
			last = wall
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Before(out[j]) })
	out = slices.CompactFunc(out, time.Time.Equal)
	return slices.DeleteFunc(out, func(t time.Time) bool { return t.Before(from) || !t.Before(to) })
}

// Places and days on which clocks move, in both hemispheres, by an hour, by
// half an hour and by a day, and a place where they never do.
var oraclePlaces = []struct{ zone, day string }{
	{"America/New_York", "2026-03-08T00:00:00Z"},
	{"America/New_York", "2026-11-01T00:00:00Z"},
	{"Europe/Berlin", "2026-03-29T00:00:00Z"},
	{"Europe/Berlin", "2026-10-25T00:00:00Z"},
	{"Australia/Lord_Howe", "2026-10-03T12:00:00Z"},
	{"Australia/Lord_Howe", "2026-04-04T12:00:00Z"},
	{"America/Santiago", "2026-09-06T00:00:00Z"},
	{"America/Santiago", "2026-04-05T00:00:00Z"},
	{"Pacific/Apia", "2011-12-30T10:00:00Z"},
	{"Asia/Kolkata", "2026-03-29T00:00:00Z"},
	{"UTC", "2026-06-01T00:00:00Z"},
}

func drawSchedule(r *rapid.T) oracleSchedule {
	set := func(name string, low, high, most int) []int {
		return rapid.SliceOfNDistinct(rapid.IntRange(low, high), 1, most, rapid.ID[int]).Draw(r, name)
	}
	return oracleSchedule{set("minutes", 0, 59, 4), set("hours", 0, 5, 4), set("weekdays", 0, 6, 7)}
}

func TestStartsEqualTheWallClock(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		place := rapid.SampledFrom(oraclePlaces).Draw(r, "place")
		zone, err := time.LoadLocation(place.zone)
		if err != nil {
			r.Fatal(err)
		}
		s := drawSchedule(r)
		w, err := window.Compile(ops.Window{Name: "w", Schedule: s.cron(r), TimeZone: place.zone, Duration: time.Hour})
		if err != nil {
			r.Fatal(err)
		}
		from := at(place.day).Add(-time.Duration(rapid.IntRange(0, 3*24*60).Draw(r, "before")) * time.Minute)
		to := from.Add(5 * 24 * time.Hour)
		want := s.starts(zone, from, to)
		var got []time.Time
		for _, o := range w.Next(from.Add(-time.Second), len(want)+1) {
			if o.Start.Before(to) {
				got = append(got, o.Start)
			}
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			r.Fatalf("%s in %s from %s:\n got %v\nwant %v", w.Schedule, place.zone, from, got, want)
		}
		// At agrees with the last start before any instant.
		probe := from.Add(time.Duration(rapid.IntRange(60, 5*24*60-1).Draw(r, "probe")) * time.Minute)
		var open time.Time
		for _, start := range want {
			if !start.After(probe) && probe.Before(start.Add(time.Hour)) {
				open = start
			}
		}
		if o, ok := w.At(probe); ok != !open.IsZero() || (ok && !o.Start.Equal(open)) {
			r.Fatalf("%s at %s: %v %v, want %v", w.Schedule, probe, o, ok, open)
		}
	})
}

func TestDecideFindsTheFirstMinute(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		place := rapid.SampledFrom(oraclePlaces).Draw(r, "place")
		zone, err := time.LoadLocation(place.zone)
		if err != nil {
			r.Fatal(err)
		}
		now := at(place.day).Add(-time.Duration(rapid.IntRange(0, 24*60).Draw(r, "before")) * time.Minute)
		horizon := now.Add(4 * 24 * time.Hour)
		minutes := func(name string, low, high int) time.Duration {
			return time.Duration(rapid.IntRange(low, high).Draw(r, name)) * time.Minute
		}
		type span struct{ from, to, cutoff time.Time }
		var allow, deny []span
		var windows, freezes []*window.Window
		for i := range rapid.IntRange(1, 3).Draw(r, "windows") {
			s, length := drawSchedule(r), minutes("length", 10, 300)
			cutoff := minutes("cutoff", 0, 9)
			w, err := window.Compile(ops.Window{Name: fmt.Sprintf("w%d", i), Schedule: s.cron(r), TimeZone: place.zone, Duration: length, Cutoff: cutoff})
			if err != nil {
				r.Fatal(err)
			}
			windows = append(windows, w)
			for _, start := range s.starts(zone, now.Add(-300*time.Minute), horizon.Add(24*time.Hour)) {
				allow = append(allow, span{start, start.Add(length), start.Add(length - cutoff)})
			}
		}
		for i := range rapid.IntRange(0, 3).Draw(r, "freezes") {
			w := ops.Window{Name: fmt.Sprintf("f%d", i), Deny: true, TimeZone: place.zone}
			if rapid.Bool().Draw(r, "recurring") {
				s := drawSchedule(r)
				w.Schedule, w.Duration = s.cron(r), minutes("frozen", 1, 600)
				for _, start := range s.starts(zone, now.Add(-600*time.Minute), horizon.Add(24*time.Hour)) {
					deny = append(deny, span{from: start, to: start.Add(w.Duration)})
				}
			} else {
				w.From = now.Add(minutes("from", -600, 3*24*60))
				w.To = w.From.Add(minutes("to", 1, 24*60))
				deny = append(deny, span{from: w.From, to: w.To})
			}
			f, err := window.Compile(w)
			if err != nil {
				r.Fatal(err)
			}
			freezes = append(freezes, f)
		}
		need := minutes("need", 0, 320)
		var want time.Time
	search:
		for m := now; m.Before(horizon); m = m.Add(time.Minute) {
			for _, f := range deny {
				if f.from.Before(m.Add(need)) && m.Before(f.to) || (!m.Before(f.from) && m.Before(f.to)) {
					continue search
				}
			}
			may, covered := false, m // some window is open all the while
			for _, a := range allow {
				may = may || !m.Before(a.from) && m.Before(a.cutoff)
			}
			for grown := true; grown; {
				grown = false
				for _, a := range allow {
					if !covered.Before(a.from) && covered.Before(a.to) {
						covered, grown = a.to, true
					}
				}
			}
			if may && !m.Add(need).After(covered) {
				want = m
				break search
			}
		}
		d := window.Decide(now, need, windows, freezes)
		got := d.Until
		if d.Start {
			got = now
		}
		if !got.Before(horizon) {
			got = time.Time{}
		}
		if !got.Equal(want) {
			r.Fatalf("need %s at %s: %v (%s), want %v\nallow %v\ndeny %v", need, now, got, d.Why, want, allow, deny)
		}
		if !got.IsZero() && (got.Before(d.In.Start) || !got.Before(d.In.Cutoff) || got.Add(need).After(d.In.End)) {
			r.Fatalf("starts at %v outside %+v", got, d.In)
		}
	})
}
