package simulator

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// literal resolves the value of a comparison. Of the scripts an instance would
// run, the few that clients put into queries are known; others are invalid.
func (s *Server) literal(v string, who *caller) (string, bool) {
	script, found := strings.CutPrefix(v, "javascript:")
	if !found {
		return v, true
	}
	name, args, ok := parseScript(script)
	if !ok {
		return "", false
	}
	switch {
	case name == "gs.getUserID" && len(args) == 0:
		return who.sysID, true
	case name == "gs.dateGenerate" && len(args) == 2:
		at, err := time.ParseInLocation(timeLayout, args[0]+" "+args[1], who.zone)
		return at.UTC().Format(timeLayout), err == nil
	case (name == "gs.daysAgoStart" || name == "gs.daysAgoEnd") && len(args) == 1:
		n, err := strconv.Atoi(args[0])
		if err != nil || n < -maxAmount || n > maxAmount {
			return "", false
		}
		now := s.now().In(who.zone)
		at := time.Date(now.Year(), now.Month(), now.Day()-n, 0, 0, 0, 0, who.zone)
		if name == "gs.daysAgoEnd" {
			at = time.Date(now.Year(), now.Month(), now.Day()-n, 23, 59, 59, 0, who.zone)
		}
		return at.UTC().Format(timeLayout), true
	}
	return "", false
}

// maxAmount bounds amounts in queries, so that no arithmetic overflows.
const maxAmount = 100000

// parseScript reads one call, as in gs.daysAgoStart(0).
func parseScript(script string) (name string, args []string, ok bool) {
	name, list, found := strings.Cut(script, "(")
	list, closed := strings.CutSuffix(list, ")")
	if !found || !closed {
		return "", nil, false
	}
	if list == "" {
		return name, nil, true
	}
	for arg := range strings.SplitSeq(list, ",") {
		args = append(args, strings.Trim(strings.TrimSpace(arg), `'"`))
	}
	return name, args, true
}

// compileTime handles the operators that only date fields have.
func (s *Server) compileTime(t term, def *tableDef, who *caller, read func(Record) string) predicate {
	switch t.op {
	case "ON", "NOTON":
		from, to, ok := s.day(t.value, who)
		if !ok {
			return nil
		}
		return func(r Record) bool {
			v := read(r)
			return (v != "" && v >= from && v <= to) == (t.op == "ON")
		}
	case "RELATIVEGT", "RELATIVELT":
		limit, ok := s.relative(t.value)
		if !ok {
			return nil
		}
		return func(r Record) bool {
			v := read(r)
			return v != "" && v != limit && (v > limit) == (t.op == "RELATIVEGT")
		}
	case "DATEPART":
		return s.compilePart(t.value, who, read)
	case "MORETHAN", "LESSTHAN":
		return s.compileDistance(t, def, read)
	}
	return nil
}

// day reads the value of ON: a date, or a label with the start and the end.
func (s *Server) day(v string, who *caller) (from, to string, ok bool) {
	parts := strings.Split(v, "@")
	if len(parts) == 1 {
		start, err := time.ParseInLocation(time.DateOnly, v, who.zone)
		if err != nil {
			return "", "", false
		}
		end := time.Date(start.Year(), start.Month(), start.Day(), 23, 59, 59, 0, who.zone)
		return start.UTC().Format(timeLayout), end.UTC().Format(timeLayout), true
	}
	if len(parts) != 3 {
		return "", "", false
	}
	from, okFrom := s.literal(parts[1], who)
	to, okTo := s.literal(parts[2], who)
	return from, to, okFrom && okTo
}

// relative reads "@hour@ago@1" as a stored time.
func (s *Server) relative(v string) (string, bool) {
	parts := strings.Split(v, "@")
	if len(parts) != 4 || parts[0] != "" || parts[2] != "ago" && parts[2] != "ahead" {
		return "", false
	}
	n, err := strconv.Atoi(parts[3])
	if err != nil || n < 0 || n > maxAmount {
		return "", false
	}
	if parts[2] == "ago" {
		n = -n
	}
	at, ok := shift(s.now(), parts[1], n)
	return at.Format(timeLayout), ok
}

// shift moves a time by n units. The platform calls a day dayofweek.
func shift(t time.Time, unit string, n int) (time.Time, bool) {
	switch unit {
	case "minute":
		return t.Add(time.Duration(n) * time.Minute), true
	case "hour":
		return t.Add(time.Duration(n) * time.Hour), true
	case "day", "dayofweek":
		return t.AddDate(0, 0, n), true
	case "week":
		return t.AddDate(0, 0, 7*n), true
	case "month":
		return t.AddDate(0, n, 0), true
	case "quarter":
		return t.AddDate(0, 3*n, 0), true
	case "year":
		return t.AddDate(n, 0, 0), true
	}
	return t, false
}

// compilePart reads "Monday@javascript:gs.datePart('dayofweek','monday','EE')".
// A week begins on Sunday, as the vendor's examples have it.
func (s *Server) compilePart(v string, who *caller, read func(Record) string) predicate {
	_, script, _ := strings.Cut(v, "@javascript:")
	name, args, ok := parseScript(script)
	if !ok || name != "gs.datePart" || len(args) != 3 {
		return nil
	}
	var of func(time.Time) int
	// Days and months go by name, hours and years by number.
	want, err := strconv.Atoi(args[1])
	switch args[0] {
	case "dayofweek":
		of = func(t time.Time) int { return int(t.Weekday()) }
		want = slices.Index([]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}, args[1])
	case "month":
		of = func(t time.Time) int { return int(t.Month()) }
		want = 1 + slices.Index([]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}, args[1])
		if want == 0 {
			return nil
		}
	case "hour", "year":
		of = func(t time.Time) int { return t.Hour() }
		if args[0] == "year" {
			of = time.Time.Year
		}
		if err != nil {
			return nil
		}
	default:
		return nil
	}
	holds := map[string]func(int) bool{
		"EE": func(got int) bool { return got == want },
		"LT": func(got int) bool { return got < want },
		"LE": func(got int) bool { return got <= want },
		"GT": func(got int) bool { return got > want },
		"GE": func(got int) bool { return got >= want },
	}[args[2]]
	if want < 0 || holds == nil {
		return nil
	}
	return func(r Record) bool {
		t, ok := parseStamp(read(r))
		return ok && holds(of(t.In(who.zone)))
	}
}

// compileDistance reads "other_field@day@before@1": the field lies more (or
// less) than that before the other one.
func (s *Server) compileDistance(t term, def *tableDef, read func(Record) string) predicate {
	parts := strings.Split(t.value, "@")
	if len(parts) != 4 || parts[2] != "before" && parts[2] != "after" {
		return nil
	}
	other := s.walk(def, parts[0])
	n, err := strconv.Atoi(parts[3])
	if other == nil || other.kind != timeField || err != nil || n < 0 || n > maxAmount {
		return nil
	}
	sign := 1
	if parts[2] == "before" {
		sign = -1
	}
	if _, known := shift(time.Time{}, parts[1], 0); !known {
		return nil
	}
	return func(r Record) bool {
		at, ok := parseStamp(read(r))
		base, okBase := parseStamp(s.value(def, r, parts[0]))
		if !ok || !okBase || at.Compare(base) != sign {
			return false
		}
		limit, _ := shift(base, parts[1], sign*n)
		beyond := at.Compare(limit) == sign
		return beyond == (t.op == "MORETHAN")
	}
}
