package feature

import (
	"cmp"
	"math"
	"slices"

	"github.com/fettleops/fettle/series"
)

// Closed is a closed step.
type Closed struct {
	// At is the start of the step, Unix milliseconds UTC; a multiple of the
	// group's step.
	At int64
	// Values has one value per Dimension, none infinite; NaN is missing.
	Values []float64
	// Skipped is how many missing steps before this one are not given, because
	// there were more than MaxGap of them. Zero otherwise.
	Skipped int64
}

// Entity makes points of the samples of one entity. It is not safe for
// concurrent use; entities are independent of each other.
type Entity struct {
	sel *Selector
	key string

	streams []stream // by slot, then id
	begun   bool     // there was a sample
	fixed   bool     // a step has closed: none before open can come any more
	emitted bool     // a point has come out
	open    int64    // number of the oldest step that is not closed
	end     int64    // its end
	due     int64    // the time of a sample that closes it
	newest  int64    // the newest time
	joined  int64    // the newest step in which a stream began
	missed  int64    // missing steps closed since the last that was not

	// Derived from the streams.
	behind int // streams that hold the open step up
	live   int // streams that have not ended
	hint   int // where the last sample belonged

	closed []Closed
	values []float64
}

// stream is what a series feeds one slot with.
type stream struct {
	id      uint64
	slot    uint16
	kind    kind
	ended   bool // its newest sample is a stale marker
	hasBase bool
	last    int64   // time of its newest sample
	baseAt  int64   // the counter's newest sample of a closed step
	base    float64 // its value
	pending []series.RawPoint
}

// maxAt is the end of the year 9999.
const maxAt = 253402300800000

// New returns an entity of which nothing is known yet.
func (s *Selector) New(key string) *Entity { return &Entity{sel: s, key: key} }

// Key returns the key of the entity.
func (e *Entity) Key() string { return e.key }

// Selector returns the group the entity is of.
func (e *Entity) Selector() *Selector { return e.sel }

// Newest returns the time of the newest sample, Unix milliseconds UTC, and
// whether there was one.
func (e *Entity) Newest() (int64, bool) { return e.newest, e.begun }

// Series returns how many series feed the entity, one that feeds two features
// counting twice.
func (e *Entity) Series() int { return len(e.streams) }

// Add takes a sample of a series bound to the entity and returns the steps it
// closed, oldest first: nearly always none. They are valid until the next Add.
// A sample that is not taken (late, a duplicate, not finite) is counted; the
// only error is a *LimitError for a series beyond MaxSeries.
func (e *Entity) Add(b *Binding, p series.RawPoint) ([]Closed, error) {
	c := &e.sel.counts
	stale := series.IsStale(p.Value)
	if !stale {
		p.Value *= b.scale
		if !finite(p.Value) {
			c.invalid.Add(1)
			return nil, nil
		}
	}
	if p.At < 0 || p.At >= maxAt {
		c.invalid.Add(1)
		return nil, nil
	}
	if !e.begun {
		e.begun, e.newest = true, p.At
		e.joined = p.At / e.sel.step
		e.move(e.joined)
	}
	i, known := e.find(b)
	if p.At < e.end-e.sel.step {
		step := p.At / e.sel.step
		if e.fixed || (step+1)*e.sel.step+e.sel.lateness <= e.newest {
			if known && p.At == e.streams[i].baseAt {
				c.duplicate.Add(1)
			} else {
				c.late.Add(1)
			}
			return nil, nil
		}
		e.move(step) // nothing has closed yet: the entity begins earlier
		e.count()
	}
	if !known {
		if err := e.join(i, b, p.At); err != nil {
			return nil, err
		}
	}
	e.hint = i
	if !e.take(&e.streams[i], p, stale) {
		c.duplicate.Add(1)
		return nil, nil
	}
	e.newest = max(e.newest, p.At)
	if e.newest < e.due && !e.early() {
		return nil, nil
	}
	e.advance()
	return e.closed, nil
}

