package servicenow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// approvals returns everybody who was asked about a change request.
func (p *platform) approvals(ctx context.Context, id string) ([]row, error) {
	var out []row
	for offset := 0; ; offset += pageSize {
		got, err := p.c.list(ctx, approvalTable, approvalQuery(id), view(approvalFields), offset, pageSize)
		if err != nil {
			return nil, fmt.Errorf("approvals: %w", err)
		}
		for _, r := range got.rows {
			if r.get("sysapproval") == id { // conditions the instance does not like are left out
				out = append(out, r)
			}
		}
		if !got.more {
			return out, nil
		}
	}
}

// AsksApproval implements connector.Approver.
func (p *platform) AsksApproval() bool { return p.m.options.Changes != nil }

// RequestApproval implements connector.Approver: a normal change request is
// moved to assess, an emergency one to authorize, and the instance asks.
func (p *platform) RequestApproval(ctx context.Context, ref, plan string) (connector.Copy, error) {
	id, ok := changeRef(ref)
	if !ok {
		return connector.Copy{}, notFound(ref)
	}
	c, err := p.getChange(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	if c.Fields.Plan != plan {
		return connector.Copy{}, fmt.Errorf("%s shows plan %.20q, not %.20q: %w", c.Display, c.Fields.Plan, plan, ops.ErrConflict)
	}
	approvals, err := p.approvals(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	for _, a := range approvals {
		at, err := time.Parse(stampLayout, a.get("sys_created_on"))
		if err == nil && !at.Before(c.PlanAt) && slices.Contains([]string{approvalRequested, approvalApproved, approvalRejected}, a.get("state")) {
			return c, nil // asked already
		}
	}
	next, err := p.nextStates(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	for _, state := range requestStates {
		if next.has(state) {
			if _, err := p.moveChange(ctx, id, state, c.Fields); err != nil {
				return connector.Copy{}, err
			}
			return p.getChange(ctx, id)
		}
	}
	r, err := p.changeRow(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	if changeStateIn(r.get("state")) == string(ops.ChangeAuthorize) {
		return p.getChange(ctx, id) // an earlier attempt got there, and nobody had to be asked
	}
	return connector.Copy{}, fmt.Errorf("%s is %s and of type %s; the instance lets it go to %s, where nobody is asked to approve: %w",
		c.Display, c.Fields.State, c.Fields.Type, next.names(r.get("state")), ops.ErrInvalid)
}

// WithdrawApproval implements connector.Approver: the change request is
// reverted to New, which cancels what is asked.
func (p *platform) WithdrawApproval(ctx context.Context, ref, _ string) (connector.Copy, error) {
	id, ok := changeRef(ref)
	if !ok {
		return connector.Copy{}, notFound(ref)
	}
	r, err := p.changeRow(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	state := changeStateIn(r.get("state"))
	if r.get("state") == newChange || state == string(ops.ChangeClosed) || state == string(ops.ChangeCancelled) {
		return p.getChange(ctx, id)
	}
	next, err := p.nextStates(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	if !next.has(newChange) {
		return connector.Copy{}, fmt.Errorf("%s is %s and cannot be reverted to New, the instance lets it go to %s; cancel it there, or add the move to its model: %w",
			r.get("number"), state, next.names(r.get("state")), ops.ErrInvalid)
	}
	if _, err := p.moveChange(ctx, id, newChange, ops.TicketFields{}); err != nil {
		return connector.Copy{}, err
	}
	return p.getChange(ctx, id)
}
