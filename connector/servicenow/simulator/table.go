package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const timeLayout = "2006-01-02 15:04:05"

// row is a stored record.
type row struct {
	values Record
	table  *tableDef
}

// rowSet is a table's rows, in the order they were made.
type rowSet struct {
	def   *tableDef
	byID  map[string]*row
	order []*row
	// numbers are all that were ever given, counter the last one handed out.
	numbers map[string]bool
	counter int
}

func newRowSet(def *tableDef) *rowSet {
	return &rowSet{def: def, byID: map[string]*row{}, numbers: map[string]bool{}}
}

func (t *rowSet) get(sysID string) *row { return t.byID[sysID] }

func (t *rowSet) put(r *row) {
	t.byID[r.values["sys_id"]] = r
	t.order = append(t.order, r)
	if t.def.numbered != "" {
		t.numbers[r.values["number"]] = true
	}
}

func (t *rowSet) remove(sysID string) {
	r := t.byID[sysID]
	delete(t.byID, sysID)
	t.order = slices.DeleteFunc(t.order, func(o *row) bool { return o == r })
}

// find returns the first row whose column holds value.
func (t *rowSet) find(column, value string) *row {
	for _, r := range t.order {
		if r.values[column] == value {
			return r
		}
	}
	return nil
}

// change is a write as it came in: known, writable columns and journal entries.
type change struct {
	values  Record
	journal Record
}

// insert makes a record for a caller.
func (s *Server) insert(def *tableDef, c change, who *caller) (*row, *refusal) {
	if !who.may(def.writers) {
		return nil, forbidden("Insert")
	}
	after := s.blank(def)
	maps.Copy(after, c.values)
	sysID := c.values["sys_id"]
	if !wellFormedID(sysID) {
		sysID = s.newID()
	}
	after["sys_id"] = sysID
	stamp := s.stamp()
	if def.name == "incident" {
		setBlank(after, "opened_at", stamp)
		setBlank(after, "opened_by", who.sysID)
		if refused := s.incidentRules(nil, after, c, who); refused != nil {
			return nil, refused
		}
	}
	if def.name == changeTable {
		if refused := s.changeRules(nil, after, false); refused != nil {
			return nil, refused
		}
	}
	if def.name == taskTable {
		if refused := s.taskRules(nil, after); refused != nil {
			return nil, refused
		}
	}
	if refused := s.refuse(def, nil, after, c, who); refused != nil {
		return nil, refused
	}
	if s.tables[def.name].get(sysID) != nil {
		return nil, s.cfg.Answers.Duplicate.refusal(sysID)
	}
	if def.numbered != "" && after["number"] == "" {
		after["number"] = s.nextNumber(def)
	}
	after["sys_created_on"], after["sys_updated_on"] = stamp, stamp
	after["sys_created_by"], after["sys_updated_by"] = who.name, who.name
	after["sys_mod_count"] = "0"
	r := &row{values: after, table: def}
	s.tables[def.name].put(r)
	s.appendJournal(r, c.journal, who)
	return r, nil
}

// update changes a record and reports whether anything changed. A write that
// leaves every column as it was is accepted and counts as nothing.
func (s *Server) update(r *row, c change, who *caller) (bool, *refusal) {
	def := r.table
	if !who.may(def.writers) {
		return false, forbidden("Update")
	}
	if def.name == approvalTable {
		return s.decide(r, c, who)
	}
	after := maps.Clone(r.values)
	maps.Copy(after, c.values)
	after["sys_id"] = r.values["sys_id"]
	if def.name == changeTable {
		if refused := s.changeRules(r.values, after, false); refused != nil {
			return false, refused
		}
	}
	if def.name == taskTable {
		if refused := s.taskRules(r.values, after); refused != nil {
			return false, refused
		}
	}
	if def.name == "incident" {
		if refused := s.incidentRules(r.values, after, c, who); refused != nil {
			return false, refused
		}
	}
	same := maps.Equal(r.values, after) && len(c.journal) == 0
	if same && !s.cfg.NoopBumps {
		return false, nil
	}
	if refused := s.refuse(def, r.values, after, c, who); refused != nil {
		return false, refused
	}
	s.touch(after, who.name)
	was := r.values
	r.values = after
	s.appendJournal(r, c.journal, who)
	if def.name == changeTable {
		s.moved(r, was, who)
	}
	return true, nil
}

// touch marks a record as updated by name now.
func (s *Server) touch(r Record, name string) {
	count, err := strconv.Atoi(r["sys_mod_count"])
	if err != nil {
		// Only preloaded rows can carry a count that is no number.
		count = 0
	}
	r["sys_mod_count"] = strconv.Itoa(count + 1)
	r["sys_updated_on"] = s.stamp()
	r["sys_updated_by"] = name
}

// delete removes a record and its journal.
func (s *Server) delete(r *row, who *caller) *refusal {
	if !who.may(r.table.deleters) {
		return forbidden("Delete")
	}
	id := r.values["sys_id"]
	s.tables[r.table.name].remove(id)
	for _, e := range s.journal[id] {
		s.tables["sys_journal_field"].remove(e.values["sys_id"])
	}
	delete(s.journal, id)
	return nil
}

