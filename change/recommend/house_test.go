package recommend_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/recommend"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// house is the placer and the gate on a real store, with a queue, a producer
// and a clock that the test turns by hand.
type house struct {
	t      testing.TB
	ctx    context.Context
	db     *db.DB
	store  *store.Store
	gate   *change.Room
	placer *recommend.Placer
	now    time.Time
	// fail makes the n-th write of a recommendation from here on fail, as when
	// the power goes; 0: none does.
	fail int
	// asked answers for the producer.
	asked func(r ops.Recommendation) (recommend.Told, error)

	config    recommend.Config
	listeners map[ops.FactKind]job.Listener
	handlers  map[ops.CommandKind]job.Handler
	every     map[string]func(context.Context) error
	commands  []ops.Command
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func rules() recommend.Config {
	low := 0.1
	return recommend.Config{
		Rules: []recommend.Rule{
			{Name: "asked", Match: `recommendation.tags.env == "prod"`, Executor: "host", Action: "resize", Args: []string{"${resource}", "${recommended}"}},
			{Name: "by itself", Match: `recommendation.service == "ec2" && !recommendation.recommended.type.startsWith("z")`, Executor: "host", Action: "resize", Args: []string{"${resource}", "${recommended}"}, Type: ops.ChangeStandard, Risk: &low},
		},
		Prices: []recommend.Price{{Service: "ec2", Type: "a", PerHour: 0.2, Currency: "USD"}, {Service: "ec2", Type: "b", PerHour: 0.1, Currency: "USD"}},
	}
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, ctx: context.Background(), now: at("2026-11-21T10:00:00Z"), config: rules()}
	d := schema.Open(t)
	h.db, h.store = d, store.New(d, func() time.Time { return h.now })
	h.restart()
	return h
}

