package cloudformation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
)

// memory is what is durable about one run. It is complete before the first
// effect, so that whoever takes over knows what to go on with and what to put
// back.
type memory struct {
	State string    `json:"state"`
	At    time.Time `json:"at"`
	Job   *job      `json:"job,omitempty"`
	Note  string    `json:"note,omitempty"`
	Fault string    `json:"fault,omitempty"` // of an ended run, empty when it worked
}

const (
	begun = "begun" // nothing was changed unless there is a job
	ended = "ended"
)

// job is everything one update needs.
type job struct {
	Set      map[string]string // template parameters
	Was      map[string]string // and their values before
	Keys     []*keyed
	Template string // the stack's own, when a dynamic reference reads a key; else empty
	Back     bool   // this is a rollback: Template is sent as it is, and keys stay
}

// run is one call of Apply or RollBack.
type run struct {
	*Executor
	token string
	set   string // the name of its change set
	event string // the token its stack events carry
	stack string
	plan  ops.Plan
	out   io.Writer
	m     memory
}

var tokenPattern = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9]{0,99}$`)

func (x *Executor) run(token execute.Token, stack string, p ops.Plan, out io.Writer) *run {
	t := string(token)
	event := strings.ReplaceAll(t, "/", "-")
	if !tokenPattern.MatchString(event) {
		event = "fettle-" + hash(t)[:32]
	}
	return &run{Executor: x, token: t, set: "fettle-" + hash(t)[:32], event: event, stack: stack, plan: p, out: out}
}

func sorted(in []string) []string { slices.Sort(in); return in }

func (m memory) text() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("cloudformation: a memory of strings always marshals: " + err.Error())
	}
	return string(b)
}

// recall records m under token unless something is recorded there, and returns
// what is.
func (x *Executor) recall(ctx context.Context, token string, m memory) (memory, bool, error) {
	recorded, fresh, err := x.env.Marks.Mark(context.WithoutCancel(ctx), token, m.text())
	if err != nil {
		return m, false, fmt.Errorf("cloudformation: the mark could not be written, nothing is done: %w", err)
	}
	if fresh {
		return m, true, nil
	}
	var seen memory
	if err := json.Unmarshal([]byte(recorded), &seen); err != nil {
		return m, false, &ops.UnknownOutcome{Err: fmt.Errorf("cloudformation: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
	}
	return seen, false, nil
}

// memory returns what is known of an earlier run. One that never began will not
// begin any more.
func (x *Executor) memory(ctx context.Context, token, stack string) (memory, error) {
	m, _, err := x.recall(ctx, token, memory{State: ended, At: x.env.Clock().UTC(), Fault: "stack " + stack + ": rolled back before it began"})
	return m, err
}

func (r *run) keep(ctx context.Context) error {
	return r.env.Marks.Note(context.WithoutCancel(ctx), r.token, r.m.text())
}
