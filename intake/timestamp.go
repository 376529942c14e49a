package intake

import "time"

// layouts are the forms in which senders write time: RFC 3339 and its numeric
// zone without a colon (CloudWatch), and US text without a zone, which is UTC
// (Azure's log alerts of version 1).
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "1/2/2006 3:04:05 PM"}

// ParseTime reads a sender's time in any form senders use, as UTC. It returns
// fallback, normally the time of receipt, for text that is no time, for the
// zero time of year 1, which some senders write for "none", and for times of no
// calendar in use, which could not be written down again.
func ParseTime(s string, fallback time.Time) time.Time {
	if s == "" {
		return fallback
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
				return fallback
			}
			return t
		}
	}
	return fallback
}
