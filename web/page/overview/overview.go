// Package overview is the page /: is anything wrong, and does it need me.
package overview

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

//go:embed overview.html
var files embed.FS

// Record is what the page reads.
type Record interface {
	Incidents(ctx context.Context, f ops.IncidentFilter) ([]ops.Incident, error)
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
	OpenAnomalies(ctx context.Context) ([]ops.Anomaly, error)
}

// Pulse tells what comes in, counted over the last minute.
type Pulse interface {
	Pulse(ctx context.Context) (samples, alerts int64, err error)
}

// Page serves the overview.
type Page struct {
	chrome *chrome.Chrome
	page   *chrome.Template
	record Record
	pulse  Pulse
}

// New returns the page; without a pulse the first stages say that they are not
// measured.
func New(c *chrome.Chrome, record Record, pulse Pulse) *Page {
	return &Page{c, c.Template(files, "overview.html"), record, pulse}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) { mux.Handle("GET /{$}", p.chrome.Page(p.show)) }

// Task is one thing that waits for the reader.
type Task struct{ Icon, URL, Title, Sub string }

// Body is what the template shows.
type Body struct {
	Sentence, Lede string
	Loop           []story.Stage
	Incidents      []chrome.IncidentRow
	Open           int
	More           bool
	Tasks          []Task
	Changes        []ops.Change
	Now            time.Time
}

// The measures of the page.
const (
	maxRows  = 8
	maxCount = 1000
)

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	b, err := p.read(r.Context(), v)
	if err != nil {
		return err
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{
		Title: b.Sentence, Nav: "/", Crumbs: []chrome.Crumb{{Name: "Overview"}}, Live: "*", Body: b,
	})
}

func (p *Page) read(ctx context.Context, v *chrome.Visit) (*Body, error) {
	open, err := p.record.Incidents(ctx, ops.IncidentFilter{States: chrome.OpenStates, Limit: maxCount})
	if err != nil {
		return nil, err
	}
	changes, err := p.record.Changes(ctx, ops.ChangeFilter{States: []ops.ChangeState{
		ops.ChangeNew, ops.ChangeAssess, ops.ChangeAuthorize, ops.ChangeScheduled, ops.ChangeImplement, ops.ChangeReview,
	}, Limit: maxCount})
	if err != nil {
		return nil, err
	}
	ended, err := p.record.Changes(ctx, ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeClosed}, Limit: maxCount})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(open, func(a, b ops.Incident) int {
		return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), b.OpenedAt.Compare(a.OpenedAt))
	})
	b := &Body{Open: len(open), More: len(open) == maxCount, Now: v.Now}
	if b.Incidents, err = chrome.IncidentRows(ctx, p.record, open[:min(len(open), maxRows)]); err != nil {
		return nil, err
	}
	for _, c := range changes {
		if c.State == ops.ChangeAuthorize || c.State == ops.ChangeScheduled || c.State == ops.ChangeImplement {
			b.Changes = append(b.Changes, c)
		}
	}
	b.Changes = b.Changes[:min(len(b.Changes), maxRows)]
	b.Tasks = tasks(v, open, changes)
	b.Sentence, b.Lede = sentence(open, changes, len(b.Tasks))
	if b.Loop, err = p.loop(ctx, v.Now, open, changes, ended, b.Incidents); err != nil {
		return nil, err
	}
	return b, nil
}

// tasks lists what the reader can act on, most pressing first.
func tasks(v *chrome.Visit, open []ops.Incident, changes []ops.Change) []Task {
	var out []Task
	for _, c := range changes {
		switch {
		case c.Run != nil && c.Run.State == ops.RunHeld && v.Principal.May(ops.MayManageChanges):
			out = append(out, Task{"st-hold", "/changes/" + c.Key(), "Look at " + c.Key() + ", its run is held", c.Title})
		case c.State == ops.ChangeAuthorize && chrome.MayDecide(v.Principal, v.Absent, c) == "":
			sub := c.Title
			if !c.ExpiresAt.IsZero() {
				sub += " · asked until " + c.ExpiresAt.UTC().Format("2 Jan 15:04") + " UTC"
			}
			out = append(out, Task{"approve", "/changes/" + c.Key(), "Decide about " + c.Key(), sub})
		}
	}
	if v.Principal.May(ops.MayWorkIncidents) {
		for _, i := range open {
			mine := len(v.Principal.Teams) == 0 || slices.Contains(v.Principal.Teams, i.Team)
			if i.State == ops.IncidentNew && mine && (i.Severity == ops.Critical || i.Severity == ops.High) {
				out = append(out, Task{"incident", "/incidents/" + i.Key(), "Acknowledge " + i.Key(), i.Title})
			}
		}
	}
	return out[:min(len(out), maxRows)]
}

