package detector

import (
	"fmt"
	"math"

	"github.com/fettleops/fettle/detect/kernel/baseline"
	"github.com/fettleops/fettle/detect/kernel/threshold"
)

// model is a detector: members that score, a judge that decides what of it
// deserves attention, and a forecaster that says what was expected.
type model struct {
	name     string
	settings Settings
	profile  profile
	ceiling  float64

	*grove
	voices   []baseline.Scorer
	debounce *threshold.Debounce // nil where scores are taken as they are
	rank     *threshold.Rank     // nil where scores have a ceiling
	forecast *forecaster
	judge    *judge

	smooth  float64 // mean of about the last scores, damped
	begun   bool
	last    int64   // time of the newest point
	learned int     // points learned, up to needed
	quality float64 // share of values that were there, of late
}

func newModel(name string, s Settings) (*model, error) {
	m := &model{name: name, settings: s, profile: profileOf(name, s), grove: &grove{}, quality: 1}
	m.ceiling = m.profile.ceiling()
	warm, span := 0, 1
	for i, part := range m.profile.forests {
		o := part.options
		o.Dims, o.Seed = s.Features, s.Seed*0x9e3779b97f4a7c15+uint64(i)
		if err := m.plant(o, part.weight); err != nil {
			return nil, err
		}
		warm, span = max(warm, o.OutputAfter+o.Shingle-1), max(span, o.Shingle)
	}
	for _, part := range m.profile.voices {
		v, err := part.newFunc(s.Features, s.Seed)
		if err != nil {
			return nil, err
		}
		m.voices = append(m.voices, v)
		if len(m.forests) == 0 {
			warm = max(warm, v.Needed())
		}
	}
	if m.profile.debounce != (threshold.DebounceSettings{}) {
		d, err := threshold.NewDebounce(m.profile.debounce)
		if err != nil {
			return nil, err
		}
		m.debounce = d
	}
	if m.profile.rank {
		rank, err := threshold.NewRank(threshold.RankSettings{Window: 2048, Tail: threshold.ExponentialTail})
		if err != nil {
			return nil, err
		}
		m.rank = rank
	}
	if len(m.forests) > 0 {
		if err := m.measure(s.Features); err != nil {
			return nil, err
		}
	}
	var err error
	if m.forecast, err = newForecaster(s.Features); err != nil {
		return nil, err
	}
	m.judge, err = newJudge(s, m.profile.plain, warm, span)
	return m, err
}

// Process implements Detector.
func (m *model) Process(p Point, r *Reading) error {
	present, err := m.check(p)
	if err != nil {
		return err
	}
	n := m.settings.Features
	s := r.borrow(n)
	r.Reset(n)
	m.begun, m.last = true, p.At
	m.forecast.read(p.At, r)
	for i, v := range p.Values {
		s.values[i] = math.Max(-widest, math.Min(v, widest))
	}
	p.Values = s.values // whose NaNs are where they were
	fill(s.filled, p.Values, r.Expected)
	hold := p.Hold || 2*present <= n && present < n
	if !p.Hold {
		m.quality += (float64(present)/float64(n) - m.quality) / qualityMemory
	}
	if present == 0 {
		// Nothing was measured: there is nothing to score, and a row made up
		// whole is no part of a shingle.
		m.report(r, m.judge.limit())
		return nil
	}
	raw, scored, err := m.score(p, s, hold, r)
	if err != nil {
		return fmt.Errorf("detector: %s: %w", m.name, err)
	}
	r.Raw, r.Score = raw, m.bound(raw)
	if m.rank != nil {
		r.Score = m.rank.Update(raw, hold || !scored)
	}
	if m.debounce != nil {
		damped := m.debounce.Update(raw, hold)
		smooth := m.smooth + (damped-m.smooth)/smoothing
		if !hold {
			m.smooth = smooth
		}
		r.Score = m.bound((damped + smooth) / 2)
	}
	share(r.Blame, p.Values)
	limit := m.judge.limit()
	learn := m.judge.decide(m, p, raw, scored, hold, r)
	if !hold {
		m.learned = min(m.learned+1, m.judge.needed)
		m.judge.count(p.Values)
	}
	m.forecast.update(p.At, p.Values, learn)
	m.report(r, limit)
	return nil
}

// widest is the size of value beyond which all are the same: their squares would
// not be finite.
const widest = 1e150

// qualityMemory is how many points the share of missing values looks back on.
const qualityMemory = 256

// check says what is wrong with a point, or how many values it has.
func (m *model) check(p Point) (present int, err error) {
	if len(p.Values) != m.settings.Features {
		return 0, fmt.Errorf("detector: %s: the point has %d values: give it %d, one per feature", m.name, len(p.Values), m.settings.Features)
	}
	if m.begun && p.At <= m.last {
		return 0, fmt.Errorf("detector: %s: the point's time %d does not come after %d: give points in order", m.name, p.At, m.last)
	}
	for i, v := range p.Values {
		if math.IsInf(v, 0) {
			return 0, fmt.Errorf("detector: %s: value %d of the point is infinite: give NaN for a missing value", m.name, i)
		}
		if !math.IsNaN(v) {
			present++
		}
	}
	return present, nil
}

// fill copies values and puts what was expected in place of the missing ones;
// they are 0 where nothing is expected yet.
func fill(dst, values, expected []float64) {
	for i, v := range values {
		if math.IsNaN(v) {
			if v = expected[i]; math.IsNaN(v) {
				v = 0
			}
		}
		dst[i] = v
	}
}

// score asks the members, adds up their blame, and lets them learn. It reports
// whether those that have the most say were ready.
func (m *model) score(p Point, s *scratch, hold bool, r *Reading) (raw float64, scored bool, err error) {
	if raw, scored, err = m.ask(p, s, hold, r.Blame); err != nil {
		return 0, false, err
	}
	for i, v := range m.voices {
		part := &m.profile.voices[i]
		x, err := v.Process(p.At, p.Values, hold)
		if err != nil {
			return 0, false, err
		}
		if len(m.forests) == 0 {
			scored = scored && v.Learned() >= v.Needed()
		}
		if part.half > 0 {
			x = part.weight * x / (x + part.half)
		}
		raw += x
		s.blame = v.Blame(s.blame[:0])
		for j, b := range s.blame {
			r.Blame[j] += x * b
		}
	}
	return raw, scored, nil
}

// share makes the blame sum to 1, where there is any, without missing values.
func share(blame, values []float64) {
	sum := 0.0
	for i, v := range values {
		if math.IsNaN(v) {
			blame[i] = 0
		}
		sum += blame[i]
	}
	if !(sum > 0) {
		clear(blame)
		return
	}
	for i := range blame {
		blame[i] /= sum
	}
}

// bound maps a raw score to [0,1].
func (m *model) bound(raw float64) float64 { return min(raw/m.ceiling, 1) }

// report fills in what a reading says of the model itself. The threshold is
// the one that the point was held against.
func (m *model) report(r *Reading, limit float64) {
	r.Threshold = limit
	r.Learned, r.Needed = m.learned, m.judge.needed
	if m.learned < m.judge.needed {
		r.Grade = 0
	}
	r.Confidence = m.quality * m.judge.confidence()
}
