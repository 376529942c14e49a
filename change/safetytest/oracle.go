// Package safetytest judges the change room by what it says and orders.
//
// An Oracle is fed every fact and every command in the order they were
// committed and knows the rules in force from the test that set them up. It
// shares no code with package change: it keeps its own books and returns an
// error that names the broken safety property of the architecture.
package safetytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Rules are what the test configured, in the oracle's own terms.
type Rules struct {
	// Open returns the end and the cutoff of the window that is open at t.
	Open func(t time.Time) (end, cutoff time.Time, ok bool)
	// Frozen names the freezes that meet [from, to).
	Frozen func(from, to time.Time) []string
	// Automatic reports whether policy approves this change without a person.
	Automatic func(c ops.Change) bool
	// Need lists who must approve it otherwise.
	Need func(c ops.Change) []ops.Approvers
	// In returns the only platform in which it may be approved, empty for any;
	// desk is Fettle itself. Nil: any, for all.
	In func(c ops.Change) string
	// Estimates returns how long applying and undoing takes where a plan does
	// not say; zero: nobody knows.
	Estimates func(executor string) (apply, rollback time.Duration)
	// People are all principals by id. Names equal ids.
	People map[string]ops.Principal
	// FourEyes is the risk from which two different persons must approve.
	FourEyes float64
	// Delegated reports whether to may decide in the name of of, both ids.
	Delegated func(of, to string, at time.Time) bool
	// WindowRole is whose holders may give a change its window.
	WindowRole ops.Role
	// Glass lists the roles that may override each freeze.
	Glass map[string][]ops.Role
	// Needs lists what each resource depends on, directly or not.
	Needs map[string][]string
	// At most Total runs at a time, PerService of one service and PerAccount
	// in one account; Of returns a resource's service and account.
	Total, PerService, PerAccount int
	Of                            func(resource string) (service, account string)
	// At most MaxStarts automated runs on MaxResources resources within Per.
	MaxStarts, MaxResources int
	Per                     time.Duration
}

// Oracle keeps the books.
type Oracle struct {
	Rules
	changes map[string]*book
	plans   map[string]ops.Plan
	runs    map[string]string // plan id -> run id
	starts  []start
	stopped bool
	seen    int64
	applied map[string]int // ApplyPlan orders by run
	ended   map[string]ops.ChangeEndedBody
	spoken  map[string][]ops.ApprovalSeenBody // decisions in platforms by change and reference
	refs    map[string]bool                   // of them, those that were answered
}

type start struct {
	at       time.Time
	resource string
}

type book struct {
	change    ops.Change // as it was raised or last edited
	requester string
	editors   []string
	asked     *ops.ApprovalRequestedBody
	given     []ops.Approval
	run       string // id of the unfinished run
	runState  ops.RunState
	window    time.Time // end of the window the run started in
	ended     bool
	offered   *ops.Occurrence
	booked    *ops.Occurrence // the window it waits for
	glass     []ops.BreakGlass
	used      []ops.BreakGlass // in force when its run started
}

// New returns an oracle with empty books.
func New(r Rules) *Oracle {
	return &Oracle{Rules: r, changes: map[string]*book{}, plans: map[string]ops.Plan{}, runs: map[string]string{}, applied: map[string]int{}, ended: map[string]ops.ChangeEndedBody{}, spoken: map[string][]ops.ApprovalSeenBody{}, refs: map[string]bool{}}
}

// Outcomes counts how the changes ended, for tests that must know that they
// have seen something.
func (o *Oracle) Outcomes() map[ops.Outcome]int {
	out := map[ops.Outcome]int{}
	for _, e := range o.ended {
		out[e.Change.Outcome]++
	}
	return out
}

// Runs returns how many runs started.
func (o *Oracle) Runs() int { return len(o.runs) }

func broken(property int, format string, args ...any) error {
	return fmt.Errorf("safety property %d is broken: %w", property, fmt.Errorf(format, args...))
}

