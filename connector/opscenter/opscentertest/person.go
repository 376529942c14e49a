package opscentertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Call makes a raw call of Systems Manager with the access key of somebody, and
// returns the status and the answer.
func (s *Service) Call(t testing.TB, key, operation, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM."+operation)
	Sign(r, key)
	return s.answer(t, r)
}

// Sign puts the headers of a signature on a request.
func Sign(r *http.Request, key string) {
	r.Header.Set("X-Amz-Date", "20261122T010203Z")
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20261122/eu-central-1/ssm/aws4_request, SignedHeaders=host;x-amz-date, Signature=%s", key, strings.Repeat("0", 64)))
}

func (s *Service) answer(t testing.TB, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("answered %d %s: %v", w.Code, w.Body, err)
	}
	return w.Code, out
}

// Edit changes an OpsItem as a person does in the console: in names what is
// written, data the operational data, and an empty value takes an entry away.
func (s *Service) Edit(t testing.TB, key, id string, in map[string]any, data map[string]string) {
	t.Helper()
	all := map[string]any{"OpsItemId": id}
	for k, v := range in {
		all[k] = v
	}
	set := map[string]Value{}
	var gone []string
	for name, v := range data {
		if v == "" {
			gone = append(gone, name)
			continue
		}
		set[name] = Value{Type: "String", Value: v}
	}
	if len(set) > 0 {
		all["OperationalData"] = set
	}
	if len(gone) > 0 {
		all["OperationalDataToDelete"] = gone
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if code, out := s.Call(t, key, "UpdateOpsItem", string(b)); code != http.StatusOK {
		t.Fatalf("edit of %s as %s: %d %v", id, key, code, out)
	}
}
