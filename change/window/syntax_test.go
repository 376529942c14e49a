package window_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// The oracle of this file knows instants and the offsets of zones. A schedule
// is to it a condition on what the clock on the wall shows, and it walks the
// clock minute by minute; only the text of the schedule is shared.

// wall is the days around a change of the clock, each minute as the clock
// shows it.
type wall struct {
	zone  *time.Location
	from  time.Time
	shown []time.Time // as the same numbers in UTC
	// moments are the times that count, once each: a minute that is shown twice
	// the first time, one that is skipped as if the clock had gone on as before.
	moments []moment
}

// moment is an instant and what the clock shows then.
type moment struct{ at, shown time.Time }

const around = 30 * 24 * time.Hour // before and after a change

func newWall(t testing.TB, zone, day string) *wall {
	t.Helper()
	z, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	w := &wall{zone: z, from: at(day).Add(-around - 48*time.Hour)}
	for i := w.from; i.Before(at(day).Add(around)); i = i.Add(time.Minute) {
		y, mo, d := i.In(z).Date()
		h, mi, _ := i.In(z).Clock()
		w.shown = append(w.shown, time.Date(y, mo, d, h, mi, 0, 0, time.UTC))
	}
	last := w.shown[0].Add(-time.Minute)
	for i, now := range w.shown {
		t := w.from.Add(time.Duration(i) * time.Minute)
		for s, late := last.Add(time.Minute), time.Duration(0); s.Before(now); s, late = s.Add(time.Minute), late+time.Minute {
			w.moments = append(w.moments, moment{t.Add(late), s})
		}
		if now.After(last) {
			w.moments = append(w.moments, moment{t, now})
			last = now
		}
	}
	return w
}

// starts returns when a schedule opens that is a condition on the time shown.
func (w *wall) starts(holds func(shown time.Time) bool) []time.Time {
	var out []time.Time
	for _, m := range w.moments {
		if holds(m.shown) {
			out = append(out, m.at)
		}
	}
	return w.within(out)
}

func (w *wall) within(out []time.Time) []time.Time {
	sort.Slice(out, func(i, j int) bool { return out[i].Before(out[j]) })
	out = slices.CompactFunc(out, time.Time.Equal)
	first := w.from.Add(48 * time.Hour)
	return slices.DeleteFunc(out, func(t time.Time) bool {
		return t.Before(first) || !t.Before(w.from.Add(time.Duration(len(w.shown))*time.Minute-26*time.Hour))
	})
}

// drawn is a schedule in a syntax, and what it means.
type drawn struct {
	window ops.Window
	want   func(w *wall) []time.Time
}

func said(f func(time.Time) bool) func(*wall) []time.Time {
	return func(w *wall) []time.Time { return w.starts(f) }
}

func some(r *rand.Rand, low, high, most int) []int {
	out := r.Perm(high - low + 1)[:1+r.IntN(most)]
	for i := range out {
		out[i] += low
	}
	slices.Sort(out)
	return out
}

func listed(in []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(in), " ", ","), "[]")
}

var dayNames = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

// month says of a date how many days its month has.
func month(t time.Time) int { return time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day() }

// clockFields draws minute and hour of a cron expression.
func clockFields(r *rand.Rand) (text string, holds func(time.Time) bool) {
	var minute, hour func(int) bool
	var a, b string
	in := func(set []int) func(int) bool { return func(n int) bool { return slices.Contains(set, n) } }
	switch r.IntN(4) {
	case 0:
		from, step := r.IntN(60), 1+r.IntN(59)
		a, minute = fmt.Sprintf("%d/%d", from, step), func(n int) bool { return n >= from && (n-from)%step == 0 }
	case 1:
		from := r.IntN(50)
		a, minute = fmt.Sprintf("%d-%d", from, from+3), func(n int) bool { return n >= from && n <= from+3 }
	default:
		set := some(r, 0, 59, 3)
		a, minute = listed(set), in(set)
	}
	switch r.IntN(4) {
	case 0:
		step := 1 + r.IntN(12)
		b, hour = fmt.Sprintf("*/%d", step), func(n int) bool { return n%step == 0 }
	default:
		set := some(r, 0, 4, 3) // where clocks move
		b, hour = listed(set), in(set)
	}
	return a + " " + b, func(t time.Time) bool { return minute(t.Minute()) && hour(t.Hour()) }
}

