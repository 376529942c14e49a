package baseline

import (
	"fmt"
	"math"
)

const zscoreKind = "ZSCR"

// ZScoreSettings are the settings of a ZScore.
type ZScoreSettings struct {
	// Features is the number of values of a point, 1 to 64.
	Features int
	// Window is how many points the mean and deviation look back on average, 8
	// to 1,000,000. Defaults to 2560.
	Window int
	// Difference scores the change since the last value in place of the value.
	Difference bool
	// Clip learns a value at most this many deviations away from the mean, so
	// that an outlier does not widen the scale that it is measured by, and a new
	// level is taken in over one to two windows. +Inf learns all values as they
	// are. Defaults to 3.
	Clip float64
}

// ZScore scores how many standard deviations a value lies from an
// exponentially weighted mean (Roberts, Control chart tests based on geometric
// moving averages, Technometrics 1959). It knows no season and no shape; what
// it misses is what the others are for. A point takes constant time.
type ZScore struct {
	frame
	settings ZScoreSettings
	tracks   []zscoreTrack
}

type zscoreTrack struct {
	moments
	prev float64
	view view
}

// view says what is known of the value before.
type view uint8

const (
	viewNone view = iota
	viewLearned
	viewHeld
)

// NewZScore returns an empty model, or an error when a setting is out of bounds.
func NewZScore(s ZScoreSettings) (*ZScore, error) {
	var err error
	if s.Window, err = choose("z-score", "window", s.Window, 2560, warm, 1e6); err != nil {
		return nil, err
	}
	if s.Clip == 0 {
		s.Clip = 3
	}
	if !(s.Clip >= 1) {
		return nil, fmt.Errorf("z-score: clip %v: give at least 1, or +Inf for none", s.Clip)
	}
	needed := warm
	if s.Difference {
		needed++
	}
	f, err := newFrame("z-score", s.Features, needed)
	if err != nil {
		return nil, err
	}
	return &ZScore{frame: f, settings: s, tracks: make([]zscoreTrack, s.Features)}, nil
}

// NewDifferences returns a z-score of the change from point to point over 2560
// points. It is a baseline: whatever claims to see more must beat it.
func NewDifferences(features int) (*ZScore, error) {
	return NewZScore(ZScoreSettings{Features: features, Difference: true})
}

// Process scores the point and learns it unless it is held.
func (z *ZScore) Process(at int64, x []float64, hold bool) (float64, error) {
	if err := z.admit("z-score", at, x); err != nil {
		return 0, err
	}
	for i, v := range x {
		t := &z.tracks[i]
		base, known := 0.0, t.n > 0
		if z.settings.Difference {
			base, known = t.prev, t.view != viewNone
		}
		z.deviation[i], z.expected[i] = 0, math.NaN()
		if known {
			z.expected[i] = base + t.mean
		}
		if math.IsNaN(v) {
			continue
		}
		v = bounded(v)
		step := v - base
		level, scale := base+t.mean, t.moments.deviation()
		if t.n >= warm {
			z.deviation[i] = deviations(v, level, scale, level)
		}
		if z.settings.Difference {
			if !hold && t.view == viewLearned {
				t.add(z.clipped(t, step, scale), z.settings.Window)
			}
			t.prev, t.view = v, viewLearned
			if hold {
				t.view = viewHeld
			}
			continue
		}
		if !hold {
			t.add(z.clipped(t, step, scale), z.settings.Window)
		}
	}
	if !hold {
		z.learn(x)
	}
	return z.score(), nil
}

func (z *ZScore) clipped(t *zscoreTrack, v, scale float64) float64 {
	if t.n < warm || scale <= grain*math.Abs(t.mean) {
		// What never moved has no scale to clip by.
		return v
	}
	reach := z.settings.Clip * scale
	return min(max(v, t.mean-reach), t.mean+reach)
}

// AppendState appends the model to dst.
func (z *ZScore) AppendState(dst []byte) []byte {
	w := newWriter(dst, zscoreKind)
	w.u32(uint32(z.settings.Features))
	w.u32(uint32(z.settings.Window))
	w.u32(uint32(z.mode()))
	w.f64(z.settings.Clip)
	w.frame(&z.frame)
	for i := range z.tracks {
		t := &z.tracks[i]
		w.moments(&t.moments)
		w.f64(t.prev)
		w.u8(uint8(t.view))
	}
	return w.sum()
}

// LoadState replaces the model by a saved one.
func (z *ZScore) LoadState(src []byte) error {
	fresh, err := NewZScore(z.settings)
	if err != nil {
		return err
	}
	r := newReader(src, zscoreKind)
	r.same("features", z.settings.Features)
	r.same("window", z.settings.Window)
	r.same("difference", z.mode())
	r.sameValue("clip", z.settings.Clip)
	r.frame(&fresh.frame)
	for i := range fresh.tracks {
		t := &fresh.tracks[i]
		r.moments(&t.moments, z.settings.Window)
		t.prev = r.f64()
		if t.view = view(r.u8()); t.view > viewHeld {
			r.fail(fmt.Errorf("state holds an unknown view %d", t.view))
		}
	}
	if err := r.end("z-score"); err != nil {
		return err
	}
	*z = *fresh
	return nil
}

func (z *ZScore) mode() int {
	if z.settings.Difference {
		return 1
	}
	return 0
}
