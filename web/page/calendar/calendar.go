// Package calendar is the pages /calendar, /windows and /windows/{name}: when
// changes may run, when they may not, and what is in the way.
package calendar

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed calendar.html list.html one.html
var files embed.FS

// Style is the pages' own style.
//
//go:embed calendar.css
var Style string

// Windows are the windows and freezes of the configuration.
type Windows interface {
	Windows() []*window.Window
	Window(name string) (*window.Window, error)
}

// Record is what the pages read beside them.
type Record interface {
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	Graph(ctx context.Context) (*graph.Graph, error)
}

// Page serves the calendar.
type Page struct {
	chrome             *chrome.Chrome
	month, table, page *chrome.Template
	windows            Windows
	record             Record
}

// New returns the pages.
func New(c *chrome.Chrome, windows Windows, record Record) *Page {
	return &Page{
		chrome: c, windows: windows, record: record,
		month: c.Template(files, "calendar.html"), table: c.Template(files, "list.html"), page: c.Template(files, "one.html"),
	}
}

// Routes adds the pages to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /calendar", p.chrome.Page(p.calendar))
	mux.Handle("GET /windows", p.chrome.Page(p.list))
	mux.Handle("GET /windows/{name}", p.chrome.Page(p.one))
}

// The measures of the pages.
const (
	maxOpenings = 500 // of one window in a month
	maxChanges  = 500
	perDay      = 6 // entries of a day in the month; the list has all
	upcoming    = 50
)

// Entry is what a day shows: an opening, or a change that is to run in one.
type Entry struct {
	Kind     string // window, freeze, maintenance or change
	Icon     string
	Word     string // what it is, so that colour does not have to say it
	Name     string
	URL      string
	Times    string // in the reader's zone, as far as they lie in the day
	Own      string // when it opens in its own zone, where that differs
	From, To time.Time
}

// Day is a day of the calendar, in the reader's zone.
type Day struct {
	At             time.Time
	Inside, Today  bool // of the month; today
	Entries        []Entry
	More           int // entries the month leaves out
	Anchor         string
	Frozen, Booked bool
}

// Choice is a link among alternatives.
type Choice struct {
	Name, URL string
	Current   bool
}

// Clash is two changes that may run at the same time where they should not.
type Clash struct {
	Key, Other, Why string
	From            time.Time
}

// Month is what the template of the calendar shows.
type Month struct {
	Sentence, Lede              string
	Name                        string // November 2026
	Earlier, Today, Later, Self string
	Views                       []Choice
	List                        bool
	Weekdays                    []string
	Weeks                       [][]Day
	Days                        []Day // of the list: those with entries
	Clashes                     []Clash
	Zone                        string
	Zones                       []Choice
	Any                         bool // there is a window or freeze at all
}

func (p *Page) calendar(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	q := r.URL.Query()
	zone, err := zoneOf(q.Get("zone"), v.Zone)
	if err != nil {
		return err
	}
	now := v.Now.In(zone)
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, zone)
	if m := q.Get("month"); m != "" {
		at, err := time.ParseInLocation("2006-01", m, zone)
		if err != nil || at.Year() < 1971 || at.Year() > 2198 {
			return fmt.Errorf("month %q is none; write it like 2026-11: %w", m, ops.ErrInvalid)
		}
		first = at
	}
	m := &Month{Name: first.Format("January 2006"), List: q.Get("view") == "list", Zone: chrome.ZoneName(first), Any: len(p.windows.Windows()) > 0}
	link := func(month time.Time, view, zone string) string {
		next := url.Values{}
		for k, x := range map[string]string{"month": month.Format("2006-01"), "view": view, "zone": zone} {
			if x != "" {
				next.Set(k, x)
			}
		}
		return "/calendar?" + next.Encode()
	}
	view, asked := "", q.Get("zone")
	if m.List {
		view = "list"
	}
	m.Earlier, m.Later, m.Today, m.Self = link(first.AddDate(0, -1, 0), view, asked), link(first.AddDate(0, 1, 0), view, asked), link(now, view, asked), link(first, "list", asked)
	m.Views = []Choice{{"Month", link(first, "", asked), !m.List}, {"List", link(first, "list", asked), m.List}}
	m.Zones = p.zones(v.Zone, zone, func(z string) string { return link(first, view, z) })
	changes, err := p.record.Changes(r.Context(), ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeScheduled, ops.ChangeImplement}, Limit: maxChanges})
	if err != nil {
		return err
	}
	g, err := p.record.Graph(r.Context())
	if err != nil {
		return err
	}
	begin := first.AddDate(0, 0, -(int(first.Weekday())+6)%7) // Monday
	end := first.AddDate(0, 1, 0)
	end = end.AddDate(0, 0, (8-int(end.Weekday()))%7)
	entries := p.entries(begin, end, zone, changes)
	for at := begin; at.Before(end); at = at.AddDate(0, 0, 1) {
		d := day(at, entries, zone)
		d.Inside, d.Today = at.Month() == first.Month(), at.Format(time.DateOnly) == now.Format(time.DateOnly)
		if m.List && d.Inside && len(d.Entries) > 0 {
			m.Days = append(m.Days, d)
		}
		if at.Weekday() == time.Monday {
			m.Weeks = append(m.Weeks, nil)
		}
		if len(d.Entries) > perDay {
			d.More = len(d.Entries) - perDay
			d.Entries = d.Entries[:perDay]
		}
		m.Weeks[len(m.Weeks)-1] = append(m.Weeks[len(m.Weeks)-1], d)
	}
	for i := range 7 {
		m.Weekdays = append(m.Weekdays, begin.AddDate(0, 0, i).Weekday().String())
	}
	for _, c := range changes {
		for _, x := range window.Conflicts(c, changes, g, window.Hops) {
			if x.First { // each pair once, by the one that waits
				m.Clashes = append(m.Clashes, Clash{c.Key(), x.Key, x.Why, x.From})
			}
		}
	}
	m.Sentence, m.Lede = p.summed(v.Now, changes, len(m.Clashes))
	return p.chrome.Render(w, r, v, p.month, chrome.View{Title: "Calendar", Nav: "/calendar", Crumbs: []chrome.Crumb{{Name: "Calendar"}}, Body: m})
}

