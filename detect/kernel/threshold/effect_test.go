package threshold

import (
	"math"
	"testing"
)

func TestNear(t *testing.T) {
	f := func(n Near, actual, expected float64, want bool) {
		t.Helper()
		if got := n.Ignore(actual, expected); got != want {
			t.Errorf("%+v.Ignore(%v, %v) = %v, want %v", n, actual, expected, got, want)
		}
	}
	f(Near{}, 5, 5, true)
	f(Near{}, 5.01, 5, false)
	f(Near{Above: 1}, 6, 5, true)
	f(Near{Above: 1}, 6.1, 5, false)
	f(Near{Above: 1}, 4.9, 5, false) // below is another matter
	f(Near{Below: 1}, 4, 5, true)
	f(Near{AboveRatio: 0.1}, 110, 100, true)
	f(Near{AboveRatio: 0.1}, 111, 100, false)
	f(Near{BelowRatio: 0.1}, -109, -100, true)
	f(Near{Above: 20, AboveRatio: 0.1}, 115, 100, true) // the larger counts
	f(Near{Above: 1e9, Below: 1e9}, math.NaN(), 5, false)
	f(Near{Above: 1e9, Below: 1e9}, 5, math.NaN(), false)
}

func TestEffect(t *testing.T) {
	f := func(usual, actual, expected, want float64) {
		t.Helper()
		e := NewEffect(0.01, 0.1)
		for range 100 {
			e.Learn(usual)
		}
		if got := e.Read(actual, expected); !near(got, want, 1e-9) {
			t.Errorf("Read(%v, %v) about %v = %v, want %v", actual, expected, usual, got, want)
		}
	}
	f(100, 150, 100, 0.5)
	f(100, 50, 100, 0.5)
	f(-100, -150, -100, 0.5)
	f(1000, 3, 0, 0.03) // 3 where 0 was expected, in a stream that runs at 1,000
	f(0, 3, 0, 1e9)     // and in one that never had any
	f(0, 0, 0, 0)
	f(1000, 3, 1, 0.02)
	f(100, math.NaN(), 100, 0)
	f(100, 100, math.Inf(1), 0)
}
