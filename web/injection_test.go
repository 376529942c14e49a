package web_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/webtest"
)

// hostile breaks out of text, attributes, scripts and links wherever it is
// written without escaping.
const hostile = `"'><script src=//evil.example></script><img src=x onerror=alert(1)></textarea></title></pre>{{.}}`

// clean fails when a page holds an element that the hostile text made.
func clean(t *testing.T, name string, p webtest.Page, shown bool) {
	t.Helper()
	if n := len(p.All("img, [onerror], script[src*=evil], a[href^='javascript:'], a[href^='data:']")); n > 0 {
		t.Errorf("%s: the text became %d elements", name, n)
	}
	if strings.Contains(p.Body, "<img") || strings.Contains(p.Body, "<script src=//") {
		t.Errorf("%s: the text was written as it came", name)
	}
	if shown && !strings.Contains(p.Text("body")+p.Attr("title", "class"), "onerror=alert(1)") {
		t.Errorf("%s does not show what was written", name)
	}
}

// TestHostileRecords shows records whose every text is hostile on every page.
func TestHostileRecords(t *testing.T) {
	h := webtest.New(t)
	ctx := context.Background()
	now := h.Now()
	alert := ops.Alert{
		Fingerprint: "x", Rule: hostile, Title: hostile, Description: hostile, Severity: ops.High, State: ops.Firing, StartsAt: now,
		Resource: ops.ResourceRef{Name: hostile}, Labels: map[string]string{hostile: hostile},
		Context: ops.AlertContext{Metric: hostile, Operator: hostile, Threshold: hostile, Actual: hostile, Unit: hostile, Reason: hostile},
		Links:   []ops.Link{{Title: hostile, URL: "javascript:alert(1)"}, {Title: hostile, URL: "https://example.com/" + hostile}},
	}
	i := ops.Incident{
		ID: "i-x", Number: 900, Title: hostile, Severity: ops.High, State: ops.IncidentNew, Team: hostile, GroupKey: hostile, Labels: map[string]string{hostile: hostile},
		Rule: hostile, ResourceID: "r-x", Resource: hostile, Firing: 1, Total: 1, OpenedAt: now, UpdatedAt: now, Muted: hostile, Version: 1,
	}
	p := ops.Plan{ID: "p-x", ChangeID: "c-x", Revision: 1, Executor: hostile, Tool: hostile, Target: hostile, Text: "+ " + hostile, Inputs: map[string]string{hostile: hostile}}
	p.Digest = p.ComputeDigest()
	c := ops.Change{
		ID: "c-x", Number: 900, Type: ops.ChangeNormal, State: ops.ChangeAuthorize, Title: hostile, Reason: hostile, Runbook: hostile, Team: "", Resource: hostile, IncidentID: i.ID,
		RequestedBy: "nobody", Executor: hostile, Action: hostile, Args: []string{hostile}, PlanID: p.ID, PlanDigest: p.Digest, Revision: 1, Approve: hostile, Waiting: hostile,
		Approvers: []ops.Approvers{{Role: ops.Approver, Count: 1}}, ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now, Policy: hostile,
		Approvals: []ops.Approval{{ChangeID: "c-x", Principal: "nobody", Name: hostile, Decision: ops.Approved, Digest: hostile, At: now, Via: hostile, Void: hostile, Comment: hostile}},
		Verdict:   &ops.Verdict{Word: "x\"><img>", Why: hostile, Before: hostile, After: hostile, At: now},
		Window:    &ops.Occurrence{Window: hostile, Start: now, End: now, Cutoff: now},
	}
	ticket := ops.Ticket{Kind: ops.TicketIncident, Platform: hostile, Key: "k-x", Ref: "x", Display: hostile, URL: "javascript:alert(1)", Subject: i.Subject(), Seen: ops.TicketFields{State: hostile, Group: hostile, Assignee: hostile}, Sync: "odd\"><img>", SyncNote: hostile}
	h.Write(func(ctx context.Context, tx db.Tx) error {
		if err := h.Store.SaveIncident(ctx, tx, i, ""); err != nil {
			return err
		}
		if err := h.Store.SaveMembers(ctx, tx, []ops.Member{{Alert: alert, IncidentID: i.ID, Integration: hostile, FirstSeen: now, LastSeen: now, Why: hostile}}); err != nil {
			return err
		}
		if err := h.Store.SaveTicket(ctx, tx, &ticket); err != nil {
			return err
		}
		if err := h.Store.SaveChange(ctx, tx, c, p, time.Time{}); err != nil {
			return err
		}
		c.ID, c.Number, c.State, c.PlanID, c.Runbook = "c-y", 901, ops.ChangeScheduled, "", ""
		c.Window.End = now.Add(time.Hour)
		if err := h.Store.SaveChange(ctx, tx, c, ops.Plan{}, time.Time{}); err != nil {
			return err
		}
		n := ops.Notification{
			ID: "n-x", Channel: "owners", State: ops.NotificationWaiting, Says: hostile, MadeAt: now,
			Notice: ops.Notice{Event: hostile, Subject: i.Subject(), Key: hostile, Title: hostile, Fact: "f-x", Kind: ops.FactKind(hostile)},
		}
		if _, err := h.Store.AddNotification(ctx, tx, n); err != nil {
			return err
		}
		n.Version, n.State, n.Error, n.ResentBy, n.DoneAt = 1, ops.NotificationGivenUp, hostile, hostile, now
		return h.Store.SaveNotification(ctx, tx, n)
	})
	by := ops.Principal{Name: hostile}
	for _, body := range []ops.FactBody{
		ops.IncidentOpenedBody{Incident: i, Alerts: []ops.Alert{alert}, Count: 1, Why: hostile},
		ops.IncidentCommentedBody{Note: ops.Note{Author: hostile, Text: hostile}, Via: hostile},
		ops.TicketOpenedBody{Platform: hostile, Display: hostile, URL: "javascript:alert(1)"},
		ops.TicketTroubledBody{Platform: hostile, Class: hostile, Error: hostile},
		ops.TicketEditedBody{Platform: hostile, Display: hostile, By: hostile, Edits: []ops.FieldEdit{{Field: hostile, From: hostile, To: hostile}}, Notes: []ops.Note{{Text: hostile}}},
	} {
		h.Tell(now, by, i.Subject(), body)
	}
	h.Tell(now, by, c.Subject(), ops.ChangeRaisedBody{Change: c, Why: hostile})
	h.Tell(now, by, c.Subject(), ops.VerdictGivenBody{Verdict: *c.Verdict})
	if err := h.Series.Append(ctx, []ops.Sample{
		{Series: ops.SeriesID{Resource: "r-x", Metric: hostile}, Unit: hostile, Point: ops.Point{At: now.Add(-time.Minute), Value: 1}},
		{Series: ops.SeriesID{Resource: "r-x", Metric: hostile}, Unit: hostile, Point: ops.Point{At: now, Value: 2}},
	}); err != nil {
		t.Fatal(err)
	}
	d, err := h.Desk.Create(ctx, "d-x", ops.TicketIncident, ops.TicketFields{Title: hostile, Description: hostile, Group: hostile, Assignee: hostile, Resource: hostile})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Desk.Edit(ctx, d.Ref, hostile, []connector.Field{connector.Assignee}, ops.TicketFields{Assignee: hostile}, hostile); err != nil {
		t.Fatal(err)
	}
	watched := h.Watch(hostile, hostile, hostile)
	r := h.Reader("ada")
	for _, u := range []string{
		"/", "/series", "/series/" + watched, "/incidents", "/incidents/INC-900", "/changes", "/changes/CHG-900", "/approvals", "/trail/INC-900", "/trail/CHG-900", "/desk", "/desk/" + d.Display,
		"/search?q=onerror", "/notifications", "/backlog?range=24h", "/calendar?month=" + now.Format("2006-01"),
	} {
		p := r.Get(u)
		if p.Status != http.StatusOK {
			t.Errorf("%s gives %d: %s", u, p.Status, p.Text("main"))
		}
		clean(t, u, p, true)
	}
}

