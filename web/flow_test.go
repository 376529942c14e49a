package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/webtest"
)

// A person asks for a change with a form; what was typed is there again when
// something is wrong with it.
func TestAPersonRaisesAChange(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("max")
	p := r.Get("/changes/new?incident=INC-1")
	if got := p.Attr("input[name=incident]", "value"); got != "INC-1" {
		t.Errorf("the incident of the link is %q", got)
	}
	form := url.Values{
		"csrf": {p.Attr("input[name=csrf]", "value")}, "key": {p.Attr("input[name=key]", "value")},
		"team": {"Ops"}, "risk": {"much"}, "verify_within": {"5m"}, "title": {"Grow the disk"}, "reason": {"It fills up"}, "type": {"emergency"},
		"executor": {p.Text("select[name=executor] option")}, "action": {"tidy"}, "args": {"a b\r\n\r\nc"}, "incident": {"INC-4711"},
	}
	p = r.Post("/changes", form)
	if got := p.Text("#fault"); p.Status != http.StatusUnprocessableEntity || !strings.Contains(got, `Risk "much" is not a number`) {
		t.Errorf("a risk of much is %d: %q", p.Status, got)
	}
	form.Set("risk", "0.4")
	p = r.Post("/changes", form)
	if got := p.Text("#fault"); p.Status != http.StatusUnprocessableEntity || !strings.Contains(got, `no incident "INC-4711"`) {
		t.Errorf("an unknown incident is %d: %q", p.Status, got)
	}
	if p.Attr("input[name=key]", "value") != form.Get("key") || form.Get("key") == "" || p.Attr("input[name=risk]", "value") != "0.4" || p.Attr("input[name=verify_within]", "value") != "5m" ||
		p.Attr("input[name=title]", "value") != "Grow the disk" || p.Text("textarea[name=args]") != "a b c" || len(p.All("input[value=emergency][checked]")) != 1 {
		t.Error("what was typed is gone")
	}
	form.Set("incident", "INC-1")
	if p = r.Post("/changes", form); p.Status != http.StatusOK {
		t.Fatalf("raising is %d: %s", p.Status, p.Text("main"))
	}
	where := p.Text("h1")
	if p = r.Post("/changes", form); p.Status != http.StatusOK || p.Text("h1") != where {
		t.Errorf("sent twice: %d, %q instead of %q", p.Status, p.Text("h1"), where)
	}
	all, err := h.Store.Changes(t.Context(), ops.ChangeFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := all[0]
	if c.Title != "Grow the disk" || c.Type != ops.ChangeEmergency || c.IncidentID == "" || !slices.Equal(c.Args, []string{"a b", "c"}) ||
		c.Team != "Ops" || c.Risk != 0.4 || c.VerifyWithin != 5*time.Minute || c.State != ops.ChangeNew && c.State != ops.ChangeAssess {
		t.Errorf("raised %+v", c)
	}

	vic := h.Reader("vic")
	if got := vic.Get("/changes/new").Text("main"); !strings.Contains(got, "You may not raise a change") || vic.Get("/changes").Text("main a[href='/changes/new']") != "" {
		t.Errorf("a viewer is told %q", got)
	}
	form.Set("csrf", vic.Get("/account").Attr("input[name=csrf]", "value"))
	if p = vic.Post("/changes", form); p.Status != http.StatusForbidden {
		t.Errorf("a viewer posts anyway and gets %d", p.Status)
	}
}

func change(t *testing.T, h *webtest.House, u string) ops.Change {
	t.Helper()
	c, err := h.Store.Change(context.Background(), strings.TrimPrefix(u, "/changes/"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestApprovingWithoutScript approves a plan the way a browser without script
// does: read the page, press the button of its form.
func TestApprovingWithoutScript(t *testing.T) {
	h := webtest.New(t)
	u := urls(t, h)["change-waiting"]
	r := h.Reader("max")
	p := r.Get(u)
	if got := p.Text(".approval .plan .add"); !strings.Contains(got, "+ read_capacity 650") {
		t.Errorf("the plan beside the form shows %q", got)
	}
	p = r.Submit(p, "article.approval form", url.Values{"decision": {"approved"}, "reason": {"Load test on Friday."}})
	if p.Status != http.StatusOK || !strings.Contains(p.Text(".toast"), "You approved plan 1") || !strings.Contains(p.Text(".toast"), "EU data tier") {
		t.Fatalf("approving gives %d: %s", p.Status, p.Text(".toast, main h1"))
	}
	c := change(t, h, u)
	if c.State != ops.ChangeScheduled || len(c.Approvals) != 1 || c.Approvals[0].Comment != "Load test on Friday." || c.Approvals[0].Via != "page" {
		t.Errorf("the change is %s with %+v", c.State, c.Approvals)
	}
	if got := r.Get(u).Text("main .toast"); got != "" {
		t.Errorf("the answer is shown twice: %q", got)
	}
	if got := r.Get(u).Text(".signs .yes b"); got != "Max Keller" {
		t.Errorf("approved by %q", got)
	}
	if got := r.Get(strings.Replace(u, "changes", "trail", 1)).Text(".trail"); !strings.Contains(got, "Approved by Max Keller") || !strings.Contains(got, "WakeChange") {
		t.Errorf("the trail says %s", got)
	}
}

func TestDenyingNeedsAReason(t *testing.T) {
	h := webtest.New(t)
	u := urls(t, h)["change-waiting"]
	r := h.Reader("max")
	p := r.Submit(r.Get("/approvals"), "article.approval form[action='"+u+"/decision']", url.Values{"decision": {"denied"}, "reason": {"  "}})
	if p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Text(".fault"), "needs a reason") {
		t.Fatalf("denying without a reason gives %d: %s", p.Status, p.Text(".fault"))
	}
	p = r.Submit(p, "article.approval form", url.Values{"decision": {"denied"}, "reason": {"Not before the sale."}})
	if c := change(t, h, u); p.Status != http.StatusOK || c.State != ops.ChangeCancelled || c.Outcome != ops.Denied {
		t.Errorf("denying gives %d and %s, %s", p.Status, c.State, c.Outcome)
	}
}

func TestAPlanThatMovedIsNotApproved(t *testing.T) {
	h := webtest.New(t)
	u := urls(t, h)["change-waiting"]
	r := h.Reader("max")
	p := r.Get(u)
	c := change(t, h, u)
	h.Write(func(ctx context.Context, tx db.Tx) error {
		plan, err := h.Store.Plan(ctx, c.PlanID)
		if err != nil {
			return err
		}
		plan.ID, plan.Revision, plan.Target, plan.Text = "01936b00-0000-7000-8000-0000000fffff", 2, "catalog-prod-2", "+   read_capacity   900"
		plan.Digest = plan.ComputeDigest()
		c.PlanID, c.PlanDigest, c.Revision = plan.ID, plan.Digest, 2
		return h.Store.SaveChange(ctx, tx, c, plan, time.Time{})
	})
	p = r.Submit(p, "article.approval form", url.Values{"decision": {"approved"}, "reason": {"typed before"}})
	if p.Status != http.StatusConflict || !strings.Contains(p.Text(".fault"), "you looked at plan 1") && !strings.Contains(p.Text(".fault"), "You looked at plan 1") {
		t.Errorf("approving a plan that moved gives %d: %s", p.Status, p.Text(".fault"))
	}
	if got := p.Text("textarea[name=reason]"); got != "typed before" {
		t.Errorf("what was typed became %q", got)
	}
	if !strings.Contains(p.Text(".approval .plan"), "900") || change(t, h, u).State != ops.ChangeAuthorize {
		t.Error("the new plan is not shown, or it was approved")
	}
}

func TestWhoMayNotDecideIsToldWhy(t *testing.T) {
	h := webtest.New(t)
	ctx := context.Background()
	changes, err := h.Store.Changes(ctx, ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeAuthorize}})
	if err != nil {
		t.Fatal(err)
	}
	var own ops.Change
	for _, c := range changes {
		if c.Title == webtest.Own {
			own = c
		}
	}
	f := func(who, why string) {
		t.Helper()
		r := h.Reader(who)
		p := r.Get("/changes/" + own.Key())
		if got := p.Text(".decide .state"); !strings.Contains(got, why) || len(p.All(".decide form")) != 0 {
			t.Errorf("%s is told %q, want %q and no form", who, got, why)
		}
		token := r.Get("/account").Attr("input[name=csrf]", "value")
		p = r.Post("/changes/"+own.Key()+"/decision", url.Values{
			"csrf": {token}, "decision": {"approved"}, "digest": {own.PlanDigest}, "revision": {fmt.Sprint(own.Revision)},
		})
		if p.Status != http.StatusForbidden {
			t.Errorf("%s posts anyway and gets %d", who, p.Status)
		}
	}
	f("max", "You asked for this change. Somebody else has to approve it.")
	f("rea", "Approving needs one of the roles")
	f("vic", "Approving needs one of the roles")
	f("bot", "Only a person approves")
	if c := change(t, h, own.Key()); c.State != ops.ChangeAuthorize {
		t.Errorf("the change is %s", c.State)
	}
}

func TestWorkingAnIncidentWithoutScript(t *testing.T) {
	h := webtest.New(t)
	u := urls(t, h)["incident-open"]
	r := h.Reader("rea")
	f := func(to, word string) {
		t.Helper()
		p := r.Submit(r.Get(u), "form.actions", url.Values{"to": {to}})
		if got := p.Text(".page-head .pill"); p.Status != http.StatusOK || got != word {
			t.Errorf("moving to %s gives %d and shows %q", to, p.Status, got)
		}
	}
	f("in_progress", "In progress")
	f("on_hold", "On hold")
	stale := r.Get(u)
	f("resolved", "Resolved")
	if p := r.Submit(stale, "form.actions", url.Values{"to": {"in_progress"}}); p.Status != http.StatusConflict || !strings.Contains(p.Text("main"), "is resolved now") {
		t.Errorf("acting on a stale page gives %d: %s", p.Status, p.Text("main"))
	}
	p := r.Submit(r.Get(u), "form[action$=comment]", url.Values{"text": {"Looked at it."}})
	if !strings.Contains(p.Text("#story .trail"), "Looked at it.") {
		t.Error("the comment is not in the story")
	}
	if p = r.Submit(p, "form[action$=comment]", url.Values{"text": {" "}}); p.Status != http.StatusUnprocessableEntity || p.Text(".fault") == "" {
		t.Errorf("an empty comment gives %d", p.Status)
	}
	f("closed", "Closed")
	if p := h.Reader("vic").Get(u); len(p.All("form[method=post]")) != 0 {
		t.Error("a viewer sees a form")
	}
}

func TestStoppingAndResuming(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("ada")
	p := r.Submit(r.Get("/stop"), "main form", url.Values{"do": {"stop"}, "reason": {"Fire drill"}})
	if !strings.Contains(p.Text(".topbar .btn"), "Execution stopped") || !strings.Contains(r.Get("/").Text("main .notice"), "Fire drill") {
		t.Errorf("stopping is not shown everywhere: %s", p.Text(".topbar"))
	}
	if p = r.Submit(r.Get("/stop"), "main form", url.Values{"do": {"resume"}, "reason": {"Over"}}); !strings.Contains(p.Text(".topbar .btn"), "Execution on") {
		t.Error("resuming is not shown")
	}
	if p := h.Reader("max").Get("/stop"); len(p.All("main form")) != 0 || !strings.Contains(p.Text(".state"), "change-manager") {
		t.Errorf("an approver sees %s", p.Text(".state"))
	}
}

func TestTheDesk(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("rea")
	p := r.Get("/desk/DESK-1")
	p = r.Submit(p, "main form", url.Values{"state": {"resolved"}})
	if p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Text(".fault"), "needs both") || p.Attr("option[selected]", "value") != "resolved" {
		t.Errorf("resolving without a code gives %d: %s", p.Status, p.Text(".fault"))
	}
	stale := p
	p = r.Submit(p, "main form", url.Values{"state": {"resolved"}, "code": {"Solved"}, "resolution": {"New certificate."}, "assignee": {"rea"}, "note": {"Done."}})
	if p.Status != http.StatusOK || p.Text(".page-head .pill") != "Resolved" || !strings.Contains(p.Text(".list"), "Done.") {
		t.Errorf("resolving gives %d: %s", p.Status, p.Text("main"))
	}
	if p = r.Submit(stale, "main form", url.Values{"state": {"on_hold"}}); p.Status != http.StatusConflict {
		t.Errorf("a stale edit gives %d", p.Status)
	}
}

