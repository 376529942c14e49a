package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fettleops/fettle/intake"
)

// Answer implements intake.Speaker: 200 with nothing in it, 200 with what was
// refused, or a google.rpc.Status, each in the encoding of the request. What is
// our fault is 503, which all senders repeat; they give up on 500.
func (s *source) Answer(r *intake.Request, d intake.Delivery, _ intake.Outcome, retryAfter time.Duration, err error) intake.Answer {
	binary := isProtobuf(r.Header.Get("Content-Type"))
	a := intake.Answer{Status: http.StatusOK, Header: map[string]string{"Content-Type": inJSON, "X-Content-Type-Options": "nosniff"}}
	if binary {
		a.Header["Content-Type"] = protobuf
	}
	var m proto.Message
	if err == nil {
		if m, err = success(d); err == nil {
			a.Body, err = render(m, binary)
		}
	}
	if err != nil {
		code, problem := codes.Unavailable, intake.Problem(err, retryAfter)
		a.Status = problem.Status
		switch a.Status {
		case http.StatusServiceUnavailable:
			a.Header["Retry-After"] = problem.Header["Retry-After"]
		case http.StatusRequestEntityTooLarge:
			code = codes.ResourceExhausted
		default:
			code = codes.InvalidArgument
		}
		a.Body = refusal(code, a.Status, retryAfter, err, binary)
	}
	return a
}

func success(d intake.Delivery) (*collector.ExportMetricsServiceResponse, error) {
	report, ok := d.Report.(*decoder)
	if !ok {
		return nil, errors.New("otlp: a delivery without a report")
	}
	m := new(collector.ExportMetricsServiceResponse)
	if f := report.first; f != nil {
		told := f.Field + ": " + f.Fix
		if f.Value != "" {
			told = f.Field + " (" + strconv.QuoteToGraphic(shorten(f.Value)) + "): " + f.Fix
		}
		m.PartialSuccess = &collector.ExportMetricsPartialSuccess{
			RejectedDataPoints: int64(report.refused),
			ErrorMessage:       strconv.Itoa(report.refused) + " data points refused, the others kept; the first: " + told,
		}
	}
	return m, nil
}

// shorten cuts the name of a metric to what helps to find it.
func shorten(name string) string {
	const shown = 80
	if len(name) <= shown {
		return name
	}
	return name[:shown] + "..."
}

// refusal is a google.rpc.Status.
func refusal(code codes.Code, httpStatus int, retryAfter time.Duration, err error, binary bool) []byte {
	s := &status.Status{Code: int32(code), Message: "the request was not taken"}
	var fault *intake.Fault
	switch {
	case code == codes.Unavailable:
		s.Message = "send the same again after " + intake.Seconds(retryAfter) + " seconds; nothing was stored"
		if detail, err := anypb.New(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}); err == nil {
			s.Details = append(s.Details, detail)
		}
	case code == codes.ResourceExhausted:
		s.Message = "send less at a time, or raise the limit of this integration"
	case errors.As(err, &fault):
		s.Message = fault.Error()
		if fault.Value != "" {
			s.Message += " (" + strconv.QuoteToGraphic(shorten(fault.Value)) + ")"
		}
	case httpStatus == http.StatusUnsupportedMediaType:
		s.Message = err.Error() // names what is accepted
	}
	body, err := render(s, binary)
	if err != nil { // text, a number and a duration always encode
		return nil
	}
	return body
}

func render(m proto.Message, binary bool) ([]byte, error) {
	if binary {
		return proto.MarshalOptions{Deterministic: true}.Marshal(m)
	}
	loose, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer // protojson puts spaces at random
	err = json.Compact(&b, loose)
	return b.Bytes(), err
}
