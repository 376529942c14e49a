package detector

import "math"

// still finds a feature that stands still as it never did: a sensor that is
// stuck or an exporter that repeats itself gives values that are each as
// ordinary as can be, so that no score sees it. It knows how often a value
// equals the one before and how long that lasted at most. The zero value has
// seen nothing.
type still struct {
	last    float64
	run     float64 // equal values in a row behind the first
	longest float64 // such run of late
	share   float64 // of values that equal the one before
	seen    float64 // values compared, up to stillMemory
	told    float64 // points of the run that were graded
}

const (
	stillMemory = 4096
	// stillTimes is how many times as long as ever before a run must be. Nights
	// and idle queues are longer than days, but not by that much.
	stillTimes = 3
	// stillMargin multiplies the zeros of the wished risk: runs in real series are
	// not independent draws. On the 236 weeks of series under docs/detect/search.md
	// it leaves one graded run, which is labelled.
	stillMargin = 2
	// stillTold is how many points of a run are graded, as many as threshold.Drift
	// waits for before a level is the new normal.
	stillTold = 16
)

// zeros is how improbable the run is that ends with v, as the number of zeros
// of the probability; 0 for a run that is not far longer than those before.
func (s *still) zeros(v float64) float64 {
	if s.seen == 0 || v != s.last {
		return 0
	}
	share := (s.share*s.seen + 1) / (s.seen + 2)
	return math.Max(0, s.run+1-stillTimes*s.longest-2) * -math.Log10(share)
}

// learn takes in a value, which is not NaN.
func (s *still) learn(v float64) {
	if s.seen == 0 {
		s.last, s.seen = v, 1
		return
	}
	equal := 0.0
	if v == s.last {
		s.run++
		equal = 1
	} else {
		s.longest, s.run = math.Max(s.longest, s.run), 0
		s.told = 0
	}
	s.longest *= 1 - 1./(2*stillMemory)
	s.share += (equal - s.share) / s.seen
	s.last, s.seen = v, math.Min(s.seen+1, stillMemory)
}
