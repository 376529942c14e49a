// Package kinesis fetches CloudWatch metric data from a Kinesis data stream.
//
// Every server that has the integration reads some of the shards. Who reads
// which, and how far, stands in leases in the store: a lease holds for a while
// and is renewed, so the shards of a server that died fall to the others. A
// checkpoint is written after the samples before it are durable, and each
// message goes into the sample log under its shard and sequence number, so
// what is fetched twice is kept once.
package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/failpoint"
)

// Driver is the source `kinesis`.
var Driver = intake.DefinePull("kinesis", Open)

// Open makes the consumer of one integration.
func Open(options intake.Decoder, env intake.PullEnv) (intake.Puller, error) {
	var c Config
	if err := options.Decode(&c); err != nil {
		return nil, err
	}
	c.Defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	return &consumer{config: c, env: env}, nil
}

// stream is the data stream, as the service knows it.
type stream struct {
	client    *kinesis.Client
	name, arn *string // one of them
}

// connect finds credentials and region the way every AWS tool does, and assumes
// the role if there is one.
func (c *consumer) connect(ctx context.Context) (*stream, error) {
	var options []func(*awsconfig.LoadOptions) error
	if c.env.Transport != nil {
		options = append(options, awsconfig.WithHTTPClient(&http.Client{Transport: c.env.Transport}))
	}
	if c.config.Region != "" {
		options = append(options, awsconfig.WithRegion(c.config.Region))
	}
	failpoint.Hit("kinesis.connect.before")
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	failpoint.Hit("kinesis.connect.after")
	if err != nil {
		return nil, fmt.Errorf("kinesis: load the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, &intake.Fault{Field: "options.region", Fix: "is missing, and neither AWS_REGION nor a profile says it; write the region of the stream"}
	}
	if c.config.Role != "" {
		id, err := c.externalID(ctx)
		if err != nil {
			return nil, err
		}
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), c.config.Role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "fettle-" + c.env.Integration
			if id != "" {
				o.ExternalID = &id
			}
		})
		if cfg, err = awsconfig.LoadDefaultConfig(ctx, append(options, awsconfig.WithCredentialsProvider(role))...); err != nil {
			return nil, fmt.Errorf("kinesis: load the AWS configuration for %s: %w", c.config.Role, err)
		}
	}
	s := &stream{client: kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		if c.config.Endpoint != "" {
			o.BaseEndpoint = &c.config.Endpoint
		}
	})}
	if isARN(c.config.Stream) {
		s.arn = &c.config.Stream
	} else {
		s.name = &c.config.Stream
	}
	return s, nil
}

func (c *consumer) externalID(ctx context.Context) (string, error) {
	scheme, _, reference := strings.Cut(c.config.ExternalID, ":")
	if !reference || scheme != "env" && scheme != "file" {
		return c.config.ExternalID, nil
	}
	id, err := c.env.Secret(ctx, c.config.ExternalID)
	if err != nil {
		return "", fmt.Errorf("options.external_id: %w", err)
	}
	return id, nil
}

// shards lists all shards that hold anything, closed ones too.
func (s *stream) shards(ctx context.Context) ([]types.Shard, error) {
	var out []types.Shard
	in := &kinesis.ListShardsInput{StreamName: s.name, StreamARN: s.arn}
	for {
		failpoint.Hit("kinesis.shards.before")
		page, err := s.client.ListShards(ctx, in)
		failpoint.Hit("kinesis.shards.after")
		if err != nil {
			return nil, fmt.Errorf("kinesis: list shards: %w", err)
		}
		out = append(out, page.Shards...)
		if page.NextToken == nil {
			return out, nil
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken}
	}
}

// Probe implements intake.Prober: it lists the shards.
func (c *consumer) Probe(ctx context.Context) []intake.Finding {
	s, err := c.connect(ctx)
	if err == nil {
		_, err = s.shards(ctx)
	}
	if err == nil {
		return nil
	}
	var fault *intake.Fault
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &fault):
		return []intake.Finding{{What: fault.Field + " is wrong or missing", Fix: fault.Fix}}
	case errors.As(err, &missing):
		return []intake.Finding{{What: "there is no stream " + c.config.Stream, Fix: "check options.stream and options.region"}}
	}
	return []intake.Finding{{
		What: "the stream cannot be read: " + err.Error(),
		Fix:  "check the AWS credentials of this server, options.role and options.external_id, that they may do kinesis:ListShards, GetShardIterator and GetRecords, and that the address of Kinesis can be reached",
	}}
}
