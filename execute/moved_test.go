package execute_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

func TestMoved(t *testing.T) {
	base := func() ops.Plan {
		return ops.Plan{
			Executor: "e", Tool: "t", Target: "here", Config: "c", Inputs: map[string]string{"decision": "restart"},
			Actions: []ops.PlanAction{
				{Resource: "shop", Verb: "update", Before: map[string]string{"size": "2"}, After: map[string]string{"size": "4"}},
				{Resource: "mail", Verb: "run", Args: []string{"/bin/x", "a b"}},
			},
		}
	}
	f := func(name string, edit func(p *ops.Plan), want string) {
		t.Helper()
		now := base()
		edit(&now)
		if got := execute.Moved(base(), now); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("nothing", func(*ops.Plan) {}, "")
	f("what does not count", func(p *ops.Plan) { p.ID, p.Text, p.ApplySecs = "other", "other", 7 }, "")
	f("target", func(p *ops.Plan) { p.Target = "there" }, "target:\n- here\n+ there")
	f("configuration", func(p *ops.Plan) { p.Config = "d" }, "executor configuration:\n- c\n+ d")
	f("decision", func(p *ops.Plan) { p.Inputs = nil }, "measured decision:\n- restart\n+ (nothing)")
	f("attribute", func(p *ops.Plan) { p.Actions[0].Before["size"] = "3" }, "shop before size:\n- 2\n+ 3")
	f("gone", func(p *ops.Plan) { p.Actions = p.Actions[:1] }, "mail:\n- run [\"/bin/x\" \"a b\"]\n+ (nothing)")
	f("replace", func(p *ops.Plan) { p.Actions[0].Replace = true }, "shop:\n- update\n+ update, replacing it")
	f("rollback", func(p *ops.Plan) { p.Rollback = []ops.PlanAction{{Resource: "shop", Verb: "run"}} }, "rollback of shop:\n- (nothing)\n+ run")
	f("a second action of one resource", func(p *ops.Plan) { p.Actions = append(p.Actions, ops.PlanAction{Resource: "shop", Verb: "run"}) }, "shop (2):\n- (nothing)\n+ run")
}

// Whatever voids an approval can be said.
func TestMovedProperty(t *testing.T) {
	action := rapid.Custom(func(t *rapid.T) ops.PlanAction {
		attributes := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b"}), rapid.SampledFrom([]string{"1", "2"}), 0, 2)
		return ops.PlanAction{
			Resource: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "resource"),
			Verb:     rapid.SampledFrom([]string{"run", "update"}).Draw(t, "verb"),
			Replace:  rapid.Bool().Draw(t, "replace"),
			Before:   attributes.Draw(t, "before"),
			Args:     rapid.SliceOfN(rapid.SampledFrom([]string{"p", "q"}), 0, 2).Draw(t, "args"),
		}
	})
	plan := rapid.Custom(func(t *rapid.T) ops.Plan {
		return ops.Plan{
			Target:   rapid.SampledFrom([]string{"here", "there"}).Draw(t, "target"),
			Actions:  rapid.SliceOfN(action, 0, 3).Draw(t, "actions"),
			Rollback: rapid.SliceOfN(action, 0, 2).Draw(t, "rollback"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := plan.Draw(t, "a"), plan.Draw(t, "b")
		if same := a.ComputeDigest() == b.ComputeDigest(); same != (execute.Moved(a, b) == "") {
			t.Fatalf("equal digests: %v; moved: %q", same, execute.Moved(a, b))
		}
	})
}