// dayFields draws the day fields of AWS.
func dayFields(r *rand.Rand) (dom, dow string, holds func(time.Time) bool) {
	weekday := func(t time.Time) bool { return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday }
	nearest := func(t time.Time, day int) bool { // t is the weekday nearest to a day of its month
		target := time.Date(t.Year(), t.Month(), day, 0, 0, 0, 0, time.UTC)
		if target.Month() != t.Month() || !weekday(t) {
			return false
		}
		best, distance := time.Time{}, 99
		for d := 1; d <= month(t); d++ {
			x := time.Date(t.Year(), t.Month(), d, 0, 0, 0, 0, time.UTC)
			if away := max(d-day, day-d); weekday(x) && away < distance {
				best, distance = x, away
			}
		}
		return best.Day() == t.Day()
	}
	n, k := r.IntN(7), 1+r.IntN(5)
	day := 1 + r.IntN(31)
	name := func(n int) string {
		if r.IntN(2) == 0 {
			return dayNames[n]
		}
		return fmt.Sprint(n + 1) // 1 is Sunday
	}
	switch r.IntN(9) {
	case 0:
		return "*", "?", func(time.Time) bool { return true }
	case 1:
		set := some(r, 1, 31, 5)
		return listed(set), "?", func(t time.Time) bool { return slices.Contains(set, t.Day()) }
	case 2:
		return "L", "?", func(t time.Time) bool { return t.Day() == month(t) }
	case 3:
		return fmt.Sprintf("%dW", day), "?", func(t time.Time) bool { return nearest(t, day) }
	case 4:
		return "LW", "?", func(t time.Time) bool { return nearest(t, month(t)) }
	case 5:
		return "?", fmt.Sprintf("%s#%d", name(n), k), func(t time.Time) bool { return int(t.Weekday()) == n && (t.Day()+6)/7 == k }
	case 6:
		return "?", name(n) + "L", func(t time.Time) bool { return int(t.Weekday()) == n && t.Day() > month(t)-7 }
	case 7:
		from := r.IntN(5)
		return "?", name(from) + "-" + name(from+2), func(t time.Time) bool { return int(t.Weekday()) >= from && int(t.Weekday()) <= from+2 }
	}
	set := some(r, 1, 7, 4)
	return "?", listed(set), func(t time.Time) bool { return slices.Contains(set, int(t.Weekday())+1) }
}

func drawAmazon(r *rand.Rand, w *wall) drawn {
	clock, onClock := clockFields(r)
	dom, dow, onDay := dayFields(r)
	year := w.shown[len(w.shown)/2].Year()
	months, years := "*", "*"
	inMonth := func(time.Time) bool { return true }
	if r.IntN(3) == 0 {
		m := int(w.shown[len(w.shown)/2].Month())
		months, inMonth = []string{fmt.Sprint(m), strings.ToUpper(time.Month(m).String()[:3]), fmt.Sprintf("%d/1", m)}[r.IntN(2)], func(t time.Time) bool { return int(t.Month()) == m }
	}
	if r.IntN(3) == 0 {
		years = fmt.Sprintf("%d-%d", year-1, year+1)
	}
	text := clock + " " + dom + " " + months + " " + dow
	if r.IntN(2) == 0 && dom != "?" || r.IntN(2) == 0 && years == "*" && dom == "?" {
		text = "0 " + text // seconds in front, the year may be left out
		if years != "*" || r.IntN(2) == 0 {
			text += " " + years
		}
	} else {
		text += " " + years
	}
	offset := 0
	if r.IntN(4) == 0 {
		offset = 1 + r.IntN(6)
	}
	return drawn{ops.Window{Schedule: "cron(" + text + ")", OffsetDays: offset}, said(func(t time.Time) bool {
		if !onClock(t) {
			return false
		}
		d := t.AddDate(0, 0, -offset)
		return onDay(d) && inMonth(d)
	})}
}

