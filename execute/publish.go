package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Parameters finds the repository in which the values of resources of an
// account and region stand. *parameter.Directory is one.
type Parameters interface {
	At(ctx context.Context, account, region string) (parameter.Repository, error)
}

// The room's own actions in a plan, beside those of the tool. The tool never
// sees them.
const (
	keyPrefix   = "parameter "
	publishVerb = "publish"
	restoreVerb = "restore"
	// publishSecs is what publishing or restoring takes of a window.
	publishSecs = 10
)

// value is what a change makes readable in its window.
type value struct {
	repo          parameter.Repository
	key           string
	current, next string // as the recommendation says
}

// valueOf returns the value a change carries; ok is false when it carries none.
func (r *Room) valueOf(ctx context.Context, ch ops.Change) (v value, ok bool, err error) {
	if r.Parameters == nil || !carries(ch) {
		return value{}, false, nil
	}
	a := ch.Analysis
	v.key = a.Parameter
	if v.repo, err = r.Parameters.At(ctx, a.Account, a.Region); err != nil {
		return v, false, fmt.Errorf("execute: %s: %w", ch.Key(), err)
	}
	if v.current, v.next = attribute(v.key, a.Current), attribute(v.key, a.Recommended); v.next == "" {
		return v, false, fmt.Errorf("execute: %s: the recommendation says no value for parameter %s: %w", ch.Key(), v.key, ops.ErrInvalid)
	}
	return v, true, nil
}

func carries(ch ops.Change) bool { return ch.Analysis != nil && ch.Analysis.Parameter != "" }

// attribute is the part of the values that a key of ICCO is about. Any other
// key holds the type.
func attribute(key string, v ops.Values) string {
	_, _, name, _ := parameter.ParseKey(key)
	switch {
	case name != "minSize" && name != "maxSize":
		return v.Type
	case v.Group == nil:
		return ""
	case name == "minSize":
		return strconv.FormatInt(v.Group.Min, 10)
	}
	return strconv.FormatInt(v.Group.Max, 10)
}

// announce adds to a plan which value it makes readable, unless the tool writes
// the key itself.
func (r *Room) announce(ctx context.Context, ch ops.Change, p *ops.Plan) error {
	v, ok, err := r.valueOf(ctx, ch)
	if !ok || err != nil {
		return err
	}
	if slices.ContainsFunc(p.Actions, func(a ops.PlanAction) bool { return a.Resource == v.key || a.Resource == keyPrefix+v.key }) {
		return nil
	}
	is, err := v.repo.Get(ctx, v.key)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		is.Value = v.current
	case err != nil:
		return fmt.Errorf("execute: %s: %w", ch.Key(), err)
	case is.Kind == parameter.Secure:
		return fmt.Errorf("execute: %s: parameter %s is a SecureString, whose value must not stand in a plan; use a String: %w", ch.Key(), v.key, ops.ErrInvalid)
	}
	if is.Value == v.next {
		return nil // it is readable already, and stays so
	}
	from, to := map[string]string{"value": is.Value}, map[string]string{"value": v.next}
	p.Actions = append(p.Actions, ops.PlanAction{Resource: keyPrefix + v.key, Verb: publishVerb, Before: from, After: to})
	if len(p.Rollback) > 0 {
		p.Rollback = append(p.Rollback, ops.PlanAction{Resource: keyPrefix + v.key, Verb: restoreVerb, Before: to, After: from})
	}
	p.ApplySecs, p.RollbackSecs = p.ApplySecs+publishSecs, p.RollbackSecs+publishSecs
	p.Text += fmt.Sprintf("~ publish parameter %s, inside the window only\n-   value: %s\n+   value: %s\n", v.key, is.Value, v.next)
	return nil
}

// published returns the room's own action of a plan.
func published(p ops.Plan) (a ops.PlanAction, ok bool) {
	i := slices.IndexFunc(p.Actions, ours)
	if i < 0 {
		return a, false
	}
	return p.Actions[i], true
}

func ours(a ops.PlanAction) bool {
	return strings.HasPrefix(a.Resource, keyPrefix) && (a.Verb == publishVerb || a.Verb == restoreVerb)
}

// forTool is the plan as its tool made it.
func forTool(p ops.Plan) ops.Plan {
	p.Actions = slices.DeleteFunc(slices.Clone(p.Actions), ours)
	p.Rollback = slices.DeleteFunc(slices.Clone(p.Rollback), ours)
	return p
}

