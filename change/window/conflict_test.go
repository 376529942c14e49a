package window_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

func TestConflicts(t *testing.T) {
	g := graph.New([]graph.Edge{{From: "web", To: "app"}, {From: "app", To: "db"}, {From: "batch", To: "db"}})
	at2 := at("2026-11-22T02:00:00Z")
	change := func(number int64, resource string, hour, length int) ops.Change {
		start := at2.Add(time.Duration(hour) * time.Hour)
		return ops.Change{
			ID: fmt.Sprint(number), Number: number, State: ops.ChangeScheduled, ResourceID: resource,
			Window: &ops.Occurrence{Start: start, End: start.Add(time.Duration(length) * time.Hour)},
		}
	}
	running := func(c ops.Change) ops.Change {
		c.State, c.Run = ops.ChangeImplement, &ops.Run{StartedAt: c.Window.Start}
		return c
	}
	f := func(hops int, c ops.Change, others []ops.Change, want string) {
		t.Helper()
		var got []string
		for _, x := range window.Conflicts(c, others, g, hops) {
			word := "waits"
			if x.First {
				word = "first"
			}
			got = append(got, fmt.Sprintf("%s %s %s %s-%s", x.Key, word, strings.Join(x.Way, ","), x.From.Format("15"), x.To.Format("15")))
			if x.Why == "" {
				t.Error("a conflict without a reason")
			}
			// Of each pair exactly one waits.
			for _, o := range others {
				if o.Key() != x.Key {
					continue
				}
				if back := window.Conflicts(o, []ops.Change{c}, g, hops); len(back) != 1 || back[0].First == x.First {
					t.Errorf("%s and %s: %+v and %+v", c.Key(), o.Key(), x, back)
				}
			}
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	c := change(7, "app", 0, 4)
	f(1, c, []ops.Change{c}, "")
	f(1, c, []ops.Change{change(8, "app", 1, 4)}, "CHG-8 waits app 03-06")
	f(1, c, []ops.Change{change(8, "app", 4, 4)}, "") // one ends as the other begins
	f(1, c, []ops.Change{change(6, "web", 0, 4), change(9, "db", -1, 2), change(5, "batch", 0, 4)}, "CHG-6 first app,web 02-06; CHG-9 first app,db 02-03")
	f(2, c, []ops.Change{change(5, "batch", 0, 1)}, "CHG-5 first app,db,batch 02-03")
	f(0, c, []ops.Change{change(5, "web", 0, 1), change(4, "app", 0, 1)}, "CHG-4 first app 02-03")
	f(1, c, []ops.Change{running(change(9, "db", 1, 1))}, "CHG-9 first app,db 03-06") // what runs is not over before it says so
	f(1, running(c), []ops.Change{change(3, "db", -9, 99)}, "CHG-3 waits app,db 02-20")
	f(1, c, []ops.Change{{ID: "x", State: ops.ChangeAuthorize, ResourceID: "app"}, {ID: "y", State: ops.ChangeScheduled, ResourceID: "app"}}, "")
	f(1, change(7, "", 0, 4), []ops.Change{change(8, "", 0, 4)}, "") // nobody knows what they are about
}
