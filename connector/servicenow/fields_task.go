package servicenow

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// The vendor's names for tasks of change requests, and how they are read and
// written.

const taskTable = "change_task"

// taskChoices are the choice fields of tasks, with the option that names their
// values.
var taskChoices = []struct{ element, option string }{
	{"state", "changes.tasks.states"}, {"change_task_type", "changes.tasks.types"}, {"close_code", "changes.tasks.close_codes"},
}

// taskNeeds are the fields without which a task says the wrong thing. Others
// that an instance does without are left out.
var taskNeeds = []string{"correlation_id", "correlation_display", "short_description", "state", "close_code"}

// newTask returns the body that opens a task: always as open, and moved on
// after that.
func (m mapping) newTask(t connector.Task, of row) body {
	b := body{
		"correlation_id": t.Key, "correlation_display": m.mark, "assignment_group": of.get("assignment_group"), "cmdb_ci": of.get("cmdb_ci"),
		"state": m.options.Changes.Tasks.states()[ops.TaskOpen],
	}
	maps.Copy(b, m.taskContent(t))
	maps.DeleteFunc(b, func(_, v string) bool { return v == "" })
	return b
}

// taskContent is what a task says, without how far it is.
func (m mapping) taskContent(t connector.Task) body {
	return body{
		"short_description": titleOut(t.Title), "description": cut(t.Text, maxDescription), "order": fmt.Sprint(t.Order),
		"change_task_type":   m.options.Changes.Tasks.types()[t.Kind],
		"planned_start_date": changeTime(t.PlannedStart), "planned_end_date": changeTime(t.PlannedEnd),
	}
}

// editTask returns the body that makes was show t, empty when it does.
func (m mapping) editTask(was changeResult, t connector.Task) body {
	o := m.options.Changes.Tasks
	b := m.taskContent(t)
	if t.State.Ended() {
		b["close_code"], b["close_notes"] = o.closeCodes()[t.State], cut(t.Note, maxCloseNotes)
		if b["close_code"] == "" {
			delete(b, "close_code")
		}
	}
	// A field that is not there cannot be written either.
	maps.DeleteFunc(b, func(name, v string) bool {
		is, there := was.fields[name]
		return !there || same(v, string(is))
	})
	if m.taskState(was) != t.State {
		b["state"] = o.states()[t.State]
	}
	return b
}

// taskState reads how far a task is. States that a customer added are those of
// a task that is open, or was skipped.
func (m mapping) taskState(r changeResult) ops.TaskState {
	o := m.options.Changes.Tasks
	states, theirs := o.states(), string(r.fields["state"])
	if theirs == states[ops.TaskIncomplete] && (theirs != states[ops.TaskComplete] || string(r.fields["close_code"]) == o.closeCodes()[ops.TaskIncomplete]) {
		return ops.TaskIncomplete
	}
	for _, s := range []ops.TaskState{ops.TaskComplete, ops.TaskSkipped, ops.TaskInProgress, ops.TaskOpen} {
		if theirs == states[s] {
			return s
		}
	}
	if r.fields["active"] == "false" {
		return ops.TaskSkipped
	}
	return ops.TaskOpen
}

// task reads a task.
func (m mapping) task(r changeResult) (connector.Task, error) {
	f := func(name string) string { return string(r.fields[name]) }
	t := connector.Task{
		Key: f("correlation_id"), Kind: ops.TaskImplement, Title: f("short_description"), Text: strings.ReplaceAll(f("description"), "\r\n", "\n"),
		State: m.taskState(r), Display: f("number"),
	}
	if f("change_task_type") == m.options.Changes.Tasks.types()[ops.TaskVerify] {
		t.Kind = ops.TaskVerify
	}
	if t.State.Ended() {
		t.Note = f("close_notes")
	}
	if _, err := fmt.Sscan(f("order"), &t.Order); err != nil {
		t.Order = 0 // nobody gave it a place
	}
	for _, at := range []struct {
		name string
		to   *time.Time
	}{{"planned_start_date", &t.PlannedStart}, {"planned_end_date", &t.PlannedEnd}} {
		if f(at.name) == "" {
			continue
		}
		var err error
		if *at.to, err = time.Parse(stampLayout, f(at.name)); err != nil {
			return t, fmt.Errorf("%s of %s: %w: %w", at.name, t.Display, err, ops.ErrUnavailable)
		}
	}
	return t, nil
}

