package threshold

import (
	"errors"
	"fmt"
	"math"
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
}

func (s *SPOTSettings) complete() error {
	s.Level = orDefault(s.Level, 0.98)
	if s.Calibrate == 0 {
		s.Calibrate = 1000
	}
	if s.Peaks == 0 {
		s.Peaks = 256
	}
	if err := errors.Join(
		within("spot", "Level", s.Level, 0.5, 0.9999),
		within("spot", "Calibrate", float64(s.Calibrate), 100, 1<<20),
		within("spot", "Peaks", float64(s.Peaks), fewestExcesses, 1<<16),
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
// Two limits differ from the paper. Only the latest Peaks excesses are kept, so
// that memory is bounded. With fewer than eight excesses the threshold is +Inf:
// there is no tail to fit. As in the paper, Update does not learn a point that
// alarms, which censors the tail and makes alarms a little more frequent than
// Risk, the more so the nearer Risk is to 1-Level; Learn takes in any point. A
// point that is not finite does not alarm.
type SPOT struct {
	settings SPOTSettings
	points   []float64 // calibration, then nil
	seen     uint64    // points learned
	over     uint64    // peaks among them
	base     float64   // the high quantile
	peaks    []float64 // ring of excesses
	next     int
	tail     Pareto
}

// NewSPOT returns a SPOT that has seen nothing.
func NewSPOT(s SPOTSettings) (*SPOT, error) {
	if err := s.complete(); err != nil {
		return nil, err
	}
	return &SPOT{
		settings: s,
		points:   make([]float64, 0, s.Calibrate),
		peaks:    make([]float64, 0, s.Peaks),
	}, nil
}

// Ready reports whether the calibration is over.
func (s *SPOT) Ready() bool { return s.seen >= uint64(s.settings.Calibrate) }

// Tail returns the level above which a point is a peak, and the distribution of
// the excesses over it.
func (s *SPOT) Tail() (level float64, excess Pareto) { return s.base, s.tail }

// Threshold returns the value above which the next point alarms, +Inf while
// calibrating and as long as there are too few peaks.
func (s *SPOT) Threshold() float64 {
	if !s.Ready() || len(s.peaks) < fewestExcesses {
		return math.Inf(1)
	}
	return s.base + s.tail.Quantile(s.settings.Risk*float64(s.seen)/float64(s.over))
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
	if x > s.base {
		s.keep(x)
		s.tail = FitPareto(s.peaks)
	}
}

func (s *SPOT) keep(x float64) {
	excess := x - s.base
	if !finite(excess) {
		return
	}
	s.over++
	if len(s.peaks) < cap(s.peaks) {
		s.peaks = append(s.peaks, excess)
		return
	}
	s.peaks[s.next] = excess
	s.next = (s.next + 1) % len(s.peaks)
}

func (s *SPOT) calibrate() {
	points := s.points
	s.points = nil
	slices.Sort(points)
	s.base = points[int(s.settings.Level*float64(len(points)-1))]
	for _, x := range points {
		if x > s.base {
			s.keep(x)
		}
	}
	s.tail = FitPareto(s.peaks)
}

// Update reports whether the point alarms and learns it unless it does or is
// held.
func (s *SPOT) Update(x float64, hold bool) (alarm bool) {
	alarm = s.Alarm(x)
	if !alarm && !hold {
		s.Learn(x)
	}
	return alarm
}

// code works on a value that owns its slices when it loads.
func (s *SPOT) code(c *coder) {
	c.setting("Risk", s.settings.Risk)
	c.setting("Level", s.settings.Level)
	c.setting("Calibrate", float64(s.settings.Calibrate))
	c.setting("Peaks", float64(s.settings.Peaks))
	c.uint64(&s.seen)
	c.uint64(&s.over)
	c.float(&s.base)
	c.float(&s.tail.Shape)
	c.float(&s.tail.Scale)
	c.int(&s.next, s.settings.Peaks-1)
	points, peaks := len(s.points), len(s.peaks)
	c.int(&points, s.settings.Calibrate-1)
	c.int(&peaks, s.settings.Peaks)
	if c.load {
		if c.err == nil && (peaks > 0 && s.over == 0 || !s.Ready() && uint64(points) != s.seen || s.Ready() && points > 0) {
			c.err = errors.New("its counts contradict one another: it was damaged")
		}
		if c.err != nil {
			return
		}
		s.points = nil
		if !s.Ready() {
			s.points = make([]float64, points, s.settings.Calibrate)
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
