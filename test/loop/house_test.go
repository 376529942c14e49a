// Package loop drives the real binary around the whole loop: a recommendation
// becomes a change request, a person approves it in the platform, an executor
// carries it out in a cloud or through Terraform, and the request is closed.
// The tests are long: FETTLE_LONG=1.
package loop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/test/house"
)

func TestMain(m *testing.M) {
	awsxtest.CredentialsForAll()
	code := peer.Waiting(m)
	house.Remove()
	os.Exit(code)
}

// patience bounds how long anything may take on a loaded machine.
const patience = 3 * time.Minute

// installation is the real binary with a shop that can be asked for its health.
type installation struct {
	*house.House
	t    *testing.T
	sick sync.Map // executors whose changes have made the shop sick
	died int      // lives that ended at a failpoint
}

// named finds the executors of a configuration.
var named = regexp.MustCompile(`{name: (\w+), tool:`)

// install makes an installation whose change requests stand in ServiceNow, or
// in the Request Tracker where it has one. executors are entries of the
// configuration, one a line, extra further sections, and rewrite replaces more
// of it. The shop is asked for its health after each change of an executor.
func install(t *testing.T, o house.Options, executors, extra string, rewrite ...string) *installation {
	t.Helper()
	i := &installation{t: t}
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, sick := i.sick.Load(r.URL.Path[1:]); sick {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(health.Close)
	o.Integration = `{name: densify, source: densify, auth: {bearer: env:HOUSE_WEBHOOK}}`
	o.Extra = "\nverify:\n  checks:\n"
	for _, m := range named.FindAllStringSubmatch(executors, -1) {
		o.Extra += fmt.Sprintf("    - {name: shop answers %[1]s, match: 'change.executor == %[1]q', http: {url: %[2]q, allow: [127.0.0.0/8]}, times: 2}\n", m[1], health.URL+"/"+m[1])
	}
	o.Extra += extra
	platforms, requests := "{snow: beth.anglin}", "snow"
	if o.RT != nil {
		platforms, requests = "{snow: beth.anglin, rt: anna}", "rt"
	}
	o.Rewrite = strings.NewReplacer(append([]string{
		"roles: [approver], teams: [Ops]}", "roles: [approver, change-manager], teams: [Ops], platforms: " + platforms + `}
  - {name: mia, roles: [approver, change-manager], platforms: {snow: abel.tuter}}
  - {name: zoe, roles: [change-manager]}`,
		"{name: Ops, time_zone: UTC,", "{name: Ops, assignment_group: Service Desk, time_zone: UTC,",
		"executors:\n", "executors:\n  - " + strings.ReplaceAll(strings.TrimSpace(executors), "\n", "\n  - ") + "\n",
		"expires: 3s", "expires: 10m",
		"    sync: {every: 1s}\n", "    sync: {every: 1s}\n    options: {changes: {settle: 2s}}\n",
		"routes:\n", "routes:\n  - {match: 'true', platform: " + requests + ", kind: change_request, team: Ops}\n",
	}, rewrite...)...)
	i.House = house.New(t, o)
	return i
}

// until waits until want holds. A server that died at its failpoint is started
// again without.
func (i *installation) until(what string, want func() error) {
	i.t.Helper()
	i.await(i.t, what, want)
}

func (i *installation) await(t *testing.T, what string, want func() error) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		select {
		case <-i.Ended():
			if !i.Killed() {
				t.Fatalf("%s: the server ended by itself:\n%s", what, i.Tail(20))
			}
			i.died++
			i.Start("")
			i.Ready(patience)
		default:
		}
		err := want()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("%s: after %s: %v\n%s", what, patience, err, i.Tail(20))
		}
	}
}

// advise posts a recommendation about a resource the way ICCO does, until it is
// acknowledged.
func (i *installation) advise(service, resource, from, to string) {
	i.t.Helper()
	i.until("advise", i.advises(service, resource, from, to))
}