// oursTask tells whether a task is one this installation put.
func (m mapping) oursTask(r changeResult) bool {
	return string(r.fields["correlation_display"]) == m.mark && keyPattern.MatchString(string(r.fields["correlation_id"]))
}

func (m mapping) taskQuery(key string) string {
	q := m.markQuery()
	if key != "" {
		v, _ := quote(key)
		q += "^correlation_id=" + v
	}
	return q + "^ORDERBYsys_created_on^ORDERBYsys_id"
}

// Tasks says how the tasks of change requests are written at the instance.
type Tasks struct {
	// Omit leaves them to the instance's own workflow. Default: false.
	Omit bool `yaml:"omit"`
	// Types maps implement and verify to values of change_task_type.
	// Default: implementation, testing.
	Types map[string]string `yaml:"types"`
	// States maps open, in_progress, complete, incomplete and skipped to values of
	// state. Default: 1, 2, 3, 3, 4; instances that kept the states of the table
	// task have 4 for incomplete and 7 for skipped.
	States map[string]string `yaml:"states"`
	// CloseCodes maps complete and incomplete to values of close_code; an empty
	// one sends none. Default: successful, unsuccessful.
	CloseCodes map[string]string `yaml:"close_codes"`
}

func (o Tasks) types() map[ops.TaskKind]string {
	out := map[ops.TaskKind]string{ops.TaskImplement: "implementation", ops.TaskVerify: "testing"}
	for kind, v := range o.Types {
		out[ops.TaskKind(kind)] = v
	}
	return out
}

func (o Tasks) states() map[ops.TaskState]string {
	out := map[ops.TaskState]string{ops.TaskOpen: "1", ops.TaskInProgress: "2", ops.TaskComplete: "3", ops.TaskIncomplete: "3", ops.TaskSkipped: "4"}
	for state, v := range o.States {
		out[ops.TaskState(state)] = v
	}
	return out
}

func (o Tasks) closeCodes() map[ops.TaskState]string {
	out := map[ops.TaskState]string{ops.TaskComplete: "successful", ops.TaskIncomplete: "unsuccessful"}
	for state, v := range o.CloseCodes {
		out[ops.TaskState(state)] = v
	}
	return out
}

// validate calls fault for each thing wrong.
func (o Tasks) validate(fault func(path, format string, args ...any)) {
	for _, kind := range slices.Sorted(maps.Keys(o.Types)) {
		if k := ops.TaskKind(kind); k != ops.TaskImplement && k != ops.TaskVerify || o.Types[kind] == "" {
			fault("tasks.types", "%q: %q; map implement and verify to values of change_task_type", kind, o.Types[kind])
		}
	}
	for _, state := range slices.Sorted(maps.Keys(o.States)) {
		if !slices.Contains(ops.TaskStates, ops.TaskState(state)) || o.States[state] == "" {
			fault("tasks.states", "%q: %q; map each of %v to a value of state", state, o.States[state], ops.TaskStates)
		}
	}
	for _, state := range slices.Sorted(maps.Keys(o.CloseCodes)) {
		if s := ops.TaskState(state); s != ops.TaskComplete && s != ops.TaskIncomplete {
			fault("tasks.close_codes", "%q; map complete and incomplete to values of close_code", state)
		}
	}
	states, codes := o.states(), o.closeCodes()
	for i, a := range ops.TaskStates {
		for _, b := range ops.TaskStates[i+1:] {
			told := a == ops.TaskComplete && b == ops.TaskIncomplete && codes[a] != codes[b]
			if states[a] == states[b] && !told {
				fault("tasks.states", "%s and %s are both %q, which could not be read back", a, b, states[a])
			}
		}
	}
}
