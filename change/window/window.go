// Package window answers when a change may run: recurring windows that allow,
// freezes that deny, and the decision over both.
//
// A window is written as its people read it: in a civil schedule and an IANA
// time zone. Daylight saving is decided once, here:
//
//   - A local time that does not exist (the clock jumps over it) is read with
//     the offset that was in force before the jump, so 02:30 opens at 03:30.
//   - A local time that exists twice means the first one.
//   - A window lasts its duration in elapsed time: four hours from 01:00 in
//     Berlin on the last Sunday of October end at 04:00, not at 05:00.
//
// Everything here is pure: it takes the time and never asks for it.
package window

import (
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Forever is the end of a window that never closes.
var Forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// MaxDuration bounds how long a recurring window stays open.
const MaxDuration = 366 * 24 * time.Hour

// Window is a compiled window or freeze. It is immutable.
type Window struct {
	ops.Window
	zone    *time.Location
	starts  starts
	until   time.Time // the end of the only occurrence, when there is just one
	applies *policy.Program
}

// Compile checks and compiles a window. A mute window's Applies is about the
// resource alone, every other's about change and resource. The error wraps
// ops.ErrInvalid and names the window, the field and the fix.
func Compile(w ops.Window) (*Window, error) {
	c := &Window{Window: w}
	fault := func(format string, args ...any) error {
		return fmt.Errorf("window %q: %w: %w", w.Name, fmt.Errorf(format, args...), ops.ErrInvalid)
	}
	if w.Name == "" {
		return nil, fault("name is empty; give it one")
	}
	zone, err := loadZone(w.TimeZone)
	if err != nil {
		return nil, fault("time_zone %q: %w", w.TimeZone, err)
	}
	c.zone = zone
	if !w.From.IsZero() && !w.To.IsZero() && !w.From.Before(w.To) {
		return nil, fault("from %s is not before to %s", w.From.In(zone).Format(time.RFC3339), w.To.In(zone).Format(time.RFC3339))
	}
	recurs := w.Schedule != "" && w.Schedule != always
	if n := given(w.Schedule, w.RRule, w.ICal); n > 1 {
		return nil, fault("says when it opens %d times; keep one of schedule, rrule and ical", n)
	}
	switch {
	case w.OffsetDays < 0 || w.OffsetDays > 6:
		return nil, fault("offset_days %d is not within 0 to 6", w.OffsetDays)
	case w.OffsetDays != 0 && !recurs:
		return nil, fault("offset_days needs a schedule of cron")
	case w.RRule == "" && w.Start != "":
		return nil, fault("start belongs to rrule, and there is none; a window that opens once has the schedule at(%s)", w.Start)
	case w.RRule != "" || w.ICal != "":
		if err := c.recur(); err != nil {
			return nil, fault("%w", err)
		}
		recurs = true
	case w.Schedule == "" && w.Deny && (w.From.IsZero() || w.To.IsZero()):
		return nil, fault("a freeze without a schedule needs from and to")
	case w.Schedule == "" && !w.Deny:
		return nil, fault("schedule is empty; write always, cron(...), rate(...), at(...), or rrule or ical in its place")
	case !recurs:
		c.starts, c.until = oneStart(time.Unix(0, 0).UTC()), Forever
		if !w.From.IsZero() {
			c.starts = oneStart(w.From.UTC())
		}
		if !w.To.IsZero() {
			c.until = w.To.UTC()
		}
	default:
		anchor := w.From
		if anchor.IsZero() {
			anchor = time.Unix(0, 0).UTC()
		}
		if c.starts, err = parse(w.Schedule, zone, anchor, w.OffsetDays); err != nil {
			return nil, fault("schedule %q: %w", w.Schedule, err)
		}
	}
	if recurs {
		if c.Duration <= 0 || c.Duration > MaxDuration {
			return nil, fault("duration %s must be above zero and at most %s", c.Duration, MaxDuration)
		}
		if w.Cutoff < 0 || w.Cutoff >= c.Duration {
			return nil, fault("cutoff %s must be shorter than the duration %s, or nothing could ever start", w.Cutoff, c.Duration)
		}
		if len(c.Next(time.Unix(0, 0).Add(-1), 1)) == 0 {
			return nil, fault("%s", c.never())
		}
	}
	if w.Applies != "" {
		word := policy.Change
		if w.Mute {
			word = policy.Resource
		}
		if c.applies, err = policy.Compile(word, w.Applies); err != nil {
			return nil, fault("applies: %w", err)
		}
	}
	return c, nil
}

func given(texts ...string) (n int) {
	for _, t := range texts {
		if t != "" {
			n++
		}
	}
	return n
}

// recur compiles a window that is given as a rule or as an event.
func (w *Window) recur() error {
	if w.RRule != "" {
		if w.Start == "" {
			return errors.New("start is missing: a rrule begins somewhere, write for example 2026-11-22T02:00")
		}
		civil, err := parseCivil(w.Start)
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		if w.starts, err = recur(w.RRule, moment{civil: civil}, w.zone); err != nil {
			return fmt.Errorf("rrule %q: %w", w.RRule, err)
		}
		return nil
	}
	r, duration, err := parseLines(w.ICal, w.zone)
	if err != nil {
		return fmt.Errorf("ical: %w", err)
	}
	w.starts = r
	if w.Duration == 0 {
		w.Duration = duration
	}
	return nil
}

// never says why a schedule has no start at all.
func (w *Window) never() string {
	what := "schedule"
	if w.RRule != "" {
		what = "rrule"
	} else if w.ICal != "" {
		what = "ical"
	}
	if w.From.IsZero() && w.To.IsZero() {
		return what + " never opens: it names no date from 1970 to 2199"
	}
	return what + " never opens between from and to"
}

// CompileAll compiles windows and returns every fault joined.
func CompileAll(in []ops.Window) ([]*Window, error) {
	var out []*Window
	var faults []error
	for _, w := range in {
		c, err := Compile(w)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		out = append(out, c)
	}
	return out, errors.Join(faults...)
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, errors.New("write an IANA name such as Europe/Berlin or UTC")
	}
	return time.LoadLocation(name)
}

