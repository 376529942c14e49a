package densify

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// document is a JSON object by its exact keys.
type document map[string]json.RawMessage

func open(body []byte) (document, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, err
	}
	return d, nil
}

func (d document) has(key string) bool { _, ok := d[key]; return ok }

// text returns the first of some members that is a text or a number, else "".
func (d document) text(keys ...string) string {
	for _, k := range keys {
		raw := d[k]
		if len(raw) == 0 {
			continue
		}
		var s string
		if json.Unmarshal(raw, &s) == nil {
			if s = strings.TrimSpace(s); s != "" {
				return s
			}
			continue
		}
		if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
			return string(raw)
		}
	}
	return ""
}

// number returns a member that is a number or a text that is one; the API's
// terraform map has texts only.
func (d document) number(key string) *float64 {
	f, err := strconv.ParseFloat(strings.ReplaceAll(d.text(key), ",", ""), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// count returns a member that is a whole number of things.
func (d document) count(key string) (int64, bool) {
	f := d.number(key)
	if f == nil || *f < 0 || *f > 1e6 || *f != math.Trunc(*f) {
		return 0, false
	}
	return int64(*f), true
}

func (d document) object(key string) document {
	var o document
	if json.Unmarshal(d[key], &o) != nil {
		return nil
	}
	return o
}

func (d document) list(key string) []document {
	var l []document
	if json.Unmarshal(d[key], &l) != nil {
		return nil
	}
	return l
}

// instant returns a member that is a time: Unix seconds or milliseconds, or RFC 3339.
func (d document) instant(key string) time.Time {
	if f := d.number(key); f != nil && *f > 0 && *f < 1e14 {
		if *f < 1e11 {
			return time.UnixMilli(int64(*f * 1000)).UTC()
		}
		return time.UnixMilli(int64(*f)).UTC()
	}
	t, err := time.Parse(time.RFC3339Nano, d.text(key))
	if err != nil || t.Year() < 2000 || t.Year() > 2200 {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// sizes returns two members as the sizes of a group, nil unless both are known.
func (d document) sizes(least, most string) *ops.GroupSize {
	a, ok1 := d.count(least)
	b, ok2 := d.count(most)
	if !ok1 || !ok2 || a > b {
		return nil
	}
	return &ops.GroupSize{Min: a, Max: b}
}
