package webtest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/andybalholm/cascadia"
	"golang.org/x/net/html"
)

// Reader is a browser without script: it follows redirects, keeps cookies and
// submits forms as they stand on the page.
type Reader struct {
	t      testing.TB
	Base   string
	Client *http.Client
}

// Page is an answer that was read.
type Page struct {
	t      testing.TB
	Status int
	Header http.Header
	URL    *url.URL
	Body   string
	Doc    *html.Node
}

// Serve starts a server for the house and returns its address.
func (h *House) Serve() string {
	h.t.Helper()
	s := httptest.NewServer(h.Web)
	h.t.Cleanup(s.Close)
	return s.URL
}

// Stranger returns a reader who has not signed in.
func (h *House) Stranger() *Reader {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &Reader{h.t, h.Serve(), &http.Client{Jar: jar}}
}

// Reader returns a reader who signed in as one of the people.
func (h *House) Reader(who string) *Reader {
	h.t.Helper()
	r := h.Stranger()
	p := r.Submit(r.Get("/login"), "form", url.Values{"token": {h.Tokens[who]}})
	if p.Status != http.StatusOK || p.URL.Path != "/" {
		h.t.Fatalf("%s cannot sign in: %d at %s", who, p.Status, p.URL)
	}
	return r
}

// Get reads a page.
func (r *Reader) Get(path string) Page {
	r.t.Helper()
	res, err := r.Client.Get(r.Base + path)
	return r.read(res, err)
}

// Post sends a form as it is given.
func (r *Reader) Post(path string, form url.Values) Page {
	r.t.Helper()
	res, err := r.Client.PostForm(r.Base+path, form)
	return r.read(res, err)
}

func (r *Reader) read(res *http.Response, err error) Page {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	doc, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	return Page{r.t, res.StatusCode, res.Header, res.Request.URL, string(body), doc}
}

// Submit sends the form that selector finds, with its own values and those
// given instead. A button is pressed by giving its name and value.
func (r *Reader) Submit(p Page, selector string, values url.Values) Page {
	r.t.Helper()
	form := p.One(selector)
	fields := url.Values{}
	for _, n := range cascadia.QueryAll(form, cascadia.MustCompile("input, textarea, select")) {
		name := attr(n, "name")
		switch kind := attr(n, "type"); {
		case name == "":
		case kind == "checkbox" || kind == "radio":
			if has(n, "checked") {
				fields.Add(name, attr(n, "value"))
			}
		case n.Data == "textarea":
			fields.Add(name, text(n))
		case n.Data == "select":
			for _, o := range cascadia.QueryAll(n, cascadia.MustCompile("option[selected]")) {
				fields.Add(name, attr(o, "value"))
			}
		default:
			fields.Add(name, attr(n, "value"))
		}
	}
	for k, v := range values {
		fields[k] = v
	}
	action := attr(form, "action")
	if attr(form, "method") == "post" {
		return r.Post(action, fields)
	}
	return r.Get(action + "?" + fields.Encode())
}

// All returns the elements a CSS selector finds.
func (p Page) All(selector string) []*html.Node {
	p.t.Helper()
	s, err := cascadia.ParseGroup(selector)
	if err != nil {
		p.t.Fatalf("selector %q: %v", selector, err)
	}
	return cascadia.QueryAll(p.Doc, s)
}

// One returns the first element a selector finds and ends the test without one.
func (p Page) One(selector string) *html.Node {
	p.t.Helper()
	all := p.All(selector)
	if len(all) == 0 {
		p.t.Fatalf("%s (%d) has no %s; it says: %s", p.URL, p.Status, selector, clip(text(p.Doc)))
	}
	return all[0]
}

// Text returns the text of what a selector finds, white space made one space.
func (p Page) Text(selector string) string {
	p.t.Helper()
	var out []string
	for _, n := range p.All(selector) {
		out = append(out, text(n))
	}
	return strings.Join(out, " | ")
}

// Attr returns an attribute of the first element a selector finds.
func (p Page) Attr(selector, name string) string { p.t.Helper(); return attr(p.One(selector), name) }

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func text(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(n)
	return strings.Join(strings.Fields(b.String()), " ")
}

func clip(s string) string {
	if len(s) > 600 {
		return s[:600] + "…"
	}
	return s
}
