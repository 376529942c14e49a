package correlate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
)

// grown returns how many members each IncidentGrew counted and how many alerts it carries.
func (w *world) grown() string {
	w.t.Helper()
	facts, err := w.store.FactsAfter(context.Background(), 0, 1000, ops.IncidentGrew)
	if err != nil {
		w.t.Fatal(err)
	}
	text := ""
	for _, f := range facts {
		b, err := ops.Body[ops.IncidentGrewBody](f)
		if err != nil {
			w.t.Fatal(err)
		}
		if b.Incident.Untold != nil {
			w.t.Error("a fact that tells the growth carries it as untold")
		}
		joined, err := w.store.Joined(context.Background(), b.Incident.ID, b.Joined)
		if err != nil || len(joined) != b.Count {
			w.t.Errorf("%d alerts joined by the messages %v, %v; the fact counts %d", len(joined), b.Joined, err, b.Count)
		}
		text += fmt.Sprintf("%d(%d) of %d;", b.Count, len(b.Alerts), b.Incident.Total)
	}
	return text
}

func TestAGrowingIncidentTellsOnceASecond(t *testing.T) {
	w := newWorld(t, Config{GroupBy: []string{"rule"}})
	w.say(w.alert("HighCPU", "first", ops.Firing))
	for i := range 10 {
		w.after(50 * time.Millisecond)
		w.say(w.alert("HighCPU", fmt.Sprintf("h%d", i), ops.Firing))
	}
	w.want("INC-1 new high 11/11", "IncidentOpened IncidentGrew")
	w.after(500 * time.Millisecond)
	w.run()
	w.want("INC-1 new high 11/11", "IncidentOpened IncidentGrew")
	w.after(50 * time.Millisecond)
	w.run()
	if got, want := w.grown(), "1(1) of 2;9(9) of 11;"; got != want {
		t.Errorf("growth: got %s want %s", got, want)
	}
	w.after(time.Hour)
	w.run()
	w.want("INC-1 new high 11/11", "IncidentOpened IncidentGrew IncidentGrew")
}

// A storm that goes on is told in longer and longer steps, and each step counts
// all that joined since the one before; after a quiet time the first step is
// short again.
func TestAStormIsToldInLongerSteps(t *testing.T) {
	w := newWorld(t, Config{GroupBy: []string{"rule"}})
	w.say(w.alert("HighCPU", "first", ops.Firing))
	host := 0
	storm := func(seconds int) (told string) {
		before := len(strings.Split(w.grown(), ";"))
		for range seconds {
			w.after(time.Second)
			host++
			w.say(w.alert("HighCPU", fmt.Sprintf("h%d", host), ops.Firing))
		}
		all := strings.Split(w.grown(), ";")
		return strings.Join(all[before-1:], ";")
	}
	if got, want := storm(8), "1(1) of 2;1(1) of 3;2(2) of 5;4(4) of 9;"; got != want {
		t.Errorf("the first 8 s: got %s want %s", got, want)
	}
	if got, want := storm(60), "8(8) of 17;10(10) of 27;10(10) of 37;10(10) of 47;10(10) of 57;10(10) of 67;"; got != want {
		t.Errorf("a minute more: got %s want %s", got, want)
	}
	before := len(w.grown())
	var many []ops.Alert
	for i := range tellMany {
		many = append(many, w.alert("HighCPU", fmt.Sprintf("m%d", i), ops.Firing))
	}
	w.say(many...)
	if got, want := w.grown()[before:], "1002(20) of 1069;"; got != want {
		t.Errorf("a thousand at once: got %s want %s", got, want)
	}
	w.after(5 * time.Minute)
	if got, want := storm(2), "1(1) of 1070;1(1) of 1071;"; got != want {
		t.Errorf("after a quiet time: got %s want %s", got, want)
	}
	w.after(-time.Hour) // the clock is set right
	if got, want := storm(1), "1(1) of 1072;"; got != want {
		t.Errorf("an hour back: got %s want %s", got, want)
	}
}

func TestARestartTellsWhatWasUntold(t *testing.T) {
	cfg := Config{GroupBy: []string{"rule"}}
	w := newWorld(t, cfg)
	w.say(w.alert("HighCPU", "first", ops.Firing))
	w.say(w.alert("HighCPU", "second", ops.Firing))
	w.say(w.alert("HighCPU", "third", ops.Firing), w.alert("HighCPU", "fourth", ops.Firing))
	w.want("INC-1 new high 4/4", "IncidentOpened IncidentGrew")
	w.restart(cfg)
	w.after(time.Second)
	w.run()
	if got, want := w.grown(), "1(1) of 2;2(2) of 4;"; got != want {
		t.Errorf("growth: got %s want %s", got, want)
	}
	if mustIncident(t, w, "INC-1").Untold != nil {
		t.Error("the incident keeps as untold what was told")
	}
}

func TestWhatPeopleWaitForIsToldAtOnce(t *testing.T) {
	w := newWorld(t, Config{GroupBy: []string{"rule"}})
	start := w.now
	at := func(a *ops.Alert) { a.StartsAt = start }
	w.say(w.alert("HighCPU", "a", ops.Firing))
	w.say(w.alert("HighCPU", "b", ops.Firing))
	w.say(w.alert("HighCPU", "c", ops.Firing)) // waits
	w.say(w.alert("HighCPU", "d", ops.Firing, severity(ops.Critical)))
	if got, want := w.grown(), "1(1) of 2;2(2) of 4;"; got != want {
		t.Errorf("a worse severity: got %s want %s", got, want)
	}
	w.say(w.alert("HighCPU", "e", ops.Firing)) // waits
	var over []ops.Alert
	for _, host := range []string{"a", "b", "c", "d", "e"} {
		over = append(over, w.alert("HighCPU", host, ops.Resolved, at))
	}
	w.say(over...)
	w.want("INC-1 resolved critical 0/5", "IncidentOpened IncidentGrew IncidentGrew IncidentGrew IncidentResolved")
}
