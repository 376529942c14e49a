// Package unit holds the quantities people write in the configuration: durations
// with days and weeks, sizes, rates, shares, clock times and time zones. Each reads
// text (encoding.TextUnmarshaler), refuses what it does not understand with the fix,
// and prints what it would read again.
package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// durationUnits is in the order in which the parts may stand.
var durationUnits = []struct {
	name string
	size time.Duration
}{
	{"w", week},
	{"d", day},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
	{"us", time.Microsecond},
	{"µs", time.Microsecond},
	{"ns", time.Nanosecond},
}

// Duration is a span of elapsed time, never negative. It reads Go's notation and the
// units d (24 h) and w (7 d): 5m, 1h30m, 30d, 1w. It prints the largest unit that
// divides it, except that weeks print as days: 72h prints as 72h when it was written
// so, and as 3d when it was computed.
type Duration struct {
	// D is the value.
	D time.Duration
	// text is what was written, so that it prints the same way.
	text string
}

// DurationOf returns a Duration of d.
func DurationOf(d time.Duration) Duration { return Duration{D: d} }

// MustDuration reads a constant, which prints as it is written here. It panics on
// what ParseDuration refuses.
func MustDuration(s string) Duration {
	var d Duration
	if err := d.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return d
}

// ParseDuration reads s. The error names the value and the fix.
func ParseDuration(s string) (time.Duration, error) {
	bad := func(why string) (time.Duration, error) {
		return 0, fmt.Errorf("%q is no duration: %s; write for example 30s, 5m, 72h or 30d", s, why)
	}
	if s == "0" {
		return 0, nil
	}
	if s == "" {
		return bad("it is empty")
	}
	if s[0] == '-' {
		return bad("it is negative")
	}
	var sum time.Duration
	for rest := s; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if n < 0 {
			return bad("it has no unit")
		}
		number, tail := rest[:n], rest[n:]
		u := strings.IndexFunc(tail, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' })
		if u < 0 {
			u = len(tail)
		}
		size := time.Duration(0)
		for _, c := range durationUnits {
			if c.name == tail[:u] {
				size = c.size
			}
		}
		if size == 0 {
			return bad(fmt.Sprintf("unknown unit %q", tail[:u]))
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return bad("the number cannot be read")
		}
		part := f * float64(size)
		if part+float64(sum) > math.MaxInt64/2 {
			return bad("it is too long")
		}
		if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
			sum += time.Duration(whole) * size
		} else {
			sum += time.Duration(math.Round(part))
		}
		rest = tail[u:]
	}
	return sum, nil
}

// FormatDuration prints d with the largest unit that divides it: 90s, 5m, 3d.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	for _, u := range durationUnits[1:] {
		if d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return d.String()
}

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration{v, string(b)}
	return nil
}

// MarshalText prints the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns what was written, or FormatDuration of the value.
func (d Duration) String() string {
	if d.text != "" {
		return d.text
	}
	return FormatDuration(d.D)
}

// Canonical returns the same text for equal durations: FormatDuration of the value.
func (d Duration) Canonical() string { return FormatDuration(d.D) }
