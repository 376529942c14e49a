package ticket

import (
	"slices"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// ResolveCode is our word for how an incident was resolved; each driver maps
// it to a value its platform knows.
const ResolveCode = "resolved"

// asks returns what an incident asks a ticket to show. why is the reason of
// the move that is being heard.
func (r *Room) asks(i ops.Incident, team, why string, before ops.TicketFields) ops.TicketFields {
	if i.Team != "" {
		team = i.Team
	}
	group, ok := r.Groups[team]
	if !ok {
		group = team
	}
	f := ops.TicketFields{
		Title: i.Title, State: string(i.State), Severity: i.Severity, Group: group, Resource: i.Resource, Extra: before.Extra,
	}
	if f.Title == "" {
		f.Title = i.Key()
	}
	if over(f.State) {
		f.ResolveCode, f.ResolveNote = before.ResolveCode, before.ResolveNote
		f.ResolveCode = orElse(f.ResolveCode, ResolveCode)
		if !over(before.State) {
			f.ResolveNote = why
		}
		f.ResolveNote = orElse(f.ResolveNote, resolvedAnyhow)
	}
	return f
}

func over(state string) bool {
	return state == string(ops.IncidentResolved) || state == string(ops.IncidentClosed)
}

// ask lays what an incident asks for anew over what the ticket should show.
// What it asked for before is left alone: people may have changed it since. A
// move that came from the ticket's own platform takes the state and nothing
// else, so that the person's own words about it stand.
func ask(t *ops.Ticket, f ops.TicketFields, now time.Time, fromThere bool) {
	fields := connector.Diff(f, t.Work.Asked)
	t.Work.Asked = f
	if t.Kind == ops.TicketChangeRequest {
		for _, field := range fields {
			t.Want = connector.With(t.Want, field, connector.Value(f, field))
			t.Work.WantAt = now
		}
		return
	}
	settled := fromThere || over(t.Seen.State) && over(f.State)
	for _, field := range fields {
		value := connector.Value(f, field)
		switch {
		case settled && (field == connector.ResolveCode || field == connector.ResolveNote):
			// What stands there is wanted, not merely left alone: a reopening that
			// is still on its way would need it again.
			if there := connector.Value(t.Seen, field); there != "" {
				value = there
			}
		case fromThere && field != connector.State:
			continue
		}
		t.Want = connector.With(t.Want, field, value)
		t.Work.WantAt = now
	}
	complete(t)
}

// complete sees to it that whoever wants a ticket resolved wants a code and a
// note with it, also when a person emptied them meanwhile: what stands there
// when it is resolved, what the incident said when it is not yet.
func complete(t *ops.Ticket) {
	if !over(t.Want.State) || t.Kind == ops.TicketChangeRequest {
		return
	}
	from := t.Work.Asked
	if over(t.Seen.State) {
		from = t.Seen
	}
	if t.Want.ResolveCode == "" {
		t.Want.ResolveCode = from.ResolveCode
	}
	if t.Want.ResolveNote == "" {
		t.Want.ResolveNote = from.ResolveNote
	}
	if over(t.Seen.State) {
		return
	}
	t.Want.ResolveCode = orElse(t.Want.ResolveCode, ResolveCode)
	t.Want.ResolveNote = orElse(t.Want.ResolveNote, resolvedAnyhow)
}

// resolvedAnyhow is what is said of a resolution nobody gave a reason for.
const resolvedAnyhow = "No alert of this incident fires any more."

// missing returns the fields in which a platform does not show what we want. A
// field we want nothing in is not ours. Nor is the state while nobody knows
// whether people are asked: setting it back would take back what they are asked.
func (p *platform) missing(t ops.Ticket) []connector.Field {
	want := p.Conn.Normal(t.Want, t.Seen)
	return slices.DeleteFunc(connector.Diff(want, t.Seen), func(f connector.Field) bool {
		return connector.Value(t.Want, f) == "" || connector.Value(want, f) == "" || f == connector.State && requesting(t)
	})
}
