package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Operations lists the calls that leave the process. Each passes the
// failpoints connector.<operation>.before and connector.<operation>.after.
var Operations = []string{
	"create", "update", "add_note", "get", "find", "changes", "check",
	"request_approval", "withdraw_approval", "attach", "files", "conflicts",
	"put_task", "tasks",
}

// Conn stands in front of a driver. It checks arguments and answers, passes
// the failpoints, measures, gives every error exactly one class, turns a panic
// into an error and keeps secrets out of errors and logs, so that no driver
// has to. It is a Platform itself and is safe for concurrent use.
type Conn struct {
	driver  string
	env     Env
	inner   Platform
	secrets *secrets
}

var _ Platform = (*Conn)(nil)

// Open connects to the platform that s describes. An error names the platform
// and, for wrong settings, each fault.
func (d Driver) Open(ctx context.Context, s Settings, env Env) (*Conn, error) {
	sec := &secrets{inner: env.Secrets}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	env.Log = slog.New(&cleanHandler{Handler: env.Log.Handler(), secrets: sec})
	env.Secrets = sec
	if env.Records != nil {
		env.Records = classed{env.Records}
	}
	p, err := d.open(ctx, s, env)
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", env.Name, sec.cleanError(err))
	}
	return Wrap(d.name, p, env), nil
}

// Wrap puts a Conn in front of a platform that is open already. It is for
// tests that put something between the two.
func Wrap(driver string, p Platform, env Env) *Conn {
	sec, ok := env.Secrets.(*secrets)
	if !ok {
		sec = &secrets{inner: env.Secrets}
	}
	return &Conn{driver: driver, env: env, inner: p, secrets: sec}
}

// Name returns the platform's configured name.
func (c *Conn) Name() string { return c.env.Name }

// Driver returns the name of the driver behind c.
func (c *Conn) Driver() string { return c.driver }

// Inner returns the driver's own platform, for callers that need more of it
// than the contract: the pages of desk.
func (c *Conn) Inner() Platform { return c.inner }

// Create implements Platform.
func (c *Conn) Create(ctx context.Context, key string, kind ops.TicketKind, f ops.TicketFields) (got Copy, err error) {
	if key == "" || f.Title == "" {
		return Copy{}, c.fault("create", fmt.Errorf("a ticket needs a key and a title: %w", ops.ErrInternal))
	}
	err = c.call(ctx, "create", key, Once, func() (err error) {
		got, err = c.inner.Create(ctx, key, kind, f)
		return err
	}, func() error { return c.whole(got) })
	return got, err
}

// Update implements Platform. Without changed fields it is a Get.
func (c *Conn) Update(ctx context.Context, ref string, e Edit) (got Copy, err error) {
	if len(e.Changed) == 0 {
		return c.Get(ctx, ref)
	}
	err = c.call(ctx, "update", ref, Repeat, func() (err error) {
		got, err = c.inner.Update(ctx, ref, e)
		return err
	}, func() error { return c.whole(got) })
	return got, err
}

// AddNote implements Platform.
func (c *Conn) AddNote(ctx context.Context, ref string, n ops.Note) error {
	if n.ID == "" || n.Text == "" {
		return c.fault("add_note", fmt.Errorf("a note needs an id and a text: %w", ops.ErrInternal))
	}
	return c.call(ctx, "add_note", ref, Once, func() error { return c.inner.AddNote(ctx, ref, n) }, nil)
}

// Get implements Platform.
func (c *Conn) Get(ctx context.Context, ref string) (got Copy, err error) {
	err = c.call(ctx, "get", ref, Read, func() (err error) {
		got, err = c.inner.Get(ctx, ref)
		return err
	}, func() error { return c.whole(got) })
	return got, err
}

// Find implements Platform.
func (c *Conn) Find(ctx context.Context, key string) (got []Copy, err error) {
	err = c.call(ctx, "find", key, Read, func() (err error) {
		got, err = c.inner.Find(ctx, key)
		return err
	}, func() error {
		for _, t := range got {
			if t.Key != key {
				return fmt.Errorf("found ticket %s of another key: %w", t.Ref, ops.ErrInternal)
			}
		}
		return c.whole(got...)
	})
	return got, err
}

