package servicenow

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// This file and fields_journal.go are the only ones that know the vendor's
// names: tables, fields and values. The rest of the driver speaks through them.

// The tables.
const (
	incidentTable = "incident"
	userTable     = "sys_user"
	groupTable    = "sys_user_group"
	ciTable       = "cmdb_ci"
	choiceTable   = "sys_choice"
)

// incidentFields are read of every incident, beside the extra ones. The dotted
// ones give the names people know in place of sys_ids.
var incidentFields = []string{
	"sys_id", "number", "correlation_id", "correlation_display", "short_description", "description",
	"state", "active", "hold_reason", "urgency", "impact", "close_code", "close_notes",
	"assignment_group", "assignment_group.name", "assigned_to", "assigned_to.user_name", "cmdb_ci", "cmdb_ci.name",
	"sys_mod_count", "sys_created_on", "sys_updated_on", "sys_updated_by",
}

// forbidden are the fields no field map may set: the driver's own, and those
// the instance computes.
var forbidden = append([]string{
	"priority", "incident_state", "sys_created_by", "work_notes", "comments", "comments_and_work_notes",
}, incidentFields...)

const (
	maxTitle       = 160 // characters short_description has on a fresh instance
	maxDescription = 4000
	maxCloseNotes  = 4000
	stampLayout    = "2006-01-02 15:04:05" // always UTC in a raw value
	resolvedCode   = "resolved"            // our word for how an incident was resolved
)

func defaultFields() map[string]string {
	return map[string]string{"category": "Cloud Infrastructure", "subcategory": "Monitoring Alert"}
}

// checkExtra returns an error that begins with name when no field map may set it.
func checkExtra(name string) error {
	switch {
	case !namePattern.MatchString(name):
		return fmt.Errorf("%.80s: is no field name; use the column name, such as u_service: %w", name, ops.ErrInvalid)
	case slices.Contains(forbidden, name):
		return fmt.Errorf("%s: is written by Fettle itself or computed by the instance; leave it out: %w", name, ops.ErrInvalid)
	}
	return nil
}

// cell is one value of an answer: text, or an object for references and for
// display values.
type cell struct{ value, display string }

// UnmarshalJSON implements json.Unmarshaler.
func (c *cell) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var both struct {
			Value   string `json:"value"`
			Display string `json:"display_value"`
		}
		if err := json.Unmarshal(b, &both); err != nil {
			return err
		}
		*c = cell{both.Value, both.Display}
		return nil
	}
	return json.Unmarshal(b, &c.value)
}

// row is a record as it came.
type row map[string]cell

func (r row) get(field string) string { return r[field].value }

// mapping translates between an instance's words and ours.
type mapping struct {
	options Options
	url     string
	mark    string // in every incident of this installation
}

func newMapping(o Options, url, installation string) mapping {
	return mapping{options: o, url: url, mark: "Fettle " + installation}
}

// states in our words and theirs.
var states = []struct {
	ours   ops.IncidentState
	theirs string
}{
	{ops.IncidentNew, "1"},
	{ops.IncidentInProgress, "2"},
	{ops.IncidentOnHold, "3"},
	{ops.IncidentResolved, "6"},
	{ops.IncidentClosed, "7"},
	{ops.IncidentCancelled, "8"},
}

// stateIn reads a state. One a customer added is work in progress as long as
// the incident is active, and closed after that.
func stateIn(theirs, active string) string {
	for _, s := range states {
		if s.theirs == theirs {
			return string(s.ours)
		}
	}
	if active == "false" {
		return string(ops.IncidentClosed)
	}
	return string(ops.IncidentInProgress)
}

// stateOut writes a state. Closing is the instance's: it closes what is
// resolved after its own time, and our account lacks the right.
func stateOut(ours string, now string) (string, error) {
	if ours == string(ops.IncidentClosed) || ours == string(ops.IncidentResolved) {
		if now == "7" {
			return now, nil
		}
		return "6", nil
	}
	for _, s := range states {
		if string(s.ours) == ours {
			return s.theirs, nil
		}
	}
	return "", fmt.Errorf("state %q is none of an incident: %w", ours, ops.ErrInvalid)
}

