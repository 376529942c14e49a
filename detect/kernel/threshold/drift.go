package threshold

import (
	"errors"
	"fmt"
	"math"
)

// DriftSettings say when a new level is the new normal.
type DriftSettings struct {
	// Features is the number of values of a point. Defaults to 1.
	Features int
	// Agree is how many deviations the values of a run may lie from the level
	// of the run. Defaults to 3.
	Agree float64
	// Run is the number of graded points that agree, none between them that does
	// not, before their level is the new normal. Defaults to 16.
	Run int
	// Calm is the number of points in a row without a grade that end an
	// episode. Defaults to 8.
	Calm int
}

// DriftStep is where a Drift stands.
type DriftStep uint8

// The steps: no episode; an episode was alerted and lasts; its level was taken
// for the new normal and is learned until the grades have gone.
const (
	Quiet DriftStep = iota
	Alerted
	Learning
)

// String returns the step in lower case.
func (s DriftStep) String() string {
	switch s {
	case Quiet:
		return "quiet"
	case Alerted:
		return "alerted"
	case Learning:
		return "learning"
	}
	return fmt.Sprintf("step %d", uint8(s))
}

// Decision is what a Drift says of one point.
type Decision struct {
	// Step is where the point leaves the Drift.
	Step DriftStep
	// Alert says that this point opens an episode: a person is to be told. It
	// is true once per episode.
	Alert bool
	// Learn says that thresholds may learn this point: it is ordinary, or part
	// of a new normal.
	Learn bool
}

// Drift decides on graded points what is told and what is learned: alert once,
// then learn. A graded point opens an episode, which is alerted once. While it
// lasts, its points are kept from the thresholds; when Run of them agree, within
// Agree deviations in every feature, on a level, that level is the new normal (DATA_DRIFT in AWS's terms) and is learned, so that a shift is one
// alert and not one for ever. A graded point that leaves the new level is a new
// episode. Calm points end an episode. Level shifts are not found here: that is
// the grade's business, or CUSUM's.
type Drift struct {
	settings DriftSettings
	step     DriftStep
	run      int // graded points that agree
	calm     int // points without grade since
	level    []float64
	width    []float64
}

// NewDrift returns a quiet Drift.
func NewDrift(s DriftSettings) (*Drift, error) {
	s.Agree = orDefault(s.Agree, 3)
	for _, d := range []struct {
		p   *int
		def int
	}{{&s.Features, 1}, {&s.Run, 16}, {&s.Calm, 8}} {
		if *d.p == 0 {
			*d.p = d.def
		}
	}
	if err := errors.Join(
		within("drift", "Features", float64(s.Features), 1, 64),
		within("drift", "Agree", s.Agree, 0, 100),
		within("drift", "Run", float64(s.Run), 2, 1<<20),
		within("drift", "Calm", float64(s.Calm), 1, 1<<20),
	); err != nil {
		return nil, err
	}
	return &Drift{settings: s, level: make([]float64, s.Features), width: make([]float64, s.Features)}, nil
}

// Step returns where the Drift stands.
func (d *Drift) Step() DriftStep { return d.step }

// Update decides on a point: its grade, and for each feature its value and the
// usual deviation of such values, in the same unit. Missing or infinite values
// agree with everything. The slices are as long as Features and are not kept. A
// held point is decided on and then forgotten, and never to be learned.
func (d *Drift) Update(grade float64, values, deviations []float64, hold bool) Decision {
	graded := grade > 0
	agrees := graded && d.step != Quiet && d.agrees(values)
	next := Decision{Step: d.step}
	run, calm := d.run, 0
	switch {
	case !graded && d.step == Quiet:
		run = 0
	case !graded:
		if calm = d.calm + 1; calm >= d.settings.Calm {
			next.Step, calm, run = Quiet, 0, 0
		}
	case d.step == Quiet:
		next.Step, next.Alert, run = Alerted, true, 1
	case d.step == Learning && !agrees:
		next.Step, next.Alert, run = Alerted, true, 1
	case d.step == Alerted && !agrees:
		run = 1
	case d.step == Alerted:
		if run++; run >= d.settings.Run {
			next.Step = Learning
		}
	}
	// A point without grade in an episode is ordinary; a run is broken only by
	// a point that disagrees.
	next.Learn = !hold && (!graded || next.Step == Learning)
	if hold {
		return next
	}
	if graded && next.Step == Alerted && run == 1 {
		d.begin(values, deviations)
	} else if agrees {
		d.follow(values)
	}
	d.step, d.run, d.calm = next.Step, min(run, d.settings.Run), calm
	return next
}

// agrees reports whether every feature lies about the level of the run.
func (d *Drift) agrees(values []float64) bool {
	for i := range d.level {
		if x := values[i]; finite(x) && math.Abs(x-d.level[i]) > d.width[i] {
			return false
		}
	}
	return true
}

// begin starts a run. The width is fixed here: the deviations would grow with
// the learning of what is judged. A constant stream has a deviation of 0, so
// there is a share of the value in it.
func (d *Drift) begin(values, deviations []float64) {
	for i := range d.level {
		d.level[i], d.width[i] = 0, math.MaxFloat64
		if x, sd := values[i], deviations[i]; finite(x) && finite(sd) {
			d.level[i] = x
			d.width[i] = math.Min(d.settings.Agree*(math.Abs(sd)+1e-6*math.Abs(x)), math.MaxFloat64)
		}
	}
}

// follow moves the level to the mean of the run, and later slowly along.
func (d *Drift) follow(values []float64) {
	for i := range d.level {
		if x := values[i]; finite(x) {
			d.level[i] += (x - d.level[i]) / float64(d.run+1)
		}
	}
}

func (d *Drift) code(c *coder) {
	c.setting("Features", float64(d.settings.Features))
	c.setting("Agree", d.settings.Agree)
	c.setting("Run", float64(d.settings.Run))
	c.setting("Calm", float64(d.settings.Calm))
	step := int(d.step)
	c.int(&step, int(Learning))
	c.int(&d.run, d.settings.Run)
	c.int(&d.calm, d.settings.Calm)
	if c.load {
		if c.err != nil {
			return
		}
		d.step = DriftStep(step)
		d.level, d.width = make([]float64, len(d.level)), make([]float64, len(d.width))
	}
	c.floats(d.level)
	c.floats(d.width)
}

// AppendState appends the state to dst.
func (d *Drift) AppendState(dst []byte) []byte {
	c := save(dst, 'L')
	d.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (d *Drift) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'L'), *d
	next.code(&c)
	if c.err == nil {
		*d = next
	}
	return c.done("drift")
}
