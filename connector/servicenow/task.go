package servicenow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var _ connector.Tasker = (*platform)(nil)

// KeepsTasks implements connector.Tasker.
func (p *platform) KeepsTasks() bool {
	return p.m.options.Changes != nil && !p.m.options.Changes.Tasks.Omit
}

// PutTask implements connector.Tasker. This API gives out its own keys, so that
// a task is looked up by ours before one is made.
func (p *platform) PutTask(ctx context.Context, ref string, t connector.Task) (connector.Task, error) {
	id, err := p.taskRef(ref)
	if err != nil {
		return connector.Task{}, err
	}
	done, err := p.creating.take(ctx, t.Key)
	if err != nil {
		return connector.Task{}, err
	}
	defer done()
	there, err := p.taskRows(ctx, id, t.Key)
	if err != nil {
		return connector.Task{}, err
	}
	if len(there) == 0 && t.State == ops.TaskSkipped {
		return connector.Task{}, nil
	}
	if len(there) == 0 {
		made, err := p.makeTask(ctx, id, t)
		if err != nil {
			return connector.Task{}, err
		}
		there = append(there, made)
	}
	for _, double := range there[1:] {
		if err := p.cancelTask(ctx, id, double, there[0]); err != nil {
			return connector.Task{}, err
		}
	}
	if p.m.taskState(there[0]).Ended() {
		return p.m.task(there[0])
	}
	b := p.m.editTask(there[0], t)
	if len(b) == 0 {
		return p.m.task(there[0])
	}
	got, err := p.sendTask(ctx, http.MethodPatch, taskPath(id)+"/"+string(there[0].fields["sys_id"]), b, connector.Repeat)
	if err != nil {
		return connector.Task{}, err
	}
	out, err := p.m.task(got)
	if err == nil && out.State != t.State {
		err = fmt.Errorf("state: task %s took the write and is %s instead of %s; the instance may not let the account end tasks, or know the value: see options.changes.tasks: %w",
			out.Display, out.State, t.State, ops.ErrInvalid)
	}
	return out, err
}

// Tasks implements connector.Tasker.
func (p *platform) Tasks(ctx context.Context, ref string) ([]connector.Task, error) {
	id, err := p.taskRef(ref)
	if err != nil {
		return nil, err
	}
	rows, err := p.taskRows(ctx, id, "")
	if err != nil {
		return nil, err
	}
	out := make([]connector.Task, 0, len(rows))
	for _, r := range rows {
		t, err := p.m.task(r)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(a, b connector.Task) int { return a.Order - b.Order })
	return out, nil
}

// taskRef returns the sys_id of a change request that may have tasks.
func (p *platform) taskRef(ref string) (string, error) {
	id, ok := changeRef(ref)
	switch {
	case !ok || !idPattern.MatchString(id):
		return "", notFound(ref)
	case !p.KeepsTasks():
		return "", fmt.Errorf("%s: this platform is not set up for tasks; take omit out of options.changes.tasks: %w", ref, ops.ErrInvalid)
	}
	return id, nil
}

func taskPath(id string) string { return changePath + "/" + id + "/task" }

// taskRows returns our tasks of a change request, oldest first: all, or those
// under one key.
func (p *platform) taskRows(ctx context.Context, id, key string) ([]changeResult, error) {
	var out []changeResult
	for offset := 0; ; offset += pageSize {
		q := url.Values{"sysparm_query": {p.m.taskQuery(key)}, "sysparm_limit": {strconv.Itoa(pageSize)}, "sysparm_offset": {strconv.Itoa(offset)}}
		a, err := p.c.send(ctx, call{method: http.MethodGet, path: taskPath(id), query: q, effect: connector.Read})
		if err != nil {
			return nil, err
		}
		if err := p.c.failure(a, connector.Read, http.StatusOK); err != nil {
			return nil, fmt.Errorf("tasks: %w", err)
		}
		rows, err := result[[]changeResult](a, connector.Read)
		if err != nil {
			return nil, err
		}
		n := 0
		for _, r := range rows {
			if r.fields["sys_id"] == "" {
				continue // the last element may tell of the query
			}
			n++
			// Conditions the instance does not like are left out.
			if p.m.oursTask(r) && (key == "" || string(r.fields["correlation_id"]) == key) {
				out = append(out, r)
			}
		}
		if n < pageSize {
			return out, nil
		}
	}
}

