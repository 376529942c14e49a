package change_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// memory is the store's part of the contract, small and quick: everything is
// kept serialised, a transaction that fails leaves nothing behind, and what
// the real store refuses is refused.
type memory struct {
	clock   func() time.Time
	changes map[string]*kept
	order   []string // ids by number
	plans   map[string]*keptPlan
	runs    map[string]keptRun
	facts   []ops.Fact
	line    map[string]bool // who waits until another change ends
	stopped string
	undo    []func()
	after   []func()
	// crash makes the next transaction fail at its commit.
	crash bool
	// lax drops the refusals that double the gate's own guards.
	lax bool
}

type kept struct {
	body    []byte
	decoded *ops.Change // of body, until the process dies
	wake    time.Time
	version int64
	state   ops.ChangeState
}

type keptPlan struct {
	body    []byte
	decoded *ops.Plan // of body, until the process dies
}

func (k *keptPlan) plan() (p ops.Plan, err error) {
	if k.decoded == nil {
		k.decoded = &p
		err = json.Unmarshal(k.body, &p)
	}
	return *k.decoded, err
}

type keptRun struct {
	id, change, plan, lock, resource string
	automated, final                 bool
	started                          time.Time
}

var errCrash = errors.New("the process died at the commit")

func newMemory(clock func() time.Time) *memory {
	return &memory{clock: clock, changes: map[string]*kept{}, plans: map[string]*keptPlan{}, runs: map[string]keptRun{}, line: map[string]bool{}}
}

// memoryTx is a transaction on memory. Only AfterCommit is asked of it.
type memoryTx struct {
	db.Tx
	m *memory
}

func (t memoryTx) AfterCommit(f func()) { t.m.after = append(t.m.after, f) }

func (m *memory) Write(_ context.Context, f func(tx db.Tx) error) error {
	m.undo, m.after = m.undo[:0], nil
	err := f(memoryTx{m: m})
	if err == nil && m.crash {
		err = errCrash
	}
	m.crash = false
	if err != nil {
		for _, back := range slices.Backward(m.undo) {
			back()
		}
		return err
	}
	for _, f := range m.after {
		f()
	}
	return nil
}

func (m *memory) Tell(_ context.Context, _ db.Tx, facts ...ops.Fact) ([]ops.Fact, error) {
	out := slices.Clone(facts)
	before := len(m.facts)
	m.undo = append(m.undo, func() { m.facts = m.facts[:before] })
	for i := range out {
		out[i].Seq = int64(len(m.facts) + 1)
		out[i].ID, out[i].RecordedAt = fmt.Sprintf("f%d", out[i].Seq), m.clock()
		m.facts = append(m.facts, out[i])
	}
	return out, nil
}

func (m *memory) NextNumber(context.Context, db.Tx, string) (int64, error) {
	return int64(len(m.order) + 1), nil
}

func (m *memory) NewID() string { return fmt.Sprintf("c%d", len(m.order)+1) }

func (m *memory) find(idOrKey string) (*kept, error) {
	if n, ok := strings.CutPrefix(idOrKey, "CHG-"); ok {
		idOrKey = "c" + n
	}
	k, ok := m.changes[idOrKey]
	if !ok {
		return nil, fmt.Errorf("change %s: %w", idOrKey, ops.ErrNotFound)
	}
	return k, nil
}

func (k *kept) change() (c ops.Change, err error) {
	if k.decoded != nil {
		return *k.decoded, nil
	}
	err = json.Unmarshal(k.body, &c)
	c.Version = k.version
	k.decoded = &c
	return c, err
}

// forget is what the death of the process does: only what is written stays.
func (m *memory) forget() {
	for _, k := range m.changes {
		k.decoded = nil
	}
	for _, k := range m.plans {
		k.decoded = nil
	}
}

func (m *memory) LoadChange(_ context.Context, _ db.Tx, idOrKey string) (ops.Change, ops.Plan, time.Time, error) {
	k, err := m.find(idOrKey)
	if err != nil {
		return ops.Change{}, ops.Plan{}, time.Time{}, err
	}
	c, err := k.change()
	var p ops.Plan
	if err == nil && c.PlanID != "" {
		p, err = m.plans[c.PlanID].plan()
	}
	return c, p, k.wake, err
}

func (m *memory) Change(_ context.Context, idOrKey string) (ops.Change, error) {
	k, err := m.find(idOrKey)
	if err != nil {
		return ops.Change{}, err
	}
	return k.change()
}

func (m *memory) SaveChange(_ context.Context, _ db.Tx, c ops.Change, p ops.Plan, wake time.Time) error {
	before, known := m.changes[c.ID]
	if known != (c.Version > 0) || (known && before.version != c.Version) {
		return fmt.Errorf("change %s is not at version %d: %w", c.Key(), c.Version, ops.ErrConflict)
	}
	c.Version++
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if known {
		m.undo = append(m.undo, func() { m.changes[c.ID] = before })
	} else {
		m.order = append(m.order, c.ID)
		m.undo = append(m.undo, func() { delete(m.changes, c.ID); m.order = m.order[:len(m.order)-1] })
	}
	m.changes[c.ID] = &kept{body, nil, wake, c.Version, c.State}
	if _, stored := m.plans[p.ID]; p.ID != "" && !stored {
		body, err := json.Marshal(p)
		if err != nil {
			return err
		}
		m.plans[p.ID] = &keptPlan{body: body}
		m.undo = append(m.undo, func() { delete(m.plans, p.ID) })
	}
	return m.saveRun(c)
}

