package simulator

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
		taskSchema(staff, admin),
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
