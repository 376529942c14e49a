package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// remoteRead asks in the protocol of prometheus/prometheus prompb/remote.proto,
// version 0.1.0, for the response type SAMPLES.
type remoteRead struct {
	Options
	base    string
	queries [][]byte // the matchers of each, encoded
	http    *httpx.Client
}

// RemoteRead reads from a server that answers Prometheus' remote read: every
// sample it has, with the marks that a series has ended.
func RemoteRead(o Options) (Source, error) {
	base, err := o.base()
	if err != nil {
		return nil, err
	}
	if o.Step != 0 {
		return nil, fmt.Errorf("step %s: remote read knows none; leave it out: %w", o.Step, ops.ErrInvalid)
	}
	r := &remoteRead{Options: o, base: base, http: o.client()}
	kinds := map[string]uint64{"=": 0, "!=": 1, "=~": 2, "!~": 3}
	for _, s := range o.Match {
		matchers, err := parseSelector(s)
		if err != nil {
			return nil, err
		}
		var q []byte
		for _, m := range matchers {
			var b []byte
			b = appendNumber(b, 1, kinds[m.op])
			b = appendText(b, 2, m.label)
			b = appendText(b, 3, m.value)
			q = appendText(q, 3, string(b))
		}
		r.queries = append(r.queries, q)
	}
	return r, nil
}

func appendNumber(dst []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendText(dst []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

// Name implements Source.
func (r *remoteRead) Name() string { return r.name("remote-read", r.base) }

// Parts implements Source.
func (r *remoteRead) Parts(ctx context.Context, from time.Time, each func(Part) error) error {
	return windows(ctx, from, r.Until, each, func(ctx context.Context, from, to time.Time) ([]Series, error) {
		return askAll(ctx, r.queries, from, to, r.ask)
	})
}

func (r *remoteRead) ask(ctx context.Context, matchers []byte, from, to time.Time) ([]Series, error) {
	var query []byte
	query = appendNumber(query, 1, uint64(from.UnixMilli()))
	query = appendNumber(query, 2, uint64(to.UnixMilli()-1))
	query = append(query, matchers...)
	body := s2.EncodeSnappy(nil, appendText(nil, 1, string(query)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w: %w", err, ops.ErrInvalid)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Accept-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	r.sign(req)
	resp, err := r.http.Do(req, httpx.Safe)
	if err != nil {
		var s *httpx.StatusError
		if errors.Is(err, httpx.ErrTooLarge) || errors.As(err, &s) && strings.Contains(s.Snippet, "exceeded sample limit") {
			return nil, errTooMuch
		}
		return nil, fmt.Errorf("bootstrap: remote read: %w", err)
	}
	if n, err := s2.DecodedLen(resp.Body); err == nil && n > maxAnswer {
		return nil, errTooMuch
	}
	plain, err := s2.Decode(nil, resp.Body)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %s answered something that is not compressed as remote read is: %w: %w", r.base, err, ops.ErrUnavailable)
	}
	found, err := r.parse(plain, from, to)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %s answered something that is no answer of remote read: %w: %w", r.base, err, ops.ErrUnavailable)
	}
	return found, nil
}

var errProto = errors.New("broken protocol buffer")

// fields calls f for each field of a message: v is the value of one with a
// length, n that of a number.
func fields(b []byte, f func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error) error {
	for len(b) > 0 {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errProto
		}
		b = b[size:]
		var v []byte
		var n uint64
		switch typ {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			n, size = protowire.ConsumeFixed64(b)
		default:
			size = protowire.ConsumeFieldValue(num, typ, b)
		}
		if size < 0 {
			return errProto
		}
		if err := f(num, typ, v, n); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// parse reads a ReadResponse: results(1) of timeseries(1) of labels(1) and
// samples(2).
func (r *remoteRead) parse(b []byte, from, to time.Time) ([]Series, error) {
	var out []Series
	err := fields(b, func(num protowire.Number, typ protowire.Type, result []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		return fields(result, func(num protowire.Number, typ protowire.Type, one []byte, _ uint64) error {
			if num != 1 || typ != protowire.BytesType {
				return nil
			}
			labels, points, err := timeSeries(one)
			if err != nil {
				return err
			}
			if d, ok := named(labels, r.Labels); ok {
				if kept := within(points, from, to); len(kept) > 0 {
					out = append(out, Series{d, kept})
				}
			}
			return nil
		})
	})
	return out, err
}

func timeSeries(b []byte) (labels map[string]string, points []series.RawPoint, err error) {
	labels = map[string]string{}
	err = fields(b, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
		case num == 1:
			var pair [2]string
			err := fields(v, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
				if typ == protowire.BytesType && (num == 1 || num == 2) {
					pair[num-1] = string(v)
				}
				return nil
			})
			labels[pair[0]] = pair[1]
			return err
		case num == 2:
			var p series.RawPoint
			err := fields(v, func(num protowire.Number, typ protowire.Type, _ []byte, n uint64) error {
				switch {
				case num == 1 && typ == protowire.Fixed64Type:
					p.Value = math.Float64frombits(n)
				case num == 2 && typ == protowire.VarintType:
					p.At = int64(n)
				}
				return nil
			})
			points = append(points, p)
			return err
		}
		return nil
	})
	return labels, points, err
}