// settled tells states that carry a resolution.
func settled(state string) bool {
	return state == string(ops.IncidentResolved) || state == string(ops.IncidentClosed)
}

// severityIn reads urgency and impact. A pair that no severity is mapped to,
// set by a person, is the severity whose pair weighs nearest, the worse of two.
func (m mapping) severityIn(urgency, impact string) ops.Severity {
	u, err1 := strconv.Atoi(urgency)
	i, err2 := strconv.Atoi(impact)
	if err1 != nil || err2 != nil {
		return ""
	}
	best, at := ops.Severity(""), 0
	for _, v := range ops.Severities {
		l := m.options.Severity.level(v)
		if l == (Level{u, i}) {
			return v
		}
		away := max(l.Urgency+l.Impact-u-i, u+i-l.Urgency-l.Impact)
		if best == "" || away < at {
			best, at = v, away
		}
	}
	return best
}

func (m mapping) closeCodeOut(ours string) string {
	if theirs, ok := m.options.CloseCodes[ours]; ok {
		return theirs
	}
	if ours == resolvedCode {
		return m.options.CloseCode
	}
	return ours
}

func (m mapping) closeCodeIn(theirs string) string {
	if theirs == m.closeCodeOut(resolvedCode) {
		return resolvedCode
	}
	for _, ours := range slices.Sorted(maps.Keys(m.options.CloseCodes)) {
		if m.options.CloseCodes[ours] == theirs {
			return ours
		}
	}
	return theirs
}

func titleOut(s string) string { return cut(strings.Join(strings.Fields(s), " "), maxTitle) }

// cut shortens s to n characters; the instance would do so without a word.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// references are the fields that hold a sys_id at the instance and a name here.
var references = []struct {
	field       connector.Field
	theirs      string
	table, name string // where it is looked up, by which field
	what        string
}{
	{connector.Group, "assignment_group", groupTable, "name", "assignment group"},
	{connector.Assignee, "assigned_to", userTable, "user_name", "user"},
	{connector.Resource, "cmdb_ci", ciTable, "name", "configuration item"},
}

// ids are the sys_ids of named references; one that leads nowhere is not in it.
type ids map[connector.Field]string

// body is what is written.
type body map[string]string

// newIncident returns the body that opens an incident.
func (m mapping) newIncident(key string, f ops.TicketFields, known ids) (body, error) {
	b := body{}
	maps.Copy(b, m.options.Fields)
	for name, v := range f.Extra {
		if err := checkExtra(name); err != nil {
			return nil, fmt.Errorf("extra field %w", err)
		}
		b[name] = v
	}
	b["sys_id"], b["correlation_id"], b["correlation_display"] = key, key, m.mark
	b["short_description"], b["description"] = titleOut(f.Title), cut(f.Description, maxDescription)
	if f.Severity != "" {
		m.level(b, f.Severity)
	}
	for _, r := range references {
		if id := known[r.field]; id != "" {
			b[r.theirs] = id
		}
	}
	if f.State == "" || f.State == string(ops.IncidentNew) {
		return b, nil
	}
	return b, m.move(b, row{}, f)
}

func (m mapping) level(b body, v ops.Severity) {
	l := m.options.Severity.level(v)
	b["urgency"], b["impact"] = strconv.Itoa(l.Urgency), strconv.Itoa(l.Impact)
}

// move writes the state and what the instance demands with it.
func (m mapping) move(b body, was row, f ops.TicketFields) error {
	to, err := stateOut(f.State, was.get("state"))
	if err != nil || to == was.get("state") {
		return err
	}
	b["state"] = to
	switch to {
	case "6":
		if f.ResolveCode == "" || strings.TrimSpace(f.ResolveNote) == "" {
			return fmt.Errorf("resolve_code, resolve_note: resolving an incident needs both: %w", ops.ErrInvalid)
		}
		// Sent even when they stand there already: what an earlier resolution
		// left behind does not count for every instance.
		b["close_code"], b["close_notes"] = m.closeCodeOut(f.ResolveCode), cut(f.ResolveNote, maxCloseNotes)
	case "3":
		b["hold_reason"] = strconv.Itoa(m.options.HoldReason)
	}
	return nil
}

