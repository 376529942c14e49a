package simulator

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// States of a change request (facts 1.5).
const (
	changeNew       = "-5"
	changeAssess    = "-4"
	changeAuthorize = "-3"
	changeScheduled = "-2"
	changeImplement = "-1"
	changeReview    = "0"
	changeClosed    = "3"
	changeCanceled  = "4"
)

var changeLabels = []struct{ value, label string }{
	{changeNew, "New"},
	{changeAssess, "Assess"},
	{changeAuthorize, "Authorize"},
	{changeScheduled, "Scheduled"},
	{changeImplement, "Implement"},
	{changeReview, "Review"},
	{changeClosed, "Closed"},
	{changeCanceled, "Canceled"},
}

func changeLabel(state string) string {
	for _, l := range changeLabels {
		if l.value == state {
			return l.label
		}
	}
	return state
}

const (
	changeTable   = "change_request"
	approvalTable = "sysapproval_approver"
	templateTable = "std_change_record_producer"
	changePath    = "/api/sn_chg_rest/"
)

// changeSchema is the part of the dictionary behind changes.
func changeSchema() []*tableDef {
	staff := []string{"itil", "sn_change_write", "admin"}
	admin := []string{"admin"}
	number := func(name, label, initial string) fieldDef {
		return fieldDef{name: name, label: label, kind: integerField, choice: true, initial: initial}
	}
	text := func(name, label string) fieldDef { return fieldDef{name: name, label: label, max: 4000} }
	at := func(name, label string) fieldDef { return fieldDef{name: name, label: label, kind: timeField} }
	user := func(name, label string) fieldDef {
		return fieldDef{name: name, label: label, kind: referenceField, target: "sys_user"}
	}
	return []*tableDef{
		{name: changeTable, display: "number", numbered: "CHG", writers: staff, deleters: admin, fields: []fieldDef{
			{name: "number", label: "Number", max: 40},
			{name: "short_description", label: "Short description", max: 160},
			text("description", "Description"),
			{name: "type", label: "Type", choice: true, initial: "normal", max: 40},
			number("state", "State", changeNew), number("risk", "Risk", "3"), number("impact", "Impact", "3"), number("urgency", "Urgency", "3"),
			{name: "priority", label: "Priority", kind: integerField, initial: "4", readOnly: true},
			{name: "approval", label: "Approval", initial: "not requested", max: 40, readOnly: true},
			{name: "active", label: "Active", kind: booleanField, initial: "true", readOnly: true},
			{name: "on_hold", label: "On hold", kind: booleanField, initial: "false"},
			text("on_hold_reason", "On hold reason"),
			at("start_date", "Planned start date"), at("end_date", "Planned end date"), at("work_start", "Actual start"), at("work_end", "Actual end"),
			{name: "cmdb_ci", label: "Configuration item", kind: referenceField, target: "cmdb_ci"},
			{name: "assignment_group", label: "Assignment group", kind: referenceField, target: "sys_user_group"},
			user("assigned_to", "Assigned to"), user("requested_by", "Requested by"),
			text("justification", "Justification"), text("implementation_plan", "Implementation plan"), text("backout_plan", "Backout plan"),
			text("test_plan", "Test plan"), text("risk_impact_analysis", "Risk and impact analysis"),
			{name: "conflict_status", label: "Conflict status", initial: "Not Run", max: 40, readOnly: true},
			{name: "correlation_id", label: "Correlation ID", max: 100},
			{name: "correlation_display", label: "Correlation display", max: 100},
			{name: "close_code", label: "Close code", choice: true, max: 40},
			text("close_notes", "Close notes"),
			{name: "u_plan_digest", label: "Plan digest", max: 64},
			{name: "u_plan_revision", label: "Plan revision", max: 10},
			{name: "std_change_producer_version", label: "Standard Change Template version", kind: referenceField, target: templateTable},
			{name: "work_notes", label: "Work notes", kind: journalField},
			{name: "comments", label: "Additional comments", kind: journalField},
		}},
		{name: approvalTable, display: "state", deleters: admin, fields: []fieldDef{
			{name: "sysapproval", label: "Approval for", kind: referenceField, target: changeTable},
			user("approver", "Approver"),
			{name: "state", label: "State", initial: "requested", max: 40},
			text("comments", "Comments"),
		}},
		{name: templateTable, display: "name", writers: admin, deleters: admin, fields: []fieldDef{
			{name: "name", label: "Name", max: 100},
			text("short_description", "Short description"), text("description", "Description"),
			text("implementation_plan", "Implementation plan"), text("backout_plan", "Backout plan"),
		}},
		{name: "sys_attachment", display: "file_name", deleters: staff, fields: []fieldDef{
			{name: "file_name", label: "File name", max: 100},
			{name: "content_type", label: "Content type", max: 100},
			{name: "table_name", label: "Table name", max: 80},
			{name: "table_sys_id", label: "Table sys ID", max: 32},
			{name: "size_bytes", label: "Size", kind: integerField},
		}},
	}
}

