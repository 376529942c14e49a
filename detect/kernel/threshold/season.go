package threshold

import (
	"errors"
	"math"
)

const (
	hour        = int64(3_600_000) // ms
	hoursOfWeek = 168
	seasonAfter = 2 * hoursOfWeek * hour // no season is claimed on less
)

// HourOfWeek returns the hour of the week, 0 for Monday from midnight, of a time
// in Unix milliseconds to which the zone's offset is already added.
func HourOfWeek(local int64) int {
	// Hour 0 of Unix time is a Thursday, 72 hours into the week.
	h := (floorHour(local) + 72) % hoursOfWeek
	if h < 0 {
		h += hoursOfWeek
	}
	return int(h)
}

func floorHour(local int64) int64 {
	h := local / hour
	if local%hour < 0 {
		h--
	}
	return h
}

// SeasonSettings say how a Season learns.
type SeasonSettings struct {
	// Zone returns what to add to a time in Unix milliseconds UTC to get local
	// time, in milliseconds. It must be a pure function. It is not part of the
	// saved state. Defaults to UTC.
	Zone func(at int64) int64
	// Prior is the number of weeks an hour must have been seen to count as much
	// as the stream as a whole, as long as no season is proven; the more of the
	// error it takes away, the fewer. Defaults to 2.
	Prior float64
	// Memory is the number of weeks that count. Defaults to 8.
	Memory float64
}

// SeasonReading is what the season says of a time.
type SeasonReading struct {
	// Expected is the location and Spread the standard deviation of values at
	// this hour of the week, drawn towards those of the whole stream the less
	// the hour was seen. Both are NaN before the first hour is over.
	Expected, Spread float64
	// Confidence in [0,1] is 0 during the first two weeks and for a stream
	// without a season.
	Confidence float64
}

// Season is the context "hour of the week" in 168 buckets. A visit is the run of
// values in one hour; once it is over, its mean and variance enter the bucket,
// so that a bucket has seen as much as there were weeks, whatever the step. A
// bucket holds the distance from the level, which is the mean of about the last
// week, so that a lasting change of level is followed in weeks and not in
// Memory.
// Values are drawn in to four spreads about what is expected before they count
// (Huber), so that one bad night does not become next week's expectation. Until
// a bucket has seen enough it is shrunk towards the whole, the less the more the
// season has proven itself (empirical Bayes). The confidence is the
// share of the error of the whole that the hours take away, measured on visits
// before they were learned: on noise, and on less than two weeks, it is 0 and
// Residual returns its input. Memory is about 4 KB. Times must not decrease.
type Season struct {
	settings SeasonSettings
	buckets  [hoursOfWeek]bucket
	whole    bucket
	visit    visit
	started  bool
	first    int64 // the first time learned
	// Discounted mean absolute errors of visit means, by hour and by whole.
	byHour, byWhole, tested float64
}

// bucket is a location, the mean square distance from it and the visits. That of
// an hour is relative to that of the whole.
type bucket struct {
	location, squares, visits float64
}

// visit is the hour that is going on.
type visit struct {
	hour          int64 // local, since 1970
	n             float64
	mean, squares float64
}

const (
	huber      = 4.0             // spreads
	skillDecay = 1 - 1.0/168     // per visit: a week
	skillFirst = hoursOfWeek / 2 // tested visits before a skill is believed
)

// NewSeason returns a Season that has seen nothing.
func NewSeason(s SeasonSettings) (*Season, error) {
	s.Prior = orDefault(s.Prior, 2)
	s.Memory = orDefault(s.Memory, 8)
	if err := errors.Join(
		within("season", "Prior", s.Prior, 0.1, 52),
		within("season", "Memory", s.Memory, 1, 520),
	); err != nil {
		return nil, err
	}
	return &Season{settings: s}, nil
}

func (s *Season) local(at int64) int64 {
	if s.settings.Zone == nil {
		return at
	}
	return at + s.settings.Zone(at)
}

// shrunk returns location and mean square of an hour of the week, and the weight
// that the hour itself has in them.
func (s *Season) shrunk(hourOfWeek int) (location, squares, own float64) {
	b, w := &s.buckets[hourOfWeek], &s.whole
	if b.visits == 0 {
		return w.location, w.squares, 0
	}
	own = b.visits / (b.visits + s.settings.Prior*(1-s.skill()))
	return w.location + own*b.location, w.squares + own*(b.squares-w.squares), own
}

// skill is the share of the error of the whole that the hours take away.
func (s *Season) skill() float64 {
	if s.tested < skillFirst*0.7 || s.byWhole <= 0 { // discounted, so less than counted
		return 0
	}
	return clamp(1-s.byHour/s.byWhole, 0, 1)
}

func (s *Season) confidence(at int64, b *bucket, own float64) float64 {
	if !s.started || at-s.first < seasonAfter || b.visits < 2 {
		return 0
	}
	return own * s.skill()
}