// A change request at the desk shows its tasks in their order; other tickets
// have no such panel.
func TestTasksAtTheDesk(t *testing.T) {
	h := webtest.New(t)
	c, err := h.Desk.Create(t.Context(), "change", ops.TicketChangeRequest, ops.TicketFields{Title: "CHG-9 scale web-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range []connector.Task{
		{Key: "2", Kind: ops.TaskVerify, Title: "Verify it", Order: 2, State: ops.TaskOpen},
		{Key: "1", Kind: ops.TaskImplement, Title: "Step 1 of 1: update web-1", Text: "Executor: aws", Order: 1, State: ops.TaskComplete, Note: "Applied."},
	} {
		if _, err := h.Desk.PutTask(t.Context(), c.Ref, task); err != nil {
			t.Fatal(err)
		}
	}
	r := h.Reader("rea")
	got := r.Get("/desk/" + c.Display).Text("#tasks")
	first, second := strings.Index(got, "Step 1 of 1: update web-1"), strings.Index(got, "Verify it")
	if first < 0 || second < first || !strings.Contains(got, "Complete") || !strings.Contains(got, "Applied.") || !strings.Contains(got, "Executor: aws") {
		t.Errorf("the tasks show as %q", got)
	}
	if p := r.Get("/desk/DESK-1"); len(p.All("#tasks")) != 0 {
		t.Errorf("an incident shows tasks")
	}
}

func TestCancelling(t *testing.T) {
	h := webtest.New(t)
	u := urls(t, h)["change-scheduled"]
	r := h.Reader("ada")
	if p := r.Submit(r.Get(u), "form[action$=cancel]", url.Values{"why": {"No longer needed"}}); p.Text(".page-head .pill") != "Cancelled | Withdrawn" {
		t.Errorf("cancelling shows %q", p.Text(".page-head .pill"))
	}
}

func TestFiltersLiveInTheAddress(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	f := func(query string, want int) {
		t.Helper()
		if p := r.Get("/incidents?" + query); p.Status != http.StatusOK || len(p.All("tbody tr")) != want {
			t.Errorf("%s gives %d and %d rows, want %d", query, p.Status, len(p.All("tbody tr")), want)
		}
	}
	f("", 6)
	f("view=all", 8)
	f("view=resolved", 2)
	f("severity=critical&severity=high", 3)
	f("team=Data+platform", 2)
	f("q=SYD", 1)
	f("q=100%25", 0)
	f("view=all&before=3", 2)
	p := r.Submit(r.Get("/incidents"), ".facets form", url.Values{"severity": {"low"}, "state": {"resolved"}})
	if p.Text("tbody .title") != "Backup took longer than its window" || p.Text(".chip b") != "Low | Resolved" {
		t.Errorf("the form shows %q with chips %q", p.Text("tbody .title"), p.Text(".chip b"))
	}
	for _, bad := range []string{"/incidents?severity=awful", "/incidents?state=odd", "/incidents?before=x", "/changes?before=-1", "/backlog?from=x&to=y", "/desk?before=x"} {
		if p := r.Get(bad); p.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s gives %d", bad, p.Status)
		}
	}
}