func zoneOf(name string, fallback *time.Location) (*time.Location, error) {
	if name == "" {
		return fallback, nil
	}
	z, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("zone %q is no IANA name such as Europe/Berlin: %w", name, ops.ErrInvalid)
	}
	return z, nil
}

// zones are those of the reader and of the windows.
func (p *Page) zones(own, current *time.Location, link func(string) string) []Choice {
	names := []string{own.String(), "UTC"}
	for _, w := range p.windows.Windows() {
		names = append(names, w.Zone().String())
	}
	names = append(names, current.String())
	var out []Choice
	for i, n := range names {
		if slices.Index(names, n) == i {
			out = append(out, Choice{n, link(n), n == current.String()})
		}
	}
	return out
}

var kinds = map[window.Kind]struct{ icon, word string }{
	window.Allow: {"calendar", "Window"}, window.Freeze: {"freeze", "Freeze"}, window.Maintenance: {"component", "Maintenance"},
}

// entries returns everything that meets [from, to), earliest first, freezes
// before windows before changes.
func (p *Page) entries(from, to time.Time, zone *time.Location, changes []ops.Change) []Entry {
	var out []Entry
	for _, w := range p.windows.Windows() {
		found, _ := w.Between(from, to, maxOpenings)
		for _, o := range found {
			k := kinds[w.Kind()]
			e := Entry{Kind: string(w.Kind()), Icon: k.icon, Word: k.word, Name: w.Name, URL: "/windows/" + url.PathEscape(w.Name), From: o.Start, To: o.End}
			if own := o.Start.In(w.Zone()); w.Zone().String() != zone.String() && o.Start.Year() > 1970 && own.Format("15:04") != o.Start.In(zone).Format("15:04") {
				e.Own = own.Format("Mon 15:04") + " " + chrome.ZoneName(own)
			}
			out = append(out, e)
		}
	}
	for _, c := range changes {
		if c.Window == nil || !c.Window.Start.Before(to) || !c.Window.End.After(from) {
			continue
		}
		icon := "st-scheduled"
		if c.State == ops.ChangeImplement {
			icon = "st-implement"
		}
		begin := c.Window.Start
		if begin.Year() <= 1970 { // one that never closes
			begin = from
		}
		out = append(out, Entry{
			Kind: "change", Icon: icon, Word: "Change", Name: c.Key() + " " + c.Title, URL: "/changes/" + c.Key(), From: begin, To: begin.Add(time.Nanosecond),
			Own: "in " + c.Window.Window,
		})
	}
	rank := map[string]int{"freeze": 0, "window": 1, "maintenance": 2, "change": 3}
	slices.SortStableFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), a.From.Compare(b.From)) })
	return out
}

