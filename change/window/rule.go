package window

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

// The most a recurrence rule may ask for, so that reading one stays cheap.
const (
	maxCount    = 10_000
	maxInterval = 10_000
	maxDates    = 20_000
)

// shifts is more than any zone moves a local time: a day in Apia, and the hours
// of the clock beside it.
const shifts = 26 * time.Hour

// recurrence is a set of starts after RFC 5545: a rule walked in civil time,
// whose every date this package resolves in the zone, and single instants.
type recurrence struct {
	zone   *time.Location
	rule   *rrule.ROption // in civil time with every default written out; nil: there is none, or it was counted out
	until  time.Time      // the last instant the rule may name; zero: no end, or one in civil time in the rule
	dates  []time.Time    // sorted
	except map[int64]bool // Unix seconds
}

// rulePart is a part of a RRULE that holds numbers.
type rulePart struct {
	low, high int
	signed    bool
	into      func(o *rrule.ROption) *[]int
}

var ruleParts = map[string]rulePart{
	"BYMONTH":    {1, 12, false, func(o *rrule.ROption) *[]int { return &o.Bymonth }},
	"BYMONTHDAY": {1, 31, true, func(o *rrule.ROption) *[]int { return &o.Bymonthday }},
	"BYYEARDAY":  {1, 366, true, func(o *rrule.ROption) *[]int { return &o.Byyearday }},
	"BYWEEKNO":   {1, 53, true, func(o *rrule.ROption) *[]int { return &o.Byweekno }},
	"BYSETPOS":   {1, 366, true, func(o *rrule.ROption) *[]int { return &o.Bysetpos }},
	"BYHOUR":     {0, 23, false, func(o *rrule.ROption) *[]int { return &o.Byhour }},
	"BYMINUTE":   {0, 59, false, func(o *rrule.ROption) *[]int { return &o.Byminute }},
}

var ruleDays = map[string]rrule.Weekday{
	"MO": rrule.MO, "TU": rrule.TU, "WE": rrule.WE, "TH": rrule.TH, "FR": rrule.FR, "SA": rrule.SA, "SU": rrule.SU,
}

var frequencies = map[string]rrule.Frequency{
	"YEARLY": rrule.YEARLY, "MONTHLY": rrule.MONTHLY, "WEEKLY": rrule.WEEKLY, "DAILY": rrule.DAILY, "HOURLY": rrule.HOURLY, "MINUTELY": rrule.MINUTELY,
}

// recur makes the starts of a rule that begins at start. The start itself is
// one only when the rule names it: RFC 5545 leaves that open, and a window that
// nobody can read off the rule must not open.
func recur(text string, start moment, zone *time.Location) (*recurrence, error) {
	if start.zone != nil {
		zone = start.zone
	}
	o, until, err := parseRule(text, start, zone)
	if err != nil {
		return nil, err
	}
	r := &recurrence{zone: zone, rule: o, until: until}
	if o.Count > 0 {
		var dates []time.Time
		next := r.walk(start.civil)
		for civil, ok := next(); ok && len(dates) < o.Count; civil, ok = next() {
			dates = append(dates, Resolve(civil, zone))
		}
		r.add(dates...)
		r.rule = nil
	}
	return r, nil
}

// parseRule reads a RRULE. Everything it leaves to the start is written out, so
// that the rule can be walked from any date.
func parseRule(text string, start moment, zone *time.Location) (o *rrule.ROption, until time.Time, err error) {
	text = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "RRULE:")
	o = &rrule.ROption{Freq: -1, Dtstart: start.civil, Interval: 1}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(strings.TrimSuffix(text, ";"), ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return nil, until, fmt.Errorf("%q is not NAME=VALUE; write for example FREQ=WEEKLY;BYDAY=SU", part)
		}
		if seen[name] {
			return nil, until, fmt.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		if err := parsePart(o, &until, name, value, zone); err != nil {
			return nil, until, err
		}
	}
	switch {
	case o.Freq < 0:
		return nil, until, errors.New("FREQ is missing; write for example FREQ=WEEKLY;BYDAY=SU")
	case seen["COUNT"] && seen["UNTIL"]:
		return nil, until, errors.New("COUNT and UNTIL exclude each other")
	case len(o.Bysetpos) > 0 && len(o.Byweekday)+len(o.Bymonth)+len(o.Bymonthday)+len(o.Byyearday)+len(o.Byweekno)+len(o.Byhour)+len(o.Byminute) == 0:
		return nil, until, errors.New("BYSETPOS picks among other BY parts and there is none")
	case len(o.Byweekno) > 0 && o.Freq != rrule.YEARLY:
		return nil, until, errors.New("BYWEEKNO needs FREQ=YEARLY")
	case len(o.Byyearday) > 0 && o.Freq != rrule.YEARLY && o.Freq < rrule.HOURLY:
		return nil, until, errors.New("BYYEARDAY needs FREQ=YEARLY, HOURLY or MINUTELY")
	case len(o.Bymonthday) > 0 && o.Freq == rrule.WEEKLY:
		return nil, until, errors.New("BYMONTHDAY cannot be with FREQ=WEEKLY")
	}
	for _, d := range o.Byweekday {
		if d.N() != 0 && (o.Freq > rrule.MONTHLY || len(o.Byweekno) > 0) {
			return nil, until, fmt.Errorf("BYDAY=%s counts weekdays and needs FREQ=MONTHLY or YEARLY without BYWEEKNO", d)
		}
	}
	writeOut(o)
	if !reachable(o) {
		return nil, until, fmt.Errorf("never comes to the hours and minutes it names: from %s every %d", start.civil.Format("15:04"), o.Interval)
	}
	if _, err := rrule.NewRRule(*o); err != nil {
		return nil, until, err
	}
	return o, until, nil
}

