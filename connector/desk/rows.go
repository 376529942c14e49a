package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

func put(key string, v any, version int64) record.Edit {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("desk: %s does not marshal: %v", key, err))
	}
	return record.Edit{Key: key, Value: b, Version: version}
}

// change applies edit to a ticket, moves it to the end of the feed and writes
// both with what edit adds.
func (d *Desk) change(ctx context.Context, ref string, edit func(*row) ([]record.Edit, error), out *row) error {
	return d.env.Records.Transact(ctx, func(ctx context.Context, now record.Reader) ([]record.Edit, error) {
		r, err := d.row(ctx, now, ref)
		if err != nil {
			return nil, err
		}
		more, err := edit(&r)
		if err != nil {
			return nil, err
		}
		c, cv, err := d.counter(ctx, now)
		if err != nil {
			return nil, err
		}
		was := r.Move
		c.Move++
		r.Move, r.UpdatedAt = c.Move, d.now()
		if out != nil {
			*out = r
		}
		return append(more,
			put(counterKey, c, cv),
			put(ticketKey(r.Number), r, r.version),
			put(moveKey(r.Move), r.Number, 0),
			record.Edit{Key: moveKey(was), Version: record.Any}), nil
	})
}

func (d *Desk) now() time.Time { return d.env.Clock().UTC().Truncate(time.Millisecond) }

// read decodes a record, and says nothing was there by version 0.
func (d *Desk) read(ctx context.Context, from record.Reader, key string, into any) (int64, error) {
	r, err := from.Get(ctx, key)
	if errors.Is(err, ops.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(r.Value, into); err != nil {
		return 0, fmt.Errorf("record %s: %w: %w", key, err, ops.ErrInternal)
	}
	return r.Version, nil
}

func (d *Desk) counter(ctx context.Context, from record.Reader) (counter, int64, error) {
	var c counter
	version, err := d.read(ctx, from, counterKey, &c)
	return c, version, err
}

func (d *Desk) byKey(ctx context.Context, from record.Reader, key string) (row, error) {
	var number int64
	version, err := d.read(ctx, from, keyKey(key), &number)
	if err != nil {
		return row{}, err
	}
	if version == 0 {
		return row{}, fmt.Errorf("no ticket has key %s: %w", key, ops.ErrNotFound)
	}
	return d.row(ctx, from, display(number))
}

func (d *Desk) row(ctx context.Context, from record.Reader, ref string) (row, error) {
	number, err := strconv.ParseInt(strings.TrimPrefix(ref, "DESK-"), 10, 64)
	if err != nil || ref != display(number) {
		return row{}, fmt.Errorf("ticket %q: the desk's tickets are called DESK-1 and so on: %w", ref, ops.ErrNotFound)
	}
	var r row
	version, err := d.read(ctx, from, ticketKey(number), &r)
	if err == nil && version == 0 {
		err = fmt.Errorf("ticket %s: %w", ref, ops.ErrNotFound)
	}
	r.version = version
	return r, err
}

func (d *Desk) notes(ctx context.Context, r row) ([]connector.Note, error) {
	if r.Notes == 0 {
		return nil, nil
	}
	records, err := d.env.Records.List(ctx, notePrefix(r.Number), "", int(r.Notes))
	if err != nil {
		return nil, err
	}
	out := make([]connector.Note, 0, len(records))
	for _, rec := range records {
		var n noteRow
		if err := json.Unmarshal(rec.Value, &n); err != nil {
			return nil, fmt.Errorf("record %s: %w: %w", rec.Key, err, ops.ErrInternal)
		}
		out = append(out, connector.Note{Note: n.Note, Own: n.Own})
	}
	return out, nil
}

func (d *Desk) copy(r row, notes []connector.Note) connector.Copy {
	ref := r.displayed()
	url := ""
	if d.env.PublicURL != "" {
		url = d.env.PublicURL + "/desk/" + ref
	}
	return connector.Copy{
		Kind: r.Kind, PlanAt: r.PlanAt, Asked: r.open() != nil, Decisions: r.decisions(),
		Ref: ref, Display: ref, Key: r.Key, URL: url, Fields: r.Fields,
		Version: strconv.FormatInt(r.Move, 10), CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
		UpdatedBy: r.UpdatedBy, Own: r.UpdatedBy == d.user(), Notes: notes,
	}
}
