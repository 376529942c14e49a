package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

// incident returns the only incident.
func (h *House) incident() (api.IncidentSummary, error) {
	all, err := h.as("admin").Incidents(h.t.Context(), nil)
	if err == nil && len(all.Items) != 1 {
		err = fmt.Errorf("there are %d incidents, want one", len(all.Items))
	}
	if err != nil {
		return api.IncidentSummary{}, err
	}
	return all.Items[0], nil
}

// WantIncidents wants that many incidents in all.
func WantIncidents(n int) Act {
	return func(h *House) error {
		all, err := h.as("admin").Incidents(h.t.Context(), nil)
		if err == nil && len(all.Items) != n {
			err = fmt.Errorf("there are %d incidents, want %d", len(all.Items), n)
		}
		return err
	}
}

// WantIncident wants one incident, in a state, with that many alerts firing.
func WantIncident(state ops.IncidentState, firing int) Act {
	return func(h *House) error {
		i, err := h.incident()
		if err == nil && (i.State != state || i.Firing != firing) {
			err = fmt.Errorf("%s is %s with %d firing, want %s with %d", i.Key, i.State, i.Firing, state, firing)
		}
		return err
	}
}

// WantReopened wants that the incident was reopened that often.
func WantReopened(n int) Act {
	return func(h *House) error {
		i, err := h.incident()
		if err == nil && i.Reopened != n {
			err = fmt.Errorf("%s was reopened %d times, want %d", i.Key, i.Reopened, n)
		}
		return err
	}
}

// WantDesk wants the incident's ticket at the desk to show a state.
func WantDesk(state ops.IncidentState) Act {
	return func(h *House) error {
		found, err := h.incident()
		if err != nil {
			return err
		}
		i, err := h.as("admin").Incident(h.t.Context(), found.Key)
		if err != nil {
			return err
		}
		n := 0
		for _, t := range i.Tickets {
			if t.Platform != "desk" {
				continue
			}
			n++
			if t.Seen.State != string(state) || t.Sync != ops.SyncOK {
				return fmt.Errorf("the desk shows %s (%s), want %s", t.Seen.State, t.Sync, state)
			}
		}
		if n != 1 {
			return fmt.Errorf("the desk has %d tickets, want one", n)
		}
		return nil
	}
}

// Fields are what a ticket in ServiceNow must show; * is anything but nothing.
type Fields map[string]string

// WantSnow wants exactly one incident in ServiceNow, with these fields.
func WantSnow(want Fields) Act {
	return func(h *House) error {
		r, err := h.snowIncident()
		if err != nil {
			return err
		}
		for _, f := range slices.Sorted(maps.Keys(want)) {
			if r[f] != want[f] && (want[f] != "*" || r[f] == "") {
				return fmt.Errorf("ServiceNow shows %s %q, want %q", f, r[f], want[f])
			}
		}
		return nil
	}
}

// WantSnowTickets wants that many incidents in ServiceNow.
func WantSnowTickets(n int) Act {
	return func(h *House) error {
		if got := len(h.snow.Incidents()); got != n {
			return fmt.Errorf("ServiceNow has %d incidents, want %d", got, n)
		}
		return nil
	}
}

func (h *House) snowIncident() (simulator.Record, error) {
	all := h.snow.Incidents()
	if len(all) != 1 {
		return nil, fmt.Errorf("ServiceNow has %d incidents, want one", len(all))
	}
	return all[0], nil
}

// workNotes are the work notes Fettle wrote to the incident in ServiceNow.
func (h *House) workNotes() ([]string, error) {
	r, err := h.snowIncident()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range h.snow.Journal(r["sys_id"]) {
		if e.By == "fettle" && e.Element == "work_notes" {
			out = append(out, e.Value)
		}
	}
	return out, nil
}

// WantNotes wants work notes that contain these texts, in this order, each
// exactly once.
func WantNotes(texts ...string) Act {
	return func(h *House) error {
		notes, err := h.workNotes()
		if err != nil {
			return err
		}
		last := -1
		for _, text := range texts {
			var at []int
			for i, n := range notes {
				if strings.Contains(n, text) {
					at = append(at, i)
				}
			}
			switch {
			case len(at) != 1:
				return fmt.Errorf("%d work notes say %q, want one; there are:\n%s", len(at), text, strings.Join(notes, "\n---\n"))
			case at[0] < last:
				return fmt.Errorf("the work note %q comes too early; there are:\n%s", text, strings.Join(notes, "\n---\n"))
			}
			last = at[0]
		}
		return nil
	}
}

