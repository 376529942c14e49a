package ssmtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute/parameter/parametertest"
)

func (a *Account) send(in m) (any, *parametertest.Fault) {
	d, bad := a.document(text(in, "DocumentName"), text(in, "DocumentVersion"))
	if bad != nil {
		return nil, bad
	}
	ids := texts(in, "InstanceIds")
	timeout, hasTimeout := in["TimeoutSeconds"].(float64)
	switch {
	case d.Type != "Command":
		return nil, fault("InvalidDocument", "Document %s is not of type Command", text(in, "DocumentName"))
	case (len(ids) == 0) == (in["Targets"] == nil):
		return nil, fault("ValidationException", "Either InstanceIds or Targets must be given")
	case in["Targets"] != nil:
		return nil, fault("ValidationException", "this double takes no Targets")
	case len(ids) > 50:
		return nil, fault("ValidationException", "InstanceIds must have at most 50 members")
	case hasTimeout && (timeout < 30 || timeout > 2592000):
		return nil, fault("ValidationException", "TimeoutSeconds must be within 30 and 2592000")
	case len(text(in, "Comment")) > 100:
		return nil, fault("ValidationException", "Comment must have at most 100 characters")
	case !countPattern.MatchString(or(text(in, "MaxConcurrency"), "50")) || text(in, "MaxConcurrency") == "0" || !countPattern.MatchString(or(text(in, "MaxErrors"), "0")):
		return nil, fault("ValidationException", "MaxConcurrency or MaxErrors failed to satisfy constraint")
	}
	for _, id := range ids {
		if i := a.Instances[id]; i == nil || or(i.Ping, "Online") != "Online" {
			return nil, fault("InvalidInstanceId", "Instances [[%s]] not in a valid state for account", id)
		}
	}
	if bad := d.parameters(in); bad != nil {
		return nil, bad
	}
	slices.Sort(ids)
	c := &command{
		id: fmt.Sprintf("%08d-0000-4000-8000-000000000000", len(a.commands)+1), comment: text(in, "Comment"), document: text(in, "DocumentName"), does: *d, sent: time.Now(), instances: ids,
		concurrency: count(or(text(in, "MaxConcurrency"), "50"), len(ids)), errors: count(or(text(in, "MaxErrors"), "0"), len(ids)),
	}
	a.commands = append(a.commands, c)
	return m{"Command": c.show("Pending")}, nil
}

func (c *command) show(status string) m {
	return m{"CommandId": c.id, "Comment": c.comment, "DocumentName": c.document, "Status": status, "RequestedDateTime": epoch(c.sent)}
}

// state is how a command stands on an instance: instances begin in batches, and
// none begins once too many have failed.
func (a *Account) state(c *command, id string) (status, detail string, code int) {
	d, now := &c.does, time.Now()
	at, failed := slices.Index(c.instances, id), 0
	batch := at / c.concurrency
	for _, before := range c.instances[:batch*c.concurrency] {
		if i := a.Instances[before]; i.Lost || a.code(d, i) != 0 {
			failed++
		}
	}
	begin := c.sent.Add(d.Takes * time.Duration(batch))
	end := begin.Add(d.Takes)
	i := a.Instances[id]
	switch {
	case !c.cancelled.IsZero() && c.cancelled.Before(end):
		return "Cancelled", "Cancelled", -1
	case failed > c.errors:
		return "Cancelled", "Terminated", -1
	case now.Before(begin):
		return "Pending", "Pending", -1
	case i.Lost && now.After(end):
		return "Failed", "Undeliverable", -1
	case now.Before(end) || i.Lost:
		return "InProgress", "InProgress", -1
	case a.code(d, i) != 0:
		return "Failed", "Failed", a.code(d, i)
	}
	return "Success", "Success", 0
}

func (a *Account) code(d *Document, i *Instance) int {
	if i.Code != 0 {
		return i.Code
	}
	return d.Code
}

func (a *Account) find(id string) (*command, *parametertest.Fault) {
	for _, c := range a.commands {
		if c.id == id {
			return c, nil
		}
	}
	return nil, fault("InvalidCommandId", "%s", id)
}

func (a *Account) seen(c *command) bool { return time.Since(c.sent) >= a.Settle }

// list tells the status of a command as the service does: Success when one
// instance was reached and the others were not.
func (a *Account) list(in m) (any, *parametertest.Fault) {
	if id := text(in, "CommandId"); id != "" {
		if _, bad := a.find(id); bad != nil {
			return nil, bad
		}
	}
	rows := []m{}
	for _, c := range a.commands {
		if id := text(in, "CommandId"); id != "" && id != c.id || !a.seen(c) {
			continue
		}
		states := map[string]int{}
		for _, id := range c.instances {
			_, detail, _ := a.state(c, id)
			states[detail]++
		}
		status := "Success"
		switch {
		case states["InProgress"]+states["Pending"] > 0:
			status = "InProgress"
		case states["Cancelled"] > 0:
			status = "Cancelled"
		case states["Failed"] > 0 || states["Success"] == 0:
			status = "Failed"
		}
		rows = append(rows, c.show(status))
	}
	return m{"Commands": rows}, nil
}

