package incidents

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chart"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

// The measures of the page.
const (
	maxMembers = 200
	maxStory   = 200
	digestLen  = 5
	maxMarks   = 6
	maxRelated = 10
	// maxAnomalies is how many members are shown with what their detector saw.
	maxAnomalies = 3
	maxSpan      = 31 * 24 * time.Hour
)

// Button is one legal move.
type Button struct {
	To      ops.IncidentState
	Word    string
	Icon    string
	Primary bool
}

// One is what the template of an incident shows.
type One struct {
	ops.Incident
	Lede       string
	Lasted     time.Duration
	Buttons    []Button
	WhyNot     string
	Loop       []story.Stage
	Digest     []story.Line
	Story      []story.Line
	Dated      bool
	Earlier    int // lines of the story that are left to the trail
	Chart      *chart.Chart
	Ranges     []Range
	Anomalies  []chrome.AnomalyView
	Members    []ops.Member
	AllMembers int
	Tickets    []chrome.TicketView
	Changes    []ops.Change
	Links      []ops.Link
	Typed      string // comment that was not taken
	Fault      string
}

// Range is one choice of the chart's range.
type Range struct {
	Word, URL string
	Current   bool
}

func (p *Page) one(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	i, err := p.record.Incident(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return p.show(w, r, v, i, 0, "", "")
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit, i ops.Incident, status int, typed, fault string) error {
	o := &One{Incident: i, Typed: typed, Fault: fault}
	ctx := r.Context()
	var err error
	if o.Members, err = p.record.FirstMembers(ctx, i.ID, maxMembers); err != nil {
		return err
	}
	if o.Tickets, err = chrome.TicketsOf(ctx, p.record, i.Subject(), p.desk); err != nil {
		return err
	}
	if o.Changes, err = p.record.ChangesOfIncident(ctx, i.ID); err != nil {
		return err
	}
	o.Changes = o.Changes[:min(len(o.Changes), maxRelated)]
	facts, err := p.record.FactsAbout(ctx, i.Subject())
	if err != nil {
		return err
	}
	live := i.Subject()
	for _, c := range o.Changes {
		more, err := p.record.FactsAbout(ctx, c.Subject())
		if err != nil {
			return err
		}
		facts = append(facts, more...)
		live += " " + c.Subject()
	}
	o.Story = story.Tell(facts)
	marks := story.Number(o.Story, maxMarks)
	o.Digest = story.Digest(o.Story, digestLen)
	o.Dated = story.Dated(o.Story)
	if n := len(o.Story); n > maxStory {
		o.Earlier, o.Story = n-maxStory, o.Story[n-maxStory:]
	}
	o.Loop = story.OfIncident(i, o.Members, chrome.Plain(o.Tickets), o.Changes)
	o.Lede = lede(i, o.Members, o.Changes)
	o.Lasted = end(i, v.Now).Sub(i.OpenedAt)
	if err := v.Principal.Require(ops.MayWorkIncidents); err != nil {
		o.WhyNot = "Acting on incidents needs the role responder or more."
	} else {
		o.Buttons = buttons(i.State)
	}
	if o.Chart, err = p.chart(ctx, r.URL, v.Now, i, o.Members, marks); err != nil {
		return err
	}
	o.ranges(r.URL)
	for _, m := range o.Members {
		for _, l := range m.Links {
			if len(o.Links) < 8 && !hasLink(o.Links, l) {
				o.Links = append(o.Links, l)
			}
		}
	}
	o.Anomalies = anomalies(o.Members)
	o.AllMembers = max(i.Total, len(o.Members))
	return p.chrome.Render(w, r, v, p.onePage, chrome.View{
		Status: status, Title: i.Key() + " " + i.Title, Nav: "/incidents", Live: live,
		Crumbs: []chrome.Crumb{{Name: "Incidents", URL: "/incidents"}, {Name: i.Key()}}, Body: o,
	})
}

// anomalies returns what our own detectors saw, those that go on first.
func anomalies(members []ops.Member) []chrome.AnomalyView {
	var out []chrome.AnomalyView
	for _, m := range members {
		if m.Anomaly != nil && len(out) < maxAnomalies {
			out = append(out, chrome.AnomalyOf(*m.Anomaly, nil))
		}
	}
	return out
}

func hasLink(list []ops.Link, l ops.Link) bool {
	for _, x := range list {
		if x.URL == l.URL {
			return true
		}
	}
	return false
}

func end(i ops.Incident, now time.Time) time.Time {
	if !i.ResolvedAt.IsZero() {
		return i.ResolvedAt
	}
	if !i.ClosedAt.IsZero() {
		return i.ClosedAt
	}
	return now
}

// lede says the cause as the evidence has it, in one or two sentences.
func lede(i ops.Incident, members []ops.Member, changes []ops.Change) string {
	var parts []string
	for _, m := range members {
		if m.Test {
			parts = append(parts, "A sender's test notification; it never causes a change.")
		}
		c := m.Context
		if c.Reason != "" && c.Metric == "" {
			parts = append(parts, strings.TrimRight(c.Reason, ".")+".")
			break
		}
		if c.Metric == "" {
			continue
		}
		s := c.Metric
		if c.Actual != "" {
			s += " was " + withUnit(c.Actual, c.Unit)
		}
		if c.Threshold != "" {
			s += fmt.Sprintf(", threshold %s %s", c.Operator, withUnit(c.Threshold, c.Unit))
		}
		if c.Window > 0 {
			s += ", looked at for " + story.Age(c.Window)
		}
		parts = append(parts, s+".")
		break
	}
	if len(parts) == 0 && i.Rule != "" {
		parts = append(parts, "Rule "+i.Rule+" fired.")
	}
	if len(changes) > 0 {
		c := changes[0]
		s := c.Key() + " " + story.Words(string(c.State))
		if c.Verdict != nil {
			s = c.Key() + " made it " + string(c.Verdict.Word)
		}
		parts = append(parts, s+".")
	}
	return strings.Join(parts, " ")
}

func withUnit(v, unit string) string {
	if unit == "" || unit == "1" {
		return v
	}
	return v + " " + unit
}

func buttons(s ops.IncidentState) []Button {
	switch s {
	case ops.IncidentNew:
		return []Button{{ops.IncidentResolved, "Resolve", "st-resolved", false}, {ops.IncidentInProgress, "Acknowledge", "user", true}}
	case ops.IncidentInProgress:
		return []Button{{ops.IncidentOnHold, "Put on hold", "st-hold", false}, {ops.IncidentResolved, "Resolve incident", "st-resolved", true}}
	case ops.IncidentOnHold:
		return []Button{{ops.IncidentInProgress, "Resume work", "st-progress", false}, {ops.IncidentResolved, "Resolve incident", "st-resolved", true}}
	case ops.IncidentResolved:
		return []Button{{ops.IncidentInProgress, "Reopen", "undo", false}, {ops.IncidentClosed, "Close incident", "", true}}
	}
	return nil
}

// span returns the range of the chart: from the query, or the incident with
// some time before and after it.
func span(u *url.URL, i ops.Incident, now time.Time) (from, to time.Time, word string, err error) {
	q := u.Query()
	until := end(i, now)
	if q.Get("from") != "" || q.Get("to") != "" {
		if from, err = time.Parse(time.RFC3339, q.Get("from")); err == nil {
			to, err = time.Parse(time.RFC3339, q.Get("to"))
		}
		if err != nil || !from.Before(to) || to.Sub(from) > maxSpan {
			return from, to, "", fmt.Errorf("from %q to %q is no range; write both like 2026-11-19T03:00:00Z, at most 31 days apart: %w", q.Get("from"), q.Get("to"), ops.ErrInvalid)
		}
		return from.UTC(), to.UTC(), "", nil
	}
	switch word = q.Get("range"); word {
	case "1h", "3h", "24h":
		d, err := time.ParseDuration(word)
		if err != nil {
			return from, to, "", err
		}
		mid := i.OpenedAt.Add(until.Sub(i.OpenedAt) / 2)
		to = mid.Add(d / 2)
		if to.After(now) {
			to = now
		}
		return to.Add(-d), to, word, nil
	}
	pad := max(15*time.Minute, until.Sub(i.OpenedAt)/3)
	from, to = i.OpenedAt.Add(-pad), until.Add(pad)
	if to.After(now) {
		to = now
	}
	if !from.Before(to) {
		to = from.Add(time.Minute)
	}
	if to.Sub(from) > maxSpan {
		from = to.Add(-maxSpan)
	}
	return from, to, "", nil
}

func (o *One) ranges(u *url.URL) {
	if o.Chart == nil {
		return
	}
	now := u.Query().Get("range")
	custom := u.Query().Get("from") != ""
	for _, r := range []struct{ value, word string }{{"", "Incident"}, {"1h", "1 h"}, {"3h", "3 h"}, {"24h", "24 h"}} {
		link := "/incidents/" + o.Key()
		if r.value != "" {
			link += "?range=" + r.value
		}
		o.Ranges = append(o.Ranges, Range{r.word, link, !custom && r.value == now})
	}
}

// chart draws the series the incident is about: the metric of a member if it
// is measured, the resource's first series otherwise. Without any it is nil.
func (p *Page) chart(ctx context.Context, u *url.URL, now time.Time, i ops.Incident, members []ops.Member, marks []story.Line) (*chart.Chart, error) {
	from, to, _, err := span(u, i, now)
	if err != nil || i.ResourceID == "" || p.series == nil {
		return nil, err
	}
	all, err := p.series.Recent(ctx, i.ResourceID, from, to)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	pick, about := all[0], ops.AlertContext{}
	for _, m := range members {
		if m.Context.Metric == "" {
			continue
		}
		for _, s := range all {
			if s.Metric == m.Context.Metric && len(s.Points) > 0 {
				pick, about = s, m.Context
				break
			}
		}
		if about.Metric != "" {
			break
		}
	}
	if len(pick.Points) == 0 {
		return nil, nil
	}
	if u.Query().Get("from") == "" && u.Query().Get("range") == "" {
		// Nothing was recorded outside of what there is, and an incident of
		// seconds would be a stroke in half an hour of nothing.
		first, last := pick.Points[0].At, pick.Points[len(pick.Points)-1].At
		if first.After(from) && first.Before(i.OpenedAt) {
			from = first
		}
		if over := end(i, now); last.Before(to) && last.After(over) {
			to = last
		}
	}
	c := &chart.Chart{
		ID: "series", Title: pick.Metric + ", " + i.Resource, Unit: chrome.Unit(pick.Unit), From: from, To: to,
		Lines:  []chart.Line{{Name: pick.Metric, Points: chart.Gaps(pick.Points)}},
		Shades: []chart.Span{{From: i.OpenedAt, To: end(i, now), Hot: true}},
		Zoom:   zoom("/incidents/"+i.Key(), from, to),
	}
	if v, err := strconv.ParseFloat(strings.TrimSpace(about.Threshold), 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		c.Limit, c.LimitName = &v, "threshold"
	}
	low, mean, high, n := pick.Stats()
	c.Finding = fmt.Sprintf("%s of %s from %s to %s UTC: %s to %s, mean %s, over %d samples.", pick.Metric, i.Resource,
		from.Format("2 Jan 15:04"), to.Format("2 Jan 15:04"), c.Value(low), c.Value(high), c.Value(mean), n)
	for _, m := range marks {
		c.Marks = append(c.Marks, chart.Mark{N: m.Flag, At: m.At, Text: m.Text, Key: m.Key, URL: m.URL})
	}
	return c, nil
}

func zoom(path string, from, to time.Time) chart.Zoom {
	link := func(a, b time.Time) string {
		return path + "?from=" + a.UTC().Format(time.RFC3339) + "&to=" + b.UTC().Format(time.RFC3339)
	}
	d := to.Sub(from)
	z := chart.Zoom{Reset: path, Earlier: link(from.Add(-d/2), to.Add(-d/2)), Later: link(from.Add(d/2), to.Add(d/2))}
	z.In = link(from.Add(d/4), to.Add(-d/4))
	z.Out = link(from.Add(-d/2), to.Add(d/2))
	if 2*d > maxSpan {
		z.Out = path
	}
	return z
}