// edit returns the body that makes was show what e names, without what it
// shows already; an empty one when there is nothing to write.
func (m mapping) edit(was row, e connector.Edit, known ids) (body, error) {
	all := body{}
	after := stateIn(was.get("state"), was.get("active"))
	if slices.Contains(e.Changed, connector.State) {
		after = e.Want.State
	}
	for _, f := range e.Changed {
		switch f {
		case connector.Title:
			all["short_description"] = titleOut(e.Want.Title)
		case connector.Description:
			all["description"] = cut(e.Want.Description, maxDescription)
		case connector.Severity:
			if e.Want.Severity != "" {
				m.level(all, e.Want.Severity)
			}
		case connector.ResolveCode:
			if settled(after) && e.Want.ResolveCode != "" {
				all["close_code"] = m.closeCodeOut(e.Want.ResolveCode)
			}
		case connector.ResolveNote:
			if settled(after) {
				all["close_notes"] = cut(e.Want.ResolveNote, maxCloseNotes)
			}
		}
		if name, ok := f.Extra(); ok {
			if err := checkExtra(name); err != nil {
				return nil, fmt.Errorf("extra field %w", err)
			}
			all[name] = e.Want.Extra[name]
		}
	}
	for _, r := range references {
		if id, ok := known[r.field]; ok && slices.Contains(e.Changed, r.field) {
			all[r.theirs] = id
		}
	}
	maps.DeleteFunc(all, func(name, v string) bool { return same(v, was.get(name)) })
	if slices.Contains(e.Changed, connector.State) {
		return all, m.move(all, was, e.Want)
	}
	return all, nil
}

// same compares as connector.Diff does: line ends and space around do not count.
func same(a, b string) bool {
	plain := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return plain(a) == plain(b)
}

// swallowed returns the first field of sent that got does not show.
func swallowed(sent body, got row) (string, bool) {
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if !same(sent[name], got.get(name)) {
			return name, true
		}
	}
	return "", false
}

// normal implements connector.Normaliser. missing tells references known to
// lead nowhere.
func (m mapping) normal(f, seen ops.TicketFields, missing func(connector.Field, string) bool) ops.TicketFields {
	f.Title, f.Description = titleOut(f.Title), cut(f.Description, maxDescription)
	switch {
	case f.State == "":
		f.State = seen.State
	case settled(f.State):
		f.State = string(ops.IncidentResolved)
		if seen.State == string(ops.IncidentClosed) {
			f.State = seen.State
		}
	}
	if f.Severity == "" {
		f.Severity = seen.Severity
	} else {
		l := m.options.Severity.level(f.Severity)
		f.Severity = m.severityIn(strconv.Itoa(l.Urgency), strconv.Itoa(l.Impact))
	}
	for _, r := range references {
		// Empty means that the instance's own assignment rules decide.
		if v := connector.Value(f, r.field); v == "" || missing(r.field, v) || strings.EqualFold(v, connector.Value(seen, r.field)) {
			f = connector.With(f, r.field, connector.Value(seen, r.field))
		}
	}
	if settled(f.State) {
		f.ResolveCode, f.ResolveNote = m.closeCodeIn(m.closeCodeOut(f.ResolveCode)), cut(f.ResolveNote, maxCloseNotes)
		if f.ResolveCode == "" { // a choice cannot be cleared
			f.ResolveCode = seen.ResolveCode
		}
	} else {
		f.ResolveCode, f.ResolveNote = "", ""
	}
	for name, v := range seen.Extra {
		if _, ok := f.Extra[name]; !ok {
			f = connector.With(f, connector.ExtraField(name), v)
		}
	}
	return f
}

