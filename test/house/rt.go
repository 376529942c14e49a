package house

import (
	"encoding/json"
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
