package awsx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/fettleops/fettle/ops"
)

// Once is the retryer of calls that must not be made twice.
var Once aws.Retryer = aws.NopRetryer{}

// Read returns the error of a call that changes nothing, in a class of ops;
// nil for nil. What says which call it was, such as "describe stack web".
func Read(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", what, err, class(err))
}

// Write returns the error of a call that changes something. Where it may have
// happened all the same (no answer, or a 5xx), it is an *ops.UnknownOutcome.
func Write(what string, err error) error {
	if err == nil {
		return nil
	}
	out := Read(what, err)
	if errors.Is(out, ops.ErrUnavailable) && !refused(err) {
		return &ops.UnknownOutcome{Err: out}
	}
	return out
}

// Code returns the service's own name of an error, empty when it gave none.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// refused reports that no connection came about, so nothing was sent.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// classes is read in this order; a code belongs to the first part it contains.
// The codes are those of the services' API references, which agree in wording
// more than in spelling.
var classes = []struct {
	part  string
	class error
}{
	{"Throttl", ops.ErrThrottled},
	{"TooManyRequests", ops.ErrThrottled},
	{"RequestLimitExceeded", ops.ErrThrottled},
	{"SlowDown", ops.ErrThrottled},
	{"TooManyUpdates", ops.ErrThrottled},
	{"AccessDenied", ops.ErrDenied},
	{"Unauthorized", ops.ErrDenied},
	{"NotAuthorized", ops.ErrDenied},
	{"ExpiredToken", ops.ErrDenied},
	{"InvalidClientTokenId", ops.ErrDenied},
	{"UnrecognizedClient", ops.ErrDenied},
	{"SignatureDoesNotMatch", ops.ErrDenied},
	{"OptInRequired", ops.ErrDenied},
	{"NotFound", ops.ErrNotFound},
	{"NoSuch", ops.ErrNotFound},
	{"DoesNotExist", ops.ErrNotFound},
	{"AlreadyExists", ops.ErrConflict},
	{"InProgress", ops.ErrConflict},
	{"InUse", ops.ErrConflict},
	{"Conflict", ops.ErrConflict},
	{"IncorrectInstanceState", ops.ErrConflict},
	{"InternalFailure", ops.ErrUnavailable},
	{"InternalError", ops.ErrUnavailable},
	{"ServiceUnavailable", ops.ErrUnavailable},
	{"InsufficientInstanceCapacity", ops.ErrUnavailable},
}

func class(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ops.ErrUnavailable
	}
	var missing *aws.MissingRegionError
	if errors.As(err, &missing) {
		return ops.ErrInvalid
	}
	code := Code(err)
	for _, c := range classes {
		if code != "" && strings.Contains(code, c.part) {
			return c.class
		}
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		switch status := answer.HTTPStatusCode(); {
		case status == 429:
			return ops.ErrThrottled
		case status == 401 || status == 403:
			return ops.ErrDenied
		case status == 404:
			return ops.ErrNotFound
		case status >= 400 && status < 500:
			return ops.ErrInvalid
		}
	}
	return ops.ErrUnavailable
}