// Zone returns the window's time zone.
func (w *Window) Zone() *time.Location { return w.zone }

// For reports whether the window is about this change of this resource.
func (w *Window) For(c *ops.Change, r *ops.Resource) (bool, error) {
	if w.applies == nil {
		return true, nil
	}
	return w.applies.Match(policy.Vars{Change: c, Resource: r})
}

// ForResource reports whether a mute window is about this resource.
func (w *Window) ForResource(r ops.Resource) (bool, error) {
	if w.applies == nil {
		return true, nil
	}
	return w.applies.Match(policy.Vars{Resource: &r})
}

// At returns the occurrence that is open at t. When occurrences overlap it is
// the one that closes last.
func (w *Window) At(t time.Time) (ops.Occurrence, bool) {
	start, ok := w.starts.before(t)
	if !ok || !w.within(start) {
		return ops.Occurrence{}, false
	}
	o := w.occurrence(start)
	return o, t.Before(o.End)
}

// Next returns the next n occurrences that start after t, earliest first;
// fewer when the schedule ends.
func (w *Window) Next(t time.Time, n int) []ops.Occurrence {
	if !w.From.IsZero() && t.Before(w.From) {
		t = w.From.Add(-time.Nanosecond)
	}
	var out []ops.Occurrence
	for len(out) < n {
		start, ok := w.starts.after(t)
		if !ok || !w.within(start) {
			break
		}
		out = append(out, w.occurrence(start))
		t = start
	}
	return out
}

func (w *Window) within(start time.Time) bool {
	return (w.From.IsZero() || !start.Before(w.From)) && (w.To.IsZero() || start.Before(w.To))
}

func (w *Window) occurrence(start time.Time) ops.Occurrence {
	end := w.until
	if end.IsZero() {
		end = start.Add(w.Duration)
	}
	return ops.Occurrence{Window: w.Name, Start: start.UTC(), End: end.UTC(), Cutoff: end.Add(-w.Cutoff).UTC()}
}

// Fits reports whether something that starts at t and needs this long may
// start and will be over before the occurrence ends.
func Fits(o ops.Occurrence, t time.Time, need time.Duration) bool {
	return !t.Before(o.Start) && t.Before(o.Cutoff) && !t.Add(need).After(o.End)
}

// overlaps returns the occurrence of a freeze that meets [t, t+need).
func (w *Window) overlaps(t time.Time, need time.Duration) (ops.Occurrence, bool) {
	if o, ok := w.At(t); ok {
		return o, true
	}
	if next := w.Next(t, 1); len(next) == 1 && next[0].Start.Before(t.Add(need)) {
		return next[0], true
	}
	return ops.Occurrence{}, false
}
