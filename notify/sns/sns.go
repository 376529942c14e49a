// Package sns publishes to an Amazon SNS topic.
package sns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver publishes to a topic. A FIFO topic recognises the id of a message for
// five minutes, which is too short to rely on, and others not at all, so one
// that may have arrived is not sent again.
var Driver = notify.Define("sns", notify.Traits{PerHour: 20}, Open)

// Config says which topic, and in which account.
type Config struct {
	awsx.Config `yaml:",inline"`

	Topic   string        `yaml:"topic,required"`          // ARN; a name that ends in .fifo is a FIFO topic
	Format  string        `yaml:"format" enum:"text,json"` // text for people, json for programs; default text
	Timeout time.Duration `yaml:"timeout"`                 // of one attempt; default 20s
}

func (c *Config) fifo() bool { return strings.HasSuffix(c.Topic, ".fifo") }

// Validate fills in the defaults and returns the first fault.
func (c *Config) Validate() error {
	if c.Format == "" {
		c.Format = "text"
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	parts := strings.Split(c.Topic, ":")
	switch {
	case len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" || parts[5] == "":
		return fmt.Errorf("topic %q: write its ARN, arn:aws:sns:REGION:ACCOUNT:NAME", c.Topic)
	case c.Timeout < 0:
		return errors.New("timeout must not be negative")
	case c.Region == "":
		c.Region = parts[3]
	}
	return c.Config.Validate()
}

type channel struct {
	c      Config
	client *sns.Client
}

// Open returns the channel. It calls nobody.
func Open(ctx context.Context, c Config, env notify.Env) (notify.Channel, error) {
	cfg, err := notify.OpenAWS(ctx, c.Config, env)
	if err != nil {
		return nil, fmt.Errorf("sns: %w", err)
	}
	return &channel{c: c, client: sns.NewFromConfig(cfg, func(o *sns.Options) { o.Retryer = awsx.Once })}, nil
}

// Limits of Publish: 256 KB for message and attributes, 100 characters of
// ASCII for the subject.
const (
	maxMessage = 250 << 10
	maxSubject = 100
)

// Send implements notify.Channel.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	text := notify.Text(m, maxMessage)
	if ch.c.Format == "json" {
		b, err := notify.Fit(m, maxMessage, func(m notify.Message) ([]byte, error) { return json.Marshal(m) })
		if err != nil {
			return fmt.Errorf("sns: %w", err)
		}
		text = string(b)
	}
	attribute := func(v string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
	}
	in := &sns.PublishInput{TopicArn: &ch.c.Topic, Message: &text, MessageAttributes: map[string]types.MessageAttributeValue{
		"fettle_id": attribute(m.ID), "fettle_event": attribute(m.Event), "fettle_severity": attribute(string(m.Severity)),
	}}
	if s := subject(m.Title); s != "" {
		in.Subject = &s
	}
	if ch.c.fifo() {
		group := m.Subject // what is about the same thing stays in order
		in.MessageGroupId, in.MessageDeduplicationId = &group, &m.ID
	}
	ctx, cancel := context.WithTimeout(ctx, ch.c.Timeout)
	defer cancel()
	failpoint.Hit("notify.sns.before")
	out, err := ch.client.Publish(ctx, in)
	failpoint.Hit("notify.sns.after")
	if err != nil {
		return notify.AWSError("sns: publish to "+ch.c.Topic, err)
	}
	if aws.ToString(out.MessageId) == "" {
		return fmt.Errorf("sns: publish to %s: the answer has no message id and is none of SNS: %w", ch.c.Topic, ops.ErrUnavailable)
	}
	return nil
}

// subject is the title as SNS takes it: printable ASCII that begins with a
// letter, a digit or a punctuation mark, and no line breaks.
func subject(title string) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, notify.OneLine(title))
	s = strings.TrimSpace(s)
	if len(s) > maxSubject {
		s = s[:maxSubject-3] + "..."
	}
	return s
}