// TestHostileInput sends hostile text through every field of every form and
// every parameter of every address.
func TestHostileInput(t *testing.T) {
	h := webtest.New(t)
	u := urls(t, h)
	r := h.Reader("ada")
	q := url.QueryEscape(hostile)
	for _, a := range []string{
		"/search?q=" + q, "/incidents?q=" + q, "/incidents?team=" + q, "/incidents?severity=" + q, "/incidents?state=" + q, "/incidents?view=" + q, "/incidents?before=" + q,
		"/changes?q=" + q, "/changes?view=" + q, "/backlog?team=" + q, "/backlog?range=" + q, "/backlog?from=" + q + "&to=" + q, "/incidents/" + url.PathEscape(hostile), "/changes/" + url.PathEscape(hostile),
		"/trail/" + url.PathEscape(hostile), "/desk/" + url.PathEscape(hostile), "/" + url.PathEscape(hostile), u["incident"] + "?range=" + q, u["incident"] + "?from=" + q,
		"/calendar?month=" + q, "/calendar?zone=" + q, "/calendar?view=" + q, "/windows/" + url.PathEscape(hostile),
		"/notifications?view=" + q, "/notifications?channel=" + q, "/notifications?before=" + q,
		"/series?q=" + q, "/series?group=" + q, "/series?state=" + q, "/series?after=" + q, "/series/" + url.PathEscape(hostile), u["series-unusual"] + "?range=" + q,
		u["series-unusual"] + "?from=" + q + "&to=" + q, u["series-unusual"] + "?anomaly=" + q,
	} {
		clean(t, a, r.Get(a), false)
	}
	clean(t, "login", h.Stranger().Get("/login?next="+q), false)
	for _, f := range []struct {
		page, form string
		fields     url.Values
	}{
		{u["incident-open"], "form[action$=comment]", url.Values{"text": {hostile}}},
		{u["incident-open"], "form.actions", url.Values{"to": {hostile}}},
		{u["incident-open"], "form.actions", url.Values{"to": {"in_progress"}, "state": {hostile}}},
		{u["change-waiting"], "article.approval form", url.Values{"decision": {"approved"}, "reason": {hostile}, "digest": {hostile}, "revision": {hostile}, "back": {hostile}}},
		{u["change-waiting"], "article.approval form", url.Values{"decision": {hostile}}},
		{u["change-waiting"], "article.approval form", url.Values{"decision": {"approved"}, "reason": {hostile}, "back": {"https://evil.example/"}}},
		{u["change-scheduled"], "form[action$=cancel]", url.Values{"why": {hostile}}},
		{"/stop", "main form", url.Values{"do": {"stop"}, "reason": {hostile}}},
		{"/stop", "main form", url.Values{"do": {hostile}, "reason": {hostile}}},
		{"/notifications", "form[action$=resend]", url.Values{"view": {hostile}, "channel": {hostile}}},
		{"/account", "form[action='/account']", url.Values{"zone": {hostile}, "theme": {hostile}}},
		{"/desk/DESK-1", "main form", url.Values{"state": {hostile}, "assignee": {hostile}, "group": {hostile}, "code": {hostile}, "resolution": {hostile}, "note": {hostile}}},
		{"/desk/DESK-1", "main form", url.Values{"assignee": {hostile}, "group": {hostile}, "note": {hostile}}},
	} {
		p := r.Submit(r.Get(f.page), f.form, f.fields)
		if p.URL.Host != strings.TrimPrefix(r.Base, "http://") {
			t.Errorf("%s leads away to %s", f.page, p.URL)
		}
		clean(t, f.page, p, false)
	}
	if got := r.Get("/account").Attr("html", "data-theme"); got != "" {
		t.Errorf("the theme became %q", got)
	}
	if got := h.Stranger(); true {
		p := got.Submit(got.Get("/login"), "form", url.Values{"token": {hostile}, "next": {hostile}})
		clean(t, "login form", p, false)
	}
}
