// Package check asks whether something is well: an address, a metric, an alarm.
package check

import (
	"context"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Health is an answer.
type Health string

// The answers. Unknown is not Failing: nobody answered, or nothing was measured.
const (
	Passing Health = "passing"
	Failing Health = "failing"
	Unknown Health = "unknown"
)

// Subject is what a check is asked about.
type Subject struct {
	Change ops.Change
	// Since is when the change had been applied: what was measured earlier says
	// nothing about it.
	Since time.Time
	Now   time.Time
}

// Check asks once. It is safe for concurrent use.
type Check interface {
	// Look returns what it saw and says for people what that was, without
	// secrets. It ends with ctx; why it could not see is in the text, as Unknown.
	Look(ctx context.Context, s Subject) (Health, string)
}
