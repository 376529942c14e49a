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
	// Rounds is how many times anomalies are drawn into a past of MaxPoints, 1
	// to 32. In a shorter one they are drawn more often, up to 64 times, for no
	// more points in all. Defaults to 8.
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
	// AveragePrecision is the mean of ByKind, so that no kind outweighs another.
	// It is what ranks.
	AveragePrecision float64
	// ROCAUC is the chance that a block with an anomaly scores more than one
	// without.
	ROCAUC float64
	// ByKind is the average precision against each kind alone, by Kind; NaN
	// where none could be planted.
	ByKind [kinds]float64
	// Planted and Judged count the blocks with an anomaly and all that were
	// compared, over all rounds.
	Planted, Judged int
}

const (
	minPast = 256
	// maxRounds bounds how often anomalies are drawn in a short past.
	maxRounds = 64
	// probation is the part of the past that is only learned.
	probation = 0.3
	// block is how many points are judged together, by the greatest score among
	// them: an alarm anywhere in an anomaly finds it.
	block = 16
	// plotBlocks is how many blocks each anomaly has for itself: it lies within
	// one but the last, and the one after it is not judged, because a return to
	// normal is a change, too.
	plotBlocks = 4
	// excused is the part of the blocks that each candidate may find strange in
	// the untouched past without being blamed. Nobody labelled it.
	excused = 0.02
	// leastSize and greatestSize bound the size of a planted anomaly, in spreads
	// of the series.
	leastSize, greatestSize = 2, 16
)

