package simulator

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// input reads what a client wrote. Unknown columns, computed columns and
// values that fit no column are ignored, as an instance ignores them.
func (s *Server) input(def *tableDef, body map[string]any, display bool, who *caller) change {
	c := change{values: Record{}, journal: Record{}}
	for i := range def.fields {
		f := &def.fields[i]
		given, sent := scalar(body, f.name)
		if !sent || f.readOnly {
			continue
		}
		if f.kind == journalField {
			c.journal[f.name] = given
			if given == "" {
				delete(c.journal, f.name)
			}
			continue
		}
		if v, fits := s.fit(def, f, given, display, who); fits {
			c.values[f.name] = v
		}
	}
	return c
}

// scalar reads one member as the string a column takes. Objects and lists are
// no values of a column.
func scalar(body map[string]any, name string) (string, bool) {
	v, sent := body[name]
	if !sent {
		return "", false
	}
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// fit turns a given value into one the column can hold.
func (s *Server) fit(def *tableDef, f *fieldDef, given string, display bool, who *caller) (string, bool) {
	switch {
	case f.choice:
		// A choice cannot be cleared, and a wrong one counts as not sent.
		v, known := s.choice(def.name, f.name, given, display)
		return v["value"], known && given != ""
	case f.kind == referenceField:
		return s.fitReference(f, given, display)
	case f.kind == booleanField:
		return strconv.FormatBool(given == "true" || given == "1"), true
	case f.kind == integerField:
		_, err := strconv.ParseInt(given, 10, 64)
		return given, err == nil || given == ""
	case f.kind == timeField:
		if display {
			given = who.universal(given)
		}
		_, ok := parseStamp(given)
		return given, ok || given == ""
	}
	return cut(given, f.max), true
}

// fitReference takes a sys_id, or with display input also a name.
func (s *Server) fitReference(f *fieldDef, given string, display bool) (string, bool) {
	target := s.tables[f.target]
	if given == "" || target.get(given) != nil {
		return given, true
	}
	if !display {
		return "", false
	}
	r := target.find(s.schema[f.target].display, given)
	if r == nil {
		return "", false
	}
	return r.values["sys_id"], true
}

// cut shortens text to the width of its column, in characters.
func cut(v string, width int) string {
	if width == 0 || utf8.RuneCountInString(v) <= width {
		return v
	}
	return string([]rune(v)[:width])
}
