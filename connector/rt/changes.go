package rt

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

const (
	// batch is how many tickets Changes reads at once: each costs one to three
	// requests of some 100 ms.
	batch = 25
	// maxPages bounds how far ahead Changes looks.
	maxPages = 20
)

// cursor is a place in the sequence of transactions. A number is given out
// before its transaction can be seen, so a higher one may be seen first: those
// within the overlap are looked at again and remembered by number.
type cursor struct {
	low  int64          // all up to here were returned
	seen map[int64]bool // of those after it
}

func parseCursor(s string) (cursor, error) {
	low, rest, _ := strings.Cut(s, ":")
	c := cursor{seen: map[int64]bool{}}
	var err error
	if c.low, err = strconv.ParseInt(low, 10, 64); err != nil {
		return cursor{}, invalid("cursor %q is no number of a transaction", s)
	}
	for id := range strings.SplitSeq(rest, ",") {
		if id == "" {
			continue
		}
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return cursor{}, invalid("cursor %q is no list of transactions", s)
		}
		c.seen[n] = true
	}
	return c, nil
}

// String returns the cursor as it is kept.
func (c cursor) String() string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(c.seen)) {
		ids = append(ids, strconv.FormatInt(id, 10))
	}
	low := strconv.FormatInt(c.low, 10)
	if len(ids) == 0 {
		return low
	}
	return low + ":" + strings.Join(ids, ",")
}

// move is a ticket with what is new about it.
type move struct {
	last     int64 // transaction
	messages []transaction
}

// Changes implements connector.Platform. It follows the transactions of the
// tickets our account opened, and reads each ticket that has new ones.
func (p *platform) Changes(ctx context.Context, s string) ([]connector.Copy, string, error) {
	if s == "" {
		last, err := p.newest(ctx, movesQuery(0))
		return nil, cursor{low: last}.String(), err
	}
	c, err := parseCursor(s)
	if err != nil {
		return nil, "", err
	}
	listed, now, err := p.moves(ctx, c)
	if err != nil {
		return nil, "", err
	}
	moved, next := c.advance(listed, now.Add(-p.o.Overlap))
	var out []connector.Copy
	refs := slices.SortedFunc(maps.Keys(moved), func(a, b text) int { return int(moved[a].last - moved[b].last) })
	for _, ref := range refs {
		t, err := p.ticket(ctx, string(ref))
		switch {
		case errors.Is(err, ops.ErrNotFound):
			continue
		case isStatus(err, http.StatusForbidden):
			// It would hold up all others for ever.
			p.env.Log.LogAttrs(ctx, slog.LevelWarn, "ticket may not be read any more", slog.String("ref", string(ref)), slog.Any("error", err))
			continue
		case err != nil:
			return nil, "", err
		case t.field(p.o.KeyField) == "":
			continue // opened by our account, but not by us
		}
		notes, err := p.read(ctx, string(ref), moved[ref].messages)
		if err != nil {
			return nil, "", err
		}
		copied, err := p.copy(ctx, t, notes)
		if err != nil {
			return nil, "", err
		}
		out = append(out, copied)
	}
	return out, next.String(), nil
}

// moves lists transactions after the cursor, and returns Request Tracker's time.
func (p *platform) moves(ctx context.Context, c cursor) ([]transaction, time.Time, error) {
	var all []transaction
	now := p.env.Clock()
	fresh := map[text]bool{}
	last := c.low
	for range maxPages {
		page, h, err := p.transactions(ctx, movesQuery(last))
		if err != nil {
			return nil, now, err
		}
		if at, err := http.ParseTime(h.Get("Date")); err == nil {
			now = at
		}
		for _, t := range page {
			last = max(last, t.ID.number())
			if !c.seen[t.ID.number()] {
				fresh[t.ObjectID] = true
			}
		}
		all = append(all, page...)
		if len(page) == 0 || len(fresh) > batch {
			break
		}
	}
	return all, now, nil
}

// advance picks at most a batch of tickets with new transactions and returns
// them with the cursor after them. Transactions older than horizon are all
// there: the cursor's low end moves up to the first that is not, or that waits
// for the next batch.
func (c cursor) advance(listed []transaction, horizon time.Time) (map[text]move, cursor) {
	moved := map[text]move{}
	next := cursor{low: c.low, seen: map[int64]bool{}}
	rising := true
	for _, t := range listed {
		id := t.ID.number()
		if !c.seen[id] {
			m, there := moved[t.ObjectID]
			if !there && len(moved) == batch {
				rising = false
				continue
			}
			m.last = id
			if t.isNote() {
				m.messages = append(m.messages, t)
			}
			moved[t.ObjectID] = m
		}
		rising = rising && t.Created.Before(horizon)
		if rising {
			next.low = id
		} else {
			next.seen[id] = true
		}
	}
	return moved, next
}
