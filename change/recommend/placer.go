package recommend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// Log is the part of the signal log that is about recommendations, and this
// room's place in it.
type Log interface {
	FollowAdvice(ctx context.Context, after int64, limit int) ([]ops.Message, error)
	Cursor(ctx context.Context, name string) (int64, error)
	MoveCursor(ctx context.Context, tx db.Tx, name string, from, to int64) error
}

// Rows are the room's own records.
type Rows interface {
	RecommendationsOf(ctx context.Context, tx db.Tx, identity string) (placed, waiting, last *ops.Recommendation, err error)
	RecommendationIn(ctx context.Context, tx db.Tx, idOrKey string) (ops.Recommendation, error)
	RecommendationOfChange(ctx context.Context, tx db.Tx, changeID string) (ops.Recommendation, error)
	PlacedAt(ctx context.Context, tx db.Tx, h ops.Hint) ([]ops.Recommendation, error)
	SaveRecommendation(ctx context.Context, tx db.Tx, r ops.Recommendation) error
	Recommendation(ctx context.Context, idOrKey string) (ops.Recommendation, error)
	DueRecommendations(ctx context.Context, now time.Time, limit int) ([]string, error)
	PostponeRecommendation(ctx context.Context, tx db.Tx, id string, due time.Time) error
	ReconsiderRecommendations(ctx context.Context, tx db.Tx, now time.Time) error
	LoadChange(ctx context.Context, tx db.Tx, idOrKey string) (ops.Change, ops.Plan, time.Time, error)
}

// Ledger records facts and hands out ids and numbers.
type Ledger interface {
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
	NextNumber(ctx context.Context, tx db.Tx, kind string) (int64, error)
	NewID() string
}

// Gate raises and ends changes in the caller's transaction.
type Gate interface {
	RaiseIn(ctx context.Context, tx db.Tx, by ops.Principal, c ops.Change, why, cause string) (ops.Change, error)
	EndIn(ctx context.Context, tx db.Tx, by ops.Principal, id string, outcome ops.Outcome, why string) (ops.Change, error)
}

// Inventory gives the resources that recommendations are about.
type Inventory interface {
	ResolveResources(ctx context.Context, tx db.Tx, refs []ops.ResourceRef) ([]string, error)
	ResourceIn(ctx context.Context, tx db.Tx, id string) (ops.Resource, error)
}

// Tickets tells in which tickets a change stands.
type Tickets interface {
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
}

// Told is what a producer said when it was asked.
type Told struct {
	Recommendation ops.Recommendation // with what was wanted
	Report         []byte             // PDF; nil: none
	Note           string             // what could not be had and is not needed
}

// Deps is what the room works with.
type Deps struct {
	DB        *db.DB
	Log       Log
	Rows      Rows
	Ledger    Ledger
	Gate      Gate
	Inventory Inventory
	Tickets   Tickets
	Queue     job.Enqueuer
	// Ask asks the producer of a recommendation for what it wants.
	Ask func(ctx context.Context, r ops.Recommendation) (Told, error)
	// Keep keeps a report and returns its digest.
	Keep func(ctx context.Context, tx db.Tx, report []byte) (digest string, err error)
	// Uptime returns which share of a span a resource was seen to run; nil, or
	// false: nobody watches it.
	Uptime func(ctx context.Context, resourceID string, from, to time.Time) (share float64, known bool)
	Clock  clock.Clock
	Logger *slog.Logger
}

// Placer keeps recommendations and places them. It is safe for concurrent use.
type Placer struct {
	Deps
	rules atomic.Pointer[Rules]
	wake  chan struct{}
}

// New returns the placer. Nothing runs before Run. The error wraps
// ops.ErrInvalid and names every fault of the configuration.
func New(c Config, d Deps) (*Placer, error) {
	p := &Placer{Deps: d, wake: make(chan struct{}, 1)}
	p.Logger = d.Logger.With(slog.String("room", "change"))
	r, err := Compile(c)
	if err != nil {
		return nil, err
	}
	p.rules.Store(r)
	return p, nil
}

// Register names the placer's work to the queue.
func (p *Placer) Register(reg job.Registrar) {
	reg.Handle(ops.AskProducer, p.ask)
	reg.Every("recommend.due", time.Minute, p.sweep)
}

// Wake tells the placer that the log has grown. It never blocks.
func (p *Placer) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Placer) now() time.Time { return p.Clock().UTC().Truncate(time.Millisecond) }

