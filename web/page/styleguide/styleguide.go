// Package styleguide is the page /styleguide: how every component looks, in
// both themes. A new look starts here.
package styleguide

import (
	"embed"
	"html/template"
	"net/http"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chart"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

//go:embed styleguide.html
var files embed.FS

// Page serves the style guide.
type Page struct {
	chrome *chrome.Chrome
	page   *template.Template
}

// New returns the page.
func New(c *chrome.Chrome) (*Page, error) {
	t, err := c.Template(files, "styleguide.html")
	return &Page{c, t}, err
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) { mux.Handle("GET /styleguide", p.chrome.Page(p.show)) }

// Body is what the template shows.
type Body struct {
	Themes     []string
	Severities []ops.Severity
	Incidents  []ops.IncidentState
	Changes    []ops.ChangeState
	Runs       []ops.RunState
	Verdicts   []ops.VerdictWord
	Tickets    []ops.Ticket
	Digest     string
	Loop       []story.Stage
	Lines      []story.Line
	Tiles      []chrome.Tile
	Plan       string
	Icons      []string
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	at := v.Now.Add(-2 * time.Hour)
	b := &Body{
		Themes:     []string{"light", "dark"},
		Severities: ops.Severities,
		Incidents:  []ops.IncidentState{ops.IncidentNew, ops.IncidentInProgress, ops.IncidentOnHold, ops.IncidentResolved, ops.IncidentClosed, ops.IncidentCancelled},
		Changes:    ops.ChangeStates,
		Runs:       []ops.RunState{ops.RunQueued, ops.RunRunning, ops.RunVerifying, ops.RunRollingBack, ops.RunSucceeded, ops.RunFailed, ops.RunRolledBack, ops.RunHeld},
		Verdicts:   []ops.VerdictWord{ops.Better, ops.Unchanged, ops.Worse, ops.Inconclusive},
		Digest:     "fe83177c6097449b",
		Plan:       "  stack orders-prod\n-   class   large\n+   class   xlarge\n~   apply   false → true\n  no replacement",
		Lines: []story.Line{
			{At: at, Mark: story.Signal, Icon: "incident", Text: "A signal came in", Why: "round mark, the system's", Flag: 1},
			{At: at.Add(time.Minute), Icon: "ticket", Text: "A fact"},
			{At: at.Add(40 * time.Minute), Gap: 39 * time.Minute, Mark: story.Person, Icon: "user", Text: "A person acted", Why: "square mark"},
			{At: at.Add(41 * time.Minute), Mark: story.Good, Icon: "check", Text: "It went well"},
			{At: at.Add(42 * time.Minute), Mark: story.Bad, Icon: "warn", Text: "It did not"},
		},
		Tiles: []chrome.Tile{
			{Name: "Backlog", Value: "61", Unit: "open", Strong: "10 more", Class: "up-bad", Note: "than a week ago", Spark: chart.NewSpark([]float64{3, 4, 4, 6, 9}, true)},
			{Name: "Time to resolve", Value: "47 min", Strong: "12 min less", Class: "down-good", Note: "than before", Spark: chart.NewSpark([]float64{9, 7, 8, 5, 4}, false)},
		},
		Icons: []string{
			"overview", "incident", "change", "approve", "calendar", "backlog", "reliab", "risk", "component", "signal", "drift", "runbook", "policy", "plug", "audit",
			"search", "filter", "check", "x", "next", "prev", "lock", "clock", "user", "power", "download", "up", "freeze", "warn", "undo", "ext", "print", "theme", "ticket", "folder",
		},
	}
	for _, s := range []ops.SyncState{ops.SyncOK, ops.SyncPending, ops.SyncConflict, ops.SyncFailed, ops.SyncUnknown} {
		b.Tickets = append(b.Tickets, ops.Ticket{Sync: s})
	}
	b.Loop = story.OfChange(ops.Change{State: ops.ChangeAuthorize, IncidentID: "x", CreatedAt: at}, []ops.Ticket{{Display: "INC0048213"}})
	return p.chrome.Render(w, r, v, p.page, chrome.View{Title: "Style guide", Nav: "/styleguide", Crumbs: []chrome.Crumb{{Name: "Style guide"}}, Body: b})
}
