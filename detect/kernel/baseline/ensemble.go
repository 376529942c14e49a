package baseline

import (
	"fmt"
	"math"
)

// Rule joins the calibrated scores of several detectors into one.
type Rule string

// The rules. Each is 0 when all scores are 0, lies in [0,1], and never falls
// when a score rises. A detector of weight 0 has no say.
const (
	// Mean is the weighted arithmetic mean: sum(w·s)/sum(w). One detector that
	// alone sees an anomaly is outvoted.
	Mean Rule = "mean"
	// Max is the greatest of w/max(w)·s. One detector that cries wolf is always
	// heard.
	Max Rule = "max"
	// NoisyOr is 1 - product(1-w/max(w)·s) (Pearl, Probabilistic Reasoning in
	// Intelligent Systems, 1988): each detector is an independent cause of
	// alarm. Detectors are not independent, so it overstates agreement.
	NoisyOr Rule = "noisy-or"
	// Power is the weighted power mean of exponent 3: (sum(w·s³)/sum(w))^(1/3).
	// It lies between Mean and Max: one sure detector of three equals 0.69 and
	// two of three 0.87, while many half sure ones stay half sure. It is what to
	// use unless a bench on the data says otherwise; TestFirstLook prints the
	// figures of all four.
	Power Rule = "power"
)

// Join returns the joint score in [0,1] of scores in [0,1] with their weights,
// which are finite and not negative. A NaN is a detector that has no opinion
// yet and is left out; the score is 0 when none is left.
func (r Rule) Join(scores, weights []float64) (float64, error) {
	if len(scores) != len(weights) {
		return 0, fmt.Errorf("ensemble: %d scores and %d weights: give one weight for each score", len(scores), len(weights))
	}
	top := 0.0
	for i, s := range scores {
		if w := weights[i]; !(w >= 0) || math.IsInf(w, 1) {
			return 0, fmt.Errorf("ensemble: weight %d is %v: give a finite weight of at least 0", i, w)
		}
		if s < 0 || s > 1 {
			return 0, fmt.Errorf("ensemble: score %d is %v: give 0 to 1, or NaN for none", i, s)
		}
		if !math.IsNaN(s) {
			top = max(top, weights[i])
		}
	}
	var add func(sum, w, s float64) float64
	joint := 0.0
	switch r {
	case Mean:
		add = func(sum, w, s float64) float64 { return sum + w*s }
	case Power:
		add = func(sum, w, s float64) float64 { return sum + w*s*s*s }
	case Max:
		add = func(sum, w, s float64) float64 { return max(sum, w*s) }
	case NoisyOr:
		add = func(sum, w, s float64) float64 { return sum + (1-sum)*w*s }
	default:
		return 0, fmt.Errorf("ensemble: unknown rule %q: give mean, max, noisy-or or power", string(r))
	}
	if top == 0 {
		return 0, nil
	}
	total := 0.0
	for i, s := range scores {
		if math.IsNaN(s) {
			continue
		}
		w := weights[i] / top // so that no sum overflows
		total += w
		joint = add(joint, w, s)
	}
	switch r {
	case Mean:
		joint /= total
	case Power:
		joint = math.Cbrt(joint / total)
	}
	return min(joint, 1), nil
}
