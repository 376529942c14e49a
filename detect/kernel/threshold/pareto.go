package threshold

import "math"

// Pareto is a generalised Pareto distribution of excesses y > 0 over a
// threshold: P(Y > y) = (1 + Shape*y/Scale)^(-1/Shape), exponential for Shape
// 0. By the theorem of Pickands, Balkema and de Haan it is the law of the tail
// of nearly every distribution: Shape above 0 for heavy tails, below 0 for
// bounded ones. Scale has the unit of the excesses.
type Pareto struct {
	Shape, Scale float64
}

const (
	// Below -1 the likelihood has no maximum (Smith 1985), above 1 the mean is
	// infinite.
	leastShape, mostShape = -1.0, 1.0
	// fewestExcesses make a fit of two numbers; with fewer there is one.
	fewestExcesses = 8
)

// FitPareto returns the distribution of greatest likelihood for the excesses,
// which are above 0, by Grimshaw's reduction to one unknown (Technometrics
// 1993): the roots of w(θ) = mean(1/(1+θy))*(1+mean log(1+θy)) - 1 are
// bracketed on a fixed grid on both sides of 0 and refined to six digits, so
// that the work is bounded. The best of the roots and the exponential
// distribution is returned; without a root, the better of that and the method
// of moments. Fewer than eight excesses, or equal ones, give the exponential
// distribution of their mean. It allocates nothing.
func FitPareto(excesses []float64) Pareto {
	n := len(excesses)
	if n == 0 {
		return Pareto{}
	}
	var mean, most float64
	least := math.Inf(1)
	for _, y := range excesses {
		mean += y
		most, least = math.Max(most, y), math.Min(least, y)
	}
	mean /= float64(n)
	if !finite(mean) {
		return Pareto{Scale: most}
	}
	best := Pareto{Scale: mean}
	if n < fewestExcesses || most-least <= 1e-9*most {
		return best
	}
	likely := -math.Log(mean) - 1
	found := false
	// At a root the likelihood is that of the profile, without another pass.
	root := func(p Pareto) {
		if p.Shape < leastShape || p.Shape > mostShape || !(p.Scale > 0) {
			return
		}
		found = true
		if l := -math.Log(p.Scale) - p.Shape - 1; l > likely {
			best, likely = p, l
		}
	}
	f := profile{excesses}
	// Negative θ: down to -1/max, where the support ends. The grid leaves out
	// 0, always a root and never the answer.
	for i, prev, wPrev := 0, 0.0, 0.0; i < len(grimshawBelow); i++ {
		theta := -grimshawBelow[i] / most
		w, _ := f.at(theta)
		if i > 0 && (w < 0) != (wPrev < 0) {
			root(f.refine(prev, wPrev, theta, w))
		}
		prev, wPrev = theta, w
	}
	for i, prev, wPrev := 0, 0.0, 0.0; i < len(grimshawAbove); i++ {
		theta := grimshawAbove[i] / mean
		w, _ := f.at(theta)
		if i > 0 && (w < 0) != (wPrev < 0) {
			root(f.refine(prev, wPrev, theta, w))
		}
		prev, wPrev = theta, w
	}
	if !found {
		if p := moments(excesses, mean); p.Shape >= leastShape && p.Scale > 0 && meanLikelihood(excesses, p) > likely {
			return p
		}
	}
	return best
}

var (
	grimshawBelow = [...]float64{0.005, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.96, 0.99, 0.999}
	grimshawAbove = [...]float64{0.005, 0.03, 0.1, 0.3, 0.6, 1, 2, 5, 20, 100}
)

// profile is the likelihood with the scale eliminated.
type profile struct{ excesses []float64 }

// at returns Grimshaw's w and the shape that belongs to θ = Shape/Scale. All
// factors share one logarithm: every eighth time the exponent of their product
// is put aside. A factor is at most 1+100n and at least 1e-3, so the product
// stays far within float64.
func (f profile) at(theta float64) (w, shape float64) {
	inverse, product, exponent := 0.0, 1.0, 0
	for i, y := range f.excesses {
		v := 1 + theta*y
		inverse += 1 / v
		product *= v
		if i&7 == 7 {
			part, e := math.Frexp(product)
			product, exponent = part, exponent+e
		}
	}
	n := float64(len(f.excesses))
	shape = (math.Log(product) + float64(exponent)*math.Ln2) / n
	return inverse/n*(1+shape) - 1, shape
}

// refine narrows a bracket by the Illinois form of regula falsi.
func (f profile) refine(a, wa, b, wb float64) Pareto {
	var shape, theta float64
	for range 30 {
		theta = (a*wb - b*wa) / (wb - wa)
		if !(theta > math.Min(a, b) && theta < math.Max(a, b)) {
			theta = (a + b) / 2
		}
		var w float64
		w, shape = f.at(theta)
		if math.Abs(w) < 1e-10 || math.Abs(b-a) < 1e-6*math.Abs(theta) {
			break
		}
		if (w < 0) != (wb < 0) {
			a, wa = b, wb
		} else {
			wa /= 2
		}
		b, wb = theta, w
	}
	return Pareto{Shape: shape, Scale: shape / theta}
}

// moments is the estimator of Hosking and Wallis (1987) from mean and variance.
func moments(excesses []float64, mean float64) Pareto {
	var variance float64
	for _, y := range excesses {
		variance += (y - mean) * (y - mean) / float64(len(excesses))
	}
	ratio := mean * mean / variance
	return Pareto{Shape: (1 - ratio) / 2, Scale: mean * (1 + ratio) / 2}
}

// meanLikelihood is the logarithm of the likelihood per excess, -Inf where an
// excess lies beyond the end of the distribution.
func meanLikelihood(excesses []float64, p Pareto) float64 {
	var sum float64
	for _, y := range excesses {
		if p.Shape == 0 {
			sum += y / p.Scale
			continue
		}
		v := 1 + p.Shape*y/p.Scale
		if v <= 0 {
			return math.Inf(-1)
		}
		sum += (1 + 1/p.Shape) * math.Log(v)
	}
	return -math.Log(p.Scale) - sum/float64(len(excesses))
}

// nearExponential is the shape below which both formulas agree to rounding.
const nearExponential = 1e-9

// LogSurvival returns the natural logarithm of P(Y > y): 0 for y <= 0, -Inf
// beyond the end of a bounded distribution.
func (p Pareto) LogSurvival(y float64) float64 {
	switch {
	case y <= 0:
		return 0
	case p.Scale <= 0:
		return math.Inf(-1)
	case math.Abs(p.Shape) < nearExponential:
		return -y / p.Scale
	}
	v := p.Shape * y / p.Scale
	if v <= -1 {
		return math.Inf(-1)
	}
	return -math.Log1p(v) / p.Shape
}

// Quantile returns the excess that is surpassed with the given probability in
// (0,1]; 0 for more.
func (p Pareto) Quantile(probability float64) float64 {
	if probability >= 1 {
		return 0
	}
	l := math.Log(probability)
	if math.Abs(p.Shape) < nearExponential {
		return -p.Scale * l
	}
	return p.Scale / p.Shape * math.Expm1(-p.Shape*l)
}
