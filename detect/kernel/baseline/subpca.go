package baseline

import (
	"errors"
	"fmt"
	"math"
)

const subPCAKind = "SPCA"

const (
	maxDimensions = 256
	maxComponents = 16
	// furthest is the deviation at which a value is cut off when a shingle is
	// scored, and learnable the one at which it is when it is learned.
	furthest  = 1e3
	learnable = 4
)

// SubPCASettings are the settings of a SubPCA.
type SubPCASettings struct {
	// Features is the number of values of a point, 1 to 32.
	Features int
	// Shingle is how many points in a row are looked at together, 2 to 64.
	// Features times Shingle is at most 256. Defaults to 8.
	Shingle int
	// Components is how many directions count as normal, 1 to 16 and less than
	// Features times Shingle. Defaults to half of those, at most 8.
	Components int
	// Window is how many points are learned from on average, 64 to 1,000,000.
	// Defaults to 2560.
	Window int
}

// SubPCA scores shapes: it looks at the last points together, as one vector of
// Features times Shingle values D, learns in which directions these vectors
// vary, and scores how far one lies off. It is the streaming form of Sub-PCA,
// the best of the univariate detectors of TSB-AD (Liu and Paparrizos, The
// Elephant in the Room, NeurIPS 2024).
//
// A value is standardised by the running mean and deviation of its feature. The
// covariance of shingles decays with the window; its leading directions follow
// by orthogonal iteration (Golub and Van Loan, Matrix Computations, 8.2), one
// step each D/4 points. The error of a shingle is its squared distance in the
// probabilistic model of PCA (Tipping and Bishop, JRSS B 1999): what cannot be
// reconstructed from the directions, in units of the usual residual, plus what
// can, in units of each direction's own variance. Without the second part a
// spike of the overall level, which is the first direction of most metrics,
// would be reconstructed and pass. The innovation is the squared distance of the
// last point to its conditional mean given the others. The score is the root of
// the mean of error and innovation, each by its own running mean, so 1 is usual:
// the error alone is as high for the innocent points after a strange one, the
// innovation alone does not see a shape that is wrong step by step.
//
// Points are taken to be equally far apart: give a gap as missing values. A
// missing value is replaced by its conditional mean given the rest of the
// shingle; a shingle with more than half missing is not learned. A strange
// point stays in view, and so in the score, until it leaves the shingle.
//
// A point takes in the order of D²/2 + 4·D·Components multiplications and a
// model 8·(D²/2 + D·Components + 3·D) bytes: 7 kB at D = 32, 280 kB at D = 256.
type SubPCA struct {
	frame
	settings SubPCASettings
	d, k     int

	scales []moments // per feature
	ring   []float64 // the last Shingle points, the next one goes to slot
	held   []bool    // which of them were held
	slot   int
	filled int

	shingles   uint64    // learned
	covariance []float64 // lower triangle by rows
	basis      []float64 // k rows of d
	variance   []float64 // along each row of the basis
	residual   float64   // variance in every other direction
	usual      moments   // of the error of shingles
	surprise   moments   // of the error of their last points

	// Scratch, without state.
	shingle, rebuilt, product []float64
	unknown                   []int
	plain, part, normal       []float64
	foretold                  []float64
}

