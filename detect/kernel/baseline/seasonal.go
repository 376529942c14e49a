package baseline

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	seasonalKind = "SEAS"

	hoursPerWeek = 168
	// spacing is the least time between two values that are kept of one hour,
	// so that an hour of the week remembers weeks and not its last minutes.
	spacing = 10 * 60 * 1000 // ms
	// pooled is how many values the scale of all hours counts for beside an
	// hour's own.
	pooled = 32
	// upper and lower bound the band; a normal distribution has its 90th
	// percentile at 1.2816 standard deviations.
	lower, upper = 0.1, 0.9
	bandWidth    = 1.2816
)

// SeasonalSettings are the settings of a Seasonal.
type SeasonalSettings struct {
	// Features is the number of values of a point, 1 to 64.
	Features int
	// Zone is whose hours of the week are meant, daylight saving included.
	// Defaults to UTC.
	Zone *time.Location
	// Depth is how many values an hour of the week remembers, at most six of
	// each visit, 6 to 256. Defaults to 32, which is five weeks of minutes or
	// 32 of hours.
	Depth int
	// Visits is how often an hour must have been seen before it is believed, 1
	// to 8. Defaults to 3.
	Visits int
}

// Seasonal scores how far a value lies outside the quantiles of its hour of the
// week, above and below measured by their own half of the band. An hour of the
// week not seen often enough is replaced by the same hour of all days (three
// days suffice), and before that by the last 512 values. Scales of single hours
// are shrunk towards the common one, because a few values say little of a tail.
//
// What is expected of an hour is settled when the hour begins; that sorts at
// most 7 times Depth values, once an hour. Every other point takes constant
// time, or, in the first days, two binary searches. A feature takes about
// 1400 bytes times Depth.
type Seasonal struct {
	frame
	settings SeasonalSettings
	tracks   []seasonalTrack
	scratch  []float64
}

type seasonalTrack struct {
	hours  [hoursPerWeek]hour
	recent window
	scale  [3]moments // of residuals, by the depth of knowledge they were measured with
	now    reference
}

// hour is one hour of the week.
type hour struct {
	values []float64 // ring, oldest at head once full
	head   int
	visits int
	visit  int64 // the last one, in hours since 1970 local time
	kept   int64 // when the last value was kept, Unix ms
}

// reference is what is expected during one hour.
type reference struct {
	hour              int64
	known             knowledge
	count             int
	low, median, high float64
}

// knowledge says where an expectation comes from.
type knowledge uint8

const (
	fromRecent knowledge = iota
	fromHourOfDay
	fromHourOfWeek
)

// NewSeasonal returns an empty model, or an error when a setting is out of
// bounds.
func NewSeasonal(s SeasonalSettings) (*Seasonal, error) {
	var err error
	if s.Depth, err = choose("seasonal", "depth", s.Depth, 32, 6, 256); err != nil {
		return nil, err
	}
	if s.Visits, err = choose("seasonal", "visits", s.Visits, 3, 1, 8); err != nil {
		return nil, err
	}
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	f, err := newFrame("seasonal", s.Features, warm)
	if err != nil {
		return nil, err
	}
	m := &Seasonal{frame: f, settings: s, tracks: make([]seasonalTrack, s.Features), scratch: make([]float64, 0, 7*s.Depth)}
	for i := range m.tracks {
		t := &m.tracks[i]
		t.recent = newWindow(512)
		t.now.hour = math.MinInt64
		values := make([]float64, hoursPerWeek*s.Depth)
		for h := range t.hours {
			t.hours[h].values = values[h*s.Depth : h*s.Depth : (h+1)*s.Depth]
		}
	}
	return m, nil
}

// Process scores the point and learns it unless it is held.
func (m *Seasonal) Process(at int64, x []float64, hold bool) (float64, error) {
	if err := m.admit("seasonal", at, x); err != nil {
		return 0, err
	}
	now := m.localHour(at)
	for i, v := range x {
		t := &m.tracks[i]
		if t.now.hour != now {
			m.expect(t, now)
		}
		if t.now.known == fromRecent {
			t.now.read(t.recent.sorted)
		}
		m.deviation[i], m.expected[i] = 0, math.NaN()
		if t.now.count > 0 {
			m.expected[i] = t.now.median
		}
		if math.IsNaN(v) {
			continue
		}
		v = bounded(v)
		scale := &t.scale[t.now.known]
		if t.now.count >= warm || t.now.known != fromRecent {
			m.deviation[i] = deviations(v, t.now.median, t.now.side(v, scale), t.now.median)
		}
		if !hold {
			m.keep(t, at, now, v, scale)
		}
	}
	if !hold {
		m.learn(x)
	}
	return m.score(), nil
}