func (m *memory) saveRun(c ops.Change) error {
	r := c.Run
	if r == nil {
		return nil
	}
	for _, other := range m.runs {
		if other.id != r.ID && ((other.plan == r.PlanID) || (!m.lax && !other.final && !r.State.Final() && other.lock == c.Lock())) {
			return fmt.Errorf("run %s beside %s: %w", r.ID, other.id, ops.ErrConflict)
		}
	}
	before, known := m.runs[r.ID]
	m.undo = append(m.undo, func() {
		if delete(m.runs, r.ID); known {
			m.runs[r.ID] = before
		}
	})
	m.runs[r.ID] = keptRun{r.ID, c.ID, r.PlanID, c.Lock(), c.ResourceID, c.Runbook != "", r.State.Final(), r.StartedAt}
	return nil
}

func (m *memory) RunbookHistory(_ context.Context, _ db.Tx, runbook, resource string) (live string, ended time.Time, err error) {
	for _, id := range m.order {
		c, err := m.changes[id].change()
		switch {
		case err != nil:
			return "", ended, err
		case c.Runbook != runbook || c.ResourceID != resource:
		case !c.State.Terminal():
			live = c.Key()
		case c.ClosedAt.After(ended):
			ended = c.ClosedAt
		}
	}
	return live, ended, nil
}

func (m *memory) LockHolder(_ context.Context, _ db.Tx, lock, except string) (string, error) {
	for _, r := range m.runs {
		if !r.final && r.lock == lock && r.change != except {
			return "CHG-" + r.change[1:], nil
		}
	}
	return "", nil
}

func (m *memory) RunningResources(_ context.Context, _ db.Tx, except string) (ids []string, err error) {
	for _, r := range m.runs {
		if !r.final && r.change != except {
			ids = append(ids, r.resource)
		}
	}
	return ids, nil
}

func (m *memory) UnderWay(_ context.Context, _ db.Tx, resources []string, except string) (out []ops.Change, err error) {
	for _, id := range m.order {
		k := m.changes[id]
		if id == except || (k.state != ops.ChangeScheduled && k.state != ops.ChangeImplement) {
			continue
		}
		c, err := k.change()
		if err != nil {
			return nil, err
		}
		if slices.Contains(resources, c.ResourceID) {
			out = append(out, c)
		}
	}
	return out, nil
}

func (m *memory) AutomatedStarts(_ context.Context, _ db.Tx, since time.Time, limit int) (at []time.Time, resources []string, err error) {
	var found []keptRun
	for _, r := range m.runs {
		if r.automated && r.started.After(since) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b keptRun) int { return a.started.Compare(b.started) })
	for _, r := range found[max(0, len(found)-limit):] {
		at, resources = append(at, r.started), append(resources, r.resource)
	}
	return at, resources, nil
}

func (m *memory) WakeScheduled(_ context.Context, _ db.Tx, now time.Time) (ids []string, err error) {
	for _, id := range m.order {
		if before := m.changes[id]; before.state == ops.ChangeScheduled {
			ids = append(ids, id)
			m.undo = append(m.undo, func() { m.changes[id] = before })
			woken := *before
			woken.decoded = nil
			woken.wake = now
			m.changes[id] = &woken
		}
	}
	return ids, nil
}

func (m *memory) StandInLine(_ context.Context, _ db.Tx, id string, stands bool) {
	before := m.line[id]
	m.undo = append(m.undo, func() { m.line[id] = before })
	m.line[id] = stands
}

func (m *memory) WakeLine(_ context.Context, _ db.Tx, now time.Time, resources []string, most int) (ids []string, err error) {
	for _, id := range m.order {
		before := m.changes[id]
		if !m.line[id] || before.state != ops.ChangeScheduled || !before.wake.After(now) {
			continue
		}
		c, err := before.change()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(resources, c.ResourceID) {
			if most--; most < 0 {
				continue
			}
		}
		ids = append(ids, id)
		m.undo = append(m.undo, func() { m.changes[id] = before })
		woken := *before
		woken.decoded, woken.wake = nil, now
		m.changes[id] = &woken
	}
	return ids, nil
}

func (m *memory) OverdueChanges(_ context.Context, before time.Time, _ int) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	for id, k := range m.changes {
		if !k.state.Terminal() && k.wake.Before(before) {
			out[id] = k.wake
		}
	}
	return out, nil
}

func (m *memory) ExecutionStoppedIn(context.Context, db.Tx) (reason string, stopped bool, err error) {
	return m.stopped, m.stopped != "", nil
}

func (m *memory) SetExecutionStopped(_ context.Context, _ db.Tx, reason string, stopped bool) error {
	before := m.stopped
	m.undo = append(m.undo, func() { m.stopped = before })
	if m.stopped = reason; !stopped {
		m.stopped = ""
	}
	return nil
}

func (m *memory) Changes(_ context.Context, f ops.ChangeFilter) (out []ops.Change, err error) {
	for _, id := range slices.Backward(m.order) {
		k := m.changes[id]
		if len(f.States) > 0 && !slices.Contains(f.States, k.state) {
			continue
		}
		c, err := k.change()
		if err != nil {
			return nil, err
		}
		if out = append(out, c); f.Limit > 0 && len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

func (m *memory) FactsAfter(_ context.Context, after int64, _ int, _ ...ops.FactKind) ([]ops.Fact, error) {
	return m.facts[after:], nil
}

func (m *memory) FactsAbout(_ context.Context, subject string) (out []ops.Fact, err error) {
	for _, f := range m.facts {
		if f.Subject == subject {
			out = append(out, f)
		}
	}
	return out, nil
}
