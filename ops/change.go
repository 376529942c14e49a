package ops

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ChangeType is how a change is controlled.
type ChangeType string

// The change types.
const (
	ChangeStandard  ChangeType = "standard" // pre-approved by policy
	ChangeNormal    ChangeType = "normal"
	ChangeEmergency ChangeType = "emergency"
)

// ChangeState is where a change stands, as the field knows it.
type ChangeState string

// The states of a change.
const (
	ChangeNew       ChangeState = "new"
	ChangeAssess    ChangeState = "assess"    // being planned
	ChangeAuthorize ChangeState = "authorize" // waits for approval of exactly its plan
	ChangeScheduled ChangeState = "scheduled" // approved, waits for its window
	ChangeImplement ChangeState = "implement" // applying, verifying or rolling back
	ChangeReview    ChangeState = "review"    // the verdict is final
	ChangeClosed    ChangeState = "closed"
	ChangeCancelled ChangeState = "cancelled"
)

// changeMoves lists every legal move of a change. docs/change.mmd is generated
// from it.
var changeMoves = map[ChangeState][]ChangeState{
	ChangeNew:       {ChangeAssess, ChangeCancelled},
	ChangeAssess:    {ChangeAuthorize, ChangeCancelled},
	ChangeAuthorize: {ChangeScheduled, ChangeAssess, ChangeCancelled}, // back to assess: plan again
	ChangeScheduled: {ChangeImplement, ChangeAssess, ChangeCancelled}, // back to assess: the plan moved
	ChangeImplement: {ChangeReview, ChangeAssess},                     // back to assess: the plan moved before anything was applied
	ChangeReview:    {ChangeClosed},
	ChangeClosed:    {},
	ChangeCancelled: {},
}

// ChangeStates lists all states in the order a change passes them.
var ChangeStates = []ChangeState{ChangeNew, ChangeAssess, ChangeAuthorize, ChangeScheduled, ChangeImplement, ChangeReview, ChangeClosed, ChangeCancelled}

// ChangeMoves returns the states a change may go to from s.
func ChangeMoves(s ChangeState) []ChangeState { return slices.Clone(changeMoves[s]) }

// CanMoveChange reports whether a change may go from one state to another.
func CanMoveChange(from, to ChangeState) bool { return slices.Contains(changeMoves[from], to) }

// Terminal reports whether nothing can follow.
func (s ChangeState) Terminal() bool { return s == ChangeClosed || s == ChangeCancelled }

// Outcome is how a change ended.
type Outcome string

// Outcomes of a closed change, and the reasons of a cancelled one.
const (
	Successful           Outcome = "successful"
	SuccessfulWithIssues Outcome = "successful_with_issues"
	Unsuccessful         Outcome = "unsuccessful"

	Denied       Outcome = "denied"
	Withdrawn    Outcome = "withdrawn"
	Expired      Outcome = "expired"
	Superseded   Outcome = "superseded"
	MissedWindow Outcome = "missed_window"
)

// RunState is where the execution of a plan stands while its change is in
// implement.
type RunState string

// The states of a run.
const (
	RunQueued      RunState = "queued"
	RunRunning     RunState = "running"
	RunVerifying   RunState = "verifying"
	RunRollingBack RunState = "rolling_back"
	RunSucceeded   RunState = "succeeded"
	RunFailed      RunState = "failed"
	RunRolledBack  RunState = "rolled_back"
	RunHeld        RunState = "held" // a person must look: rollback failed or the outcome is unknown
)

// runMoves lists every legal move of a run.
var runMoves = map[RunState][]RunState{
	RunQueued:      {RunRunning, RunFailed},
	RunRunning:     {RunVerifying, RunRollingBack, RunFailed, RunHeld},
	RunVerifying:   {RunSucceeded, RunRollingBack, RunFailed, RunHeld}, // failed: did not help and cannot be undone
	RunRollingBack: {RunRolledBack, RunHeld},
	RunHeld:        {RunSucceeded, RunFailed, RunRollingBack},
	RunSucceeded:   {},
	RunFailed:      {},
	RunRolledBack:  {},
}

// CanMoveRun reports whether a run may go from one state to another.
func CanMoveRun(from, to RunState) bool { return slices.Contains(runMoves[from], to) }

// RunMoves returns the states a run may go to from s.
func RunMoves(s RunState) []RunState { return slices.Clone(runMoves[s]) }

// Final reports whether the run will not move again.
func (s RunState) Final() bool { return len(runMoves[s]) == 0 }

