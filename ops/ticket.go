package ops

import (
	"regexp"
	"strconv"
	"time"
)

// TicketKind is what a work item is in its platform.
type TicketKind string

// The kinds of ticket.
const (
	TicketEvent         TicketKind = "event"
	TicketAlert         TicketKind = "alert"
	TicketIncident      TicketKind = "incident"
	TicketChangeRequest TicketKind = "change_request"
	TicketWorkOrder     TicketKind = "work_order"
)

// Ticket is a work item in a platform and what we last saw of it.
type Ticket struct {
	ID       string     `json:"id"`
	Kind     TicketKind `json:"kind"`
	Platform string     `json:"platform"` // the configured name
	// Key is ours and deterministic: the same incident on the same platform
	// always has the same key, so a retry cannot open a second ticket.
	Key string `json:"key"`
	// Ref is the platform's identity (sys_id, ticket id); empty until created.
	Ref string `json:"ref,omitempty"`
	// Display is the number people know in the platform, INC0010001.
	Display string `json:"display,omitempty"`
	URL     string `json:"url,omitempty"`
	// Subject is the record it belongs to: incident/<id> or change/<id>.
	Subject string `json:"subject"`

	Want     TicketFields `json:"want"`          // what we want the platform to show
	Seen     TicketFields `json:"seen,omitzero"` // what the platform showed last, in our words
	SeenAt   time.Time    `json:"seen_at,omitzero"`
	Sync     SyncState    `json:"sync"`
	SyncNote string       `json:"sync_note,omitempty"` // why it is not in sync, for people
	NotesOut int          `json:"notes_out"`           // work notes delivered so far
	Version  int64        `json:"version"`
	Work     TicketWork   `json:"-"`
}

// TicketWork is the bookkeeping behind keeping a ticket and its platform
// equal. Nobody is shown it.
type TicketWork struct {
	// Asked is what the record it belongs to asked for last. Only a field that
	// is asked for anew goes into Want, so that what a person set in the
	// platform stands until then.
	Asked TicketFields `json:"asked,omitzero"`
	// Sent is what we sent last, whether or not an answer came: the platform
	// showing it is an echo and nobody's edit.
	Sent TicketFields `json:"sent,omitzero"`
	// Late is what was sent without an answer and not seen when we looked: until
	// LateUntil it may still come about there, over what was sent since.
	Late        TicketFields `json:"late,omitzero"`
	LateUntil   time.Time    `json:"late_until,omitzero"`
	SeenVersion string       `json:"seen_version,omitempty"` // the platform's version of Seen
	WantAt      time.Time    `json:"want_at,omitzero"`       // when Want last changed
	// CreateSentAt is set before a create is sent and cleared by its answer: as
	// long as it is set, nobody knows whether the ticket exists.
	CreateSentAt time.Time `json:"create_sent_at,omitzero"`
	// Turn counts the attempts and the looks at the platform, so that an older
	// look never overwrites a newer one.
	Turn  int64  `json:"turn"`
	Muted string `json:"muted,omitempty"` // window a note was last written about
	// Troubled is the class of the trouble people were told of, empty when all is well.
	Troubled string         `json:"troubled,omitempty"`
	Approval TicketApproval `json:"approval,omitzero"`
	// Files are the names of files to attach; Attached is how many of them are.
	Files    []string `json:"files,omitempty"`
	Attached int      `json:"attached,omitempty"`
	// Tasks are those of the plan that stands, in order, with what earlier plans
	// left to end.
	Tasks []TicketTask `json:"tasks,omitempty"`
	// Offered is the last window a person gave in the ticket that was told.
	Offered string `json:"offered,omitempty"`
	// Compared are the planned times last compared with the platform's calendar.
	Compared string `json:"compared,omitempty"`
	// Dirty tells that a SyncTicket command is queued or at work.
	Dirty bool `json:"dirty"`
}

// TicketApproval is how far a ticket's request for approval has come. Each is
// the mark of a plan, empty for none.
type TicketApproval struct {
	Want string `json:"want,omitempty"` // the plan that waits for approval
	Sent string `json:"sent,omitempty"` // the plan for which a request may stand in the platform
	Done bool   `json:"done,omitempty"` // that it stands has been answered
}