func body[T ops.FactBody](f ops.Fact) T {
	b, err := ops.Body[T](f)
	if err != nil {
		panic(err)
	}
	return b
}

// Fact takes the next fact into the books.
func (o *Oracle) Fact(f ops.Fact) error {
	if f.Seq <= o.seen {
		return fmt.Errorf("fact %d comes after %d", f.Seq, o.seen)
	}
	o.seen = f.Seq
	switch f.Kind {
	case ops.ExecutionStopped:
		o.stopped = true
		return nil
	case ops.ExecutionResumed:
		o.stopped = false
		return nil
	case ops.PlanMade:
		// The executor may say it twice; the first plan of a revision stands.
		p := body[ops.PlanMadeBody](f).Plan
		if _, known := o.plans[p.ID]; !known {
			o.plans[p.ID] = p
		}
		return nil
	}
	id, ok := strings.CutPrefix(f.Subject, "change/")
	if !ok {
		return nil
	}
	if f.Kind == ops.ChangeRaised {
		c := body[ops.ChangeRaisedBody](f).Change
		if o.changes[id] != nil {
			return broken(5, "change %s is raised twice", id)
		}
		for other, b := range o.changes {
			if c.Runbook != "" && !b.ended && b.change.Runbook == c.Runbook && b.change.ResourceID == c.ResourceID {
				return broken(6, "runbook %s has two live changes on %s: %s and %s", c.Runbook, c.ResourceID, other, id)
			}
		}
		if c.Trigger != nil && c.Trigger.Test {
			return broken(6, "a test alert raised change %s", id)
		}
		o.changes[id] = &book{change: c, requester: c.RequestedBy}
		return nil
	}
	b := o.changes[id]
	if b == nil {
		if slices.Contains(own, f.Kind) {
			return broken(5, "%s about change %s, which was never raised", f.Kind, id)
		}
		return nil
	}
	if f.Kind == ops.ApprovalSeen {
		seen := body[ops.ApprovalSeenBody](f)
		key := id + "/" + seen.Platform + ":" + seen.Approval
		o.spoken[key] = append(o.spoken[key], seen)
	}
	if !slices.Contains(own, f.Kind) {
		return nil
	}
	if b.ended {
		return broken(5, "%s after change %s ended", f.Kind, id)
	}
	return o.change(id, b, f)
}

// own lists the facts of the room that is judged.
var own = []ops.FactKind{
	ops.ChangeRaised, ops.ApprovalRequested, ops.ApprovalGiven, ops.ApprovalVoided, ops.ChangeScheduledAt,
	ops.ChangeWaiting, ops.RunStarted, ops.RunMoved, ops.ChangeEdited, ops.ChangeReviewed, ops.ChangeEnded,
	ops.PlatformWordVoid, ops.WindowTaken, ops.BreakGlassAsked, ops.GlassBroken,
}

