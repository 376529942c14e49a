package ticket

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/fettleops/fettle/ops"
)

//go:embed description.tmpl
var descriptionText string

var descriptionTemplate = template.Must(template.New("description").Option("missingkey=error").Parse(descriptionText))

// diagnosed is how far back diagnostics look from the opening of an incident.
const diagnosed = time.Hour

// Bounds of a description; what is left out is counted.
const (
	shownConditions = 3
	shownRelated    = 20
	shownMembers    = 200 // alerts looked at for resources and links
	shownEvents     = 10  // alerts in the timeline
	shownMetrics    = 30
	shownTimeline   = 40
	maxDescription  = 30_000 // bytes; platforms' own limits are their drivers' business
)

type description struct {
	Incident   ops.Incident
	Resources  []string
	Conditions []conditionText
	Duration   string
	From, To   string
	Metrics    []string
	Links      []ops.Link
	Timeline   []string
	Related    []string
}

type conditionText struct {
	Text    string
	Details []string
}

// describe writes the full context of an incident, as known now.
func (r *Room) describe(ctx context.Context, incidentID string) (string, error) {
	i, err := r.Ask.Incident(ctx, incidentID)
	if err != nil {
		return "", fmt.Errorf("ticket: ask for incident %s: %w", incidentID, err)
	}
	members, err := r.Ask.FirstMembers(ctx, incidentID, shownMembers)
	if err != nil {
		return "", fmt.Errorf("ticket: ask for the alerts of %s: %w", i.Key(), err)
	}
	total := max(i.Total, len(members))
	facts, err := r.Ask.FactsAbout(ctx, i.Subject())
	if err != nil {
		return "", fmt.Errorf("ticket: ask for the facts about %s: %w", i.Key(), err)
	}
	to := r.now()
	d := description{Incident: i, From: stamp(to.Add(-diagnosed)), To: stamp(to)}
	d.Resources = resources(i, members)
	d.Duration = duration(i, members, to)
	d.Timeline = timeline(members[:min(len(members), shownEvents)], facts)
	d.Links = links(members)
	if at := r.link("incidents", i.Key()); at != "" {
		d.Links = append([]ops.Link{{Title: "Incident in Fettle", URL: at}}, d.Links...)
	}
	for n, m := range members {
		if n < shownConditions {
			d.Conditions = append(d.Conditions, conditionText{condition(m.Alert), details(m.Alert)})
			continue
		}
		if n == shownConditions+shownRelated {
			break
		}
		d.Related = append(d.Related, fmt.Sprintf("%s, %s, since %s", condition(m.Alert), m.State, stamp(m.StartsAt)))
	}
	if more := total - len(d.Conditions) - len(d.Related); more > 0 && len(members) > 0 {
		d.Related = append(d.Related, fmt.Sprintf("and %d more", more))
	}
	d.Metrics = r.metrics(ctx, i, members, to)
	var b strings.Builder
	if err := descriptionTemplate.Execute(&b, d); err != nil {
		return "", fmt.Errorf("ticket: describe %s: %w: %w", i.Key(), err, ops.ErrInternal)
	}
	text := b.String()
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "\n... cut here; the whole is in Fettle.\n"
	}
	return text, nil
}

// condition says in one line what an alert is about.
func condition(a ops.Alert) string {
	name := a.Rule
	if name == "" {
		name = a.Title
	}
	if a.Resource.Name != "" {
		name += " on " + a.Resource.Name
	}
	c := a.Context
	switch {
	case c.Metric != "" && c.Threshold != "":
		name += fmt.Sprintf(": %s %s %s", c.Metric, orElse(c.Operator, "threshold"), c.Threshold)
	case c.Metric != "":
		name += ": " + c.Metric
	}
	if c.Actual != "" {
		name += ", actual " + c.Actual
	}
	if c.Unit != "" && c.Unit != "1" && (c.Threshold != "" || c.Actual != "") {
		name += " " + c.Unit
	}
	if c.Window > 0 {
		name += ", looked at for " + c.Window.String()
	}
	return name
}

func details(a ops.Alert) []string {
	var out []string
	for _, d := range []struct{ title, text string }{
		{"Severity", string(a.Severity)}, {"Description", a.Description}, {"Reason", a.Context.Reason}, {"Query", a.Context.Query},
	} {
		if d.text != "" {
			out = append(out, d.title+": "+strings.Join(strings.Fields(d.text), " "))
		}
	}
	return append(out, "Since: "+stamp(a.StartsAt))
}

