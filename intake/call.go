package intake

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// DeliverAs takes a delivery that came over another protocol than HTTP, such as
// gRPC: decompressed, and addressed by nothing but its credential. The header
// holds it, with canonical keys; media is the type of the body. The delivery
// goes to the integration of the source whose methods of authentication the
// header passes, to the first by name when there are several. All of them are
// tried, so that the time taken does not tell which was close.
//
// The answer is the source's own, as it would be over HTTP, and the error what
// Speaker.Answer was told. Without an answer (its Status is zero) the error is
// of class ErrNotFound when no integration has the source, ErrDenied when none
// lets the header pass, and ErrInternal after a defect of ours.
func (d *Door) DeliverAs(ctx context.Context, source string, header http.Header, media string, body []byte) (answer Answer, err error) {
	start := d.options.Clock()
	in, err := d.admitting(ctx, source, func(in *integration) error {
		if err := in.admits(ctx, header); err != nil {
			return err
		}
		return d.prove(ctx, in, header, body, body)
	})
	if err != nil {
		return Answer{}, err
	}
	outcome := Unavailable
	defer func() {
		if p := recover(); p != nil {
			in.log.LogAttrs(ctx, slog.LevelError, "delivery panicked", slog.Any("panic", p))
			answer, err = Answer{}, fmt.Errorf("intake: a delivery to %s panicked: %w", in.name, ops.ErrInternal)
		}
		in.count.done(outcome, d.options.Clock().Sub(start))
	}()
	header = header.Clone()
	header.Set("Content-Type", media)
	in.count.bytes.Add(float64(len(body)))
	r := &Request{Integration: in.name, Header: header, Body: body, ReceivedAt: start, Passed: in.passed}
	held := hold{inHand: &d.inHand, limit: d.options.Limits.InHand}
	defer held.free()
	var got Delivery
	switch err = in.media(media); {
	case err != nil:
	case int64(len(body)) > in.terms.Decompressed:
		err = ErrTooLarge
	default:
		if err = held.grow(int64(len(body))); err == nil {
			got, outcome, err = d.deliver(ctx, in, r, body)
		}
	}
	defer got.release()
	if err != nil {
		outcome = d.judge(ctx, in, err)
	}
	return in.speaker.Answer(r, got, outcome, d.options.Limits.RetryAfter, err), err
}

// Admits tells whether DeliverAs could take a delivery with this header, before
// there is a body: nil when an integration of the source lets the header pass,
// methods that need the body aside, and otherwise as DeliverAs fails.
func (d *Door) Admits(ctx context.Context, source string, header http.Header) error {
	_, err := d.admitting(ctx, source, func(in *integration) error { return in.admits(ctx, header) })
	return err
}

// admitting returns the integration of a source that opens.
func (d *Door) admitting(ctx context.Context, source string, opens func(in *integration) error) (*integration, error) {
	var open, tried []*integration
	var no error
	for _, in := range d.integrations {
		if in.source != source || in.speaker == nil {
			continue
		}
		tried = append(tried, in)
		if err := opens(in); err != nil {
			no = err
		} else {
			open = append(open, in)
		}
	}
	byName := func(a, b *integration) int { return strings.Compare(a.name, b.name) }
	switch {
	case len(open) > 0:
		return slices.MinFunc(open, byName), nil
	case len(tried) == 0:
		return nil, fmt.Errorf("intake: no integration has the source %s: %w", source, ops.ErrNotFound)
	}
	if len(tried) == 1 {
		tried[0].count.outcomes[Denied].Inc()
		d.judge(ctx, tried[0], no)
	} else {
		d.say(ctx, nil, slog.LevelWarn, "delivery denied", slog.String("source", source), slog.Int("integrations", len(tried)))
	}
	return nil, fmt.Errorf("intake: no integration of %s has this credential: %w", source, ops.ErrDenied)
}
