package recommend

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Standing is what is known of one identity. What there is not is nil.
type Standing struct {
	Placed  *ops.Recommendation // a change carries it
	Change  ops.Change          // that change
	Waiting *ops.Recommendation // new or unplaced
	Last    *ops.Recommendation // the newest that has ended
}

// Verb is what follows from a delivery.
type Verb string

// The verbs.
const (
	Ignore   Verb = "ignore"   // it says nothing new
	Retag    Verb = "retag"    // Target takes what else is said
	Create   Verb = "create"   // a new recommendation, to be placed
	Hold     Verb = "hold"     // a new one, which waits for the change of the placed one
	Restart  Verb = "restart"  // the placed one and its change are superseded by a new one
	Withdraw Verb = "withdraw" // the live ones are withdrawn, with a change that has not begun
)

// Decision is what follows from a delivery, and why.
type Decision struct {
	Verb Verb
	// Target is the one that Retag and Ignore are about: it was seen again.
	Target *ops.Recommendation
	// Retire is a waiting one that a new one takes the place of, or that asks for
	// what is under way.
	Retire *ops.Recommendation
	// Regressed is the ended one whose resource went back to what it was.
	Regressed *ops.Recommendation
	// In is the recommendation to keep, with what was learnt of it before.
	In  ops.Recommendation
	Why string
}

// Decide decides what a recommendation does to what is known of its identity.
// It is pure, and deciding the same delivery again right after it was carried
// out gives Ignore.
func (r *Rules) Decide(s Standing, in ops.Recommendation, now time.Time) Decision {
	d := Decision{Verb: Ignore, In: in}
	for _, known := range []*ops.Recommendation{s.Placed, s.Waiting, s.Last} {
		if known != nil && known.Producer == in.Producer && !in.ObservedAt.IsZero() && in.ObservedAt.Before(known.ObservedAt) {
			d.Why = fmt.Sprintf("it was observed before %s was", known.Key())
			return d
		}
	}
	live := s.Placed
	if live == nil {
		live = s.Waiting
	}
	if in.Producer == ops.ProducerParameterStore && live != nil && live.Producer != in.Producer {
		d.Why = fmt.Sprintf("%s of %s says more than its parameter", live.Key(), live.Producer)
		return d
	}
	if in.Gone != "" {
		return r.gone(s, d)
	}
	if s.Placed != nil {
		return r.placed(s, d, now)
	}
	if w := s.Waiting; w != nil {
		d.In = learnt(in, *w)
		if d.In.SameValues(*w) {
			return again(d, w)
		}
		d.Verb, d.Retire, d.Why = Create, w, fmt.Sprintf("it says something else than %s", w.Key())
		return d
	}
	if last := s.Last; last != nil {
		return r.after(*last, d, now)
	}
	d.Verb, d.Why = Create, "it is the first of its kind"
	return d
}

// gone takes back what is live.
func (r *Rules) gone(s Standing, d Decision) Decision {
	d.Why = d.In.Gone
	switch {
	case s.Placed != nil && ops.CanMoveChange(s.Change.State, ops.ChangeCancelled), s.Placed == nil && s.Waiting != nil:
		d.Verb = Withdraw
	case s.Placed != nil && s.Waiting != nil:
		d.Retire = s.Waiting
		d.Why = fmt.Sprintf("%s; %s has begun and goes on", d.In.Gone, s.Change.Key())
	}
	return d
}

