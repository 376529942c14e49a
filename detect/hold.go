package detect

import (
	"encoding/json"
	"slices"
	"time"
)

// keepHolds is how long after its end a hold still covers samples that come
// late.
const keepHolds = 7 * 24 * time.Hour

// note is the JSON of a record of kind series.Hold: a tick, which says how
// late it is, or a hold, which says what not to learn from. Detection knows no
// other clock, so that a replay sees what the first run saw.
type note struct {
	Tick int64 `json:"tick,omitempty"` // Unix milliseconds
	Hold *hold `json:"hold,omitempty"`
}

// hold is a span in which the points of some entities are scored and not
// learned. A hold replaces the one of its ID with a lower Version.
type hold struct {
	ID      string   `json:"id"`
	Version int64    `json:"version"`
	Aliases []string `json:"aliases"` // of the resources it is about
	From    int64    `json:"from"`    // Unix milliseconds
	To      int64    `json:"to"`      // exclusive
	Why     string   `json:"why"`
}

// covers reports whether a point of a resource is not to be learned.
func (h hold) covers(alias string, at int64) bool {
	return at >= h.From && at < h.To && slices.Contains(h.Aliases, alias)
}

// holds is what is held at one place of the log. It is not changed once made,
// so that samples read at that place may keep it.
type holds struct {
	byAlias map[string][]hold
	all     []hold
}

func (h *holds) covers(alias string, at int64) bool {
	if h == nil {
		return false
	}
	for _, x := range h.byAlias[alias] {
		if x.covers(alias, at) {
			return true
		}
	}
	return false
}

// with returns the holds with one more, or itself when it is an old version.
func (h *holds) with(x hold) *holds {
	var all []hold
	if h != nil {
		for _, o := range h.all {
			if o.ID != x.ID {
				all = append(all, o)
			} else if o.Version > x.Version {
				return h
			}
		}
	}
	return newHolds(append(all, x))
}

// after returns the holds without those that ended long before a tick.
func (h *holds) after(tick int64) *holds {
	over := func(x hold) bool { return x.To < tick-keepHolds.Milliseconds() }
	if h == nil || !slices.ContainsFunc(h.all, over) {
		return h
	}
	return newHolds(slices.DeleteFunc(slices.Clone(h.all), over))
}

func newHolds(all []hold) *holds {
	out := &holds{byAlias: map[string][]hold{}, all: all}
	for _, x := range all {
		for _, a := range x.Aliases {
			out.byAlias[a] = append(out.byAlias[a], x)
		}
	}
	return out
}

// parseNote reads a record of kind series.Hold.
func parseNote(body []byte) (note, error) {
	var n note
	err := json.Unmarshal(body, &n)
	return n, err
}

// until is when a note stops to matter; see ops.DetectionNote.
func (n note) until() int64 {
	if n.Hold == nil {
		return 0
	}
	return max(n.Hold.To, 1)
}
