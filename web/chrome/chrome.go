// Package chrome is what every page shares, exactly once: the shell with its
// rail and top bar, the icons, the stylesheet, the scripts, the session, the
// guard against forged posts, the error pages and the stream of live updates.
// A page adds a handler and a template.
package chrome

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
)

// Sessions turns tokens into sessions and back into principals. A wrong,
// expired or revoked credential is ops.ErrDenied.
type Sessions interface {
	// SignIn opens a session for a token and returns its cookie and the token
	// that its forms must carry.
	SignIn(ctx context.Context, token string) (cookie, csrf string, err error)
	// Session returns who a cookie belongs to and its forms' token.
	Session(ctx context.Context, cookie string) (ops.Principal, string, error)
	// SignOut ends a session; ending one twice is no error.
	SignOut(ctx context.Context, cookie string) error
}

// Record is what the rail counts.
type Record interface {
	Incidents(ctx context.Context, f ops.IncidentFilter) ([]ops.Incident, error)
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
}

// Switch tells whether execution is stopped, and why.
type Switch interface {
	ExecutionStopped(ctx context.Context) (reason string, stopped bool, err error)
}

// Absences tells in whose name a principal may decide now.
type Absences interface {
	InNameOf(ctx context.Context, by ops.Principal) ([]ops.Principal, error)
}

// Feed is where live updates come from.
type Feed interface {
	FactsAfter(ctx context.Context, after int64, limit int, kinds ...ops.FactKind) ([]ops.Fact, error)
	LastFact(ctx context.Context) (int64, error)
}

// Link is one page in the navigation.
type Link struct {
	URL, Icon, Name string
	// Core pages stay under the thumb on a phone; at most four of them are shown there.
	Core bool
	// Count names the figure beside the link: incidents, approvals or none.
	Count string
}

// Group is a titled part of the navigation.
type Group struct {
	Name  string
	Links []Link
}

// Options is what the chrome needs.
type Options struct {
	Sessions Sessions
	Record   Record
	Switch   Switch
	Absences Absences // optional: without it nobody is delegated
	Feed     Feed
	Clock    clock.Clock
	Logger   *slog.Logger
	Version  string
	// Secure says that browsers reach us by TLS that ends before us, so that
	// cookies are marked Secure although a request has none.
	Secure bool
	Nav    []Group
	// Styles are the pages' own styles, appended to the stylesheet.
	Styles []string
}

// Chrome is what pages render through. It is safe for concurrent use.
type Chrome struct {
	o      Options
	assets *assets
	shell  *template.Template
	fault  *Template
	forged *http.CrossOriginProtection
	hub    hub
	done   chan struct{} // closed when streams shall end
	close  sync.Once

	mu        sync.Mutex
	countedAt time.Time
	counts    map[string]Count
}

//go:embed shell.html parts.html fault.html
var templates embed.FS

// New parses the shell and prepares the static files. It fails only for a
// defect of ours.
func New(o Options) (*Chrome, error) {
	a, err := loadAssets(o.Styles)
	if err != nil {
		return nil, fmt.Errorf("chrome: %w", err)
	}
	c := &Chrome{o: o, assets: a, forged: http.NewCrossOriginProtection(), done: make(chan struct{})}
	if c.shell, err = template.New("").Funcs(c.words()).ParseFS(templates, "shell.html", "parts.html"); err != nil {
		return nil, fmt.Errorf("chrome: %w", err)
	}
	c.fault = c.Template(templates, "fault.html")
	return c, nil
}

// Close ends the streams of live updates, which would hold up a server that
// drains. Browsers come back to the next one by themselves.
func (c *Chrome) Close() { c.close.Do(func() { close(c.done) }) }

// Template is what one page looks like.
type Template struct {
	parse func() (*template.Template, error)
}

// Template puts a page's files on top of the shell. One of them defines "main",
// the content of the page. They are parsed when the page is first shown: a
// start waits for no page.
func (c *Chrome) Template(files fs.FS, names ...string) *Template {
	return &Template{sync.OnceValues(func() (*template.Template, error) {
		t, err := c.shell.Clone()
		if err == nil {
			t, err = t.ParseFS(files, names...)
		}
		return t, err
	})}
}

// Visit is one request of a person who signed in.
type Visit struct {
	Principal ops.Principal
	Absent    []ops.Principal // in whose name the principal decides as well
	CSRF      string          // the session's form token
	Now       time.Time
	Theme     string         // light, dark or empty for the system's
	Zone      *time.Location // the reader's own zone, UTC unless they chose one
	Roomy     bool           // taller rows
	Keys      bool           // single keys act
	URL       string         // path and query of this page
}

// Crumb is one step of the breadcrumb; the last has no URL.
type Crumb struct{ Name, URL string }

// View is what a page gives the shell.
type View struct {
	Status int // 0 means 200
	Title  string
	Nav    string // URL of the navigation link this page stands under
	Crumbs []Crumb
	// Live names the fact subjects that make this page stale, separated by
	// spaces; "*" means all, empty none.
	Live string
	// Hold keeps live updates from replacing what is shown, because a decision
	// stands on it: the reader is told and asks for the new version.
	Hold bool
	Body any
}

// Count is a figure in the rail.
type Count struct {
	N    int
	Due  bool // it waits for the reader
	More bool // there are more than N
}

