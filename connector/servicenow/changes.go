package servicenow

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

const (
	pageSize = 100
	// restarts bounds how often a pull begins again because rows moved away
	// under it.
	restarts = 5
)

// cursor is how far a pull came. Seen are the versions at the end of the feed
// that were handed out: within the overlap nothing comes twice, nothing is
// left out, and all that is known about it is in the cursor.
type cursor struct {
	At   string   `json:"at"`
	Seen []string `json:"seen,omitempty"`
}

func version(r row) string {
	h := fnv.New64a()
	// A hash never fails to write.
	_, _ = h.Write([]byte(r.get("sys_id") + " " + r.get("sys_mod_count")))
	return strconv.FormatUint(h.Sum64(), 36)
}

// begin is the time before all tickets.
var begin = time.Unix(0, 0).UTC()

// Changes implements connector.Platform.
func (p *platform) Changes(ctx context.Context, from string) ([]connector.Copy, string, error) {
	me, err := p.me(ctx)
	if err != nil {
		return nil, "", err
	}
	if err := p.checkZone(ctx); err != nil {
		return nil, "", err
	}
	if from == "" {
		next, err := p.latest(ctx)
		return nil, next, err
	}
	var c cursor
	err = json.Unmarshal([]byte(from), &c)
	at, bad := time.Parse(stampLayout, c.At)
	if err != nil || bad != nil {
		return nil, "", fmt.Errorf("cursor %.80q is none of this driver: %w", from, ops.ErrInvalid)
	}
	fresh, seen, err := p.pull(ctx, c, at.Add(-p.m.options.Overlap))
	if err != nil || len(fresh) == 0 {
		return nil, from, err
	}
	out := make([]connector.Copy, 0, len(fresh))
	refs := make([]string, 0, len(fresh))
	for _, r := range fresh {
		t, err := p.copy(r, me)
		if err != nil {
			return nil, "", err
		}
		out, refs = append(out, t), append(refs, t.Ref)
		if t.UpdatedAt.After(at) {
			at = t.UpdatedAt
		}
	}
	for chunk := range slices.Chunk(refs, journalChunk) {
		notes, err := p.journals(ctx, chunk, me)
		if err != nil {
			return nil, "", err
		}
		for i := range out {
			if n, ok := notes[out[i].Ref]; ok {
				out[i].Notes = n
			}
		}
	}
	next, err := p.cursor(at, seen)
	return out, next, err
}

// latest returns a cursor behind all there is. It is made of the instance's
// own times, never of our clock.
func (p *platform) latest(ctx context.Context) (string, error) {
	last, err := p.c.list(ctx, incidentTable, p.m.lastQuery(), view(p.fields()), 0, 1)
	if err != nil {
		return "", err
	}
	at := begin
	for _, r := range last.rows {
		if err := p.checkQuery(r); err != nil {
			return "", err
		}
		if at, err = time.Parse(stampLayout, r.get("sys_updated_on")); err != nil {
			return "", fmt.Errorf("sys_updated_on: %w: %w", err, ops.ErrUnavailable)
		}
	}
	if at.Equal(begin) {
		return p.cursor(at, nil)
	}
	// All that moved within the overlap is no news.
	var seen []string
	from := at.Add(-p.m.options.Overlap)
	for offset := 0; ; offset += pageSize {
		got, err := p.c.list(ctx, incidentTable, p.m.movedQuery(from), view(p.fields()), offset, pageSize)
		if err != nil {
			return "", err
		}
		seen = p.seen(seen, got.rows, from)
		if !got.more {
			return p.cursor(at, seen)
		}
	}
}

// seen appends the versions of rows that moved at or after from.
func (p *platform) seen(to []string, rows []row, from time.Time) []string {
	for _, r := range rows {
		if r.get("sys_updated_on") >= from.Format(stampLayout) {
			to = append(to, version(r))
		}
	}
	return to
}

func (p *platform) cursor(at time.Time, seen []string) (string, error) {
	b, err := json.Marshal(cursor{At: at.UTC().Format(stampLayout), Seen: seen})
	if err != nil {
		return "", fmt.Errorf("cursor: %w: %w", err, ops.ErrInternal)
	}
	return string(b), nil
}

// pull reads pages until one holds something new, and returns with it all that
// was handed out within the overlap behind it. Neighbouring pages share a row:
// when it is not where it was, rows before it moved to the end, others slipped
// into their place unread, and the pull begins again.
func (p *platform) pull(ctx context.Context, c cursor, from time.Time) (fresh []row, seen []string, err error) {
	known := map[string]bool{}
	for _, v := range c.Seen {
		known[v] = true
	}
	var window []row
	anchor, offset, again := "", 0, 0
	for {
		got, err := p.c.list(ctx, incidentTable, p.m.movedQuery(from), view(p.fields()), offset, pageSize)
		if err != nil {
			return nil, nil, err
		}
		rows := got.rows
		if anchor != "" {
			if len(rows) == 0 || rows[0].get("sys_id") != anchor {
				if again++; again > restarts {
					return nil, nil, fmt.Errorf("incidents move faster than they can be read: %w", ops.ErrUnavailable)
				}
				anchor, offset, window = "", 0, nil
				continue
			}
			rows = rows[1:]
		}
		for _, r := range rows {
			if err := p.checkQuery(r); err != nil {
				return nil, nil, err
			}
			window = append(window, r)
			if p.m.ours(r) && !known[version(r)] {
				fresh = append(fresh, r)
			}
		}
		if len(fresh) > 0 {
			return fresh, p.handedOut(c, window, got.more), nil
		}
		if !got.more {
			return nil, nil, nil
		}
		anchor = ""
		if len(got.rows) == pageSize {
			anchor = got.rows[pageSize-1].get("sys_id")
			offset--
		}
		offset += pageSize
	}
}

// handedOut returns the versions of the window that the next pull sees again.
// What was known before stays known as long as pages of the window were not read.
func (p *platform) handedOut(c cursor, window []row, more bool) []string {
	last := c.At
	if n := len(window); n > 0 {
		last = max(last, window[n-1].get("sys_updated_on"))
	}
	at, err := time.Parse(stampLayout, last)
	if err != nil {
		at = begin // copy reports it
	}
	seen := p.seen(nil, window, at.Add(-p.m.options.Overlap))
	if more {
		seen = append(seen, slices.DeleteFunc(slices.Clone(c.Seen), func(v string) bool { return slices.Contains(seen, v) })...)
	}
	return seen
}

// checkQuery returns an error for a row that our query does not describe: the
// instance left out a condition, and everybody's incidents would come.
func (p *platform) checkQuery(r row) error {
	if r.get("correlation_display") == p.m.mark {
		return nil
	}
	return fmt.Errorf("the instance returned %s, which is not ours, for a query on correlation_display; let the account read this field of incidents: %w",
		r.get("number"), ops.ErrDenied)
}
