package ops

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AnomalyState is whether an anomaly goes on.
type AnomalyState string

// The states of an anomaly.
const (
	AnomalyOpen AnomalyState = "open"
	AnomalyOver AnomalyState = "over"
)

// ParseAnomalyState returns the state named s.
func ParseAnomalyState(s string) (AnomalyState, error) {
	switch a := AnomalyState(s); a {
	case AnomalyOpen, AnomalyOver:
		return a, nil
	}
	return "", fmt.Errorf("anomaly state %q is none of open, over: %w", s, ErrInvalid)
}

// Anomaly is a stretch in which a watched entity behaved unlike itself:
// repeated points are one anomaly.
type Anomaly struct {
	// ID is derived from group, entity and onset, so that a replay after a crash
	// names the same anomaly by the same ID.
	ID string `json:"id"`
	// Series names the watched model, as in /series/<id>.
	Series   string `json:"series"`
	Group    string `json:"group"`
	Entity   string `json:"entity"`
	Detector string `json:"detector"`
	// From is the start of the first anomalous step and To the end of the last.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Open bool      `json:"open"`
	// Points is the number of anomalous steps.
	Points int `json:"points"`
	// At, Score, Grade, Confidence and Features are those of the step with the
	// greatest grade so far.
	At         time.Time        `json:"at"`
	Score      float64          `json:"score"`      // [0,1]
	Grade      float64          `json:"grade"`      // (0,1]
	Confidence float64          `json:"confidence"` // [0,1]
	Features   []FeatureReading `json:"features"`   // the most to blame first
	// Spark is the feature most to blame over the steps up to At.
	Spark []Point `json:"spark,omitempty"`
}

// State says whether the anomaly goes on.
func (a Anomaly) State() AnomalyState {
	if a.Open {
		return AnomalyOpen
	}
	return AnomalyOver
}

// Cursor returns the place of the anomaly in a list, for AnomalyFilter.Before.
func (a Anomaly) Cursor() string { return fmt.Sprintf("%d-%s", a.From.UnixMilli(), a.ID) }

// ParseAnomalyCursor reads back what Cursor wrote.
func ParseAnomalyCursor(s string) (from time.Time, id string, err error) {
	ms, id, ok := strings.Cut(s, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok || id == "" {
		return from, "", fmt.Errorf("cursor %q is not one this server gave: %w", s, ErrInvalid)
	}
	return time.UnixMilli(n).UTC(), id, nil
}

// FeatureReading is what a feature was and what was expected of it. Expected,
// Low and High are nil where nothing was known.
type FeatureReading struct {
	Name     string   `json:"name"`
	Unit     string   `json:"unit,omitempty"`
	Actual   *float64 `json:"actual,omitempty"` // nil: missing
	Expected *float64 `json:"expected,omitempty"`
	Low      *float64 `json:"low,omitempty"`
	High     *float64 `json:"high,omitempty"`
	Blame    float64  `json:"blame"` // share of the score, [0,1]
}
