package simulator

import (
	"maps"
	"net/http"
	"slices"
)

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
