package densify_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a Densify that is as strict as what is known of it: it takes one
// user, only the paths and methods of its API, only tokens it gave and that have
// not expired, and JSON with the right Content-Type.
type fake struct {
	*httptest.Server
	flavour string

	mu     sync.Mutex
	now    time.Time
	tokens map[string]time.Time
	asked  []string
	// broken answers instead, by path below the API.
	broken map[string]http.HandlerFunc
	// expires is what /authorize says of a token.
	expires func(until time.Time) int64
}

const (
	fakeUser, fakePassword = "fettle", "pass:word-of-the-api"
	system                 = "49fb3629-1f2b-4039-b146-918eb8009184"
)

func newFake(t *testing.T, flavour string, now time.Time) *fake {
	t.Helper()
	f := &fake{flavour: flavour, now: now, tokens: map[string]time.Time{}, broken: map[string]http.HandlerFunc{}, expires: time.Time.UnixMilli}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message":%q,"status":%d}`, why, status)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	prefix := map[string]string{"token": "/api/v2", "basic": "/CIRBA/api/v2"}[f.flavour]
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI())
	if !ok || r.URL.RawQuery != "" {
		f.refuse(w, http.StatusNotFound, "no such resource")
		return
	}
	if path == "/authorize" && f.flavour == "token" {
		f.authorize(w, r)
		return
	}
	if why := f.admit(r); why != "" {
		f.refuse(w, http.StatusUnauthorized, why)
		return
	}
	if r.Method != http.MethodGet {
		f.refuse(w, http.StatusMethodNotAllowed, "read only")
		return
	}
	if h := f.broken[path]; h != nil {
		h(w, r)
		return
	}
	switch path {
	case "/systems/" + system:
		if r.Header.Get("Accept") != "application/json" {
			f.refuse(w, http.StatusNotAcceptable, "application/json only")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`[{"id":"` + system + `","name":"web","attributes":[{"id":"attr_x","value":"y"},{"id":"attr_resource_tags","name":"Resource Tags","value":"aws:cloudformation:stack-id : arn:aws:cloudformation:us-east-1:123456789012:stack/web/5b1"},{"id":"attr_resource_tags","value":"aws:cloudformation:logical-id : Server"},{"id":"attr_resource_tags","value":"env : prod : blue"}]}]`))
	case "/systems/" + system + "/analysis-report":
		if r.Header.Get("Accept") != "application/pdf" {
			f.refuse(w, http.StatusNotAcceptable, "application/pdf only")
			return
		}
		w.Header().Set("Content-Type", "application/pdf")
		_, _ = w.Write([]byte("%PDF-1.7 report"))
	default:
		f.refuse(w, http.StatusNotFound, "no such system")
	}
}

func (f *fake) authorize(w http.ResponseWriter, r *http.Request) {
	var body map[string]string
	d := json.NewDecoder(r.Body)
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || d.Decode(&body) != nil || len(body) != 2 {
		f.refuse(w, http.StatusBadRequest, "userName and pwd as JSON")
		return
	}
	if body["userName"] != fakeUser || body["pwd"] != fakePassword {
		f.refuse(w, http.StatusUnauthorized, "wrong user or password")
		return
	}
	if h := f.broken["/authorize"]; h != nil {
		h(w, r)
		return
	}
	token := fmt.Sprintf("token-%d", len(f.tokens)+1)
	f.tokens[token] = f.now.Add(time.Hour)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"apiToken":%q,"expires":%d,"status":200}`, token, f.expires(f.tokens[token]))
}

// admit returns why a request may not be answered.
func (f *fake) admit(r *http.Request) string {
	if f.flavour == "basic" {
		if u, p, ok := r.BasicAuth(); !ok || u != fakeUser || p != fakePassword {
			return "wrong user or password"
		}
		return ""
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	until, known := f.tokens[token]
	switch {
	case !ok || !known:
		return "no token of ours"
	case !f.now.Before(until):
		return "the token has expired"
	}
	return ""
}

// requests returns what was asked since the last call.
func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.asked
	f.asked = nil
	return out
}

// TestTheFakeRefuses: a double that takes everything proves nothing.
func TestTheFakeRefuses(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	f := func(flavour, method, path, auth, media, body string, want int) {
		t.Helper()
		d := newFake(t, flavour, now)
		d.tokens["old"], d.tokens["good"] = now, now.Add(time.Minute)
		req, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/json")
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		req.Header.Set("Content-Type", media)
		res, err := d.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s %s %s with %q: %d, want %d", flavour, method, path, auth, res.StatusCode, want)
		}
	}
	const own = "/systems/" + system
	good := header(fakeUser, fakePassword).Get("Authorization")
	f("token", "GET", "/api/v2"+own, "Bearer good", "", "", 200)
	f("token", "GET", "/api/v2"+own, "Bearer old", "", "", 401)
	f("token", "GET", "/api/v2"+own, "Bearer made-up", "", "", 401)
	f("token", "GET", "/api/v2"+own, good, "", "", 401)
	f("token", "GET", "/api/v2"+own, "", "", "", 401)
	f("token", "GET", "/CIRBA/api/v2"+own, "Bearer good", "", "", 404)
	f("token", "GET", "/api/v2/systems/other", "Bearer good", "", "", 404)
	f("token", "GET", "/api/v2"+own+"?platform=aws", "Bearer good", "", "", 404)
	f("token", "POST", "/api/v2"+own, "Bearer good", "", "", 405)
	f("token", "GET", "/api/v2"+own+"/analysis-report", "Bearer good", "", "", 406)
	f("token", "POST", "/api/v2/authorize", "", "application/json", `{"userName":"fettle","pwd":"pass:word-of-the-api"}`, 200)
	f("token", "POST", "/api/v2/authorize", "", "text/plain", `{"userName":"fettle","pwd":"pass:word-of-the-api"}`, 400)
	f("token", "POST", "/api/v2/authorize", "", "application/json", `{"userName":"fettle","pwd":"wrong"}`, 401)
	f("token", "GET", "/api/v2/authorize", "", "application/json", "", 400)
	f("basic", "GET", "/CIRBA/api/v2"+own, good, "", "", 200)
	f("basic", "GET", "/CIRBA/api/v2"+own, header(fakeUser, "wrong").Get("Authorization"), "", "", 401)
	f("basic", "POST", "/CIRBA/api/v2/authorize", "", "application/json", "{}", 401)
}
