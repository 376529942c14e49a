package azuremonitor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/azuremonitor"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
)

// Azure's plain webhook carries its credential in the URL as user and
// password, which arrives as basic authentication.
func request(n int) intaketest.Request {
	r, err := http.NewRequest(http.MethodPost, "http://fettle/", nil)
	if err != nil {
		panic(err)
	}
	r.SetBasicAuth("azure", "pass-of-azure")
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	return intaketest.Request{Header: r.Header, Body: fmt.Appendf(nil, `{"schemaId":"azureMonitorCommonAlertSchema","data":{"essentials":{"alertId":"/subscriptions/1111/providers/Microsoft.AlertsManagement/alerts/a-%d","alertRule":"cpu-high","severity":"Sev2","signalType":"Metric","monitorCondition":"Fired","monitoringService":"Platform","alertTargetIDs":["/subscriptions/1111/resourcegroups/rg/providers/microsoft.compute/virtualmachines/web%d"],"configurationItems":["web%d"],"firedDateTime":"2026-11-21T10:00:01.1234567Z","description":""},"alertContext":{"condition":{"windowSize":"PT5M","allOf":[{"metricName":"Percentage CPU","operator":"GreaterThan","threshold":"80","metricValue":93.4}]}}}}`, n, n, n)}
}

func TestConformance(t *testing.T) {
	intaketest.Run(t, azuremonitor.Driver, intaketest.Harness{
		Auth:     "basic: {username: azure, password: env:PASSWORD}",
		Secrets:  intaketest.Secrets{"env:PASSWORD": "pass-of-azure"},
		Request:  request,
		Numbered: true,
		Forge: func(r intaketest.Request) intaketest.Request {
			req := http.Request{Header: r.Header}
			req.SetBasicAuth("azure", "guess")
			return r
		},
		Strip: func(r intaketest.Request) intaketest.Request {
			r.Header.Del("Authorization")
			return r
		},
		// Action groups, facts section 0 and A1: everything else, 500 included, loses the alert.
		Retries: func(status int) bool { return slices.Contains([]int{408, 429, 503, 504}, status) },
	})
}

func TestGolden(t *testing.T) { intaketest.Golden(t, azuremonitor.Driver) }

func FuzzDecode(f *testing.F) { intaketest.Fuzz(f, azuremonitor.Driver, "") }

func input(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name, "in.json"))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func decode(t *testing.T, name string) intake.Delivery {
	t.Helper()
	return decodeBody(t, name, input(t, name))
}

func decodeBody(t *testing.T, name string, body []byte) intake.Delivery {
	t.Helper()
	s, err := azuremonitor.Driver.Open(intaketest.YAML(""), intake.Env{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Decode(&intake.Request{Integration: "azure", Body: body, ReceivedAt: intaketest.Now})
	if err != nil || len(d.Signals) != 1 {
		t.Fatalf("%s: %+v, %v", name, d, err)
	}
	return d
}

func TestBlankNamesNothing(t *testing.T) {
	const target, item, computer = `"/subscriptions/1111/resourcegroups/rg/providers/microsoft.operationalinsights/workspaces/logs"`, `"Web1"`, `{"name": "Computer", "value": "Web1"}`
	f := func(name, aliases string, oldnew ...string) {
		t.Helper()
		body := strings.NewReplacer(oldnew...).Replace(string(input(t, "log-v2")))
		r := decodeBody(t, "log-v2", []byte(body)).Signals[0].Alert.Resource
		if got := strings.Join(r.Aliases, " "); r.Name != name || got != aliases {
			t.Errorf("resource = %q %q, want %q %q", r.Name, got, name, aliases)
		}
	}
	noDimension := strings.Replace(computer, "Web1", " ", 1)
	f("Web1", "host:web1")
	f("Web1", "host:web1", computer, noDimension) // the configuration item
	f("logs", "arm:"+strings.Trim(target, `"`), computer, noDimension, `[`+item+`]`, `[" "]`)
	f("Web2", "host:web2", computer, noDimension, `[`+item+`]`, `[" ", " Web2 "]`)
	f("", "", computer, noDimension, `[`+item+`]`, `["\t"]`, target, `" "`)
}

func TestResolvedPairsWithFired(t *testing.T) {
	f := func(fired, resolved string) {
		t.Helper()
		a, b := decode(t, fired), decode(t, resolved)
		if a.Signals[0].Alert.Fingerprint != b.Signals[0].Alert.Fingerprint {
			t.Errorf("%s and %s have different fingerprints", fired, resolved)
		}
		if a.Signals[0].Alert.State != ops.Firing || b.Signals[0].Alert.State != ops.Resolved {
			t.Errorf("%s is %s, %s is %s", fired, a.Signals[0].Alert.State, resolved, b.Signals[0].Alert.State)
		}
		if a.Dedupe == b.Dedupe {
			t.Errorf("%s and %s share the dedupe key %q: the second would be dropped", fired, resolved, a.Dedupe)
		}
	}
	f("metric-fired", "metric-resolved") // target ids differ in letter case
	f("service-health-active", "service-health-resolved")
	f("resource-health-active", "resource-health-resolved")
}

func TestDifferentThingsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"metric-fired", "metric-dynamic", "metric-webtest", "log-v2", "log-v2-resource-id", "log-v1", "activity-policy", "activity-security", "service-health-active", "resource-health-active", "smart-detector", "prometheus", "cost-budget", "wrong-schema-metric", "wrong-schema-activity"} {
		fp := decode(t, name).Signals[0].Alert.Fingerprint
		if other, ok := seen[fp]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[fp] = name
	}
}

func TestPersonsStayInTheRawPayload(t *testing.T) {
	d := decode(t, "activity-administrative")
	b, err := json.Marshal(d.Signals)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(string(b)), "jane") {
		t.Errorf("signals name the caller: %s", b)
	}
}
