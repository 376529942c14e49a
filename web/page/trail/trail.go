// Package trail is the page /trail/{id}: every fact and command of a record in
// order, with who, when and why.
package trail

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

//go:embed trail.html
var files embed.FS

// Style is the page's own style.
//
//go:embed trail.css
var Style string

// Record is what the page reads.
type Record interface {
	Incident(ctx context.Context, idOrKey string) (ops.Incident, error)
	Change(ctx context.Context, idOrKey string) (ops.Change, error)
	Trail(ctx context.Context, subject string) ([]ops.TrailEntry, error)
}

// Page serves trails.
type Page struct {
	chrome *chrome.Chrome
	page   *chrome.Template
	record Record
}

// New returns the page.
func New(c *chrome.Chrome, record Record) *Page {
	return &Page{c, c.Template(files, "trail.html"), record}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) { mux.Handle("GET /trail/{id}", p.chrome.Page(p.show)) }

// Entry is one line of the trail: a fact or a command.
type Entry struct {
	At      time.Time
	Gap     time.Duration
	Line    *story.Line
	Command *ops.CommandRecord
	JSON    string // the body, indented
}

// Body is what the template shows.
type Body struct {
	Key, Title, URL string
	Entries         []Entry
	Facts, Commands int
	Dropped         int    // older entries that are not shown
	Chain           string // why the chain does not hold, empty when it does
}

// maxEntries bounds what one page shows; fettle trail prints all.
const maxEntries = 1000

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	b, subject, err := p.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	entries, err := p.record.Trail(r.Context(), subject)
	if err != nil {
		return err
	}
	b.Chain = verify(entries)
	for _, e := range entries {
		switch {
		case e.Fact != nil:
			l := story.Of(*e.Fact)
			if strings.HasPrefix(l.URL, "/changes/"+b.Key) {
				l.Key, l.URL = "", ""
			}
			b.Facts++
			b.Entries = append(b.Entries, Entry{At: e.Fact.At, Line: &l, JSON: indent(e.Fact.Body)})
		case e.Command != nil:
			b.Commands++
			b.Entries = append(b.Entries, Entry{At: e.Command.QueuedAt, Command: e.Command, JSON: indent(e.Command.Command.Body)})
		}
	}
	slices.SortStableFunc(b.Entries, func(x, y Entry) int { return cmp.Or(x.At.Compare(y.At), order(x)-order(y)) })
	if n := len(b.Entries); n > maxEntries {
		b.Dropped, b.Entries = n-maxEntries, b.Entries[n-maxEntries:]
	}
	for i := 1; i < len(b.Entries); i++ {
		if gap := b.Entries[i].At.Sub(b.Entries[i-1].At); gap >= 10*time.Minute {
			b.Entries[i].Gap = gap
		}
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{
		Title: "Trail of " + b.Key, Live: subject, Body: b,
		Crumbs: []chrome.Crumb{{Name: "Trail"}, {Name: b.Key, URL: b.URL}, {Name: "Facts and commands"}},
	})
}

// order puts a fact before the command it caused.
func order(e Entry) int {
	if e.Command != nil {
		return 1
	}
	return 0
}

func (p *Page) find(ctx context.Context, id string) (*Body, string, error) {
	isChange := strings.HasPrefix(strings.ToUpper(id), "CHG-")
	if !isChange {
		i, err := p.record.Incident(ctx, id)
		if err == nil {
			return &Body{Key: i.Key(), Title: i.Title, URL: "/incidents/" + i.Key()}, i.Subject(), nil
		}
		if !errors.Is(err, ops.ErrNotFound) || strings.HasPrefix(strings.ToUpper(id), "INC-") {
			return nil, "", err
		}
	}
	c, err := p.record.Change(ctx, id)
	if err != nil {
		if errors.Is(err, ops.ErrNotFound) && !isChange {
			err = fmt.Errorf("there is no incident and no change %q; write INC-42, CHG-42 or an id: %w", id, ops.ErrNotFound)
		}
		return nil, "", err
	}
	return &Body{Key: c.Key(), Title: c.Title, URL: "/changes/" + c.Key()}, c.Subject(), nil
}

// verify recomputes the chain of hashes and returns what does not hold.
func verify(entries []ops.TrailEntry) string {
	var facts []ops.Fact
	for _, e := range entries {
		if e.Fact != nil {
			facts = append(facts, *e.Fact)
		}
	}
	slices.SortFunc(facts, func(a, b ops.Fact) int { return cmp.Compare(a.Seq, b.Seq) })
	prev := ""
	for _, f := range facts {
		switch {
		case f.Prev != prev:
			return fmt.Sprintf("fact %d does not follow the fact before it", f.Seq)
		case f.ComputeHash() != f.Hash:
			return fmt.Sprintf("fact %d was altered after it was written", f.Seq)
		}
		prev = f.Hash
	}
	return ""
}

func indent(body json.RawMessage) string {
	if len(body) == 0 {
		return ""
	}
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return string(body)
	}
	return b.String()
}
