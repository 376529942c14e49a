package servicenow

import (
	"context"
	"encoding/json"
	"errors"
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
	// More are the cursors of what is followed beside incidents, by table.
	More map[string]cursor `json:"more,omitempty"`
}

// feed is one table whose moves are followed.
type feed struct {
	table  string
	fields []string
	mark   string // the field that holds our mark
	ours   func(row) bool
}

func (p *platform) incidents() feed {
	return feed{incidentTable, p.fields(), "correlation_display", p.m.ours}
}

// feeds are those of change requests. Somebody's decision does not always touch
// the change request itself.
func (p *platform) feeds() []feed {
	if p.m.options.Changes == nil {
		return nil
	}
	return []feed{
		{changeTable, p.changeReads(), "correlation_display", p.m.oursChange},
		{approvalTable, approvalFields, "sysapproval.correlation_display", func(r row) bool { return idPattern.MatchString(r.get("sysapproval")) }},
	}
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
	fresh, seen, err := p.pull(ctx, p.incidents(), c, at.Add(-p.m.options.Overlap))
	if err != nil {
		return nil, from, err
	}
	if len(fresh) == 0 {
		return p.changesOfChanges(ctx, c, from)
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
		notes, err := p.journals(ctx, incidentTable, chunk, me)
		if err != nil {
			return nil, "", err
		}
		for i := range out {
			if n, ok := notes[out[i].Ref]; ok {
				out[i].Notes = n
			}
		}
	}
	c.At, c.Seen = at.UTC().Format(stampLayout), seen
	next, err := c.encode()
	return out, next, err
}

// changesOfChanges is Changes for change requests and the decisions on them.
// A feed the cursor knows nothing of begins now.
func (p *platform) changesOfChanges(ctx context.Context, c cursor, from string) ([]connector.Copy, string, error) {
	begun := false
	for _, f := range p.feeds() {
		if c.More == nil {
			c.More = map[string]cursor{}
		}
		at, known := c.More[f.table]
		if !known {
			var err error
			if c.More[f.table], err = p.latestOf(ctx, f); err != nil {
				return nil, "", err
			}
			begun = true
			continue
		}
		when, err := time.Parse(stampLayout, at.At)
		if err != nil {
			return nil, "", fmt.Errorf("cursor %.80q is none of this driver: %w", from, ops.ErrInvalid)
		}
		fresh, seen, err := p.pull(ctx, f, at, when.Add(-p.m.options.Overlap))
		if err != nil {
			return nil, from, err
		}
		if len(fresh) == 0 {
			continue
		}
		var ids []string
		for _, r := range fresh {
			id := r.get("sys_id")
			if f.table == approvalTable {
				id = r.get("sysapproval")
			}
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			if updated, err := time.Parse(stampLayout, r.get("sys_updated_on")); err == nil && updated.After(when) {
				when = updated
			}
		}
		var out []connector.Copy
		for _, id := range ids {
			t, err := p.getChange(ctx, id)
			if errors.Is(err, ops.ErrNotFound) {
				continue // deleted since
			}
			if err != nil {
				return nil, "", err
			}
			out = append(out, t)
		}
		c.More[f.table] = cursor{At: when.UTC().Format(stampLayout), Seen: seen}
		next, err := c.encode()
		return out, next, err
	}
	if !begun {
		return nil, from, nil
	}
	next, err := c.encode()
	return nil, next, err
}

// latest returns a cursor behind all there is. It is made of the instance's
// own times, never of our clock.
func (p *platform) latest(ctx context.Context) (string, error) {
	c, err := p.latestOf(ctx, p.incidents())
	if err != nil {
		return "", err
	}
	for _, f := range p.feeds() {
		if c.More == nil {
			c.More = map[string]cursor{}
		}
		if c.More[f.table], err = p.latestOf(ctx, f); err != nil {
			return "", err
		}
	}
	return c.encode()
}

// latestOf is latest for one feed.
func (p *platform) latestOf(ctx context.Context, f feed) (cursor, error) {
	last, err := p.c.list(ctx, f.table, p.m.lastQuery(f.mark), view(f.fields), 0, 1)
	if err != nil {
		return cursor{}, err
	}
	at := begin
	for _, r := range last.rows {
		if err := p.checkQuery(f, r); err != nil {
			return cursor{}, err
		}
		if at, err = time.Parse(stampLayout, r.get("sys_updated_on")); err != nil {
			return cursor{}, fmt.Errorf("sys_updated_on: %w: %w", err, ops.ErrUnavailable)
		}
	}
	if at.Equal(begin) {
		return cursor{At: at.Format(stampLayout)}, nil
	}
	// All that moved within the overlap is no news.
	var seen []string
	from := at.Add(-p.m.options.Overlap)
	for offset := 0; ; offset += pageSize {
		got, err := p.c.list(ctx, f.table, p.m.movedQuery(f.mark, from), view(f.fields), offset, pageSize)
		if err != nil {
			return cursor{}, err
		}
		seen = p.seen(seen, got.rows, from)
		if !got.more {
			return cursor{At: at.UTC().Format(stampLayout), Seen: seen}, nil
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

// encode returns the cursor as it is kept.
func (c cursor) encode() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("cursor: %w: %w", err, ops.ErrInternal)
	}
	return string(b), nil
}

// pull reads pages until one holds something new, and returns with it all that
// was handed out within the overlap behind it. Neighbouring pages share a row:
// when it is not where it was, rows before it moved to the end, others slipped
// into their place unread, and the pull begins again.
func (p *platform) pull(ctx context.Context, f feed, c cursor, from time.Time) (fresh []row, seen []string, err error) {
	known := map[string]bool{}
	for _, v := range c.Seen {
		known[v] = true
	}
	var window []row
	anchor, offset, again := "", 0, 0
	for {
		got, err := p.c.list(ctx, f.table, p.m.movedQuery(f.mark, from), view(f.fields), offset, pageSize)
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
			if err := p.checkQuery(f, r); err != nil {
				return nil, nil, err
			}
			window = append(window, r)
			if f.ours(r) && !known[version(r)] {
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
func (p *platform) checkQuery(f feed, r row) error {
	if r.get(f.mark) == p.m.mark {
		return nil
	}
	return fmt.Errorf("the instance returned %s, which is not ours, for a query on %s; let the account read this field of %s: %w",
		r.get("number"), f.mark, f.table, ops.ErrDenied)
}