// NewSubPCA returns an empty model, or an error when a setting is out of bounds.
func NewSubPCA(s SubPCASettings) (*SubPCA, error) {
	var err error
	if s.Features < 1 || s.Features > 32 {
		return nil, fmt.Errorf("sub-pca: %d features: give 1 to 32", s.Features)
	}
	if s.Shingle, err = choose("sub-pca", "shingle", s.Shingle, 8, 2, 64); err != nil {
		return nil, err
	}
	d := s.Features * s.Shingle
	if d > maxDimensions {
		return nil, fmt.Errorf("sub-pca: %d features in shingles of %d: give at most %d values in a shingle", s.Features, s.Shingle, maxDimensions)
	}
	if s.Components, err = choose("sub-pca", "components", s.Components, min(8, d/2), 1, min(maxComponents, d-1)); err != nil {
		return nil, err
	}
	if s.Window, err = choose("sub-pca", "window", s.Window, 2560, 64, 1e6); err != nil {
		return nil, err
	}
	f, err := newFrame("sub-pca", s.Features, max(s.Shingle-1, warm)+ripe(d))
	if err != nil {
		return nil, err
	}
	k := s.Components
	m := &SubPCA{
		frame: f, settings: s, d: d, k: k,
		scales: make([]moments, s.Features), ring: make([]float64, d), held: make([]bool, s.Shingle),
		covariance: make([]float64, d*(d+1)/2), basis: make([]float64, k*d), variance: make([]float64, k),
		shingle: make([]float64, d), rebuilt: make([]float64, d), product: make([]float64, k*d),
		unknown: make([]int, 0, d), plain: make([]float64, k), part: make([]float64, k), normal: make([]float64, k*k), foretold: make([]float64, s.Features),
	}
	m.begin()
	return m, nil
}

// Process scores the point and learns it unless it is held.
func (m *SubPCA) Process(at int64, x []float64, hold bool) (float64, error) {
	if err := m.admit("sub-pca", at, x); err != nil {
		return 0, err
	}
	seen := false
	for i, v := range x {
		m.deviation[i], m.expected[i] = 0, math.NaN()
		if m.scales[i].n > 0 {
			m.expected[i] = m.scales[i].mean
		}
		if !math.IsNaN(v) {
			v, seen = bounded(v), true
		}
		m.ring[m.slot*m.features+i] = v
	}
	m.held[m.slot] = hold
	if m.slot++; m.slot == m.settings.Shingle {
		m.slot = 0
	}
	m.filled = min(m.filled+1, m.settings.Shingle)

	score := 0.0
	if m.filled == m.settings.Shingle {
		m.view()
		if m.shingles >= uint64(ripe(m.d)) {
			score = m.judge(seen, hold)
		}
		if !hold {
			m.absorb()
		}
	}
	if !hold {
		for i, v := range x {
			if !math.IsNaN(v) {
				m.scales[i].add(m.tame(i, bounded(v)), m.settings.Window)
			}
		}
		m.learn(x)
	}
	return score, nil
}

// ripe is how many shingles the directions of d values need.
func ripe(d int) int { return max(2*d, 4*warm) }

func (m *SubPCA) scale(i int) float64 {
	return max(m.scales[i].deviation(), grain*math.Abs(m.scales[i].mean))
}

// tame cuts a value that is learned to a reach around the mean, so that one
// spike does not make the next ones small.
func (m *SubPCA) tame(i int, v float64) float64 {
	s := &m.scales[i]
	scale := s.deviation()
	if s.n < warm || scale <= grain*math.Abs(s.mean) {
		return v
	}
	reach := 2 * learnable * scale
	return min(max(v, s.mean-reach), s.mean+reach)
}

// view lays the last points out in order, standardised; missing ones are 0 and
// listed as unknown.
func (m *SubPCA) view() {
	m.unknown = m.unknown[:0]
	o := 0
	for t := range m.settings.Shingle {
		from := (m.slot + t) % m.settings.Shingle * m.features
		for i, v := range m.ring[from : from+m.features] {
			u := 0.0
			if math.IsNaN(v) {
				m.unknown = append(m.unknown, o)
			} else if gap := v - m.scales[i].mean; gap != 0 {
				u = min(max(gap/m.scale(i), -furthest), furthest)
			}
			m.shingle[o] = u
			o++
		}
	}
}