const (
	cursor = "recommend"
	// batch bounds the messages that are read at once, and chunk the
	// recommendations of one transaction, so that a whole estate's array does not
	// hold up every other write.
	batch = 20
	chunk = 100
	// reconsider is how soon one that no rule placed is looked at again: labels
	// of its resource may have changed.
	reconsider = time.Hour
)

// Run follows the log until ctx ends.
//
// With several replicas each runs this loop; every transaction holds the
// cursor, so that of two that work on one message only one commits.
func (p *Placer) Run(ctx context.Context) error {
	poll := time.Second // what another replica took in
	if p.DB.Engine() == db.SQLite {
		poll = 15 * time.Second // there is none, and whoever adds to the log wakes us
	}
	if err := p.DB.Write(ctx, func(tx db.Tx) error { return p.Rows.ReconsiderRecommendations(ctx, tx, p.now()) }); err != nil && ctx.Err() == nil {
		return err
	}
	for {
		n, err := p.CatchUp(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, ops.ErrConflict) {
			p.Logger.LogAttrs(ctx, slog.LevelError, "recommendations not taken in", slog.Any("error", err))
		}
		if err == nil && n == batch {
			continue
		}
		again := poll
		if err != nil {
			again = time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-time.After(again):
		}
	}
}

// CatchUp takes in at most one batch of messages and returns how many there
// were. What it had committed before an error stays.
func (p *Placer) CatchUp(ctx context.Context) (int, error) {
	at, err := p.Log.Cursor(ctx, cursor)
	if err != nil {
		return 0, fmt.Errorf("recommend: read the cursor: %w", err)
	}
	messages, err := p.Log.FollowAdvice(ctx, at, batch)
	if err != nil {
		return 0, fmt.Errorf("recommend: read the log: %w", err)
	}
	for _, m := range messages {
		if err := p.message(ctx, at, m); err != nil {
			return 0, fmt.Errorf("recommend: message %d: %w", m.Seq, err)
		}
		at = m.Seq
	}
	return len(messages), nil
}