// day picks the entries that meet a day.
func day(at time.Time, all []Entry, zone *time.Location) Day {
	next := at.AddDate(0, 0, 1)
	d := Day{At: at, Anchor: "d" + at.Format("0102")}
	for _, e := range all {
		if !e.From.Before(next) || !e.To.After(at) {
			continue
		}
		begins, ends := !e.From.Before(at), !e.To.After(next)
		from, to := e.From.In(zone).Format("15:04"), e.To.In(zone).Format("15:04")
		switch {
		case e.Kind == "change":
			e.Times = from
		case begins && ends:
			e.Times = from + "–" + to
		case begins:
			e.Times = from + " →"
		case ends:
			e.Times = "→ " + to
		default:
			e.Times = "All day"
		}
		if !begins {
			if e.Kind != "change" {
				e.Own = ""
			}
		}
		d.Frozen = d.Frozen || e.Kind == "freeze"
		d.Booked = d.Booked || e.Kind == "change"
		d.Entries = append(d.Entries, e)
	}
	return d
}

// summed is the title of the calendar and the sentence below it.
func (p *Page) summed(now time.Time, changes []ops.Change, clashes int) (sentence, lede string) {
	open, frozen := 0, []string{}
	for _, w := range p.windows.Windows() {
		if _, ok := w.At(now); ok && w.Kind() == window.Allow {
			open++
		} else if ok && w.Kind() == window.Freeze {
			frozen = append(frozen, w.Name)
		}
	}
	switch {
	case clashes == 1:
		sentence = "1 conflict is in the way"
	case clashes > 1:
		sentence = fmt.Sprintf("%d conflicts are in the way", clashes)
	case len(frozen) > 0:
		sentence = "Changes are frozen by " + strings.Join(frozen, ", ")
	case open == 1:
		sentence = "1 window is open"
	case open > 1:
		sentence = fmt.Sprintf("%d windows are open", open)
	default:
		sentence = "No window is open"
	}
	switch len(changes) {
	case 0:
		return sentence, "No change waits for its window."
	case 1:
		return sentence, "1 change has a window or runs."
	}
	return sentence, fmt.Sprintf("%d changes have a window or run.", len(changes))
}

// Row is a window in the list.
type Row struct {
	Name, URL, Rule, Zone string
	Icon, Word            string
	Lasts, Cutoff         time.Duration
	Open                  *ops.Occurrence
	Next                  *ops.Occurrence
	Booked                int
	In                    *time.Location
}

func (p *Page) list(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	changes, err := p.record.Changes(r.Context(), ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeScheduled, ops.ChangeImplement}, Limit: maxChanges})
	if err != nil {
		return err
	}
	var rows []Row
	for _, x := range p.windows.Windows() {
		k := kinds[x.Kind()]
		row := Row{Name: x.Name, URL: "/windows/" + url.PathEscape(x.Name), Rule: x.Rule(), Zone: x.Zone().String(), Icon: k.icon, Word: k.word, Lasts: x.Duration, Cutoff: x.Cutoff, In: x.Zone()}
		if o, open := x.At(v.Now); open {
			row.Open = &o
		}
		if next := x.Next(v.Now, 1); len(next) == 1 {
			row.Next = &next[0]
		}
		for _, c := range changes {
			if c.Window != nil && slices.Contains(strings.Split(c.Window.Window, " and "), x.Name) || c.Window != nil && c.Window.Window == x.Name {
				row.Booked++
			}
		}
		rows = append(rows, row)
	}
	return p.chrome.Render(w, r, v, p.table, chrome.View{Title: "Windows", Nav: "/calendar", Crumbs: []chrome.Crumb{{Name: "Calendar", URL: "/calendar"}, {Name: "Windows"}}, Body: rows})
}

// One is what the template of a window shows.
type One struct {
	Row
	Applies  string
	Openings []ops.Occurrence
	Reader   *time.Location
	Changes  []ops.Change
}

func (p *Page) one(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	x, err := p.windows.Window(r.PathValue("name"))
	if err != nil {
		return err
	}
	changes, err := p.record.Changes(r.Context(), ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeScheduled, ops.ChangeImplement}, Limit: maxChanges})
	if err != nil {
		return err
	}
	k := kinds[x.Kind()]
	o := &One{Row: Row{Name: x.Name, Rule: x.Rule(), Zone: x.Zone().String(), Icon: k.icon, Word: k.word, Lasts: x.Duration, Cutoff: x.Cutoff, In: x.Zone()}, Applies: x.Applies, Reader: v.Zone}
	o.Openings, _ = x.Between(v.Now, window.Forever, upcoming)
	for _, c := range changes {
		if c.Window != nil && (c.Window.Window == x.Name || slices.Contains(strings.Split(c.Window.Window, " and "), x.Name)) {
			o.Changes = append(o.Changes, c)
		}
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{
		Title: x.Name, Nav: "/calendar", Crumbs: []chrome.Crumb{{Name: "Calendar", URL: "/calendar"}, {Name: "Windows", URL: "/windows"}, {Name: x.Name}}, Body: o,
	})
}
