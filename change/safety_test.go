package change_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/safetytest"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// dice draws numbers; rapid's shrink, plain ones are quick.
type dice interface {
	// pick draws from [0, n).
	pick(name string, n int) int
}

type rapidDice struct{ r *rapid.T }

func (d rapidDice) pick(name string, n int) int { return rapid.IntRange(0, n-1).Draw(d.r, name) }

type plainDice struct{ *rand.Rand }

func (d plainDice) pick(_ string, n int) int { return d.IntN(n) }

// violation is what a play panics with when a property is broken.
type violation struct{ error }

// players are everybody outside the gate: alerts, executor, verification,
// people here and in platforms, the clock, the power switch and the power.
type players struct {
	*house
	dice
	law      *law
	broken   string // the guard that is switched off
	coarse   bool   // changes that wait look again seldom
	oracle   *safetytest.Oracle
	lastFact int64
	lastCmd  int
	heard    []ops.Fact // facts that may come again
	delayed  []ops.Fact // facts that were told and not heard yet
	pending  []ops.Command
	digests  []string
	done     []ops.Command
	seen     []ops.ApprovalSeenBody
}

func newPlayers(h *house, d dice, l *law, broken string) *players {
	h.config, h.now, h.commands, h.value = l.config, at("2026-11-21T01:00:00Z"), nil, nil
	h.needs = l.rules.Needs
	for _, p := range crew {
		h.people[p.Name] = p
	}
	for id, labels := range labelled {
		r := h.resources[id]
		r.Labels = maps.Clone(labels)
		h.resources[id] = r
	}
	p := &players{house: h, dice: d, law: l, broken: broken, oracle: safetytest.New(l.rules)}
	p.restart()
	return p
}

func (p *players) fail(format string, args ...any) { panic(violation{fmt.Errorf(format, args...)}) }

// restart forgets everything but the store, and begins a new process.
func (p *players) restart() {
	if m, ok := p.store.(*memory); ok {
		m.forget()
	}
	p.restartOn(p.law.gate(p.broken, p.coarse))
}

// observe shows the oracle what happened since it last looked. Facts and
// commands of one action come in the order facts, commands.
func (p *players) observe() {
	facts, err := p.store.FactsAfter(p.ctx, p.lastFact, 10_000)
	if err != nil {
		p.fail("%w", err)
	}
	for _, f := range facts {
		p.lastFact = f.Seq
		if err := p.oracle.Fact(f); err != nil {
			p.fail("%s %s by %q at %s: %w\n%s", f.Kind, f.Subject, f.Principal, f.At, err, f.Body)
		}
	}
	for ; p.lastCmd < len(p.commands); p.lastCmd++ {
		c := p.commands[p.lastCmd]
		if err := p.oracle.Command(c, p.now); err != nil {
			p.fail("%s %s: %w", c.Kind, c.Subject, err)
		}
		if c.Kind == ops.MakePlan || c.Kind == ops.ApplyPlan || c.Kind == ops.RollBackRun {
			p.pending = append(p.pending, c)
		}
	}
}

// say records a fact of another room. Most are heard at once; some come late
// and in another order.
func (p *players) say(subject string, body ops.FactBody) {
	var told []ops.Fact
	p.calm()
	err := p.db.Write(p.ctx, func(tx db.Tx) (err error) {
		told, err = p.store.Tell(p.ctx, tx, ops.NewFact(subject, p.now, ops.SystemPrincipal, "", body))
		return err
	})
	if err != nil {
		p.fail("%w", err)
	}
	p.heard = append(p.heard, told[0])
	if p.pick("late", 8) == 7 {
		p.delayed = append(p.delayed, told[0])
		p.observe()
		return
	}
	p.listen(told[0])
}

// listen has the room hear a fact; what dies on the way is heard again.
func (p *players) listen(f ops.Fact) {
	p.storm()
	for range 2 {
		l, ok := p.listeners[f.Kind]
		if !ok {
			break
		}
		err := p.db.Write(p.ctx, func(tx db.Tx) error { return l(p.ctx, tx, f) })
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			p.fail("hear %s: %w", f.Kind, err)
		}
		p.restart()
	}
	p.observe()
}

