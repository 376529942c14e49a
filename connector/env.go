package connector

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/record"
)

// Env is what a driver lives on. It takes nothing from anywhere else: no
// global clock, logger, HTTP client or file.
type Env struct {
	Name         string // the platform's configured name
	Installation string // id of this Fettle, the same for ever
	// User is the integration's own user as the platform names it, where the
	// configuration says so; a driver that can find out itself does so.
	User      string
	PublicURL string // where people reach Fettle, without a slash at the end
	Clock     clock.Clock
	Log       *slog.Logger
	HTTP      HTTP
	Secrets   Secrets
	Records   Records
	// Observe is told of every call through Conn, for metrics; nil is allowed.
	Observe func(op string, took time.Duration, err error)
}

// Records is a table of this platform's own, kept in Fettle's database. Its
// errors wrap ops.ErrNotFound, ops.ErrConflict and ops.ErrInvalid.
type Records = record.Table

// Secrets resolves a secret reference of the configuration (env:NAME,
// file:PATH). Resolve is called when the secret is needed, so that a rotated
// one is picked up; it is cheap. Conn removes every value it returned from
// errors and log lines.
type Secrets interface {
	Resolve(ctx context.Context, ref string) (string, error)
}

// Effect says what repeating a request would do.
type Effect int

// The effects.
const (
	Read   Effect = iota // changes nothing; may be repeated freely
	Repeat               // changes something, but twice is as good as once
	Once                 // must not be repeated unless it is known not to have happened
)

// HTTP sends requests. It adds timeouts, connection reuse, size limits and the
// User-Agent, follows no redirect to another host, and may repeat a Read or
// Repeat request that failed in transport. It returns every answer, whatever
// its status. An error means that no whole answer came: it wraps
// ops.ErrUnavailable, and *ops.UnknownOutcome as well when a request that is
// not a Read may have reached the platform. req.Context ends the call.
type HTTP interface {
	Do(req *http.Request, e Effect) (*http.Response, error)
}
