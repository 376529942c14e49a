// Package job is the durable work of Fettle: commands queued in the
// transaction of the state they follow, facts delivered to the rooms that hear
// them, and periodic work that only one replica does.
//
// Rooms see two small interfaces, Enqueuer and Registrar; which library keeps
// the queue is known to this package alone.
package job

import (
	"context"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Enqueuer queues commands in the caller's transaction: they exist if and only
// if it commits.
type Enqueuer interface {
	Enqueue(ctx context.Context, tx db.Tx, commands ...ops.Command) error
}

// Handler carries out a command. It may be called again with the same command
// after a crash or an error, so it must be idempotent. The class of its error
// decides what happens next: ErrThrottled waits as long as the peer asked,
// ErrUnavailable, ErrConflict and ErrInternal retry with growing pauses,
// ErrInvalid, ErrDenied, ErrNotFound and ErrStalled end the command for good;
// Snooze runs it again later without counting as a failure.
type Handler func(ctx context.Context, c ops.Command) error

// Listener takes a fact into account. It runs exactly once per fact and room,
// in the order of the facts, inside the transaction that also records that the
// room has heard it. It does SQL only and may run twice if the transaction
// does. A listener that fails holds up its room: the fact is tried again with
// growing pauses, and the failure shows in the logs and metrics.
type Listener func(ctx context.Context, tx db.Tx, f ops.Fact) error

// Registrar is what a room registers its work with before the queue starts.
type Registrar interface {
	// Handle names the one handler of a kind of command.
	Handle(kind ops.CommandKind, h Handler)
	// Hear names a room's listener for a kind of fact.
	Hear(room string, kind ops.FactKind, l Listener)
	// Every runs f on one replica at a time, about every interval, starting at
	// once unless it ran within the last interval. A run that fails is tried
	// again after a minute or the interval, whichever is shorter. f must be safe
	// to run again too early or too late.
	Every(name string, interval time.Duration, f func(ctx context.Context) error)
}

// Snooze is an error that runs the command again after d without counting as a
// failure: the condition it waits for has not come yet.
func Snooze(d time.Duration, why string) error { return &snooze{after: d, why: why} }

type snooze struct {
	after time.Duration
	why   string
}

func (s *snooze) Error() string { return fmt.Sprintf("again in %s: %s", s.after, s.why) }