// move is one a change request can make from where it stands.
type move struct {
	to string
	// available is false for moves that only approvals make.
	available bool
}

// moves lists the moves of a change request under its type's model.
func (s *Server) moves(r Record) []move {
	model := s.cfg.ChangeModels[r["type"]]
	at := slices.Index(model, r["state"])
	if at < 0 || r["state"] == changeClosed || r["on_hold"] == "true" {
		return nil
	}
	var out []move
	if at+1 < len(model) {
		gated := r["state"] == changeAssess || r["state"] == changeAuthorize
		out = append(out, move{model[at+1], !gated})
	}
	if slices.Contains([]string{changeAssess, changeAuthorize, changeScheduled}, r["state"]) && !s.cfg.NoRevert {
		out = append(out, move{changeNew, true})
	}
	if before := slices.Index(model, changeReview); at < before {
		out = append(out, move{changeCanceled, true})
	}
	return out
}

// changeRules refuses what the model forbids and computes what it computes.
// automatic tells moves that approvals make.
func (s *Server) changeRules(before, after Record, automatic bool) *refusal {
	if before == nil {
		if after["state"] != changeNew {
			return s.cfg.Answers.IllegalMove.refusal("")
		}
		return nil
	}
	after["active"] = strconv.FormatBool(after["state"] != changeClosed && after["state"] != changeCanceled)
	if before["type"] != after["type"] {
		return refuse(http.StatusForbidden, "Operation Failed", "Change type cannot be changed after the change request was created")
	}
	if before["state"] == after["state"] {
		return nil
	}
	legal := slices.ContainsFunc(s.moves(before), func(m move) bool { return m.to == after["state"] && (m.available || automatic) })
	if !legal {
		return s.cfg.Answers.IllegalMove.refusal("")
	}
	return nil
}

// moved does what a move of a change request sets off. r holds the new values.
func (s *Server) moved(r *row, was Record, who *caller) {
	state := r.values["state"]
	if was["on_hold"] != "true" && r.values["on_hold"] == "true" {
		s.endApprovals(r, "not_required", who)
	}
	if was["state"] == state {
		return
	}
	switch state {
	case changeNew, changeCanceled:
		s.endApprovals(r, "cancelled", who)
		if r.values["approval"] != "rejected" {
			r.values["approval"] = "not requested"
		}
	case changeAssess, changeAuthorize:
		var approvers []string
		if model := s.cfg.ChangeModels[r.values["type"]]; slices.Index(model, state) == 1 {
			approvers = s.cfg.ChangeApprovers[r.values["type"]]
		}
		for _, name := range approvers {
			u := s.tables["sys_user"].find("user_name", name)
			if u == nil {
				continue
			}
			a := s.blank(s.schema[approvalTable])
			a["sys_id"], a["sysapproval"], a["approver"], a["state"] = s.newID(), r.values["sys_id"], u.values["sys_id"], "requested"
			a["sys_created_on"], a["sys_updated_on"], a["sys_created_by"], a["sys_updated_by"], a["sys_mod_count"] = s.stamp(), s.stamp(), "system", "system", "0"
			s.tables[approvalTable].put(&row{values: a, table: s.schema[approvalTable]})
		}
		if len(approvers) == 0 {
			s.goOn(r, who)
			return
		}
		r.values["approval"] = "requested"
	}
}

