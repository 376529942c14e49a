package opscenter

import (
	"errors"
	"net/http"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go/middleware"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
)

// transport sends the requests of the AWS library the way drivers send theirs.
type transport struct {
	http  connector.HTTP
	clock clock.Clock
}

const targetHeader = "X-Amz-Target"

// RoundTrip implements http.RoundTripper. What Systems Manager did not say is
// no answer of it: a page of a proxy with status 200.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	target := req.Header.Get(targetHeader)
	e := connector.Read
	switch {
	case strings.HasSuffix(target, ".CreateOpsItem"):
		e = connector.Once
	case strings.HasSuffix(target, ".UpdateOpsItem"):
		e = connector.Repeat
	}
	resp, err := t.http.Do(req, e)
	if err != nil || target == "" || resp.StatusCode < 200 || resp.StatusCode >= 300 {
		return resp, err
	}
	if err := connector.AnswerError(resp, e, t.clock(), "", "application/x-amz-json-1.1"); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// fault gives an error of the library its class, its wait and its outcome.
func (p *platform) fault(what string, e connector.Effect, err error) error {
	if err == nil {
		return nil
	}
	out := awsx.Read(what, err)
	var answer *awshttp.ResponseError
	var wait time.Duration
	status := 0
	if errors.As(err, &answer) && answer.Response != nil {
		wait = connector.RetryAfter(answer.Response.Header, p.env.Clock())
		status = answer.HTTPStatusCode()
	}
	switch {
	case errors.Is(out, ops.ErrThrottled), status == http.StatusServiceUnavailable && wait > 0:
		return &ops.Throttled{After: wait, Err: out}
	case e == connector.Read:
		return out
	}
	var unknown *ops.UnknownOutcome
	if errors.As(err, &unknown) {
		return &ops.UnknownOutcome{Err: out}
	}
	return awsx.Write(what, err)
}

// serverTime returns the platform's time of an answer, ours when it names none.
func (p *platform) serverTime(m middleware.Metadata) time.Time {
	if at, ok := awsmiddleware.GetServerTime(m); ok && !at.IsZero() {
		return at.UTC()
	}
	return p.env.Clock().UTC()
}
