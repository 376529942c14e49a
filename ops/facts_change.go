package ops

import "time"

// ApprovalSeenBody tells what an approver decided in a platform. Whether it
// counts is decided by the room change.
type ApprovalSeenBody struct {
	ChangeID string   `json:"change_id"`
	TicketID string   `json:"ticket_id"`
	Platform string   `json:"platform"`
	Display  string   `json:"display"`
	Approval string   `json:"approval"` // the platform's id of the decision: one decision is told once
	User     string   `json:"user"`     // as the platform names users
	Person   string   `json:"person"`   // the mapped person's name, empty when unmapped
	Decision Decision `json:"decision"`
	Comment  string   `json:"comment,omitempty"`
	// Digest and Revision are those that stood on the ticket when it was read
	// again with the decision; WrittenAt is when the platform took them, by its
	// own clock, and DecidedAt when the approver decided, by the same clock.
	Digest    string    `json:"digest"`
	Revision  int       `json:"revision"`
	WrittenAt time.Time `json:"written_at"`
	DecidedAt time.Time `json:"decided_at"`
}

// WithdrawalSeenBody tells that a person cancelled a change's ticket in a platform.
type WithdrawalSeenBody struct {
	ChangeID string    `json:"change_id"`
	TicketID string    `json:"ticket_id"`
	Platform string    `json:"platform"`
	Display  string    `json:"display"`
	User     string    `json:"user"`
	Person   string    `json:"person"` // empty when unmapped
	Why      string    `json:"why,omitempty"`
	At       time.Time `json:"at"`
}

// WindowOfferedBody tells the time that cloud operations gave a change, in its
// ticket or in a work order. The same window offered again changes nothing.
type WindowOfferedBody struct {
	ChangeID string    `json:"change_id"`
	TicketID string    `json:"ticket_id"`
	Platform string    `json:"platform"`
	Display  string    `json:"display"`
	User     string    `json:"user"`
	Person   string    `json:"person"` // empty when unmapped
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
}

// ChangeRaisedBody tells of a new change and what asked for it.
type ChangeRaisedBody struct {
	Change Change `json:"change"`
	Why    string `json:"why"`
}

// PlanMadeBody tells the plan an executor made.
type PlanMadeBody struct {
	Plan Plan `json:"plan"`
}

// PlanFailedBody tells that no plan could be made.
type PlanFailedBody struct {
	ChangeID string `json:"change_id"`
	Error    string `json:"error"`
}

// PlanMovedBody tells that the plan made in the window is not the approved one.
type PlanMovedBody struct {
	ChangeID string `json:"change_id"`
	RunID    string `json:"run_id"`
	Approved string `json:"approved"` // digest
	Plan     Plan   `json:"plan"`     // what it is now
	Moved    string `json:"moved"`    // what differs, for people
}

// ApprovalRequestedBody tells which plan waits for whom.
type ApprovalRequestedBody struct {
	Change Change `json:"change"`
	Digest string `json:"digest"`
	Text   string `json:"text"` // the plan as it is shown
	Why    string `json:"why"`  // who must approve, and by which policy
}

// ApprovalGivenBody tells a decision.
type ApprovalGivenBody struct {
	Approval Approval `json:"approval"`
}

// ApprovalVoidedBody tells that a decision no longer counts.
type ApprovalVoidedBody struct {
	ChangeID string `json:"change_id"`
	Digest   string `json:"digest"`
	Revision int    `json:"revision"` // approvals up to this one are void
	Why      string `json:"why"`
}

// ChangeScheduledBody tells the window a change will run in.
type ChangeScheduledBody struct {
	Change Change `json:"change"`
	Why    string `json:"why"`
}

// ChangeWaitingBody tells why a change did not start.
type ChangeWaitingBody struct {
	ChangeID string `json:"change_id"`
	Why      string `json:"why"`
}

// RunStartedBody tells that an approved plan starts inside its window.
type RunStartedBody struct {
	Run    Run        `json:"run"`
	Window Occurrence `json:"window"`
	Why    string     `json:"why"`
}

// RunMovedBody tells that a run went from one state to another, and why. The
// change carries the run as it stands now.
type RunMovedBody struct {
	Change Change   `json:"change"`
	From   RunState `json:"from"`
	Why    string   `json:"why"`
}

// ChangeEditedBody tells that what the change does is decided anew: by a
// person who edited it, or because the measured value asks for another step.
// Approvals of the earlier plan are void.
type ChangeEditedBody struct {
	Change Change `json:"change"`
	Why    string `json:"why"`
}

