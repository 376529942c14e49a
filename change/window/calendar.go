package window

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"

	"github.com/fettleops/fettle/ops"
)

// The measures of a calendar file.
const (
	// Ahead is how far a calendar reaches.
	Ahead = 366 * 24 * time.Hour
	// maxEvents bounds the openings of each window in a file. Beyond it the file
	// says until when it is complete.
	maxEvents = 5000
	// MaxCalendar bounds a file that is read, in bytes.
	MaxCalendar = 8 << 20
	stampLayout = "20060102T150405Z"
)

// Calendar writes the openings of windows that meet [from, from+Ahead) as
// iCalendar (RFC 5545): each opening is an event in UTC, so that no reader
// needs our rules for zones, and its X-FETTLE properties let Import make the
// same windows of it. now is when the file was made. A window that never
// closes ends where the file does.
func Calendar(name string, windows []*Window, from, now time.Time) ([]byte, error) {
	cal := ics.NewCalendarFor("Fettle")
	cal.SetProductId("-//Fettle//Windows//EN")
	cal.SetMethod(ics.MethodPublish)
	cal.SetXWRCalName(clean(name))
	cal.SetXPublishedTTL("PT1H")
	cal.SetRefreshInterval("PT1H")
	to := from.Add(Ahead)
	for _, w := range windows {
		found, more := w.Between(from, to, maxEvents)
		for _, o := range found {
			if o.End.After(to) && !o.End.Before(Forever) {
				o.End = to
			}
			e := cal.AddEvent(uid(o))
			set := func(key, value string) {
				if value != "" {
					e.AddProperty(ics.ComponentProperty(key), clean(value))
				}
			}
			e.SetDtStampTime(now)
			e.AddProperty(ics.ComponentPropertyDtStart, o.Start.UTC().Format(stampLayout))
			e.AddProperty(ics.ComponentPropertyDtEnd, o.End.UTC().Format(stampLayout))
			e.SetSummary(clean(summary(w)))
			e.SetStatus(ics.ObjectStatusConfirmed)
			e.SetTimeTransparency(ics.TransparencyTransparent) // it takes nobody's time
			set("CATEGORIES", strings.ToUpper(string(w.Kind())))
			set(markPrefix+"WINDOW", w.Name)
			set(markPrefix+"KIND", string(w.Kind()))
			set(markPrefix+"TIME-ZONE", w.zone.String())
			set(markPrefix+"SCHEDULE", w.Rule())
			set(markPrefix+"APPLIES", w.Applies)
			if w.Cutoff > 0 {
				set(markPrefix+"CUTOFF", span(w.Cutoff))
			}
			var roles []string
			for _, r := range w.BreakGlass {
				roles = append(roles, string(r))
			}
			set(markPrefix+"BREAK-GLASS", strings.Join(roles, " "))
			if more {
				set(markPrefix+"COMPLETE-UNTIL", found[len(found)-1].Start.UTC().Format(stampLayout))
			}
		}
	}
	var b bytes.Buffer
	if err := cal.SerializeTo(&b, ics.WithNewLineWindows); err != nil {
		return nil, fmt.Errorf("write the calendar: %w", err)
	}
	return b.Bytes(), nil
}

// summary names an event so that a freeze is known without its colour.
func summary(w *Window) string {
	switch w.Kind() {
	case Freeze:
		return "Freeze: " + w.Name
	case Maintenance:
		return "Maintenance: " + w.Name
	}
	return w.Name
}

// uid is the same whenever the same opening is written, so that a reader that
// subscribes updates its copy.
func uid(o ops.Occurrence) string {
	sum := sha256.Sum256([]byte(o.Window + "\x00" + o.Start.UTC().Format(stampLayout)))
	return hex.EncodeToString(sum[:12]) + "@fettle"
}

// clean keeps control characters from ending a line of the file.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r == 0x7f) {
			return ' '
		}
		return r
	}, s)
}

// span writes a duration as iCalendar does.
func span(d time.Duration) string { return fmt.Sprintf("PT%dS", int64(d/time.Second)) }

// Import makes windows of a calendar. An event with a rule becomes a window
// with that rule; the events of a window that Calendar wrote become that window
// with its openings as single dates; any other event opens once. zone is for
// events that have none or one that nobody knows; nil refuses those. With
// freezes every event that does not say what it is becomes a freeze. The error
// names the event and its property.
func Import(file []byte, zone *time.Location, freezes bool) ([]ops.Window, error) {
	if len(file) > MaxCalendar {
		return nil, fmt.Errorf("the calendar has %d bytes, at most %d are read: %w", len(file), MaxCalendar, ops.ErrInvalid)
	}
	events, err := parseEvents(string(file), zone, zone)
	if err != nil {
		return nil, fmt.Errorf("the calendar: %w: %w", err, ops.ErrInvalid)
	}
	var out []ops.Window
	names := map[string]int{}
	for _, m := range gathered(masters(events)) {
		w, err := m.window(zone, freezes)
		if err == nil {
			w.Name = cmp.Or(strings.TrimSpace(w.Name), "imported")
			if names[w.Name]++; names[w.Name] > 1 {
				w.Name = fmt.Sprintf("%s (%d)", w.Name, names[w.Name])
			}
			_, err = Compile(w)
		}
		if err != nil {
			return nil, fmt.Errorf("the calendar: event %q: %w: %w", m.name, err, ops.ErrInvalid)
		}
		out = append(out, w)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the calendar holds no event: %w", ops.ErrInvalid)
	}
	return out, nil
}

