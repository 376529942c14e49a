package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/fettleops/fettle/ops"
)

func TestCondition(t *testing.T) {
	f := func(text string, values, trends map[string]float64, holds, known bool) {
		t.Helper()
		c, err := CompileCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		h, k, err := c.Holds(values, trends)
		if err != nil || h != holds || k != known {
			t.Errorf("%s on %v: holds %t known %t %v, want %t %t", text, values, h, k, err, holds, known)
		}
	}
	f("cpu > 0.8", map[string]float64{"cpu": 0.9}, nil, true, true)
	f("cpu > 0.8", map[string]float64{"cpu": 0.8}, nil, false, true)
	f("cpu > 0.8", nil, nil, false, false)
	f("mem > 0.85 && trend.mem > 0.0", map[string]float64{"mem": 0.9}, map[string]float64{"mem": 0.1}, true, true)
	f("mem > 0.85 && trend.mem > 0.0", map[string]float64{"mem": 0.9}, map[string]float64{"mem": -0.1}, false, true)
	f("mem > 0.85 && trend.mem > 0.0", map[string]float64{"mem": 0.9}, nil, false, false)
}

func TestConditionFaults(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := CompileCondition(text)
		if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an invalid error with %q", text, err, want)
		}
	}
	f("", "is empty")
	f("cpu >", "Syntax error")
	f("1.0 > 0.5", "names no metric")
	f("cpu > 80", "80.0, not 80")
	f("cpu + 1.0", "not true or false")
}