// storm lets the process die now and then at its next commit.
func (p *players) storm() {
	if m, ok := p.store.(*memory); ok {
		m.crash = p.pick("crash", 16) == 15
	}
}

// calm lets the next commit succeed: a storm that met none is over.
func (p *players) calm() {
	if m, ok := p.store.(*memory); ok {
		m.crash = false
	}
}

func (p *players) deliver() {
	if len(p.delayed) == 0 {
		return
	}
	n := p.pick("late fact", len(p.delayed))
	f := p.delayed[n]
	p.delayed = slices.Delete(p.delayed, n, n+1)
	p.listen(f)
}

// someChange draws one of the newest changes, in one of the states if any has.
func (p *players) someChange(states ...ops.ChangeState) (ops.Change, bool) {
	var ids []string
	if m, ok := p.store.(*memory); ok {
		for _, id := range slices.Backward(m.order) {
			if len(ids) < 8 && (len(states) == 0 || slices.Contains(states, m.changes[id].state)) {
				ids = append(ids, id)
			}
		}
	} else {
		all, err := p.store.Changes(p.ctx, ops.ChangeFilter{Limit: 8, States: states})
		if err != nil {
			p.fail("%w", err)
		}
		for _, c := range all {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return ops.Change{}, false
	}
	return p.change(ids[p.pick("change", len(ids))]), true
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

func read[T any](p *players, c ops.Command) (b T) {
	if err := json.Unmarshal(c.Body, &b); err != nil {
		p.fail("%w", err)
	}
	return b
}

func (p *players) carryOut(order ops.Command) {
	c := p.change(strings.TrimPrefix(order.Subject, "change/"))
	switch order.Kind {
	case ops.MakePlan:
		c.Revision = read[ops.MakePlanBody](p, order).Revision
		made := plan(c, []string{"a", "b"}[p.pick("variant", 2)], p.pick("undo", 4) < 3)
		made.ID = fmt.Sprintf("%s-%d", made.ID, len(p.digests)) // no two plans that were made share an id
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
		run := ops.Run{ID: read[ops.ApplyPlanBody](p, order).RunID, ChangeID: c.ID}
		switch p.pick("apply", 9) { // rapid favours small numbers
		case 6:
			p.say(c.Subject(), ops.RunFailedBody{Run: run, Error: "no"})
		case 7:
			p.say(c.Subject(), ops.RunFailedBody{Run: run, Error: "?", Unknown: true})
		case 8:
			p.say(c.Subject(), ops.PlanMovedBody{ChangeID: c.ID, RunID: run.ID, Moved: "something"})
		default:
			p.say(c.Subject(), ops.RunAppliedBody{Run: run})
		}
	case ops.RollBackRun:
		run := ops.Run{ID: read[ops.RollBackRunBody](p, order).RunID}
		p.say(c.Subject(), ops.RunRolledBackBody{Run: run, Error: []string{"", "no"}[p.pick("undone", 2)]})
	}
}

func (p *players) judge() {
	c, ok := p.someChange(ops.ChangeImplement)
	if !ok || c.Run == nil {
		return
	}
	switch p.pick("trouble", 6) {
	case 2:
		_ = p.room.StopExecution(p.ctx, manager, "smoke")
	case 3: // the window is nearly over
		p.now = p.now.Truncate(24 * time.Hour).Add(29*time.Hour + 59*time.Minute)
	case 4, 5: // a freeze is about to begin
		p.now = at("2026-11-22T02:59:30Z")
	}
	word := []ops.VerdictWord{ops.Better, ops.Unchanged, ops.Worse, ops.Inconclusive}[p.pick("verdict", 4)]
	p.say(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{ChangeID: c.ID, RunID: c.Run.ID, Word: word}})
}

// raise has somebody ask for a change by hand.
func (p *players) raise() {
	by := crew[p.pick("who", len(crew))]
	q := change.Request{
		Title: "by hand", ResourceID: fmt.Sprintf("r%d", p.pick("resource", 3)), Executor: "host",
		Action: []string{"tidy", "sweep", "mop"}[p.pick("action", 3)], VerifyWithin: time.Minute,
	}
	if risk := []float64{0.1, 0.4, -1}[p.pick("risk", 3)]; risk >= 0 {
		q.Risk = &risk
	}
	if p.pick("team", 3) == 2 {
		q.Team = "shop"
	}
	p.storm()
	_, _ = p.room.Raise(p.ctx, by, q, "api")
	p.observe()
}

// press lets somebody press a button. Most may not; what is refused must leave
// no trace, which the oracle sees.
func (p *players) press() {
	by := crew[p.pick("who", len(crew))]
	c, ok := p.someChange()
	if p.pick("asked", 2) == 0 {
		c, ok = p.someChange(ops.ChangeAuthorize)
	}
	if !ok {
		return
	}
	p.storm()
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
			p.fail("safety property 3 is broken: %s decided on digest %q and %q stands", by.Name, digest, c.PlanDigest)
		}
	}
	p.observe()
}