// makeTask opens a task, for the group and the configuration item of its change
// request.
func (p *platform) makeTask(ctx context.Context, id string, t connector.Task) (changeResult, error) {
	of, err := p.changeRow(ctx, id)
	if err != nil {
		return changeResult{}, err
	}
	made, err := p.sendTask(ctx, http.MethodPost, taskPath(id), p.m.newTask(t, of), connector.Once)
	if err != nil {
		return changeResult{}, err
	}
	if got := string(made.fields["correlation_id"]); got != t.Key {
		return changeResult{}, fmt.Errorf("task %s was opened without its correlation_id; let the account write this field, and delete it: %w", made.fields["number"], ops.ErrInvalid)
	}
	return made, nil
}

// cancelTask ends a second task under one key, that an answer lost for very
// long left behind.
func (p *platform) cancelTask(ctx context.Context, id string, double, keep changeResult) error {
	if p.m.taskState(double).Ended() {
		return nil
	}
	b := body{"state": p.m.options.Changes.Tasks.states()[ops.TaskSkipped], "close_notes": fmt.Sprintf("Duplicate of %s.", keep.fields["number"])}
	_, err := p.sendTask(ctx, http.MethodPatch, taskPath(id)+"/"+string(double.fields["sys_id"]), b, connector.Repeat)
	if errors.Is(err, ops.ErrNotFound) {
		return nil
	}
	return err
}

// sendTask writes a task and returns it as it stands. A field that the instance
// does without is left out and said in the log, unless it cannot be done without.
func (p *platform) sendTask(ctx context.Context, method, path string, b body, e connector.Effect) (changeResult, error) {
	for _, c := range taskChoices {
		if v := b[c.element]; v != "" {
			if err := p.checkTaskChoice(ctx, c.element, c.option, v); err != nil {
				return changeResult{}, err
			}
		}
	}
	a, err := p.c.send(ctx, call{method: method, path: path, body: b, effect: e})
	if err != nil {
		return changeResult{}, err
	}
	if err := p.c.failure(a, e, http.StatusOK, http.StatusCreated); err != nil {
		return changeResult{}, err
	}
	got, err := result[changeResult](a, e)
	if err != nil {
		return got, err
	}
	if got.fields["sys_id"] == "" {
		return got, nonsense(e, "answered %d with a task without sys_id", a.resp.StatusCode)
	}
	for _, name := range got.ignored {
		if slices.Contains(taskNeeds, name) {
			return got, fmt.Errorf("%s: the instance ignores this field of change tasks; let the account write it: %w", name, ops.ErrInvalid)
		}
		p.env.Log.LogAttrs(ctx, slog.LevelInfo, "field of a task is ignored", slog.String("field", name), slog.String("ref", string(got.fields["number"])))
	}
	return got, nil
}

func (p *platform) checkTaskChoice(ctx context.Context, element, option, v string) error {
	known, err := p.choicesOf(ctx, taskTable, element)
	if err != nil || len(known) == 0 || slices.Contains(known, v) {
		return err
	}
	return fmt.Errorf("%s: the instance knows no %s %q of change tasks, only %s; set options.%s: %w",
		element, element, v, strings.Join(known, ", "), option, ops.ErrInvalid)
}

// checkTasks returns what of the mapping of tasks the instance does not know.
func (p *platform) checkTasks(ctx context.Context) []error {
	o := p.m.options.Changes.Tasks
	if o.Omit {
		return nil
	}
	var faults []error
	check := func(n int, v string) {
		if v != "" {
			faults = append(faults, p.checkTaskChoice(ctx, taskChoices[n].element, taskChoices[n].option, v))
		}
	}
	for _, state := range ops.TaskStates {
		check(0, o.states()[state])
		check(2, o.closeCodes()[state])
	}
	for _, kind := range []ops.TaskKind{ops.TaskImplement, ops.TaskVerify} {
		check(1, o.types()[kind])
	}
	return faults
}
