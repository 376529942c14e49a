package servicenow_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/servicenow"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

// instance is a simulated instance behind a real socket, with a clock of its own.
type instance struct {
	t   *testing.T
	sim *simulator.Server
	url string

	mu  sync.Mutex
	now time.Time
}

var secrets = map[string]string{
	"env:PASSWORD": "s3cret-of-fettle", "env:WRONG": "not-the-password", "env:KEY": "key-0123456789",
	"env:CLIENT": "client-id-1", "env:SECRET": "client-secret-1", "env:REFRESH": "set-by-the-test",
}

func start(t *testing.T, change ...func(*simulator.Config)) *instance {
	t.Helper()
	i := &instance{t: t, now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)}
	c := simulator.Config{
		Clock:           i.clock,
		ChangeApprovers: map[string][]string{"normal": {"beth.anglin", "carl"}, "emergency": {"beth.anglin", "carl"}},
		Users:           map[string]string{"fettle": secrets["env:PASSWORD"], "beth.anglin": "beth.anglin", "carl": "carl", "admin": "admin", "berlin": "berlin"},
		Profiles:        map[string]simulator.Profile{"berlin": {TimeZone: "Europe/Berlin", Roles: []string{"itil"}}},
		APIKeys:         map[string]string{secrets["env:KEY"]: "fettle"},
		OAuth:           []simulator.OAuthClient{{ID: secrets["env:CLIENT"], Secret: secrets["env:SECRET"], User: "fettle"}},
	}
	c.ClientCredentials = true
	for _, f := range change {
		f(&c)
	}
	i.sim = simulator.New(c)
	srv := httptest.NewServer(i.sim)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	return i
}

func (i *instance) clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

func (i *instance) wait(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

func basic(password string) connectortest.Values {
	return connectortest.Values{"basic": map[string]any{"username": "fettle", "password": password}}
}

func (i *instance) settings(options connectortest.Values) connector.Settings {
	return connector.Settings{URL: i.url, Auth: basic("env:PASSWORD"), Options: options}
}

// as does what a person does: a request of its own, past the driver.
func (i *instance) as(t *testing.T, user, method, path string, body map[string]string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, i.url+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, user)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s as %s: %d %s", method, path, user, resp.StatusCode, said)
	}
}

var theirStates = map[string]string{"new": "1", "in_progress": "2", "on_hold": "3", "resolved": "6", "closed": "7", "cancelled": "8"}

var theirLevels = map[ops.Severity][2]string{
	ops.Critical: {"1", "1"}, ops.High: {"1", "2"}, ops.Medium: {"2", "2"}, ops.Low: {"3", "2"}, ops.Info: {"3", "3"},
}

func (i *instance) edit(t *testing.T, ref, user string, changed []connector.Field, f ops.TicketFields, note string) {
	t.Helper()
	if id, ok := strings.CutPrefix(ref, "change_request/"); ok {
		i.editChange(t, id, user, changed, f, note)
		return
	}
	b := map[string]string{}
	for _, field := range changed {
		switch field {
		case connector.Title:
			b["short_description"] = f.Title
		case connector.State:
			b["state"] = theirStates[f.State]
		case connector.Severity:
			b["urgency"], b["impact"] = theirLevels[f.Severity][0], theirLevels[f.Severity][1]
		case connector.ResolveCode:
			b["close_code"] = "Solution provided"
		case connector.ResolveNote:
			b["close_notes"] = f.ResolveNote
		default:
			t.Fatalf("a person cannot edit %s here", field)
		}
	}
	if note != "" {
		b["work_notes"] = note
	}
	i.as(t, user, http.MethodPatch, "/api/now/table/incident/"+ref, b)
}

// editChange does the same to a change request.
func (i *instance) editChange(t *testing.T, id, user string, changed []connector.Field, f ops.TicketFields, note string) {
	t.Helper()
	b := map[string]string{}
	for _, field := range changed {
		switch field {
		case connector.Title:
			b["short_description"] = f.Title
		case connector.State:
			b["state"] = map[string]string{"cancelled": "4", "assess": "-5"}[f.State]
		case connector.PlannedStart:
			b["start_date"] = f.PlannedStart.Format("2006-01-02 15:04:05")
		case connector.PlannedEnd:
			b["end_date"] = f.PlannedEnd.Format("2006-01-02 15:04:05")
		default:
			t.Fatalf("a person cannot edit %s of a change here", field)
		}
	}
	if note != "" {
		b["work_notes"] = note
	}
	i.as(t, user, http.MethodPatch, "/api/now/table/change_request/"+id, b)
}

