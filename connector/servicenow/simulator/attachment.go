package simulator

import (
	"fmt"
	"net/http"
	"strconv"
)

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