// edit has a change manager edit what waits for approval.
func (p *players) edit() {
	if c, ok := p.someChange(ops.ChangeAuthorize, ops.ChangeScheduled); ok {
		p.storm()
		_, _ = p.room.Edit(p.ctx, manager, c.ID, []string{"tidy", "sweep", "mop"}[p.pick("action", 3)], nil, "better")
		p.observe()
	}
}

// approve has the right persons approve, so that enough changes get far.
func (p *players) approve() {
	if c, ok := p.someChange(ops.ChangeAuthorize); ok {
		p.approveIt(c)
	}
}

func (p *players) approveIt(c ops.Change) {
	if c.ApproveIn == "snow" {
		for _, by := range []string{"mia", "sam"} {
			b := ops.ApprovalSeenBody{
				ChangeID: c.ID, Platform: "snow", Approval: strconv.Itoa(len(p.seen)), User: by, Person: by,
				Decision: ops.Approved, Digest: c.PlanDigest, Revision: c.Revision, WrittenAt: p.now.Add(-time.Minute), DecidedAt: p.now,
			}
			p.seen = append(p.seen, b)
			p.say(c.Subject(), b)
		}
		return
	}
	for _, by := range []string{"tess", "olga", "mia", "sam", "otto"} {
		p.storm()
		_, _ = p.room.Decide(p.ctx, p.people[by], c.ID, ops.Approved, c.PlanDigest, "", "api")
	}
	p.observe()
}

// platform tells what somebody, mapped or not, decided in a platform about the
// plan that stands, about an old one, or before it stood there.
func (p *players) platform() {
	c, ok := p.someChange(ops.ChangeAuthorize, ops.ChangeAuthorize, ops.ChangeScheduled, ops.ChangeAssess)
	if !ok {
		return
	}
	if len(p.seen) > 0 && p.pick("again", 5) == 4 { // the same decision, perhaps with another face
		b := p.seen[p.pick("decision", len(p.seen))]
		if p.pick("face", 2) == 1 {
			b.Person = crew[p.pick("who", len(crew))].Name
		}
		p.say(ops.ChangeSubject(b.ChangeID), b)
		return
	}
	names := []string{"", "zoe", "olga", "mia", "sam", "tess", "otto"}
	for _, who := range crew {
		names = append(names, who.Name)
	}
	b := ops.ApprovalSeenBody{
		ChangeID: c.ID, Platform: []string{"snow", "snow", "rt"}[len(p.seen)%3], Approval: strconv.Itoa(len(p.seen)), User: "u", Person: names[p.pick("person", len(names))],
		Decision: ops.Approved, Digest: c.PlanDigest, Revision: c.Revision, WrittenAt: p.now.Add(-time.Minute), DecidedAt: p.now,
	}
	switch p.pick("spoil", 10) {
	case 4:
		b.Digest = ""
	case 5, 6:
		if len(p.digests) > 0 {
			b.Digest = p.digests[p.pick("digest", len(p.digests))]
		}
	case 7:
		b.Revision--
	case 8:
		b.DecidedAt = b.WrittenAt.Add(-time.Second)
	case 9:
		b.Decision = ops.Refused
	}
	p.seen = append(p.seen, b)
	p.say(c.Subject(), b)
}