// Champion ranks candidates by a back-test on the past of the series itself,
// best first. It looks at no label: in each round it plants anomalies of every
// kind into a copy of the past, two to sixteen times as large as the series
// usually spreads (half of them less than six times); lets each candidate read
// the copy in order; and takes the average precision with which the blocks of 16
// points that hold an anomaly of a kind are told from those that hold none. The
// fiftieth of the untouched blocks that a candidate itself finds strangest is
// left out of its own count, because a real anomaly found there is no mistake.
// The first 30% of the past is only learned.
//
// It measures how well a candidate knows the series, not what people call an
// anomaly: TestFirstLook compares it with labels. A CUSUM, which tells a shift
// once and is silent for the rest of it, is judged kindly, because a block
// counts by its greatest score.
//
// The past needs 256 points in order, all of one width. Ties keep the order of
// the candidates.
func Champion(past []Point, candidates []Candidate, t Trials) ([]Standing, error) {
	var err error
	if t.Rounds, err = choose("champion", "rounds", t.Rounds, 8, 1, 32); err != nil {
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
	plots := make([]plot, min(t.Rounds*t.MaxPoints/len(past), maxRounds))
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
	blocks int       // judged
	spread []float64 // of each feature: its robust deviation, or that of its tails
	lowest []float64
	random splitmix
}

// plot is a past with anomalies.
type plot struct {
	values  [][]float64
	kinds   []Kind // of each judged block
	planted int
}

const (
	untouched Kind = -1
	unjudged  Kind = -2
)

func newGarden(past []Point, seed uint64) (*garden, error) {
	width := len(past[0].Values)
	if width == 0 {
		return nil, errors.New("champion: points without values")
	}
	g := &garden{
		past: past, first: int(probation * float64(len(past))), random: splitmix(seed),
		spread: make([]float64, width), lowest: make([]float64, width),
	}
	g.blocks = (len(past) - g.first) / block
	for i, p := range past {
		if len(p.Values) != width {
			return nil, fmt.Errorf("champion: point %d has %d values and the first %d: give points of one width", i, len(p.Values), width)
		}
	}
	for f := range width {
		w := window{sorted: make([]float64, 0, len(past))}
		for _, p := range past {
			if v := p.Values[f]; !math.IsNaN(v) {
				w.sorted = append(w.sorted, bounded(v))
			}
		}
		if w.len() == 0 {
			continue
		}
		slices.Sort(w.sorted)
		median := w.median()
		// What never moves is given a hundredth of its level, or of one.
		tails := (quantile(w.sorted, 0.99) - quantile(w.sorted, 0.01)) / (2 * 2.326)
		if g.spread[f] = max(w.spread(median), tails); g.spread[f] == 0 {
			if g.spread[f] = math.Abs(median) / 100; g.spread[f] == 0 {
				g.spread[f] = 0.01
			}
		}
		g.lowest[f] = w.sorted[0]
	}
	return g, nil
}

// plant returns the past with an anomaly of each kind in turn.
func (g *garden) plant() plot {
	p := plot{values: make([][]float64, len(g.past)), kinds: make([]Kind, g.blocks)}
	for i := range g.past {
		p.values[i] = g.past[i].Values
	}
	for i := range p.kinds {
		p.kinds[i] = untouched
	}
	turn := g.random.below(int(kinds))
	for b := 0; b+plotBlocks <= g.blocks; b += plotBlocks {
		kind := Kind(turn % int(kinds))
		turn++
		length := 1 + g.random.below(3)
		if kind >= Shift {
			length = block/2 + g.random.below(block/2+1)
		}
		at := b + g.random.below(plotBlocks-1)
		from := g.first + at*block + g.random.below(block-length+1)
		p.kinds[at+1] = unjudged
		if p.kinds[at] = unjudged; g.put(&p, kind, from, length) {
			p.kinds[at] = kind
			p.planted++
		}
	}
	return p
}

// put plants an anomaly and reports whether it moved a value by half a spread
// or more: what moved less cannot be told from the rest.
func (g *garden) put(p *plot, kind Kind, from, length int) (moved bool) {
	f := g.random.below(len(g.spread))
	size := leastSize * math.Pow(greatestSize/leastSize, g.random.unit()) * g.spread[f]
	if kind == Dip || kind == Shift && g.random.unit() < 0.5 {
		size = -size
	}
	source := g.random.below(len(g.past) - length)
	for i := from; i < from+length; i++ {
		old, v := p.values[i][f], math.NaN()
		switch kind {
		case Spike, Dip, Shift:
			v = bounded(old) + size
			if g.lowest[f] >= 0 {
				v = max(v, 0) // a rate or a size does not fall below zero
			}
		case Stuck:
			v = p.values[from-1][f]
		case Swap:
			v = g.past[source+i-from].Values[f]
		}
		if math.IsNaN(old) || math.IsNaN(v) {
			continue
		}
		values := slices.Clone(p.values[i])
		values[f] = v
		p.values[i] = values
		moved = moved || math.Abs(v-old) >= g.spread[f]/2
	}
	return moved
}

// run returns the greatest score of each judged block.
func (g *garden) run(c Candidate, values func(int) []float64) ([]float64, error) {
	p, err := c.NewFunc()
	if err != nil {
		return nil, err
	}
	scores := make([]float64, g.blocks)
	for i := range scores {
		scores[i] = math.Inf(-1)
	}
	for i := range g.past {
		score, err := p.Process(g.past[i].At, values(i), false)
		if err != nil {
			return nil, err
		}
		if math.IsNaN(score) {
			return nil, fmt.Errorf("point %d scored %v: a score is a number", i, score)
		}
		if b := (i - g.first) / block; i >= g.first && b < g.blocks {
			scores[b] = max(scores[b], score)
		}
	}
	return scores, nil
}

// try runs a candidate over the untouched past and over each plot.
func (g *garden) try(c Candidate, plots []plot) (Standing, error) {
	clean, err := g.run(c, func(i int) []float64 { return g.past[i].Values })
	if err != nil {
		return Standing{}, err
	}
	strange := quantile(slices.Sorted(slices.Values(clean)), 1-excused)

	var scores []float64
	var of []Kind
	var positive []bool
	standing := Standing{Name: c.Name}
	for _, p := range plots {
		got, err := g.run(c, func(i int) []float64 { return p.values[i] })
		if err != nil {
			return Standing{}, err
		}
		for b, kind := range p.kinds {
			if kind == unjudged || kind == untouched && clean[b] > strange {
				continue
			}
			scores, of, positive = append(scores, got[b]), append(of, kind), append(positive, kind >= 0)
		}
		standing.Planted += p.planted
	}
	standing.Judged = len(of)
	standing.ROCAUC = areaUnderROC(scores, positive)
	sum, n := 0.0, 0
	for k := range kinds {
		standing.ByKind[k] = against(k, scores, of)
		if !math.IsNaN(standing.ByKind[k]) {
			sum += standing.ByKind[k]
			n++
		}
	}
	standing.AveragePrecision = sum / float64(n)
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
