package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/ops"
)

// outgoing adapts the HTTP client to what drivers ask for.
type outgoing struct{ client *httpx.Client }

var effects = map[connector.Effect]httpx.Class{connector.Read: httpx.Safe, connector.Repeat: httpx.Idempotent, connector.Once: httpx.Once}

// Do sends a request and returns every whole answer, whatever its status.
func (o outgoing) Do(req *http.Request, e connector.Effect) (*http.Response, error) {
	resp, err := o.client.Do(req, effects[e])
	if resp != nil {
		return &http.Response{
			Status: strconv.Itoa(resp.Status) + " " + http.StatusText(resp.Status), StatusCode: resp.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: resp.Header, Body: io.NopCloser(bytes.NewReader(resp.Body)), ContentLength: int64(len(resp.Body)), Request: req,
		}, nil
	}
	if errors.Is(err, context.Canceled) && req.Context().Err() != nil && e == connector.Read {
		return nil, err
	}
	err = fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
	var lost *httpx.Unanswered
	if e != connector.Read && (!errors.As(err, &lost) || lost.MayHaveArrived) {
		return nil, &ops.UnknownOutcome{Err: err}
	}
	return nil, err
}
