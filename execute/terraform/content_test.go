package terraform

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"pgregory.net/rapid"

	"github.com/fettleops/fettle/ops"
)

func newReader() *reader { return &reader{key: []byte("key"), hidden: map[string]bool{}} }

func parsePlan(t *testing.T, changes string) draft {
	t.Helper()
	d := draft{Plan: &tfjson.Plan{}}
	d.UseJSONNumber(true)
	if err := json.Unmarshal([]byte(`{"format_version":"1.2","resource_changes":[`+changes+`]}`), d.Plan); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestActionsOfAPlan(t *testing.T) {
	f := func(changes, want string) {
		t.Helper()
		rd := newReader()
		if got := strings.TrimSuffix(render(rd.actions(parsePlan(t, changes)), nil), "\n"); got != want {
			t.Errorf("%s\nis rendered as\n%s\nwant\n%s", changes, got, want)
		}
	}
	change := func(address, actions, rest string) string {
		return fmt.Sprintf(`{"address":%q,"mode":"managed","change":{"actions":%s,%s}}`, address, actions, rest)
	}
	f(change("a.b", `["no-op"]`, `"before":{"x":1},"after":{"x":1}`), "Plan: 0 to add, 0 to change, 0 to destroy.")
	f(`{"address":"data.a.b","mode":"data","change":{"actions":["read"],"before":null,"after":{}}}`, "Plan: 0 to add, 0 to change, 0 to destroy.")
	f(change("a.b", `["update"]`, `"before":{"x":1,"same":"s","t":{"Name":"web","a.b":1},"l":[1,2]},"after":{"x":2,"same":"s","t":{"Name":"db","a.b":2},"l":[1]}`),
		"~ a.b\n    - l[1]: 2\n    ~ t.Name: \"web\" -> \"db\"\n    ~ t[\"a.b\"]: 1 -> 2\n    ~ x: 1 -> 2\nPlan: 0 to add, 1 to change, 0 to destroy.")
	f(change("a.b", `["create"]`, `"before":null,"after":{"n":null,"e":{},"big":12345678901234567890},"after_unknown":{"id":true,"net":[{"ip":true}]}`),
		"+ a.b\n    + big: 12345678901234567890\n    + e: {}\n    + id: (known after apply)\n    + net[0].ip: (known after apply)\nPlan: 1 to add, 0 to change, 0 to destroy.")
	f(change("a.b", `["create","delete"]`, `"before":{"x":1},"after":{"x":2}`), "+/- a.b\n    ~ x: 1 -> 2\nPlan: 1 to add, 0 to change, 1 to destroy.")
	f(change("a.b", `["delete"]`, `"before":{"x":1},"after":null`), "- a.b\n    - x: 1\nPlan: 0 to add, 0 to change, 1 to destroy.")
	f(change("a.b", `["no-op"]`, `"before":{"x":1},"after":{"x":1},"importing":{"id":"i-1"}`), "<- a.b\n    + id: i-1\nPlan: 0 to add, 0 to change, 0 to destroy, 1 to import.")
	f(`{"address":"a.c","previous_address":"a.b","mode":"managed","change":{"actions":["no-op"],"before":{},"after":{}}}`,
		"-> a.c\n    ~ address: a.b -> a.c\nPlan: 0 to add, 0 to change, 0 to destroy, 1 to move.")
	f(change("a.b", `["forget"]`, `"before":{"x":1},"after":null`), ". a.b\n    - x: 1\nPlan: 0 to add, 0 to change, 0 to destroy, 1 to forget.")
}

// Wherever a sensitive value stands, marked or not, it is compared and not shown.
func TestSensitiveValues(t *testing.T) {
	one := func(password string) ([]ops.PlanAction, string) {
		rd := newReader()
		a := rd.actions(parsePlan(t, fmt.Sprintf(`{"address":"a.b","mode":"managed","change":{"actions":["update"],
			"before":{"p":"old-one","o":"url?p=old-one","u":{"deep":["x"]}},"after":{"p":%q,"o":"url?p=%s","u":{"deep":["y"]}},
			"before_sensitive":{"p":true,"u":true},"after_sensitive":{"p":true,"u":true}}}`, password, password)))
		return a, render(a, nil)
	}
	first, text := one("new-one")
	again, _ := one("new-one")
	other, _ := one("new-two")
	if a, b, c := (ops.Plan{Actions: first}).ComputeDigest(), (ops.Plan{Actions: again}).ComputeDigest(), (ops.Plan{Actions: other}).ComputeDigest(); a != b || a == c {
		t.Errorf("digests of equal and of other secrets: %s %s %s", a, b, c)
	}
	if strings.Contains(fmt.Sprint(first), "-one") || strings.Count(text, sensitivePrefix) != 6 {
		t.Errorf("shown is\n%s", text)
	}
	unkeyed := &reader{key: []byte("another"), hidden: map[string]bool{}}
	if unkeyed.hide("new-one") == newReader().hide("new-one") {
		t.Error("the hash can be guessed without the key")
	}
}

func TestBeyond(t *testing.T) {
	update := func(attr, was, is string) ops.PlanAction {
		return ops.PlanAction{Resource: "a.b", Verb: "update", Before: map[string]string{attr: was}, After: map[string]string{attr: is}}
	}
	with := func(verb string) ops.PlanAction { return ops.PlanAction{Resource: "a.b", Verb: verb} }
	f := func(approved, now ops.PlanAction, want string) {
		t.Helper()
		got := beyond([]ops.PlanAction{approved}, []ops.PlanAction{now})
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("approved %+v, now %+v: %q, want %q", approved, now, got, want)
		}
	}
	f(update("x", "2", "1"), update("x", "2", "1"), "")
	f(update("x", "2", "1"), update("x", "2", "3"), "x of a.b would be 3; approved was 1")
	f(update("x", "2", "1"), update("x", "3", "1"), "x of a.b would be 3; approved was 2")
	f(update("x", "2", "1"), update("y", "2", "1"), "not approved to change")
	f(update("x", "2", "1"), update("x", "2", unknownValue), "")
	f(update("x", unknownValue, unknownValue), update("x.deep[0]", "2", "1"), "")
	f(update("x", "2", "1"), with("delete"), "it would delete a.b; approved was to update it")
	f(update("x", "2", "1"), with("replace"), "it would replace a.b")
	f(with("replace"), with("create"), "")
	f(with("delete"), with("create"), "it would create a.b")
	f(with("delete"), ops.PlanAction{Resource: "a.c", Verb: "delete"}, "it would delete a.c, which was not approved")
	f(with("delete"), ops.PlanAction{Resource: "output.x", Verb: "update"}, "")
}

