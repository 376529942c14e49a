package ops

import "time"

// ExecutionPhase says how far an execution has come.
type ExecutionPhase string

// The phases of an execution.
const (
	// ExecutionPlanning: nothing has happened yet; it may be begun again by anyone.
	ExecutionPlanning ExecutionPhase = "planning"
	// ExecutionActing: the tool may have acted. Only the plan kept here, under the
	// same token, may be handed to it again, to learn what became of it.
	ExecutionActing ExecutionPhase = "acting"
	// ExecutionEnded: the outcome is recorded and the fact told.
	ExecutionEnded ExecutionPhase = "ended"
)

// Execution is the journal entry of one piece of work done through a tool:
// planning a change, applying a run or rolling one back. It is written before
// the tool is called, so that a crash can never make anyone do it twice.
type Execution struct {
	ID        string         `json:"id"` // plan:<change>:<revision>, apply:<run> or rollback:<run>
	ChangeID  string         `json:"change_id"`
	RunID     string         `json:"run_id,omitempty"`
	Phase     ExecutionPhase `json:"phase"`
	Lease     string         `json:"lease"`  // what it holds alone while it works
	Holder    string         `json:"holder"` // the process that works on it
	Epoch     int64          `json:"epoch"`  // rises with every taking of the lease; an older one may write nothing
	Plan      *Plan          `json:"plan,omitempty"`
	Output    string         `json:"output,omitempty"` // redacted and bounded, renewed while it runs
	Error     string         `json:"error,omitempty"`
	StartedAt time.Time      `json:"started_at"`
	EndedAt   time.Time      `json:"ended_at,omitzero"`
}

// Verification is the wait for a run's verdict.
type Verification struct {
	RunID      string    `json:"run_id"`
	ChangeID   string    `json:"change_id"`
	IncidentID string    `json:"incident_id,omitempty"`
	AppliedAt  time.Time `json:"applied_at"`
	Until      time.Time `json:"until"`             // a cause that still fires then did not go away
	Was        Severity  `json:"was,omitempty"`     // of the incident at the first look after the run
	EndedAt    time.Time `json:"ended_at,omitzero"` // when the verdict was given or nobody waited for it any more
}

// HealthLook is what a health check of a run saw last.
type HealthLook struct {
	RunID    string    `json:"run_id"`
	Check    string    `json:"check"`
	Health   string    `json:"health"`   // passing, failing or unknown
	Failures int       `json:"failures"` // in a row
	Text     string    `json:"text"`     // for people
	At       time.Time `json:"at"`
}