// offer tells a window that somebody gave in a ticket, or a cancelled ticket.
func (p *players) offer() {
	c, ok := p.someChange(ops.ChangeAuthorize, ops.ChangeScheduled, ops.ChangeAssess)
	if !ok {
		return
	}
	who := "mia"
	if n := p.pick("person", 2*len(crew)); n < len(crew) {
		who = crew[n].Name
	}
	if p.pick("withdraw", 5) == 4 {
		p.say(c.Subject(), ops.WithdrawalSeenBody{ChangeID: c.ID, Platform: "snow", Person: who, At: p.now})
		return
	}
	start := p.now.Truncate(time.Hour).Add(time.Duration(p.pick("in", 12)) * time.Hour)
	p.say(c.Subject(), ops.WindowOfferedBody{ChangeID: c.ID, Platform: "snow", Person: who, Start: start, End: start.Add(time.Duration(p.pick("for", 6)) * time.Hour)})
}

// breakGlass has one or two persons override a freeze, and sometimes somebody
// who may not.
func (p *players) breakGlass() {
	c, ok := p.someChange(ops.ChangeAuthorize, ops.ChangeScheduled)
	if !ok {
		return
	}
	freeze := []string{"freeze", "freeze", "short"}[p.pick("freeze", 3)]
	for range 1 + p.pick("pair", 2) {
		by := crew[p.pick("who", len(crew))]
		if p.pick("commander", 2) == 0 {
			by = p.people[[]string{"ivo", "ida"}[p.pick("which", 2)]]
		}
		p.storm()
		_, _ = p.room.BreakGlass(p.ctx, by, c.ID, freeze, "it burns")
	}
	p.observe()
}

func (p *players) sign() {
	if c, ok := p.someChange(ops.ChangeReview); ok {
		p.storm()
		_, _ = p.room.SignReview(p.ctx, crew[p.pick("who", len(crew))], c.ID, "it was right")
		p.observe()
	}
}

func (p *players) pressSwitch() {
	by := crew[p.pick("who", len(crew))]
	p.storm()
	if p.pick("stop", 3) == 2 {
		_ = p.room.StopExecution(p.ctx, by, "smoke")
	} else {
		_ = p.room.ResumeExecution(p.ctx, by, "aired")
	}
	p.observe()
}

// pass lets time go by; wake-ups that fall due are carried out on the way, or
// late when the process was down. Sometimes the clock is set back.
func (p *players) pass() {
	switch p.pick("to", 8) {
	case 0, 1, 2:
		p.now = p.now.Truncate(24 * time.Hour).Add(26 * time.Hour) // the window
	case 3:
		p.now = at("2026-11-23T02:30:00Z") // the freeze
	case 4:
		p.now = p.now.Add(-[]time.Duration{time.Second, time.Hour, 25 * time.Hour}[p.pick("back", 3)])
	default:
		p.now = p.now.Add([]time.Duration{time.Second, time.Minute, 20 * time.Minute, 3 * time.Hour, 30 * time.Hour}[p.pick("pass", 5)])
	}
	p.wake()
}

func (p *players) wake() {
	for i := 0; i < len(p.commands); i++ {
		c := p.commands[i]
		if c.Kind != ops.WakeChange || c.At.After(p.now) {
			continue
		}
		p.storm()
		err := p.handlers[ops.WakeChange](p.ctx, c)
		if errors.Is(err, errCrash) {
			p.restart()
			err = p.handlers[ops.WakeChange](p.ctx, c)
		}
		if err != nil && !snoozed(err) {
			p.fail("wake %s: %w", c.Subject, err)
		}
		p.commands[i].Kind = "done"
		p.done = append(p.done, c)
		p.observe()
	}
}

