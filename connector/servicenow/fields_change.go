package servicenow

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// The vendor's names for change requests, and how they are read and written.

const (
	changeTable     = "change_request"
	approvalTable   = "sysapproval_approver"
	attachmentTable = "attachment"
	changePath      = "/api/sn_chg_rest/change"
)

// changeFields are read of every change request.
var changeFields = []string{
	"sys_id", "number", "correlation_id", "correlation_display", "short_description", "description", "type", "state", "on_hold", "on_hold_reason", "risk",
	"start_date", "end_date", "work_start", "work_end", "justification", "implementation_plan", "backout_plan", "close_code", "close_notes",
	"assignment_group", "assignment_group.name", "assigned_to", "assigned_to.user_name", "cmdb_ci", "cmdb_ci.name",
	"sys_mod_count", "sys_created_on", "sys_updated_on", "sys_updated_by",
}

// changeStates in the order a change request passes them, as far as its model
// has them. Those before it is asked about are all planning to us.
var changeStates = []struct {
	theirs string
	ours   ops.ChangeState
}{
	{"-5", ops.ChangeAssess},
	{"-4", ops.ChangeAuthorize},
	{"-3", ops.ChangeAuthorize},
	{"-2", ops.ChangeScheduled},
	{"-1", ops.ChangeImplement},
	{"0", ops.ChangeReview},
	{"3", ops.ChangeClosed},
	{"4", ops.ChangeCancelled},
}

// requestStates are where people are asked: assess, and authorize where the
// model has no assess.
var requestStates = []string{"-4", "-3"}

const newChange = "-5"

func place(theirs string) int {
	for i, s := range changeStates {
		if s.theirs == theirs {
			return i
		}
	}
	return -1
}

// changeStateIn reads a state; one that a customer added is taken for work.
func changeStateIn(theirs string) string {
	if i := place(theirs); i >= 0 {
		return string(changeStates[i].ours)
	}
	return string(ops.ChangeImplement)
}

// changeStateOut writes a state over the one that stands.
func changeStateOut(ours, now string) (string, error) {
	if ours == string(ops.ChangeNew) {
		ours = string(ops.ChangeAssess)
	}
	if ours == changeStateIn(now) {
		return now, nil
	}
	for _, s := range changeStates {
		if string(s.ours) == ours {
			return s.theirs, nil
		}
	}
	return "", fmt.Errorf("state %q is none of a change: %w", ours, ops.ErrInvalid)
}

// planLine is what people see of the plan they approve.
var planLine = regexp.MustCompile(`\[fettle-plan:([0-9a-f]{64}@[0-9]{1,9})\]`)

func planOut(mark string) string {
	digest, revision, ok := ops.ParsePlanMark(mark)
	if !ok {
		return ""
	}
	return fmt.Sprintf("Approval is for exactly this plan: revision %d, digest %s.\n[fettle-plan:%s]", revision, digest, mark)
}

// planIn reads the plan that stands; a text with more than one line of it
// names none.
func planIn(text string) string {
	all := planLine.FindAllStringSubmatch(text, -1)
	if len(all) != 1 {
		return ""
	}
	if _, _, ok := ops.ParsePlanMark(all[0][1]); !ok {
		return ""
	}
	return all[0][1]
}

// planNote is the work note that goes with a plan, in the same write: the time
// of a journal entry is the instance's and is never rewritten.
func planNote(mark string) ops.Note {
	digest, revision, _ := ops.ParsePlanMark(mark)
	return ops.Note{ID: planNoteID(mark), Text: fmt.Sprintf("Plan of revision %d, digest %s, stands to be approved from now on.", revision, digest)}
}

func planNoteID(mark string) string { return "plan-" + strings.Replace(mark, "@", ".", 1) }

func changeTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(stampLayout)
}

// carriesPlan tells types whose texts are not their template's.
func carriesPlan(kind ops.ChangeType) bool { return kind != ops.ChangeStandard }

// changeValues returns every field of a change request that is written as it is.
func (m mapping) changeValues(f ops.TicketFields) map[connector.Field]body {
	o := m.options.Changes
	out := map[connector.Field]body{
		connector.Title:        {"short_description": titleOut(f.Title)},
		connector.Risk:         {"risk": o.risks()[f.Risk]},
		connector.PlannedStart: {"start_date": changeTime(f.PlannedStart)},
		connector.PlannedEnd:   {"end_date": changeTime(f.PlannedEnd)},
		connector.ActualStart:  {"work_start": changeTime(f.ActualStart)},
		connector.ActualEnd:    {"work_end": changeTime(f.ActualEnd)},
	}
	plan := body{o.planField(): planOut(f.Plan)}
	if digest, revision, ok := ops.ParsePlanMark(f.Plan); ok {
		if o.DigestField != "" {
			plan[o.DigestField] = digest
		}
		if o.RevisionField != "" {
			plan[o.RevisionField] = fmt.Sprint(revision)
		}
	}
	out[connector.Plan] = plan
	if carriesPlan(f.Type) {
		out[connector.Description] = body{"description": cut(f.Description, maxDescription)}
		out[connector.PlanText] = body{"implementation_plan": cut(f.PlanText, maxDescription)}
		out[connector.Rollback] = body{"backout_plan": cut(f.Rollback, maxDescription)}
	}
	return out
}

