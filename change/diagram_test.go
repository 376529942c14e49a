package change_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/ops"
)

//go:generate go test -run TestDiagramIsCurrent -update .

var update = flag.Bool("update", false, "write docs/change.mmd instead of comparing it")

// diagram draws ops' table of moves.
func diagram() string {
	var b strings.Builder
	b.WriteString("%% Generated from ops/change.go by go generate ./change. Do not edit.\nstateDiagram-v2\n    [*] --> new\n")
	for _, from := range ops.ChangeStates {
		for _, to := range ops.ChangeMoves(from) {
			fmt.Fprintf(&b, "    %s --> %s\n", from, to)
		}
		if from.Terminal() {
			fmt.Fprintf(&b, "    %s --> [*]\n", from)
		}
	}
	b.WriteString("    state implement {\n        [*] --> queued\n")
	runs := []ops.RunState{ops.RunQueued, ops.RunRunning, ops.RunVerifying, ops.RunRollingBack, ops.RunHeld, ops.RunSucceeded, ops.RunFailed, ops.RunRolledBack}
	for _, from := range runs {
		for _, to := range ops.RunMoves(from) {
			fmt.Fprintf(&b, "        %s --> %s\n", from, to)
		}
		if from.Final() {
			fmt.Fprintf(&b, "        %s --> [*]\n", from)
		}
	}
	b.WriteString("    }\n")
	return b.String()
}

func TestDiagramIsCurrent(t *testing.T) {
	const path = "../docs/change.mmd"
	if *update {
		if err := os.WriteFile(path, []byte(diagram()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != diagram() {
		t.Errorf("%s is not what ops says (%v); run go generate ./change", path, err)
	}
}

// TestEveryStateCanEnd walks the table: nothing may lead into a dead end.
func TestEveryStateCanEnd(t *testing.T) {
	reaches := func(from string, next func(string) []string, end func(string) bool) bool {
		seen := []string{from}
		for i := 0; i < len(seen); i++ {
			if end(seen[i]) {
				return true
			}
			for _, n := range next(seen[i]) {
				if !slices.Contains(seen, n) {
					seen = append(seen, n)
				}
			}
		}
		return false
	}
	for _, s := range ops.ChangeStates {
		if !reaches(string(s), func(s string) (out []string) {
			for _, n := range ops.ChangeMoves(ops.ChangeState(s)) {
				out = append(out, string(n))
			}
			return out
		}, func(s string) bool { return ops.ChangeState(s).Terminal() }) {
			t.Errorf("change state %s leads nowhere", s)
		}
	}
	for _, s := range []ops.RunState{ops.RunQueued, ops.RunRunning, ops.RunVerifying, ops.RunRollingBack, ops.RunHeld} {
		if !reaches(string(s), func(s string) (out []string) {
			for _, n := range ops.RunMoves(ops.RunState(s)) {
				out = append(out, string(n))
			}
			return out
		}, func(s string) bool { return ops.RunState(s).Final() }) {
			t.Errorf("run state %s leads nowhere", s)
		}
	}
}
