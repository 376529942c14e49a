package threshold

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"
)

// RiskOf turns a budget of false alarms into the risk of one point: alarms per
// week times the step, as a share of a week. At a step of a minute, one alarm
// per week is a risk of 1/10080.
func RiskOf(alarmsPerWeek float64, step time.Duration) float64 {
	return alarmsPerWeek * float64(step) / float64(7*24*time.Hour)
}

// SPOTSettings say how a SPOT alarms.
type SPOTSettings struct {
	// Risk is the wished number of alarms per point when nothing is wrong, see
	// RiskOf. It has no default and is below 1-Level.
	Risk float64
	// Level is the quantile of the calibration points above which a point is a
	// peak. Defaults to 0.98.
	Level float64
	// Calibrate is the number of points learned before the first alarm, 100 at
	// least. Defaults to 1000.
	Calibrate int
	// Peaks is how many of the latest peaks the tail is fitted to. Defaults to
	// 256.
	Peaks int
	// Cluster is the number of points within which peaks are one event, of
	// which the largest counts. Give the shingle size for scores that overlap:
	// one event makes as many of them high, and would be taken for a heavy
	// tail. Risk is then that of an event to begin at a point. Defaults to 1,
	// every peak for itself.
	Cluster int
	// Unbounded takes a tail that looks bounded for an exponential one. A
	// bounded fit to few peaks ends shortly behind the largest of them, and then
	// every record is an alarm: at a risk of 1/10080 and after 1,000 points of a
	// forest's scores, ten in a week in place of one. It costs the alarms between
	// the true end of a tail that is bounded and the threshold.
	Unbounded bool
}

func (s *SPOTSettings) complete() error {
	s.Level = orDefault(s.Level, 0.98)
	if s.Calibrate == 0 {
		s.Calibrate = 1000
	}
	if s.Peaks == 0 {
		s.Peaks = 256
	}
	if s.Cluster == 0 {
		s.Cluster = 1
	}
	if err := errors.Join(
		within("spot", "Level", s.Level, 0.5, 0.9999),
		within("spot", "Calibrate", float64(s.Calibrate), 100, 1<<20),
		within("spot", "Peaks", float64(s.Peaks), fewestExcesses, 1<<16),
		within("spot", "Cluster", float64(s.Cluster), 1, 1<<16),
	); err != nil {
		return err
	}
	if !(s.Risk > 0 && s.Risk < 1-s.Level) {
		return fmt.Errorf("threshold: spot: Risk is %v: give a number above 0 and below 1-Level, %v; RiskOf makes one of an alarm budget",
			s.Risk, 1-s.Level)
	}
	return nil
}

// SPOT is the streaming peaks-over-threshold detector of Siffer, Fouque,
// Termier and Largouët (KDD 2017): it fits a generalised Pareto distribution to
// the excesses over a high quantile and puts the threshold where it says that
// one point in 1/Risk lies above. No distribution of the points is supposed,
// only that it stays the same; for streams that wander there is DSPOT. It looks
// at the upper tail; negate the stream for the lower.
//
// Three things differ from the paper. Only the latest Peaks excesses are kept,
// so that memory is bounded. With fewer than eight excesses the threshold is
// +Inf: there is no tail to fit. And the paper does not learn a point that
// alarms, which cuts the tail off at the threshold, lowers the next threshold,
// and so on: on noise at a risk of 1/2000 it alarms five times too often. Here
// the first alarm of a run is learned as one more excess beyond the threshold,
// but not its own: it gets the next of an even sequence of quantiles of what the
// tail expects there. So the tail stays whole, and an anomaly of any height
// moves it no more than noise does. The other alarms of a run are not learned.
// Learn takes in any point as it is. A point that is not finite does not alarm.
type SPOT struct {
	settings SPOTSettings
	points   []float64 // calibration, then nil; the capacity is twice its length
	seen     uint64    // points learned
	over     uint64    // peaks, or clusters of them, among these
	since    int       // points since the last peak, at most Cluster
	base     float64   // the high quantile
	peaks    []float64 // ring of excesses
	next     int
	tail     Pareto
	alarms   uint64 // that began a run
	alarming bool   // the last point that was not held alarmed
}

// NewSPOT returns a SPOT that has seen nothing.
func NewSPOT(s SPOTSettings) (*SPOT, error) {
	if err := s.complete(); err != nil {
		return nil, err
	}
	return &SPOT{
		settings: s,
		points:   make([]float64, 0, 2*s.Calibrate),
		peaks:    make([]float64, 0, s.Peaks),
		since:    s.Cluster,
	}, nil
}

// Ready reports whether the calibration is over.
func (s *SPOT) Ready() bool { return s.seen >= uint64(s.settings.Calibrate) }

// Tail returns the level above which a point is a peak, and the distribution of
// the excesses over it.
func (s *SPOT) Tail() (level float64, excess Pareto) { return s.base, s.tail }

// Threshold returns the value above which the next point alarms, +Inf while
// calibrating.
//
// A calm stream may show few peaks or none for as long as it stays calm: a
// forest learns, and what was high at first never comes again. Waiting for more
// would be deaf to the first thing that goes wrong. So the tail of few peaks is
// an exponential one, widened by two standard errors of its scale, and without
// any it is half the level.
func (s *SPOT) Threshold() float64 {
	switch n := len(s.peaks); {
	case !s.Ready():
		return math.Inf(1)
	case n == 0:
		return s.base + math.Abs(s.base)/2
	case n < fewestExcesses:
		return s.base + s.tail.Quantile(s.beyond())*(1+2/math.Sqrt(float64(n)))
	}
	return s.base + s.tail.Quantile(s.beyond())
}

