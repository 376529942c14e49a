package baseline

import (
	"fmt"
	"math"
)

const (
	randomKind = "RAND"
	nullKind   = "NULL"
)

// Random scores every point with a number in [0,1) drawn from the seed and the
// point's time. A detector that does not beat it has learned nothing.
type Random struct {
	frame
	seed uint64
}

// NewRandom returns a model of 1 to 64 features.
func NewRandom(features int, seed uint64) (*Random, error) {
	f, err := newFrame("random", features, 0)
	if err != nil {
		return nil, err
	}
	return &Random{frame: f, seed: seed}, nil
}

// Process scores the point. All features that are there are equally to blame.
func (r *Random) Process(at int64, x []float64, hold bool) (float64, error) {
	if err := r.admit("random", at, x); err != nil {
		return 0, err
	}
	any := false
	for i, v := range x {
		r.deviation[i] = 0
		if !math.IsNaN(v) {
			r.deviation[i], any = 1, true
		}
	}
	if !hold {
		r.learn(x)
	}
	if !any {
		return 0, nil
	}
	g := splitmix(r.seed ^ uint64(at))
	score := g.unit()
	for i := range r.deviation {
		r.deviation[i] *= score
	}
	return score, nil
}

// AppendState appends the model to dst.
func (r *Random) AppendState(dst []byte) []byte {
	w := newWriter(dst, randomKind)
	w.u32(uint32(r.features))
	w.u64(r.seed)
	w.frame(&r.frame)
	return w.sum()
}

// LoadState replaces the model by a saved one.
func (r *Random) LoadState(src []byte) error {
	fresh, err := NewRandom(r.features, r.seed)
	if err != nil {
		return err
	}
	in := newReader(src, randomKind)
	in.same("features", r.features)
	if seed := in.u64(); in.err == nil && seed != r.seed {
		in.fail(fmt.Errorf("state was saved with seed %d: this model has %d", seed, r.seed))
	}
	in.frame(&fresh.frame)
	if err := in.end("random"); err != nil {
		return err
	}
	*r = *fresh
	return nil
}

// Null scores every point 0: what never alarming is worth.
type Null struct {
	frame
}

// NewNull returns a model of 1 to 64 features.
func NewNull(features int) (*Null, error) {
	f, err := newFrame("null", features, 0)
	if err != nil {
		return nil, err
	}
	return &Null{frame: f}, nil
}

// Process checks the point and returns 0.
func (n *Null) Process(at int64, x []float64, hold bool) (float64, error) {
	if err := n.admit("null", at, x); err != nil {
		return 0, err
	}
	if !hold {
		n.learn(x)
	}
	return 0, nil
}

// AppendState appends the model to dst.
func (n *Null) AppendState(dst []byte) []byte {
	w := newWriter(dst, nullKind)
	w.u32(uint32(n.features))
	w.frame(&n.frame)
	return w.sum()
}

// LoadState replaces the model by a saved one.
func (n *Null) LoadState(src []byte) error {
	fresh, err := NewNull(n.features)
	if err != nil {
		return err
	}
	r := newReader(src, nullKind)
	r.same("features", n.features)
	r.frame(&fresh.frame)
	if err := r.end("null"); err != nil {
		return err
	}
	*n = *fresh
	return nil
}

// splitmix is the SplitMix64 generator (Steele, Lea and Flood, Fast splittable
// pseudorandom number generators, OOPSLA 2014).
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit returns a number in [0,1).
func (s *splitmix) unit() float64 { return float64(s.next()>>11) / (1 << 53) }

// below returns a number in [0,n).
func (s *splitmix) below(n int) int { return int(s.unit() * float64(n)) }