func drawUnix(r *rand.Rand, _ *wall) drawn {
	clock, onClock := clockFields(r)
	days, weekdays := some(r, 1, 31, 4), some(r, 0, 7, 3)
	onDay := func(t time.Time) bool { return slices.Contains(days, t.Day()) }
	onWeekday := func(t time.Time) bool {
		return slices.Contains(weekdays, int(t.Weekday())) || t.Weekday() == 0 && slices.Contains(weekdays, 7)
	}
	switch r.IntN(4) {
	case 0:
		return drawn{ops.Window{Schedule: clock + " * * *"}, said(onClock)}
	case 1:
		return drawn{ops.Window{Schedule: clock + " " + listed(days) + " * *"}, said(func(t time.Time) bool { return onClock(t) && onDay(t) })}
	case 2:
		return drawn{ops.Window{Schedule: clock + " * * " + listed(weekdays)}, said(func(t time.Time) bool { return onClock(t) && onWeekday(t) })}
	}
	return drawn{ops.Window{Schedule: clock + " " + listed(days) + " * " + listed(weekdays)}, said(func(t time.Time) bool { return onClock(t) && (onDay(t) || onWeekday(t)) })}
}

func drawRate(r *rand.Rand, w *wall) drawn {
	every := time.Duration(1+r.IntN(2000)) * time.Minute
	text := fmt.Sprintf("rate(%d minutes)", int(every.Minutes()))
	if r.IntN(2) == 0 {
		every = time.Duration(1+r.IntN(9)) * 24 * time.Hour
		text = fmt.Sprintf("rate(%d days)", int(every.Hours())/24)
	}
	from := w.from.Add(time.Duration(r.IntN(9*24*60)) * time.Minute)
	return drawn{ops.Window{Schedule: text, From: from}, func(w *wall) []time.Time {
		var out []time.Time
		for t := from; t.Before(w.from.Add(2*around + 48*time.Hour)); t = t.Add(every) {
			out = append(out, t)
		}
		return w.within(out)
	}}
}

func drawAt(r *rand.Rand, w *wall) drawn {
	i := r.IntN(len(w.shown))
	shown := w.shown[i].Add(time.Duration(r.IntN(3)-1) * 30 * time.Minute) // now and then one that is skipped
	return drawn{ops.Window{Schedule: "at(" + shown.Format("2006-01-02T15:04:05") + ")"}, said(shown.Equal)}
}

