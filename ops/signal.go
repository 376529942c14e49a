package ops

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
	"time"
)

// Signal is one thing that came in through the front door or from our own
// senses. Exactly one of the pointers is set.
type Signal struct {
	Alert          *Alert          `json:"alert,omitempty"`
	Recommendation *Recommendation `json:"recommendation,omitempty"`
	Hint           *Hint           `json:"hint,omitempty"`
}

// Advice reports whether the room change reads the signal.
func (s Signal) Advice() bool { return s.Recommendation != nil || s.Hint != nil }

// Message is what one delivery of a sender carried, as the signal log keeps it.
type Message struct {
	Seq         int64           `json:"-"`                // position in the signal log, set by the store
	Integration string          `json:"integration"`      // the configured name, "host" for our own senses
	Source      string          `json:"source"`           // alertmanager, azuremonitor, cloudwatch, densify, host
	Dedupe      string          `json:"dedupe,omitempty"` // the sender's own message id; empty when it has none
	RecordedAt  time.Time       `json:"-"`                // when we accepted it, set by the store
	Signals     []Signal        `json:"signals"`
	Raw         json.RawMessage `json:"raw,omitempty"` // the payload as it came, personal fields redacted
}

// AlertState is whether the condition holds.
type AlertState string

// The states of an alert.
const (
	Firing   AlertState = "firing"
	Resolved AlertState = "resolved"
)

// Alert is a normalised alert, whatever its source.
type Alert struct {
	// Fingerprint is the alert's identity across repeats and sources' own ids:
	// the same rule on the same resource. Make it with Fingerprint unless the
	// sender has one of its own.
	Fingerprint string            `json:"fingerprint"`
	Rule        string            `json:"rule"`
	Title       string            `json:"title"`
	Description string            `json:"description,omitempty"`
	Severity    Severity          `json:"severity"`
	State       AlertState        `json:"state"`
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      time.Time         `json:"ends_at,omitzero"`  // set when resolved
	ObservedAt  time.Time         `json:"observed_at"`       // the sender's clock
	Resource    ResourceRef       `json:"resource,omitzero"` // what the alert is about
	Labels      map[string]string `json:"labels,omitempty"`
	Context     AlertContext      `json:"context,omitzero"`
	Links       []Link            `json:"links,omitempty"`
	// ExternalID is the sender's name of this alert (Azure alertId, alarm ARN).
	ExternalID string `json:"external_id,omitempty"`
	// Anomaly is set on an alert of our own detectors: what they saw.
	Anomaly *Anomaly `json:"anomaly,omitempty"`
	// Test marks a sender's test notification: shown, never the cause of a change.
	Test bool `json:"test,omitempty"`
	// Stateless marks an alert whose sender never resolves it.
	Stateless bool `json:"stateless,omitempty"`
}

// AlertContext is the evidence an alert came with. Empty strings are unknown.
type AlertContext struct {
	Metric    string        `json:"metric,omitempty"`
	Operator  string        `json:"operator,omitempty"`  // > >= < <= == or the sender's word
	Threshold string        `json:"threshold,omitempty"` // as the sender wrote it
	Actual    string        `json:"actual,omitempty"`    // the value that broke the threshold
	Value     *float64      `json:"value,omitempty"`     // Actual as a number where it is one
	Unit      string        `json:"unit,omitempty"`
	Query     string        `json:"query,omitempty"`
	Window    time.Duration `json:"window,omitempty"` // how long the condition was looked at
	Reason    string        `json:"reason,omitempty"`
}

// Link is a titled URL a person may follow. URLs are shown only if https or http.
type Link struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Fingerprint derives an alert's identity from its integration, rule and
// identifying labels, independent of map order.
func Fingerprint(integration, rule string, labels map[string]string) string {
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	h := sha256.New()
	write := func(s string) { h.Write([]byte(s)); h.Write([]byte{0}) }
	write(integration)
	write(rule)
	for _, k := range keys {
		write(k)
		write(labels[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
