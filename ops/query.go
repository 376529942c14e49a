package ops

import "time"

// IncidentFilter selects incidents, newest first. Zero fields select all.
type IncidentFilter struct {
	States     []IncidentState
	Severities []Severity
	Team       string
	Resource   string // resource id
	Text       string // part of title, rule or resource
	OpenedFrom time.Time
	OpenedTo   time.Time
	Before     int64 // only numbers below this one: the cursor of the next page
	Limit      int   // 0 means 100
}

// ChangeFilter selects changes, newest first. Zero fields select all.
type ChangeFilter struct {
	States   []ChangeState
	Incident string // incident id
	Resource string // resource id
	Text     string
	Before   int64
	Limit    int // 0 means 100
}

// AnomalyFilter selects anomalies, newest onset first. Zero fields select all.
type AnomalyFilter struct {
	States   []AnomalyState
	Series   string
	Group    string
	Entity   string
	Text     string    // part of the group, the entity or a feature to blame
	From, To time.Time // those that meet [From, To); an open one meets all that follows its onset
	Before   string    // cursor of the anomaly the page before ended with
	Limit    int       // 0 means 100
}

// WatchedFilter selects watched entities, by group and entity. Zero fields
// select all.
type WatchedFilter struct {
	States []WatchedState
	Group  string
	Entity string
	Text   string // part of what it is found by: group, entity, feature, metric, or a label as instance=web1:9100
	After  string // cursor of the entity the page before ended with
	Limit  int    // 0 means 100
}

// TrailEntry is one line of a story: a fact, or a command and how it went.
type TrailEntry struct {
	Fact    *Fact          `json:"fact,omitempty"`
	Command *CommandRecord `json:"command,omitempty"`
}

// CommandRecord is a command with how it went.
type CommandRecord struct {
	Seq        int64     `json:"seq"`
	Command    Command   `json:"command"`
	QueuedAt   time.Time `json:"queued_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Attempts   int       `json:"attempts"`
	Error      string    `json:"error,omitempty"` // of the last attempt, redacted
	State      string    `json:"state"`           // waiting, done, ended
}
