package opscenter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

const (
	// batch is how many OpsItems Changes reads at once.
	batch = 25
	// maxPages bounds one list; a longer one is asked for in shorter spans.
	maxPages = 40
	// fresh is how long after an edit another one may still carry the same time.
	fresh = 10 * time.Second
)

// cursor is a place in the sequence of edits. Lists are eventually consistent
// and a time is no number of an edit: what was modified within the overlap is
// listed again, and remembered with its version.
type cursor struct {
	Low  int64               `json:"low"`            // milliseconds since 1970: everything before was returned
	Seen map[string]sighting `json:"seen,omitempty"` // of what was modified since, by id
}

// sighting is an OpsItem as it was returned.
type sighting struct {
	At      int64  `json:"at"` // when it was modified, as it was listed
	Version string `json:"v"`
	// Final tells that it was read long enough after At: another edit has
	// another time.
	Final bool `json:"f,omitempty"`
}

func parseCursor(s string) (cursor, error) {
	var c cursor
	if err := json.Unmarshal([]byte(s), &c); err != nil || c.Low <= 0 {
		return c, invalid("cursor %q is no place in the edits of OpsItems", s)
	}
	return c, nil
}

// String returns the cursor as it is kept.
func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		return strconv.FormatInt(c.Low, 10) // strings and numbers always can
	}
	return string(b)
}

// holds is the filter for searchable operational data.
func (p *platform) holds(name, value string) types.OpsItemFilter {
	pair, err := json.Marshal(struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}{name, value})
	if err != nil {
		pair = []byte("{}") // strings always can
	}
	return types.OpsItemFilter{Key: types.OpsItemFilterKeyOperationalData, Operator: types.OpsItemFilterOperatorEqual, Values: []string{string(pair)}}
}

// since is the filter for what was modified in or after the second of at.
func since(at time.Time) types.OpsItemFilter {
	return modified(types.OpsItemFilterOperatorGreaterThan, at.Add(-time.Second))
}

func modified(op types.OpsItemFilterOperator, at time.Time) types.OpsItemFilter {
	return types.OpsItemFilter{Key: types.OpsItemFilterKeyLastModifiedTime, Operator: op, Values: []string{at.UTC().Truncate(time.Second).Format(time.RFC3339)}}
}

// Changes implements connector.Platform. It lists what was modified since, and
// reads each OpsItem that is new in the list.
func (p *platform) Changes(ctx context.Context, s string) ([]connector.Copy, string, error) {
	if s == "" {
		page, err := p.list(ctx, &ssm.DescribeOpsItemsInput{
			OpsItemFilters: []types.OpsItemFilter{p.holds(installationData, p.env.Installation), since(p.env.Clock())}, MaxResults: aws.Int32(1),
		})
		if err != nil {
			return nil, "", err
		}
		return nil, cursor{Low: p.serverTime(page.ResultMetadata).UnixMilli()}.String(), nil
	}
	c, err := parseCursor(s)
	if err != nil {
		return nil, "", err
	}
	listed, now, err := p.moved(ctx, time.UnixMilli(c.Low))
	if err != nil {
		return nil, "", err
	}
	next := cursor{Low: c.Low, Seen: map[string]sighting{}}
	horizon := now.Add(-p.o.Overlap)
	rising := true
	var out []connector.Copy
	for _, m := range listed {
		id, at := aws.ToString(m.OpsItemId), m.LastModifiedTime.UnixMilli()
		was, known := c.Seen[id]
		if known = known && was.At == at; !known || !was.Final {
			if len(out) == batch {
				rising = false
				if was.Version != "" {
					next.Seen[id] = was // it waits, and is read by the next call
				}
				continue
			}
			got, err := p.Get(ctx, id)
			if errors.Is(err, ops.ErrNotFound) {
				continue // deleted since
			}
			if err != nil {
				return nil, "", err
			}
			if got.Version != was.Version && got.Key != "" {
				out = append(out, got)
			}
			was = sighting{At: at, Version: got.Version, Final: now.Sub(*m.LastModifiedTime) > fresh}
		}
		next.Seen[id] = was
		if rising = rising && m.LastModifiedTime.Before(horizon); rising {
			next.Low = max(next.Low, at)
		}
	}
	for id, s := range next.Seen {
		if s.At < next.Low-time.Second.Milliseconds() {
			delete(next.Seen, id) // it is listed no more
		}
	}
	return out, next.String(), nil
}

// moved lists what was modified at or after a time, oldest first, and returns
// the platform's time. The order of a list is nobody's promise: it is read to
// its end, and a span that holds too much is halved.
func (p *platform) moved(ctx context.Context, low time.Time) ([]types.OpsItemSummary, time.Time, error) {
	filters := []types.OpsItemFilter{p.holds(installationData, p.env.Installation), since(low)}
	var until time.Time
	now := p.env.Clock().UTC()
	for {
		in := &ssm.DescribeOpsItemsInput{OpsItemFilters: filters, MaxResults: aws.Int32(pageSize)}
		if !until.IsZero() {
			in.OpsItemFilters = append(slices.Clone(filters), modified(types.OpsItemFilterOperatorLessThan, until))
		}
		var all []types.OpsItemSummary
		for range maxPages {
			page, err := p.list(ctx, in)
			if err != nil {
				return nil, now, err
			}
			if in.NextToken == nil {
				now = p.serverTime(page.ResultMetadata)
			}
			for _, s := range page.OpsItemSummaries {
				if s.OpsItemId == nil || s.LastModifiedTime == nil {
					return nil, now, fmt.Errorf("list OpsItems: one has no id or time: %w", ops.ErrUnavailable)
				}
				all = append(all, s)
			}
			if in.NextToken = page.NextToken; aws.ToString(in.NextToken) == "" {
				slices.SortFunc(all, func(a, b types.OpsItemSummary) int {
					return cmp.Or(a.LastModifiedTime.Compare(*b.LastModifiedTime), cmp.Compare(*a.OpsItemId, *b.OpsItemId))
				})
				return all, now, nil
			}
		}
		if until.IsZero() {
			until = now
		}
		if until = low.Add(until.Sub(low) / 2); until.Sub(low) < 2*time.Second {
			return nil, now, fmt.Errorf("list OpsItems: more than %d of one second: %w", maxPages*pageSize, ops.ErrInvalid)
		}
	}
}
