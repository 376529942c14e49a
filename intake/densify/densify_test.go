package densify_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/densify"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
)

const (
	auth = `accounts:
  - {accounts: ["123456789012", "210987654321"], username: main, password: env:MAIN}
  - {accounts: ["999999999999"], username: other, password: env:OTHER}`
	mainPassword, otherPassword = "pass:word-of-main", "pass:word-of-other"
)

var secrets = intaketest.Secrets{"env:MAIN": mainPassword, "env:OTHER": otherPassword}

func header(user, password string) http.Header {
	return http.Header{"Content-Type": {"application/json"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

func insight(n int) string {
	return fmt.Sprintf(`{"entityId":"e%d","resourceId":"i-%d","accountIdRef":"123456789012","regionId":"us-east-1","serviceType":"EC2","name":"web-%d","currentType":"m5.xlarge","recommendedType":"m5.large","savingsEstimate":61.2}`, n, n, n)
}

// retries: nothing is documented for Densify's webhook; what is known is that
// every sender treats 503 as a reason to try again (facts, section 0).
func retries(status int) bool { return status >= 500 || status == http.StatusTooManyRequests }

func forge(r intaketest.Request) intaketest.Request {
	r.Header.Set("Authorization", header("main", otherPassword).Get("Authorization"))
	return r
}

func strip(r intaketest.Request) intaketest.Request {
	r.Header.Del("Authorization")
	return r
}

func harness(path string, body func(n int) string) intaketest.Harness {
	return intaketest.Harness{
		Empty: path == "" || path == "/load-insights",
		Auth:  auth, Secrets: secrets, Retries: retries, Forge: forge, Strip: strip,
		Request: func(n int) intaketest.Request {
			return intaketest.Request{Path: path, Header: header("main", mainPassword), Body: []byte(body(n))}
		},
	}
}

func TestConformanceInsights(t *testing.T) {
	intaketest.Run(t, densify.Driver, harness("/load-insights", func(n int) string { return "[" + insight(n) + "]" }))
}

// long keeps the same suite over the other forms out of the quick tests.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("FETTLE_LONG") == "" {
		t.Skip("the conformance of every form takes half a minute; it runs with FETTLE_LONG=1")
	}
}

func TestEveryFormAtTheOwnPath(t *testing.T) {
	h := intaketest.Open(t, intaketest.Setup{Driver: densify.Driver, Auth: auth, Secrets: secrets})
	for i, body := range []string{
		"[" + insight(1) + "]", optimizer(1), event(1),
	} {
		rec := h.Send(t, intaketest.Request{Header: header("main", mainPassword), Body: []byte(body)})
		if n := len(h.Stored(t)); rec.Code != http.StatusAccepted || n != i+1 {
			t.Errorf("%s: answer %d %s, %d stored", body, rec.Code, rec.Body, n)
		}
	}
	for _, path := range []string{"/load-insights/x", "/Production/load-insights", "/deny"} {
		if rec := h.Send(t, intaketest.Request{Path: path, Header: header("main", mainPassword), Body: []byte("[]")}); rec.Code != http.StatusNotFound {
			t.Errorf("%s: answer %d", path, rec.Code)
		}
	}
}

func optimizer(n int) string {
	return fmt.Sprintf(`{"instanceRecommendations":[{"instanceArn":"arn:aws:ec2:us-east-1:123456789012:instance/i-%d","currentInstanceType":"m5.xlarge","finding":"OVER_PROVISIONED","recommendationOptions":[{"instanceType":"m5.large","rank":1}]}]}`, n)
}

func event(n int) string {
	return fmt.Sprintf(`{"version":"0","id":"e-%d","detail-type":"Parameter Store Change","source":"aws.ssm","account":"123456789012","time":"2026-11-21T10:00:00Z","region":"us-east-1","detail":{"operation":"Update","name":"/densify/iaas/ec2/i-%d/instanceType","type":"String"}}`, n, n)
}

func TestConformanceOptimizer(t *testing.T) {
	long(t)
	intaketest.Run(t, densify.Driver, harness("", optimizer))
}

func TestConformanceParameterStore(t *testing.T) {
	long(t)
	h := harness("", event)
	h.Numbered = true
	h.Retries = func(status int) bool { return status >= 500 || slices.Contains([]int{401, 407, 409, 429}, status) }
	intaketest.Run(t, densify.Driver, h)
}

func TestConformanceHints(t *testing.T) {
	long(t)
	for _, path := range []string{"/approve", "/close"} {
		t.Run(path, func(t *testing.T) {
			intaketest.Run(t, densify.Driver, harness(path, func(n int) string {
				return fmt.Sprintf(`{"serviceType":"EC2","name":"web-%d","resourceId":"i-%d","region":"us-east-1"}`, n, n)
			}))
		})
	}
}

func TestGolden(t *testing.T) { intaketest.Golden(t, densify.Driver) }

func FuzzDecode(f *testing.F) {
	intaketest.Fuzz(f, densify.Driver, "currency: USD\nper: month\napi: {url: 'https://densify.example', username: fettle, password: 'env:DENSIFY'}")
}

// FuzzHint feeds the two callbacks, whose form the golden inputs have not.
func FuzzHint(f *testing.F) {
	f.Add([]byte(`{"serviceType":"EC2","name":"web","resourceId":"i-1","region":"us-east-1"}`))
	f.Add([]byte(`{"serviceType":"RDS","name":"shop","region":"us-east-1"}`))
	f.Add([]byte(`{"serviceType":7,"resourceId":-1,"regionId":"x"}`))
	f.Add([]byte(`[]`))
	s, err := densify.Open(intaketest.YAML(""), intake.Env{Integration: intaketest.Name})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := s.Decode(&intake.Request{Integration: intaketest.Name, Path: "/approve", Header: http.Header{}, Body: body})
		if err == nil && len(d.Signals) != 1 {
			t.Errorf("%d signals", len(d.Signals))
		}
		for _, x := range d.Signals {
			if err := intaketest.Sound(x); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestOneBadEntryCostsNoOther: Densify repeats nothing that is refused.
func TestOneBadEntryCostsNoOther(t *testing.T) {
	h := intaketest.Open(t, intaketest.Setup{Driver: densify.Driver, Auth: auth, Secrets: secrets})
	rec := h.Send(t, intaketest.Request{Path: "/load-insights", Header: header("main", mainPassword), Body: []byte("[" + insight(1) + `,{"name":"odd"},` + insight(2) + "]")})
	stored := h.Stored(t)
	if rec.Code != http.StatusAccepted || len(stored) != 1 || len(stored[0].Signals) != 3 {
		t.Fatalf("answer %d %s, stored %+v", rec.Code, rec.Body, stored)
	}
	if r := stored[0].Signals[1].Recommendation; !strings.Contains(r.Fault, "missing: serviceType") || string(r.Raw) != `{"name":"odd"}` {
		t.Errorf("the bad entry is kept as %+v", r)
	}
	if !strings.Contains(h.Logs(), "1 of 3 entries cannot be read") {
		t.Errorf("the log does not tell of it: %s", h.Logs())
	}
}

// TestACredentialSpeaksForItsAccounts: who holds one account's password must
// not recommend for another account, nor take back what was recommended there.
func TestACredentialSpeaksForItsAccounts(t *testing.T) {
	f := func(user, password, body string, want int, fault string) {
		t.Helper()
		h := intaketest.Open(t, intaketest.Setup{Driver: densify.Driver, Auth: auth, Secrets: secrets})
		rec := h.Send(t, intaketest.Request{Path: "/load-insights", Header: header(user, password), Body: []byte(body)})
		if rec.Code != want {
			t.Fatalf("answer %d %s, want %d", rec.Code, rec.Body, want)
		}
		for _, m := range h.Stored(t) {
			r := m.Signals[0].Recommendation
			if (r.Fault == "") != (fault == "") || !strings.Contains(r.Fault, fault) {
				t.Errorf("%s of %s: fault %q, want %q", body, user, r.Fault, fault)
			}
			if own := strings.Contains(r.Identity(), "unreadable"); own != (fault != "") {
				t.Errorf("identity %s", r.Identity())
			}
		}
	}
	mine := "[" + insight(1) + "]"
	f("main", mainPassword, mine, http.StatusAccepted, "")
	f("main", mainPassword, strings.ReplaceAll(mine, "123456789012", "210987654321"), http.StatusAccepted, "")
	f("other", otherPassword, mine, http.StatusAccepted, "the sender's credential is for 999999999999")
	f("other", otherPassword, strings.Replace(mine, `"currentType":"m5.xlarge"`, `"currentType":"m5.large"`, 1), http.StatusAccepted, "the sender's credential")
	f("other", mainPassword, mine, http.StatusUnauthorized, "")
	f("nobody", mainPassword, mine, http.StatusUnauthorized, "")
}

func TestAuthOfAccounts(t *testing.T) {
	f := func(auth, want string) {
		t.Helper()
		_, err := intaketest.TryOpen(t, intaketest.Setup{Driver: densify.Driver, Auth: auth, Secrets: secrets})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", auth, err, want)
		}
	}
	f("accounts: [{username: a, password: env:MAIN}]", "auth.accounts[0].accounts")
	f("accounts: [{accounts: ['1'], username: 'a:b', password: env:MAIN}]", "auth.accounts[0].username")
	f("accounts: [{accounts: ['1'], username: a, password: plain}]", "auth.accounts[0].password")
	f("{basic: {username: a, password: env:MAIN}, accounts: [{accounts: ['1'], username: a, password: env:MAIN}]}", "remove auth.basic")
}

func TestOptions(t *testing.T) {
	f := func(options, want string) {
		t.Helper()
		_, err := densify.Open(intaketest.YAML(options), intake.Env{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
	f("", "")
	f("{currency: usd, per: month}", "")
	f("per: week", "per")
	f("api: {url: 'http://densify.example', username: u, password: env:P}", "api.url")
	f("api: {url: 'https://u:p@densify.example', username: u, password: env:P}", "api.url")
	f("api: {url: 'https://densify.example', password: env:P}", "api.username")
	f("api: {url: 'https://densify.example', username: u, password: plain}", "api.password")
	f("api: {url: 'https://densify.example', username: u, password: env:P, flavour: odd}", "api.flavour")
	f("api: {url: 'https://densify.example', username: u, password: env:P, private: [x]}", "api.private")
}

// TestIdentityIsOfTheValue: what says the same about one value of one resource
// is one recommendation, whatever else differs.
func TestIdentityIsOfTheValue(t *testing.T) {
	one := func(change string, with ...string) ops.Recommendation {
		t.Helper()
		var d map[string]any
		if err := json.Unmarshal([]byte(insight(1)), &d); err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(with); i += 2 {
			d[with[i]] = with[i+1]
		}
		b, err := json.Marshal([]any{d})
		if err != nil {
			t.Fatal(err)
		}
		s, err := densify.Open(intaketest.YAML(""), intake.Env{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Decode(&intake.Request{Integration: intaketest.Name, Body: b})
		if err != nil {
			t.Fatal(change, err)
		}
		return *got.Signals[0].Recommendation
	}
	f := func(same bool, with ...string) {
		t.Helper()
		if a, b := one("nothing"), one("with", with...); (a.Identity() == b.Identity()) != same {
			t.Errorf("with %q: %s and %s, want same = %v", with, a.Identity(), b.Identity(), same)
		}
	}
	f(true, "recommendedType", "t3.large")
	f(true, "name", "renamed")
	f(true, "entityId", "other")
	f(false, "resourceId", "i-2")
	f(false, "accountIdRef", "2")
	f(false, "regionId", "eu-west-1")
	f(false, "serviceType", "RDS")
	f(false, "recommendedType", "") // cannot be read
}
