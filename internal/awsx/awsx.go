// Package awsx opens AWS for drivers: region, role, endpoint and credentials in
// one place, and AWS's answers in the error classes of ops.
package awsx

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Config says which account and region a driver works in. It is embedded in
// the options of drivers.
type Config struct {
	// Region, for example eu-central-1. Default: as every AWS tool finds it.
	Region string `yaml:"region"`
	// Role to assume, an ARN. Default: none, the credentials as found.
	Role string `yaml:"role"`
	// ExternalID that the role asks for, plain or a reference. Default: none.
	ExternalID string `yaml:"external_id"`
	// Endpoint is another address of every service, such as that of a test
	// double. Single services are set as everywhere, by AWS_ENDPOINT_URL_SSM and
	// its like. Default: the public ones.
	Endpoint string `yaml:"endpoint"`
}

// Env is what opening may use.
type Env struct {
	// Session names the caller in CloudTrail when a role is assumed.
	Session string
	// Transport is the network, with certificates of its own; nil is the
	// library's own. Credentials that are not given are fetched by the library's.
	Transport http.RoundTripper
	// Secret returns the value of a reference such as env:NAME. Nil: references
	// are refused.
	Secret func(ctx context.Context, ref string) (string, error)
}

// Validate returns the fault of the first field that is wrong, as ops.ErrInvalid.
func (c *Config) Validate() error {
	fault := func(field, value, fix string) error {
		return fmt.Errorf("%s %q: %s: %w", field, value, fix, ops.ErrInvalid)
	}
	switch {
	case c.Role != "" && !IsARN(c.Role):
		return fault("role", c.Role, "write the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME")
	case c.ExternalID != "" && c.Role == "":
		return fault("external_id", "", "set role too: an external id is for assuming one")
	case c.Endpoint != "":
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			return fault("endpoint", c.Endpoint, "write a URL such as https://ssm.eu-central-1.amazonaws.com")
		}
	}
	return nil
}

// IsARN reports whether s is an Amazon Resource Name.
func IsARN(s string) bool { return strings.HasPrefix(s, "arn:") && strings.Count(s, ":") >= 5 }

// ErrNoRegion is returned by Open where nobody says the region.
var ErrNoRegion = fmt.Errorf("region is missing, and neither AWS_REGION nor a profile says it; write region: %w", ops.ErrInvalid)

// Open finds credentials and region the way every AWS tool does, and assumes
// the role if there is one. It makes no call that could not be made later:
// credentials are fetched with the first request.
func Open(ctx context.Context, c Config, e Env) (aws.Config, error) {
	var options []func(*awsconfig.LoadOptions) error
	if c.Region != "" {
		options = append(options, awsconfig.WithRegion(c.Region))
	}
	if c.Endpoint != "" {
		options = append(options, awsconfig.WithBaseEndpoint(c.Endpoint))
	}
	failpoint.Hit("awsx.open.before")
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	failpoint.Hit("awsx.open.after")
	if err != nil {
		return cfg, fmt.Errorf("load the AWS configuration: %w: %w", err, ops.ErrInvalid)
	}
	// Only now: loading refuses a client of ours where AWS_CA_BUNDLE is set.
	switch {
	case e.Transport != nil:
		cfg.HTTPClient = &http.Client{Transport: e.Transport}
	case cfg.HTTPClient == nil:
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	cfg.HTTPClient = whole{cfg.HTTPClient}
	if cfg.Region == "" {
		return cfg, ErrNoRegion
	}
	if c.Role == "" {
		return cfg, nil
	}
	id, err := externalID(ctx, c, e)
	if err != nil {
		return cfg, err
	}
	role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), c.Role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "fettle-" + e.Session
		if id != "" {
			o.ExternalID = &id
		}
	})
	cfg.Credentials = aws.NewCredentialsCache(role)
	return cfg, nil
}

func externalID(ctx context.Context, c Config, e Env) (string, error) {
	scheme, _, reference := strings.Cut(c.ExternalID, ":")
	if !reference || scheme != "env" && scheme != "file" && scheme != "vault" {
		return c.ExternalID, nil
	}
	if e.Secret == nil {
		return "", fmt.Errorf("external_id is a reference, and none can be resolved here: %w", ops.ErrInvalid)
	}
	id, err := e.Secret(ctx, c.ExternalID)
	if err != nil {
		return "", fmt.Errorf("external_id: %w", err)
	}
	return id, nil
}