func (a *Account) invocations(in m) (any, *parametertest.Fault) {
	c, bad := a.find(text(in, "CommandId"))
	if bad != nil {
		return nil, bad
	}
	rows := []m{}
	for _, id := range c.instances {
		if a.seen(c) {
			status, detail, _ := a.state(c, id)
			rows = append(rows, m{"CommandId": c.id, "InstanceId": id, "Status": status, "StatusDetails": detail})
		}
	}
	return m{"CommandInvocations": rows}, nil
}

func (a *Account) invocation(in m) (any, *parametertest.Fault) {
	c, bad := a.find(text(in, "CommandId"))
	if bad != nil {
		return nil, bad
	}
	id := text(in, "InstanceId")
	if !slices.Contains(c.instances, id) || !a.seen(c) {
		return nil, fault("InvocationDoesNotExist", "")
	}
	status, detail, code := a.state(c, id)
	says := or(a.Instances[id].Says, c.does.Says)
	if status != "Success" && status != "Failed" || detail == "Undeliverable" {
		says = ""
	}
	return m{"CommandId": c.id, "InstanceId": id, "Status": status, "StatusDetails": detail, "ResponseCode": code, "StandardOutputContent": says[:min(len(says), 24000)], "StandardErrorContent": ""}, nil
}

func (a *Account) cancel(in m) (any, *parametertest.Fault) {
	c, bad := a.find(text(in, "CommandId"))
	if bad != nil {
		return nil, bad
	}
	if c.cancelled.IsZero() {
		c.cancelled = time.Now()
	}
	return m{}, nil
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func (a *Account) start(in m) (any, *parametertest.Fault) {
	name, token := text(in, "DocumentName"), text(in, "ClientToken")
	d, bad := a.document(name, text(in, "DocumentVersion"))
	input := fmt.Sprint(name, in["DocumentVersion"], in["Parameters"])
	switch {
	case bad != nil && bad.Code == "InvalidDocument" || bad == nil && d.Type != "Automation":
		return nil, fault("AutomationDefinitionNotFoundException", "%s", name)
	case bad != nil:
		return nil, fault("AutomationDefinitionVersionNotFoundException", "%s", bad.Message)
	case token != "" && !uuidPattern.MatchString(token):
		return nil, fault("ValidationException", "Value '%s' at 'clientToken' failed to satisfy constraint", token)
	}
	if bad := d.parameters(in); bad != nil {
		bad.Code = "InvalidAutomationExecutionParametersException"
		return nil, bad
	}
	for _, e := range a.executions {
		switch {
		case token == "" || e.token != token:
		case e.input != input:
			return nil, fault("IdempotentParameterMismatch", "")
		default:
			return m{"AutomationExecutionId": e.id}, nil
		}
	}
	e := &execution{id: fmt.Sprintf("%08d-0000-4000-8000-00000000000a", len(a.executions)+1), token: token, does: *d, input: input, began: time.Now()}
	a.executions = append(a.executions, e)
	return m{"AutomationExecutionId": e.id}, nil
}

// progress is how an execution and its steps stand.
func (a *Account) progress(e *execution) (status string, steps []m) {
	d, now := e.does, time.Now()
	for i, name := range d.Steps {
		begin := e.began.Add(d.Takes * time.Duration(i))
		end := begin.Add(d.Takes)
		step := m{"StepName": name, "StepExecutionId": fmt.Sprint(e.id, "-", i), "StepStatus": "Pending"}
		steps = append(steps, step)
		switch {
		case status != "":
		case !e.stopped.IsZero() && e.stopped.Before(end):
			step["StepStatus"], status = "Cancelled", "Cancelled"
		case now.Before(end):
			step["StepStatus"], status = "InProgress", "InProgress"
		case name == d.FailStep:
			step["StepStatus"], step["FailureMessage"], status = "Failed", d.Says, "Failed"
		default:
			step["StepStatus"], step["Outputs"] = "Success", m{"Output": []string{d.Says}}
		}
	}
	return or(status, "Success"), steps
}

func (a *Account) execution(in m) (*execution, *parametertest.Fault) {
	for _, e := range a.executions {
		if e.id == text(in, "AutomationExecutionId") {
			return e, nil
		}
	}
	return nil, fault("AutomationExecutionNotFoundException", "")
}

func (a *Account) get(in m) (any, *parametertest.Fault) {
	e, bad := a.execution(in)
	if bad != nil {
		return nil, bad
	}
	status, steps := a.progress(e)
	out := m{"AutomationExecutionId": e.id, "AutomationExecutionStatus": status, "StepExecutions": steps}
	if status == "Failed" {
		out["FailureMessage"] = "Step fails when it is Execute/Cancelling action: " + strings.TrimSpace(e.does.Says)
	}
	return m{"AutomationExecution": out}, nil
}

func (a *Account) stop(in m) (any, *parametertest.Fault) {
	e, bad := a.execution(in)
	if bad != nil {
		return nil, bad
	}
	if status, _ := a.progress(e); status != "InProgress" {
		return nil, fault("InvalidAutomationStatusUpdateException", "The execution is in %s", status)
	}
	e.stopped = time.Now()
	return m{}, nil
}
