package connector

import (
	"context"
	"fmt"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Approver is implemented by drivers whose platform lets people decide on
// change requests.
type Approver interface {
	// AsksApproval tells whether this connection is set up so that people can
	// decide in the platform. It does no I/O.
	AsksApproval() bool
	// RequestApproval asks the people whom the platform names to decide on the
	// plan that stands on the ticket, which must be the one of this mark: it
	// returns ErrConflict and asks nobody when another one stands. Once asked,
	// asking again for the same plan asks nobody a second time, whatever was
	// decided meanwhile.
	RequestApproval(ctx context.Context, ref, plan string) (Copy, error)
	// WithdrawApproval takes back what was asked. After it nobody can decide on
	// an earlier request, and the ticket stands where approval can be asked
	// anew. Where nothing was asked it changes nothing.
	WithdrawApproval(ctx context.Context, ref, why string) (Copy, error)
}

// Decision is what a person decided on a change request in its platform.
type Decision struct {
	// ID is the platform's. One decision has one ID for ever; deciding again
	// on another request is another decision.
	ID       string
	User     string // as the platform names users
	Decision ops.Decision
	Comment  string
	// At is when it was decided by the platform's clock. Where the platform
	// cannot tell apart a decision and a later touch of it, it is no later than
	// the request can have been about: a decision on a request that was made
	// before the plan that stands now was written never looks younger than it.
	// A decision that does not look younger than the plan does not count: where
	// the platform counts seconds and knows that it came after, it says so by a
	// time within that second.
	At time.Time
}

// Attacher is implemented by drivers whose platform keeps files with tickets.
type Attacher interface {
	// Attach adds a file to a ticket. A file of ours of the same name that is
	// there already stays as it is and none is added, so that it can be asked
	// again after a lost answer.
	Attach(ctx context.Context, ref string, f File) error
	// Files returns the names of the files of a ticket, ours and others', sorted.
	Files(ctx context.Context, ref string) ([]string, error)
}

// File is a file of a ticket.
type File struct {
	Name    string // letters, digits and . _ - only
	Type    string // media type
	Content []byte
}

// MaxFile is the largest file that is attached, in bytes.
const MaxFile = 700 << 10

// ConflictReader is implemented by drivers whose platform compares planned
// times with its own calendar: other changes, maintenance and blackouts.
type ConflictReader interface {
	// Conflicts has the platform compare the planned times of a change request
	// and returns what they clash with, a line each for people, sorted.
	Conflicts(ctx context.Context, ref string) ([]string, error)
}

// Describer is implemented by drivers whose platform has fields of its own for
// what a change is about.
type Describer interface {
	// Extra returns what a ticket of this kind about c shows in those fields, by
	// their names there. It does no I/O.
	Extra(kind ops.TicketKind, c ops.Change) map[string]string
}

func capability[T any](c *Conn, what string) (T, error) {
	t, ok := c.inner.(T)
	if !ok {
		return t, fmt.Errorf("connector %s does not %s: %w", c.driver, what, ops.ErrInvalid)
	}
	return t, nil
}

// AsksApproval tells whether people can decide on change requests in the platform.
func (c *Conn) AsksApproval() bool {
	a, ok := c.inner.(Approver)
	return ok && a.AsksApproval()
}

// RequestApproval implements Approver; a driver without it is ErrInvalid.
func (c *Conn) RequestApproval(ctx context.Context, ref, plan string) (got Copy, err error) {
	a, err := capability[Approver](c, "ask for approval")
	if _, _, ok := ops.ParsePlanMark(plan); err == nil && !ok {
		err = fmt.Errorf("mark %q names no plan: %w", plan, ops.ErrInternal)
	}
	if err != nil {
		return Copy{}, c.fault("request_approval", err)
	}
	err = c.call(ctx, "request_approval", ref, Repeat, func() (err error) {
		got, err = a.RequestApproval(ctx, ref, plan)
		return err
	}, func() error { return c.whole(got) })
	return got, err
}

// WithdrawApproval implements Approver; a driver without it is ErrInvalid.
func (c *Conn) WithdrawApproval(ctx context.Context, ref, why string) (got Copy, err error) {
	a, err := capability[Approver](c, "ask for approval")
	if err != nil {
		return Copy{}, c.fault("withdraw_approval", err)
	}
	err = c.call(ctx, "withdraw_approval", ref, Repeat, func() (err error) {
		got, err = a.WithdrawApproval(ctx, ref, why)
		return err
	}, func() error { return c.whole(got) })
	return got, err
}

// KeepsFiles tells whether the platform keeps files with tickets. A driver in
// front of another one says it for that one.
func (c *Conn) KeepsFiles() bool {
	if k, ok := c.inner.(interface{ KeepsFiles() bool }); ok {
		return k.KeepsFiles()
	}
	_, ok := c.inner.(Attacher)
	return ok
}

// Extra implements Describer; a driver without it has no such fields.
func (c *Conn) Extra(kind ops.TicketKind, about ops.Change) map[string]string {
	d, ok := c.inner.(Describer)
	if !ok {
		return nil
	}
	return d.Extra(kind, about)
}

// Attach implements Attacher; a driver without it is ErrInvalid.
func (c *Conn) Attach(ctx context.Context, ref string, f File) error {
	a, err := capability[Attacher](c, "keep files")
	switch {
	case err != nil:
	case f.Name == "" || f.Type == "" || len(f.Content) == 0:
		err = fmt.Errorf("file %q needs a name, a type and content: %w", f.Name, ops.ErrInternal)
	case len(f.Content) > MaxFile:
		err = fmt.Errorf("file %s has %d bytes, more than %d: %w", f.Name, len(f.Content), MaxFile, ops.ErrInvalid)
	}
	if err != nil {
		return c.fault("attach", err)
	}
	return c.call(ctx, "attach", ref, Repeat, func() error { return a.Attach(ctx, ref, f) }, nil)
}

// Files implements Attacher; a driver without it is ErrInvalid.
func (c *Conn) Files(ctx context.Context, ref string) (names []string, err error) {
	a, err := capability[Attacher](c, "keep files")
	if err != nil {
		return nil, c.fault("files", err)
	}
	err = c.call(ctx, "files", ref, Read, func() (err error) {
		names, err = a.Files(ctx, ref)
		return err
	}, nil)
	return names, err
}

// KnowsConflicts tells whether the platform compares planned times with its
// calendar. A driver in front of another one says it for that one.
func (c *Conn) KnowsConflicts() bool {
	if k, ok := c.inner.(interface{ KnowsConflicts() bool }); ok {
		return k.KnowsConflicts()
	}
	_, ok := c.inner.(ConflictReader)
	return ok
}

// Conflicts implements ConflictReader; a driver without it is ErrInvalid.
func (c *Conn) Conflicts(ctx context.Context, ref string) (lines []string, err error) {
	r, err := capability[ConflictReader](c, "know conflicts")
	if err != nil {
		return nil, c.fault("conflicts", err)
	}
	err = c.call(ctx, "conflicts", ref, Repeat, func() (err error) {
		lines, err = r.Conflicts(ctx, ref)
		return err
	}, nil)
	return lines, err
}
