package detector

import (
	"math"

	"github.com/fettleops/fettle/detect/kernel/threshold"
)

// scale maps a feature into the space that forests cut. Features side by side
// are brought to a common scale, as cuts fall where the ranges are. A single
// one is taken as it is, about its first value: forests compute in float32,
// which has no digits left for 1e9 and 1e9+1.
type scale struct {
	normal *threshold.Normalizer
	known  bool
	origin float64
}

// normalMemory is how many points the scale of a feature looks back on. It is
// long: a scale that follows a level hides that it shifted.
const normalMemory = 4096

// reach is the largest value that forests are given: the range of a box of
// such values is still a float32.
const reach = 1e30

func (s *scale) make(several bool) (err error) {
	if several {
		s.normal, err = threshold.NewNormalizer(threshold.NormalizerSettings{Discount: 1. / normalMemory})
	}
	return err
}

func (s *scale) read(x float64) float64 {
	if s.normal != nil {
		return s.normal.Read(x)
	}
	if !s.known {
		return 0
	}
	return math.Max(-reach, math.Min(x-s.origin, reach))
}

func (s *scale) learn(x float64) {
	switch {
	case math.IsNaN(x):
	case s.normal != nil:
		s.normal.Learn(x)
	case !s.known:
		s.known, s.origin = true, x
	}
}
