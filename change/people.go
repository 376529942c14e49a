package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Decide records a person's approval or denial of the plan whose digest they
// were shown, in full or its first 12 letters or more, optionally followed by
// @ and the plan's revision. It is refused, and nothing recorded, when the
// decider is no person, requested or edited the change, lacks the role that is
// awaited, has approved already (all ops.ErrDenied), or when the plan is no
// longer the one they saw (ops.ErrConflict).
func (r *Room) Decide(ctx context.Context, by ops.Principal, idOrKey string, d ops.Decision, digest, comment, via string) (ops.Change, error) {
	return r.act(ctx, idOrKey, Decided{By: by, Decision: d, Digest: digest, Comment: comment, Via: via})
}

// Cancel withdraws a change that has not started, for who requested it or a
// change manager.
func (r *Room) Cancel(ctx context.Context, by ops.Principal, idOrKey, why, via string) (ops.Change, error) {
	return r.act(ctx, idOrKey, Withdrawn{By: by, Why: why, Via: via})
}

// Edit changes what a change that has not started will do. It is planned and
// approved anew, and the editor cannot approve it.
func (r *Room) Edit(ctx context.Context, by ops.Principal, idOrKey, action string, args []string, why string) (ops.Change, error) {
	return r.act(ctx, idOrKey, Edited{By: by, Action: action, Args: args, Why: why})
}

// DecideHeld says, for a change manager, what became of a held run.
func (r *Room) DecideHeld(ctx context.Context, by ops.Principal, idOrKey string, word Resolution, why string) (ops.Change, error) {
	return r.act(ctx, idOrKey, Settled{By: by, Word: word, Why: why})
}

// BreakGlass asks for the overriding of a freeze for one change that waits, or
// confirms it when another person has asked for the same. Both need one of the
// freeze's break_glass roles and neither may have requested or edited the
// change (ops.ErrDenied). A new plan ends it.
func (r *Room) BreakGlass(ctx context.Context, by ops.Principal, idOrKey, freeze, reason string) (ops.Change, error) {
	return r.act(ctx, idOrKey, GlassBroken{By: by, Freeze: freeze, Reason: reason})
}

// SignReview closes a change for which glass was broken, for a change manager
// who neither requested it nor broke the glass.
func (r *Room) SignReview(ctx context.Context, by ops.Principal, idOrKey, note string) (ops.Change, error) {
	return r.act(ctx, idOrKey, Signed{By: by, Note: note})
}

// Breakable names the freezes about a change that waits which a person may
// override, or confirm the overriding of.
func (r *Room) Breakable(ctx context.Context, by ops.Principal, c ops.Change) ([]string, error) {
	g := r.gate.Load()
	took := by.ID == c.RequestedBy || slices.Contains(c.EditedBy, by.ID)
	if by.Kind != ops.Person || took || (c.State != ops.ChangeAuthorize && c.State != ops.ChangeScheduled) {
		return nil, nil
	}
	found, err := r.resource(ctx, c.ResourceID, c.Resource)
	if err != nil {
		return nil, err
	}
	_, freezes, _ := g.applicable(c, found)
	var out []string
	for _, f := range freezes {
		asked := slices.ContainsFunc(c.BreakGlass, func(b ops.BreakGlass) bool { return b.Freeze == f.Name && b.Void == "" && b.By == by.ID })
		if !asked && slices.ContainsFunc(f.BreakGlass, by.Has) {
			out = append(out, f.Name)
		}
	}
	return out, nil
}

// InNameOf returns the persons in whose name somebody may decide now.
func (r *Room) InNameOf(ctx context.Context, by ops.Principal) ([]ops.Principal, error) {
	if r.People == nil || by.Kind != ops.Person {
		return nil, nil
	}
	now := r.now()
	var out []ops.Principal
	for _, d := range r.gate.Load().Delegations {
		if d.To != by.Name || now.Before(d.From) || !now.Before(d.Until) {
			continue
		}
		p, err := r.People.Principal(ctx, d.Of)
		if errors.Is(err, ops.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// StopExecution stops all execution: nothing starts and nothing is rolled
// back until it is resumed. Stopping what is stopped changes nothing.
func (r *Room) StopExecution(ctx context.Context, by ops.Principal, reason string) error {
	return r.setSwitch(ctx, by, reason, true)
}

// ResumeExecution lets execution go on and looks at everything that waits.
func (r *Room) ResumeExecution(ctx context.Context, by ops.Principal, reason string) error {
	if by.Kind != ops.Person {
		return fmt.Errorf("change: only a person resumes execution, %s is a %s: %w", by.Name, by.Kind, ops.ErrDenied)
	}
	return r.setSwitch(ctx, by, reason, false)
}

func (r *Room) setSwitch(ctx context.Context, by ops.Principal, reason string, stop bool) error {
	if err := by.Require(ops.MayManageChanges); err != nil {
		return err
	}
	if reason = strings.TrimSpace(reason); reason == "" {
		return fmt.Errorf("change: reason is empty; say why, for those who find the switch: %w", ops.ErrInvalid)
	}
	return r.DB.Write(ctx, func(tx db.Tx) error {
		_, stopped, err := r.Rows.ExecutionStoppedIn(ctx, tx)
		if err != nil || stopped == stop {
			return err
		}
		if err := r.Rows.SetExecutionStopped(ctx, tx, reason+" ("+by.Name+")", stop); err != nil {
			return err
		}
		now := r.now()
		var body ops.FactBody = ops.ExecutionSwitchBody{Reason: reason}
		if !stop {
			body = ops.ExecutionResumedBody{Reason: reason}
		}
		told, err := r.Ledger.Tell(ctx, tx, ops.NewFact(ops.SystemSubject, now, by, "", body))
		if err != nil || stop {
			return err
		}
		ids, err := r.Rows.WakeScheduled(ctx, tx, now)
		if err != nil {
			return err
		}
		var commands []ops.Command
		for _, id := range ids {
			c := ops.NewCommand(ops.WakeChange, ops.ChangeSubject(id), ops.WakeChangeBody{ChangeID: id, Why: "execution resumed"})
			c.At, c.Cause = now, told[0].ID
			commands = append(commands, c)
		}
		return r.Queue.Enqueue(ctx, tx, commands...)
	})
}
