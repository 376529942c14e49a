// Package cloudwatch takes the alarms of Amazon CloudWatch, over SNS and over
// EventBridge API destinations.
//
// Both ways may be configured for one alarm: the identity of an alarm is its
// ARN, and of a multi-series alarm its ARN and contributor, so what arrives
// twice is one thing.
package cloudwatch

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Driver is the source `cloudwatch`.
var Driver = intake.Define("cloudwatch", Open)

// Open makes the source of one integration.
func Open(options intake.Decoder, env intake.Env) (intake.Source, error) {
	var c Config
	if err := options.Decode(&c); err != nil {
		return nil, err
	}
	c.Defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	return &source{config: c, fetch: env.Fetch}, nil
}

type source struct {
	config Config
	fetch  intake.Fetcher
}

// Decode implements intake.Source. It tells the forms apart by their keys, as
// SNS sends JSON as text/plain and input transformers rewrite events.
func (s *source) Decode(r *intake.Request) (intake.Delivery, error) {
	doc, err := open(r.Body)
	if err != nil {
		return intake.Delivery{}, intake.NotJSON(err, "an SNS message or an EventBridge event")
	}
	if doc.has("Type") && doc.has("MessageId") {
		return s.sns(r)
	}
	if strings.EqualFold(r.Header.Get("X-Amz-Sns-Rawdelivery"), "true") || doc.isAlarm() {
		if !s.config.RawDelivery {
			return intake.Delivery{}, &intake.Fault{Field: "x-amz-sns-rawdelivery", Fix: "switch raw message delivery off at the subscription, or set options.raw_delivery and authenticate the sender otherwise: raw messages carry no signature"}
		}
		return s.inner(r, doc, key("sns", r.Header.Get("X-Amz-Sns-Message-Id")))
	}
	return s.inner(r, doc, "")
}

func key(scheme, id string) string {
	if id == "" {
		return ""
	}
	return scheme + " " + id
}

// inner decodes what is left when the envelope is off.
func (s *source) inner(r *intake.Request, doc document, dedupe string) (intake.Delivery, error) {
	switch {
	case doc.isAlarm():
		return s.alarm(r, doc, dedupe)
	case doc.has("detail-type"):
		return s.event(r, doc, dedupe)
	case doc.has("detail"), doc.has("alarmName") && doc.has("state"):
		return s.detail(r, doc, dedupe)
	}
	return intake.Delivery{}, &intake.Fault{Field: "body", Fix: "send a CloudWatch alarm: an SNS message, an EventBridge event, or its detail"}
}

func (s *source) sns(r *intake.Request) (intake.Delivery, error) {
	m, err := intake.ParseSNS(r.Body)
	if err != nil {
		return intake.Delivery{}, err
	}
	switch m.Type {
	case intake.SNSSubscribe:
		return s.subscribe(r, m)
	case intake.SNSUnsubscribe:
		return intake.Delivery{Note: "topic " + m.TopicArn + " no longer sends here: its subscription was ended; subscribe again if that was not meant"}, nil
	}
	doc, err := open([]byte(m.Message))
	if err != nil {
		return intake.Delivery{}, &intake.Fault{Field: "Message", Value: m.Message, Fix: "send CloudWatch alarms through this topic; the message is no JSON object"}
	}
	return s.inner(r, doc, key("sns", m.MessageID))
}

// subscribe confirms a subscription, for a topic that passed the allow-list
// and the signature of auth.sns and through a URL of SNS itself: anything less
// would let a stranger make this server call a URL of theirs.
func (s *source) subscribe(r *intake.Request, m intake.SNSMessage) (intake.Delivery, error) {
	if !r.HasPassed("sns") {
		return intake.Delivery{}, &intake.Fault{Field: "Type", Value: m.Type, Fix: "set auth.sns with the topic's ARN: subscriptions are confirmed only when their signature is checked"}
	}
	u, err := url.Parse(m.SubscribeURL)
	if err != nil || !intake.IsSNSActionURL(m.SubscribeURL) || u.Query().Get("Action") != "ConfirmSubscription" || u.Query().Get("TopicArn") != m.TopicArn {
		return intake.Delivery{}, &intake.Fault{Field: "SubscribeURL", Value: "https://" + hostOf(u), Fix: "send a confirmation of this topic at regional SNS"}
	}
	return intake.Delivery{
		Outcome: intake.Confirmed,
		Note:    "subscription of topic " + m.TopicArn + " confirmed",
		Then: func(ctx context.Context) error {
			if _, err := s.fetch.Fetch(ctx, m.SubscribeURL); err != nil {
				return fmt.Errorf("cloudwatch: confirm the subscription of %s: %w", m.TopicArn, err)
			}
			return nil
		},
	}, nil
}

func hostOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Host
}

var severityWord = regexp.MustCompile(`(?i)\bseverity\s*[=:]\s*([a-z]+)`)

func (s *source) severity(name, description string) ops.Severity {
	for _, rule := range s.config.Severities {
		if ok, err := path.Match(rule.Alarm, name); err == nil && ok {
			return ops.Severity(rule.Severity)
		}
	}
	if m := severityWord.FindStringSubmatch(description); m != nil {
		if sev, err := ops.ParseSeverity(strings.ToLower(m[1])); err == nil {
			return sev
		}
	}
	return ops.Severity(s.config.DefaultSeverity)
}

// Diagnose implements intake.Diagnoser. SNS signs and can send basic
// authentication; an EventBridge connection sends basic, a header, or a bearer
// token.
func (s *source) Diagnose(auth intake.AuthConfig) []intake.Finding {
	out := intake.Unsendable("AWS", auth, "sns", "basic", "header", "bearer")
	if s.config.RawDelivery && auth.SNS != nil {
		out = append(out, intake.Finding{What: "raw_delivery and auth.sns exclude each other: raw messages carry no signature and will be denied", Fix: "leave raw_delivery out and switch raw message delivery off at the subscription"})
	}
	if auth.SNS != nil && (auth.Header != nil || auth.Bearer != "") {
		out = append(out, intake.Finding{What: "no AWS sender satisfies auth.sns together with a header or bearer token: SNS signs, EventBridge sends headers", Fix: "make two integrations, one for SNS and one for EventBridge"})
	}
	if auth.SNS == nil && s.config.RawDelivery {
		out = append(out, intake.Finding{What: "subscriptions of SNS are not confirmed without auth.sns", Fix: "confirm the subscription by hand, or use auth.sns without raw_delivery"})
	}
	return out
}