func parsePart(o *rrule.ROption, until *time.Time, name, value string, zone *time.Location) error {
	number := func(most int) (int, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > most {
			return 0, fmt.Errorf("%s=%s is not within 1 to %d", name, value, most)
		}
		return n, nil
	}
	var err error
	switch name {
	case "FREQ":
		f, ok := frequencies[value]
		if !ok {
			return fmt.Errorf("FREQ=%s is none of YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY and MINUTELY", value)
		}
		o.Freq = f
	case "INTERVAL":
		o.Interval, err = number(maxInterval)
	case "COUNT":
		o.Count, err = number(maxCount)
	case "UNTIL":
		m, err := parseMoment(value, nil)
		if err != nil {
			return fmt.Errorf("UNTIL: %w", err)
		}
		if m.date { // the whole day belongs to it
			m.civil = m.civil.Add(24*time.Hour - time.Second)
		}
		if m.zone == nil { // a local time ends the rule where it names its dates, not where the clock moves them
			o.Until = m.civil
			return nil
		}
		*until = m.at(zone)
	case "WKST":
		d, ok := ruleDays[value]
		if !ok {
			return fmt.Errorf("WKST=%s is no day; write MO, TU, WE, TH, FR, SA or SU", value)
		}
		o.Wkst = d
	case "BYDAY":
		for day := range strings.SplitSeq(value, ",") {
			d, ok := rrule.Weekday{}, len(day) >= 2
			if ok {
				d, ok = ruleDays[day[len(day)-2:]]
			}
			if count := strings.TrimSuffix(day, day[max(0, len(day)-2):]); ok && count != "" {
				n, err := strconv.Atoi(count)
				ok = err == nil && n != 0 && n >= -53 && n <= 53
				d = d.Nth(n)
			}
			if !ok {
				return fmt.Errorf("BYDAY=%s: %q is no day; write for example SU, 2TU or -1FR", value, day)
			}
			o.Byweekday = append(o.Byweekday, d)
		}
	case "BYSECOND":
		if value != "0" {
			return fmt.Errorf("BYSECOND=%s: windows open on the minute, leave it out", value)
		}
	default:
		p, ok := ruleParts[name]
		if !ok {
			return fmt.Errorf("%s is no part of a rule that a window can have", name)
		}
		list := p.into(o)
		for text := range strings.SplitSeq(value, ",") {
			n, err := strconv.Atoi(text)
			size := n
			if p.signed && n < 0 {
				size = -n
			}
			if err != nil || size < p.low || size > p.high {
				return fmt.Errorf("%s=%s: %q is not within %d to %d", name, value, text, p.low, p.high)
			}
			if !slices.Contains(*list, n) {
				*list = append(*list, n)
			}
		}
	}
	return err
}

