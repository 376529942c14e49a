// Package approvals is the page /approvals: what is asked of me.
package approvals

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed approvals.html
var files embed.FS

// Record is what the page reads.
type Record interface {
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	Plan(ctx context.Context, planID string) (ops.Plan, error)
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
}

// Page serves the approvals.
type Page struct {
	chrome *chrome.Chrome
	page   *chrome.Template
	record Record
}

// New returns the page. Its forms post to the change's own page.
func New(c *chrome.Chrome, record Record) *Page {
	return &Page{c, c.Template(files, "approvals.html"), record}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) { mux.Handle("GET /approvals", p.chrome.Page(p.show)) }

// Card is one change that waits, with the plan beside the decision.
type Card struct {
	ops.Change
	Plan   *ops.Plan
	Decide *chrome.DecideForm
	WhyNot string
	Yours  bool
	Steps  []chrome.Step // who must approve, in order
	Void   *ops.Approval // an earlier approval that no longer counts
	// Elsewhere is where it has to be approved; nil: here.
	Elsewhere *chrome.Elsewhere
}

// Body is what the template shows.
type Body struct {
	Sentence     string
	Mine, Others []Card
}

// maxCards bounds the cards of the page; the rest is in the list of changes.
const maxCards = 50

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	waiting, err := p.record.Changes(r.Context(), ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeAuthorize}, Limit: maxCards})
	if err != nil {
		return err
	}
	b := &Body{}
	for _, c := range waiting {
		card := Card{Change: c, WhyNot: chrome.MayDecide(v.Principal, v.Absent, c), Steps: chrome.Steps(c), Yours: c.RequestedBy == v.Principal.ID}
		if c.PlanID != "" {
			plan, err := p.record.Plan(r.Context(), c.PlanID)
			if err != nil && !errors.Is(err, ops.ErrNotFound) {
				return err
			}
			if err == nil {
				card.Plan = &plan
			}
		}
		for i, a := range c.Approvals {
			if a.Void != "" && a.Principal == v.Principal.ID {
				card.Void = &c.Approvals[i]
			}
		}
		if c.ApproveIn != "" {
			tickets, err := p.record.TicketsAbout(r.Context(), c.Subject())
			if err != nil {
				return err
			}
			card.Elsewhere = chrome.ApprovedElsewhere(c, tickets)
		}
		if card.WhyNot == "" {
			card.Decide = &chrome.DecideForm{Change: c, CSRF: v.CSRF, Back: "/approvals", Elsewhere: card.Elsewhere, For: chrome.InNameOf(v.Principal, v.Absent, c)}
			b.Mine = append(b.Mine, card)
		} else {
			b.Others = append(b.Others, card)
		}
	}
	switch n := len(b.Mine); n {
	case 0:
		b.Sentence = "No plan waits for you"
	case 1:
		b.Sentence = "1 plan waits for you"
	default:
		b.Sentence = fmt.Sprintf("%d plans wait for you", n)
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{
		Title: b.Sentence, Nav: "/approvals", Crumbs: []chrome.Crumb{{Name: "Approvals"}}, Live: "*", Hold: len(b.Mine) > 0, Body: b,
	})
}
