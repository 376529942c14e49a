package chrome

import (
	"context"

	"github.com/fettleops/fettle/ops"
)

// Tickets answers which tickets a record has.
type Tickets interface {
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
}

// TicketView is a ticket as a page shows it.
type TicketView struct {
	ops.Ticket
	Desk bool // it is on the desk inside Fettle and has a page here
}

// TicketsOf returns the tickets of a record; desk is the configured name of
// the embedded desk.
func TicketsOf(ctx context.Context, from Tickets, subject, desk string) ([]TicketView, error) {
	list, err := from.TicketsAbout(ctx, subject)
	if err != nil {
		return nil, err
	}
	out := make([]TicketView, len(list))
	for i, t := range list {
		out[i] = TicketView{t, desk != "" && t.Platform == desk}
	}
	return out, nil
}

// Plain returns the tickets of the views.
func Plain(views []TicketView) []ops.Ticket {
	out := make([]ops.Ticket, len(views))
	for i, v := range views {
		out[i] = v.Ticket
	}
	return out
}

// IncidentRow is an incident in a table.
type IncidentRow struct {
	ops.Incident
	Tickets []ops.Ticket
}

// IncidentRows adds to incidents what their rows show.
func IncidentRows(ctx context.Context, from Tickets, list []ops.Incident) ([]IncidentRow, error) {
	out := make([]IncidentRow, len(list))
	for i, inc := range list {
		tickets, err := from.TicketsAbout(ctx, inc.Subject())
		if err != nil {
			return nil, err
		}
		out[i] = IncidentRow{inc, tickets}
	}
	return out, nil
}

// Tile is one number with its direction and its shape.
type Tile struct {
	Name, Value, Unit string
	Strong, Class     string // the direction and whether it is good or bad
	Note              string
	Spark             any // *chart.Spark or nil
}

// DecideForm is what the part "decide" needs: the form beside a plan that is
// waiting for the reader.
type DecideForm struct {
	Change       ops.Change
	CSRF         string
	Back         string     // the page to come back to
	Typed, Fault string     // what was posted and why it was not taken
	For          string     // in whose name it would be decided; empty: the reader's own
	Elsewhere    *Elsewhere // where it is approved; nil: here
}
