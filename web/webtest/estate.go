package webtest

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// New returns a house with an estate: open and resolved incidents, one of them
// with a measured series and a change that repaired it, changes in every
// state, tickets, and ninety evenings of backlog.
func New(t testing.TB) *House {
	t.Helper()
	h := Empty(t)
	h.backlog()
	h.At(start)
	h.watched()
	h.incidents()
	h.checkout()
	h.changes()
	h.advice()
	h.told()
	h.At(start)
	return h
}

// incident writes an incident as correlation would, with the fact of its opening.
func (h *House) incident(i ops.Incident, age time.Duration, members ...ops.Member) ops.Incident {
	h.t.Helper()
	i.ID = h.id()
	i.OpenedAt = start.Add(-age)
	i.UpdatedAt, i.Version = i.OpenedAt, 1
	i.Total = len(members)
	for _, m := range members {
		if m.State == ops.Firing {
			i.Firing++
		}
	}
	final := i.State
	i.State = ops.IncidentNew
	if i.GroupKey == "" {
		i.GroupKey = i.Rule + "/" + i.Resource
	}
	h.At(i.OpenedAt)
	h.Write(func(ctx context.Context, tx db.Tx) error {
		n, err := h.Store.NextNumber(ctx, tx, "incident")
		if err != nil {
			return err
		}
		i.Number = n
		if i.Resource != "" {
			ids, err := h.Store.ResolveResources(ctx, tx, []ops.ResourceRef{{Kind: "host", Name: i.Resource, Aliases: []string{ops.Alias("host", i.Resource)}}})
			if err != nil {
				return err
			}
			i.ResourceID = ids[0]
		}
		if err := h.Store.SaveIncident(ctx, tx, i, ""); err != nil {
			return err
		}
		var alerts []ops.Alert
		for k := range members {
			m := &members[k]
			m.IncidentID, m.StartsAt, m.FirstSeen, m.LastSeen = i.ID, i.OpenedAt.Add(-time.Minute), i.OpenedAt, i.OpenedAt
			if m.Fingerprint == "" {
				m.Fingerprint = fmt.Sprintf("%s-%d", i.ID, k)
			}
			alerts = append(alerts, m.Alert)
		}
		if len(members) > 0 {
			if err := h.Store.SaveMembers(ctx, tx, members); err != nil {
				return err
			}
		}
		_, err = h.Store.Tell(ctx, tx, ops.NewFact(i.Subject(), i.OpenedAt, ops.SystemPrincipal, "", ops.IncidentOpenedBody{
			Incident: i, Alerts: alerts, Count: i.Total, Why: "no live incident has the group " + i.GroupKey,
		}))
		return err
	})
	if final == ops.IncidentInProgress || final == ops.IncidentOnHold || final == ops.IncidentResolved || final == ops.IncidentClosed {
		i = h.move(i, h.People["rea"], ops.IncidentInProgress, i.OpenedAt.Add(3*time.Minute))
	}
	switch final {
	case ops.IncidentOnHold:
		i = h.move(i, h.People["rea"], final, i.OpenedAt.Add(30*time.Minute))
	case ops.IncidentResolved:
		i = h.move(i, h.People["rea"], final, i.OpenedAt.Add(47*time.Minute))
	}
	return i
}

