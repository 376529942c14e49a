package unit

import (
	"fmt"
	"strings"
	"time"
)

// Zone is an IANA time zone by name. The zero Zone is UTC.
type Zone struct {
	name string
	loc  *time.Location
}

// ParseZone loads a zone by its IANA name. Abbreviations, offsets and "Local" are
// refused: they do not say when the clocks change, or not the same everywhere.
func ParseZone(s string) (Zone, error) {
	bad := fmt.Errorf("%q is no IANA time zone; write for example Europe/Berlin or UTC", s)
	if s != "UTC" && !strings.Contains(s, "/") {
		return Zone{}, bad
	}
	loc, err := time.LoadLocation(s)
	if err != nil {
		return Zone{}, bad
	}
	return Zone{s, loc}, nil
}

// UnmarshalText reads what ParseZone reads.
func (z *Zone) UnmarshalText(b []byte) error {
	v, err := ParseZone(string(b))
	if err != nil {
		return err
	}
	*z = v
	return nil
}

// MarshalText prints the name.
func (z Zone) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// String returns the name.
func (z Zone) String() string {
	if z.loc == nil {
		return "UTC"
	}
	return z.name
}

// Location returns the zone for package time.
func (z Zone) Location() *time.Location {
	if z.loc == nil {
		return time.UTC
	}
	return z.loc
}

// Clock is a time of day, written "HH:MM" from 00:00 to 23:59.
type Clock struct {
	// Hour is 0 to 23.
	Hour int
	// Minute is 0 to 59.
	Minute int
}

// UnmarshalText reads HH:MM with two digits each.
func (c *Clock) UnmarshalText(b []byte) error {
	t, err := time.Parse("15:04", string(b))
	if err != nil || len(b) != 5 {
		return fmt.Errorf("%q is no time of day; write it as HH:MM, for example 19:00", b)
	}
	*c = Clock{t.Hour(), t.Minute()}
	return nil
}

// MarshalText prints HH:MM.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String prints HH:MM.
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", c.Hour, c.Minute) }

// Civil is a date and time of day without a zone, written 2026-12-20T00:00 or
// 2026-12-20T00:00:00. The zone stands beside it; which instant it is when the
// clocks change is decided by whoever resolves it. The zero Civil is "none given".
type Civil struct{ t time.Time }

// CivilOf drops the zone of t.
func CivilOf(t time.Time) Civil {
	return Civil{time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)}
}

// UnmarshalText reads a date and a time of day.
func (c *Civil) UnmarshalText(b []byte) error {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, string(b)); err == nil {
			*c = CivilOf(t)
			return nil
		}
	}
	return fmt.Errorf("%q is no local date and time; write for example 2026-12-20T00:00, without a zone", b)
}

// MarshalText prints the date and time.
func (c Civil) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String prints the date and time; the zero Civil prints "".
func (c Civil) String() string {
	switch {
	case c.t.IsZero():
		return ""
	case c.t.Second() == 0:
		return c.t.Format("2006-01-02T15:04")
	}
	return c.t.Format("2006-01-02T15:04:05")
}

// IsZero reports whether no time was given.
func (c Civil) IsZero() bool { return c.t.IsZero() }

// UTC returns the civil fields as a time in UTC. It is the carrier of the fields,
// not the instant meant.
func (c Civil) UTC() time.Time { return c.t }
