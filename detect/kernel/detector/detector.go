// Package detector composes the kernels into detectors: each takes the points
// of one model in order and says of every point how strange it is, what was
// expected instead, and whether that deserves a person's attention.
package detector

import "time"

// Point is one step of a model: one value for each of its features.
type Point struct {
	// At is the start of the step, Unix milliseconds UTC. Points come in
	// increasing order; a gap is a gap in At.
	At int64
	// Values has one value per feature, in the model's order. NaN is a missing
	// value; an infinite one is an error.
	Values []float64
	// Hold says that the point is scored and not learned: maintenance, an
	// incident, a change that was rolled back.
	Hold bool
}

// Reading is what a detector says of one point. A detector fills the slices in
// place, so that a reading that is used again costs no allocation; they are
// as long as the point. It also lends detectors the memory they need for one
// point, so that ten thousand models that share a reading need it once: use one
// for every goroutine. A copy shares its slices and that memory.
type Reading struct {
	// Score is how strange the point is, in [0,1], comparable between models of
	// one detector: whoever ranks points of many series ranks by this.
	Score float64
	// Raw is the kernel's own score, comparable within one model only.
	Raw float64
	// Threshold is the Raw above which Grade is positive. There is one other
	// way to a grade: a value that stands still as it never did.
	Threshold float64
	// Grade is 0 for a point that is as expected and otherwise in (0,1], how
	// far it is beyond the threshold. It is what an anomaly opens on.
	Grade float64
	// Confidence in [0,1] grows with what was learned.
	Confidence float64
	// Learned and Needed are points learned and needed before grades are
	// given: "learning, 41 of 128 points". Learned stops counting at Needed.
	Learned, Needed int
	// Expected, Low and High are the expected value of each feature and its
	// band, in the feature's own unit; NaN where nothing is known yet.
	Expected, Low, High []float64
	// Blame is the share of each feature in the score; it sums to 1, or is all
	// zero where the score is. A value that is missing has no share.
	Blame []float64

	scratch *scratch
}

// Ready reports whether the detector has learned enough to grade.
func (r *Reading) Ready() bool { return r.Learned >= r.Needed }

// Reset makes every slice dims long, NaN in the values and 0 in the blame, and
// every number zero. It allocates only when a slice is too short.
func (r *Reading) Reset(dims int) {
	*r = Reading{
		Expected: unknown(r.Expected, dims), Low: unknown(r.Low, dims), High: unknown(r.High, dims),
		Blame: zeroed(r.Blame, dims), scratch: r.scratch,
	}
}

// Detector is one model. It is not safe for concurrent use. Equal settings and
// equal points give equal readings, in one process and over a save and load;
// what a point reads never depends on later points.
type Detector interface {
	// Process reads the point and then, unless it is held, learns it. On an
	// error (wrong number of values, an infinite value, a time that does not
	// increase) the model is as it was.
	Process(p Point, r *Reading) error
	// AppendState appends the model to dst, versioned and checksummed.
	AppendState(dst []byte) ([]byte, error)
}

// Settings are what a model is made of. A saved model loads only under equal
// settings.
type Settings struct {
	// Features is the number of values of a point, 1 to 64.
	Features int
	// Step is the distance of points in time. Defaults to a minute.
	Step time.Duration
	// Seed makes the model's chance repeatable.
	Seed uint64
	// AlarmsPerWeek is the wished number of false alarms of this model, spread
	// over its points. Defaults to 1.
	AlarmsPerWeek float64
	// MinEffect is how far, relative to the expected value, a value must be off
	// before its point is graded. Defaults to 0.
	MinEffect float64
	// Tier trades accuracy for memory. Defaults to Full.
	Tier Tier
}

// Tier is a size of model.
type Tier string

// The tiers. Small is for ten thousand models on one machine.
const (
	Full  Tier = "full"
	Small Tier = "small"
)
