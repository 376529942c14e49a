// Package desk is the pages /desk and /desk/{ref}: the tickets of the platform
// inside Fettle, worked on by people.
package desk

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed list.html one.html
var files embed.FS

// Desk is the platform inside Fettle as people use it; desk.Desk satisfies it.
type Desk interface {
	// List returns at most limit tickets with a number below before, newest
	// first; before 0 begins with the newest.
	List(ctx context.Context, before int64, limit int) ([]connector.Copy, error)
	// Get returns one ticket with its notes.
	Get(ctx context.Context, ref string) (connector.Copy, error)
	// Tasks returns the tasks of a change request, in order; other tickets have none.
	Tasks(ctx context.Context, ref string) ([]connector.Task, error)
	// Edit changes the named fields of a ticket as a person and adds a note
	// unless it is empty. A move that is not legal is ops.ErrInvalid.
	Edit(ctx context.Context, ref, by string, changed []connector.Field, f ops.TicketFields, note string) (connector.Copy, error)
}

// Page serves the desk.
type Page struct {
	chrome   *chrome.Chrome
	listPage *chrome.Template
	onePage  *chrome.Template
	desk     Desk
}

// New returns the pages.
func New(c *chrome.Chrome, desk Desk) *Page {
	return &Page{c, c.Template(files, "list.html"), c.Template(files, "one.html"), desk}
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
	Rows          []connector.Copy
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
		l.Older = "/desk?before=" + number(rows[pageSize-1].Display)
	}
	if before > 0 {
		l.Newest = "/desk"
	}
	return p.chrome.Render(w, r, v, p.listPage, chrome.View{
		Title: "Desk", Nav: "/desk", Crumbs: []chrome.Crumb{{Name: "Desk"}}, Live: "*", Body: l,
	})
}

// number returns the digits of a ticket's number, DESK-42.
func number(display string) string {
	return display[strings.LastIndexByte(display, '-')+1:]
}

// One is what the template of a ticket shows.
type One struct {
	connector.Copy
	Tasks  []connector.Task
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
	t, err := p.desk.Get(r.Context(), r.PathValue("ref"))
	if err != nil {
		return err
	}
	f := t.Fields
	return p.render(w, r, v, 0, &One{Copy: t, Typed: Typed{f.State, f.Assignee, f.Group, f.ResolveCode, f.ResolveNote, ""}})
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, v *chrome.Visit, status int, o *One) error {
	now := ops.IncidentState(o.Fields.State)
	for _, s := range states {
		if s == now || ops.CanMoveIncident(now, s) {
			o.States = append(o.States, s)
		}
	}
	var err error
	if o.Tasks, err = p.desk.Tasks(r.Context(), o.Ref); err != nil {
		return err
	}
	if !v.Principal.May(ops.MayWorkIncidents) {
		o.WhyNot = "Working on tickets needs the role responder or more."
	}
	return p.chrome.Render(w, r, v, p.onePage, chrome.View{
		Status: status, Title: o.Display + " " + o.Fields.Title, Nav: "/desk", Live: "*",
		Crumbs: []chrome.Crumb{{Name: "Desk", URL: "/desk"}, {Name: o.Display}}, Body: o,
	})
}

func (p *Page) edit(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx, f := r.Context(), r.PostForm
	if err := v.Principal.Require(ops.MayWorkIncidents); err != nil {
		return err
	}
	t, err := p.desk.Get(ctx, r.PathValue("ref"))
	if err != nil {
		return err
	}
	typed := Typed{f.Get("state"), strings.TrimSpace(f.Get("assignee")), strings.TrimSpace(f.Get("group")), strings.TrimSpace(f.Get("code")), strings.TrimSpace(f.Get("resolution")), f.Get("note")}
	want := ops.TicketFields{State: typed.State, Assignee: typed.Assignee, Group: typed.Group, ResolveCode: typed.Code, ResolveNote: typed.Resolution}
	var changed []connector.Field
	for _, c := range []struct {
		field   connector.Field
		was, is string
	}{
		{connector.State, t.Fields.State, want.State},
		{connector.Assignee, t.Fields.Assignee, want.Assignee},
		{connector.Group, t.Fields.Group, want.Group},
		{connector.ResolveCode, t.Fields.ResolveCode, want.ResolveCode},
		{connector.ResolveNote, t.Fields.ResolveNote, want.ResolveNote},
	} {
		if c.was != c.is {
			changed = append(changed, c.field)
		}
	}
	note := strings.TrimSpace(typed.Note)
	again := func(status int, fault string) error {
		return p.render(w, r, v, status, &One{Copy: t, Typed: typed, Fault: fault})
	}
	switch {
	case f.Get("version") != t.Version:
		return again(http.StatusConflict, fmt.Sprintf("%s was changed by %s since you opened it. Compare, then save again.", t.Display, t.UpdatedBy))
	case len(changed) == 0 && note == "":
		return again(http.StatusUnprocessableEntity, "Nothing was changed. Change a field or write a note.")
	}
	if _, err := p.desk.Edit(ctx, t.Ref, v.Principal.Name, changed, want, note); err != nil {
		if errors.Is(err, ops.ErrInvalid) || errors.Is(err, ops.ErrConflict) {
			fault := chrome.FaultOf(err)
			return again(fault.Status, fault.Why)
		}
		return err
	}
	return p.chrome.Done(w, r, "/desk/"+t.Display, t.Display+" is saved. Its incident follows.")
}
