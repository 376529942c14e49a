package ops

import (
	"fmt"
	"time"
)

// Notice is what people, or programs of theirs, are told through a channel:
// what happened, to what, why, and where to read on. Its texts are plain, with
// no markup, and hold no secret.
type Notice struct {
	Event    string    `json:"event"` // such as incident.opened; see docs/notifications.md
	Severity Severity  `json:"severity"`
	At       time.Time `json:"at"`      // when it happened
	Subject  string    `json:"subject"` // of the fact: incident/<id>, change/<id> or system
	Key      string    `json:"key,omitempty"`
	Title    string    `json:"title"` // one line
	What     string    `json:"what,omitempty"`
	Why      string    `json:"why,omitempty"`
	Resource string    `json:"resource,omitempty"`
	Team     string    `json:"team,omitempty"`
	Link     string    `json:"link,omitempty"` // page in Fettle
	// Tickets are the work items it belongs to, as far as they are known.
	Tickets []NoticeTicket `json:"tickets,omitempty"`
	Fact    string         `json:"fact,omitempty"` // id of the fact it follows from
	Kind    FactKind       `json:"kind,omitempty"` // of that fact
	// Held lists, in a digest, what was held back; More counts those beyond the list.
	Held []HeldNotice `json:"held,omitempty"`
	More int          `json:"more,omitempty"`
}

// NoticeTicket names a work item in a platform.
type NoticeTicket struct {
	Platform string `json:"platform"`
	Display  string `json:"display"`
	URL      string `json:"url,omitempty"`
}

// HeldNotice is one line of a digest.
type HeldNotice struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	Title string    `json:"title"`
	// Unsure says that it may have arrived already.
	Unsure bool `json:"unsure,omitempty"`
}

// NotificationState is how far a notification has come.
type NotificationState string

// The states of a notification.
const (
	NotificationWaiting NotificationState = "waiting" // to be sent, or sent again
	NotificationSending NotificationState = "sending" // handed to the channel, no answer recorded
	NotificationSent    NotificationState = "sent"
	NotificationHeld    NotificationState = "held"     // over the limit, waits for a digest
	NotificationUnsure  NotificationState = "unsure"   // nobody knows whether it arrived; waits for a digest
	NotificationListed  NotificationState = "listed"   // told in a digest
	NotificationGivenUp NotificationState = "given_up" // Error says why
)

// NotificationStates lists all states.
var NotificationStates = []NotificationState{
	NotificationWaiting, NotificationSending, NotificationSent, NotificationHeld, NotificationUnsure, NotificationListed, NotificationGivenUp,
}

// ParseNotificationState returns the state named s.
func ParseNotificationState(s string) (NotificationState, error) {
	for _, state := range NotificationStates {
		if string(state) == s {
			return state, nil
		}
	}
	return "", fmt.Errorf("state %q is none of %v: %w", s, NotificationStates, ErrInvalid)
}

// Notification is one notice on its way to one channel. Its ID is what the
// receiver knows it by, the same at every attempt.
type Notification struct {
	ID      string            `json:"id"`
	Number  int64             `json:"number"` // order over all channels
	Channel string            `json:"channel"`
	State   NotificationState `json:"state"`
	Notice  Notice            `json:"notice"`
	// Says is what it says, for people not to be told the same twice in one channel.
	Says     string    `json:"says"`
	Digest   bool      `json:"digest,omitempty"`    // it lists others
	DigestID string    `json:"digest_id,omitempty"` // of the digest that lists it
	Attempts int       `json:"attempts"`
	Error    string    `json:"error,omitempty"` // of the last attempt, redacted
	MadeAt   time.Time `json:"made_at"`
	TriedAt  time.Time `json:"tried_at,omitzero"` // when it was handed to the channel last; the hourly limit counts it
	DoneAt   time.Time `json:"done_at,omitzero"`
	// ResentAt is when a person last had it sent again after it was given up,
	// and ResentBy who.
	ResentAt time.Time `json:"resent_at,omitzero"`
	ResentBy string    `json:"resent_by,omitempty"`
	Version  int64     `json:"version"`
}

// NotificationFilter selects notifications; zero fields select all.
type NotificationFilter struct {
	Channel string
	States  []NotificationState
	Digest  string // id of the digest that lists them
	Before  int64  // number: only older ones
	Limit   int
}
