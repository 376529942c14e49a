package connector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/ops"
)

// Over returns the HTTP that drivers know over Fettle's own client. A client
// for platforms should give up early: the ticket room waits and tries again
// without holding a worker.
func Over(c *httpx.Client) HTTP { return over{c} }

type over struct{ client *httpx.Client }

func (o over) Do(req *http.Request, e Effect) (*http.Response, error) {
	class := map[Effect]httpx.Class{Read: httpx.Safe, Repeat: httpx.Idempotent, Once: httpx.Once}[e]
	got, err := o.client.Do(req, class)
	if got != nil { // an answer, whatever its status
		return &http.Response{
			Status: fmt.Sprintf("%d %s", got.Status, http.StatusText(got.Status)), StatusCode: got.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: got.Header, Body: io.NopCloser(bytes.NewReader(got.Body)), ContentLength: int64(len(got.Body)), Request: req,
		}, nil
	}
	lost := fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
	var unanswered *httpx.Unanswered
	if e != Read && errors.As(err, &unanswered) && unanswered.MayHaveArrived {
		return nil, &ops.UnknownOutcome{Err: lost}
	}
	return nil, lost
}
