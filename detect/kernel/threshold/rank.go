package threshold

import (
	"errors"
	"fmt"
	"math"
)

// RankTail is how a Rank sees beyond the scores it remembers.
type RankTail uint8

// The tails, see Rank.
const (
	ParetoTail RankTail = iota
	ExponentialTail
	EmpiricalTail
)

// String returns the tail in lower case.
func (t RankTail) String() string {
	switch t {
	case ParetoTail:
		return "pareto"
	case ExponentialTail:
		return "exponential"
	case EmpiricalTail:
		return "empirical"
	}
	return fmt.Sprintf("tail %d", uint8(t))
}

// RankSettings say how a Rank calibrates.
type RankSettings struct {
	// Window is the number of latest scores remembered. Defaults to 2048.
	Window int
	// Warm is the number of scores learned before any ranks above 0. Defaults
	// to 64.
	Warm int
	// Share is the share of the remembered scores that make the tail. Defaults
	// to 0.05.
	Share float64
	// Half is the number of zeros in the probability that ranks as 0.5.
	// Defaults to 3: one in a thousand.
	Half float64
	// Tail is how the tail is continued. Defaults to ParetoTail.
	Tail RankTail
}

// Rank maps a raw score to [0,1] so that scores of many streams are comparable:
// by how improbable it is in its own stream. With p the probability of such a
// score or a larger one and L = -log10 p, the rank is L/(L+Half). At any moment
// a larger score never ranks lower, by more than the rounding of a logarithm.
//
// Within the remembered scores p is their share, exact. Beyond their upper Share
// it comes from a distribution fitted to the excesses. ParetoTail fits a
// generalised Pareto distribution with its shape held to [0,0.5]: a bounded
// tail, though forest scores have one, would rank all records alike as
// impossible, and this number is for putting things in order. ExponentialTail
// has one number to estimate and moves less. EmpiricalTail does not look beyond
// what was seen: all records rank alike, L is at most the logarithm of Window.
// The scale of the fit is held to at least a tenth of the way from the median to
// the tail and a thousandth of the scores, so that a stream that stood still
// does not make an event of a hair. The fit is renewed Window/64 scores
// apart, eight at least.
//
// A probability over all series alike forgives noisy series and stresses those
// that are always calm; evaluations that put one threshold on all series, such
// as NAB's, depend on that choice, which is why there are several. A score that
// is not finite ranks 0.
type Rank struct {
	settings RankSettings
	last     window
	excesses []float64
	learned  uint64
	fitted   bool
	base     float64 // where the tail begins
	share    float64 // of the scores above it when it was fitted
	tail     Pareto
}

// NewRank returns a Rank that has seen nothing.
func NewRank(s RankSettings) (*Rank, error) {
	if s.Window == 0 {
		s.Window = 2048
	}
	if s.Warm == 0 {
		s.Warm = 64
	}
	s.Share = orDefault(s.Share, 0.05)
	s.Half = orDefault(s.Half, 3)
	if err := errors.Join(
		within("rank", "Window", float64(s.Window), 64, 1<<17),
		within("rank", "Warm", float64(s.Warm), 16, float64(s.Window)),
		within("rank", "Share", s.Share, 0.001, 0.5),
		within("rank", "Half", s.Half, 0.01, 100),
		within("rank", "Tail", float64(s.Tail), 0, float64(EmpiricalTail)),
	); err != nil {
		return nil, err
	}
	r := &Rank{settings: s, last: newWindow(s.Window)}
	r.excesses = make([]float64, r.depth(s.Window)+1)
	return r, nil
}

// depth is how many of n scores make the tail.
func (r *Rank) depth(n int) int {
	return min(max(int(r.settings.Share*float64(n)), fewestExcesses), n-1)
}

// Ready reports whether scores rank above 0.
func (r *Rank) Ready() bool { return len(r.last.ring) >= r.settings.Warm }

const mostZeros = 300 // of a probability: about what a float64 can hold

// Zeros returns L, the number of zeros of the probability of the score or a
// larger one: 0 for an ordinary score, 3 for one in a thousand, at most 300.
func (r *Rank) Zeros(score float64) float64 {
	if !r.Ready() || !finite(score) {
		return 0
	}
	if !r.fitted || score <= r.base {
		return -math.Log10(r.shareOf(score))
	}
	// The tail begins no more probable than its beginning is now, so that the
	// two parts never cross.
	share := math.Min(r.share, r.shareOf(r.base))
	zeros := -math.Log10(share) - r.tail.LogSurvival(score-r.base)*math.Log10E
	return math.Min(zeros, mostZeros)
}

// shareOf is the share of the remembered scores, and of this one, that are as
// large or larger.
func (r *Rank) shareOf(score float64) float64 {
	return float64(r.last.atLeast(score)+1) / float64(len(r.last.ring)+1)
}

// Read returns the rank of the score.
func (r *Rank) Read(score float64) float64 {
	zeros := r.Zeros(score)
	return zeros / (zeros + r.settings.Half)
}

// Learn takes in a score.
func (r *Rank) Learn(score float64) {
	if !finite(score) || math.Abs(score) > math.MaxFloat64/4 {
		return
	}
	r.last.push(score)
	r.learned++
	every := uint64(max(r.settings.Window/64, 8))
	if r.settings.Tail != EmpiricalTail && r.Ready() && (!r.fitted || r.learned%every == 0) {
		r.fit()
	}
}

func (r *Rank) fit() {
	scores := r.last.sorted
	n := len(scores)
	r.base = scores[n-1-r.depth(n)]
	excesses := r.excesses[:0]
	for i := n - r.last.above(r.base); i < n; i++ {
		excesses = append(excesses, scores[i]-r.base)
	}
	r.fitted = true
	r.share = float64(len(excesses)+1) / float64(n+1)
	r.tail = Pareto{}
	if r.settings.Tail == ParetoTail {
		r.tail = FitPareto(excesses)
		if r.tail.Shape > 0 {
			r.tail.Shape = math.Min(r.tail.Shape, 0.5)
		}
	}
	if r.tail.Shape <= 0 {
		r.tail = exponential(excesses)
	}
	floor := math.Max((r.base-r.last.quantile(0.5))/10, math.Abs(r.base)/1000)
	r.tail.Scale = math.Max(r.tail.Scale, floor)
}

func exponential(excesses []float64) Pareto {
	var mean float64
	for _, y := range excesses {
		mean += y / float64(len(excesses))
	}
	return Pareto{Scale: mean}
}

// Update ranks the score and learns it unless it is held.
func (r *Rank) Update(score float64, hold bool) float64 {
	rank := r.Read(score)
	if !hold {
		r.Learn(score)
	}
	return rank
}

func (r *Rank) code(c *coder) {
	c.setting("Warm", float64(r.settings.Warm))
	c.setting("Share", r.settings.Share)
	c.setting("Half", r.settings.Half)
	c.setting("Tail", float64(r.settings.Tail))
	r.last.code(c)
	c.uint64(&r.learned)
	c.bool(&r.fitted)
	c.float(&r.base)
	c.float(&r.share)
	c.float(&r.tail.Shape)
	c.float(&r.tail.Scale)
}

// AppendState appends the state to dst.
func (r *Rank) AppendState(dst []byte) []byte {
	c := save(dst, 'R')
	r.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (r *Rank) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'R'), *r
	next.code(&c)
	if c.err == nil {
		*r = next
	}
	return c.done("rank")
}
