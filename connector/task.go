package connector

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Tasker is implemented by drivers whose platform keeps tasks with change
// requests.
type Tasker interface {
	// KeepsTasks tells whether this connection is set up to keep them. It does
	// no I/O.
	KeepsTasks() bool
	// PutTask makes the task of a change request with t.Key show t, and returns
	// it as it stands. One that is not there is opened; asked again with the same
	// key, also concurrently within this process, it opens no second one. A
	// platform that cannot refuse a second one looks the key up first: after an
	// unknown outcome the caller waits the SettleTime of change requests before
	// it asks again. A task that has ended stays as it is, whoever ended it, and
	// is no error. One that is to be skipped and was never there is not opened:
	// the zero Task.
	PutTask(ctx context.Context, ref string, t Task) (Task, error)
	// Tasks returns the tasks of a change request that were put, in their order.
	// Those of others are left out.
	Tasks(ctx context.Context, ref string) ([]Task, error)
}

// Task is a piece of work that belongs to a change request.
type Task struct {
	Key   string        `json:"key"` // ours, of 32 lower-case hexadecimal digits: that of this task for ever
	Kind  ops.TaskKind  `json:"kind"`
	Title string        `json:"title"`
	Text  string        `json:"text"`
	Order int           `json:"order"` // 1 comes first
	State ops.TaskState `json:"state"`
	Note  string        `json:"note,omitempty"` // why it ended; empty before
	// PlannedStart and PlannedEnd are whole seconds; both or neither are set.
	PlannedStart time.Time `json:"planned_start,omitzero"`
	PlannedEnd   time.Time `json:"planned_end,omitzero"`
	// Display is the number people know it by. The platform gives it.
	Display string `json:"display"`
}

var taskKey = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (t Task) check() error {
	switch {
	case !taskKey.MatchString(t.Key) || t.Order < 1 || strings.TrimSpace(t.Title) == "":
		return fmt.Errorf("task %.40q needs a key of 32 hexadecimal digits, a place and a title: %w", t.Key, ops.ErrInternal)
	case t.Kind != ops.TaskImplement && t.Kind != ops.TaskVerify || !slices.Contains(ops.TaskStates, t.State):
		return fmt.Errorf("task %s is of kind %q and state %q, one of which there is none: %w", t.Key, t.Kind, t.State, ops.ErrInternal)
	case t.State.Ended() != (t.Note != ""):
		return fmt.Errorf("task %s is %s with note %.40q; those that ended say why, and no others: %w", t.Key, t.State, t.Note, ops.ErrInternal)
	case t.PlannedStart.IsZero() != t.PlannedEnd.IsZero():
		return fmt.Errorf("task %s has one of two planned times: %w", t.Key, ops.ErrInternal)
	case t.PlannedStart.Nanosecond() != 0 || t.PlannedEnd.Nanosecond() != 0:
		return fmt.Errorf("task %s is planned for parts of a second: %w", t.Key, ops.ErrInternal)
	}
	return nil
}

// KeepsTasks tells whether the platform keeps tasks with change requests.
func (c *Conn) KeepsTasks() bool {
	t, ok := c.inner.(Tasker)
	return ok && t.KeepsTasks()
}

// PutTask implements Tasker; a driver without it is ErrInvalid.
func (c *Conn) PutTask(ctx context.Context, ref string, t Task) (got Task, err error) {
	k, err := capability[Tasker](c, "keep tasks")
	if err == nil {
		t.PlannedStart, t.PlannedEnd, t.Display = t.PlannedStart.UTC(), t.PlannedEnd.UTC(), ""
		err = t.check()
	}
	if err != nil {
		return Task{}, c.fault("put_task", err)
	}
	err = c.call(ctx, "put_task", ref, Repeat, func() (err error) {
		got, err = k.PutTask(ctx, ref, t)
		return err
	}, func() error {
		if got.Key != t.Key && got != (Task{}) {
			return fmt.Errorf("task %s came back as %s: %w", t.Key, got.Key, ops.ErrInternal)
		}
		return nil
	})
	return got, err
}

// Tasks implements Tasker; a driver without it is ErrInvalid.
func (c *Conn) Tasks(ctx context.Context, ref string) (all []Task, err error) {
	k, err := capability[Tasker](c, "keep tasks")
	if err != nil {
		return nil, c.fault("tasks", err)
	}
	err = c.call(ctx, "tasks", ref, Read, func() (err error) {
		all, err = k.Tasks(ctx, ref)
		return err
	}, nil)
	return all, err
}
