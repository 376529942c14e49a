package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// operation is one route of the API, with the ids of real records in its path.
type operation struct {
	id, method, path string
	body             any
}

// bodies are what a viewer might send to the routes that write.
var bodies = map[string]any{
	"move-incident":    map[string]string{"state": "resolved", "why": "x"},
	"comment-incident": map[string]string{"text": "x"},
	"decide-change":    map[string]string{"decision": "approved", "digest": "0123456789abcdef"},
	"break-glass":      map[string]string{"freeze": "x", "reason": "x"},
	"sign-review":      map[string]string{"note": "x"},
	"cancel-change":    map[string]string{"why": "x"},
	"set-execution":    map[string]any{"stopped": true, "reason": "x"},
	"create-token":     map[string]any{"for": "eve", "roles": []string{"admin"}},
	"revoke-token":     nil,
	"send-payload":     map[string]any{},

	"dismiss-recommendation": map[string]string{"reason": "x"},
	"test-channel":           map[string]string{},
	"resend-notification":    nil,
}

// operations reads the API's own description.
func (h *House) operations() ([]operation, error) {
	text, err := h.text("admin", "/api/openapi.yaml")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Paths map[string]map[string]struct {
			ID string `yaml:"operationId"`
		} `yaml:"paths"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	var out []operation
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for method, op := range doc.Paths[path] {
			id := "INC-1"
			switch {
			case strings.Contains(path, "/changes/"):
				id = "CHG-1"
			case strings.Contains(path, "/recommendations/"):
				id = "REC-1"
			case strings.Contains(path, "/integrations/"):
				id = "prom"
			case strings.Contains(path, "/groups/"):
				id = "host"
			case strings.Contains(path, "/channels/"):
				id = "portal"
			case strings.Contains(path, "/windows/{name}"):
				id = "any-time"
			case strings.Contains(path, "/windows/"):
				id = "any-time.ics"
			}
			real := path
			for strings.Contains(real, "{") {
				before, rest, _ := strings.Cut(real, "{")
				_, after, _ := strings.Cut(rest, "}")
				real = before + id + after
			}
			out = append(out, operation{op.ID, strings.ToUpper(method), real, bodies[op.ID]})
		}
	}
	if len(out) < 15 {
		return nil, fmt.Errorf("the API describes %d operations only", len(out))
	}
	return out, nil
}

// ask sends a request with somebody's token, or with none.
func (h *House) ask(who, method, path string, body any) (status int, answer string, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.base+path, bytes.NewReader(b))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if who != "" {
		h.as(who)
		req.Header.Set("Authorization", "Bearer "+h.tokens[who])
	}
	resp, err := h.wire.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, "", nil // it never ends; what it streams, the trail tells as well
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// text gets a page that must be there.
func (h *House) text(who, path string) (string, error) {
	status, text, err := h.ask(who, http.MethodGet, path, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET %s answered %d: %.200s", path, status, text)
	}
	return text, err
}

// WantStrangersOut wants that nobody without a credential gets anything, and
// with a wrong one neither.
func WantStrangersOut(h *House) error {
	all, err := h.operations()
	if err != nil {
		return err
	}
	for _, path := range []string{"/metrics", "/readyz", "/api/openapi.yaml", "/api/openapi.json", "/api/schemas/Change.json", "/api/v1/events", "/api/v1/nothing"} {
		all = append(all, operation{method: http.MethodGet, path: path})
	}
	all = append(all, operation{method: http.MethodPost, path: "/in/prom", body: map[string]any{"version": "4", "alerts": []any{}}})
	h.tokens["stranger"] = "fettle_0123456789abcdef"
	for _, o := range all {
		for _, who := range []string{"", "stranger"} {
			status, text, err := h.ask(who, o.method, o.path, o.body)
			if err != nil {
				return err
			}
			if status != http.StatusUnauthorized {
				return fmt.Errorf("%s %s answered %d to %q: %.200s", o.method, o.path, status, who, text)
			}
		}
	}
	delete(h.tokens, "stranger")
	// A page may send a stranger to where one signs in, and tells nothing else.
	for _, path := range []string{"/", "/incidents", "/incidents/INC-1", "/changes", "/changes/CHG-1", "/trail/INC-1", "/notifications", "/debug/pprof/"} {
		status, text, err := h.ask("", http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if status == http.StatusOK || strings.Contains(text, "web1") {
			return fmt.Errorf("GET %s answered %d to a stranger: %.200s", path, status, text)
		}
	}
	_, err = h.text("", "/healthz")
	return err
}

// WantViewerReadsOnly wants every route that writes to refuse a viewer.
func WantViewerReadsOnly(h *House) error {
	all, err := h.operations()
	if err != nil {
		return err
	}
	writes := 0
	for _, o := range all {
		if o.method == http.MethodGet {
			continue
		}
		writes++
		status, text, err := h.ask("vic", o.method, o.path, o.body)
		if err != nil {
			return err
		}
		_, listed := bodies[o.id]
		if listed && status != http.StatusForbidden || status/100 != 4 {
			return fmt.Errorf("%s (%s %s) answered %d to a viewer: %.300s", o.id, o.method, o.path, status, text)
		}
	}
	if writes < len(bodies) {
		return fmt.Errorf("%d routes write, expected %d at least", writes, len(bodies))
	}
	return nil
}

// WantNoSecretTold wants no answer of the API to hold a secret.
func WantNoSecretTold(h *House) error {
	all, err := h.operations()
	if err != nil {
		return err
	}
	for _, o := range append(all, operation{method: http.MethodGet, path: "/metrics"}) {
		if o.method != http.MethodGet {
			continue
		}
		status, text, err := h.ask("admin", o.method, o.path, nil)
		if err != nil {
			return err
		}
		// Nobody sends metrics in these stories, nor knows a resource by such an id.
		unwatched := strings.Contains(o.path, "/series/") || strings.Contains(o.path, "/anomalies/") || strings.Contains(o.path, "/resources/")
		if status != http.StatusOK && !(unwatched && status == http.StatusNotFound) {
			return fmt.Errorf("GET %s answered %d to an admin: %.200s", o.path, status, text)
		}
		for _, secret := range []string{snowPassword, senderToken, h.tokens["admin"], h.tokens["vic"]} {
			if strings.Contains(text, secret) {
				return fmt.Errorf("GET %s tells a secret", o.path)
			}
		}
	}
	return nil
}

// Nobody gets in without a credential, who may read may not write, and no
// answer, log line or file holds a secret; the last two are checked at the end
// of every story.
func TestSecurity(t *testing.T) {
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Fire("HighCPU", "web1"), Advise("i-1", "m5.xlarge", "m5.large", "Downsize")),
		Between(0, 10*sec, WantChange("authorize", ""), WantSnow(Fields{"state": "1"})),
		At(1*minute, WantStrangersOut),
		At(1*minute, WantViewerReadsOnly),
		At(1*minute, WantNoSecretTold),
		At(2*minute, WantChange("authorize", ""), WantIncident("new", 1), WantSnow(Fields{"state": "1"})),
	}})
}