func resources(i ops.Incident, members []ops.Member) []string {
	var out []string
	add := func(name, kind string) {
		if name == "" {
			return
		}
		if kind != "" {
			name += " (" + kind + ")"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, m := range members {
		add(m.Resource.Name, m.Resource.Kind)
	}
	if len(out) == 0 {
		add(i.Resource, "")
	}
	return out
}

func duration(i ops.Incident, members []ops.Member, now time.Time) string {
	from := i.OpenedAt
	for _, m := range members {
		if !m.StartsAt.IsZero() && m.StartsAt.Before(from) {
			from = m.StartsAt
		}
	}
	if from.IsZero() {
		return "none recorded"
	}
	if !i.ResolvedAt.IsZero() && !i.State.Open() {
		return fmt.Sprintf("%s, from %s to %s", i.ResolvedAt.Sub(from).Round(time.Second), stamp(from), stamp(i.ResolvedAt))
	}
	return fmt.Sprintf("%s so far, since %s", now.Sub(from).Round(time.Second), stamp(from))
}

func timeline(members []ops.Member, facts []ops.Fact) []string {
	type event struct {
		at   time.Time
		text string
	}
	var events []event
	for _, m := range members {
		events = append(events, event{m.StartsAt, "alert " + condition(m.Alert)})
		if m.State == ops.Resolved && !m.EndsAt.IsZero() {
			events = append(events, event{m.EndsAt, "resolved " + condition(m.Alert)})
		}
	}
	for _, f := range facts {
		events = append(events, event{f.At, fmt.Sprintf("%s by %s%s", f.Kind, f.Principal, reason(f))})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	var out []string
	for n, e := range events {
		if n == shownTimeline {
			out = append(out, fmt.Sprintf("and %d more", len(events)-n))
			break
		}
		out = append(out, stamp(e.at)+"  "+e.text)
	}
	return out
}

// reason returns what the incident's own facts say about why.
func reason(f ops.Fact) string {
	why := ""
	switch f.Kind {
	case ops.IncidentOpened:
		b, _ := ops.Body[ops.IncidentOpenedBody](f)
		why = b.Why
	case ops.IncidentGrew:
		b, _ := ops.Body[ops.IncidentGrewBody](f)
		why = b.Why
	case ops.IncidentReopenedFact:
		b, _ := ops.Body[ops.IncidentReopenedBody](f)
		why = b.Why
	case ops.IncidentResolvedFact:
		b, _ := ops.Body[ops.IncidentResolvedBody](f)
		why = b.Why
	}
	if why == "" {
		return ""
	}
	return ": " + why
}

func links(members []ops.Member) []ops.Link {
	var out []ops.Link
	for _, m := range members {
		for _, l := range m.Links {
			u, err := url.Parse(l.URL)
			if err != nil || u.Scheme != "https" && u.Scheme != "http" || slices.ContainsFunc(out, func(o ops.Link) bool { return o.URL == l.URL }) {
				continue
			}
			out = append(out, ops.Link{Title: orElse(l.Title, u.Host), URL: l.URL})
		}
	}
	return out
}

// metrics returns a line per metric of the resources concerned. A history
// that cannot be read is said so: a ticket without it is better than none.
func (r *Room) metrics(ctx context.Context, i ops.Incident, members []ops.Member, to time.Time) []string {
	var ids []string
	for _, m := range members {
		if id := m.Resource.ID; id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 && i.ResourceID != "" {
		ids = []string{i.ResourceID}
	}
	var out []string
	for _, id := range ids {
		all, err := r.Ask.Recent(ctx, id, to.Add(-diagnosed), to)
		if err != nil {
			out = append(out, fmt.Sprintf("%s: could not be read (%v)", id, ops.Class(err)))
			continue
		}
		slices.SortStableFunc(all, func(a, b ops.Series) int { return strings.Compare(seriesName(a), seriesName(b)) })
		for _, s := range all {
			low, mean, high, n := s.Stats()
			if n == 0 {
				continue
			}
			unit := ""
			if s.Unit != "" && s.Unit != "1" {
				unit = " " + s.Unit
			}
			out = append(out, fmt.Sprintf("%s: min %.4g, mean %.4g, max %.4g%s  %s", seriesName(s), low, mean, high, unit, Sparkline(s.Points, sparkWidth)))
		}
	}
	if len(out) > shownMetrics {
		more := len(out) - shownMetrics
		out = append(out[:shownMetrics], fmt.Sprintf("and %d more", more))
	}
	return out
}

func seriesName(s ops.Series) string {
	name := s.Metric
	keys := make([]string, 0, len(s.Labels))
	for k := range s.Labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for n, k := range keys {
		keys[n] = k + "=" + s.Labels[k]
	}
	if len(keys) > 0 {
		name += "{" + strings.Join(keys, ",") + "}"
	}
	return name
}

const sparkWidth = 30

var bars = []rune("▁▂▃▄▅▆▇█")

// Sparkline draws points, oldest first, as at most width characters from the
// least to the greatest value; neighbours that share a character show their
// greatest, so that a short peak stays visible. Points that are no number or
// infinite are skipped.
func Sparkline(points []ops.Point, width int) string {
	var values []float64
	for _, p := range points {
		if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
			values = append(values, p.Value)
		}
	}
	if len(values) == 0 || width <= 0 {
		return ""
	}
	low, high := slices.Min(values), slices.Max(values)
	n := min(width, len(values))
	var b strings.Builder
	for c := range n {
		top := slices.Max(values[c*len(values)/n : (c+1)*len(values)/n])
		bar := 0
		if high > low {
			bar = int((top - low) / (high - low) * float64(len(bars)-1))
		}
		b.WriteRune(bars[min(max(bar, 0), len(bars)-1)])
	}
	return b.String()
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
