package connector

import (
	"context"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Platform is all a driver must do. Anything more is a capability below. All
// methods may be called concurrently and must return soon after ctx ends.
//
// Every error wraps one class of ops:
//
//   - ErrThrottled (as *ops.Throttled) with the wait the platform asked for.
//   - ErrUnavailable when it did not answer or answered nonsense.
//   - ErrDenied for missing rights, ErrInvalid for refused content; the
//     message says in plain words what to do about it.
//   - ErrConflict when somebody else was first, ErrNotFound for an unknown ref.
//
// A write after which nobody knows whether it happened (a timeout, a cut
// connection, a 5xx or an HTML page in place of an answer) is wrapped in
// *ops.UnknownOutcome. AnswerError makes these from an HTTP answer.
type Platform interface {
	// Create opens a ticket. Calling it again with the same key returns the
	// same ref and opens nothing, also concurrently within this process; what
	// it returns then is the ticket as it stands, which may not equal f.
	// A platform without an idempotent create looks the key up first, and the
	// driver implements Settler.
	Create(ctx context.Context, key string, kind ops.TicketKind, f ops.TicketFields) (Copy, error)
	// Update writes the fields named in e and no others, then reads the ticket
	// again and returns it as it stands. It returns ErrConflict and writes
	// nothing when the ticket's version is not e.Version, and ErrInvalid when
	// the platform swallowed a field without an error, naming that field.
	// Where a state needs more fields at once (resolving needs code and note),
	// it sends them along from e.Want even if they are not named. A state of a
	// change request that lies several moves away is reached move by move, as
	// far as the platform lets it; ErrInvalid names the moves it would let us
	// make when none of them leads on. Ending a ticket ends the request for
	// approval that stands on it.
	Update(ctx context.Context, ref string, e Edit) (Copy, error)
	// AddNote appends a work note that people in the platform can read. The
	// driver leaves n.ID recognisable in it, so that Get and Changes can give
	// it back. It is not idempotent: after an unknown outcome the caller looks
	// for n.ID in Get first.
	AddNote(ctx context.Context, ref string, n ops.Note) error
	// Get returns the ticket as it stands, with all its notes. A ticket that
	// was deleted or merged away is ErrNotFound.
	Get(ctx context.Context, ref string) (Copy, error)
	// Find returns every ticket opened under key, oldest first; none is an
	// empty list and no error. It checks the key in what it got back, because
	// platforms ignore queries they do not understand.
	Find(ctx context.Context, key string) ([]Copy, error)
	// Changes returns tickets that were opened under any key of this
	// installation and moved at or after cursor, oldest move first, with the
	// cursor of the next call. The empty cursor means from now on: it returns
	// no tickets and a first cursor. A ticket may come again (an overlap window
	// is the driver's business and the caller dedupes), none may be left out.
	// A cursor only moves on over what was returned. When more is waiting it
	// returns a part; the caller asks again until no ticket comes with an
	// unchanged cursor.
	Changes(ctx context.Context, cursor string) ([]Copy, string, error)
}

// Copy is a ticket as its platform shows it, in our words.
type Copy struct {
	Ref     string         // the platform's identity: sys_id, ticket id
	Kind    ops.TicketKind // empty means a kind that works like an incident
	Key     string         // the key it was opened under
	Display string         // the number people know: INC0010001
	URL     string         // where a person opens it, http or https
	Fields  ops.TicketFields
	// Version changes with every write to the ticket: an ETag, a modification
	// count. It is compared, never ordered.
	Version   string
	CreatedAt time.Time
	UpdatedAt time.Time
	// UpdatedBy is who wrote last, as the platform names users.
	UpdatedBy string
	// Own tells that UpdatedBy is the integration's own user.
	Own bool
	// Notes are the work notes, oldest first: all of them from Get, from
	// Changes at least those added since the cursor, from Create, Update and
	// Find none or all. A note of ours carries the ID given to AddNote and Own,
	// somebody else's an ID of the platform's.
	Notes []Note

	// The rest is of change requests and comes from Get. A decision is read
	// before the plan that is returned with it.

	// PlanAt is when the platform took Fields.Plan, by its own clock.
	PlanAt time.Time
	// Asked tells that somebody can decide: a request for approval stands.
	Asked bool
	// Decisions are what people decided in the platform, oldest first, also on
	// requests that were withdrawn since.
	Decisions []Decision
}

// Note is a work note as the platform shows it.
type Note struct {
	ops.Note
	Own bool // we wrote it
}

// Field names one field of ops.TicketFields; a field of Extra is "extra."
// and its name.
type Field string

// The fields, in the order they are shown.
const (
	Title       Field = "title"
	Description Field = "description"
	State       Field = "state"
	Severity    Field = "severity"
	Group       Field = "group"
	Assignee    Field = "assignee"
	Resource    Field = "resource"
	ResolveCode Field = "resolve_code"
	ResolveNote Field = "resolve_note"

	Type         Field = "type"
	Risk         Field = "risk"
	PlannedStart Field = "planned_start"
	PlannedEnd   Field = "planned_end"
	ActualStart  Field = "actual_start"
	ActualEnd    Field = "actual_end"
	Plan         Field = "plan"
	PlanText     Field = "plan_text"
	Rollback     Field = "rollback"

	extraPrefix = "extra."
)

// Edit is what to write to a ticket.
type Edit struct {
	Want    ops.TicketFields // the whole wanted content
	Changed []Field          // what of it to write
	Version string           // the version the writer has seen
}

// Normaliser is implemented by drivers whose platform cannot show every wanted
// value as it is: titles are cut, closed is shown as resolved, a field does not
// exist. Normal returns f as the platform would show it after f was written
// over seen, so that wanted and seen can be compared; a field the platform does
// not carry is given the value it has in seen. It does no I/O.
type Normaliser interface {
	Normal(f, seen ops.TicketFields) ops.TicketFields
}

// Settler is implemented by drivers whose platform has no idempotent create.
// After a Create with an unknown outcome, the caller looks for the key no
// sooner than SettleTime later and only then creates again. A driver that does
// not implement it may be asked to create again at once.
type Settler interface {
	SettleTime() time.Duration
}

// KindSettler is implemented in place of Settler by drivers whose platform has
// an idempotent create for some kinds of ticket only; zero means it has one.
type KindSettler interface {
	SettleTimeOf(kind ops.TicketKind) time.Duration
}

// Checker is implemented by drivers that can say what is wrong with a
// connection: address, credentials, rights, missing custom fields. Check
// writes nothing to the platform; the error joins everything found, each with
// its fix. Without it, Conn.Check pulls changes from now on.
type Checker interface {
	Check(ctx context.Context) error
}
