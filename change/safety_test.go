package change_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/safetytest"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// crew are the principals that press buttons at random.
var crew = []ops.Principal{
	owner, manager, second, robot, viewer, ops.SystemPrincipal,
	person("ada", ops.Admin), person("otto", ops.ApplicationOwner, ops.ChangeManager),
	{ID: "", Name: "nobody", Kind: ops.Person, Roles: []ops.Role{ops.Admin}},
}

// rules are the rules of testConfig, written a second time for the oracle.
func rules(limits change.Limits) safetytest.Rules {
	people := map[string]ops.Principal{}
	for _, p := range crew {
		if p.ID != "" {
			people[p.ID] = p
		}
	}
	return safetytest.Rules{
		Open: func(t time.Time) (end, cutoff time.Time, ok bool) { // daily 02:00 to 06:00: nobody here touches r3
			day := t.UTC().Truncate(24 * time.Hour)
			return day.Add(6 * time.Hour), day.Add(6*time.Hour - 5*time.Minute), t.UTC().Hour() >= 2 && t.UTC().Hour() < 6
		},
		Frozen: func(from, to time.Time) bool {
			a, b := at("2026-11-23T00:00:00Z"), at("2026-11-25T00:00:00Z")
			return from.Before(b) && (to.After(a) || from.Equal(a))
		},
		Automatic: func(c ops.Change) bool { return c.Type == ops.ChangeStandard && c.Risk < 0.2 },
		Need: func(c ops.Change) []ops.Approvers {
			return []ops.Approvers{{Role: ops.ApplicationOwner, Count: 1}, {Role: ops.ChangeManager, Count: 1}}
		},
		Estimates: func(executor string) (apply, rollback time.Duration) {
			if executor == "aws" {
				return time.Minute, time.Minute
			}
			return 0, 0
		},
		People: people, MaxStarts: limits.Count, MaxResources: int(4 * limits.BlastRadius / 100), Per: limits.Per,
	}
}

// players are everybody outside the gate: alerts, executor, verification,
// people, the clock and the power switch.
type players struct {
	*house
	r        *rapid.T
	oracle   *safetytest.Oracle
	lastFact int64
	lastCmd  int
	heard    []ops.Fact // facts that may come again
	pending  []ops.Command
	digests  []string
	done     []ops.Command
}

// observe shows the oracle what happened since it last looked. Facts and
// commands of one action come in the order facts, commands.
func (p *players) observe() {
	facts, err := p.store.FactsAfter(p.ctx, p.lastFact, 10_000)
	if err != nil {
		p.r.Fatal(err)
	}
	for _, f := range facts {
		p.lastFact = f.Seq
		if err := p.oracle.Fact(f); err != nil {
			p.r.Fatalf("%s %s by %q at %s: %v\n%s", f.Kind, f.Subject, f.Principal, f.At, err, f.Body)
		}
	}
	for ; p.lastCmd < len(p.commands); p.lastCmd++ {
		c := p.commands[p.lastCmd]
		if err := p.oracle.Command(c, p.now); err != nil {
			p.r.Fatalf("%s %s: %v", c.Kind, c.Subject, err)
		}
		if c.Kind == ops.MakePlan || c.Kind == ops.ApplyPlan || c.Kind == ops.RollBackRun {
			p.pending = append(p.pending, c)
		}
	}
}

func (p *players) say(subject string, body ops.FactBody) {
	p.heard = append(p.heard, p.tell(subject, body))
	p.observe()
}

// pick returns the number of a choice, drawn with a name.
func (p *players) pick(name string, n int) int { return rapid.IntRange(0, n-1).Draw(p.r, name) }

// someChange draws one of the newest changes, in one of the states if any has.
func (p *players) someChange(states ...ops.ChangeState) (ops.Change, bool) {
	all, err := p.store.Changes(p.ctx, ops.ChangeFilter{Limit: 8, States: states})
	if err != nil {
		p.r.Fatal(err)
	}
	if len(all) == 0 {
		return ops.Change{}, false
	}
	c := all[p.pick("change", len(all))]
	return c, true
}