var ruleDayNames = []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// drawRule draws a recurrence rule and says for each date whether it is one.
// Where it counts, the dates before the wall begins count too.
func drawRule(r *rand.Rand, w *wall) drawn {
	begin := w.shown[r.IntN(3*24*60)]
	if r.IntN(2) == 0 {
		begin = begin.AddDate(0, 0, -r.IntN(2000))
	}
	begin = begin.Truncate(24 * time.Hour).Add(time.Duration(r.IntN(5*60)) * time.Minute) // where clocks move
	day := begin.Truncate(24 * time.Hour)
	interval := 1 + r.IntN(4)
	daysFrom := func(t time.Time) int { return int(t.Truncate(24*time.Hour).Sub(day).Hours() / 24) }
	clock := func(t time.Time) bool { return t.Hour() == begin.Hour() && t.Minute() == begin.Minute() }
	stride, text := 24*time.Hour, ""
	var holds func(t time.Time) bool
	switch r.IntN(8) {
	case 0:
		text = fmt.Sprintf("FREQ=DAILY;INTERVAL=%d", interval)
		holds = func(t time.Time) bool { return daysFrom(t)%interval == 0 }
	case 1:
		set := some(r, 0, 6, 3)
		wkst := r.IntN(7)
		var names []string
		for _, n := range set {
			names = append(names, ruleDayNames[n])
		}
		text = fmt.Sprintf("FREQ=WEEKLY;INTERVAL=%d;BYDAY=%s;WKST=%s", interval, strings.Join(names, ","), ruleDayNames[wkst])
		monday := day.AddDate(0, 0, -((int(day.Weekday()) - wkst + 7) % 7))
		holds = func(t time.Time) bool {
			return slices.Contains(set, int(t.Weekday())) && int(t.Truncate(24*time.Hour).Sub(monday).Hours()/24/7)%interval == 0
		}
	case 2:
		text = fmt.Sprintf("FREQ=WEEKLY;INTERVAL=%d", interval)
		holds = func(t time.Time) bool { return daysFrom(t)%(7*interval) == 0 }
	case 3, 4:
		inMonth := func(t time.Time) bool { return ((t.Year()-day.Year())*12+int(t.Month()-day.Month()))%interval == 0 }
		if n, k := r.IntN(7), 1+r.IntN(5); r.IntN(2) == 0 {
			if r.IntN(2) == 0 {
				text = fmt.Sprintf("FREQ=MONTHLY;INTERVAL=%d;BYDAY=%d%s", interval, k, ruleDayNames[n])
				holds = func(t time.Time) bool { return inMonth(t) && int(t.Weekday()) == n && (t.Day()+6)/7 == k }
			} else {
				text = fmt.Sprintf("FREQ=MONTHLY;INTERVAL=%d;BYDAY=-%d%s", interval, k, ruleDayNames[n])
				holds = func(t time.Time) bool { return inMonth(t) && int(t.Weekday()) == n && (month(t)-t.Day())/7+1 == k }
			}
		} else {
			from := 1 + r.IntN(28)
			text = fmt.Sprintf("FREQ=MONTHLY;INTERVAL=%d;BYMONTHDAY=%d,-%d", interval, from, k)
			holds = func(t time.Time) bool { return inMonth(t) && (t.Day() == from || t.Day() == month(t)+1-k) }
		}
	case 5: // the last weekday of the month
		text = "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"
		holds = func(t time.Time) bool {
			last := time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC)
			for last.Weekday() == 0 || last.Weekday() == 6 {
				last = last.AddDate(0, 0, -1)
			}
			return t.Day() == last.Day()
		}
	case 6:
		m := w.shown[len(w.shown)/2].Month()
		n := r.IntN(7)
		text = fmt.Sprintf("FREQ=YEARLY;BYMONTH=%d;BYDAY=%s", int(m), ruleDayNames[n])
		holds = func(t time.Time) bool { return t.Month() == m && int(t.Weekday()) == n }
	default:
		every := []int{1, 2, 3, 4, 6, 5, 7, 25}[r.IntN(8)]
		text = fmt.Sprintf("FREQ=HOURLY;INTERVAL=%d", every)
		holds = func(t time.Time) bool { return int(t.Sub(begin.Truncate(time.Hour)).Hours())%every == 0 }
		stride, clock = time.Hour, func(t time.Time) bool { return t.Minute() == begin.Minute() }
	}
	matches := func(t time.Time) bool { return !t.Before(begin) && clock(t) && holds(t) }
	end := func(time.Time) bool { return true }
	switch r.IntN(5) {
	case 0:
		last := w.shown[len(w.shown)/2+r.IntN(20*24*60)]
		text += ";UNTIL=" + last.Format("20060102T150405")
		end = func(t time.Time) bool { return !t.After(last) }
	case 1:
		count := 1 + r.IntN(200)
		var dates []time.Time
		for t := begin; len(dates) < count && t.Before(w.shown[len(w.shown)-1].AddDate(0, 0, 3)); t = t.Add(stride) {
			if holds(t) {
				dates = append(dates, t)
			}
		}
		text += fmt.Sprintf(";COUNT=%d", count)
		end = func(t time.Time) bool { return len(dates) < count || !t.After(dates[len(dates)-1]) }
	}
	full := func(t time.Time) bool { return matches(t) && end(t) }
	out := drawn{window: ops.Window{RRule: text, Start: begin.Format("2006-01-02T15:04")}}
	if r.IntN(2) == 0 {
		out.want = said(full)
		return out
	}
	// The same as an event, with a date more and one less.
	var rdate, exdate time.Time
	rdate = w.shown[len(w.shown)/2+r.IntN(2000)].Truncate(time.Minute)
	for t := w.shown[len(w.shown)/2]; t.Before(w.shown[len(w.shown)-1]); t = t.Add(time.Minute) {
		if full(t) {
			exdate = t
			break
		}
	}
	lines := []string{"DTSTART;TZID=" + w.zone.String() + ":" + begin.Format("20060102T150405"), "RRULE:" + text, "RDATE;TZID=" + w.zone.String() + ":" + rdate.Format("20060102T150405"), "DURATION:PT1H"}
	if !exdate.IsZero() {
		lines = append(lines, "EXDATE;TZID="+w.zone.String()+":"+exdate.Format("20060102T150405"))
	}
	out.window = ops.Window{ICal: strings.Join(lines, "\n")}
	out.want = func(w *wall) []time.Time {
		left := w.starts(exdate.Equal) // an instant that is left out is left out by whatever name
		return slices.DeleteFunc(w.starts(func(t time.Time) bool { return full(t) || t.Equal(rdate) }), func(t time.Time) bool {
			return slices.ContainsFunc(left, t.Equal)
		})
	}
	return out
}