// WantNote wants at least one work note that contains a text.
func WantNote(text string) Act {
	return func(h *House) error {
		notes, err := h.workNotes()
		if err == nil && !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, text) }) {
			err = fmt.Errorf("no work note says %q; there are:\n%s", text, strings.Join(notes, "\n---\n"))
		}
		return err
	}
}

// Beth edits the incident in ServiceNow over its own API, as a person does.
func Beth(fields Fields) Act {
	return func(h *House) error {
		r, err := h.snowIncident()
		if err != nil {
			return err
		}
		body, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPatch, "http://"+snowHost+"/api/now/table/incident/"+r["sys_id"], bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.SetBasicAuth("beth.anglin", "beth.anglin")
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Content-Type", "application/json")
		err = exchange(h.wire, req, nil)
		h.writes = h.snow.Counts().Writes
		return err
	}
}

// Count begins to count the writes to ServiceNow.
func Count(h *House) error {
	h.writes = h.snow.Counts().Writes
	return nil
}

// WantNoWrites wants that nothing was written to ServiceNow since Count, or
// since Beth's last edit.
func WantNoWrites(h *House) error {
	if n := h.snow.Counts().Writes - h.writes; n != 0 {
		all := h.snow.Requests()
		var wrote []string
		for _, r := range all {
			if r.Method != http.MethodGet {
				wrote = append(wrote, fmt.Sprintf("%s %s %s %.200s", r.User, r.Method, r.Path, r.Body))
			}
		}
		return fmt.Errorf("ServiceNow was written to %d times more:\n%s", n, strings.Join(wrote[len(wrote)-min(n, len(wrote)):], "\n"))
	}
	return nil
}

// Snow breaks or heals ServiceNow.
func Snow(f simulator.Fault) Act {
	return func(h *House) error { h.snow.SetFault(f); return nil }
}

// WantTrail wants the incident's trail to tell of a kind of fact with a text in it.
func WantTrail(kind ops.FactKind, text string) Act {
	return func(h *House) error {
		i, err := h.incident()
		if err != nil {
			return err
		}
		return h.trailSays(i.Key, kind, text)
	}
}

func (h *House) trailSays(key string, kind ops.FactKind, text string) error {
	trail, err := h.as("admin").Trail(h.t.Context(), key, false)
	if err != nil {
		return err
	}
	for _, e := range trail.Entries {
		if e.Fact != nil && e.Fact.Kind == kind && strings.Contains(string(e.Fact.Body), text) {
			return nil
		}
	}
	return fmt.Errorf("no fact %s of %s says %q", kind, key, text)
}

// Comment writes a comment to the incident through the API.
func Comment(who, text string) Act {
	return func(h *House) error {
		i, err := h.incident()
		if err != nil {
			return err
		}
		return h.call(who, http.MethodPost, "/api/v1/incidents/"+i.Key+"/comments", map[string]string{"text": text}, nil)
	}
}

// WantListed reads the incident through the API, which shows its first alerts,
// and all of them in pages.
func WantListed(who string, alerts int) Act {
	return func(h *House) error {
		i, err := h.incident()
		if err != nil {
			return err
		}
		var one struct {
			Total  int          `json:"total"`
			Alerts []ops.Member `json:"alerts"`
		}
		if err := h.call(who, http.MethodGet, "/api/v1/incidents/"+i.Key, nil, &one); err != nil {
			return err
		}
		if want := min(alerts, 100); one.Total != alerts || len(one.Alerts) != want {
			return fmt.Errorf("%s shows %d of %d alerts, want %d of %d", i.Key, len(one.Alerts), one.Total, want, alerts)
		}
		seen := map[string]bool{}
		for path := "/api/v1/incidents/" + i.Key + "/alerts?limit=150"; ; {
			var page struct {
				Items []ops.Member `json:"items"`
				Next  string       `json:"next"`
			}
			if err := h.call(who, http.MethodGet, path, nil, &page); err != nil {
				return err
			}
			for _, a := range page.Items {
				if seen[a.Fingerprint] {
					return fmt.Errorf("%s is listed twice", a.Fingerprint)
				}
				seen[a.Fingerprint] = true
			}
			if page.Next == "" {
				break
			}
			path = "/api/v1/incidents/" + i.Key + "/alerts?limit=150&cursor=" + page.Next
		}
		if len(seen) != alerts {
			return fmt.Errorf("%d alerts are listed, want %d", len(seen), alerts)
		}
		return nil
	}
}

// call asks the API as somebody; in and into may be nil.
func (h *House) call(who, method, path string, in, into any) error {
	h.as(who)
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+h.tokens[who])
	req.Header.Set("Content-Type", "application/json")
	return exchange(h.wire, req, into)
}