// judge scores the shingle, fills in what is missing, and says what the last
// point was expected to be.
func (m *SubPCA) judge(seen, hold bool) float64 {
	// What the rest of the shingle says of the last point.
	known := len(m.unknown)
	for i := range m.features {
		if o := m.d - m.features + i; !m.missing(o, known) {
			m.unknown = append(m.unknown, o)
		}
	}
	m.correlate()
	m.project()
	for i := range m.features {
		m.foretold[i] = min(max(m.rebuilt[m.d-m.features+i], -furthest), furthest)
		if m.scales[i].n > 0 {
			m.expected[i] = m.scales[i].mean + m.scale(i)*m.foretold[i]
		}
	}
	m.unknown = m.unknown[:known]

	m.project()
	for _, o := range m.unknown {
		m.shingle[o] = min(max(m.rebuilt[o], -furthest), furthest)
	}
	if !seen {
		return 0
	}
	floor := 1e-6 * max(m.total()/float64(m.d), 1e-6)
	sum := 0.0
	for j, y := range m.part {
		sum += y * y / max(m.variance[j], m.residual, floor)
	}
	clear(m.deviation)
	noise := max(m.residual, floor)
	for o, u := range m.shingle {
		r := u - m.rebuilt[o]
		sum += r * r / noise
	}
	learn := !hold && !m.holding()
	whole := m.relative(&m.usual, min(sum/float64(m.d-len(m.unknown)), 1e12), learn)
	newest := m.relative(&m.surprise, m.innovation(), learn)
	score := tempered(math.Sqrt((whole + newest) / 2))
	m.blame(score)
	return score
}

// innovation is the mean squared distance of the last point to what the rest of
// the shingle says of it.
func (m *SubPCA) innovation() float64 {
	sum, n := 0.0, 0
	for i := range m.features {
		o := m.d - m.features + i
		if !m.missing(o, len(m.unknown)) {
			m.deviation[i] = (m.shingle[o] - m.foretold[i]) * (m.shingle[o] - m.foretold[i])
			sum += m.deviation[i]
			n++
		}
	}
	return sum / float64(n)
}

// relative returns an error in units of its running mean, and learns it, cut
// to where it does not make later ones small.
func (m *SubPCA) relative(mean *moments, v float64, learn bool) float64 {
	ratio, known := v, mean.n >= warm && mean.mean > 0
	if known {
		ratio = v / mean.mean
	}
	if learn {
		if known {
			v = min(v, learnable*learnable*mean.mean)
		}
		mean.add(v, m.settings.Window)
	}
	return ratio
}

// blame splits the score among the features of the last point by their part in
// the innovation, and where there is none by their residuals over the shingle.
func (m *SubPCA) blame(score float64) {
	sum := 0.0
	for _, d := range m.deviation {
		sum += d
	}
	if sum <= 1e-12 {
		clear(m.deviation)
		sum = 0
		for o, u := range m.shingle {
			r := (u-m.rebuilt[o])*(u-m.rebuilt[o]) + 1e-12
			m.deviation[o%m.features] += r
			sum += r
		}
	}
	for i := range m.deviation {
		m.deviation[i] *= score / sum
	}
}

// Blame appends each feature's share in the last score.
func (m *SubPCA) Blame(dst []float64) []float64 {
	sum := 0.0
	for _, d := range m.deviation {
		sum += d
	}
	for _, d := range m.deviation {
		if sum > 0 {
			d /= sum
		}
		dst = append(dst, d)
	}
	return dst
}

func (m *SubPCA) missing(o, known int) bool {
	for _, u := range m.unknown[:known] {
		if u == o {
			return true
		}
	}
	return false
}

func (m *SubPCA) holding() bool {
	for _, h := range m.held {
		if h {
			return true
		}
	}
	return false
}

// correlate sets the plain products of the basis and the shingle.
func (m *SubPCA) correlate() {
	for j := range m.k {
		row, sum := m.basis[j*m.d:(j+1)*m.d], 0.0
		for o, u := range m.shingle {
			sum += row[o] * u
		}
		m.plain[j] = sum
	}
}

// project finds the mean of the coordinates in the basis given all of the
// shingle but what is unknown, (VVᵀ over the known + residual/variance) y = V u,
// and rebuilds the shingle from it.
func (m *SubPCA) project() {
	copy(m.part, m.plain)
	if len(m.unknown) > 0 {
		m.condition()
	}
	clear(m.rebuilt)
	for j, y := range m.part {
		for o, b := range m.basis[j*m.d : (j+1)*m.d] {
			m.rebuilt[o] += y * b
		}
	}
}

