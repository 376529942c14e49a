package intake_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
)

const (
	tenant   = "11111111-2222-3333-4444-555555555555"
	clientID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	azNS     = "461e8683-5575-4561-ac7f-899cc907d62a"
)

// directory plays Entra: it signs tokens and serves its keys over HTTPS.
type directory struct {
	server *httptest.Server
	key    *rsa.PrivateKey
	kid    atomic.Pointer[string]
	asked  atomic.Int64
	down   atomic.Bool
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{key: key}
	d.rotate("k1")
	d.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.asked.Add(1)
		if d.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		enc := base64.RawURLEncoding.EncodeToString
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{
			{"kty": "EC", "kid": "elliptic", "crv": "P-256"},
			{"kty": "RSA", "use": "sig", "kid": *d.kid.Load(), "n": enc(key.N.Bytes()), "e": enc(big.NewInt(int64(key.E)).Bytes())},
		}})
	}))
	t.Cleanup(d.server.Close)
	return d
}

func (d *directory) rotate(kid string) { d.kid.Store(&kid) }

func part(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (d *directory) token(t *testing.T, kid string, claims map[string]any) string {
	t.Helper()
	head := part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": kid}) + "." + part(claims)
	sum := sha256.Sum256([]byte(head))
	sig, err := rsa.SignPKCS1v15(rand.Reader, d.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return head + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// claims of a token of version 1 or 2, with changes as pairs; nil removes.
func claims(version int, changes ...any) map[string]any {
	c := map[string]any{
		"tid": tenant, "roles": []string{"ActionGroupsSecureWebhook"},
		"iat": intaketest.Now.Add(-time.Minute).Unix(), "nbf": intaketest.Now.Add(-time.Minute).Unix(), "exp": intaketest.Now.Add(time.Hour).Unix(),
	}
	if version == 1 {
		c["iss"], c["aud"], c["appid"], c["ver"] = "https://sts.windows.net/"+tenant+"/", "api://fettle", azNS, "1.0"
	} else {
		c["iss"], c["aud"], c["azp"], c["ver"] = "https://login.microsoftonline.com/"+tenant+"/v2.0", clientID, azNS, "2.0"
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(c, changes[i].(string))
			continue
		}
		c[changes[i].(string)] = changes[i+1]
	}
	return c
}

func (d *directory) house(t *testing.T, more string, clock func() time.Time) *intaketest.House {
	t.Helper()
	return intaketest.Open(t, intaketest.Setup{
		Driver: plain, Secrets: intaketest.Secrets{"env:TENANT": tenant}, Clock: clock,
		Auth:  "entra: {tenant: env:TENANT, audience: 'api://fettle', keys: '" + d.server.URL + "/{tenant}/keys'" + more + "}",
		Fetch: intake.NewHTTPFetcher(d.server.Client().Transport),
	})
}

func sendToken(t *testing.T, h *intaketest.House, token string) *httptest.ResponseRecorder {
	t.Helper()
	return h.Send(t, intaketest.Request{Header: headers("Authorization", "Bearer "+token), Body: []byte(body)})
}

func TestEntraClaims(t *testing.T) {
	d := newDirectory(t)
	h := d.house(t, ", client_id: "+clientID, nil)
	f := func(what string, want int, c map[string]any) {
		t.Helper()
		if rec := sendToken(t, h, d.token(t, "k1", c)); rec.Code != want {
			t.Errorf("%s: answer %d, want %d; log:\n%s", what, rec.Code, want, h.Logs())
		}
	}
	const ok, no = http.StatusAccepted, http.StatusUnauthorized
	f("version 1", ok, claims(1))
	f("version 2", ok, claims(2))
	f("one audience of several", ok, claims(1, "aud", []string{"x", "api://fettle"}))
	f("tenant in capitals", ok, claims(1, "tid", strings.ToUpper(tenant)))
	f("one role of several", ok, claims(2, "roles", []string{"Reader", "ActionGroupsSecureWebhook"}))
	f("another audience", no, claims(1, "aud", "api://other"))
	f("version 1 with the audience of version 2", no, claims(1, "aud", clientID))
	f("version 2 with the audience of version 1", no, claims(2, "aud", "api://fettle"))
	f("no audience", no, claims(1, "aud", nil))
	f("another tenant", no, claims(1, "tid", clientID))
	f("no tenant", no, claims(1, "tid", nil))
	f("issuer of another tenant", no, claims(1, "iss", "https://sts.windows.net/"+clientID+"/"))
	f("issuer without its slash", no, claims(1, "iss", "https://sts.windows.net/"+tenant))
	f("any issuer", no, claims(1, "iss", "https://evil.example/"))
	f("another caller", no, claims(1, "appid", clientID))
	f("caller in the claim of the other version", no, claims(1, "appid", nil, "azp", azNS))
	f("no caller", no, claims(2, "azp", nil))
	f("another role", no, claims(1, "roles", []string{"Reader"}))
	f("no role", no, claims(1, "roles", nil))
	f("role as text", no, claims(1, "roles", "ActionGroupsSecureWebhook"))
	f("expired", no, claims(1, "exp", intaketest.Now.Add(-time.Second).Unix()))
	f("never expires", no, claims(1, "exp", nil))
	f("not yet valid", no, claims(1, "nbf", intaketest.Now.Add(time.Hour).Unix()))
	if n := d.asked.Load(); n != 1 {
		t.Errorf("keys were fetched %d times, want once", n)
	}
}

func TestEntraSignature(t *testing.T) {
	d, stranger := newDirectory(t), newDirectory(t)
	h := d.house(t, "", nil)
	good := d.token(t, "k1", claims(1))
	head, rest, _ := strings.Cut(good, ".")
	payload, sig, _ := strings.Cut(rest, ".")
	f := func(what string, token string) {
		t.Helper()
		if rec := sendToken(t, h, token); rec.Code != http.StatusUnauthorized {
			t.Errorf("%s: answer %d %s", what, rec.Code, rec.Body)
		}
	}
	f("signed by somebody else", stranger.token(t, "k1", claims(1)))
	f("another payload", head+"."+part(claims(1, "oid", "x"))+"."+sig)
	f("no signature", head+"."+payload+".")
	f("algorithm none", part(map[string]string{"alg": "none", "kid": "k1"})+"."+payload+".")
	f("no key id", part(map[string]string{"alg": "RS256"})+"."+payload+"."+sig)
	// The public key as the secret of an HMAC: the classic confusion.
	hs := part(map[string]string{"alg": "HS256", "kid": "k1"}) + "." + payload
	m := hmac.New(sha256.New, d.key.N.Bytes())
	m.Write([]byte(hs))
	f("HMAC with the public key", hs+"."+base64.RawURLEncoding.EncodeToString(m.Sum(nil)))
	f("no token", "")
	f("no JWT", "x.y.z")
	if rec := sendToken(t, h, good); rec.Code != http.StatusAccepted {
		t.Errorf("the good token: %d %s", rec.Code, h.Logs())
	}
	if strings.Contains(h.Logs(), sig) {
		t.Error("a token stands in the log")
	}
}

func TestEntraRoleAndCallerAreConfigurable(t *testing.T) {
	d := newDirectory(t)
	h := d.house(t, ", role: Older, caller: "+clientID, nil)
	if rec := sendToken(t, h, d.token(t, "k1", claims(1, "roles", []string{"Older"}, "appid", clientID))); rec.Code != http.StatusAccepted {
		t.Errorf("answer %d, log:\n%s", rec.Code, h.Logs())
	}
	if rec := sendToken(t, h, d.token(t, "k1", claims(1))); rec.Code != http.StatusUnauthorized {
		t.Errorf("the default role: answer %d", rec.Code)
	}
}

func TestEntraKeys(t *testing.T) {
	d := newDirectory(t)
	now := intaketest.Now
	h := d.house(t, "", func() time.Time { return now })
	f := func(what, kid string, want int, asked int64) {
		t.Helper()
		before := d.asked.Load()
		rec := sendToken(t, h, d.token(t, kid, claims(1, "exp", now.Add(time.Hour).Unix())))
		if rec.Code != want || d.asked.Load()-before != asked || want == http.StatusServiceUnavailable && rec.Header().Get("Retry-After") == "" {
			t.Errorf("%s: answer %d after %d fetches, want %d after %d; log:\n%s", what, rec.Code, d.asked.Load()-before, want, asked, h.Logs())
		}
	}
	const ok, no, later = http.StatusAccepted, http.StatusUnauthorized, http.StatusServiceUnavailable
	d.down.Store(true)
	f("the directory is away: Azure must try again", "k1", later, 1)
	f("asked again at once", "k1", later, 0)
	now = now.Add(10 * time.Second)
	d.down.Store(false)
	f("back", "k1", ok, 1)
	f("known key", "k1", ok, 0)
	f("an unknown key makes no fetch within a minute", "k2", no, 0)
	d.rotate("k2")
	now = now.Add(2 * time.Minute)
	f("rotated", "k2", ok, 1)
	f("the old key is gone", "k1", no, 0)
	now = now.Add(25 * time.Hour)
	d.down.Store(true)
	f("stale, and the directory is away: the old key stands", "k2", ok, 1)
	now = now.Add(time.Minute)
	d.down.Store(false)
	d.rotate("k3")
	f("a withdrawn key ends when the directory is back", "k2", no, 1)
}

func TestHTTPFetcher(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/large":
			_, _ = w.Write(make([]byte, 65<<10))
		default:
			_, _ = w.Write([]byte("ok"))
		}
	}))
	defer s.Close()
	fetch := intake.NewHTTPFetcher(s.Client().Transport)
	f := func(url string, want string) {
		t.Helper()
		b, err := fetch.Fetch(context.Background(), url)
		if got := string(b); err == nil && got != want || err != nil && (want != "" || strings.Contains(err.Error(), "Token")) {
			t.Errorf("fetch %s: %q, %v, want %q", url, got, err, want)
		}
	}
	f(s.URL+"/ok", "ok")
	f(s.URL+"/redirect?Token=x", "")
	f(s.URL+"/large?Token=x", "")
	f("http"+strings.TrimPrefix(s.URL, "https")+"/ok?Token=x", "")
	f("https://127.0.0.1:1/?Token=x", "")
}
