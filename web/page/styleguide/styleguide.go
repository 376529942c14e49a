// Package styleguide is the page /styleguide: how every component looks, in
// both themes. A new look starts here.
package styleguide

import (
	"embed"
	"math"
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
	page   *chrome.Template
}

// New returns the page.
func New(c *chrome.Chrome) *Page {
	return &Page{c, c.Template(files, "styleguide.html")}
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
	Watched    []ops.WatchedState
	Anomalies  []ops.AnomalyState
	Charts     map[string]*chart.Chart // by theme
}

// example is a chart with all it can show of a watched series: actual,
// expected, band, what is outside, an anomaly, maintenance and a change.
func example(theme string, at time.Time) *chart.Chart {
	at = at.Truncate(time.Minute)
	point := func(k int, v float64) ops.Point {
		return ops.Point{At: at.Add(time.Duration(k) * time.Minute), Value: v}
	}
	var actual, expected []ops.Point
	var band chart.Band
	for k := range 90 {
		x := float64(k)
		e := 40 + 8*math.Sin(x/20)
		v := e + 2*math.Sin(x*1.3)
		if k >= 60 && k < 72 {
			v += 30
		}
		actual, expected = append(actual, point(k, v)), append(expected, point(k, e))
		band.Low, band.High = append(band.Low, point(k, e-5)), append(band.High, point(k, e+5))
	}
	band.Name = "band"
	return &chart.Chart{
		ID: theme, Title: "Latency", Finding: "Latency left its band for 12 min.", Unit: "ms", From: actual[0].At, To: actual[89].At, Band: &band, Height: 184,
		Lines: []chart.Line{
			{Name: "actual", Points: actual},
			{Name: "expected", Points: expected, Style: chart.Expected},
			{Name: "outside", Points: chart.Beyond(actual, band), Style: chart.Outside},
		},
		Shades:  []chart.Span{{From: actual[20].At, To: actual[40].At, Name: "maintenance"}, {From: actual[60].At, To: actual[72].At, Name: "anomaly", Hot: true}},
		Marks:   []chart.Mark{{N: 1, At: actual[71].At, Text: "A change"}},
		Caption: "Shaded: an anomaly, and maintenance.",
	}
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
	b.Watched = []ops.WatchedState{ops.WatchedLearning, ops.WatchedNormal, ops.WatchedAnomalous}
	b.Anomalies = []ops.AnomalyState{ops.AnomalyOpen, ops.AnomalyOver}
	b.Charts = map[string]*chart.Chart{}
	for _, theme := range b.Themes {
		b.Charts[theme] = example(theme, at)
	}
	for _, s := range []ops.SyncState{ops.SyncOK, ops.SyncPending, ops.SyncConflict, ops.SyncFailed, ops.SyncUnknown} {
		b.Tickets = append(b.Tickets, ops.Ticket{Sync: s})
	}
	b.Loop = story.OfChange(ops.Change{State: ops.ChangeAuthorize, IncidentID: "x", CreatedAt: at}, []ops.Ticket{{Display: "INC0048213"}})
	return p.chrome.Render(w, r, v, p.page, chrome.View{Title: "Style guide", Nav: "/styleguide", Crumbs: []chrome.Crumb{{Name: "Style guide"}}, Body: b})
}