func (p *players) alertSomething() {
	resource := fmt.Sprintf("r%d", p.pick("resource", 3))
	value := []float64{0.95, 0.85, 0.5}[p.pick("value", 3)]
	a := ops.Alert{
		Rule: []string{"high-cpu", "disk", "other"}[p.pick("rule", 3)], State: ops.Firing, Resource: ops.ResourceRef{ID: resource},
		Test: p.pick("test", 8) == 7, Context: ops.AlertContext{Value: &value},
	}
	i := ops.Incident{ID: "i-" + resource, ResourceID: resource}
	switch p.pick("incident", 3) {
	case 0:
		p.say(i.Subject(), ops.IncidentOpenedBody{Incident: i, Alerts: []ops.Alert{a}})
	case 1:
		p.say(i.Subject(), ops.IncidentGrewBody{Incident: i, Alerts: []ops.Alert{a}})
	default:
		p.say(i.Subject(), ops.IncidentReopenedBody{Incident: i, Alerts: []ops.Alert{a}})
	}
}

// execute carries out an order that was given, well or badly, perhaps twice.
func (p *players) execute() {
	if len(p.pending) == 0 {
		return
	}
	n := p.pick("order", len(p.pending))
	order := p.pending[n]
	p.pending = append(p.pending[:n], p.pending[n+1:]...)
	p.done = append(p.done, order)
	p.carryOut(order)
}

func (p *players) carryOut(order ops.Command) {
	c := p.change(strings.TrimPrefix(order.Subject, "change/"))
	switch order.Kind {
	case ops.MakePlan:
		var b ops.MakePlanBody
		if err := json.Unmarshal(order.Body, &b); err != nil {
			p.r.Fatal(err)
		}
		c.Revision = b.Revision
		made := plan(c, []string{"a", "b"}[p.pick("variant", 2)], p.pick("undo", 4) < 3)
		made.ApplySecs = []int{60, 1800, 7200}[p.pick("apply seconds", 3)]
		made.RollbackSecs = []int{120, 1800, 3600}[p.pick("rollback seconds", 3)]
		switch p.pick("plan", 16) {
		case 12:
			p.say(c.Subject(), ops.PlanFailedBody{ChangeID: c.ID, Error: "no"})
			return
		case 13:
			made.ID, made.Digest = made.ID+"-bad", strings.Repeat("f", 64)
		case 14:
			made.ID += "-unknown"
			made.RollbackSecs = 0
		case 15:
			made.ID += "-long"
			made.ApplySecs = 5 * 3600
		}
		p.digests = append(p.digests, made.Digest)
		p.say(c.Subject(), ops.PlanMadeBody{Plan: made})
	case ops.ApplyPlan:
		var b ops.ApplyPlanBody
		if err := json.Unmarshal(order.Body, &b); err != nil {
			p.r.Fatal(err)
		}
		run := ops.Run{ID: b.RunID, ChangeID: c.ID}
		switch p.pick("apply", 9) { // rapid favours small numbers
		case 6:
			p.say(c.Subject(), ops.RunFailedBody{Run: run, Error: "no"})
		case 7:
			p.say(c.Subject(), ops.RunFailedBody{Run: run, Error: "?", Unknown: true})
		case 8:
			p.say(c.Subject(), ops.PlanMovedBody{ChangeID: c.ID, RunID: b.RunID, Moved: "something"})
		default:
			p.say(c.Subject(), ops.RunAppliedBody{Run: run})
		}
	case ops.RollBackRun:
		var b ops.RollBackRunBody
		if err := json.Unmarshal(order.Body, &b); err != nil {
			p.r.Fatal(err)
		}
		p.say(c.Subject(), ops.RunRolledBackBody{Run: ops.Run{ID: b.RunID}, Error: []string{"", "no"}[p.pick("undone", 2)]})
	}
}

func (p *players) judge() {
	c, ok := p.someChange(ops.ChangeImplement)
	if !ok || c.Run == nil {
		return
	}
	switch p.pick("trouble", 4) {
	case 2:
		_ = p.room.StopExecution(p.ctx, manager, "smoke")
	case 3: // the window is nearly over
		p.now = p.now.Truncate(24 * time.Hour).Add(29*time.Hour + 59*time.Minute)
	}
	word := []ops.VerdictWord{ops.Better, ops.Unchanged, ops.Worse, ops.Inconclusive}[p.pick("verdict", 4)]
	p.say(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{ChangeID: c.ID, RunID: c.Run.ID, Word: word}})
}

