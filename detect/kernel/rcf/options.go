package rcf

import (
	"fmt"
	"math"
	"math/bits"
)

// Scoring is what a score means.
type Scoring uint8

const (
	// InverseDepth is the expected inverse depth at which a cut would separate
	// the point from the sample, times log2 of the sample: about 1 for an
	// ordinary point, at most log2(Samples) (Guha et al., ICML 2016; the score of
	// AWS's libraries). It is the default.
	InverseDepth Scoring = iota
	// Displacement is the expected share of the sample whose depth the point
	// would change, in [0,1]: the mass of what it is separated from.
	Displacement
	// CoDisplacement is the expected collusive displacement: the largest ratio,
	// over the ancestors of the point, of its sibling's mass to its own, had the
	// point been inserted. The expectation over the insertion is exact and the
	// point is not inserted for it. From 0 to Samples; it ranks a few near
	// duplicates far from everything else higher than InverseDepth does.
	CoDisplacement
)

// NoDecay is the TimeDecay that makes the sample uniform over everything learned.
const NoDecay = -1

// Options are what a forest is made of. They do not change in its life, but
// for the time decay, see [Forest.SetTimeDecay].
type Options struct {
	// Dims is the number of values in a row, 1 or more.
	Dims int
	// Shingle is how many rows in a row make a point, oldest first. Defaults to
	// 1.
	Shingle int
	// External says that the caller makes the shingles: each row handed in has
	// Dims x Shingle values, oldest first. Points then share no memory.
	External bool
	// Trees is the number of trees, 1 to 4096. Time and memory are proportional
	// to it, the deviation of a score to the inverse of its root. Defaults to 50.
	Trees int
	// Samples is how many points each tree holds, 2 to 32768. Defaults to 256.
	Samples int
	// TimeDecay is the rate at which the past is forgotten: a point that is n
	// points old is exp(-n*TimeDecay) times as likely to be in the sample as a
	// new one. Defaults to 1/(10*Samples); NoDecay forgets evenly.
	TimeDecay float64
	// InitialAccept is the share of Samples that a tree takes in without choice;
	// between it and a full sample it takes less and less of what comes, so that
	// trees differ early. In (0,1]. Defaults to 1.
	InitialAccept float64
	// OutputAfter is the number of rows after which points are scored; before,
	// the score is 0. Defaults to Samples/4.
	OutputAfter int
	// Scoring is what a score means. Defaults to InverseDepth.
	Scoring Scoring
	// BoxMass is the least number of points under a node that keeps its bounding
	// box, 2 to 16; boxes of lighter nodes are made anew of their points whenever
	// they are needed. Results are the same, to the last bit. With 2, the default,
	// every node has a box, which is fastest. 10 is for many forests in little
	// memory: it takes a third of it at 32 dimensions, half at 8, and up to two
	// thirds more time while a forest is in the cache.
	BoxMass int
	// Seed makes the forest's chance repeatable: equal options and equal rows
	// give equal forests, to the last bit, on machines of one architecture.
	// (Between architectures the logarithms of math may differ in the last bit.)
	Seed uint64
	// Scalar keeps the forest from the vector unit of the processor. Results are
	// the same. It is for tests and measurements.
	Scalar bool
}

// layout is how a slot of a tree is packed: the low half of a slot holds, from
// its low end, the dimension of the cut, the pair of the children and the mass.
type layout struct {
	dims      int // of a point
	pad       int // dims, rounded up to whole vectors
	dimBits   uint
	dimMask   uint32
	pairMask  uint32
	massShift uint
	slots     int    // of a tree
	few       uint32 // what the mass of a heavy node is packed as, at least
}

func (o *Options) complete() (layout, error) {
	if o.Shingle == 0 {
		o.Shingle = 1
	}
	if o.Trees == 0 {
		o.Trees = 50
	}
	if o.Samples == 0 {
		o.Samples = 256
	}
	if o.TimeDecay == 0 {
		o.TimeDecay = 1 / (10 * float64(o.Samples))
	}
	if o.InitialAccept == 0 {
		o.InitialAccept = 1
	}
	if o.OutputAfter == 0 {
		o.OutputAfter = max(1, o.Samples/4)
	}
	if o.BoxMass == 0 {
		o.BoxMass = 2
	}
	var l layout
	switch {
	case o.Dims < 1 || o.Dims > maxDims:
		return l, fmt.Errorf("rcf: Dims is %d: must be 1 to %d", o.Dims, maxDims)
	case o.Shingle < 1 || o.Shingle > maxDims/o.Dims:
		return l, fmt.Errorf("rcf: Shingle is %d: must be 1 to %d with %d Dims", o.Shingle, maxDims/o.Dims, o.Dims)
	case o.Trees < 1 || o.Trees > maxTrees:
		return l, fmt.Errorf("rcf: Trees is %d: must be 1 to %d", o.Trees, maxTrees)
	case o.Samples < 2 || o.Samples > maxSamples:
		return l, fmt.Errorf("rcf: Samples is %d: must be 2 to %d", o.Samples, maxSamples)
	case o.TimeDecay != NoDecay && !(o.TimeDecay > 0 && o.TimeDecay <= 1):
		return l, fmt.Errorf("rcf: TimeDecay is %v: must be in (0,1], or NoDecay", o.TimeDecay)
	case !(o.InitialAccept > 0 && o.InitialAccept <= 1):
		return l, fmt.Errorf("rcf: InitialAccept is %v: must be in (0,1]", o.InitialAccept)
	case o.OutputAfter < 1:
		return l, fmt.Errorf("rcf: OutputAfter is %d: must be 1 or more", o.OutputAfter)
	case o.BoxMass < 2 || o.BoxMass > 16:
		return l, fmt.Errorf("rcf: BoxMass is %d: must be 2 to 16", o.BoxMass)
	case o.Scoring > CoDisplacement:
		return l, fmt.Errorf("rcf: Scoring is %d: must be InverseDepth, Displacement or CoDisplacement", o.Scoring)
	}
	l.dims = o.Dims * o.Shingle
	l.pad = (l.dims + 7) &^ 7
	l.slots = 2*o.Samples + 2
	l.dimBits = uint(bits.Len(uint(l.dims - 1)))
	count := uint(bits.Len(uint(o.Samples)))
	if l.dimBits+2*count > 32 {
		return l, fmt.Errorf("rcf: Samples is %d: with points of %d dimensions at most %d",
			o.Samples, l.dims, 1<<((32-l.dimBits)/2)-1)
	}
	l.dimMask = 1<<l.dimBits - 1
	l.pairMask = 1<<count - 1
	l.massShift = l.dimBits + count
	l.few = uint32(o.BoxMass - 2)
	return l, nil
}

// The largest forests. A slot has 32 bits for two counts up to Samples and a
// dimension, which limits their combinations further.
const (
	maxDims    = 1 << 14
	maxTrees   = 4096
	maxSamples = 1 << 15
)

// decay is the rate of forgetting, where NoDecay is 0.
func (o *Options) decay() float64 { return math.Max(o.TimeDecay, 0) }

// span is how many rows make a point.
func (o *Options) span() int {
	if o.External {
		return 1
	}
	return o.Shingle
}