// find returns where the stream of a binding is, or belongs.
func (e *Entity) find(b *Binding) (int, bool) {
	if i := e.hint; i < len(e.streams) && e.streams[i].id == b.id && e.streams[i].slot == b.slot {
		return i, true
	}
	return slices.BinarySearchFunc(e.streams, b, func(s stream, b *Binding) int {
		return cmp.Or(cmp.Compare(s.slot, b.slot), cmp.Compare(s.id, b.id))
	})
}

// join makes a stream at i.
func (e *Entity) join(i int, b *Binding, at int64) error {
	if len(e.streams) >= MaxSeries {
		e.sel.counts.refused.Add(1)
		return &LimitError{
			e.sel.Group.Name, e.key, "series", MaxSeries,
			"narrow the match of its features, or name an entity label with more values",
		}
	}
	// The new stream has gone past no step yet.
	e.streams = slices.Insert(e.streams, i, stream{id: b.id, slot: b.slot, kind: b.kind, last: math.MinInt64, baseAt: math.MinInt64})
	e.joined = max(e.joined, at/e.sel.step)
	e.behind++
	e.live++
	return nil
}

// take puts a sample where it belongs by time; false for a duplicate.
func (e *Entity) take(s *stream, p series.RawPoint, stale bool) bool {
	n := len(s.pending)
	if p.At > s.last {
		s.pending = append(s.pending, p)
		if s.ended != stale || s.last < e.end && p.At >= e.end {
			if e.holds(s) {
				e.behind--
			}
			if s.ended != stale {
				s.ended = stale
				if stale {
					e.live--
				} else {
					e.live++
				}
			}
			s.last = p.At
			if e.holds(s) {
				e.behind++
			}
		}
		s.last = p.At
		return true
	}
	for n > 0 && s.pending[n-1].At > p.At {
		n--
	}
	if n > 0 && s.pending[n-1].At == p.At || p.At == s.baseAt {
		return false
	}
	e.sel.counts.reordered.Add(1)
	s.pending = slices.Insert(s.pending, n, p)
	return true
}

// holds reports whether the open step waits for a stream: one that has ended
// holds up only the step it ended in.
func (e *Entity) holds(s *stream) bool {
	return s.last < e.end && (!s.ended || s.last >= e.end-e.sel.step)
}

// early reports whether the open step needs no waiting: the order of samples
// is kept and every stream has gone on. Steps in which a stream began wait:
// another one may be about to begin.
func (e *Entity) early() bool {
	return e.sel.inOrder && e.behind == 0 && e.live > 0 && e.open > e.joined
}

// move makes a step the open one.
func (e *Entity) move(step int64) {
	e.open = step
	e.end = (step + 1) * e.sel.step
	e.due = e.end + e.sel.lateness
}

// count derives what the streams say of the open step.
func (e *Entity) count() {
	e.behind, e.live = 0, 0
	for i := range e.streams {
		s := &e.streams[i]
		if !s.ended {
			e.live++
		}
		if e.holds(s) {
			e.behind++
		}
	}
}

// advance closes every step that can be closed.
func (e *Entity) advance() {
	e.closed, e.values = e.closed[:0], e.values[:0]
	for {
		early := e.early()
		if !early && e.newest < e.due {
			return
		}
		e.fixed = true
		next := e.next()
		if next > e.open {
			// Nothing came for the open step, nor for those up to next. Those
			// that are not due yet may still get late samples.
			to := next
			if !early {
				to = min(next, max(e.open, (e.newest-e.sel.lateness)/e.sel.step-1)+1)
			}
			e.missed += to - e.open
			e.move(to)
		} else {
			e.close()
			e.move(e.open + 1)
		}
		e.forget()
		e.count()
	}
}

// next returns the step of the oldest sample that waits.
func (e *Entity) next() int64 {
	oldest := int64(math.MaxInt64)
	for i := range e.streams {
		if p := e.streams[i].pending; len(p) > 0 {
			oldest = min(oldest, p[0].At)
		}
	}
	return oldest / e.sel.step
}

