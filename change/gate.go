package change

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/change/runbook"
	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Config is everything that decides what may happen to a change.
type Config struct {
	Windows  []ops.Window // with Mute: maintenance windows, which allow nothing
	Freezes  []ops.Window
	Approval []ApprovalRule
	Limits   Limits
	// Concurrency bounds what runs at the same time, beside the one run that a
	// resource may have.
	Concurrency Concurrency
	Executors   []Executor
	Runbooks    []runbook.Config

	// MaxMissed is how many windows may pass without a start before a change
	// is cancelled. Default: 3.
	MaxMissed int
	// MaxAge is how old a change may become without having started. Default: 90 days.
	MaxAge time.Duration
	// MaxRevisions is how often a plan may be made anew before the change is
	// cancelled. Default: 10.
	MaxRevisions int
	// HeldFor is how long a held run waits for a person before its change is
	// closed as unsuccessful. Default: 7 days.
	HeldFor time.Duration
	// PlanWithin is how long a plan may take. Default: 24 hours.
	PlanWithin time.Duration
	// Slack is how late an answer may be beyond its estimate before the run is
	// held. Default: 10 minutes.
	Slack time.Duration
	// Recheck is how soon a change that waits for something without a known
	// end looks again. Default: 15 seconds.
	Recheck time.Duration
	// CloseInconclusive closes normal changes, too, as successful with issues
	// when verification could not tell. Default: only standard changes are
	// closed that way; every other is held for a person.
	CloseInconclusive bool
	// FourEyesFrom is the risk from which at least two different persons must
	// approve, whatever the rule says; above 1: never. Default: 0.7.
	FourEyesFrom *float64
	// WindowRole is the role of cloud operations, whose holders may give a
	// change its window in a ticket. Default: change-manager.
	WindowRole ops.Role
	// Delegations let one person decide in the name of another.
	Delegations []Delegation
}

// Delegation lets To decide in the name of Of from From until Until.
type Delegation struct {
	Of, To      string // names of persons
	From, Until time.Time
}

// Concurrency bounds how many changes run at the same time. Zero is no limit.
type Concurrency struct {
	Total      int
	PerService int // of the resources with the same value of ServiceLabel
	PerAccount int // of the resources with the same value of AccountLabel
	// The labels. Resources without the label are not counted. Defaults:
	// service and account.
	ServiceLabel, AccountLabel string
}

// DefaultFourEyes is the risk from which two persons must approve.
const DefaultFourEyes = 0.7

// ApprovalRule says who approves the changes it matches. The first rule that
// matches decides. A rule that approves automatically is passed over for
// changes that are not standard, and what matches no rule needs one change
// manager: nothing is ever approved because nobody thought of it.
type ApprovalRule struct {
	Match         string // CEL over change and resource
	Automatically bool
	// Approvers are asked in this order. The role Owner stands for the
	// application owners of the change's team, and for a change manager where
	// no team owns it.
	Approvers []ops.Approvers
	// In is the only platform in which an approval counts; ops.DeskPlatform is
	// Fettle itself. A denial counts from anywhere. Default: any.
	In      string        `json:",omitempty"`
	Expires time.Duration // default: 72 hours
}

// Owner is the role, in a rule, of who owns the changed application.
const Owner ops.Role = "owner"

// Limits bound automated remediation: the changes that runbooks raise.
type Limits struct {
	Count int           // how many may start within Per; default: 10
	Per   time.Duration // default: 1 hour
	// BlastRadius is the largest share, in percent, of the known resources
	// they may touch within Per; one is always allowed. Default: 5.
	BlastRadius float64
}

// Executor is a configured executor, as far as the gate must know it.
type Executor struct {
	Name     string
	Apply    time.Duration // estimate where a plan gives none; zero: unknown
	Rollback time.Duration
}

// DefaultExpires is how long an approval is waited for.
const DefaultExpires = 72 * time.Hour

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.MaxAge, 90*24*time.Hour)
	set(&c.HeldFor, 7*24*time.Hour)
	set(&c.PlanWithin, 24*time.Hour)
	set(&c.Slack, 10*time.Minute)
	set(&c.Recheck, 15*time.Second)
	set(&c.Limits.Per, time.Hour)
	if c.MaxMissed == 0 {
		c.MaxMissed = 3
	}
	if c.MaxRevisions == 0 {
		c.MaxRevisions = 10
	}
	if c.Limits.Count == 0 {
		c.Limits.Count = 10
	}
	if c.FourEyesFrom == nil {
		risk := DefaultFourEyes
		c.FourEyesFrom = &risk
	}
	if c.WindowRole == "" {
		c.WindowRole = ops.ChangeManager
	}
	if c.Concurrency.ServiceLabel == "" {
		c.Concurrency.ServiceLabel = "service"
	}
	if c.Concurrency.AccountLabel == "" {
		c.Concurrency.AccountLabel = "account"
	}
	if c.Limits.BlastRadius == 0 {
		c.Limits.BlastRadius = 5
	}
}

