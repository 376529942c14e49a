// Package recommendations is the pages /recommendations and
// /recommendations/{id}: what is recommended, what became of it, and what it
// brought.
package recommendations

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

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

//go:embed list.html one.html
var files embed.FS

// Record is what the pages read.
type Record interface {
	Recommendations(ctx context.Context, f ops.RecommendationFilter) ([]ops.Recommendation, error)
	Recommendation(ctx context.Context, idOrKey string) (ops.Recommendation, error)
	RecommendationTotals(ctx context.Context) ([]ops.RecommendationTotals, error)
	FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error)
}

// Actions is what people do to a recommendation.
type Actions interface {
	Dismiss(ctx context.Context, by ops.Principal, idOrKey, reason, via string) (ops.Recommendation, error)
}

// Page serves the recommendations.
type Page struct {
	chrome   *chrome.Chrome
	listPage *chrome.Template
	onePage  *chrome.Template
	record   Record
	actions  Actions
}

// New returns the pages.
func New(c *chrome.Chrome, record Record, actions Actions) *Page {
	return &Page{c, c.Template(files, "list.html"), c.Template(files, "one.html"), record, actions}
}

// Routes adds the pages to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /recommendations", p.chrome.Page(p.list))
	mux.Handle("GET /recommendations/{id}", p.chrome.Page(p.one))
	mux.Handle("POST /recommendations/{id}/dismiss", p.chrome.Page(p.dismiss))
}

// View is a saved view: a name for a set of states.
type View struct {
	Name, Title string
	States      []ops.RecommendationState
	URL         string
	Current     bool
}

var views = []View{
	{Name: "all", Title: "All"},
	{Name: "unplaced", Title: "Not placed", States: []ops.RecommendationState{ops.RecommendationUnplaced, ops.RecommendationNew}},
	{Name: "placed", Title: "In a change", States: []ops.RecommendationState{ops.RecommendationPlaced}},
	{Name: "done", Title: "Done", States: []ops.RecommendationState{ops.RecommendationDone}},
	{Name: "ended", Title: "Superseded or withdrawn", States: []ops.RecommendationState{ops.RecommendationSuperseded, ops.RecommendationWithdrawn}},
}

const pageSize = 50

// List is what the template of the list shows.
type List struct {
	Views         []View
	View, Text    string
	Rows          []ops.Recommendation
	Totals        []ops.RecommendationTotals
	Older, Newest string
}

func (p *Page) list(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx, q := r.Context(), r.URL.Query()
	l := &List{Text: strings.TrimSpace(q.Get("q"))}
	view := views[0]
	if i := slices.IndexFunc(views, func(v View) bool { return v.Name == q.Get("view") }); i >= 0 {
		view = views[i]
	}
	l.View = view.Name
	f := ops.RecommendationFilter{States: view.States, Text: l.Text, Limit: pageSize + 1}
	if s := q.Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("before: %q is no number: %w", s, ops.ErrInvalid)
		}
		f.Before = n
		l.Newest = address(l.View, l.Text, 0)
	}
	var err error
	if l.Rows, err = p.record.Recommendations(ctx, f); err != nil {
		return err
	}
	if len(l.Rows) > pageSize {
		l.Rows = l.Rows[:pageSize]
		l.Older = address(l.View, l.Text, l.Rows[pageSize-1].Number)
	}
	if l.Totals, err = p.record.RecommendationTotals(ctx); err != nil {
		return err
	}
	for _, x := range views {
		x.URL, x.Current = address(x.Name, l.Text, 0), x.Name == l.View
		l.Views = append(l.Views, x)
	}
	return p.chrome.Render(w, r, v, p.listPage, chrome.View{Title: "Recommendations", Nav: "/recommendations", Crumbs: []chrome.Crumb{{Name: "Recommendations"}}, Body: l})
}

func address(view, text string, before int64) string {
	q := url.Values{}
	if view != "all" {
		q.Set("view", view)
	}
	if text != "" {
		q.Set("q", text)
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if len(q) == 0 {
		return "/recommendations"
	}
	return "/recommendations?" + q.Encode()
}

// Form is what was typed, and what is wrong with it.
type Form struct{ Typed, Fault string }

// One is what the template of one recommendation shows.
type One struct {
	ops.Recommendation
	Entry      string // as its producer sent it
	Story      []story.Line
	Dated      bool
	MayDismiss bool
	Dismiss    Form
}

func (p *Page) one(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	x, err := p.record.Recommendation(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return p.show(w, r, v, x, http.StatusOK, Form{})
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit, x ops.Recommendation, status int, f Form) error {
	facts, err := p.record.FactsAbout(r.Context(), x.Subject())
	if err != nil {
		return err
	}
	o := &One{Recommendation: x, Entry: string(x.Raw), Story: story.Tell(facts), Dismiss: f}
	for i := range o.Story {
		o.Story[i].Key, o.Story[i].URL = "", ""
	}
	o.Dated = story.Dated(o.Story)
	may := ops.MayApprove
	if x.State == ops.RecommendationPlaced {
		may = ops.MayManageChanges
	}
	o.MayDismiss = x.State.Live() && v.Principal.Kind == ops.Person && v.Principal.May(may)
	return p.chrome.Render(w, r, v, p.onePage, chrome.View{
		Status: status, Title: x.Key() + " " + x.Name, Nav: "/recommendations",
		Crumbs: []chrome.Crumb{{Name: "Recommendations", URL: "/recommendations"}, {Name: x.Key()}}, Body: o,
	})
}

func (p *Page) dismiss(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx := r.Context()
	x, err := p.record.Recommendation(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(r.PostForm.Get("reason"))
	if reason == "" {
		return p.show(w, r, v, x, http.StatusUnprocessableEntity, Form{Fault: "Dismissing needs a reason; write why."})
	}
	if x, err = p.actions.Dismiss(ctx, v.Principal, x.ID, reason, "page"); err != nil {
		if errors.Is(err, ops.ErrConflict) {
			f := chrome.FaultOf(err)
			return p.show(w, r, v, x, f.Status, Form{reason, f.Why})
		}
		return err
	}
	return p.chrome.Done(w, r, "/recommendations/"+x.Key(), x.Key()+" is dismissed. The same recommendation coming again changes nothing.")
}
