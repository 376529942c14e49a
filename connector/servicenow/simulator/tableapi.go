package simulator

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// defaultLimit is sysparm_limit when it is not given.
const defaultLimit = 10000

// serveTable answers a call. The Server's lock is held.
func (s *Server) serveTable(c *call, who *caller) (answer, *refusal) {
	def := s.schema[c.table]
	if def == nil {
		return answer{}, &refusal{status: http.StatusBadRequest, message: "Invalid table " + c.table}
	}
	switch {
	case c.method == http.MethodPost:
		return s.create(c, def, who)
	case c.sysID == "":
		return s.list(c, def, who)
	}
	r := s.tables[def.name].get(c.sysID)
	if r == nil || s.hidden(who, r) {
		return answer{}, notFound()
	}
	switch c.method {
	case http.MethodGet:
		return s.show(c, http.StatusOK, r, who), nil
	case http.MethodDelete:
		if refused := s.delete(r, who); refused != nil {
			return answer{}, refused
		}
		return answer{status: http.StatusNoContent, header: http.Header{"Server": {"ServiceNow"}}, changed: true}, nil
	}
	changed, refused := s.update(r, s.input(def, c.body, c.flag("sysparm_input_display_value"), who), who)
	if refused != nil {
		return answer{}, refused
	}
	a := s.show(c, http.StatusOK, r, who)
	a.changed = changed
	return a, nil
}

func (s *Server) create(c *call, def *tableDef, who *caller) (answer, *refusal) {
	r, refused := s.insert(def, s.input(def, c.body, c.flag("sysparm_input_display_value"), who), who)
	if refused != nil {
		return answer{}, refused
	}
	a := s.show(c, http.StatusCreated, r, who)
	a.header.Set("Location", strings.TrimSuffix(c.url, "/")+"/"+r.values["sys_id"])
	a.changed = true
	return a, nil
}

// show answers with one record, or with nothing to a client that wants no body.
func (s *Server) show(c *call, status int, r *row, who *caller) answer {
	if c.silent && c.method != http.MethodGet {
		return answer{status: status, header: http.Header{"Server": {"ServiceNow"}}}
	}
	v := s.newView(c, r.table, who)
	return jsonAnswer(status, map[string]any{"result": v.row(r.values)})
}

// hidden asks the Config's ACL, which sees a copy.
func (s *Server) hidden(who *caller, r *row) bool {
	return s.cfg.HiddenRow != nil && s.cfg.HiddenRow(who.name, r.table.name, cloneRecord(r.values))
}

// list answers a query. The page is cut before the ACLs look at it, so that a
// page may come back short, or empty with more to follow.
func (s *Server) list(c *call, def *tableDef, who *caller) (answer, *refusal) {
	// Both are capped far above any table, so that their sum cannot overflow.
	limit := min(number(c, "sysparm_limit", defaultLimit), 1<<30)
	if limit < 1 {
		limit = defaultLimit
	}
	offset := min(number(c, "sysparm_offset", 0), 1<<30)
	if offset < 0 {
		return answer{}, s.cfg.Answers.NegativeOffset.refusal("")
	}
	found := s.search(c, def, who)
	total := len(found)
	first := min(offset, total)
	page := found[first : first+min(limit, total-first)]
	v := s.newView(c, def, who)
	shown := []map[string]any{}
	for _, r := range page {
		if !s.hidden(who, r) {
			shown = append(shown, v.row(r.values))
		}
	}
	if len(shown) == 0 && c.version == "v1" {
		return answer{}, notFound()
	}
	a := jsonAnswer(http.StatusOK, map[string]any{"result": shown})
	counted := !c.flag("sysparm_no_count")
	if counted {
		a.header.Set("X-Total-Count", strconv.Itoa(total))
	}
	if !c.flag("sysparm_suppress_pagination_header") && (total > limit || offset > 0) {
		a.header.Set("Link", c.links(offset, limit, total, counted))
	}
	return a, nil
}

// search finds and orders the rows of a list. sysparm_query and field=value
// pairs exclude each other.
func (s *Server) search(c *call, def *tableDef, who *caller) []*row {
	q := s.bind(parseQuery(c.params.Get("sysparm_query")), def, who)
	if c.params.Get("sysparm_query") == "" {
		for name, values := range c.params {
			if p := s.compile(term{name, "=", values[0]}, def, who); p != nil {
				q.and(p)
			}
		}
	}
	var found []*row
	for _, r := range s.tables[def.name].order {
		if q.matches(r.values) {
			found = append(found, r)
		}
	}
	if s.cfg.ShuffleUnordered {
		s.shuffle(found)
	}
	q.sort(found)
	return found
}

// shuffle gives every list its own order, the way a database without ORDER BY may.
func (s *Server) shuffle(rows []*row) {
	s.listSeq++
	salt := strconv.FormatUint(s.listSeq, 10)
	key := func(r *row) uint64 {
		h := fnv.New64a()
		// A hash never fails to write.
		_, _ = h.Write([]byte(salt + r.values["sys_id"]))
		return h.Sum64()
	}
	slices.SortFunc(rows, func(a, b *row) int {
		if x, y := key(a), key(b); x != y {
			if x < y {
				return -1
			}
			return 1
		}
		return 0
	})
}

// number reads an integer parameter; anything else counts as not given.
func number(c *call, name string, fallback int) int {
	n, err := strconv.Atoi(c.params.Get(name))
	if err != nil {
		return fallback
	}
	return n
}

// links writes the Link header as it was captured: on the first page prev goes
// below zero, on the last one there is no next.
func (c *call) links(offset, limit, total int, counted bool) string {
	var kept []string
	for part := range strings.SplitSeq(c.rawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if part != "" && name != "sysparm_limit" && name != "sysparm_offset" {
			kept = append(kept, part)
		}
	}
	link := func(rel string, at int) string {
		q := append(slices.Clone(kept), fmt.Sprintf("sysparm_limit=%d", limit), fmt.Sprintf("sysparm_offset=%d", at))
		return fmt.Sprintf("<%s?%s>;rel=%q", c.url, strings.Join(q, "&"), rel)
	}
	all := []string{link("first", 0), link("prev", offset-limit)}
	if offset+limit < total {
		all = append(all, link("next", offset+limit))
	}
	if counted && total > 0 {
		all = append(all, link("last", (total-1)/limit*limit))
	}
	return strings.Join(all, ",")
}
