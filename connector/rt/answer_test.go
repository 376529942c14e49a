package rt_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/rt"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/ops"
)

// What proxies, login pages and bad days answer is said by a server of a few
// lines; the conformance suite says it to the whole contract in front of a real
// Request Tracker.
func TestAnswersThatAreNone(t *testing.T) {
	f := func(status int, kind, body string, class error, says string) {
		t.Helper()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Location", "/NoAuth/Login.html")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		defer s.Close()
		c := (&stage{hands: hands{t, s.URL}, transport: transport}).open(t, "fettle", options())
		_, err := c.Get(t.Context(), "1")
		fails(t, body, err, class, says)
		if errors.As(err, new(*ops.UnknownOutcome)) {
			t.Errorf("a read has no unknown outcome: %v", err)
		}
	}
	const js, page = "application/json; charset=utf-8", "text/html"
	f(401, js, `{"message":"Unauthorized"}`, ops.ErrDenied, "check the token, or user name and password")
	f(302, "text/plain", "Login required", ops.ErrDenied, "check auth")
	f(403, js, `{"message":"Forbidden"}`, ops.ErrDenied, "Forbidden")
	f(404, js, `{"message":"Not Found"}`, ops.ErrNotFound, "Not Found")
	f(404, page, "<h1>It works!</h1>", ops.ErrUnavailable, "check that url")
	f(400, js, `{"message":"JSON parse error"}`, ops.ErrInvalid, "JSON parse error")
	f(429, js, `{"message":"slow down"}`, ops.ErrThrottled, "7s")
	f(502, page, "<h1>Bad Gateway</h1>", ops.ErrUnavailable, "502")
	f(200, page, "<form>Login</form>", ops.ErrUnavailable, "text/html")
	f(200, js, `{"id":1`, ops.ErrUnavailable, "unexpected end")
	f(200, js, `{}`, ops.ErrUnavailable, "lacks")
	f(200, js, `[]`, ops.ErrUnavailable, "cannot unmarshal")
}

// A create that is refused for the queue names it: Request Tracker answers 403
// for a queue that does not exist as for one without the right.
func TestCreateRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message":"No permission to create tickets in the queue 'General'"}`))
		case strings.HasPrefix(r.URL.Path, "/REST/2.0/queue/"):
			_, _ = w.Write([]byte(`{"id":1,"Name":"General","TicketCustomFields":[{"name":"FettleKey"}]}`))
		default:
			_, _ = w.Write([]byte(`{"items":[],"pages":0.0,"total":0}`))
		}
	}))
	defer s.Close()
	c := (&stage{hands: hands{t, s.URL}, transport: transport}).open(t, "fettle", options())
	_, err := c.Create(t.Context(), "k", ops.TicketIncident, cpu())
	fails(t, "create", err, ops.ErrInvalid, `queue "General"`)
	if errors.As(err, new(*ops.UnknownOutcome)) {
		t.Errorf("a refusal is no unknown outcome: %v", err)
	}
}

// With a token, our own user is found by the id within it.
func TestToken(t *testing.T) {
	f := func(token, user, path, want string) {
		t.Helper()
		var asked, header string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.HasPrefix(r.URL.Path, "/REST/2.0/user/") {
				asked, header = r.URL.Path, r.Header.Get("Authorization")
				_, _ = w.Write([]byte(`{"id":27,"Name":"fettle"}`))
				return
			}
			w.Header().Set("ETag", `"9"`)
			_, _ = w.Write([]byte(`{"id":1,"Status":"new","Queue":{"id":"1"},"LastUpdated":"2026-11-21T13:03:38Z","LastUpdatedBy":{"id":"fettle"}}`))
		}))
		defer s.Close()
		c, err := rt.Driver.Open(t.Context(), connector.Settings{URL: s.URL + "/REST/2.0/", Auth: connectortest.Values{"token": "env:RT_TOKEN"}},
			connector.Env{Name: "rt", User: user, Clock: time.Now, HTTP: client{transport}, Secrets: secretsOf{"env:RT_TOKEN": token}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Update(t.Context(), "1", connector.Edit{Want: ops.TicketFields{State: "new"}, Changed: []connector.Field{connector.State}, Version: "9"})
		if want != "" {
			fails(t, token, err, ops.ErrInvalid, want)
			return
		}
		if err != nil || !got.Own || asked != "/REST/2.0/user/"+path || header != "token "+token {
			t.Errorf("own %v, asked %s with %q, %v", got.Own, asked, header, err)
		}
	}
	f("1-27-0123456789abcdef", "", "27", "")
	f("opaque", "fettle", "fettle", "")
	f("opaque", "", "", "write the name of its user")
}

func TestSettings(t *testing.T) {
	f := func(options connectortest.Values, says ...string) {
		t.Helper()
		err := rt.Driver.Validate(connector.Settings{URL: "http://rt.test", Auth: connectortest.Values{"token": "env:T"}, Options: options})
		if len(says) == 0 && err != nil {
			t.Errorf("%v: %v", options, err)
		}
		for _, s := range says {
			if err == nil || !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), s) {
				t.Errorf("%v: %v; want %q", options, err, s)
			}
		}
	}
	f(nil)
	f(options())
	f(connectortest.Values{"queue": "", "settle": 0}, "queue: is empty", "settle, overlap")
	f(connectortest.Values{"queues": map[string]any{"party": "General"}}, `"party" is no kind of ticket`)
	f(connectortest.Values{"groups": map[string]any{"a": "Q", "b": "Q"}}, "a and b share the queue")
	f(connectortest.Values{"key_field": "x'} OR 1=1"}, "key_field")
	f(connectortest.Values{"resource_field": "FettleKey"}, `"FettleKey" is key_field already`)
	f(connectortest.Values{"statuses": map[string]any{"asleep": "stalled"}}, `"asleep"`)
	f(connectortest.Values{"priorities": map[string]any{"critical": 75}}, "critical and high are both 75")
	f(connectortest.Values{"priorities": map[string]any{"urgent": 1}}, `"urgent"`)
	f(connectortest.Values{"resolve_with": "mail"}, "comment or correspond")
	f(connectortest.Values{"que": "General"}, "que")

	auth := func(a rt.Auth, says string) {
		t.Helper()
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v; want %q", a, err, says)
		}
	}
	ref := secret.Ref{Scheme: "env", Name: "T"}
	auth(rt.Auth{}, "is empty")
	auth(rt.Auth{Token: ref, Basic: &rt.Basic{Username: "fettle", Password: ref}}, "keep one")
	auth(rt.Auth{Basic: &rt.Basic{}}, "auth.basic.username")
	if _, err := rt.Driver.Open(t.Context(), connector.Settings{Auth: connectortest.Values{"token": "env:T"}}, connector.Env{Name: "rt"}); err == nil {
		t.Error("opened without a url")
	}
	if !strings.Contains(rt.README, "FettleKey") {
		t.Error("the manual does not say which field to create")
	}
}
