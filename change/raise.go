package change

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fettleops/fettle/change/runbook"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// hearIncident raises the standard changes that runbooks want for the alerts
// of an incident. Those the fact only counts, the room's command looks at.
func (r *Room) hearIncident(ctx context.Context, tx db.Tx, f ops.Fact) error {
	told, err := joined(f)
	if err != nil {
		return err
	}
	wanted := r.wanted(told.incident, told.alerts, func(b *runbook.Runbook, level slog.Level, message, why string) {
		r.skip(tx, f, b, level, message, why)
	})
	for _, w := range wanted {
		if err := r.remediate(ctx, tx, f, w.runbook, w.alert, told.incident); err != nil {
			return err
		}
	}
	if told.count <= len(told.alerts) || told.span == (ops.Span{}) || len(r.gate.Load().runbooks) == 0 {
		return nil
	}
	body := ops.WeighAlertsBody{IncidentID: told.incident.ID, Joined: told.span}
	for _, a := range told.alerts {
		body.Told = append(body.Told, a.Fingerprint)
	}
	c := ops.NewCommand(ops.WeighAlerts, f.Subject, body)
	c.Cause = f.ID
	return r.Queue.Enqueue(ctx, tx, c)
}

// joining is what a fact tells of alerts that join an incident.
type joining struct {
	incident ops.Incident
	alerts   []ops.Alert
	count    int      // of all that join, also those that are not told
	span     ops.Span // messages by which they did
}

func joined(f ops.Fact) (joining, error) {
	switch f.Kind {
	case ops.IncidentOpened:
		b, err := ops.Body[ops.IncidentOpenedBody](f)
		return joining{b.Incident, b.Alerts, b.Count, b.Joined}, err
	case ops.IncidentGrew:
		b, err := ops.Body[ops.IncidentGrewBody](f)
		return joining{b.Incident, b.Alerts, b.Count, b.Joined}, err
	default:
		b, err := ops.Body[ops.IncidentReopenedBody](f)
		return joining{b.Incident, b.Alerts, b.Count, b.Joined}, err
	}
}

// weigh raises what runbooks want for the alerts that a fact counted without
// telling them, each in a transaction of its own, for there may be a thousand.
// Begun anew it raises nothing twice: the runbook has a live change then, or
// cools down.
func (r *Room) weigh(ctx context.Context, c ops.Command) error {
	body, err := ops.CommandBody[ops.WeighAlertsBody](c)
	if err != nil {
		return err
	}
	incident, err := r.Incidents.Incident(ctx, body.IncidentID)
	if err != nil {
		return err
	}
	members, err := r.Incidents.Joined(ctx, body.IncidentID, body.Joined)
	if err != nil {
		return fmt.Errorf("change: read the alerts that joined %s: %w", incident.Key(), err)
	}
	var alerts []ops.Alert
	for _, m := range members {
		if !slices.Contains(body.Told, m.Fingerprint) {
			alerts = append(alerts, m.Alert)
		}
	}
	f := ops.Fact{ID: c.Cause, Subject: c.Subject}
	wanted := r.wanted(incident, alerts, func(b *runbook.Runbook, level slog.Level, message, why string) {
		r.say(ctx, f, b, level, message, why)
	})
	for _, w := range wanted {
		err := r.DB.Write(ctx, func(tx db.Tx) error { return r.remediate(ctx, tx, f, w.runbook, w.alert, incident) })
		if err != nil {
			return err
		}
	}
	return nil
}

// match is an alert that a runbook is for.
type match struct {
	runbook *runbook.Runbook
	alert   ops.Alert
}

// wanted holds alerts against the runbooks, in the order of the latter. What a
// trigger cannot be asked about is told once for each runbook.
func (r *Room) wanted(incident ops.Incident, alerts []ops.Alert, say func(b *runbook.Runbook, level slog.Level, message, why string)) (out []match) {
	for _, b := range r.gate.Load().runbooks {
		var first error
		for _, a := range alerts {
			wanted, err := b.Triggered(a, incident)
			if err != nil && first == nil {
				first = err
			}
			if err == nil && wanted {
				out = append(out, match{b, a})
			}
		}
		if first != nil {
			say(b, slog.LevelWarn, "the trigger of a runbook cannot be evaluated", first.Error())
		}
	}
	return out
}

