package rt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// movesQuery finds what happened to tickets we opened, after a transaction.
// Mail that was sent is a transaction, too, and nobody's move.
func movesQuery(after int64) string {
	return fmt.Sprintf("ObjectType = 'RT::Ticket' AND TicketCreator = '__CurrentUser__'"+
		" AND Type != 'EmailRecord' AND Type != 'CommentEmailRecord' AND id > %d", after)
}

func notesQuery(ticket string, after int64) string {
	return fmt.Sprintf("ObjectType = 'RT::Ticket' AND TicketId = %s AND (Type = 'Comment' OR Type = 'Correspond') AND id > %d", ticket, after)
}

func statusQuery(ticket string) string {
	return fmt.Sprintf("ObjectType = 'RT::Ticket' AND TicketId = %s AND Type = 'Status'", ticket)
}

// keyQuery finds tickets by our key. A field that does not exist finds nothing
// and is no error; an unknown key of the language is.
func keyQuery(field, key string, after int64) string {
	return fmt.Sprintf("'CF.{%s}' = '%s' AND id > %d", field, quoted(key), after)
}

func queueQuery(queue string) string { return fmt.Sprintf("Queue = '%s'", quoted(queue)) }

var quoted = strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace

// textsQuery finds the texts of messages, in the other query language there is.
func textsQuery(fromTransaction, afterAttachment int64) string {
	return fmt.Sprintf(`[{"field":"TransactionId","operator":">=","value":%d},{"field":"id","operator":">","value":%d},`+
		`{"field":"ContentType","operator":"STARTSWITH","value":"text/"}]`, fromTransaction, afterAttachment)
}

// The values.

func (o *Options) status(state string) (string, bool) {
	if s, ok := o.Statuses[state]; ok {
		return s, true
	}
	switch ops.IncidentState(state) {
	case ops.IncidentNew:
		return "new", true
	case ops.IncidentInProgress:
		return "open", true
	case ops.IncidentOnHold:
		return "stalled", true
	case ops.IncidentResolved, ops.IncidentClosed:
		return "resolved", true
	case ops.IncidentCancelled:
		return "rejected", true
	}
	return "", false
}

// states is the order in which a status is looked for.
var states = []ops.IncidentState{
	ops.IncidentNew, ops.IncidentInProgress, ops.IncidentOnHold, ops.IncidentResolved, ops.IncidentClosed, ops.IncidentCancelled,
}

// state returns what a ticket's status means. A status of a lifecycle we were
// told nothing about is read by the dates Request Tracker sets: resolved with
// an inactive status, started with an active one.
func (o *Options) state(t *ticket) string {
	for _, s := range states {
		if status, _ := o.status(string(s)); status == t.Status {
			return string(s)
		}
	}
	switch {
	case !t.Resolved.IsZero():
		return string(ops.IncidentResolved)
	case !t.Started.IsZero():
		return string(ops.IncidentInProgress)
	}
	return string(ops.IncidentNew)
}

// shownState returns the state that reads back after state was written.
func (o *Options) shownState(state string) string {
	status, ok := o.status(state)
	if !ok {
		return state
	}
	return o.state(&ticket{Status: status})
}

func isOver(state string) bool {
	return state == string(ops.IncidentResolved) || state == string(ops.IncidentClosed)
}

func (o *Options) priorities() map[ops.Severity]int {
	out := map[ops.Severity]int{ops.Critical: 100, ops.High: 75, ops.Medium: 50, ops.Low: 25, ops.Info: 0}
	for s, n := range o.Priorities {
		out[ops.Severity(s)] = n
	}
	return out
}

// severity returns the severity whose number is nearest, of two the worse.
func (o *Options) severity(priority text) ops.Severity {
	n := int(priority.number())
	all := o.priorities()
	best := ops.Critical
	for _, s := range ops.Severities {
		if distance(all[s], n) < distance(all[best], n) {
			best = s
		}
	}
	return best
}

func distance(a, b int) int { return max(a-b, b-a) }

// nobody owns what has no owner.
const nobody = "Nobody"

// maxSubject is the length of the column in bytes. Request Tracker cuts what is
// longer, and drops a line end without leaving a space.
const maxSubject = 200

var oneLine = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace

func subject(title string) string {
	s := strings.TrimSpace(oneLine(title))
	if len(s) > maxSubject {
		s = strings.TrimSpace(strings.ToValidUTF8(s[:maxSubject], ""))
	}
	return s
}

// dates are the extra fields that are not custom fields.
var dates = []string{"Due", "Starts"}

// fieldsOf returns a ticket in our words.
func (o *Options) fieldsOf(t *ticket) ops.TicketFields {
	f := ops.TicketFields{
		Title: t.Subject, State: o.state(t), Severity: o.severity(t.Priority),
		Description: t.field(o.DescriptionField), Resource: t.field(o.ResourceField),
		ResolveCode: t.field(o.ResolveCodeField), ResolveNote: t.field(o.ResolveNoteField),
	}
	if len(o.Groups) > 0 && !o.ofOrders(t.queue) {
		f.Group = o.groupOf(t.queue)
	}
	if owner := string(t.Owner.ID); owner != nobody {
		f.Assignee = owner
	}
	extra := map[string]string{}
	ours := []string{o.KeyField, o.DescriptionField, o.ResourceField, o.ResolveCodeField, o.ResolveNoteField}
	for _, c := range t.CustomFields {
		if v := c.value(); v != "" && !slices.Contains(ours, c.Name) {
			extra[c.Name] = v
		}
	}
	for name, at := range map[string]stamp{"Due": t.Due, "Starts": t.Starts} {
		if !at.IsZero() {
			extra[name] = at.Format(time.RFC3339)
		}
	}
	if len(extra) > 0 {
		f.Extra = extra
	}
	if o.carriesTimes(t) {
		f = o.changeFieldsOf(t, f)
	}
	return f
}

