package bootstrap

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect/evaluate"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Table is a past in a CSV file.
type Table struct {
	// In is the file.
	In io.Reader
	// Path names it; empty is standard input.
	Path string
	// Labels are added to series that do not have them.
	Labels map[string]string
	// ReadBytes, unless nil, returns how much of Size bytes was read.
	ReadBytes func() int64
	Size      int64
}

type table struct {
	Table
	in      *csv.Reader
	time    int
	metric  int // -1 in the wide form
	value   int
	labels  []int
	heading []string
	wide    []series.Descriptor // by column
}

// CSV reads a past from a table in one of two forms. The long one has the
// columns time, metric and value, and a column for each label. The wide one has
// the column time and one for each series, named like it: node_load1 or
// node_load1{instance="web1:9100"}. Times are read as fettle detect reads them; an
// empty value is missing. Rows are in the
// order of time; up to 200,000 values may be in any order.
func CSV(t Table) (Source, error) {
	c := &table{Table: t, in: csv.NewReader(t.In), metric: -1, value: -1, time: -1}
	c.in.ReuseRecord = true
	head, err := c.in.Read()
	if err != nil {
		return nil, fmt.Errorf("heading: %w: %w", err, ops.ErrInvalid)
	}
	for i, h := range head {
		c.heading = append(c.heading, strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))
		switch name := strings.ToLower(c.heading[i]); {
		case c.time < 0 && slices.Contains([]string{"time", "timestamp", "date", "datetime", "ts"}, name):
			c.time = i
		case name == "metric":
			c.metric = i
		case name == "value":
			c.value = i
		}
	}
	if c.time < 0 {
		return nil, fmt.Errorf("no column time among %s: %w", strings.Join(c.heading, ", "), ops.ErrInvalid)
	}
	if (c.metric < 0) != (c.value < 0) {
		return nil, fmt.Errorf("columns %s: the long form needs both metric and value: %w", strings.Join(c.heading, ", "), ops.ErrInvalid)
	}
	return c, c.columns()
}

// columns says what the columns beside the time are.
func (c *table) columns() error {
	if c.metric >= 0 {
		for i := range c.heading {
			if i != c.time && i != c.metric && i != c.value {
				c.labels = append(c.labels, i)
			}
		}
		return nil
	}
	c.wide = make([]series.Descriptor, len(c.heading))
	for i, h := range c.heading {
		if i == c.time {
			continue
		}
		labels := map[string]string{"__name__": h}
		if strings.HasSuffix(h, "}") {
			matchers, err := parseSelector(h)
			if err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
			for _, m := range matchers {
				if m.op != "=" {
					return fmt.Errorf("column %d: %q is no series: use = alone: %w", i+1, h, ops.ErrInvalid)
				}
				labels[m.label] = m.value
			}
		}
		var ok bool
		if c.wide[i], ok = named(labels, c.Labels); !ok {
			return fmt.Errorf("column %d has no name: name it like the series it holds: %w", i+1, ops.ErrInvalid)
		}
	}
	if len(c.heading) < 2 {
		return fmt.Errorf("no column beside the time: %w", ops.ErrInvalid)
	}
	return nil
}

// Name implements Source.
func (c *table) Name() string {
	parts := []string{"csv", cmp.Or(c.Path, "-")}
	for _, l := range slices.Sorted(maps.Keys(c.Labels)) {
		parts = append(parts, l+"="+c.Labels[l])
	}
	return strings.Join(parts, " ")
}

// heap collects the values of a part.
type heap struct {
	at     map[string]int // by key, place in series
	series []Series
	n      int
	first  int64
	last   int64
}

func newHeap() *heap { return &heap{at: map[string]int{}} }

func (h *heap) add(key string, d func() (series.Descriptor, bool), p series.RawPoint) bool {
	i, known := h.at[key]
	if !known {
		made, ok := d()
		if !ok {
			return false
		}
		i = len(h.series)
		h.at[key] = i
		h.series = append(h.series, Series{Descriptor: made})
	}
	h.series[i].Points = append(h.series[i].Points, p)
	if h.n == 0 || p.At < h.first {
		h.first = p.At
	}
	if h.n == 0 || p.At > h.last {
		h.last = p.At
	}
	h.n++
	return true
}

