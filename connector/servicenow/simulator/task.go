package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Tasks of change requests. The calls and fields are those of the vendor's page
// of the Change Management API, the states those that the Ansible collection
// writes; what neither says is in Config.

const taskTable = "change_task"

// States of a task, in the order they are passed.
const (
	taskPending  = "-5"
	taskOpen     = "1"
	taskWorking  = "2"
	taskClosed   = "3"
	taskCanceled = "4"
	taskSkipped  = "7" // of the older states
)

// OpenTasks is what becomes of open tasks when their change request goes to
// Review, Closed or Canceled.
type OpenTasks string

// What an instance does with open tasks.
const (
	// RefuseOpenTasks aborts the move to Review and Closed, as the business rule
	// does that many instances have. A cancelled change request leaves them open.
	RefuseOpenTasks OpenTasks = "refuse"
	// CancelOpenTasks cancels them.
	CancelOpenTasks OpenTasks = "cancel"
	// LeaveOpenTasks leaves them as they are.
	LeaveOpenTasks OpenTasks = "leave"
)

func (s *Server) taskLabels() []struct{ value, label string } {
	if s.cfg.OlderTaskStates {
		return []struct{ value, label string }{
			{taskPending, "Pending"},
			{taskOpen, "Open"},
			{taskWorking, "Work in Progress"},
			{taskClosed, "Closed Complete"},
			{taskCanceled, "Closed Incomplete"},
			{taskSkipped, "Closed Skipped"},
		}
	}
	return []struct{ value, label string }{
		{taskPending, "Pending"}, {taskOpen, "Open"}, {taskWorking, "In Progress"}, {taskClosed, "Closed"}, {taskCanceled, "Canceled"},
	}
}

func taskEnded(state string) bool {
	return state == taskClosed || state == taskCanceled || state == taskSkipped
}

// taskSchema is the part of the dictionary behind tasks.
func taskSchema(staff, admin []string) *tableDef {
	text := func(name, label string) fieldDef { return fieldDef{name: name, label: label, max: 4000} }
	return &tableDef{name: taskTable, display: "number", numbered: "CTASK", writers: staff, deleters: admin, fields: []fieldDef{
		{name: "number", label: "Number", max: 40},
		{name: "change_request", label: "Change request", kind: referenceField, target: changeTable},
		{name: "parent", label: "Parent", kind: referenceField, target: changeTable, readOnly: true},
		{name: "short_description", label: "Short description", max: 160},
		text("description", "Description"),
		{name: "change_task_type", label: "Type", choice: true, initial: "planning", max: 40},
		{name: "state", label: "State", kind: integerField, choice: true, initial: taskPending},
		{name: "order", label: "Order", kind: integerField},
		{name: "active", label: "Active", kind: booleanField, initial: "true", readOnly: true},
		{name: "on_hold", label: "On hold", kind: booleanField, initial: "false"},
		text("on_hold_reason", "On hold reason"),
		{name: "planned_start_date", label: "Planned start date", kind: timeField},
		{name: "planned_end_date", label: "Planned end date", kind: timeField},
		{name: "cmdb_ci", label: "Configuration item", kind: referenceField, target: "cmdb_ci"},
		{name: "assignment_group", label: "Assignment group", kind: referenceField, target: "sys_user_group"},
		{name: "assigned_to", label: "Assigned to", kind: referenceField, target: "sys_user"},
		{name: "correlation_id", label: "Correlation ID", max: 100},
		{name: "correlation_display", label: "Correlation display", max: 100},
		{name: "close_code", label: "Close code", choice: true, max: 40},
		text("close_notes", "Close notes"),
		{name: "work_notes", label: "Work notes", kind: journalField},
		{name: "comments", label: "Additional comments", kind: journalField},
	}}
}

// taskRules refuses what cannot become of a task, and computes the rest.
func (s *Server) taskRules(before, after Record) *refusal {
	after["parent"], after["active"] = after["change_request"], fmt.Sprint(!taskEnded(after["state"]))
	of := s.tables[changeTable].get(after["change_request"])
	if of == nil {
		return nil
	}
	if state := of.values["state"]; state == changeClosed || state == changeCanceled {
		return s.cfg.Answers.TaskOfEnded.refusal("")
	}
	if before != nil && before["state"] != after["state"] {
		rank := func(state string) int { return slices.Index([]string{taskPending, taskOpen, taskWorking}, state) }
		if taskEnded(before["state"]) || !taskEnded(after["state"]) && rank(after["state"]) < rank(before["state"]) {
			return s.cfg.Answers.TaskMove.refusal("")
		}
	}
	start, end := after["planned_start_date"], after["planned_end_date"]
	if after["change_task_type"] != "implementation" || before != nil && before["planned_start_date"] == start && before["planned_end_date"] == end {
		return nil
	}
	first, last := of.values["start_date"], of.values["end_date"]
	for _, at := range []string{start, end} {
		if at != "" && (first == "" || last == "" || at < first || at > last) {
			return s.cfg.Answers.TaskOutside.refusal("")
		}
	}
	return nil
}

