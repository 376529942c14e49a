package servicenow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var (
	_ connector.Approver       = (*platform)(nil)
	_ connector.Attacher       = (*platform)(nil)
	_ connector.ConflictReader = (*platform)(nil)
	_ connector.KindSettler    = (*platform)(nil)
)

// SettleTimeOf implements connector.KindSettler.
func (p *platform) SettleTimeOf(kind ops.TicketKind) time.Duration {
	if kind == ops.TicketChangeRequest && p.m.options.Changes != nil {
		return p.m.options.Changes.settle()
	}
	return 0
}

// changeRef returns the sys_id of a change request's ref.
func changeRef(ref string) (string, bool) { return strings.CutPrefix(ref, changeTable+"/") }

// turns gives each key to one caller at a time.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

func (t *turns) take(ctx context.Context, key string) (func(), error) {
	for {
		t.mu.Lock()
		before, taken := t.busy[key]
		if !taken {
			if t.busy == nil {
				t.busy = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			t.busy[key] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, key)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, fmt.Errorf("another create of this key is under way: %w: %w", ctx.Err(), ops.ErrUnavailable)
		}
	}
}

// createChange opens a change request. The instance would open a second one
// under the same key, so the key is looked up first, by one caller at a time.
func (p *platform) createChange(ctx context.Context, key string, f ops.TicketFields) (connector.Copy, error) {
	o := p.m.options.Changes
	if o == nil {
		return connector.Copy{}, fmt.Errorf("kind change_request: this platform is not set up for changes; add changes: {} to its options: %w", ops.ErrInvalid)
	}
	done, err := p.creating.take(ctx, key)
	if err != nil {
		return connector.Copy{}, err
	}
	defer done()
	there, err := p.findChange(ctx, key)
	if err != nil {
		return connector.Copy{}, err
	}
	if len(there) > 0 {
		return there[0], nil
	}
	path := ""
	switch f.Type {
	case ops.ChangeNormal, ops.ChangeEmergency:
		path = "/" + string(f.Type)
	case ops.ChangeStandard:
		if o.StandardTemplate == "" {
			return connector.Copy{}, fmt.Errorf("type standard: no template is named; set options.changes.standard_template: %w", ops.ErrInvalid)
		}
		path = "/standard/" + o.StandardTemplate
	default:
		return connector.Copy{}, fmt.Errorf("type %q is none of a change request: %w", f.Type, ops.ErrInvalid)
	}
	known, err := p.ids(ctx, f, nil)
	if err != nil {
		return connector.Copy{}, err
	}
	b, err := p.m.newChange(key, f, known)
	if err != nil {
		return connector.Copy{}, err
	}
	if err := p.checkChangeChoices(ctx, b); err != nil {
		return connector.Copy{}, err
	}
	made, err := p.sendChange(ctx, http.MethodPost, path, b, connector.Once)
	if err != nil {
		return connector.Copy{}, err
	}
	id := string(made.fields["sys_id"])
	if got := string(made.fields["correlation_id"]); got != key {
		return connector.Copy{}, fmt.Errorf("change request %s was opened without its correlation_id (ignored: %v); let the account write this field, and delete it: %w",
			made.fields["number"], made.ignored, ops.ErrInvalid)
	}
	c, err := p.getChange(ctx, id)
	if err != nil {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("change request %s was opened, but does not read back: %w", made.fields["number"], err)}
	}
	return c, nil
}

// sendChange makes a call to the Change Management API that answers with one
// change request.
func (p *platform) sendChange(ctx context.Context, method, path string, b body, e connector.Effect) (changeResult, error) {
	a, err := p.c.send(ctx, call{method: method, path: changePath + path, body: b, effect: e})
	if err != nil {
		return changeResult{}, err
	}
	if err := p.c.failure(a, e, http.StatusOK, http.StatusCreated); err != nil {
		return changeResult{}, err
	}
	got, err := result[changeResult](a, e)
	if err == nil && got.fields["sys_id"] == "" {
		return got, nonsense(e, "answered %d with a change request without sys_id", a.resp.StatusCode)
	}
	if err == nil && len(b) > 0 {
		for _, name := range got.ignored {
			if _, sent := b[name]; sent && name != "correlation_id" {
				return got, fmt.Errorf("%s: the instance ignores this field of change requests; correct the configuration, or let the account write it: %w", name, ops.ErrInvalid)
			}
		}
	}
	return got, err
}

// changeRow reads a change request.
func (p *platform) changeRow(ctx context.Context, id string) (row, error) {
	if p.m.options.Changes == nil || !idPattern.MatchString(id) {
		return nil, notFound(changeTable + "/" + id)
	}
	a, err := p.c.send(ctx, call{method: http.MethodGet, table: changeTable, sysID: id, query: view(p.changeReads())})
	if err != nil {
		return nil, err
	}
	r, err := p.c.record(a, connector.Read, http.StatusOK)
	if err == nil && !strings.EqualFold(r.get("sys_id"), id) {
		return nil, nonsense(connector.Read, "asked for %s, got %s", id, r.get("sys_id"))
	}
	return r, err
}

