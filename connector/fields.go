package connector

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Fields lists the fields every ticket has, in the order they are shown.
var Fields = []Field{
	Title, Description, State, Severity, Group, Assignee, Resource, ResolveCode, ResolveNote,
	Type, Risk, PlannedStart, PlannedEnd, ActualStart, ActualEnd, Plan, PlanText, Rollback,
}

// times are the fields that hold one, with where.
var times = map[Field]func(*ops.TicketFields) *time.Time{
	PlannedStart: func(t *ops.TicketFields) *time.Time { return &t.PlannedStart },
	PlannedEnd:   func(t *ops.TicketFields) *time.Time { return &t.PlannedEnd },
	ActualStart:  func(t *ops.TicketFields) *time.Time { return &t.ActualStart },
	ActualEnd:    func(t *ops.TicketFields) *time.Time { return &t.ActualEnd },
}

// Stamp writes a time as a value of a field: RFC 3339 in UTC to the second,
// empty for none.
func Stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

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
	case Type:
		return string(t.Type)
	case Risk:
		return string(t.Risk)
	case Plan:
		return t.Plan
	case PlanText:
		return t.PlanText
	case Rollback:
		return t.Rollback
	}
	if at, ok := times[f]; ok {
		return Stamp(*at(&t))
	}
	if name, ok := f.Extra(); ok {
		return t.Extra[name]
	}
	return ""
}

// parseStamp reads what Stamp wrote; anything else is no time.
func parseStamp(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// With returns t with one field set; t itself is not changed. A value of a
// time is written as Stamp does.
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
	case Type:
		t.Type = ops.ChangeType(value)
	case Risk:
		t.Risk = ops.RiskWord(value)
	case Plan:
		t.Plan = value
	case PlanText:
		t.PlanText = value
	case Rollback:
		t.Rollback = value
	default:
		if at, ok := times[f]; ok {
			*at(&t) = parseStamp(value)
			return t
		}
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