func (h *House) move(i ops.Incident, by ops.Principal, to ops.IncidentState, at time.Time) ops.Incident {
	h.t.Helper()
	h.At(at)
	i, err := h.Incidents.Move(context.Background(), by, i.ID, to, "", "page")
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

func (h *House) ticket(subject, platform, display string, kind ops.TicketKind, state string, group string, sync ops.SyncState, note string) {
	t := ops.Ticket{
		Kind: kind, Platform: platform, Key: platform + "/" + subject, Ref: display, Display: display, Subject: subject,
		Seen: ops.TicketFields{State: state, Group: group}, SeenAt: start.Add(-8 * time.Second), Sync: sync, SyncNote: note, NotesOut: 3,
	}
	if platform == "servicenow" {
		t.URL = "https://example.service-now.com/nav_to.do?uri=incident.do?sysparm_query=number=" + display
	}
	h.Write(func(ctx context.Context, tx db.Tx) error { return h.Store.SaveTicket(ctx, tx, &t) })
}

// deskTicket opens a ticket on the desk for an incident.
func (h *House) deskTicket(i ops.Incident) {
	h.t.Helper()
	c, err := h.Desk.Create(context.Background(), i.ID, ops.TicketIncident, ops.TicketFields{
		Title: i.Title, State: string(i.State), Severity: i.Severity, Group: i.Team, Resource: i.Resource,
		Description: "Condition: " + i.Rule + "\nResource: " + i.Resource + "\nDiagnostics, last hour: cpu ▁▂▂▃▇█ min 0.31 mean 0.52 max 0.98",
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.Desk.AddNote(context.Background(), c.Ref, ops.Note{ID: h.id(), Text: "Fettle opened this ticket for " + i.Key() + "."}); err != nil {
		h.t.Fatal(err)
	}
	h.ticket(i.Subject(), "desk", c.Display, ops.TicketIncident, string(i.State), i.Team, ops.SyncOK, "")
}

func alert(title string, sev ops.Severity, state ops.AlertState, c ops.AlertContext, resource string) ops.Alert {
	return ops.Alert{Rule: title, Title: title, Severity: sev, State: state, Context: c, Resource: ops.ResourceRef{Name: resource}}
}

func (h *House) incidents() {
	for k, x := range []struct {
		title, resource, team string
		sev                   ops.Severity
		state                 ops.IncidentState
		age                   time.Duration
		members               int
		sync                  ops.SyncState
	}{
		{"Certificate expires in 13 d", "edge-lb-prod", "Edge network", ops.Low, ops.IncidentInProgress, 28 * time.Hour, 2, ops.SyncUnknown},
		{"Disk will fill in 31 h", "build-runner-07", "Build systems", ops.Medium, ops.IncidentNew, 11 * time.Hour, 1, ops.SyncOK},
		{"Queue depth growing on export workers", "export-worker-asg", "Data platform", ops.Medium, ops.IncidentOnHold, 9 * time.Hour, 5, ops.SyncOK},
		{"Backup took longer than its window", "ledger-db-eu-west-1", "Data platform", ops.Low, ops.IncidentResolved, 7 * time.Hour, 1, ops.SyncOK},
		{"Replication lag on ledger-db", "ledger-db-eu-west-1", "Data platform", ops.High, ops.IncidentInProgress, 182 * time.Minute, 12, ops.SyncPending},
		{"Unusual traffic at the Sydney edge", "edge-lb-syd", "Edge network", ops.High, ops.IncidentInProgress, 38 * time.Minute, 9, ops.SyncOK},
		{"Sign-in failures above the threshold", "identity-gw-prod-weu", "Identity", ops.Critical, ops.IncidentNew, 4 * time.Minute, 3, ops.SyncConflict},
	} {
		var members []ops.Member
		for n := range x.members {
			state := ops.Firing
			if !x.state.Open() {
				state = ops.Resolved
			}
			members = append(members, ops.Member{
				Alert:       alert(x.title, x.sev, state, ops.AlertContext{Metric: "errors", Operator: ">", Threshold: "5", Actual: fmt.Sprint(8 + n), Window: 5 * time.Minute}, x.resource),
				Integration: []string{"alertmanager", "azure-prod", "aws-prod"}[n%3], Repeats: int64(n), Why: "same group",
			})
		}
		if x.resource == "edge-lb-syd" {
			h.anomalous(members)
		}
		i := h.incident(ops.Incident{Title: x.title, Resource: x.resource, Team: x.team, Severity: x.sev, State: x.state, Rule: x.title}, x.age, members...)
		if x.resource == "edge-lb-syd" {
			h.held(i)
		}
		note := ""
		switch x.sync {
		case ops.SyncConflict:
			note = "ServiceNow says in progress, Fettle says new; both were edited at 05:10 UTC. A person has to choose."
		case ops.SyncPending:
			note = "rate limited, next try 05:12:40 UTC"
		}
		h.ticket(i.Subject(), "servicenow", fmt.Sprintf("INC00482%02d", k+10), ops.TicketIncident, string(i.State), x.team, x.sync, note)
		if k%2 == 0 {
			h.deskTicket(i)
		}
	}
}

// Repaired is the title of the incident with a series and a repair.
const Repaired = "CPU above 90% on checkout-api"

// checkout is the whole loop once: measured, detected, ticketed, approved,
// executed, verified, resolved.
func (h *House) checkout() {
	limit := 0.9
	i := h.incident(ops.Incident{
		Title: Repaired, Resource: "checkout-api-prod-eus", Team: "Payments platform", Severity: ops.High, State: ops.IncidentInProgress, Rule: "cpu-high",
	}, 113*time.Minute,
		ops.Member{Alert: alert("CPU above 90%", ops.High, ops.Resolved, ops.AlertContext{Metric: "cpu", Operator: ">", Threshold: "0.9", Actual: "0.97", Value: &limit, Window: 5 * time.Minute}, "checkout-api-prod-eus"), Integration: "host", Repeats: 17, Why: "no live incident has this group"},
		ops.Member{Alert: alert("p95 latency above 500 ms", ops.Medium, ops.Resolved, ops.AlertContext{Metric: "latency", Operator: ">", Threshold: "500", Actual: "747", Unit: "ms"}, "checkout-api-prod-eus"), Integration: "alertmanager", Repeats: 11, Why: "same resource within 5 min"},
		ops.Member{Alert: alert("Retries above 5%", ops.Low, ops.Resolved, ops.AlertContext{}, "payment-out-prod"), Integration: "azure-prod", Repeats: 6, Why: "same group within 5 min"},
	)
	var samples []ops.Sample
	id := ops.SeriesID{Resource: i.ResourceID, Metric: "cpu"}
	began, repaired := i.OpenedAt.Add(-2*time.Minute), i.OpenedAt.Add(36*time.Minute)
	for k := range 180 {
		at := i.OpenedAt.Add(time.Duration(k-75) * time.Minute)
		v := 0.34 + 0.05*math.Sin(float64(k)/9) + 0.02*math.Sin(float64(k)*1.7)
		switch {
		case at.After(began) && at.Before(repaired):
			v = 0.93 + 0.04*math.Sin(float64(k)*2.1)
		case !at.Before(repaired) && at.Before(repaired.Add(8*time.Minute)):
			v = 0.9 - 0.07*float64(at.Sub(repaired)/time.Minute)
		}
		if at.After(start) {
			break
		}
		samples = append(samples, ops.Sample{Series: id, Unit: "1", Point: ops.Point{At: at, Value: math.Round(v*1000) / 1000}})
	}
	h.At(start)
	if err := h.Series.Append(context.Background(), samples); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Series.Flush(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	h.ticket(i.Subject(), "servicenow", "INC0048213", ops.TicketIncident, "resolved", i.Team, ops.SyncOK, "")
	h.deskTicket(i)
	h.At(i.OpenedAt.Add(2 * time.Second))
	h.Tell(i.OpenedAt.Add(2*time.Second), ops.SystemPrincipal, i.Subject(), ops.TicketOpenedBody{Platform: "servicenow", Ref: "x", Display: "INC0048213"})
	h.At(i.OpenedAt.Add(5 * time.Minute))
	if err := h.Incidents.Comment(context.Background(), h.People["rea"], i.ID, "The pool was cut to 12 an hour before. Restarting the workers frees it.", "page"); err != nil {
		h.t.Fatal(err)
	}
	t := i.OpenedAt.Add(6 * time.Minute)
	c := h.change(ops.Change{
		Type: ops.ChangeEmergency, State: ops.ChangeClosed, Outcome: ops.Successful, Title: "Restart the checkout workers", Reason: "CPU above 90% for 5 min on checkout-api-prod-eus",
		Runbook: "restart-hot-worker", Team: i.Team, ResourceID: i.ResourceID, Resource: i.Resource, IncidentID: i.ID, Executor: "shell", Action: "restart-service", Risk: 0.02, VerifyWithin: 15 * time.Minute,
		RequestedBy: ops.SystemPrincipal.ID, CreatedAt: t, Approve: "needs 1 approver, because an emergency on production",
	}, plan("checkout-workers", "  systemd unit on checkout-api-prod-eus\n~   checkout-worker@1..8   restart, two at a time\n  no connection is dropped: the balancer drains each first", "restart-service", "run"))
	h.Tell(t, ops.SystemPrincipal, c.Subject(), ops.ChangeRaisedBody{Change: c, Why: "runbook restart-hot-worker: its trigger matched CPU above 90%"})
	h.Tell(t.Add(4*time.Second), ops.SystemPrincipal, c.Subject(), ops.ApprovalRequestedBody{Change: c, Digest: c.PlanDigest, Why: c.Approve})
	a := ops.Approval{ChangeID: c.ID, Principal: h.People["max"].ID, Name: "Max Keller", Decision: ops.Approved, Digest: c.PlanDigest, Revision: 1, At: t.Add(9 * time.Minute), Via: "page", Comment: "Seen on the balancer too."}
	h.Tell(a.At, h.People["max"], c.Subject(), ops.ApprovalGivenBody{Approval: a})
	w := ops.Occurrence{Window: "emergency", Start: a.At, End: a.At.Add(time.Hour), Cutoff: a.At.Add(45 * time.Minute)}
	run := ops.Run{ID: h.id(), ChangeID: c.ID, PlanID: c.PlanID, Digest: c.PlanDigest, State: ops.RunSucceeded, StartedAt: a.At.Add(20 * time.Minute), AppliedAt: a.At.Add(22*time.Minute + 11*time.Second), FinishedAt: a.At.Add(30 * time.Minute), Output: "draining 1, 2\nrestarted checkout-worker@1\nrestarted checkout-worker@2\n8 of 8 restarted, 0 failed"}
	h.Tell(run.StartedAt, ops.SystemPrincipal, c.Subject(), ops.RunStartedBody{Run: run, Window: w, Why: "approved, window open, nothing in the way"})
	h.Tell(run.AppliedAt, ops.SystemPrincipal, c.Subject(), ops.RunAppliedBody{Run: run, Change: c})
	v := ops.Verdict{ChangeID: c.ID, RunID: run.ID, Word: ops.Better, Why: "The alert CPU above 90% cleared 7 min after the run and stayed clear.", Before: "cpu 0.97, threshold 0.9", After: "cpu 0.36", Waited: 8 * time.Minute, At: run.FinishedAt}
	h.Tell(v.At, ops.SystemPrincipal, c.Subject(), ops.VerdictGivenBody{Verdict: v})
	c.Approvals, c.Window, c.Run, c.Verdict, c.ClosedAt = []ops.Approval{a}, &w, &run, &v, v.At.Add(time.Second)
	h.save(c, ops.Plan{})
	h.Tell(c.ClosedAt, ops.SystemPrincipal, c.Subject(), ops.ChangeEndedBody{Change: c, Why: "verdict better"})
	h.ticket(c.Subject(), "servicenow", "CHG0031207", ops.TicketChangeRequest, "closed", i.Team, ops.SyncOK, "")
	resolved := v.At.Add(time.Minute)
	h.move(i, ops.Principal{Name: ops.SystemPrincipal.Name, Kind: ops.System, Roles: []ops.Role{ops.Responder}}, ops.IncidentResolved, resolved)
	h.Tell(resolved, ops.SystemPrincipal, i.Subject(), ops.IncidentResolvedBody{Incident: i, Why: "the last of 3 members resolved"})
}

func plan(target, text, action, verb string) ops.Plan {
	return ops.Plan{
		Executor: "shell", Tool: "command", Target: target, Text: text, ApplySecs: 130, RollbackSecs: 120,
		Actions:  []ops.PlanAction{{Resource: target, Verb: verb, Args: []string{action, target}}},
		Rollback: []ops.PlanAction{{Resource: target, Verb: "run", Args: []string{"undo-" + action, target}}},
		Config:   "c0ffee",
	}
}

// change writes a change with its plan.
func (h *House) change(c ops.Change, p ops.Plan) ops.Change {
	h.t.Helper()
	c.ID = h.id()
	h.Write(func(ctx context.Context, tx db.Tx) error {
		n, err := h.Store.NextNumber(ctx, tx, "change")
		c.Number = n
		return err
	})
	c.Revision, c.UpdatedAt = max(1, c.Revision), c.CreatedAt
	if p.Text != "" {
		p.ID, p.ChangeID, p.Revision = h.id(), c.ID, c.Revision
		p.Digest = p.ComputeDigest()
		c.PlanID, c.PlanDigest = p.ID, p.Digest
	}
	if c.Run != nil {
		c.Run.ChangeID, c.Run.PlanID, c.Run.Digest = c.ID, c.PlanID, c.PlanDigest
	}
	return h.save(c, p)
}

func (h *House) save(c ops.Change, p ops.Plan) ops.Change {
	h.t.Helper()
	stored, err := h.Store.Change(context.Background(), c.ID)
	if err == nil {
		c.Version = stored.Version
	}
	h.Write(func(ctx context.Context, tx db.Tx) error { return h.Store.SaveChange(ctx, tx, c, p, time.Time{}) })
	c.Version++
	return c
}

// Titles of changes that wait for approval.
const (
	Waiting = "Raise the read capacity of catalog-prod from 400 to 650"
	Own     = "Rotate the edge certificates"
)

func (h *House) changes() {
	ask := []ops.Approvers{{Role: ops.Approver, Count: 1}}
	base := ops.Change{
		Type: ops.ChangeNormal, Executor: "shell", Action: "scale", Risk: 0.02, VerifyWithin: time.Hour,
		Approve: "needs 1 approver, because every normal change does", Approvers: ask, ExpiresAt: start.Add(70 * time.Hour),
	}
	make := func(title, resource, team, by string, state ops.ChangeState, age time.Duration, p ops.Plan, edit func(c *ops.Change)) ops.Change {
		c := base
		c.Title, c.Resource, c.Team, c.State, c.CreatedAt = title, resource, team, state, start.Add(-age)
		c.RequestedBy = by
		if edit != nil {
			edit(&c)
		}
		h.At(c.CreatedAt)
		c = h.change(c, p)
		who := ops.SystemPrincipal
		for _, x := range h.People {
			if x.ID == by {
				who = x
			}
		}
		h.Tell(c.CreatedAt, who, c.Subject(), ops.ChangeRaisedBody{Change: c, Why: "asked for by hand"})
		if c.PlanDigest != "" {
			h.Tell(c.CreatedAt.Add(3*time.Second), ops.SystemPrincipal, c.Subject(), ops.ApprovalRequestedBody{Change: c, Digest: c.PlanDigest, Why: c.Approve})
		}
		return c
	}
	rea, max := h.People["rea"].ID, h.People["max"].ID
	make("Remove the old log shipper", "log-ship-01", "Build systems", rea, ops.ChangeCancelled, 50*time.Hour, plan("log-ship-01", "-   package   shipper 2.1", "remove", "delete"), func(c *ops.Change) { c.Outcome, c.ClosedAt = ops.Withdrawn, start.Add(-49*time.Hour) })
	make("Patch group web-eu, batch 2 of 4", "web-eu", "Edge network", rea, ops.ChangeImplement, 26*time.Hour, plan("web-eu", "~   openssl   3.5.1 → 3.5.2\n~   curl      8.16 → 8.17", "patch", "update"), func(c *ops.Change) {
		w := ops.Occurrence{Window: "EU web tier", Start: start.Add(-12 * time.Minute), End: start.Add(3 * time.Hour), Cutoff: start.Add(28 * time.Minute)}
		c.Window = &w
		c.Run = &ops.Run{ID: "01936b00-0000-7000-8000-00000000beef", State: ops.RunRunning, StartedAt: start.Add(-8 * time.Minute), Output: "batch 2: 4 of 12 hosts done"}
	})
	make("Right-size orders-db: db.r5.2xlarge to db.r6g.xlarge", "orders-db-eu-west-1", "Data platform", rea, ops.ChangeScheduled, 20*time.Hour, plan("orders-db", "  stack orders-prod · eu-west-1\n  AWS::RDS::DBInstance  OrdersDb\n-   DBInstanceClass:   db.r5.2xlarge\n+   DBInstanceClass:   db.r6g.xlarge\n~   ApplyImmediately:  false → true       (only inside the window)\n  replacement: no · fails over once", "resize", "update"), func(c *ops.Change) {
		w := ops.Occurrence{Window: "EU data tier", Start: start.Add(16*time.Hour + 48*time.Minute), End: start.Add(20*time.Hour + 48*time.Minute), Cutoff: start.Add(20*time.Hour + 18*time.Minute)}
		c.Window, c.Waiting = &w, "for window EU data tier to open"
	})
	make(Own, "edge-lb-prod", "Edge network", max, ops.ChangeAuthorize, 40*time.Minute, plan("edge-lb-prod", "-   certificate   edge-2025 (expires 2 Dec 2026)\n+   certificate   edge-2026 (expires 2 Dec 2027)", "rotate", "replace"), func(c *ops.Change) { c.Risk = 1 })
	make(Waiting, "catalog-prod", "Data platform", rea, ops.ChangeAuthorize, 3*time.Hour, plan("catalog-prod", "  aws_dynamodb_table.catalog\n-   read_capacity   400\n+   read_capacity   650\n  in place · no replacement · 38 USD a month more", "scale", "update"), nil)
	make("Clean the build cache", "build-runner-07", "Build systems", rea, ops.ChangeAssess, time.Minute, ops.Plan{}, nil)
}

// backlog writes ninety evenings of two teams, and incidents behind the
// newest of them so that the last day can be computed too.
func (h *House) backlog() {
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		h.t.Fatal(err)
	}
	euc, sup := 57.0, 46.0
	h.Write(func(ctx context.Context, tx db.Tx) error {
		for d := range 90 {
			day := time.Date(2026, 8, 21, 0, 0, 0, 0, time.UTC).AddDate(0, 0, d)
			at := time.Date(day.Year(), day.Month(), day.Day(), 19, 0, 0, 0, zone)
			euc += 2.4*math.Sin(float64(d)/7) + 1.1*math.Sin(float64(d)*2.3)
			sup += 1.6*math.Sin(float64(d)/5+2) + 0.9*math.Sin(float64(d)*1.9)
			if d > 80 {
				euc += 1.3
			}
			for team, v := range map[string]float64{"EUC": euc, "Support": sup} {
				if _, err := h.Store.SaveSnapshot(ctx, tx, ops.BacklogSnapshot{Team: team, Day: day.Format(time.DateOnly), At: at, Count: int(v)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
