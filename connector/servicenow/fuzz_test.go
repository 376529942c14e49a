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
