package window

import (
	"fmt"
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

// maxSteps bounds how many freezes the search for a start goes around.
const maxSteps = 1000

// Decide finds the first instant, not before now, at which something that
// needs this long may start: in an occurrence of one of the windows, before
// its cutoff, over before its end, and without meeting any freeze on the way.
// Deny beats allow. Windows and freezes are those that apply.
func Decide(now time.Time, need time.Duration, windows, freezes []*Window) Decision {
	if len(windows) == 0 {
		return Decision{Why: "no window applies to this change; configure one, or a window with the schedule always if it may run at any time"}
	}
	var roomy []*Window
	var longest time.Duration
	for _, w := range windows {
		if length := w.length(); length >= need {
			roomy = append(roomy, w)
		} else {
			longest = max(longest, length)
		}
	}
	if len(roomy) == 0 {
		return Decision{Why: fmt.Sprintf("applying, observing and rolling back need %s and the longest window that applies lasts %s", need, longest)}
	}
	t, frozen := now, ""
	for range maxSteps {
		freeze, isFrozen := blocking(t, need, freezes)
		in, open := best(t, need, roomy)
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
		next, ok := nextStart(t, roomy)
		if !ok {
			return Decision{Why: "no window that applies opens again"}
		}
		t = next
	}
	return Decision{Why: fmt.Sprintf("every window up to %s meets a freeze", stamp(t))}
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