func sentence(open []ops.Incident, changes []ops.Change, tasks int) (string, string) {
	worst := map[ops.Severity]int{}
	for _, i := range open {
		worst[i.Severity]++
	}
	running := 0
	for _, c := range changes {
		if c.State == ops.ChangeImplement {
			running++
		}
	}
	s := "No open incidents"
	for _, sev := range ops.Severities {
		if n := worst[sev]; n > 0 {
			s = fmt.Sprintf("%s %s incident%s", spelled(n), sev, many(n))
			break
		}
	}
	switch {
	case running > 0:
		s += fmt.Sprintf(", %s change%s running", lower(spelled(running)), many(running))
	case len(open) == 0:
		s += ", no change running"
	}
	lede := "Nothing waits for you."
	switch {
	case tasks == 1:
		lede = "1 thing waits for you."
	case tasks > 1:
		lede = fmt.Sprintf("%d things wait for you.", tasks)
	}
	return s, lede
}

func many(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func spelled(n int) string {
	words := []string{"No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}

func lower(s string) string {
	if s[0] >= 'A' && s[0] <= 'Z' {
		return string(s[0]+'a'-'A') + s[1:]
	}
	return s
}

func (p *Page) loop(ctx context.Context, now time.Time, open []ops.Incident, changes, ended []ops.Change, rows []chrome.IncidentRow) ([]story.Stage, error) {
	s := story.Stages()
	set := func(k int, value, sub, url string) { s[k].Value, s[k].Sub, s[k].URL = value, sub, url }
	set(0, "–", "not measured", "")
	if p.pulse != nil {
		samples, alerts, err := p.pulse.Pulse(ctx)
		if err != nil {
			return nil, err
		}
		set(0, chrome.Short(float64(samples+alerts)), "signals a minute", "")
	}
	firing, tickets, trouble := 0, 0, 0
	for _, i := range open {
		firing += i.Firing
	}
	for _, r := range rows {
		tickets += len(r.Tickets)
		for _, t := range r.Tickets {
			if t.Sync == ops.SyncConflict || t.Sync == ops.SyncFailed {
				trouble++
			}
		}
	}
	set(1, chrome.Short(float64(firing)), "alerts firing", "")
	odd, err := p.record.OpenAnomalies(ctx)
	if err != nil {
		return nil, err
	}
	switch len(odd) {
	case 0:
	case 1:
		set(1, s[1].Value, "alerts firing, 1 anomaly", "/series?state=anomalous")
	default:
		set(1, s[1].Value, fmt.Sprintf("alerts firing, %d anomalies", len(odd)), "/series?state=anomalous")
	}
	set(2, chrome.Short(float64(len(open))), "incidents open", "/incidents")
	set(3, chrome.Short(float64(tickets)), "tickets, all well", "")
	if len(open) > len(rows) {
		s[3].Sub = fmt.Sprintf("tickets of the worst %d", len(rows))
	}
	if trouble > 0 {
		s[3].State, s[3].Sub = story.Due, fmt.Sprintf("tickets, %d need a look", trouble)
	}
	gate, run, watch := 0, 0, 0
	for _, c := range changes {
		switch {
		case c.State == ops.ChangeAuthorize:
			gate++
		case c.State == ops.ChangeImplement && c.Run != nil && c.Run.State == ops.RunVerifying:
			watch++
		case c.State == ops.ChangeImplement:
			run++
		}
	}
	learnt := 0
	for _, c := range ended {
		if c.Verdict != nil && now.Sub(c.Verdict.At) < 7*24*time.Hour {
			learnt++
		}
	}
	set(4, fmt.Sprint(gate), "wait for approval", "/approvals")
	set(5, fmt.Sprint(run), "run now", "/changes?view=running")
	set(6, fmt.Sprint(watch), "in watch time", "/changes?view=running")
	set(7, fmt.Sprint(learnt), "verdicts in 7 d", "/changes?view=closed")
	if gate > 0 {
		s[4].State = story.Due
	}
	if run > 0 {
		s[5].State = story.Now
	}
	if watch > 0 {
		s[6].State = story.Now
	}
	return s, nil
}