// publish makes the planned value readable. Called again for the same run it
// changes nothing.
func (r *Room) publish(ctx context.Context, w work, out io.Writer) error {
	a, ok := published(*w.entry.Plan)
	if !ok || ctx.Err() != nil {
		return nil
	}
	v, ok, err := r.valueOf(ctx, w.change)
	if !ok || err != nil {
		return errors.Join(err, missing(ok, a))
	}
	token := w.change.Run.Token + "/publish"
	from, to := a.Before["value"], a.After["value"]
	is, err := v.repo.Get(ctx, v.key)
	if errors.Is(err, ops.ErrNotFound) {
		if is, err = settle(func() (parameter.Parameter, error) {
			return v.repo.Put(ctx, parameter.Edit{Key: v.key, Value: from, Token: token + "/first"})
		}); err == nil {
			is.Value = from
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("execute: publish %s: %w", v.key, err)
	case is.Value == to:
		return nil // an earlier call of this run did it
	case is.Value != from:
		return fmt.Errorf("execute: publish %s: it is no longer what was planned: %w", v.key, ops.ErrConflict)
	}
	p, err := settle(func() (parameter.Parameter, error) {
		return v.repo.Put(ctx, parameter.Edit{Key: v.key, Value: to, Version: is.Version, Token: token})
	})
	if err != nil {
		return fmt.Errorf("execute: publish %s: %w", v.key, err)
	}
	if p.Version <= is.Version {
		return nil // an earlier call did it, and has put the old value back since
	}
	r.label(ctx, v, p.Version, parameter.Published)
	_, _ = fmt.Fprintf(out, "Parameter %s is %s (version %d).\n", v.key, to, p.Version)
	return nil
}

func missing(ok bool, a ops.PlanAction) error {
	if ok {
		return nil
	}
	return fmt.Errorf("execute: %s cannot be written: no repository of parameters is configured any more: %w", a.Resource, ops.ErrStalled)
}

// restore puts back what publish replaced. A value of somebody else stays.
func (r *Room) restore(ctx context.Context, w work, l parameter.Label, out io.Writer) error {
	a, ok := published(*w.entry.Plan)
	if !ok {
		return nil
	}
	v, ok, err := r.valueOf(ctx, w.change)
	if !ok || err != nil {
		return errors.Join(err, missing(ok, a))
	}
	from, to := a.Before["value"], a.After["value"]
	is, err := v.repo.Get(ctx, v.key)
	switch {
	case errors.Is(err, ops.ErrNotFound), err == nil && is.Value == from:
		return nil // it was never published, or is back already
	case err != nil:
		return fmt.Errorf("parameter %s could not be put back to %s: %w", v.key, from, err)
	case is.Value != to:
		return fmt.Errorf("parameter %s was written by somebody else and stays at version %d: %w", v.key, is.Version, ops.ErrConflict)
	}
	p, err := settle(func() (parameter.Parameter, error) {
		return v.repo.Put(ctx, parameter.Edit{Key: v.key, Value: from, Version: is.Version, Token: fmt.Sprintf("%s/restore/%d", w.change.Run.Token, is.Version)})
	})
	if err != nil {
		return fmt.Errorf("parameter %s could not be put back to %s: %w", v.key, from, err)
	}
	r.label(ctx, v, p.Version, l)
	_, _ = fmt.Fprintf(out, "Parameter %s is %s again (version %d).\n", v.key, from, p.Version)
	return nil
}

// settle calls put until it is known what became of the write.
func settle(put func() (parameter.Parameter, error)) (p parameter.Parameter, err error) {
	for try := range 4 {
		if p, err = put(); !unknown(err) && !errors.Is(err, ops.ErrUnavailable) && !errors.Is(err, ops.ErrThrottled) {
			return p, err
		}
		time.Sleep(100 * time.Millisecond << try)
	}
	if unknown(err) { // what became of the value is not what became of the tool
		err = fmt.Errorf("nobody knows whether it was written: %s: %w", err.Error(), ops.ErrUnavailable)
	}
	return p, err
}

// label is for templates and people who read labels; nothing depends on it.
func (r *Room) label(ctx context.Context, v value, version int64, l parameter.Label) {
	if err := v.repo.Mark(ctx, v.key, version, l); err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "label not put on a parameter", slog.String("parameter", v.key), slog.String("label", string(l)), slog.String("error", r.say(err)))
	}
}

// aside is a context for putting right what has happened, which must be
// possible after ctx has ended.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}

// hear has the label of a change's parameter follow the change.
func (r *Room) hear(ctx context.Context, tx db.Tx, f ops.Fact) error {
	if r.Parameters == nil || r.Queue == nil {
		return nil
	}
	id, mayCarry, err := aboutChange(f)
	if err != nil || !mayCarry {
		return err
	}
	c := ops.NewCommand(ops.LabelParameter, f.Subject, ops.LabelParameterBody{ChangeID: id})
	c.Cause = f.ID
	return r.Queue.Enqueue(ctx, tx, c)
}

