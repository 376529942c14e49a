// Package eventbridge puts events on an Amazon EventBridge bus.
package eventbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver puts events. EventBridge gives each event an id of its own, so one
// that may have arrived is not sent again; detail.id tells a consumer.
var Driver = notify.Define("eventbridge", notify.Traits{}, Open)

// Config says which bus, and in which account.
type Config struct {
	awsx.Config `yaml:",inline"`

	Bus     string        `yaml:"bus"`     // name or ARN; default: the account's default bus
	Source  string        `yaml:"source"`  // of the events, not beginning with aws.; default fettle
	Timeout time.Duration `yaml:"timeout"` // of one attempt; default 20s
}

// Validate fills in the defaults and returns the first fault.
func (c *Config) Validate() error {
	if c.Source == "" {
		c.Source = "fettle"
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	switch {
	case strings.HasPrefix(c.Source, "aws."):
		return fmt.Errorf("source %q: only AWS services may begin with aws.; write for example fettle", c.Source)
	case c.Timeout < 0:
		return errors.New("timeout must not be negative")
	}
	return c.Config.Validate()
}

type channel struct {
	c      Config
	client *eventbridge.Client
}

// Open returns the channel. It calls nobody.
func Open(ctx context.Context, c Config, env notify.Env) (notify.Channel, error) {
	cfg, err := notify.OpenAWS(ctx, c.Config, env)
	if err != nil {
		return nil, fmt.Errorf("eventbridge: %w", err)
	}
	return &channel{c: c, client: eventbridge.NewFromConfig(cfg, func(o *eventbridge.Options) { o.Retryer = awsx.Once })}, nil
}

// maxDetail leaves room for the other fields of an entry of 256 KB.
const maxDetail = 240 << 10

// Send implements notify.Channel. PutEvents answers 200 to an entry it has not
// taken, and counts it.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	detail, err := notify.Fit(m, maxDetail, func(m notify.Message) ([]byte, error) { return json.Marshal(m) })
	if err != nil {
		return fmt.Errorf("eventbridge: %w", err)
	}
	at := m.At
	entry := types.PutEventsRequestEntry{Source: &ch.c.Source, DetailType: aws.String("Fettle " + m.Event), Detail: aws.String(string(detail)), Time: &at}
	if ch.c.Bus != "" {
		entry.EventBusName = &ch.c.Bus
	}
	ctx, cancel := context.WithTimeout(ctx, ch.c.Timeout)
	defer cancel()
	failpoint.Hit("notify.eventbridge.before")
	out, err := ch.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{entry}})
	failpoint.Hit("notify.eventbridge.after")
	if err != nil {
		return notify.AWSError("eventbridge: put an event", err)
	}
	if len(out.Entries) != 1 {
		return fmt.Errorf("eventbridge: put an event: the answer is about %d events, not 1, and is none of EventBridge: %w", len(out.Entries), ops.ErrUnavailable)
	}
	e := out.Entries[0]
	code := aws.ToString(e.ErrorCode)
	switch {
	case code == "" && out.FailedEntryCount == 0:
		return nil
	case strings.Contains(code, "Throttl"):
		return &ops.Throttled{Err: fmt.Errorf("eventbridge: put an event: %s: %w", code, ops.ErrThrottled)}
	case strings.Contains(code, "Internal"), code == "":
		return fmt.Errorf("eventbridge: put an event: not taken %s: %w", code, ops.ErrUnavailable)
	case strings.Contains(code, "NotAuthorized"), strings.Contains(code, "AccessDenied"):
		return fmt.Errorf("eventbridge: put an event: %s: %w", code, ops.ErrDenied)
	}
	return fmt.Errorf("eventbridge: put an event: %s: %s: %w", code, notify.Cut(notify.OneLine(aws.ToString(e.ErrorMessage)), 200), ops.ErrInvalid)
}
