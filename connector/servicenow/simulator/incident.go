package simulator

import (
	"slices"
	"strconv"
	"time"
)

// States of an incident (facts 1.3).
const (
	stateNew        = "1"
	stateInProgress = "2"
	stateOnHold     = "3"
	stateResolved   = "6"
	stateClosed     = "7"
	stateCanceled   = "8"
)

// open reports whether a record in that state is still active; a resolved one is.
func open(state string) bool { return state != stateClosed && state != stateCanceled }

// settled reports whether the state needs a resolution.
func settled(state string) bool { return state == stateResolved || state == stateClosed }

// incidentRules computes what an instance computes and refuses what roles
// forbid. before is nil on insert; after is changed in place.
func (s *Server) incidentRules(before, after Record, c change, who *caller) *refusal {
	was, verb := "", "Insert"
	if before != nil {
		was, verb = before["state"], "Update"
	}
	if was == stateClosed && !s.cfg.ClosedWritable && !who.may([]string{"itil_admin", "admin"}) {
		return forbidden(verb)
	}
	s.moveState(was, after, c, who)
	if refused := allowState(was, after["state"], verb, who); refused != nil {
		return refused
	}
	after["priority"] = s.priority(after)
	s.stampState(was, after, who.sysID)
	return nil
}

// moveState settles which state a write means. incident_state is a mirror that
// older clients write; a caller who answers takes the record off hold.
func (s *Server) moveState(was string, after Record, c change, who *caller) {
	sent, mirror := c.values["state"], c.values["incident_state"]
	switch {
	case sent == "" && mirror != "":
		after["state"] = mirror
	case sent == "" && was == stateOnHold && after["caller_id"] == who.sysID && len(c.values)+len(c.journal) > 0:
		after["state"] = stateInProgress
	}
	after["incident_state"] = after["state"]
}

// allowState checks the roles for moving into a state.
func allowState(was, state, verb string, who *caller) *refusal {
	if was == state {
		return nil
	}
	var roles []string
	switch state {
	case stateResolved:
		roles = []string{"itil", "sn_incident_write", "itil_admin", "admin"}
	case stateClosed:
		roles = []string{"itil_admin", "admin"}
	}
	if !who.may(roles) {
		return forbidden(verb)
	}
	return nil
}

// stampState keeps the columns that follow from the state.
func (s *Server) stampState(was string, after Record, user string) {
	state := after["state"]
	after["active"] = strconv.FormatBool(open(state))
	if was == state {
		return
	}
	switch {
	case state == stateResolved:
		after["resolved_at"], after["resolved_by"] = s.stamp(), user
	case !open(state):
		after["closed_at"], after["closed_by"] = s.stamp(), user
	case settled(was) || was == stateCanceled:
		after["resolved_at"], after["resolved_by"] = "", ""
		after["closed_at"], after["closed_by"] = "", ""
		count, err := strconv.Atoi(after["reopen_count"])
		if err != nil {
			// Only a preloaded row can carry a count that is no number.
			count = 0
		}
		after["reopen_count"] = strconv.Itoa(count + 1)
	}
}

// priority looks up impact and urgency; no rule matching leaves the lowest one.
func (s *Server) priority(r Record) string {
	if p := s.cfg.Priorities[r["impact"]+","+r["urgency"]]; p != "" {
		return p
	}
	return "5"
}

// autoclose closes what has been resolved for long enough, as the platform's
// scheduled job does.
func (s *Server) autoclose() {
	if s.cfg.AutocloseAfter <= 0 {
		return
	}
	limit := s.now().Add(-s.cfg.AutocloseAfter)
	for _, r := range s.tables["incident"].order {
		resolved, ok := parseStamp(r.values["resolved_at"])
		if r.values["state"] != stateResolved || !ok || resolved.After(limit) {
			continue
		}
		r.values["state"], r.values["incident_state"] = stateClosed, stateClosed
		s.stampState(stateResolved, r.values, "")
		s.touch(r.values, "system")
	}
}

// Incidents returns a copy of all incidents, oldest first.
func (s *Server) Incidents() []Record { return s.Records("incident") }

// Records returns a copy of all rows of a table, oldest first; nil for a table
// that is not simulated.
func (s *Server) Records(table string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.tables[table]
	if rows == nil {
		return nil
	}
	s.autoclose()
	all := make([]Record, 0, len(rows.order))
	for _, r := range rows.order {
		all = append(all, cloneRecord(r.values))
	}
	return all
}

func cloneRecord(r Record) Record {
	c := make(Record, len(r))
	for name, v := range r {
		c[name] = v
	}
	return c
}

// JournalEntry is one work note or comment.
type JournalEntry struct {
	// Element is work_notes or comments.
	Element string
	Value   string
	// By is the user name of the writer.
	By string
	// At has the platform's resolution of one second.
	At time.Time
}

// Journal returns the entries of a record, oldest first.
func (s *Server) Journal(sysID string) []JournalEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []JournalEntry
	for _, e := range s.journal[sysID] {
		at, _ := parseStamp(e.values["sys_created_on"])
		entries = append(entries, JournalEntry{
			Element: e.values["element"], Value: e.values["value"], By: e.values["sys_created_by"], At: at,
		})
	}
	return slices.Clip(entries)
}
