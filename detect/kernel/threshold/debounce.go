package threshold

import "errors"

// DebounceSettings say how a Debounce damps.
type DebounceSettings struct {
	// Hold is the number of latest scores that a score must surpass, 1<<16 at
	// most. Defaults to 50.
	Hold int
	// Factor is what other scores are multiplied by, in (0,1]. Defaults to
	// 0.5.
	Factor float64
}

// Debounce damps the scores that follow a peak: one that is not above the
// largest of the last Hold scores is multiplied by Factor, so that an event is
// one peak and not a plateau. On NAB, half after 50 to 200 rows is worth three
// to five points; metrics that count every point of an event lose by it. The
// first score is not damped. Scores are 0 or more. A score that is not finite comes back as it is.
type Debounce struct {
	factor float64
	hold   int
	// A queue of the scores that can still be the largest, falling in value,
	// each with its number: the front is the maximum (amortised two steps per
	// score).
	scores  []float64
	numbers []uint64
	head    int
	size    int
	seen    uint64
}

// NewDebounce returns a Debounce that has seen nothing.
func NewDebounce(s DebounceSettings) (*Debounce, error) {
	if s.Hold == 0 {
		s.Hold = 50
	}
	s.Factor = orDefault(s.Factor, 0.5)
	if err := errors.Join(
		within("debounce", "Hold", float64(s.Hold), 1, 1<<16),
		within("debounce", "Factor", s.Factor, 1e-9, 1),
	); err != nil {
		return nil, err
	}
	return &Debounce{
		factor: s.Factor, hold: s.Hold,
		scores: make([]float64, s.Hold), numbers: make([]uint64, s.Hold),
	}, nil
}

func (d *Debounce) at(i int) int {
	if i += d.head; i >= d.hold {
		i -= d.hold
	}
	return i
}

// Read returns the score, damped unless it is above those of the last Hold.
func (d *Debounce) Read(score float64) float64 {
	if !finite(score) || d.size == 0 || score > d.scores[d.head] {
		return score
	}
	return score * d.factor
}

// Learn takes in a score, as it was before damping.
func (d *Debounce) Learn(score float64) {
	if !finite(score) {
		return
	}
	if d.size > 0 && d.numbers[d.head]+uint64(d.hold) <= d.seen {
		d.head = d.at(1)
		d.size--
	}
	for d.size > 0 && d.scores[d.at(d.size-1)] <= score {
		d.size--
	}
	i := d.at(d.size)
	d.scores[i], d.numbers[i] = score, d.seen
	d.size++
	d.seen++
}

// Update reads the score and learns it unless it is held.
func (d *Debounce) Update(score float64, hold bool) float64 {
	damped := d.Read(score)
	if !hold {
		d.Learn(score)
	}
	return damped
}

func (d *Debounce) code(c *coder) {
	c.setting("Hold", float64(d.hold))
	c.setting("Factor", d.factor)
	c.uint64(&d.seen)
	c.int(&d.size, d.hold)
	if c.load {
		if c.err != nil {
			return
		}
		d.head = 0
		d.scores, d.numbers = make([]float64, d.hold), make([]uint64, d.hold)
	}
	for i := range d.size {
		c.float(&d.scores[d.at(i)])
		c.uint64(&d.numbers[d.at(i)])
	}
}

// AppendState appends the state to dst.
func (d *Debounce) AppendState(dst []byte) []byte {
	c := save(dst, 'B')
	d.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (d *Debounce) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'B'), *d
	next.code(&c)
	if c.err == nil {
		*d = next
	}
	return c.done("debounce")
}
