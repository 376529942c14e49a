package simulator

import "strings"

type fieldKind uint8

const (
	textField fieldKind = iota
	integerField
	booleanField
	timeField
	referenceField
	journalField
)

// fieldDef is one column of the dictionary.
type fieldDef struct {
	name  string
	label string
	kind  fieldKind
	// target is the table a reference points to.
	target string
	// choice means the values are in sys_choice.
	choice bool
	// max cuts longer values off without a word, as a column does.
	max int
	// readOnly fields are computed; a value sent for them is ignored.
	readOnly bool
	initial  string
}

// tableDef is one table of the dictionary.
type tableDef struct {
	name string
	// display is the column that names a row to people.
	display string
	fields  []fieldDef
	byName  map[string]*fieldDef
	// numbered is the prefix of the number column, if it has one.
	numbered string
	// writers are the roles that may insert and update; nil means every user.
	writers []string
	// deleters are the roles that may delete; nil means every user.
	deleters []string
}

func (t *tableDef) field(name string) *fieldDef { return t.byName[name] }

// systemFields stand at the end of every table.
func systemFields() []fieldDef {
	return []fieldDef{
		{name: "sys_id", label: "Sys ID", max: 32},
		{name: "sys_created_on", label: "Created", kind: timeField, readOnly: true},
		{name: "sys_created_by", label: "Created by", readOnly: true},
		{name: "sys_updated_on", label: "Updated", kind: timeField, readOnly: true},
		{name: "sys_updated_by", label: "Updated by", readOnly: true},
		{name: "sys_mod_count", label: "Updates", kind: integerField, readOnly: true},
	}
}

// newSchema is the part of the dictionary that is simulated.
func newSchema() map[string]*tableDef {
	admin := []string{"admin"}
	staff := []string{"itil", "sn_incident_write", "itil_admin", "admin"}
	defs := []*tableDef{
		{name: "incident", display: "number", numbered: "INC", fields: incidentFields()},
		{name: "sys_user", display: "name", writers: admin, deleters: admin, fields: []fieldDef{
			{name: "user_name", label: "User ID", max: 40},
			{name: "name", label: "Name", max: 151},
			{name: "first_name", label: "First name", max: 50},
			{name: "last_name", label: "Last name", max: 50},
			{name: "email", label: "Email", max: 100},
			{name: "time_zone", label: "Time zone", max: 40},
			{name: "active", label: "Active", kind: booleanField, initial: "true"},
		}},
		{name: "sys_user_group", display: "name", writers: admin, deleters: admin, fields: []fieldDef{
			{name: "name", label: "Name", max: 80},
			{name: "description", label: "Description", max: 1000},
			{name: "email", label: "Group email", max: 100},
			{name: "manager", label: "Manager", kind: referenceField, target: "sys_user"},
			{name: "active", label: "Active", kind: booleanField, initial: "true"},
		}},
		{name: "cmdb_ci", display: "name", writers: staff, deleters: staff, fields: []fieldDef{
			{name: "name", label: "Name", max: 255},
			{name: "sys_class_name", label: "Class", max: 80, initial: "cmdb_ci"},
			{name: "asset_tag", label: "Asset tag", max: 40},
			{name: "serial_number", label: "Serial number", max: 255},
			{name: "ip_address", label: "IP Address", max: 255},
			{name: "fqdn", label: "Fully qualified domain name", max: 255},
			{name: "short_description", label: "Description", max: 1000},
			{name: "operational_status", label: "Operational status", kind: integerField, initial: "1"},
			{name: "install_status", label: "Status", kind: integerField, initial: "1"},
			{name: "support_group", label: "Support group", kind: referenceField, target: "sys_user_group"},
			{name: "assigned_to", label: "Assigned to", kind: referenceField, target: "sys_user"},
		}},
		{name: "sys_choice", display: "label", writers: admin, deleters: admin, fields: []fieldDef{
			{name: "name", label: "Table", max: 80},
			{name: "element", label: "Element", max: 80},
			{name: "value", label: "Value", max: 100},
			{name: "label", label: "Label", max: 100},
			{name: "language", label: "Language", max: 3, initial: "en"},
			{name: "sequence", label: "Sequence", kind: integerField},
			{name: "inactive", label: "Inactive", kind: booleanField, initial: "false"},
		}},
		// Entries are made by writing to the record; nobody edits them here.
		{name: "sys_journal_field", display: "element", writers: []string{}, deleters: []string{}, fields: []fieldDef{
			{name: "name", label: "Name", max: 80},
			{name: "element_id", label: "Element ID", max: 32},
			{name: "element", label: "Element", max: 80},
			{name: "value", label: "Value"},
		}},
	}
	defs = append(defs, changeSchema()...)
	schema := map[string]*tableDef{}
	for _, t := range defs {
		t.fields = append(t.fields, systemFields()...)
		t.byName = map[string]*fieldDef{}
		for i := range t.fields {
			t.byName[t.fields[i].name] = &t.fields[i]
		}
		schema[t.name] = t
	}
	return schema
}

