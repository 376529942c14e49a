package ops

import (
	"slices"
	"time"
)

// FactKind names what happened, in the past tense.
type FactKind string

// The kinds of fact. The table Facts says who tells and who hears each.
const (
	IncidentOpened       FactKind = "IncidentOpened"
	IncidentGrew         FactKind = "IncidentGrew"
	IncidentShrank       FactKind = "IncidentShrank"
	IncidentResolvedFact FactKind = "IncidentResolved"
	IncidentReopenedFact FactKind = "IncidentReopened"
	IncidentMoved        FactKind = "IncidentMoved"
	IncidentCommented    FactKind = "IncidentCommented"

	TicketOpened    FactKind = "TicketOpened"
	TicketUpdated   FactKind = "TicketUpdated"
	TicketEdited    FactKind = "TicketEdited"
	TicketTroubled  FactKind = "TicketTroubled"
	TicketDuplicate FactKind = "TicketDuplicateMerged"
	ApprovalSeen    FactKind = "ApprovalSeen"
	WithdrawalSeen  FactKind = "WithdrawalSeen"
	WindowOffered   FactKind = "WindowOffered"

	ChangeRaised      FactKind = "ChangeRaised"
	ApprovalRequested FactKind = "ApprovalRequested"
	ApprovalGiven     FactKind = "ApprovalGiven"
	ApprovalVoided    FactKind = "ApprovalVoided"
	ChangeScheduledAt FactKind = "ChangeScheduled"
	ChangeWaiting     FactKind = "ChangeWaiting"
	RunStarted        FactKind = "RunStarted"
	RunMoved          FactKind = "RunMoved"
	ChangeEdited      FactKind = "ChangeEdited"
	PlatformWordVoid  FactKind = "PlatformWordVoid"
	WindowTaken       FactKind = "WindowTaken"
	BreakGlassAsked   FactKind = "BreakGlassAsked"
	GlassBroken       FactKind = "GlassBroken"
	ChangeReviewed    FactKind = "ChangeReviewed"
	ChangeEnded       FactKind = "ChangeEnded"

	RecommendationMoved FactKind = "RecommendationMoved"

	NotificationResent FactKind = "NotificationResent"

	PlanMade     FactKind = "PlanMade"
	PlanFailed   FactKind = "PlanFailed"
	PlanMoved    FactKind = "PlanMoved"
	RunBegan     FactKind = "RunBegan"
	RunApplied   FactKind = "RunApplied"
	RunBroke     FactKind = "RunFailed"
	RunUndone    FactKind = "RunRolledBack"
	VerdictGiven FactKind = "VerdictGiven"

	ResourceMerged   FactKind = "ResourceMerged"
	TokenCreated     FactKind = "TokenCreated"
	TokenRevoked     FactKind = "TokenRevoked"
	ConfigLoaded     FactKind = "ConfigLoaded"
	ExecutionStopped FactKind = "ExecutionStopped"
	ExecutionResumed FactKind = "ExecutionResumed"
	BacklogCounted   FactKind = "BacklogCounted"
)

// Route says which room tells a kind of fact and which rooms hear it.
type Route struct {
	Kind  FactKind
	Tells []string
	Hears []string
}

