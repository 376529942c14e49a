package intake_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
)

// plain is a source for tests of the door itself: {"id": "...", "rule": "..."}.
// The rule "panic" panics.
var plain = intake.Define("plain", func(options intake.Decoder, _ intake.Env) (intake.Source, error) {
	var c struct {
		Known string `yaml:"known"`
	}
	return plainSource{}, options.Decode(&c)
})

type plainSource struct{}

func (plainSource) Decode(r *intake.Request) (intake.Delivery, error) {
	var m struct{ ID, Rule, Contact string }
	if err := json.Unmarshal(r.Body, &m); err != nil {
		return intake.Delivery{}, intake.NotJSON(err, "a test message")
	}
	switch m.Rule {
	case "":
		return intake.Delivery{}, nil
	case "panic":
		panic("a defect of the decoder")
	}
	return intake.Delivery{Dedupe: m.ID, Signals: []ops.Signal{{Alert: &ops.Alert{
		Fingerprint: m.Rule, Rule: m.Rule, Title: m.Rule, Description: m.Contact, Severity: ops.High, State: ops.Firing, StartsAt: r.ReceivedAt, ObservedAt: r.ReceivedAt,
		Labels: map[string]string{"passed": strings.Join(r.Passed, " ")},
	}}}}, nil
}

const body = `{"id":"1","rule":"cpu"}`

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func sign(secret, body string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(body))
	return m.Sum(nil)
}

var secrets = intaketest.Secrets{"env:TOKEN": "token-0123456789", "env:PASSWORD": "pass:word-012345", "env:KEY": "key-0123456789ab", "env:HMAC": "hmac-0123456789a", "env:EMPTY": "", "env:USER": "prom"}

