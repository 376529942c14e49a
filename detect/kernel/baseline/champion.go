package baseline

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Point is one point of a series' past. A NaN is a missing value.
type Point struct {
	At     int64 // Unix ms
	Values []float64
}

// Candidate is a detector that may become the champion of a series.
type Candidate struct {
	Name string
	// NewFunc returns the detector with nothing learned. It is called once for
	// each run.
	NewFunc func() (Processor, error)
}

// Trials say how candidates are tried.
type Trials struct {
	// Seed draws the anomalies; equal seeds give equal standings.
	Seed uint64
	// Rounds is how many times anomalies are drawn, 1 to 32. Defaults to 4.
	Rounds int
	// MaxPoints is how many points of the end of the past are used, 256 to
	// 100,000. Defaults to 4096. A candidate processes at most (Rounds+1) times
	// MaxPoints points.
	MaxPoints int
}

// Kind is a kind of anomaly that is planted.
type Kind int

// The kinds.
const (
	Spike Kind = iota // one to three points up
	Dip               // one to three points down
	Shift             // another level for a while
	Stuck             // one value repeated for a while
	Swap              // a while of another time of the same series
	kinds
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Spike:
		return "spike"
	case Dip:
		return "dip"
	case Shift:
		return "level shift"
	case Stuck:
		return "stuck value"
	case Swap:
		return "out of place"
	default:
		return fmt.Sprintf("kind %d", int(k))
	}
}

// Standing is how a candidate did, so that the choice can be explained.
type Standing struct {
	Name string
	// AveragePrecision over the planted points is what ranks.
	AveragePrecision float64
	// ROCAUC is the chance that a planted point scores more than another.
	ROCAUC float64
	// ByKind is the average precision against each kind alone, by Kind; NaN
	// where none could be planted.
	ByKind [kinds]float64
	// Planted and Judged count the planted points and all that were compared,
	// over all rounds.
	Planted, Judged int
}

const (
	minPast = 256
	// probation is the part of the past that is only learned.
	probation = 0.3
	// excused is the part of the past that each candidate may find strange
	// without being blamed: it may be. Nobody labelled it.
	excused = 0.01
)

// Champion ranks candidates by a back-test on the past of the series itself,
// best first. It looks at no label: in each round it plants anomalies of every
// kind, sized by the series' own step from point to point, into a copy of the
// past, lets each candidate read it in order, and takes the average precision
// with which the planted points are told from the rest. The hundredth of the
// untouched past that a candidate itself finds strangest is left out of its own
// count, because a real anomaly found there is no mistake. The first 30% of the
// past is only learned.
//
// The past needs 256 points in order, all of one width. Ties keep the order of
// the candidates.
func Champion(past []Point, candidates []Candidate, t Trials) ([]Standing, error) {
	var err error
	if t.Rounds, err = choose("champion", "rounds", t.Rounds, 4, 1, 32); err != nil {
		return nil, err
	}
	if t.MaxPoints, err = choose("champion", "points", t.MaxPoints, 4096, minPast, 1e5); err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		return nil, errors.New("champion: no candidates: give at least one")
	}
	if len(past) < minPast {
		return nil, fmt.Errorf("champion: a past of %d points: give at least %d", len(past), minPast)
	}
	past = past[max(0, len(past)-t.MaxPoints):]
	g, err := newGarden(past, t.Seed)
	if err != nil {
		return nil, err
	}
	plots := make([]plot, t.Rounds)
	planted := 0
	for i := range plots {
		plots[i] = g.plant()
		planted += plots[i].planted
	}
	if planted == 0 {
		return nil, errors.New("champion: nothing could be planted: the past has too few values")
	}
	standings := make([]Standing, len(candidates))
	for i, c := range candidates {
		if standings[i], err = g.try(c, plots); err != nil {
			return nil, fmt.Errorf("champion: %s: %w", c.Name, err)
		}
	}
	slices.SortStableFunc(standings, func(a, b Standing) int {
		return cmp.Compare(b.AveragePrecision, a.AveragePrecision)
	})
	return standings, nil
}

// garden is the past in which anomalies are planted.
type garden struct {
	past   []Point
	first  int       // judged point
	steps  []float64 // usual step from point to point of each feature
	lowest []float64
	random splitmix
}

// plot is a past with anomalies.
type plot struct {
	values  [][]float64
	kinds   []Kind // of each point; -1 where it is untouched
	planted int
}

