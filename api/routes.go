package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/ops"
)

// body is the answer of an operation.
type body[T any] struct{ Body T }

// op registers an operation: who may, what it does, how its errors read.
func op[I, O any](a *API, method, path, id, summary string, may ops.Permission, f func(ctx context.Context, by ops.Principal, in *I) (O, error)) {
	status := http.StatusOK
	huma.Register(a.huma, huma.Operation{
		OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary, DefaultStatus: status,
		Errors: problems(),
	}, func(ctx context.Context, in *I) (*body[O], error) {
		by := caller(ctx)
		if err := by.Require(may); err != nil {
			return nil, a.fail(ctx, id, err)
		}
		out, err := f(ctx, by, in)
		if err != nil {
			return nil, a.fail(ctx, id, err)
		}
		return &body[O]{out}, nil
	})
}

// ByID names a record in the path, by id or number.
type ByID struct {
	ID string `path:"id" doc:"id or number (INC-42, CHG-42)"`
}

type incidentQuery struct {
	Page
	State    []string `query:"state" doc:"states, comma separated"`
	Severity []string `query:"severity" doc:"severities, comma separated"`
	Team     string   `query:"team"`
	Text     string   `query:"q" doc:"part of the title, rule or resource"`
}

type memberQuery struct {
	ByID
	Page
}

type moveInput struct {
	ByID
	Body struct {
		State string `json:"state" enum:"in_progress,on_hold,resolved,closed,cancelled"`
		Why   string `json:"why,omitempty" maxLength:"4000"`
	}
}

type commentInput struct {
	ByID
	Body struct {
		Text string `json:"text" minLength:"1" maxLength:"16384"`
	}
}

type changeQuery struct {
	Page
	State    []string `query:"state" doc:"states, comma separated"`
	Incident string   `query:"incident" doc:"id of the incident it belongs to"`
	Text     string   `query:"q"`
}

type decisionInput struct {
	ByID
	Body struct {
		Decision string `json:"decision" enum:"approved,denied"`
		Digest   string `json:"digest" minLength:"12" maxLength:"64" doc:"digest of the plan you saw, or its first 12 characters or more"`
		Comment  string `json:"comment,omitempty" maxLength:"4000"`
		Via      string `json:"via,omitempty" enum:"api,cli" default:"api"`
	}
}

type cancelInput struct {
	ByID
	Body struct {
		Why string `json:"why" minLength:"1" maxLength:"4000"`
	}
}

type glassInput struct {
	ByID
	Body struct {
		Freeze string `json:"freeze" minLength:"1" maxLength:"200" doc:"name of the freeze"`
		Reason string `json:"reason" minLength:"1" maxLength:"4000" doc:"why it cannot be waited for"`
	}
}

type heldInput struct {
	ByID
	Body struct {
		Word string `json:"word" enum:"succeeded,failed,roll_back" doc:"it worked after all, it did not and stays as it is, or it is to be undone"`
		Why  string `json:"why" minLength:"1" maxLength:"4000" doc:"what you found"`
	}
}

type reviewInput struct {
	ByID
	Body struct {
		Note string `json:"note" minLength:"1" maxLength:"4000" doc:"what the review found"`
	}
}

type trailQuery struct {
	ByID
	Verify bool `query:"verify" doc:"check the hash chain too"`
}

type rangeQuery struct {
	Team string    `query:"team"`
	From time.Time `query:"from" doc:"RFC 3339; default 30 days before to"`
	To   time.Time `query:"to" doc:"RFC 3339; default now"`
	Step string    `query:"step" doc:"such as 1h; default 24h"`
}

type sendInput struct {
	Name        string `path:"name" doc:"integration, or source where only one integration has it"`
	ContentType string `header:"Content-Type"`
	RawBody     []byte
}

type none struct{}

