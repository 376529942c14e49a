// Package detect turns samples into alerts. In this first form it evaluates
// threshold rules with a for duration and hysteresis, per resource.
package detect

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Rule is a threshold rule.
type Rule struct {
	Name string
	// When is the condition over metrics that starts an alert, such as
	// cpu_utilization > 0.80.
	When string
	// Clear is the condition that ends it. Defaults to "When no longer holds".
	Clear string
	// For is how long When must hold without a break. Defaults to 0: at once.
	For time.Duration
	// Severity of the alert. Defaults to high.
	Severity ops.Severity
	// Title for people. Defaults to the name.
	Title  string
	Labels map[string]string
}

// Shipped are the three triggers of the remediation runbooks of the AIOps
// method (seed 002, section 3): high CPU, memory that leaks, disks that fill.
// "Increasing" means by more than one percentage point an hour, so that the
// noise of a flat line is not a leak.
func Shipped() []Rule {
	return []Rule{
		{Name: "high-cpu", Title: "High CPU utilization", When: "cpu_utilization > 0.80", Clear: "cpu_utilization < 0.70", For: 5 * time.Minute, Severity: ops.High},
		{Name: "memory-leak", Title: "Memory utilization is high and rising", When: "memory_utilization > 0.85 && trend.memory_utilization > 0.01", Clear: "memory_utilization < 0.80", For: 5 * time.Minute, Severity: ops.High},
		{Name: "disk-space", Title: "Disk space runs out", When: "disk_utilization > 0.85", Clear: "disk_utilization < 0.80", For: time.Minute, Severity: ops.Medium},
	}
}

// trendOver is the stretch a trend is fitted over, and trendMin how much of it
// must be there before there is a trend at all.
const (
	trendOver = 15 * time.Minute
	trendMin  = 2 * time.Minute
)

// Integration is the name our own senses have in the signal log.
const Integration = "host"

// Signals is the signal log alerts go into.
type Signals interface {
	AppendSignals(ctx context.Context, tx db.Tx, m ops.Message) (int64, error)
}

// History is what is known of a resource's series.
type History interface {
	Append(ctx context.Context, samples []ops.Sample) error
	Recent(ctx context.Context, resource string, from, to time.Time) ([]ops.Series, error)
}

// Writer runs write transactions.
type Writer interface {
	Write(ctx context.Context, fn func(tx db.Tx) error) error
}

// Deps is what the room is plugged into.
type Deps struct {
	Signals Signals
	History History
	DB      Writer
	Clock   clock.Clock
	Logger  *slog.Logger
	// Told is called after alerts were written, so that correlation wakes up.
	Told func()
}

// Room evaluates rules as samples come in. It is safe for concurrent use.
type Room struct {
	Deps
	rules []*rule

	// mu keeps one observation from the next, also while its alerts are written.
	mu sync.Mutex
	// seen guards values alone and is never held over a write: the gate asks
	// Measure inside a transaction, which would wait for the write, and the write
	// for it.
	seen   sync.Mutex
	values map[string]map[string]float64 // resource -> metric -> newest value
}

type rule struct {
	Rule
	when, clear *policy.Condition
	state       map[string]*progress // by resource id
}

// progress is where a rule stands for one resource.
type progress struct {
	known  bool      // the first evaluation after a start has told its state
	since  time.Time // when the condition began to hold
	firing bool
	starts time.Time
}

// New compiles the rules; an error names every faulty one.
func New(rules []Rule, d Deps) (*Room, error) {
	r := &Room{Deps: d, values: map[string]map[string]float64{}}
	r.Logger = d.Logger.With(slog.String("room", "detect"))
	var faults []string
	for _, spec := range rules {
		if spec.Severity == "" {
			spec.Severity = ops.High
		}
		if spec.Title == "" {
			spec.Title = spec.Name
		}
		c := &rule{Rule: spec, state: map[string]*progress{}}
		var err error
		if c.when, err = policy.CompileCondition(spec.When); err != nil {
			faults = append(faults, fmt.Sprintf("rule %s: when: %v", spec.Name, err))
		}
		if spec.Clear != "" {
			if c.clear, err = policy.CompileCondition(spec.Clear); err != nil {
				faults = append(faults, fmt.Sprintf("rule %s: clear: %v", spec.Name, err))
			}
		}
		r.rules = append(r.rules, c)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%s: %w", strings.Join(faults, "; "), ops.ErrInvalid)
	}
	return r, nil
}

