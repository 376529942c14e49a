package detector

import (
	"math"

	"github.com/fettleops/fettle/detect/kernel/threshold"
)

// judge decides which points deserve attention: those whose raw score is above
// what the wished rate of false alarms allows, as long as their level is not
// the new normal.
type judge struct {
	spot    *threshold.SPOT
	drift   *threshold.Drift
	plain   *threshold.Percentile // in place of both
	needed  int
	warm    int
	learned int     // points learned in all
	minimum float64 // effect
	frozen  float64 // zeros of a run of equal values from which it is graded
	stills  []still
}

const (
	// calibrate is the number of scores after which there are grades.
	calibrate = 384
	// confidenceMemory is how many points confidence looks back on.
	confidenceMemory = 2560
	// confidenceWarm is how many points are learned before there is any.
	confidenceWarm = 64
)

func newJudge(s Settings, plain bool, warm, span int) (*judge, error) {
	j := &judge{
		warm: warm, needed: warm + calibrate, minimum: s.MinEffect,
		frozen: -stillMargin * math.Log10(s.risk()), stills: make([]still, s.Features),
	}
	var err error
	if plain {
		j.needed = warm + 20
		j.plain, err = threshold.NewPercentile(threshold.PercentileSettings{})
		return j, err
	}
	if j.spot, err = threshold.NewSPOT(threshold.SPOTSettings{Risk: s.risk(), Calibrate: calibrate, Cluster: span, Unbounded: true}); err != nil {
		return nil, err
	}
	j.drift, err = threshold.NewDrift(threshold.DriftSettings{Features: s.Features})
	return j, err
}

// limit is the raw score above which the next point is graded.
func (j *judge) limit() float64 {
	if j.plain != nil {
		return min(j.plain.Threshold(), math.MaxFloat64)
	}
	return min(j.spot.Threshold(), math.MaxFloat64)
}

// level is a raw score that is high but ordinary.
func (j *judge) level() float64 {
	if j.plain != nil {
		return 0
	}
	level, _ := j.spot.Tail()
	return level
}

// decide grades a point and learns from it. It reports whether the forecaster
// may learn it. A point that was not scored is learned and not judged.
func (j *judge) decide(m *model, p Point, raw float64, scored, hold bool, r *Reading) (learn bool) {
	if !scored {
		return !hold
	}
	limit := j.limit()
	if raw > limit && m.learned >= j.needed && m.forecast.off(p.Values, r.Expected, j.minimum) {
		// Half for a score that is as far beyond the limit as that is beyond
		// what is ordinary.
		over := raw - limit
		r.Grade = over / (over + max(limit-j.level(), math.SmallestNonzeroFloat64))
	}
	if j.plain != nil {
		j.plain.Update(raw, hold)
		return !hold
	}
	deviations := r.scratch.deviations
	for i := range deviations {
		deviations[i] = m.forecast.expected.Deviation(i)
	}
	d := j.drift.Update(r.Grade, p.Values, deviations, hold)
	if d.Step == threshold.Learning {
		r.Grade = 0
	}
	if r.Grade == 0 && m.learned >= j.needed {
		j.standstill(p.Values, hold, r)
	}
	switch {
	case hold:
	case d.Step == threshold.Learning:
		j.spot.Learn(raw)
	default:
		j.spot.Update(raw, false)
	}
	return d.Learn
}

// off reports whether a value is as far from its expectation as asked.
func (f *forecaster) off(values, expected []float64, minimum float64) bool {
	for i, v := range values {
		if e := f.features[i].effect.Read(v, expected[i]); e > 0 && e >= minimum {
			return true
		}
	}
	return false
}

// standstill grades a point with a value that stands still as it never did, and
// blames it. As with a new level, that is told for a while and then the new
// normal.
func (j *judge) standstill(values []float64, hold bool, r *Reading) {
	worst, zeros := -1, j.frozen
	for i, v := range values {
		if z := j.stills[i].zeros(v); z > zeros && j.stills[i].told < stillTold {
			worst, zeros = i, z
		}
	}
	if worst < 0 {
		return
	}
	if !hold {
		j.stills[worst].told++
	}
	r.Grade = (zeros - j.frozen) / zeros
	clear(r.Blame)
	r.Blame[worst] = 1
}

// count takes in a point that is learned, judged or not.
func (j *judge) count(values []float64) {
	j.learned++
	for i, v := range values {
		if !math.IsNaN(v) {
			j.stills[i].learn(v)
		}
	}
}

func (j *judge) confidence() float64 {
	return min(1, threshold.Confidence(1./confidenceMemory, j.learned, max(j.warm, confidenceWarm), 1))
}