// TicketFields is the common content of a ticket, in our words. Drivers map it
// to and from the platform's own fields.
type TicketFields struct {
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	State       string            `json:"state,omitempty"` // an IncidentState; of change requests a ChangeState
	Severity    Severity          `json:"severity,omitempty"`
	Group       string            `json:"group,omitempty"` // assignment group, by name
	Assignee    string            `json:"assignee,omitempty"`
	Resource    string            `json:"resource,omitempty"` // configuration item, by name
	ResolveCode string            `json:"resolve_code,omitempty"`
	ResolveNote string            `json:"resolve_note,omitempty"`
	Extra       map[string]string `json:"extra,omitempty"` // platform fields the field map sets, by platform name

	// The rest is of change requests, the planned times of work orders as well.
	// Times are whole seconds.

	Type         ChangeType `json:"type,omitempty"` // decided when the ticket is opened
	Risk         RiskWord   `json:"risk,omitempty"`
	PlannedStart time.Time  `json:"planned_start,omitzero"`
	PlannedEnd   time.Time  `json:"planned_end,omitzero"`
	ActualStart  time.Time  `json:"actual_start,omitzero"`
	ActualEnd    time.Time  `json:"actual_end,omitzero"`
	Plan         string     `json:"plan,omitempty"` // which plan stands to be approved: a PlanMark
	PlanText     string     `json:"plan_text,omitempty"`
	Rollback     string     `json:"rollback,omitempty"` // what undoes it
}

// RiskWord is a risk as ticket platforms name it.
type RiskWord string

// The risks, the greatest first.
const (
	RiskVeryHigh RiskWord = "very_high"
	RiskHigh     RiskWord = "high"
	RiskModerate RiskWord = "moderate"
	RiskLow      RiskWord = "low"
)

// RiskWords lists the risks, the greatest first.
var RiskWords = []RiskWord{RiskVeryHigh, RiskHigh, RiskModerate, RiskLow}

// RiskOf returns the word for a risk between 0 and 1: each has a quarter.
func RiskOf(risk float64) RiskWord {
	for i, least := range []float64{0.75, 0.5, 0.25} {
		if risk >= least {
			return RiskWords[i]
		}
	}
	return RiskLow
}

// PlanMark names exactly one plan of a change on its ticket: the digest, an @
// and the revision.
func PlanMark(digest string, revision int) string {
	if digest == "" {
		return ""
	}
	return digest + "@" + strconv.Itoa(revision)
}

var planMark = regexp.MustCompile(`^([0-9a-f]{64})@([1-9][0-9]{0,8})$`)

// ParsePlanMark returns the plan a mark names; ok is false for anything that
// is none.
func ParsePlanMark(mark string) (digest string, revision int, ok bool) {
	m := planMark.FindStringSubmatch(mark)
	if m == nil {
		return "", 0, false
	}
	revision, err := strconv.Atoi(m[2])
	return m[1], revision, err == nil
}

// SyncState says how a ticket and its platform stand to each other.
type SyncState string

// The sync states. Unknown is shown as such, never as in sync.
const (
	SyncPending  SyncState = "pending"  // our edit waits to go out
	SyncOK       SyncState = "in_sync"  // re-read and equal
	SyncConflict SyncState = "conflict" // both sides changed and policy needs a person
	SyncFailed   SyncState = "failed"   // refused; the note says why and what to do
	SyncUnknown  SyncState = "unknown"  // not checked since the platform last failed to answer
)

// Note is one work note we append to a ticket, or one a person wrote there.
type Note struct {
	ID     string    `json:"id"` // stable, so that it is delivered once
	At     time.Time `json:"at"`
	Author string    `json:"author"`
	Text   string    `json:"text"`
}

// TicketNote is a work note of one ticket on its way out, or one read there.
type TicketNote struct {
	Note
	TicketID string
	Seq      int64 // order of delivery, set by the store
	State    NoteState
	SentAt   time.Time // of the last attempt
}

// NoteState says how far a work note has come.
type NoteState string

// The states of a note.
const (
	NoteWaiting   NoteState = "waiting"
	NoteSending   NoteState = "sending" // sent, no answer yet: look before sending again
	NoteDelivered NoteState = "delivered"
	NoteRead      NoteState = "read" // somebody else's, taken into account
)
