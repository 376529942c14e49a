package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written 512B, 64KiB, 64MiB or 2GiB, or with the decimal
// units kB, MB, GB.
type Size int64

var sizeUnits = []struct {
	name string
	size int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"B", 1},
}

// UnmarshalText reads a whole number with a unit.
func (s *Size) UnmarshalText(b []byte) error {
	text := string(b)
	n := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 && text != "" {
		return fmt.Errorf("%q is no size: it has no unit; write for example %sMiB", text, text)
	}
	if n > 0 {
		for _, u := range sizeUnits {
			if u.name != text[n:] {
				continue
			}
			v, err := strconv.ParseInt(text[:n], 10, 64)
			if err != nil || v > math.MaxInt64/u.size {
				return fmt.Errorf("%q is no size: it is too large", text)
			}
			*s = Size(v * u.size)
			return nil
		}
	}
	return fmt.Errorf("%q is no size; write a whole number and B, KiB, MiB or GiB, for example 64MiB", text)
}

// MarshalText prints the size.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String prints with the largest unit that divides the size, binary units first.
func (s Size) String() string {
	if s != 0 {
		for _, u := range sizeUnits {
			if int64(s)%u.size == 0 {
				return strconv.FormatInt(int64(s)/u.size, 10) + u.name
			}
		}
	}
	return "0B"
}

// Rate is how often something may happen in a span, written 10/h, 1/week or 5/30s.
type Rate struct {
	// Count is how often, at least 0; 0 is never.
	Count int
	// Per is the span.
	Per time.Duration
}

var rateSpans = []struct {
	names []string
	span  time.Duration
}{
	{[]string{"s", "second"}, time.Second},
	{[]string{"m", "minute"}, time.Minute},
	{[]string{"h", "hour"}, time.Hour},
	{[]string{"d", "day"}, day},
	{[]string{"w", "week"}, week},
}

// UnmarshalText reads COUNT/SPAN, the span as a unit, a word or a duration.
func (r *Rate) UnmarshalText(b []byte) error {
	text := string(b)
	bad := func() error {
		return fmt.Errorf("%q is no rate; write a count and a span, for example 10/h, 1/week or 5/30s", text)
	}
	count, per, ok := strings.Cut(text, "/")
	if !ok {
		return bad()
	}
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil {
		return bad()
	}
	for _, s := range rateSpans {
		for _, name := range s.names {
			if name == per {
				*r = Rate{int(n), s.span}
				return nil
			}
		}
	}
	span, err := ParseDuration(per)
	if err != nil || span <= 0 {
		return bad()
	}
	*r = Rate{int(n), span}
	return nil
}

// MarshalText prints the rate.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String prints the rate; the zero Rate prints "".
func (r Rate) String() string {
	if r.Per == 0 {
		return ""
	}
	for _, s := range rateSpans {
		if s.span == r.Per {
			return strconv.Itoa(r.Count) + "/" + s.names[0]
		}
	}
	return strconv.Itoa(r.Count) + "/" + FormatDuration(r.Per)
}

// Percent is a share between 0% and 100%, written with the sign.
type Percent float64

// UnmarshalText reads a number and the sign.
func (p *Percent) UnmarshalText(b []byte) error {
	text := string(b)
	number, ok := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok && err == nil {
		return fmt.Errorf("%q has no unit; write %s%%", text, text)
	}
	// NaN fails both comparisons, hence the positive form.
	if err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("%q is no percentage; write a number from 0%% to 100%%", text)
	}
	*p = Percent(v)
	return nil
}

// MarshalText prints the share.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String prints the share with its sign.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// Fraction returns the share between 0 and 1.
func (p Percent) Fraction() float64 { return float64(p) / 100 }