// PlatformWordVoidBody tells that what somebody said in a platform does not
// count, and why. It changes nothing.
type PlatformWordVoidBody struct {
	ChangeID string `json:"change_id"`
	Platform string `json:"platform"`
	Display  string `json:"display"`
	User     string `json:"user"`
	Person   string `json:"person,omitempty"` // empty when unmapped
	What     string `json:"what"`             // approval, denial, withdrawal or window
	Why      string `json:"why"`
	// Approval is the decision as it was seen, void from the beginning; nil for other words.
	Approval *Approval `json:"approval,omitempty"`
}

// WindowTakenBody tells that a change runs in the time that cloud operations offered.
type WindowTakenBody struct {
	Change Change `json:"change"` // with Offered
	Why    string `json:"why"`
}

// BreakGlassAskedBody tells that a person wants a freeze overridden for one
// change and that a second person must confirm it.
type BreakGlassAskedBody struct {
	Change Change     `json:"change"`
	Glass  BreakGlass `json:"glass"`
	Roles  []Role     `json:"roles"` // whose holders may confirm
}

// GlassBrokenBody tells that a second person confirmed it: the freeze denies
// the change no longer, and its review must be signed.
type GlassBrokenBody struct {
	Change Change     `json:"change"`
	Glass  BreakGlass `json:"glass"`
}

// RunBeganBody tells that the plan made in the window is the approved one, and
// that the tool is handed it now.
type RunBeganBody struct {
	Run    Run    `json:"run"`
	Change Change `json:"change"`
}

// RunAppliedBody tells that the tool did what the plan said.
type RunAppliedBody struct {
	Run    Run    `json:"run"`
	Change Change `json:"change"`
}

// RunFailedBody tells that the tool failed.
type RunFailedBody struct {
	Run     Run    `json:"run"`
	Error   string `json:"error"`
	Unknown bool   `json:"unknown,omitempty"` // nobody knows whether it happened
}

// RunRolledBackBody tells that a run was undone, or that undoing it failed.
type RunRolledBackBody struct {
	Run   Run    `json:"run"`
	Error string `json:"error,omitempty"` // empty when it worked
}

// VerdictGivenBody tells whether the change helped.
type VerdictGivenBody struct {
	Verdict Verdict `json:"verdict"`
}

// ChangeReviewedBody tells that the verdict is final.
type ChangeReviewedBody struct {
	Change Change `json:"change"`
	Why    string `json:"why"`
}

// ChangeEndedBody tells how a change ended.
type ChangeEndedBody struct {
	Change Change `json:"change"`
	Why    string `json:"why"`
}

func (ApprovalSeenBody) FactKind() FactKind      { return ApprovalSeen }
func (WithdrawalSeenBody) FactKind() FactKind    { return WithdrawalSeen }
func (WindowOfferedBody) FactKind() FactKind     { return WindowOffered }
func (ChangeRaisedBody) FactKind() FactKind      { return ChangeRaised }
func (PlanMadeBody) FactKind() FactKind          { return PlanMade }
func (PlanFailedBody) FactKind() FactKind        { return PlanFailed }
func (PlanMovedBody) FactKind() FactKind         { return PlanMoved }
func (ApprovalRequestedBody) FactKind() FactKind { return ApprovalRequested }
func (ApprovalGivenBody) FactKind() FactKind     { return ApprovalGiven }
func (ApprovalVoidedBody) FactKind() FactKind    { return ApprovalVoided }
func (ChangeScheduledBody) FactKind() FactKind   { return ChangeScheduledAt }
func (ChangeWaitingBody) FactKind() FactKind     { return ChangeWaiting }
func (RunStartedBody) FactKind() FactKind        { return RunStarted }
func (RunMovedBody) FactKind() FactKind          { return RunMoved }
func (ChangeEditedBody) FactKind() FactKind      { return ChangeEdited }
func (RunBeganBody) FactKind() FactKind          { return RunBegan }
func (RunAppliedBody) FactKind() FactKind        { return RunApplied }
func (RunFailedBody) FactKind() FactKind         { return RunBroke }
func (RunRolledBackBody) FactKind() FactKind     { return RunUndone }
func (VerdictGivenBody) FactKind() FactKind      { return VerdictGiven }
func (ChangeReviewedBody) FactKind() FactKind    { return ChangeReviewed }
func (ChangeEndedBody) FactKind() FactKind       { return ChangeEnded }
func (PlatformWordVoidBody) FactKind() FactKind  { return PlatformWordVoid }
func (WindowTakenBody) FactKind() FactKind       { return WindowTaken }
func (BreakGlassAskedBody) FactKind() FactKind   { return BreakGlassAsked }
func (GlassBrokenBody) FactKind() FactKind       { return GlassBroken }
