package rt

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// Changes says how change requests are kept: as tickets of a queue of their own.
type Changes struct {
	// Queue holds change requests and nothing else. Required.
	Queue string `yaml:"queue,required"`
	// PlanField is the custom field (one value, free text) that shows which plan
	// stands to be approved. Default: FettlePlan.
	PlanField string `yaml:"plan_field"`
	// TypeField, PlanTextField and RollbackField are custom fields for what
	// Request Tracker has no field for. Default: none.
	TypeField     string `yaml:"type_field"`
	PlanTextField string `yaml:"plan_text_field"`
	RollbackField string `yaml:"rollback_field"`
	// Statuses are those of the queue's lifecycle for assess, authorize,
	// scheduled, implement, review, closed and cancelled. Default: new, open,
	// open, open, open, resolved, rejected.
	Statuses map[string]string `yaml:"statuses"`
	// Approved is the status people move a ticket to when they approve. With
	// it, and with a status for authorize that no other state has, approval is
	// asked for in Request Tracker. Default: none.
	Approved string `yaml:"approved"`
	// Denied is the status people move it to when they deny. Default: none.
	Denied string `yaml:"denied"`
}

func (c *Changes) planField() string {
	if c.PlanField == "" {
		return "FettlePlan"
	}
	return c.PlanField
}

// changeOrder are the states in the order a change passes them.
var changeOrder = []ops.ChangeState{
	ops.ChangeAssess, ops.ChangeAuthorize, ops.ChangeScheduled, ops.ChangeImplement, ops.ChangeReview, ops.ChangeClosed, ops.ChangeCancelled,
}

func (c *Changes) status(state ops.ChangeState) string {
	if state == ops.ChangeNew {
		state = ops.ChangeAssess
	}
	if s := c.Statuses[string(state)]; s != "" {
		return s
	}
	switch state {
	case ops.ChangeAssess:
		return "new"
	case ops.ChangeScheduled:
		if c.Approved != "" {
			return c.Approved
		}
		return "open"
	case ops.ChangeAuthorize, ops.ChangeImplement, ops.ChangeReview:
		return "open"
	case ops.ChangeClosed:
		return "resolved"
	case ops.ChangeCancelled:
		return "rejected"
	}
	return ""
}

// state returns what a status means; one that several states share is the first
// of them. An approved ticket is scheduled, a denied one waits for Fettle to end it.
func (c *Changes) state(status string) string {
	switch status {
	case c.Approved:
		return string(ops.ChangeScheduled)
	case c.Denied:
		return string(ops.ChangeAuthorize)
	}
	for _, s := range changeOrder {
		if c.status(s) == status {
			return string(s)
		}
	}
	return string(ops.ChangeImplement)
}

func (c *Changes) validate(o *Options) []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, invalid("changes."+format, args...)) }
	if c.Queue == "" {
		bad("queue: is empty; write the name of a queue that holds change requests only")
	}
	others := append([]string{o.Queue}, slices.Collect(maps.Values(o.Groups))...)
	for kind, q := range o.Queues {
		if kind != string(ops.TicketChangeRequest) {
			others = append(others, q)
		}
	}
	if slices.Contains(others, c.Queue) {
		bad("queue: %q holds other tickets too; give change requests a queue of their own", c.Queue)
	}
	for _, f := range []struct{ key, name string }{{"plan_field", c.PlanField}, {"type_field", c.TypeField}, {"plan_text_field", c.PlanTextField}, {"rollback_field", c.RollbackField}} {
		if f.name != "" && !fieldName.MatchString(f.name) {
			bad("%s: %q: use letters, digits, space and _ . : / - in the name of a custom field", f.key, f.name)
		}
	}
	for _, state := range sorted(c.Statuses) {
		if !slices.Contains(changeOrder, ops.ChangeState(state)) || c.Statuses[state] == "" {
			bad("statuses: %q: %q; map each of %v to a status of the queue's lifecycle", state, c.Statuses[state], changeOrder)
		}
	}
	if c.Denied != "" && c.Approved == "" {
		bad("approved: is missing; name the status that approves beside the one that denies")
	}
	if c.Approved == "" {
		return errs
	}
	asked := c.status(ops.ChangeAuthorize)
	for _, s := range []string{c.status(ops.ChangeAssess), c.Approved, c.Denied, c.status(ops.ChangeImplement), c.status(ops.ChangeReview), c.status(ops.ChangeClosed), c.status(ops.ChangeCancelled)} {
		if s == asked {
			bad("statuses.authorize: %q means something else as well; approval needs a status of its own", asked)
		}
	}
	return errs
}