// placed decides beside a change.
func (r *Rules) placed(s Standing, d Decision, now time.Time) Decision {
	p := s.Placed
	d.In = learnt(d.In, *p)
	if d.In.Wants != "" && d.In.Current == (ops.Values{}) && d.In.Recommended == (ops.Values{}) {
		d.Target, d.Why = p, "it does not say any values yet"
		return d
	}
	if d.In.SameValues(*p) {
		d.Retire = s.Waiting // what is recommended again is under way
		return again(d, p)
	}
	d.Why = fmt.Sprintf("it says something else than %s", p.Key())
	switch {
	case !ops.CanMoveChange(s.Change.State, ops.ChangeCancelled):
		d.Verb, d.Why = Hold, fmt.Sprintf("%s; it waits until %s has ended", d.Why, s.Change.Key())
	case s.Change.Window != nil && !now.Before(s.Change.Window.Start.Add(-r.Threshold)):
		d.Verb, d.Why = Hold, fmt.Sprintf("%s; %s is within %s of its window and is not given up any more", d.Why, s.Change.Key(), r.Threshold)
	default:
		d.Verb, d.Retire = Restart, s.Waiting
		return d
	}
	if w := s.Waiting; w != nil {
		in := learnt(d.In, *w)
		if in.SameValues(*w) {
			d.In = in
			return again(d, w)
		}
		d.Retire = w
	}
	return d
}

// again is for a delivery that says the same about the types.
func again(d Decision, target *ops.Recommendation) Decision {
	d.Verb, d.Target, d.Why = Ignore, target, "it says the same as before"
	if !same(d.In, *target) {
		d.Verb, d.Why = Retag, "it says the same about the types and something else beside"
	}
	return d
}

// after decides where all that is known has ended.
func (r *Rules) after(last ops.Recommendation, d Decision, now time.Time) Decision {
	d.In = learnt(d.In, last)
	seen := d.In.ObservedAt
	if seen.IsZero() {
		seen = now
	}
	fresh := seen.After(last.EndedAt.Add(r.Rest))
	succeeded := last.Outcome == ops.Successful || last.Outcome == ops.SuccessfulWithIssues
	switch {
	case last.State == ops.RecommendationWithdrawn && last.Gone == "" && d.In.SameValues(last):
		d.Target, d.Why = &last, fmt.Sprintf("%s said the same and was withdrawn: %s", last.Key(), last.Why)
		return d
	case last.State == ops.RecommendationDone && d.In.SameValues(last) && !fresh:
		d.Target, d.Why = &last, fmt.Sprintf("%s said the same, and its change ended at %s", last.Key(), last.EndedAt.UTC().Format(time.RFC3339))
		return d
	}
	if succeeded && fresh && !last.Current.Equal(last.Recommended) && d.In.Current.Equal(last.Current) {
		d.Regressed = &last
	}
	d.Verb, d.Why = Create, fmt.Sprintf("%s has ended", last.Key())
	return d
}

// learnt gives a delivery what its producer was asked before and does not say
// of itself.
func learnt(in, known ops.Recommendation) ops.Recommendation {
	if in.Producer != known.Producer || in.EntityID != known.EntityID {
		return in
	}
	in.Report = known.Report
	if in.Wants == "" || known.Wants != "" {
		return in
	}
	in.Wants, in.Tags, in.Stack, in.LogicalID = "", known.Tags, known.Stack, known.LogicalID
	for _, a := range known.Resource.Aliases {
		if !slices.Contains(in.Resource.Aliases, a) {
			in.Resource.Aliases = append(slices.Clip(in.Resource.Aliases), a)
		}
	}
	if in.Current == (ops.Values{}) && in.Recommended == (ops.Values{}) {
		in.Current, in.Recommended = known.Current, known.Recommended
	}
	return in
}

// same reports whether two recommendations say the same in all but when.
func same(a, b ops.Recommendation) bool {
	number := func(a, b *float64) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	saving := (a.Saving == nil) == (b.Saving == nil) && (a.Saving == nil || *a.Saving == *b.Saving)
	return saving && number(a.PredictedUptime, b.PredictedUptime) && a.SameValues(b) && maps.Equal(a.Tags, b.Tags) &&
		a.Producer == b.Producer && a.EntityID == b.EntityID && a.Name == b.Name && a.Kind == b.Kind && a.Effort == b.Effort &&
		a.ApprovalType == b.ApprovalType && a.Implementation == b.Implementation && a.Stack == b.Stack && a.LogicalID == b.LogicalID &&
		a.ReportHref == b.ReportHref && a.Wants == b.Wants && a.Fault == b.Fault
}
