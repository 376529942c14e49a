package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

func vars() policy.Vars {
	v := 0.93
	return policy.Vars{
		Alert: &ops.Alert{
			Rule: "high-cpu", Severity: ops.High, State: ops.Firing, StartsAt: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
			Labels: map[string]string{"env": "prod", "empty": ""}, Resource: ops.ResourceRef{ID: "r1", Aliases: []string{"host:web1"}},
			Context: ops.AlertContext{Metric: "cpu", Value: &v, Window: 5 * time.Minute},
			Links:   []ops.Link{{Title: "graph", URL: "https://example.com"}},
		},
		Incident: &ops.Incident{Severity: ops.Critical, Firing: 3, Labels: map[string]string{"service": "shop"}},
		Change:   &ops.Change{Type: ops.ChangeStandard, Risk: 0.1, Resource: "shop-db", Action: "restart", Args: []string{"-f"}},
		Resource: &ops.Resource{ID: "r1", Name: "shop-db", Labels: map[string]string{"env": "prod"}},
		Value:    0.93,
	}
}

func TestMatch(t *testing.T) {
	f := func(word policy.Word, expr string, want bool) {
		t.Helper()
		p, err := policy.Compile(word, expr)
		if err != nil {
			t.Errorf("compile %s: %v", expr, err)
			return
		}
		got, err := p.Match(vars())
		if err != nil || got != want {
			t.Errorf("%s = %v, %v, want %v", expr, got, err, want)
		}
	}
	f(policy.Incident, `incident.severity in ["critical", "high"]`, true)
	f(policy.Incident, `incident.firing > 2.5 && incident.labels.service.startsWith("sh")`, true)
	f(policy.Alert, `alert.rule == "high-cpu"`, true)
	f(policy.Alert, `alert.rule == "high-cpu" && incident.severity == "low"`, false)
	f(policy.Alert, `alert.resource.aliases.exists(a, a == "host:web1")`, true)
	f(policy.Alert, `alert.links.all(l, l.url.startsWith("https:"))`, true)
	f(policy.Alert, `alert.context.window >= duration("5m") && alert.starts_at < timestamp("2026-11-21T10:00:01Z")`, true)
	f(policy.Alert, `alert.context.value > 0.9`, true)
	f(policy.Step, `value > 0.90`, true)
	f(policy.Step, `value > 90`, false) // numbers of different types compare
	f(policy.Step, `value > 0.90 && value <= 0.95`, true)
	f(policy.Change, `change.type == "standard" && change.risk < 0.2`, true)
	f(policy.Change, `change.resource.labels.env == "prod" && resource.labels.env == "prod"`, true)
	f(policy.Change, `change.resource.name == "shop-db" && change.args == ["-f"]`, true)
	f(policy.Change, `change.plan_id == "" && change.window.window == ""`, true) // what is not there reads as empty
	f(policy.Resource, `resource.labels["env"] == "prod"`, true)
	f(policy.Resource, `size(resource.labels) == 1 && resource.labels.all(k, k == "env")`, true)

	// A missing key is empty, and can be told from an empty one.
	f(policy.Alert, `alert.labels.team == ""`, true)
	f(policy.Alert, `alert.labels.team != "cloud"`, true)
	f(policy.Alert, `has(alert.labels.team)`, false)
	f(policy.Alert, `has(alert.labels.empty)`, true)
	f(policy.Alert, `"team" in alert.labels`, false)
	f(policy.Alert, `"env" in alert.labels && has(alert.labels.env)`, true)
	f(policy.Alert, `alert.labels["x-y"] == ""`, true)
	f(policy.Alert, `alert.labels.team in ["", "cloud"]`, true)
}

func TestMatchWithoutValuesReadsEmpty(t *testing.T) {
	p, err := policy.Compile(policy.Change, `change.resource.labels.env == "" && change.risk == 0.0 && resource.id == ""`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := p.Match(policy.Vars{}); err != nil || !ok {
		t.Errorf("on no values: %v, %v", ok, err)
	}
}

func TestCompileExplainsWhatIsWrong(t *testing.T) {
	f := func(word policy.Word, expr string, want ...string) {
		t.Helper()
		_, err := policy.Compile(word, expr)
		if !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", expr, err)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", expr, err, w)
			}
		}
	}
	f(policy.Incident, `incident.severty == "high"`, `incident.severty`, `at 1:9`, `did you mean "severity"`)
	f(policy.Change, `true && change.resource.lables.env == "prod"`, `did you mean "labels"`)
	f(policy.Incident, `alert.rule == "x"`, `there is no "alert" here`, `incident`)
	f(policy.Alert, `alrt.rule == "x"`, `did you mean "alert"`)
	f(policy.Alert, `alert.rule`, `not true or false`)
	f(policy.Alert, `alert.rule = "x"`, `at 1:`)
	f(policy.Alert, `alert.rule == 1`, `at 1:12`)
	f(policy.Alert, ` `, `empty`)
	f(policy.Alert, strings.Repeat("true && ", 600)+"true", `at`)
	f(policy.Alert, `alert.links.all(a, alert.links.all(b, alert.links.all(c, alert.links.all(d, a.url == b.url))))`, `may cost`)
}

func TestMatchErrorsAreTheConfigurations(t *testing.T) {
	p, err := policy.Compile(policy.Change, `change.args[3] == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Match(vars()); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "change.args[3]") {
		t.Errorf("index out of range: %v", err)
	}
}

func BenchmarkMatch(b *testing.B) {
	p, err := policy.Compile(policy.Alert, `alert.severity in ["critical", "high"] && alert.labels.env == "prod" && alert.rule.startsWith("high") && alert.resource.id != "" && !(alert.labels.team == "web")`)
	if err != nil {
		b.Fatal(err)
	}
	v := vars()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := p.Match(v); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

// A window of another service, as a thousand of them are at each look.
func BenchmarkMatchLabel(b *testing.B) {
	p, err := policy.Compile(policy.Change, `resource.labels.service == "shop" && change.risk < 0.5`)
	if err != nil {
		b.Fatal(err)
	}
	v := policy.Vars{Change: &ops.Change{}, Resource: &ops.Resource{Labels: map[string]string{"service": "billing"}}}
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := p.Match(v); err != nil || ok {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Compile(policy.Change, `change.type == "standard" && change.risk < 0.2 && change.resource.labels.env == "prod"`); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`change.type == "standard"`)
	f.Add(`has(change.resource.labels.x) ? true : 1/0 == 1`)
	f.Add("change.args.exists(a, a.matches('(a+)+$'))")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Compile(policy.Change, text)
		if err != nil {
			if !errors.Is(err, ops.ErrInvalid) {
				t.Errorf("%q: %v has no class", text, err)
			}
			return
		}
		if _, err := p.Match(vars()); err != nil && !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("%q: %v has no class", text, err)
		}
	})
}
