package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/runbook"
	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/connector"
	connectors "github.com/fettleops/fettle/connector/all"
	"github.com/fettleops/fettle/correlate"
	"github.com/fettleops/fettle/execute"
	executors "github.com/fettleops/fettle/execute/all"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/ticket"
	"github.com/fettleops/fettle/verify"
)

func (a *App) buildCorrelate(context.Context) error {
	c := a.Config.Correlate
	routes, err := compileRoutes(a.Config)
	if err != nil {
		return err
	}
	a.Correlate = correlate.New(correlate.Config{
		GroupBy: c.GroupBy, Within: c.Within.D, ReopenWithin: c.ReopenWithin.D, FlapChanges: c.Flap.Changes, FlapWithin: c.Flap.Within.D, StatelessAfter: c.StatelessAfter.D,
	}, correlate.Deps{
		Log: a.Store, Store: a.Store, Facts: a.Store, Resources: a.Store, Windows: mutes{a}, Teams: routes, DB: a.DB,
		Clock: a.Clock, NewID: a.Store.NewID, Logger: a.Logger,
	})
	a.Correlate.Register(a.Queue)
	a.loops = append(a.loops, loop{"correlate", a.Correlate.Run})
	return nil
}

// mutes asks the change room, which is built later, about maintenance windows.
type mutes struct{ app *App }

// Muted reports whether a maintenance window mutes an alert.
func (m mutes) Muted(ctx context.Context, a ops.Alert, at time.Time) (string, bool) {
	return m.app.Change.Muted(ctx, ops.Resource{Kind: a.Resource.Kind, Name: a.Resource.Name, Aliases: a.Resource.Aliases}, a.Labels, at)
}

// routes are the compiled routes, which also say whose an incident is.
type routes []compiledRoute

type compiledRoute struct {
	config.Route
	match *policy.Program
}

func compileRoutes(c *config.Config) (routes, error) {
	var out routes
	var faults []error
	for i, r := range c.Routes {
		word := policy.Incident
		if r.OfChange() {
			word = policy.Change
		}
		p, err := policy.Compile(word, r.Match)
		if err != nil {
			faults = append(faults, fmt.Errorf("routes[%d].match: %w", i, err))
		}
		out = append(out, compiledRoute{r, p})
	}
	return out, errors.Join(faults...)
}

// TeamOf returns the team of the first route with a team that an incident meets.
func (r routes) TeamOf(i ops.Incident) string {
	for _, route := range r {
		if route.Team == "" || route.OfChange() {
			continue
		}
		if ok, err := route.match.Match(policy.Vars{Incident: &i}); err == nil && ok {
			return route.Team
		}
	}
	return ""
}

// Match tells whether an incident meets the route with this condition.
func (r routes) Match(expr string, i ops.Incident) (bool, error) {
	return r.holds(expr, false, policy.Vars{Incident: &i})
}

// MatchChange tells whether a change meets the route for changes with this condition.
func (r routes) MatchChange(expr string, c ops.Change) (bool, error) {
	return r.holds(expr, true, policy.Vars{Change: &c, Resource: &ops.Resource{ID: c.ResourceID, Name: c.Resource}})
}

func (r routes) holds(expr string, ofChange bool, v policy.Vars) (bool, error) {
	for _, route := range r {
		if route.Route.Match == expr && route.OfChange() == ofChange {
			return route.match.Match(v)
		}
	}
	return false, fmt.Errorf("no route has the condition %q: %w", expr, ops.ErrInternal)
}

func connectorDriver(name string) (connector.Driver, error) {
	var names []string
	for _, d := range connectors.Drivers() {
		if d.Name() == name {
			return d, nil
		}
		names = append(names, d.Name())
	}
	slices.Sort(names)
	return connector.Driver{}, fmt.Errorf("connector %q is none of %v: %w", name, names, ops.ErrInvalid)
}

func settings(p config.Platform) connector.Settings {
	s := connector.Settings{URL: p.URL}
	if !p.Auth.IsZero() {
		s.Auth = p.Auth
	}
	if !p.Options.IsZero() {
		s.Options = p.Options
	}
	return s
}

