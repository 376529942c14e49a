package simulator

import (
	"fmt"
	"slices"
	"strings"
)

// appendJournal stores what was written to journal columns. The column itself
// stays empty: a raw read of work_notes is "" on an instance too.
func (s *Server) appendJournal(r *row, entries Record, who *caller) {
	id := r.values["sys_id"]
	// The dictionary's order makes two entries of one write deterministic.
	for _, f := range r.table.fields {
		text := entries[f.name]
		if f.kind != journalField || text == "" {
			continue
		}
		e := s.blank(s.schema["sys_journal_field"])
		e["sys_id"] = s.newID()
		e["name"], e["element_id"], e["element"], e["value"] = r.table.name, id, f.name, text
		e["sys_created_on"], e["sys_updated_on"] = s.stamp(), s.stamp()
		e["sys_created_by"], e["sys_updated_by"] = who.name, who.name
		e["sys_mod_count"] = "0"
		stored := &row{values: e, table: s.schema["sys_journal_field"]}
		s.tables["sys_journal_field"].put(stored)
		s.journal[id] = append(s.journal[id], stored)
	}
}

// journalText is the display value of a journal column: all entries, newest
// first, times in the reader's zone.
func (s *Server) journalText(r Record, f *fieldDef, who *caller) string {
	var b strings.Builder
	for _, e := range slices.Backward(s.journal[r["sys_id"]]) {
		if e.values["element"] != f.name {
			continue
		}
		writer := e.values["sys_created_by"]
		if u := s.tables["sys_user"].find("user_name", writer); u != nil {
			writer = u.values["name"]
		}
		fmt.Fprintf(&b, "%s - %s (%s)\n%s\n\n", who.local(e.values["sys_created_on"]), writer, f.label, e.values["value"])
	}
	return b.String()
}
