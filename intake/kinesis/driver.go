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

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/awsx"
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

// connect opens AWS. The endpoint is that of Kinesis alone: roles are assumed at
// the public one.
func (c *consumer) connect(ctx context.Context) (*stream, error) {
	at := awsx.Config{Region: c.config.Region, Role: c.config.Role, ExternalID: c.config.ExternalID}
	cfg, err := awsx.Open(ctx, at, awsx.Env{Session: c.env.Integration, Transport: c.env.Transport, Secret: c.env.Secret})
	switch {
	case errors.Is(err, awsx.ErrNoRegion):
		return nil, &intake.Fault{Field: "options.region", Fix: "is missing, and neither AWS_REGION nor a profile says it; write the region of the stream"}
	case err != nil:
		return nil, fmt.Errorf("kinesis: %w", err)
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
