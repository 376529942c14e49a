package ops

import "time"

// Transition is one change of an incident's state. From is empty when it opened.
type Transition struct {
	IncidentID string        `json:"incident_id"`
	At         time.Time     `json:"at"`
	From       IncidentState `json:"from"`
	To         IncidentState `json:"to"`
	Team       string        `json:"team"`
	Severity   Severity      `json:"severity"`
}

// BacklogSnapshot is a team's number of open incidents at its local time of day.
type BacklogSnapshot struct {
	Team  string    `json:"team"`
	Day   string    `json:"day"` // local date, 2026-11-21
	At    time.Time `json:"at"`  // the instant it stands for
	Count int       `json:"backlog_incident_count"`
}
