package story

import (
	"fmt"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Stage is one of the eight stages of the loop as a record or the whole estate
// stands in it.
type Stage struct {
	Name, Icon string
	State      StageState
	Value      string // big figure, on the overview only
	Sub        string
	URL        string // where the figure leads, empty for nowhere
}

// StageState says whether a stage is behind, now, waiting for a person or left
// out. Empty means that it lies ahead.
type StageState string

// The states of a stage, which are class names of the component.
const (
	Done    StageState = "is-done"
	Now     StageState = "is-now"
	Due     StageState = "is-due"
	Skipped StageState = "is-skip"
)

// Stages returns the loop with nothing reached yet.
func Stages() []Stage {
	return []Stage{
		{Name: "Observe", Icon: "signal"},
		{Name: "Detect", Icon: "incident"},
		{Name: "Correlate", Icon: "overview"},
		{Name: "Ticket", Icon: "ticket"},
		{Name: "Gate", Icon: "approve"},
		{Name: "Execute", Icon: "st-implement"},
		{Name: "Verify", Icon: "st-review"},
		{Name: "Learn", Icon: "reliab"},
	}
}

// The places of the stages.
const (
	observe = iota
	detect
	correlate
	ticket
	gate
	execute
	verify
	learn
)

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("15:04")
}

// OfIncident returns where an incident stands. Its change is the newest one of
// those given; changes come newest first.
func OfIncident(i ops.Incident, members []ops.Member, tickets []ops.Ticket, changes []ops.Change) []Stage {
	s := Stages()
	first := i.OpenedAt
	for _, m := range members {
		if !m.StartsAt.IsZero() && m.StartsAt.Before(first) {
			first = m.StartsAt
		}
	}
	set := func(k int, state StageState, sub string) { s[k].State, s[k].Sub = state, sub }
	set(observe, Done, clock(first))
	set(detect, Done, clock(i.OpenedAt))
	set(correlate, Done, fmt.Sprintf("%d into 1", max(i.Total, len(members))))
	ofTickets(s, tickets)
	if len(changes) > 0 {
		ofChange(s, changes[0])
	} else {
		for _, k := range []int{gate, execute, verify} {
			if i.State.Open() {
				set(k, "", "")
			} else {
				set(k, Skipped, "no change")
			}
		}
	}
	switch {
	case i.State == ops.IncidentClosed || i.State == ops.IncidentCancelled:
		set(learn, Done, string(i.State))
	case i.State == ops.IncidentResolved:
		set(learn, Now, "to close")
	case len(changes) == 0 && len(tickets) > 0:
		set(learn, "", "")
		s[correlate].State = Now
	case len(changes) == 0:
		s[correlate].State = Now
	}
	return s
}

func ofTickets(s []Stage, tickets []ops.Ticket) {
	if len(tickets) == 0 {
		s[ticket].Sub = "none yet"
		return
	}
	s[ticket].State, s[ticket].Sub = Done, plural(len(tickets), "ticket", "tickets")
	if len(tickets) == 1 && tickets[0].Display != "" {
		s[ticket].Sub = tickets[0].Display
	}
	for _, t := range tickets {
		switch t.Sync {
		case ops.SyncConflict, ops.SyncFailed:
			s[ticket].State, s[ticket].Sub = Due, string(t.Sync)
		}
	}
}

// OfChange returns where a change stands.
func OfChange(c ops.Change, tickets []ops.Ticket) []Stage {
	s := Stages()
	for k, sub := range []string{"", "advice", "1 of 1"} {
		s[k].State, s[k].Sub = Done, sub
	}
	s[observe].Sub = c.CreatedAt.UTC().Format("2 Jan")
	if c.Trigger != nil {
		s[observe].Sub, s[detect].Sub = clock(c.Trigger.StartsAt), "alert"
	} else if c.IncidentID == "" {
		s[observe].State, s[detect].State, s[correlate].State = Skipped, Skipped, Skipped
		s[observe].Sub, s[detect].Sub, s[correlate].Sub = "", "by hand", ""
	}
	ofTickets(s, tickets)
	ofChange(s, c)
	return s
}

// ofChange fills the stages from the gate on.
func ofChange(s []Stage, c ops.Change) {
	set := func(k int, state StageState, sub string) { s[k].State, s[k].Sub = state, sub }
	switch c.State {
	case ops.ChangeNew, ops.ChangeAssess:
		set(gate, Now, "being planned")
		return
	case ops.ChangeAuthorize:
		set(gate, Due, "waits for approval")
		return
	case ops.ChangeScheduled:
		set(gate, Done, "approved")
		set(execute, Now, "waits for window")
		if c.Window != nil && !c.Window.Always() {
			s[execute].Sub = "opens " + clock(c.Window.Start)
		}
		return
	case ops.ChangeCancelled:
		set(gate, Done, Words(string(c.Outcome)))
		for _, k := range []int{execute, verify} {
			set(k, Skipped, "")
		}
		set(learn, Done, "cancelled")
		return
	}
	set(gate, Done, "approved")
	r := c.Run
	if r == nil {
		set(execute, Now, "starts")
		return
	}
	took := ""
	if !r.AppliedAt.IsZero() {
		took = Age(r.AppliedAt.Sub(r.StartedAt))
	}
	switch r.State {
	case ops.RunQueued, ops.RunRunning:
		set(execute, Now, string(r.State))
		return
	case ops.RunRollingBack, ops.RunHeld:
		set(execute, Due, Words(string(r.State)))
		return
	case ops.RunVerifying:
		set(execute, Done, took)
		set(verify, Now, "watching")
		return
	case ops.RunFailed, ops.RunRolledBack:
		set(execute, Done, Words(string(r.State)))
	default:
		set(execute, Done, took)
	}
	word := "no verdict"
	if c.Verdict != nil {
		word = string(c.Verdict.Word)
	}
	set(verify, Done, word)
	if c.State == ops.ChangeClosed {
		set(learn, Done, Words(string(c.Outcome)))
		return
	}
	set(learn, Now, "in review")
}