func incidentFields() []fieldDef {
	user := func(name, label string) fieldDef {
		return fieldDef{name: name, label: label, kind: referenceField, target: "sys_user"}
	}
	readOnlyUser := func(name, label string) fieldDef {
		f := user(name, label)
		f.readOnly = true
		return f
	}
	number := func(name, label, initial string) fieldDef {
		return fieldDef{name: name, label: label, kind: integerField, choice: true, initial: initial}
	}
	return []fieldDef{
		{name: "number", label: "Number", max: 40},
		{name: "short_description", label: "Short description", max: 160},
		{name: "description", label: "Description", max: 4000},
		number("state", "State", "1"),
		number("incident_state", "Incident state", "1"),
		number("hold_reason", "On hold reason", ""),
		number("impact", "Impact", "3"),
		number("urgency", "Urgency", "3"),
		{name: "priority", label: "Priority", kind: integerField, choice: true, readOnly: true},
		number("severity", "Severity", "3"),
		{name: "category", label: "Category", initial: "inquiry", max: 40},
		{name: "subcategory", label: "Subcategory", max: 40},
		{name: "contact_type", label: "Contact type", initial: "phone", max: 40},
		{name: "approval", label: "Approval", initial: "not requested", max: 40},
		{name: "active", label: "Active", kind: booleanField, initial: "true", readOnly: true},
		user("caller_id", "Caller"),
		user("opened_by", "Opened by"),
		{name: "opened_at", label: "Opened", kind: timeField},
		user("assigned_to", "Assigned to"),
		{name: "assignment_group", label: "Assignment group", kind: referenceField, target: "sys_user_group"},
		{name: "cmdb_ci", label: "Configuration item", kind: referenceField, target: "cmdb_ci"},
		{name: "parent_incident", label: "Parent Incident", kind: referenceField, target: "incident"},
		{name: "correlation_id", label: "Correlation ID", max: 100},
		{name: "correlation_display", label: "Correlation display", max: 100},
		{name: "close_code", label: "Resolution code", choice: true, max: 40},
		{name: "close_notes", label: "Close notes", max: 4000},
		{name: "resolved_at", label: "Resolved", kind: timeField, readOnly: true},
		readOnlyUser("resolved_by", "Resolved by"),
		{name: "closed_at", label: "Closed", kind: timeField, readOnly: true},
		readOnlyUser("closed_by", "Closed by"),
		{name: "reopen_count", label: "Reopen count", kind: integerField, initial: "0", readOnly: true},
		{name: "due_date", label: "Due date", kind: timeField},
		{name: "work_notes", label: "Work notes", kind: journalField},
		{name: "comments", label: "Additional comments", kind: journalField},
	}
}

// walk follows a dotted path through references. It returns the last field, or
// nil when a name on the way is unknown or not a reference.
func (s *Server) walk(def *tableDef, path string) *fieldDef {
	for {
		head, rest, dotted := strings.Cut(path, ".")
		f := def.field(head)
		if f == nil || !dotted {
			return f
		}
		if f.kind != referenceField {
			return nil
		}
		def, path = s.schema[f.target], rest
	}
}

// value reads a dotted path of a row; a reference that leads nowhere reads "".
func (s *Server) value(def *tableDef, r Record, path string) string {
	for {
		head, rest, dotted := strings.Cut(path, ".")
		if !dotted {
			return r[head]
		}
		f := def.field(head)
		if f == nil || f.kind != referenceField {
			return ""
		}
		next := s.tables[f.target].get(r[head])
		if next == nil {
			return ""
		}
		def, r, path = s.schema[f.target], next.values, rest
	}
}
