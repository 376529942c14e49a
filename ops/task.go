package ops

import "time"

// TaskKind is what a task of a change request is for.
type TaskKind string

// The kinds of task.
const (
	TaskImplement TaskKind = "implement" // a step of the plan
	TaskVerify    TaskKind = "verify"    // the look at what it did
)

// TaskState is how far a task of a change request is. From the last three
// there is no way back.
type TaskState string

// The states of a task.
const (
	TaskOpen       TaskState = "open"
	TaskInProgress TaskState = "in_progress"
	TaskComplete   TaskState = "complete"   // closed: done
	TaskIncomplete TaskState = "incomplete" // closed: failed, or taken back
	TaskSkipped    TaskState = "skipped"    // closed: no longer needed
)

// TaskStates lists the states, those that end a task last.
var TaskStates = []TaskState{TaskOpen, TaskInProgress, TaskComplete, TaskIncomplete, TaskSkipped}

// Ended reports whether nothing can follow.
func (s TaskState) Ended() bool {
	return s == TaskComplete || s == TaskIncomplete || s == TaskSkipped
}

// TicketTask is a task of a change request, and how far its platform shows it.
// What it says follows from its plan.
type TicketTask struct {
	Plan  string    `json:"plan"` // the PlanMark of the plan it is of
	Step  int       `json:"step"` // of the plan, from 1; 0 verifies
	State TaskState `json:"state"`
	Why   string    `json:"why,omitempty"` // it ended
	// SentAt is set before a write is sent and cleared by its answer: as long as
	// it is set, nobody knows whether the task exists.
	SentAt time.Time `json:"sent_at,omitzero"`
	// Shown is what the platform was last made to show, empty for nothing yet.
	Shown TaskShown `json:"shown,omitzero"`
}

// TaskShown is the part of a task that moves.
type TaskShown struct {
	State  TaskState `json:"state,omitempty"`
	Window string    `json:"window,omitempty"` // the planned times; of ended tasks empty
}

// Kind returns what the task is for.
func (t TicketTask) Kind() TaskKind {
	if t.Step == 0 {
		return TaskVerify
	}
	return TaskImplement
}
