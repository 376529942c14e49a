package desk

import (
	"context"
	"fmt"
	"slices"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

var _ connector.Tasker = (*Desk)(nil)

// The tasks of a ticket are one record beside it: they move without it.
func taskKey(number int64) string { return fmt.Sprintf("task/%012d", number) }

// KeepsTasks implements connector.Tasker.
func (d *Desk) KeepsTasks() bool { return true }

// PutTask implements connector.Tasker.
func (d *Desk) PutTask(ctx context.Context, ref string, t connector.Task) (connector.Task, error) {
	var out connector.Task
	err := d.env.Records.Transact(ctx, func(ctx context.Context, now record.Reader) ([]record.Edit, error) {
		r, err := d.row(ctx, now, ref)
		if err == nil {
			err = r.isChange()
		}
		if err != nil {
			return nil, err
		}
		var all []connector.Task
		version, err := d.read(ctx, now, taskKey(r.Number), &all)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(x connector.Task) bool { return x.Key == t.Key })
		switch {
		case i < 0 && t.State == ops.TaskSkipped:
			out = connector.Task{}
			return nil, nil
		case i < 0:
			i, all = len(all), append(all, connector.Task{Display: fmt.Sprintf("%s/%d", ref, len(all)+1)})
		case all[i].State.Ended():
			out = all[i]
			return nil, nil
		}
		out = t
		out.Display = all[i].Display
		if all[i] == out {
			return nil, nil
		}
		all[i] = out
		return []record.Edit{put(taskKey(r.Number), all, version)}, nil
	})
	return out, err
}

// Tasks implements connector.Tasker.
func (d *Desk) Tasks(ctx context.Context, ref string) ([]connector.Task, error) {
	r, err := d.row(ctx, d.env.Records, ref)
	if err != nil {
		return nil, err
	}
	var all []connector.Task
	_, err = d.read(ctx, d.env.Records, taskKey(r.Number), &all)
	slices.SortStableFunc(all, func(a, b connector.Task) int { return a.Order - b.Order })
	return all, err
}
