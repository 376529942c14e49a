package servicenow

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// FuzzAnswer reads whatever a server may say. Nothing may panic, a ticket has
// what every ticket has, and an error has a class.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"result":{"sys_id":"1","number":"INC1","state":"1","urgency":"2","impact":"2","sys_mod_count":"0","sys_created_on":"2026-11-21 09:00:00","sys_updated_on":"2026-11-21 09:00:00"}}`), 200)
	f.Add([]byte(`{"result":{"sys_id":{"link":"x","value":"1"},"work_notes":"2026-11-21 09:00:00 - A (Work notes)\nx\n\n"}}`), 200)
	f.Add([]byte(`{"error":{"message":"Operation Failed","detail":"Data Policy Exception: \n\tResolution code"},"status":"failure"}`), 403)
	f.Add([]byte(`{"result":null}`), 201)
	f.Add([]byte(`<html>`), 200)
	m := testMapping()
	c := &client{clock: func() time.Time { return time.Unix(0, 0) }}
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		a := answer{resp: &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}}, body: body}
		r, err := c.record(a, connector.Read, http.StatusOK)
		if err != nil {
			if errors.Is(ops.Class(err), ops.ErrInternal) {
				t.Errorf("%d %q: %v has no class", code, body, err)
			}
			return
		}
		for _, n := range shownNotes(r) {
			if n.ID == "" || n.At.IsZero() {
				t.Errorf("%q: note %+v", body, n)
			}
		}
		if got, err := m.ticket(r, []string{"category"}, "fettle"); err == nil && (got.Ref == "" || got.UpdatedAt.IsZero()) {
			t.Errorf("%q: ticket %+v", body, got)
		}
	})
}

// FuzzShownNotes takes journals apart as people wrote them.
func FuzzShownNotes(f *testing.F) {
	f.Add("2026-11-21 09:02:00 - Beth (Work notes)\nsecond\n\n2026-11-21 09:01:00 - Fettle (Work notes)\nfirst\n\n[fettle:n-1]\n\n")
	f.Add("9999-99-99 99:99:99 - x (y)\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := json.Marshal(map[string]string{"work_notes": text})
		if err != nil {
			t.Fatal(err)
		}
		var r row
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		notes := shownNotes(r)
		for k, n := range notes {
			if n.ID == "" || k > 0 && n.At.Before(notes[k-1].At) {
				t.Errorf("%q: note %+v", text, n)
			}
		}
	})
}

// FuzzChange reads whatever the Change Management API may say.
func FuzzChange(f *testing.F) {
	f.Add([]byte(`{"result":{"sys_id":{"display_value":"1","value":"1"},"state":{"display_value":"New","value":-5},"on_hold":{"value":false},"__meta":{"ignoredFields":["x"]}}}`), 200)
	f.Add([]byte(`{"result":[{"sys_id":{"value":"1"}},{"__meta":{"encodedQuery":"x"}}]}`), 200)
	f.Add([]byte(`{"result":{"available_states":["0","4",-1],"state_label":{"-1":"Implement"}}}`), 200)
	f.Add([]byte(`{"result":{"status":"Conflict","conflicts":[{"type":{"value":"not_in_maintenance_window"}}]}}`), 200)
	f.Add([]byte(`{"result":[]}`), 200)
	m := testMapping()
	m.options.Changes = &Changes{}
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		a := answer{resp: &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}}, body: body}
		class := func(err error) {
			if err != nil && errors.Is(ops.Class(err), ops.ErrInternal) {
				t.Errorf("%d %q: %v has no class", code, body, err)
			}
		}
		_, err := result[changeResult](a, connector.Once)
		class(err)
		next, err := result[nextStates](a, connector.Read)
		class(err)
		if next.names("-5") == "" {
			t.Errorf("%q: no names", body)
		}
		found, err := result[conflictResult](a, connector.Read)
		class(err)
		for _, line := range found.lines() {
			if line == "" {
				t.Errorf("%q: an empty line", body)
			}
		}
		r, err := result[row](a, connector.Read)
		if err != nil {
			return
		}
		if got, err := m.change(r, nil, "fettle"); err == nil && (got.Kind != ops.TicketChangeRequest || got.UpdatedAt.IsZero()) {
			t.Errorf("%q: change %+v", body, got)
		}
		if d, isOne, err := decisionIn(r, time.Unix(0, 0)); err == nil && isOne && (d.At.IsZero() || d.ID == "") {
			t.Errorf("%q: decision %+v", body, d)
		}
		if mark := planIn(r.get("justification")); mark != "" {
			if _, _, ok := ops.ParsePlanMark(mark); !ok {
				t.Errorf("%q: mark %q", body, mark)
			}
		}
	})
}
