// Package incidents is the pages /incidents and /incidents/{id}: which ones
// are mine, what happened, why, is it over.
package incidents

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed list.html one.html
var files embed.FS

// Record is what the pages read.
type Record interface {
	Incidents(ctx context.Context, f ops.IncidentFilter) ([]ops.Incident, error)
	Incident(ctx context.Context, idOrKey string) (ops.Incident, error)
	FirstMembers(ctx context.Context, incidentID string, most int) ([]ops.Member, error)
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
	ChangesOfIncident(ctx context.Context, incidentID string) ([]ops.Change, error)
	FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error)
}

// Series answers what was measured.
type Series interface {
	Recent(ctx context.Context, resourceID string, from, to time.Time) ([]ops.Series, error)
}

// Actions is what people do to an incident.
type Actions interface {
	Move(ctx context.Context, by ops.Principal, idOrKey string, to ops.IncidentState, why, via string) (ops.Incident, error)
	Comment(ctx context.Context, by ops.Principal, idOrKey, text, via string) error
}

// Page serves the incidents.
type Page struct {
	chrome   *chrome.Chrome
	listPage *chrome.Template
	onePage  *chrome.Template
	record   Record
	series   Series
	actions  Actions
	desk     string

	mu      sync.Mutex
	known   []ops.Incident
	counted time.Time
}

// New returns the pages; desk is the configured name of the embedded desk.
func New(c *chrome.Chrome, record Record, series Series, actions Actions, desk string) *Page {
	return &Page{chrome: c, listPage: c.Template(files, "list.html"), onePage: c.Template(files, "one.html"), record: record, series: series, actions: actions, desk: desk}
}

// Routes adds the pages to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /incidents", p.chrome.Page(p.list))
	mux.Handle("GET /incidents/{id}", p.chrome.Page(p.one))
	mux.Handle("POST /incidents/{id}/move", p.chrome.Page(p.move))
	mux.Handle("POST /incidents/{id}/comment", p.chrome.Page(p.comment))
}

func badCursor(s string) error {
	return fmt.Errorf("before: %q is no number of an incident: %w", s, ops.ErrInvalid)
}

// moved says what a move did, for people.
var moved = map[ops.IncidentState]string{
	ops.IncidentInProgress: "is in progress", ops.IncidentOnHold: "is on hold", ops.IncidentResolved: "is resolved",
	ops.IncidentClosed: "is closed", ops.IncidentCancelled: "is cancelled",
}

func (p *Page) move(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	to, err := ops.ParseIncidentState(r.PostForm.Get("to"))
	if err != nil {
		return err
	}
	i, err := p.record.Incident(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if shown := ops.IncidentState(r.PostForm.Get("state")); shown != i.State {
		return fmt.Errorf("%s is %s now, the page showed %s; look again: %w", i.Key(), i.State, shown, ops.ErrConflict)
	}
	if i, err = p.actions.Move(r.Context(), v.Principal, i.ID, to, strings.TrimSpace(r.PostForm.Get("why")), "page"); err != nil {
		return err
	}
	return p.chrome.Done(w, r, "/incidents/"+i.Key(), i.Key()+" "+moved[to]+". Its tickets follow.")
}

func (p *Page) comment(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	i, err := p.record.Incident(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	text := r.PostForm.Get("text")
	if err := p.actions.Comment(r.Context(), v.Principal, i.ID, text, "page"); err != nil {
		if f := chrome.FaultOf(err); f.Status == http.StatusUnprocessableEntity {
			return p.show(w, r, v, i, f.Status, text, f.Why)
		}
		return err
	}
	return p.chrome.Done(w, r, "/incidents/"+i.Key(), "Comment added. Its tickets get it as a work note.")
}