// Facts is the table of who tells and who hears what. archtest fails when a
// room tells or hears a fact that is not listed here. Facts that run against
// the arrow of the loop (platform edit, verdict, run steps, spans) need an ADR
// beyond those named in the architecture.
var Facts = []Route{
	{IncidentOpened, []string{"correlate"}, []string{"ticket", "change", "detect", "notify"}},
	{IncidentGrew, []string{"correlate"}, []string{"ticket", "change", "notify"}},
	{IncidentShrank, []string{"correlate"}, []string{"ticket"}},
	{IncidentResolvedFact, []string{"correlate"}, []string{"ticket", "verify", "detect", "notify"}},
	{IncidentReopenedFact, []string{"correlate"}, []string{"ticket", "change", "detect", "notify"}},
	{IncidentMoved, []string{"correlate"}, []string{"ticket", "detect", "notify"}},
	{IncidentCommented, []string{"correlate"}, []string{"ticket"}},

	{TicketOpened, []string{"ticket"}, nil},
	{TicketUpdated, []string{"ticket"}, nil},
	{TicketEdited, []string{"ticket"}, []string{"correlate"}},
	{TicketTroubled, []string{"ticket"}, nil},
	{TicketDuplicate, []string{"ticket"}, nil},
	{ApprovalSeen, []string{"ticket"}, []string{"change"}},
	{WithdrawalSeen, []string{"ticket"}, []string{"change"}},
	{WindowOffered, []string{"ticket"}, []string{"change"}},

	{ChangeRaised, []string{"change"}, []string{"ticket", "execute"}},
	{ApprovalRequested, []string{"change"}, []string{"ticket", "notify"}},
	{ApprovalGiven, []string{"change"}, []string{"ticket", "execute"}},
	{ApprovalVoided, []string{"change"}, []string{"ticket", "execute"}},
	{ChangeScheduledAt, []string{"change"}, []string{"ticket", "execute"}},
	{ChangeWaiting, []string{"change"}, []string{"ticket"}},
	{RunStarted, []string{"change"}, []string{"ticket", "detect", "notify"}},
	{RunMoved, []string{"change"}, []string{"detect", "execute", "notify"}},
	{ChangeEdited, []string{"change"}, []string{"ticket"}},
	{PlatformWordVoid, []string{"change"}, []string{"ticket"}},
	{WindowTaken, []string{"change"}, []string{"ticket"}},
	{BreakGlassAsked, []string{"change"}, []string{"ticket", "notify"}},
	{GlassBroken, []string{"change"}, []string{"ticket", "notify"}},
	{ChangeReviewed, []string{"change"}, []string{"ticket"}},
	{ChangeEnded, []string{"change"}, []string{"ticket", "verify", "detect", "execute", "notify"}},

	{RecommendationMoved, []string{"change"}, nil},

	{NotificationResent, []string{"notify"}, nil},

	{PlanMade, []string{"execute"}, []string{"change"}},
	{PlanFailed, []string{"execute"}, []string{"change"}},
	{PlanMoved, []string{"execute"}, []string{"change"}},
	{RunBegan, []string{"execute"}, []string{"ticket"}},
	{RunApplied, []string{"execute"}, []string{"change", "verify", "ticket"}},
	{RunBroke, []string{"execute"}, []string{"change", "ticket", "notify"}},
	{RunUndone, []string{"execute"}, []string{"change", "ticket", "notify"}},
	{VerdictGiven, []string{"verify"}, []string{"change", "ticket", "notify"}},

	{ResourceMerged, []string{"store"}, nil},
	{TokenCreated, []string{"store"}, nil},
	{TokenRevoked, []string{"store"}, nil},
	{ConfigLoaded, []string{"app"}, nil},
	{ExecutionStopped, []string{"change"}, []string{"notify"}},
	{ExecutionResumed, []string{"change"}, []string{"notify"}},
	{BacklogCounted, []string{"analytics"}, nil},
}

// Heard returns the kinds of fact a room hears, in table order.
func Heard(room string) []FactKind {
	var out []FactKind
	for _, r := range Facts {
		if slices.Contains(r.Hears, room) {
			out = append(out, r.Kind)
		}
	}
	return out
}

// IncidentOpenedBody tells of a new incident and why it is one of its own.
type IncidentOpenedBody struct {
	Incident Incident `json:"incident"`
	Alerts   []Alert  `json:"alerts"`          // the members that opened it, at most MaxFactAlerts
	Count    int      `json:"count"`           // all members that opened it
	Joined   Span     `json:"joined,omitzero"` // messages by which they did
	Why      string   `json:"why"`
}

