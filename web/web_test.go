package web_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/webtest"
)

// urls returns every page of the house.
func urls(t *testing.T, h *webtest.House) map[string]string {
	t.Helper()
	ctx := context.Background()
	changes, err := h.Store.Changes(ctx, ops.ChangeFilter{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{
		"overview": "/", "incidents": "/incidents", "changes": "/changes", "change-new": "/changes/new", "approvals": "/approvals", "backlog": "/backlog", "backlog-day": "/backlog?range=24h",
		"stop": "/stop", "desk": "/desk", "desk-ticket": "/desk/DESK-1", "search": "/search?q=checkout", "account": "/account", "styleguide": "/styleguide",
		"calendar": "/calendar?month=2026-11", "calendar-list": "/calendar?month=2026-11&view=list&zone=Europe/Dublin", "windows": "/windows", "window": "/windows/EU%20data%20tier",
		"missing": "/nowhere", "series": "/series", "series-unusual": "/series/" + webtest.Unusual, "series-week": "/series/" + webtest.Expected + "?range=7d",
		"series-expected": "/series/" + webtest.Expected, "series-learning": "/series/" + webtest.Learning, "series-anomaly": "/series/" + webtest.Unusual + "?anomaly=" + webtest.OpenAnomaly,
		"recommendations": "/recommendations", "recommendations-unplaced": "/recommendations?view=unplaced", "recommendation-placed": "/recommendations/REC-1",
		"recommendation-unreadable": "/recommendations/REC-4", "recommendation-done": "/recommendations/REC-5",
		"notifications": "/notifications", "notifications-given-up": "/notifications?view=given_up", "notifications-none": "/notifications?view=given_up&channel=actions",
	}
	incidents, err := h.Store.Incidents(ctx, ops.IncidentFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range incidents {
		switch {
		case i.Title == webtest.Repaired:
			out["incident"], out["trail"] = "/incidents/"+i.Key(), "/trail/"+i.Key()
		case i.Resource == "edge-lb-syd":
			out["incident-anomaly"] = "/incidents/" + i.Key()
		case i.Severity == ops.Critical:
			out["incident-open"] = "/incidents/" + i.Key()
		}
	}
	for _, c := range changes {
		switch {
		case c.State == ops.ChangeClosed:
			out["change"], out["trail-change"] = "/changes/"+c.Key(), "/trail/"+c.Key()
		case c.Title == webtest.Waiting:
			out["change-waiting"] = "/changes/" + c.Key()
		case c.State == ops.ChangeImplement:
			out["change-running"] = "/changes/" + c.Key()
		case c.State == ops.ChangeScheduled:
			out["change-scheduled"] = "/changes/" + c.Key()
		}
	}
	return out
}

// TestEveryPage reads every page as people with different rights.
func TestEveryPage(t *testing.T) {
	h := webtest.New(t)
	for _, who := range []string{"ada", "max", "vic", "bot"} {
		r := h.Reader(who)
		for name, u := range urls(t, h) {
			p := r.Get(u)
			want := http.StatusOK
			if name == "missing" {
				want = http.StatusNotFound
			}
			if p.Status != want {
				t.Errorf("%s of %s is %d: %s", name, who, p.Status, p.Text("main"))
				continue
			}
			if n := len(p.All("h1")); n != 1 {
				t.Errorf("%s has %d h1", name, n)
			}
			for _, n := range p.All("[style], script:not([src]), style, [onclick], [onload]") {
				t.Errorf("%s has inline script or style on %s", name, n.Data)
			}
			seen := map[string]bool{}
			for _, n := range p.All("[id]") {
				for _, a := range n.Attr {
					if a.Key == "id" && seen[a.Val] {
						t.Errorf("%s has id %q twice", name, a.Val)
					} else if a.Key == "id" {
						seen[a.Val] = true
					}
				}
			}
			for _, n := range p.All("form[method=post]") {
				carries := false
				for c := range n.Descendants() {
					for _, a := range c.Attr {
						carries = carries || a.Key == "name" && a.Val == "csrf"
					}
				}
				if !carries {
					t.Errorf("%s has a form without the session's token", name)
				}
			}
			if strings.Contains(p.Body, "ZgotmplZ") || strings.Contains(p.Body, "%!") {
				t.Errorf("%s shows a value that the template refused", name)
			}
		}
	}
}

// TestEmptyPages reads every list before anything happened.
func TestEmptyPages(t *testing.T) {
	h := webtest.Empty(t)
	r := h.Reader("ada")
	for _, u := range []string{"/", "/incidents", "/changes", "/approvals", "/backlog", "/desk", "/search?q=x", "/stop", "/series", "/recommendations", "/notifications"} {
		if p := r.Get(u); p.Status != http.StatusOK || len(p.All(".state")) == 0 && u != "/stop" {
			t.Errorf("%s is %d and does not say why it is empty: %s", u, p.Status, p.Text("main"))
		}
	}
}

func TestHeadersOnEveryAnswer(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("ada")
	all := urls(t, h)
	all["login"] = "/login"
	all["static"] = r.Get("/").Attr("link[rel=stylesheet]", "href")
	all["csv"], all["readings"] = "/backlog.csv", "/series/"+webtest.Unusual+"/readings.csv"
	for name, u := range all {
		p := r.Get(u)
		for key, want := range map[string]string{
			"Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "same-origin",
		} {
			if got := p.Header.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
	}
	if got := r.Get(all["static"]).Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
		t.Errorf("static files are kept with %q", got)
	}
	if got := r.Get("/").Header.Get("Cache-Control"); got != "private, no-cache" {
		t.Errorf("pages are kept with %q", got)
	}
}

func TestSignIn(t *testing.T) {
	h := webtest.New(t)
	r := h.Stranger()
	p := r.Get("/incidents?view=all")
	if p.URL.Path != "/login" || p.Attr("input[name=next]", "value") != "/incidents?view=all" {
		t.Fatalf("a stranger ends at %s", p.URL)
	}
	p = r.Submit(p, "form", url.Values{"token": {"ftl_0011_wrong"}})
	if p.Status != http.StatusForbidden || !strings.Contains(p.Text(".fault"), "mistyped, expired or revoked") {
		t.Errorf("a wrong token gives %d: %s", p.Status, p.Text("main"))
	}
	p = r.Submit(p, "form", url.Values{"token": {h.Tokens["rea"] + "\n"}})
	if p.Status != http.StatusOK || p.URL.RequestURI() != "/incidents?view=all" {
		t.Fatalf("signing in leads to %d %s", p.Status, p.URL)
	}
	u, _ := url.Parse(r.Base)
	i := slices.IndexFunc(r.Client.Jar.Cookies(u), func(c *http.Cookie) bool { return c.Name == "fettle_session" })
	if i < 0 {
		t.Fatal("no session cookie")
	}
	who, ok := h.Web.Principal(&http.Request{Header: http.Header{"Cookie": {r.Client.Jar.Cookies(u)[i].String()}}, URL: u})
	if !ok || who.Name != "Rea Silva" {
		t.Errorf("the cookie belongs to %+v, %v", who, ok)
	}
	cookie := r.Client.Jar.Cookies(u)[i].String()
	if p = r.Submit(r.Get("/account"), "form[action='/logout']", nil); p.URL.Path != "/login" {
		t.Errorf("signing out leads to %s", p.URL)
	}
	if _, ok := h.Web.Principal(&http.Request{Header: http.Header{"Cookie": {cookie}}, URL: u}); ok {
		t.Error("the cookie still opens after signing out")
	}
}

func TestSessionCookieFlags(t *testing.T) {
	h := webtest.New(t)
	r := h.Stranger()
	r.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := r.Post("/login", url.Values{"token": {h.Tokens["rea"]}})
	c := p.Header.Get("Set-Cookie")
	if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || strings.Contains(c, "Secure") {
		t.Errorf("over plain HTTP the cookie is %q", c)
	}
}

func TestSignInIsLimited(t *testing.T) {
	h := webtest.New(t)
	r := h.Stranger()
	for range 5 {
		if p := r.Post("/login", url.Values{"token": {"no"}}); p.Status != http.StatusForbidden {
			t.Fatalf("a wrong token gives %d", p.Status)
		}
	}
	if p := r.Post("/login", url.Values{"token": {h.Tokens["ada"]}}); p.Status != http.StatusTooManyRequests || p.Header.Get("Retry-After") == "" {
		t.Errorf("the sixth try gives %d", p.Status)
	}
	h.Advance(time.Minute)
	if p := r.Post("/login", url.Values{"token": {h.Tokens["ada"]}}); p.Status != http.StatusOK {
		t.Errorf("a minute later it gives %d", p.Status)
	}
}

func TestSignInNeverLeadsAway(t *testing.T) {
	h := webtest.New(t)
	for _, next := range []string{"https://evil.example/", "//evil.example/x", `/\evil.example`, "javascript:alert(1)", "/\t/evil.example"} {
		r := h.Stranger()
		p := r.Submit(r.Get("/login?next="+url.QueryEscape(next)), "form", url.Values{"token": {h.Tokens["ada"]}, "next": {next}})
		if p.URL.Host != strings.TrimPrefix(r.Base, "http://") || p.URL.Path != "/" {
			t.Errorf("next=%q leads to %s", next, p.URL)
		}
	}
}

// posts returns every form post there is.
func posts(t *testing.T, h *webtest.House) []string {
	t.Helper()
	u := urls(t, h)
	return []string{
		u["incident-open"] + "/move", u["incident-open"] + "/comment", u["change-waiting"] + "/decision", u["change-waiting"] + "/cancel",
		u["change-running"] + "/held", "/stop", "/account", "/desk/DESK-1", "/logout", "/notifications/n/resend",
	}
}

func TestForgedPostsAreRefused(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("ada")
	for _, u := range posts(t, h) {
		for _, csrf := range []string{"", "wrong"} {
			if p := r.Post(u, url.Values{"csrf": {csrf}, "decision": {"approved"}, "do": {"stop"}, "reason": {"x"}}); p.Status != http.StatusForbidden {
				t.Errorf("%s with the form token %q gives %d", u, csrf, p.Status)
			}
		}
		token := r.Get("/account").Attr("input[name=csrf]", "value")
		req, _ := http.NewRequest(http.MethodPost, r.Base+u, strings.NewReader(url.Values{"csrf": {token}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "https://evil.example")
		res, err := r.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another site gives %d", u, res.StatusCode)
		}
	}
	if p := h.Stranger().Post("/stop", url.Values{"do": {"stop"}, "reason": {"x"}}); p.Status != http.StatusForbidden {
		t.Errorf("a stranger's post gives %d", p.Status)
	}
	if _, stopped, err := h.Store.ExecutionStopped(context.Background()); stopped || err != nil {
		t.Errorf("a forged post stopped execution (%v)", err)
	}
}

// TestFormsThatAreTooLargeAreRefused posts more than a form may hold.
func TestFormsThatAreTooLargeAreRefused(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("ada")
	p := r.Post("/stop", url.Values{"do": {"stop"}, "reason": {strings.Repeat("x", 1<<17)}})
	if p.Status != http.StatusUnprocessableEntity {
		t.Errorf("a form of 128 KiB gives %d", p.Status)
	}
}