// newChange returns the body that opens a change request.
func (m mapping) newChange(key string, f ops.TicketFields, known ids) (body, error) {
	b := body{}
	maps.Copy(b, m.options.Changes.Fields)
	for name, v := range f.Extra {
		if !namePattern.MatchString(name) || slices.Contains(changeFields, name) {
			return nil, fmt.Errorf("extra field %.80s: is no field name, or is written by Fettle itself: %w", name, ops.ErrInvalid)
		}
		b[name] = v
	}
	b["correlation_id"], b["correlation_display"] = key, m.mark
	for _, values := range m.changeValues(f) {
		for name, v := range values {
			if v != "" {
				b[name] = v
			}
		}
	}
	for _, r := range references {
		if id := known[r.field]; id != "" {
			b[r.theirs] = id
		}
	}
	if f.Plan != "" {
		b["work_notes"] = noteOut(planNote(f.Plan))["work_notes"]
	}
	return b, nil
}

// editChange returns the body that makes was show what e names, without the
// state and without what it shows already.
func (m mapping) editChange(was row, e connector.Edit, known ids) body {
	b := body{}
	want := e.Want
	want.Type = ops.ChangeType(was.get("type"))
	values := m.changeValues(want)
	for _, f := range e.Changed {
		maps.Copy(b, values[f])
	}
	for _, r := range references {
		if id, ok := known[r.field]; ok && slices.Contains(e.Changed, r.field) {
			b[r.theirs] = id
		}
	}
	maps.DeleteFunc(b, func(name, v string) bool { return same(v, was.get(name)) })
	if _, writes := b[m.options.Changes.planField()]; writes && slices.Contains(e.Changed, connector.Plan) && want.Plan != "" {
		b["work_notes"] = noteOut(planNote(want.Plan))["work_notes"]
	}
	return b
}

// endingOf returns what the instance demands with a last state.
func (m mapping) endingOf(to string, f ops.TicketFields) (body, error) {
	switch to {
	case "3":
		code := m.options.Changes.closeCodes()[ops.Outcome(f.ResolveCode)]
		if code == "" || strings.TrimSpace(f.ResolveNote) == "" {
			return nil, fmt.Errorf("resolve_code, resolve_note: closing a change request needs an outcome and a note, not %q: %w", f.ResolveCode, ops.ErrInvalid)
		}
		return body{"close_code": code, "close_notes": cut(f.ResolveNote, maxCloseNotes)}, nil
	case "4":
		if f.ResolveNote != "" {
			return body{"close_notes": cut(strings.TrimSpace(f.ResolveCode+": "+f.ResolveNote), maxCloseNotes)}, nil
		}
	}
	return body{}, nil
}

// change reads a change request.
func (m mapping) change(r row, extra []string, me string) (connector.Copy, error) {
	c, err := m.ticket(r, extra, me)
	if err != nil {
		return c, err
	}
	o := m.options.Changes
	f := &c.Fields
	c.Kind, c.Ref = ops.TicketChangeRequest, changeTable+"/"+c.Ref
	c.URL = m.url + "/nav_to.do?uri=" + url.QueryEscape("change_request.do?sys_id="+r.get("sys_id"))
	f.State, f.Type, f.Severity = changeStateIn(r.get("state")), ops.ChangeType(r.get("type")), ""
	for word, code := range o.risks() {
		if code == r.get("risk") {
			f.Risk = word
		}
	}
	for _, t := range []struct {
		name string
		at   *time.Time
	}{{"start_date", &f.PlannedStart}, {"end_date", &f.PlannedEnd}, {"work_start", &f.ActualStart}, {"work_end", &f.ActualEnd}} {
		v := r.get(t.name)
		if v == "" {
			continue
		}
		if *t.at, err = time.Parse(stampLayout, v); err != nil {
			return c, fmt.Errorf("%s of %s: %w: %w", t.name, c.Display, err, ops.ErrUnavailable)
		}
	}
	f.Plan, f.PlanText, f.Rollback = planIn(r.get(o.planField())), r.get("implementation_plan"), r.get("backout_plan")
	f.ResolveCode, f.ResolveNote = "", ""
	switch f.State {
	case string(ops.ChangeClosed):
		f.ResolveCode, f.ResolveNote = r.get("close_code"), r.get("close_notes")
		for outcome, code := range o.closeCodes() {
			if code == r.get("close_code") {
				f.ResolveCode = string(outcome)
			}
		}
	case string(ops.ChangeCancelled):
		f.ResolveNote = r.get("close_notes")
	}
	return c, nil
}