// ticket reads an incident. me is the integration's own user.
func (m mapping) ticket(r row, extra []string, me string) (connector.Copy, error) {
	created, err := time.Parse(stampLayout, r.get("sys_created_on"))
	if err != nil {
		return connector.Copy{}, fmt.Errorf("sys_created_on of %s: %w: %w", r.get("number"), err, ops.ErrUnavailable)
	}
	updated, err := time.Parse(stampLayout, r.get("sys_updated_on"))
	if err != nil {
		return connector.Copy{}, fmt.Errorf("sys_updated_on of %s: %w: %w", r.get("number"), err, ops.ErrUnavailable)
	}
	f := ops.TicketFields{
		Title: r.get("short_description"), Description: r.get("description"), State: stateIn(r.get("state"), r.get("active")),
		Severity: m.severityIn(r.get("urgency"), r.get("impact")), Group: r.get("assignment_group.name"),
		Assignee: r.get("assigned_to.user_name"), Resource: r.get("cmdb_ci.name"),
	}
	// An incident that was reopened keeps the code and notes of its last resolution.
	if settled(f.State) {
		f.ResolveCode, f.ResolveNote = m.closeCodeIn(r.get("close_code")), r.get("close_notes")
	}
	for _, name := range extra {
		if c, ok := r[name]; ok {
			f = connector.With(f, connector.ExtraField(name), c.value)
		}
	}
	return connector.Copy{
		Ref: r.get("sys_id"), Key: r.get("correlation_id"), Display: r.get("number"), Fields: f,
		URL:     m.url + "/nav_to.do?uri=" + url.QueryEscape("incident.do?sys_id="+r.get("sys_id")),
		Version: r.get("sys_mod_count"), CreatedAt: created, UpdatedAt: updated,
		UpdatedBy: r.get("sys_updated_by"), Own: strings.EqualFold(r.get("sys_updated_by"), me),
	}, nil
}

// ours tells whether an incident is one this installation opened. A copy that a
// person made of it carries our marks too, but has a sys_id of its own.
func (m mapping) ours(r row) bool {
	return r.get("correlation_display") == m.mark && r.get("correlation_id") == r.get("sys_id")
}

var (
	keyPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)
	idPattern  = regexp.MustCompile(`^[0-9A-Za-z]{32}$`)
)

// quote makes v a value of an encoded query. What would end the value or be run
// as a script, and what no name holds, is refused: names come out of alerts.
func quote(v string) (string, bool) {
	script := strings.HasPrefix(strings.ToLower(strings.TrimSpace(v)), "javascript:")
	if script || v == "" || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' }) {
		return "", false
	}
	return strings.ReplaceAll(v, "^", "^^"), true
}

func (m mapping) markQuery() string { return m.markedBy("correlation_display") }

func (m mapping) markedBy(field string) string {
	v, _ := quote(m.mark)
	return field + "=" + v
}

// movedQuery finds what moved at or after from. The second order makes pages exact.
func (m mapping) movedQuery(mark string, from time.Time) string {
	return m.markedBy(mark) + "^sys_updated_on>=" + from.UTC().Format(stampLayout) + "^ORDERBYsys_updated_on^ORDERBYsys_id"
}

func (m mapping) lastQuery(mark string) string {
	return m.markedBy(mark) + "^ORDERBYDESCsys_updated_on"
}

var choiceFields = []string{"name", "element", "value"}

func choiceQuery(table, element string) string {
	return "name=" + table + "^element=" + element + "^inactive=false^ORDERBYsequence"
}

// userFields tell who we are; the display value of a time tells the zone.
var userFields = []string{"sys_id", "user_name", "time_zone", "sys_created_on", "sys_updated_on"}

// userQuery finds the integration's own user, by its name where we know it.
func userQuery(name string) string {
	if v, ok := quote(name); ok {
		return "user_name=" + v
	}
	return "sys_id=javascript:gs.getUserID()"
}

// zoneFault says what is wrong with the time zone of our user, empty when
// nothing is: times in queries are read in it, raw values are UTC.
func zoneFault(me row) string {
	switch z := me.get("time_zone"); z {
	case "", "GMT", "UTC", "Etc/UTC", "Etc/GMT":
	default:
		return z
	}
	for _, name := range []string{"sys_created_on", "sys_updated_on"} {
		raw, err1 := time.Parse(stampLayout, me.get(name))
		shown, err2 := time.Parse(stampLayout, me[name].display)
		if err1 == nil && err2 == nil && !raw.Equal(shown) {
			return "one that shows " + me.get(name) + " as " + me[name].display
		}
	}
	return ""
}

// choiceElements are the choice fields whose values an administrator changes.
// Their names are those of our options too.
var choiceElements = []string{"close_code", "hold_reason"}