// forget drops the streams that ended and those of which nothing can be made
// any more, before the step that is now open.
func (e *Entity) forget() {
	start := e.end - e.sel.step
	e.streams = slices.DeleteFunc(e.streams, func(s stream) bool {
		return len(s.pending) == 0 && (s.ended || s.last < start-MaxGap*e.sel.step)
	})
	e.hint = 0
}

// close computes the open step.
func (e *Entity) close() {
	sel := e.sel
	row := e.row(sel.places)
	missing := true
	for i := 0; i < len(e.streams); {
		slot := &sel.slots[e.streams[i].slot]
		var f folding
		for s := e.streams[i].slot; i < len(e.streams) && e.streams[i].slot == s; i++ {
			if v := e.streams[i].reduce(e.end, sel, slot.byStep); finite(v) {
				f.add(v)
			}
		}
		if v := f.value(slot.byEntity); finite(v) {
			row[slot.place] = v
			missing = false
		}
	}
	if missing {
		e.missed++
		return
	}
	for i := range sel.formulas {
		row[sel.formulas[i].place] = sel.formulas[i].Value(row)
	}
	var skipped int64
	switch {
	case !e.emitted:
	case e.missed > MaxGap:
		skipped = e.missed
	default:
		for i := e.missed; i > 0; i-- {
			e.closed = append(e.closed, Closed{At: (e.open - i) * sel.step, Values: e.row(len(sel.shown))})
		}
	}
	e.missed, e.emitted = 0, true
	values := e.row(len(sel.shown))
	for i, place := range sel.shown {
		values[i] = row[place]
	}
	e.closed = append(e.closed, Closed{At: e.open * sel.step, Values: values, Skipped: skipped})
}

// row returns n missing values of their own.
func (e *Entity) row(n int) []float64 {
	at := len(e.values)
	for range n {
		e.values = append(e.values, math.NaN())
	}
	return e.values[at : at+n : at+n]
}

// reduce takes the samples before end out of a stream and returns the value of
// their step, NaN if there is none.
func (s *stream) reduce(end int64, sel *Selector, by Fold) float64 {
	n := 0
	for n < len(s.pending) && s.pending[n].At < end {
		n++
	}
	if n == 0 {
		return math.NaN()
	}
	points := s.pending[:n]
	v := math.NaN()
	if s.kind == counter {
		v = s.increase(points, sel)
	} else {
		var f folding
		for _, p := range points {
			if !series.IsStale(p.Value) {
				f.add(p.Value)
			}
		}
		switch s.kind {
		case level:
			v = f.value(by)
		case total:
			v = f.value(Sum)
		case flow:
			v = f.value(Sum) / (float64(sel.step) / 1000)
		}
		s.baseAt = points[n-1].At
	}
	s.pending = s.pending[:copy(s.pending, s.pending[n:])]
	return v
}

// increase returns how much a counter grew per second over points.
func (s *stream) increase(points []series.RawPoint, sel *Selector) float64 {
	grown, span := 0.0, int64(0)
	for _, p := range points {
		stale := series.IsStale(p.Value)
		if !stale && s.hasBase && p.At-s.baseAt <= MaxGap*sel.step {
			d := p.Value - s.base
			if d < 0 {
				sel.counts.resets.Add(1)
				d = max(p.Value, 0)
			}
			grown += d
			span += p.At - s.baseAt
		}
		s.hasBase, s.baseAt, s.base = !stale, p.At, p.Value
	}
	if span == 0 {
		return math.NaN()
	}
	return grown / (float64(span) / 1000)
}

// folding collects values of which a fold is wanted.
type folding struct {
	n                    int
	sum, least, greatest float64
	last                 float64
}

func (f *folding) add(v float64) {
	if f.n == 0 {
		f.least, f.greatest = v, v
	}
	f.n++
	f.sum += v
	f.least, f.greatest, f.last = min(f.least, v), max(f.greatest, v), v
}

// value is NaN where nothing was added.
func (f *folding) value(by Fold) float64 {
	if f.n == 0 {
		return math.NaN()
	}
	switch by {
	case Sum:
		return f.sum
	case Max:
		return f.greatest
	case Min:
		return f.least
	case Last:
		return f.last
	}
	return f.sum / float64(f.n)
}
