// Package stop is the page /stop: one switch stops all execution.
package stop

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"strings"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed stop.html
var files embed.FS

// Switch stops and resumes all execution.
type Switch interface {
	ExecutionStopped(ctx context.Context) (reason string, stopped bool, err error)
	StopExecution(ctx context.Context, by ops.Principal, reason string) error
	ResumeExecution(ctx context.Context, by ops.Principal, reason string) error
}

// Record is what the page reads.
type Record interface {
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
}

// Page serves the switch.
type Page struct {
	chrome *chrome.Chrome
	page   *chrome.Template
	record Record
	gate   Switch
}

// New returns the page.
func New(c *chrome.Chrome, record Record, gate Switch) *Page {
	return &Page{c, c.Template(files, "stop.html"), record, gate}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /stop", p.chrome.Page(p.show))
	mux.Handle("POST /stop", p.chrome.Page(p.flip))
}

// Body is what the template shows.
type Body struct {
	Stopped   bool
	Reason    string
	Running   []ops.Change
	Scheduled int
	WhyNot    string
	Typed     string
	Fault     string
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	return p.render(w, r, v, 0, Body{})
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, v *chrome.Visit, status int, b Body) error {
	ctx := r.Context()
	var err error
	if b.Reason, b.Stopped, err = p.gate.ExecutionStopped(ctx); err != nil {
		return err
	}
	if b.Running, err = p.record.Changes(ctx, ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeImplement}}); err != nil {
		return err
	}
	waiting, err := p.record.Changes(ctx, ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeScheduled}, Limit: 1000})
	if err != nil {
		return err
	}
	b.Scheduled = len(waiting)
	if !v.Principal.May(ops.MayManageChanges) {
		b.WhyNot = "Stopping and resuming needs one of the roles change-manager, incident-commander or admin."
	}
	title := "Stop all execution"
	if b.Stopped {
		title = "Execution is stopped"
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{
		Status: status, Title: title, Nav: "/stop", Crumbs: []chrome.Crumb{{Name: "Execution"}}, Live: ops.SystemSubject, Hold: b.WhyNot == "", Body: b,
	})
}

func (p *Page) flip(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	reason := strings.TrimSpace(r.PostForm.Get("reason"))
	if reason == "" {
		return p.render(w, r, v, http.StatusUnprocessableEntity, Body{Fault: "A reason is needed; those who wait will read it."})
	}
	var err error
	text := "All execution is stopped. Runs that had begun end on their own."
	switch do := r.PostForm.Get("do"); do {
	case "stop":
		err = p.gate.StopExecution(r.Context(), v.Principal, reason)
	case "resume":
		text = "Execution goes on. Approved changes start in their windows."
		err = p.gate.ResumeExecution(r.Context(), v.Principal, reason)
	default:
		return fmt.Errorf("do: %q is neither stop nor resume: %w", do, ops.ErrInvalid)
	}
	if err != nil {
		return err
	}
	return p.chrome.Done(w, r, "/stop", text)
}
