// Package series is the pages /series and /series/{id}: what is watched, how
// far it has learned, and where it behaved unlike itself.
package series

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed list.html one.html
var files embed.FS

// Senses is what the pages ask detection.
type Senses interface {
	Series(ctx context.Context, f ops.WatchedFilter) (page []ops.Watched, total int, err error)
	Count(ctx context.Context) (map[ops.WatchedState]int, error)
	View(ctx context.Context, id string, from, to time.Time) (detect.View, error)
	Anomalies(ctx context.Context, f ops.AnomalyFilter) ([]ops.Anomaly, error)
	Anomaly(ctx context.Context, id string) (detect.Finding, error)
}

// Page serves the watched series.
type Page struct {
	chrome   *chrome.Chrome
	listPage *chrome.Template
	onePage  *chrome.Template
	senses   Senses
}

// New returns the pages.
func New(c *chrome.Chrome, senses Senses) *Page {
	return &Page{c, c.Template(files, "list.html"), c.Template(files, "one.html"), senses}
}

// Routes adds the pages to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /series", p.chrome.Page(p.list))
	mux.Handle("GET /series/{id}", p.chrome.Page(p.one))
	mux.Handle("GET /series/{id}/readings.csv", p.chrome.Page(p.csv))
}

// The measures of the list.
const (
	pageSize = 50
	latest   = 6 // anomalies beside the list
)

// Tab is a state to look at.
type Tab struct {
	Title, URL string
	N          int
	Current    bool
}

var tabs = []struct {
	title string
	state ops.WatchedState
}{{"All", ""}, {"Anomaly open", ops.WatchedAnomalous}, {"Learning", ops.WatchedLearning}, {"As expected", ops.WatchedNormal}}

// List is what the template of the list shows.
type List struct {
	Sentence, Lede string
	Tabs           []Tab
	State          ops.WatchedState
	Text, Group    string
	Rows           []ops.Watched
	Total          int // that the filter selects
	Watched        int // in all
	More, First    string
	Clear          string
	Latest         []chrome.AnomalyView
}

func (p *Page) list(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	q := r.URL.Query()
	l := &List{Text: strings.TrimSpace(q.Get("q")), Group: q.Get("group")}
	f := ops.WatchedFilter{Text: l.Text, Group: l.Group, After: q.Get("after"), Limit: pageSize + 1}
	if s := q.Get("state"); s != "" {
		state, err := ops.ParseWatchedState(s)
		if err != nil {
			return err
		}
		l.State, f.States = state, []ops.WatchedState{state}
	}
	ctx := r.Context()
	var err error
	if l.Rows, l.Total, err = p.senses.Series(ctx, f); err != nil {
		return err
	}
	if len(l.Rows) > pageSize {
		l.Rows = l.Rows[:pageSize]
		l.More = with(q, "after", l.Rows[pageSize-1].Cursor())
	}
	if f.After != "" {
		l.First = with(q, "after", "")
	}
	if l.Text != "" || l.Group != "" {
		l.Clear = "/series"
	}
	counts, err := p.senses.Count(ctx)
	if err != nil {
		return err
	}
	for _, n := range counts {
		l.Watched += n
	}
	for _, t := range tabs {
		tab := Tab{Title: t.title, N: counts[t.state], Current: t.state == l.State}
		if t.state == "" {
			tab.N = l.Watched
		}
		next := url.Values{}
		for k, x := range q {
			if k == "q" || k == "group" {
				next[k] = x
			}
		}
		tab.URL = with(next, "state", string(t.state))
		l.Tabs = append(l.Tabs, tab)
	}
	l.Sentence, l.Lede = summed(counts, l.Watched)
	newest, err := p.senses.Anomalies(ctx, ops.AnomalyFilter{Limit: latest})
	if err != nil {
		return err
	}
	for _, a := range newest {
		l.Latest = append(l.Latest, chrome.AnomalyOf(a, nil))
	}
	return p.chrome.Render(w, r, v, p.listPage, chrome.View{Title: "Series", Nav: "/series", Crumbs: []chrome.Crumb{{Name: "Series"}}, Body: l})
}

// with returns the list's address with one parameter set, or gone when empty.
func with(q url.Values, key, value string) string {
	next := url.Values{}
	for k, v := range q {
		if len(v) > 0 && v[0] != "" {
			next[k] = slices.Clone(v)
		}
	}
	next.Del(key)
	if value != "" {
		next.Set(key, value)
	}
	if len(next) == 0 {
		return "/series"
	}
	return "/series?" + next.Encode()
}

func summed(n map[ops.WatchedState]int, all int) (sentence, lede string) {
	odd, learning := n[ops.WatchedAnomalous], n[ops.WatchedLearning]
	switch {
	case all == 0:
		return "No series is watched", "Nothing that a group under detect.groups selects was measured yet."
	case odd == 0:
		sentence = "All series behave as expected"
		if learning == all {
			sentence = "All series are still being learned"
		}
	case odd == 1:
		sentence = "1 series behaves unlike itself"
	default:
		sentence = fmt.Sprintf("%d series behave unlike themselves", odd)
	}
	lede = fmt.Sprintf("%d watched", all)
	if learning > 0 {
		lede += fmt.Sprintf(", %d of them learning: they are scored, and grades begin when enough points were seen", learning)
	}
	return sentence, lede + "."
}
