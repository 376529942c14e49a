package incidents

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

// The measures of the list.
const (
	pageSize   = 50
	facetRange = 1000 // newest incidents that the facets count
	facetsFor  = 5 * time.Second
)

// View is a saved view: a name for a set of states.
type View struct {
	Name, Title string
	States      []ops.IncidentState
	URL         string
	Current     bool
}

var views = []View{
	{Name: "open", Title: "Open", States: chrome.OpenStates},
	{Name: "new", Title: "Not acknowledged", States: []ops.IncidentState{ops.IncidentNew}},
	{Name: "resolved", Title: "Resolved, to close", States: []ops.IncidentState{ops.IncidentResolved}},
	{Name: "all", Title: "All"},
}

// states lists all states in the order of the facet.
var states = []ops.IncidentState{
	ops.IncidentNew, ops.IncidentInProgress, ops.IncidentOnHold, ops.IncidentResolved, ops.IncidentClosed, ops.IncidentCancelled,
}

// Option is one box of a facet.
type Option struct {
	Value   string
	N       int
	Checked bool
}

// Chip is one active filter and the address without it.
type Chip struct{ Kind, Word, URL string }

// List is what the template of the list shows.
type List struct {
	Views                     []View
	Severities, States, Teams []Option
	Text                      string
	View                      string
	Chips                     []Chip
	Clear                     string
	Rows                      []chrome.IncidentRow
	Older, Newest             string
	Counted                   int // incidents the facets count
	Filters                   int
}

func (p *Page) list(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	q := r.URL.Query()
	l := &List{Text: strings.TrimSpace(q.Get("q")), Clear: "/incidents"}
	f := ops.IncidentFilter{Text: l.Text, Team: q.Get("team"), Limit: pageSize + 1}
	view := views[0]
	if i := slices.IndexFunc(views, func(v View) bool { return v.Name == q.Get("view") }); i >= 0 {
		view = views[i]
	}
	l.View, f.States = view.Name, view.States
	for _, s := range q["severity"] {
		sev, err := ops.ParseSeverity(s)
		if err != nil {
			return err
		}
		f.Severities = append(f.Severities, sev)
	}
	if len(q["state"]) > 0 {
		f.States = nil
		for _, s := range q["state"] {
			st, err := ops.ParseIncidentState(s)
			if err != nil {
				return err
			}
			f.States = append(f.States, st)
		}
	}
	if s := q.Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return badCursor(s)
		}
		f.Before = n
	}
	found, err := p.record.Incidents(r.Context(), f)
	if err != nil {
		return err
	}
	if len(found) > pageSize {
		found = found[:pageSize]
		l.Older = with(q, "before", strconv.FormatInt(found[pageSize-1].Number, 10))
	}
	if f.Before > 0 {
		l.Newest = with(q, "before", "")
	}
	if l.Rows, err = chrome.IncidentRows(r.Context(), p.record, found); err != nil {
		return err
	}
	l.chips(q)
	for _, v := range views {
		v.URL, v.Current = "/incidents?view="+v.Name, len(q["state"]) == 0 && v.Name == view.Name
		if v.Name == views[0].Name {
			v.URL = "/incidents"
		}
		l.Views = append(l.Views, v)
	}
	if err := p.facets(r.Context(), v.Now, l, f); err != nil {
		return err
	}
	return p.chrome.Render(w, r, v, p.listPage, chrome.View{
		Title: "Incidents", Nav: "/incidents", Crumbs: []chrome.Crumb{{Name: "Incidents"}}, Live: "*", Body: l,
	})
}

// with returns the list's address with one parameter set, or gone when empty.
func with(q url.Values, key, value string) string {
	next := url.Values{}
	for k, v := range q {
		next[k] = slices.Clone(v)
	}
	next.Del(key)
	if value != "" {
		next.Set(key, value)
	}
	return address(next)
}

// without returns the list's address without one value of a parameter.
func without(q url.Values, key, value string) string {
	next := url.Values{}
	for k, v := range q {
		next[k] = slices.Clone(v)
	}
	next[key] = slices.DeleteFunc(next[key], func(s string) bool { return s == value })
	next.Del("before")
	return address(next)
}

func address(q url.Values) string {
	for k, v := range q {
		if len(v) == 0 || len(v) == 1 && v[0] == "" {
			q.Del(k)
		}
	}
	if len(q) == 0 {
		return "/incidents"
	}
	return "/incidents?" + q.Encode()
}

func (l *List) chips(q url.Values) {
	for _, k := range []struct{ key, kind string }{{"severity", "Severity"}, {"state", "State"}, {"team", "Team"}, {"q", "Text"}} {
		for _, v := range q[k.key] {
			if v == "" {
				continue
			}
			word := v
			if k.key == "severity" || k.key == "state" {
				word = story.Sentence(v)
			}
			l.Chips = append(l.Chips, Chip{k.kind, word, without(q, k.key, v)})
		}
	}
	l.Filters = len(l.Chips)
}

// facets counts the newest incidents by severity, state and team. The counts
// may be a few seconds old.
func (p *Page) facets(ctx context.Context, now time.Time, l *List, f ops.IncidentFilter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.counted); p.known == nil || age > facetsFor || age < 0 {
		newest, err := p.record.Incidents(ctx, ops.IncidentFilter{Limit: facetRange})
		if err != nil {
			return err
		}
		p.known, p.counted = newest, now
	}
	sev, state, team := map[ops.Severity]int{}, map[ops.IncidentState]int{}, map[string]int{}
	for _, i := range p.known {
		sev[i.Severity]++
		state[i.State]++
		team[i.Team]++
	}
	l.Counted = len(p.known)
	for _, s := range ops.Severities {
		l.Severities = append(l.Severities, Option{string(s), sev[s], slices.Contains(f.Severities, s)})
	}
	for _, s := range states {
		l.States = append(l.States, Option{string(s), state[s], slices.Contains(f.States, s)})
	}
	for t, n := range team {
		if t != "" {
			l.Teams = append(l.Teams, Option{t, n, t == f.Team})
		}
	}
	slices.SortFunc(l.Teams, func(a, b Option) int { return strings.Compare(a.Value, b.Value) })
	return nil
}
