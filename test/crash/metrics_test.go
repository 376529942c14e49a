package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/test/house"
	"github.com/fettleops/fettle/test/sender"
)

// onTheWay are the failpoints between a sample at the door and a committed
// anomaly, snapshots and the trimming of the log among them.
var onTheWay = []string{
	"intake.samples.before", "intake.samples.after",
	"commit.before:series.(*SQLLog).Append", "commit.after:series.(*SQLLog).Append",
	"commit.before:detect.(*run).write", "commit.after:detect.(*run).write",
	"snapshot.before:detect.modelDir.write", "snapshot.after:detect.modelDir.write",
	"commit.before:series.(*SQLLog).Trim", "commit.after:series.(*SQLLog).Trim",
	"commit.before:detect.(*Pipeline).take", "commit.after:detect.(*Pipeline).take",
	"commit.before:series.OpenLog", "commit.after:series.OpenLog",
}

// machines is what the fleet of this test is: machines with metrics, whose
// values are a function of machine, metric and step alone.
const (
	machines = 8
	senders  = 2   // each has machines of its own and sends one delivery at a time
	learnt   = 450 // steps before the first strange one: models grade from 448 on
)

var measured = []string{"fleet_load", "fleet_queue"}

// watchFleet is the section detect of its houses. Nothing is held: when an
// incident opens is a matter of the clock, and so would be what is learned.
const watchFleet = `
  hold_at_most: 1ms
  groups:
    - name: fleet
      entity: instance
      step: 1m
      lateness: 0s
      features:
        - {name: load, metric: fleet_load}
        - {name: queue, metric: fleet_queue}
`

func measure(machine, metric, step int) float64 {
	noise := rand.New(rand.NewPCG(uint64(machine)<<32|uint64(metric), uint64(step))).Float64()
	v := 10 + 3*math.Sin(float64(step)/9+float64(machine)) + noise + float64(metric)
	if at := (step + 17*machine) % 150; machine%2 == 0 && step > learnt && at < 3 {
		v += 40
	}
	return v
}

// midnight is that of three days ago, the same for both lives that are compared.
// Readings of long ago would be deleted by a life that comes to look for such.
var midnight = sync.OnceValue(func() time.Time { return time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -3) })

// fleet sends what the machines measure.
type fleet struct {
	t     *testing.T
	house *house.House
	begin time.Time
	steps int

	allowed   atomic.Int64 // steps that may be sent by now
	sent      atomic.Int64 // acknowledged deliveries
	tally     house.Tally
	templates [senders]*sender.Template
	done      sync.WaitGroup
}

