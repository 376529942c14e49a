// Package remotewrite takes metrics by the Prometheus remote write protocol,
// versions 1.0 (prometheus.WriteRequest) and 2.0 (io.prometheus.write.v2.Request).
//
// The version is the `proto` parameter of the Content-Type, as the
// specification asks; the version header is not looked at. The body is decoded
// straight into a series.Batch, without a tree of messages in between. Senders
// number nothing, so the door knows a repeated body by its hash.
package remotewrite

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/fettleops/fettle/intake"
)

// Driver is the source `remotewrite`.
var Driver = intake.Define("remotewrite", Open)

// Open makes the source of one integration.
func Open(options intake.Decoder, _ intake.Env) (intake.Source, error) {
	var c Config
	if err := options.Decode(&c); err != nil {
		return nil, err
	}
	c.Defaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &source{config: c}, nil
}

type source struct {
	config   Config
	decoders sync.Pool
}

const (
	media = "application/x-protobuf"
	// What follows is in the Content-Type.
	message1 = "prometheus.WriteRequest"
	message2 = "io.prometheus.write.v2.Request"
)

// Terms implements intake.Speaker. A body without Content-Encoding is taken
// for snappy, as Prometheus' own receiver does: both versions allow nothing
// else. The longer path is for senders that are given a base URL.
func (s *source) Terms() intake.Terms {
	return intake.Terms{
		Paths: []string{"", "/api/v1/write"}, Media: []string{media}, Codings: []string{"snappy"}, Implied: "snappy",
		Body: s.config.MaxBody, Decompressed: s.config.MaxDecompressed,
	}
}

// version reads which message a Content-Type announces; zero is another one.
func version(contentType string) int {
	switch contentType { // as Prometheus writes it
	case media:
		return 1
	case media + ";proto=" + message2:
		return 2
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0
	}
	switch params["proto"] {
	case "", message1:
		return 1
	case message2:
		return 2
	}
	return 0
}

// Decode implements intake.Source.
func (s *source) Decode(r *intake.Request) (intake.Delivery, error) {
	contentType := r.Header.Get("Content-Type")
	v := version(contentType)
	if v == 0 {
		return intake.Delivery{}, intake.WrongMediaType(contentType, "send "+media+", or "+media+";proto="+message2)
	}
	d, ok := s.decoders.Get().(*decoder)
	if !ok {
		d = new(decoder)
		d.release = func() {
			if d.batch.Size() <= maxPooled && cap(d.symbols) <= maxPooled/16 {
				d.reset()
				s.decoders.Put(d)
			}
		}
	}
	d.newest = r.Newest()
	err := d.decode(r.Body, v)
	out := intake.Delivery{Samples: &d.batch, Refused: d.refused, Release: d.release, Report: d}
	if err == nil && d.first != nil {
		out.Note = strconv.Itoa(d.refused) + " samples refused, " + strconv.Itoa(d.batch.Samples()) + " kept; the first: " + d.first.Error()
		if d.batch.Samples() == 0 {
			out.Outcome = intake.Invalid
		}
	}
	return out, err
}

// maxPooled keeps the memory of a rare large body from staying for ever.
const maxPooled = 4 << 20

// Answer implements intake.Speaker: 204, 400 when a sample was refused though
// the others are kept, and otherwise what every sender gets. What was written
// is told in the headers of version 2.0, and only to its senders.
func (s *source) Answer(r *intake.Request, d intake.Delivery, _ intake.Outcome, retryAfter time.Duration, err error) intake.Answer {
	a := intake.Answer{Status: http.StatusNoContent, Header: map[string]string{}}
	written := 0
	if err == nil {
		report, ok := d.Report.(*decoder)
		if !ok {
			err = errors.New("remotewrite: a delivery without a report")
		} else {
			written = report.batch.Samples()
			if report.first != nil {
				err = report.partial()
			}
		}
	}
	if err != nil {
		a = intake.Problem(err, retryAfter)
	}
	if version(r.Header.Get("Content-Type")) == 2 {
		a.Header["X-Prometheus-Remote-Write-Samples-Written"] = strconv.Itoa(written)
		a.Header["X-Prometheus-Remote-Write-Histograms-Written"] = "0"
		a.Header["X-Prometheus-Remote-Write-Exemplars-Written"] = "0"
	}
	return a
}

// Diagnose implements intake.Diagnoser.
func (s *source) Diagnose(auth intake.AuthConfig) []intake.Finding {
	return intake.Unsendable("Prometheus", auth, "bearer", "basic", "header")
}