// remediate raises one change, unless the runbook has a live one on the
// resource or the last one ended too recently.
func (r *Room) remediate(ctx context.Context, tx db.Tx, f ops.Fact, b *runbook.Runbook, a ops.Alert, i ops.Incident) error {
	id, name := a.Resource.ID, a.Resource.Name
	if id == "" {
		id, name = i.ResourceID, i.Resource
	}
	live, ended, err := r.Rows.RunbookHistory(ctx, tx, b.Name, id)
	if err != nil {
		return err
	}
	if live != "" {
		r.skip(tx, f, b, slog.LevelInfo, "the runbook has a live change on this resource", live)
		return nil
	}
	if cool := ended.Add(b.Cooldown); !ended.IsZero() && r.now().Before(cool) {
		r.skip(tx, f, b, slog.LevelInfo, "the runbook cools down on this resource", cool.Format(time.RFC3339))
		return nil
	}
	value := a.Context.Value
	if r.Senses != nil {
		if v, ok := r.Senses.Measure(ctx, a); ok {
			value = &v
		}
	}
	step, why, ok, err := b.Choose(a, value)
	if err != nil {
		why = err.Error()
	}
	if !ok {
		r.skip(tx, f, b, slog.LevelInfo, "no step of the runbook applies", why)
		return nil
	}
	return r.raise(ctx, tx, f.ID, Raised{By: b.Principal(), Why: fmt.Sprintf("alert %s of %s: %s", a.Rule, i.Key(), why), Change: ops.Change{
		Type: ops.ChangeStandard, Title: fmt.Sprintf("%s: %s on %s", b.Name, step.Action, name), Reason: why,
		Runbook: b.Name, Team: i.Team, ResourceID: id, Resource: name, IncidentID: i.ID,
		Executor: step.Executor, Action: step.Action, Args: step.Args, Trigger: &a,
		Risk: b.RiskOrUnknown(), VerifyWithin: b.VerifyWithin,
	}})
}

// skip logs, once the transaction stands, why a runbook raised nothing.
func (r *Room) skip(tx db.Tx, f ops.Fact, b *runbook.Runbook, level slog.Level, message, why string) {
	tx.AfterCommit(func() { r.say(context.Background(), f, b, level, message, why) })
}

func (r *Room) say(ctx context.Context, f ops.Fact, b *runbook.Runbook, level slog.Level, message, why string) {
	r.Log.LogAttrs(ctx, level, message,
		slog.String("runbook", b.Name), slog.String("subject", f.Subject), slog.String("fact", f.ID), slog.String("why", why))
}

func (r *Room) raise(ctx context.Context, tx db.Tx, cause string, e Raised) error {
	_, err := r.raised(ctx, tx, cause, e)
	return err
}

func (r *Room) raised(ctx context.Context, tx db.Tx, cause string, e Raised) (ops.Change, error) {
	n, err := r.Ledger.NextNumber(ctx, tx, "change")
	if err != nil {
		return ops.Change{}, err
	}
	e.Change.ID, e.Change.Number = cmp.Or(e.Change.ID, r.Ledger.NewID()), n
	e.Cause = cause
	return r.commit(ctx, tx, State{}, time.Time{}, e)
}

// Request is a change a person asks for by hand.
type Request struct {
	Key          string         // of the asking: asked again with it, a person gets the change that was raised; empty: each asking is a new one
	Type         ops.ChangeType // normal or emergency; empty: normal
	Title        string
	Reason       string
	Team         string
	ResourceID   string // optional
	IncidentID   string // id or number; optional
	Executor     string // a configured one
	Action       string
	Args         []string
	Risk         *float64      // nil: unknown, which counts as 1
	VerifyWithin time.Duration // default: 10 minutes
}

// Bounds of what a person writes, the same at every door.
const (
	maxTitle  = 200  // characters
	maxReason = 4000 // characters
	maxArgs   = 100
	maxKey    = 255 // characters
)

// ParseVerifyWithin reads a person's duration, such as 10m.
func ParseVerifyWithin(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("verify_within %q is not a duration like 10m: %w", s, ops.ErrInvalid)
	}
	return d, nil
}

// Executors returns the names of those that can carry a change out, sorted.
func (r *Room) Executors() []string { return slices.Sorted(maps.Keys(r.gate.Load().executors)) }

