package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// answer is a finished response; nothing of it is written before the write to
// the table is complete, so that a cut connection loses the answer and not the write.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	changed bool
}

// with adds headers; every answer is made with some already.
func (a answer) with(h http.Header) answer {
	maps.Copy(a.header, h)
	return a
}

func (a answer) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(a.body)
}

// refusal is an error in the envelope every REST face of the platform uses.
type refusal struct {
	status  int
	message string
	// detail nil is null on the wire, as an unknown table is.
	detail *string
	header http.Header
}

func refuse(status int, message, detail string) *refusal {
	return &refusal{status: status, message: message, detail: &detail}
}

func (e ErrorAnswer) refusal(sysID string) *refusal {
	return refuse(e.Status, e.Message, strings.ReplaceAll(e.Detail, "{sys_id}", sysID))
}

func notFound() *refusal {
	return refuse(http.StatusNotFound, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
}

// forbidden is how an ACL refuses a write; verb is Insert, Update or Delete.
func forbidden(verb string) *refusal {
	return refuse(http.StatusForbidden, "Operation Failed", fmt.Sprintf("ACL Exception %s Failed due to security constraints", verb))
}

func (r *refusal) answer() answer {
	a := jsonAnswer(r.status, map[string]any{
		"error":  map[string]any{"message": r.message, "detail": r.detail},
		"status": "failure",
	})
	return a.with(r.header)
}

func jsonAnswer(status int, v any) answer {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Only maps, slices and strings are encoded here.
		panic(fmt.Sprintf("simulator: encode answer: %v", err))
	}
	return answer{
		status: status,
		header: http.Header{"Content-Type": {"application/json;charset=UTF-8"}, "Server": {"ServiceNow"}},
		body:   bytes.TrimRight(buf.Bytes(), "\n"),
	}
}

func htmlAnswer(status int, body string) answer {
	return answer{
		status: status,
		header: http.Header{"Content-Type": {"text/html;charset=UTF-8"}, "Server": {"ServiceNow"}},
		body:   []byte(body),
	}
}
