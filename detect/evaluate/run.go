package evaluate

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// Candidate is a detector to measure. New is called once for each series and
// seed.
type Candidate struct {
	Name string
	New  func(detector.Settings) (detector.Detector, error)
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

// Run scores every series with every candidate and seed and returns one result
// for each candidate, in their order. Each series is one pass of a detector of
// its own. The first error ends the run.
func Run(ctx context.Context, set *Set, candidates []Candidate, o Options) ([]Result, error) {
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
	for _, c := range candidates {
		for seed := 1; seed <= o.Seeds; seed++ {
			t := &trial{candidate: c, seed: seed, scores: make([][]float64, len(set.Series))}
			t.left.Store(int64(len(set.Series)))
			b.trials = append(b.trials, t)
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
	for _, t := range b.trials {
		for i := range set.Series {
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
	for i, c := range candidates {
		var runs []Figures[Number]
		for _, t := range b.trials[i*o.Seeds:][:o.Seeds] {
			runs = append(runs, t.figures)
		}
		out = append(out, Result{Name: c.Name, Figures: fold(runs, mean), Seeds: o.Seeds, Spread: fold(runs, spread)})
	}
	return out, nil
}

type bench struct {
	set     *Set
	judge   *Judge
	options Options
	trials  []*trial

	mu   sync.Mutex
	done int
}

// trial is one detector with one seed on all series.
type trial struct {
	candidate Candidate
	seed      int
	scores    [][]float64
	left      atomic.Int64
	figures   Figures[Number]
}

type job struct {
	trial  *trial
	series int
}

func (b *bench) do(ctx context.Context, j job) error {
	t := j.trial
	settings := detector.Settings{Step: b.options.Step, Seed: uint64(t.seed), AlarmsPerWeek: b.options.AlarmsPerWeek}
	scores, err := Scores(ctx, &b.set.Series[j.series], t.candidate, settings)
	if err != nil {
		return err
	}
	t.scores[j.series] = scores
	if t.left.Add(-1) > 0 {
		return nil
	}
	t.figures = b.judge.Measure(t.scores)
	t.scores = nil
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done++
	if b.options.Progress != nil {
		b.options.Progress(t.candidate.Name, t.seed, b.done, len(b.trials))
	}
	return nil
}

// Scores streams a series through a new detector, one point at a time, and
// returns Reading.Score of each row. Features is set to 1 and a Step of 0 to
// that of Step. A row whose time does not come after that of the row before,
// as happens when a clock is set back, is given the time one step after it.
func Scores(ctx context.Context, s *Series, c Candidate, settings detector.Settings) ([]float64, error) {
	settings.Features = 1
	if settings.Step <= 0 {
		settings.Step = Step(s.At)
	}
	d, err := c.New(settings)
	if err != nil {
		return nil, fmt.Errorf("detector %s: %w", c.Name, err)
	}
	out := make([]float64, len(s.Values))
	var reading detector.Reading
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
		if err := d.Process(point, &reading); err != nil {
			return nil, fmt.Errorf("detector %s: %s row %d: %w", c.Name, s.Name, i+1, err)
		}
		if !(reading.Score >= 0 && reading.Score <= 1) {
			return nil, fmt.Errorf("detector %s: %s row %d scores %v, outside 0 to 1", c.Name, s.Name, i+1, reading.Score)
		}
		out[i] = reading.Score
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
