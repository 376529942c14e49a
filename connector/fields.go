package connector

import (
	"maps"
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// Fields lists the fields every ticket has, in the order they are shown.
var Fields = []Field{Title, Description, State, Severity, Group, Assignee, Resource, ResolveCode, ResolveNote}

// ExtraField returns the name of a field of Extra.
func ExtraField(name string) Field { return Field(extraPrefix + name) }

// Extra returns the name within Extra and true when f is one of those.
func (f Field) Extra() (string, bool) { return strings.CutPrefix(string(f), extraPrefix) }

// Value returns a field of t, empty when it is not set.
func Value(t ops.TicketFields, f Field) string {
	switch f {
	case Title:
		return t.Title
	case Description:
		return t.Description
	case State:
		return t.State
	case Severity:
		return string(t.Severity)
	case Group:
		return t.Group
	case Assignee:
		return t.Assignee
	case Resource:
		return t.Resource
	case ResolveCode:
		return t.ResolveCode
	case ResolveNote:
		return t.ResolveNote
	}
	if name, ok := f.Extra(); ok {
		return t.Extra[name]
	}
	return ""
}

// With returns t with one field set; t itself is not changed.
func With(t ops.TicketFields, f Field, value string) ops.TicketFields {
	switch f {
	case Title:
		t.Title = value
	case Description:
		t.Description = value
	case State:
		t.State = value
	case Severity:
		t.Severity = ops.Severity(value)
	case Group:
		t.Group = value
	case Assignee:
		t.Assignee = value
	case Resource:
		t.Resource = value
	case ResolveCode:
		t.ResolveCode = value
	case ResolveNote:
		t.ResolveNote = value
	default:
		if name, ok := f.Extra(); ok {
			t.Extra = maps.Clone(t.Extra)
			if t.Extra == nil {
				t.Extra = map[string]string{}
			}
			t.Extra[name] = value
		}
	}
	return t
}

// Overlay returns seen with the named fields of want laid over it.
func Overlay(seen, want ops.TicketFields, fields []Field) ops.TicketFields {
	for _, f := range fields {
		seen = With(seen, f, Value(want, f))
	}
	return seen
}

// Diff returns the fields in which a and b differ, in the order they are
// shown. Line ends and space around a text do not count: platforms trim.
func Diff(a, b ops.TicketFields) []Field {
	var out []Field
	for _, f := range Fields {
		if plain(Value(a, f)) != plain(Value(b, f)) {
			out = append(out, f)
		}
	}
	names := map[string]bool{}
	for n := range a.Extra {
		names[n] = true
	}
	for n := range b.Extra {
		names[n] = true
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if plain(a.Extra[n]) != plain(b.Extra[n]) {
			out = append(out, ExtraField(n))
		}
	}
	return out
}

func plain(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
}