func (a *App) buildTicket(ctx context.Context) error {
	installation, err := a.Store.Installation(ctx)
	if err != nil {
		return err
	}
	client := httpx.New(httpx.Options{Transport: a.Transport, Logger: a.Logger, Clock: a.Clock, UserAgent: "fettle/" + a.Version, Timeout: 20 * time.Second, MaxWait: 5 * time.Second})
	observe := a.connectorMetrics()
	a.Platforms = map[string]*connector.Conn{}
	var platforms []ticket.Platform
	for _, p := range a.Config.Platforms {
		d, err := connectorDriver(p.Connector)
		if err != nil {
			return fmt.Errorf("platform %s: %w", p.Name, err)
		}
		conn, err := d.Open(ctx, settings(p), connector.Env{
			Name: p.Name, Installation: installation, PublicURL: a.publicURL(), Clock: a.Clock, Log: a.Logger.With(slog.String("connector", p.Name)),
			HTTP: connector.Over(client), Secrets: references{}, Records: a.Store.Records("connector/" + p.Name), Observe: observe(p.Name),
		})
		if err != nil {
			return err
		}
		a.Platforms[p.Name] = conn
		platforms = append(platforms, ticket.Platform{Conn: conn, Every: p.Sync.Every.D, Conflict: ticket.Conflict(p.Sync.Conflict)})
	}
	if err := a.checkApprovers(); err != nil {
		return err
	}
	compiled, err := compileRoutes(a.Config)
	if err != nil {
		return err
	}
	var rs []ticket.Route
	for _, r := range a.Config.Routes {
		rs = append(rs, ticket.Route{Match: r.Match, Platform: r.Platform, Kind: ops.TicketKind(r.Kind), Team: r.Team})
	}
	groups := map[string]string{}
	for _, t := range a.Config.Teams {
		if t.AssignmentGroup != "" {
			groups[t.Name] = t.AssignmentGroup
		}
	}
	a.Ticket, err = ticket.New(ticket.Options{
		Installation: installation, PublicURL: a.publicURL(), Clock: a.Clock, Log: a.Logger, DB: a.DB, Store: a.Store,
		Cursors: a.Store.Records("ticket"), Ask: questions{a}, Artefacts: a.Blobs, Jobs: a.Queue, Platforms: platforms, Routes: rs, Groups: groups,
		Match: compiled.Match, MatchChange: compiled.MatchChange, Person: a.person,
	})
	if err != nil {
		return err
	}
	a.Ticket.Register(a.Queue)
	return nil
}

// person returns who is a user of a platform, by the configuration.
func (a *App) person(platform, user string) string {
	for _, p := range a.Config.People {
		if p.Platforms[platform] == user {
			return p.Name
		}
	}
	return ""
}

// questions answers what the ticket room asks.
type questions struct{ app *App }

// Incident returns an incident.
func (q questions) Incident(ctx context.Context, id string) (ops.Incident, error) {
	return q.app.Store.Incident(ctx, id)
}

// FirstMembers returns the first alerts of an incident.
func (q questions) FirstMembers(ctx context.Context, incidentID string, most int) ([]ops.Member, error) {
	return q.app.Store.FirstMembers(ctx, incidentID, most)
}

// Plans returns every plan a change ever had.
func (q questions) Plans(ctx context.Context, changeID string) ([]ops.Plan, error) {
	return q.app.Store.PlansOfChange(ctx, changeID)
}

// Change returns a change.
func (q questions) Change(ctx context.Context, id string) (ops.Change, error) {
	return q.app.Store.Change(ctx, id)
}

// FactsAbout returns the facts of a subject.
func (q questions) FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error) {
	return q.app.Store.FactsAbout(ctx, subject)
}

// Recent returns what was measured of a resource.
func (q questions) Recent(ctx context.Context, resourceID string, from, to time.Time) ([]ops.Series, error) {
	return q.app.History.Recent(ctx, resourceID, from, to)
}

