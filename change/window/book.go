package window

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Kind is what a window means.
type Kind string

// The kinds of windows.
const (
	Allow       Kind = "window"      // changes may run
	Freeze      Kind = "freeze"      // changes may not run
	Maintenance Kind = "maintenance" // alerts are muted, no change runs because of it
)

// Kind returns what the window means.
func (w *Window) Kind() Kind {
	switch {
	case w.Deny:
		return Freeze
	case w.Mute:
		return Maintenance
	}
	return Allow
}

// Rule says for people when the window opens, as it was written.
func (w *Window) Rule() string {
	switch {
	case w.RRule != "":
		return w.RRule + " from " + w.Start
	case w.ICal != "":
		return "iCalendar event"
	case w.Schedule == "" && !w.From.IsZero():
		return "once"
	case w.OffsetDays > 0:
		return fmt.Sprintf("%s + %d d", w.Schedule, w.OffsetDays)
	case w.Schedule == "":
		return always
	}
	return w.Schedule
}

// Between returns the occurrences that meet [from, to), earliest first, the one
// that is open at from included; at most so many, and whether there are more.
func (w *Window) Between(from, to time.Time, most int) (out []ops.Occurrence, more bool) {
	// Openings may overlap: the first that still lasts began at most a duration ago.
	t := from.Add(-1)
	if w.until.IsZero() {
		t = from.Add(-w.Duration)
	} else if o, open := w.At(from); open {
		return []ops.Occurrence{o}, false
	}
	for {
		next := w.Next(t, 1)
		switch {
		case len(next) == 0 || !next[0].Start.Before(to):
			return out, false
		case !next[0].End.After(from):
		case len(out) == most:
			return out, true
		default:
			out = append(out, next[0])
		}
		t = next[0].Start
	}
}

// Book is all windows and freezes of a configuration. It is immutable.
type Book struct {
	all  []*Window
	name map[string]*Window
}

// NewBook compiles windows. Names are unique among them. The error holds every
// fault.
func NewBook(in []ops.Window) (*Book, error) {
	all, err := CompileAll(in)
	b := &Book{all: all, name: make(map[string]*Window, len(all))}
	for _, w := range all {
		if b.name[w.Name] != nil {
			err = errors.Join(err, fmt.Errorf("window %q: there are two of that name: %w", w.Name, ops.ErrInvalid))
		}
		b.name[w.Name] = w
	}
	return b, err
}

// Windows returns all, in the order of the configuration.
func (b *Book) Windows() []*Window { return slices.Clone(b.all) }

// Window returns the one of that name, or ops.ErrNotFound.
func (b *Book) Window(name string) (*Window, error) {
	if w := b.name[name]; w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("there is no window or freeze %q: %w", name, ops.ErrNotFound)
}