func (a *API) routes() {
	op(a, http.MethodGet, "/incidents", "list-incidents", "List incidents, newest first", ops.MayRead, a.listIncidents)
	op(a, http.MethodGet, "/incidents/{id}", "get-incident", "Show an incident with its alerts and tickets", ops.MayRead, a.incident)
	op(a, http.MethodGet, "/incidents/{id}/alerts", "list-incident-alerts", "List the alerts of an incident, by fingerprint", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, in *memberQuery) (List[ops.Member], error) {
			i, err := a.Incidents.Incident(ctx, in.ID)
			if err != nil {
				return List[ops.Member]{}, err
			}
			found, err := a.Incidents.MembersAfter(ctx, i.ID, in.Cursor, in.Limit)
			return listOf(found, in.Limit, func(m ops.Member) string { return m.Fingerprint }), err
		})
	op(a, http.MethodPost, "/incidents/{id}/move", "move-incident", "Acknowledge, hold, resolve, close or cancel an incident", ops.MayWorkIncidents,
		func(ctx context.Context, by ops.Principal, in *moveInput) (ops.Incident, error) {
			return a.Desk.Move(ctx, by, in.ID, ops.IncidentState(in.Body.State), in.Body.Why, "api")
		})
	op(a, http.MethodPost, "/incidents/{id}/comments", "comment-incident", "Add a comment; its tickets carry it as a work note", ops.MayWorkIncidents,
		func(ctx context.Context, by ops.Principal, in *commentInput) (none, error) {
			return none{}, a.Desk.Comment(ctx, by, in.ID, in.Body.Text, "api")
		})
	op(a, http.MethodGet, "/changes", "list-changes", "List changes, newest first", ops.MayRead, a.listChanges)
	op(a, http.MethodPost, "/changes", "raise-change", "Raise a change by hand; it goes through the same gate as every other", ops.MayRead, a.raise)
	op(a, http.MethodGet, "/changes/{id}", "get-change", "Show a change with its plan", ops.MayRead, a.change)
	op(a, http.MethodPost, "/changes/{id}/decisions", "decide-change", "Approve or deny exactly one plan", ops.MayRead,
		func(ctx context.Context, by ops.Principal, in *decisionInput) (ops.Change, error) {
			return a.Gate.Decide(ctx, by, in.ID, ops.Decision(in.Body.Decision), in.Body.Digest, in.Body.Comment, in.Body.Via)
		})
	op(a, http.MethodPost, "/changes/{id}/cancel", "cancel-change", "Withdraw a change that has not started", ops.MayRead,
		func(ctx context.Context, by ops.Principal, in *cancelInput) (ops.Change, error) {
			return a.Gate.Cancel(ctx, by, in.ID, in.Body.Why, "api")
		})
	op(a, http.MethodPost, "/changes/{id}/held", "settle-change", "Say what became of a run that is held for a person", ops.MayRead,
		func(ctx context.Context, by ops.Principal, in *heldInput) (ops.Change, error) {
			return a.Gate.DecideHeld(ctx, by, in.ID, change.Resolution(in.Body.Word), in.Body.Why)
		})
	op(a, http.MethodPost, "/changes/{id}/break-glass", "break-glass", "Override a freeze for one change, or confirm that another person does", ops.MayRead,
		func(ctx context.Context, by ops.Principal, in *glassInput) (ops.Change, error) {
			return a.Gate.BreakGlass(ctx, by, in.ID, in.Body.Freeze, in.Body.Reason)
		})
	op(a, http.MethodPost, "/changes/{id}/review", "sign-review", "Sign the review that a broken freeze demands, which closes the change", ops.MayRead,
		func(ctx context.Context, by ops.Principal, in *reviewInput) (ops.Change, error) {
			return a.Gate.SignReview(ctx, by, in.ID, in.Body.Note)
		})
	op(a, http.MethodGet, "/trail/{id}", "get-trail", "Every fact and command of an incident or a change, in order", ops.MayRead, a.trail)
	op(a, http.MethodGet, "/execution", "get-execution", "Whether all execution is stopped", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, _ *none) (Execution, error) {
			reason, stopped, err := a.Changes.ExecutionStopped(ctx)
			return Execution{Stopped: stopped, Reason: reason}, err
		})
	op(a, http.MethodPut, "/execution", "set-execution", "Stop or resume all execution", ops.MayManageChanges, a.setExecution)
	op(a, http.MethodGet, "/analytics/backlog", "get-backlog", "Backlog per team at every step, from transitions", ops.MayRead, a.backlog)
	op(a, http.MethodGet, "/analytics/backlog-snapshots", "list-backlog-snapshots", "Daily backlog per team at its local time", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, in *rangeQuery) (List[ops.BacklogSnapshot], error) {
			from, to, _, err := a.span(in)
			if err != nil {
				return List[ops.BacklogSnapshot]{}, err
			}
			items, err := a.Snapshots.Snapshots(ctx, in.Team, from, to)
			return newList(items, 0, nil), err
		})
	op(a, http.MethodGet, "/analytics/mttr", "get-mttr", "Time to resolve", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, in *rangeQuery) (analytics.Resolution, error) {
			from, to, _, err := a.span(in)
			if err != nil {
				return analytics.Resolution{}, err
			}
			return a.Numbers.MTTR(ctx, in.Team, from, to)
		})
	op(a, http.MethodGet, "/tokens", "list-tokens", "List tokens, without their secrets", ops.MayAdminister,
		func(ctx context.Context, _ ops.Principal, _ *none) (List[TokenView], error) {
			items, err := a.Tokens.ListTokens(ctx)
			return newList(items, 0, nil), err
		})
	op(a, http.MethodPost, "/tokens", "create-token", "Make a token; its secret is shown once", ops.MayAdminister,
		func(ctx context.Context, by ops.Principal, in *struct{ Body NewToken }) (CreatedToken, error) {
			return a.Tokens.CreateToken(ctx, by, in.Body)
		})
	op(a, http.MethodDelete, "/tokens/{id}", "revoke-token", "Make a token open nothing from now on", ops.MayAdminister,
		func(ctx context.Context, by ops.Principal, in *ByID) (none, error) {
			return none{}, a.Tokens.RevokeToken(ctx, by, in.ID)
		})
	op(a, http.MethodGet, "/integrations", "list-integrations", "List integrations with what is wrong with each", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, _ *none) (List[IntegrationView], error) {
			items, err := a.Door.Integrations(ctx)
			return newList(items, 0, nil), err
		})
	op(a, http.MethodPost, "/integrations/{name}/send", "send-payload", "Deliver a payload as if its sender had been authenticated", ops.MayAdminister,
		func(ctx context.Context, _ ops.Principal, in *sendInput) (struct {
			Outcome string `json:"outcome"`
		}, error,
		) {
			var out struct {
				Outcome string `json:"outcome"`
			}
			var err error
			out.Outcome, err = a.Door.Send(ctx, in.Name, in.ContentType, in.RawBody)
			return out, err
		})
	a.senseRoutes()
	a.platformRoutes()
	a.bootstrapRoutes()
	a.recommendationRoutes()
	a.windowRoutes()
	a.notificationRoutes()
	a.backlogCSV()
}