// goOn makes the move that approvals gate.
func (s *Server) goOn(r *row, who *caller) {
	for _, m := range s.moves(r.values) {
		if !m.available {
			was := maps.Clone(r.values)
			r.values["state"] = m.to
			s.touch(r.values, who.name)
			s.moved(r, was, who)
			return
		}
	}
}

// endApprovals ends what is still requested of a change.
func (s *Server) endApprovals(r *row, state string, who *caller) {
	for _, a := range s.tables[approvalTable].order {
		if a.values["sysapproval"] == r.values["sys_id"] && a.values["state"] == "requested" {
			a.values["state"] = state
			s.touch(a.values, who.name)
		}
	}
}

// decide is a write to an approval: only its approver decides, once.
func (s *Server) decide(a *row, c change, who *caller) (bool, *refusal) {
	if a.values["approver"] != who.sysID && !who.may([]string{"admin"}) {
		return false, forbidden("Update")
	}
	state := c.values["state"]
	if text := c.values["comments"]; text != "" {
		a.values["comments"] = text
	}
	if state == "" || state == a.values["state"] {
		s.touch(a.values, who.name)
		return true, nil
	}
	if a.values["state"] != "requested" || state != "approved" && state != "rejected" {
		return false, refuse(http.StatusForbidden, "Operation Failed", "Operation against file 'sysapproval_approver' was aborted by Business Rule 'Approval state^1'")
	}
	if state == "rejected" && a.values["comments"] == "" {
		return false, refuse(http.StatusBadRequest, "Operation Failed", "Comments are required when rejecting")
	}
	a.values["state"] = state
	s.touch(a.values, who.name)
	r := s.tables[changeTable].get(a.values["sysapproval"])
	if r == nil {
		return true, nil
	}
	was := maps.Clone(r.values)
	if state == "rejected" {
		s.endApprovals(r, "not_required", who)
		r.values["approval"], r.values["state"] = "rejected", changeNew
		s.touch(r.values, who.name)
		s.moved(r, was, who)
		return true, nil
	}
	approved := 0
	for _, x := range s.tables[approvalTable].order {
		// Only this round counts: earlier ones were approved before a revert.
		if x.values["sysapproval"] == r.values["sys_id"] && x.values["state"] == "approved" && x.values["sys_created_on"] == a.values["sys_created_on"] {
			approved++
		}
	}
	if approved < s.cfg.ApprovalsNeeded {
		return true, nil // the change itself is not touched
	}
	s.endApprovals(r, "not_required", who)
	r.values["approval"] = "approved"
	s.touch(r.values, who.name)
	s.goOn(r, who)
	return true, nil
}

// serveChange answers the Change Management API. The Server's lock is not held.
func (s *Server) serveChange(r *http.Request, who *caller, entry *Request) answer {
	c := &call{method: r.Method, base: s.baseURL(r), rawQuery: r.URL.RawQuery, params: r.URL.Query()}
	c.url = c.base + r.URL.Path
	parts := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.Path, changePath), "/"), "/")
	if parts[0] == "v1" {
		parts = parts[1:]
	}
	if len(parts) == 0 || parts[0] != "change" {
		return (&refusal{status: http.StatusBadRequest, message: "Requested URI does not represent any resource"}).answer()
	}
	if r.Header.Get("Accept") == "" {
		return s.cfg.Answers.MissingHeader.refusal("").answer()
	}
	if r.Method == http.MethodPost && r.ContentLength == 0 || r.Method == http.MethodGet || r.Method == http.MethodDelete {
		c.body = map[string]any{}
	} else if refused := s.readPayload(r, c); refused != nil {
		return refused.answer()
	}
	entry.Body = string(c.raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, refused := s.change(c, parts[1:], who)
	if refused != nil {
		return refused.answer()
	}
	entry.Changed = a.changed
	return a
}

