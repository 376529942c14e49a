// Package changes is the pages /changes, /changes/new and /changes/{id}: what
// exactly would be done, who allowed it, did it help.
package changes

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

//go:embed list.html one.html new.html
var files embed.FS

// Record is what the pages read.
type Record interface {
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	Change(ctx context.Context, idOrKey string) (ops.Change, error)
	Plan(ctx context.Context, planID string) (ops.Plan, error)
	Incident(ctx context.Context, idOrKey string) (ops.Incident, error)
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
	FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error)
}

// Gate is what people decide about a change.
type Gate interface {
	// Executors returns the names of those that can carry a change out, sorted.
	Executors() []string
	Raise(ctx context.Context, by ops.Principal, q change.Request, via string) (ops.Change, error)
	Decide(ctx context.Context, by ops.Principal, idOrKey string, d ops.Decision, digest, comment, via string) (ops.Change, error)
	Cancel(ctx context.Context, by ops.Principal, idOrKey, why, via string) (ops.Change, error)
	BreakGlass(ctx context.Context, by ops.Principal, idOrKey, freeze, reason string) (ops.Change, error)
	Breakable(ctx context.Context, by ops.Principal, c ops.Change) ([]string, error)
	SignReview(ctx context.Context, by ops.Principal, idOrKey, note string) (ops.Change, error)
	DecideHeld(ctx context.Context, by ops.Principal, idOrKey string, word change.Resolution, why string) (ops.Change, error)
}

// Page serves the changes.
type Page struct {
	chrome   *chrome.Chrome
	listPage *chrome.Template
	onePage  *chrome.Template
	newPage  *chrome.Template
	record   Record
	gate     Gate
	desk     string
}

// New returns the pages; desk is the configured name of the embedded desk.
func New(c *chrome.Chrome, record Record, gate Gate, desk string) *Page {
	return &Page{c, c.Template(files, "list.html"), c.Template(files, "one.html"), c.Template(files, "new.html"), record, gate, desk}
}

// Routes adds the pages to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /changes", p.chrome.Page(p.list))
	mux.Handle("GET /changes/new", p.chrome.Page(p.new))
	mux.Handle("POST /changes", p.chrome.Page(p.raise))
	mux.Handle("GET /changes/{id}", p.chrome.Page(p.one))
	mux.Handle("POST /changes/{id}/decision", p.chrome.Page(p.decide))
	mux.Handle("POST /changes/{id}/cancel", p.chrome.Page(p.cancel))
	mux.Handle("POST /changes/{id}/held", p.chrome.Page(p.settle))
	mux.Handle("POST /changes/{id}/break-glass", p.chrome.Page(p.breakGlass))
	mux.Handle("POST /changes/{id}/review", p.chrome.Page(p.sign))
}

// View is a saved view: a name for a set of states.
type View struct {
	Name, Title string
	States      []ops.ChangeState
	URL         string
	Current     bool
}

var views = []View{
	{Name: "all", Title: "All"},
	{Name: "waiting", Title: "Wait for approval", States: []ops.ChangeState{ops.ChangeAuthorize}},
	{Name: "scheduled", Title: "Scheduled", States: []ops.ChangeState{ops.ChangeScheduled}},
	{Name: "running", Title: "Running", States: []ops.ChangeState{ops.ChangeImplement, ops.ChangeReview}},
	{Name: "closed", Title: "Closed", States: []ops.ChangeState{ops.ChangeClosed}},
	{Name: "cancelled", Title: "Cancelled", States: []ops.ChangeState{ops.ChangeCancelled}},
}

const pageSize = 50

// List is what the template of the list shows.
type List struct {
	Views         []View
	View, Text    string
	Rows          []ops.Change
	Older, Newest string
	MayRaise      bool
}

func (p *Page) list(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	q := r.URL.Query()
	l := &List{Text: strings.TrimSpace(q.Get("q")), MayRaise: mayNotRaise(v.Principal) == ""}
	view := views[0]
	if i := slices.IndexFunc(views, func(v View) bool { return v.Name == q.Get("view") }); i >= 0 {
		view = views[i]
	}
	l.View = view.Name
	f := ops.ChangeFilter{States: view.States, Text: l.Text, Limit: pageSize + 1}
	if s := q.Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return fmt.Errorf("before: %q is no number of a change: %w", s, ops.ErrInvalid)
		}
		f.Before = n
	}
	found, err := p.record.Changes(r.Context(), f)
	if err != nil {
		return err
	}
	address := func(view string, before int64) string {
		out := url.Values{}
		if view != views[0].Name {
			out.Set("view", view)
		}
		if l.Text != "" {
			out.Set("q", l.Text)
		}
		if before > 0 {
			out.Set("before", strconv.FormatInt(before, 10))
		}
		if len(out) == 0 {
			return "/changes"
		}
		return "/changes?" + out.Encode()
	}
	if len(found) > pageSize {
		found = found[:pageSize]
		l.Older = address(view.Name, found[pageSize-1].Number)
	}
	if f.Before > 0 {
		l.Newest = address(view.Name, 0)
	}
	l.Rows = found
	for _, v := range views {
		v.URL, v.Current = address(v.Name, 0), v.Name == view.Name
		l.Views = append(l.Views, v)
	}
	return p.chrome.Render(w, r, v, p.listPage, chrome.View{
		Title: "Changes", Nav: "/changes", Crumbs: []chrome.Crumb{{Name: "Changes"}}, Live: "*", Body: l,
	})
}

