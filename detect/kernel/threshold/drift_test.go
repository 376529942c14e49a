package threshold

import (
	"fmt"
	"strings"
	"testing"
)

// story plays points written as value or value! (graded), all with a deviation
// of 1, and returns one letter per point: the step (q, a, l), upper case where
// the point alerts, and a dot after it where it is not learned.
func story(t *testing.T, d *Drift, points string) string {
	t.Helper()
	var b strings.Builder
	for _, p := range strings.Fields(points) {
		var x float64
		hold := strings.HasPrefix(p, "(")
		if _, err := fmt.Sscan(strings.Trim(p, "()!"), &x); err != nil {
			t.Fatal(err)
		}
		decision := d.Update(truth(strings.Contains(p, "!")), []float64{x}, []float64{1}, hold)
		letter := decision.Step.String()[:1]
		if decision.Alert {
			letter = strings.ToUpper(letter)
		}
		b.WriteString(letter)
		if !decision.Learn {
			b.WriteString(".")
		}
		b.WriteString(" ")
	}
	return strings.TrimSpace(b.String())
}

func TestDriftAlertsOnceThenLearns(t *testing.T) {
	f := func(points, want string) {
		t.Helper()
		d := must(NewDrift(DriftSettings{Run: 4, Calm: 2}))
		if got := story(t, d, points); got != want {
			t.Errorf("%s\n got %s\nwant %s", points, got, want)
		}
	}
	f("1 1 2", "q q q")
	// A spike is one alert; calm ends the episode.
	f("1 9! 1 1 1", "q A. a q q")
	// A plateau is one alert, and after four points that agree, learned.
	f("1 20! 21! 20! 19! 20! 20 20 20", "q A. a. a. l l l q q")
	// Points that do not agree begin the run again, without another alert.
	f("1 20! 21! 40! 41! 39! 40! 40!", "q A. a. a. a. a. l l")
	// A calm point in between does not break a run.
	f("20! 21! 20 20! 19!", "A. a. a a. l")
	// Who leaves the new level is a new episode.
	f("20! 20! 20! 20! 50! 51! 50! 50! 50!", "A. a. a. l A. a. a. l l")
	// After an episode the next one alerts again.
	f("9! 1 1 9!", "A. a q A.")
	// Held points are decided on and forgotten.
	f("(9!) 1 20! 21! (20!) (20!) (20!) 20! 20!", "A. q A. a. a. a. a. a. l")
}

func TestDriftAsksEveryFeature(t *testing.T) {
	d := must(NewDrift(DriftSettings{Features: 2, Run: 2}))
	d.Update(1, []float64{10, 10}, []float64{1, 1}, false)
	if got := d.Update(1, []float64{10, 90}, []float64{1, 1}, false); got.Step != Alerted || got.Alert {
		t.Errorf("one feature agrees, the other does not: %+v", got)
	}
	if got := d.Update(1, []float64{11, 91}, []float64{1, 1}, false); got.Step != Learning || !got.Learn || d.Step() != Learning {
		t.Errorf("both agree: %+v", got)
	}
}

func TestDriftFollowsACreepingLevel(t *testing.T) {
	d := must(NewDrift(DriftSettings{}))
	alerts := 0
	for i := range 500 {
		if d.Update(1, []float64{100 + float64(i)*0.1}, []float64{1}, false).Alert {
			alerts++
		}
	}
	if alerts != 1 || d.Step() != Learning {
		t.Errorf("%d alerts, step %v; want 1, learning", alerts, d.Step())
	}
}

func TestDriftRefusesSettings(t *testing.T) {
	f := func(s DriftSettings, ok bool) {
		t.Helper()
		if _, err := NewDrift(s); (err == nil) != ok {
			t.Errorf("NewDrift(%+v): error %v", s, err)
		}
	}
	f(DriftSettings{}, true)
	f(DriftSettings{Features: 65}, false)
	f(DriftSettings{Run: 1}, false)
}
