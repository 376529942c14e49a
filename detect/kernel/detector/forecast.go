package detector

import (
	"math"

	"github.com/fettleops/fettle/detect/kernel/threshold"
)

// forecaster says what is expected of the next point, feature by feature: the
// best of three simple forecasts of the value without its season, with the
// season of the hour put back, and a band from the errors of the past. It is
// the explanation, not the detection. A value that is graded is not learned, so
// that the expectation stays where it was until the new level is the new
// normal.
type forecaster struct {
	features []feature
	expected *threshold.Expected
}

// feature is one feature's past.
type feature struct {
	season *threshold.Season
	effect threshold.Effect
	known  bool
	levels [forecasts]float64 // last value, mean of about 8, mean of about 128
	errors [forecasts]float64 // absolute, of late
	guess  float64            // for the point that is being read
}

const (
	forecasts = 3
	// coverage is the share of values in their band: on a page, a band that one
	// value in ten leaves looks like a wrong one.
	coverage = 0.98
	// forecastMemory is how many points the errors of forecasts look back on.
	forecastMemory = 512
	// effectMemory is the same for the usual size of values.
	effectMemory = 2560
)

// rates are the shares of a new value in each level.
var rates = [forecasts]float64{1, 1. / 8, 1. / 128}

func newForecaster(features int) (*forecaster, error) {
	expected, err := threshold.NewExpected(threshold.ExpectedSettings{Features: features, Coverage: coverage, Discount: 1. / forecastMemory})
	if err != nil {
		return nil, err
	}
	f := &forecaster{features: make([]feature, features), expected: expected}
	for i := range f.features {
		season, err := threshold.NewSeason(threshold.SeasonSettings{})
		if err != nil {
			return nil, err
		}
		f.features[i] = feature{season: season, effect: threshold.NewEffect(1./effectMemory, 0.1)}
	}
	return f, nil
}

// read fills in what is expected at a time.
func (f *forecaster) read(at int64, r *Reading) {
	for i := range f.features {
		x := &f.features[i]
		x.guess = math.NaN()
		if !x.known {
			continue
		}
		best := 0
		for k := range x.errors {
			if x.errors[k] < x.errors[best] {
				best = k
			}
		}
		// What Residual takes off nothing is what the hour adds.
		x.guess = x.levels[best] - x.season.Residual(at, 0)
		in := f.expected.Read(i, x.guess)
		r.Expected[i], r.Low[i], r.High[i] = in.Expected, in.Low, in.High
	}
}

// update takes in what came, if it is to be learned.
func (f *forecaster) update(at int64, values []float64, learn bool) {
	if !learn {
		return
	}
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		x := &f.features[i]
		y := x.season.Residual(at, v)
		x.effect.Learn(v)
		x.season.Learn(at, v)
		if !x.known {
			x.known = true
			for k := range x.levels {
				x.levels[k] = y
			}
			continue
		}
		f.expected.Learn(i, x.guess, v)
		for k := range x.levels {
			x.errors[k] += (math.Abs(y-x.levels[k]) - x.errors[k]) / forecastMemory
			x.levels[k] += rates[k] * (y - x.levels[k])
		}
	}
}
