// Package backlog is the page /backlog: is it growing, how long does it take.
package backlog

import (
	"cmp"
	"context"
	"embed"
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chart"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

//go:embed backlog.html
var files embed.FS

// Record is what the page reads.
type Record interface {
	Snapshots(ctx context.Context, team string, from, to time.Time) ([]ops.BacklogSnapshot, error)
}

// Answers is what the page asks analytics.
type Answers interface {
	Backlog(ctx context.Context, team string, from, to time.Time, step time.Duration) ([]analytics.BacklogPoint, error)
	MTTR(ctx context.Context, team string, from, to time.Time) (analytics.Resolution, error)
}

// Page serves the backlog.
type Page struct {
	chrome  *chrome.Chrome
	page    *chrome.Template
	record  Record
	answers Answers
}

// New returns the page.
func New(c *chrome.Chrome, record Record, answers Answers) *Page {
	return &Page{c, c.Template(files, "backlog.html"), record, answers}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /backlog", p.chrome.Page(p.show))
	mux.Handle("GET /backlog.csv", p.chrome.Page(p.csv))
}

// The measures of the page.
const (
	day     = 24 * time.Hour
	fine    = 3 * day // up to this range the backlog is computed, not read from snapshots
	maxSpan = 400 * day
)

// Choice is one range or one team to choose.
type Choice struct {
	Word, URL string
	Current   bool
}

// Body is what the template shows.
type Body struct {
	Sentence, Lede string
	Ranges         []Choice
	Teams          []Choice // Current: drawn
	From, To       string
	Tiles          []chrome.Tile
	Chart          *chart.Chart
	Daily          bool
	Dropped        int // teams that are not drawn because three is all one can tell apart
}

// asked is the range and the teams of a request.
type asked struct {
	from, to time.Time
	name     string // of the range, empty when from and to are given
	teams    []string
	daily    bool
}

// count is the backlog of a team over time.
type count struct {
	team   string
	points []ops.Point
}

func (c count) last() float64 {
	if len(c.points) == 0 {
		return 0
	}
	return c.points[len(c.points)-1].Value
}

var ranges = []struct {
	name, word string
	span       time.Duration
}{{"24h", "24 h", day}, {"30d", "30 d", 30 * day}, {"90d", "90 d", 90 * day}, {"1y", "1 y", 365 * day}}

func (p *Page) read(ctx context.Context, q url.Values, now time.Time) (asked, []count, error) {
	a := asked{to: now, teams: q["team"]}
	if q.Get("from") != "" || q.Get("to") != "" {
		var err error
		if a.from, err = parse(q.Get("from")); err == nil {
			a.to, err = parse(q.Get("to"))
		}
		if err != nil || !a.from.Before(a.to) || a.to.Sub(a.from) > maxSpan {
			return a, nil, fmt.Errorf("from %q to %q is no range; write both like 2026-11-19 or 2026-11-19T03:00:00Z, at most 400 days apart: %w", q.Get("from"), q.Get("to"), ops.ErrInvalid)
		}
	} else {
		a.name = q.Get("range")
		i := slices.IndexFunc(ranges, func(r struct {
			name, word string
			span       time.Duration
		},
		) bool {
			return r.name == a.name
		})
		if i < 0 {
			// A month of evenings, or the last day while there are none to compare.
			a.name, i = "30d", 1
			days, err := p.record.Snapshots(ctx, "", now.Add(-30*day), now)
			if err != nil {
				return a, nil, err
			}
			if len(days) == 0 || days[0].Day == days[len(days)-1].Day {
				a.name, i = "24h", 0
			}
		}
		a.from = now.Add(-ranges[i].span)
	}
	a.daily = a.to.Sub(a.from) > fine
	counts, err := p.counts(ctx, a)
	return a, counts, err
}

func parse(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err
}

func (p *Page) counts(ctx context.Context, a asked) ([]count, error) {
	byTeam := map[string][]ops.Point{}
	if a.daily {
		days, err := p.record.Snapshots(ctx, "", a.from, a.to)
		if err != nil {
			return nil, err
		}
		for _, d := range days {
			// A day stands for itself: teams in other zones count at other
			// instants and are still compared by the day.
			at, err := time.Parse(time.DateOnly, d.Day)
			if err != nil {
				return nil, fmt.Errorf("snapshot of %s: day %q: %w: %w", d.Team, d.Day, err, ops.ErrInternal)
			}
			byTeam[d.Team] = append(byTeam[d.Team], ops.Point{At: at, Value: float64(d.Count)})
		}
	} else {
		step := max(time.Minute, a.to.Sub(a.from)/144).Round(time.Second)
		points, err := p.answers.Backlog(ctx, "", a.from, a.to, step)
		if err != nil {
			return nil, err
		}
		known := map[string]map[int64]int{}
		for _, b := range points {
			if known[b.Team] == nil {
				known[b.Team] = map[int64]int{}
			}
			known[b.Team][b.At.UnixNano()] = b.Count
		}
		// Before its first incident a team has none open, which is a count too.
		for team, counts := range known {
			for at := a.from; !at.After(a.to); at = at.Add(step) {
				byTeam[team] = append(byTeam[team], ops.Point{At: at, Value: float64(counts[at.UnixNano()])})
			}
		}
	}
	var out []count
	for team, points := range byTeam {
		out = append(out, count{team, points})
	}
	slices.SortFunc(out, func(x, y count) int { return cmp.Or(cmp.Compare(y.last(), x.last()), strings.Compare(x.team, y.team)) })
	return out, nil
}

// title is a team's name for people.
func title(team string) string {
	if team == "" {
		return "No team"
	}
	return team
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx, q := r.Context(), r.URL.Query()
	a, counts, err := p.read(ctx, q, v.Now)
	if err != nil {
		return err
	}
	drawn := counts
	if len(a.teams) > 0 {
		drawn = slices.DeleteFunc(slices.Clone(counts), func(c count) bool { return !slices.Contains(a.teams, c.team) })
	}
	b := &Body{From: a.from.Format(time.DateOnly), To: a.to.Format(time.DateOnly), Daily: a.daily}
	if len(drawn) > chart.MaxLines {
		b.Dropped, drawn = len(drawn)-chart.MaxLines, drawn[:chart.MaxLines]
	}
	b.Sentence, b.Lede = sentence(drawn, a)
	for _, c := range ranges {
		b.Ranges = append(b.Ranges, Choice{c.word, address("/backlog", q, map[string]string{"range": c.name, "from": "", "to": ""}), a.name == c.name})
	}
	for _, c := range counts {
		b.Teams = append(b.Teams, Choice{c.team, "", slices.ContainsFunc(drawn, func(d count) bool { return d.team == c.team })})
	}
	if err := p.tiles(ctx, b, a, drawn); err != nil {
		return err
	}
	b.Chart = draw(drawn, a, q)
	return p.chrome.Render(w, r, v, p.page, chrome.View{
		Title: b.Sentence, Nav: "/backlog", Live: "system", Crumbs: []chrome.Crumb{{Name: "Learn"}, {Name: "Backlog"}}, Body: b,
	})
}

// address returns path with the query, some parameters set or, when empty, gone.
func address(path string, q url.Values, set map[string]string) string {
	next := url.Values{}
	for k, v := range q {
		next[k] = v
	}
	for k, v := range set {
		next.Del(k)
		if v != "" {
			next.Set(k, v)
		}
	}
	if len(next) == 0 {
		return path
	}
	return path + "?" + next.Encode()
}

func draw(drawn []count, a asked, q url.Values) *chart.Chart {
	n := 0
	for _, d := range drawn {
		n = max(n, len(d.points))
	}
	if n < 2 {
		return nil
	}
	from, to := a.from, a.to
	c := &chart.Chart{ID: "backlog", Title: "Daily backlog", Unit: "open", Whole: true, Daily: a.daily, From: from, To: to}
	if a.daily {
		// The axis ends on the first and the last day there is.
		c.From, c.To = to, from
		for _, d := range drawn {
			if len(d.points) > 0 {
				c.From = earlier(c.From, d.points[0].At)
				c.To = later(c.To, d.points[len(d.points)-1].At)
			}
		}
	} else {
		c.Title = "Backlog"
	}
	var ends []string
	for _, d := range drawn {
		c.Lines = append(c.Lines, chart.Line{Name: title(d.team), Points: chart.Gaps(d.points)})
		ends = append(ends, fmt.Sprintf("%s ends at %s", title(d.team), chart.Number(d.last())))
	}
	c.Finding = fmt.Sprintf("Open incidents per team from %s to %s. %s.", from.Format("2 Jan 2006"), to.Format("2 Jan 2006"), strings.Join(ends, ", "))
	c.Caption = "backlog_incident_count: incidents that are new, in progress or on hold, computed from their transitions."
	c.CSV = address("/backlog.csv", q, nil)
	form := time.RFC3339
	link := func(x, y time.Time) string {
		return address("/backlog", q, map[string]string{"from": x.UTC().Format(form), "to": y.UTC().Format(form), "range": ""})
	}
	span := to.Sub(from)
	c.Zoom = chart.Zoom{
		In: link(from.Add(span/4), to.Add(-span/4)), Out: link(from.Add(-span/2), to.Add(span/2)),
		Reset:   address("/backlog", q, map[string]string{"from": "", "to": "", "range": ""}),
		Earlier: link(from.Add(-span/2), to.Add(-span/2)), Later: link(from.Add(span/2), to.Add(span/2)),
	}
	if 2*span > maxSpan {
		c.Zoom.Out = c.Zoom.Reset
	}
	return c
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// before returns how much a count moved over the last d of its points, and
// whether they reach that far back.
func before(c count, d time.Duration) (float64, bool) {
	if len(c.points) == 0 {
		return 0, false
	}
	last := c.points[len(c.points)-1]
	for i := len(c.points) - 1; i >= 0; i-- {
		if !c.points[i].At.After(last.At.Add(-d)) {
			return last.Value - c.points[i].Value, true
		}
	}
	return 0, false
}

func span(a asked) (time.Duration, string) {
	if a.daily {
		return 7 * day, "a week"
	}
	return 12 * time.Hour, "12 h"
}

func sentence(drawn []count, a asked) (string, string) {
	if len(drawn) == 0 {
		return "No backlog is counted yet", "The first count of a team is taken at its evening; until then the last day is computed from the incidents."
	}
	d, word := span(a)
	var parts []string
	for _, c := range drawn {
		move, ok := before(c, d)
		switch {
		case !ok:
			parts = append(parts, fmt.Sprintf("%s has %s open", title(c.team), chart.Number(c.last())))
		case move > 0:
			parts = append(parts, fmt.Sprintf("%s grew by %s in %s", title(c.team), chart.Number(move), word))
		case move < 0:
			parts = append(parts, fmt.Sprintf("%s fell by %s in %s", title(c.team), chart.Number(-move), word))
		default:
			parts = append(parts, title(c.team)+" is level")
		}
	}
	lede := "Open incidents at each team’s evening, in its own zone."
	if !a.daily {
		lede = "Open incidents at every instant, computed from their transitions. All times UTC."
	}
	if n := len(parts) - 2; n > 0 {
		parts = append(parts[:2], fmt.Sprintf("%d more below", n))
	}
	return strings.Join(parts, ", "), lede
}

func (p *Page) tiles(ctx context.Context, b *Body, a asked, drawn []count) error {
	d, word := span(a)
	for _, c := range drawn {
		t := chrome.Tile{Name: title(c.team) + " backlog", Value: chart.Number(c.last()), Unit: "open"}
		move, ok := before(c, d)
		switch {
		case !ok:
			t.Note = "too new to compare"
		case move > 0:
			t.Strong, t.Class, t.Note = chart.Number(move)+" more", "up-bad", "than "+word+" ago"
		case move < 0:
			t.Strong, t.Class, t.Note = chart.Number(-move)+" fewer", "down-good", "than "+word+" ago"
		default:
			t.Note = "level with " + word + " ago"
		}
		values := make([]float64, 0, 30)
		for _, x := range c.points[max(0, len(c.points)-30):] {
			values = append(values, x.Value)
		}
		if s := chart.NewSpark(values, move > 0); s != nil {
			t.Spark = s
		}
		b.Tiles = append(b.Tiles, t)
	}
	team := ""
	if len(a.teams) == 1 {
		team = a.teams[0]
	}
	now, err := p.answers.MTTR(ctx, team, a.from, a.to)
	if err != nil {
		return err
	}
	then, err := p.answers.MTTR(ctx, team, a.from.Add(-a.to.Sub(a.from)), a.from)
	if err != nil {
		return err
	}
	whose := "all teams"
	if team != "" {
		whose = title(team)
	}
	b.Tiles = append(b.Tiles,
		resolution("Time to resolve, median", now.Median, then.Median, now, then, whose),
		resolution("Time to resolve, mean", now.Mean, then.Mean, now, then, whose),
		chrome.Tile{Name: "Resolved", Value: chart.Number(float64(now.Resolved)), Unit: "incidents", Note: fmt.Sprintf("%d in the range before, %s", then.Resolved, whose)})
	return nil
}

func resolution(name string, is, was time.Duration, now, then analytics.Resolution, whose string) chrome.Tile {
	t := chrome.Tile{Name: name, Value: "–", Note: "none resolved, " + whose}
	if now.Resolved == 0 {
		return t
	}
	t.Value, t.Note = story.Age(is), whose
	if then.Resolved == 0 {
		return t
	}
	switch {
	case is < was:
		t.Strong, t.Class = story.Age(was-is)+" less", "down-good"
	case is > was:
		t.Strong, t.Class = story.Age(is-was)+" more", "up-bad"
	}
	if t.Strong != "" {
		t.Note = "than the range before, " + whose
	}
	return t
}

// csv writes what the chart draws, every point and every chosen team.
func (p *Page) csv(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	a, counts, err := p.read(r.Context(), r.URL.Query(), v.Now)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="backlog.csv"`)
	w.Header().Set("Cache-Control", "private, no-cache")
	out := csv.NewWriter(w)
	form, head := time.RFC3339, "at"
	if a.daily {
		form, head = time.DateOnly, "day"
	}
	_ = out.Write([]string{head, "team", "backlog_incident_count"}) // the first error stays and ends the writing
	for _, c := range counts {
		if len(a.teams) > 0 && !slices.Contains(a.teams, c.team) {
			continue
		}
		for _, x := range c.points {
			_ = out.Write([]string{x.At.Format(form), chrome.Inert(c.team), strconv.Itoa(int(math.Round(x.Value)))})
		}
	}
	out.Flush()
	return nil // a reader who went away is no error
}