// gateConfig turns the configuration into the gate's.
func gateConfig(c *config.Config, tune Tune) (change.Config, error) {
	out := change.Config{Recheck: tune.GateRecheck, Limits: change.Limits{
		Count: c.Policies.Limits.AutomatedChanges.Count, Per: c.Policies.Limits.AutomatedChanges.Per, BlastRadius: float64(c.Policies.Limits.BlastRadius),
	}}
	var faults []error
	local := func(path string, at config.Civil, zone config.Zone) time.Time {
		if at.IsZero() {
			return time.Time{}
		}
		t, err := window.ParseLocal(at.String(), zone.String())
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path, err))
		}
		return t
	}
	start := func(at config.Civil) string {
		if at.IsZero() {
			return ""
		}
		return at.String()
	}
	for i, w := range c.Windows {
		out.Windows = append(out.Windows, ops.Window{
			Name: w.Name, Schedule: w.Schedule, OffsetDays: w.OffsetDays, RRule: w.RRule, Start: start(w.Start), ICal: w.ICal,
			Duration: w.Duration.D, Cutoff: w.Cutoff.D, TimeZone: w.TimeZone.String(), Applies: w.Applies, Mute: w.Mute,
			From: local(fmt.Sprintf("windows[%d].from", i), w.From, w.TimeZone), To: local(fmt.Sprintf("windows[%d].to", i), w.To, w.TimeZone),
		})
	}
	p := c.Policies
	out.FourEyesFrom, out.WindowRole = &p.FourEyesFrom, ops.Role(p.WindowRole)
	out.Concurrency = change.Concurrency{
		Total: p.Concurrency.Total, PerService: p.Concurrency.PerService, PerAccount: p.Concurrency.PerAccount,
		ServiceLabel: p.Concurrency.ServiceLabel, AccountLabel: p.Concurrency.AccountLabel,
	}
	for i, p := range c.People {
		d := p.Delegate
		if d == nil {
			continue
		}
		from, err := window.ParseLocal(d.From.String(), d.TimeZone.String())
		if err != nil {
			faults = append(faults, fmt.Errorf("people[%d].delegate.from: %w", i, err))
		}
		until, err := window.ParseLocal(d.Until.String(), d.TimeZone.String())
		if err != nil {
			faults = append(faults, fmt.Errorf("people[%d].delegate.until: %w", i, err))
		}
		out.Delegations = append(out.Delegations, change.Delegation{Of: p.Name, To: d.To, From: from, Until: until})
	}
	for i, f := range c.Freezes {
		w := ops.Window{
			Name: f.Name, Deny: true, TimeZone: f.TimeZone.String(), Applies: f.Applies, Schedule: f.Schedule, RRule: f.RRule, Start: start(f.Start), ICal: f.ICal, Duration: f.Duration.D,
			From: local(fmt.Sprintf("freezes[%d].from", i), f.From, f.TimeZone), To: local(fmt.Sprintf("freezes[%d].to", i), f.To, f.TimeZone),
		}
		for _, r := range f.BreakGlass {
			w.BreakGlass = append(w.BreakGlass, ops.Role(r))
		}
		out.Freezes = append(out.Freezes, w)
	}
	for _, r := range c.Policies.Approval {
		rule := change.ApprovalRule{Match: r.Match, Automatically: r.Approve != "", In: approvedIn(c, r.In), Expires: r.Expires.D}
		steps := r.Then
		if r.Approvers != nil {
			steps = append([]config.Approvers{*r.Approvers}, r.Then...)
		}
		for _, s := range steps {
			rule.Approvers = append(rule.Approvers, ops.Approvers{Role: ops.Role(s.Role), People: s.People, Count: s.Count})
		}
		out.Approval = append(out.Approval, rule)
	}
	for _, e := range c.Executors {
		out.Executors = append(out.Executors, change.Executor{Name: e.Name})
	}
	for _, b := range c.Runbooks {
		rc := runbook.Config{Name: b.Name, Trigger: b.Trigger, Window: b.Window, VerifyWithin: b.Verify.Within.D, Cooldown: tune.RunbookCooldown, Risk: b.Risk}
		for _, s := range b.Steps {
			rc.Steps = append(rc.Steps, runbook.Step{When: s.When, Executor: s.Executor, Action: s.Action, Args: s.Args})
		}
		out.Runbooks = append(out.Runbooks, rc)
	}
	return out, errors.Join(faults...)
}

// approvedIn is the platform in which a rule wants an approval. Every desk is
// Fettle itself, whatever its name.
func approvedIn(c *config.Config, name string) string {
	for _, p := range c.Platforms {
		if p.Name == name && p.Connector == config.DeskPlatform {
			return ops.DeskPlatform
		}
	}
	return name
}

// checkApprovers refuses rules that want an approval where nobody can give one,
// which only an open platform knows.
func (a *App) checkApprovers() error {
	var faults []error
	for i, r := range a.Config.Policies.Approval {
		if conn := a.Platforms[r.In]; conn != nil && !conn.AsksApproval() {
			faults = append(faults, fmt.Errorf("policies.approval[%d].in: as it is configured, nobody can approve in %s; see what its connector says of approvals under options.changes: %w", i, r.In, ops.ErrInvalid))
		}
	}
	return errors.Join(faults...)
}