// Change is a controlled change to infrastructure.
type Change struct {
	ID          string      `json:"id"`
	Number      int64       `json:"number"`
	Type        ChangeType  `json:"type"`
	State       ChangeState `json:"state"`
	Outcome     Outcome     `json:"outcome,omitempty"`
	Title       string      `json:"title"`
	Reason      string      `json:"reason"`
	Runbook     string      `json:"runbook,omitempty"`
	Team        string      `json:"team,omitempty"`
	ResourceID  string      `json:"resource_id,omitempty"`
	Resource    string      `json:"resource,omitempty"`
	IncidentID  string      `json:"incident_id,omitempty"`
	RequestedBy string      `json:"requested_by"`        // principal id
	EditedBy    []string    `json:"edited_by,omitempty"` // principals who touched the plan
	Executor    string      `json:"executor"`
	Action      string      `json:"action"`
	Args        []string    `json:"args,omitempty"`
	Trigger     *Alert      `json:"trigger,omitempty"` // the alert that asked for it
	// RecommendationID and Analysis are set on a change that a recommendation
	// asked for.
	RecommendationID string    `json:"recommendation_id,omitempty"`
	Analysis         *Analysis `json:"analysis,omitempty"`

	Risk       float64     `json:"risk"` // 0..1; unknown is 1.0
	PlanID     string      `json:"plan_id,omitempty"`
	PlanDigest string      `json:"plan_digest,omitempty"`
	Revision   int         `json:"revision"` // counts plans
	Window     *Occurrence `json:"window,omitempty"`
	ExpiresAt  time.Time   `json:"expires_at,omitzero"` // of the approval request
	Policy     string      `json:"policy,omitempty"`    // digest of the policy it was decided under
	Approve    string      `json:"approve,omitempty"`   // why it needed no person, or who must approve
	Approvers  []Approvers `json:"approvers,omitempty"` // who must approve, in this order; empty: no person
	// ApproveIn is the only platform in which an approval of the plan that stands
	// counts, as the rule said when it was planned; empty: anywhere.
	ApproveIn    string        `json:"approve_in,omitempty"`
	Waiting      string        `json:"waiting,omitempty"` // why it does not go on, as last told
	Missed       int           `json:"missed,omitempty"`  // windows that passed without a start
	VerifyWithin time.Duration `json:"verify_within"`     // the cause must be gone this long after the run
	// Offered is the time cloud operations gave exactly this change. Until it is
	// over the change starts in it and in no other window.
	Offered *Occurrence `json:"offered,omitempty"`
	// BreakGlass lists the freezes that persons override for this change.
	BreakGlass []BreakGlass `json:"break_glass,omitempty"`
	// Review is what a person must sign before the change is closed; nil: nothing.
	Review *Review `json:"review,omitempty"`
	// SavingMonthly is the money it saves each month, as the recommendation
	// says; nil: unknown, and a policy that reads it matches nothing.
	SavingMonthly *float64   `json:"saving_monthly,omitempty"`
	Run           *Run       `json:"run,omitempty"`
	Verdict       *Verdict   `json:"verdict,omitempty"`
	Approvals     []Approval `json:"approvals,omitempty"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	ClosedAt      time.Time  `json:"closed_at,omitzero"`
	Version       int64      `json:"version"`
}

// Key returns the number people use, CHG-42.
func (c Change) Key() string { return fmt.Sprintf("CHG-%d", c.Number) }

// Automated reports whether the limits of automated changes hold for it: no
// person asked for it, and by its type no person need approve it.
func (c Change) Automated() bool {
	return c.Runbook != "" || c.RecommendationID != "" && c.Type == ChangeStandard
}

// Lock names what at most one unfinished run may hold: the resource, or the
// executor where no resource is known.
func (c Change) Lock() string {
	if c.ResourceID != "" {
		return "resource/" + c.ResourceID
	}
	return "executor/" + c.Executor
}

// Counts reports whether a decision is an approval of the plan that stands,
// given where it has to be given.
func (c Change) Counts(a Approval) bool {
	return a.Decision == Approved && a.Void == "" && c.PlanDigest != "" && a.Digest == c.PlanDigest && a.Revision == c.Revision &&
		(c.ApproveIn == "" || a.In() == c.ApproveIn)
}

// Subject returns the subject of the change's facts.
func (c Change) Subject() string { return ChangeSubject(c.ID) }

// ChangeSubject returns the fact subject of the change with this id.
func ChangeSubject(id string) string { return "change/" + id }

// Decision is what an approver said.
type Decision string

// The decisions.
const (
	Approved Decision = "approved"
	Refused  Decision = "denied"
)

// Approval is one person's decision about exactly one plan.
type Approval struct {
	ChangeID  string    `json:"change_id"`
	Principal string    `json:"principal"`     // id
	Name      string    `json:"name"`          // for people; a delegate's is "bob for anna"
	For       string    `json:"for,omitempty"` // id of the absent person in whose name it was decided
	Ref       string    `json:"ref,omitempty"` // the platform's id of the decision, PLATFORM:ID
	Decision  Decision  `json:"decision"`
	Digest    string    `json:"digest"`   // of the plan that was shown
	Revision  int       `json:"revision"` // of the plan that was shown
	Comment   string    `json:"comment,omitempty"`
	At        time.Time `json:"at"`
	Via       string    `json:"via"`            // api, cli, page, policy or the platform's name
	Void      string    `json:"void,omitempty"` // why it no longer counts
}

// DeskPlatform is the platform inside Fettle. What is decided on its pages, by
// its API or on the command line is decided there.
const DeskPlatform = "desk"

// In returns the platform in which it was decided. Whoever decides in Fettle
// says by themselves how they did, so Via alone tells nothing.
func (a Approval) In() string {
	if a.Ref == "" {
		return DeskPlatform
	}
	return a.Via
}

// Approvers asks for Count different persons: those named in People or, where
// nobody is named, those who hold Role.
type Approvers struct {
	Role   Role     `json:"role"` // empty where people are named
	People []string `json:"people,omitempty"`
	Count  int      `json:"count"`
}

// String returns what is asked in words, 2 × change-manager.
func (a Approvers) String() string {
	who := string(a.Role)
	if len(a.People) > 0 {
		who = "of " + strings.Join(a.People, ", ")
	}
	return fmt.Sprintf("%d × %s", a.Count, who)
}

// BreakGlass is the overriding of one freeze for one plan of one change. It is
// in force once a second person has confirmed it, and while Void is empty.
type BreakGlass struct {
	Freeze      string    `json:"freeze"`
	Reason      string    `json:"reason"`
	By          string    `json:"by"` // id
	ByName      string    `json:"by_name"`
	At          time.Time `json:"at"`
	Second      string    `json:"second,omitempty"` // id of who confirmed it; empty: nobody yet
	SecondName  string    `json:"second_name,omitempty"`
	SecondAt    time.Time `json:"second_at,omitzero"`
	SecondWords string    `json:"second_reason,omitempty"`
	Revision    int       `json:"revision"`       // of the plan it was asked for
	Void        string    `json:"void,omitempty"` // why it is no longer in force
}

// InForce reports whether the freeze does not deny the change.
func (b BreakGlass) InForce() bool { return b.Second != "" && b.Void == "" }

// Review is a look back at a change that a person must sign.
type Review struct {
	Why  string    `json:"why"`
	By   string    `json:"by,omitempty"` // id of who signed it; empty: nobody yet
	Name string    `json:"name,omitempty"`
	Note string    `json:"note,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// Run is one execution of one approved plan. A plan has at most one.
type Run struct {
	ID         string    `json:"id"`
	ChangeID   string    `json:"change_id"`
	PlanID     string    `json:"plan_id"`
	Digest     string    `json:"digest"`
	State      RunState  `json:"state"`
	Token      string    `json:"token"` // given to the tool, the same at every retry
	StartedAt  time.Time `json:"started_at,omitzero"`
	AppliedAt  time.Time `json:"applied_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Output     string    `json:"output,omitempty"` // redacted, bounded
	Error      string    `json:"error,omitempty"`
	Version    int64     `json:"version"`
}

// VerdictWord says whether a change helped.
type VerdictWord string

// The verdicts. Too little data is inconclusive, never unchanged.
const (
	Better       VerdictWord = "better"
	Unchanged    VerdictWord = "unchanged"
	Worse        VerdictWord = "worse"
	Inconclusive VerdictWord = "inconclusive"
)

// Verdict is the answer of verification.
type Verdict struct {
	ChangeID string        `json:"change_id"`
	RunID    string        `json:"run_id"`
	Word     VerdictWord   `json:"word"`
	Why      string        `json:"why"`
	Before   string        `json:"before,omitempty"` // what was measured before, for people
	After    string        `json:"after,omitempty"`
	Waited   time.Duration `json:"waited"` // how long after the run it was decided
	At       time.Time     `json:"at"`
	// What the comparison of metrics found; all zero where none was compared.
	// Of several metrics it is the one that decided.
	Metric    string  `json:"metric,omitempty"`    // with its labels
	Statistic string  `json:"statistic,omitempty"` // how it was judged, for people
	Effect    float64 `json:"effect,omitzero"`     // in robust standard deviations before
	Low       float64 `json:"low,omitzero"`        // interval of Effect, 90 %
	High      float64 `json:"high,omitzero"`
	P         float64 `json:"p,omitzero"`      // p-value, before the correction for several metrics
	Points    int     `json:"points,omitzero"` // observed after the run
	Judged    int     `json:"judged,omitzero"` // metrics that were judged together
}

// ParseChangeState returns the state named s.
func ParseChangeState(s string) (ChangeState, error) {
	if slices.Contains(ChangeStates, ChangeState(s)) {
		return ChangeState(s), nil
	}
	return "", fmt.Errorf("change state %q is none of new, assess, authorize, scheduled, implement, review, closed, cancelled: %w", s, ErrInvalid)
}