func (s *Server) change(c *call, parts []string, who *caller) (answer, *refusal) {
	kind := ""
	if len(parts) > 0 && slices.Contains([]string{"normal", "standard", "emergency"}, parts[0]) {
		kind, parts = parts[0], parts[1:]
	}
	switch {
	case c.method == http.MethodPost && len(parts) == 0 && kind != "standard":
		return s.createChange(c, kind, nil, who)
	case c.method == http.MethodPost && len(parts) == 1 && kind == "standard":
		t := s.tables[templateTable].get(parts[0])
		if t == nil {
			return answer{}, notFound()
		}
		return s.createChange(c, kind, t.values, who)
	case c.method == http.MethodGet && kind == "" && len(parts) == 1 && parts[0] == "model":
		return jsonAnswer(http.StatusOK, map[string]any{"result": s.models()}), nil
	case c.method == http.MethodGet && kind == "standard" && len(parts) == 1 && parts[0] == "template":
		var all []any
		for _, t := range s.tables[templateTable].order {
			all = append(all, s.shownChange(t, nil))
		}
		return jsonAnswer(http.StatusOK, map[string]any{"result": all}), nil
	case len(parts) == 0:
		return answer{}, refuse(http.StatusMethodNotAllowed, "Method not supported", c.method+" is not supported by this resource")
	}
	r := s.tables[changeTable].get(parts[0])
	if r == nil || s.hidden(who, r) || kind != "" && r.values["type"] != kind {
		return answer{}, notFound()
	}
	if len(parts) == 1 {
		switch c.method {
		case http.MethodGet:
			return s.oneChange(r, kind, nil), nil
		case http.MethodPatch:
			return s.patchChange(c, r, kind, who)
		}
	}
	if len(parts) == 2 {
		switch parts[1] + " " + c.method {
		case "nextstates GET":
			return jsonAnswer(http.StatusOK, map[string]any{"result": s.nextStates(r)}), nil
		case "approvals PATCH":
			return s.ownApproval(c, r, who)
		case "conflict POST", "conflict GET":
			return s.conflict(c, r), nil
		}
	}
	return answer{}, refuse(http.StatusMethodNotAllowed, "Method not supported", c.method+" is not supported by this resource")
}

func (s *Server) models() []any {
	var out []any
	for _, name := range slices.Sorted(maps.Keys(s.cfg.ChangeModels)) {
		out = append(out, map[string]any{
			"sys_id": map[string]any{"value": s.derivedID("chg_model", name), "display_value": s.derivedID("chg_model", name)},
			"name":   map[string]any{"value": name, "display_value": strings.ToUpper(name[:1]) + name[1:]},
		})
	}
	return out
}

// given is the body, over the query: the vendor's pages use the query, clients the body.
func (c *call) given() map[string]any {
	all := map[string]any{}
	for name, v := range c.params {
		if !strings.HasPrefix(name, "sysparm_") {
			all[name] = v[0]
		}
	}
	maps.Copy(all, c.body)
	return all
}

// ignored lists what was given and is no column.
func ignored(def *tableDef, given map[string]any) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if def.field(name) == nil || def.field(name).readOnly {
			out = append(out, name)
		}
	}
	return out
}

