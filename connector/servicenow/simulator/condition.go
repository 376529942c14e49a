package simulator

import (
	"slices"
	"strings"
)

// compile turns a term into a predicate, nil when an instance could make
// nothing of it. The operators are those of the vendor's operator page.
func (s *Server) compile(t term, def *tableDef, who *caller) predicate {
	f := s.walk(def, t.field)
	if f == nil {
		return nil
	}
	read := func(r Record) string { return s.value(def, r, t.field) }
	switch t.op {
	case "ISEMPTY", "EMPTYSTRING":
		return func(r Record) bool { return read(r) == "" }
	case "ISNOTEMPTY":
		return func(r Record) bool { return read(r) != "" }
	case "ANYTHING":
		return func(Record) bool { return true }
	case "LIKE", "NOT LIKE", "STARTSWITH", "ENDSWITH":
		return s.compileText(t, def, f, read)
	case "SAMEAS", "NSAMEAS":
		return s.compileSame(t, def, f, read)
	case "DYNAMIC":
		if f.target != "sys_user" || !slices.Contains(s.cfg.DynamicMe, t.value) {
			return nil
		}
		return func(r Record) bool { return read(r) == who.sysID }
	case "IN", "NOT IN":
		list := strings.Split(t.value, ",")
		return func(r Record) bool { return slices.Contains(list, read(r)) == (t.op == "IN") }
	case "BETWEEN":
		low, high, both := strings.Cut(t.value, "@")
		from, okFrom := s.literal(low, who)
		to, okTo := s.literal(high, who)
		if !both || !okFrom || !okTo {
			return nil
		}
		return func(r Record) bool {
			v := read(r)
			return v != "" && compare(f, v, from) >= 0 && compare(f, v, to) <= 0
		}
	case "=", "!=", "<", "<=", ">", ">=":
		want, ok := s.literal(t.value, who)
		if !ok {
			return nil
		}
		return compileOrder(t.op, want, f, read)
	}
	if f.kind != timeField {
		return nil
	}
	return s.compileTime(t, def, who, read)
}

// compileText compares text; of a reference it is the name people see.
func (s *Server) compileText(t term, def *tableDef, f *fieldDef, read func(Record) string) predicate {
	if f.kind == referenceField {
		name := t.field + "." + s.schema[f.target].display
		read = func(r Record) string { return s.value(def, r, name) }
	}
	switch t.op {
	case "STARTSWITH":
		return func(r Record) bool { return strings.HasPrefix(read(r), t.value) }
	case "ENDSWITH":
		return func(r Record) bool { return strings.HasSuffix(read(r), t.value) }
	}
	return func(r Record) bool { return strings.Contains(read(r), t.value) == (t.op == "LIKE") }
}

// compileSame compares two fields; "@day" after the other one compares dates.
func (s *Server) compileSame(t term, def *tableDef, f *fieldDef, read func(Record) string) predicate {
	other, unit, _ := strings.Cut(t.value, "@")
	g := s.walk(def, other)
	if g == nil || unit != "" && (unit != "day" || f.kind != timeField || g.kind != timeField) {
		return nil
	}
	return func(r Record) bool {
		a, b := read(r), s.value(def, r, other)
		if unit == "day" {
			a, _, _ = strings.Cut(a, " ")
			b, _, _ = strings.Cut(b, " ")
		}
		return (a == b) == (t.op == "SAMEAS")
	}
}

func compileOrder(op, want string, f *fieldDef, read func(Record) string) predicate {
	switch op {
	case "=":
		return func(r Record) bool { return read(r) == want }
	case "!=":
		return func(r Record) bool { return read(r) != want }
	}
	return func(r Record) bool {
		v := read(r)
		if v == "" {
			// An empty column is NULL to the database and in no order at all.
			return false
		}
		c := compare(f, v, want)
		switch op {
		case "<":
			return c < 0
		case "<=":
			return c <= 0
		case ">":
			return c > 0
		}
		return c >= 0
	}
}
