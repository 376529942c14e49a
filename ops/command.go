package ops

import (
	"encoding/json"
	"fmt"
	"time"
)

// CommandKind names an order, in the imperative.
type CommandKind string

// Command is an order in the durable queue. It is carried out at least once,
// so its handler must be idempotent.
type Command struct {
	Kind    CommandKind     `json:"kind"`
	Subject string          `json:"subject"` // the record it is about, as in facts
	Body    json.RawMessage `json:"body,omitempty"`
	At      time.Time       `json:"at,omitzero"`     // not before; zero means now
	Cause   string          `json:"cause,omitempty"` // id of the fact it follows from
}

// The commands, with the room that carries each out.
const (
	SyncTicket     CommandKind = "SyncTicket"     // ticket: make the platform equal to what is wanted
	PullPlatform   CommandKind = "PullPlatform"   // ticket: read what people did in a platform
	AuditTickets   CommandKind = "AuditTickets"   // ticket: find and merge what slipped through
	MakePlan       CommandKind = "MakePlan"       // execute: plan a change
	ApplyPlan      CommandKind = "ApplyPlan"      // execute: plan again, compare, apply
	RollBackRun    CommandKind = "RollBackRun"    // execute: undo a run
	LabelParameter CommandKind = "LabelParameter" // execute: say on a change's parameter where the change stands
	WakeChange     CommandKind = "WakeChange"     // change: a deadline of this change passed
	WeighAlerts    CommandKind = "WeighAlerts"    // change: see whether a runbook is for alerts that a fact only counts
	AskProducer    CommandKind = "AskProducer"    // change: ask a recommendation's producer for tags and report
	CheckRun       CommandKind = "CheckRun"       // verify: has the cause gone away
	HoldLearning   CommandKind = "HoldLearning"   // detect: do not learn from a span
	SendNotice     CommandKind = "SendNotice"     // notify: hand a notification to its channel
)

// Urgent reports whether a command goes before others that are due: an approved
// run whose window is open, and the undoing of one, wait for nothing.
func (k CommandKind) Urgent() bool { return k == ApplyPlan || k == RollBackRun }

// NewCommand makes a command about subject with a body that marshals to JSON.
func NewCommand(kind CommandKind, subject string, body any) Command {
	b, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("ops: command body %s does not marshal: %v", kind, err))
	}
	return Command{Kind: kind, Subject: subject, Body: b}
}

// CommandBody decodes the body of c. One that cannot be read never will be: it
// gives ErrInvalid, which ends the command.
func CommandBody[T any](c Command) (T, error) {
	var body T
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return body, fmt.Errorf("command %s about %s: %w: %w", c.Kind, c.Subject, err, ErrInvalid)
	}
	return body, nil
}

// SyncTicketBody orders one ticket made equal in its platform.
type SyncTicketBody struct {
	TicketID string `json:"ticket_id"`
}

// MakePlanBody orders a plan of a change. Revision is the plan's revision to be.
type MakePlanBody struct {
	ChangeID string `json:"change_id"`
	Revision int    `json:"revision"`
}

// ApplyPlanBody orders an approved plan applied by a run.
type ApplyPlanBody struct {
	ChangeID string `json:"change_id"`
	RunID    string `json:"run_id"`
}

// RollBackRunBody orders a run undone.
type RollBackRunBody struct {
	ChangeID string `json:"change_id"`
	RunID    string `json:"run_id"`
	Why      string `json:"why"`
}

// LabelParameterBody orders the label of the parameter that a change carries
// to say where the change stands now.
type LabelParameterBody struct {
	ChangeID string `json:"change_id"`
}

// WakeChangeBody orders a change looked at again. The handler reads the change
// and decides by the clock, so a stale wake-up does nothing.
type WakeChangeBody struct {
	ChangeID string `json:"change_id"`
	Why      string `json:"why"`
}

// WeighAlertsBody orders the alerts that joined an incident held against the
// runbooks, but those that the fact told of one by one.
type WeighAlertsBody struct {
	IncidentID string   `json:"incident_id"`
	Joined     Span     `json:"joined"`
	Told       []string `json:"told"` // fingerprints
}

// AskProducerBody orders a recommendation completed by its producer.
type AskProducerBody struct {
	RecommendationID string `json:"recommendation_id"`
}

// CheckRunBody orders a look at whether the cause of a change has gone away.
type CheckRunBody struct {
	ChangeID string    `json:"change_id"`
	RunID    string    `json:"run_id"`
	Until    time.Time `json:"until"` // the verdict is final then
}

// SendNoticeBody orders one notification handed to its channel.
type SendNoticeBody struct {
	NotificationID string `json:"notification_id"`
}
