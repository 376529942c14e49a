package azuremonitor

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// text is a string that Azure also sends as number, boolean or null,
// sometimes within one schema version. Objects and lists become their JSON.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	switch {
	case bytes.Equal(b, []byte("null")):
		*t = ""
		return nil
	case len(b) > 0 && b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = text(s)
		return nil
	}
	*t = text(b)
	return nil
}

func (t text) String() string { return string(t) }

// number returns the value where it is one.
func (t text) number() *float64 {
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || f-f != 0 {
		return nil
	}
	return &f
}

// list is a list of texts that Azure also sends as one text or null. Blank
// texts name nothing and are left out.
type list []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *list) UnmarshalJSON(b []byte) error {
	*l = nil
	var many []text
	if json.Unmarshal(b, &many) != nil {
		var one text
		if err := one.UnmarshalJSON(b); err != nil {
			return err
		}
		many = []text{one}
	}
	for _, t := range many {
		if s := strings.TrimSpace(string(t)); s != "" {
			*l = append(*l, s)
		}
	}
	return nil
}

// fields is an object of texts. A string that holds an object is opened, once;
// anything else is empty.
type fields map[string]text

// UnmarshalJSON implements json.Unmarshaler.
func (f *fields) UnmarshalJSON(b []byte) error {
	*f = nil
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		b = []byte(s)
	}
	var m map[string]text
	if json.Unmarshal(b, &m) == nil {
		*f = m
	}
	return nil
}

// get ignores the case of keys, as encoding/json does for structs. An exact
// match wins, so that the result does not depend on the order of a map.
func (f fields) get(key string) string {
	if v, ok := f[key]; ok {
		return string(v)
	}
	found, best := "", ""
	for k, v := range f {
		if strings.EqualFold(k, key) && (best == "" || k < best) {
			best, found = k, string(v)
		}
	}
	return found
}

// operators are the signs of Azure's words, compared without spaces and case.
var operators = map[string]string{
	"greaterthan": ">", "greaterthanorequal": ">=", "greaterthanorequalto": ">=", "lessthan": "<", "lessthanorequal": "<=",
	"lessthanorequalto": "<=", "equal": "==", "equals": "==", "equalto": "==",
}

// operator returns the sign for a word, or the word.
func operator(word string) string {
	if s, ok := operators[squash(word)]; ok {
		return s
	}
	return word
}

// squash makes names comparable: Azure writes "Activity Log" and "ActivityLog".
func squash(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }

// maxWindow keeps nonsense from overflowing.
const maxWindow = 10 * 365 * 24 * time.Hour

// isoDuration reads PT5M, P1D, PT1H30M; zero for anything else.
func isoDuration(s string) time.Duration {
	rest, ok := strings.CutPrefix(s, "P")
	if !ok {
		return 0
	}
	var sum time.Duration
	inTime := false
	for rest != "" {
		if rest[0] == 'T' && !inTime {
			inTime, rest = true, rest[1:]
			continue
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if n <= 0 || n > 6 {
			return 0
		}
		v, err := strconv.Atoi(rest[:n])
		if err != nil {
			return 0
		}
		unit := time.Duration(0)
		switch {
		case rest[n] == 'D' && !inTime:
			unit = 24 * time.Hour
		case rest[n] == 'H' && inTime:
			unit = time.Hour
		case rest[n] == 'M' && inTime:
			unit = time.Minute
		case rest[n] == 'S' && inTime:
			unit = time.Second
		default:
			return 0
		}
		if time.Duration(v) > maxWindow/unit {
			return 0
		}
		sum, rest = sum+time.Duration(v)*unit, rest[n+1:]
		if sum > maxWindow {
			return 0
		}
	}
	return sum
}
