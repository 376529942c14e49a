package changes

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

// Draft is what the template of a new change shows.
type Draft struct {
	Executors     []string
	Typed         change.Request
	Args          string // one on each line
	Risk, Within  string
	WhyNot, Fault string
}

func (p *Page) new(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	q := r.URL.Query()
	return p.form(w, r, v, http.StatusOK, Draft{Typed: change.Request{Key: rand.Text(), IncidentID: q.Get("incident"), ResourceID: q.Get("resource")}})
}

func (p *Page) form(w http.ResponseWriter, r *http.Request, v *chrome.Visit, status int, n Draft) error {
	n.Executors = p.gate.Executors()
	n.WhyNot = mayNotRaise(v.Principal)
	return p.chrome.Render(w, r, v, p.newPage, chrome.View{
		Status: status, Title: "Raise a change", Nav: "/changes", Crumbs: []chrome.Crumb{{Name: "Changes", URL: "/changes"}, {Name: "Raise a change"}}, Body: n,
	})
}

// mayNotRaise says why a principal may not raise a change, empty when it may.
func mayNotRaise(p ops.Principal) string {
	if p.Kind != ops.Person {
		return "Only a person raises a change by hand."
	}
	if err := p.Require(ops.MayApprove); err != nil {
		return chrome.Reason(err)
	}
	return ""
}

func (p *Page) raise(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	typed := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	n := Draft{Args: r.PostForm.Get("args"), Risk: typed("risk"), Within: typed("verify_within"), Typed: change.Request{
		Key: typed("key"), Team: typed("team"), Title: typed("title"), Reason: typed("reason"), Type: ops.ChangeType(typed("type")), Executor: typed("executor"), Action: typed("action"),
		ResourceID: typed("resource"), IncidentID: typed("incident"),
	}}
	for line := range strings.Lines(n.Args) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			n.Typed.Args = append(n.Typed.Args, line)
		}
	}
	err := n.numbers()
	var c ops.Change
	if err == nil {
		c, err = p.gate.Raise(r.Context(), v.Principal, n.Typed, "page")
	}
	if errors.Is(err, ops.ErrInvalid) {
		f := chrome.FaultOf(err)
		n.Fault = f.Why
		return p.form(w, r, v, f.Status, n)
	}
	if err != nil {
		return err
	}
	return p.chrome.Done(w, r, "/changes/"+c.Key(), "You raised "+c.Key()+". Its plan is being made.")
}

// numbers reads what was typed as a number or a duration.
func (n *Draft) numbers() error {
	if n.Risk != "" {
		risk, err := strconv.ParseFloat(n.Risk, 64)
		if err != nil {
			return fmt.Errorf("risk %q is not a number from 0 to 1: %w", n.Risk, ops.ErrInvalid)
		}
		n.Typed.Risk = &risk
	}
	if n.Within != "" {
		var err error
		if n.Typed.VerifyWithin, err = change.ParseVerifyWithin(n.Within); err != nil {
			return err
		}
	}
	return nil
}