// Observe keeps the samples of one instant and evaluates the rules of the
// resource they belong to. Where a metric has several series, as disks do, the
// rule sees the greatest value.
func (r *Room) Observe(ctx context.Context, about ops.ResourceRef, samples []ops.Sample) error {
	if len(samples) == 0 {
		return nil
	}
	if err := r.History.Append(ctx, samples); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := map[string]ops.Sample{}
	at := samples[0].At
	for _, s := range samples {
		if f, ok := fresh[s.Series.Metric]; !ok || s.Value > f.Value {
			fresh[s.Series.Metric] = s
		}
		if s.At.After(at) {
			at = s.At
		}
	}
	values := r.keep(about.ID, fresh)
	trends, err := r.trends(ctx, about.ID, at)
	if err != nil {
		return err
	}
	var signals []ops.Signal
	var next []func()
	for _, c := range r.rules {
		a, commit, err := c.evaluate(about, at, values, trends, fresh)
		if err != nil {
			return err
		}
		next = append(next, commit)
		if a != nil {
			signals = append(signals, ops.Signal{Alert: a})
		}
	}
	if len(signals) > 0 {
		m := ops.Message{Integration: Integration, Source: Integration, Signals: signals}
		err := r.DB.Write(ctx, func(tx db.Tx) error {
			_, err := r.Signals.AppendSignals(ctx, tx, m)
			return err
		})
		if err != nil {
			return fmt.Errorf("detect: record %d alerts: %w", len(signals), err)
		}
		if r.Told != nil {
			r.Told()
		}
	}
	for _, f := range next {
		f() // only what is durable has happened: a lost alert is told again at the next sample
	}
	return nil
}