// changeReads are the names of all fields that are read of a change request.
func (p *platform) changeReads() []string {
	o := p.m.options.Changes
	out := slices.Clone(changeFields)
	for _, name := range append([]string{o.planField(), o.DigestField, o.RevisionField}, sortedNames(o.Fields)...) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func sortedNames(m map[string]string) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (p *platform) copyChange(r row, me string) (connector.Copy, error) {
	return p.m.change(r, sortedNames(p.m.options.Changes.Fields), me)
}

// getChange reads a change request with its notes and the decisions on it. The
// decisions are read first: the plan that is returned stood when they were read
// or was written later, and then they look older than it.
func (p *platform) getChange(ctx context.Context, id string) (connector.Copy, error) {
	me, err := p.me(ctx)
	if err != nil {
		return connector.Copy{}, err
	}
	if !idPattern.MatchString(id) {
		return connector.Copy{}, notFound(changeTable + "/" + id)
	}
	approvals, err := p.approvals(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	r, err := p.changeRow(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	c, err := p.copyChange(r, me)
	if err != nil {
		return connector.Copy{}, err
	}
	notes, err := p.journals(ctx, changeTable, []string{id}, me)
	if err != nil {
		return connector.Copy{}, err
	}
	c.Notes = notes[id]
	if c.Fields.Plan != "" {
		c.PlanAt = c.UpdatedAt // a mark that no note of ours tells of is as young as can be
		for _, n := range c.Notes {
			if n.Own && n.ID == planNoteID(c.Fields.Plan) {
				c.PlanAt = n.At
			}
		}
	}
	for _, a := range approvals {
		c.Asked = c.Asked || a.get("state") == approvalRequested
		d, isOne, err := decisionIn(a, c.PlanAt)
		if err != nil {
			return connector.Copy{}, err
		}
		if isOne {
			c.Decisions = append(c.Decisions, d)
		}
	}
	slices.SortStableFunc(c.Decisions, func(a, b connector.Decision) int { return a.At.Compare(b.At) })
	return c, nil
}

// findChange returns the change requests opened under a key, oldest first.
func (p *platform) findChange(ctx context.Context, key string) ([]connector.Copy, error) {
	if p.m.options.Changes == nil {
		return nil, nil
	}
	me, err := p.me(ctx)
	if err != nil {
		return nil, err
	}
	got, err := p.c.list(ctx, changeTable, p.m.changeQuery(key), view(p.changeReads()), 0, pageSize)
	if err != nil {
		return nil, err
	}
	var out []connector.Copy
	for _, r := range got.rows {
		if r.get("correlation_id") != key || !p.m.oursChange(r) {
			continue
		}
		c, err := p.copyChange(r, me)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// updateChange implements Update for change requests: the fields first, then
// the state, move by move.
func (p *platform) updateChange(ctx context.Context, id string, e connector.Edit) (connector.Copy, error) {
	was, err := p.changeRow(ctx, id)
	if err != nil {
		return connector.Copy{}, err
	}
	if v := was.get("sys_mod_count"); v != e.Version {
		return connector.Copy{}, fmt.Errorf("%s is at version %s, not %s: %w", was.get("number"), v, e.Version, ops.ErrConflict)
	}
	known, err := p.ids(ctx, e.Want, e.Changed)
	if err != nil {
		return connector.Copy{}, err
	}
	b := p.m.editChange(was, e, known)
	if err := p.checkChangeChoices(ctx, b); err != nil {
		return connector.Copy{}, err
	}
	if len(b) > 0 {
		if _, err := p.sendChange(ctx, http.MethodPatch, "/"+id, b, connector.Repeat); err != nil {
			return connector.Copy{}, err
		}
	}
	if slices.Contains(e.Changed, connector.State) {
		err := p.walk(ctx, was, e.Want)
		if err != nil {
			return connector.Copy{}, err
		}
	} else if slices.Contains(e.Changed, connector.ResolveCode) || slices.Contains(e.Changed, connector.ResolveNote) {
		if more, err := p.m.endingOf(was.get("state"), e.Want); err == nil && len(more) > 0 {
			if _, err := p.sendChange(ctx, http.MethodPatch, "/"+id, more, connector.Repeat); err != nil {
				return connector.Copy{}, err
			}
		}
	}
	delete(b, "work_notes")
	return p.readBack(ctx, id, b)
}

// readBack reads a change request and returns ErrInvalid naming the first field
// of sent that it does not show.
func (p *platform) readBack(ctx context.Context, id string, sent body) (connector.Copy, error) {
	me, err := p.me(ctx)
	if err != nil {
		return connector.Copy{}, err
	}
	r, err := p.changeRow(ctx, id)
	if err != nil {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("the change request was written, but does not read back: %w", err)}
	}
	if name, lost := swallowed(sent, r); lost {
		return connector.Copy{}, fmt.Errorf("%s: %s took the write and kept %q instead of %q; the field may not exist, be read-only for this account or not know the value: %w",
			name, r.get("number"), cut(r.get(name), 80), cut(sent[name], 80), ops.ErrInvalid)
	}
	return p.copyChange(r, me)
}

// hops bounds the moves of one update: there are no more states.
const hops = 8

// walk moves a change request to the wanted state. Before each move the
// instance is asked where it may go, because customers edit the model.
func (p *platform) walk(ctx context.Context, was row, want ops.TicketFields) error {
	id, now := was.get("sys_id"), was.get("state")
	to, err := changeStateOut(want.State, now)
	if err != nil {
		return err
	}
	for range hops {
		if now == to {
			return nil
		}
		next, err := p.nextStates(ctx, id)
		if err != nil {
			return err
		}
		step := to
		if !next.has(to) {
			step = onTheWay(next, now, to)
		}
		if step == "" {
			why := ""
			if was.get("on_hold") == "true" {
				why = ", it is on hold: " + cut(was.get("on_hold_reason"), 80)
			}
			return fmt.Errorf("state: %s cannot go from %s to %s; the instance lets it go to %s%s: %w",
				was.get("number"), changeStateIn(now), want.State, next.names(now), why, ops.ErrInvalid)
		}
		if now, err = p.moveChange(ctx, id, step, want); err != nil {
			return err
		}
	}
	return fmt.Errorf("state: %s does not reach %s in %d moves: %w", was.get("number"), want.State, hops, ops.ErrInvalid)
}

// onTheWay returns the farthest state towards to that can be reached at once.
func onTheWay(next nextStates, now, to string) string {
	from, end := place(now), place(to)
	if changeStateIn(to) == string(ops.ChangeCancelled) || from < 0 {
		return "" // there is no way but the direct one
	}
	for i := end - 1; i > from; i-- {
		if next.has(changeStates[i].theirs) {
			return changeStates[i].theirs
		}
	}
	return ""
}

func (p *platform) nextStates(ctx context.Context, id string) (nextStates, error) {
	a, err := p.c.send(ctx, call{method: http.MethodGet, path: changePath + "/" + id + "/nextstates", effect: connector.Read})
	if err != nil {
		return nextStates{}, err
	}
	if err := p.c.failure(a, connector.Read, http.StatusOK); err != nil {
		return nextStates{}, fmt.Errorf("nextstates: %w", err)
	}
	return result[nextStates](a, connector.Read)
}

// moveChange makes one move and returns the state the change request is in.
func (p *platform) moveChange(ctx context.Context, id, to string, want ops.TicketFields) (string, error) {
	b, err := p.m.endingOf(to, want)
	if err != nil {
		return "", err
	}
	if err := p.checkChangeChoices(ctx, b); err != nil {
		return "", err
	}
	b["state"] = to
	got, err := p.sendChange(ctx, http.MethodPatch, "/"+id, b, connector.Repeat)
	return string(got.fields["state"]), err
}

// Conflicts implements connector.ConflictReader.
func (p *platform) Conflicts(ctx context.Context, ref string) ([]string, error) {
	id, ok := changeRef(ref)
	if !ok || !idPattern.MatchString(id) {
		return nil, notFound(ref)
	}
	path := changePath + "/" + id + "/conflict"
	a, err := p.c.send(ctx, call{method: http.MethodPost, path: path, body: body{}, effect: connector.Repeat})
	if err == nil {
		err = p.c.failure(a, connector.Repeat, http.StatusOK, http.StatusCreated, http.StatusAccepted)
	}
	if err != nil {
		return nil, fmt.Errorf("conflict check: %w", err)
	}
	if a, err = p.c.send(ctx, call{method: http.MethodGet, path: path, effect: connector.Read}); err == nil {
		err = p.c.failure(a, connector.Read, http.StatusOK)
	}
	if err != nil {
		return nil, fmt.Errorf("conflict check: %w", err)
	}
	got, err := result[conflictResult](a, connector.Read)
	return got.lines(), err
}

// changeChoices are the choice fields of change requests, with the option that
// names their values.
var changeChoices = []struct{ element, option string }{{"risk", "changes.risks"}, {"close_code", "changes.close_codes"}}

func (p *platform) checkChangeChoices(ctx context.Context, b body) error {
	for _, c := range changeChoices {
		if v, sent := b[c.element]; sent && v != "" {
			if err := p.checkChangeChoice(ctx, c.element, c.option, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *platform) checkChangeChoice(ctx context.Context, element, option, v string) error {
	known, err := p.choicesOf(ctx, changeTable, element)
	if err != nil || len(known) == 0 || slices.Contains(known, v) {
		return err
	}
	return fmt.Errorf("%s: the instance knows no %s %q of change requests, only %s; set options.%s: %w",
		element, element, v, strings.Join(known, ", "), option, ops.ErrInvalid)
}

// marshalled returns what is sent.
func (k call) marshalled() ([]byte, string, error) {
	if k.raw != nil {
		return k.raw, k.rawType, nil
	}
	if k.body == nil {
		return nil, jsonType, nil
	}
	b, err := json.Marshal(k.body)
	if err != nil {
		return nil, "", fmt.Errorf("body: %w: %w", err, ops.ErrInternal)
	}
	return b, jsonType, nil
}