// MaxFactAlerts bounds the alerts a fact carries. The rest are counted, and are
// those members whose Joined lies in the fact's.
const MaxFactAlerts = 20

// Span is a stretch of the signal log, both ends within: the messages by which
// alerts joined an incident.
type Span struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// With returns the span that reaches to a later message too.
func (s Span) With(seq int64) Span {
	if s.First == 0 {
		s.First = seq
	}
	s.Last = seq
	return s
}

// IncidentGrewBody tells that alerts joined or that the severity rose or fell.
type IncidentGrewBody struct {
	Incident Incident `json:"incident"`
	Alerts   []Alert  `json:"alerts"`
	Count    int      `json:"count"`
	Joined   Span     `json:"joined,omitzero"` // messages by which they did
	Was      Severity `json:"was"`             // severity before
	Why      string   `json:"why"`
}

// IncidentShrankBody tells that some members resolved while others still fire.
type IncidentShrankBody struct {
	Incident Incident `json:"incident"`
	Count    int      `json:"count"`
	Was      Severity `json:"was"`
	Why      string   `json:"why"`
}

// IncidentResolvedBody tells that the last member resolved.
type IncidentResolvedBody struct {
	Incident Incident `json:"incident"`
	Why      string   `json:"why"`
}

// IncidentReopenedBody tells that a resolved incident fires again.
type IncidentReopenedBody struct {
	Incident Incident `json:"incident"`
	Alerts   []Alert  `json:"alerts"`
	Count    int      `json:"count"`
	Joined   Span     `json:"joined,omitzero"` // messages by which they did
	Why      string   `json:"why"`
}

// IncidentMovedBody tells that a person moved the incident, here or in a platform.
type IncidentMovedBody struct {
	Incident Incident      `json:"incident"`
	From     IncidentState `json:"from"`
	Why      string        `json:"why"`
	Via      string        `json:"via"` // api, cli, page or the platform's name: that platform needs no echo
}

// IncidentCommentedBody tells that a person wrote something.
type IncidentCommentedBody struct {
	Note Note   `json:"note"`
	Via  string `json:"via"`
}

// TicketOpenedBody tells that a work item exists in a platform.
type TicketOpenedBody struct {
	TicketID string `json:"ticket_id"`
	Platform string `json:"platform"`
	Ref      string `json:"ref"`
	Display  string `json:"display"`
	URL      string `json:"url,omitempty"`
	Found    bool   `json:"found,omitempty"` // an earlier create, whose answer was lost, had made it
}

// TicketUpdatedBody tells which fields of the platform's copy we made equal.
type TicketUpdatedBody struct {
	TicketID string   `json:"ticket_id"`
	Platform string   `json:"platform"`
	Display  string   `json:"display"`
	Fields   []string `json:"fields"`
	Notes    int      `json:"notes,omitempty"`
}

// TicketEditedBody tells what a person changed in a platform.
type TicketEditedBody struct {
	TicketID string        `json:"ticket_id"`
	Platform string        `json:"platform"`
	Display  string        `json:"display"`
	By       string        `json:"by"`     // the platform's user
	Person   string        `json:"person"` // the mapped principal's name, empty when unmapped
	Edits    []FieldEdit   `json:"edits,omitempty"`
	Notes    []Note        `json:"notes,omitempty"`
	State    IncidentState `json:"state,omitempty"` // the state the edit asks for, empty when it did not change
}

// FieldEdit is one field a person changed.
type FieldEdit struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// TicketTroubledBody tells that a platform refused an edit, or that its answer is overdue.
type TicketTroubledBody struct {
	TicketID string `json:"ticket_id"`
	Platform string `json:"platform"`
	Class    string `json:"class"`
	Error    string `json:"error"` // redacted
}

// TicketDuplicateBody tells that the audit found two work items for one cause and closed one.
type TicketDuplicateBody struct {
	TicketID string `json:"ticket_id"`
	Platform string `json:"platform"`
	Kept     string `json:"kept"`
	Closed   string `json:"closed"`
}

