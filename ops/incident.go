package ops

import (
	"fmt"
	"slices"
	"time"
)

// IncidentState is where an incident stands.
type IncidentState string

// The states of an incident, as the field knows them.
const (
	IncidentNew        IncidentState = "new"
	IncidentInProgress IncidentState = "in_progress"
	IncidentOnHold     IncidentState = "on_hold"
	IncidentResolved   IncidentState = "resolved"
	IncidentClosed     IncidentState = "closed"
	IncidentCancelled  IncidentState = "cancelled"
)

// incidentMoves lists every legal move of an incident.
var incidentMoves = map[IncidentState][]IncidentState{
	IncidentNew:        {IncidentInProgress, IncidentOnHold, IncidentResolved, IncidentCancelled},
	IncidentInProgress: {IncidentOnHold, IncidentResolved, IncidentCancelled},
	IncidentOnHold:     {IncidentInProgress, IncidentResolved, IncidentCancelled},
	IncidentResolved:   {IncidentInProgress, IncidentClosed},
	IncidentClosed:     {},
	IncidentCancelled:  {},
}

// CanMoveIncident reports whether an incident may go from one state to another.
func CanMoveIncident(from, to IncidentState) bool { return slices.Contains(incidentMoves[from], to) }

// Open reports whether work on the incident is still expected.
func (s IncidentState) Open() bool {
	return s == IncidentNew || s == IncidentInProgress || s == IncidentOnHold
}

// ParseIncidentState returns the state named s.
func ParseIncidentState(s string) (IncidentState, error) {
	if _, ok := incidentMoves[IncidentState(s)]; !ok {
		return "", fmt.Errorf("incident state %q is none of new, in_progress, on_hold, resolved, closed, cancelled: %w", s, ErrInvalid)
	}
	return IncidentState(s), nil
}

// Incident is one cause with its many alerts.
type Incident struct {
	ID         string            `json:"id"`
	Number     int64             `json:"number"`
	Title      string            `json:"title"`
	Severity   Severity          `json:"severity"` // the worst of the members that still fire; kept when all resolved
	State      IncidentState     `json:"state"`
	Team       string            `json:"team,omitempty"`
	GroupKey   string            `json:"group_key"`
	Labels     map[string]string `json:"labels,omitempty"` // the labels it was grouped by
	Rule       string            `json:"rule,omitempty"`   // of the first member
	ResourceID string            `json:"resource_id,omitempty"`
	Resource   string            `json:"resource,omitempty"` // name for people
	Firing     int               `json:"firing"`             // members that fire now
	Total      int               `json:"total"`              // members ever
	OpenedAt   time.Time         `json:"opened_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
	ResolvedAt time.Time         `json:"resolved_at,omitzero"`
	ClosedAt   time.Time         `json:"closed_at,omitzero"`
	Reopened   int               `json:"reopened"`
	Flapping   bool              `json:"flapping,omitempty"`
	Muted      string            `json:"muted,omitempty"` // name of the window that mutes it
	Version    int64             `json:"version"`
	// Untold is what no fact has told yet; nil most of the time.
	Untold *Untold `json:"untold,omitempty"`
}

// Untold is how the members of an incident changed since a fact last told it.
type Untold struct {
	Grown        int      `json:"grown,omitempty"`
	Shrunk       int      `json:"shrunk,omitempty"`
	Fingerprints []string `json:"fingerprints,omitempty"` // of the first that joined, at most MaxFactAlerts
	Joined       Span     `json:"joined,omitzero"`
	Why          []string `json:"why,omitempty"`
}

// Key returns the number people use, INC-42.
func (i Incident) Key() string { return fmt.Sprintf("INC-%d", i.Number) }

// Subject returns the subject of the incident's facts.
func (i Incident) Subject() string { return IncidentSubject(i.ID) }

// IncidentSubject returns the fact subject of the incident with this id.
func IncidentSubject(id string) string { return "incident/" + id }

// Member is an alert as part of an incident.
type Member struct {
	Alert
	IncidentID  string    `json:"incident_id"`
	Integration string    `json:"integration"`
	FirstSeen   time.Time `json:"first_seen"`
	LastSeen    time.Time `json:"last_seen"`
	Repeats     int64     `json:"repeats"`
	RawSeq      int64     `json:"raw_seq,omitempty"` // message in the signal log that said so last
	Joined      int64     `json:"joined,omitempty"`  // message by which it joined, or fired again
	Why         string    `json:"why"`               // why it belongs to this incident
}

// Membership is an alert's place in an incident.
type Membership struct {
	Member   Member
	Incident Incident
}