type platformInput struct {
	Name string `path:"name" doc:"configured name of the platform"`
}

func (a *API) platformRoutes() {
	op(a, http.MethodGet, "/platforms", "list-platforms", "How each ticket platform is doing", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, _ *none) (List[PlatformView], error) {
			items, err := a.Platforms.Platforms(ctx)
			return newList(items, 0, nil), err
		})
	op(a, http.MethodPost, "/platforms/{name}/test", "test-platform", "Try the connection to a platform", ops.MayManageChanges,
		func(ctx context.Context, _ ops.Principal, in *platformInput) (Checked, error) {
			err := a.Platforms.CheckPlatform(ctx, in.Name)
			if errors.Is(err, ops.ErrNotFound) {
				return Checked{}, err
			}
			if err != nil {
				return Checked{Error: err.Error()}, nil
			}
			return Checked{OK: true}, nil
		})
	op(a, http.MethodPost, "/platforms/{name}/sync", "sync-platform", "Fetch what people did in a platform now", ops.MayWorkIncidents,
		func(ctx context.Context, _ ops.Principal, in *platformInput) (none, error) {
			return none{}, a.Platforms.SyncPlatform(ctx, in.Name)
		})
	op(a, http.MethodPost, "/platforms/{name}/audit", "audit-platform", "Merge work items that slipped through twice", ops.MayManageChanges,
		func(ctx context.Context, _ ops.Principal, in *platformInput) (none, error) {
			return none{}, a.Platforms.AuditPlatform(ctx, in.Name)
		})
}