// gathered puts the openings of one window, each an event of its own, together.
func gathered(events []master) []master {
	var out []master
	type key struct {
		name, kind, zone, applies, cutoff, roles string
		duration                                 time.Duration
	}
	at := map[key]int{}
	for _, e := range events {
		m := e.marks
		if m["WINDOW"] == "" || e.rule != "" {
			out = append(out, e)
			continue
		}
		k := key{m["WINDOW"], m["KIND"], m["TIME-ZONE"], m["APPLIES"], m["CUTOFF"], m["BREAK-GLASS"], e.duration}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, e)
			continue
		}
		out[i].dates = append(append(out[i].dates, e.start), e.dates...)
	}
	return out
}

// window makes the window of an event.
func (m master) window(zone *time.Location, freezes bool) (ops.Window, error) {
	in := cmp.Or(m.start.zone, zone)
	w := ops.Window{
		Name: cmp.Or(m.marks["WINDOW"], m.name), Duration: m.duration, TimeZone: in.String(), Applies: m.marks["APPLIES"],
		Deny: m.marks["KIND"] == string(Freeze) || freezes && m.marks["KIND"] == "", Mute: m.marks["KIND"] == string(Maintenance),
	}
	if z := m.marks["TIME-ZONE"]; z != "" {
		shown, err := loadZone(z)
		if err != nil {
			return w, fmt.Errorf("X-FETTLE-TIME-ZONE %q: %w", z, err)
		}
		w.TimeZone = shown.String()
	}
	if c := m.marks["CUTOFF"]; c != "" {
		var err error
		if w.Cutoff, err = parseSpan(c); err != nil {
			return w, fmt.Errorf("X-FETTLE-CUTOFF: %w", err)
		}
	}
	for _, r := range strings.Fields(m.marks["BREAK-GLASS"]) {
		w.BreakGlass = append(w.BreakGlass, ops.Role(r))
	}
	if m.duration == 0 {
		return w, fmt.Errorf("lasts no time; it needs DTEND or DURATION")
	}
	start := civilText(m.start.civil)
	switch {
	case len(m.dates)+len(m.except) == 0 && m.rule != "":
		w.RRule, w.Start = strings.ToUpper(m.rule), start
	case len(m.dates)+len(m.except) == 0 && w.Deny:
		w.From = m.start.at(zone)
		w.To, w.Duration = w.From.Add(m.duration), 0
	case len(m.dates)+len(m.except) == 0 && w.TimeZone == in.String():
		w.Schedule = "at(" + start + ")"
	default:
		w.ICal = m.lines(zone)
	}
	return w, nil
}

func civilText(t time.Time) string { return strings.TrimSuffix(t.Format("2006-01-02T15:04:05"), ":00") }

// lines writes an event as the ical of a window has it.
func (m master) lines(zone *time.Location) string {
	one := func(x moment) (zone, text string) {
		switch {
		case x.date && x.zone == nil:
			return ";VALUE=DATE", x.civil.Format("20060102")
		case x.zone == time.UTC:
			return "", x.civil.Format(stampLayout)
		case x.zone == nil:
			return "", x.civil.Format("20060102T150405")
		}
		return ";TZID=" + x.zone.String(), x.civil.Format("20060102T150405")
	}
	where, text := one(m.start)
	lines := []string{"DTSTART" + where + ":" + text}
	if m.rule != "" {
		lines = append(lines, "RRULE:"+strings.ToUpper(m.rule))
	}
	list := func(name string, dates []moment) {
		dates = slices.Clone(dates)
		slices.SortStableFunc(dates, func(a, b moment) int { return a.at(zone).Compare(b.at(zone)) })
		for len(dates) > 0 {
			where, text := one(dates[0])
			n := 1
			for ; n < len(dates) && n < 6; n++ {
				other, next := one(dates[n])
				if other != where {
					break
				}
				text += "," + next
			}
			lines = append(lines, name+where+":"+text)
			dates = dates[n:]
		}
	}
	list("RDATE", m.dates)
	list("EXDATE", m.except)
	return strings.Join(lines, "\n") + "\n"
}