// normalChange is normal for change requests.
func (m mapping) normalChange(f, seen ops.TicketFields, missing func(connector.Field, string) bool) ops.TicketFields {
	f.Title, f.Severity = titleOut(f.Title), seen.Severity
	switch f.State {
	case "":
		f.State = seen.State
	case string(ops.ChangeNew):
		f.State = string(ops.ChangeAssess)
	}
	if seen.Type != "" || f.Type == "" {
		f.Type = seen.Type // decided when it was opened
	}
	if f.Risk == "" {
		f.Risk = seen.Risk
	}
	if carriesPlan(f.Type) {
		f.Description, f.PlanText, f.Rollback = cut(f.Description, maxDescription), cut(f.PlanText, maxDescription), cut(f.Rollback, maxDescription)
	} else {
		f.Description, f.PlanText, f.Rollback = seen.Description, seen.PlanText, seen.Rollback
	}
	for _, r := range references {
		if v := connector.Value(f, r.field); v == "" || missing(r.field, v) || strings.EqualFold(v, connector.Value(seen, r.field)) {
			f = connector.With(f, r.field, connector.Value(seen, r.field))
		}
	}
	switch f.State {
	case string(ops.ChangeClosed):
		f.ResolveNote = cut(f.ResolveNote, maxCloseNotes)
	case string(ops.ChangeCancelled):
		f.ResolveCode, f.ResolveNote = "", seen.ResolveNote // the reason is a text there, and not always ours
	default:
		f.ResolveCode, f.ResolveNote = "", ""
	}
	for name, v := range seen.Extra {
		if _, ok := f.Extra[name]; !ok {
			f = connector.With(f, connector.ExtraField(name), v)
		}
	}
	return f
}

// oursChange tells whether a change request is one this installation opened.
func (m mapping) oursChange(r row) bool {
	return r.get("correlation_display") == m.mark && keyPattern.MatchString(r.get("correlation_id"))
}

func (m mapping) changeQuery(key string) string {
	v, _ := quote(key)
	return m.markQuery() + "^correlation_id=" + v + "^ORDERBYsys_created_on^ORDERBYsys_id"
}

// value is a value of the Change Management API: an object of both values,
// whose own are strings, numbers or booleans.
type value string

// UnmarshalJSON implements json.Unmarshaler.
func (v *value) UnmarshalJSON(b []byte) error {
	var any any
	if len(b) > 0 && b[0] == '{' {
		var both struct {
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(b, &both); err != nil {
			return err
		}
		if len(both.Value) == 0 || both.Value[0] == '{' {
			return nil
		}
		b = both.Value
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&any); err != nil {
		return err
	}
	switch x := any.(type) {
	case nil:
	case string:
		*v = value(x)
	case json.Number:
		*v = value(strings.TrimSuffix(x.String(), ".0")) // the vendor's pages show states as 3.0
	case bool:
		*v = value(fmt.Sprint(x))
	}
	return nil
}

// changeResult is a change request as the Change Management API shows it.
type changeResult struct {
	fields  map[string]value
	ignored []string
}

// UnmarshalJSON implements json.Unmarshaler. Where the address names a type the
// one result is a list.
func (c *changeResult) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("an empty list")
		}
		b = list[0]
	}
	var meta struct {
		Meta struct {
			Ignored []string `json:"ignoredFields"`
		} `json:"__meta"`
	}
	if err := json.Unmarshal(b, &meta); err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	c.ignored, c.fields = meta.Meta.Ignored, map[string]value{}
	for name, v := range raw {
		var x value
		if name != "__meta" && json.Unmarshal(v, &x) == nil {
			c.fields[name] = x
		}
	}
	return nil
}

// nextStates says where a change request may go.
type nextStates struct {
	Available []value          `json:"available_states"`
	Labels    map[string]value `json:"state_label"`
}

func (n nextStates) has(state string) bool { return slices.Contains(n.Available, value(state)) }

// names lists where it may go, for people.
func (n nextStates) names(now string) string {
	var out []string
	for _, a := range n.Available {
		if a == "" || string(a) == now {
			continue
		}
		name := string(n.Labels[string(a)])
		if name == "" {
			name = string(a)
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return "nowhere"
	}
	return strings.Join(out, ", ")
}

// conflictResult is what a check of planned times found. Its status says
// Conflict even when there is none.
type conflictResult struct {
	JobStatus value                        `json:"job_status"`
	Conflicts []map[string]json.RawMessage `json:"conflicts"`
}

// lines says what clashes.
func (c conflictResult) lines() []string {
	var out []string
	for _, one := range c.Conflicts {
		text := shownValue(one["type"])
		for _, name := range []string{"conflicting_change", "blackout", "impacted_service", "configuration_item"} {
			if v := shownValue(one[name]); v != "" {
				text += ": " + v
			}
		}
		if text != "" {
			out = append(out, cut(text, 200))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func shownValue(b json.RawMessage) string {
	var both struct {
		Display string `json:"display_value"`
		Value   string `json:"value"`
	}
	if json.Unmarshal(b, &both) != nil {
		return ""
	}
	if both.Display != "" {
		return both.Display
	}
	return both.Value
}
