// Package execute does the work of approved changes through tools. A driver
// folder per tool satisfies Executor; the room (Room) plans changes, applies
// approved plans under a lease, rolls them back, and tells what happened.
//
// The order that makes a crash harmless: the journal entry and the plan are
// durable before the tool is called, a tool is called under a token that is
// the same at every retry, and the outcome commits together with the fact that
// tells of it. A run whose outcome nobody can find out is reported as unknown;
// it is never run a second time.
package execute

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// Token names one run to its tool. It is the same at every retry; applying and
// rolling back under one token are two separate effects.
type Token string

// Request is what a plan is asked for.
type Request struct {
	Change ops.Change
	// Inputs are measured values on which the decision depends, each already
	// reduced to the decision it leads to (see Options.DecideFunc). They become
	// part of the plan and of its digest.
	Inputs map[string]string
}

// Result is what a tool answered when it did as told.
type Result struct {
	Code int    `json:"code"` // exit status or the tool's own number; 0 where it has none
	Note string `json:"note"` // one line for people, without secrets
}

// Drift says how the world stands to a plan that was applied.
type Drift string

// The answers of a drift check. Not being able to look is Unknown, never InSync.
const (
	InSync  Drift = "in_sync"
	Drifted Drift = "drifted"
	Unknown Drift = "unknown"
)

// Executor plans and runs steps through one tool. It is used by several
// goroutines at once, but never for two runs under one lease.
//
// No error and no output names a secret. Errors wrap a class of ops: a wrong
// or refused request is ErrInvalid or ErrDenied and lists what is allowed; a
// tool that did not answer is ErrUnavailable.
type Executor interface {
	// Plan renders what Apply would do now. It changes nothing, and two plans
	// of one request made in an unchanged world have equal content. The room
	// fills in ID, ChangeID, Revision, Executor, Inputs and Digest.
	Plan(ctx context.Context, r Request) (ops.Plan, error)

	// Apply does exactly what p says, p being the plan just made, and streams
	// what the tool says to out, which redacts and bounds it. It returns when
	// the tool has finished.
	//
	// A second call under the same token never does the work twice: it returns
	// the recorded result, goes on where the tool supports it, or, when an
	// earlier process was killed and nobody can know, waits for what still runs
	// and returns an *ops.UnknownOutcome. When ctx ends the tool is stopped
	// before Apply returns; if it may still be running, that too is an
	// *ops.UnknownOutcome. Under a ctx that has ended already nothing is
	// started, but what an earlier call did is still found out. Any other error
	// means that the tool failed or was never called.
	Apply(ctx context.Context, token Token, p ops.Plan, out io.Writer) (Result, error)

	// RollBack undoes what Apply did under the same token, with the promises of
	// Apply. A plan without rollback content is refused with ErrStalled.
	RollBack(ctx context.Context, token Token, p ops.Plan, out io.Writer) (Result, error)

	// Drift compares the world with an applied plan. It changes nothing; the
	// error explains an Unknown and is nil otherwise.
	Drift(ctx context.Context, p ops.Plan) (Drift, error)
}

// Linker is implemented by executors that know what the resources they manage
// need of each other.
type Linker interface {
	// Links returns what the resources that a plan is about need of each other,
	// all that their source says of them. It changes nothing.
	Links(ctx context.Context, p ops.Plan) (source string, links []graph.Link, err error)
}

// Marks is an executor's durable memory of the effects it began, shared by all
// replicas. Keys live in the executor's own namespace.
type Marks interface {
	// Mark records note under token unless something is recorded there. It
	// returns what is recorded and whether this call did it, and is durable
	// before it returns.
	Mark(ctx context.Context, token, note string) (recorded string, fresh bool, err error)
	// Note replaces what Mark recorded, durably.
	Note(ctx context.Context, token, note string) error
}

// Env is what a driver is given.
type Env struct {
	Name   string              // the configured name of this executor
	Host   string              // the machine this process runs on
	Dir    string              // the absolute path of an existing directory of this executor's own on this machine, mode 0700
	Marks  Marks               // durable, shared by all replicas
	Redact func(string) string // takes secrets out of text that leaves the driver
	Clock  clock.Clock
	Log    *slog.Logger
	// Transport is the network; nil is each client library's own.
	Transport http.RoundTripper
	// Secret returns the value of a reference such as env:NAME or file:PATH.
	Secret func(ctx context.Context, ref string) (string, error)
}

// Decode decodes the executor's part of the configuration, strictly: an
// unknown key is an error that names its line.
type Decode func(into any) error

// Driver opens executors of one tool.
type Driver struct {
	Tool string
	// Check says what is wrong with the executor's part of the configuration,
	// without I/O. It wraps ops.ErrInvalid.
	Check func(decode Decode) error
	Open  func(ctx context.Context, decode Decode, env Env) (Executor, error)
}

// Define makes a driver of a typed open function. C is the tool's
// configuration; when it has a method Validate() error, its faults are reported
// before open is called. It may be called twice: what decodes the file calls it too.
func Define[C any](tool string, open func(ctx context.Context, cfg C, env Env) (Executor, error)) Driver {
	read := func(decode Decode) (cfg C, err error) {
		if err := decode(&cfg); err != nil {
			return cfg, fmt.Errorf("%w: %w", err, ops.ErrInvalid)
		}
		if v, ok := any(&cfg).(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				return cfg, fmt.Errorf("%w: %w", err, ops.ErrInvalid)
			}
		}
		return cfg, nil
	}
	return Driver{
		Tool:  tool,
		Check: func(decode Decode) error { _, err := read(decode); return err },
		Open: func(ctx context.Context, decode Decode, env Env) (Executor, error) {
			cfg, err := read(decode)
			if err != nil {
				return nil, fmt.Errorf("%s: executor %s: %w", tool, env.Name, err)
			}
			return open(ctx, cfg, env)
		},
	}
}

// Find returns the driver of a tool among those built in.
func Find(drivers []Driver, tool string) (Driver, error) {
	names := make([]string, 0, len(drivers))
	for _, d := range drivers {
		if d.Tool == tool {
			return d, nil
		}
		names = append(names, d.Tool)
	}
	slices.Sort(names)
	return Driver{}, fmt.Errorf("executor tool %q is none of %s: %w", tool, strings.Join(names, ", "), ops.ErrInvalid)
}
