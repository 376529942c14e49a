package ticket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/servicenow"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

// direct hands requests to a handler, so that they happen in virtual time.
type direct struct{ http.Handler }

func (d direct) Do(req *http.Request, _ connector.Effect) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, req)
	return w.Result(), nil
}

type plainSecret struct{}

func (plainSecret) Resolve(_ context.Context, ref string) (string, error) {
	return strings.TrimPrefix(ref, "env:"), nil
}

// serviceNow opens a house on a simulated instance and returns the instance.
func serviceNow(t *testing.T) (*house, *simulator.Server) {
	t.Helper()
	sim := simulator.New(simulator.Config{
		Clock: time.Now, Users: map[string]string{"fettle": "fettle", "anna.s": "anna.s", "carl": "carl"},
		ChangeApprovers: map[string][]string{"normal": {"anna.s", "carl"}},
		Rows:            map[string][]simulator.Record{"sys_user_group": {{"name": "Cloud operations"}}, "cmdb_ci": {{"name": "web-1"}}},
	})
	h := open(t, setup{routes: changesToSnow, snow: func(env connector.Env) (connector.Platform, error) {
		env.HTTP, env.Secrets, env.Installation = direct{sim}, plainSecret{}, "test"
		c, err := servicenow.Driver.Open(t.Context(), connector.Settings{
			URL:     "http://snow.test",
			Auth:    connectortest.Values{"basic": map[string]any{"username": "fettle", "password": "env:fettle"}},
			Options: connectortest.Values{"changes": map[string]any{}},
		}, env)
		if err != nil {
			return nil, err
		}
		return c.Inner(), nil
	}})
	return h, sim
}

// as does what a person does in the instance.
func as(t *testing.T, sim *simulator.Server, user, method, path string, body map[string]string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(string(b)))
	req.SetBasicAuth(user, user)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, req)
	if w.Code >= 300 {
		t.Fatalf("%s %s as %s: %d %s", method, path, user, w.Code, w.Body)
	}
}

func ofSnow(h *house, id string) string {
	h.Helper()
	return strings.TrimPrefix(h.ofChange("snow", id, ops.TicketChangeRequest).Ref, "change_request/")
}

func TestChangeOnServiceNow(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T) {
		h, sim := serviceNow(t)
		c := h.raise(ops.Change{})
		h.run(time.Minute)
		one := h.planned(c.ID, owner)
		h.run(2 * time.Minute)
		id := ofSnow(h, c.ID)
		shown := func() simulator.Record { t.Helper(); return sim.Records("change_request")[0] }
		if r := shown(); r["state"] != "-4" || !strings.Contains(r["justification"], one.PlanDigest) || r["risk"] != "2" || !strings.Contains(r["implementation_plan"], "m5.1") {
			t.Fatalf("asked with %v", r)
		}
		if files := sim.Records("sys_attachment"); len(files) != 1 || files[0]["file_name"] != "plan-r1.json" {
			t.Errorf("files %v", files)
		}
		// The plan is revised between display and approve: the first approver
		// decides while the instance is out of reach.
		h.snow.Break(connectortest.Unavailable())
		h.edited(c.ID)
		two := h.planned(c.ID, owner)
		h.run(time.Minute)
		as(t, sim, "anna.s", http.MethodPatch, "/api/sn_chg_rest/change/"+id+"/approvals", map[string]string{"state": "approved", "comments": "fits"})
		h.snow.Mend()
		h.run(5 * time.Minute)
		seen := bodies[ops.ApprovalSeenBody](h, c.Subject())
		if len(seen) != 1 || seen[0].Revision != 1 || seen[0].Digest != one.PlanDigest || seen[0].Person != "anna" || seen[0].Comment != "fits" {
			t.Fatalf("told %+v", seen)
		}
		if r := shown(); r["state"] != "-4" || !strings.Contains(r["justification"], two.PlanDigest) {
			t.Fatalf("asked anew with %v, %+v", r, h.ofChange("snow", c.ID, ops.TicketChangeRequest))
		}
		if row := h.ofChange("snow", c.ID, ops.TicketChangeRequest); row.Sync != ops.SyncOK || row.Want.State != "authorize" {
			t.Errorf("%s (%s), wants %s", row.Sync, row.SyncNote, row.Want.State)
		}
		as(t, sim, "carl", http.MethodPatch, "/api/sn_chg_rest/change/"+id+"/approvals", map[string]string{"state": "approved"})
		decided := time.Now()
		h.run(2 * time.Minute)
		seen = bodies[ops.ApprovalSeenBody](h, c.Subject())
		if len(seen) != 2 {
			t.Fatalf("told %+v", seen)
		}
		if b := seen[1]; b.Revision != 2 || b.Digest != two.PlanDigest || b.User != "carl" || !b.DecidedAt.Equal(decided.Truncate(time.Second)) || !b.DecidedAt.After(b.WrittenAt) {
			t.Errorf("told %+v", b)
		}
		start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		as(t, sim, "carl", http.MethodPatch, "/api/now/table/change_request/"+id, map[string]string{
			"start_date": start.Format("2006-01-02 15:04:05"), "end_date": start.Add(time.Hour).Format("2006-01-02 15:04:05"),
		})
		h.run(2 * time.Minute)
		if w := bodies[ops.WindowOfferedBody](h, c.Subject()); len(w) != 1 || !w[0].Start.Equal(start) || !w[0].End.Equal(start.Add(time.Hour)) || w[0].User != "carl" {
			t.Errorf("window told as %+v", w)
		}
		w := ops.Occurrence{Window: "offered", Start: start, End: start.Add(time.Hour)}
		h.scheduled(c.ID, &w)
		h.run(time.Hour)
		run := ops.Run{ID: "r", ChangeID: c.ID, StartedAt: time.Now(), FinishedAt: time.Now().Add(time.Minute)}
		h.tell(c.Subject(), ops.RunStartedBody{Run: run, Window: w})
		h.tell(c.Subject(), ops.RunBeganBody{Run: run, Change: h.changes[c.ID]})
		done := h.changes[c.ID]
		done.Run = &run
		h.changes[c.ID] = done
		h.ends(c.ID, ops.ChangeClosed, ops.Successful, "better")
		h.run(5 * time.Minute)
		if r := shown(); r["state"] != "3" || r["close_code"] != "successful" || r["close_notes"] != "better" || r["work_start"] == "" {
			t.Errorf("closed as %v", r)
		}
		notes := fmt.Sprint(sim.Journal(id))
		for _, step := range []string{"waits for approval of plan " + two.PlanDigest, "scheduled in window offered", "run started", "closed: successful"} {
			if n := strings.Count(notes, step); n != 1 {
				t.Errorf("%q is in the notes %d times", step, n)
			}
		}
		if n := len(bodies[ops.WindowOfferedBody](h, c.Subject())); n != 1 {
			t.Errorf("%d windows told", n)
		}
		if n := len(sim.Records("change_request")); n != 1 {
			t.Errorf("%d change requests", n)
		}
	})
}

