package window

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// dialect tells the two ways to write cron apart.
type dialect int

const (
	// unix is five fields: minute, hour, day of month, month, day of week with
	// 0 and 7 for Sunday. When both day fields are restricted either matches.
	unix dialect = iota
	// amazon is six fields, the sixth the year, or seven with seconds in front
	// (which must be 0); 1 is Sunday; exactly one day field is "?"; L, W and #
	// are understood.
	amazon
)

// The years a schedule may name, as in AWS.
const (
	firstYear = 1970
	lastYear  = 2199
)

// cron is a parsed cron expression.
type cron struct {
	zone    *time.Location
	minutes uint64 // bit n: minute n
	hours   uint64
	months  uint64
	years   [4]uint64 // bit n: firstYear+n

	days        uint64 // of the month
	nearest     uint64 // nW: the weekday nearest to day n
	lastDay     bool   // L
	lastWeekday bool   // LW: the last weekday of the month

	weekdays uint64    // bit 0: Sunday
	nth      [6]uint64 // n#k: bit of the weekday in nth[k]
	last     uint64    // nL: the last such weekday of the month

	anyDay, anyWeekday bool // the field restricts nothing
	either             bool // both restrict and one is enough
	offset             int  // days that a start is put off
}

var (
	monthNames   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdayNames = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

func parseCron(text string, d dialect, zone *time.Location) (*cron, error) {
	fields := strings.Fields(text)
	if d == amazon && (len(fields) == 7 || secondsWithoutYear(fields)) {
		if fields[0] != "0" {
			return nil, fmt.Errorf("seconds %q: windows open on the minute, write 0", fields[0])
		}
		if fields = fields[1:]; len(fields) == 5 {
			fields = append(fields, "*")
		}
	}
	if want := map[dialect]int{unix: 5, amazon: 6}[d]; len(fields) != want {
		return nil, fmt.Errorf("has %d fields, cron(...) takes six (minute hour day month weekday year) and plain cron five", len(fields))
	}
	c := &cron{zone: zone}
	var err error
	if c.minutes, err = parseSet("minute", fields[0], 0, 59, nil); err != nil {
		return nil, err
	}
	if c.hours, err = parseSet("hour", fields[1], 0, 23, nil); err != nil {
		return nil, err
	}
	if err := c.parseDays(fields[2], d); err != nil {
		return nil, err
	}
	if c.months, err = parseSet("month", fields[3], 1, 12, monthNames); err != nil {
		return nil, err
	}
	if err := c.parseWeekdays(fields[4], d); err != nil {
		return nil, err
	}
	year := "*"
	if d == amazon {
		if (fields[2] == "?") == (fields[4] == "?") {
			return nil, errors.New("exactly one of day of month and day of week must be ?")
		}
		year = fields[5]
	} else {
		// As Vixie's cron has it: a field that begins with * does not restrict.
		c.either = fields[2][0] != '*' && fields[4][0] != '*'
	}
	if err := c.parseYears(year); err != nil {
		return nil, err
	}
	if !c.ever() {
		return nil, errors.New("names a day that never comes: look at day of month, month, day of week and year together")
	}
	return c, nil
}

// secondsWithoutYear tells the form of AWS that has seconds and leaves out the
// year, as in 0 15 10 ? * MON-FRI, from the one that has a year: its ? stands
// one field later.
func secondsWithoutYear(fields []string) bool {
	return len(fields) == 6 && (fields[3] == "?" || fields[5] == "?") && fields[2] != "?" && fields[4] != "?"
}

func (c *cron) parseDays(field string, d dialect) error {
	if field == "*" || (field == "?" && d == amazon) {
		c.anyDay = true
		return nil
	}
	for part := range strings.SplitSeq(field, ",") {
		switch day, isNearest := strings.CutSuffix(part, "W"); {
		case d == amazon && part == "L":
			c.lastDay = true
		case d == amazon && part == "LW":
			c.lastWeekday = true
		case d == amazon && isNearest:
			n, err := parseNumber("day of month", day, 1, 31, nil)
			if err != nil {
				return err
			}
			c.nearest |= 1 << n
		default:
			set, err := parseSet("day of month", part, 1, 31, nil)
			if err != nil {
				return err
			}
			c.days |= set
		}
	}
	return nil
}

func (c *cron) parseWeekdays(field string, d dialect) error {
	if field == "*" || (field == "?" && d == amazon) {
		c.anyWeekday = true
		return nil
	}
	low, high := 0, 7
	if d == amazon {
		low, high = 1, 7
	}
	shift := func(n int) int { return (n - low) % 7 }
	for part := range strings.SplitSeq(field, ",") {
		day, count, isNth := strings.Cut(part, "#")
		onlyLast, isLast := strings.CutSuffix(part, "L")
		switch {
		case d == amazon && isNth:
			n, err := parseNumber("day of week", day, low, high, weekdayNames)
			if err != nil {
				return err
			}
			k, err := parseNumber("occurrence in the month", count, 1, 5, nil)
			if err != nil {
				return err
			}
			c.nth[k] |= 1 << shift(n)
		case d == amazon && part == "L":
			c.weekdays |= 1 << 6 // Saturday, the last day of the week
		case d == amazon && isLast:
			n, err := parseNumber("day of week", onlyLast, low, high, weekdayNames)
			if err != nil {
				return err
			}
			c.last |= 1 << shift(n)
		default:
			set, err := parseSet("day of week", part, low, high, weekdayNames)
			if err != nil {
				return err
			}
			for set != 0 {
				n := bits.TrailingZeros64(set)
				set &^= 1 << n
				c.weekdays |= 1 << shift(n)
			}
		}
	}
	return nil
}

func (c *cron) parseYears(field string) error {
	for part := range strings.SplitSeq(field, ",") {
		from, to, step, err := parseRange("year", part, firstYear, lastYear, nil)
		if err != nil {
			return err
		}
		for y := from; y <= to; y += step {
			c.years[(y-firstYear)/64] |= 1 << ((y - firstYear) % 64)
		}
	}
	return nil
}

func parseSet(what, field string, low, high int, names []string) (uint64, error) {
	var set uint64
	for part := range strings.SplitSeq(field, ",") {
		from, to, step, err := parseRange(what, part, low, high, names)
		if err != nil {
			return 0, err
		}
		for n := from; n <= to; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}

// parseRange reads *, n, n-m, each with an optional /step; n/step runs to the end.
func parseRange(what, part string, low, high int, names []string) (from, to, step int, err error) {
	span, stepText, stepped := strings.Cut(part, "/")
	step = 1
	if stepped {
		if step, err = parseNumber("step of "+what, stepText, 1, high, nil); err != nil {
			return 0, 0, 0, err
		}
	}
	if span == "*" {
		return low, high, step, nil
	}
	first, second, ranged := strings.Cut(span, "-")
	if from, err = parseNumber(what, first, low, high, names); err != nil {
		return 0, 0, 0, err
	}
	switch to = from; {
	case ranged:
		if to, err = parseNumber(what, second, low, high, names); err != nil {
			return 0, 0, 0, err
		}
		if to < from {
			return 0, 0, 0, fmt.Errorf("%s %q runs backwards; write two parts with a comma", what, part)
		}
	case stepped:
		to = high
	}
	return from, to, step, nil
}

func parseNumber(what, text string, low, high int, names []string) (int, error) {
	for i, n := range names {
		if strings.EqualFold(text, n) {
			return i + low, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high || text[0] == '+' {
		return 0, fmt.Errorf("%s %q is not within %d to %d", what, text, low, high)
	}
	return n, nil
}
