package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fettleops/fettle/ops"
)

// Where policy has a change approved in a platform only, the command line says
// where, and ends with the code of a refusal.
func TestApprovedElsewhereIsRefused(t *testing.T) {
	var c struct { // as the API shows it
		ops.Change
		Key     string       `json:"key"`
		Tickets []ops.Ticket `json:"tickets"`
	}
	c.Key, c.Change = "CHG-7", ops.Change{Number: 7, State: ops.ChangeAuthorize, ApproveIn: "snow"}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"status":403,"detail":"CHG-7: policy has it approved in snow only; approve CHG0030001 there"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(c)
	}))
	t.Cleanup(srv.Close)
	t.Setenv("FETTLE_TOKEN", "x")
	run := func(args ...string) (code int, out, fault string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code = Main(append(args, "--server", srv.URL), strings.NewReader(""), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	if code, _, fault := run("changes", "approve", "CHG-7", "--digest", strings.Repeat("a", 12)); code != exitRefused || !strings.Contains(fault, "approved in snow only; approve CHG0030001 there") {
		t.Errorf("%d: %s", code, fault)
	}
	f := func(want string) {
		t.Helper()
		if code, out, fault := run("changes", "show", "CHG-7"); code != exitDone || !strings.Contains(out, want) {
			t.Errorf("%d: %s%s, want %q", code, out, fault, want)
		}
	}
	f("snow only; its ticket there is not opened yet")
	c.Tickets = []ops.Ticket{
		{Platform: "desk", Kind: ops.TicketChangeRequest, Display: "DESK-1"},
		{Platform: "snow", Kind: ops.TicketChangeRequest, Display: "CHG0030001", URL: "https://snow.example/1"},
	}
	f("snow only: CHG0030001 https://snow.example/1")
	c.ApproveIn = ops.DeskPlatform
	f("Fettle only")
}