// press lets somebody press a button. Most may not; what is refused must leave
// no trace, which the oracle sees.
func (p *players) press() {
	by := crew[p.pick("who", len(crew))]
	if p.pick("raise", 6) == 5 {
		_, _ = p.room.Raise(p.ctx, by, change.Request{Title: "by hand", ResourceID: fmt.Sprintf("r%d", p.pick("resource", 3)), Executor: "host", Action: "tidy", VerifyWithin: time.Minute}, "api")
		p.observe()
		return
	}
	c, ok := p.someChange()
	if p.pick("asked", 2) == 0 {
		c, ok = p.someChange(ops.ChangeAuthorize)
	}
	if !ok {
		return
	}
	switch p.pick("button", 12) {
	case 8:
		_, _ = p.room.Cancel(p.ctx, by, c.Key(), "no", "api")
	case 9:
		_, _ = p.room.Edit(p.ctx, by, c.ID, []string{"tidy", "sweep"}[p.pick("action", 2)], nil, "better")
	case 10, 11:
		_, _ = p.room.DecideHeld(p.ctx, by, c.ID, []change.Resolution{change.HeldSucceeded, change.HeldFailed, change.HeldRollBack}[p.pick("word", 3)], "")
	default:
		digest := c.PlanDigest
		if len(p.digests) > 0 && p.pick("stale", 4) == 3 {
			digest = p.digests[p.pick("digest", len(p.digests))]
		}
		if len(digest) > 12 && p.pick("short", 3) == 0 {
			digest = digest[:12]
		}
		decision := ops.Approved
		if p.pick("deny", 6) == 5 {
			decision = ops.Refused
		}
		if _, err := p.room.Decide(p.ctx, by, c.ID, decision, digest, "", "api"); err == nil && (digest == "" || !strings.HasPrefix(c.PlanDigest, digest)) {
			p.r.Fatalf("safety property 3 is broken: %s decided on digest %q and %q stands", by.Name, digest, c.PlanDigest)
		}
	}
	p.observe()
}

// edit has a change manager edit what waits for approval.
func (p *players) edit() {
	if c, ok := p.someChange(ops.ChangeAuthorize, ops.ChangeScheduled); ok {
		_, _ = p.room.Edit(p.ctx, manager, c.ID, []string{"tidy", "sweep"}[p.pick("action", 2)], nil, "better")
		p.observe()
	}
}

// approve has the right persons approve, so that enough changes get far.
func (p *players) approve() {
	c, ok := p.someChange(ops.ChangeAuthorize)
	if !ok {
		return
	}
	_, _ = p.room.Decide(p.ctx, person("olga", ops.ApplicationOwner), c.ID, ops.Approved, c.PlanDigest, "", "api")
	_, _ = p.room.Decide(p.ctx, person("mia", ops.ChangeManager), c.ID, ops.Approved, c.PlanDigest, "", "api")
	p.observe()
}

func (p *players) pressSwitch() {
	by := crew[p.pick("who", len(crew))]
	if p.pick("stop", 3) == 2 {
		_ = p.room.StopExecution(p.ctx, by, "smoke")
	} else {
		_ = p.room.ResumeExecution(p.ctx, by, "aired")
	}
	p.observe()
}

// pass lets time go by; wake-ups that fall due are carried out on the way, or
// late when the process was down.
func (p *players) pass() {
	p.now = p.now.Add([]time.Duration{time.Second, time.Minute, 20 * time.Minute, 3 * time.Hour, 30 * time.Hour}[p.pick("pass", 5)])
	if p.pick("to the window", 2) == 0 {
		p.now = p.now.Truncate(24 * time.Hour).Add(26 * time.Hour)
	}
	p.wake()
}

func (p *players) wake() {
	for i := 0; i < len(p.commands); i++ {
		c := p.commands[i]
		if c.Kind != ops.WakeChange || c.At.After(p.now) {
			continue
		}
		p.commands[i].Kind = "done"
		p.done = append(p.done, c)
		if err := p.handlers[ops.WakeChange](p.ctx, c); err != nil {
			p.r.Fatalf("wake %s: %v", c.Subject, err)
		}
		p.observe()
	}
}

// again delivers a fact or a command that came before once more.
func (p *players) again() {
	if len(p.heard) > 0 && p.pick("fact or command", 2) == 0 {
		p.hear(p.heard[p.pick("fact", len(p.heard))])
		p.observe()
		return
	}
	if len(p.done) == 0 {
		return
	}
	c := p.done[p.pick("command", len(p.done))]
	if c.Kind != ops.WakeChange {
		p.carryOut(c)
		return
	}
	if err := p.handlers[ops.WakeChange](p.ctx, c); err != nil && !strings.HasPrefix(err.Error(), job.Snooze(0, "").Error()[:5]) {
		p.r.Fatalf("wake %s again: %v", c.Subject, err)
	}
	p.observe()
}