// isChange tells the tickets of the queue of changes.
func (o *Options) isChange(t *ticket) bool { return o.Changes != nil && t.queue == o.Changes.Queue }

// ofOrders tells the queue of work orders. One that a group has as well shows
// the group.
func (o *Options) ofOrders(queue string) bool {
	return queue != "" && queue == o.Queues[string(ops.TicketWorkOrder)]
}

// carriesTimes tells the queues whose Starts and Due are planned times.
func (o *Options) carriesTimes(t *ticket) bool {
	return o.isChange(t) || o.ofOrders(t.queue)
}

var riskNumbers = map[ops.RiskWord]int{ops.RiskVeryHigh: 100, ops.RiskHigh: 75, ops.RiskModerate: 50, ops.RiskLow: 25}

// changeFieldsOf returns a change request or work order in our words.
func (o *Options) changeFieldsOf(t *ticket, f ops.TicketFields) ops.TicketFields {
	f.PlannedStart, f.PlannedEnd = t.Starts.Time, t.Due.Time
	delete(f.Extra, "Starts")
	delete(f.Extra, "Due")
	if !o.isChange(t) {
		return f
	}
	c := o.Changes
	f.State, f.Severity, f.Group = c.state(t.Status), "", ""
	f.Risk = ops.RiskVeryHigh
	for _, w := range ops.RiskWords {
		n := int(t.Priority.number())
		if distance(riskNumbers[w], n) < distance(riskNumbers[f.Risk], n) {
			f.Risk = w
		}
	}
	f.Plan, f.Type = t.field(c.planField()), ops.ChangeType(t.field(c.TypeField))
	f.PlanText, f.Rollback = t.field(c.PlanTextField), t.field(c.RollbackField)
	for _, name := range []string{c.planField(), c.TypeField, c.PlanTextField, c.RollbackField} {
		delete(f.Extra, name)
	}
	return f
}

// normalChange is normal for change requests.
func (o *Options) normalChange(f, seen ops.TicketFields) ops.TicketFields {
	c := o.Changes
	f.Title = subject(f.Title)
	if f.State == "" {
		f.State = seen.State
	}
	f.State = c.state(c.status(ops.ChangeState(f.State)))
	f.Severity, f.Group = seen.Severity, seen.Group
	if f.Risk == "" {
		f.Risk = seen.Risk
	}
	if f.Type == "" || c.TypeField == "" {
		f.Type = seen.Type
	}
	if c.PlanTextField == "" {
		f.PlanText = seen.PlanText
	}
	if c.RollbackField == "" {
		f.Rollback = seen.Rollback
	}
	f.ActualStart, f.ActualEnd = seen.ActualStart, seen.ActualEnd
	if strings.EqualFold(f.Assignee, seen.Assignee) {
		f.Assignee = seen.Assignee
	}
	for field, name := range o.carried() {
		if name == "" {
			f = connector.With(f, field, connector.Value(seen, field))
		}
	}
	f.Extra = seen.Extra
	return f
}

// editChange returns what to send so that the changed fields read as in want.
// The state goes by itself.
func (o *Options) editChange(want ops.TicketFields, changed []connector.Field) (content, error) {
	c, b := o.Changes, content{}
	custom := map[connector.Field]string{
		connector.Plan: c.planField(), connector.Type: c.TypeField, connector.PlanText: c.PlanTextField, connector.Rollback: c.RollbackField,
	}
	var rest []connector.Field
	for _, f := range changed {
		v := connector.Value(want, f)
		name, isCustom := custom[f]
		switch {
		case f == connector.State:
		case f == connector.Risk:
			b["Priority"] = riskNumbers[want.Risk]
		case f == connector.PlannedStart, f == connector.PlannedEnd:
			at := want.PlannedStart
			if name = "Starts"; f == connector.PlannedEnd {
				name, at = "Due", want.PlannedEnd
			}
			if at.IsZero() {
				at = time.Unix(0, 0)
			}
			b[name] = at.UTC().Format(dateLayout)
		case isCustom && v == "":
			b.custom(name, nil)
		case isCustom:
			b.custom(name, v)
		default:
			rest = append(rest, f)
		}
	}
	more, err := o.edit(want, rest)
	if err != nil {
		return nil, err
	}
	if fields, ok := more["CustomFields"].(map[string]any); ok {
		for name, v := range fields {
			b.custom(name, v)
		}
		delete(more, "CustomFields")
	}
	maps.Copy(b, more)
	return b, nil
}