// trends fits a line to each metric that a rule asks the trend of.
func (r *Room) trends(ctx context.Context, resource string, at time.Time) (map[string]float64, error) {
	var wanted []string
	for _, c := range r.rules {
		wanted = append(wanted, c.when.Trends()...)
		if c.clear != nil {
			wanted = append(wanted, c.clear.Trends()...)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	series, err := r.History.Recent(ctx, resource, at.Add(-trendOver), at.Add(time.Nanosecond))
	if err != nil {
		return nil, fmt.Errorf("detect: read the last %s: %w", trendOver, err)
	}
	out := map[string]float64{}
	for _, s := range series {
		if !slices.Contains(wanted, s.Metric) {
			continue
		}
		if slope, ok := slopePerHour(s.Points); ok {
			if had, dup := out[s.Metric]; !dup || slope > had {
				out[s.Metric] = slope
			}
		}
	}
	return out, nil
}

// slopePerHour is the least-squares slope of the points, per hour.
func slopePerHour(points []ops.Point) (float64, bool) {
	if len(points) < 2 || points[len(points)-1].At.Sub(points[0].At) < trendMin {
		return 0, false
	}
	var n, sx, sy, sxx, sxy float64
	for _, p := range points {
		x := p.At.Sub(points[0].At).Hours()
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+p.Value, sxx+x*x, sxy+x*p.Value
	}
	d := n*sxx - sx*sx
	if d == 0 {
		return 0, false
	}
	return (n*sxy - sx*sy) / d, true
}

// evaluate says what the rule makes of the newest values: an alert to tell, if
// any, and the progress to keep once it is told.
func (c *rule) evaluate(about ops.ResourceRef, at time.Time, values, trends map[string]float64, fresh map[string]ops.Sample) (*ops.Alert, func(), error) {
	p := c.state[about.ID]
	if p == nil {
		p = &progress{}
		c.state[about.ID] = p
	}
	next := *p
	keep := func() { *p = next }
	holds, known, err := c.when.Holds(values, trends)
	if err != nil || !known {
		return nil, keep, err
	}
	if p.firing && !holds && c.clear != nil {
		over, known, err := c.clear.Holds(values, trends)
		if err != nil || !known || !over {
			return nil, keep, err // between the two thresholds: hysteresis
		}
	}
	switch {
	case holds && next.since.IsZero():
		next.since = at
	case !holds:
		next.since = time.Time{}
	}
	fires := holds && (p.firing || at.Sub(next.since) >= c.For)
	switch {
	case fires && !p.firing:
		next.known, next.firing, next.starts = true, true, next.since
		return c.alert(about, ops.Firing, at, next, fresh), keep, nil
	case p.firing && !holds, !p.known && !holds:
		// The first evaluation after a start tells a quiet state too: it ends an
		// alert that a crash left open. Correlation ignores it otherwise.
		starts := p.starts
		next = progress{known: true}
		if starts.IsZero() {
			starts = at
		}
		return c.alert(about, ops.Resolved, at, progress{starts: starts}, fresh), keep, nil
	}
	return nil, keep, nil
}

func (c *rule) alert(about ops.ResourceRef, state ops.AlertState, at time.Time, p progress, fresh map[string]ops.Sample) *ops.Alert {
	labels := map[string]string{"rule": c.Name, "instance": about.Name}
	for k, v := range c.Labels {
		labels[k] = v
	}
	a := &ops.Alert{
		Fingerprint: ops.Fingerprint(Integration, c.Name, map[string]string{"resource": about.ID}),
		Rule:        c.Name, Title: c.Title + " on " + about.Name, Severity: c.Severity, State: state,
		StartsAt: p.starts, ObservedAt: at, Resource: about, Labels: labels,
		Context: ops.AlertContext{Query: c.when.String(), Window: c.For},
	}
	if state == ops.Resolved {
		a.EndsAt = at
	}
	if names := c.when.Metrics(); len(names) > 0 {
		s := fresh[names[0]]
		a.Context.Metric, a.Context.Unit = names[0], s.Unit
		a.Context.Operator, a.Context.Threshold = threshold(c.When, names[0])
		if v := s.Value; !math.IsNaN(v) {
			a.Context.Value = &v
			a.Context.Actual = strconv.FormatFloat(v, 'g', 4, 64)
		}
		if mount := s.Series.Labels["mountpoint"]; mount != "" {
			a.Labels["mountpoint"] = mount
			a.Title = cmp.Or(c.Title, c.Name) + " on " + about.Name + " " + mount
		}
	}
	return a
}

// threshold reads the operator and number that follow a metric's name in a
// condition, for people; both empty when the condition is of another form.
func threshold(when, metric string) (operator, value string) {
	_, rest, found := strings.Cut(when, metric)
	if !found {
		return "", ""
	}
	fields := strings.Fields(rest)
	if len(fields) < 2 || !slices.Contains([]string{">", ">=", "<", "<="}, fields[0]) {
		return "", ""
	}
	if _, err := strconv.ParseFloat(fields[1], 64); err != nil {
		return "", ""
	}
	return fields[0], fields[1]
}

// Measure returns the newest value of the metric an alert was raised on, which
// is how a runbook sees value when its plan is made.
func (r *Room) Measure(_ context.Context, a ops.Alert) (float64, bool, error) {
	r.seen.Lock()
	defer r.seen.Unlock()
	v, ok := r.values[a.Resource.ID][a.Context.Metric]
	return v, ok, nil
}

// keep makes samples the newest of their metrics and returns a copy of all of
// the resource.
func (r *Room) keep(resource string, fresh map[string]ops.Sample) map[string]float64 {
	r.seen.Lock()
	defer r.seen.Unlock()
	values := r.values[resource]
	if values == nil {
		values = map[string]float64{}
		r.values[resource] = values
	}
	for m, s := range fresh {
		values[m] = s.Value
	}
	return maps.Clone(values)
}