func (a *App) buildGate(ctx context.Context) error {
	gate, err := gateConfig(a.Config, a.Tune)
	if err != nil {
		return err
	}
	a.Change, err = change.New(gate, change.Deps{
		DB: a.DB, Rows: a.Store, Ledger: a.Store, Queue: a.Queue, Inventory: a.Store, Incidents: a.Store, Senses: measure{a}, People: a.Store, Graph: a.Store, Tickets: a.Store, Clock: a.Clock, Log: a.Logger,
	})
	if err != nil {
		return err
	}
	a.Change.Register(a.Queue)
	if a.Windows, err = windowBook(a.Config); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host name: %w", err)
	}
	tools := map[string]execute.Executor{}
	for _, e := range a.Config.Executors {
		d, err := execute.Find(executors.Drivers(), e.Tool)
		if err != nil {
			return fmt.Errorf("executor %s: %w", e.Name, err)
		}
		// Absolute, as processes are recognised by it, also by a server that was
		// started elsewhere.
		dir, err := filepath.Abs(filepath.Join(a.DataDir, "executors", e.Name))
		if err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err != nil {
			return fmt.Errorf("executor %s: %w", e.Name, err)
		}
		tools[e.Name], err = d.Open(ctx, e.Options.Decode, execute.Env{
			Name: e.Name, Host: host, Dir: dir, Marks: a.Store.ExecutionMarks(e.Name), Redact: redacted, Clock: a.Clock, Log: a.Logger.With(slog.String("executor", e.Name)),
			Secret: references{}.Resolve, Transport: a.Transport,
		})
		if err != nil {
			return err
		}
	}
	if a.Parameters, err = a.openParameters(); err != nil {
		return err
	}
	a.Execute = execute.New(execute.Options{
		Parameters: a.Parameters, Queue: a.Queue,
		DB: a.DB, Journal: a.Store, Facts: a.Store, Changes: a.Store, Switch: executionSwitch{a}, Gate: a.Change, Executors: tools, Measurer: a.Detect,
		NewID: a.Store.NewID, Artefacts: a.Blobs, Edges: a.Store, Redact: redacted, Clock: a.Clock, Log: a.Logger, Holder: host + "/" + a.Store.NewID(), Poll: a.Tune.ExecutePoll,
	})
	a.Execute.Register(a.Queue)
	metrics, err := metricRules(a.Config)
	if err != nil {
		return err
	}
	checks, err := a.healthRules(ctx)
	if err != nil {
		return err
	}
	a.Verify = verify.New(verify.Options{
		Inventory: estate{a.Store}, Metrics: metrics, Checks: checks,
		DB: a.DB, Journal: a.Store, Facts: a.Store, Queue: a.Queue, Changes: a.Store, Causes: causes{a.Store}, Samples: a.History,
		Clock: a.Clock, Log: a.Logger, Poll: a.Tune.VerifyPoll, Hold: a.Tune.VerifyHold,
	})
	a.Verify.Register(a.Queue)
	return nil
}

// measure answers the gate's question with the newest value of our own senses.
type measure struct{ app *App }

// Measure returns the present value of an alert's metric.
func (m measure) Measure(ctx context.Context, a ops.Alert) (float64, bool) {
	v, ok, err := m.app.Detect.Measure(ctx, a)
	return v, ok && err == nil
}

// causes answers from the alerts whether the cause of a change still holds.
type causes struct{ store *store.Store }

// Incident returns an incident.
func (c causes) Incident(ctx context.Context, id string) (ops.Incident, error) {
	return c.store.Incident(ctx, id)
}

// Cause reports whether a change's trigger fires.
func (c causes) Cause(ctx context.Context, x ops.Change) (firing bool, since time.Time, note string, err error) {
	if x.Trigger == nil {
		i, err := c.store.Incident(ctx, x.IncidentID)
		if err != nil {
			return false, time.Time{}, "", err
		}
		if i.State.Open() {
			return true, i.OpenedAt, i.Key() + " is " + string(i.State), nil
		}
		return false, i.ResolvedAt, i.Key() + " is " + string(i.State), nil
	}
	m, err := c.store.LatestMember(ctx, x.Trigger.Fingerprint)
	if err != nil {
		return false, time.Time{}, "", err
	}
	if m.State == ops.Firing {
		return true, m.StartsAt, fmt.Sprintf("the alert %s fires", m.Rule), nil
	}
	return false, m.EndsAt, fmt.Sprintf("the alert %s resolved", m.Rule), nil
}

func (a *App) buildAnalytics(context.Context) error {
	a.Analytics = &analytics.Room{Record: a.Store, Facts: a.Store, DB: a.DB, Clock: a.Clock, Logger: a.Logger}
	for _, t := range a.Config.Teams {
		a.Analytics.Teams = append(a.Analytics.Teams, analytics.Team{Name: t.Name, Zone: t.TimeZone.Location(), Hour: t.BacklogSnapshot.Hour, Minute: t.BacklogSnapshot.Minute})
	}
	a.Queue.Every("analytics.count", time.Minute, a.Analytics.Count)
	a.Queue.Every("store.retain", time.Hour, func(ctx context.Context) error {
		_, err := a.Store.Retain(ctx, store.Retention{Raw: a.Config.Retention.Raw.D, Alerts: a.Config.Retention.Alerts.D}, a.Clock())
		return err
	})
	return nil
}
