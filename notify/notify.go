// Package notify tells people, and programs of theirs, what Fettle sees and
// does. A driver folder per channel satisfies Channel; the room (Room) hears
// facts, makes at most one notification of each for a channel, and brings it
// there.
//
// What is promised: a notification is durable in the transaction that hears
// its fact, and is kept until it is sent, listed in a digest or given up with
// a reason that people can see. It is sent again after an answer that says it
// was not taken. Where nobody knows whether it was, it is sent again, under
// the same id, only through a channel whose receiver recognises that id; any
// other channel is told of it in its next digest instead. A channel gets at
// most so many messages an hour, and then one digest of what was held back.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/ops"
)

// Message is one notice under the id that its receiver knows it by.
type Message struct {
	ID string `json:"id"` // the same at every attempt
	ops.Notice
}

// Channel brings messages to where people or programs look. It is used by
// several goroutines at once.
type Channel interface {
	// Send brings one message, and returns nil only when the receiver has taken
	// it. An error wraps a class of ops: ErrThrottled (an *ops.Throttled where the
	// receiver says for how long) and ErrUnavailable are tried again, the others
	// are given up. An *ops.UnknownOutcome says that it may have arrived. No
	// error names a secret or an address that is one. A message that is too long
	// for the channel is cut, and says so.
	Send(ctx context.Context, m Message) error
}

// Traits say what the room must know of a kind of channel.
type Traits struct {
	// Repeats: the receiver recognises the id of a message, so that one whose
	// outcome is unknown may be sent again.
	Repeats bool
	// PerHour is how many messages an hour it gets where the configuration does
	// not say; 0 is any number. Channels that people read have a limit.
	PerHour int
}

// Env is what a driver is given.
type Env struct {
	Name      string // the configured name of this channel
	Source    string // the address of this Fettle, or urn:fettle:<installation> where it has none
	UserAgent string
	Clock     clock.Clock
	Log       *slog.Logger
	// Transport is the network of HTTP; nil is the real one, guarded.
	Transport http.RoundTripper
	// Dial is the network of anything else; nil is the real one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Secret returns the value of a reference. It is asked at each message, so
	// that a rotated secret is picked up.
	Secret func(ctx context.Context, r secret.Ref) (redact.Secret, error)
}

// Decode decodes the channel's part of the configuration, strictly: an unknown
// key is an error that names its line.
type Decode func(into any) error

// Driver opens channels of one kind.
type Driver struct {
	Name   string // the key of the configuration
	Traits Traits
	// Check returns what is wrong with a configuration, without I/O.
	Check func(decode Decode) error
	Open  func(ctx context.Context, decode Decode, env Env) (Channel, error)
}

// Define makes a driver of a typed open function. C is the channel's
// configuration; when it has a method Validate() error, its faults are
// reported before open is called.
func Define[C any](name string, traits Traits, open func(ctx context.Context, cfg C, env Env) (Channel, error)) Driver {
	read := func(decode Decode) (C, error) {
		var cfg C
		err := decode(&cfg)
		if err == nil {
			if v, ok := any(&cfg).(interface{ Validate() error }); ok {
				err = v.Validate()
			}
		}
		if err != nil {
			return cfg, fmt.Errorf("%s: %w: %w", name, err, ops.ErrInvalid)
		}
		return cfg, nil
	}
	return Driver{
		Name: name, Traits: traits,
		Check: func(decode Decode) error { _, err := read(decode); return err },
		Open: func(ctx context.Context, decode Decode, env Env) (Channel, error) {
			cfg, err := read(decode)
			if err != nil {
				return nil, err
			}
			return open(ctx, cfg, env)
		},
	}
}

// Find returns the driver of a kind of channel among those built in.
func Find(drivers []Driver, name string) (Driver, error) {
	names := make([]string, 0, len(drivers))
	for _, d := range drivers {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return Driver{}, fmt.Errorf("channel %q is none of %s: %w", name, strings.Join(names, ", "), ops.ErrInvalid)
}
