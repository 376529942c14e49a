package window

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// dialect tells the two ways to write cron apart.
type dialect int

const (
	// unix is five fields: minute, hour, day of month, month, day of week with
	// 0 and 7 for Sunday. When both day fields are restricted either matches.
	unix dialect = iota
	// amazon is six fields, the sixth the year, or seven with seconds in front
	// (which must be 0); 1 is Sunday; exactly one day field is "?"; L, W and #
	// are understood.
	amazon
)

// The years a schedule may name, as in AWS.
const (
	firstYear = 1970
	lastYear  = 2199
)

// cron is a parsed cron expression.
type cron struct {
	zone    *time.Location
	minutes uint64 // bit n: minute n
	hours   uint64
	months  uint64
	years   [4]uint64 // bit n: firstYear+n

	days        uint64 // of the month
	nearest     uint64 // nW: the weekday nearest to day n
	lastDay     bool   // L
	lastWeekday bool   // LW: the last weekday of the month

	weekdays uint64    // bit 0: Sunday
	nth      [6]uint64 // n#k: bit of the weekday in nth[k]
	last     uint64    // nL: the last such weekday of the month

	anyDay, anyWeekday bool // the field restricts nothing
	either             bool // both restrict and one is enough
	offset             int  // days that a start is put off
}

