package simulator

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// encodedQuery is the text of sysparm_query taken apart, before anybody knows
// which fields exist.
type encodedQuery struct {
	// sets are OR-ed (^NQ); each is an AND of groups, each an OR of terms (^OR).
	sets    [][][]term
	order   []ordering
	invalid int
}

// term is one condition as written.
type term struct {
	field, op, value string
}

type ordering struct {
	field      string
	descending bool
}

// operators in an order that finds the longest first. IN_HIERARCHY is known
// only so that it is not read as IN.
var operators = []string{
	"IN_HIERARCHY", "EMPTYSTRING", "ISNOTEMPTY", "STARTSWITH", "RELATIVEGT", "RELATIVELT",
	"NOT LIKE", "ENDSWITH", "DATEPART", "MORETHAN", "LESSTHAN", "ANYTHING",
	"BETWEEN", "DYNAMIC", "NSAMEAS", "ISEMPTY", "NOT IN", "SAMEAS", "NOTON",
	"LIKE", "IN", "ON", "!=", "<=", ">=", "=", "<", ">",
}

// parseQuery reads an encoded query. It never fails: a part that makes no
// sense is counted and left out, which widens the result, as on an instance.
func parseQuery(text string) encodedQuery {
	var q encodedQuery
	var set [][]term
	begun := false
	endSet := func() {
		if begun {
			q.sets = append(q.sets, set)
		}
		set, begun = nil, false
	}
	for _, part := range splitParts(text) {
		switch {
		case part == "" || part == "EQ" || strings.HasPrefix(part, "GROUPBY"):
			continue
		case strings.HasPrefix(part, "ORDERBYDESC"):
			q.order = append(q.order, ordering{strings.TrimPrefix(part, "ORDERBYDESC"), true})
			continue
		case strings.HasPrefix(part, "ORDERBY"):
			q.order = append(q.order, ordering{strings.TrimPrefix(part, "ORDERBY"), false})
			continue
		}
		alternative := false
		if rest, found := strings.CutPrefix(part, "NQ"); found {
			endSet()
			part = rest
		} else if rest, found := strings.CutPrefix(part, "OR"); found {
			alternative, part = true, rest
		}
		begun = true
		t, ok := parseTerm(part)
		if !ok {
			q.invalid++
			continue
		}
		if alternative && len(set) > 0 {
			set[len(set)-1] = append(set[len(set)-1], t)
			continue
		}
		set = append(set, []term{t})
	}
	endSet()
	return q
}

// splitParts cuts at ^ and turns ^^ into a ^ of the value.
func splitParts(text string) []string {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '^':
			b.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == '^':
			b.WriteByte('^')
			i++
		default:
			parts = append(parts, b.String())
			b.Reset()
		}
	}
	return append(parts, b.String())
}

// parseTerm splits a condition into field, operator and value. Field names are
// lower case, so the operator begins where they end.
func parseTerm(part string) (term, bool) {
	if !utf8.ValidString(part) {
		return term{}, false
	}
	end := strings.IndexFunc(part, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '.'
	})
	if end <= 0 {
		return term{}, false
	}
	field, rest := part[:end], part[end:]
	for _, op := range operators {
		if value, found := strings.CutPrefix(rest, op); found {
			return term{field, op, value}, true
		}
	}
	return term{}, false
}

// boundQuery is a query that knows its table.
type boundQuery struct {
	server *Server
	def    *tableDef
	sets   [][][]predicate
	order  []ordering
	// none is set when an invalid part makes the instance return nothing.
	none bool
}

// predicate decides about one record.
type predicate func(Record) bool

// bind resolves a query against a table for a caller. Terms on unknown fields,
// with unknown operators or unreadable values are ignored.
func (s *Server) bind(q encodedQuery, def *tableDef, who *caller) boundQuery {
	b := boundQuery{server: s, def: def}
	invalid := q.invalid
	for _, set := range q.sets {
		var groups [][]predicate
		for _, group := range set {
			var known []predicate
			for _, t := range group {
				if p := s.compile(t, def, who); p != nil {
					known = append(known, p)
				} else {
					invalid++
				}
			}
			if known != nil {
				groups = append(groups, known)
			}
		}
		b.sets = append(b.sets, groups)
	}
	for _, o := range q.order {
		if s.walk(def, o.field) != nil {
			b.order = append(b.order, o)
		}
	}
	b.none = invalid > 0 && s.cfg.InvalidQueryReturnsNoRows
	return b
}

// and narrows every set by one more condition.
func (b *boundQuery) and(p predicate) {
	if len(b.sets) == 0 {
		b.sets = [][][]predicate{nil}
	}
	for i := range b.sets {
		b.sets[i] = append(b.sets[i], []predicate{p})
	}
}

// matches reports whether a record fulfils the query. A query without a set is
// empty and matches all, and so does a set that lost its last condition.
func (b *boundQuery) matches(r Record) bool {
	if b.none {
		return false
	}
	holds := func(p predicate) bool { return p(r) }
	fulfils := func(set [][]predicate) bool {
		return !slices.ContainsFunc(set, func(group []predicate) bool { return !slices.ContainsFunc(group, holds) })
	}
	return len(b.sets) == 0 || slices.ContainsFunc(b.sets, fulfils)
}

// sort orders rows in place; equal rows stay as they were.
func (b *boundQuery) sort(rows []*row) {
	if len(b.order) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(x, y *row) int {
		for _, o := range b.order {
			f := b.server.walk(b.def, o.field)
			c := compare(f, b.server.value(b.def, x.values, o.field), b.server.value(b.def, y.values, o.field))
			if o.descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

// compare orders two values of a field: numbers by size, all else by bytes.
func compare(f *fieldDef, a, b string) int {
	if f.kind == integerField {
		x, errX := strconv.ParseInt(a, 10, 64)
		y, errY := strconv.ParseInt(b, 10, 64)
		if errX == nil && errY == nil {
			return cmp.Compare(x, y)
		}
	}
	return strings.Compare(a, b)
}
