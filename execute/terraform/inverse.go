package terraform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// inverse returns what going back does, attribute by attribute. It is true only
// when the configuration gone back to describes what stands now, which the
// caller has proven by a plan without changes. Not every action has one; the
// sentence says why.
func inverse(actions []ops.PlanAction) ([]ops.PlanAction, string) {
	var out []ops.PlanAction
	for _, a := range actions {
		back := ops.PlanAction{Resource: a.Resource, Verb: a.Verb, Replace: a.Replace, Before: map[string]string{}, After: map[string]string{}}
		switch {
		case strings.Contains(a.Resource, " (deposed object "):
			continue // nothing refers to what a broken replacement left behind
		case a.Verb == "create":
			back.Verb = "delete"
		case a.Verb == "delete":
			back.Verb = "create"
		case a.Verb != "update" && a.Verb != "replace":
			return nil, fmt.Sprintf("%s of %s has no way back by a plan", a.Verb, a.Resource)
		}
		for k, v := range a.After {
			back.Before[k] = v
		}
		for k, v := range a.Before {
			if isUnknown(a.After[k]) {
				v = a.After[k] // computed, and computed anew on the way back
			}
			back.After[k] = v
		}
		out = append(out, back)
	}
	return out, ""
}

// isUnknown reports whether v stands for a value that only an apply brings, or
// that one took away.
func isUnknown(v string) bool {
	return v == unknownValue || v == sensitivePrefix+unknownValue || v == presentValue
}

// beyond says what a plan would do that was not approved; empty when nothing.
// It may do less, because an apply that failed half-way has less to be undone,
// and a value that was not known when the plan was approved may be anything.
func beyond(approved, now []ops.PlanAction) string {
	for _, a := range now {
		if strings.HasPrefix(a.Resource, outputPrefix) || strings.Contains(a.Resource, " (deposed object ") {
			continue // no resource; and what a broken replacement left behind goes with any apply
		}
		i := slices.IndexFunc(approved, func(p ops.PlanAction) bool { return p.Resource == a.Resource })
		if i < 0 {
			return fmt.Sprintf("it would %s %s, which was not approved", a.Verb, a.Resource)
		}
		p := approved[i]
		half := p.Verb == "replace" && (a.Verb == "create" || a.Verb == "delete") // the other half was not reached
		if p.Verb != a.Verb && !half {
			return fmt.Sprintf("it would %s %s; approved was to %s it", a.Verb, a.Resource, p.Verb)
		}
		if why := otherwise(a.Resource, p.After, a.After, a.Verb == p.Verb); why != "" {
			return why
		}
		if a.Verb == p.Verb {
			if why := otherwise(a.Resource, p.Before, a.Before, false); why != "" {
				return why
			}
		}
	}
	return ""
}

// otherwise compares attributes. A strict comparison also refuses one that was
// not approved to change at all.
func otherwise(resource string, approved, now map[string]string, strict bool) string {
	for k, v := range now {
		was, known := approved[k]
		switch {
		case isUnknown(v) || isUnknown(was) || within(approved, k):
		case known && was != v:
			return fmt.Sprintf("%s of %s would be %s; approved was %s", k, resource, v, was)
		case !known && strict:
			return fmt.Sprintf("%s of %s would become %s; it was not approved to change", k, resource, v)
		}
	}
	return ""
}

// within reports whether k is a part of a value that was not known.
func within(approved map[string]string, k string) bool {
	for path, v := range approved {
		if isUnknown(v) && partOf(k, path) {
			return true
		}
	}
	return false
}