// localHour is the number of whole hours since 1970 in the model's zone.
func (m *Seasonal) localHour(at int64) int64 {
	_, offset := time.UnixMilli(at).In(m.settings.Zone).Zone()
	return floorDiv(floorDiv(at, 1000)+int64(offset), 3600)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func hourOfWeek(hour int64) int { return int((hour%hoursPerWeek + hoursPerWeek) % hoursPerWeek) }

// expect settles what an hour is expected to be like.
func (m *Seasonal) expect(t *seasonalTrack, now int64) {
	t.now = reference{hour: now}
	h := hourOfWeek(now)
	pool, known := m.scratch[:0], fromHourOfWeek
	if t.hours[h].visits >= m.settings.Visits {
		pool = append(pool, t.hours[h].values...)
	} else {
		visits := 0
		known = fromHourOfDay
		for d := h % 24; d < hoursPerWeek; d += 24 {
			visits += t.hours[d].visits
			pool = append(pool, t.hours[d].values...)
		}
		if visits < m.settings.Visits {
			return
		}
	}
	slices.Sort(pool)
	t.now.read(pool)
	t.now.known = known
}

func (r *reference) read(sorted []float64) {
	if r.count = len(sorted); r.count == 0 {
		return
	}
	r.low, r.median, r.high = quantile(sorted, lower), middle(sorted), quantile(sorted, upper)
}

// side is the standard deviation on the side of the median on which v lies.
func (r *reference) side(v float64, scale *moments) float64 {
	own := r.high - r.median
	if v < r.median {
		own = r.median - r.low
	}
	own /= bandWidth
	if scale.n < warm {
		return own
	}
	n := float64(r.count)
	return math.Sqrt((n*own*own + pooled*scale.variance) / (n + pooled))
}

func (m *Seasonal) keep(t *seasonalTrack, at, now int64, v float64, scale *moments) {
	if t.now.count > 0 {
		residual := v - t.now.median
		if reach := 4 * scale.deviation(); scale.n >= warm && reach > 0 {
			// An outlier may not widen the scale it is measured by.
			residual = min(max(residual, -reach), reach)
		}
		scale.add(residual, 2560)
	}
	t.recent.push(v)
	h := &t.hours[hourOfWeek(now)]
	if h.visits == 0 || h.visit != now {
		h.visits = min(h.visits+1, math.MaxInt32)
	} else if uint64(at)-uint64(h.kept) < spacing {
		return
	}
	h.visit, h.kept = now, at
	if len(h.values) < cap(h.values) {
		h.values = append(h.values, v)
		return
	}
	h.values[h.head] = v
	if h.head++; h.head == len(h.values) {
		h.head = 0
	}
}

// AppendState appends the model to dst.
func (m *Seasonal) AppendState(dst []byte) []byte {
	w := newWriter(dst, seasonalKind)
	w.u32(uint32(m.settings.Features))
	w.u32(uint32(m.settings.Depth))
	w.u32(uint32(m.settings.Visits))
	w.text(m.settings.Zone.String())
	w.frame(&m.frame)
	for i := range m.tracks {
		t := &m.tracks[i]
		for h := range t.hours {
			h := &t.hours[h]
			w.u32(uint32(len(h.values)))
			w.u32(uint32(h.head))
			w.u32(uint32(h.visits))
			w.u64(uint64(h.visit))
			w.u64(uint64(h.kept))
			for _, v := range h.values {
				w.f64(v)
			}
		}
		w.window(&t.recent)
		for k := range t.scale {
			w.moments(&t.scale[k])
		}
		w.u64(uint64(t.now.hour))
		w.u8(uint8(t.now.known))
		w.u32(uint32(t.now.count))
		w.f64(t.now.low)
		w.f64(t.now.median)
		w.f64(t.now.high)
	}
	return w.sum()
}

// LoadState replaces the model by a saved one.
func (m *Seasonal) LoadState(src []byte) error {
	fresh, err := NewSeasonal(m.settings)
	if err != nil {
		return err
	}
	r := newReader(src, seasonalKind)
	r.same("features", m.settings.Features)
	r.same("depth", m.settings.Depth)
	r.same("visits", m.settings.Visits)
	r.sameText("zone", m.settings.Zone.String())
	r.frame(&fresh.frame)
	for i := range fresh.tracks {
		t := &fresh.tracks[i]
		for h := range t.hours {
			r.hour(&t.hours[h])
		}
		r.window(&t.recent)
		for k := range t.scale {
			r.moments(&t.scale[k], 2560)
		}
		t.now.hour = int64(r.u64())
		t.now.known = knowledge(r.u8())
		if t.now.known > fromHourOfWeek {
			r.fail(fmt.Errorf("state holds an unknown source of expectation %d", t.now.known))
			t.now.known = fromRecent
		}
		t.now.count = r.count(math.MaxInt32)
		t.now.low, t.now.median, t.now.high = r.f64(), r.f64(), r.f64()
	}
	if err := r.end("seasonal"); err != nil {
		return err
	}
	*m = *fresh
	return nil
}

func (r *reader) hour(h *hour) {
	n := r.count(cap(h.values))
	h.head = r.count(n)
	if h.head > 0 && (h.head >= n || n < cap(h.values)) {
		r.fail(errors.New("state holds an hour that is not in order"))
		return
	}
	h.visits = r.count(math.MaxInt32)
	h.visit, h.kept = int64(r.u64()), int64(r.u64())
	for range n {
		h.values = append(h.values, r.f64())
	}
}
