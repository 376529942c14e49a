package ticket

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// changeNews is what a fact about a change means for the change's own tickets.
type changeNews struct {
	change ops.Change      // as the fact tells it, or as it is known
	state  ops.ChangeState // empty: as before
	// plan is the text of a plan that waits for approval, people whether it
	// needs somebody to decide.
	plan   string
	people bool
	// again tells that what was approved or asked is decided anew.
	again bool
	// window is the time it is planned for.
	window *ops.Occurrence
	run    *ops.Run
	// homeless tells that it is approved and has no window.
	homeless bool
	why      string
	// tasks are where the tasks of each kind go.
	tasks map[ops.TaskKind]taskNews
}

// isOpening tells the facts that may open tickets.
func (n changeNews) isOpening(kind ops.FactKind) bool {
	return kind == ops.ChangeRaised || kind == ops.ApprovalRequested || kind == ops.ChangeScheduledAt
}

// wantChange makes the tickets of a change be there and ask for what it is.
func (r *Room) wantChange(ctx context.Context, tx db.Tx, f ops.Fact, n changeNews, notes []ops.Note) error {
	c := n.change
	tickets, err := r.Store.TicketsAboutIn(ctx, tx, c.Subject())
	if err != nil {
		return err
	}
	type place struct {
		platform string
		kind     ops.TicketKind
	}
	here, open := map[place]bool{}, map[ops.TicketKind]bool{}
	for _, t := range tickets {
		here[place{t.Platform, t.Kind}], open[t.Kind] = true, true
		if err := r.askOf(ctx, &t, n); err != nil {
			return err
		}
		if err := r.save(ctx, tx, &t, f, notes); err != nil {
			return err
		}
	}
	if !n.isOpening(f.Kind) {
		return nil
	}
	for _, route := range r.changeRoutes(ctx, n, open) {
		at := place{route.Platform, route.Kind}
		if here[at] {
			continue
		}
		here[at] = true
		t := ops.Ticket{
			Kind: route.Kind, Platform: route.Platform, Key: Key(r.Installation, route.Platform, route.Kind, c.Subject()), Subject: c.Subject(),
			Want: ops.TicketFields{Group: r.group(route.Team)}, Sync: ops.SyncPending,
		}
		if err := r.askOf(ctx, &t, n); err != nil {
			return err
		}
		// What happened so far is in the description.
		if err := r.save(ctx, tx, &t, f, nil); err != nil {
			return err
		}
	}
	return nil
}

// changeRoutes returns the routes a change takes: of each kind the first match
// of each platform. A change nobody routed goes to the desk, unless it is a
// standard change of an incident: the incident's ticket tells its story.
func (r *Room) changeRoutes(ctx context.Context, n changeNews, open map[ops.TicketKind]bool) []Route {
	var out []Route
	taken := map[string]bool{}
	requests := open[ops.TicketChangeRequest]
	for i, route := range r.Routes {
		if !isChangeKind(route.Kind) || taken[route.Platform+"/"+string(route.Kind)] {
			continue
		}
		if route.Kind == ops.TicketWorkOrder && !n.homeless {
			continue
		}
		match := route.Match == ""
		if !match {
			var err error
			if match, err = r.MatchChange(route.Match, n.change); err != nil {
				r.Log.LogAttrs(ctx, slog.LevelError, "route failed", slog.Int("route", i), slog.String("change_id", n.change.ID), slog.Any("error", err))
			}
		}
		if match {
			taken[route.Platform+"/"+string(route.Kind)] = true
			requests = requests || route.Kind == ops.TicketChangeRequest
			out = append(out, route)
		}
	}
	// Where it must be approved it has a request, whatever the routes match: or
	// nobody could ever approve it.
	if in := n.change.ApproveIn; in != "" && r.platforms[in] != nil && !taken[in+"/"+string(ops.TicketChangeRequest)] {
		requests = true
		out = append(out, Route{Platform: in, Kind: ops.TicketChangeRequest})
	}
	if !requests && (n.change.IncidentID == "" || n.change.Type != ops.ChangeStandard) {
		out = append(out, Route{Platform: DefaultPlatform, Kind: ops.TicketChangeRequest})
	}
	return out
}