// Form is a decision as it was posted, when it was not taken.
type Form struct {
	Typed, Fault string
}

// One is what the template of a change shows.
type One struct {
	ops.Change
	Plan      *ops.Plan
	Asker     string
	Incident  *ops.Incident
	Loop      []story.Stage
	Story     []story.Line
	Dated     bool
	Tickets   []chrome.TicketView
	Decide    *chrome.DecideForm
	WhyNot    string
	Elsewhere *chrome.Elsewhere // where it has to be approved; nil: here
	Steps     []chrome.Step     // who must approve, in order
	Freezes   []string          // that the reader may override
	MaySign   bool              // the review
	MayCancel bool
	Cancel    Form
	MaySettle bool // the run is held and the reader may say what became of it
	Held      Form
	Took      time.Duration
}

func (p *Page) one(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	c, err := p.record.Change(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return p.show(w, r, v, c, 0, Form{}, Form{}, Form{})
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit, c ops.Change, status int, decision, cancel, held Form) error {
	ctx := r.Context()
	o := &One{Change: c, Asker: c.RequestedBy, Cancel: cancel, Held: held}
	if c.PlanID != "" {
		plan, err := p.record.Plan(ctx, c.PlanID)
		if err != nil {
			return err
		}
		o.Plan = &plan
	}
	live := c.Subject()
	if c.IncidentID != "" {
		i, err := p.record.Incident(ctx, c.IncidentID)
		if err != nil && !errors.Is(err, ops.ErrNotFound) {
			return err
		}
		if err == nil {
			o.Incident = &i
		}
	}
	var err error
	if o.Tickets, err = chrome.TicketsOf(ctx, p.record, c.Subject(), p.desk); err != nil {
		return err
	}
	facts, err := p.record.FactsAbout(ctx, c.Subject())
	if err != nil {
		return err
	}
	for _, f := range facts {
		if f.Kind == ops.ChangeRaised {
			o.Asker = f.Principal
		}
	}
	o.Story = story.Tell(facts)
	for i := range o.Story { // every line is about this change
		o.Story[i].Key, o.Story[i].URL = "", ""
	}
	o.Dated = story.Dated(o.Story)
	o.Loop = story.OfChange(c, chrome.Plain(o.Tickets))
	if c.Run != nil && !c.Run.StartedAt.IsZero() {
		until := c.Run.AppliedAt
		if until.IsZero() {
			until = v.Now
		}
		o.Took = until.Sub(c.Run.StartedAt)
	}
	if c.State == ops.ChangeAuthorize {
		o.Elsewhere = chrome.ApprovedElsewhere(c, chrome.Plain(o.Tickets))
		if o.WhyNot = chrome.MayDecide(v.Principal, v.Absent, c); o.WhyNot == "" {
			o.Decide = &chrome.DecideForm{Change: c, CSRF: v.CSRF, Back: "/changes/" + c.Key(), Typed: decision.Typed, Fault: decision.Fault, Elsewhere: o.Elsewhere, For: chrome.InNameOf(v.Principal, v.Absent, c)}
		}
	}
	o.Steps = chrome.Steps(c)
	if o.Freezes, err = p.gate.Breakable(ctx, v.Principal, c); err != nil {
		return err
	}
	o.MaySign = c.State == ops.ChangeReview && c.Review != nil && v.Principal.Kind == ops.Person && v.Principal.May(ops.MayManageChanges)
	o.MayCancel = (v.Principal.May(ops.MayManageChanges) || c.RequestedBy == v.Principal.ID) && ops.CanMoveChange(c.State, ops.ChangeCancelled)
	o.MaySettle = c.Run != nil && c.Run.State == ops.RunHeld && v.Principal.May(ops.MayManageChanges)
	return p.chrome.Render(w, r, v, p.onePage, chrome.View{
		Status: status, Title: c.Key() + " " + c.Title, Nav: "/changes", Live: live, Hold: o.Decide != nil,
		Crumbs: []chrome.Crumb{{Name: "Changes", URL: "/changes"}, {Name: c.Key()}}, Body: o,
	})
}

func (p *Page) decide(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx := r.Context()
	c, err := p.record.Change(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(r.PostForm.Get("reason"))
	digest, revision := r.PostForm.Get("digest"), r.PostForm.Get("revision")
	d := ops.Decision(r.PostForm.Get("decision"))
	again := func(err error) error {
		f := chrome.FaultOf(err)
		return p.show(w, r, v, c, f.Status, Form{reason, f.Why}, Form{}, Form{})
	}
	switch {
	case d != ops.Approved && d != ops.Refused:
		return fmt.Errorf("decision: %q is neither approved nor denied: %w", d, ops.ErrInvalid)
	case revision != strconv.Itoa(c.Revision) || digest != c.PlanDigest:
		return again(fmt.Errorf("you looked at plan %s, by now there is plan %d; read it and decide anew: %w", revision, c.Revision, ops.ErrConflict))
	case d == ops.Refused && reason == "":
		return again(fmt.Errorf("denying needs a reason; write why: %w", ops.ErrInvalid))
	}
	if _, err = p.gate.Decide(ctx, v.Principal, c.ID, d, digest+"@"+revision, reason, "page"); err != nil {
		if errors.Is(err, ops.ErrInvalid) || errors.Is(err, ops.ErrConflict) || errors.Is(err, ops.ErrDenied) {
			if c, err2 := p.record.Change(ctx, c.ID); err2 == nil && chrome.MayDecide(v.Principal, v.Absent, c) == "" {
				return again(err)
			}
		}
		return err
	}
	text := c.Key() + " denied. It is cancelled and its ticket says why."
	if d == ops.Approved {
		text = "You approved plan " + revision + " of " + c.Key() + "."
		if after, err := p.record.Change(ctx, c.ID); err == nil && after.Window != nil && after.State == ops.ChangeScheduled {
			text += " It runs in window " + after.Window.Window
			if !after.Window.Always() {
				text += ", from " + after.Window.Start.UTC().Format("2 Jan 15:04") + " UTC"
			}
			text += "."
		}
	}
	return p.chrome.Done(w, r, chrome.Local(back(r, c)), text)
}

// back returns where the form stood: on the change's own page or among the
// approvals.
func back(r *http.Request, c ops.Change) string {
	if b := r.PostForm.Get("back"); b == "/approvals" {
		return b
	}
	return "/changes/" + c.Key()
}

func (p *Page) cancel(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx := r.Context()
	c, err := p.record.Change(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	why := strings.TrimSpace(r.PostForm.Get("why"))
	if why == "" {
		return p.show(w, r, v, c, http.StatusUnprocessableEntity, Form{}, Form{Fault: "Cancelling needs a reason; write why."}, Form{})
	}
	if c, err = p.gate.Cancel(ctx, v.Principal, c.ID, why, "page"); err != nil {
		return err
	}
	return p.chrome.Done(w, r, "/changes/"+c.Key(), c.Key()+" is cancelled. Nothing of it will run.")
}

// settled says what a person said about a held run.
var settled = map[change.Resolution]string{
	change.HeldSucceeded: "worked after all", change.HeldFailed: "failed and stays as it is", change.HeldRollBack: "is rolled back",
}

func (p *Page) settle(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx := r.Context()
	c, err := p.record.Change(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	word := change.Resolution(r.PostForm.Get("word"))
	if settled[word] == "" {
		return fmt.Errorf("word: %q is none of succeeded, failed, roll_back: %w", word, ops.ErrInvalid)
	}
	why := strings.TrimSpace(r.PostForm.Get("why"))
	if why == "" {
		return p.show(w, r, v, c, http.StatusUnprocessableEntity, Form{}, Form{}, Form{Fault: "Write what you found; the story keeps it."})
	}
	if c, err = p.gate.DecideHeld(ctx, v.Principal, c.ID, word, why); err != nil {
		return err
	}
	return p.chrome.Done(w, r, "/changes/"+c.Key(), "The run of "+c.Key()+" "+settled[word]+".")
}

func (p *Page) breakGlass(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	freeze := r.PostForm.Get("freeze")
	c, err := p.gate.BreakGlass(r.Context(), v.Principal, r.PathValue("id"), freeze, r.PostForm.Get("reason"))
	if err != nil {
		return err
	}
	text := "You asked to override the freeze " + freeze + " for " + c.Key() + ". A second person must confirm it."
	if slices.ContainsFunc(c.BreakGlass, func(b ops.BreakGlass) bool { return b.Freeze == freeze && b.InForce() }) {
		text = "The freeze " + freeze + " no longer denies " + c.Key() + ". Its review must be signed."
	}
	return p.chrome.Done(w, r, "/changes/"+c.Key(), text)
}

func (p *Page) sign(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	c, err := p.gate.SignReview(r.Context(), v.Principal, r.PathValue("id"), r.PostForm.Get("note"))
	if err != nil {
		return err
	}
	return p.chrome.Done(w, r, "/changes/"+c.Key(), "You signed the review of "+c.Key()+". It is closed.")
}
