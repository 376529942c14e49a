package rcf

import (
	"errors"
	"fmt"
	"math"

	"github.com/fettleops/fettle/detect/kernel/rcf/internal/vector"
)

// Forest is a random cut forest. It is not safe for concurrent use; forests
// share nothing.
type Forest struct {
	layout
	kernels vector.Set
	opts    Options
	decay   float64
	growth  float64 // exp(decay) - 1

	// rows were seen, learned of them were offered to the trees. The decay since
	// decayedAt is to be added to decayed.
	rows, learned, decayedAt uint64
	decayed                  float64

	// None of these hold pointers, so the collector never looks into them.
	trees   []tree
	arena   []uint64 // the slots of every tree
	boxes   boxes
	weights []float32 // the samples' heaps
	refs    refs
	points  points
}

// New returns an empty forest. It fails when an option is out of its range.
func New(o Options) (*Forest, error) {
	l, err := o.complete()
	if err != nil {
		return nil, err
	}
	return empty(o, l, ringRows(&o, o.span())), nil
}

func empty(o Options, l layout, ring int) *Forest {
	f := &Forest{layout: l, opts: o}
	f.setDecay()
	if !o.Scalar {
		f.kernels = vector.Best()
	}
	f.trees = make([]tree, o.Trees)
	f.arena = make([]uint64, o.Trees*l.slots)
	f.weights = make([]float32, o.Trees*o.Samples)
	f.refs = refs{low: make([]uint16, o.Trees*o.Samples)}
	f.points = newPoints(l.dims/o.span(), o.span(), ring, l.pad-l.dims, o.Trees > math.MaxUint8)
	for t := range f.trees {
		f.trees[t].rng = mix(o.Seed + uint64(t+1)*0x9e3779b97f4a7c15)
		f.clear(t)
	}
	return f
}

// Options returns what the forest is made of, defaults filled in.
func (f *Forest) Options() Options { return f.opts }

// Learned returns how many points the forest has learned.
func (f *Forest) Learned() uint64 { return f.learned }

// Rows returns how many rows the forest has seen.
func (f *Forest) Rows() uint64 { return f.rows }

// Ready reports whether the next point is scored: OutputAfter rows were seen
// and the next row completes a shingle.
func (f *Forest) Ready() bool {
	return f.rows >= uint64(f.opts.OutputAfter) && f.rows+1 >= uint64(f.points.span) && f.learned > 0
}

// SetTimeDecay changes the rate of forgetting for the points from the next one
// on; what was learned keeps the age it has. The sample stays exactly what its
// definition says. It fails when decay is not in (0,1] and not NoDecay.
func (f *Forest) SetTimeDecay(decay float64) error {
	o := f.opts
	o.TimeDecay = decay
	if _, err := o.complete(); err != nil || decay == 0 {
		return fmt.Errorf("rcf: TimeDecay is %v: must be in (0,1], or NoDecay", decay)
	}
	f.decayed, f.decayedAt = f.elapsed(f.learned), f.learned
	f.opts = o
	f.setDecay()
	for t := range f.trees {
		if int(f.trees[t].size) == o.Samples {
			f.schedule(t)
		}
	}
	return nil
}

func (f *Forest) setDecay() {
	f.decay = f.opts.decay()
	f.growth = math.Expm1(f.decay)
}

// ErrRow is what every error about a row wraps; the forest is as it was.
var ErrRow = errors.New("rcf: row refused")

// check says what is wrong with a row.
func (f *Forest) check(row []float64) error {
	if len(row) != f.points.width {
		return fmt.Errorf("%w: it has %d values: must have %d", ErrRow, len(row), f.points.width)
	}
	for i, x := range row {
		if !(math.Abs(x) <= math.MaxFloat32) {
			return fmt.Errorf("%w: value %d is %v: must be a number within float32", ErrRow, i, x)
		}
	}
	return nil
}