// take returns the part before a time, and leaves the rest in the heap.
func (h *heap) take(from, to int64) Part {
	p := Part{From: time.UnixMilli(from).UTC(), To: time.UnixMilli(to).UTC()}
	rest := newHeap()
	for key, i := range h.at {
		s := h.series[i]
		left := slices.DeleteFunc(slices.Clone(s.Points), func(x series.RawPoint) bool { return x.At < to })
		for _, x := range left {
			rest.add(key, func() (series.Descriptor, bool) { return s.Descriptor, true }, x)
		}
		if kept := within(s.Points, p.From, p.To); len(kept) > 0 {
			p.Series = append(p.Series, Series{s.Descriptor, kept})
		}
	}
	slices.SortFunc(p.Series, func(a, b Series) int { return compare(&a.Descriptor, &b.Descriptor) })
	*h = *rest
	return p
}

func compare(a, b *series.Descriptor) int {
	return cmp.Or(cmp.Compare(a.Metric, b.Metric), slices.CompareFunc(a.Labels, b.Labels, func(x, y series.Label) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value, y.Value))
	}))
}

// Parts implements Source.
func (c *table) Parts(ctx context.Context, from time.Time, each func(Part) error) error {
	begin := from.UnixMilli()
	gone := begin // everything before it was given
	h := newHeap()
	flush := func(to int64) error {
		p := h.take(max(gone, min(h.first, to)), to)
		if gone = to; c.Size > 0 {
			p.Done = min(1, float64(c.ReadBytes())/float64(c.Size))
		}
		if len(p.Series) == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		return each(p)
	}
	for {
		row, err := c.in.Read()
		if errors.Is(err, io.EOF) {
			if h.n == 0 {
				return nil
			}
			return flush(h.last + 1)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, ops.ErrInvalid)
		}
		line, _ := c.in.FieldPos(0)
		at, err := evaluate.ParseTime(row[c.time])
		if err != nil {
			return fmt.Errorf("line %d: %w: %w", line, err, ops.ErrInvalid)
		}
		switch ms := at.UnixMilli(); {
		case ms < begin: // taken by an earlier run
			continue
		case ms < gone:
			return fmt.Errorf("line %d: time %s is long before that of the rows before; sort the file by time: %w", line, row[c.time], ops.ErrInvalid)
		}
		if err := c.row(h, row, at.UnixMilli(), line); err != nil {
			return err
		}
		if h.n >= 2*wanted {
			if err := flush(h.middle()); err != nil {
				return err
			}
		}
	}
}

// middle is a time with about half of the values before it, and one at least.
func (h *heap) middle() int64 {
	var all []int64
	for i := range h.series {
		for _, p := range h.series[i].Points {
			all = append(all, p.At)
		}
	}
	slices.Sort(all)
	return max(all[len(all)/2], all[0]+1)
}

// row adds the values of a row.
func (c *table) row(h *heap, row []string, at int64, line int) error {
	add := func(column int, key string, d func() (series.Descriptor, bool)) error {
		text := strings.TrimSpace(row[column])
		if text == "" {
			return nil
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("line %d: column %s: %q is no number: %w", line, c.heading[column], text, ops.ErrInvalid)
		}
		if !h.add(key, d, series.RawPoint{At: at, Value: v}) {
			return fmt.Errorf("line %d: column metric is empty: %w", line, ops.ErrInvalid)
		}
		return nil
	}
	if c.metric >= 0 {
		var key strings.Builder
		key.WriteString(row[c.metric])
		for _, i := range c.labels {
			key.WriteByte(0)
			key.WriteString(row[i])
		}
		return add(c.value, key.String(), func() (series.Descriptor, bool) {
			labels := map[string]string{"__name__": strings.Clone(row[c.metric])}
			for _, i := range c.labels {
				labels[c.heading[i]] = strings.Clone(row[i])
			}
			return named(labels, c.Labels)
		})
	}
	for i := range row {
		if i == c.time {
			continue
		}
		if err := add(i, strconv.Itoa(i), func() (series.Descriptor, bool) { return c.wide[i], true }); err != nil {
			return err
		}
	}
	return nil
}