// RecommendationMovedBody tells that a recommendation came, or went from one
// state to another, and why.
type RecommendationMovedBody struct {
	Recommendation Recommendation      `json:"recommendation"` // without Raw
	From           RecommendationState `json:"from,omitempty"` // empty: it came
	Why            string              `json:"why"`
	Via            string              `json:"via,omitempty"` // page, api, cli when a person did it
}

// NotificationResentBody tells that a person had a notification sent again
// that was given up. Its subject is what the notification is about.
type NotificationResentBody struct {
	NotificationID string `json:"notification_id"`
	Channel        string `json:"channel"`
	Title          string `json:"title"`
	Error          string `json:"error"` // why it was given up
	Attempts       int    `json:"attempts"`
	Via            string `json:"via"` // api, cli or page
}

// ResourceMergedBody tells that two resources are one.
type ResourceMergedBody struct {
	Kept   string `json:"kept"`
	Merged string `json:"merged"`
	Rule   string `json:"rule"`
}

// TokenBody tells that a token was made.
type TokenBody struct {
	TokenID   string `json:"token_id"`
	Principal string `json:"principal"`
	Roles     []Role `json:"roles,omitempty"`
}

// TokenRevokedBody tells that a token no longer opens anything.
type TokenRevokedBody TokenBody

// ConfigLoadedBody tells which configuration is in force.
type ConfigLoadedBody struct {
	Digest string `json:"digest"`
	Source string `json:"source"`
}

// ExecutionSwitchBody tells that all execution was stopped.
type ExecutionSwitchBody struct {
	Reason string `json:"reason"`
}

// ExecutionResumedBody tells that execution may go on.
type ExecutionResumedBody ExecutionSwitchBody

// BacklogCountedBody tells a team's backlog at its local time of day.
type BacklogCountedBody struct {
	Team  string    `json:"team"`
	Day   string    `json:"day"` // local date
	At    time.Time `json:"at"`  // the instant it stands for
	Count int       `json:"backlog_incident_count"`
}

// FactKind names the fact each body belongs to.
func (IncidentOpenedBody) FactKind() FactKind      { return IncidentOpened }
func (IncidentGrewBody) FactKind() FactKind        { return IncidentGrew }
func (IncidentShrankBody) FactKind() FactKind      { return IncidentShrank }
func (IncidentResolvedBody) FactKind() FactKind    { return IncidentResolvedFact }
func (IncidentReopenedBody) FactKind() FactKind    { return IncidentReopenedFact }
func (IncidentMovedBody) FactKind() FactKind       { return IncidentMoved }
func (IncidentCommentedBody) FactKind() FactKind   { return IncidentCommented }
func (TicketOpenedBody) FactKind() FactKind        { return TicketOpened }
func (TicketUpdatedBody) FactKind() FactKind       { return TicketUpdated }
func (TicketEditedBody) FactKind() FactKind        { return TicketEdited }
func (TicketTroubledBody) FactKind() FactKind      { return TicketTroubled }
func (TicketDuplicateBody) FactKind() FactKind     { return TicketDuplicate }
func (RecommendationMovedBody) FactKind() FactKind { return RecommendationMoved }
func (NotificationResentBody) FactKind() FactKind  { return NotificationResent }
func (ResourceMergedBody) FactKind() FactKind      { return ResourceMerged }
func (TokenBody) FactKind() FactKind               { return TokenCreated }
func (TokenRevokedBody) FactKind() FactKind        { return TokenRevoked }
func (ConfigLoadedBody) FactKind() FactKind        { return ConfigLoaded }
func (ExecutionSwitchBody) FactKind() FactKind     { return ExecutionStopped }
func (ExecutionResumedBody) FactKind() FactKind    { return ExecutionResumed }
func (BacklogCountedBody) FactKind() FactKind      { return BacklogCounted }