var (
	monthNames   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdayNames = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

func parseCron(text string, d dialect, zone *time.Location) (*cron, error) {
	fields := strings.Fields(text)
	if d == amazon && (len(fields) == 7 || secondsWithoutYear(fields)) {
		if fields[0] != "0" {
			return nil, fmt.Errorf("seconds %q: windows open on the minute, write 0", fields[0])
		}
		if fields = fields[1:]; len(fields) == 5 {
			fields = append(fields, "*")
		}
	}
	if want := map[dialect]int{unix: 5, amazon: 6}[d]; len(fields) != want {
		return nil, fmt.Errorf("has %d fields, cron(...) takes six (minute hour day month weekday year) and plain cron five", len(fields))
	}
	c := &cron{zone: zone}
	var err error
	if c.minutes, err = parseSet("minute", fields[0], 0, 59, nil); err != nil {
		return nil, err
	}
	if c.hours, err = parseSet("hour", fields[1], 0, 23, nil); err != nil {
		return nil, err
	}
	if err := c.parseDays(fields[2], d); err != nil {
		return nil, err
	}
	if c.months, err = parseSet("month", fields[3], 1, 12, monthNames); err != nil {
		return nil, err
	}
	if err := c.parseWeekdays(fields[4], d); err != nil {
		return nil, err
	}
	year := "*"
	if d == amazon {
		if (fields[2] == "?") == (fields[4] == "?") {
			return nil, errors.New("exactly one of day of month and day of week must be ?")
		}
		year = fields[5]
	} else {
		// As Vixie's cron has it: a field that begins with * does not restrict.
		c.either = fields[2][0] != '*' && fields[4][0] != '*'
	}
	if err := c.parseYears(year); err != nil {
		return nil, err
	}
	if !c.ever() {
		return nil, errors.New("names a day that never comes: look at day of month, month, day of week and year together")
	}
	return c, nil
}

// secondsWithoutYear tells the form of AWS that has seconds and leaves out the
// year, as in 0 15 10 ? * MON-FRI, from the one that has a year: its ? stands
// one field later.
func secondsWithoutYear(fields []string) bool {
	return len(fields) == 6 && (fields[3] == "?" || fields[5] == "?") && fields[2] != "?" && fields[4] != "?"
}

func (c *cron) parseDays(field string, d dialect) error {
	if field == "*" || (field == "?" && d == amazon) {
		c.anyDay = true
		return nil
	}
	for part := range strings.SplitSeq(field, ",") {
		switch day, isNearest := strings.CutSuffix(part, "W"); {
		case d == amazon && part == "L":
			c.lastDay = true
		case d == amazon && part == "LW":
			c.lastWeekday = true
		case d == amazon && isNearest:
			n, err := parseNumber("day of month", day, 1, 31, nil)
			if err != nil {
				return err
			}
			c.nearest |= 1 << n
		default:
			set, err := parseSet("day of month", part, 1, 31, nil)
			if err != nil {
				return err
			}
			c.days |= set
		}
	}
	return nil
}

func (c *cron) parseWeekdays(field string, d dialect) error {
	if field == "*" || (field == "?" && d == amazon) {
		c.anyWeekday = true
		return nil
	}
	low, high := 0, 7
	if d == amazon {
		low, high = 1, 7
	}
	shift := func(n int) int { return (n - low) % 7 }
	for part := range strings.SplitSeq(field, ",") {
		day, count, isNth := strings.Cut(part, "#")
		onlyLast, isLast := strings.CutSuffix(part, "L")
		switch {
		case d == amazon && isNth:
			n, err := parseNumber("day of week", day, low, high, weekdayNames)
			if err != nil {
				return err
			}
			k, err := parseNumber("occurrence in the month", count, 1, 5, nil)
			if err != nil {
				return err
			}
			c.nth[k] |= 1 << shift(n)
		case d == amazon && part == "L":
			c.weekdays |= 1 << 6 // Saturday, the last day of the week
		case d == amazon && isLast:
			n, err := parseNumber("day of week", onlyLast, low, high, weekdayNames)
			if err != nil {
				return err
			}
			c.last |= 1 << shift(n)
		default:
			set, err := parseSet("day of week", part, low, high, weekdayNames)
			if err != nil {
				return err
			}
			for set != 0 {
				n := bits.TrailingZeros64(set)
				set &^= 1 << n
				c.weekdays |= 1 << shift(n)
			}
		}
	}
	return nil
}

func (c *cron) parseYears(field string) error {
	for part := range strings.SplitSeq(field, ",") {
		from, to, step, err := parseRange("year", part, firstYear, lastYear, nil)
		if err != nil {
			return err
		}
		for y := from; y <= to; y += step {
			c.years[(y-firstYear)/64] |= 1 << ((y - firstYear) % 64)
		}
	}
	return nil
}

func parseSet(what, field string, low, high int, names []string) (uint64, error) {
	var set uint64
	for part := range strings.SplitSeq(field, ",") {
		from, to, step, err := parseRange(what, part, low, high, names)
		if err != nil {
			return 0, err
		}
		for n := from; n <= to; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}

// parseRange reads *, n, n-m, each with an optional /step; n/step runs to the end.
func parseRange(what, part string, low, high int, names []string) (from, to, step int, err error) {
	span, stepText, stepped := strings.Cut(part, "/")
	step = 1
	if stepped {
		if step, err = parseNumber("step of "+what, stepText, 1, high, nil); err != nil {
			return 0, 0, 0, err
		}
	}
	if span == "*" {
		return low, high, step, nil
	}
	first, second, ranged := strings.Cut(span, "-")
	if from, err = parseNumber(what, first, low, high, names); err != nil {
		return 0, 0, 0, err
	}
	switch to = from; {
	case ranged:
		if to, err = parseNumber(what, second, low, high, names); err != nil {
			return 0, 0, 0, err
		}
		if to < from {
			return 0, 0, 0, fmt.Errorf("%s %q runs backwards; write two parts with a comma", what, part)
		}
	case stepped:
		to = high
	}
	return from, to, step, nil
}

func parseNumber(what, text string, low, high int, names []string) (int, error) {
	for i, n := range names {
		if strings.EqualFold(text, n) {
			return i + low, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high || text[0] == '+' {
		return 0, fmt.Errorf("%s %q is not within %d to %d", what, text, low, high)
	}
	return n, nil
}

// ever reports whether any day between firstYear and lastYear matches.
func (c *cron) ever() bool {
	_, ok := c.day(date(firstYear, 1, 1), 1)
	return ok
}

func date(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }

// day returns the first matching date from d on, in the direction of step.
func (c *cron) day(d time.Time, step int) (time.Time, bool) {
	for {
		y, m, _ := d.Date()
		switch {
		case y < firstYear && step < 0, y > lastYear && step > 0:
			return time.Time{}, false
		case y < firstYear:
			d = date(firstYear, 1, 1)
		case y > lastYear:
			d = date(lastYear, 12, 31)
		case c.years[(y-firstYear)/64]>>((y-firstYear)%64)&1 == 0:
			d = date(y+1, 1, 1)
			if step < 0 {
				d = date(y-1, 12, 31)
			}
		case c.months>>int(m)&1 == 0:
			d = date(y, int(m)+1, 1)
			if step < 0 {
				d = date(y, int(m), 0)
			}
		case c.matches(d):
			return d, true
		default:
			d = d.Add(time.Duration(step) * day)
		}
	}
}

// matches reports whether the day fields match a date of a matching month.
func (c *cron) matches(d time.Time) bool {
	byDay, byWeekday := c.anyDay || c.dayMatches(d), c.anyWeekday || c.weekdayMatches(d)
	if c.either {
		return byDay || byWeekday
	}
	return byDay && byWeekday
}

func (c *cron) dayMatches(d time.Time) bool {
	y, m, day := d.Date()
	length := date(y, int(m)+1, 0).Day()
	if c.days>>day&1 == 1 || (c.lastDay && day == length) {
		return true
	}
	if c.lastWeekday && day == nearestWeekday(y, int(m), length, length) {
		return true
	}
	for set := c.nearest; set != 0; set &= set - 1 {
		if n := bits.TrailingZeros64(set); n <= length && day == nearestWeekday(y, int(m), n, length) {
			return true
		}
	}
	return false
}

// nearestWeekday returns the Monday to Friday nearest to a day without leaving
// its month.
func nearestWeekday(y, m, day, length int) int {
	switch date(y, m, day).Weekday() {
	case time.Saturday:
		if day == 1 {
			return 3
		}
		return day - 1
	case time.Sunday:
		if day == length {
			return day - 2
		}
		return day + 1
	}
	return day
}

func (c *cron) weekdayMatches(d time.Time) bool {
	bit := uint64(1) << int(d.Weekday())
	y, m, day := d.Date()
	return c.weekdays&bit != 0 || c.nth[(day-1)/7+1]&bit != 0 ||
		(c.last&bit != 0 && day+7 > date(y, int(m)+1, 0).Day())
}

// starts calls yield with the starts of a date after past, in the order of
// local time, and maybe with some before. Where the clock does not move near
// that date, that is the order of instants, and it ends when yield says so.
func (c *cron) starts(d, past time.Time, yield func(time.Time) (more bool)) {
	resolve, steady := c.resolver(d)
	for hours := c.hours; hours != 0; hours &= hours - 1 {
		hour := d.Add(time.Duration(bits.TrailingZeros64(hours)) * time.Hour)
		if steady && !resolve(hour.Add(time.Hour)).After(past) {
			continue
		}
		for minutes := c.minutes; minutes != 0; minutes &= minutes - 1 {
			m := bits.TrailingZeros64(minutes)
			if !yield(resolve(hour.Add(time.Duration(m)*time.Minute))) && steady {
				return
			}
		}
	}
}

// resolver returns Resolve for the times of a date, without looking each one
// up when the offset does not change near it, which is steady.
func (c *cron) resolver(d time.Time) (resolve func(time.Time) time.Time, steady bool) {
	const near = 48 * time.Hour
	noon := d.Add(12 * time.Hour).In(c.zone)
	from, to := noon.ZoneBounds()
	if (from.IsZero() || noon.Sub(from) > near) && (to.IsZero() || to.Sub(noon) > near) {
		_, offset := noon.Zone()
		return func(civil time.Time) time.Time { return civil.Add(-time.Duration(offset) * time.Second).In(c.zone) }, true
	}
	return func(civil time.Time) time.Time { return Resolve(civil, c.zone) }, false
}

const (
	day = 24 * time.Hour
	// unsettled is how long after a change of the clock there may be starts at
	// times that it skipped, and none at times that it shows again.
	unsettled = 26 * time.Hour
)

// after is the first start after t. Where the clock has not changed for a while
// and does not until then, that is arithmetic on what it shows.
func (c *cron) after(t time.Time) (time.Time, bool) {
	local := t.In(c.zone)
	if from, to := local.ZoneBounds(); from.IsZero() || t.Sub(from) > unsettled {
		_, seconds := local.Zone()
		offset := time.Duration(seconds) * time.Second
		if civil, ok := c.civilAfter(t.UTC().Add(offset)); ok {
			if at := civil.Add(-offset); to.IsZero() || at.Before(to) {
				return at.In(c.zone), true
			}
		}
	}
	return c.searchAfter(t)
}

// before is the last start not after t, found in the same way.
func (c *cron) before(t time.Time) (time.Time, bool) {
	local := t.In(c.zone)
	_, seconds := local.Zone()
	offset := time.Duration(seconds) * time.Second
	if civil, ok := c.civilBefore(t.UTC().Add(offset)); ok {
		at := civil.Add(-offset)
		if from, _ := local.ZoneBounds(); from.IsZero() || at.Sub(from) > unsettled {
			return at.In(c.zone), true
		}
	}
	return c.searchBefore(t)
}

// civilAfter returns the first start after what a clock shows, and civilBefore
// the last one not after it, both as the same numbers in UTC, for a clock that
// never changes.
func (c *cron) civilAfter(shown time.Time) (time.Time, bool) {
	today := shown.Truncate(day)
	shift := time.Duration(c.offset) * day
	for d, ok := c.day(today.Add(-shift), 1); ok; d, ok = c.day(d.Add(day), 1) {
		least := 0
		if d.Add(shift).Equal(today) {
			least = int(shown.Sub(today)/time.Minute) + 1
		}
		if m, ok := c.minuteFrom(least); ok {
			return d.Add(shift + time.Duration(m)*time.Minute), true
		}
	}
	return time.Time{}, false
}

func (c *cron) civilBefore(shown time.Time) (time.Time, bool) {
	today := shown.Truncate(day)
	shift := time.Duration(c.offset) * day
	for d, ok := c.day(today.Add(-shift), -1); ok; d, ok = c.day(d.Add(-day), -1) {
		most := 24*60 - 1
		if d.Add(shift).Equal(today) {
			most = int(shown.Sub(today) / time.Minute)
		}
		if m, ok := c.minuteTo(most); ok {
			return d.Add(shift + time.Duration(m)*time.Minute), true
		}
	}
	return time.Time{}, false
}

// minuteFrom returns the first minute of a day that matches, from the least on.
func (c *cron) minuteFrom(least int) (int, bool) {
	h, m := least/60, least%60
	if c.hours>>h&1 == 1 {
		if rest := c.minutes >> m << m; rest != 0 {
			return h*60 + bits.TrailingZeros64(rest), true
		}
	}
	rest := c.hours >> (h + 1) << (h + 1)
	if rest == 0 {
		return 0, false
	}
	return bits.TrailingZeros64(rest)*60 + bits.TrailingZeros64(c.minutes), true
}

// minuteTo returns the last minute of a day that matches, up to the most.
func (c *cron) minuteTo(most int) (int, bool) {
	h, m := most/60, most%60
	if c.hours>>h&1 == 1 {
		if rest := c.minutes & (1<<(m+1) - 1); rest != 0 {
			return h*60 + bits.Len64(rest) - 1, true
		}
	}
	rest := c.hours & (1<<h - 1)
	if rest == 0 {
		return 0, false
	}
	return (bits.Len64(rest)-1)*60 + bits.Len64(c.minutes) - 1, true
}

// searchAfter looks from two dates back, because local dates and a time that is
// jumped over move forward by up to a day. For the same reason the date after
// the first that has a start may have an earlier one.
func (c *cron) searchAfter(t time.Time) (best time.Time, ok bool) {
	y, m, d := t.In(c.zone).Date()
	var hit time.Time
	for day, found := c.day(date(y, int(m), d-2-c.offset), 1); found; day, found = c.day(day.AddDate(0, 0, 1), 1) {
		if ok && day.After(hit.AddDate(0, 0, 1)) {
			break
		}
		c.starts(day.AddDate(0, 0, c.offset), t, func(s time.Time) bool {
			if s.After(t) && (!ok || s.Before(best)) {
				best = s
				if !ok {
					hit, ok = day, true
				}
			}
			return !s.After(t)
		})
	}
	return best, ok
}

// searchBefore is searchAfter, backwards.
func (c *cron) searchBefore(t time.Time) (best time.Time, ok bool) {
	y, m, d := t.In(c.zone).Date()
	var hit time.Time
	for day, found := c.day(date(y, int(m), d+1-c.offset), -1); found; day, found = c.day(day.AddDate(0, 0, -1), -1) {
		if ok && day.Before(hit.AddDate(0, 0, -1)) {
			break
		}
		c.starts(day.AddDate(0, 0, c.offset), time.Time{}, func(s time.Time) bool {
			if !s.After(t) && (!ok || s.After(best)) {
				best = s
				if !ok {
					hit, ok = day, true
				}
			}
			return !s.After(t)
		})
	}
	return best, ok
}