// TestSchedulesEqualTheWallClock draws schedules in every syntax over the days
// around each change of the clock of their zone.
func TestSchedulesEqualTheWallClock(t *testing.T) {
	runs := 88
	if peer.Proving() {
		runs = 10_000
	}
	walls := make([]*wall, len(oraclePlaces))
	for i, p := range oraclePlaces {
		walls[i] = newWall(t, p.zone, p.day)
	}
	kinds := []func(*rand.Rand, *wall) drawn{drawAmazon, drawAmazon, drawUnix, drawRate, drawAt, drawRule, drawRule, drawRule}
	opened := 0
	for run := range runs {
		r := rand.New(rand.NewPCG(4, uint64(run)))
		i := run % len(walls)
		place := walls[i]
		d := kinds[run/len(walls)%len(kinds)](r, place)
		d.window.Name, d.window.TimeZone, d.window.Duration = "w", place.zone.String(), time.Hour
		text := strings.Join([]string{d.window.Schedule, d.window.RRule, d.window.Start, d.window.ICal}, " ")
		want := d.want(place)
		w, err := window.Compile(d.window)
		if err != nil {
			if len(want) == 0 && strings.Contains(err.Error(), "never") {
				continue
			}
			t.Fatalf("run %d: %s in %s: %v", run, text, place.zone, err)
		}
		opened += len(want)
		from, to := place.from.Add(48*time.Hour), place.from.Add(time.Duration(len(place.shown))*time.Minute-26*time.Hour)
		var got []time.Time
		for _, o := range w.Next(from.Add(-time.Second), len(want)+1) {
			if o.Start.Before(to) {
				got = append(got, o.Start)
			}
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("run %d: %s offset %d in %s:\n got %s\nwant %s", run, text, d.window.OffsetDays, place.zone, differ(got, want), differ(want, got))
		}
		for range 5 { // At agrees with the last start before any instant
			probe := from.Add(time.Duration(60+r.IntN(int(to.Sub(from).Minutes())-120)) * time.Minute)
			if len(want) > 0 && r.IntN(2) == 0 {
				probe = want[r.IntN(len(want))].Add(time.Duration(r.IntN(61)-1) * time.Minute)
			}
			var open time.Time
			for _, start := range want {
				if !start.After(probe) && probe.Before(start.Add(time.Hour)) {
					open = start
				}
			}
			if probe.Sub(from) < time.Hour {
				continue
			}
			if o, ok := w.At(probe); ok != !open.IsZero() || (ok && !o.Start.Equal(open)) {
				t.Fatalf("run %d: %s in %s at %s: %v %v, want %v", run, text, place.zone, probe, o, ok, open)
			}
		}
	}
	if opened < runs {
		t.Errorf("%d schedules opened %d times; the draw has become poor", runs, opened)
	}
	t.Logf("%d schedules, %d openings", runs, opened)
}

// differ shows what only the first list has.
func differ(a, b []time.Time) string {
	var out []string
	for _, t := range a {
		if !slices.ContainsFunc(b, t.Equal) && len(out) < 6 {
			out = append(out, t.Format(time.RFC3339))
		}
	}
	return fmt.Sprintf("%d, alone with %v", len(a), out)
}
