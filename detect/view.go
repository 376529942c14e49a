package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Watching answers what is watched and what was read; a Pipeline does.
type Watching interface {
	Series(ctx context.Context, f SeriesFilter) ([]ops.Watched, error)
	One(ctx context.Context, id string) (ops.Watched, []Feature, error)
	Readings(ctx context.Context, id string, from, to time.Time) ([]Reading, error)
}

// Record answers what happened to a watched entity; the store does.
type Record interface {
	FindAnomalies(ctx context.Context, f ops.AnomalyFilter) ([]ops.Anomaly, error)
	Anomaly(ctx context.Context, id string) (ops.Anomaly, error)
	Resource(ctx context.Context, idOrAlias string) (ops.Resource, error)
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	IncidentsOfAlert(ctx context.Context, fingerprint string) ([]ops.Membership, error)
}

// Windows answers when maintenance is; the change room does.
type Windows interface {
	// Spans returns the maintenance windows about a resource that are open at
	// some time in [from, to), each with its first occurrence there.
	Spans(ctx context.Context, r ops.Resource, from, to time.Time) []ops.Occurrence
}

// Viewer shows what detection sees, to people and to programs. It only reads
// and is safe for concurrent use.
type Viewer struct {
	Watching Watching
	Record   Record
	Windows  Windows
}

// Finding is an anomaly with the incident it belongs to.
type Finding struct {
	ops.Anomaly
	// Incident is nil where none was opened for it, as in maintenance.
	Incident *ops.Incident
}

// View is a watched entity over a span of time.
type View struct {
	ops.Watched
	// Gone says that it is watched no more: only its anomalies are left.
	Gone     bool
	Resource ops.Resource // without an ID until something was told about it
	From, To time.Time
	Features []Feature
	Readings []Reading // oldest first; their values are in the order of Features
	Findings []Finding // that meet the span, newest first, at most maxFindings
	Changes  []ops.Change
	Windows  []ops.Occurrence
}

const (
	// MaxSpan is the longest span of a View.
	MaxSpan     = 31 * 24 * time.Hour
	maxFindings = 200
	maxWindows  = 200
)

// Series returns a page of what is watched, and how many entities the filter
// selects in all.
func (v *Viewer) Series(ctx context.Context, f ops.WatchedFilter) (page []ops.Watched, total int, err error) {
	var after name
	if f.After != "" {
		if after.group, after.entity, err = ops.ParseWatchedCursor(f.After); err != nil {
			return nil, 0, err
		}
	}
	all, err := v.Watching.Series(ctx, SeriesFilter{Group: f.Group, Entity: f.Entity, Text: f.Text})
	if err != nil {
		return nil, 0, err
	}
	limit := cmp.Or(f.Limit, 100)
	for _, w := range all {
		if len(f.States) > 0 && !slices.Contains(f.States, w.State()) {
			continue
		}
		total++
		if len(page) < limit && (f.After == "" || cmp.Or(cmp.Compare(w.Group, after.group), cmp.Compare(w.Entity, after.entity)) > 0) {
			page = append(page, w)
		}
	}
	return page, total, nil
}

// Count returns how many watched entities there are of each state.
func (v *Viewer) Count(ctx context.Context) (map[ops.WatchedState]int, error) {
	all, err := v.Watching.Series(ctx, SeriesFilter{})
	n := map[ops.WatchedState]int{}
	for _, w := range all {
		n[w.State()]++
	}
	return n, err
}

// Anomalies returns the anomalies a filter selects, newest onset first.
func (v *Viewer) Anomalies(ctx context.Context, f ops.AnomalyFilter) ([]ops.Anomaly, error) {
	return v.Record.FindAnomalies(ctx, f)
}

// Anomaly returns an anomaly with its incident, or ops.ErrNotFound.
func (v *Viewer) Anomaly(ctx context.Context, id string) (Finding, error) {
	a, err := v.Record.Anomaly(ctx, id)
	if err != nil {
		return Finding{}, err
	}
	found, err := v.findings(ctx, []ops.Anomaly{a})
	if err != nil {
		return Finding{}, err
	}
	return found[0], nil
}

// findings adds the incidents to anomalies of one series.
func (v *Viewer) findings(ctx context.Context, anomalies []ops.Anomaly) ([]Finding, error) {
	if len(anomalies) == 0 {
		return nil, nil
	}
	members, err := v.Record.IncidentsOfAlert(ctx, FingerprintOf(anomalies[0].Group, anomalies[0].Entity))
	if err != nil {
		return nil, err
	}
	out := make([]Finding, len(anomalies))
	for i, a := range anomalies {
		out[i].Anomaly = a
		out[i].Incident = incidentOf(a, members)
	}
	return out, nil
}

// toldWithin is how long after its end the first alert about an anomaly may
// have come to correlation.
const toldWithin = time.Hour