// restart builds both rooms anew on what the store holds.
func (h *house) restart() {
	h.t.Helper()
	h.listeners, h.handlers, h.every = map[ops.FactKind]job.Listener{}, map[ops.CommandKind]job.Handler{}, map[string]func(context.Context) error{}
	now := func() time.Time { return h.now }
	var err error
	never := 2.0 // one approver is enough here, although nobody knows the risk
	h.gate, err = change.New(change.Config{
		FourEyesFrom: &never,
		Windows:      []ops.Window{{Name: "night", Schedule: "cron(0 2 * * ? *)", Duration: 4 * time.Hour, TimeZone: "UTC"}},
		Approval:     []change.ApprovalRule{{Match: `change.type == "standard"`, Automatically: true}},
		Limits:       change.Limits{Count: 1000, BlastRadius: 100},
		Executors:    []change.Executor{{Name: "host", Apply: time.Minute, Rollback: time.Minute}},
	}, change.Deps{DB: h.db, Rows: h.store, Ledger: h.store, Queue: h, Inventory: h.store, Incidents: h.store, Clock: now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.placer, err = recommend.New(h.config, recommend.Deps{
		DB: h.db, Log: h.store, Rows: rows{h.store, h}, Ledger: h.store, Gate: h.gate, Inventory: h.store, Tickets: h.store, Queue: h,
		Ask: func(_ context.Context, r ops.Recommendation) (recommend.Told, error) { return h.asked(r) },
		Keep: func(_ context.Context, _ db.Tx, report []byte) (string, error) {
			return "digest of " + string(report), nil
		},
		Clock: now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.gate.OnEnd(h.placer.Settle)
	h.gate.Register(h)
	h.placer.Register(h)
}

// rows is the store with a fault that can be switched on.
type rows struct {
	*store.Store
	h *house
}

var errPower = errors.New("the power is gone")

func (r rows) SaveRecommendation(ctx context.Context, tx db.Tx, x ops.Recommendation) error {
	if r.h.fail > 0 {
		if r.h.fail--; r.h.fail == 0 {
			return errPower
		}
	}
	return r.Store.SaveRecommendation(ctx, tx, x)
}

func (h *house) Enqueue(_ context.Context, tx db.Tx, commands ...ops.Command) error {
	commands = slices.Clone(commands)
	tx.AfterCommit(func() { h.commands = append(h.commands, commands...) })
	return nil
}

func (h *house) Handle(k ops.CommandKind, f job.Handler)       { h.handlers[k] = f }
func (h *house) Hear(_ string, k ops.FactKind, l job.Listener) { h.listeners[k] = l }
func (h *house) Every(name string, _ time.Duration, f func(ctx context.Context) error) {
	h.every[name] = f
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// append puts a message into the signal log.
func (h *house) append(dedupe string, signals ...ops.Signal) {
	h.t.Helper()
	h.must(h.db.Write(h.ctx, func(tx db.Tx) error {
		_, err := h.store.AppendSignals(h.ctx, tx, ops.Message{Integration: "d", Source: "densify", Dedupe: dedupe, Signals: signals, Raw: []byte("[]")})
		return err
	}))
}

// deliver appends recommendations and has the placer take them in.
func (h *house) deliver(list ...ops.Recommendation) {
	h.t.Helper()
	var signals []ops.Signal
	for _, r := range list {
		signals = append(signals, ops.Signal{Recommendation: &r})
	}
	h.append("", signals...)
	h.catchUp()
}

func (h *house) catchUp() {
	h.t.Helper()
	for {
		n, err := h.placer.CatchUp(h.ctx)
		if errors.Is(err, errPower) {
			h.restart()
			continue
		}
		h.must(err)
		if n == 0 {
			return
		}
	}
}

func insight(key, from, to string) ops.Recommendation {
	return ops.Recommendation{
		Integration: "d", Producer: ops.ProducerDensify, EntityID: "e-" + key, Account: "1", Region: "us-east-1", Service: ops.ServiceEC2, ResourceKey: key, Name: "host " + key,
		Resource: ops.ResourceRef{Kind: "host", Name: "host " + key, Aliases: []string{ops.Alias("arn", "aws:ec2:us-east-1:1:instance/"+key)}},
		Current:  ops.Values{Type: from}, Recommended: ops.Values{Type: to}, Kind: "Downsize", Saving: &ops.Saving{Amount: 73, Currency: "USD", Per: "month"},
	}
}

func (h *house) all() []ops.Recommendation {
	h.t.Helper()
	list, err := h.store.Recommendations(h.ctx, ops.RecommendationFilter{Limit: 100000})
	h.must(err)
	slices.Reverse(list)
	return list
}

func (h *house) changes() []ops.Change {
	h.t.Helper()
	list, err := h.store.Changes(h.ctx, ops.ChangeFilter{Limit: 100000})
	h.must(err)
	slices.Reverse(list)
	return list
}

func (h *house) get(key string) ops.Recommendation {
	h.t.Helper()
	r, err := h.store.Recommendation(h.ctx, key)
	h.must(err)
	return r
}

func (h *house) want(key string, state ops.RecommendationState, why string) ops.Recommendation {
	h.t.Helper()
	r := h.get(key)
	if r.State != state || !contains(r.Why, why) {
		h.t.Fatalf("%s is %s because %q, want %s because %q", key, r.State, r.Why, state, why)
	}
	return r
}

func (h *house) change(key string, state ops.ChangeState, outcome ops.Outcome) ops.Change {
	h.t.Helper()
	c, err := h.store.Change(h.ctx, key)
	h.must(err)
	if c.State != state || c.Outcome != outcome {
		h.t.Fatalf("%s is %s %s, want %s %s", key, c.State, c.Outcome, state, outcome)
	}
	return c
}

func (h *house) tell(subject string, body ops.FactBody) {
	h.t.Helper()
	var told []ops.Fact
	h.must(h.db.Write(h.ctx, func(tx db.Tx) (err error) {
		told, err = h.store.Tell(h.ctx, tx, ops.NewFact(subject, h.now, ops.SystemPrincipal, "", body))
		return err
	}))
	if l := h.listeners[told[0].Kind]; l != nil {
		h.must(h.db.Write(h.ctx, func(tx db.Tx) error { return l(h.ctx, tx, told[0]) }))
	}
}

// planned has the executor plan a change.
func (h *house) planned(key string) {
	h.t.Helper()
	c := h.change(key, ops.ChangeAssess, "")
	p := ops.Plan{
		ID: fmt.Sprintf("%s-plan-%d", c.ID, c.Revision), ChangeID: c.ID, Revision: c.Revision, Executor: c.Executor, Tool: "command", Target: c.Resource,
		Actions: []ops.PlanAction{{Resource: c.Resource, Verb: "run", Args: c.Args}}, ApplySecs: 60, Text: "+ " + c.Action,
	}
	p.Digest = p.ComputeDigest()
	h.tell(c.Subject(), ops.PlanMadeBody{Plan: p})
}

// wake carries out every WakeChange whose time has come.
func (h *house) wake() {
	h.t.Helper()
	for i := 0; i < len(h.commands); i++ {
		if c := h.commands[i]; c.Kind == ops.WakeChange && !c.At.After(h.now) {
			h.commands[i].Kind = "done"
			h.must(h.handlers[ops.WakeChange](h.ctx, c))
		}
	}
}

// started brings a standard change to its run, in the next night.
func (h *house) started(key string) ops.Change {
	h.t.Helper()
	h.planned(key)
	c := h.change(key, ops.ChangeScheduled, "")
	h.now = c.Window.Start
	h.wake()
	return h.change(key, ops.ChangeImplement, "")
}

// finished ends a run with a verdict.
func (h *house) finished(key string, word ops.VerdictWord) ops.Change {
	h.t.Helper()
	c := h.change(key, ops.ChangeImplement, "")
	h.tell(c.Subject(), ops.RunAppliedBody{Run: ops.Run{ID: c.Run.ID}})
	h.tell(c.Subject(), ops.VerdictGivenBody{Verdict: ops.Verdict{RunID: c.Run.ID, Word: word, Why: "latency rose"}})
	c, err := h.store.Change(h.ctx, key)
	h.must(err)
	return c
}

// orders returns the commands of a kind that wait.
func (h *house) orders(kind ops.CommandKind) (out []ops.Command) {
	for _, c := range h.commands {
		if c.Kind == kind {
			out = append(out, c)
		}
	}
	return out
}

// sound checks what holds whatever happens.
func (h *house) sound() error {
	live := map[string]string{}    // identity to change
	carried := map[string]string{} // change to recommendation
	for _, r := range h.all() {
		if r.State == ops.RecommendationPlaced {
			carried[r.ChangeID] = r.ID
		}
	}
	byID := map[string]ops.Recommendation{}
	for _, r := range h.all() {
		byID[r.ID] = r
		if r.Why == "" {
			return fmt.Errorf("%s is %s and does not say why", r.Key(), r.State)
		}
	}
	for _, c := range h.changes() {
		if c.State.Terminal() {
			if r, ok := carried[c.ID]; ok {
				return fmt.Errorf("%s has ended and %s is still placed in it", c.Key(), byID[r].Key())
			}
			continue
		}
		identity := byID[c.RecommendationID].Identity()
		if other, twice := live[identity]; twice {
			return fmt.Errorf("%s and %s are both live for %s", other, c.Key(), identity)
		}
		live[identity] = c.Key()
		if carried[c.ID] != c.RecommendationID {
			return fmt.Errorf("%s is live and its recommendation %s is %s", c.Key(), byID[c.RecommendationID].Key(), byID[c.RecommendationID].State)
		}
	}
	return nil
}
