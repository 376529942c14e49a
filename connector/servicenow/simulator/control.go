package simulator

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// controlPath is no path a real instance has.
const controlPath = "/__simulator/faults"

// maxControl bounds the body of a control request.
const maxControl = 4 << 10

// wireFault is a Fault as the control endpoint speaks it.
type wireFault struct {
	Mode              Mode  `json:"mode"`
	Times             int   `json:"times"`
	Writes            bool  `json:"writes"`
	RetryAfterSeconds int64 `json:"retry_after_seconds"`
	DelayMS           int64 `json:"delay_ms"`
}

// serveControl shows (GET) and sets (PUT) the fault. It answers in every mode,
// to admins only.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	who, refused := s.authenticate(r)
	if refused == nil && !who.may([]string{"admin"}) {
		refused = refuse(http.StatusForbidden, "Operation Failed", "only an admin may set faults")
	}
	if refused != nil {
		refused.answer().write(w)
		return
	}
	switch r.Method {
	case http.MethodGet:
	case http.MethodPut:
		f, problem := readFault(r)
		if problem != "" {
			refuse(http.StatusBadRequest, "Invalid fault", problem).answer().write(w)
			return
		}
		s.SetFault(f)
	default:
		refuse(http.StatusMethodNotAllowed, "Method not supported", "use GET or PUT").answer().write(w)
		return
	}
	f := s.Fault()
	jsonAnswer(http.StatusOK, map[string]any{"result": wireFault{
		f.Mode, f.Times, f.Writes, int64(f.RetryAfter / time.Second), f.Delay.Milliseconds(),
	}}).write(w)
}

// readFault returns the fault of a request, or what is wrong with it.
func readFault(r *http.Request) (f Fault, problem string) {
	raw, tooBig := readBody(r, maxControl)
	if tooBig {
		return f, "the body is larger than 4096 bytes or was cut"
	}
	var in wireFault
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return f, err.Error()
	}
	// A day is more than any test waits and keeps the arithmetic in range.
	const day = 24 * 60 * 60
	if in.RetryAfterSeconds > day || in.DelayMS > day*1000 {
		return f, "retry_after_seconds and delay_ms may not exceed a day"
	}
	f = Fault{
		Mode: in.Mode, Times: in.Times, Writes: in.Writes,
		RetryAfter: time.Duration(in.RetryAfterSeconds) * time.Second,
		Delay:      time.Duration(in.DelayMS) * time.Millisecond,
	}
	if err := f.validate(); err != nil {
		return f, err.Error()
	}
	return f, ""
}
