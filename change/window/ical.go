package window

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"
)

// event is what this package reads of a VEVENT (RFC 5545, 3.6.1).
type event struct {
	name, uid       string // SUMMARY, UID
	cancelled       bool
	start           moment
	rule            string
	dates, except   []moment
	duration        time.Duration // elapsed; zero: not given
	instead         moment        // RECURRENCE-ID: which start of the event this one replaces
	replaces        bool
	marks           map[string]string // X-FETTLE-..., without that
	explicitlyEnded bool
}

// parseLines reads the ical of a window: an event, a calendar that holds one,
// or the lines of one.
func parseLines(text string, zone *time.Location) (*recurrence, time.Duration, error) {
	events, err := parseEvents(text, zone, nil)
	if err != nil {
		return nil, 0, err
	}
	found := masters(events)
	if len(found) != 1 {
		return nil, 0, fmt.Errorf("holds %d events, a window is one; fettle windows import makes a window of each", len(found))
	}
	r, err := found[0].recurrence(zone)
	return r, found[0].duration, err
}

// parseEvents reads the events of a calendar. Events without a zone of their
// own are in zone, those whose zone nobody knows in unknown; either may be nil,
// and then they are refused.
func parseEvents(text string, zone, unknown *time.Location) ([]event, error) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	upper := strings.ToUpper(text)
	if !strings.HasPrefix(upper, "BEGIN:VCALENDAR") {
		if !strings.HasPrefix(upper, "BEGIN:VEVENT") {
			text = "BEGIN:VEVENT\n" + text + "\nEND:VEVENT"
		}
		text = "BEGIN:VCALENDAR\n" + text + "\nEND:VCALENDAR"
	}
	if !strings.HasSuffix(strings.ToUpper(text), "END:VCALENDAR") {
		return nil, errors.New("does not end with END:VCALENDAR; the file is cut off")
	}
	cal, err := ics.ParseCalendar(strings.NewReader(text + "\r\n"))
	if err != nil {
		return nil, fmt.Errorf("is no iCalendar: %w", err)
	}
	var out []event
	for i, found := range cal.Events() {
		e, err := parseEvent(found.Properties, zone, unknown)
		if err != nil {
			what := fmt.Sprintf("event %d", i+1)
			if e.name != "" {
				what += fmt.Sprintf(" (%s)", e.name)
			}
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		out = append(out, e)
	}
	return out, nil
}

const markPrefix = "X-FETTLE-"

func parseEvent(properties []ics.IANAProperty, zone, unknown *time.Location) (e event, err error) {
	e.marks = map[string]string{}
	var end *moment
	seen := map[string]bool{}
	for _, p := range properties {
		if strings.EqualFold(p.IANAToken, "SUMMARY") {
			e.name = p.Value
		}
	}
	for _, p := range properties {
		name := strings.ToUpper(p.IANAToken)
		wrong := func(err error) (event, error) { return e, fmt.Errorf("%s: %w", name, err) }
		switch name {
		case "DTSTART", "DTEND", "DURATION", "RRULE", "RECURRENCE-ID":
			if seen[name] {
				return wrong(errors.New("stands there twice"))
			}
			seen[name] = true
		}
		switch name {
		case "UID":
			e.uid = p.Value
		case "STATUS":
			e.cancelled = strings.EqualFold(p.Value, "CANCELLED")
		case "DTSTART", "DTEND", "RECURRENCE-ID":
			in, err := zoneOf(p, unknown)
			if err != nil {
				return wrong(err)
			}
			m, err := parseMoment(p.Value, in)
			if err != nil {
				return wrong(err)
			}
			switch name {
			case "DTSTART":
				e.start = m
			case "DTEND":
				end = &m
			default:
				e.instead, e.replaces = m, true
			}
		case "DURATION":
			if e.duration, err = parseSpan(p.Value); err != nil {
				return wrong(err)
			}
			e.explicitlyEnded = true
		case "RRULE":
			e.rule = p.Value
		case "EXRULE":
			return wrong(errors.New("rules that leave dates out are gone since RFC 5545; write EXDATE"))
		case "RDATE", "EXDATE":
			in, err := zoneOf(p, unknown)
			if err != nil {
				return wrong(err)
			}
			for text := range strings.SplitSeq(p.Value, ",") {
				if strings.Contains(text, "/") {
					return wrong(fmt.Errorf("%q is a period; all openings of a window last as long, write the start alone", text))
				}
				m, err := parseMoment(text, in)
				if err != nil {
					return wrong(err)
				}
				if name == "RDATE" {
					e.dates = append(e.dates, m)
				} else {
					e.except = append(e.except, m)
				}
			}
			if len(e.dates)+len(e.except) > maxDates {
				return wrong(fmt.Errorf("more than %d dates", maxDates))
			}
		default:
			if mark, ok := strings.CutPrefix(name, markPrefix); ok {
				e.marks[mark] = p.Value
			}
		}
	}
	if !seen["DTSTART"] {
		return e, errors.New("DTSTART is missing; write for example DTSTART;TZID=Europe/Berlin:20261122T020000")
	}
	if e.start.zone == nil && zone == nil {
		return e, errors.New("DTSTART: has no time zone; say which one is meant with --time-zone")
	}
	switch {
	case end != nil && e.explicitlyEnded:
		return e, errors.New("DTEND and DURATION exclude each other")
	case end != nil:
		e.duration, e.explicitlyEnded = end.at(zone).Sub(e.start.at(zone)), true
		if e.start.date && (e.rule != "" || len(e.dates) > 0) { // of days that may be longer or shorter than this one
			e.duration = end.civil.Sub(e.start.civil)
		}
		if e.duration <= 0 {
			return e, errors.New("DTEND: is not after DTSTART")
		}
	case !e.explicitlyEnded && e.start.date:
		e.duration = 24 * time.Hour
	}
	return e, nil
}

