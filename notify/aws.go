package notify

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/ops"
)

// OpenAWS opens AWS for a channel. It makes no call.
func OpenAWS(ctx context.Context, c awsx.Config, env Env) (aws.Config, error) {
	return awsx.Open(ctx, c, awsx.Env{Session: "notify", Transport: env.Transport, Secret: func(ctx context.Context, ref string) (string, error) {
		r, err := secret.Parse(ref)
		if err != nil {
			return "", err
		}
		s, err := env.Secret(ctx, r)
		return s.Reveal(), err
	}})
}

// AWSError returns the error of a call that sends, in a class of ops. A 5xx
// was not taken; what else went wrong after a connection stood leaves the
// outcome unknown.
func AWSError(what string, err error) error {
	if err == nil {
		return nil
	}
	var unknown *ops.UnknownOutcome
	out := awsx.Write(what, err)
	var answer *awshttp.ResponseError
	switch {
	case errors.Is(err, ops.ErrInvalid):
		return fmt.Errorf("%s: %w", what, err)
	case errors.As(out, &unknown) && errors.As(err, &answer) && answer.HTTPStatusCode() >= 500:
		return fmt.Errorf("%s: status %d %s: %w", what, answer.HTTPStatusCode(), awsx.Code(err), ops.ErrUnavailable)
	}
	return out
}