func words[T ~string](in []string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, s := range in {
		for w := range strings.SplitSeq(s, ",") {
			if w = strings.TrimSpace(w); w == "" {
				continue
			}
			v, err := parse(w)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	}
	return out, nil
}

func (a *API) listIncidents(ctx context.Context, _ ops.Principal, in *incidentQuery) (List[IncidentSummary], error) {
	f := ops.IncidentFilter{Team: in.Team, Text: in.Text, Limit: in.Limit}
	var err error
	if f.States, err = words(in.State, ops.ParseIncidentState); err != nil {
		return List[IncidentSummary]{}, err
	}
	if f.Severities, err = words(in.Severity, ops.ParseSeverity); err != nil {
		return List[IncidentSummary]{}, err
	}
	if f.Before, err = in.before(); err != nil {
		return List[IncidentSummary]{}, err
	}
	found, err := a.Incidents.Incidents(ctx, f)
	items := make([]IncidentSummary, len(found))
	for i, x := range found {
		items[i] = IncidentSummary{Incident: x, Key: x.Key()}
	}
	return newList(items, in.Limit, func(i IncidentSummary) int64 { return i.Number }), err
}

// IncidentSummary is an incident in a list.
type IncidentSummary struct {
	ops.Incident
	Key string `json:"key" doc:"the number people use, INC-42"`
}

func (a *API) incident(ctx context.Context, _ ops.Principal, in *ByID) (IncidentView, error) {
	i, err := a.Incidents.Incident(ctx, in.ID)
	if err != nil {
		return IncidentView{}, err
	}
	v := IncidentView{Incident: i, Key: i.Key()}
	if v.Alerts, err = a.Incidents.FirstMembers(ctx, i.ID, maxViewAlerts); err != nil {
		return v, err
	}
	v.Tickets, err = a.Incidents.TicketsAbout(ctx, i.Subject())
	return v, err
}

func (a *API) listChanges(ctx context.Context, _ ops.Principal, in *changeQuery) (List[ChangeView], error) {
	f := ops.ChangeFilter{Incident: in.Incident, Text: in.Text, Limit: in.Limit}
	var err error
	if f.States, err = words(in.State, ops.ParseChangeState); err != nil {
		return List[ChangeView]{}, err
	}
	if f.Before, err = in.before(); err != nil {
		return List[ChangeView]{}, err
	}
	found, err := a.Changes.Changes(ctx, f)
	items := make([]ChangeView, len(found))
	for i, c := range found {
		items[i] = ChangeView{Change: c, Key: c.Key()}
	}
	return newList(items, in.Limit, func(c ChangeView) int64 { return c.Number }), err
}

func (a *API) change(ctx context.Context, _ ops.Principal, in *ByID) (ChangeView, error) {
	c, err := a.Changes.Change(ctx, in.ID)
	v := ChangeView{Change: c, Key: c.Key()}
	if err != nil {
		return v, err
	}
	if v.Tickets, err = a.Incidents.TicketsAbout(ctx, c.Subject()); err != nil || c.PlanID == "" {
		return v, err
	}
	p, err := a.Changes.Plan(ctx, c.PlanID)
	v.Plan = &p
	return v, err
}

type raiseInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"255" doc:"any text of yours: asked again with it, you get the change that was raised the first time"`
	Body NewChange
}

func (a *API) raise(ctx context.Context, by ops.Principal, in *raiseInput) (ops.Change, error) {
	n := in.Body
	q := change.Request{
		Key:  in.Key,
		Type: ops.ChangeType(n.Type), Title: n.Title, Reason: n.Reason, Team: n.Team, ResourceID: n.Resource, IncidentID: n.Incident,
		Executor: n.Executor, Action: n.Action, Args: n.Args, Risk: n.Risk,
	}
	if n.VerifyWithin != "" {
		var err error
		if q.VerifyWithin, err = change.ParseVerifyWithin(n.VerifyWithin); err != nil {
			return ops.Change{}, err
		}
	}
	return a.Gate.Raise(ctx, by, q, n.Via)
}

func (a *API) trail(ctx context.Context, _ ops.Principal, in *trailQuery) (TrailView, error) {
	v := TrailView{}
	if strings.HasPrefix(strings.ToUpper(in.ID), "CHG-") {
		c, err := a.Changes.Change(ctx, in.ID)
		if err != nil {
			return v, err
		}
		v.Subject, v.Key = c.Subject(), c.Key()
	} else if i, err := a.Incidents.Incident(ctx, in.ID); err == nil {
		v.Subject, v.Key = i.Subject(), i.Key()
	} else {
		c, cerr := a.Changes.Change(ctx, in.ID)
		if cerr != nil {
			return v, fmt.Errorf("there is no incident or change %q: %w", in.ID, ops.ErrNotFound)
		}
		v.Subject, v.Key = c.Subject(), c.Key()
	}
	var err error
	if v.Entries, err = a.Story.Trail(ctx, v.Subject); err != nil {
		return v, err
	}
	if in.Verify {
		v.Intact, v.Verified = true, fmt.Sprintf("the chain of %s holds", v.Key)
		if err := a.Story.VerifyChain(ctx, v.Subject); err != nil {
			v.Intact, v.Verified = false, err.Error()
		}
	}
	return v, nil
}

func (a *API) setExecution(ctx context.Context, by ops.Principal, in *struct{ Body Execution }) (Execution, error) {
	if strings.TrimSpace(in.Body.Reason) == "" {
		return Execution{}, fmt.Errorf("reason is empty; say why: %w", ops.ErrInvalid)
	}
	if in.Body.Stopped {
		return in.Body, a.Gate.StopExecution(ctx, by, in.Body.Reason)
	}
	return in.Body, a.Gate.ResumeExecution(ctx, by, in.Body.Reason)
}

func (a *API) span(in *rangeQuery) (from, to time.Time, step time.Duration, err error) {
	from, to, step = in.From, in.To, 24*time.Hour
	if to.IsZero() {
		to = a.Clock()
	}
	if from.IsZero() {
		from = to.AddDate(0, 0, -30)
	}
	if in.Step != "" {
		if step, err = time.ParseDuration(in.Step); err != nil || step <= 0 {
			err = fmt.Errorf("step %q is not a duration like 1h: %w", in.Step, ops.ErrInvalid)
		}
	}
	return from, to, step, err
}

func (a *API) backlog(ctx context.Context, _ ops.Principal, in *rangeQuery) (List[analytics.BacklogPoint], error) {
	from, to, step, err := a.span(in)
	if err != nil {
		return List[analytics.BacklogPoint]{}, err
	}
	items, err := a.Numbers.Backlog(ctx, in.Team, from, to, step)
	return newList(items, 0, nil), err
}

// backlogCSV serves the daily snapshots the way spreadsheets read them.
func (a *API) backlogCSV() {
	type answer struct {
		ContentType string `header:"Content-Type"`
		Disposition string `header:"Content-Disposition"`
		Body        []byte
	}
	huma.Register(a.huma, huma.Operation{
		OperationID: "get-backlog-csv", Method: http.MethodGet, Path: "/api/v1/analytics/backlog.csv", Summary: "Daily backlog per team, as CSV", Errors: problems(),
		Responses: map[string]*huma.Response{"200": {Description: "timestamp, day, team, backlog_incident_count", Content: map[string]*huma.MediaType{"text/csv": {}}}},
	}, func(ctx context.Context, in *rangeQuery) (*answer, error) {
		if err := caller(ctx).Require(ops.MayRead); err != nil {
			return nil, a.fail(ctx, "get-backlog-csv", err)
		}
		from, to, _, err := a.span(in)
		if err != nil {
			return nil, a.fail(ctx, "get-backlog-csv", err)
		}
		items, err := a.Snapshots.Snapshots(ctx, in.Team, from, to)
		if err != nil {
			return nil, a.fail(ctx, "get-backlog-csv", err)
		}
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		_ = w.Write([]string{"timestamp", "day", "team", "backlog_incident_count"})
		for _, s := range items {
			_ = w.Write([]string{s.At.Format(time.RFC3339), s.Day, inert(s.Team), strconv.Itoa(s.Count)})
		}
		w.Flush()
		return &answer{ContentType: "text/csv; charset=utf-8", Disposition: `attachment; filename="backlog.csv"`, Body: b.Bytes()}, w.Error()
	})
}

// inert keeps a spreadsheet from taking a cell for a formula (OWASP, CSV injection).
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