// openingChange returns the body of a create.
func (o *Options) openingChange(key string, f ops.TicketFields) (content, error) {
	want := o.normalChange(f, ops.TicketFields{})
	b, err := o.editChange(want, connector.Diff(want, ops.TicketFields{}))
	if err != nil {
		return nil, err
	}
	b["Queue"] = o.Changes.Queue
	b.custom(o.KeyField, key)
	if f.Description != "" {
		b["Content"], b["ContentType"] = f.Description, "text/plain"
	}
	return b, nil
}

// updateChange implements Update for change requests: the fields first, then
// the status, step by step where the lifecycle knows no direct way.
func (p *platform) updateChange(ctx context.Context, t *ticket, e connector.Edit) (connector.Copy, error) {
	seen := p.o.fieldsOf(t)
	want := connector.Overlay(seen, e.Want, e.Changed)
	moves := slices.Contains(e.Changed, connector.State)
	over := string(ops.ChangeClosed)
	ends := moves && want.State == over && seen.State != over
	if ends {
		want.ResolveCode, want.ResolveNote = e.Want.ResolveCode, e.Want.ResolveNote
		if want.ResolveCode == "" || want.ResolveNote == "" {
			return connector.Copy{}, invalid("resolve_code, resolve_note: state %s needs both", want.State)
		}
	}
	code, note := want.ResolveCode, want.ResolveNote
	want = p.o.normalChange(want, seen)
	changed := connector.Diff(want, seen)
	if len(changed) == 0 {
		return p.copy(ctx, t, nil)
	}
	body, err := p.o.editChange(want, changed)
	if err != nil {
		return connector.Copy{}, err
	}
	said, err := p.write(ctx, t, body, false, "", "")
	if err != nil {
		return connector.Copy{}, err
	}
	got, err := p.ticket(ctx, string(t.ID))
	if err == nil && want.State != seen.State {
		got, err = p.walk(ctx, got, ops.ChangeState(want.State), ends, code, note)
	}
	if err != nil {
		return connector.Copy{}, err
	}
	return p.compare(ctx, t, got, want, changed, said)
}

// walk moves a change request towards a state and returns it as it stands.
func (p *platform) walk(ctx context.Context, t *ticket, to ops.ChangeState, ends bool, code, note string) (*ticket, error) {
	c := p.o.Changes
	goal := c.status(to)
	step := func(status string) error {
		if err := p.setStatus(ctx, t, status); err != nil {
			return err
		}
		got, err := p.ticket(ctx, string(t.ID))
		if err == nil {
			t = got
		}
		return err
	}
	if !ends {
		if err := step(goal); err != nil || t.Status == goal {
			return t, err
		}
	}
	from, end := slices.Index(changeOrder, ops.ChangeState(c.state(t.Status))), slices.Index(changeOrder, to)
	for i := max(from+1, 0); i < end && to != ops.ChangeCancelled; i++ {
		// A step the lifecycle does not have leaves the status as it was.
		if status := c.status(changeOrder[i]); status != t.Status && changeOrder[i] != ops.ChangeAuthorize {
			if err := step(status); err != nil {
				return t, err
			}
		}
	}
	if ends {
		if _, err := p.resolve(ctx, t, goal, code, note); err != nil {
			return t, err
		}
		return p.ticket(ctx, string(t.ID))
	}
	return t, step(goal)
}

func (p *platform) setStatus(ctx context.Context, t *ticket, status string) error {
	if t.Status == status {
		return nil
	}
	var said answers
	_, err := p.call(ctx, connector.Repeat, http.MethodPut, "/ticket/"+string(t.ID), nil, content{"Status": status}, &said)
	return err
}

// openingOf returns the queue a ticket is opened in, and the body of its create.
func (p *platform) openingOf(kind ops.TicketKind, key string, f ops.TicketFields) (string, content, error) {
	if kind == ops.TicketChangeRequest && p.o.Changes != nil {
		b, err := p.o.openingChange(key, f)
		return p.o.Changes.Queue, b, err
	}
	if kind == ops.TicketChangeRequest {
		return "", nil, invalid("kind change_request: this platform is not set up for changes; write options.changes with its queue")
	}
	name := p.o.queueFor(kind, f.Group)
	b, err := p.o.opening(name, key, f)
	return name, b, err
}
