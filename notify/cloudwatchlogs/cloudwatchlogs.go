// Package cloudwatchlogs writes what Fettle does to a stream of Amazon
// CloudWatch Logs, one line of JSON each.
package cloudwatchlogs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver writes log events. CloudWatch Logs takes the same line twice, so one
// that may have arrived is not sent again.
var Driver = notify.Define("cloudwatchlogs", notify.Traits{}, Open)

// Config says which stream, and in which account.
type Config struct {
	awsx.Config `yaml:",inline"`

	Group   string        `yaml:"group,required"`  // name of the log group, which must exist
	Stream  string        `yaml:"stream,required"` // name of the log stream, made when there is none
	Timeout time.Duration `yaml:"timeout"`         // of one attempt; default 20s
}

// Validate fills in the default and returns the first fault.
func (c *Config) Validate() error {
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	switch {
	case c.Group == "" || c.Stream == "":
		return errors.New("group and stream are required")
	case c.Timeout < 0:
		return errors.New("timeout must not be negative")
	}
	return c.Config.Validate()
}

type channel struct {
	c      Config
	clock  clock.Clock
	client *cloudwatchlogs.Client
}

// Open returns the channel. It calls nobody.
func Open(ctx context.Context, c Config, env notify.Env) (notify.Channel, error) {
	cfg, err := notify.OpenAWS(ctx, c.Config, env)
	if err != nil {
		return nil, fmt.Errorf("cloudwatchlogs: %w", err)
	}
	return &channel{c: c, clock: env.Clock, client: cloudwatchlogs.NewFromConfig(cfg, func(o *cloudwatchlogs.Options) { o.Retryer = awsx.Once })}, nil
}

const (
	// maxMessage is below what is taken of one event everywhere, 256 KB.
	maxMessage = 250 << 10
	// oldest and newest bound the time an event may say: PutLogEvents rejects
	// others and answers 200.
	oldest = 13 * 24 * time.Hour
	newest = time.Hour
)

// Send implements notify.Channel. A stream that is not there is made.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	line, err := notify.Fit(m, maxMessage, func(m notify.Message) ([]byte, error) { return json.Marshal(m) })
	if err != nil {
		return fmt.Errorf("cloudwatchlogs: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ch.c.Timeout)
	defer cancel()
	err = ch.put(ctx, m.At, string(line))
	if awsx.Code(err) != "ResourceNotFoundException" {
		return notify.AWSError("cloudwatchlogs: put to "+ch.c.Group, err)
	}
	if err := ch.make(ctx); err != nil {
		return err
	}
	return notify.AWSError("cloudwatchlogs: put to "+ch.c.Group, ch.put(ctx, m.At, string(line)))
}

func (ch *channel) put(ctx context.Context, at time.Time, line string) error {
	if now := ch.clock(); at.Before(now.Add(-oldest)) || at.After(now.Add(newest)) {
		at = now // the line says when it was
	}
	failpoint.Hit("notify.cloudwatchlogs.before")
	out, err := ch.client.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{
		LogGroupName: &ch.c.Group, LogStreamName: &ch.c.Stream, LogEvents: []types.InputLogEvent{{Message: &line, Timestamp: aws.Int64(at.UnixMilli())}},
	})
	failpoint.Hit("notify.cloudwatchlogs.after")
	if err != nil {
		return err
	}
	if r := out.RejectedLogEventsInfo; r != nil {
		return fmt.Errorf("the event of %s was rejected, too old or too new: %w", notify.Stamp(at), ops.ErrInvalid)
	}
	return nil
}

func (ch *channel) make(ctx context.Context) error {
	failpoint.Hit("notify.cloudwatchlogs.make.before")
	_, err := ch.client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &ch.c.Group, LogStreamName: &ch.c.Stream})
	failpoint.Hit("notify.cloudwatchlogs.make.after")
	if code := awsx.Code(err); err == nil || code == "ResourceAlreadyExistsException" {
		return nil
	}
	return awsx.Read("cloudwatchlogs: make the stream "+ch.c.Stream+" in "+ch.c.Group+", which must exist", err)
}