// openTasks returns the tasks of a change request that have not ended.
func (s *Server) openTasks(changeID string) []*row {
	var out []*row
	for _, t := range s.tables[taskTable].order {
		if t.values["change_request"] == changeID && !taskEnded(t.values["state"]) {
			out = append(out, t)
		}
	}
	return out
}

// holdsTasks refuses a move over open tasks where the Config says so.
func (s *Server) holdsTasks(after Record) *refusal {
	over := after["state"] == changeReview || after["state"] == changeClosed
	if !over || s.cfg.OpenTasks != RefuseOpenTasks || len(s.openTasks(after["sys_id"])) == 0 {
		return nil
	}
	return s.cfg.Answers.OpenTasks.refusal("")
}

// endTasks ends what is open of a change request that ends, where the Config
// says so.
func (s *Server) endTasks(r *row, who *caller) {
	over := []string{changeReview, changeClosed, changeCanceled}
	if s.cfg.OpenTasks != CancelOpenTasks || !slices.Contains(over, r.values["state"]) {
		return
	}
	for _, t := range s.openTasks(r.values["sys_id"]) {
		t.values["state"], t.values["active"] = taskCanceled, "false"
		s.touch(t.values, who.name)
	}
}

// serveTasks answers below a change request: POST and GET for all its tasks,
// PATCH and DELETE for one. There is no GET for one on the vendor's page.
func (s *Server) serveTasks(c *call, of *row, id string, who *caller) (answer, *refusal) {
	if id == "" {
		switch c.method {
		case http.MethodGet:
			return s.listTasks(c, of, who), nil
		case http.MethodPost:
			return s.createTask(c, of, who)
		}
		return answer{}, refuse(http.StatusMethodNotAllowed, "Method not supported", c.method+" is not supported by this resource")
	}
	r := s.tables[taskTable].get(id)
	if r == nil || s.hidden(who, r) || r.values["change_request"] != of.values["sys_id"] {
		return answer{}, notFound()
	}
	var a answer
	switch c.method {
	case http.MethodPatch:
		given := c.given()
		changed, refused := s.update(r, s.input(r.table, given, false, who), who)
		if refused != nil {
			return answer{}, refused
		}
		a = s.tasksAnswer(s.shownChange(r, ignored(r.table, given)))
		a.changed = changed
	case http.MethodDelete:
		if refused := s.delete(r, who); refused != nil {
			return answer{}, refused
		}
		a = s.tasksAnswer(s.shownChange(r, nil))
		a.changed = true
	default:
		return answer{}, refuse(http.StatusMethodNotAllowed, "Method not supported", c.method+" is not supported by this resource")
	}
	return a, nil
}

// tasksAnswer shows tasks: always a list.
func (s *Server) tasksAnswer(shown ...map[string]any) answer {
	return jsonAnswer(http.StatusOK, map[string]any{"result": shown})
}

func (s *Server) createTask(c *call, of *row, who *caller) (answer, *refusal) {
	def, given := s.schema[taskTable], c.given()
	delete(given, "sys_id") // this API gives out its own keys
	in := s.input(def, given, false, who)
	in.values["change_request"] = of.values["sys_id"]
	r, refused := s.insert(def, in, who)
	if refused != nil {
		return answer{}, refused
	}
	a := s.tasksAnswer(s.shownChange(r, ignored(def, given)))
	a.changed = true
	return a, nil
}

// listTasks lists the tasks of a change request. The last element tells the
// query and is no task.
func (s *Server) listTasks(c *call, of *row, who *caller) answer {
	search := &call{params: url.Values{}}
	for name, v := range c.params {
		if name != "order" && name != "textSearch" && (name == "sysparm_query" || !strings.HasPrefix(name, "sysparm_")) {
			search.params[name] = v
		}
	}
	found := slices.DeleteFunc(s.search(search, s.schema[taskTable], who), func(r *row) bool { return r.values["change_request"] != of.values["sys_id"] })
	if by := c.params.Get("order"); by != "" {
		slices.SortStableFunc(found, func(a, b *row) int { return strings.Compare(a.values[by], b.values[by]) })
	}
	limit := number(c, "sysparm_limit", 500)
	first := min(max(number(c, "sysparm_offset", 0), 0), len(found))
	shown := []map[string]any{}
	for _, r := range found[first:min(first+max(limit, 0), len(found))] {
		if !s.hidden(who, r) {
			shown = append(shown, s.shownChange(r, nil))
		}
	}
	if q := c.params.Get("sysparm_query"); q != "" {
		shown = append(shown, map[string]any{"__meta": map[string]any{"encodedQuery": q}})
	}
	return s.tasksAnswer(shown...)
}