// zoneOf returns the zone of a property, nil when it names none.
func zoneOf(p ics.IANAProperty, unknown *time.Location) (*time.Location, error) {
	for key, values := range p.ICalParameters {
		if !strings.EqualFold(key, "TZID") || len(values) == 0 {
			continue
		}
		id := strings.TrimPrefix(values[0], "/")
		// Some programs write a path that ends in the name.
		for rest, ok := id, true; ok; _, rest, ok = strings.Cut(rest, "/") {
			if z, err := loadZone(rest); err == nil {
				return z, nil
			}
		}
		if unknown == nil {
			return nil, fmt.Errorf("TZID %q is no IANA name such as Europe/Berlin; say which zone is meant with --time-zone", id)
		}
		return unknown, nil
	}
	return nil, nil
}

var spanText = regexp.MustCompile(`^\+?P(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?$`)

// parseSpan reads a duration such as PT4H or P1DT2H (RFC 5545, 3.3.6). A day
// counts 24 hours, because windows last elapsed time.
func parseSpan(text string) (time.Duration, error) {
	m := spanText.FindStringSubmatch(strings.TrimSpace(strings.ToUpper(text)))
	var sum time.Duration
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m != nil && m[i+1] != "" {
			n, err := strconv.Atoi(m[i+1])
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * unit
		}
	}
	if sum <= 0 {
		return 0, fmt.Errorf("%q is no duration above zero; write for example PT4H or P1DT2H", text)
	}
	return sum, nil
}

// master is an event with what was done to single starts of it.
type master struct {
	event
	moved []event // of another name, length or meaning than the event
}

// masters puts the events that replace a start of another one back into it.
// Cancelled events are gone.
func masters(events []event) []master {
	var out []master
	at := map[string]int{}
	for _, e := range events {
		if e.replaces {
			continue
		}
		if !e.cancelled {
			if e.uid != "" {
				at[e.uid] = len(out)
			}
			out = append(out, master{event: e})
		}
	}
	for _, e := range events {
		if !e.replaces {
			continue
		}
		i, ok := at[e.uid]
		if !ok {
			if !e.cancelled {
				out = append(out, master{event: e}) // its event is not in the file
			}
			continue
		}
		m := &out[i]
		m.except = append(m.except, e.instead)
		switch {
		case e.cancelled:
		case e.duration == m.duration || e.duration == 0:
			m.dates = append(m.dates, e.start)
		default:
			m.moved = append(m.moved, e)
		}
	}
	for _, m := range out {
		for _, e := range m.moved {
			e.uid, e.replaces = "", false
			out = append(out, master{event: e})
		}
	}
	return out
}

// recurrence returns when an event begins.
func (e event) recurrence(zone *time.Location) (*recurrence, error) {
	r := &recurrence{zone: zone}
	if e.start.zone != nil {
		r.zone = e.start.zone
	}
	if e.rule != "" {
		var err error
		if r, err = recur(e.rule, e.start, zone); err != nil {
			return nil, fmt.Errorf("RRULE: %w", err)
		}
	} else {
		r.add(e.start.at(zone))
	}
	for _, m := range e.dates {
		r.add(m.on(e.start).at(r.zone))
	}
	for _, m := range e.except {
		r.leave(m.on(e.start).at(r.zone))
	}
	return r, nil
}

// on gives a date that leaves out one start of an event the time of that start.
func (m moment) on(start moment) moment {
	if m.date && !start.date {
		m.civil = m.civil.Add(start.civil.Sub(start.civil.Truncate(24 * time.Hour)))
		m.date = false
		if m.zone == nil {
			m.zone = start.zone
		}
	}
	return m
}