// Read returns what is expected at a time in Unix milliseconds.
func (s *Season) Read(at int64) SeasonReading {
	if s.whole.visits == 0 {
		return SeasonReading{Expected: math.NaN(), Spread: math.NaN()}
	}
	h := HourOfWeek(s.local(at))
	location, squares, own := s.shrunk(h)
	return SeasonReading{
		Expected: location, Spread: math.Sqrt(squares),
		Confidence: s.confidence(at, &s.buckets[h], own),
	}
}

// Residual returns the value without its season, in its own unit and about its
// own level: what the hour adds to the whole, times the confidence, is taken
// off. Without confidence it is the value, to the bit.
func (s *Season) Residual(at int64, x float64) float64 {
	h := HourOfWeek(s.local(at))
	location, _, own := s.shrunk(h)
	c := s.confidence(at, &s.buckets[h], own)
	if c == 0 {
		return x
	}
	return x - c*(location-s.whole.location)
}

// Learn takes in the value at a time in Unix milliseconds. It ignores one that
// is not finite, or beyond 1e150, whose square is not.
func (s *Season) Learn(at int64, x float64) {
	if !finite(x) || math.Abs(x) > 1e150 {
		return
	}
	if !s.started {
		s.started, s.first = true, at
	}
	local := s.local(at)
	v := &s.visit
	if now := floorHour(local); v.n > 0 && now != v.hour {
		s.close()
		*v = visit{hour: now}
	} else {
		v.hour = now
	}
	x = s.drawIn(HourOfWeek(local), x)
	v.n++
	step := x - v.mean
	v.mean += step / v.n
	v.squares += step * (x - v.mean)
}

// drawIn limits a value to some spreads about what is expected at its hour. An
// hour is judged by itself once it was seen twice, and never more narrowly than
// a quarter of the spread of the whole or a thousandth of its size: a still hour
// must stay able to learn.
func (s *Season) drawIn(hourOfWeek int, x float64) float64 {
	location, squares, _ := s.shrunk(hourOfWeek)
	if s.buckets[hourOfWeek].visits < 2 || s.whole.squares == 0 {
		return x
	}
	width := huber * max(math.Sqrt(squares), math.Sqrt(s.whole.squares)/4, math.Abs(location)/1000)
	return clamp(x, location-width, location+width)
}

// close lets the visit that is over enter its bucket and the whole.
func (s *Season) close() {
	v := &s.visit
	h := HourOfWeek(v.hour * hour)
	b := &s.buckets[h]
	if b.visits > 0 {
		location, _, _ := s.shrunk(h)
		s.byHour += (math.Abs(v.mean-location) - s.byHour) * testWeight(s.tested)
		s.byWhole += (math.Abs(v.mean-s.whole.location) - s.byWhole) * testWeight(s.tested)
		s.tested = s.tested*skillDecay + 1
	}
	level := s.whole.location
	if s.whole.visits == 0 {
		level = v.mean
	}
	b.learn(v.mean-level, v.squares/v.n, s.settings.Memory)
	s.whole.learn(v.mean, v.squares/v.n, hoursOfWeek)
	s.center()
}

// center makes the mean of all hours 0 once all were seen. What they have in
// common belongs to the level: while that follows a shift, every hour visited
// learns a part of it.
func (s *Season) center() {
	var mean float64
	for i := range s.buckets {
		if s.buckets[i].visits == 0 {
			return
		}
		mean += s.buckets[i].location / hoursOfWeek
	}
	for i := range s.buckets {
		s.buckets[i].location -= mean
	}
}

// testWeight is the weight of one more test in a discounted mean.
func testWeight(tested float64) float64 { return 1 / (tested*skillDecay + 1) }

func (b *bucket) learn(mean, variance, memory float64) {
	b.visits = math.Min(b.visits+1, memory)
	rate := 1 / b.visits
	off := mean - b.location
	b.location += rate * off
	// The variance within the visit, and that of the visit about the location;
	// (1-rate) keeps the first visit from counting its distance from nothing.
	b.squares += rate * (variance + (1-rate)*off*off - b.squares)
}

// Update reads the time and learns the value unless it is held.
func (s *Season) Update(at int64, x float64, hold bool) SeasonReading {
	r := s.Read(at)
	if !hold {
		s.Learn(at, x)
	}
	return r
}

func (s *Season) code(c *coder) {
	c.setting("Prior", s.settings.Prior)
	c.setting("Memory", s.settings.Memory)
	for i := range s.buckets {
		s.buckets[i].code(c)
	}
	s.whole.code(c)
	c.int64(&s.visit.hour)
	c.float(&s.visit.n)
	c.float(&s.visit.mean)
	c.float(&s.visit.squares)
	c.bool(&s.started)
	c.int64(&s.first)
	c.float(&s.byHour)
	c.float(&s.byWhole)
	c.float(&s.tested)
}

func (b *bucket) code(c *coder) {
	c.float(&b.location)
	c.float(&b.squares)
	c.float(&b.visits)
}

// AppendState appends the state to dst.
func (s *Season) AppendState(dst []byte) []byte {
	c := save(dst, 'W')
	s.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (s *Season) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'W'), *s
	next.code(&c)
	if c.err == nil {
		*s = next
	}
	return c.done("season")
}