func (m *SubPCA) condition() {
	for _, o := range m.unknown {
		for j := range m.k {
			m.part[j] -= m.basis[j*m.d+o] * m.shingle[o]
		}
	}
	for a := range m.k {
		for b := range a + 1 {
			sum := 0.0
			for _, o := range m.unknown {
				sum -= m.basis[a*m.d+o] * m.basis[b*m.d+o]
			}
			if a == b {
				// The small ridge keeps a direction that nothing known speaks
				// of, and that never varied, from being solved for.
				sum += 1 + 1e-9 + min(1e3, m.residual/max(m.variance[a], 1e-12))
			}
			m.normal[a*m.k+b] = sum
		}
	}
	solve(m.normal, m.part)
}

// absorb learns the shingle unless part of it was held or much was missing.
func (m *SubPCA) absorb() {
	if m.holding() || 2*len(m.unknown) > m.d {
		return
	}
	for i := range m.features {
		// A feature that never came does not keep the others from learning.
		if n := m.scales[i].n; n > 0 && n < warm {
			return
		}
	}
	for o, u := range m.shingle {
		m.shingle[o] = min(max(u, -learnable), learnable)
	}
	m.shingles++
	g := 1 / float64(min(m.shingles, uint64(m.settings.Window)))
	o := 0
	for i, u := range m.shingle {
		row := m.covariance[o : o+i+1]
		u *= g
		for j, c := range row {
			row[j] = c - g*c + u*m.shingle[j]
		}
		o += i + 1
	}
	if m.shingles%uint64(max(8, m.d/4)) == 0 || m.shingles == uint64(ripe(m.d)) {
		m.turn()
	}
}

// AppendState appends the model to dst.
func (m *SubPCA) AppendState(dst []byte) []byte {
	w := newWriter(dst, subPCAKind)
	w.u32(uint32(m.settings.Features))
	w.u32(uint32(m.settings.Shingle))
	w.u32(uint32(m.settings.Components))
	w.u32(uint32(m.settings.Window))
	w.frame(&m.frame)
	for i := range m.scales {
		w.moments(&m.scales[i])
	}
	for i, v := range m.ring {
		w.f64(v)
		if i%m.features == 0 {
			w.flag(m.held[i/m.features])
		}
	}
	w.u32(uint32(m.slot))
	w.u32(uint32(m.filled))
	w.u64(m.shingles)
	for _, v := range m.covariance {
		w.f64(v)
	}
	for _, v := range m.basis {
		w.f64(v)
	}
	for _, v := range m.variance {
		w.f64(v)
	}
	w.f64(m.residual)
	w.moments(&m.usual)
	w.moments(&m.surprise)
	return w.sum()
}

// LoadState replaces the model by a saved one.
func (m *SubPCA) LoadState(src []byte) error {
	fresh, err := NewSubPCA(m.settings)
	if err != nil {
		return err
	}
	r := newReader(src, subPCAKind)
	r.same("features", m.settings.Features)
	r.same("shingle", m.settings.Shingle)
	r.same("components", m.settings.Components)
	r.same("window", m.settings.Window)
	r.frame(&fresh.frame)
	for i := range fresh.scales {
		r.moments(&fresh.scales[i], m.settings.Window)
	}
	for i := range fresh.ring {
		fresh.ring[i] = r.maybe()
		if i%m.features == 0 {
			fresh.held[i/m.features] = r.flag()
		}
	}
	fresh.slot, fresh.filled = r.count(m.settings.Shingle-1), r.count(m.settings.Shingle)
	if fresh.slot != fresh.filled%m.settings.Shingle && fresh.filled < m.settings.Shingle {
		r.fail(errors.New("state holds a shingle that is not in order"))
	}
	fresh.shingles = r.u64()
	for _, values := range [][]float64{fresh.covariance, fresh.basis} {
		for i := range values {
			values[i] = r.f64()
		}
	}
	for i := range fresh.variance {
		fresh.variance[i] = r.scale()
	}
	fresh.residual = r.scale()
	r.moments(&fresh.usual, m.settings.Window)
	r.moments(&fresh.surprise, m.settings.Window)
	if err := r.end("sub-pca"); err != nil {
		return err
	}
	*m = *fresh
	return nil
}