func newGarden(past []Point, seed uint64) (*garden, error) {
	width := len(past[0].Values)
	if width == 0 {
		return nil, errors.New("champion: points without values")
	}
	g := &garden{
		past: past, first: int(probation * float64(len(past))), random: splitmix(seed),
		steps: make([]float64, width), lowest: make([]float64, width),
	}
	for i, p := range past {
		if len(p.Values) != width {
			return nil, fmt.Errorf("champion: point %d has %d values and the first %d: give points of one width", i, len(p.Values), width)
		}
	}
	for f := range width {
		values, changes := newWindow(len(past)), newWindow(len(past))
		prev := math.NaN()
		for _, p := range past {
			if math.IsNaN(p.Values[f]) {
				continue
			}
			v := bounded(p.Values[f])
			values.ring = append(values.ring, v)
			if !math.IsNaN(prev) {
				changes.ring = append(changes.ring, v-prev)
			}
			prev = v
		}
		values.sorted, changes.sorted = slices.Sorted(slices.Values(values.ring)), slices.Sorted(slices.Values(changes.ring))
		if values.len() == 0 {
			continue
		}
		median := values.median()
		// A series that moves once in a while has an unusual, small step; what
		// never moves is given a hundredth of its level.
		g.steps[f] = max(changes.spread(0), values.spread(median)/20)
		if g.steps[f] == 0 {
			g.steps[f] = max(math.Abs(median)/100, 1e-6)
		}
		g.lowest[f] = values.sorted[0]
	}
	return g, nil
}

// plant returns the past with an anomaly of each kind in turn, one in each
// stretch of the judged part, at a random place of it.
func (g *garden) plant() plot {
	p := plot{values: make([][]float64, len(g.past)), kinds: make([]Kind, len(g.past))}
	for i := range g.past {
		p.values[i] = g.past[i].Values
		p.kinds[i] = -1
	}
	judged := len(g.past) - g.first
	stretches := min(max(judged/64, int(kinds)), 50)
	stretch := judged / stretches
	order := g.random.below(int(kinds))
	for s := range stretches {
		kind := Kind((s + order) % int(kinds))
		length := 1 + g.random.below(3)
		if kind >= Shift {
			longest := min(32, stretch/2)
			length = longest/2 + g.random.below(longest/2+1)
		}
		from := g.first + s*stretch + g.random.below(stretch-length)
		g.put(&p, kind, from, length)
	}
	return p
}

// put plants one anomaly. A point counts as planted when it is moved by more
// than two usual steps: what is not cannot be told from the rest.
func (g *garden) put(p *plot, kind Kind, from, length int) {
	f := g.random.below(len(g.steps))
	size := (4 + 12*g.random.unit()) * g.steps[f]
	if kind == Dip || kind == Shift && g.random.unit() < 0.5 {
		size = -size
	}
	source := g.random.below(len(g.past) - length)
	for i := from; i < from+length; i++ {
		old := p.values[i][f]
		if math.IsNaN(old) || g.steps[f] == 0 {
			continue
		}
		v := old
		switch kind {
		case Spike, Dip, Shift:
			v = bounded(old) + size
			if g.lowest[f] >= 0 && v < 0 {
				v = 0 // a rate or a size does not fall below zero
			}
		case Stuck:
			v = p.values[from-1][f]
		case Swap:
			v = g.past[source+i-from].Values[f]
		}
		if math.IsNaN(v) {
			continue
		}
		values := slices.Clone(p.values[i])
		values[f] = v
		p.values[i] = values
		if math.Abs(v-old) > 2*g.steps[f] {
			p.kinds[i] = kind
			p.planted++
		}
	}
}

// try runs a candidate over the untouched past and over each plot.
func (g *garden) try(c Candidate, plots []plot) (Standing, error) {
	run := func(values func(int) []float64) ([]float64, error) {
		p, err := c.NewFunc()
		if err != nil {
			return nil, err
		}
		scores := make([]float64, len(g.past))
		for i := range g.past {
			if scores[i], err = p.Process(g.past[i].At, values(i), false); err != nil {
				return nil, err
			}
			if math.IsNaN(scores[i]) {
				return nil, fmt.Errorf("point %d scored %v: a score is a number", i, scores[i])
			}
		}
		return scores, nil
	}
	clean, err := run(func(i int) []float64 { return g.past[i].Values })
	if err != nil {
		return Standing{}, err
	}
	sorted := slices.Sorted(slices.Values(clean[g.first:]))
	strange := quantile(sorted, 1-excused)

	var scores []float64
	var of []Kind
	for _, p := range plots {
		got, err := run(func(i int) []float64 { return p.values[i] })
		if err != nil {
			return Standing{}, err
		}
		for i := g.first; i < len(got); i++ {
			if p.kinds[i] < 0 && clean[i] > strange {
				continue
			}
			scores, of = append(scores, got[i]), append(of, p.kinds[i])
		}
	}
	positive := make([]bool, len(of))
	standing := Standing{Name: c.Name, Judged: len(of)}
	for i, k := range of {
		if positive[i] = k >= 0; positive[i] {
			standing.Planted++
		}
	}
	standing.AveragePrecision = averagePrecision(scores, positive)
	standing.ROCAUC = areaUnderROC(scores, positive)
	for k := range kinds {
		standing.ByKind[k] = against(k, scores, of)
	}
	return standing, nil
}

// against is the average precision with the other kinds left out.
func against(kind Kind, all []float64, of []Kind) float64 {
	var scores []float64
	var positive []bool
	found := false
	for i, k := range of {
		if k < 0 || k == kind {
			scores, positive = append(scores, all[i]), append(positive, k == kind)
			found = found || k == kind
		}
	}
	if !found {
		return math.NaN()
	}
	return averagePrecision(scores, positive)
}
