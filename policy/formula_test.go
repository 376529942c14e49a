package policy_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

func TestFormula(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	f := func(text string, a, b, want float64) {
		t.Helper()
		p, err := policy.CompileFormula(text, []string{"a", "b"})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Value([]float64{a, b}); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s of %v, %v = %v, want %v", text, a, b, got, want)
		}
	}
	f("1.0 - a / b", 1, 4, 0.75)
	f("b > 0.0 ? a / b : 0.0", 1, 0, 0)
	f("b > 0 ? a : 0.0", 3, 1, 3)
	f("-a", 2, nan, -2) // what is not read may be missing
	f("a + b", 1, nan, nan)
	f("a / b", 1, 0, nan) // infinite is no value
	f("a + b", inf, 1, nan)
	f("double(1 / 0) + a", 1, 1, nan)
}

func TestFormulaReads(t *testing.T) {
	p, err := policy.CompileFormula("c - a * c", []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Reads(); len(r) != 2 || r[0] != 0 || r[1] != 2 {
		t.Errorf("reads %v, want a and c", r)
	}
}

func TestFormulaFaults(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := policy.CompileFormula(text, []string{"idle", "total"})
		if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an invalid error with %q", text, err, want)
		}
	}
	f(" ", "is empty")
	f("1 - idle", "1.0, not 1")
	f("1.0 - idl", `did you mean "idle"`)
	f("1.0 - somewhere_else", "only idle, total")
	f("idle > total", "not a number")
	f("idle +", "is wrong")
}

func TestMatchMetric(t *testing.T) {
	f := func(expr string, want bool) {
		t.Helper()
		p, err := policy.Compile(policy.Metric, expr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Match(policy.Vars{Metric: &policy.Series{Name: "node_load1", Unit: "1", Labels: map[string]string{"job": "node", "host.name": "web-1"}}})
		if err != nil || got != want {
			t.Errorf("%s = %v, %v, want %v", expr, got, err, want)
		}
	}
	f(`metric.name.startsWith("node_")`, true)
	f(`metric.labels.job == "node" && metric.unit == "1"`, true)
	f(`metric.labels["host.name"].startsWith("web")`, true)
	f(`metric.labels.device == ""`, true)
	f(`has(metric.labels.device)`, false)
}

func BenchmarkFormula(b *testing.B) {
	p, err := policy.CompileFormula("1.0 - idle / total", []string{"idle", "total"})
	if err != nil {
		b.Fatal(err)
	}
	values := []float64{1, 4}
	b.ReportAllocs()
	for b.Loop() {
		if p.Value(values) != 0.75 {
			b.Fatal("wrong")
		}
	}
}