func (o *Oracle) change(id string, b *book, f ops.Fact) error {
	switch f.Kind {
	case ops.ApprovalRequested:
		asked := body[ops.ApprovalRequestedBody](f)
		b.asked, b.given = &asked, nil
		p, ok := o.plans[asked.Change.PlanID]
		if !ok || p.ChangeID != id || p.Digest != asked.Digest || p.ComputeDigest() != asked.Digest {
			return broken(1, "change %s asks approval of plan %s, which nobody made like this", id, asked.Change.PlanID)
		}
		if in := o.place(b.change); len(asked.Change.Approvers) > 0 && asked.Change.ApproveIn != in {
			return broken(3, "change %s asks approval in %q, and its rule says %q", id, asked.Change.ApproveIn, in)
		}
	case ops.ApprovalVoided:
		b.asked, b.given, b.run, b.glass, b.used, b.booked = nil, nil, "", nil, nil, nil
	case ops.ChangeEdited:
		b.asked, b.given, b.glass, b.booked = nil, nil, nil, nil
		b.change = body[ops.ChangeEditedBody](f).Change
		if o.People[f.Principal].Kind == ops.Person {
			b.editors = append(b.editors, f.Principal)
		}
	case ops.ApprovalGiven:
		return o.approval(id, b, f.At, body[ops.ApprovalGivenBody](f).Approval)
	case ops.PlatformWordVoid:
		if a := body[ops.PlatformWordVoidBody](f).Approval; a != nil {
			return o.answered(id, *a)
		}
	case ops.ChangeScheduledAt:
		b.booked = body[ops.ChangeScheduledBody](f).Change.Window
	case ops.WindowTaken:
		if p := o.People[f.Principal]; p.Kind != ops.Person || !holds(p, o.WindowRole) {
			return broken(1, "change %s takes a window of %s, who may give none", id, f.Principal)
		}
		b.offered = body[ops.WindowTakenBody](f).Change.Offered
	case ops.BreakGlassAsked, ops.GlassBroken:
		return o.glass(id, b, f)
	case ops.RunStarted:
		return o.start(id, b, f)
	case ops.RunMoved:
		m := body[ops.RunMovedBody](f)
		if m.Change.Run == nil || m.Change.Run.ID != b.run {
			return broken(5, "change %s moves a run it has not", id)
		}
		if to := m.Change.Run.State; to != b.runState && !ops.CanMoveRun(b.runState, to) {
			return broken(5, "run of change %s goes from %s to %s", id, b.runState, to)
		}
		b.runState = m.Change.Run.State
		if b.runState.Final() {
			b.run = ""
		}
	case ops.ChangeEnded:
		e := body[ops.ChangeEndedBody](f)
		if b.run != "" {
			return broken(5, "change %s ends while its run is %s", id, b.runState)
		}
		if !e.Change.State.Terminal() || e.Change.Outcome == "" {
			return broken(5, "change %s ends as %s %s", id, e.Change.State, e.Change.Outcome)
		}
		b.ended, b.booked, o.ended[id] = true, nil, e
		by, known := o.People[f.Principal]
		if e.Change.Outcome == ops.Withdrawn && known && by.ID != b.requester && !manages(by) {
			return broken(3, "change %s is withdrawn by %s, who may not", id, f.Principal)
		}
		return o.reviewed(id, b, e.Change)
	}
	return nil
}

// crowd checks what runs beside a start, and in which order.
func (o *Oracle) crowd(id string, b *book, in ops.Occurrence) error {
	service, account := o.Of(b.change.ResourceID)
	total, services, accounts := 1, 1, 1
	for other, q := range o.changes {
		if other == id {
			continue
		}
		first := slices.Contains(o.Needs[b.change.ResourceID], q.change.ResourceID)
		if first && q.booked != nil && *q.booked == in {
			return broken(1, "change %s starts before %s, which is about what it depends on and waits for the same window", id, other)
		}
		if q.run == "" {
			continue
		}
		if q.change.Lock() == b.change.Lock() {
			return broken(4, "changes %s and %s work on %s at the same time", id, other, b.change.Lock())
		}
		if first {
			return broken(1, "change %s starts while %s works on what it depends on", id, other)
		}
		total++
		s, a := o.Of(q.change.ResourceID)
		if s != "" && s == service {
			services++
		}
		if a != "" && a == account {
			accounts++
		}
	}
	if (o.Total > 0 && total > o.Total) || (o.PerService > 0 && services > o.PerService) || (o.PerAccount > 0 && accounts > o.PerAccount) {
		return broken(6, "change %s starts as one of %d, %d of its service and %d in its account", id, total, services, accounts)
	}
	return nil
}

