// Package login is the page /login: a person signs in with a token and gets a
// session.
package login

import (
	"embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed login.html
var files embed.FS

// Style is the page's own style.
//
//go:embed login.css
var Style string

// Page serves signing in and out.
type Page struct {
	chrome *chrome.Chrome
	page   *chrome.Template
	limit  limiter
}

// New returns the page.
func New(c *chrome.Chrome, now clock.Clock) *Page {
	return &Page{chrome: c, page: c.Template(files, "login.html"), limit: limiter{now: now, from: map[string]tries{}}}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /login", p.chrome.Open(p.show))
	mux.Handle("POST /login", p.chrome.Open(p.signIn))
	mux.Handle("POST /logout", p.chrome.Page(p.signOut))
}

// Body is what the template shows.
type Body struct {
	Next  string
	Fault string
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	next := chrome.Local(r.URL.Query().Get("next"))
	if v != nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return p.render(w, r, 0, Body{Next: next})
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, status int, b Body) error {
	return p.chrome.Bare(w, r, p.page, chrome.View{Status: status, Title: "Sign in", Body: b})
}

func (p *Page) signIn(w http.ResponseWriter, r *http.Request, _ *chrome.Visit) error {
	if err := r.ParseForm(); err != nil {
		return fmt.Errorf("form: %w: %w", err, ops.ErrInvalid)
	}
	b := Body{Next: chrome.Local(r.PostForm.Get("next"))}
	from := remote(r)
	if wait := p.limit.wait(from); wait > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		b.Fault = fmt.Sprintf("Too many wrong tokens from your address. Try again in %d s.", int(wait.Seconds())+1)
		return p.render(w, r, http.StatusTooManyRequests, b)
	}
	err := p.chrome.SignIn(w, r, r.PostForm.Get("token"))
	switch {
	case err == nil:
		p.limit.forget(from)
		http.Redirect(w, r, b.Next, http.StatusSeeOther)
		return nil
	case errors.Is(err, ops.ErrDenied), errors.Is(err, ops.ErrNotFound), errors.Is(err, ops.ErrInvalid):
		p.limit.failed(from)
		b.Fault = "This token opens nothing: it is mistyped, expired or revoked."
		return p.render(w, r, http.StatusForbidden, b)
	}
	return err
}

func (p *Page) signOut(w http.ResponseWriter, r *http.Request, _ *chrome.Visit) error {
	if err := p.chrome.SignOut(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// The limits of wrong tokens.
const (
	maxTries  = 5
	tryWindow = time.Minute
	maxKnown  = 10_000 // addresses remembered at once
)

type tries struct {
	n     int
	since time.Time
}

// limiter counts wrong tokens by address. Behind a proxy all readers share one
// address, so the limit slows guessing down and never locks for long.
type limiter struct {
	now  clock.Clock
	mu   sync.Mutex
	from map[string]tries
}

func (l *limiter) wait(host string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.from[host]
	if left := tryWindow - l.now().Sub(t.since); t.n >= maxTries && left > 0 {
		return left
	}
	return 0
}

func (l *limiter) failed(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	t := l.from[host]
	if now.Sub(t.since) >= tryWindow {
		t = tries{since: now}
	}
	t.n++
	if len(l.from) >= maxKnown {
		for k, v := range l.from {
			if now.Sub(v.since) >= tryWindow {
				delete(l.from, k)
			}
		}
	}
	if len(l.from) < maxKnown {
		l.from[host] = t
	}
}

func (l *limiter) forget(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.from, host)
}
