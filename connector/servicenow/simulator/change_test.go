package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What an instance refuses about change requests, by raw calls.
func TestChangeRefusals(t *testing.T) {
	s := New(Config{Clock: func() time.Time { return clockStart }})
	do := func(user, method, path, body string) (int, string) {
		t.Helper()
		req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		req.SetBasicAuth(user, user)
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	create := func(kind, more string) string {
		t.Helper()
		code, body := do("fettle", http.MethodPost, "/api/sn_chg_rest/v1/change"+kind, `{"short_description":"x"`+more+`}`)
		var one struct {
			SysID struct{ Value string } `json:"sys_id"`
		}
		var out struct{ Result json.RawMessage }
		if code != http.StatusOK || json.Unmarshal([]byte(body), &out) != nil {
			t.Fatalf("create: %d %s", code, body)
		}
		if kind != "" { // a list where the address names a type
			var list []json.RawMessage
			if err := json.Unmarshal(out.Result, &list); err != nil || len(list) != 1 {
				t.Fatalf("create%s: %s", kind, body)
			}
			out.Result = list[0]
		}
		if err := json.Unmarshal(out.Result, &one); err != nil || one.SysID.Value == "" {
			t.Fatalf("create: %s", body)
		}
		return one.SysID.Value
	}
	group := s.Records("sys_user_group")[0]["sys_id"]
	owned := `,"assignment_group":"` + group + `"`
	f := func(want int, says, user, method, path, body string) {
		t.Helper()
		code, got := do(user, method, path, body)
		if code != want || !strings.Contains(got, says) {
			t.Errorf("%s %s %s: %d %s; want %d that says %q", method, path, body, code, got, want, says)
		}
		var e struct {
			Error  *struct{ Message, Detail string }
			Status string
		}
		if want >= 400 && (json.Unmarshal([]byte(got), &e) != nil || e.Error == nil || e.Status != "failure") {
			t.Errorf("%s is no error envelope", got)
		}
	}
	id := create("", owned)
	at := "/api/sn_chg_rest/change/" + id
	f(400, "cannot be moved", "fettle", "PATCH", at, `{"state":"implement"}`)
	f(400, "cannot be moved", "fettle", "PATCH", at, `{"state":"-1"}`)
	f(400, "cannot be moved", "fettle", "PATCH", at, `{"state":"17"}`)
	f(400, "cannot be moved", "fettle", "PATCH", "/api/now/table/change_request/"+id, `{"state":"-1"}`)
	f(400, "cannot be moved", "fettle", "POST", "/api/sn_chg_rest/change", `{"state":"implement"}`)
	f(403, "On hold reason", "fettle", "PATCH", at, `{"on_hold":true}`)
	f(403, "Change type", "fettle", "PATCH", at, `{"type":"emergency"}`)
	f(404, "No Record found", "fettle", "PATCH", "/api/sn_chg_rest/change/emergency/"+id, `{"risk":"2"}`)
	f(404, "No Record found", "fettle", "GET", "/api/sn_chg_rest/change/"+strings.Repeat("0", 32)+"/nextstates", "")
	f(404, "No Record found", "fettle", "POST", "/api/sn_chg_rest/change/standard/"+strings.Repeat("0", 32), `{}`)
	f(405, "not supported", "fettle", "DELETE", at, "")
	f(403, "Assignment group", "fettle", "PATCH", "/api/sn_chg_rest/change/"+create("/normal", ""), `{"state":"assess"}`)
	f(200, `"ignoredFields":["no_such_field"]`, "fettle", "PATCH", at, `{"no_such_field":"x"}`)
	f(200, `"value":-5`, "fettle", "GET", at, "")
	f(200, `"available_states":["-5","-4","4"]`, "fettle", "GET", at+"/nextstates", "")
	f(400, "No approval", "beth.anglin", "PATCH", at+"/approvals", `{"state":"approved"}`)
	f(200, "", "fettle", "PATCH", at, `{"state":"assess"}`)
	f(200, `"available_states":["-4","-5","4"]`, "fettle", "GET", at+"/nextstates", "")
	f(400, "cannot be moved", "fettle", "PATCH", at, `{"state":"authorize"}`) // approvals make this move
	f(400, "No approval", "fettle", "PATCH", at+"/approvals", `{"state":"approved"}`)
	f(400, "Comments are required", "beth.anglin", "PATCH", at+"/approvals", `{"state":"rejected"}`)
	approval := s.Records("sysapproval_approver")[0]["sys_id"]
	f(403, "ACL", "fettle", "PATCH", "/api/now/table/sysapproval_approver/"+approval, `{"state":"approved"}`)
	f(200, "", "beth.anglin", "PATCH", "/api/now/table/sysapproval_approver/"+approval, `{"state":"approved"}`)
	f(403, "aborted", "beth.anglin", "PATCH", "/api/now/table/sysapproval_approver/"+approval, `{"state":"rejected","comments":"no"}`)
	if got := s.Records("change_request")[0]; got["state"] != "-2" || got["approval"] != "approved" {
		t.Errorf("approved as %s %s", got["state"], got["approval"])
	}
	if got := s.Records("sysapproval_approver")[1]; got["state"] != "not_required" {
		t.Errorf("the other is still %s", got["state"])
	}
	f(200, "", "fettle", "PATCH", at, `{"state":"-1"}`)
	f(400, "cannot be moved", "fettle", "PATCH", at, `{"state":"new"}`)
	f(200, "", "fettle", "PATCH", at, `{"state":"review"}`)
	f(400, "cannot be moved", "fettle", "PATCH", at, `{"state":"canceled"}`)
	f(403, "Close code, Close notes", "fettle", "PATCH", at, `{"state":"closed"}`)
	f(403, "Close code", "fettle", "PATCH", at, `{"state":"closed","close_code":"Solution provided","close_notes":"x"}`)
	f(200, `"status":"Conflict"`, "fettle", "GET", at+"/conflict", "")
	f(200, `"value":3`, "fettle", "PATCH", at, `{"state":"closed","close_code":"successful","close_notes":"x"}`)
	f(400, "cannot be moved", "fettle", "PATCH", at, `{"state":"review"}`)
	// Rejecting sends it back to New; reverting cancels what is asked.
	id = create("/emergency", owned)
	at = "/api/sn_chg_rest/change/" + id
	f(200, "", "fettle", "PATCH", at, `{"state":"authorize"}`)
	f(200, `"value":-5`, "abel.tuter", "PATCH", at+"/approvals", `{"state":"rejected","comments":"no"}`)
	f(200, "", "fettle", "PATCH", at, `{"state":"authorize"}`)
	f(200, "", "fettle", "PATCH", at, `{"state":"new"}`)
	f(400, "No approval", "beth.anglin", "PATCH", at+"/approvals", `{"state":"approved"}`)
}
