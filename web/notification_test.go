package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/webtest"
)

func TestHowChannelsDo(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	p := r.Get("/notifications")
	if got := p.Text("h1"); got != "1 notification was given up in the last day" {
		t.Errorf("the page says %q", got)
	}
	for _, want := range []string{
		"ops-chat slack · hears IncidentOpened, IncidentGrew, ApprovalRequested, RunFailed when notice.severity in",
		"4 of 4", "2 of 20", "05:35 UTC · in 23 min", "1 in the last day", "hears everything", "no limit",
	} {
		if !strings.Contains(p.Text("section[aria-labelledby=channels]"), want) {
			t.Errorf("the channels do not show %q: %s", want, p.Text("section[aria-labelledby=channels]"))
		}
	}
	for _, want := range []string{
		webtest.Lost, "Recipient address rejected", "Given up", "Held back", "Unsure", "In a digest", "Waiting", "Greylisted, try again later", "tells IncidentOpened",
		"no longer configured; it can be sent again when it is", "Sending again needs one of the roles change-manager",
	} {
		if !strings.Contains(p.Text("section[aria-label=Results]"), want) {
			t.Errorf("the list does not show %q: %s", want, p.Text("section[aria-label=Results]"))
		}
	}
	if len(p.All("main form[action$='/resend']")) != 0 {
		t.Error("a viewer may send again")
	}
	p = r.Get("/notifications?view=held&channel=ops-chat")
	if s := p.Text(".notification"); !strings.Contains(s, "INC-7 opened") || strings.Contains(s, "INC-6") || p.Text(".chip b") != "ops-chat" {
		t.Errorf("filtered: %s", s)
	}
	p = r.Get("/notifications?before=4&view=listed")
	if s := p.Text(".notification"); !strings.Contains(s, "INC-3 opened") || p.Text(".pager") != "2 shown, newest first Newest" {
		t.Errorf("before the fourth: %s; %s", s, p.Text(".pager"))
	}
	if p = r.Get("/notifications?before=x"); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("before=x is %d", p.Status)
	}
}

func TestSendAgain(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("ada")
	list := r.Get("/notifications?view=given_up")
	if n := len(list.All("main form[action$='/resend']")); n != 1 {
		t.Fatalf("%d can be sent again: %s", n, list.Text(".notification"))
	}
	path := list.Attr("main form[action$='/resend']", "action")
	for range 2 { // the second time from a page that is old
		p := r.Submit(list, "main form[action$='/resend']", nil)
		if p.Status != http.StatusOK || p.URL.RequestURI() != "/notifications?view=given_up" || !strings.Contains(p.Text("body"), "“"+webtest.Lost+"” is on its way to owners again") {
			t.Fatalf("%d %s: %s", p.Status, p.URL, p.Text("body"))
		}
	}
	n, err := h.Store.Notification(t.Context(), strings.Split(path, "/")[2])
	if err != nil || n.State != ops.NotificationWaiting || n.ResentBy != "Ada Byron" {
		t.Errorf("%+v, %v", n, err)
	}
	p := r.Get("/notifications?view=waiting&channel=owners")
	if !strings.Contains(p.Text(".notification"), "sent again by Ada Byron") {
		t.Errorf("the list: %s", p.Text(".notification"))
	}
	sent, err := h.Store.Notifications(t.Context(), ops.NotificationFilter{States: []ops.NotificationState{ops.NotificationSent}})
	if err != nil || len(sent) == 0 {
		t.Fatalf("%+v, %v", sent, err)
	}
	if p = r.Post("/notifications/"+sent[0].ID+"/resend", url.Values{"csrf": {list.Attr("input[name=csrf]", "value")}}); p.Status != http.StatusConflict {
		t.Errorf("what was sent is sent again: %d %s", p.Status, p.Text("main"))
	}
	if p = h.Reader("max").Post("/notifications/"+n.ID+"/resend", url.Values{"csrf": {h.Reader("max").Get("/account").Attr("input[name=csrf]", "value")}}); p.Status != http.StatusForbidden {
		t.Errorf("an approver sends again: %d", p.Status)
	}
}