// message takes in one message, a chunk per transaction. All but the last leave
// the cursor where it is and hold it there; after a crash between two the whole
// message is read again, and what was taken in already says nothing new then.
func (p *Placer) message(ctx context.Context, from int64, m ops.Message) error {
	for rest := m.Signals; ; {
		n := min(chunk, len(rest))
		part, to := rest[:n], from
		if rest = rest[n:]; len(rest) == 0 {
			to = m.Seq
		}
		err := p.DB.Write(ctx, func(tx db.Tx) error {
			if err := p.Log.MoveCursor(ctx, tx, cursor, from, to); err != nil {
				return err
			}
			pulled := map[string]bool{}
			for _, s := range part {
				var err error
				switch {
				case s.Recommendation != nil:
					err = p.take(ctx, tx, *s.Recommendation, m.RecordedAt)
				case s.Hint != nil:
					err = p.hint(ctx, tx, *s.Hint, pulled)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(rest) == 0 {
			return err
		}
	}
}

// hint has the tickets of the change it may mean read again. That is all: what
// a stranger says about an approval is none.
func (p *Placer) hint(ctx context.Context, tx db.Tx, h ops.Hint, pulled map[string]bool) error {
	found, err := p.Rows.PlacedAt(ctx, tx, h)
	if err != nil {
		return err
	}
	for _, r := range found {
		if h.Accounts != nil && !slices.Contains(h.Accounts, r.Account) {
			continue
		}
		tickets, err := p.Tickets.TicketsAbout(ctx, ops.ChangeSubject(r.ChangeID))
		if err != nil {
			return err
		}
		for _, t := range tickets {
			if pulled[t.Platform] {
				continue
			}
			pulled[t.Platform] = true
			if err := p.Queue.Enqueue(ctx, tx, ops.Command{Kind: ops.PullPlatform, Subject: "platform/" + t.Platform}); err != nil {
				return err
			}
		}
	}
	return nil
}

// take carries out what Decide decides about one delivery.
func (p *Placer) take(ctx context.Context, tx db.Tx, in ops.Recommendation, at time.Time) error {
	rules, now := p.rules.Load(), p.now()
	s, err := p.standing(ctx, tx, in.Identity())
	if err != nil {
		return err
	}
	d := rules.Decide(s, in, now)
	if d.Regressed != nil {
		r := *d.Regressed
		regress(&r, fmt.Sprintf("it is %s again", r.Current), now)
		if err := p.save(ctx, tx, &r); err != nil {
			return err
		}
	}
	if d.Retire != nil {
		to := ops.RecommendationSuperseded
		if in.Gone != "" {
			to = ops.RecommendationWithdrawn
		}
		if err := p.end(ctx, tx, *d.Retire, to, "", d.Why, in.Gone); err != nil {
			return err
		}
	}
	switch d.Verb {
	case Ignore:
		return p.seen(ctx, tx, d.Target, at)
	case Retag:
		return p.retag(ctx, tx, *d.Target, d.In, at)
	case Withdraw:
		return p.withdraw(ctx, tx, s, d)
	case Restart:
		if err := p.give(ctx, tx, *s.Placed, ops.RecommendationSuperseded, ops.Superseded, d.Why, ""); err != nil {
			return err
		}
	}
	r := d.In
	r.ID, r.State, r.FirstSeen, r.LastSeen = p.Ledger.NewID(), ops.RecommendationNew, at, at
	r.Why = d.Why
	if known := before(s); known != nil {
		r.Supersedes = known.Key()
	}
	if r.Number, err = p.Ledger.NextNumber(ctx, tx, "recommendation"); err != nil {
		return err
	}
	if d.Verb == Hold {
		return p.move(ctx, tx, &r, "", d.Why, "")
	}
	if err := p.move(ctx, tx, &r, "", d.Why, ""); err != nil {
		return err
	}
	return p.consider(ctx, tx, r)
}

// before returns what a new recommendation takes the place of.
func before(s Standing) *ops.Recommendation {
	if s.Placed != nil {
		return s.Placed
	}
	return s.Waiting
}

func (p *Placer) standing(ctx context.Context, tx db.Tx, identity string) (s Standing, err error) {
	if s.Placed, s.Waiting, s.Last, err = p.Rows.RecommendationsOf(ctx, tx, identity); err != nil || s.Placed == nil {
		return s, err
	}
	s.Change, _, _, err = p.Rows.LoadChange(ctx, tx, s.Placed.ChangeID)
	return s, err
}

// seen notes that a recommendation came again. One whose producer was asked in
// vain is asked anew.
func (p *Placer) seen(ctx context.Context, tx db.Tx, target *ops.Recommendation, at time.Time) error {
	if target == nil {
		return nil
	}
	r := *target
	if at.After(r.LastSeen) {
		r.LastSeen = at
	}
	if r.Wants != "" && r.Asked >= maxAsks && r.State.Live() {
		r.Asked = 0
		if err := p.order(ctx, tx, r); err != nil {
			return err
		}
	}
	return p.save(ctx, tx, &r)
}

// retag takes over what a delivery says beside the types.
func (p *Placer) retag(ctx context.Context, tx db.Tx, known, in ops.Recommendation, at time.Time) error {
	r := in
	r.ID, r.Number, r.State, r.Why, r.Rule = known.ID, known.Number, known.State, known.Why, known.Rule
	r.ChangeID, r.Change, r.Outcome, r.Supersedes, r.ResourceID, r.Report = known.ChangeID, known.Change, known.Outcome, known.Supersedes, known.ResourceID, known.Report
	r.Asked, r.DueAt, r.FirstSeen, r.LastSeen, r.EndedAt, r.Realised, r.Version = known.Asked, known.DueAt, known.FirstSeen, at, known.EndedAt, known.Realised, known.Version
	if err := p.save(ctx, tx, &r); err != nil || !r.State.Live() || r.ChangeID != "" {
		return err // what it carries, or what rests after its change expired, is not placed anew
	}
	s, err := p.standing(ctx, tx, r.Identity())
	if err != nil || s.Placed != nil {
		return err // it waits for that one's change, not for tags
	}
	if r.Wants != "" && r.Asked >= maxAsks {
		r.Asked = 0
	}
	return p.consider(ctx, tx, r)
}

// withdraw ends what is live because its producer takes it back.
func (p *Placer) withdraw(ctx context.Context, tx db.Tx, s Standing, d Decision) error {
	if s.Waiting != nil {
		if err := p.end(ctx, tx, *s.Waiting, ops.RecommendationWithdrawn, "", d.Why, d.In.Gone); err != nil {
			return err
		}
	}
	if s.Placed == nil {
		return nil
	}
	return p.give(ctx, tx, *s.Placed, ops.RecommendationWithdrawn, ops.Withdrawn, d.Why, d.In.Gone)
}

// give ends a placed recommendation and then its change, in this order: what
// hears of the change's end finds a recommendation that has ended.
func (p *Placer) give(ctx context.Context, tx db.Tx, r ops.Recommendation, to ops.RecommendationState, outcome ops.Outcome, why, gone string) error {
	by := Rule{Name: r.Rule}.Principal()
	if err := p.end(ctx, tx, r, to, outcome, why, gone); err != nil {
		return err
	}
	_, err := p.Gate.EndIn(ctx, tx, by, r.ChangeID, outcome, fmt.Sprintf("%s: %s", r.Key(), why))
	return err
}

// end moves a recommendation to a state in which nothing comes of it any more.
func (p *Placer) end(ctx context.Context, tx db.Tx, r ops.Recommendation, to ops.RecommendationState, outcome ops.Outcome, why, gone string) error {
	from := r.State
	r.State, r.Outcome, r.EndedAt, r.DueAt, r.Gone = to, outcome, p.now(), time.Time{}, gone
	return p.move(ctx, tx, &r, from, why, "")
}

// consider places a recommendation, or keeps it and says why not. It is in the
// store already and has no live change.
func (p *Placer) consider(ctx context.Context, tx db.Tx, r ops.Recommendation) error {
	from := r.State
	if r.Wants != "" && r.Fault == "" {
		if r.Asked > 0 {
			return nil // the next question is queued
		}
		r.Why = "it waits for " + r.Wants
		if r.State == ops.RecommendationUnplaced {
			r.Why = "it lacks " + r.Wants
		}
		if err := p.order(ctx, tx, r); err != nil {
			return err
		}
		return p.save(ctx, tx, &r)
	}
	var res ops.Resource
	if r.Fault == "" {
		ids, err := p.Inventory.ResolveResources(ctx, tx, []ops.ResourceRef{r.Resource})
		if err != nil {
			return err
		}
		if r.ResourceID = ids[0]; r.ResourceID != "" {
			if res, err = p.Inventory.ResourceIn(ctx, tx, r.ResourceID); err != nil {
				return err
			}
		}
	}
	rule, c, why, ok := p.rules.Load().Place(r, res)
	if !ok {
		if r.Fault == "" {
			r.DueAt = p.now().Add(reconsider)
		}
		if from == ops.RecommendationUnplaced && r.Why == why {
			return p.save(ctx, tx, &r) // nothing new to tell
		}
		r.State = ops.RecommendationUnplaced
		return p.move(ctx, tx, &r, from, why, "")
	}
	raised, err := p.Gate.RaiseIn(ctx, tx, rule.Principal(), c, why, "")
	if err != nil {
		return fmt.Errorf("%s: %w", r.Key(), err)
	}
	r.State, r.Rule, r.ChangeID, r.Change, r.DueAt, r.Outcome = ops.RecommendationPlaced, rule.Name, raised.ID, raised.Key(), time.Time{}, ""
	return p.move(ctx, tx, &r, from, why, "")
}

// order has the producer asked.
func (p *Placer) order(ctx context.Context, tx db.Tx, r ops.Recommendation) error {
	return p.Queue.Enqueue(ctx, tx, ops.NewCommand(ops.AskProducer, r.Subject(), ops.AskProducerBody{RecommendationID: r.ID}))
}

// save writes a recommendation and moves its version on.
func (p *Placer) save(ctx context.Context, tx db.Tx, r *ops.Recommendation) error {
	r.UpdatedAt = p.now()
	if err := p.Rows.SaveRecommendation(ctx, tx, *r); err != nil {
		return err
	}
	r.Version++
	return nil
}

// move writes a recommendation that changed its state, and tells of it.
func (p *Placer) move(ctx context.Context, tx db.Tx, r *ops.Recommendation, from ops.RecommendationState, why, via string) error {
	return p.moveBy(ctx, tx, ops.SystemPrincipal, r, from, why, via)
}

func (p *Placer) moveBy(ctx context.Context, tx db.Tx, by ops.Principal, r *ops.Recommendation, from ops.RecommendationState, why, via string) error {
	r.Why = why
	if err := p.save(ctx, tx, r); err != nil {
		return err
	}
	told := *r
	told.Raw, told.Version = nil, 0
	_, err := p.Ledger.Tell(ctx, tx, ops.NewFact(r.Subject(), p.now(), by, "", ops.RecommendationMovedBody{Recommendation: told, From: from, Why: why, Via: via}))
	return err
}
