// Package bootstrap reads the past of series from where it is kept, so that
// models need not live through it: a Prometheus by its query API, anything that
// answers remote read, or a CSV file. What comes out are parts in the order of
// time, each small enough to be held in memory and sent at once.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/series"
)

// Part is the samples of all series in [From, To).
type Part struct {
	From, To time.Time
	Series   []Series
	// Done is how much of the past is behind the end of the part, in [0,1].
	Done float64
}

// Series is a series and its samples, in the order of time.
type Series struct {
	series.Descriptor
	Points []series.RawPoint
}

// Samples returns how many samples the part holds.
func (p *Part) Samples() int {
	n := 0
	for i := range p.Series {
		n += len(p.Series[i].Points)
	}
	return n
}

// Batch returns the part as a series.Batch.
func (p *Part) Batch() []byte {
	var b series.Batch
	for i := range p.Series {
		s := &p.Series[i]
		b.Series(&s.Descriptor)
		for _, x := range s.Points {
			b.Sample(x.At, x.Value)
		}
	}
	return b.Append(nil)
}

// Source is where a past is kept.
type Source interface {
	// Name says where, without credentials; equal sources have equal names.
	Name() string
	// Parts calls each for the parts of the past from a time on, in the order of
	// time, until there is no more, ctx ends or each returns an error. What is
	// passed to each is its own.
	Parts(ctx context.Context, from time.Time, each func(Part) error) error
}

const (
	// wanted is how many samples a part shall have, and most how many it may.
	wanted = 200_000
	most   = 1_000_000
	// A part of a source that is asked by time is never longer than maxSpan, nor
	// shorter than minSpan.
	maxSpan = 24 * time.Hour
	minSpan = time.Second
)

// errTooMuch says that a shorter span must be asked for.
var errTooMuch = errors.New("too many samples at once")

// askAll asks one question after the other for a span, and joins the answers
// while they are not too much.
func askAll[Q any](ctx context.Context, questions []Q, from, to time.Time, ask func(ctx context.Context, question Q, from, to time.Time) ([]Series, error)) ([]Series, error) {
	var all []Series
	n := 0
	for _, q := range questions {
		found, err := ask(ctx, q, from, to)
		if err != nil {
			return nil, err
		}
		for i := range found {
			n += len(found[i].Points)
		}
		if n > most {
			return nil, errTooMuch
		}
		all = append(all, found...)
	}
	return all, nil
}

// windows asks for one span after the other until it has caught up with until,
// which may go on while it does. Spans are as long as gives parts of the wanted
// size.
func windows(ctx context.Context, from time.Time, until func() time.Time, each func(Part) error, fetch func(ctx context.Context, from, to time.Time) ([]Series, error)) error {
	from = from.Truncate(time.Millisecond)
	begin, span := from, time.Hour
	for {
		end := until().Truncate(time.Millisecond)
		if !from.Before(end) {
			return nil
		}
		to := from.Add(min(span, end.Sub(from)))
		found, err := fetch(ctx, from, to)
		p := Part{From: from, To: to, Series: found}
		n := p.Samples()
		if err == nil && n > most {
			err = errTooMuch
		}
		if errors.Is(err, errTooMuch) {
			if span <= minSpan {
				return fmt.Errorf("%w: more than %d in %s; select fewer series", err, most, span)
			}
			span = max(minSpan, min(span, to.Sub(from))/4)
			continue
		}
		if err != nil {
			return err
		}
		p.Done = min(1, float64(to.Sub(begin))/float64(max(1, end.Sub(begin))))
		if err := each(p); err != nil {
			return err
		}
		from = to
		grow := 4.0
		if n > 0 {
			grow = min(grow, max(0.25, wanted/float64(n)))
		}
		span = min(maxSpan, max(minSpan, time.Duration(float64(span)*grow)))
	}
}

// named makes a descriptor of a series in Prometheus' words; extra are labels
// for series that do not have them.
func named(labels map[string]string, extra map[string]string) (series.Descriptor, bool) {
	var d series.Descriptor
	for k, v := range labels {
		switch {
		case k == "__name__":
			d.Metric = v
		case v != "":
			d.Labels = append(d.Labels, series.Label{Name: k, Value: v})
		}
	}
	for k, v := range extra {
		if labels[k] == "" {
			d.Labels = append(d.Labels, series.Label{Name: k, Value: v})
		}
	}
	slices.SortFunc(d.Labels, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
	return d, d.Metric != ""
}

// within keeps the points of [from, to), in order, those of one time once.
func within(points []series.RawPoint, from, to time.Time) []series.RawPoint {
	lo, hi := from.UnixMilli(), to.UnixMilli()
	points = slices.DeleteFunc(points, func(p series.RawPoint) bool {
		return p.At < lo || p.At >= hi || math.IsInf(p.Value, 0) || math.IsNaN(p.Value) && !series.IsStale(p.Value)
	})
	slices.SortStableFunc(points, func(a, b series.RawPoint) int { return int(min(1, max(-1, a.At-b.At))) })
	return slices.CompactFunc(points, func(a, b series.RawPoint) bool { return a.At == b.At })
}