// writeOut makes explicit what a rule takes from its start (RFC 5545, 3.3.10).
func writeOut(o *rrule.ROption) {
	d := o.Dtstart
	if len(o.Byweekno)+len(o.Byyearday)+len(o.Bymonthday)+len(o.Byweekday) == 0 {
		switch o.Freq {
		case rrule.YEARLY:
			if len(o.Bymonth) == 0 {
				o.Bymonth = []int{int(d.Month())}
			}
			o.Bymonthday = []int{d.Day()}
		case rrule.MONTHLY:
			o.Bymonthday = []int{d.Day()}
		case rrule.WEEKLY:
			o.Byweekday = []rrule.Weekday{[]rrule.Weekday{rrule.SU, rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA}[d.Weekday()]}
		}
	}
	if len(o.Byweekno) > 0 && len(o.Byweekday) == 0 && len(o.Byyearday)+len(o.Bymonthday) == 0 {
		o.Byweekday = []rrule.Weekday{[]rrule.Weekday{rrule.SU, rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA}[d.Weekday()]}
	}
	if len(o.Byhour) == 0 && o.Freq < rrule.HOURLY {
		o.Byhour = []int{d.Hour()}
	}
	if len(o.Byminute) == 0 && o.Freq < rrule.MINUTELY {
		o.Byminute = []int{d.Minute()}
	}
	o.Bysecond = []int{d.Second()}
}

// reachable reports whether an hourly or minutely rule ever comes to an hour
// and minute it names; walking one that does not would never end.
func reachable(o *rrule.ROption) bool {
	hour := func(h int) bool { return len(o.Byhour) == 0 || slices.Contains(o.Byhour, h) }
	switch o.Freq {
	case rrule.HOURLY:
		for i := range 24 {
			if hour((o.Dtstart.Hour() + i*o.Interval) % 24) {
				return true
			}
		}
		return false
	case rrule.MINUTELY:
		first := o.Dtstart.Hour()*60 + o.Dtstart.Minute()
		for i := range 1440 {
			m := (first + i*o.Interval) % 1440
			if hour(m/60) && (len(o.Byminute) == 0 || slices.Contains(o.Byminute, m%60)) {
				return true
			}
		}
		return false
	}
	return true
}

// walk returns the civil times of the rule that are not before civil, in order.
// A rule without a count is entered at the last of its periods that begins
// before, so that it does not matter how long ago it began.
func (r *recurrence) walk(civil time.Time) rrule.Next {
	o := *r.rule
	if begin := r.period(civil); o.Count == 0 && begin.After(o.Dtstart) {
		o.Dtstart = begin
	}
	switch {
	case !r.until.IsZero():
		o.Until = civilOf(r.until, r.zone).Add(shifts)
	case o.Until.IsZero():
		o.Until = date(lastYear+1, 1, 1)
	}
	rule, err := rrule.NewRRule(o)
	if err != nil {
		panic("window: a rule that was checked is refused: " + err.Error())
	}
	next := rule.Iterator()
	return func() (time.Time, bool) {
		for {
			t, ok := next()
			if !ok || !t.Before(civil) {
				return t, ok
			}
		}
	}
}

// period returns the beginning of the last period of the rule that begins at
// or before civil, or its start.
func (r *recurrence) period(civil time.Time) time.Time {
	o := r.rule
	d := o.Dtstart
	if !civil.After(d) {
		return d
	}
	whole := func(n int) int { return n / o.Interval * o.Interval }
	steps := func(from time.Time, unit time.Duration) time.Time {
		return from.Add(time.Duration(whole(int(civil.Sub(from)/unit))) * unit)
	}
	y, m, day := d.Date()
	switch o.Freq {
	case rrule.YEARLY:
		return date(y+whole(civil.Year()-y), 1, 1)
	case rrule.MONTHLY:
		return date(y, int(m)+whole((civil.Year()-y)*12+int(civil.Month()-m)), 1)
	case rrule.WEEKLY:
		back := (int(d.Weekday()) + 6 - o.Wkst.Day()) % 7 // Monday is 0 there
		return steps(date(y, int(m), day-back), 7*24*time.Hour)
	case rrule.DAILY:
		return steps(date(y, int(m), day), 24*time.Hour)
	case rrule.HOURLY:
		return steps(d.Truncate(time.Hour), time.Hour)
	}
	return steps(d.Truncate(time.Minute), time.Minute)
}