// newFleet measures once a minute, the last time a while ago.
func newFleet(t *testing.T, h *house.House, steps int) *fleet {
	t.Helper()
	f := &fleet{t: t, house: h, steps: steps, begin: midnight()}
	for s := range senders {
		var own []series.Descriptor
		for m := s; m < machines; m += senders {
			for _, name := range measured {
				own = append(own, series.Descriptor{Metric: name, Labels: []series.Label{{Name: "instance", Value: fmt.Sprintf("m%d:9100", m)}}})
			}
		}
		var err error
		if f.templates[s], err = sender.New(sender.Version(1+s%2), own); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// start sends until everything is acknowledged, with pause after each
// delivery, and no more than is allowed.
func (f *fleet) start(ctx context.Context, pause time.Duration) {
	for s := range senders {
		f.done.Go(func() {
			var b sender.Body
			t := f.templates[s]
			for step := range f.steps {
				for int64(step) >= f.allowed.Load() {
					time.Sleep(time.Millisecond)
					if ctx.Err() != nil {
						return
					}
				}
				body := b.Render(t, f.begin.Add(time.Duration(step)*time.Minute).UnixMilli(), func(i int) float64 {
					return measure(s+i/len(measured)*senders, i%len(measured), step)
				})
				if err := f.house.Write(ctx, t.Version().ContentType(), body, &f.tally); err != nil {
					f.t.Errorf("step %d was not acknowledged: %v", step, err)
					return
				}
				f.sent.Add(1)
				time.Sleep(pause)
			}
		})
	}
}

// undisturbed is what one life leaves of so many steps.
func undisturbed(t *testing.T, steps int) house.Findings {
	t.Helper()
	h := house.New(t, house.Options{Detect: watchFleet})
	h.Start("")
	h.Ready(ready)
	f := newFleet(t, h, steps)
	f.allowed.Store(int64(steps))
	f.start(t.Context(), 0)
	f.done.Wait()
	h.Detected(drained)
	h.Drain(drained)
	h.Stop()
	return h.Findings(t.Context())
}

func TestEverySampleIsScoredOnceThoughTheServerDies(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	const kills, each = 50, 60     // steps allowed more with each life
	const within = 8 * time.Second // some failpoints come rarely
	const steps = (kills + 1) * each
	random := rand.New(rand.NewPCG(seed(t), 3))
	h := house.New(t, house.Options{Detect: watchFleet})
	f := newFleet(t, h, steps)
	began := time.Now()
	reached := map[string]int{}
	f.start(t.Context(), time.Millisecond)
	for life := range kills {
		point := ""
		if life%2 == 1 {
			// The first points are passed once for each delivery, the later ones less often.
			point = onTheWay[life/2%len(onTheWay)]
			if n := life / 2 % len(onTheWay); n < 6 {
				point = fmt.Sprintf("%s#%d", point, 1+random.IntN(20))
			}
		}
		h.Start(point)
		if point == "" {
			if life%8 != 4 { // or it may die in the start itself
				h.Ready(ready)
			}
			f.allowed.Add(int64(each))
			time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond)
			h.Kill()
		} else {
			f.allowed.Add(int64(each))
			select {
			case <-h.Ended():
				reached[point]++
			case <-time.After(within):
				h.Kill()
			}
		}
		if !h.Killed() {
			t.Fatalf("life %d ended by itself:\n%s", life, h.Tail(10))
		}
	}
	h.Start("")
	h.Ready(ready)
	f.allowed.Store(int64(steps))
	f.done.Wait()
	back := time.Now()
	h.Detected(drained)
	behind := time.Since(back)
	h.Drain(drained)
	h.Stop()
	h.Sound(nil)
	got := h.Findings(t.Context())
	t.Logf("%d kills in %.0f s, %d of them at failpoints (%d different); %d deliveries acknowledged, %d lost with the server, %d refused; detected %.1f s after the last one",
		kills, time.Since(began).Seconds(), kills/2, len(reached), f.sent.Load(), f.tally.Lost.Load(), f.tally.Refused.Load(), behind.Seconds())
	if f.tally.Lost.Load() == 0 || len(reached) == 0 {
		t.Error("the kills did not do what they are for: no delivery lost its answer, or no failpoint was reached")
	}
	compare(t, got, undisturbed(t, steps), steps)
}

// compare holds what a disturbed life left against an undisturbed one.
func compare(t *testing.T, got, want house.Findings, steps int) {
	t.Helper()
	if len(want.Readings) != machines || len(want.Anomalies) < machines/2 {
		t.Errorf("%d series and %d anomalies in an undisturbed run: the input does not do what it is for", len(want.Readings), len(want.Anomalies))
	}
	points := 0
	for id, readings := range want.Readings {
		points += len(readings)
		if len(readings) != steps-1 { // the last is still open
			t.Errorf("%d readings of %s in an undisturbed run, want %d", len(readings), id, steps-1)
		}
		if i := firstDifference(got.Readings[id], readings); i >= 0 {
			t.Errorf("series %s: %d readings, want %d; number %d differs: %v, want %v", id, len(got.Readings[id]), len(readings), i, at(got.Readings[id], i), at(readings, i))
		}
	}
	if len(got.Readings) != len(want.Readings) {
		t.Errorf("%d series are watched, want %d", len(got.Readings), len(want.Readings))
	}
	anomalies := func(f house.Findings) (out []string) {
		for _, a := range f.Anomalies {
			b, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(b))
		}
		return out
	}
	for _, c := range []struct {
		what      string
		got, want []string
	}{{"anomalies", anomalies(got), anomalies(want)}, {"tellings of anomalies", got.Alerts, want.Alerts}, {"incidents", got.Incidents, want.Incidents}} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%d %s, want %d; only here: %.600v; only there: %.600v", len(c.got), c.what, len(c.want), without(c.got, c.want), without(c.want, c.got))
		}
	}
	t.Logf("%d readings of %d series, %d anomalies, %d tellings of them and %d incidents of an undisturbed run", points, len(want.Readings), len(want.Anomalies), len(want.Alerts), len(want.Incidents))
}

func without(all, known []string) (out []string) {
	left := map[string]int{}
	for _, k := range known {
		left[k]++
	}
	for _, a := range all {
		if left[a]--; left[a] < 0 {
			out = append(out, a)
		}
	}
	return out
}

func firstDifference(a, b []detect.Reading) int {
	for i := range max(len(a), len(b)) {
		if fmt.Sprintf("%x", at(a, i)) != fmt.Sprintf("%x", at(b, i)) {
			return i
		}
	}
	return -1
}

// at is all that a reading says; empty where there is none.
func at(rs []detect.Reading, i int) []float32 {
	if i >= len(rs) {
		return nil
	}
	r := rs[i]
	out := []float32{float32(r.At / 1000 % (1 << 24)), r.Score, r.Grade}
	for _, s := range [][]float32{r.Values, r.Expected, r.Low, r.High} {
		out = append(out, s...)
	}
	return out
}
