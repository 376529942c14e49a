package peer

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
)

func TestRequestTrackerFindsWhatItCreated(t *testing.T) {
	Long(t)
	rt := RequestTrackerWith(t, RTConfig{KeyField: "LoopKey"})
	call := func(method, path string, auth func(*http.Request), body, into any) int {
		t.Helper()
		sent, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, rt.URL+"/REST/2.0"+path, bytes.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		auth(req)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, resp.Status, err)
		}
		return resp.StatusCode
	}
	token := func(r *http.Request) { r.Header.Set("Authorization", "token "+rt.Token) }
	basic := func(r *http.Request) { r.SetBasicAuth(rt.User, rt.Password) }

	var made struct{ ID string }
	status := call(http.MethodPost, "/ticket", token, map[string]any{
		"Queue": "General", "Subject": "disk full", "Content": "95 %", "ContentType": "text/plain",
		"CustomFields": map[string]string{"LoopKey": "INC-1", "Severity": "High"},
	}, &made)
	if status != http.StatusCreated || made.ID == "" {
		t.Fatalf("create answered %d with id %q", status, made.ID)
	}
	find := func(query string) (ids []string) {
		t.Helper()
		var found struct{ Items []struct{ ID string } }
		call(http.MethodGet, "/tickets?query="+url.QueryEscape(query), basic, nil, &found)
		for _, i := range found.Items {
			ids = append(ids, i.ID)
		}
		return ids
	}
	if got := find("'CF.{LoopKey}' = 'INC-1' AND 'CF.{Severity}' = 'High'"); len(got) != 1 || got[0] != made.ID {
		t.Errorf("found %v, want only %s", got, made.ID)
	}
	if got := find("'CF.{LoopKey}' = 'INC-2'"); len(got) != 0 {
		t.Errorf("found %v by a key never used", got)
	}
	var queue struct{ Name, Lifecycle string }
	call(http.MethodGet, "/queue/Changes", token, nil, &queue)
	if queue.Lifecycle != "approvals" {
		t.Errorf("queue Changes has lifecycle %q, want approvals", queue.Lifecycle)
	}
}
