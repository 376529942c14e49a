// Package web is the user interface: pages rendered on the server, one folder
// per page below page/, inside one chrome. Every action is a link or a form
// post and works without script; script adds charts, live updates and keys.
package web

import (
	"log/slog"
	"net/http"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/page/account"
	"github.com/fettleops/fettle/web/page/approvals"
	"github.com/fettleops/fettle/web/page/backlog"
	"github.com/fettleops/fettle/web/page/calendar"
	"github.com/fettleops/fettle/web/page/changes"
	"github.com/fettleops/fettle/web/page/desk"
	"github.com/fettleops/fettle/web/page/incidents"
	"github.com/fettleops/fettle/web/page/login"
	"github.com/fettleops/fettle/web/page/notifications"
	"github.com/fettleops/fettle/web/page/overview"
	"github.com/fettleops/fettle/web/page/recommendations"
	"github.com/fettleops/fettle/web/page/search"
	"github.com/fettleops/fettle/web/page/series"
	"github.com/fettleops/fettle/web/page/stop"
	"github.com/fettleops/fettle/web/page/styleguide"
	"github.com/fettleops/fettle/web/page/trail"
)

// Record is everything the pages read; store.Store satisfies it. Each page
// declares the few methods it asks.
type Record interface {
	chrome.Feed
	approvals.Record
	backlog.Record
	calendar.Record
	changes.Record
	incidents.Record
	notifications.Record
	overview.Record
	recommendations.Record
	search.Record
	trail.Record
}

// Gate is what people decide about changes; the change room satisfies it.
type Gate interface {
	changes.Gate
	chrome.Absences
	stop.Switch
}

// Deps is what app plugs in.
type Deps struct {
	Sessions  chrome.Sessions
	Record    Record
	Series    incidents.Series  // nil: no charts of incidents
	Senses    series.Senses     // what detection sees; nil: no pages of series
	Incidents incidents.Actions // the correlate room
	Gate      Gate              // the change room
	Windows   calendar.Windows  // when changes may run; nil: no calendar
	Advice    recommendations.Actions
	Channels  notifications.Channels // the notify room
	Analytics backlog.Answers        // the analytics room
	Desk      desk.Desk              // nil: no desk pages
	DeskName  string                 // configured platform name of the desk, whose tickets link to its pages
	Pulse     overview.Pulse         // nil: not measured
	Clock     clock.Clock
	Logger    *slog.Logger
	Version   string
	// Secure says that browsers reach us by TLS that ends before us.
	Secure bool
}

// Web is the user interface as one handler. It is safe for concurrent use.
type Web struct {
	chrome  *chrome.Chrome
	handler http.Handler
}

// page is what every page offers.
type page interface{ Routes(mux *http.ServeMux) }

// New builds the pages. It fails only for a defect of ours in a static file.
func New(d Deps) (*Web, error) {
	c, err := chrome.New(chrome.Options{
		Sessions: d.Sessions, Record: d.Record, Switch: d.Gate, Absences: d.Gate, Feed: d.Record, Clock: d.Clock, Logger: d.Logger,
		Version: d.Version, Secure: d.Secure, Nav: navigation(d), Styles: []string{login.Style, trail.Style, calendar.Style, notifications.Style},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	pages := []page{
		login.New(c, d.Clock),
		account.New(c),
		overview.New(c, d.Record, d.Pulse),
		incidents.New(c, d.Record, d.Series, d.Incidents, d.DeskName),
		changes.New(c, d.Record, d.Gate, d.DeskName),
		approvals.New(c, d.Record),
		recommendations.New(c, d.Record, d.Advice),
		notifications.New(c, d.Record, d.Channels),
		backlog.New(c, d.Record, d.Analytics),
		trail.New(c, d.Record),
		stop.New(c, d.Record, d.Gate),
		search.New(c, d.Record, d.Senses),
		styleguide.New(c),
	}
	if d.Senses != nil {
		pages = append(pages, series.New(c, d.Senses))
	}
	if d.Windows != nil {
		pages = append(pages, calendar.New(c, d.Windows, d.Record))
	}
	if d.Desk != nil {
		pages = append(pages, desk.New(c, d.Desk))
	}
	for _, p := range pages {
		p.Routes(mux)
	}
	mux.Handle("GET /events", c.Page(c.Events))
	mux.HandleFunc("GET /static/{file}", c.Static)
	mux.Handle("/", c.Page(c.Missing))
	return &Web{chrome: c, handler: c.Guard(mux)}, nil
}

// ServeHTTP serves a page.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.handler.ServeHTTP(rw, r) }

// Close ends the streams of live updates, so that a server can drain. It is
// meant for http.Server.RegisterOnShutdown and may be called twice.
func (w *Web) Close() { w.chrome.Close() }

// Principal returns who a request's session cookie belongs to, so that the API
// can take the same cookie. The caller guards its own writes against posts
// from other sites.
func (w *Web) Principal(r *http.Request) (ops.Principal, bool) { return w.chrome.Principal(r) }

// navigation lists the pages that work.
func navigation(d Deps) []chrome.Group {
	loop := chrome.Group{Name: "Loop", Links: []chrome.Link{
		{URL: "/", Icon: "overview", Name: "Overview", Core: true},
		{URL: "/incidents", Icon: "incident", Name: "Incidents", Core: true, Count: "incidents"},
		{URL: "/changes", Icon: "change", Name: "Changes", Core: true},
		{URL: "/approvals", Icon: "approve", Name: "Approvals", Core: true, Count: "approvals"},
		{URL: "/recommendations", Icon: "signal", Name: "Recommendations"},
	}}
	if d.Windows != nil {
		loop.Links = append(loop.Links, chrome.Link{URL: "/calendar", Icon: "calendar", Name: "Calendar"})
	}
	learn := chrome.Group{Name: "Learn", Links: []chrome.Link{{URL: "/backlog", Icon: "backlog", Name: "Backlog"}}}
	system := chrome.Group{Name: "System", Links: []chrome.Link{
		{URL: "/notifications", Icon: "bell", Name: "Notifications"},
		{URL: "/stop", Icon: "power", Name: "Execution"},
		{URL: "/account", Icon: "user", Name: "Account"},
		{URL: "/styleguide", Icon: "theme", Name: "Style guide"},
	}}
	groups := []chrome.Group{loop, learn}
	if d.Senses != nil {
		groups = append(groups, chrome.Group{Name: "Estate", Links: []chrome.Link{{URL: "/series", Icon: "signal", Name: "Series"}}})
	}
	if d.Desk != nil {
		groups = append(groups, chrome.Group{Name: "Work", Links: []chrome.Link{{URL: "/desk", Icon: "ticket", Name: "Desk"}}})
	}
	return append(groups, system)
}
