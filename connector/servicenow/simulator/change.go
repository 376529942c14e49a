package simulator

import (
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
	return s.holdsTasks(after)
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
	s.endTasks(r, who)
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
	if len(parts) > 1 && parts[1] == "task" && len(parts) <= 3 && kind == "" {
		return s.serveTasks(c, r, strings.Join(parts[2:], ""), who)
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