// aboutChange returns which change a fact is about, and whether that may carry
// a parameter: a fact about an approval does not say.
func aboutChange(f ops.Fact) (id string, mayCarry bool, err error) {
	var ch ops.Change
	switch f.Kind {
	case ops.ApprovalGiven:
		b, err := ops.Body[ops.ApprovalGivenBody](f)
		return b.Approval.ChangeID, true, err
	case ops.ApprovalVoided:
		b, err := ops.Body[ops.ApprovalVoidedBody](f)
		return b.ChangeID, true, err
	case ops.ChangeRaised:
		b, fault := ops.Body[ops.ChangeRaisedBody](f)
		ch, err = b.Change, fault
	case ops.ChangeScheduledAt:
		b, fault := ops.Body[ops.ChangeScheduledBody](f)
		ch, err = b.Change, fault
	case ops.RunMoved:
		b, fault := ops.Body[ops.RunMovedBody](f)
		if ch, err = b.Change, fault; ch.Run == nil || ch.Run.State != ops.RunVerifying {
			return "", false, err // the run itself says more, on the parameter too
		}
	case ops.ChangeEnded:
		b, fault := ops.Body[ops.ChangeEndedBody](f)
		ch, err = b.Change, fault
	}
	return ch.ID, carries(ch), err
}

// labelParameter carries out LabelParameter. It looks at the change as it is
// now, so that orders may come late or twice.
func (r *Room) labelParameter(ctx context.Context, c ops.Command) error {
	b, err := ops.CommandBody[ops.LabelParameterBody](c)
	if err != nil {
		return err
	}
	for range 4 { // several facts of one moment order it at once
		if err = r.labelOnce(ctx, b.ChangeID); !errors.Is(err, ops.ErrConflict) {
			break
		}
	}
	return err
}

func (r *Room) labelOnce(ctx context.Context, id string) error {
	ch, err := r.Changes.Change(ctx, id)
	if err != nil {
		return fmt.Errorf("execute: label the parameter of %s: %w", id, err)
	}
	v, ok, err := r.valueOf(ctx, ch)
	if !ok || err != nil {
		return err
	}
	want := labelOf(ch)
	is, err := v.repo.Get(ctx, v.key)
	switch {
	case errors.Is(err, ops.ErrNotFound) && v.current != "" && !ch.State.Terminal():
		is, err = v.repo.Put(ctx, parameter.Edit{Key: v.key, Value: v.current, Token: "first/" + ch.ID, Note: parameterNote(ch)})
	case errors.Is(err, ops.ErrNotFound):
		return nil // nothing was ever recommended in a key that somebody deleted
	}
	if err != nil {
		return fmt.Errorf("execute: label parameter %s: %w", v.key, err)
	}
	switch {
	case want == "", is.Label == want:
		return nil
	case want == parameter.Failed && is.Label == parameter.Executed:
		return nil // what could not be undone is in force
	}
	// A value that was published and never came into force does not outlive its
	// change, whoever ended that.
	if ch.State.Terminal() && is.Label == parameter.Published && is.Value == v.next && ch.Outcome == ops.Unsuccessful {
		if err := r.withdraw(ctx, ch, v, is); err != nil {
			return fmt.Errorf("execute: %w", err)
		}
		return nil
	}
	if err := v.repo.Mark(ctx, v.key, is.Version, want); err != nil {
		return fmt.Errorf("execute: label parameter %s: %w", v.key, err)
	}
	return nil
}

// withdraw puts back the value that the change's plan found.
func (r *Room) withdraw(ctx context.Context, ch ops.Change, v value, is parameter.Parameter) error {
	if ch.Run == nil {
		return nil
	}
	e, err := r.Journal.Execution(ctx, "apply:"+ch.Run.ID)
	if err != nil || e.Plan == nil {
		return err
	}
	a, ok := published(*e.Plan)
	if !ok {
		return nil // the tool wrote it, and knows
	}
	p, err := v.repo.Put(ctx, parameter.Edit{Key: v.key, Value: a.Before["value"], Version: is.Version, Token: fmt.Sprintf("%s/restore/%d", ch.Run.Token, is.Version)})
	if err != nil {
		return fmt.Errorf("parameter %s could not be put back to %s: %w", v.key, a.Before["value"], err)
	}
	return v.repo.Mark(ctx, v.key, p.Version, parameter.Failed)
}

func parameterNote(ch ops.Change) string { return Shorten(ch.Title, parameter.MaxNote) }

// labelOf returns where the parameter of a change stands; empty leaves it to
// the run.
func labelOf(ch ops.Change) parameter.Label {
	switch ch.State {
	case ops.ChangeNew, ops.ChangeAssess:
		return parameter.Initialize
	case ops.ChangeAuthorize:
		if slices.ContainsFunc(ch.Approvals, func(a ops.Approval) bool {
			return a.Decision == ops.Approved && a.Void == "" && a.Digest == ch.PlanDigest
		}) {
			return parameter.Approved
		}
		return parameter.Initialize
	case ops.ChangeScheduled:
		if ch.Window == nil {
			return parameter.Approved
		}
		return parameter.Scheduled
	case ops.ChangeImplement:
		if ch.Run != nil && ch.Run.State == ops.RunVerifying {
			return parameter.Executed
		}
		return ""
	}
	if ch.Run != nil && ch.Run.State == ops.RunRolledBack {
		return parameter.RolledBack
	}
	return parameter.LabelOf(ch.Outcome)
}
