package window

import (
	"math/bits"
	"time"
)

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
