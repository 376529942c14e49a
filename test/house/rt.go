package house

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
)

// RTTicket is what Request Tracker shows of a ticket.
type RTTicket struct {
	ID     json.Number `json:"id"`
	Status string      `json:"Status"`
}

// RTTickets asks the Request Tracker for the tickets of a key, whatever their state.
func (h *House) RTTickets(key string) []RTTicket {
	h.T.Helper()
	q := url.Values{"query": {"'CF.{" + h.RT.KeyField + "}' = '" + key + "'"}, "fields": {"Status"}}
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodGet, h.RT.URL+"/REST/2.0/tickets?"+q.Encode(), nil)
	if err != nil {
		h.T.Fatal(err)
	}
	req.Header.Set("Authorization", "token "+h.RT.Token)
	resp, err := client.Do(req)
	if err != nil {
		h.T.Fatal(err)
	}
	defer resp.Body.Close()
	var found struct {
		Items []struct {
			ID     json.RawMessage `json:"id"`
			Status string          `json:"Status"`
		} `json:"items"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		h.T.Fatal(err)
	}
	var out []RTTicket
	for _, i := range found.Items {
		var id any
		_ = json.Unmarshal(i.ID, &id) // RT writes it as a number or as text
		if s, ok := id.(string); ok {
			out = append(out, RTTicket{json.Number(s), i.Status})
		} else {
			out = append(out, RTTicket{json.Number(i.ID), i.Status})
		}
	}
	return out
}

// rtTicket checks that exactly one ticket of a key is not rejected as a double,
// and that it is resolved when it should be.
func (h *House) rtTicket(incident, key string, over bool) {
	h.T.Helper()
	var kept []RTTicket
	for _, t := range h.RTTickets(key) {
		if t.Status != "rejected" {
			kept = append(kept, t)
		}
	}
	if len(kept) != 1 {
		h.T.Errorf("%s has %d tickets in Request Tracker, want one: %v", incident, len(kept), kept)
		return
	}
	if over != (kept[0].Status == "resolved") {
		h.T.Errorf("%s should be over (%v), its ticket %s in Request Tracker is %s", incident, over, kept[0].ID, kept[0].Status)
	}
}

// DoubleInRT opens a second ticket under the key of one that Fettle opened, as
// a create does whose answer was lost for longer than the settle time.
func (h *House) DoubleInRT() {
	d := h.open()
	defer d.Close()
	keys := h.rows(d, "SELECT key FROM ticket WHERE platform = 'rt' AND ref <> '' LIMIT 1")
	if len(keys) == 0 {
		return
	}
	body, err := json.Marshal(map[string]any{
		"Queue": "General", "Subject": "a double", "Content": "a double", "ContentType": "text/plain", "CustomFields": map[string]string{h.RT.KeyField: keys[0][0]},
	})
	if err != nil {
		h.T.Error(err)
		return
	}
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodPost, h.RT.URL+"/REST/2.0/ticket", bytes.NewReader(body))
	if err != nil {
		h.T.Error(err)
		return
	}
	req.Header.Set("Authorization", "token "+h.RT.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		h.T.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		h.T.Errorf("Request Tracker answered %s to a create", resp.Status)
	}
}

// RTHistory returns what was said on a ticket.
func (h *House) RTHistory(id json.Number) string {
	h.T.Helper()
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodGet, h.RT.URL+"/REST/1.0/ticket/"+id.String()+"/history?format=l&user="+h.RT.User+"&pass="+h.RT.Password, nil)
	if err != nil {
		h.T.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		h.T.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.T.Fatal(err)
	}
	return string(b)
}
