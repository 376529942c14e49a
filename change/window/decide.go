package window

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Decision says when something may run.
type Decision struct {
	// Start is true when it may run now, inside In.
	Start bool
	// Until is when it may run, inside In, when it may not now. Zero with
	// Start false means never as things are configured.
	Until time.Time
	In    ops.Occurrence
	// Why is the reason in a sentence for people.
	Why string
}

// maxSteps bounds how many freezes and openings the search for a start goes
// around, maxLooks how often it looks at a window while it joins openings, and
// maxJoins how many openings it joins into one.
const (
	maxSteps = 1000
	maxLooks = 20_000
	maxJoins = 64
)

// Decide finds the first instant, not before now, at which something that
// needs this long may start: in an occurrence of one of the windows, before
// its cutoff, over before the windows close, and without meeting any freeze on
// the way. Deny beats allow. Openings that overlap or touch count as one: what
// starts in one of them may end in another, as long as some window is open all
// the while. Windows and freezes are those that apply.
func Decide(now time.Time, need time.Duration, windows, freezes []*Window) Decision {
	if len(windows) == 0 {
		return Decision{Why: "no window applies to this change; configure one, or a window with the schedule always if it may run at any time"}
	}
	var roomy []*Window
	var longest time.Duration
	for _, w := range windows {
		length := w.length()
		longest = max(longest, length)
		if length >= need {
			roomy = append(roomy, w)
		}
	}
	alone := Decision{Why: fmt.Sprintf("applying, observing and rolling back need %s and the longest window that applies lasts %s", need, longest)}
	if len(roomy) > 0 {
		alone = search(now, need, roomy, freezes, best, maxSteps, time.Time{})
	}
	if alone.Start {
		return alone
	}
	// Several openings together may allow it earlier than one alone.
	steps := min(maxSteps, max(16, maxLooks/len(windows)))
	if joined := search(now, need, windows, freezes, together, steps, alone.Until); joined.Start || !joined.Until.IsZero() {
		return joined
	}
	return alone
}

// search goes from one chance to the next: now, the end of a freeze, the next
// opening. It gives up at before, unless that is zero.
func search(now time.Time, need time.Duration, windows, freezes []*Window, fitting func(time.Time, time.Duration, []*Window) (ops.Occurrence, bool), steps int, before time.Time) Decision {
	t, frozen := now, ""
	for range steps {
		if !before.IsZero() && !t.Before(before) {
			return Decision{}
		}
		freeze, isFrozen := blocking(t, need, freezes)
		in, open := fitting(t, need, windows)
		switch {
		case isFrozen:
			if !freeze.End.Before(Forever) {
				return Decision{Why: fmt.Sprintf("the freeze %s has no end", freeze.Window)}
			}
			if t.Equal(now) || frozen == "" {
				frozen = fmt.Sprintf(", after the freeze %s", freeze.Window)
			}
			t = freeze.End
			continue
		case open && t.Equal(now):
			return Decision{Start: true, In: in, Why: fmt.Sprintf("inside the window %s until %s", in.Window, stamp(in.End))}
		case open:
			return Decision{Until: t, In: in, Why: fmt.Sprintf("waits for the window %s at %s%s", in.Window, stamp(t), frozen)}
		}
		next, ok := nextStart(t, windows)
		if !ok {
			return Decision{Why: "no window that applies opens again"}
		}
		t = next
	}
	return Decision{Why: fmt.Sprintf("every window up to %s meets a freeze", stamp(t))}
}

// together returns the stretch of openings that overlap or touch, from the one
// that is open at t and lets something start, if what needs this long fits.
func together(t time.Time, need time.Duration, windows []*Window) (out ops.Occurrence, ok bool) {
	for _, w := range windows {
		if o, open := w.At(t); open && t.Before(o.Cutoff) && (!ok || o.End.After(out.End)) {
			out, ok = o, true
		}
	}
	if !ok {
		return out, false
	}
	names := []string{out.Window}
	for range maxJoins {
		end := out.End
		for _, w := range windows {
			if o, open := w.At(end); open && o.End.After(out.End) {
				out.End = o.End
				if !slices.Contains(names, o.Window) {
					names = append(names, o.Window)
				}
			}
		}
		if out.End.Equal(end) {
			break
		}
	}
	out.Window = strings.Join(names, " and ")
	return out, !t.Add(need).After(out.End)
}

// length is how long an occurrence of the window lasts.
func (w *Window) length() time.Duration {
	if w.until.IsZero() {
		return w.Duration
	}
	start, _ := w.starts.after(time.Unix(0, 0).Add(-1))
	return w.until.Sub(start) // saturates at 292 years
}

// best returns the occurrence, among those open at t in which it fits, that
// closes last.
func best(t time.Time, need time.Duration, windows []*Window) (out ops.Occurrence, ok bool) {
	for _, w := range windows {
		if o, open := w.At(t); open && Fits(o, t, need) && (!ok || o.End.After(out.End)) {
			out, ok = o, true
		}
	}
	return out, ok
}

// blocking returns the freeze that meets [t, t+need) and ends last.
func blocking(t time.Time, need time.Duration, freezes []*Window) (out ops.Occurrence, ok bool) {
	for _, f := range freezes {
		if o, meets := f.overlaps(t, need); meets && (!ok || o.End.After(out.End)) {
			out, ok = o, true
		}
	}
	return out, ok
}

func nextStart(t time.Time, windows []*Window) (out time.Time, ok bool) {
	for _, w := range windows {
		if next := w.Next(t, 1); len(next) == 1 && (!ok || next[0].Start.Before(out)) {
			out, ok = next[0].Start, true
		}
	}
	return out, ok
}

// Frozen returns the freeze that meets [t, t+need), if one does.
func Frozen(t time.Time, need time.Duration, freezes []*Window) (ops.Occurrence, bool) {
	return blocking(t, need, freezes)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
