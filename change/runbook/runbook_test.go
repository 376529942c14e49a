package runbook_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fettleops/fettle/change/runbook"
	"github.com/fettleops/fettle/ops"
)

func highCPU() runbook.Config {
	return runbook.Config{Name: "high-cpu", Trigger: `alert.rule == "high-cpu"`, Steps: []runbook.Step{
		{When: "value > 0.90", Executor: "aws", Action: "scale_up"},
		{When: "value > 0.80 && value <= 0.90", Executor: "host", Action: "kill"},
	}}
}

func TestTriggered(t *testing.T) {
	r, err := runbook.Compile(highCPU())
	if err != nil {
		t.Fatal(err)
	}
	f := func(a ops.Alert, i ops.Incident, want bool) {
		t.Helper()
		if got, err := r.Triggered(a, i); err != nil || got != want {
			t.Errorf("%+v in %+v: %v, %v, want %v", a, i, got, err, want)
		}
	}
	f(ops.Alert{Rule: "high-cpu", State: ops.Firing}, ops.Incident{}, true)
	f(ops.Alert{Rule: "low-disk", State: ops.Firing}, ops.Incident{}, false)
	f(ops.Alert{Rule: "high-cpu", State: ops.Resolved}, ops.Incident{}, false)
	f(ops.Alert{Rule: "high-cpu", State: ops.Firing, Test: true}, ops.Incident{}, false) // a test is never the cause of a change
	f(ops.Alert{Rule: "high-cpu", State: ops.Firing}, ops.Incident{Muted: "maintenance"}, false)
}

func TestChoose(t *testing.T) {
	r, err := runbook.Compile(highCPU())
	if err != nil {
		t.Fatal(err)
	}
	f := func(value float64, want string) {
		t.Helper()
		s, why, ok, err := r.Choose(ops.Alert{}, &value)
		if err != nil || s.Action != want || ok != (want != "") || why == "" {
			t.Errorf("%v: %q %v %q %v, want %q", value, s.Action, ok, why, err, want)
		}
	}
	f(0.95, "scale_up")
	f(0.90, "kill")
	f(0.85, "kill")
	f(0.10, "")
	if _, _, ok, _ := r.Choose(ops.Alert{}, nil); ok {
		t.Error("a step with a condition was taken on an unknown value")
	}
}

func TestCompileExplainsWhatIsWrong(t *testing.T) {
	f := func(c runbook.Config, want string) {
		t.Helper()
		if _, err := runbook.Compile(c); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	c := highCPU()
	c.Trigger = "alert.rul == 'x'"
	f(c, `did you mean "rule"`)
	c = highCPU()
	c.Steps = nil
	f(c, "no steps")
	c = highCPU()
	c.Steps[1].When = "valu > 1"
	f(c, `step 2: when: policy: "valu > 1" at 1:1: there is no "valu" here, did you mean "value"`)
	risky := 1.5
	c = highCPU()
	c.Risk = &risky
	f(c, "risk 1.5")
}