// normal returns f as it reads back after being written over seen.
func (o *Options) normal(f, seen ops.TicketFields) ops.TicketFields {
	f.Title = subject(f.Title)
	if f.State == "" {
		f.State = seen.State
	}
	f.State = o.shownState(f.State)
	if f.Severity == "" {
		f.Severity = seen.Severity
	}
	switch {
	case len(o.Groups) == 0 || f.Group == "", seen.Group == "" && seen.Title != "":
		f.Group = seen.Group // a work order stays in its queue
	case o.Groups[f.Group] == "" && f.Group != seen.Group:
		f.Group = o.groupOf(o.Queue)
	}
	if strings.EqualFold(f.Assignee, seen.Assignee) { // names do not tell case apart
		f.Assignee = seen.Assignee
	}
	for field, name := range o.carried() {
		if name == "" {
			f = connector.With(f, field, connector.Value(seen, field))
		}
	}
	extra := maps.Clone(seen.Extra)
	if extra == nil {
		extra = map[string]string{}
	}
	for name, v := range f.Extra {
		if at, err := time.Parse(time.RFC3339, v); err == nil && slices.Contains(dates, name) {
			v = at.UTC().Format(time.RFC3339)
		}
		extra[name] = v
	}
	f.Extra = extra
	for _, field := range []connector.Field{connector.PlannedStart, connector.PlannedEnd} {
		if connector.Value(f, field) == "" {
			f = connector.With(f, field, connector.Value(seen, field))
		}
	}
	return f
}

// carried returns the custom fields behind our fields, "" for none.
func (o *Options) carried() map[connector.Field]string {
	return map[connector.Field]string{
		connector.Description: o.DescriptionField, connector.Resource: o.ResourceField,
		connector.ResolveCode: o.ResolveCodeField, connector.ResolveNote: o.ResolveNoteField,
	}
}

// content is the body of a create or an update.
type content map[string]any

func (c content) custom(name string, value any) {
	fields, _ := c["CustomFields"].(map[string]any)
	if fields == nil {
		fields = map[string]any{}
		c["CustomFields"] = fields
	}
	fields[name] = value
}

// edit returns what to send so that the changed fields read as in want.
func (o *Options) edit(want ops.TicketFields, changed []connector.Field) (content, error) {
	c := content{}
	for _, f := range changed {
		v := connector.Value(want, f)
		switch f {
		case connector.Title:
			if v == "" {
				return nil, invalid("title: a ticket needs one")
			}
			c["Subject"] = v
		case connector.State:
			status, ok := o.status(v)
			if !ok {
				return nil, invalid("state: %q has no status; name one under options.statuses", v)
			}
			c["Status"] = status
		case connector.Severity:
			n, ok := o.priorities()[want.Severity]
			if !ok {
				return nil, invalid("severity: %q is none of %v", v, ops.Severities)
			}
			c["Priority"] = n
		case connector.Group:
			c["Queue"] = v
			if q, ok := o.Groups[v]; ok {
				c["Queue"] = q
			}
		case connector.Assignee:
			c["Owner"] = v
			if v == "" {
				c["Owner"] = nobody
			}
		default:
			if err := o.editCustom(c, f, v); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

func (o *Options) editCustom(c content, f connector.Field, v string) error {
	name, isExtra := f.Extra()
	switch {
	case !isExtra:
		name = o.carried()[f]
	case name == o.KeyField:
		return invalid("extra.%s: holds our key and cannot be mapped; choose another field", name)
	case slices.Contains(dates, name):
		at, err := time.Parse(time.RFC3339, v)
		if v == "" {
			at, err = time.Unix(0, 0), nil
		}
		if err != nil {
			return invalid("extra.%s: %q is no time; write it as 2026-12-01T10:00:00Z", name, v)
		}
		c[name] = at.UTC().Format(dateLayout)
		return nil
	}
	if v == "" {
		c.custom(name, nil) // takes the value away; an empty string would be one
		return nil
	}
	c.custom(name, v)
	return nil
}

// opening returns the body of a create.
func (o *Options) opening(queue, key string, f ops.TicketFields) (content, error) {
	want := o.normal(f, ops.TicketFields{})
	changed := connector.Diff(want, ops.TicketFields{})
	// What a ticket cannot begin with is written by the update that follows.
	changed = slices.DeleteFunc(changed, func(x connector.Field) bool {
		late := x == connector.State && (want.State == string(ops.IncidentOnHold) || want.State == string(ops.IncidentCancelled))
		return late || x == connector.Group
	})
	c, err := o.edit(want, changed)
	if err != nil {
		return nil, err
	}
	c["Queue"] = queue
	c.custom(o.KeyField, key)
	if f.Description != "" {
		c["Content"], c["ContentType"] = f.Description, "text/plain"
	}
	return c, nil
}