func (o *Oracle) start(id string, b *book, f ops.Fact) error {
	s := body[ops.RunStartedBody](f)
	p, planned := o.plans[s.Run.PlanID]
	switch {
	case o.stopped:
		return broken(6, "change %s starts while execution is stopped", id)
	case b.asked == nil || !planned || s.Run.Digest != b.asked.Digest || s.Run.Digest != p.Digest || s.Run.PlanID != b.asked.Change.PlanID:
		return broken(1, "change %s starts under digest %.12s, which is not the one asked about", id, s.Run.Digest)
	case !o.approved(b):
		return broken(1, "change %s starts unapproved", id)
	case o.runs[s.Run.PlanID] != "":
		return broken(4, "plan %s of change %s runs a second time", s.Run.PlanID, id)
	case b.run != "":
		return broken(4, "change %s starts a run beside another", id)
	}
	end, cutoff, open := o.Open(f.At)
	if w := b.offered; w != nil && f.At.Before(w.End) {
		end, cutoff, open = w.End, w.End, !f.At.Before(w.Start)
	}
	if !open || !f.At.Before(cutoff) {
		return broken(1, "change %s starts at %s, outside its window", id, f.At)
	}
	apply, undo := o.lengths(b.change.Executor, p)
	need := b.asked.Change.VerifyWithin + apply + undo
	if apply == 0 || (len(p.Rollback) > 0 && undo == 0) {
		return broken(2, "change %s starts although nobody knows how long it takes", id)
	}
	if f.At.Add(need).After(end) {
		return broken(2, "change %s starts at %s, needs %s and its window ends at %s", id, f.At, need, end)
	}
	if o.frozen(b, f.At, f.At.Add(need)) {
		return broken(1, "change %s starts at %s and reaches into a freeze", id, f.At)
	}
	if err := o.crowd(id, b, s.Window); err != nil {
		return err
	}
	b.booked, b.used = nil, slices.Clone(b.glass)
	o.runs[s.Run.PlanID], b.run, b.runState, b.window = s.Run.ID, s.Run.ID, s.Run.State, end
	if b.change.Runbook == "" {
		return nil
	}
	o.starts = append(o.starts, start{f.At, b.change.ResourceID})
	count, resources := 0, map[string]bool{}
	for _, st := range o.starts {
		if f.At.Sub(st.at) < o.Per {
			count++
			resources[st.resource] = true
		}
	}
	if count > o.MaxStarts {
		return broken(6, "change %s is the %dth automated start within %s", id, count, o.Per)
	}
	if len(resources) > o.MaxResources {
		return broken(6, "change %s touches the %dth resource within %s", id, len(resources), o.Per)
	}
	return nil
}

func (o *Oracle) lengths(executor string, p ops.Plan) (apply, undo time.Duration) {
	apply, undo = o.Estimates(executor)
	if p.ApplySecs > 0 {
		apply = time.Duration(p.ApplySecs) * time.Second
	}
	if p.RollbackSecs > 0 {
		undo = time.Duration(p.RollbackSecs) * time.Second
	}
	if len(p.Rollback) == 0 {
		undo = 0
	}
	return apply, undo
}

// Command takes the next command into the books. Facts of the same transaction
// come before it. at is when it was given.
func (o *Oracle) Command(c ops.Command, at time.Time) error {
	if c.Kind != ops.ApplyPlan && c.Kind != ops.RollBackRun {
		return nil
	}
	id, _ := strings.CutPrefix(c.Subject, "change/")
	b := o.changes[id]
	if b == nil || b.run == "" {
		return broken(1, "%s for change %s, which has no run", c.Kind, id)
	}
	if o.stopped {
		return broken(6, "%s for change %s while execution is stopped", c.Kind, id)
	}
	if c.Kind == ops.ApplyPlan {
		if o.applied[b.run]++; o.applied[b.run] > 1 {
			return broken(4, "the plan of change %s is ordered to be applied twice", id)
		}
		return nil
	}
	p := o.plans[b.asked.Change.PlanID]
	_, length := o.lengths(b.change.Executor, p)
	if at.Add(length).After(b.window) || o.frozen(b, at, at.Add(length)) {
		return broken(1, "change %s is rolled back at %s, outside its window or in a freeze", id, at)
	}
	return nil
}

// Unended returns the ids of the changes that have not ended.
func (o *Oracle) Unended() []string {
	var out []string
	for id, b := range o.changes {
		if !b.ended {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
