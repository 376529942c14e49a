package desk

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

var (
	_ connector.Approver = (*Desk)(nil)
	_ connector.Attacher = (*Desk)(nil)
)

// request is one request for approval. The last one of a ticket may be open.
type request struct {
	Plan      string     `json:"plan"`
	At        time.Time  `json:"at"`
	Open      bool       `json:"open"`
	Decisions []decision `json:"decisions,omitempty"`
}

type decision struct {
	By       string       `json:"by"`
	Decision ops.Decision `json:"decision"`
	Comment  string       `json:"comment,omitempty"`
	At       time.Time    `json:"at"`
}

func (r *row) open() *request {
	if n := len(r.Requests); n > 0 && r.Requests[n-1].Open {
		return &r.Requests[n-1]
	}
	return nil
}

func (r *row) closeRequest() {
	if q := r.open(); q != nil {
		q.Open = false
	}
}

func (r *row) decisions() []connector.Decision {
	var out []connector.Decision
	for n, q := range r.Requests {
		for m, d := range q.Decisions {
			out = append(out, connector.Decision{
				ID: fmt.Sprintf("%s/%d/%d", r.displayed(), n+1, m+1), User: d.By, Decision: d.Decision, Comment: d.Comment, At: d.At,
			})
		}
	}
	return out
}

// isChange returns ErrInvalid for tickets that have neither approvals nor tasks.
func (r *row) isChange() error {
	if r.Kind != ops.TicketChangeRequest {
		return fmt.Errorf("%s is no change request, has no tasks and asks for no approval: %w", r.displayed(), ops.ErrInvalid)
	}
	return nil
}

// errUnchanged ends a change of a row that has nothing to change.
var errUnchanged = errors.New("nothing to change")

// AsksApproval implements connector.Approver.
func (d *Desk) AsksApproval() bool { return true }

// RequestApproval implements connector.Approver.
func (d *Desk) RequestApproval(ctx context.Context, ref, plan string) (connector.Copy, error) {
	return d.moveRequest(ctx, ref, func(r *row) error {
		if r.Fields.Plan != plan {
			return fmt.Errorf("%s shows plan %.20q, not %.20q: %w", r.displayed(), r.Fields.Plan, plan, ops.ErrConflict)
		}
		// A withdrawn request for the same plan may be put again; one that was
		// decided or still stands may not.
		if n := len(r.Requests); n > 0 && r.Requests[n-1].Plan == plan && (r.Requests[n-1].Open || len(r.Requests[n-1].Decisions) > 0) {
			return errUnchanged
		}
		if r.Fields.State != string(ops.ChangeNew) && r.Fields.State != string(ops.ChangeAssess) {
			return fmt.Errorf("%s is %s; approval is asked for in new or assess: %w", r.displayed(), r.Fields.State, ops.ErrInvalid)
		}
		r.Requests = append(r.Requests, request{Plan: plan, At: d.now(), Open: true})
		r.Fields.State = string(ops.ChangeAuthorize)
		return nil
	})
}

// WithdrawApproval implements connector.Approver.
func (d *Desk) WithdrawApproval(ctx context.Context, ref, _ string) (connector.Copy, error) {
	return d.moveRequest(ctx, ref, func(r *row) error {
		state := ops.ChangeState(r.Fields.State)
		if r.open() == nil && (len(r.Requests) == 0 || !ops.CanMoveChange(state, ops.ChangeAssess)) {
			return errUnchanged
		}
		r.closeRequest()
		if ops.CanMoveChange(state, ops.ChangeAssess) {
			r.Fields.State = string(ops.ChangeAssess)
		}
		return nil
	})
}

func (d *Desk) moveRequest(ctx context.Context, ref string, move func(*row) error) (connector.Copy, error) {
	err := d.change(ctx, ref, func(r *row) ([]record.Edit, error) {
		err := r.isChange()
		if err == nil {
			err = move(r)
		}
		if err == nil {
			r.UpdatedBy = d.user()
		}
		return nil, err
	}, nil)
	if err != nil && !errors.Is(err, errUnchanged) {
		return connector.Copy{}, err
	}
	return d.Get(ctx, ref)
}

// Decide records what a person decides on the request for approval that
// stands on a ticket. It returns ErrConflict when none stands or the person
// decided on it already. A denial ends the request.
func (d *Desk) Decide(ctx context.Context, ref, by string, what ops.Decision, comment string) (connector.Copy, error) {
	if by == "" || by == d.user() || what != ops.Approved && what != ops.Refused {
		return connector.Copy{}, fmt.Errorf("decision %q by %q: a person decides, approved or denied: %w", what, by, ops.ErrInvalid)
	}
	if what == ops.Refused && strings.TrimSpace(comment) == "" {
		return connector.Copy{}, fmt.Errorf("comment: say why it is denied: %w", ops.ErrInvalid)
	}
	err := d.change(ctx, ref, func(r *row) ([]record.Edit, error) {
		q := r.open()
		switch {
		case q == nil:
			return nil, fmt.Errorf("%s waits for no approval: %w", r.displayed(), ops.ErrConflict)
		case slices.ContainsFunc(q.Decisions, func(x decision) bool { return x.By == by }):
			return nil, fmt.Errorf("%s: %s has decided already: %w", r.displayed(), by, ops.ErrConflict)
		}
		q.Decisions = append(q.Decisions, decision{by, what, comment, d.now()})
		q.Open = what == ops.Approved // others may have to approve, too
		r.UpdatedBy = by
		return nil, nil
	}, nil)
	if err != nil {
		return connector.Copy{}, err
	}
	return d.Get(ctx, ref)
}

func fileKey(number int64, name string) string { return fmt.Sprintf("file/%012d/%s", number, name) }

type fileRow struct {
	Type    string `json:"type"`
	Content string `json:"content"` // base64
}

// Attach implements connector.Attacher.
func (d *Desk) Attach(ctx context.Context, ref string, f connector.File) error {
	err := d.change(ctx, ref, func(r *row) ([]record.Edit, error) {
		if slices.Contains(r.Files, f.Name) {
			return nil, errUnchanged
		}
		r.Files, r.UpdatedBy = append(r.Files, f.Name), d.user()
		return []record.Edit{put(fileKey(r.Number, f.Name), fileRow{f.Type, base64.StdEncoding.EncodeToString(f.Content)}, 0)}, nil
	}, nil)
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// Files implements connector.Attacher.
func (d *Desk) Files(ctx context.Context, ref string) ([]string, error) {
	r, err := d.row(ctx, d.env.Records, ref)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(slices.Values(r.Files)), nil
}

// File returns a file of a ticket.
func (d *Desk) File(ctx context.Context, ref, name string) (connector.File, error) {
	r, err := d.row(ctx, d.env.Records, ref)
	if err != nil {
		return connector.File{}, err
	}
	var f fileRow
	version, err := d.read(ctx, d.env.Records, fileKey(r.Number, name), &f)
	if err == nil && version == 0 {
		err = fmt.Errorf("file %s of %s: %w", name, ref, ops.ErrNotFound)
	}
	if err != nil {
		return connector.File{}, err
	}
	b, err := base64.StdEncoding.DecodeString(f.Content)
	if err != nil {
		return connector.File{}, fmt.Errorf("file %s of %s: %w: %w", name, ref, err, ops.ErrInternal)
	}
	return connector.File{Name: name, Type: f.Type, Content: b}, nil
}