// beyond is the share of the peaks that lie above the threshold.
func (s *SPOT) beyond() float64 {
	return s.settings.Risk * float64(s.seen) / float64(s.over)
}

// Alarm reports whether the point lies above the threshold.
func (s *SPOT) Alarm(x float64) bool { return finite(x) && x > s.Threshold() }

// Learn takes in a point, alarming or not. Its price is that of a fit, which
// reads all peaks some thirty times, for each peak and that of a comparison for
// other points.
func (s *SPOT) Learn(x float64) {
	if !finite(x) {
		return
	}
	s.seen++
	if s.points != nil {
		s.points = append(s.points, x)
		if s.Ready() {
			s.calibrate()
		}
		return
	}
	if s.keep(x - s.base) {
		s.fit()
	}
}

// fit fits the tail to the peaks.
func (s *SPOT) fit() {
	s.tail = FitPareto(s.peaks)
	if s.settings.Unbounded && s.tail.Shape < 0 {
		sum := 0.0
		for _, y := range s.peaks {
			sum += y
		}
		s.tail = Pareto{Scale: sum / float64(len(s.peaks))}
	}
}

// impute learns an alarm by an excess beyond the threshold that the tail
// expects, the share of the van der Corput sequence.
func (s *SPOT) impute() {
	s.alarms++
	share := (float64(bits.Reverse64(s.alarms)>>11) + 0.5) / (1 << 53)
	excess := s.tail.Quantile(math.Min(s.beyond(), 1) * share)
	s.seen++
	if s.keep(excess) {
		s.fit()
	}
}

// keep takes in the excess of the next point and reports whether the peaks
// changed.
func (s *SPOT) keep(excess float64) bool {
	s.since = min(s.since+1, s.settings.Cluster)
	if !(excess > 0) || !finite(excess) {
		return false
	}
	apart := s.since == s.settings.Cluster || len(s.peaks) == 0
	s.since = 0
	if apart {
		s.over++
		if len(s.peaks) < cap(s.peaks) {
			s.peaks = append(s.peaks, excess)
			return true
		}
		s.peaks[s.next] = excess
		s.next = (s.next + 1) % len(s.peaks)
		return true
	}
	last := s.next - 1
	if last < 0 {
		last = len(s.peaks) - 1
	}
	if excess <= s.peaks[last] {
		return false
	}
	s.peaks[last] = excess
	return true
}

func (s *SPOT) calibrate() {
	points := s.points
	s.points = nil
	sorted := append(points[len(points):], points...)
	slices.Sort(sorted)
	s.base = sorted[int(s.settings.Level*float64(len(sorted)-1))]
	for _, x := range points {
		s.keep(x - s.base)
	}
	s.fit()
}

// Update reports whether the point alarms and learns it unless it is held; an
// alarm is learned as said at SPOT.
func (s *SPOT) Update(x float64, hold bool) (alarm bool) {
	alarm = s.Alarm(x)
	if hold || !finite(x) {
		return alarm
	}
	switch {
	case !alarm:
		s.Learn(x)
	case !s.alarming:
		s.impute()
	default:
		s.since = 0 // the event goes on
	}
	s.alarming = alarm
	return alarm
}

// code works on a value that owns its slices when it loads.
func (s *SPOT) code(c *coder) {
	c.setting("Risk", s.settings.Risk)
	c.setting("Level", s.settings.Level)
	c.setting("Calibrate", float64(s.settings.Calibrate))
	c.setting("Peaks", float64(s.settings.Peaks))
	c.setting("Cluster", float64(s.settings.Cluster))
	c.flag("Unbounded", s.settings.Unbounded)
	c.int(&s.since, s.settings.Cluster)
	c.uint64(&s.seen)
	c.uint64(&s.over)
	c.uint64(&s.alarms)
	c.bool(&s.alarming)
	c.float(&s.base)
	c.float(&s.tail.Shape)
	c.float(&s.tail.Scale)
	c.int(&s.next, s.settings.Peaks-1)
	points, peaks := len(s.points), len(s.peaks)
	c.int(&points, s.settings.Calibrate-1)
	c.int(&peaks, s.settings.Peaks)
	if c.load {
		if c.err == nil && (uint64(peaks) > s.over || !s.Ready() && uint64(points) != s.seen || s.Ready() && points > 0 ||
			peaks < s.settings.Peaks && s.next > 0) {
			c.err = errors.New("its counts contradict one another: it was damaged")
		}
		if c.err != nil {
			return
		}
		s.points = nil
		if !s.Ready() {
			s.points = make([]float64, points, 2*s.settings.Calibrate)
		}
		s.peaks = make([]float64, peaks, s.settings.Peaks)
	}
	c.floats(s.points)
	c.floats(s.peaks)
}

// AppendState appends the state to dst.
func (s *SPOT) AppendState(dst []byte) []byte {
	c := save(dst, 'S')
	s.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (s *SPOT) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'S'), *s
	next.code(&c)
	if c.err == nil {
		*s = next
	}
	return c.done("spot")
}