// refuse asks the business rules and then the data policies.
func (s *Server) refuse(def *tableDef, before, after Record, c change, who *caller) *refusal {
	for _, rule := range s.cfg.BusinessRules {
		if rule.Table != def.name {
			continue
		}
		q := s.bind(parseQuery(rule.Query), def, who)
		if q.matches(after) {
			return refuse(403, "Operation Failed", fmt.Sprintf(
				"Operation against file '%s' was aborted by Business Rule '%s^%s'. Business Rule Stack:%s", def.name, rule.Name, rule.SysID, rule.Name))
		}
	}
	var missing []string
	for _, p := range s.cfg.DataPolicies {
		if p.Table != def.name || !slices.Contains(p.Values, after[p.Field]) {
			continue
		}
		applied := before != nil && slices.Contains(p.Values, before[p.Field])
		for _, name := range p.Mandatory {
			source := after
			if p.Fresh && !applied {
				source = c.values
			}
			if source[name] == "" && c.journal[name] == "" {
				missing = append(missing, def.field(name).label)
			}
		}
	}
	if missing == nil {
		return nil
	}
	return refuse(403, "Operation Failed",
		"Data Policy Exception: \n\tThe following fields are mandatory: "+strings.Join(missing, ", "))
}

// blank is a record with every column at its initial value. Journals stay "".
func (s *Server) blank(def *tableDef) Record {
	r := make(Record, len(def.fields))
	for _, f := range def.fields {
		r[f.name] = f.initial
	}
	return r
}

// checkRules panics when a rule of the Config could never work.
func (s *Server) checkRules() {
	for _, p := range s.cfg.DataPolicies {
		for _, name := range append([]string{p.Field}, p.Mandatory...) {
			if s.schema[p.Table] == nil || s.schema[p.Table].field(name) == nil {
				panic(fmt.Sprintf("simulator: Config.DataPolicies names %s.%s, which is not simulated", p.Table, name))
			}
		}
	}
	for _, r := range s.cfg.BusinessRules {
		if s.schema[r.Table] == nil {
			panic(fmt.Sprintf("simulator: Config.BusinessRules names table %q, which is not simulated", r.Table))
		}
	}
}

// preload fills the tables from the Config, without policies.
func (s *Server) preload() {
	names := slices.Sorted(maps.Keys(s.cfg.Users))
	for _, name := range names {
		p := s.cfg.Profiles[name]
		setDefault(&p.FullName, name)
		first, last, _ := strings.Cut(p.FullName, " ")
		setDefault(&p.TimeZone, "GMT")
		s.seed("sys_user", Record{
			"sys_id": s.derivedID("sys_user", name), "user_name": name, "name": p.FullName,
			"first_name": first, "last_name": last, "email": p.Email, "time_zone": p.TimeZone,
		})
	}
	s.seedChoices()
	for _, table := range slices.Sorted(maps.Keys(s.cfg.Rows)) {
		if s.schema[table] == nil {
			panic(fmt.Sprintf("simulator: Config.Rows names table %q, which is not simulated", table))
		}
		for _, r := range s.cfg.Rows[table] {
			s.seed(table, r)
		}
	}
}

// seed stores a preloaded row, completing what it leaves out.
func (s *Server) seed(table string, given Record) {
	def := s.schema[table]
	r := s.blank(def)
	for name, v := range given {
		if def.field(name) == nil {
			panic(fmt.Sprintf("simulator: Config.Rows names %s.%s, which is not simulated", table, name))
		}
		r[name] = v
	}
	if r["sys_id"] == "" {
		r["sys_id"] = s.derivedID(table, r[def.display]+"#"+strconv.Itoa(len(s.tables[table].order)))
	}
	if s.tables[table].get(r["sys_id"]) != nil {
		panic(fmt.Sprintf("simulator: Config.Rows has sys_id %q twice in %s", r["sys_id"], table))
	}
	stamp := s.stamp()
	setBlank(r, "sys_created_on", stamp)
	setBlank(r, "sys_updated_on", r["sys_created_on"])
	setBlank(r, "sys_created_by", "system")
	setBlank(r, "sys_updated_by", "system")
	setBlank(r, "sys_mod_count", "0")
	if table == "incident" {
		setBlank(r, "opened_at", r["sys_created_on"])
		r["incident_state"] = r["state"]
		r["active"] = strconv.FormatBool(open(r["state"]))
		r["priority"] = s.priority(r)
	}
	if def.numbered != "" && r["number"] == "" {
		r["number"] = s.nextNumber(def)
	}
	s.tables[table].put(&row{values: r, table: def})
}

func setBlank(r Record, name, v string) {
	if r[name] == "" {
		r[name] = v
	}
}

// nextNumber counts on and skips numbers that a client chose itself.
func (s *Server) nextNumber(def *tableDef) string {
	rows := s.tables[def.name]
	for {
		rows.counter++
		number := fmt.Sprintf("%s%07d", def.numbered, 10000+rows.counter)
		if !rows.numbers[number] {
			return number
		}
	}
}

// newID is a fresh sys_id: as good as random to a client, repeatable to a test.
func (s *Server) newID() string {
	s.idSeq++
	return s.derivedID("record", strconv.FormatUint(s.idSeq, 10))
}

func (s *Server) derivedID(kind, name string) string {
	sum := sha256.Sum256([]byte(s.cfg.Seed + "\x00" + kind + "\x00" + name))
	return hex.EncodeToString(sum[:16])
}

// wellFormedID reports whether a client's sys_id can be a key: 32 letters or
// digits. Upper case is kept, the vendor's own suite sends it.
func wellFormedID(id string) bool {
	return len(id) == 32 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

func (s *Server) stamp() string { return s.now().Format(timeLayout) }

// parseStamp reads a stored time; ok is false for "" and anything else.
func parseStamp(v string) (t time.Time, ok bool) {
	t, err := time.Parse(timeLayout, v)
	return t, err == nil
}