func TestNoInverse(t *testing.T) {
	for _, verb := range []string{verbImport, verbMove, verbForget, "create+forget"} {
		if got, why := inverse([]ops.PlanAction{{Resource: "a.b", Verb: verb}}); got != nil || !strings.Contains(why, "a.b") {
			t.Errorf("%s: %v, %q", verb, got, why)
		}
	}
}

// Going back is accepted exactly when it does what was foreseen: for any world
// before and after, the plan that leads back stays within the inverse of the
// plan that led there, and one that leads anywhere else does not.
func TestInverseProperty(t *testing.T) {
	type state map[string]map[string]string
	states := rapid.MapOfN(rapid.SampledFrom([]string{"a.a", "a.b", "a.c"}), rapid.MapOfN(
		rapid.SampledFrom([]string{"x", "y", "z"}), rapid.SampledFrom([]string{"1", "2", "3"}), 1, 3), 0, 3)
	between := func(from, to state) []ops.PlanAction {
		var out []ops.PlanAction
		for _, name := range slices.Sorted(maps.Keys(merged2(from, to))) {
			was, had := from[name]
			is, has := to[name]
			a := ops.PlanAction{Resource: name, Before: map[string]string{}, After: map[string]string{}}
			for k, v := range was {
				if is[k] != v {
					a.Before[k] = v
				}
			}
			for k, v := range is {
				if was[k] != v {
					a.After[k] = v
				}
			}
			switch {
			case had && has && len(a.Before)+len(a.After) == 0:
				continue
			case had && has:
				a.Verb = "update"
			case had:
				a.Verb = "delete"
			default:
				a.Verb = "create"
			}
			out = append(out, a)
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after, elsewhere := state(states.Draw(t, "before")), state(states.Draw(t, "after")), state(states.Draw(t, "elsewhere"))
		approved, why := inverse(between(before, after))
		if why != "" {
			t.Fatal(why)
		}
		if why := beyond(approved, between(after, before)); why != "" {
			t.Fatalf("the way back is refused: %s", why)
		}
		other := between(after, elsewhere)
		for _, a := range other {
			for k, v := range a.After {
				if before[a.Resource][k] != v && beyond(approved, other) == "" {
					t.Fatalf("%s of %s would be set to %s, which it never was, by\n%v\napproved was\n%v", k, a.Resource, v, other, approved)
				}
			}
		}
	})
}

func merged2(a, b map[string]map[string]string) map[string]map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

func TestWhoHoldsTheLock(t *testing.T) {
	f := func(detail, want string) {
		t.Helper()
		if got, held := lockHolder(diagnostic{Detail: detail}); got != want || held != (want != "") {
			t.Errorf("%q: %q, want %q", detail, got, want)
		}
	}
	f("Error message: resource temporarily unavailable\nLock Info:\n  ID:        656b\n  Path:      terraform.tfstate\n  Operation: OperationTypeApply\n  Who:       root@vm\n  Version:   1.11.4\n  Created:   2026-11-21 22:25:57 +0000 UTC\n  Info:      \n",
		"root@vm (OperationTypeApply, since 2026-11-21 22:25:57 +0000 UTC, lock 656b)")
	f("Error message: 2 problems: Unsupported state file format", "")
}

func FuzzTranscript(f *testing.F) {
	f.Add(`{"@level":"info","@message":"Apply complete!","type":"change_summary","changes":{"operation":"apply"}}` + "\n")
	f.Add(`{"@level":"error","@message":"Error: x","type":"diagnostic","diagnostic":{"severity":"error","summary":"x"}}` + "\npanic: x\n")
	f.Add(`{"type":"diagnostic","diagnostic":{"severity":""}}` + "\n{\n")
	f.Fuzz(func(t *testing.T, text string) {
		var out strings.Builder
		tr := &transcript{out: &out, mask: func(s string) string { return s }}
		for line := range strings.Lines(text) {
			tr.line([]byte(strings.TrimSuffix(line, "\n")))
		}
		if tr.complete && !strings.Contains(text, "change_summary") {
			t.Errorf("%q is taken for a success", text)
		}
	})
}