// incidentOf returns the incident an anomaly is in. A member keeps only the
// newest anomaly, so an earlier one goes by time: to the oldest incident that
// still heard of the entity after its onset.
func incidentOf(a ops.Anomaly, newestFirst []ops.Membership) *ops.Incident {
	var out *ops.Incident
	for i := range newestFirst {
		m := &newestFirst[i]
		if m.Member.Anomaly != nil && m.Member.Anomaly.ID == a.ID {
			return &m.Incident
		}
		if !m.Member.LastSeen.Before(a.From) && !m.Member.FirstSeen.After(a.To.Add(toldWithin)) {
			out = &m.Incident
		}
	}
	return out
}

// View returns a watched entity over [from, to), or ops.ErrNotFound. What is
// watched no more is found as long as its anomalies are kept.
func (v *Viewer) View(ctx context.Context, id string, from, to time.Time) (View, error) {
	if !from.Before(to) || to.Sub(from) > MaxSpan {
		return View{}, fmt.Errorf("from %s to %s is no range; write both like 2026-11-19T03:00:00Z, at most %d days apart: %w",
			from.Format(time.RFC3339), to.Format(time.RFC3339), MaxSpan/(24*time.Hour), ops.ErrInvalid)
	}
	out := View{From: from, To: to}
	var err error
	if out.Watched, out.Features, err = v.Watching.One(ctx, id); errors.Is(err, ops.ErrNotFound) {
		out.Watched, out.Gone, err = v.gone(ctx, id, err)
	}
	if err != nil {
		return out, err
	}
	if !out.Gone {
		if out.Readings, err = v.Watching.Readings(ctx, id, from, to); err != nil {
			return out, err
		}
		// A group that was given other features leaves readings of another width.
		out.Readings = slices.DeleteFunc(out.Readings, func(r Reading) bool { return len(r.Values) != len(out.Features) })
	}
	anomalies, err := v.Record.FindAnomalies(ctx, ops.AnomalyFilter{Series: id, From: from, To: to, Limit: maxFindings})
	if err != nil {
		return out, err
	}
	if out.Findings, err = v.findings(ctx, anomalies); err != nil {
		return out, err
	}
	return out, v.around(ctx, &out)
}

// gone returns what the newest anomaly of a series knows of its entity.
func (v *Viewer) gone(ctx context.Context, id string, missing error) (ops.Watched, bool, error) {
	last, err := v.Record.FindAnomalies(ctx, ops.AnomalyFilter{Series: id, Limit: 1})
	if err == nil && len(last) == 0 {
		err = missing
	}
	if err != nil {
		return ops.Watched{}, false, err
	}
	a := last[0]
	return ops.Watched{ID: id, Group: a.Group, Entity: a.Entity, Detector: a.Detector, SeenAt: a.To}, true, nil
}

// around adds what happened to the resource of the entity.
func (v *Viewer) around(ctx context.Context, out *View) error {
	ref := ResourceOf(out.Entity)
	out.Resource = ops.Resource{Kind: ref.Kind, Name: ref.Name, Aliases: ref.Aliases}
	found, err := v.Record.Resource(ctx, ref.Aliases[0])
	switch {
	case err == nil:
		out.Resource = found
		changes, err := v.Record.Changes(ctx, ops.ChangeFilter{Resource: found.ID, Limit: 1000})
		if err != nil {
			return err
		}
		for _, c := range changes {
			if c.Run != nil && c.Run.StartedAt.Before(out.To) && (c.Run.FinishedAt.IsZero() || c.Run.FinishedAt.After(out.From)) {
				out.Changes = append(out.Changes, c)
			}
		}
	case !errors.Is(err, ops.ErrNotFound):
		return err
	}
	if v.Windows != nil {
		// A window may ask for the labels that the alerts about the entity carry.
		asked := out.Resource
		asked.Labels = labelsOf(out.Group, out.Entity)
		for k, x := range out.Resource.Labels {
			asked.Labels[k] = x
		}
		out.Windows = occurrences(ctx, v.Windows, asked, out.From, out.To)
	}
	return nil
}

// occurrences returns all occurrences of all windows in [from, to), of which
// one question gives the first each, by their start.
func occurrences(ctx context.Context, w Windows, r ops.Resource, from, to time.Time) []ops.Occurrence {
	var out []ops.Occurrence
	for at := from; at.Before(to) && len(out) < maxWindows; {
		next := to
		for _, o := range w.Spans(ctx, r, at, to) {
			if !slices.ContainsFunc(out, func(x ops.Occurrence) bool { return x.Window == o.Window && x.Start.Equal(o.Start) }) {
				out = append(out, o)
			}
			if o.End.After(at) && o.End.Before(next) {
				next = o.End
			}
		}
		at = next
	}
	slices.SortStableFunc(out, func(a, b ops.Occurrence) int { return a.Start.Compare(b.Start) })
	return out
}

// Widen returns the float64 with the shortest decimal that reads back as v, so
// that a reading of 0.31 is shown as 0.31.
func Widen(v float32) float64 {
	w, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil { // cannot be: every float has a decimal
		return float64(v)
	}
	return w
}