// replay folds every change's facts and compares with what is stored.
func (p *players) replay() {
	all, err := p.store.Changes(p.ctx, ops.ChangeFilter{Limit: 10_000})
	if err != nil {
		p.r.Fatal(err)
	}
	for _, stored := range all {
		var folded ops.Change
		for _, f := range p.facts(stored.ID) {
			if folded, err = change.Fold(folded, f); err != nil {
				p.r.Fatal(err)
			}
		}
		stored.Version, folded.Version = 0, 0
		a, _ := json.Marshal(stored)
		b, _ := json.Marshal(folded)
		if string(a) != string(b) {
			p.r.Fatalf("safety property 5 is broken: the facts of %s fold to\n%s\nand the store has\n%s", stored.Key(), b, a)
		}
	}
}

// drain leaves everything to the clock: nobody presses a button and the
// executor is gone. Every change must end.
func (p *players) drain() {
	if err := p.room.ResumeExecution(p.ctx, manager, "drain"); err != nil {
		p.r.Fatal(err)
	}
	for range 3000 {
		p.observe()
		if len(p.oracle.Unended()) == 0 {
			return
		}
		next := time.Time{}
		for _, c := range p.commands {
			if c.Kind == ops.WakeChange && (next.IsZero() || c.At.Before(next)) {
				next = c.At
			}
		}
		if next.IsZero() {
			break
		}
		if next.After(p.now) {
			p.now = next
		}
		if p.config.Recheck < time.Hour {
			p.config.Recheck = 12 * time.Hour
			p.restart() // nobody watches: coarser steps reach the end sooner
		}
		p.wake()
	}
	for _, id := range p.oracle.Unended() {
		c := p.change(id)
		p.r.Errorf("safety property 5 is broken: %s never ends; it is %s, waiting: %s", c.Key(), c.State, c.Waiting)
	}
}

// wipe empties the tables, which is quicker than opening a database per try.
func wipe(t testing.TB, h *house) {
	err := h.db.Write(h.ctx, func(tx db.Tx) error {
		for _, table := range []string{"run", "approval", "plan", "change", "fact", "number", "setting"} {
			if _, err := tx.Exec(h.ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSafetyProperties(t *testing.T) {
	h := newHouse(t, testConfig())
	outcomes, runs, tries := map[ops.Outcome]int{}, 0, 0
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.steps": "80", "rapid.checks": "40"} { // few but long: the way to a verdict is
		if given[name] {
			continue
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		tries++
		wipe(t, h)
		h.config, h.now, h.commands, h.value = testConfig(), at("2026-11-21T01:00:00Z"), nil, nil
		h.config.Windows[0].Cutoff, h.config.MaxAge = 5*time.Minute, 8*24*time.Hour
		h.config.Limits = rapid.SampledFrom([]change.Limits{{Count: 1, Per: 12 * time.Hour, BlastRadius: 50}, {Count: 3, Per: 3 * time.Hour, BlastRadius: 25}}).Draw(r, "limits")
		h.restart()
		p := &players{house: h, r: r, oracle: safetytest.New(rules(h.config.Limits))}
		quick := func(f func()) func(*rapid.T) { return func(*rapid.T) { f() } }
		r.Repeat(map[string]func(*rapid.T){
			"alert": quick(p.alertSomething), "execute": quick(p.execute), "execute more": quick(p.execute), "execute most": quick(p.execute), "judge": quick(p.judge), "judge more": quick(p.judge),
			"press": quick(p.press), "approve": quick(p.approve), "approve more": quick(p.approve), "edit": quick(p.edit), "switch": quick(p.pressSwitch),
			"pass": quick(p.pass), "pass more": quick(p.pass), "again": quick(p.again),
			"measure": func(*rapid.T) {
				v := []float64{0.95, 0.85, 0.5}[p.pick("measured", 3)]
				if p.value = &v; p.pick("unknown", 2) == 0 {
					p.value = nil
				}
			},
			"restart": quick(h.restart),
		})
		p.replay()
		p.drain()
		p.replay()
		for o, n := range p.oracle.Outcomes() {
			outcomes[o] += n
		}
		runs += p.oracle.Runs()
	})
	t.Logf("%d tries, %d runs, %v", tries, runs, outcomes)
	// A property that nothing ever came near proves nothing.
	if tries >= 40 && (runs < 10 || len(outcomes) < 5) {
		t.Errorf("%d runs and the outcomes %v: the players are too tame", runs, outcomes)
	}
}
