package correlate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// maxComment bounds what a person may write at once, in bytes.
const maxComment = 16 << 10

// Move takes an incident to another state because a person says so. via names
// where they said it: api, cli or page.
func (r *Room) Move(ctx context.Context, by ops.Principal, idOrKey string, to ops.IncidentState, why, via string) (ops.Incident, error) {
	if err := by.Require(ops.MayWorkIncidents); err != nil {
		return ops.Incident{}, err
	}
	var moved ops.Incident
	err := r.DB.Write(ctx, func(tx db.Tx) error {
		i, err := r.Store.IncidentIn(ctx, tx, idOrKey)
		if err != nil {
			return err
		}
		moved, err = r.move(ctx, tx, by, i, to, why, via, "")
		return err
	})
	return moved, err
}

// move writes the new state and tells it, inside the caller's transaction.
func (r *Room) move(ctx context.Context, tx db.Tx, by ops.Principal, i ops.Incident, to ops.IncidentState, why, via, cause string) (ops.Incident, error) {
	was := i.State
	if was == to {
		return i, nil
	}
	if !ops.CanMoveIncident(was, to) {
		return i, fmt.Errorf("%s is %s and cannot become %s: %w", i.Key(), was, to, ops.ErrConflict)
	}
	now := r.Clock().UTC()
	i.State, i.UpdatedAt = to, now
	i.Version++
	i.Flapping = false
	switch {
	case to == ops.IncidentResolved:
		i.ResolvedAt = now
	case to == ops.IncidentClosed || to == ops.IncidentCancelled:
		i.ClosedAt = now
	case was == ops.IncidentResolved:
		i.ResolvedAt = ops.Incident{}.ResolvedAt
		i.Reopened++
	}
	if err := r.Store.SaveIncident(ctx, tx, i, was); err != nil {
		return i, err
	}
	_, err := r.Facts.Tell(ctx, tx, ops.NewFact(i.Subject(), now, by, cause, ops.IncidentMovedBody{Incident: i, From: was, Why: why, Via: via}))
	tx.AfterCommit(func() { r.refresh(i.ID) })
	return i, err
}

// Comment adds what a person wrote to the incident's story; its tickets carry
// it as a work note.
func (r *Room) Comment(ctx context.Context, by ops.Principal, idOrKey, text, via string) error {
	if err := by.Require(ops.MayWorkIncidents); err != nil {
		return err
	}
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxComment {
		return fmt.Errorf("comment has %d bytes; write between 1 and %d: %w", len(text), maxComment, ops.ErrInvalid)
	}
	return r.DB.Write(ctx, func(tx db.Tx) error {
		i, err := r.Store.IncidentIn(ctx, tx, idOrKey)
		if err != nil {
			return err
		}
		now := r.Clock().UTC()
		note := ops.Note{ID: r.NewID(), At: now, Author: by.Name, Text: text}
		_, err = r.Facts.Tell(ctx, tx, ops.NewFact(i.Subject(), now, by, "", ops.IncidentCommentedBody{Note: note, Via: via}))
		return err
	})
}

// hearTicketEdited makes an incident follow what a person did to its ticket.
// An edit that asks for an impossible move is part of the story already and
// changes nothing here; the ticket room then shows the conflict.
func (r *Room) hearTicketEdited(ctx context.Context, tx db.Tx, f ops.Fact) error {
	body, err := ops.Body[ops.TicketEditedBody](f)
	if err != nil {
		return err
	}
	id, isIncident := strings.CutPrefix(f.Subject, "incident/")
	if !isIncident {
		return nil
	}
	i, err := r.Store.IncidentIn(ctx, tx, id)
	if err != nil {
		return err
	}
	by := ops.Principal{Name: body.By + "@" + body.Platform, Kind: ops.Person}
	if body.Person != "" {
		by.Name = body.Person
	}
	for _, to := range path(i.State, body.State) {
		if i, err = r.move(ctx, tx, by, i, to, fmt.Sprintf("%s changed %s", by.Name, body.Display), body.Platform, f.ID); err != nil {
			return err
		}
	}
	return nil
}

// path returns the legal moves that lead to a state a platform already shows:
// none when there is no way, two when a platform allows in one step what we
// know as two (a new ticket closed at once).
func path(from, to ops.IncidentState) []ops.IncidentState {
	switch {
	case to == "" || from == to:
		return nil
	case ops.CanMoveIncident(from, to):
		return []ops.IncidentState{to}
	case ops.CanMoveIncident(from, ops.IncidentResolved) && ops.CanMoveIncident(ops.IncidentResolved, to):
		return []ops.IncidentState{ops.IncidentResolved, to}
	case from == ops.IncidentResolved && slices.Contains([]ops.IncidentState{ops.IncidentNew, ops.IncidentOnHold}, to):
		return []ops.IncidentState{ops.IncidentInProgress}
	case from == ops.IncidentInProgress && to == ops.IncidentNew:
		return nil // a platform may go back to new; for us work has begun
	}
	return nil
}
