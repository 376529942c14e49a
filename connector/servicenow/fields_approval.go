package servicenow

import (
	"fmt"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var approvalFields = []string{
	"sys_id", "state", "comments", "approver.user_name", "sysapproval", "sysapproval.correlation_display", "sys_created_on", "sys_updated_on", "sys_mod_count",
}

func approvalQuery(id string) string {
	return "sysapproval=" + id + "^ORDERBYsys_created_on^ORDERBYsys_id"
}

const (
	approvalRequested = "requested"
	approvalApproved  = "approved"
	approvalRejected  = "rejected"
)

// decisionIn reads an approval somebody decided. The instance stamps any later
// touch of it, too: one that was asked before the plan that stands was written
// counts as decided when it was asked.
func decisionIn(r row, planAt time.Time) (d connector.Decision, isOne bool, err error) {
	switch r.get("state") {
	case approvalApproved:
		d.Decision = ops.Approved
	case approvalRejected:
		d.Decision = ops.Refused
	default:
		return d, false, nil
	}
	asked, err1 := time.Parse(stampLayout, r.get("sys_created_on"))
	at, err2 := time.Parse(stampLayout, r.get("sys_updated_on"))
	if err1 != nil || err2 != nil {
		return d, false, fmt.Errorf("times of approval %s: %q and %q: %w", r.get("sys_id"), r.get("sys_created_on"), r.get("sys_updated_on"), ops.ErrUnavailable)
	}
	if asked.Before(planAt) {
		at = asked
	}
	d.ID, d.User, d.Comment, d.At = r.get("sys_id")+"-"+r.get("state"), r.get("approver.user_name"), r.get("comments"), at
	return d, true, nil
}
