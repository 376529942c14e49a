package threshold

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestHourOfWeek(t *testing.T) {
	f := func(rfc string, want int) {
		t.Helper()
		at, err := time.Parse(time.RFC3339, rfc)
		if err != nil {
			t.Fatal(err)
		}
		if got := HourOfWeek(at.UnixMilli()); got != want {
			t.Errorf("HourOfWeek(%s) = %d, want %d", rfc, got, want)
		}
	}
	f("2024-01-01T00:00:00Z", 0) // a Monday
	f("2024-01-01T00:59:59.999Z", 0)
	f("2024-01-01T01:00:00Z", 1)
	f("2024-01-07T23:00:00Z", 167)
	f("1970-01-01T00:00:00Z", 72)
	f("1969-12-31T23:59:59Z", 71)
	f("1900-01-01T05:00:00Z", 5) // a Monday too
}

const week = 7 * 24 * time.Hour

// office is a stream of a service with office hours: 100 by day on weekdays, 20
// otherwise, with noise of 2.
func office(at int64, rng *rand.Rand) float64 {
	h := HourOfWeek(at)
	x := 20 + 2*rng.NormFloat64()
	if h < 120 && h%24 >= 8 && h%24 < 18 {
		x += 80
	}
	return x
}

// start is a Monday.
const start = int64(1_704_067_200_000)

// weeks feeds a season from one week to another, a point every ten minutes.
func weeks(s *Season, from, to float64, rng *rand.Rand, value func(at int64, rng *rand.Rand) float64) {
	for at := start + int64(from*float64(week/1e6)); at < start+int64(to*float64(week/1e6)); at += 600_000 {
		s.Learn(at, value(at, rng))
	}
}

func when(weeks, hourOfWeek float64) int64 {
	return start + int64((weeks*168+hourOfWeek)*3_600_000)
}

func TestSeasonLearnsTheWeek(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := must(NewSeason(SeasonSettings{}))
	weeks(s, 0, 8, rng, office)
	f := func(hourOfWeek, expected, spreadMost float64) {
		t.Helper()
		r := s.Read(when(8, hourOfWeek))
		if math.Abs(r.Expected-expected) > 9 || r.Spread > spreadMost || r.Confidence < 0.5 {
			t.Errorf("hour %v: %+v, want %v, a spread of at most %v and a confidence", hourOfWeek, r, expected, spreadMost)
		}
		if x := s.Residual(when(8, hourOfWeek), expected); math.Abs(x-(20*118+100*50)/168.0) > 25 {
			t.Errorf("hour %v: what is expected has the residual %v, want about the mean of the week", hourOfWeek, x)
		}
	}
	f(10.5, 100, 25) // Monday, half past ten
	f(3, 20, 25)
	f(24*5+10, 20, 25) // Saturday
	day, night := s.Residual(when(8, 10), 100), s.Residual(when(8, 3), 20)
	if math.Abs(day-night) > 25 {
		t.Errorf("without the season day is %v and night %v, want them nearer than 25 of 80", day, night)
	}
	// The same value by night is far outside.
	r := s.Read(when(8, 3))
	if z := (100 - r.Expected) / r.Spread; z < 3 {
		t.Errorf("100 by night is %v spreads off, want more than 3", z)
	}
}

func TestSeasonIsNothingBeforeTwoWeeks(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	s := must(NewSeason(SeasonSettings{}))
	if r := s.Read(start); !math.IsNaN(r.Expected) || !math.IsNaN(r.Spread) || r.Confidence != 0 {
		t.Errorf("before anything %+v", r)
	}
	for at := start; at < when(2, 0); at += 600_000 {
		x := office(at, rng)
		if r := s.Update(at, x, false); r.Confidence != 0 {
			t.Fatalf("confidence %v %v after the start", r.Confidence, time.Duration(at-start)*time.Millisecond)
		}
		if y := s.Residual(at, x); math.Float64bits(y) != math.Float64bits(x) {
			t.Fatalf("residual %v of %v before two weeks", y, x)
		}
	}
	weeks(s, 2, 3, rng, office)
	if r := s.Read(when(3, 10)); r.Confidence < 0.2 {
		t.Errorf("after three weeks %+v, want some confidence", r)
	}
}

func TestSeasonIsNothingOnNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	s := must(NewSeason(SeasonSettings{}))
	weeks(s, 0, 8, rng, func(_ int64, rng *rand.Rand) float64 { return 50 + 5*rng.NormFloat64() })
	for h := range 168 {
		if r := s.Read(when(8, float64(h))); r.Confidence > 0.05 || math.Abs(r.Expected-50) > 3 || math.Abs(r.Spread-5) > 2 {
			t.Errorf("hour %d: %+v, want 50, 5 and no confidence", h, r)
		}
	}
}

func TestSeasonWithstandsABadNight(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	s := must(NewSeason(SeasonSettings{}))
	weeks(s, 0, 8, rng, func(at int64, rng *rand.Rand) float64 {
		if at >= when(7, 2) && at < when(7, 5) {
			return 1e6
		}
		return office(at, rng)
	})
	if r := s.Read(when(8, 3)); math.Abs(r.Expected-20) > 25 {
		t.Errorf("after a night of 1e6 Monday at three is expected at %v, want about 20", r.Expected)
	}
}

func TestSeasonFollowsTheLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	s := must(NewSeason(SeasonSettings{}))
	weeks(s, 0, 9, rng, func(at int64, rng *rand.Rand) float64 {
		if at >= when(6, 0) {
			return office(at, rng) + 200
		}
		return office(at, rng)
	})
	day, night := s.Read(when(9, 10)).Expected, s.Read(when(9, 3)).Expected
	if math.Abs(day-300) > 50 || math.Abs(night-220) > 50 || day-night < 60 {
		t.Errorf("three weeks after a shift by 200 the day is expected at %v and the night at %v, want about 300 and 220", day, night)
	}
	// While the level moved, the hours explained little; then they do again.
	weeks(s, 9, 12, rng, func(at int64, rng *rand.Rand) float64 { return office(at, rng) + 200 })
	if a, b := s.Residual(when(12, 10), 300), s.Residual(when(12, 3), 220); math.Abs(a-b) > 25 {
		t.Errorf("without the season day is %v and night %v, want them nearer than 25 of 80", a, b)
	}
}

func TestSeasonFollowsTheZone(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	// Summer time from the fifth week on: the office keeps its local hours.
	zone := func(at int64) int64 {
		if at >= when(4, 0) {
			return 2 * hour
		}
		return hour
	}
	s := must(NewSeason(SeasonSettings{Zone: zone}))
	weeks(s, 0, 8, rng, func(at int64, rng *rand.Rand) float64 { return office(at+zone(at), rng) })
	// Eight o'clock local is six o'clock UTC now, and was seven before.
	if day, night := s.Read(when(8, 6.5)).Expected, s.Read(when(8, 5.5)).Expected; day < 85 || night > 35 {
		t.Errorf("at 8:30 local %v and at 7:30 %v, want about 100 and 20", day, night)
	}
}

func TestSeasonRefusesSettings(t *testing.T) {
	f := func(s SeasonSettings, ok bool) {
		t.Helper()
		if _, err := NewSeason(s); (err == nil) != ok {
			t.Errorf("NewSeason: error %v", err)
		}
	}
	f(SeasonSettings{}, true)
	f(SeasonSettings{Prior: -1}, false)
	f(SeasonSettings{Memory: math.Inf(1)}, false)
}
