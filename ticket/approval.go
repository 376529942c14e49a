package ticket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// changeOf returns the id of the change a subject names.
func changeOf(subject string) string { return strings.TrimPrefix(subject, "change/") }

func ended(state string) bool {
	return state == string(ops.ChangeClosed) || state == string(ops.ChangeCancelled)
}

// planning tells that a change request waits for its plan, or for people to be
// asked about it.
func planning(t ops.Ticket) bool {
	return t.Kind == ops.TicketChangeRequest && (t.Work.Asked.State == string(ops.ChangeNew) || t.Work.Asked.State == string(ops.ChangeAssess))
}

// mustWithdraw tells that a request may stand in the platform for a plan that
// waits no longer. A ticket that ends takes its request with it.
func mustWithdraw(t ops.Ticket) bool {
	a := t.Work.Approval
	return t.Kind == ops.TicketChangeRequest && a.Sent != "" && a.Sent != a.Want && !ended(t.Want.State)
}

// mustRequest tells that people are to be asked about the plan that stands on
// the ticket, as it was read there.
func mustRequest(t ops.Ticket) bool {
	a := t.Work.Approval
	return t.Kind == ops.TicketChangeRequest && a.Want != "" && (a.Sent == "" || a.Sent == a.Want && !a.Done) &&
		t.Seen.Plan == a.Want && !ended(t.Want.State) && !ended(t.Seen.State)
}

// requesting tells that people may have been asked about the plan that stands,
// and that the answer is not known yet. The platform may then show what the
// request does to the state; it is asked for again, which asks nobody twice.
func requesting(t ops.Ticket) bool {
	a := t.Work.Approval
	return planning(t) && a.Sent != "" && a.Sent == a.Want && !a.Done && !ended(t.Want.State)
}

// mustAttach tells that files wait to be attached.
func (p *platform) mustAttach(t ops.Ticket) bool {
	return t.Work.Attached < len(t.Work.Files) && p.Conn.KeepsFiles()
}

// window names the planned times of a ticket, empty when they are not both set.
func window(f ops.TicketFields) string {
	if f.PlannedStart.IsZero() || f.PlannedEnd.IsZero() {
		return ""
	}
	return connector.Stamp(f.PlannedStart) + "/" + connector.Stamp(f.PlannedEnd)
}

// mustCompare tells that the platform has not yet been asked what the planned
// times clash with.
func (p *platform) mustCompare(t ops.Ticket) bool {
	w := window(t.Seen)
	return t.Kind == ops.TicketChangeRequest && w != "" && w != t.Work.Compared && !ended(t.Want.State) && !ended(t.Seen.State) && p.Conn.KnowsConflicts()
}

// waits tells that more than fields and notes has to go out.
func (p *platform) waits(t ops.Ticket) bool {
	return mustWithdraw(t) || mustRequest(t) || p.mustAttach(t) || p.mustCompare(t) || p.mustTask(t)
}

// withdraw takes back what people were asked about an earlier plan, before the
// new one is written. What they decided until then is read first, while the
// plan they decided on still stands.
func (r *Room) withdraw(ctx context.Context, p *platform, t ops.Ticket, cause string) error {
	if err := r.look(ctx, p, t.ID, cause, nil, 0); err != nil {
		return err
	}
	t, err := r.Store.Ticket(ctx, t.ID)
	if err != nil {
		return err
	}
	var c connector.Copy
	err = r.call(ctx, p, func(ctx context.Context) (err error) {
		c, err = p.Conn.WithdrawApproval(ctx, t.Ref, "the plan is made anew")
		return err
	})
	if err != nil {
		return err
	}
	return r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
		row.Work.Approval.Sent, row.Work.Approval.Done = "", false
		return r.see(ctx, tx, p, row, c, cause, []connector.Field{connector.State})
	})
}

