package baseline

import (
	"fmt"
	"math"
)

const cusumKind = "CUSM"

// outlying is how many deviations one point may add to a sum: a shift is told
// by many points, and a spike is another detector's.
const outlying = 4

// CUSUMSettings are the settings of a CUSUM.
type CUSUMSettings struct {
	// Features is the number of values of a point, 1 to 64.
	Features int
	// Window is how many values the level is measured on, 16 to 4096. Defaults
	// to 512.
	Window int
	// Slack is by how many deviations a point must be off before it counts, 0
	// to 4 exclusive; half of the shift to be found is best. Defaults to 1:
	// metrics wander, and sums with less slack grow on them all the time.
	Slack float64
	// Limit is the sum at which the level counts as shifted, in deviations,
	// above 0 up to 1000. Defaults to 16, which a lasting shift of 3 deviations
	// reaches in 9 points. On independent normal points a slack of 0.5 and a
	// limit of 8 give one false shift in some 9,500 points (Siegmund's
	// approximation, with the level known), and the defaults none in practice.
	Limit float64
}

// CUSUM finds shifts of level: it sums, upwards and downwards, by how much
// values exceed the level more than the slack (Page, Continuous inspection
// schemes, Biometrika 1954), on values standardised by the median and the
// median absolute deviation of a window. Once a sum passes the limit the level
// has shifted: the score of that point is the sum, the sums start again, and
// the level is learned anew from the points since the sum was last zero, which
// is Page's estimate of when the shift began. So a shift is told once, and its
// new level is normal at once.
//
// A point takes a few binary searches in the window; a shift sorts the points
// it began with.
type CUSUM struct {
	frame
	settings CUSUMSettings
	tracks   []cusumTrack
	shifted  bool
}

type cusumTrack struct {
	window   window
	up, down float64
	// rising and falling count the points since either sum was zero.
	rising, falling uint32
}

// relearn is how many values a level needs before sums grow.
const relearn = 2 * warm

// NewCUSUM returns an empty model, or an error when a setting is out of bounds.
func NewCUSUM(s CUSUMSettings) (*CUSUM, error) {
	var err error
	if s.Window, err = choose("cusum", "window", s.Window, 512, relearn, 4096); err != nil {
		return nil, err
	}
	if s.Slack == 0 {
		s.Slack = 1
	}
	if !(s.Slack > 0 && s.Slack < outlying) {
		return nil, fmt.Errorf("cusum: slack %v: give more than 0 and less than %d", s.Slack, outlying)
	}
	if s.Limit == 0 {
		s.Limit = 16
	}
	if !(s.Limit > 0 && s.Limit <= 1000) {
		return nil, fmt.Errorf("cusum: limit %v: give more than 0 and at most 1000", s.Limit)
	}
	f, err := newFrame("cusum", s.Features, relearn)
	if err != nil {
		return nil, err
	}
	c := &CUSUM{frame: f, settings: s, tracks: make([]cusumTrack, s.Features)}
	for i := range c.tracks {
		c.tracks[i].window = newWindow(s.Window)
	}
	return c, nil
}

// Process scores the point and learns it unless it is held.
func (c *CUSUM) Process(at int64, x []float64, hold bool) (float64, error) {
	if err := c.admit("cusum", at, x); err != nil {
		return 0, err
	}
	c.shifted = false
	for i, v := range x {
		t := &c.tracks[i]
		median := t.window.median()
		c.deviation[i], c.expected[i] = 0, median
		if math.IsNaN(v) {
			continue
		}
		v = bounded(v)
		up, down := 0.0, 0.0
		if t.window.len() >= relearn {
			z := min(deviations(v, median, t.window.spread(median), median), outlying)
			if v < median {
				z = -z
			}
			up, down = max(0, t.up+z-c.settings.Slack), max(0, t.down-z-c.settings.Slack)
		}
		c.deviation[i] = max(up, down)
		if c.deviation[i] > c.settings.Limit {
			c.shifted = true
		}
		if !hold {
			t.learn(v, up, down, c.settings.Limit)
		}
	}
	if !hold {
		c.learn(x)
	}
	return c.score(), nil
}

// Shifted reports whether a feature's level shifted at the point last scored.
func (c *CUSUM) Shifted() bool { return c.shifted }

func (t *cusumTrack) learn(v, up, down, limit float64) {
	t.window.push(v)
	t.up, t.down = up, down
	t.rising, t.falling = run(t.rising, up), run(t.falling, down)
	since := t.rising
	if down > up {
		since = t.falling
	}
	if max(up, down) > limit {
		t.window.keep(int(since))
		t.up, t.down, t.rising, t.falling = 0, 0, 0, 0
	}
}

// run counts on while a sum is above zero.
func run(n uint32, sum float64) uint32 {
	if sum == 0 {
		return 0
	}
	return min(n+1, math.MaxInt32)
}

// AppendState appends the model to dst.
func (c *CUSUM) AppendState(dst []byte) []byte {
	w := newWriter(dst, cusumKind)
	w.u32(uint32(c.settings.Features))
	w.u32(uint32(c.settings.Window))
	w.f64(c.settings.Slack)
	w.f64(c.settings.Limit)
	w.frame(&c.frame)
	w.flag(c.shifted)
	for i := range c.tracks {
		t := &c.tracks[i]
		w.window(&t.window)
		w.f64(t.up)
		w.f64(t.down)
		w.u32(t.rising)
		w.u32(t.falling)
	}
	return w.sum()
}

// LoadState replaces the model by a saved one.
func (c *CUSUM) LoadState(src []byte) error {
	fresh, err := NewCUSUM(c.settings)
	if err != nil {
		return err
	}
	r := newReader(src, cusumKind)
	r.same("features", c.settings.Features)
	r.same("window", c.settings.Window)
	r.sameValue("slack", c.settings.Slack)
	r.sameValue("limit", c.settings.Limit)
	r.frame(&fresh.frame)
	fresh.shifted = r.flag()
	for i := range fresh.tracks {
		t := &fresh.tracks[i]
		r.window(&t.window)
		t.up, t.down = r.scale(), r.scale()
		t.rising, t.falling = uint32(r.count(math.MaxInt32)), uint32(r.count(math.MaxInt32))
	}
	if err := r.end("cusum"); err != nil {
		return err
	}
	*c = *fresh
	return nil
}