// decide decides as an approver, on the request that stands.
func (i *instance) decide(t *testing.T, ref, user string, d ops.Decision, comment string) {
	t.Helper()
	state := map[ops.Decision]string{ops.Approved: "approved", ops.Refused: "rejected"}[d]
	id := strings.TrimPrefix(ref, "change_request/")
	i.as(t, user, http.MethodPatch, "/api/sn_chg_rest/change/"+id+"/approvals", map[string]string{"state": state, "comments": comment})
}

func (i *instance) count(_ *testing.T, key string) int {
	n := 0
	for _, r := range append(i.sim.Incidents(), i.sim.Records("change_request")...) {
		if r["correlation_id"] == key {
			n++
		}
	}
	return n
}

func (i *instance) harness(auth connector.Section) connectortest.Harness {
	s := i.settings(connectortest.Values{"changes": map[string]any{"digest_field": "u_plan_digest", "revision_field": "u_plan_revision"}})
	s.Auth = auth
	return connectortest.Harness{
		Settings: s, Secrets: secrets, User: "fettle", Transport: &http.Transport{}, Now: i.clock, Wait: i.wait,
		Fields: ops.TicketFields{Group: "Service Desk", Resource: "web-01", Extra: map[string]string{"contact_type": "monitoring"}},
		Edit:   i.edit, Decide: i.decide, People: [2]string{"beth.anglin", "carl"}, Count: i.count,
		Tasks: func(_ *testing.T, ref string) int {
			n := 0
			for _, r := range i.sim.Records("change_task") {
				if "change_request/"+r["change_request"] == ref && r["correlation_id"] != "" {
					n++
				}
			}
			return n
		},
		Missing: strings.Repeat("0f", 16),
		IsWrite: func(r *http.Request) bool { return r.Method != http.MethodGet && r.URL.Path != "/oauth_token.do" },
		Writes:  func(*testing.T) int { return i.sim.Counts().Writes },
		Broken: []connectortest.Broken{
			{Name: "wrong password", Settings: connector.Settings{URL: i.url, Auth: basic("env:WRONG")}, Secrets: secrets, Says: "401"},
			{Name: "wrong close code", Settings: i.settings(connectortest.Values{"close_code": "Solved (Permanently)"}), Secrets: secrets, Says: "Workaround provided"},
			{Name: "wrong hold reason", Settings: i.settings(connectortest.Values{"hold_reason": 2}), Secrets: secrets, Says: "hold_reason"},
			{Name: "closed port", Settings: connector.Settings{URL: "http://127.0.0.1:1", Auth: basic("env:PASSWORD")}, Secrets: secrets, Says: "look at host and port"},
			{Name: "unknown client", Settings: connector.Settings{URL: i.url, Auth: oauth("client_id", "env:WRONG")}, Secrets: secrets, Says: "OAuth Application User"},
		},
	}
}

// oauth is a section with a client, and more pairs of keys and values.
func oauth(more ...string) connectortest.Values {
	o := map[string]any{"client_id": "env:CLIENT", "client_secret": "env:SECRET"}
	for k := 0; k < len(more); k += 2 {
		o[more[k]] = more[k+1]
	}
	return connectortest.Values{"oauth": o}
}

func TestDriver(t *testing.T) {
	f := func(name string, auth connector.Section, change ...func(*simulator.Config)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.Run(t, servicenow.Driver, func(t *testing.T) connectortest.Harness {
				return start(t, change...).harness(auth)
			})
		})
	}
	f("basic", basic("env:PASSWORD"))
	f("client_credentials", oauth())
	f("password_grant", oauth("username", "fettle", "password", "env:PASSWORD"))
	f("api_key", connectortest.Values{"api_key": "env:KEY"})
}
