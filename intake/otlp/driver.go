// Package otlp takes metrics by the OpenTelemetry protocol: over HTTP as
// protobuf and as JSON at the front door, and over gRPC with a Server.
//
// Protobuf is decoded straight into a series.Batch, without a tree of messages
// in between; JSON becomes protobuf first, so that there is one reading of both.
// Senders number nothing, so the door knows a repeated body by its hash.
//
// Source: OTLP specification 1.x, opentelemetry-proto 1.11.
package otlp

import (
	"strings"
	"sync"

	"github.com/fettleops/fettle/intake"
)

// Driver is the source `otlp`.
var Driver = intake.Define("otlp", Open)

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
	return &source{config: c, rule: ruleOf(&c)}, nil
}

// MaxMessage is the greatest request, decompressed, in bytes: what the
// specification advises and the sample log takes at once.
const MaxMessage = 64 << 20

type source struct {
	config   Config
	rule     rule
	decoders sync.Pool
}

const (
	protobuf = "application/x-protobuf"
	inJSON   = "application/json"
)

// Terms implements intake.Speaker. The path is the one senders append to a base
// URL; a sender may be given the whole one.
func (s *source) Terms() intake.Terms {
	return intake.Terms{
		Paths: []string{"/v1/metrics", ""}, Media: []string{protobuf, inJSON}, Codings: []string{"gzip", "zstd", "deflate"},
		Body: s.config.MaxBody, Decompressed: s.config.MaxDecompressed,
	}
}

// isProtobuf reports which of the two encodings a Content-Type names.
func isProtobuf(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), protobuf)
}

// Decode implements intake.Source.
func (s *source) Decode(r *intake.Request) (intake.Delivery, error) {
	d, ok := s.decoders.Get().(*decoder)
	if !ok {
		d = &decoder{keep: s.rule}
		d.release = func() {
			if d.batch.Size()+cap(d.plain)+cap(d.scratch) <= maxPooled {
				d.reset()
				s.decoders.Put(d)
			}
		}
	}
	d.newest = r.Newest()
	var err error
	if isProtobuf(r.Header.Get("Content-Type")) {
		err = d.decode(r.Body)
	} else {
		err = d.decodeJSON(r.Body)
	}
	out := intake.Delivery{Samples: &d.batch, Refused: d.refused, Release: d.release, Report: d}
	if err == nil && d.first != nil {
		out.Note = d.told()
		if d.batch.Samples() == 0 {
			out.Outcome = intake.Invalid
		}
	}
	return out, err
}

// maxPooled keeps the memory of a rare large body from staying for ever.
const maxPooled = 4 << 20

// Diagnose implements intake.Diagnoser.
func (s *source) Diagnose(auth intake.AuthConfig) []intake.Finding {
	return intake.Unsendable("an OpenTelemetry exporter", auth, "bearer", "basic", "header")
}