func (s *Server) createChange(c *call, kind string, template Record, who *caller) (answer, *refusal) {
	def, given := s.schema[changeTable], c.given()
	// This API gives out its own keys.
	delete(given, "sys_id")
	in := s.input(def, s.named(given), false, who)
	if kind != "" {
		in.values["type"] = kind
	}
	for _, name := range []string{"description", "implementation_plan", "backout_plan"} {
		if template != nil {
			in.values[name] = template[name]
		}
	}
	if template != nil {
		in.values["std_change_producer_version"] = template["sys_id"]
	}
	r, refused := s.insert(def, in, who)
	if refused != nil {
		return answer{}, refused
	}
	a := s.oneChange(r, kind, ignored(def, given))
	a.changed = true
	return a, nil
}

// named writes states by their codes: this API takes names as well.
func (s *Server) named(given map[string]any) map[string]any {
	state, isText := given["state"].(string)
	for _, l := range changeLabels {
		if isText && strings.EqualFold(l.label, state) {
			given = maps.Clone(given)
			given["state"] = l.value
		}
	}
	return given
}

func (s *Server) patchChange(c *call, r *row, kind string, who *caller) (answer, *refusal) {
	given := s.named(c.given())
	if state, sent := scalar(given, "state"); sent && changeLabel(state) == state {
		return answer{}, s.cfg.Answers.IllegalMove.refusal("")
	}
	changed, refused := s.update(r, s.input(r.table, given, false, who), who)
	if refused != nil {
		return answer{}, refused
	}
	a := s.oneChange(r, kind, ignored(r.table, given))
	a.changed = changed
	return a, nil
}

// oneChange answers with one record: an object, or a list where the address names a type.
func (s *Server) oneChange(r *row, kind string, ignored []string) answer {
	shown := s.shownChange(r, ignored)
	if kind != "" {
		return jsonAnswer(http.StatusOK, map[string]any{"result": []any{shown}})
	}
	return jsonAnswer(http.StatusOK, map[string]any{"result": shown})
}

// shownChange shows each field with both its values, numbers and booleans as JSON.
func (s *Server) shownChange(r *row, ignored []string) map[string]any {
	out := map[string]any{}
	for _, f := range r.table.fields {
		value := r.values[f.name]
		var shown any = value
		switch f.kind {
		case integerField:
			if n, err := strconv.Atoi(value); err == nil {
				shown = n
			}
		case booleanField:
			shown = value == "true"
		}
		text := value
		if f.kind == referenceField {
			if target := s.tables[f.target].get(value); target != nil {
				text = target.values[s.schema[f.target].display]
			}
		} else if c, known := s.choice(r.table.name, f.name, value, false); f.choice && known {
			text = c["label"]
		}
		cell := map[string]any{"display_value": text, "value": shown}
		if f.kind == timeField {
			cell["display_value_internal"] = value
		}
		out[f.name] = cell
	}
	if len(ignored) > 0 {
		out["__meta"] = map[string]any{"ignoredFields": ignored}
	}
	return out
}

func (s *Server) nextStates(r *row) map[string]any {
	available, transitions, labels := []string{r.values["state"]}, []any{}, map[string]string{r.values["state"]: changeLabel(r.values["state"])}
	for _, m := range s.moves(r.values) {
		if m.available {
			available = append(available, m.to)
		}
		labels[m.to] = changeLabel(m.to)
		transitions = append(transitions, []any{map[string]any{
			"sys_id": s.derivedID("transition", r.values["type"]+r.values["state"]+m.to), "display_value": changeLabel(r.values["state"]) + " to " + changeLabel(m.to),
			"from_state": r.values["state"], "to_state": m.to, "transition_available": m.available, "automatic_transition": !m.available,
			"conditions": []any{},
		}})
	}
	return map[string]any{"available_states": available, "state_transitions": transitions, "state_label": labels}
}