// Frame is what templates see: the page's View with everything around it.
type Frame struct {
	View
	Visit
	Groups  []navGroup
	Toast   *Toast
	Stopped bool
	Reason  string
	Version string
	LastSeq int64
}

type navGroup struct {
	Name  string
	Links []navLink
}

type navLink struct {
	Link
	Current bool
	Figure  *Count
}

// Handler serves a page to a person who signed in. An error it returns becomes
// a page that says what happened; the response must not have begun then.
type Handler func(w http.ResponseWriter, r *http.Request, v *Visit) error

// Render writes a page.
func (c *Chrome) Render(w http.ResponseWriter, r *http.Request, v *Visit, t *Template, view View) error {
	f, err := c.frame(w, r, v, view)
	if err != nil {
		return err
	}
	return c.write(w, t, "shell", view.Status, f)
}

// Bare writes a page without rail and top bar, for those who have not signed in.
func (c *Chrome) Bare(w http.ResponseWriter, r *http.Request, t *Template, view View) error {
	v := &Visit{Now: c.o.Clock().UTC(), Zone: time.UTC, URL: r.URL.RequestURI()}
	preferences(r, v)
	return c.write(w, t, "bare", view.Status, &Frame{View: view, Visit: *v, Version: c.o.Version})
}

func (c *Chrome) write(w http.ResponseWriter, t *Template, name string, status int, f *Frame) error {
	var b strings.Builder
	parsed, err := t.parse()
	if err == nil {
		err = parsed.ExecuteTemplate(&b, name, f)
	}
	if err != nil {
		return fmt.Errorf("chrome: render %q: %w: %w", f.Title, err, ops.ErrInternal)
	}
	if status == 0 {
		status = http.StatusOK
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// A page is not compressed: it holds the form token beside words a stranger
	// can put into the address, and compression would tell one by the other.
	h.Set("Cache-Control", "private, no-cache")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(b.String())) // a reader who went away is no error
	return nil
}

func (c *Chrome) frame(w http.ResponseWriter, r *http.Request, v *Visit, view View) (*Frame, error) {
	ctx := r.Context()
	f := &Frame{View: view, Visit: *v, Version: c.o.Version, Toast: c.takeToast(w, r)}
	counts, err := c.counted(ctx, v.Principal, v.Absent)
	if err != nil {
		return nil, err
	}
	if f.Reason, f.Stopped, err = c.o.Switch.ExecutionStopped(ctx); err != nil {
		return nil, err
	}
	if view.Live != "" {
		if f.LastSeq, err = c.o.Feed.LastFact(ctx); err != nil {
			return nil, err
		}
	}
	for _, g := range c.o.Nav {
		ng := navGroup{Name: g.Name}
		for _, l := range g.Links {
			nl := navLink{Link: l, Current: l.URL == view.Nav}
			if n, ok := counts[l.Count]; ok && n.N > 0 {
				nl.Figure = &n
			}
			ng.Links = append(ng.Links, nl)
		}
		f.Groups = append(f.Groups, ng)
	}
	return f, nil
}

// countFor is how long figures in the rail may be old.
const countFor = 2 * time.Second

// maxCount is the greatest figure that is counted exactly.
const maxCount = 1000

// Counts returns the figures of the rail: open incidents and changes that wait
// for this principal.
func (c *Chrome) Counts(ctx context.Context, p ops.Principal) (map[string]Count, error) {
	absent, err := c.absent(ctx, p)
	if err != nil {
		return nil, err
	}
	return c.counted(ctx, p, absent)
}

func (c *Chrome) absent(ctx context.Context, p ops.Principal) ([]ops.Principal, error) {
	if c.o.Absences == nil {
		return nil, nil
	}
	return c.o.Absences.InNameOf(ctx, p)
}

func (c *Chrome) counted(ctx context.Context, p ops.Principal, absent []ops.Principal) (map[string]Count, error) {
	open, waiting, err := c.estate(ctx)
	if err != nil {
		return nil, err
	}
	due := 0
	for _, ch := range waiting {
		if MayDecide(p, absent, ch) == "" {
			due++
		}
	}
	approvals := Count{N: due, Due: true}
	if due == 0 {
		approvals = Count{N: len(waiting)}
	}
	return map[string]Count{"incidents": open, "approvals": approvals}, nil
}

func (c *Chrome) estate(ctx context.Context) (Count, []ops.Change, error) {
	waiting, err := c.o.Record.Changes(ctx, ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeAuthorize}, Limit: maxCount})
	if err != nil {
		return Count{}, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Clock()
	if c.counts == nil || now.Sub(c.countedAt) > countFor || now.Before(c.countedAt) {
		open, err := c.o.Record.Incidents(ctx, ops.IncidentFilter{States: OpenStates, Limit: maxCount})
		if err != nil {
			return Count{}, nil, err
		}
		c.counts, c.countedAt = map[string]Count{"incidents": {N: len(open), More: len(open) == maxCount}}, now
	}
	return c.counts["incidents"], waiting, nil
}

// OpenStates are the states of incidents that still want work.
var OpenStates = []ops.IncidentState{ops.IncidentNew, ops.IncidentInProgress, ops.IncidentOnHold}

// Principal returns who a request's session cookie belongs to.
func (c *Chrome) Principal(r *http.Request) (ops.Principal, bool) {
	v, err := c.visit(r)
	return v.Principal, err == nil
}

// errNoSession says that a request carries no session.
var errNoSession = errors.New("no session")
