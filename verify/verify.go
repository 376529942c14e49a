// Package verify says whether a change helped: did its cause go away within
// the time the change allows, and stay away; are its health checks well; and did
// a metric of its resource move, against its own past and its untouched
// siblings. It gives exactly one verdict per run, and says what it was made of.
package verify

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

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// Changes answers what the gate knows, from committed state.
type Changes interface {
	Change(ctx context.Context, id string) (ops.Change, error)
}

// Causes answers how the cause of a change stands, from the alerts.
type Causes interface {
	// Cause reports whether the change's trigger, found by its fingerprint, or
	// its incident fires now, and since when it does or does not. ErrNotFound
	// means that nothing is known of it. The note says for people where the
	// answer comes from.
	Cause(ctx context.Context, c ops.Change) (firing bool, since time.Time, note string, err error)
	// Incident returns an incident as it stands.
	Incident(ctx context.Context, id string) (ops.Incident, error)
}

// Samples answers what was measured. The end is excluded.
type Samples interface {
	Recent(ctx context.Context, resourceID string, from, to time.Time) ([]ops.Series, error)
}

// Inventory answers what is known of resources.
type Inventory interface {
	// Resource returns a resource, or ErrNotFound.
	Resource(ctx context.Context, id string) (ops.Resource, error)
	// Siblings returns the ids of resources like this one on which no change ran
	// in [from, to), at most limit.
	Siblings(ctx context.Context, resourceID string, from, to time.Time, limit int) ([]string, error)
}

// Journal keeps the runs whose verdict is awaited; *store.Store satisfies it
// and documents it.
type Journal interface {
	Verification(ctx context.Context, runID string) (ops.Verification, error)
	BeginVerification(ctx context.Context, tx db.Tx, v ops.Verification) error
	OpenVerifications(ctx context.Context, tx db.Tx, incidentID string) ([]ops.Verification, error)
	NoteVerification(ctx context.Context, tx db.Tx, runID string, was ops.Severity) error
	EndVerification(ctx context.Context, tx db.Tx, runID string) error
	EndVerificationsOf(ctx context.Context, tx db.Tx, changeID string) error
	HealthLooks(ctx context.Context, runID string) ([]ops.HealthLook, error)
	NoteHealth(ctx context.Context, tx db.Tx, h ops.HealthLook) error
}

// Facts tells facts in the caller's transaction.
type Facts interface {
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
}

// Options are what a Room is made of.
type Options struct {
	DB      *db.DB
	Journal Journal
	Facts   Facts
	Queue   job.Enqueuer
	Changes Changes
	Causes  Causes
	Samples Samples // optional: without it verdicts rest on alerts alone
	// Inventory is optional: without it metrics are compared with their own past alone.
	Inventory Inventory
	// Metrics say which moves are for the worse, the first that matches; after
	// them DefaultDirection does.
	Metrics []MetricRule
	// Checks are asked from the run on until the verdict.
	Checks []HealthRule
	Clock  clock.Clock
	Log    *slog.Logger
	// Within is how long a cause has to go away where the change does not say; default 10 min.
	Within time.Duration
	// Hold is how long a cause must stay gone; default 60 s, at most a quarter of the time it has.
	Hold time.Duration
	// Poll is the longest pause between two looks; default 15 s.
	Poll time.Duration
}

// Room is the verify room. Make it with New and register it.
type Room struct {
	Options
	log *slog.Logger
}

// New returns the room.
func New(o Options) *Room {
	if o.Within <= 0 {
		o.Within = 10 * time.Minute
	}
	if o.Hold <= 0 {
		o.Hold = time.Minute
	}
	o.Checks = slices.Clone(o.Checks)
	for i := range o.Checks {
		if o.Checks[i].Times <= 0 {
			o.Checks[i].Times = 3
		}
	}
	if o.Poll <= 0 {
		o.Poll = 15 * time.Second
	}
	return &Room{Options: o, log: o.Log.With(slog.String("room", "verify"))}
}