// isChangeKind tells the kinds of ticket that belong to changes.
func isChangeKind(kind ops.TicketKind) bool {
	return kind == ops.TicketChangeRequest || kind == ops.TicketWorkOrder
}

func (r *Room) group(team string) string {
	if group, ok := r.Groups[team]; ok {
		return group
	}
	return team
}

// askOf lays what a change asks for anew over what its ticket should show.
func (r *Room) askOf(ctx context.Context, t *ops.Ticket, n changeNews) error {
	f := t.Work.Asked
	c := n.change
	if c.Team != "" {
		f.Group = r.group(c.Team)
	} else if t.ID == "" {
		f.Group = t.Want.Group
	}
	f.Resource = c.Resource
	if p := r.platforms[t.Platform]; p != nil {
		if extra := p.Conn.Extra(t.Kind, c); len(extra) > 0 {
			f.Extra = extra
		}
	}
	var standing ops.Plan
	if t.ID == "" || n.plan != "" {
		text, plan, err := r.describeChange(ctx, c, n.plan, t.Kind)
		if err != nil {
			return err
		}
		f.Description, standing = text, plan
		if t.Kind == ops.TicketChangeRequest && n.plan != "" {
			f.PlanText, f.Rollback = n.plan, rollbackText(plan)
		}
	}
	if t.Kind == ops.TicketWorkOrder {
		askWorkOrder(&f, c, n)
	} else {
		askTasks(t, n, standing)
		r.askRequest(t, &f, n)
	}
	ask(t, f, r.now(), false)
	return nil
}

// askRequest is what a change asks its change request to show.
func (r *Room) askRequest(t *ops.Ticket, f *ops.TicketFields, n changeNews) {
	c := n.change
	f.Title = c.Key() + " " + c.Title
	f.Risk = ops.RiskOf(c.Risk)
	if t.ID == "" {
		f.Type = c.Type // a platform decides by the type how it goes on
		f.State = string(ops.ChangeAssess)
		if r.Artefacts != nil && c.Analysis != nil && c.Analysis.Report != "" {
			t.Work.Files = append(t.Work.Files, reportFile)
		}
	}
	if n.state != "" {
		f.State = string(n.state)
	}
	if n.plan != "" {
		f.Plan = ops.PlanMark(c.PlanDigest, c.Revision)
		t.Work.Files = append(t.Work.Files, planFile(c.Revision))
		asks := r.platforms[t.Platform] != nil && r.platforms[t.Platform].Conn.AsksApproval()
		switch {
		case n.people && asks:
			// It waits in assess until the plan is on the ticket and people are asked.
			t.Work.Approval.Want, f.State = f.Plan, string(ops.ChangeAssess)
		case n.people:
			f.State = string(ops.ChangeAuthorize)
		}
	}
	if n.again {
		t.Work.Approval.Want, f.State = "", string(ops.ChangeAssess)
		n.window = &ops.Occurrence{}
	}
	if n.window != nil {
		start, end := planned(*n.window)
		if !start.Equal(f.PlannedStart) || !end.Equal(f.PlannedEnd) {
			t.Work.Offered = ""
		}
		f.PlannedStart, f.PlannedEnd = start, end
	}
	if n.run != nil {
		f.ActualStart, f.ActualEnd = second(n.run.StartedAt), second(n.run.FinishedAt)
	}
	if n.state.Terminal() {
		f.ResolveCode, f.ResolveNote = string(c.Outcome), orElse(n.why, string(c.Outcome))
	}
}

// askWorkOrder is what a change asks those to show who give it a window.
func askWorkOrder(f *ops.TicketFields, c ops.Change, n changeNews) {
	f.Title = fmt.Sprintf("Window for %s: %s", c.Key(), c.Title)
	if f.State == "" {
		f.State = string(ops.IncidentNew)
	}
	switch {
	case n.state == ops.ChangeCancelled:
		f.State, f.ResolveCode, f.ResolveNote = string(ops.IncidentCancelled), string(c.Outcome), orElse(n.why, string(c.Outcome))
	case n.state == ops.ChangeClosed:
		f.State, f.ResolveCode, f.ResolveNote = string(ops.IncidentResolved), ResolveCode, orElse(n.why, string(c.Outcome))
	}
}

