package rt

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var _ connector.Approver = (*platform)(nil)

// AsksApproval implements connector.Approver.
func (p *platform) AsksApproval() bool { return p.o.Changes != nil && p.o.Changes.Approved != "" }

// step is a transaction that set a status or a custom field.
type step struct {
	ID       text   `json:"id"`
	Class    string `json:"type"`
	Type     string `json:"Type"`
	OldValue text   `json:"OldValue"`
	NewValue text   `json:"NewValue"`
	Creator  object `json:"Creator"`
	Created  stamp  `json:"Created"`
}

// steps returns the transactions of a ticket that set a status or a custom
// field, oldest first.
func (p *platform) steps(ctx context.Context, ref string) ([]step, error) {
	var all []step
	for last := int64(0); ; {
		var page found[step]
		v := url.Values{
			"query":  {fmt.Sprintf("ObjectType = 'RT::Ticket' AND TicketId = %s AND (Type = 'Status' OR Type = 'CustomField') AND id > %d", ref, last)},
			"fields": {"Type,OldValue,NewValue,Creator,Created"}, "orderby": {"id"}, "per_page": {pageSize},
		}
		if _, err := p.call(ctx, connector.Read, http.MethodGet, "/transactions", v, nil, &page); err != nil {
			return nil, err
		}
		for _, s := range page.Items {
			last = max(last, s.ID.number())
			all = append(all, s)
		}
		if len(page.Items) < pageRows {
			return all, nil
		}
	}
}

// planStep returns the transaction that set the plan that stands and when it
// was; a ticket that was opened with it has none.
func planStep(t *ticket, plan string, steps []step) (int64, time.Time) {
	for _, s := range slices.Backward(steps) {
		if s.Type == "CustomField" && string(s.NewValue) == plan {
			return s.ID.number(), s.Created.Time
		}
	}
	return 0, t.Created.Time
}

// decided adds who decided what on a change request to its copy. Transactions
// are in order, so that it is certain which plan stood at a decision.
func (p *platform) decided(t *ticket, c *connector.Copy, steps []step, user string) {
	o := p.o.Changes
	if c.Fields.Plan == "" {
		return
	}
	planID, planAt := planStep(t, c.Fields.Plan, steps)
	c.PlanAt = planAt
	asked := o.status(ops.ChangeAuthorize)
	c.Asked = p.AsksApproval() && t.Status == asked
	for _, s := range steps {
		by := string(s.Creator.ID)
		if !p.AsksApproval() || s.Type != "Status" || string(s.OldValue) != asked || by == user {
			continue
		}
		d := connector.Decision{ID: string(s.ID), User: by, At: s.Created.Time, Decision: ops.Approved}
		switch string(s.NewValue) {
		case o.Approved:
		case o.Denied:
			d.Decision = ops.Refused
		default:
			continue
		}
		// Times are whole seconds; numbers say what came first within one.
		switch before := s.ID.number() < planID; {
		case before && !d.At.Before(planAt):
			d.At = planAt.Add(-time.Second)
		case !before && !d.At.After(planAt):
			d.At = planAt.Add(time.Nanosecond)
		}
		d.Comment = comment(c.Notes, by, s.Created.Time)
		c.Decisions = append(c.Decisions, d)
	}
}

// comment returns what a person wrote about a move made at a time: what is sent
// with a status becomes a transaction before or after it, seconds apart where
// the server is busy, and mails its watchers in between.
func comment(notes []connector.Note, by string, at time.Time) string {
	var text string
	nearest := time.Minute
	for _, n := range notes {
		if apart := n.At.Sub(at).Abs(); n.Author == by && apart <= nearest {
			text, nearest = n.Text, apart
		}
	}
	return text
}

// RequestApproval implements connector.Approver: the ticket is moved to the
// status of authorize, and the lifecycle says who may move it on.
func (p *platform) RequestApproval(ctx context.Context, ref, plan string) (connector.Copy, error) {
	t, err := p.changeTicket(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	if got := p.o.fieldsOf(t).Plan; got != plan {
		return connector.Copy{}, fmt.Errorf("ticket %s shows plan %.20q, not %.20q: %w", ref, got, plan, ops.ErrConflict)
	}
	steps, err := p.steps(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	asked := p.o.Changes.status(ops.ChangeAuthorize)
	planID, _ := planStep(t, plan, steps)
	since := slices.IndexFunc(steps, func(s step) bool {
		return s.Type == "Status" && string(s.NewValue) == asked && s.ID.number() > planID
	})
	back := p.o.Changes.status(ops.ChangeAssess)
	withdrawn := since >= 0 && t.Status == back && string(steps[len(steps)-1].NewValue) == back
	if since < 0 || withdrawn {
		if err := p.moveTo(ctx, t, asked); err != nil {
			return connector.Copy{}, err
		}
	}
	return p.Get(ctx, ref)
}

// WithdrawApproval implements connector.Approver.
func (p *platform) WithdrawApproval(ctx context.Context, ref, _ string) (connector.Copy, error) {
	t, err := p.changeTicket(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	c := p.o.Changes
	back := c.status(ops.ChangeAssess)
	if t.Status != back && t.Status != c.status(ops.ChangeClosed) && t.Status != c.status(ops.ChangeCancelled) {
		if err := p.moveTo(ctx, t, back); err != nil {
			return connector.Copy{}, err
		}
	}
	return p.Get(ctx, ref)
}

func (p *platform) changeTicket(ctx context.Context, ref string) (*ticket, error) {
	t, err := p.ticket(ctx, ref)
	if err == nil && !p.o.isChange(t) {
		err = invalid("ticket %s is no change request", ref)
	}
	return t, err
}

// moveTo sets a status and reads it back: Request Tracker answers 200 either way.
func (p *platform) moveTo(ctx context.Context, t *ticket, status string) error {
	if err := p.setStatus(ctx, t, status); err != nil {
		return err
	}
	got, err := p.ticket(ctx, string(t.ID))
	if err == nil && got.Status != status {
		err = invalid("status: ticket %s stays %s and does not become %s; add the transition to the lifecycle, or give the account the right to it", t.ID, got.Status, status)
	}
	return err
}
