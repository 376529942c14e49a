package rcf

import "math"

// Each tree holds a time-decayed sample. A point learned at time t draws
// E ~ Exp(1) and has the weight ln(E) - decay*t; the sample is the points of
// the smallest weights, kept as a heap with the largest on top (Efraimidis and
// Spirakis 2006 in the form of AWS's CompactSampler).
//
// A full sample accepts a point when its weight is below the top W, that is
// when E < h(t) = exp(W + decay*t), so with the chance 1-exp(-h(t)). As W only
// changes on acceptance, the next accepted time can be drawn at once: it is
// the first time at which the sum of h over the times since exceeds one draw
// from Exp(1), and what the draw has left over before that time is the E of
// the accepted point. So a rejected point costs a tree nothing.

// tree is the part of a tree that is not in the arenas.
type tree struct {
	rng  uint64
	next uint64  // the learned point that the full sample accepts next, from 1
	want float32 // its weight
	size uint32  // points in the sample
	free uint32  // first free pair
}

// random returns the next 64 bits (splitmix64, Steele et al. 2014).
func (t *tree) random() uint64 {
	t.rng += 0x9e3779b97f4a7c15
	return mix(t.rng)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a number in [0,1).
func (t *tree) uniform() float64 { return float64(t.random()>>11) * 0x1p-53 }

// exponential returns a number from Exp(1), never 0.
func (t *tree) exponential() float64 {
	return -math.Log(float64(t.random()>>11|1) * 0x1p-53)
}

// rebaseAt is how much decay may add up before it is taken out of the
// weights, so that float32 keeps telling them apart over years.
const rebaseAt = 64

// elapsed is the decay that has added up by the time of a learned point.
func (f *Forest) elapsed(at uint64) float64 {
	return f.decayed + float64(at-f.decayedAt)*f.decay
}

// rebase takes the decay until now out of the weights.
func (f *Forest) rebase() {
	by := f.elapsed(f.learned)
	if by < rebaseAt {
		return
	}
	for i := range f.weights {
		f.weights[i] += float32(by)
	}
	for i := range f.trees {
		f.trees[i].want += float32(by)
	}
	f.decayed, f.decayedAt = 0, f.learned
}

// schedule draws when the full sample of a tree accepts next.
func (f *Forest) schedule(t int) {
	tr := &f.trees[t]
	hazard := math.Exp(float64(f.weights[t*f.opts.Samples]) + f.elapsed(f.learned))
	steps, left := skip(tr.exponential(), hazard, f.decay, f.growth)
	tr.next = f.learned + steps
	tr.want = float32(math.Log(left) - f.elapsed(tr.next))
}

// never is the number of steps to what does not come.
const never = 1 << 60

// skip returns the number of steps, from 1, after which the sum of the hazards
// h*q, h*q^2 ... with q = exp(decay) = 1+growth exceeds e, and what of e was
// left before the last.
func skip(e, h, decay, growth float64) (steps uint64, left float64) {
	if !(h > 0) {
		h = math.SmallestNonzeroFloat64
	}
	if decay == 0 {
		n := math.Max(1, math.Ceil(e/h))
		if n > never {
			return never, h
		}
		return uint64(n), clamp(e-(n-1)*h, h)
	}
	first := h * (1 + growth)
	// The plain functions are twice as fast and near enough unless decay is tiny.
	log1p, expm1 := func(x float64) float64 { return math.Log(1 + x) }, func(x float64) float64 { return math.Exp(x) - 1 }
	if decay < 1e-6 {
		log1p, expm1 = math.Log1p, math.Expm1
	}
	n := math.Max(1, math.Ceil(log1p(e*growth/first)/decay))
	if n > never {
		return never, h
	}
	grown := expm1((n - 1) * decay)
	return uint64(n), clamp(e-first*grown/growth, first*(1+grown))
}

// clamp keeps what rounding would push out of (0, most].
func clamp(x, most float64) float64 {
	return math.Max(math.Min(x, most), math.Max(most*0x1p-52, math.SmallestNonzeroFloat64))
}

// offer says whether the sample of a tree that is not full takes the point
// being learned, with what weight, and whether the top must go for it.
func (f *Forest) offer(t int) (weight float32, accepted, replaces bool) {
	tr := &f.trees[t]
	weight = float32(math.Log(tr.exponential()) - f.elapsed(f.learned))
	fill, initial := float64(tr.size)/float64(f.opts.Samples), f.opts.InitialAccept
	if fill < initial || tr.uniform() < 1-(fill-initial)/(1-initial) {
		return weight, true, false
	}
	if weight < f.weights[t*f.opts.Samples] {
		return weight, true, true
	}
	return weight, false, false
}

// push adds a point to a sample that is not full.
func (f *Forest) push(t int, weight float32, id uint32) {
	tr := &f.trees[t]
	from := t * f.opts.Samples
	heap := f.weights[from : from+f.opts.Samples]
	at := int(tr.size)
	tr.size++
	for at > 0 {
		up := (at - 1) / 2
		if heap[up] >= weight {
			break
		}
		heap[at] = heap[up]
		f.refs.set(from+at, f.refs.get(from+up))
		at = up
	}
	heap[at] = weight
	f.refs.set(from+at, id)
}

// replaceTop puts a point in the place of the one with the largest weight.
func (f *Forest) replaceTop(t int, weight float32, id uint32) {
	from := t * f.opts.Samples
	size := int(f.trees[t].size)
	heap := f.weights[from : from+size]
	at := 0
	for {
		down := 2*at + 1
		if down >= size {
			break
		}
		if down+1 < size && heap[down+1] > heap[down] {
			down++
		}
		if heap[down] <= weight {
			break
		}
		heap[at] = heap[down]
		f.refs.set(from+at, f.refs.get(from+down))
		at = down
	}
	heap[at] = weight
	f.refs.set(from+at, id)
}
