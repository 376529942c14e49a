package window

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// always is the schedule of a window that never closes.
const always = "always"

// starts is when a schedule opens.
type starts interface {
	// after returns the first start after t.
	after(t time.Time) (time.Time, bool)
	// before returns the last start at or before t.
	before(t time.Time) (time.Time, bool)
}

// parse reads a schedule other than always. anchor is what rate counts from,
// offset the days that what cron names is put off.
func parse(text string, zone *time.Location, anchor time.Time, offset int) (starts, error) {
	text = strings.TrimSpace(text)
	var c *cron
	var err error
	if inner, ok := inside(text, "cron"); ok {
		c, err = parseCron(inner, amazon, zone)
	} else if len(strings.Fields(text)) == 5 && !strings.Contains(text, "(") {
		c, err = parseCron(text, unix, zone)
	}
	switch {
	case err != nil:
		return nil, err
	case c != nil:
		c.offset = offset
		return c, nil
	case offset != 0:
		return nil, errors.New("offset_days needs a schedule of cron")
	}
	if inner, ok := inside(text, "rate"); ok {
		return parseRate(inner, anchor)
	}
	if inner, ok := inside(text, "at"); ok {
		civil, err := parseCivil(inner)
		if err != nil {
			return nil, err
		}
		return oneStart(Resolve(civil, zone)), nil
	}
	return nil, errors.New("write always, cron(0 2 ? * SUN *), rate(7 days), at(2027-01-31T02:00:00) or five cron fields")
}

func inside(text, word string) (string, bool) {
	rest, ok := strings.CutPrefix(text, word+"(")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, ")")
}

// parseCivil reads a local date and time, with or without seconds, as the
// same numbers in UTC.
func parseCivil(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a local time like 2027-01-31T02:00:00", text)
}

// ParseLocal reads a local date and time such as 2026-12-20T00:00 in an IANA
// zone, by the rules of this package for times that do not exist or exist
// twice.
func ParseLocal(text, zone string) (time.Time, error) {
	z, err := loadZone(zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("time zone %q: %w", zone, err)
	}
	civil, err := parseCivil(text)
	if err != nil {
		return time.Time{}, err
	}
	return Resolve(civil, z), nil
}

// Resolve returns the instant at which clocks in zone show the date and time
// that civil shows in UTC: the first one if there are two; if there is none,
// the instant that time would be with the offset in force before the jump.
func Resolve(civil time.Time, zone *time.Location) time.Time {
	// Offsets lie between -16h and +16h, so the instant is within a day of the
	// same numbers in UTC. Each stretch of constant offset there is looked at.
	const reach = 26 * time.Hour
	var missed time.Time
	for t := civil.Add(-reach).In(zone); ; {
		start, end := t.ZoneBounds()
		if !end.IsZero() && !end.After(t) {
			// Go ends a stretch a day early in leap years beyond its table, and
			// would have us look at the same instant for ever.
			end = t.Add(24 * time.Hour)
		}
		_, offset := t.Zone()
		at := civil.Add(-time.Duration(offset) * time.Second)
		if (start.IsZero() || !at.Before(start)) && (end.IsZero() || at.Before(end)) {
			return at.In(zone)
		}
		if !end.IsZero() && !at.Before(end) {
			missed = at // too late for this stretch; if it is too early for the next, it falls between
		} else {
			return missed.In(zone)
		}
		t = end.In(zone)
	}
}

// oneStart is a schedule that opens once.
type oneStart time.Time

func (s oneStart) after(t time.Time) (time.Time, bool) {
	return time.Time(s), time.Time(s).After(t)
}

func (s oneStart) before(t time.Time) (time.Time, bool) {
	return time.Time(s), !time.Time(s).After(t)
}

// rate opens every so often in elapsed time, counted from anchor, for the 292
// years that a time.Duration can say.
type rate struct {
	anchor time.Time
	every  time.Duration
}

func parseRate(text string, anchor time.Time) (starts, error) {
	count, unit, ok := strings.Cut(text, " ")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > 100_000 {
		return nil, fmt.Errorf("%q is not a rate like 5 minutes, 12 hours or 7 days", text)
	}
	units := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	u, ok := units[strings.TrimSuffix(unit, "s")]
	if !ok {
		return nil, fmt.Errorf("%q is not minutes, hours or days", unit)
	}
	return rate{anchor, time.Duration(n) * u}, nil
}

func (r rate) after(t time.Time) (time.Time, bool) {
	if t.Before(r.anchor) {
		return r.anchor, true
	}
	since := t.Sub(r.anchor)
	if since > math.MaxInt64-r.every {
		return time.Time{}, false
	}
	return r.anchor.Add((since/r.every + 1) * r.every), true
}

func (r rate) before(t time.Time) (time.Time, bool) {
	if t.Before(r.anchor) {
		return time.Time{}, false
	}
	return r.anchor.Add(t.Sub(r.anchor) / r.every * r.every), true
}
