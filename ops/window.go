package ops

import "time"

// Window is when something may run. With Deny it is a freeze: deny beats allow.
type Window struct {
	Name     string `json:"name"`
	Schedule string `json:"schedule"` // cron(...), rate(...), at(...), five-field cron, or always
	// RRule is a recurrence rule (RFC 5545) in place of a schedule. It begins
	// at Start, a local time such as 2026-11-22T02:00.
	RRule string `json:"rrule,omitempty"`
	Start string `json:"start,omitempty"`
	// ICal is an iCalendar event, or its lines DTSTART, RRULE, RDATE and EXDATE,
	// in place of a schedule. Its own end counts where Duration is zero.
	ICal string `json:"ical,omitempty"`
	// OffsetDays puts off what cron names by days, as in "two days after the
	// second Tuesday": 0 to 6.
	OffsetDays int           `json:"offset_days,omitempty"`
	Duration   time.Duration `json:"duration"`
	// Cutoff is how long before the end nothing new starts.
	Cutoff   time.Duration `json:"cutoff,omitempty"`
	TimeZone string        `json:"time_zone"`         // IANA name
	Applies  string        `json:"applies,omitempty"` // CEL over change and resource; empty means all
	Deny     bool          `json:"deny,omitempty"`
	Mute     bool          `json:"mute,omitempty"` // maintenance: what it applies to is muted meanwhile
	From     time.Time     `json:"from,omitzero"`  // a freeze's span
	To       time.Time     `json:"to,omitzero"`
	// BreakGlass names the roles that may override this freeze.
	BreakGlass []Role `json:"break_glass,omitempty"`
}

// Occurrence is one opening of a window: [Start, End), nothing new starts at
// or after Cutoff.
type Occurrence struct {
	Window string    `json:"window"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Cutoff time.Time `json:"cutoff"`
}

// Always says that the window is open at any time: it has no opening and no end
// that people would know it by.
func (o Occurrence) Always() bool { return o.Start.Unix() <= 0 && o.End.Year() >= 9999 }