// Register names the room's work to the queue.
func (r *Room) Register(q job.Registrar) {
	q.Handle(ops.CheckRun, r.checkRun)
	q.Hear("verify", ops.RunApplied, r.runApplied)
	q.Hear("verify", ops.IncidentResolvedFact, r.incidentResolved)
	q.Hear("verify", ops.ChangeEnded, r.changeEnded)
}

// runApplied begins the wait for a verdict.
func (r *Room) runApplied(ctx context.Context, tx db.Tx, f ops.Fact) error {
	b, err := ops.Body[ops.RunAppliedBody](f)
	if err != nil {
		return err
	}
	within := b.Change.VerifyWithin
	if within <= 0 {
		within = r.Within
	}
	v := ops.Verification{
		RunID: b.Run.ID, ChangeID: b.Change.ID, IncidentID: b.Change.IncidentID,
		AppliedAt: b.Run.AppliedAt, Until: b.Run.AppliedAt.Add(within),
	}
	if err := r.Journal.BeginVerification(ctx, tx, v); err != nil {
		return err
	}
	return r.look(ctx, tx, f, v, v.Until)
}

// incidentResolved looks at once at every run that waits for this incident.
// The look's zero Until says that it is an extra one: the run's own command
// goes on looking.
func (r *Room) incidentResolved(ctx context.Context, tx db.Tx, f ops.Fact) error {
	b, err := ops.Body[ops.IncidentResolvedBody](f)
	if err != nil {
		return err
	}
	waiting, err := r.Journal.OpenVerifications(ctx, tx, b.Incident.ID)
	if err != nil {
		return err
	}
	for _, v := range waiting {
		if err := r.look(ctx, tx, f, v, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

func (r *Room) look(ctx context.Context, tx db.Tx, f ops.Fact, v ops.Verification, until time.Time) error {
	c := ops.NewCommand(ops.CheckRun, ops.ChangeSubject(v.ChangeID), ops.CheckRunBody{ChangeID: v.ChangeID, RunID: v.RunID, Until: until})
	c.Cause = f.ID
	return r.Queue.Enqueue(ctx, tx, c)
}

// changeEnded stops waiting: a person closed the change before the verdict.
func (r *Room) changeEnded(ctx context.Context, tx db.Tx, f ops.Fact) error {
	b, err := ops.Body[ops.ChangeEndedBody](f)
	if err != nil {
		return err
	}
	return r.Journal.EndVerificationsOf(ctx, tx, b.Change.ID)
}

// checkRun looks whether the cause has gone away and gives the verdict, once.
func (r *Room) checkRun(ctx context.Context, c ops.Command) error {
	b, err := ops.CommandBody[ops.CheckRunBody](c)
	if err != nil {
		return err
	}
	v, err := r.Journal.Verification(ctx, b.RunID)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if !v.EndedAt.IsZero() {
		return nil
	}
	ch, err := r.Changes.Change(ctx, v.ChangeID)
	if err != nil {
		return fmt.Errorf("verify: change %s: %w", v.ChangeID, err)
	}
	res, err := r.resource(ctx, ch)
	if err != nil {
		return err
	}
	rules := r.checks(ch, res)
	health, err := r.health(ctx, rules, ch, v, !b.Until.IsZero())
	if err != nil {
		return err
	}
	o, err := r.observe(ctx, ch, v, len(rules) > 0)
	if err != nil {
		return err
	}
	d := Decide(o)
	var found Comparison
	if d.Word != "" {
		if found, err = r.compare(ctx, o, ch, res); err != nil {
			return err
		}
	}
	d = Weigh(o, d, found, health)
	if d.Word == "" {
		if o.Sight == Gone && d.Why == "" {
			return job.Snooze(max(min(d.Wait, r.Poll), shortest), "the cause has gone and must stay gone")
		}
		if b.Until.IsZero() {
			return nil
		}
		return job.Snooze(max(min(d.Wait, r.Poll, max(o.Hold/2, time.Second)), shortest), cmp.Or(d.Why, "the cause is "+string(o.Sight)))
	}
	verdict := ops.Verdict{
		ChangeID: ch.ID, RunID: v.RunID, Word: d.Word, Why: d.Why,
		Before: o.text(o.Before), After: o.text(o.After), Waited: o.Now.Sub(v.AppliedAt), At: o.Now,
		Metric: found.Metric, Statistic: found.Statistic, Effect: found.Effect, Low: found.Low, High: found.High, P: found.P, Points: found.Points, Judged: found.Judged,
	}
	err = r.DB.Write(ctx, func(tx db.Tx) error {
		if err := r.Journal.EndVerification(ctx, tx, v.RunID); err != nil {
			return err
		}
		_, err := r.Facts.Tell(ctx, tx, ops.NewFact(ch.Subject(), o.Now, ops.SystemPrincipal, c.Cause, ops.VerdictGivenBody{Verdict: verdict}))
		return err
	})
	if errors.Is(err, ops.ErrConflict) {
		return nil // another look gave the verdict
	}
	return err
}

// shortest is the least pause between two looks.
const shortest = 100 * time.Millisecond

// observe gathers what is known now.
func (r *Room) observe(ctx context.Context, ch ops.Change, v ops.Verification, checked bool) (Observation, error) {
	now := r.Clock().UTC().Truncate(time.Millisecond)
	within := v.Until.Sub(v.AppliedAt)
	o := Observation{
		StartedAt: v.AppliedAt, AppliedAt: v.AppliedAt, Until: v.Until, Now: now,
		Hold: min(r.Hold, within/4), Nothing: ch.Trigger == nil && ch.IncidentID == "", Sight: Blind,
	}
	if ch.Run != nil && ch.Run.ID == v.RunID && !ch.Run.StartedAt.IsZero() {
		o.StartedAt = ch.Run.StartedAt
	}
	if o.Nothing {
		o.Watched = checked
		if !checked && r.Samples != nil && ch.ResourceID != "" {
			near, err := r.Samples.Recent(ctx, ch.ResourceID, o.StartedAt.Add(-time.Hour), now)
			if err != nil {
				return o, fmt.Errorf("verify: series of %s: %w", ch.Key(), err)
			}
			o.Watched = len(near) > 0
		}
		return o, nil
	}
	if err := r.cause(ctx, ch, &o); err != nil {
		return o, err
	}
	if err := r.severity(ctx, ch, v, &o); err != nil {
		return o, err
	}
	if r.Samples == nil || ch.ResourceID == "" || ch.Trigger == nil || ch.Trigger.Context.Metric == "" {
		return o, nil
	}
	series, err := r.Samples.Recent(ctx, ch.ResourceID, o.StartedAt.Add(-max(within, 10*time.Minute)), now)
	if err != nil {
		return o, fmt.Errorf("verify: series of %s: %w", ch.Key(), err)
	}
	o.Metric = ch.Trigger.Context.Metric
	o.Operator, o.Threshold, o.Limited = Limit(ch.Trigger.Context)
	if s, ok := pick(series, *ch.Trigger); ok {
		o.Unit = s.Unit
		for _, p := range s.Points {
			switch {
			case p.At.Before(o.StartedAt):
				o.Before = append(o.Before, p)
			case !p.At.Before(o.AppliedAt):
				o.After = append(o.After, p)
			}
		}
	}
	return o, nil
}

// resource returns the resource of a change, empty where none is known.
func (r *Room) resource(ctx context.Context, ch ops.Change) (ops.Resource, error) {
	if r.Inventory == nil || ch.ResourceID == "" {
		return ops.Resource{}, nil
	}
	res, err := r.Inventory.Resource(ctx, ch.ResourceID)
	if err != nil && !errors.Is(err, ops.ErrNotFound) {
		return res, fmt.Errorf("verify: resource of %s: %w", ch.Key(), err)
	}
	return res, nil
}

// maxSiblings bounds the control of a comparison.
const maxSiblings = 16

// compare compares the metrics of the change's resource with their past and
// with those of its siblings.
func (r *Room) compare(ctx context.Context, o Observation, ch ops.Change, res ops.Resource) (Comparison, error) {
	if r.Samples == nil || ch.ResourceID == "" {
		return Comparison{}, nil
	}
	from := o.AppliedAt.Add(-past)
	own, err := r.Samples.Recent(ctx, ch.ResourceID, from, o.Now)
	if err != nil {
		return Comparison{}, fmt.Errorf("verify: series of %s: %w", ch.Key(), err)
	}
	if len(own) == 0 {
		return Comparison{}, nil
	}
	in := Compared{StartedAt: o.StartedAt, AppliedAt: o.AppliedAt, Now: o.Now}
	for _, s := range own {
		m := Measured{Series: s}
		m.Worse, m.Known = r.direction(s, ch, res, o.AppliedAt)
		in.Series = append(in.Series, m)
	}
	if r.Inventory == nil {
		return Compare(in), nil
	}
	siblings, err := r.Inventory.Siblings(ctx, ch.ResourceID, from, o.Now, maxSiblings)
	if err != nil && !errors.Is(err, ops.ErrNotFound) {
		return Comparison{}, fmt.Errorf("verify: siblings of %s: %w", ch.Key(), err)
	}
	for _, id := range siblings {
		s, err := r.Samples.Recent(ctx, id, from, o.Now)
		if err != nil {
			return Comparison{}, fmt.Errorf("verify: series of sibling %s of %s: %w", id, ch.Key(), err)
		}
		in.Siblings = append(in.Siblings, s)
	}
	return Compare(in), nil
}

// cause looks at the alerts. A sender that never resolves its alerts says
// nothing by keeping one open.
func (r *Room) cause(ctx context.Context, ch ops.Change, o *Observation) error {
	firing, since, note, err := r.Causes.Cause(ctx, ch)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		o.Note = "no alert of this cause is known"
		return nil
	case err != nil:
		return fmt.Errorf("verify: cause of %s: %w", ch.Key(), err)
	}
	o.Since, o.Note = since, note
	switch {
	case !firing:
		o.Sight = Gone
	case ch.Trigger != nil && ch.Trigger.Stateless:
		o.Note = "its sender never says that an alert is over"
	default:
		o.Sight = Firing
	}
	return nil
}

// severity compares the incident with its first look after the run.
func (r *Room) severity(ctx context.Context, ch ops.Change, v ops.Verification, o *Observation) error {
	if ch.IncidentID == "" {
		return nil
	}
	in, err := r.Causes.Incident(ctx, ch.IncidentID)
	if errors.Is(err, ops.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify: incident of %s: %w", ch.Key(), err)
	}
	o.Was, o.Is = v.Was, in.Severity
	if v.Was != "" {
		return nil
	}
	o.Was = in.Severity
	return r.DB.Write(ctx, func(tx db.Tx) error { return r.Journal.NoteVerification(ctx, tx, v.RunID, in.Severity) })
}

// pick chooses the series the alert was about: its metric, and the most of its
// labels; between equals the first by labels.
func pick(series []ops.Series, a ops.Alert) (ops.Series, bool) {
	best, bestScore, bestName := ops.Series{}, -1, ""
	for _, s := range series {
		if s.Metric != a.Context.Metric {
			continue
		}
		score, name := 0, labels(s.Labels)
		for k, v := range s.Labels {
			if a.Labels[k] == v {
				score++
			}
		}
		if score > bestScore || (score == bestScore && name < bestName) {
			best, bestScore, bestName = s, score, name
		}
	}
	return best, bestScore >= 0
}

func labels(in map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(in)) {
		fmt.Fprintf(&b, "%s=%q,", k, in[k])
	}
	return b.String()
}

// text shows points to people.
func (o Observation) text(points []ops.Point) string {
	low, mean, high, n := stats(points)
	if n == 0 {
		if o.Metric == "" {
			return ""
		}
		return o.Metric + ": none recorded"
	}
	unit := ""
	if o.Unit != "" && o.Unit != "1" {
		unit = " " + o.Unit
	}
	return fmt.Sprintf("%s: mean %s, min %s, max %s%s (%d points)", o.Metric, number(mean), number(low), number(high), unit, n)
}