// Changes implements Platform.
func (c *Conn) Changes(ctx context.Context, cursor string) (got []Copy, next string, err error) {
	next = cursor
	err = c.call(ctx, "changes", "", Read, func() (err error) {
		got, next, err = c.inner.Changes(ctx, cursor)
		return err
	}, func() error {
		if next == "" {
			return fmt.Errorf("no cursor came back: %w", ops.ErrInternal)
		}
		return c.whole(got...)
	})
	if err != nil {
		return nil, cursor, err
	}
	return got, next, nil
}

// Check says what is wrong with the connection, nil when nothing is.
func (c *Conn) Check(ctx context.Context) error {
	checker, ok := c.inner.(Checker)
	if !ok {
		_, _, err := c.Changes(ctx, "")
		return err
	}
	return c.call(ctx, "check", "", Read, func() error { return checker.Check(ctx) }, nil)
}

// Normal returns f as the platform would show it; see Normaliser.
func (c *Conn) Normal(f, seen ops.TicketFields) ops.TicketFields {
	if n, ok := c.inner.(Normaliser); ok {
		return n.Normal(f, seen)
	}
	return f
}

// SettleTime returns how long to wait before looking for a ticket of a kind
// whose create had an unknown outcome, and whether creating again at once is
// unsafe.
func (c *Conn) SettleTime(kind ops.TicketKind) (time.Duration, bool) {
	if s, ok := c.inner.(KindSettler); ok {
		d := s.SettleTimeOf(kind)
		return d, d > 0
	}
	s, ok := c.inner.(Settler)
	if !ok {
		return 0, false
	}
	return s.SettleTime(), true
}

// Close lets go of what the driver holds.
func (c *Conn) Close() error {
	if closer, ok := c.inner.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// call makes one call to the driver. what is the ref or key it is about.
func (c *Conn) call(ctx context.Context, op, what string, e Effect, do func() error, check func() error) error {
	if err := ctx.Err(); err != nil {
		return c.fault(op, fmt.Errorf("%s not sent: %w: %w", what, err, ops.ErrUnavailable))
	}
	start := c.env.Clock()
	failpoint.Hit("connector." + op + ".before")
	err := c.guard(do)
	failpoint.Hit("connector." + op + ".after")
	if err == nil && check != nil {
		if bad := check(); bad != nil {
			err = bad
			if e == Once {
				err = &ops.UnknownOutcome{Err: bad}
			}
		}
	}
	err = c.secrets.cleanError(classify(ctx, err, e))
	if c.env.Observe != nil {
		c.env.Observe(op, c.env.Clock().Sub(start), err)
	}
	if err != nil && what != "" {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return c.fault(op, err)
}

func (c *Conn) fault(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("platform %s: %s: %w", c.env.Name, op, err)
}

// guard turns a driver's panic into an error; the stack goes to the log only.
func (c *Conn) guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.env.Log.LogAttrs(context.Background(), slog.LevelError, "driver panicked",
				slog.String("connector", c.driver), slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			err = &ops.UnknownOutcome{Err: fmt.Errorf("driver %s panicked: %v: %w", c.driver, p, ops.ErrInternal)}
		}
	}()
	return do()
}

// classify gives a context's end its class: whatever the driver made of it,
// the platform did not answer in time.
func classify(ctx context.Context, err error, e Effect) error {
	if err == nil {
		return nil
	}
	var unknown *ops.UnknownOutcome
	if errors.As(err, &unknown) || ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	if !errors.Is(err, ops.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
	}
	if e == Read {
		return err
	}
	return &ops.UnknownOutcome{Err: err}
}

// whole returns an error for a copy that lacks what every ticket has.
func (c *Conn) whole(copies ...Copy) error {
	for _, t := range copies {
		if t.Ref == "" || t.Display == "" || t.Version == "" || t.UpdatedAt.IsZero() {
			return fmt.Errorf("driver %s returned ticket %q (%s) without ref, number, version or time: %w", c.driver, t.Ref, t.Display, ops.ErrInternal)
		}
	}
	return nil
}
