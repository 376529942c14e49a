// Package search is the page /search: find a record by its number or words.
package search

import (
	"context"
	"embed"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed search.html
var files embed.FS

// Record is what the page reads.
type Record interface {
	Incident(ctx context.Context, idOrKey string) (ops.Incident, error)
	Change(ctx context.Context, idOrKey string) (ops.Change, error)
	Incidents(ctx context.Context, f ops.IncidentFilter) ([]ops.Incident, error)
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
}

// Senses is what the page asks detection.
type Senses interface {
	Series(ctx context.Context, f ops.WatchedFilter) (page []ops.Watched, total int, err error)
}

// Page serves the search.
type Page struct {
	chrome *chrome.Chrome
	page   *chrome.Template
	record Record
	senses Senses
}

// New returns the page. Without senses, nil, it finds no series.
func New(c *chrome.Chrome, record Record, senses Senses) *Page {
	return &Page{c, c.Template(files, "search.html"), record, senses}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) { mux.Handle("GET /search", p.chrome.Page(p.show)) }

// Body is what the template shows.
type Body struct {
	Query     string
	Incidents []chrome.IncidentRow
	Changes   []ops.Change
	Series    []ops.Watched
	More      int    // series beyond these
	All       string // where all of them are
}

const maxHits = 25

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx := r.Context()
	b := &Body{Query: strings.TrimSpace(r.URL.Query().Get("q"))}
	if to, err := p.exact(ctx, b.Query); err != nil {
		return err
	} else if to != "" {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	if b.Query != "" {
		found, err := p.record.Incidents(ctx, ops.IncidentFilter{Text: b.Query, Limit: maxHits})
		if err != nil {
			return err
		}
		if b.Incidents, err = chrome.IncidentRows(ctx, p.record, found); err != nil {
			return err
		}
		if b.Changes, err = p.record.Changes(ctx, ops.ChangeFilter{Text: b.Query, Limit: maxHits}); err != nil {
			return err
		}
		if p.senses != nil {
			total := 0
			if b.Series, total, err = p.senses.Series(ctx, ops.WatchedFilter{Text: b.Query, Limit: maxHits}); err != nil {
				return err
			}
			b.More, b.All = total-len(b.Series), "/series?"+url.Values{"q": {b.Query}}.Encode()
		}
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{Title: "Find", Crumbs: []chrome.Crumb{{Name: "Find"}}, Body: b})
}

// exact returns the page of the record whose number or id the query is.
func (p *Page) exact(ctx context.Context, q string) (string, error) {
	up := strings.ToUpper(q)
	uuid := len(q) == 36 && strings.Count(q, "-") == 4
	if strings.HasPrefix(up, "INC-") || uuid {
		i, err := p.record.Incident(ctx, q)
		if err == nil {
			return "/incidents/" + i.Key(), nil
		}
		if !errors.Is(err, ops.ErrNotFound) {
			return "", err
		}
	}
	if strings.HasPrefix(up, "CHG-") || uuid {
		c, err := p.record.Change(ctx, q)
		if err == nil {
			return "/changes/" + c.Key(), nil
		}
		if !errors.Is(err, ops.ErrNotFound) {
			return "", err
		}
	}
	return "", nil
}
