package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// call is a request to the Table API whose form is right.
type call struct {
	method string
	// version is v1, v2 or "" for the newest.
	version string
	table   string
	sysID   string
	// url is the request's address without its query; links begin with it.
	url      string
	base     string
	rawQuery string
	params   url.Values
	raw      []byte
	body     map[string]any
	// silent is X-no-response-body.
	silent bool
}

// readCall checks address, headers, method and body, in that order.
func (s *Server) readCall(r *http.Request) (*call, *refusal) {
	c := &call{method: r.Method, base: s.baseURL(r), rawQuery: r.URL.RawQuery, params: r.URL.Query()}
	if !c.readPath(r.URL.Path) {
		return nil, &refusal{status: http.StatusBadRequest, message: "Requested URI does not represent any resource"}
	}
	c.url = c.base + r.URL.Path
	if r.Header.Get("Accept") == "" {
		return nil, s.cfg.Answers.MissingHeader.refusal("")
	}
	if !accepts(r.Header.Values("Accept")) {
		return nil, refuse(http.StatusNotAcceptable, "Not acceptable", "only application/json is simulated")
	}
	if override := r.Header.Get("X-HTTP-Method-Override"); override != "" && r.Method == http.MethodPost {
		c.method = strings.ToUpper(override)
	}
	if !c.allowed() {
		return nil, refuse(http.StatusMethodNotAllowed, "Method not supported", fmt.Sprintf("%s is not supported by this resource", c.method))
	}
	c.silent = strings.EqualFold(r.Header.Get("X-no-response-body"), "true")
	if c.method == http.MethodGet {
		return c, nil
	}
	return c, s.readPayload(r, c)
}

func (c *call) readPath(path string) bool {
	rest, found := strings.CutPrefix(path, "/api/now/")
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	if parts[0] == "v1" || parts[0] == "v2" {
		c.version, parts = parts[0], parts[1:]
	}
	if !found || len(parts) < 2 || len(parts) > 3 || parts[0] != "table" {
		return false
	}
	c.table = parts[1]
	if len(parts) == 3 {
		c.sysID = parts[2]
		return c.sysID != ""
	}
	return c.table != ""
}

// allowed reports whether the resource has the method.
func (c *call) allowed() bool {
	switch c.method {
	case http.MethodGet:
		return true
	case http.MethodPost:
		return c.sysID == ""
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
		return c.sysID != ""
	}
	return false
}

// accepts reports whether JSON is among what the client takes.
func accepts(values []string) bool {
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		kind, _, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err == nil && (kind == "application/json" || kind == "application/*" || kind == "*/*") {
			return true
		}
	}
	return false
}

// readPayload reads the body of a write. Of an array the first member counts,
// the others are dropped without a word.
func (s *Server) readPayload(r *http.Request, c *call) *refusal {
	if r.Header.Get("Content-Type") == "" {
		return s.cfg.Answers.MissingHeader.refusal("")
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "Unsupported media type", "only application/json is simulated")
	}
	raw, tooBig := readBody(r, s.cfg.MaxBody)
	if tooBig {
		refused := s.cfg.Answers.Oversize.refusal("")
		size := max(r.ContentLength, s.cfg.MaxBody+1)
		detail := fmt.Sprintf("Rejected large REST payload with content-length = %d bytes. Max allowed: %d bytes.", size, s.cfg.MaxBody)
		refused.detail = &detail
		return refused
	}
	if c.method == http.MethodDelete {
		return nil
	}
	c.raw = raw
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return s.cfg.Answers.BadBody.refusal("")
	}
	if _, err := dec.Token(); err != io.EOF {
		return s.cfg.Answers.BadBody.refusal("")
	}
	if list, isList := v.([]any); isList && len(list) > 0 {
		v = list[0]
	}
	body, isObject := v.(map[string]any)
	if !isObject {
		return s.cfg.Answers.BadBody.refusal("")
	}
	c.body = body
	return nil
}

// readBody reads at most limit bytes; a body that is larger or breaks off
// reports true.
func readBody(r *http.Request, limit int64) ([]byte, bool) {
	if r.ContentLength > limit {
		return nil, true
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	return raw, err != nil || int64(len(raw)) > limit
}

// flag reads a true/false parameter.
func (c *call) flag(name string) bool { return strings.EqualFold(c.params.Get(name), "true") }