func TestSearch(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	u := urls(t, h)
	f := func(q, path string) {
		t.Helper()
		if p := r.Get("/search?q=" + url.QueryEscape(q)); p.URL.Path != path {
			t.Errorf("%q leads to %s, want %s", q, p.URL.Path, path)
		}
	}
	f(strings.TrimPrefix(u["incident"], "/incidents/"), u["incident"])
	f("chg-1", "/changes/CHG-1")
	f(change(t, h, "CHG-1").ID, "/changes/CHG-1")
	f("checkout", "/search")
	f("INC-999", "/search")
	found := func(q, want string) {
		t.Helper()
		if got := r.Get("/search?q=" + url.QueryEscape(q)).Text("section[class=panel] h2, [aria-label='Series list'] .title"); got != want {
			t.Errorf("%q finds %q, want %q", q, got, want)
		}
	}
	found("web-eu-0", "Series | web-eu-01:9100 | web-eu-02:9100 | web-eu-03:9100")
	found("DEPTH", "Incidents | Series | export-worker-asg") // a word of a title, and a feature
	found("instance=web-eu-02:9100", "Series | web-eu-02:9100")
	if got := r.Get("/search?q=export-worker").Text("section[class=panel] h2"); !strings.HasSuffix(got, "Incidents | Series") {
		t.Errorf("the resource of an incident that is watched leads to %q", got)
	}
	if got := r.Get("/search?q=nobody").Text(".state h2"); got != "Nothing found" {
		t.Errorf("a word nothing has gives %q", got)
	}
	for n := range 30 {
		h.Watch("fleet", fmt.Sprintf("node%02d", n), "cpu")
	}
	p := r.Get("/search?q=node")
	if n := len(p.All("[aria-label='Series list'] tbody tr")); n != 25 || p.Text("section[class=panel] .more a") != "5 more" {
		t.Errorf("of 30 series %d are shown and %q", n, p.Text("section[class=panel] .more a"))
	}
	if n := len(r.Get(p.Attr("section[class=panel] .more a", "href")).All("tbody tr")); n != 30 {
		t.Errorf("the link leads to %d series", n)
	}
	if p := r.Get("/trail/" + change(t, h, "CHG-1").ID); p.Status != http.StatusOK {
		t.Errorf("the trail of an id gives %d", p.Status)
	}
}