// civilOf returns what clocks in zone show at t, as the same numbers in UTC.
func civilOf(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

func (r *recurrence) skips(t time.Time) bool {
	return r.except[t.Unix()] || (!r.until.IsZero() && t.After(r.until))
}

// after looks a little back and a little beyond what it finds, because a time
// that the clock jumps over moves forward past others.
func (r *recurrence) after(t time.Time) (best time.Time, ok bool) {
	for i, _ := slices.BinarySearchFunc(r.dates, t, later); i < len(r.dates) && !ok; i++ {
		if d := r.dates[i]; !r.except[d.Unix()] {
			best, ok = d, true
		}
	}
	if r.rule == nil {
		return best, ok
	}
	var enough time.Time
	next := r.walk(civilOf(t, r.zone).Add(-r.moved(t)))
	for civil, more := next(); more && (enough.IsZero() || civil.Before(enough)); civil, more = next() {
		start := Resolve(civil, r.zone)
		if !start.After(t) || r.skips(start) {
			continue
		}
		if !ok || start.Before(best) {
			best, ok = start, true
		}
		if enough.IsZero() {
			enough = civil.Add(r.moved(start))
		}
	}
	return best, ok
}

// later orders an instant against t so that a search ends at the first after t.
func later(x, t time.Time) int {
	if x.After(t) {
		return 1
	}
	return -1
}

// before is after, backwards, over spans that grow until one holds a start.
func (r *recurrence) before(t time.Time) (best time.Time, ok bool) {
	for i, _ := slices.BinarySearchFunc(r.dates, t, later); i > 0 && !ok; i-- {
		if d := r.dates[i-1]; !r.except[d.Unix()] {
			best, ok = d, true
		}
	}
	if r.rule == nil {
		return best, ok
	}
	if !r.until.IsZero() && t.After(r.until) {
		t = r.until
	}
	here, near := civilOf(t, r.zone), r.moved(t)
	for back := r.moved(t) + r.stride(); ; back = min(8*back, farthest) {
		from := here.Add(-back)
		// One at the far end may be passed by one before it that was moved.
		sure := from.Add(r.moved(from))
		found, whole := false, !from.After(r.rule.Dtstart)
		next := r.walk(from)
		for civil, more := next(); more && !civil.After(here.Add(near)); civil, more = next() {
			start := Resolve(civil, r.zone)
			if start.After(t) || r.skips(start) {
				continue
			}
			if !ok || start.After(best) {
				best, ok = start, true
			}
			found = found || !civil.Before(sure)
		}
		if found || whole || back == farthest {
			return best, ok
		}
	}
}

// farthest is more than the years a rule may name.
const farthest = 250 * 366 * 24 * time.Hour

// stride is how far to look back first.
func (r *recurrence) stride() time.Duration {
	if r.rule.Freq >= rrule.HOURLY {
		return 2 * time.Hour * time.Duration(r.rule.Interval)
	}
	return 8 * 24 * time.Hour
}

// moved is how far a start near t may be moved from its civil time: not at all
// where the offset does not change.
func (r *recurrence) moved(t time.Time) time.Duration {
	from, to := t.In(r.zone).ZoneBounds()
	if (from.IsZero() || t.Sub(from) > 2*shifts) && (to.IsZero() || to.Sub(t) > 2*shifts) {
		return 0
	}
	return shifts
}

// add takes more single starts in, and leave leaves some out.
func (r *recurrence) add(dates ...time.Time) {
	r.dates = append(r.dates, dates...)
	slices.SortFunc(r.dates, time.Time.Compare)
	r.dates = slices.CompactFunc(r.dates, time.Time.Equal)
}

func (r *recurrence) leave(dates ...time.Time) {
	if r.except == nil {
		r.except = map[int64]bool{}
	}
	for _, d := range dates {
		r.except[d.Unix()] = true
	}
}

// moment is a date and time as iCalendar writes it.
type moment struct {
	civil time.Time      // the numbers, in UTC
	zone  *time.Location // nil: that of whoever reads it
	date  bool           // only a date was written
}

// at returns the instant. zone counts where the moment has none of its own.
func (m moment) at(zone *time.Location) time.Time { return Resolve(m.civil, cmp.Or(m.zone, zone)) }

// parseMoment reads 20261122, 20261122T020000 or 20261122T020000Z.
func parseMoment(text string, zone *time.Location) (moment, error) {
	text = strings.TrimSpace(text)
	inside := func(t time.Time) error {
		if t.Year() < firstYear || t.Year() > lastYear {
			return fmt.Errorf("%q is not within %d to %d", text, firstYear, lastYear)
		}
		return nil
	}
	if t, err := time.Parse("20060102", text); err == nil {
		return moment{t, zone, true}, inside(t)
	}
	if rest, utc := strings.CutSuffix(text, "Z"); utc {
		text, zone = rest, time.UTC
	}
	t, err := time.Parse("20060102T150405", text)
	if err != nil {
		return moment{}, fmt.Errorf("%q is no date and time like 20261122T020000", text)
	}
	return moment{t, zone, false}, inside(t)
}
