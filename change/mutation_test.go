package change_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/peer"
)

// mutations lists every guard, what the gate does without it, and a sequence
// that shows it: with the guard the oracle is silent, without it the oracle
// names the broken property. When the players change, sequences move: the long
// test names those that now show a guard.
var mutations = []struct {
	guard, broken string
	seed          uint64
}{
	{"a plan matches its digest", "asks approval of a plan that is not what its digest says", 39},
	{"only a person decides", "counts services and the system", 48},
	{"who requested it does not decide", "lets people approve what they asked for", 7},
	{"who edited it does not decide", "lets people approve what they changed", 44},
	{"the awaited role decides", "counts anybody", 2},
	{"an owner decides about the own team", "counts owners of other teams", 49},
	{"a person approves once", "counts one person twice", 15},
	{"the digest that was shown is the one that stands", "takes a decision about another plan", 569},
	{"an expired request is not answered", "counts decisions after the end of the request", 597},
	{"only standard changes are approved automatically", "approves normal changes by policy", 1},
	{"high risk needs two persons", "follows the rule whatever the risk", 7},
	{"a delegate decides within the span", "lets a delegation go on for ever", 71},
	{"a delegate does not decide for who requested or edited it", "lets the requester approve by a delegate", 8},
	{"a platform's decision counts once", "answers a decision as often as it is told", 68},
	{"a platform's decision is about the digest that stands", "counts decisions about an old plan", 142},
	{"a platform's decision is about the revision that stands", "counts decisions about an old revision", 179},
	{"a platform's decision comes after the digest was written", "counts decisions from before the plan was shown", 198},
	{"an approval is given in the platform its rule names", "counts approvals from anywhere", 550},
	{"only the requester or a change manager withdraws", "lets anybody withdraw", 42},
	{"only cloud operations give a window", "takes a window from anybody", 6},
	{"an edited change is no longer standard", "approves by policy what a person has edited", 150},
	{"a start lies inside a window", "starts at any time", 1},
	{"an offered window holds while it stands", "starts in configured windows although a time was given", 72},
	{"a start leaves the time to roll back", "reckons with the time for applying only", 36},
	{"a freeze denies", "starts in a freeze", 10},
	{"the switch stops a start", "starts while execution is stopped", 71},
	{"a resource has one run at a time", "starts a second run on a resource", 102},
	{"automated starts are limited", "starts as often as it is asked", 138},
	{"touched resources are limited", "touches every resource", 1429},
	{"runs at a time are limited", "runs everything at once", 81},
	{"runs of a service at a time are limited", "runs all of a service at once", 544},
	{"runs in an account at a time are limited", "runs all of an account at once", 509},
	{"what a resource depends on goes first", "starts in any order", 8},
	{"glass is broken by the freeze's roles", "lets anybody override a freeze", 32},
	{"glass is broken by two persons", "lets one person override a freeze", 8},
	{"who requested it breaks no glass", "lets the requester override a freeze", 85},
	{"broken glass demands a review", "closes as if nothing had been overridden", 544},
	{"another person signs the review", "lets those who broke the glass review it", 968},
	{"the switch stops a roll-back", "rolls back while execution is stopped", 11},
	{"a roll-back lies inside the window", "rolls back after the window", 144},
	{"a freeze denies a roll-back", "rolls back in a freeze", 4480},
}

// elsewhere lists the guards that only a state which the gate cannot reach by
// itself would need, and the test that shows each.
var elsewhere = map[string]string{"only an approved plan starts": "TestStartNeedsTheApprovals"}

// Every guard in guard.go is in one of the tables.
func TestEveryGuardHasAMutation(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "guard.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	left := maps.Clone(elsewhere)
	for _, m := range mutations {
		left[m.guard] = m.broken
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			name, _ := strconv.Unquote(l.Value)
			if _, listed := left[name]; !listed {
				t.Errorf("the guard %q has no mutation", name)
			}
			delete(left, name)
		}
		return true
	})
	for name := range left {
		t.Errorf("there is no guard %q", name)
	}
}

// TestSafetyMutations breaks each guard, one at a time, and wants it noticed.
func TestSafetyMutations(t *testing.T) {
	most := uint64(1_000)
	if peer.Proving() {
		most = 20_000
	}
	laws := newLaws(t)
	for _, m := range mutations {
		t.Run(m.guard, func(t *testing.T) {
			t.Parallel()
			try := func(seed uint64) bool {
				_, err := play(t, laws, seed, m.guard)
				return err != nil && strings.Contains(err.Error(), "safety property")
			}
			if try(m.seed) {
				return
			}
			for seed := uint64(1); seed <= most; seed++ {
				if try(seed) {
					t.Logf("%q is shown by sequence %d now, no longer by %d", m.guard, seed, m.seed)
					return
				}
			}
			t.Errorf("a gate that %s is not noticed in %d sequences", m.broken, most)
		})
	}
}