// Raise raises a change for a person who may manage changes or approve them.
// It goes through the same gate as every other, and who raised it cannot
// approve it.
func (r *Room) Raise(ctx context.Context, by ops.Principal, q Request, via string) (ops.Change, error) {
	if by.Kind != ops.Person {
		return ops.Change{}, fmt.Errorf("change: only a person raises a change by hand, %s is a %s: %w", by.Name, by.Kind, ops.ErrDenied)
	}
	if err := by.Require(ops.MayApprove); err != nil {
		return ops.Change{}, err
	}
	if q.Type == "" {
		q.Type = ops.ChangeNormal
	}
	fault := func(format string, args ...any) (ops.Change, error) {
		return ops.Change{}, fmt.Errorf("change: %w: %w", fmt.Errorf(format, args...), ops.ErrInvalid)
	}
	switch {
	case q.Type != ops.ChangeNormal && q.Type != ops.ChangeEmergency:
		return fault("type %q is neither normal nor emergency; standard changes come from runbooks", q.Type)
	case strings.TrimSpace(q.Title) == "":
		return fault("title is empty; say what is changed")
	case utf8.RuneCountInString(q.Title) > maxTitle:
		return fault("title has more than %d characters; say the rest in the reason", maxTitle)
	case utf8.RuneCountInString(q.Reason) > maxReason:
		return fault("reason has more than %d characters; shorten it", maxReason)
	case len(q.Args) > maxArgs:
		return fault("%d arguments are more than %d", len(q.Args), maxArgs)
	case q.Action == "":
		return fault("action is empty; say what executor %s is to do", q.Executor)
	case q.Risk != nil && !(*q.Risk >= 0 && *q.Risk <= 1):
		return fault("risk %v is not within 0 and 1", *q.Risk)
	case utf8.RuneCountInString(q.Key) > maxKey:
		return fault("the idempotency key has more than %d characters", maxKey)
	case q.VerifyWithin < 0:
		return fault("verify_within %s is negative", q.VerifyWithin)
	}
	if _, ok := r.gate.Load().executors[q.Executor]; !ok {
		return fault("there is no executor %q; there are: %s", q.Executor, strings.Join(r.Executors(), ", "))
	}
	if q.IncidentID != "" {
		i, err := r.Incidents.Incident(ctx, q.IncidentID)
		if errors.Is(err, ops.ErrNotFound) {
			return fault("there is no incident %q", q.IncidentID)
		}
		if err != nil {
			return ops.Change{}, fmt.Errorf("change: %w", err)
		}
		q.IncidentID = i.ID
	}
	name := ""
	if q.ResourceID != "" {
		found, err := r.Inventory.Resource(ctx, q.ResourceID)
		if errors.Is(err, ops.ErrNotFound) {
			return fault("there is no resource with the id %q", q.ResourceID)
		}
		if err != nil {
			return ops.Change{}, fmt.Errorf("change: %w", err)
		}
		name = found.Name
	}
	risk := 1.0
	if q.Risk != nil {
		risk = *q.Risk
	}
	within := q.VerifyWithin
	if within == 0 {
		within = runbook.DefaultVerifyWithin
	}
	asked := ops.Change{
		Type: q.Type, Title: q.Title, Reason: q.Reason, Team: q.Team, ResourceID: q.ResourceID, Resource: name, IncidentID: q.IncidentID,
		Executor: q.Executor, Action: q.Action, Args: q.Args, Risk: risk, VerifyWithin: within,
	}
	if q.Key != "" {
		asked.ID = derived("change", by.ID+" "+q.Key)
	}
	var out ops.Change
	for again := asked.ID != ""; ; again = false {
		err := r.DB.Write(ctx, func(tx db.Tx) (err error) {
			if asked.ID != "" {
				out, _, _, err = r.Rows.LoadChange(ctx, tx, asked.ID)
				if err == nil && !sameAsked(out, asked) {
					return fmt.Errorf("change: the idempotency key %q raised %s, which is another change; ask with a new key: %w", q.Key, out.Key(), ops.ErrInvalid)
				}
				if !errors.Is(err, ops.ErrNotFound) {
					return err
				}
			}
			out, err = r.raised(ctx, tx, "", Raised{By: by, Why: fmt.Sprintf("raised by %s via %s", by.Name, via), Change: asked})
			return err
		})
		if !again || !errors.Is(err, ops.ErrConflict) {
			return out, err
		}
		// Another replica raised it in the same moment: now it is seen.
	}
}

// sameAsked says whether a change is what is asked for once more.
func sameAsked(c, asked ops.Change) bool {
	return c.Type == asked.Type && c.Title == asked.Title && c.Reason == asked.Reason && c.Team == asked.Team &&
		c.ResourceID == asked.ResourceID && c.IncidentID == asked.IncidentID && c.Executor == asked.Executor && c.Action == asked.Action &&
		slices.Equal(c.Args, asked.Args) && c.Risk == asked.Risk && c.VerifyWithin == asked.VerifyWithin
}

// Spans returns the maintenance windows about a resource that are open at some
// time in [from, to), each with its first occurrence there.
func (r *Room) Spans(_ context.Context, res ops.Resource, from, to time.Time) []ops.Occurrence {
	var out []ops.Occurrence
	for _, w := range r.gate.Load().mutes {
		o, open := w.At(from)
		if !open {
			next := w.Next(from, 1)
			if len(next) == 0 || !next[0].Start.Before(to) {
				continue
			}
			o = next[0]
		}
		if holds, err := w.ForResource(res); err == nil && holds {
			out = append(out, o)
		}
	}
	return out
}

// Muted returns the name of the maintenance window that mutes alerts of a
// resource at an instant. Labels are the alert's; where the resource has none
// of that name they count as the resource's.
func (r *Room) Muted(_ context.Context, res ops.Resource, labels map[string]string, at time.Time) (window string, ok bool) {
	merged := map[string]string{}
	maps.Copy(merged, labels)
	maps.Copy(merged, res.Labels)
	res.Labels = merged
	for _, w := range r.gate.Load().mutes {
		if _, open := w.At(at); !open {
			continue
		}
		if holds, err := w.ForResource(res); err == nil && holds {
			return w.Name, true
		}
	}
	return "", false
}
