package window

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// Hops is how near resources must be for their changes to be in each other's
// way, unless something else is asked for: the same, or one needs the other.
const Hops = 1

// Conflict is another change that is in the way of one, or the other way round.
type Conflict struct {
	ChangeID string    `json:"change_id"`
	Key      string    `json:"key" doc:"number of the other change, CHG-42"`
	Title    string    `json:"title"`
	Way      []string  `json:"way" doc:"ids of the resources from this change's to the other's; one when they are the same"`
	From     time.Time `json:"from" doc:"from when both may run"`
	To       time.Time `json:"to"`
	First    bool      `json:"first" doc:"the other one goes first, and this one waits"`
	Why      string    `json:"why" doc:"the conflict in a sentence"`
}

// Conflicts returns which of the others may run while c may, on a resource that
// is c's or connected with it over at most so many edges of g, in either
// direction: earliest first. Only changes that have a window or run are in a
// conflict. Of two, the one that already runs goes first, then the one whose
// window opens first, then the one that was raised first; so of each pair
// exactly one waits.
func Conflicts(c ops.Change, others []ops.Change, g *graph.Graph, hops int) []Conflict {
	from, to, ok := busy(c)
	if !ok || c.ResourceID == "" {
		return nil
	}
	via := map[string]string{}
	for _, n := range g.Near(c.ResourceID, hops) {
		via[n.ID] = n.Via
	}
	var out []Conflict
	for _, o := range others {
		start, end, ok := busy(o)
		if !ok || o.ID == c.ID || o.ResourceID == "" || !start.Before(to) || !from.Before(end) {
			continue
		}
		way := []string{o.ResourceID}
		for at := o.ResourceID; at != c.ResourceID; {
			if at, ok = via[at], via[at] != ""; !ok {
				break
			}
			way = append(way, at)
		}
		if way[len(way)-1] != c.ResourceID {
			continue
		}
		slices.Reverse(way)
		x := Conflict{ChangeID: o.ID, Key: o.Key(), Title: o.Title, Way: way, From: latest(from, start), To: earliest(to, end), First: before(o, c)}
		x.Why = fmt.Sprintf("%s works on %s", x.Key, relation(c, o, way))
		if x.First {
			x.Why += " and goes first"
		} else {
			x.Why += " and waits"
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Conflict) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Key, b.Key)) })
	return out
}

// busy returns from when to when a change may be at work: one that runs, or one
// that has a window to run in.
func busy(c ops.Change) (from, to time.Time, ok bool) {
	switch {
	case c.State == ops.ChangeImplement && c.Run != nil:
		from, to = c.Run.StartedAt, Forever // it is not over before it says so
		return from, to, true
	case c.State == ops.ChangeScheduled && c.Window != nil:
		return c.Window.Start, c.Window.End, true
	}
	return from, to, false
}

// before reports whether a goes before b.
func before(a, b ops.Change) bool {
	aRuns, bRuns := a.State == ops.ChangeImplement, b.State == ops.ChangeImplement
	if aRuns != bRuns {
		return aRuns
	}
	aFrom, _, _ := busy(a)
	bFrom, _, _ := busy(b)
	return cmp.Or(aFrom.Compare(bFrom), cmp.Compare(a.Number, b.Number), cmp.Compare(a.ID, b.ID)) < 0
}

func relation(c, o ops.Change, way []string) string {
	switch name := cmp.Or(o.Resource, o.ResourceID); len(way) {
	case 1:
		return "the same resource"
	case 2:
		return fmt.Sprintf("%s, which is connected with %s", name, cmp.Or(c.Resource, c.ResourceID))
	default:
		return fmt.Sprintf("%s, which is connected with %s by way of %s", name, cmp.Or(c.Resource, c.ResourceID), strings.Join(way[1:len(way)-1], ", "))
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
