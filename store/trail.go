package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Trail returns every fact and command about a subject in the order in which
// they were recorded; of one millisecond, facts come first, since commands
// follow from them.
func (s *Store) Trail(ctx context.Context, subject string) ([]ops.TrailEntry, error) {
	facts, err := s.FactsAbout(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("store: trail of %s: %w", subject, err)
	}
	commands, err := s.Commands(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("store: trail of %s: %w", subject, err)
	}
	out := make([]ops.TrailEntry, 0, len(facts)+len(commands))
	for len(facts) > 0 || len(commands) > 0 {
		if len(commands) == 0 || len(facts) > 0 && !facts[0].RecordedAt.After(commands[0].QueuedAt) {
			out = append(out, ops.TrailEntry{Fact: &facts[0]})
			facts = facts[1:]
			continue
		}
		out = append(out, ops.TrailEntry{Command: &commands[0]})
		commands = commands[1:]
	}
	return out, nil
}

// Commands returns every command about a subject, in the order they were queued.
func (s *Store) Commands(ctx context.Context, subject string) ([]ops.CommandRecord, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT seq, subject, kind, body, cause, at, queued_at, finished_at, attempts, error, state
		FROM command WHERE subject = $1 ORDER BY seq`, subject)
	return db.Collect(rows, err, func(r db.Row) (ops.CommandRecord, error) {
		var c ops.CommandRecord
		var body string
		var at, queued, finished, attempts int64
		err := r.Scan(&c.Seq, &c.Command.Subject, (*string)(&c.Command.Kind), &body, &c.Command.Cause, &at, &queued, &finished, &attempts, &c.Error, &c.State)
		if body != "" {
			c.Command.Body = json.RawMessage(body)
		}
		c.Command.At, c.QueuedAt, c.FinishedAt, c.Attempts = fromMillis(at), fromMillis(queued), fromMillis(finished), int(attempts)
		return c, err
	})
}

// ErrBroken is wrapped by what VerifyChain returns about a fact that is not as
// it was recorded.
var ErrBroken = errors.New("the chain of facts is broken")

// verifyBatch is how many facts are read at a time.
const verifyBatch = 2000

// VerifyChain checks that the facts about a subject, or all facts when subject
// is empty, are as they were recorded, and returns an error that wraps
// ErrBroken and names the first that is not. Over all facts it also finds one
// that was taken out; facts cut off at the very end leave no trace.
func (s *Store) VerifyChain(ctx context.Context, subject string) error {
	last := map[string]string{}
	var after int64
	for {
		facts, err := s.chain(ctx, subject, after)
		if err != nil {
			return fmt.Errorf("store: read facts to verify: %w", err)
		}
		for _, f := range facts {
			switch {
			case subject == "" && f.Seq != after+1:
				return fmt.Errorf("store: no fact has number %d, the next is %d: %w", after+1, f.Seq, ErrBroken)
			case f.Hash != f.ComputeHash():
				return fmt.Errorf("store: fact %d (%s about %s, recorded %s) was changed: %w", f.Seq, f.Kind, f.Subject, f.RecordedAt.Format(time.RFC3339), ErrBroken)
			case f.Prev != last[f.Subject]:
				return fmt.Errorf("store: fact %d (%s about %s, recorded %s) does not follow the one before it: %w", f.Seq, f.Kind, f.Subject, f.RecordedAt.Format(time.RFC3339), ErrBroken)
			}
			last[f.Subject], after = f.Hash, f.Seq
		}
		if len(facts) < verifyBatch {
			return nil
		}
	}
}

func (s *Store) chain(ctx context.Context, subject string, after int64) ([]ops.Fact, error) {
	if subject == "" {
		return s.FactsAfter(ctx, after, verifyBatch)
	}
	rows, err := s.db.Read().Query(ctx, "SELECT "+factColumns+" FROM fact WHERE subject = $1 AND seq > $2 ORDER BY seq LIMIT $3", subject, after, int64(verifyBatch))
	return db.Collect(rows, err, scanFact)
}