func snoozed(err error) bool { return strings.Contains(err.Error(), "not due yet") }

// again delivers a fact or a command that came before once more.
func (p *players) again() {
	if len(p.heard) > 0 && p.pick("fact or command", 2) == 0 {
		p.listen(p.heard[p.pick("fact", len(p.heard))])
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
	p.calm()
	if err := p.handlers[ops.WakeChange](p.ctx, c); err != nil && !snoozed(err) {
		p.fail("wake %s again: %w", c.Subject, err)
	}
	p.observe()
}

func (p *players) measure() {
	v := []float64{0.95, 0.85, 0.5}[p.pick("measured", 3)]
	if p.value = &v; p.pick("unknown", 2) == 0 {
		p.value = nil
	}
}

// replay folds every change's facts and compares with what is stored.
func (p *players) replay() {
	all, err := p.store.Changes(p.ctx, ops.ChangeFilter{Limit: 10_000})
	if err != nil {
		p.fail("%w", err)
	}
	for _, stored := range all {
		var folded ops.Change
		for _, f := range p.facts(stored.ID) {
			if folded, err = change.Fold(folded, f); err != nil {
				p.fail("%w", err)
			}
		}
		stored.Version, folded.Version = 0, 0
		a, _ := json.Marshal(stored)
		b, _ := json.Marshal(folded)
		if string(a) != string(b) {
			p.fail("safety property 5 is broken: the facts of %s fold to\n%s\nand the store has\n%s", stored.Key(), b, a)
		}
	}
}

// drain leaves everything to the clock: nobody presses a button and the
// executor is gone. Every change must end; only the review after broken glass
// waits for a person, who comes.
func (p *players) drain() {
	p.calm()
	if err := p.room.ResumeExecution(p.ctx, manager, "drain"); err != nil {
		p.fail("%w", err)
	}
	p.coarse = true
	p.restart() // nobody watches: coarser steps reach the end sooner
	for range 3000 {
		p.observe()
		if len(p.oracle.Unended()) == 0 {
			return
		}
		for c, ok := p.someChange(ops.ChangeReview); ok; c, ok = p.someChange(ops.ChangeReview) {
			_, one := p.room.SignReview(p.ctx, p.people["tom"], c.ID, "right")
			_, two := p.room.SignReview(p.ctx, p.people["uma"], c.ID, "right")
			if one != nil && two != nil {
				p.fail("safety property 5 is broken: nobody can sign the review of %s: %w, %w", c.Key(), one, two)
			}
			p.observe()
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
		p.wake()
	}
	for _, id := range p.oracle.Unended() {
		c := p.change(id)
		p.fail("safety property 5 is broken: %s never ends; it is %s, waiting: %s", c.Key(), c.State, c.Waiting)
	}
}

// push brings one change on by what it waits for, so that enough get far.
func (p *players) push() {
	c, ok := p.someChange(ops.ChangeAssess, ops.ChangeAuthorize, ops.ChangeScheduled, ops.ChangeImplement)
	if !ok {
		return
	}
	mine := slices.IndexFunc(p.pending, func(o ops.Command) bool { return o.Subject == c.Subject() })
	switch {
	case mine >= 0:
		order := p.pending[mine]
		p.pending = slices.Delete(p.pending, mine, mine+1)
		p.done = append(p.done, order)
		p.carryOut(order)
	case c.State == ops.ChangeAuthorize:
		p.approveIt(c)
	case c.State == ops.ChangeScheduled && c.Window != nil && p.now.Before(c.Window.Start):
		p.now = c.Window.Start
		p.wake()
	case c.State == ops.ChangeImplement:
		p.judge()
	default:
		p.wake()
	}
}

// actions are what the players do, as often as they are listed.
func (p *players) actions() []func() {
	return []func(){
		p.alertSomething, p.alertSomething, p.raise, p.raise, p.execute, p.execute, p.execute, p.execute, p.judge, p.judge, p.press, p.press,
		p.approve, p.approve, p.approve, p.platform, p.platform, p.platform, p.offer, p.breakGlass, p.breakGlass, p.sign, p.edit, p.pressSwitch,
		p.pass, p.pass, p.pass, p.pass, p.again, p.deliver, p.measure, p.restart,
		p.push, p.push, p.push, p.push, p.push, p.push, p.push, p.push,
	}
}

// caught runs f and returns the violation it ends with.
func caught(f func()) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case violation:
			err = v.error
		default:
			panic(v)
		}
	}()
	f()
	return nil
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

