package detect

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/fettleops/fettle/ops"
)

// keepHolds is how long after its end a hold still covers samples that come
// late.
const keepHolds = 7 * 24 * time.Hour

// note is the JSON of a record of kind series.Hold: a tick, which says how
// late it is, a hold, which says what not to learn from, or the end of a
// bootstrap. Detection knows no other clock, so that a replay sees what the
// first run saw.
type note struct {
	Tick  int64  `json:"tick,omitempty"` // Unix milliseconds
	Hold  *hold  `json:"hold,omitempty"`
	Ended *ended `json:"ended,omitempty"`
}

// hold is a span in which the points of some entities are scored and not
// learned. A hold replaces the one of its ID with a lower Version.
type hold struct {
	ID      string   `json:"id"`
	Version int64    `json:"version"`
	Aliases []string `json:"aliases"` // of the resources it is about; none: those of the version before
	From    int64    `json:"from"`    // Unix milliseconds
	To      int64    `json:"to"`      // exclusive
	Why     string   `json:"why"`
	Key     string   `json:"key,omitempty"` // number of the incident or the change
}

// held reports whether a point is not to be learned.
func held(by []hold, at int64) bool {
	for i := range by {
		if at >= by[i].From && at < by[i].To {
			return true
		}
	}
	return false
}

// holds is what is held at one place of the log. The reader alone changes it and
// asks about it; everybody may look. The lists it gives out are never changed.
type holds struct {
	mu      sync.RWMutex
	byID    map[string]hold
	byAlias map[string][]hold
}

func newHolds() *holds { return &holds{byID: map[string]hold{}, byAlias: map[string][]hold{}} }

// look returns why a resource is not learned at an instant, the oldest reason
// first.
func (h *holds) look(alias string, at time.Time) []ops.LearningHold {
	h.mu.RLock()
	all := h.byAlias[alias]
	h.mu.RUnlock()
	var out []ops.LearningHold
	for i := range all {
		if held(all[i:i+1], at.UnixMilli()) {
			out = append(out, ops.LearningHold{Why: all[i].Why, Key: all[i].Key, From: time.UnixMilli(all[i].From).UTC(), Until: time.UnixMilli(all[i].To).UTC()})
		}
	}
	slices.SortFunc(out, func(a, b ops.LearningHold) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Why, b.Why)) })
	return out
}

// about returns the holds on a resource.
func (h *holds) about(alias string) []hold {
	if len(h.byAlias) == 0 {
		return nil
	}
	return h.byAlias[alias]
}

// put puts a hold into force, unless a later version is.
func (h *holds) put(x hold) {
	was, known := h.byID[x.ID]
	if known && was.Version > x.Version {
		return
	}
	if len(x.Aliases) == 0 {
		x.Aliases = was.Aliases
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(was)
	h.byID[x.ID] = x
	for _, a := range x.Aliases {
		h.byAlias[a] = append(slices.Clone(h.byAlias[a]), x)
	}
}

// remove is for who has locked it.
func (h *holds) remove(x hold) {
	delete(h.byID, x.ID)
	for _, a := range x.Aliases {
		left := slices.DeleteFunc(slices.Clone(h.byAlias[a]), func(o hold) bool { return o.ID == x.ID })
		if h.byAlias[a] = left; len(left) == 0 {
			delete(h.byAlias, a)
		}
	}
}

// age forgets the holds that ended long before a tick.
func (h *holds) age(tick int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.byID {
		if x.To < tick-keepHolds.Milliseconds() {
			h.remove(x)
		}
	}
}

// parseNote reads a record of kind series.Hold.
func parseNote(body []byte) (note, error) {
	var n note
	err := json.Unmarshal(body, &n)
	return n, err
}

// until is when a note stops to matter; see ops.DetectionNote.
func (n note) until() int64 {
	switch {
	case n.Hold != nil:
		return max(n.Hold.To, 1)
	case n.Ended != nil:
		return n.Ended.At + 2*pastPause.Milliseconds()
	}
	return 0
}
