package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Fire sends firing alerts of a rule, one per host, in one message as
// Alertmanager does.
func Fire(rule string, hosts ...string) Act { return FireAs("high", rule, hosts...) }

// FireAs is Fire with a severity.
func FireAs(severity, rule string, hosts ...string) Act {
	return func(h *House) error { return h.send("firing", severity, rule, hosts) }
}

// Resolve sends that alerts of a rule have resolved.
func Resolve(rule string, hosts ...string) Act {
	return func(h *House) error { return h.send("resolved", "high", rule, hosts) }
}

// hosts returns n host names.
func hosts(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("web%03d", i+1)
	}
	return out
}

func (h *House) send(status, severity, rule string, hosts []string) error {
	type m = map[string]any
	now := time.Now().UTC()
	var alerts []m
	for _, host := range hosts {
		sum := sha256.Sum256([]byte(rule + "/" + host))
		fp := hex.EncodeToString(sum[:8])
		starts, fires := h.firing[fp]
		if !fires {
			starts = now
			h.firing[fp] = now
		}
		ends := time.Time{}
		if status == "resolved" {
			ends = now
			delete(h.firing, fp)
		}
		alerts = append(alerts, m{
			"status": status, "fingerprint": fp, "startsAt": starts.Format(time.RFC3339Nano), "endsAt": ends.Format(time.RFC3339Nano),
			"labels":       m{"alertname": rule, "instance": host + ":9100", "severity": severity},
			"annotations":  m{"summary": rule + " on " + host, "value": "0.97", "threshold": "0.8"},
			"generatorURL": "http://prometheus.test/graph?g0.expr=cpu+%3E+0.8",
		})
	}
	body, err := json.Marshal(m{
		"version": "4", "groupKey": "{}:{alertname=\"" + rule + "\"}", "status": status, "receiver": "fettle",
		"groupLabels": m{"alertname": rule}, "externalURL": "http://alertmanager.test", "unread": payloadMarker, "alerts": alerts,
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, h.base+"/in/prom", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+senderToken)
	req.Header.Set("Content-Type", "application/json")
	return exchange(h.wire, req, nil)
}

// exchange sends a request and decodes the answer, which must be a 2xx.
func exchange(rt http.RoundTripper, req *http.Request, into any) error {
	resp, err := (&http.Client{Transport: rt, Timeout: minute}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s answered %s: %.300s", req.Method, req.URL.Path, resp.Status, b)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}
