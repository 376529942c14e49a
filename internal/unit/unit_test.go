package unit_test

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/unit"
)

// roundTrip reads in into a new T, wants the value, and wants it to print as out.
func roundTrip[T any](t *testing.T, in string, want T, out string) {
	t.Helper()
	v := new(T)
	if err := any(v).(encoding.TextUnmarshaler).UnmarshalText([]byte(in)); err != nil {
		t.Errorf("%q: %v", in, err)
		return
	}
	if got := fmt.Sprint(*v); got != out {
		t.Errorf("%q prints as %q, want %q", in, got, out)
	}
	b, err := any(v).(encoding.TextMarshaler).MarshalText()
	if err != nil || string(b) != out {
		t.Errorf("%q marshals as %q, %v", in, b, err)
	}
	again := new(T)
	if err := any(again).(encoding.TextUnmarshaler).UnmarshalText(b); err != nil {
		t.Errorf("%q does not read its own print %q: %v", in, b, err)
	}
	if d, ok := any(want).(unit.Duration); ok {
		if got := any(*v).(unit.Duration).D; got != d.D {
			t.Errorf("%q = %v, want %v", in, got, d.D)
		}
		return
	}
	if !reflect.DeepEqual(*v, want) || !reflect.DeepEqual(*again, want) {
		t.Errorf("%q = %v, again %v, want %v", in, *v, *again, want)
	}
}

func refuse[T any](t *testing.T, in, want string) {
	t.Helper()
	v := new(T)
	err := any(v).(encoding.TextUnmarshaler).UnmarshalText([]byte(in))
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", in)) {
		t.Errorf("%q = %v, %v; want an error naming it and %q", in, *v, err, want)
	}
	if !reflect.ValueOf(*v).IsZero() {
		t.Errorf("%q: changed the value to %v", in, *v)
	}
}

func TestDuration(t *testing.T) {
	f := func(in string, want time.Duration) {
		t.Helper()
		roundTrip(t, in, unit.DurationOf(want), in)
	}
	f("5m", 5*time.Minute)
	f("72h", 72*time.Hour)
	f("30d", 720*time.Hour)
	f("2w", 336*time.Hour)
	f("1d12h", 36*time.Hour)
	f("1.5h", 90*time.Minute)
	f("250ms", 250*time.Millisecond)
	f("0", 0)
	refuse[unit.Duration](t, "30", "it has no unit")
	refuse[unit.Duration](t, "", "it is empty")
	refuse[unit.Duration](t, "-5m", "negative")
	refuse[unit.Duration](t, "5 m", `unknown unit " m"`)
	refuse[unit.Duration](t, "5min", `unknown unit "min"; write for example 30s`)
	refuse[unit.Duration](t, "1y", "unknown unit")
	refuse[unit.Duration](t, "h", "cannot be read")
	refuse[unit.Duration](t, "1.2.3h", "cannot be read")
	refuse[unit.Duration](t, "99999999999w", "too long")

	p := func(d time.Duration, want string) {
		t.Helper()
		if got := unit.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
		if back, err := unit.ParseDuration(want); err != nil || back != d {
			t.Errorf("ParseDuration(%q) = %v, %v", want, back, err)
		}
	}
	p(72*time.Hour, "3d")
	p(336*time.Hour, "14d")
	p(90*time.Second, "90s")
	p(90*time.Minute, "90m")
	p(0, "0s")
	p(1500*time.Millisecond, "1500ms")

	var d unit.Duration
	if err := d.UnmarshalText([]byte("72h")); err != nil || d.Canonical() != "3d" {
		t.Errorf("canonical of 72h = %s, %v", d.Canonical(), err)
	}
}

func TestSize(t *testing.T) {
	roundTrip(t, "64MiB", unit.Size(64<<20), "64MiB")
	roundTrip(t, "1024KiB", unit.Size(1<<20), "1MiB")
	roundTrip(t, "10MB", unit.Size(10e6), "10MB")
	roundTrip(t, "0B", unit.Size(0), "0B")
	refuse[unit.Size](t, "64", "write for example 64MiB")
	refuse[unit.Size](t, "64mb", "write a whole number")
	refuse[unit.Size](t, "1.5GiB", "write a whole number")
	refuse[unit.Size](t, "-1B", "write a whole number")
	refuse[unit.Size](t, "", "write a whole number")
	refuse[unit.Size](t, "99999999999GiB", "too large")
}

func TestRate(t *testing.T) {
	roundTrip(t, "10/h", unit.Rate{Count: 10, Per: time.Hour}, "10/h")
	roundTrip(t, "1/week", unit.Rate{Count: 1, Per: 168 * time.Hour}, "1/w")
	roundTrip(t, "5/30s", unit.Rate{Count: 5, Per: 30 * time.Second}, "5/30s")
	roundTrip(t, "0/d", unit.Rate{Count: 0, Per: 24 * time.Hour}, "0/d")
	for _, in := range []string{"10", "10/", "/h", "-1/h", "1.5/h", "10/fortnight", "10/0s"} {
		refuse[unit.Rate](t, in, "10/h")
	}
}

func TestPercent(t *testing.T) {
	roundTrip(t, "5%", unit.Percent(5), "5%")
	roundTrip(t, "12.5%", unit.Percent(12.5), "12.5%")
	roundTrip(t, "100%", unit.Percent(100), "100%")
	refuse[unit.Percent](t, "5", "write 5%")
	refuse[unit.Percent](t, "101%", "0% to 100%")
	refuse[unit.Percent](t, "-1%", "0% to 100%")
	refuse[unit.Percent](t, "NaN%", "0% to 100%")
	refuse[unit.Percent](t, "x", "0% to 100%")
	if unit.Percent(5).Fraction() != 0.05 {
		t.Error("Fraction")
	}
}

func TestTimes(t *testing.T) {
	berlin, err := unit.ParseZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, "Europe/Berlin", berlin, "Europe/Berlin")
	if berlin.Location().String() != "Europe/Berlin" || (unit.Zone{}).Location() != time.UTC || (unit.Zone{}).String() != "UTC" {
		t.Error("Location")
	}
	for _, in := range []string{"CET", "EST", "Local", "", "+01:00", "Europe/Berlni", "../etc/passwd"} {
		refuse[unit.Zone](t, in, "write for example Europe/Berlin")
	}

	roundTrip(t, "19:00", unit.Clock{Hour: 19}, "19:00")
	roundTrip(t, "00:05", unit.Clock{Minute: 5}, "00:05")
	for _, in := range []string{"24:00", "7:00", "19:60", "19", "7pm", ""} {
		refuse[unit.Clock](t, in, "HH:MM")
	}

	roundTrip(t, "2026-12-20T00:00", unit.CivilOf(time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)), "2026-12-20T00:00")
	roundTrip(t, "2026-12-20T08:00:30", unit.CivilOf(time.Date(2026, 12, 20, 8, 0, 30, 0, time.UTC)), "2026-12-20T08:00:30")
	for _, in := range []string{"2026-12-20", "2026-02-30T00:00", "2026-12-20T00:00Z", "2026-12-20T00:00+01:00"} {
		refuse[unit.Civil](t, in, "without a zone")
	}
}
