package ops

import "fmt"

// Severity says how bad an alert or incident is. Azure's Sev0 to Sev4 map to
// the five words in this order.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
)

// Severities lists all severities, worst first.
var Severities = []Severity{Critical, High, Medium, Low, Info}

// ParseSeverity returns the severity named s.
func ParseSeverity(s string) (Severity, error) {
	for _, v := range Severities {
		if string(v) == s {
			return v, nil
		}
	}
	return "", fmt.Errorf("severity %q is none of critical, high, medium, low, info: %w", s, ErrInvalid)
}

// Rank returns 0 for critical up to 4 for info; an unknown word ranks after info.
func (s Severity) Rank() int {
	for i, v := range Severities {
		if v == s {
			return i
		}
	}
	return len(Severities)
}

// Worse reports whether s is worse than t.
func (s Severity) Worse(t Severity) bool { return s.Rank() < t.Rank() }
