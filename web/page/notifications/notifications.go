// Package notifications is the page /notifications: what each channel was told
// of late, what waits for it, and what was given up and can be sent again.
package notifications

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chrome"
)

//go:embed notifications.html
var files embed.FS

// Style is the page's own style.
//
//go:embed notifications.css
var Style string

// Record is what the page reads.
type Record interface {
	Notifications(ctx context.Context, f ops.NotificationFilter) ([]ops.Notification, error)
}

// Channels is who is told; the notify room satisfies it.
type Channels interface {
	Channels(ctx context.Context) ([]notify.ChannelView, error)
	Resend(ctx context.Context, by ops.Principal, id, via string) (ops.Notification, error)
}

// Page serves the notifications.
type Page struct {
	chrome   *chrome.Chrome
	page     *chrome.Template
	record   Record
	channels Channels
}

// New returns the page.
func New(c *chrome.Chrome, record Record, channels Channels) *Page {
	return &Page{c, c.Template(files, "notifications.html"), record, channels}
}

// Routes adds the page to mux.
func (p *Page) Routes(mux *http.ServeMux) {
	mux.Handle("GET /notifications", p.chrome.Page(p.list))
	mux.Handle("POST /notifications/{id}/resend", p.chrome.Page(p.resend))
}

// View is a saved view: a name for a set of states.
type View struct {
	Name, Title string
	States      []ops.NotificationState
	URL         string
	Current     bool
}

var views = []View{
	{Name: "all", Title: "All"},
	{Name: "waiting", Title: "On the way", States: []ops.NotificationState{ops.NotificationWaiting, ops.NotificationSending}},
	{Name: "sent", Title: "Sent", States: []ops.NotificationState{ops.NotificationSent}},
	{Name: "held", Title: "Held back", States: []ops.NotificationState{ops.NotificationHeld, ops.NotificationUnsure}},
	{Name: "listed", Title: "In a digest", States: []ops.NotificationState{ops.NotificationListed}},
	{Name: givenUp, Title: "Given up", States: []ops.NotificationState{ops.NotificationGivenUp}},
}

const (
	givenUp  = "given_up"
	pageSize = 50
)

// Channel is a channel with the lists it leads to.
type Channel struct {
	notify.ChannelView
	Hears            string
	URL, GivenUpLink string
}

// Row is a notification in the list.
type Row struct {
	ops.Notification
	URL       string // of what it is about; empty: it has no page
	Said      string // what its receiver answered
	MayResend bool
	Gone      bool // its channel is no longer configured
}

// List is what the template shows.
type List struct {
	Sentence, Lede string
	Lost           string // URL of what was given up in the last day, empty for nothing
	Channels       []Channel
	Views          []View
	View, Channel  string
	Everywhere     string // URL without the channel
	Rows           []Row
	Older, Newest  string
	WhyNot         string // why the reader may not send again what is shown
}

func (p *Page) list(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	ctx, q := r.Context(), r.URL.Query()
	l := &List{Channel: q.Get("channel"), View: viewOf(q.Get("view")).Name}
	f := ops.NotificationFilter{Channel: l.Channel, States: viewOf(l.View).States, Limit: pageSize + 1}
	if s := q.Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("before: %q is no number: %w", s, ops.ErrInvalid)
		}
		f.Before = n
		l.Newest = address(l.View, l.Channel, 0)
	}
	channels, err := p.channels.Channels(ctx)
	if err != nil {
		return err
	}
	found, err := p.record.Notifications(ctx, f)
	if err != nil {
		return err
	}
	if len(found) > pageSize {
		found = found[:pageSize]
		l.Older = address(l.View, l.Channel, found[pageSize-1].Number)
	}
	l.tell(channels)
	may := v.Principal.May(ops.MayManageChanges)
	for _, n := range found {
		row := Row{Notification: n, URL: record(n.Notice), Said: strings.ReplaceAll(n.Error, "notify: channel "+n.Channel+": ", "")}
		if n.State == ops.NotificationGivenUp {
			row.Gone = !slices.ContainsFunc(channels, func(c notify.ChannelView) bool { return c.Name == n.Channel })
			row.MayResend = may && !row.Gone
			if !may {
				l.WhyNot = "Sending again needs one of the roles change-manager, incident-commander or admin."
			}
		}
		l.Rows = append(l.Rows, row)
	}
	for _, x := range views {
		x.URL, x.Current = address(x.Name, l.Channel, 0), x.Name == l.View
		l.Views = append(l.Views, x)
	}
	if l.Channel != "" {
		l.Everywhere = address(l.View, "", 0)
	}
	return p.chrome.Render(w, r, v, p.page, chrome.View{Title: l.Sentence, Nav: "/notifications", Crumbs: []chrome.Crumb{{Name: "Notifications"}}, Body: l})
}

// tell says how the channels do.
func (l *List) tell(channels []notify.ChannelView) {
	var sent, waiting, held, lost int
	for _, c := range channels {
		sent, waiting, held, lost = sent+c.SentDay, waiting+c.Waiting, held+c.Held, lost+c.GivenUpDay
		hears := make([]string, len(c.On))
		for i, kind := range c.On {
			hears[i] = string(kind)
		}
		l.Channels = append(l.Channels, Channel{c, strings.Join(hears, ", "), address("all", c.Name, 0), address(givenUp, c.Name, 0)})
	}
	switch {
	case len(channels) == 0:
		l.Sentence = "Nobody is told"
		l.Lede = "No channel is configured."
		return
	case lost == 1:
		l.Sentence = "1 notification was given up in the last day"
	case lost > 1:
		l.Sentence = fmt.Sprintf("%d notifications were given up in the last day", lost)
	case waiting == 1:
		l.Sentence = "1 notification is on its way"
	case waiting > 1:
		l.Sentence = fmt.Sprintf("%d notifications are on their way", waiting)
	default:
		l.Sentence = "Every channel took what it was sent"
	}
	if lost > 0 {
		l.Lost = address(givenUp, "", 0)
	}
	l.Lede = fmt.Sprintf("%d sent in the last day, %d on the way, %d held back for a digest.", sent, waiting, held)
}

// record returns the page of what a notice is about.
func record(n ops.Notice) string {
	switch kind, _, _ := strings.Cut(n.Subject, "/"); {
	case n.Key == "":
		return ""
	case kind == "incident":
		return "/incidents/" + n.Key
	case kind == "change":
		return "/changes/" + n.Key
	}
	return ""
}

// viewOf returns the view of a name, all for one that is none.
func viewOf(name string) View {
	if i := slices.IndexFunc(views, func(v View) bool { return v.Name == name }); i >= 0 {
		return views[i]
	}
	return views[0]
}

func address(view, channel string, before int64) string {
	q := url.Values{}
	if view != "all" {
		q.Set("view", view)
	}
	if channel != "" {
		q.Set("channel", channel)
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if len(q) == 0 {
		return "/notifications"
	}
	return "/notifications?" + q.Encode()
}

func (p *Page) resend(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	n, err := p.channels.Resend(r.Context(), v.Principal, r.PathValue("id"), "page")
	if err != nil {
		return err
	}
	back := address(viewOf(r.PostForm.Get("view")).Name, r.PostForm.Get("channel"), 0)
	return p.chrome.Done(w, r, back, fmt.Sprintf("“%s” is on its way to %s again, under the same id.", n.Notice.Title, n.Channel))
}
