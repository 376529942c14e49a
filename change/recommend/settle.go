package recommend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// Settle takes the end of a change into account, in the transaction that ends
// it. A change without a placed recommendation is none of its business.
func (p *Placer) Settle(ctx context.Context, tx db.Tx, c ops.Change) error {
	if c.RecommendationID == "" {
		return nil
	}
	r, err := p.Rows.RecommendationOfChange(ctx, tx, c.ID)
	if errors.Is(err, ops.ErrNotFound) || err == nil && r.State != ops.RecommendationPlaced {
		return nil
	}
	if err != nil {
		return err
	}
	s, err := p.standing(ctx, tx, r.Identity())
	if err != nil {
		return err
	}
	from, now := r.State, p.now()
	r.Outcome, r.EndedAt = c.Outcome, now
	why := fmt.Sprintf("%s ended as %s", c.Key(), strings.ReplaceAll(string(c.Outcome), "_", " "))
	switch c.Outcome {
	case ops.Denied, ops.Withdrawn:
		r.State = ops.RecommendationWithdrawn
		if d := denial(c); d != "" {
			why += ": " + d
		}
	case ops.Expired, ops.MissedWindow, ops.Superseded:
		// Nobody said no: it is asked for again after a rest, unless a later one
		// has come.
		r.State, r.DueAt = ops.RecommendationUnplaced, now.Add(p.rules.Load().Rest)
		if s.Waiting != nil {
			r.State, r.DueAt = ops.RecommendationSuperseded, time.Time{}
		}
	default:
		r.State = ops.RecommendationDone
		p.begin(&r, c)
	}
	if err := p.move(ctx, tx, &r, from, why, ""); err != nil || s.Waiting == nil {
		return err
	}
	w := *s.Waiting
	if r.State == ops.RecommendationDone && (c.Outcome == ops.Successful || c.Outcome == ops.SuccessfulWithIssues) && w.Recommended.Equal(r.Recommended) {
		return p.end(ctx, tx, w, ops.RecommendationSuperseded, "", fmt.Sprintf("%s did what it asks for", c.Key()), "")
	}
	return p.consider(ctx, tx, w)
}

// denial returns what was said with the denial.
func denial(c ops.Change) string {
	for _, a := range c.Approvals {
		if a.Decision == ops.Refused && a.Void == "" {
			return strings.TrimSpace(a.Name + " " + a.Comment)
		}
	}
	return ""
}

// Dismiss withdraws a recommendation for a person, with its change if that has
// not begun. The same recommendation coming again changes nothing.
func (p *Placer) Dismiss(ctx context.Context, by ops.Principal, idOrKey, reason, via string) (out ops.Recommendation, err error) {
	if by.Kind != ops.Person {
		return out, fmt.Errorf("recommend: only a person dismisses a recommendation, %s is a %s: %w", by.Name, by.Kind, ops.ErrDenied)
	}
	if err := by.Require(ops.MayApprove); err != nil {
		return out, err
	}
	if reason = strings.TrimSpace(reason); reason == "" {
		return out, fmt.Errorf("recommend: reason is empty; write why, for those who see it come again: %w", ops.ErrInvalid)
	}
	err = p.DB.Write(ctx, func(tx db.Tx) error {
		r, err := p.Rows.RecommendationIn(ctx, tx, idOrKey)
		if err != nil {
			return err
		}
		if !r.State.Live() {
			return fmt.Errorf("%s is %s and needs no dismissal: %w", r.Key(), r.State, ops.ErrConflict)
		}
		from := r.State
		r.State, r.Outcome, r.EndedAt, r.DueAt = ops.RecommendationWithdrawn, ops.Withdrawn, p.now(), time.Time{}
		if err := p.moveBy(ctx, tx, by, &r, from, fmt.Sprintf("dismissed by %s: %s", by.Name, reason), via); err != nil {
			return err
		}
		out = r
		if from != ops.RecommendationPlaced {
			return nil
		}
		if _, err = p.Gate.EndIn(ctx, tx, by, r.ChangeID, ops.Withdrawn, reason); err != nil {
			return err
		}
		_, waiting, _, err := p.Rows.RecommendationsOf(ctx, tx, r.Identity())
		if err != nil || waiting == nil {
			return err
		}
		return p.consider(ctx, tx, *waiting)
	})
	return out, err
}

const (
	// maxAsks bounds how often a producer is asked about one recommendation
	// before it waits to come again.
	maxAsks = 8
	// firstAsk is the pause after the first question; it doubles with each.
	firstAsk = 2 * time.Minute
)

// ask carries out AskProducer.
func (p *Placer) ask(ctx context.Context, c ops.Command) error {
	body, err := ops.CommandBody[ops.AskProducerBody](c)
	if err != nil {
		return err
	}
	r, err := p.Rows.Recommendation(ctx, body.RecommendationID)
	if err != nil || r.Wants == "" || !r.State.Live() || r.State == ops.RecommendationPlaced {
		return err
	}
	told, err := p.Ask(ctx, r)
	if err != nil {
		return p.askedInVain(ctx, r.ID, err)
	}
	return p.DB.Write(ctx, func(tx db.Tx) error {
		now, err := p.Rows.RecommendationIn(ctx, tx, r.ID)
		if err != nil || now.Wants == "" || !now.State.Live() || now.State == ops.RecommendationPlaced {
			return err
		}
		t := told.Recommendation
		now.Wants, now.Tags, now.Stack, now.LogicalID, now.Resource = "", t.Tags, t.Stack, t.LogicalID, t.Resource
		if now.Current == (ops.Values{}) && now.Recommended == (ops.Values{}) {
			now.Current, now.Recommended, now.Kind, now.Saving = t.Current, t.Recommended, t.Kind, t.Saving
		}
		if told.Report != nil && p.Keep != nil {
			if now.Report, err = p.Keep(ctx, tx, told.Report); err != nil {
				return err
			}
		}
		now.Asked = 0
		if err := p.save(ctx, tx, &now); err != nil {
			return err
		}
		s, err := p.standing(ctx, tx, now.Identity())
		if err != nil || s.Placed != nil {
			return err
		}
		return p.consider(ctx, tx, now)
	})
}

// passing are the classes of error that asking again may change.
var passing = []error{ops.ErrUnavailable, ops.ErrThrottled, ops.ErrConflict, ops.ErrInternal}

// askedInVain keeps the reason, and asks again later where that may help.
func (p *Placer) askedInVain(ctx context.Context, id string, cause error) error {
	again := false
	var after time.Duration
	err := p.DB.Write(ctx, func(tx db.Tx) error {
		again = false
		r, err := p.Rows.RecommendationIn(ctx, tx, id)
		if err != nil || r.Wants == "" || !r.State.Live() {
			return err
		}
		from := r.State
		if slices.Contains(passing, ops.Class(cause)) {
			r.Asked++
			again = r.Asked < maxAsks
			after = max(firstAsk<<(r.Asked-1), ops.RetryAfter(cause))
		} else {
			r.Asked = maxAsks
		}
		why := "it lacks " + r.Wants + ": " + cause.Error()
		if !again {
			why += "; asked again when it comes again"
		}
		if from == ops.RecommendationUnplaced && r.Why == why {
			return p.save(ctx, tx, &r)
		}
		r.State = ops.RecommendationUnplaced
		return p.move(ctx, tx, &r, from, why, "")
	})
	if err == nil && again {
		return job.Snooze(after, "the producer did not say what is wanted")
	}
	return err
}
