package threshold

import (
	"errors"
	"math"
)

// GraderSettings say how a Grader judges. The defaults are those of AWS's
// thresholder and fit scores whose usual value is about 1.
type GraderSettings struct {
	// Discount is the share of weight that a score loses with each later one.
	// Defaults to 1/2560.
	Discount float64
	// DifferenceDiscount is the same for differences of successive scores.
	// Defaults to 0.01.
	DifferenceDiscount float64
	// Z is how many deviations above the mean the threshold stands, 2 at least.
	// Defaults to 3.
	Z float64
	// Absolute is the lowest threshold. Defaults to 0.8.
	Absolute float64
	// Initial is the threshold of the first ten scores. Defaults to 1.5.
	Initial float64
	// Cap is the largest score that is learned, so that one anomaly does not
	// lift the threshold over the next. Defaults to 2.
	Cap float64
	// Shingled says that scores overlap (shingle above 1, or differenced
	// input), so that their deviation is judged by their differences too.
	Shingled bool
	// Adjust lowers Absolute for a stream whose mean score is below 0.9, in
	// proportion.
	Adjust bool
	// Scaled lowers Z for a stream whose mean score is below 0.9, in
	// proportion but not below 2: for scores of normalised input.
	Scaled bool
}

// Grader is the thresholder of AWS's ThresholdedRandomCutForest (Java 4.3,
// BasicThresholder): the threshold is the larger of Absolute and
// mean + (Z-1)*sigma + sd, where sigma comes from the deviation of the scores,
// of their differences and of those below the mean, whichever is the least
// swayed by anomalies. Its first ten scores have the threshold Initial, the
// next ten a blend. Scores are 0 or more, without a unit. A score that is not
// finite has grade 0.
type Grader struct {
	settings  GraderSettings
	primary   Deviation // of the scores
	secondary Deviation // of their differences
	below     Deviation // of mean-score where that is positive
	last      float64
	seen      int
	surplus   float64 // D: how far above the threshold the grade is full
	limit     float64
}

const (
	graderFirst = 10  // scores under the initial threshold
	graderBlend = 20  // scores until the initial threshold is gone
	usualScore  = 0.9 // mean score above which nothing is adjusted
)

// NewGrader returns a Grader that has seen nothing.
func NewGrader(s GraderSettings) (*Grader, error) {
	s.Discount = orDefault(s.Discount, 1.0/2560)
	s.DifferenceDiscount = orDefault(s.DifferenceDiscount, 0.01)
	s.Z = orDefault(s.Z, 3)
	s.Absolute = orDefault(s.Absolute, 0.8)
	s.Initial = orDefault(s.Initial, 1.5)
	s.Cap = orDefault(s.Cap, 2)
	if err := errors.Join(
		within("grader", "Discount", s.Discount, 0, 0.5),
		within("grader", "DifferenceDiscount", s.DifferenceDiscount, 0, 0.5),
		within("grader", "Z", s.Z, 2, 100),
		within("grader", "Absolute", s.Absolute, 0, 1e9),
		within("grader", "Initial", s.Initial, s.Absolute, 1e9),
		within("grader", "Cap", s.Cap, s.Absolute, 1e9),
	); err != nil {
		return nil, err
	}
	g := &Grader{
		settings: s, primary: NewDeviation(s.Discount),
		secondary: NewDeviation(s.DifferenceDiscount), below: NewDeviation(s.Discount),
	}
	g.judge()
	return g, nil
}

// judge works out the threshold of the next score.
func (g *Grader) judge() {
	s, mean, sd := g.settings, g.primary.Mean(), g.primary.SD()
	z, absolute := s.Z, s.Absolute
	ready := clamp(float64(g.seen-graderFirst)/(graderBlend-graderFirst), 0, 1)
	if s.Scaled && mean < usualScore {
		z = math.Max(2, z*mean/usualScore)
	}
	if s.Adjust && ready == 1 && mean < usualScore {
		absolute *= mean / usualScore
	}
	calm, step := math.Sqrt2*g.below.SD(), g.secondary.SD()
	sigma := math.Min(calm, sd)
	if s.Shingled {
		sigma = (math.Min(sd, math.Max(step, calm)) + step) / 2
	}
	surplus := (z-1)*sigma + sd
	g.limit = math.Max(absolute, ready*(mean+surplus)+(1-ready)*s.Initial)
	// Scores without deviation have no scale but themselves; rounding in them
	// must not make a grade.
	g.surplus = math.Max(ready*surplus+(1-ready)*s.Initial, 1e-6*g.limit)
}

// Threshold returns the threshold of the next score.
func (g *Grader) Threshold() float64 { return g.limit }

// Read returns the grade of a score in [0,1]: 0 below the threshold and up to a
// twentieth of the way from it to the full grade, then in steps of 1/16. The
// steps are AWS's; they keep the grade from flickering.
func (g *Grader) Read(score float64) (grade, threshold float64) {
	over := score - g.limit
	if !finite(score) || over < 0 {
		return 0, g.limit
	}
	t := math.Min(over/g.surplus, 1)
	return math.Min(math.Floor(20*t)/16, 1), g.limit
}

// Learn takes in a score.
func (g *Grader) Learn(score float64) {
	if !finite(score) {
		return
	}
	kept := math.Min(score, g.settings.Cap)
	if less := g.primary.Mean() - kept; less > 0 {
		g.below.Learn(less)
	}
	g.primary.Learn(kept)
	g.secondary.Learn(score - g.last)
	g.last = score
	g.seen = min(g.seen+1, graderBlend)
	g.judge()
}

// Update reads the score and learns it unless it is held.
func (g *Grader) Update(score float64, hold bool) (grade, threshold float64) {
	grade, threshold = g.Read(score)
	if !hold {
		g.Learn(score)
	}
	return grade, threshold
}

func (g *Grader) code(c *coder) {
	s := g.settings
	c.setting("Z", s.Z)
	c.setting("Absolute", s.Absolute)
	c.setting("Initial", s.Initial)
	c.setting("Cap", s.Cap)
	c.flag("Shingled", s.Shingled)
	c.flag("Adjust", s.Adjust)
	c.flag("Scaled", s.Scaled)
	g.primary.code(c)
	g.secondary.code(c)
	g.below.code(c)
	c.float(&g.last)
	c.int(&g.seen, graderBlend)
}

// AppendState appends the state to dst.
func (g *Grader) AppendState(dst []byte) []byte {
	c := save(dst, 'G')
	g.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (g *Grader) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'G'), *g
	next.code(&c)
	if c.err == nil {
		next.judge()
		*g = next
	}
	return c.done("grader")
}

// Confidence is the share, in [0,1], of a forest's weight that was learned
// after it had begun to score: quality*(e^λn - e^λmin(n,needed))/(e^λn - 1),
// AWS's dataConfidence. decay is λ, the forest's time decay per point; learned
// is n, needed the points before the first score, and quality the share of
// points that were real and not filled in.
func Confidence(decay float64, learned, needed int, quality float64) float64 {
	n := decay * float64(learned)
	switch {
	case learned <= needed || learned <= 0:
		return 0
	case decay <= 0:
		return quality * float64(learned-needed) / float64(learned)
	case n >= 20: // the rest is below 1e-8, and e^n would overflow later
		return quality
	}
	return quality * (math.Exp(n) - math.Exp(decay*float64(needed))) / math.Expm1(n)
}