// ownApproval decides for the calling user.
func (s *Server) ownApproval(c *call, r *row, who *caller) (answer, *refusal) {
	given := c.given()
	for _, a := range slices.Backward(s.tables[approvalTable].order) {
		if a.values["sysapproval"] != r.values["sys_id"] || a.values["approver"] != who.sysID || a.values["state"] != "requested" {
			continue
		}
		if _, refused := s.decide(a, s.input(a.table, given, false, who), who); refused != nil {
			return answer{}, refused
		}
		out := s.oneChange(r, "", nil)
		out.changed = true
		return out, nil
	}
	return answer{}, refuse(http.StatusBadRequest, "Operation Failed", "No approval of this user is requested")
}

// conflict starts a check (POST) or shows its result: the status says
// Conflict even when there is none.
func (s *Server) conflict(c *call, r *row) answer {
	if c.method == http.MethodPost {
		return jsonAnswer(http.StatusOK, map[string]any{"result": s.derivedID("conflict", r.values["sys_id"])})
	}
	found := []any{}
	for _, o := range s.tables[changeTable].order {
		v := o.values
		if o == r || v["cmdb_ci"] == "" || v["cmdb_ci"] != r.values["cmdb_ci"] || v["active"] == "false" || v["start_date"] == "" || r.values["start_date"] == "" {
			continue
		}
		if v["start_date"] < r.values["end_date"] && r.values["start_date"] < v["end_date"] {
			found = append(found, map[string]any{
				"change":             map[string]any{"value": r.values["sys_id"], "display_value": r.values["number"]},
				"type":               map[string]any{"value": "ci_already_scheduled", "display_value": "CI already scheduled"},
				"conflicting_change": map[string]any{"value": v["sys_id"], "display_value": v["number"]},
			})
		}
	}
	return jsonAnswer(http.StatusOK, map[string]any{"result": map[string]any{
		"status": "Conflict", "last_run": s.stamp(), "record_count": strconv.Itoa(len(found)), "job_status": "2", "conflicts": found,
	}})
}

// serveAttachment answers the Attachment API: raw uploads and lists.
func (s *Server) serveAttachment(r *http.Request, who *caller, entry *Request) answer {
	q := r.URL.Query()
	if r.Header.Get("Accept") == "" {
		return s.cfg.Answers.MissingHeader.refusal("").answer()
	}
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/api/now/attachment":
		s.mu.Lock()
		defer s.mu.Unlock()
		c := &call{method: r.Method, base: s.baseURL(r), params: q}
		a, refused := s.list(c, s.schema["sys_attachment"], who)
		if refused != nil {
			return refused.answer()
		}
		return a
	case r.Method == http.MethodPost && r.URL.Path == "/api/now/attachment/file":
	default:
		return refuse(http.StatusMethodNotAllowed, "Method not supported", r.Method+" is not supported by this resource").answer()
	}
	kind := r.Header.Get("Content-Type")
	raw, tooBig := readBody(r, s.cfg.MaxBody)
	if kind == "" || tooBig || len(raw) == 0 || q.Get("file_name") == "" {
		return s.cfg.Answers.BadBody.refusal("").answer()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	table := s.tables[q.Get("table_name")]
	if table == nil || table.get(q.Get("table_sys_id")) == nil {
		return notFound().answer()
	}
	def := s.schema["sys_attachment"]
	stored, refused := s.insert(def, change{values: Record{
		"file_name": q.Get("file_name"), "content_type": kind, "table_name": q.Get("table_name"), "table_sys_id": q.Get("table_sys_id"),
		"size_bytes": strconv.Itoa(len(raw)),
	}}, who)
	if refused != nil {
		return refused.answer()
	}
	entry.Changed = true
	v := s.newView(&call{params: q}, def, who)
	shown := v.row(stored.values)
	shown["download_link"] = fmt.Sprintf("%s/api/now/attachment/%s/file", s.baseURL(r), stored.values["sys_id"])
	return jsonAnswer(http.StatusCreated, map[string]any{"result": shown})
}
