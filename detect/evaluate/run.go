package evaluate

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// Team is detectors that go through each series together, so that they can share
// work; each is measured by itself. New is called once for each series and seed.
type Team struct {
	Names []string
	New   func(detector.Settings) (Panel, error)
}

// Panel is the detectors of a team on one series: each reads the point and fills
// in the reading that has its place in Names.
type Panel interface {
	Process(p detector.Point, r []detector.Reading) error
}

// Alone is a team of one.
func Alone(name string, made func(detector.Settings) (detector.Detector, error)) Team {
	return Team{Names: []string{name}, New: func(s detector.Settings) (Panel, error) {
		d, err := made(s)
		return alone{d}, err
	}}
}

type alone struct{ detector.Detector }

func (a alone) Process(p detector.Point, r []detector.Reading) error {
	return a.Detector.Process(p, &r[0])
}

// Options are those of a run.
type Options struct {
	// Seeds is how often every series is scored, with seeds 1 to Seeds.
	// Defaults to 5.
	Seeds int
	// Step of all series. Defaults to the one measured on each, see Step.
	Step time.Duration
	// AlarmsPerWeek is handed to the detectors and is the budget of false
	// alarms. Defaults to 1.
	AlarmsPerWeek float64
	// VUS asks for VUS-PR.
	VUS bool
	// Workers score series side by side. Defaults to GOMAXPROCS.
	Workers int
	// Progress, if not nil, is told after each seed of each detector. It is
	// called by one goroutine at a time.
	Progress func(name string, seed, done, of int)
}

// Run scores every series with every team and seed and returns one result for
// each detector, in their order. Each series is one pass of a panel of its own.
// The first error ends the run.
func Run(ctx context.Context, set *Set, teams []Team, o Options) ([]Result, error) {
	if o.Seeds <= 0 {
		o.Seeds = 5
	}
	if o.AlarmsPerWeek <= 0 {
		o.AlarmsPerWeek = 1
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	b := &bench{set: set, judge: NewJudge(set, o.AlarmsPerWeek, o.VUS), options: o}
	for _, team := range teams {
		for seed := 1; seed <= o.Seeds; seed++ {
			t := &trial{team: team, seed: seed, scores: make([][][]float64, len(team.Names)), figures: make([]Figures[Number], len(team.Names))}
			for i := range t.scores {
				t.scores[i] = make([][]float64, len(set.Series))
			}
			t.left.Store(int64(len(set.Series)))
			b.trials = append(b.trials, t)
			b.of += len(team.Names)
		}
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() {
			for j := range jobs {
				if err := b.do(ctx, j); err != nil {
					stop(err)
				}
			}
		})
	}
	order := longestFirst(set)
	for _, t := range b.trials {
		for _, i := range order {
			select {
			case jobs <- job{t, i}:
			case <-ctx.Done():
			}
		}
	}
	close(jobs)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var out []Result
	for i, team := range teams {
		for k, name := range team.Names {
			var runs []Figures[Number]
			for _, t := range b.trials[i*o.Seeds:][:o.Seeds] {
				runs = append(runs, t.figures[k])
			}
			out = append(out, Result{Name: name, Figures: fold(runs, mean), Seeds: o.Seeds, Spread: fold(runs, spread)})
		}
	}
	return out, nil
}

// longestFirst orders the series so that at the end of a run no worker waits
// long for another.
func longestFirst(set *Set) []int {
	order := make([]int, len(set.Series))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(set.Series[b].Values) - len(set.Series[a].Values) })
	return order
}

type bench struct {
	set     *Set
	judge   *Judge
	options Options
	trials  []*trial

	mu       sync.Mutex
	done, of int
}

// trial is one team with one seed on all series.
type trial struct {
	team    Team
	seed    int
	scores  [][][]float64 // by detector and series
	left    atomic.Int64
	figures []Figures[Number] // by detector
}

type job struct {
	trial  *trial
	series int
}

func (b *bench) do(ctx context.Context, j job) error {
	t := j.trial
	settings := detector.Settings{Step: b.options.Step, Seed: uint64(t.seed), AlarmsPerWeek: b.options.AlarmsPerWeek}
	scores, err := Scores(ctx, &b.set.Series[j.series], t.team, settings)
	if err != nil {
		return err
	}
	for i := range scores {
		t.scores[i][j.series] = scores[i]
	}
	if t.left.Add(-1) > 0 {
		return nil
	}
	// Side by side, as behind the last trial there is nothing else to do.
	var measures sync.WaitGroup
	for i := range t.scores {
		measures.Go(func() {
			t.figures[i] = b.judge.Measure(t.scores[i])
			b.tell(t.team.Names[i], t.seed)
		})
	}
	measures.Wait()
	t.scores = nil
	return nil
}

// tell counts what is done and reports it.
func (b *bench) tell(name string, seed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done++
	if b.options.Progress != nil {
		b.options.Progress(name, seed, b.done, b.of)
	}
}

// Scores streams a series through a new panel, one point at a time, and returns
// for each of its detectors the Reading.Score of each row. Features is set to 1
// and a Step of 0 to that of Step. A row whose time does not come after that of
// the row before, as happens when a clock is set back, is given the time one
// step after it.
func Scores(ctx context.Context, s *Series, team Team, settings detector.Settings) ([][]float64, error) {
	settings.Features = 1
	if settings.Step <= 0 {
		settings.Step = Step(s.At)
	}
	panel, err := team.New(settings)
	if err != nil {
		return nil, fmt.Errorf("detector %s: %w", strings.Join(team.Names, " and "), err)
	}
	out := make([][]float64, len(team.Names))
	for k := range out {
		out[k] = make([]float64, len(s.Values))
	}
	readings := make([]detector.Reading, len(team.Names))
	point := detector.Point{Values: make([]float64, 1)}
	before := int64(math.MinInt64)
	for i, v := range s.Values {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		point.At, point.Values[0] = s.At[i], v
		if point.At <= before {
			point.At = before + max(1, settings.Step.Milliseconds())
		}
		before = point.At
		if err := panel.Process(point, readings); err != nil {
			return nil, fmt.Errorf("detector %s: %s row %d: %w", strings.Join(team.Names, " and "), s.Name, i+1, err)
		}
		for k := range readings {
			score := readings[k].Score
			if !(score >= 0 && score <= 1) {
				return nil, fmt.Errorf("detector %s: %s row %d scores %v, outside 0 to 1", team.Names[k], s.Name, i+1, score)
			}
			out[k][i] = score
		}
	}
	return out, nil
}

// StepRows is the number of first rows a step is measured on.
const StepRows = 16

// Step is the median distance of the first StepRows times; those that do not
// increase are left out. It is a minute where there is no distance.
func Step(at []int64) time.Duration {
	var steps []int64
	for i := 1; i < min(len(at), StepRows); i++ {
		if d := at[i] - at[i-1]; d > 0 {
			steps = append(steps, d)
		}
	}
	if len(steps) == 0 {
		return time.Minute
	}
	slices.Sort(steps)
	return time.Duration(steps[len(steps)/2]) * time.Millisecond
}