// ServiceNow counts seconds: a decision in the second in which the plan was
// written may have been about the plan before, and does not look younger.
func TestDecisionInTheSecondOfThePlanOnServiceNow(t *testing.T) {
	t.Parallel()
	f := func(wait time.Duration, counts bool) {
		t.Helper()
		virtual(t, func(t *testing.T) {
			h, sim := serviceNow(t)
			c := h.raise(ops.Change{})
			h.run(time.Minute)
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
			h.planned(c.ID, owner)
			h.run(100 * time.Millisecond)
			if sent := h.ofChange("snow", c.ID, ops.TicketChangeRequest).Work.Approval; !sent.Done {
				t.Fatalf("nobody was asked: %+v", sent)
			}
			time.Sleep(wait)
			as(t, sim, "anna.s", http.MethodPatch, "/api/sn_chg_rest/change/"+ofSnow(h, c.ID)+"/approvals", map[string]string{"state": "approved"})
			h.run(2 * time.Minute)
			seen := bodies[ops.ApprovalSeenBody](h, c.Subject())
			if len(seen) != 1 || seen[0].DecidedAt.After(seen[0].WrittenAt) != counts {
				t.Errorf("after %s: told %+v", wait, seen)
			}
		})
	}
	f(100*time.Millisecond, false)
	f(time.Second, true)
}

func TestChangeStoppedOnServiceNow(t *testing.T) {
	t.Parallel()
	f := func(name string, stop func(t *testing.T, sim *simulator.Server, id string), check func(h *house, c ops.Change)) {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h, sim := serviceNow(t)
				c := h.raise(ops.Change{})
				c = h.planned(c.ID, owner)
				h.run(2 * time.Minute)
				stop(t, sim, ofSnow(h, c.ID))
				h.run(time.Hour)
				check(h, c)
				h.ends(c.ID, ops.ChangeCancelled, ops.Withdrawn, "stopped")
				h.run(5 * time.Minute)
				if r := sim.Records("change_request")[0]; r["state"] != "4" {
					t.Errorf("ended as %v", r)
				}
			})
		})
	}
	f("denied", func(t *testing.T, sim *simulator.Server, id string) {
		as(t, sim, "anna.s", http.MethodPatch, "/api/sn_chg_rest/change/"+id+"/approvals", map[string]string{"state": "rejected", "comments": "not this week"})
	}, func(h *house, c ops.Change) {
		seen := bodies[ops.ApprovalSeenBody](h, c.Subject())
		if len(seen) != 1 || seen[0].Decision != ops.Refused || seen[0].Comment != "not this week" || seen[0].Digest != c.PlanDigest {
			h.Errorf("told %+v", seen)
		}
	})
	f("cancelled", func(t *testing.T, sim *simulator.Server, id string) {
		as(t, sim, "anna.s", http.MethodPatch, "/api/sn_chg_rest/change/"+id, map[string]string{"state": "canceled", "close_notes": "we keep it"})
	}, func(h *house, c ops.Change) {
		seen := bodies[ops.WithdrawalSeenBody](h, c.Subject())
		if len(seen) != 1 || seen[0].Person != "anna" || seen[0].Why != "we keep it" {
			h.Errorf("told %+v", seen)
		}
	})
}
