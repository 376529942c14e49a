package servicenow_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/servicenow"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

func aTask(order int, state ops.TaskState) connector.Task {
	t := connector.Task{
		Key: strings.Repeat(string(rune('0'+order)), 32), Kind: ops.TaskImplement, Title: "Update web-01", Text: "Executor: aws", Order: order, State: state,
	}
	if state.Ended() {
		t.Note = "It is over."
	}
	return t
}

func (c *connection) put(ref string, t connector.Task) connector.Task {
	c.Helper()
	got, err := c.PutTask(c.Context(), ref, t)
	if err != nil {
		c.Fatal(err)
	}
	return got
}

// only returns the only task of the instance.
func (i *instance) only(t *testing.T) simulator.Record {
	t.Helper()
	all := i.sim.Records("change_task")
	if len(all) != 1 {
		t.Fatalf("%d tasks", len(all))
	}
	return all[0]
}

// What people see of a task, in the vendor's words, and that the group and the
// configuration item are those of its change request.
func TestTaskInTheVendorsWords(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(withChanges))
	made := c.createChange(ops.ChangeNormal)
	c.put(made.Ref, aTask(2, ops.TaskOpen))
	is := func(want simulator.Record) {
		t.Helper()
		got := i.only(t)
		for name, v := range want {
			if got[name] != v {
				t.Errorf("%s is %q, want %q", name, got[name], v)
			}
		}
	}
	change := i.sim.Records("change_request")[0]
	is(simulator.Record{
		"change_request": change["sys_id"], "short_description": "Update web-01", "description": "Executor: aws", "change_task_type": "implementation",
		"state": "1", "order": "2", "correlation_id": strings.Repeat("2", 32), "correlation_display": change["correlation_display"],
		"assignment_group": change["assignment_group"], "cmdb_ci": change["cmdb_ci"], "close_code": "",
	})
	if change["assignment_group"] == "" || change["cmdb_ci"] == "" {
		t.Errorf("the change request has no group or no configuration item")
	}
	c.put(made.Ref, aTask(2, ops.TaskInProgress))
	is(simulator.Record{"state": "2"})
	c.put(made.Ref, aTask(2, ops.TaskIncomplete))
	is(simulator.Record{"state": "3", "close_code": "unsuccessful", "close_notes": "It is over."})
	if now := i.sim.Records("change_request")[0]; now["sys_mod_count"] != change["sys_mod_count"] {
		t.Errorf("the tasks moved their change request")
	}
}

// A person ends a task: what comes of the run after that is no error and
// changes nothing.
func TestPersonEndsATask(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(withChanges))
	made := c.createChange(ops.ChangeNormal)
	c.put(made.Ref, aTask(1, ops.TaskOpen))
	i.as(t, "carl", http.MethodPatch, "/api/now/table/change_task/"+i.only(t)["sys_id"], map[string]string{"state": "3", "close_code": "successful_issues", "close_notes": "by hand"})
	before := i.sim.Counts().Writes
	for _, state := range []ops.TaskState{ops.TaskInProgress, ops.TaskIncomplete} {
		if got := c.put(made.Ref, aTask(1, state)); got.State != ops.TaskComplete || got.Note != "by hand" {
			t.Errorf("after a late %s it is %+v", state, got)
		}
	}
	if n := i.sim.Counts().Writes - before; n != 0 {
		t.Errorf("%d writes", n)
	}
}

// A second task under one key, that an answer lost for very long left behind,
// is cancelled and not counted on.
func TestDoubleTaskIsCancelled(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(withChanges))
	made := c.createChange(ops.ChangeNormal)
	one := c.put(made.Ref, aTask(1, ops.TaskOpen))
	first := i.only(t)
	i.wait(time.Second)
	i.as(t, "carl", http.MethodPost, "/api/sn_chg_rest/change/"+first["change_request"]+"/task", map[string]string{
		"short_description": "the same", "state": "1", "correlation_id": first["correlation_id"], "correlation_display": first["correlation_display"],
	})
	for range 2 {
		if got := c.put(made.Ref, aTask(1, ops.TaskInProgress)); got.Display != one.Display {
			t.Errorf("put on %s", got.Display)
		}
	}
	second := i.sim.Records("change_task")[1]
	if second["state"] != "4" || second["close_notes"] != "Duplicate of "+one.Display+"." {
		t.Errorf("the second is %s: %s", second["state"], second["close_notes"])
	}
	if got := i.sim.Records("change_task")[0]["state"]; got != "2" {
		t.Errorf("the first is %s", got)
	}
}

