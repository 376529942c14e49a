// Package account is the page /account: who the reader is, how they want to
// see pages, and signing out.
package account

import (
	"embed"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed account.html
var files embed.FS

// Page serves the account.
type Page struct {
	chrome *chrome.Chrome
	page   *chrome.Template
}

// New returns the page.
func New(c *chrome.Chrome) *Page {
	return &Page{c, c.Template(files, "account.html")}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /account", p.chrome.Page(p.show))
	mux.Handle("POST /account", p.chrome.Page(p.save))
}

// Body is what the template shows.
type Body struct {
	Zone  string // as typed
	Fault string
	May   []ops.Permission
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	zone := v.Zone.String()
	if zone == "UTC" {
		zone = ""
	}
	return p.render(w, r, v, 0, Body{Zone: zone})
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, v *chrome.Visit, status int, b Body) error {
	for _, m := range []ops.Permission{ops.MayRead, ops.MayWorkIncidents, ops.MayApprove, ops.MayManageChanges, ops.MayBreakGlass, ops.MayAdminister} {
		if v.Principal.May(m) {
			b.May = append(b.May, m)
		}
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{Status: status, Title: "Account", Nav: "/account", Crumbs: []chrome.Crumb{{Name: "Account"}}, Body: b})
}

func (p *Page) save(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	zone := strings.TrimSpace(r.PostForm.Get("zone"))
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return p.render(w, r, v, http.StatusUnprocessableEntity, Body{
			Zone: zone, Fault: fmt.Sprintf("%q is no zone of the IANA list; write it like Europe/Dublin.", zone),
		})
	}
	theme := r.PostForm.Get("theme")
	if theme != "light" && theme != "dark" {
		theme = ""
	}
	rows, keys := "", ""
	if r.PostForm.Get("rows") == "roomy" {
		rows = "roomy"
	}
	if r.PostForm.Get("keys") == "" {
		keys = "off"
	}
	p.chrome.Remember(w, r, chrome.ThemeCookie, theme)
	p.chrome.Remember(w, r, chrome.ZoneCookie, zone)
	p.chrome.Remember(w, r, chrome.DenseCookie, rows)
	p.chrome.Remember(w, r, chrome.KeysCookie, keys)
	return p.chrome.Done(w, r, "/account", "Saved on this browser.")
}
