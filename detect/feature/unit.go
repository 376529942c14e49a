package feature

import "strings"

// scaled is a unit as a multiple of its base unit.
type scaled struct {
	base   string
	factor float64
}

// units are the spellings of UCUM (OpenTelemetry), OpenMetrics and CloudWatch
// that have one meaning. CloudWatch's Kilobytes and above are not among them:
// its documents do not say whether they count by 1000 or by 1024.
var units = map[string]scaled{
	"1": {"1", 1}, "ratio": {"1", 1}, "ratios": {"1", 1}, "count": {"1", 1}, "none": {"1", 1},
	"%": {"1", 0.01}, "percent": {"1", 0.01},
	"s": {"s", 1}, "seconds": {"s", 1}, "second": {"s", 1},
	"ms": {"s", 1e-3}, "milliseconds": {"s", 1e-3},
	"us": {"s", 1e-6}, "microseconds": {"s", 1e-6},
	"ns": {"s", 1e-9}, "nanoseconds": {"s", 1e-9},
	"min": {"s", 60}, "h": {"s", 3600}, "d": {"s", 86400},
	"By": {"By", 1}, "by": {"By", 1}, "bytes": {"By", 1}, "byte": {"By", 1},
	"kBy": {"By", 1e3}, "MBy": {"By", 1e6}, "GBy": {"By", 1e9}, "TBy": {"By", 1e12},
	"KiBy": {"By", 1 << 10}, "MiBy": {"By", 1 << 20}, "GiBy": {"By", 1 << 30}, "TiBy": {"By", 1 << 40},
	"bit": {"By", 0.125}, "bits": {"By", 0.125},
	"Cel": {"Cel", 1}, "celsius": {"Cel", 1},
	"Hz": {"1/s", 1}, "hertz": {"1/s", 1},
	"V": {"V", 1}, "volts": {"V", 1}, "A": {"A", 1}, "amperes": {"A", 1},
	"W": {"W", 1}, "watts": {"W", 1}, "J": {"J", 1}, "joules": {"J", 1},
}

// baseUnit returns the base unit of a unit, how much of it one of the unit is,
// and whether the unit is known. Case counts only where UCUM says so. An
// annotation of UCUM such as {packet} is a count, except that CloudWatch puts
// the names of its own units in braces too.
func baseUnit(unit string) (base string, factor float64, known bool) {
	name, per, rate := strings.Cut(unit, "/")
	u, known := simpleUnit(name)
	if !known {
		return "", 0, false
	}
	if !rate {
		return u.base, u.factor, true
	}
	p, known := simpleUnit(per)
	if !known || p.base != "s" {
		return "", 0, false
	}
	return perSecond(u.base), u.factor / p.factor, true
}

func simpleUnit(name string) (scaled, bool) {
	inner, braces := strings.CutPrefix(name, "{")
	if braces {
		name = strings.TrimSuffix(inner, "}")
	}
	if u, ok := units[name]; ok {
		return u, true
	}
	if u, ok := units[strings.ToLower(name)]; ok && len(name) > 3 {
		return u, true // a word, not a symbol
	}
	return scaled{"1", 1}, braces
}

// perSecond is the unit of a rate of something of a base unit.
func perSecond(base string) string {
	if base == "s" {
		return "1"
	}
	return base + "/s"
}