// Instances that end tasks themselves, or leave them, and those with the states
// of the older table.
func TestTasksOfOtherInstances(t *testing.T) {
	f := func(name string, set func(*simulator.Config), options map[string]any, states ...string) {
		t.Run(name, func(t *testing.T) {
			i := start(t, func(c *simulator.Config) { c.ChangeApprovers = map[string][]string{} }, set)
			c := i.open(t, i.settings(connectortest.Values{"changes": options}))
			if err := c.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			made := c.createChange(ops.ChangeNormal)
			for n, state := range []ops.TaskState{ops.TaskComplete, ops.TaskIncomplete, ops.TaskSkipped} {
				for _, s := range []ops.TaskState{ops.TaskOpen, ops.TaskInProgress, state} {
					if got := c.put(made.Ref, aTask(n+1, s)); got.State != s {
						t.Errorf("put as %s, it is %s", s, got.State)
					}
				}
				if got := i.sim.Records("change_task")[n]["state"]; got != states[n] {
					t.Errorf("%s is %s there, want %s", state, got, states[n])
				}
			}
			c.put(made.Ref, aTask(4, ops.TaskOpen))
			if _, err := c.RequestApproval(t.Context(), made.Ref, connectortest.Mark(1)); err != nil {
				t.Fatal(err)
			}
			now, err := c.Get(t.Context(), made.Ref)
			if err != nil {
				t.Fatal(err)
			}
			if now, err = c.moveTo(now, ops.ChangeReview); err != nil || now.Fields.State != "review" {
				t.Errorf("it stands at %s, %v", now.Fields.State, err)
			}
			// Whatever the instance made of it, it can be put to rest.
			if got := c.put(made.Ref, aTask(4, ops.TaskSkipped)); got.State != ops.TaskSkipped {
				t.Errorf("the open one is %+v", got)
			}
		})
	}
	f("cancels", func(c *simulator.Config) { c.OpenTasks = simulator.CancelOpenTasks }, map[string]any{}, "3", "3", "4")
	f("leaves", func(c *simulator.Config) { c.OpenTasks = simulator.LeaveOpenTasks }, map[string]any{}, "3", "3", "4")
	f("older", func(c *simulator.Config) { c.OpenTasks, c.OlderTaskStates = simulator.LeaveOpenTasks, true }, map[string]any{
		"tasks": map[string]any{"states": map[string]any{"incomplete": "4", "skipped": "7"}},
	}, "3", "4", "7")
}

// A change request with an open task is refused its end there: that is said in
// the instance's words and nothing is closed.
func TestOpenTaskHoldsUpItsChange(t *testing.T) {
	i := start(t, func(c *simulator.Config) { c.ChangeApprovers = map[string][]string{} })
	c := i.open(t, i.settings(withChanges))
	made := c.createChange(ops.ChangeNormal)
	c.put(made.Ref, aTask(1, ops.TaskOpen))
	if _, err := c.RequestApproval(t.Context(), made.Ref, connectortest.Mark(1)); err != nil {
		t.Fatal(err)
	}
	now, err := c.Get(t.Context(), made.Ref)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.moveTo(now, ops.ChangeReview)
	c.fails(err, ops.ErrInvalid, "Change tasks are open")
}

// Fields that an instance does without are left out; without others a task
// would say the wrong thing.
func TestFieldsOfTasksTheInstanceIgnores(t *testing.T) {
	f := func(field string, refused bool) {
		t.Run(field, func(t *testing.T) {
			i := start(t)
			c := i.open(t, i.settings(withChanges))
			made := c.createChange(ops.ChangeNormal)
			c.wire.each = func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				if req.Method != http.MethodPost {
					return nil, nil
				}
				b, err := io.ReadAll(req.Body)
				if err != nil {
					return nil, err
				}
				b = bytes.Replace(b, []byte(`"`+field+`"`), []byte(`"u_`+field+`"`), 1)
				req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
				resp, err := next.RoundTrip(req)
				if err != nil {
					return nil, err
				}
				defer resp.Body.Close()
				b, err = io.ReadAll(resp.Body)
				return says(req, resp.StatusCode, "application/json", strings.Replace(string(b), `"ignoredFields":["u_`, `"ignoredFields":["`, 1)), err
			}
			_, err := c.PutTask(t.Context(), made.Ref, aTask(1, ops.TaskOpen))
			if refused {
				c.fails(err, ops.ErrInvalid, field, "ignores this field")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	f("order", false)
	f("change_task_type", false)
	f("correlation_id", true)
	f("state", true)
}

func TestTasksAreNotKept(t *testing.T) {
	i := start(t)
	c := i.open(t, i.settings(connectortest.Values{"changes": map[string]any{"tasks": map[string]any{"omit": true}}}))
	made := c.createChange(ops.ChangeNormal)
	_, err := c.PutTask(t.Context(), made.Ref, aTask(1, ops.TaskOpen))
	c.fails(err, ops.ErrInvalid, "omit")
	if c.KeepsTasks() || i.open(t, i.settings(nil)).KeepsTasks() {
		t.Errorf("it says that it keeps tasks")
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMappingOfTasks(t *testing.T) {
	f := func(tasks servicenow.Tasks, says string) {
		t.Helper()
		var o servicenow.Options
		o.Defaults()
		o.Changes = &servicenow.Changes{Tasks: tasks}
		err := o.Validate()
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%+v: %v, want %q", tasks, err, says)
		}
	}
	type words = map[string]string
	f(servicenow.Tasks{}, "")
	f(servicenow.Tasks{States: words{"incomplete": "4", "skipped": "7"}, CloseCodes: words{"complete": "", "incomplete": ""}}, "")
	f(servicenow.Tasks{CloseCodes: words{"complete": "", "incomplete": ""}}, "complete and incomplete are both")
	f(servicenow.Tasks{States: words{"skipped": "3"}}, "could not be read back")
	f(servicenow.Tasks{States: words{"done": "3"}}, "map each of")
	f(servicenow.Tasks{States: words{"open": ""}}, "map each of")
	f(servicenow.Tasks{Types: words{"review": "review"}}, "implement and verify")
	f(servicenow.Tasks{CloseCodes: words{"skipped": "x"}}, "complete and incomplete")

	i := start(t)
	c := i.open(t, i.settings(connectortest.Values{"changes": map[string]any{"tasks": map[string]any{"types": map[string]any{"verify": "check"}}}}))
	c.fails(c.Check(t.Context()), ops.ErrInvalid, "options.changes.tasks.types", "planning, implementation, testing, review")
}