// On the real store, few and shrinking.
func TestSafetyPropertiesOnTheStore(t *testing.T) {
	h := newHouse(t, testConfig())
	laws := newLaws(t)
	checks := "10"
	if peer.Proving() {
		checks = "50"
	}
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.steps": "60", "rapid.checks": checks} {
		if given[name] {
			continue
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		wipe(t, h)
		p := newPlayers(h, rapidDice{r}, laws[rapid.IntRange(0, len(laws)-1).Draw(r, "law")], "")
		actions := map[string]func(*rapid.T){}
		for i, f := range p.actions() {
			actions[fmt.Sprintf("%02d", i)] = func(*rapid.T) { f() }
		}
		if err := caught(func() { r.Repeat(actions); p.replay(); p.drain(); p.replay() }); err != nil {
			r.Fatal(err)
		}
	})
}

// steps is how long one sequence is.
const steps = 40

// play plays one sequence from a seed, and now and then to its end.
func play(t testing.TB, laws []*law, seed uint64, broken string) (*players, error) {
	h := newEmptyHouse(t, laws[0].config)
	m := newMemory(func() time.Time { return h.now })
	m.lax = broken != ""
	h.db, h.store = m, m
	p := newPlayers(h, plainDice{rand.New(rand.NewPCG(seed, 1))}, laws[seed%uint64(len(laws))], broken)
	actions := p.actions()
	err := caught(func() {
		for range steps {
			actions[p.pick("action", len(actions))]()
		}
		if seed%8 == 0 {
			p.replay()
			p.drain()
			p.replay()
		}
	})
	return p, err
}

// TestSafetyProperties plays thousands of sequences of facts and of what
// people do, with crashes, repetitions, delays and clocks that jump, and has
// every fact and command judged by the oracle: 1,000 in the quick test,
// FETTLE_SEQUENCES (100,000) with FETTLE_PROVE=1. FETTLE_SEED plays one again.
func TestSafetyProperties(t *testing.T) {
	n, first := 1_000, uint64(1)
	if peer.Proving() {
		n = 100_000
		// What is kept is small: most collections would be for nothing.
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(512 << 20))
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
	}
	if s, err := strconv.Atoi(os.Getenv("FETTLE_SEQUENCES")); err == nil {
		n = s
	}
	if s, err := strconv.ParseUint(os.Getenv("FETTLE_SEED"), 10, 64); err == nil {
		first, n = s, 1
	}
	laws := newLaws(t)
	var next atomic.Uint64
	next.Store(first)
	var mu sync.Mutex
	outcomes, runs, facts, failed := map[ops.Outcome]int{}, 0, 0, false
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				seed := next.Add(1) - 1
				mu.Lock()
				stop := failed || seed >= first+uint64(n)
				mu.Unlock()
				if stop {
					return
				}
				p, err := play(t, laws, seed, "")
				mu.Lock()
				if err != nil {
					failed = true
					t.Errorf("sequence %d (FETTLE_SEED=%d): %v", seed, seed, err)
				}
				for o, n := range p.oracle.Outcomes() {
					outcomes[o] += n
				}
				runs += p.oracle.Runs()
				facts += int(p.lastFact)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d sequences, %d facts, %d runs, %v", n, facts, runs, outcomes)
	// A property that nothing ever came near proves nothing.
	if n >= 1000 && (runs < n/4 || len(outcomes) < 8) {
		t.Errorf("%d runs and the outcomes %v: the players are too tame", runs, outcomes)
	}
}