func (i *installation) advises(service, resource, from, to string) func() error {
	body := fmt.Sprintf(`[{"entityId":"e","resourceId":%q,"accountIdRef":"123456789012","regionId":"eu-central-1","serviceType":%q,"name":%q,"currentType":%q,"recommendedType":%q,"recommendationType":"Downsize","minGroupCurrent":2,"maxGroupCurrent":6,"minGroupRecommended":1,"maxGroupRecommended":4,"savingsEstimate":61.2}]`, resource, service, resource, from, to)
	return func() error {
		req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.Base+"/in/densify/load-insights", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+house.WebhookToken)
		req.Header.Set("Content-Type", "application/json")
		return send(req)
	}
}

func send(req *http.Request) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, resp.Status)
	}
	return nil
}

// change returns the n-th change that was made.
func (i *installation) change(n int) (c api.ChangeView, err error) {
	return c, i.Call(i.t.Context(), http.MethodGet, fmt.Sprintf("/changes/CHG-%d", n), nil, &c)
}

func (i *installation) wants(n int, state ops.ChangeState, outcome ops.Outcome) func() error {
	return func() error {
		c, err := i.change(n)
		if err != nil {
			return err
		}
		return is(c, state, outcome)
	}
}

// is wants a change in a state.
func is(c api.ChangeView, state ops.ChangeState, outcome ops.Outcome) error {
	if c.State == state && c.Outcome == outcome {
		return nil
	}
	err := fmt.Errorf("%s is %s %s, want %s %s (%s)", c.Key, c.State, c.Outcome, state, outcome, c.Waiting)
	if c.Run != nil {
		err = fmt.Errorf("%w; its run is %s: %s", err, c.Run.State, c.Run.Error)
	}
	return err
}

// decide has beth decide about everything she is asked in ServiceNow.
func (i *installation) decide(state string) error { return i.decides("beth.anglin", "", state) }

// decides has a person decide in ServiceNow, about one change request or about
// the first there is.
func (i *installation) decides(who, request, state string) error {
	for _, a := range i.Snow.Records("sysapproval_approver") {
		if a["state"] != "requested" || a["approver"] != i.user(who) || request != "" && a["sysapproval"] != request {
			continue
		}
		// Its clock has whole seconds, and what is said in the second of the asking
		// may be about what stood there before.
		asked, err := time.ParseInLocation(time.DateTime, a["sys_created_on"], time.UTC)
		if err != nil {
			return err
		}
		if time.Since(asked) < 2500*time.Millisecond {
			return fmt.Errorf("asked just now")
		}
		return i.inSnow(who, "sysapproval_approver/"+a["sys_id"], map[string]string{"state": state, "comments": "looked at it"})
	}
	return fmt.Errorf("nobody is asked in ServiceNow")
}

// inSnow writes a record in ServiceNow as a person.
func (i *installation) inSnow(who, record string, fields map[string]string) error {
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPatch, i.SnowURL+"/api/now/table/"+record, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(who, who)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	return send(req)
}

func (i *installation) user(name string) string {
	for _, u := range i.Snow.Records("sys_user") {
		if u["user_name"] == name {
			return u["sys_id"]
		}
	}
	return ""
}

// requests returns the change requests in ServiceNow.
func (i *installation) requests() []simulator.Record { return i.Snow.Records("change_request") }

// wantsTasks wants every change request to have tasks, each of them once and
// closed.
func (i *installation) wantsTasks() error {
	have, keys := map[string]int{}, map[string]bool{}
	for _, t := range i.Snow.Records("change_task") {
		if keys[t["correlation_id"]] || t["state"] != "3" {
			return fmt.Errorf("%s %q is in state %s, there before: %t", t["number"], t["short_description"], t["state"], keys[t["correlation_id"]])
		}
		keys[t["correlation_id"]] = true
		have[t["change_request"]]++
	}
	for _, r := range i.requests() {
		if have[r["sys_id"]] < 2 {
			return fmt.Errorf("%s has %d tasks", r["number"], have[r["sys_id"]])
		}
	}
	return nil
}

// wantsRequests wants so many change requests, the last of them in a state.
func (i *installation) wantsRequests(n int, state string) func() error {
	return func() error {
		all := i.requests()
		if len(all) != n {
			return fmt.Errorf("there are %d change requests in ServiceNow, want %d", len(all), n)
		}
		if is := all[n-1]["state"]; is != state {
			return fmt.Errorf("%s is in state %s, want %s", all[n-1]["number"], is, state)
		}
		return nil
	}
}