// second cuts a time to what tickets show.
func second(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

// reportFile is the report of the analysis that recommended a change.
const reportFile = "analysis-report.pdf"

func planFile(revision int) string { return fmt.Sprintf("plan-r%d.json", revision) }

// seenOfChange tells what people did in a change's ticket: a decision, a
// withdrawal, a window. Each is told in the transaction that notes it.
func (r *Room) seenOfChange(ctx context.Context, tx db.Tx, t *ops.Ticket, c connector.Copy, edits []ops.FieldEdit, cause string) error {
	user := c.UpdatedBy
	if c.Own {
		user = ""
	}
	changeID := changeOf(t.Subject)
	for _, e := range edits {
		ended := e.To == string(ops.ChangeCancelled) || e.To == string(ops.ChangeClosed)
		if connector.Field(e.Field) != connector.State || !ended || t.Kind != ops.TicketChangeRequest {
			continue
		}
		err := r.tellBy(ctx, tx, t, user, c.UpdatedAt, cause, func(person string) ops.FactBody {
			return ops.WithdrawalSeenBody{
				ChangeID: changeID, TicketID: t.ID, Platform: t.Platform, Display: c.Display, User: user, Person: person,
				Why: orElse(c.Fields.ResolveNote, "the ticket was "+e.To), At: c.UpdatedAt,
			}
		})
		if err != nil {
			return err
		}
	}
	if err := r.seenWindow(ctx, tx, t, c, edits, user, cause); err != nil {
		return err
	}
	digest, revision, _ := ops.ParsePlanMark(c.Fields.Plan)
	for _, d := range c.Decisions {
		note := ops.Note{ID: "decision-" + d.ID, At: d.At, Author: d.User, Text: lines(fmt.Sprintf("%s in %s", d.Decision, t.Platform), d.Comment)}
		fresh, err := r.Store.AddNote(ctx, tx, ops.TicketNote{Note: note, TicketID: t.ID, State: ops.NoteRead})
		if err != nil {
			return err
		}
		if !fresh {
			continue
		}
		err = r.tellBy(ctx, tx, t, d.User, d.At, cause, func(person string) ops.FactBody {
			return ops.ApprovalSeenBody{
				ChangeID: changeID, TicketID: t.ID, Platform: t.Platform, Display: c.Display, Approval: d.ID, User: d.User, Person: person,
				Decision: d.Decision, Comment: d.Comment, Digest: digest, Revision: revision, WrittenAt: c.PlanAt, DecidedAt: d.At,
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seenWindow tells the window a person gave, once.
func (r *Room) seenWindow(ctx context.Context, tx db.Tx, t *ops.Ticket, c connector.Copy, edits []ops.FieldEdit, user, cause string) error {
	touched := false
	for _, e := range edits {
		touched = touched || connector.Field(e.Field) == connector.PlannedStart || connector.Field(e.Field) == connector.PlannedEnd
	}
	start, end := c.Fields.PlannedStart, c.Fields.PlannedEnd
	window := connector.Stamp(start) + "/" + connector.Stamp(end)
	if !touched || start.IsZero() || !end.After(start) || window == t.Work.Offered {
		return nil
	}
	t.Work.Offered = window
	return r.tellBy(ctx, tx, t, user, c.UpdatedAt, cause, func(person string) ops.FactBody {
		return ops.WindowOfferedBody{
			ChangeID: changeOf(t.Subject), TicketID: t.ID, Platform: t.Platform, Display: c.Display, User: user, Person: person, Start: start, End: end,
		}
	})
}

// tellBy tells what a user of a platform did, under the name of the person
// where it is known.
func (r *Room) tellBy(ctx context.Context, tx db.Tx, t *ops.Ticket, user string, at time.Time, cause string, body func(person string) ops.FactBody) error {
	who := ops.Principal{Name: t.Platform + ":" + user}
	person := ""
	if user != "" {
		person = r.Person(t.Platform, user)
	}
	if person != "" {
		who.Name = person
	}
	if at.IsZero() {
		at = r.now()
	}
	_, err := r.Store.Tell(ctx, tx, ops.NewFact(t.Subject, at, who, cause, body(person)))
	return err
}

// planned returns when a change is planned to begin and to end. A window that is
// always open says neither, and platforms have no word for it.
func planned(w ops.Occurrence) (start, end time.Time) {
	if w.Always() {
		return time.Time{}, time.Time{}
	}
	return second(w.Start), second(w.End)
}
