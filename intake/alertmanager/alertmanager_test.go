package alertmanager_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/alertmanager"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
)

const token = "s3cret-of-the-sender"

// body is one webhook with one alert.
func body(n int) []byte {
	return fmt.Appendf(nil, `{"receiver":"ops","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"HighCPU","instance":"web%d:9100","severity":"critical"},"annotations":{"summary":"cpu of web%d"},"startsAt":"2026-11-21T10:00:00.123Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prom/graph?g0.expr=cpu+%%3E+0.8&g0.tab=1","fingerprint":"%016x"}],"groupLabels":{"alertname":"HighCPU"},"commonLabels":{"alertname":"HighCPU"},"commonAnnotations":{},"externalURL":"http://am","version":"4","groupKey":"{}:{alertname=\"HighCPU\"}","truncatedAlerts":0}`, n, n, n)
}

func request(n int) intaketest.Request {
	return intaketest.Request{Header: http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}, Body: body(n)}
}

func TestConformance(t *testing.T) {
	intaketest.Run(t, alertmanager.Driver, intaketest.Harness{
		Auth:    "bearer: env:TOKEN",
		Secrets: intaketest.Secrets{"env:TOKEN": token},
		Request: request,
		Forge: func(r intaketest.Request) intaketest.Request {
			r.Header.Set("Authorization", "Bearer "+token[:len(token)-1]+"X")
			return r
		},
		Strip: func(r intaketest.Request) intaketest.Request {
			r.Header.Del("Authorization")
			return r
		},
		Retries: func(status int) bool { return status >= 500 }, // facts, section 0 and A8
	})
}

func TestGolden(t *testing.T) { intaketest.Golden(t, alertmanager.Driver) }

func FuzzDecode(f *testing.F) { intaketest.Fuzz(f, alertmanager.Driver, "") }

func open(t *testing.T, options string) (intake.Source, error) {
	t.Helper()
	return alertmanager.Driver.Open(intaketest.YAML(options), intake.Env{Integration: "prom", Clock: nil})
}

func decode(t *testing.T, options string, labels string) *ops.Alert {
	t.Helper()
	s, err := open(t, options)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Decode(&intake.Request{Integration: "prom", ReceivedAt: intaketest.Now, Body: []byte(`{"version":"4","alerts":[{"status":"firing","labels":` + labels + `,"startsAt":"2026-11-21T10:00:00Z","fingerprint":"f"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	return d.Signals[0].Alert
}

func TestSeverity(t *testing.T) {
	f := func(options, labels string, want ops.Severity) {
		t.Helper()
		if got := decode(t, options, labels).Severity; got != want {
			t.Errorf("severity of %s with options %q = %s, want %s", labels, options, got, want)
		}
	}
	f("", `{"severity":"critical"}`, ops.Critical)
	f("", `{"severity":"error"}`, ops.High)
	f("", `{"severity":"Warning "}`, ops.Medium)
	f("", `{"severity":"info"}`, ops.Info)
	f("", `{"severity":"purple"}`, ops.Medium)
	f("", `{}`, ops.Medium)
	f("default_severity: low", `{}`, ops.Low)
	f("severities: {P1: critical}", `{"severity":"p1"}`, ops.Critical)
	f("severities: {warning: high}", `{"severity":"warning"}`, ops.High)
	f("severity_label: prio", `{"prio":"high","severity":"info"}`, ops.High)
}

func TestResource(t *testing.T) {
	f := func(options, labels, name, aliases string) {
		t.Helper()
		r := decode(t, options, labels).Resource
		if got := strings.Join(r.Aliases, " "); r.Name != name || got != aliases {
			t.Errorf("resource of %s = %s %s, want %s %s", labels, r.Name, got, name, aliases)
		}
	}
	f("", `{"instance":"Web1:9100"}`, "Web1", "instance:Web1:9100 host:web1")
	f("", `{"instance":"web1"}`, "web1", "instance:web1 host:web1")
	f("", `{"instance":"[2001:db8::1]:9100"}`, "2001:db8::1", "instance:[2001:db8::1]:9100 host:2001:db8::1")
	f("", `{"instance":"https://shop.example.com/health"}`, "https://shop.example.com/health", "instance:https://shop.example.com/health")
	// Every Prometheus has a localhost: two of them are two machines.
	f("", `{"instance":"localhost:9100"}`, "localhost:9100", "instance:prom:localhost:9100")
	f("", `{"instance":"127.0.0.1:9100"}`, "127.0.0.1:9100", "instance:prom:127.0.0.1:9100")
	f("", `{"host":"localhost"}`, "localhost", "host:prom:localhost")
	f("", `{"pod":"web-0","namespace":"shop"}`, "shop/web-0", "pod:shop/web-0")
	f("", `{"service":"shop"}`, "shop", "service:shop")
	f("resource_labels: [cluster]", `{"instance":"web1:9100","cluster":"eu"}`, "eu", "cluster:eu")
	f("", `{"x":"y"}`, "", "")
	// A blank label names nothing.
	f("", `{"instance":" ","service":"shop"}`, "shop", "service:shop")
	f("", `{"instance":" Web1:9100 "}`, "Web1", "instance:Web1:9100 host:web1")
	f("", `{"instance":"[ ]:9100"}`, "[ ]:9100", "instance:[ ]:9100")
	f("", `{"pod":"web-0","namespace":" "}`, "web-0", "pod:web-0")
	f("", `{"instance":"\t"}`, "", "")
}

func TestOptionsNameTheFault(t *testing.T) {
	f := func(options, field string) {
		t.Helper()
		_, err := open(t, options)
		var fault *intake.Fault
		if !errors.As(err, &fault) || fault.Field != field || fault.Fix == "" {
			t.Errorf("options %q: %v, want a fault at %s", options, err, field)
		}
	}
	f("default_severity: bad", "default_severity")
	f("severities: {page: worst}", "severities.page")
	if _, err := open(t, "severity: x"); err == nil {
		t.Error("an unknown option was taken")
	}
}
