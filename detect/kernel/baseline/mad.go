package baseline

import "math"

const madKind = "MADW"

// MADSettings are the settings of a MAD.
type MADSettings struct {
	// Features is the number of values of a point, 1 to 64.
	Features int
	// Window is how many values of each feature are remembered, 8 to 4096.
	// Defaults to 512.
	Window int
}

// MAD scores how many robust standard deviations a value lies from the median
// of a window (Hampel, The influence curve and its role in robust estimation,
// JASA 1974; Iglewicz and Hoaglin 1993). Up to half of the window may be
// outliers before the scale is taken in, which also means that a new level
// stays strange for half a window.
//
// Median and deviation are exact. A point takes a few binary searches in the
// window, a move of at most 8 bytes times the window, and, only where more than
// half of the window is one value, a sum over it.
type MAD struct {
	frame
	settings MADSettings
	windows  []window
}

// NewMAD returns an empty model, or an error when a setting is out of bounds.
func NewMAD(s MADSettings) (*MAD, error) {
	var err error
	if s.Window, err = choose("mad", "window", s.Window, 512, warm, 4096); err != nil {
		return nil, err
	}
	f, err := newFrame("mad", s.Features, warm)
	if err != nil {
		return nil, err
	}
	m := &MAD{frame: f, settings: s, windows: make([]window, s.Features)}
	for i := range m.windows {
		m.windows[i] = newWindow(s.Window)
	}
	return m, nil
}

// Process scores the point and learns it unless it is held.
func (m *MAD) Process(at int64, x []float64, hold bool) (float64, error) {
	if err := m.admit("mad", at, x); err != nil {
		return 0, err
	}
	for i, v := range x {
		w := &m.windows[i]
		median := w.median()
		m.deviation[i], m.expected[i] = 0, median
		if math.IsNaN(v) {
			continue
		}
		v = bounded(v)
		if w.len() >= warm {
			m.deviation[i] = deviations(v, median, w.spread(median), median)
		}
		if !hold {
			w.push(v)
		}
	}
	if !hold {
		m.learn(x)
	}
	return m.score(), nil
}

// AppendState appends the model to dst.
func (m *MAD) AppendState(dst []byte) []byte {
	w := newWriter(dst, madKind)
	w.u32(uint32(m.settings.Features))
	w.u32(uint32(m.settings.Window))
	w.frame(&m.frame)
	for i := range m.windows {
		w.window(&m.windows[i])
	}
	return w.sum()
}

// LoadState replaces the model by a saved one.
func (m *MAD) LoadState(src []byte) error {
	fresh, err := NewMAD(m.settings)
	if err != nil {
		return err
	}
	r := newReader(src, madKind)
	r.same("features", m.settings.Features)
	r.same("window", m.settings.Window)
	r.frame(&fresh.frame)
	for i := range fresh.windows {
		r.window(&fresh.windows[i])
	}
	if err := r.end("mad"); err != nil {
		return err
	}
	*m = *fresh
	return nil
}
