package execute

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// Moved says for people how the plan made now differs from the approved one:
// one line per difference, with - for what was approved and + for what it is
// now. It is empty exactly when both plans have the same digest content.
func Moved(approved, now ops.Plan) string {
	if approved.ComputeDigest() == now.ComputeDigest() {
		return ""
	}
	var b strings.Builder
	line := func(what, was, is string) {
		if was != is {
			fmt.Fprintf(&b, "%s:\n- %s\n+ %s\n", what, shown(was), shown(is))
		}
	}
	line("executor", approved.Executor, now.Executor)
	line("tool", approved.Tool, now.Tool)
	line("target", approved.Target, now.Target)
	line("executor configuration", approved.Config, now.Config)
	attributes(line, "measured ", approved.Inputs, now.Inputs)
	actions(line, "", approved.Actions, now.Actions)
	actions(line, "rollback of ", approved.Rollback, now.Rollback)
	if b.Len() == 0 {
		return "the order of the actions"
	}
	return strings.TrimRight(b.String(), "\n")
}

func actions(line func(what, was, is string), prefix string, was, is []ops.PlanAction) {
	was, is = numbered(was), numbered(is)
	old := map[string]ops.PlanAction{}
	var names []string
	for _, a := range was {
		old[a.Resource] = a
		names = append(names, a.Resource)
	}
	for _, a := range is {
		before, known := old[a.Resource]
		delete(old, a.Resource)
		what := prefix + a.Resource
		if !known {
			line(what, "", verb(a))
			continue
		}
		line(what, verb(before), verb(a))
		attributes(line, what+" before ", before.Before, a.Before)
		attributes(line, what+" after ", before.After, a.After)
	}
	for _, name := range names {
		if a, gone := old[name]; gone {
			line(prefix+name, verb(a), "")
		}
	}
}

// numbered gives the second and later actions of one resource names of their own.
func numbered(in []ops.PlanAction) []ops.PlanAction {
	seen := map[string]int{}
	out := slices.Clone(in)
	for i, a := range in {
		seen[a.Resource]++
		if n := seen[a.Resource]; n > 1 {
			out[i].Resource = fmt.Sprintf("%s (%d)", a.Resource, n)
		}
	}
	return out
}

func verb(a ops.PlanAction) string {
	s := a.Verb
	if a.Replace {
		s += ", replacing it"
	}
	if len(a.Args) > 0 {
		s += fmt.Sprintf(" %q", a.Args)
	}
	return s
}

func attributes(line func(what, was, is string), what string, was, is map[string]string) {
	keys := maps.Clone(was)
	if keys == nil {
		keys = map[string]string{}
	}
	maps.Copy(keys, is)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		line(what+k, was[k], is[k])
	}
}

func shown(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}