func TestBacklogAsCSV(t *testing.T) {
	h := webtest.New(t)
	p := h.Reader("vic").Get("/backlog.csv?from=2026-11-16&to=2026-11-18&team=EUC&range=")
	if !strings.HasPrefix(p.Body, "at,team,backlog_incident_count\n") {
		t.Errorf("two days are computed: %.80s", p.Body)
	}
	p = h.Reader("vic").Get("/backlog.csv?from=2026-11-01&to=2026-11-19&team=EUC")
	if lines := strings.Split(strings.TrimSpace(p.Body), "\n"); len(lines) != 19 || lines[0] != "day,team,backlog_incident_count" || !strings.HasPrefix(lines[1], "2026-11-01,EUC,") && !strings.HasPrefix(lines[1], "2026-10-31,EUC,") {
		t.Errorf("eighteen days are %d lines: %.120s", len(lines), p.Body)
	}
}

// What is approved in a platform only is not approved on the pages: they say
// where, lead to the ticket, and take a denial. All of it without script.
func TestApprovedInAPlatformOnly(t *testing.T) {
	h := webtest.New(t)
	u := urls(t, h)["change-waiting"]
	r := h.Reader("max")
	before := r.Get(u) // with a button that is gone by now
	c := change(t, h, u)
	h.Write(func(ctx context.Context, tx db.Tx) error {
		plan, err := h.Store.Plan(ctx, c.PlanID)
		if err != nil {
			return err
		}
		c.ApproveIn = "snow"
		return h.Store.SaveChange(ctx, tx, c, plan, time.Time{})
	})
	card := "form[action='" + u + "/decision']"
	for _, page := range []string{u, "/approvals"} {
		p := r.Get(page)
		if got := p.Text(card + " .notice"); !strings.Contains(got, "It is approved in snow only. Its ticket there is not opened yet. Here it can only be denied.") {
			t.Errorf("%s says %q", page, got)
		}
		if n := len(p.All(card + " button[value=approved]")); n != 0 || len(p.All(card+" button[value=denied]")) != 1 {
			t.Errorf("%s has %d buttons that approve", page, n)
		}
	}
	h.Write(func(ctx context.Context, tx db.Tx) error {
		x := ops.Ticket{
			Kind: ops.TicketChangeRequest, Platform: "snow", Key: "snow/1", Subject: c.Subject(), Ref: "1", Display: "CHG0030001",
			URL: "https://acme.example/CHG0030001", Sync: ops.SyncOK,
		}
		return h.Store.SaveTicket(ctx, tx, &x)
	})
	for _, page := range []string{u, "/approvals"} {
		p := r.Get(page)
		if got := p.Attr(card+" .notice a", "href"); got != "https://acme.example/CHG0030001" || !strings.Contains(p.Text(card+" .notice"), "Approve CHG0030001 there.") {
			t.Errorf("%s leads to %q: %s", page, got, p.Text(card+" .notice"))
		}
		if p := h.Reader("vic").Get(page); page == u && !strings.Contains(p.Text(".decide .state"), "It is approved in snow only. Approve CHG0030001 there.") {
			t.Errorf("who may not decide reads %q", p.Text(".decide .state"))
		}
	}
	p := r.Submit(before, "article.approval form", url.Values{"decision": {"approved"}, "reason": {""}})
	if p.Status != http.StatusForbidden || !strings.Contains(p.Text(".fault"), "approved in snow only; approve CHG0030001 https://acme.example/CHG0030001 there") {
		t.Errorf("approving gives %d: %s", p.Status, p.Text(".fault, main h1"))
	}
	if now := change(t, h, u); now.State != ops.ChangeAuthorize || len(now.Approvals) != 0 {
		t.Errorf("the change is %s with %+v", now.State, now.Approvals)
	}
	p = r.Submit(r.Get("/approvals"), "article.approval "+card, url.Values{"decision": {"denied"}, "reason": {"not this week"}})
	if now := change(t, h, u); p.Status != http.StatusOK || now.Outcome != ops.Denied {
		t.Errorf("denying gives %d, the change is %s", p.Status, now.State)
	}
}
