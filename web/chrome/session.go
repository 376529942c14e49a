package chrome

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// The cookies. The session's is the only one that opens anything.
const (
	sessionCookie = "fettle_session"
	toastCookie   = "fettle_toast"
	ThemeCookie   = "theme"
	ZoneCookie    = "zone"
	DenseCookie   = "rows"
	KeysCookie    = "keys"
)

// maxForm bounds a posted form, in bytes.
const maxForm = 64 << 10

// csp allows what the pages carry and nothing else: no inline script, no
// inline style, no frame, no foreign address.
const csp = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

// Guard sets the headers every answer carries and refuses posts that another
// site sent.
func (c *Chrome) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		if c.secure(r) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if err := c.forged.Check(r); err != nil {
			c.Fail(w, r, nil, fmt.Errorf("this form was sent by another site, so nothing was done; open the page here and send it again: %w", ops.ErrDenied))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Open serves a handler to everybody, signed in or not; v is nil for those who
// are not.
func (c *Chrome) Open(h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visit(r)
		if err != nil {
			v = nil
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := h(w, r, v); err != nil {
			c.Fail(w, r, v, err)
		}
	})
}

// Page serves a handler to those who signed in. Others are led to the sign-in
// page, and back here afterwards. A post must carry the session's form token.
func (c *Chrome) Page(h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visit(r)
		switch {
		case errors.Is(err, errNoSession) && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		case errors.Is(err, errNoSession):
			c.Fail(w, r, nil, fmt.Errorf("your session has ended, so nothing was done; sign in and send it again: %w", ops.ErrDenied))
			return
		case err != nil:
			c.Fail(w, r, nil, err)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if err := r.ParseForm(); err != nil {
				c.Fail(w, r, v, fmt.Errorf("form: %w; at most %d bytes are read: %w", err, maxForm, ops.ErrInvalid))
				return
			}
			if v.CSRF == "" || subtle.ConstantTimeCompare([]byte(r.PostForm.Get("csrf")), []byte(v.CSRF)) != 1 {
				c.Fail(w, r, v, fmt.Errorf("this form does not belong to your session, so nothing was done; load the page again: %w", ops.ErrDenied))
				return
			}
		}
		if err := h(w, r, v); err != nil {
			c.Fail(w, r, v, err)
		}
	})
}

func (c *Chrome) visit(r *http.Request) (*Visit, error) {
	v := &Visit{Now: c.o.Clock().UTC(), Zone: time.UTC, Keys: true, URL: r.URL.RequestURI()}
	preferences(r, v)
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" {
		return v, errNoSession
	}
	v.Principal, v.CSRF, err = c.o.Sessions.Session(r.Context(), cookie.Value)
	if errors.Is(err, ops.ErrDenied) || errors.Is(err, ops.ErrNotFound) {
		return v, errNoSession
	}
	if err == nil {
		v.Absent, err = c.absent(r.Context(), v.Principal)
	}
	return v, err
}

// preferences reads how the reader wants to see pages. A value we do not know
// is as if it were not there.
func preferences(r *http.Request, v *Visit) {
	value := func(name string) string {
		if ck, err := r.Cookie(name); err == nil {
			return ck.Value
		}
		return ""
	}
	if t := value(ThemeCookie); t == "light" || t == "dark" {
		v.Theme = t
	}
	v.Roomy = value(DenseCookie) == "roomy"
	v.Keys = value(KeysCookie) != "off"
	if name, err := url.QueryUnescape(value(ZoneCookie)); err == nil && name != "" && name != "Local" {
		if z, err := time.LoadLocation(name); err == nil {
			v.Zone = z
		}
	}
}

// SignIn opens a session and sets its cookie.
func (c *Chrome) SignIn(w http.ResponseWriter, r *http.Request, token string) error {
	cookie, _, err := c.o.Sessions.SignIn(r.Context(), strings.TrimSpace(token))
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.secure(r),
	})
	return nil
}

// SignOut ends the session and takes its cookie away.
func (c *Chrome) SignOut(w http.ResponseWriter, r *http.Request) error {
	if ck, err := r.Cookie(sessionCookie); err == nil {
		if err := c.o.Sessions.SignOut(r.Context(), ck.Value); err != nil {
			return err
		}
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.secure(r)})
	return nil
}

// Remember keeps a preference for a year; an empty value forgets it.
func (c *Chrome) Remember(w http.ResponseWriter, r *http.Request, name, value string) {
	ck := &http.Cookie{
		Name: name, Value: url.QueryEscape(value), Path: "/", MaxAge: 365 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.secure(r),
	}
	if value == "" {
		ck.MaxAge = -1
	}
	http.SetCookie(w, ck)
}

func (c *Chrome) secure(r *http.Request) bool { return r.TLS != nil || c.o.Secure }

// Toast is the answer to what the reader just did, shown once.
type Toast struct{ Text string }

// Done leads the reader to a page that begins with the answer to what they did.
func (c *Chrome) Done(w http.ResponseWriter, r *http.Request, to, text string) error {
	http.SetCookie(w, &http.Cookie{
		Name: toastCookie, Value: base64.RawURLEncoding.EncodeToString([]byte(text)), Path: "/", MaxAge: 60,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.secure(r),
	})
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (c *Chrome) takeToast(w http.ResponseWriter, r *http.Request) *Toast {
	ck, err := r.Cookie(toastCookie)
	if err != nil {
		return nil
	}
	http.SetCookie(w, &http.Cookie{Name: toastCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.secure(r)})
	text, err := base64.RawURLEncoding.DecodeString(ck.Value)
	if err != nil || len(text) == 0 {
		return nil
	}
	return &Toast{Text: string(text)}
}

// Local returns next if it is a path on this site, and / otherwise, so that
// signing in never leads away.
func Local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

func (c *Chrome) log(r *http.Request, err error) {
	c.o.Logger.LogAttrs(r.Context(), slog.LevelError, "page failed", slog.String("path", r.URL.Path), slog.Any("error", err))
}
