// Package desk is the pages /desk and /desk/{ref}: the tickets of the platform
// inside Fettle, worked on by people.
package desk

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed list.html one.html
var files embed.FS

// Ticket is a ticket as the desk holds it.
type Ticket struct {
	Ref       string // DESK-42
	Number    int64
	Kind      ops.TicketKind
	Fields    ops.TicketFields
	Notes     []Note
	Version   string
	CreatedAt time.Time
	UpdatedAt time.Time
	UpdatedBy string
	Subject   string // incident/<id> or change/<id> it belongs to, empty when unknown
}

// Note is a work note; Own ones were written by Fettle.
type Note struct {
	ops.Note
	Own bool
}

// Edit is what a person changes: nil fields stay as they are.
type Edit struct {
	State, Assignee, Group *string
	ResolveCode            string
	ResolveNote            string
	Note                   string
}

// Desk is the platform inside Fettle as people use it.
type Desk interface {
	// List returns at most limit tickets with a number below before, newest
	// first; before 0 begins with the newest.
	List(ctx context.Context, before int64, limit int) ([]Ticket, error)
	// Ticket returns one ticket with its notes.
	Ticket(ctx context.Context, ref string) (Ticket, error)
	// Edit changes a ticket as a person. A move that is not legal is
	// ops.ErrInvalid, a version that is not the newest ops.ErrConflict.
	Edit(ctx context.Context, ref string, by ops.Principal, version string, e Edit) error
}

// Page serves the desk.
type Page struct {
	chrome   *chrome.Chrome
	listPage *template.Template
	onePage  *template.Template
	desk     Desk
}

// New returns the pages.
func New(c *chrome.Chrome, desk Desk) (*Page, error) {
	list, err := c.Template(files, "list.html")
	if err != nil {
		return nil, err
	}
	one, err := c.Template(files, "one.html")
	return &Page{c, list, one, desk}, err
}

// Routes adds the pages to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /desk", p.chrome.Page(p.list))
	mux.Handle("GET /desk/{ref}", p.chrome.Page(p.one))
	mux.Handle("POST /desk/{ref}", p.chrome.Page(p.edit))
}

const pageSize = 50

// List is what the template of the list shows.
type List struct {
	Rows          []Ticket
	Older, Newest string
}

func (p *Page) list(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	var before int64
	if s := r.URL.Query().Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return fmt.Errorf("before: %q is no number of a ticket: %w", s, ops.ErrInvalid)
		}
		before = n
	}
	rows, err := p.desk.List(r.Context(), before, pageSize+1)
	if err != nil {
		return err
	}
	l := &List{Rows: rows}
	if len(rows) > pageSize {
		l.Rows = rows[:pageSize]
		l.Older = "/desk?before=" + strconv.FormatInt(rows[pageSize-1].Number, 10)
	}
	if before > 0 {
		l.Newest = "/desk"
	}
	return p.chrome.Render(w, r, v, p.listPage, chrome.View{
		Title: "Desk", Nav: "/desk", Crumbs: []chrome.Crumb{{Name: "Desk"}}, Live: "*", Body: l,
	})
}

// One is what the template of a ticket shows.
type One struct {
	Ticket
	States []ops.IncidentState // those it may go to, and the one it is in
	WhyNot string
	Typed  Typed
	Fault  string
}

// Typed is what was typed into a form that was not taken.
type Typed struct{ State, Assignee, Group, Code, Resolution, Note string }

// states lists all states in the order people expect.
var states = []ops.IncidentState{
	ops.IncidentNew, ops.IncidentInProgress, ops.IncidentOnHold, ops.IncidentResolved, ops.IncidentClosed, ops.IncidentCancelled,
}

func (p *Page) one(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	t, err := p.desk.Ticket(r.Context(), r.PathValue("ref"))
	if err != nil {
		return err
	}
	f := t.Fields
	return p.render(w, r, v, 0, &One{Ticket: t, Typed: Typed{f.State, f.Assignee, f.Group, f.ResolveCode, f.ResolveNote, ""}})
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, v *chrome.Visit, status int, o *One) error {
	now := ops.IncidentState(o.Fields.State)
	for _, s := range states {
		if s == now || ops.CanMoveIncident(now, s) {
			o.States = append(o.States, s)
		}
	}
	if !v.Principal.May(ops.MayWorkIncidents) {
		o.WhyNot = "Working on tickets needs the role responder or more."
	}
	live := o.Subject
	if live == "" {
		live = "*"
	}
	return p.chrome.Render(w, r, v, p.onePage, chrome.View{
		Status: status, Title: o.Ref + " " + o.Fields.Title, Nav: "/desk", Live: live,
		Crumbs: []chrome.Crumb{{Name: "Desk", URL: "/desk"}, {Name: o.Ref}}, Body: o,
	})
}

func (p *Page) edit(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx, f := r.Context(), r.PostForm
	if err := v.Principal.Require(ops.MayWorkIncidents); err != nil {
		return err
	}
	t, err := p.desk.Ticket(ctx, r.PathValue("ref"))
	if err != nil {
		return err
	}
	typed := Typed{f.Get("state"), strings.TrimSpace(f.Get("assignee")), strings.TrimSpace(f.Get("group")), strings.TrimSpace(f.Get("code")), strings.TrimSpace(f.Get("resolution")), f.Get("note")}
	e := Edit{Note: strings.TrimSpace(typed.Note), ResolveCode: typed.Code, ResolveNote: typed.Resolution}
	changed := func(was, is string) *string {
		if was == is {
			return nil
		}
		return &is
	}
	e.State, e.Assignee, e.Group = changed(t.Fields.State, typed.State), changed(t.Fields.Assignee, typed.Assignee), changed(t.Fields.Group, typed.Group)
	again := func(status int, fault string) error {
		return p.render(w, r, v, status, &One{Ticket: t, Typed: typed, Fault: fault})
	}
	if e.State != nil && !slices.Contains(states, ops.IncidentState(*e.State)) {
		return again(http.StatusUnprocessableEntity, fmt.Sprintf("%q is no state.", *e.State))
	}
	if e.State == nil && e.Assignee == nil && e.Group == nil && e.Note == "" {
		return again(http.StatusUnprocessableEntity, "Nothing was changed. Change a field or write a note.")
	}
	if err := p.desk.Edit(ctx, t.Ref, v.Principal, f.Get("version"), e); err != nil {
		switch ops.Class(err) {
		case ops.ErrInvalid, ops.ErrConflict:
			fault := chrome.FaultOf(err)
			return again(fault.Status, fault.Why)
		}
		return err
	}
	return p.chrome.Done(w, r, "/desk/"+t.Ref, t.Ref+" is saved. Its incident follows.")
}