// Gate is the compiled configuration. It is immutable and pure: its Next takes
// the time and the world as they are and does nothing but decide.
type Gate struct {
	Config
	digest    string
	windows   []*window.Window
	mutes     []*window.Window
	freezes   []*window.Window
	rules     []*policy.Program
	executors map[string]Executor
	runbooks  []*runbook.Runbook
	off       map[guard]bool // filled by tests only
}

// NewGate compiles a configuration. The error wraps ops.ErrInvalid and holds
// every fault.
func NewGate(c Config) (*Gate, error) {
	c.defaults()
	g := &Gate{Config: c, digest: digestOf(c), executors: map[string]Executor{}, rules: make([]*policy.Program, len(c.Approval))}
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	all, err := window.CompileAll(c.Windows)
	fault(err)
	for _, w := range all {
		switch {
		case w.Deny:
			g.freezes = append(g.freezes, w)
		case w.Mute:
			g.mutes = append(g.mutes, w)
		default:
			g.windows = append(g.windows, w)
		}
	}
	for _, f := range c.Freezes {
		f.Deny = true
		w, err := window.Compile(f)
		fault(err)
		g.freezes = append(g.freezes, w)
	}
	for _, e := range c.Executors {
		g.executors[e.Name] = e
	}
	for i, r := range c.Approval {
		g.rules[i], err = policy.Compile(policy.Change, r.Match)
		if err != nil {
			fault(fmt.Errorf("policies.approval[%d].match: %w", i, err))
		}
		if r.Automatically == (len(r.Approvers) > 0) {
			fault(fmt.Errorf("policies.approval[%d]: write either approve: automatically or approvers: %w", i, ops.ErrInvalid))
		}
		if r.Automatically && r.In != "" {
			fault(fmt.Errorf("policies.approval[%d].in: nobody approves in %s what is approved automatically: %w", i, r.In, ops.ErrInvalid))
		}
		for _, a := range r.Approvers {
			if err := checkApprovers(a); err != nil {
				fault(fmt.Errorf("policies.approval[%d].approvers: %w", i, err))
			}
		}
	}
	if *c.FourEyesFrom < 0 {
		fault(fmt.Errorf("policies.four_eyes_from: %v is negative: %w", *c.FourEyesFrom, ops.ErrInvalid))
	}
	if _, err := ops.ParseRole(string(c.WindowRole)); err != nil {
		fault(fmt.Errorf("policies.window_role: %w", err))
	}
	for _, d := range c.Delegations {
		if d.Of == "" || d.To == "" || d.Of == d.To || !d.From.Before(d.Until) {
			fault(fmt.Errorf("people: %q delegates to %q from %s until %s: needs two persons and a span: %w", d.Of, d.To, d.From, d.Until, ops.ErrInvalid))
		}
	}
	for _, r := range c.Runbooks {
		compiled, err := runbook.Compile(r)
		fault(err)
		g.runbooks = append(g.runbooks, compiled)
		for i, s := range r.Steps {
			if _, ok := g.executors[s.Executor]; !ok {
				fault(fmt.Errorf("runbook %q step %d: there is no executor %q: %w", r.Name, i+1, s.Executor, ops.ErrInvalid))
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return g, nil
}

// checkApprovers returns what is wrong with one step of a rule.
func checkApprovers(a ops.Approvers) error {
	switch {
	case a.Count < 1:
		return fmt.Errorf("count %d: needs at least 1: %w", a.Count, ops.ErrInvalid)
	case len(a.People) > 0 && a.Role != "":
		return fmt.Errorf("both %s and %v are asked; keep one: %w", a.Role, a.People, ops.ErrInvalid)
	case len(a.People) > 0 && len(a.People) < a.Count:
		return fmt.Errorf("%d of the persons %v: there are not so many: %w", a.Count, a.People, ops.ErrInvalid)
	case len(a.People) > 0 || a.Role == Owner:
		return nil
	}
	if _, err := ops.ParseRole(string(a.Role)); err != nil {
		return err
	}
	if !(ops.Principal{Roles: []ops.Role{a.Role}}).May(ops.MayApprove) {
		return fmt.Errorf("the role %s may not approve; name one that may approve: %w", a.Role, ops.ErrInvalid)
	}
	return nil
}

// digestOf identifies the policy a decision was made under.
func digestOf(c Config) string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("change: a configuration of plain data always marshals: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Event is what happened to a change: exactly one of Raised, Heard, Woken,
// Decided, Edited, Settled, Withdrawn, GlassBroken or Signed.
type Event interface{ event() }

type (
	// Raised is the birth of a change.
	Raised struct {
		By     ops.Principal
		Change ops.Change
		Why    string
		Cause  string // id of the fact that asked for it
	}
	// Heard is a fact of another room about the change.
	Heard struct{ Fact ops.Fact }
	// Woken is the passing of the deadline the change last asked for.
	Woken struct{}
	// Decided is a person's approval or denial. Digest is that of the plan the
	// person saw, or at least its first 12 letters, optionally followed by @
	// and the plan's revision.
	Decided struct {
		By           ops.Principal
		Decision     ops.Decision
		Digest       string
		Comment, Via string
	}
	// Edited is a person's change to what is to be done.
	Edited struct {
		By     ops.Principal
		Action string
		Args   []string
		Why    string
	}
	// Settled is a person's word about a held run.
	Settled struct {
		By   ops.Principal
		Word Resolution
		Why  string
	}
	// GlassBroken is a person's wish to override a freeze for this change, or
	// another person's confirmation of it.
	GlassBroken struct {
		By             ops.Principal
		Freeze, Reason string
	}
	// Signed is a person's note that ends a review.
	Signed struct {
		By   ops.Principal
		Note string
	}
	// Withdrawn is a person's wish not to go on.
	Withdrawn struct {
		By  ops.Principal
		Why string
		Via string
		// Outcome is superseded or withdrawn; empty is withdrawn.
		Outcome ops.Outcome
	}
)

func (Raised) event()      {}
func (Heard) event()       {}
func (Woken) event()       {}
func (Decided) event()     {}
func (Edited) event()      {}
func (Settled) event()     {}
func (Withdrawn) event()   {}
func (GlassBroken) event() {}
func (Signed) event()      {}

// Resolution is what a person says about a held run.
type Resolution string

// The resolutions.
const (
	HeldSucceeded Resolution = "succeeded" // it worked after all
	HeldFailed    Resolution = "failed"    // it did not, and stays as it is
	HeldRollBack  Resolution = "roll_back" // undo it
)

// Result is what follows from an event: the new state, the facts that tell of
// it and the commands it leads to. Wake is when the change wants to be woken,
// zero to leave the deadline that stands.
type Result struct {
	State    State
	Facts    []ops.Fact
	Commands []ops.Command
	Wake     time.Time
	InLine   bool // with Wake: the end of another change may come first
	// Trouble says which conditions of windows and freezes could not be evaluated.
	Trouble []string
}

// Next decides what follows from an event. It is pure. An error means that the
// event is refused and nothing happened; a stale or repeated fact gives an
// empty result without one.
func (g *Gate) Next(s State, w World, e Event) (Result, error) {
	m := &move{g: g, w: w, s: s, by: ops.SystemPrincipal}
	var err error
	switch e := e.(type) {
	case Raised:
		m.by, m.cause = e.By, e.Cause
		m.raise(e)
	case Heard:
		m.cause = e.Fact.ID
		err = m.hear(e.Fact)
	case Woken:
		m.woken()
	case Decided:
		m.by = e.By
		err = m.decided(e)
	case Edited:
		m.by = e.By
		err = m.edited(e)
	case Settled:
		m.by = e.By
		err = m.settled(e)
	case Withdrawn:
		m.by = e.By
		err = m.withdrawn(e)
	case GlassBroken:
		m.by = e.By
		err = m.breakGlass(e)
	case Signed:
		m.by = e.By
		err = m.signed(e)
	}
	if err == nil {
		err = m.fault
	}
	if err != nil {
		return Result{State: s}, err
	}
	return Result{State: m.s, Facts: m.facts, Commands: m.commands, Wake: m.wake, InLine: m.inLine, Trouble: m.trouble}, nil
}

// move is one step of the gate: it folds what it tells, so that the state can
// never differ from what the facts say.
type move struct {
	g        *Gate
	w        World
	s        State
	by       ops.Principal
	cause    string
	facts    []ops.Fact
	commands []ops.Command
	wake     time.Time
	inLine   bool
	trouble  []string
	fault    error
}

func (m *move) tell(body ops.FactBody) {
	from := m.s.Change
	id := from.ID
	if b, ok := body.(ops.ChangeRaisedBody); ok {
		id = b.Change.ID
	}
	f := ops.NewFact(ops.ChangeSubject(id), m.w.Now, m.by, m.cause, body)
	to, err := Fold(from, f)
	if err != nil {
		m.fault = err
		return
	}
	if from.ID != "" && from.State != to.State && !ops.CanMoveChange(from.State, to.State) {
		m.fault = fmt.Errorf("change %s may not go from %s to %s: %w", to.Key(), from.State, to.State, ops.ErrInternal)
		return
	}
	m.s.Change = to
	m.facts = append(m.facts, f)
}

func (m *move) order(kind ops.CommandKind, body any) {
	m.commands = append(m.commands, ops.NewCommand(kind, m.s.Change.Subject(), body))
}

// end closes the lid before anything was implemented.
func (m *move) end(outcome ops.Outcome, why string) {
	m.cancel(m.s.Change, outcome, why)
}

func (m *move) cancel(c ops.Change, outcome ops.Outcome, why string) {
	c.State, c.Outcome, c.ClosedAt, c.Waiting = ops.ChangeCancelled, outcome, m.w.Now, ""
	m.tell(ops.ChangeEndedBody{Change: c, Why: why})
}

// wait tells why the change does not go on, once per reason.
func (m *move) wait(why string, until time.Time) {
	if m.s.Change.Waiting != why {
		m.tell(ops.ChangeWaitingBody{ChangeID: m.s.Change.ID, Why: why})
	}
	m.wake = until
}
