// Package firehose takes CloudWatch metric streams that Amazon Data Firehose
// delivers to an HTTP endpoint.
//
// Firehose repeats whatever it gets no 200 for, and what it still could not
// deliver when its time to retry is over it puts into the bucket for failed
// data; only after 413 it drops for good. So a delivery of which nothing can
// be taken is refused with 400, which leaves a copy where people find it, and
// one of which some can be taken is taken: the rest is counted and logged.
package firehose

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/metricstream"
	"github.com/fettleops/fettle/internal/clock"
)

// Driver is the source `firehose`.
var Driver = intake.Define("firehose", Open)

// Config are the options of an integration with Firehose: there are none.
type Config struct{}

// Open makes the source of one integration.
func Open(options intake.Decoder, env intake.Env) (intake.Source, error) {
	var c Config
	if err := options.Decode(&c); err != nil {
		return nil, err
	}
	return &source{now: env.Clock}, nil
}

type source struct {
	now     clock.Clock
	readers sync.Pool
}

// AccessKeyHeader is where Firehose puts the access key of the endpoint.
const AccessKeyHeader = "X-Amz-Firehose-Access-Key"

const (
	requestIDHeader = "X-Amz-Firehose-Request-Id"
	versionHeader   = "X-Amz-Firehose-Protocol-Version"
	version         = "1.0"

	media = "application/json"
	// maxBody is the longest body of Firehose, before compression.
	maxBody = 64 << 20
	// maxMessage bounds what an answer says of an error.
	maxMessage = 1000
)

// Terms implements intake.Speaker.
func (s *source) Terms() intake.Terms {
	return intake.Terms{Media: []string{media}, Codings: []string{"gzip"}, Body: maxBody, Decompressed: maxBody}
}

// delivery is a body of Firehose. Records are texts and not bytes here, so that
// one that is no base64 does not spoil the others.
type delivery struct {
	RequestID string    `json:"requestId"`
	Records   *[]record `json:"records"`
}

type record struct {
	Data string `json:"data"`
}

// report is what Answer needs of a delivery.
type report struct{ requestID string }

// Decode implements intake.Source.
func (s *source) Decode(r *intake.Request) (intake.Delivery, error) {
	told := &report{requestID: r.Header.Get(requestIDHeader)}
	out := intake.Delivery{Report: told}
	if v := r.Header.Get(versionHeader); v != "" && v != version {
		return out, &intake.Fault{Field: versionHeader, Value: v, Fix: "send protocol version " + version + "; no other is known"}
	}
	var d delivery
	if err := json.Unmarshal(r.Body, &d); err != nil {
		return out, intake.NotJSON(err, "a delivery of Firehose")
	}
	if d.RequestID != "" {
		told.requestID = d.RequestID
	}
	if told.requestID == "" {
		return out, &intake.Fault{Field: "requestId", Fix: "is missing; send the id of the request, the same one when it is repeated"}
	}
	if d.Records == nil {
		return out, &intake.Fault{Field: "records", Fix: "is missing; send a delivery of Firehose"}
	}
	reader, ok := s.readers.Get().(*metricstream.Reader)
	if !ok {
		reader = new(metricstream.Reader)
	}
	reader.Reset(r.Newest())
	out.Release = func() { s.readers.Put(reader) }
	for _, rec := range *d.Records {
		data, err := base64.StdEncoding.DecodeString(rec.Data)
		if err != nil {
			reader.Refuse(&intake.Fault{Field: "records.data", Fix: "send base64"})
			continue
		}
		reader.Read(data)
	}
	out.Dedupe, out.Refused, out.Note = told.requestID, reader.Refused, reader.Note()
	if reader.Over {
		return out, intake.ErrTooLarge
	}
	if reader.First != nil && reader.Batch.Samples() == 0 {
		return out, reader.First
	}
	out.Samples = &reader.Batch
	return out, nil
}

// answer is what Firehose wants to hear, and nothing else: an answer of another
// form counts as a failure.
type answer struct {
	RequestID    string `json:"requestId"`
	Timestamp    int64  `json:"timestamp"` // Unix milliseconds
	ErrorMessage string `json:"errorMessage,omitempty"`
}

// Answer implements intake.Speaker: 200, 400 for what no repeat can mend, 415
// and 503 as every sender gets them. What is too large is 400 as well: after
// 413 not even the bucket for failed data gets it.
func (s *source) Answer(r *intake.Request, d intake.Delivery, _ intake.Outcome, retryAfter time.Duration, err error) intake.Answer {
	a := intake.Answer{Status: http.StatusOK, Header: map[string]string{"Content-Type": media}}
	body := answer{RequestID: r.Header.Get(requestIDHeader), Timestamp: s.now().UnixMilli()}
	if told, ok := d.Report.(*report); ok {
		body.RequestID = told.requestID
	} else if err == nil {
		err = errors.New("firehose: a delivery without a report")
	}
	var fault *intake.Fault
	switch {
	case err == nil:
	case errors.Is(err, intake.ErrTooLarge):
		a.Status, body.ErrorMessage = http.StatusBadRequest, "body: send less at a time; choose a smaller buffer size at the delivery stream"
	case errors.Is(err, intake.ErrMediaType), errors.Is(err, intake.ErrCoding):
		a.Status, body.ErrorMessage = http.StatusUnsupportedMediaType, err.Error()
	case errors.As(err, &fault):
		a.Status, body.ErrorMessage = http.StatusBadRequest, fault.Error()
	default:
		a.Status, a.Header["Retry-After"] = http.StatusServiceUnavailable, intake.Seconds(retryAfter)
		body.ErrorMessage = "nothing was stored; send the same again after " + a.Header["Retry-After"] + " seconds"
	}
	if len(body.ErrorMessage) > maxMessage {
		body.ErrorMessage = strings.ToValidUTF8(body.ErrorMessage[:maxMessage], "")
	}
	rendered, err := json.Marshal(body)
	if err != nil { // strings and an integer always encode
		rendered = fmt.Appendf(nil, `{"requestId":"","timestamp":%d}`, body.Timestamp)
	}
	a.Body = rendered
	return a
}

// Diagnose implements intake.Diagnoser. Firehose sends one credential, its
// access key, and only to public https addresses.
func (s *source) Diagnose(auth intake.AuthConfig) []intake.Finding {
	out := intake.Unsendable("Firehose", auth, "header")
	if auth.Header != nil && !strings.EqualFold(auth.Header.Name, AccessKeyHeader) {
		out = append(out, intake.Finding{What: "Firehose sends its access key in " + AccessKeyHeader + " and not in auth.header.name, so every delivery will be denied", Fix: "set auth.header.name to " + AccessKeyHeader})
	}
	return out
}