func TestAuthMethods(t *testing.T) {
	hexed := hex.EncodeToString(sign("hmac-0123456789a", body))
	f := func(auth string, h http.Header, want int) {
		t.Helper()
		house := intaketest.Open(t, intaketest.Setup{Driver: plain, Auth: auth, Secrets: secrets})
		rec := house.Send(t, intaketest.Request{Header: h, Body: []byte(body)})
		if rec.Code != want || (len(house.Stored(t)) == 1) != (want == http.StatusAccepted) {
			t.Errorf("%s with %v: answer %d %s, %d stored", auth, h, rec.Code, rec.Body, len(house.Stored(t)))
		}
		for _, s := range secrets {
			if s != "" && s != "prom" && strings.Contains(house.Logs()+rec.Body.String(), s) {
				t.Errorf("%s: a secret in log or answer:\n%s%s", auth, house.Logs(), rec.Body)
			}
		}
	}
	const ok, no = http.StatusAccepted, http.StatusUnauthorized
	f("bearer: env:TOKEN", headers("Authorization", "Bearer token-0123456789"), ok)
	f("bearer: env:TOKEN", headers("Authorization", "bearer  token-0123456789"), ok)
	f("bearer: env:TOKEN", headers("Authorization", "Bearer token-0123456789 "), no)
	f("bearer: env:TOKEN", headers("Authorization", "Bearer token-012345678"), no)
	f("bearer: env:TOKEN", headers("Authorization", "Bearer"), no)
	f("bearer: env:TOKEN", headers("Authorization", "Basic token-0123456789"), no)
	f("bearer: env:TOKEN", headers(), no)

	const user = "basic: {username: prom, password: env:PASSWORD}"
	f(user, headers("Authorization", basic("prom", "pass:word-012345")), ok)
	f("basic: {username: env:USER, password: env:PASSWORD}", headers("Authorization", basic("prom", "pass:word-012345")), ok)
	f(user, headers("Authorization", basic("", "")), no)
	f(user, headers("Authorization", "Basic !!!"), no)

	const key = "header: {name: x-api-key, value: env:KEY}"
	f(key, headers("X-Api-Key", "key-0123456789ab"), ok)
	f(key, headers("X-Api-Key", "Key-0123456789ab"), no)
	f(key, headers("X-Api-Key", "key-0123456789ab", "X-Api-Key", "x"), no) // which one would a proxy have checked?
	f(key, headers(), no)

	f("hmac: {secret: env:HMAC}", headers("X-Hub-Signature-256", "sha256="+hexed), ok)
	f("hmac: {secret: env:HMAC}", headers("X-Hub-Signature-256", hexed), no)
	f("hmac: {secret: env:HMAC}", headers("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sign("other", body))), no)
	f("hmac: {secret: env:HMAC}", headers("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sign("hmac-0123456789a", body+" "))), no)
	f("hmac: {secret: env:HMAC}", headers("X-Hub-Signature-256", "sha256="), no)
	f("hmac: {secret: env:HMAC, header: X-Sig, encoding: base64}", headers("X-Sig", base64.StdEncoding.EncodeToString(sign("hmac-0123456789a", body))), ok)
	f("hmac: {secret: env:HMAC, header: X-Sig, prefix: v1=}", headers("X-Sig", "v1="+hexed), ok)

	const both = "{bearer: env:TOKEN, hmac: {secret: env:HMAC}}"
	f(both, headers("Authorization", "Bearer token-0123456789", "X-Hub-Signature-256", "sha256="+hexed), ok)
	f(both, headers("Authorization", "Bearer token-0123456789"), no)
	f(both, headers("X-Hub-Signature-256", "sha256="+hexed), no)
}

func TestSignatureIsOverTheBodyAsTransmitted(t *testing.T) {
	house := intaketest.Open(t, intaketest.Setup{Driver: plain, Auth: "hmac: {secret: env:HMAC}", Secrets: secrets})
	z := gzipped(t, body)
	for signed, want := range map[string]int{string(z): http.StatusAccepted, body: http.StatusUnauthorized} {
		h := headers("Content-Encoding", "gzip", "X-Hub-Signature-256", "sha256="+hex.EncodeToString(sign("hmac-0123456789a", signed)))
		if rec := house.Send(t, intaketest.Request{Header: h, Body: z}); rec.Code != want {
			t.Errorf("answer %d %s, want %d", rec.Code, rec.Body, want)
		}
	}
}

func TestDenialChallenges(t *testing.T) {
	// SNS sends the password of its URL only after being asked for it.
	house := intaketest.Open(t, intaketest.Setup{Driver: plain, Auth: "basic: {username: prom, password: env:PASSWORD}", Secrets: secrets})
	rec := house.Send(t, intaketest.Request{Body: []byte(body)})
	if got := rec.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic realm=") {
		t.Errorf("WWW-Authenticate is %q", got)
	}
}

func TestPassedMethodsReachTheSource(t *testing.T) {
	house := intaketest.Open(t, intaketest.Setup{Driver: plain, Auth: "{bearer: env:TOKEN, header: {name: X-K, value: env:KEY}}", Secrets: secrets})
	house.Send(t, intaketest.Request{Header: headers("Authorization", "Bearer token-0123456789", "X-K", "key-0123456789ab"), Body: []byte(body)})
	if m := house.Stored(t); len(m) != 1 || m[0].Signals[0].Alert.Labels["passed"] != "bearer header" {
		t.Errorf("stored %+v", m)
	}
}

func TestDoorRefusesToOpen(t *testing.T) {
	f := func(auth, want string) {
		t.Helper()
		_, err := intaketest.TryOpen(t, intaketest.Setup{Driver: plain, Auth: auth, Secrets: secrets})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("auth %q: %v, want %q", auth, err, want)
		}
	}
	f("", "nothing comes in without authentication")
	f("none: true", "none works only in a demo that listens on loopback")
	f("{none: true, bearer: env:TOKEN}", "contradict")
	f("bearer: hunter2", "auth.bearer: a secret stands in the configuration")
	f("bearer: env:MISSING", "env:MISSING is not set")
	f("bearer: env:EMPTY", "auth.bearer: the secret is empty")
	f("basic: {username: prom}", "auth.basic.password: is missing")
	f("basic: {username: 'a:b', password: env:PASSWORD}", "auth.basic.username")
	f("header: {name: 'X Y', value: env:KEY}", "auth.header.name")
	f("header: {name: X-Y, value: hunter2}", "auth.header.value")
	f("hmac: {secret: env:HMAC, encoding: rot13}", "auth.hmac.encoding: write hex or base64")
	f("sns: {topics: []}", "auth.sns.topics: list the ARNs")
	f("sns: {topics: ['arn:aws:sns:*:1:x']}", "auth.sns.topics[0]")
	f("entra: {tenant: contoso.onmicrosoft.com, audience: 'api://x'}", "auth.entra.tenant: write the directory (tenant) id")
	f("entra: {tenant: 11111111-1111-1111-1111-111111111111}", "auth.entra.audience")
	f("entra: {tenant: 11111111-1111-1111-1111-111111111111, audience: 'api://x', keys: 'http://h/keys'}", "auth.entra.keys: write an https URL")
	f("password: x", "password")
	if _, err := intaketest.TryOpen(t, intaketest.Setup{Driver: plain, Auth: "none: true", LoopbackDemo: true}); err != nil {
		t.Errorf("a demo on loopback: %v", err)
	}
}
