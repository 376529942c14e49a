// Package peers runs the real binary between real programs: alerts come from a
// real Alertmanager, tickets go to a real Request Tracker. The tests are long:
// FETTLE_LONG=1.
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/test/house"
)

func TestMain(m *testing.M) {
	code := m.Run()
	house.Remove()
	os.Exit(code)
}

func TestAlertmanagerFiresAndResolvesThroughToResolvedTickets(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	house.Binary(t)
	rt := peer.RequestTracker(t)
	h := house.New(t, house.Options{RT: rt})
	am := peer.Alertmanager(t, `
route:
  receiver: fettle
  group_by: [alertname]
  group_wait: 200ms
  group_interval: 1s
  repeat_interval: 1s
receivers:
  - name: fettle
    webhook_configs:
      - url: `+h.Base+`/in/am
        send_resolved: true
        http_config: {authorization: {credentials: `+house.WebhookToken+`}}
`)
	h.Start("")
	h.Ready(5 * time.Minute)
	began := time.Now()

	starts := time.Now().UTC()
	tell(t, am, starts, time.Time{})
	eventually(t, "a ticket in every platform", func() error { return shows(h, "new", "1", "new") })
	snow, rtID := onlySnow(t, h)["sys_id"], onlyRT(t, h).ID

	// Alertmanager repeats the notification every second or so.
	before, was := h.Count("SELECT seq FROM signal"), h.Snow.Counts()
	eventually(t, "three repeated notifications", func() error {
		tell(t, am, starts, time.Time{})
		if n := h.Count("SELECT seq FROM signal") - before; n < 3 {
			return fmt.Errorf("%d so far", n)
		}
		return nil
	})
	h.Drain(5 * time.Minute)
	if now := h.Snow.Counts(); now.Writes != was.Writes {
		t.Errorf("repeated notifications wrote to ServiceNow %d times", now.Writes-was.Writes)
	}
	if n := h.Count("SELECT id FROM incident"); n != 1 {
		t.Errorf("%d incidents of one alert", n)
	}

	tell(t, am, starts, time.Now().UTC())
	eventually(t, "resolved tickets", func() error { return shows(h, "resolved", "6", "resolved") })
	starts = time.Now().UTC()
	tell(t, am, starts, time.Time{})
	eventually(t, "reopened tickets", func() error { return shows(h, "in_progress", "2", "open") })
	tell(t, am, starts, time.Now().UTC())
	eventually(t, "tickets resolved again", func() error { return shows(h, "resolved", "6", "resolved") })
	h.Drain(5 * time.Minute)

	r := onlySnow(t, h)
	if r["sys_id"] != snow || onlyRT(t, h).ID != rtID {
		t.Errorf("the tickets changed from %s and %s to %s and %s", snow, rtID, r["sys_id"], onlyRT(t, h).ID)
	}
	if r["close_code"] == "" || r["close_notes"] == "" {
		t.Errorf("resolved without code and notes: %q, %q", r["close_code"], r["close_notes"])
	}
	if !strings.Contains(r["short_description"], "latency") {
		t.Errorf("short_description is %q, want the alert's summary", r["short_description"])
	}
	notes := ""
	for _, n := range h.Snow.Journal(r["sys_id"]) {
		notes += n.Value + "\n"
	}
	for _, want := range []string{"resolved", "again"} {
		if !strings.Contains(strings.ToLower(notes), want) {
			t.Errorf("the work notes do not tell %q:\n%s", want, notes)
		}
	}
	if said := h.RTHistory(rtID); !strings.Contains(said, "[fettle:") {
		t.Errorf("Request Tracker has no note of ours:\n%s", said)
	}
	h.Chains(t.Context())
	h.Stop()
	h.Sound(map[string]house.Alert{})
	t.Logf("fired, repeated, resolved, fired again and resolved in %.0f s, %d notifications", time.Since(began).Seconds(), h.Count("SELECT seq FROM signal"))
}

// tell tells Alertmanager about the alert; with an end it is resolved.
func tell(t *testing.T, am string, starts, ends time.Time) {
	t.Helper()
	a := map[string]any{
		"labels":      map[string]string{"alertname": house.RTRule, "instance": "web-1:9100", "severity": "critical"},
		"annotations": map[string]string{"summary": "latency of web-1 is high"}, "startsAt": starts.Format(time.RFC3339Nano), "generatorURL": "http://prom/graph",
	}
	if !ends.IsZero() {
		a["endsAt"] = ends.Format(time.RFC3339Nano)
	}
	b, err := json.Marshal([]any{a})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, am+"/api/v2/alerts", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager answered %s", resp.Status)
	}
}

// shows compares the state of the incident and of its ticket in each platform.
func shows(h *house.House, incident, snow, rt string) error {
	var list struct {
		Items []struct {
			State string `json:"state"`
		} `json:"items"`
	}
	if err := h.Call(context.Background(), http.MethodGet, "/incidents", nil, &list); err != nil {
		return err
	}
	if len(list.Items) != 1 || list.Items[0].State != incident {
		return fmt.Errorf("incidents: %v, want one that is %s", list.Items, incident)
	}
	if s := ours(h); len(s) != 1 || s[0]["state"] != snow {
		return fmt.Errorf("ServiceNow: %v, want one in state %s", s, snow)
	}
	if s := h.RTTickets(rtKey(h)); len(s) != 1 || s[0].Status != rt {
		return fmt.Errorf("request tracker: %v, want one that is %s", s, rt)
	}
	return nil
}

func rtKey(h *house.House) string { return h.Value("SELECT key FROM ticket WHERE platform = 'rt'") }

func ours(h *house.House) (out []map[string]string) {
	for _, r := range h.Snow.Incidents() {
		if r["correlation_id"] != "" {
			out = append(out, r)
		}
	}
	return out
}

func onlySnow(t *testing.T, h *house.House) map[string]string {
	t.Helper()
	all := ours(h)
	if len(all) != 1 {
		t.Fatalf("ServiceNow has %d incidents of ours, want one", len(all))
	}
	return all[0]
}

func onlyRT(t *testing.T, h *house.House) house.RTTicket {
	t.Helper()
	all := h.RTTickets(rtKey(h))
	if len(all) != 1 {
		t.Fatalf("Request Tracker has %d tickets, want one", len(all))
	}
	return all[0]
}

// eventually polls until f is satisfied; the limit is for a loaded machine, where
// seconds become minutes.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	limit := time.Now().Add(5 * time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(500 * time.Millisecond) // the asking takes from what it waits for
	}
}