// request asks people about the plan that stands on the ticket. That a request
// may be there is in the database before it is sent.
func (r *Room) request(ctx context.Context, p *platform, t ops.Ticket, cause string) error {
	mark := t.Work.Approval.Want
	err := r.turn(ctx, t.ID, t.Work.Turn, func(_ db.Tx, row *ops.Ticket) error {
		if row.Work.Approval.Want == mark {
			row.Work.Approval.Sent = mark
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.Work.Turn++
	var c connector.Copy
	err = r.call(ctx, p, func(ctx context.Context) (err error) {
		c, err = p.Conn.RequestApproval(ctx, t.Ref, mark)
		return err
	})
	if err != nil {
		return err
	}
	return r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
		a := &row.Work.Approval
		a.Done = a.Sent == mark
		if a.Want == mark && planning(*row) && !ended(row.Want.State) {
			row.Want.State, row.Work.Asked.State = string(ops.ChangeAuthorize), string(ops.ChangeAuthorize)
		}
		return r.see(ctx, tx, p, row, c, cause, []connector.Field{connector.State})
	})
}

// explainStay notes on a change request why it does not follow its change: the
// change has its approvals, and the platform lets only its own approvers move
// the request on. Who reads it there sees no more of Fettle than its notes.
func (r *Room) explainStay(ctx context.Context, t ops.Ticket) error {
	digest, revision, asked := ops.ParsePlanMark(t.Work.Approval.Sent)
	waits := t.Seen.State == string(ops.ChangeAssess) || t.Seen.State == string(ops.ChangeAuthorize)
	if t.Kind != ops.TicketChangeRequest || !asked || !waits {
		return nil
	}
	c, err := r.Ask.Change(ctx, changeOf(t.Subject))
	if err != nil {
		return fmt.Errorf("ticket: ask for %s: %w", t.Subject, err)
	}
	id, text := fmt.Sprintf("stays-%.12s.%d", digest, revision), ""
	switch ops.ChangeState(t.Want.State) {
	case ops.ChangeScheduled, ops.ChangeImplement, ops.ChangeReview:
		var by []string
		for _, a := range c.Approvals {
			if c.Counts(a) {
				by = append(by, fmt.Sprintf("%s (%s)", a.Name, a.Via))
			}
		}
		text = lines(
			fmt.Sprintf("Change %s has the approvals its policy asks for, by %s, and goes on.", c.Key(), orElse(strings.Join(by, ", "), "nobody here")),
			fmt.Sprintf("This request stays in %s, because only its own approvers can move it on and they have not. The change does not wait for them. Its steps are written here all the same; once they approve, the state follows.", t.Seen.State))
	case ops.ChangeClosed:
		id += "-ended"
		text = lines(
			fmt.Sprintf("Change %s is closed: %s.", c.Key(), c.Outcome),
			fmt.Sprintf("This request stays in %s, because only its own approvers can move it on and they have not. Nothing is left to decide; once they approve, it is closed.", t.Seen.State))
	default:
		return nil
	}
	return r.DB.Write(ctx, func(tx db.Tx) error {
		n := ops.Note{ID: id, At: r.now(), Author: ops.SystemPrincipal.Name, Text: text}
		_, err := r.Store.AddNote(ctx, tx, ops.TicketNote{Note: n, TicketID: t.ID, State: ops.NoteWaiting})
		return err
	})
}

// attach adds the next file that waits.
func (r *Room) attach(ctx context.Context, p *platform, t ops.Ticket) error {
	name := t.Work.Files[t.Work.Attached]
	f, err := r.file(ctx, t, name)
	if err != nil {
		return err
	}
	if len(f.Content) > 0 {
		if err := r.unseen(ctx, p, t); err != nil {
			return err
		}
		err = r.call(ctx, p, func(ctx context.Context) error { return p.Conn.Attach(ctx, t.Ref, f) })
	}
	refused := err
	if err != nil && !errors.Is(err, ops.ErrInvalid) && !errors.Is(err, ops.ErrDenied) {
		return err
	}
	err = r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
		row.Work.Attached++
		if refused == nil {
			return nil
		}
		// People go on without the file, and are told.
		n := ops.Note{ID: "file-" + name, At: r.now(), Author: ops.SystemPrincipal.Name, Text: fmt.Sprintf("File %s could not be attached: %v", name, refused)}
		_, err := r.Store.AddNote(ctx, tx, ops.TicketNote{Note: n, TicketID: t.ID, State: ops.NoteWaiting})
		return err
	})
	if err != nil {
		return err
	}
	return r.look(ctx, p, t.ID, "", nil, 0)
}

// file returns a file of a change; one that is no longer there is empty.
func (r *Room) file(ctx context.Context, t ops.Ticket, name string) (connector.File, error) {
	if name == reportFile {
		return r.report(ctx, t)
	}
	plans, err := r.Ask.Plans(ctx, changeOf(t.Subject))
	if err != nil {
		return connector.File{}, fmt.Errorf("ticket: ask for the plans of %s: %w", t.Subject, err)
	}
	for _, plan := range plans {
		if planFile(plan.Revision) != name {
			continue
		}
		b, err := json.MarshalIndent(plan, "", "  ")
		if err != nil {
			return connector.File{}, fmt.Errorf("ticket: plan %s: %w: %w", plan.ID, err, ops.ErrInternal)
		}
		return connector.File{Name: name, Type: "application/json", Content: b}, nil
	}
	return connector.File{Name: name}, nil
}

// report returns the report of a change's analysis.
func (r *Room) report(ctx context.Context, t ops.Ticket) (connector.File, error) {
	f := connector.File{Name: reportFile, Type: "application/pdf"}
	c, err := r.Ask.Change(ctx, changeOf(t.Subject))
	if err != nil {
		return f, fmt.Errorf("ticket: ask for %s: %w", t.Subject, err)
	}
	if c.Analysis == nil || r.Artefacts == nil {
		return f, nil
	}
	f.Content, err = r.Artefacts.Get(ctx, c.Analysis.Report)
	if err != nil && !errors.Is(err, ops.ErrNotFound) {
		return f, fmt.Errorf("ticket: the report for %s: %w", t.Subject, err)
	}
	return f, nil
}

// compare has the platform compare the planned times with its calendar, and
// notes what they clash with.
func (r *Room) compare(ctx context.Context, p *platform, t ops.Ticket, cause string) error {
	var clashes []string
	err := r.call(ctx, p, func(ctx context.Context) (err error) { clashes, err = p.Conn.Conflicts(ctx, t.Ref); return err })
	switch {
	case errors.Is(err, ops.ErrInvalid), errors.Is(err, ops.ErrDenied):
		r.Log.LogAttrs(ctx, slog.LevelWarn, "conflicts are not known", slog.String("platform", p.name), slog.String("ref", t.Ref), slog.Any("error", err))
	case err != nil:
		return err
	}
	w := window(t.Seen)
	err = r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
		row.Work.Compared = w
		if len(clashes) == 0 {
			return nil
		}
		text := "The planned time clashes with:\n- " + strings.Join(clashes, "\n- ")
		sum := sha256.Sum256([]byte(w + "\x00" + text))
		n := ops.Note{ID: "conflicts-" + hex.EncodeToString(sum[:8]), At: r.now(), Author: ops.SystemPrincipal.Name, Text: text}
		_, err := r.Store.AddNote(ctx, tx, ops.TicketNote{Note: n, TicketID: t.ID, State: ops.NoteWaiting})
		return err
	})
	if err != nil {
		return err
	}
	return r.look(ctx, p, t.ID, cause, nil, 0)
}
