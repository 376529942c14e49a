package intake

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SNS signature version 1 is SHA-1 by definition
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
)

// SNSMessage is the envelope of Amazon SNS over HTTP(S). Lambda's spelling of
// the URL fields is read too, as encoding/json ignores case.
type SNSMessage struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicArn         string
	Subject          *string // part of the signed text only when it is present
	Message          string
	Timestamp        string
	Token            string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
	SubscribeURL     string
	UnsubscribeURL   string
}

// The types of SNS messages.
const (
	SNSNotification = "Notification"
	SNSSubscribe    = "SubscriptionConfirmation"
	SNSUnsubscribe  = "UnsubscribeConfirmation"
)

// ParseSNS reads an envelope. The error is a *Fault.
func ParseSNS(body []byte) (SNSMessage, error) {
	var m SNSMessage
	if err := json.Unmarshal(body, &m); err != nil {
		return m, NotJSON(err, "an SNS message")
	}
	switch m.Type {
	case SNSNotification, SNSSubscribe, SNSUnsubscribe:
		return m, nil
	}
	return m, &Fault{Field: "Type", Value: m.Type, Fix: "send an SNS message: Type is Notification, SubscriptionConfirmation or UnsubscribeConfirmation"}
}

// signed returns the text SNS signs: names and values of these fields in byte
// order, each followed by a line feed.
func (m *SNSMessage) signed() []byte {
	var b bytes.Buffer
	add := func(name, value string) {
		b.WriteString(name)
		b.WriteByte('\n')
		b.WriteString(value)
		b.WriteByte('\n')
	}
	add("Message", m.Message)
	add("MessageId", m.MessageID)
	if m.Type == SNSNotification {
		if m.Subject != nil {
			add("Subject", *m.Subject)
		}
	} else {
		add("SubscribeURL", m.SubscribeURL)
	}
	add("Timestamp", m.Timestamp)
	if m.Type != SNSNotification {
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicArn)
	add("Type", m.Type)
	return b.Bytes()
}

// The hosts are regional SNS only. The looser pattern sns\.[a-zA-Z0-9-]{3,}
// lets sns.s3-REGION.amazonaws.com pass, which is a bucket anybody may own.
var (
	snsCertURL = regexp.MustCompile(`^https://sns\.[a-z]{2,}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com(?:\.cn)?/SimpleNotificationService-[0-9a-zA-Z]+\.pem$`)
	snsHostURL = regexp.MustCompile(`^https://sns\.[a-z]{2,}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com(?:\.cn)?/\?[!-~]*$`)
	snsTopic   = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?$`)
)

// IsSNSCertURL reports whether a certificate may be fetched from url.
func IsSNSCertURL(url string) bool { return snsCertURL.MatchString(url) }

// IsSNSActionURL reports whether url is an action of regional SNS, such as
// confirming a subscription.
func IsSNSActionURL(url string) bool { return snsHostURL.MatchString(url) }

// SNSAuth checks the signature of SNS, versions 1 and 2, and that the message
// is of a topic of ours: a valid signature only proves that some topic of
// somebody sent it.
type SNSAuth struct {
	// Topics are the ARNs of the topics that may send.
	Topics []string `yaml:"topics"`
}

func (c SNSAuth) check() error {
	if len(c.Topics) == 0 {
		return &Fault{Field: "auth.sns.topics", Fix: "list the ARNs of the topics that may send; without it every AWS account could"}
	}
	var errs []error
	for i, t := range c.Topics {
		if !snsTopic.MatchString(t) {
			errs = append(errs, &Fault{Field: fmt.Sprintf("auth.sns.topics[%d]", i), Value: t, Fix: "write a whole topic ARN such as arn:aws:sns:eu-west-1:123456789012:ops; patterns are not supported"})
		}
	}
	return errors.Join(errs...)
}

// snsSkew bounds how far the sender's clock may be from ours, so that a
// recorded message cannot be played back later.
const snsSkew = time.Hour

func (b *builder) sns(c SNSAuth) (proof, error) {
	if err := c.check(); err != nil {
		return proof{}, err
	}
	v := &snsVerifier{topics: c.Topics, certs: &certificates{fetch: b.Fetch, clock: b.Clock, limit: rate.NewLimiter(1, 10)}, clock: b.Clock}
	return proof{name: "sns", body: v.verify}, nil
}

type snsVerifier struct {
	topics []string
	certs  *certificates
	clock  clock.Clock
}

func (v *snsVerifier) verify(ctx context.Context, h http.Header, _, plain []byte) error {
	if strings.EqualFold(h.Get("X-Amz-Sns-Rawdelivery"), "true") {
		return deny("sns", "raw delivery carries no signature; switch it off at the subscription")
	}
	m, err := ParseSNS(plain)
	if err != nil {
		return deny("sns", "no SNS message: %v", err)
	}
	if !slices.Contains(v.topics, m.TopicArn) {
		return deny("sns", "topic %q is not in auth.sns.topics", shorten(m.TopicArn))
	}
	at := ParseTime(m.Timestamp, time.Time{})
	if d := v.clock().Sub(at); d > snsSkew || d < -snsSkew {
		return deny("sns", "timestamp %q is more than %s away from our clock", shorten(m.Timestamp), snsSkew)
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil || len(signature) == 0 {
		return deny("sns", "the signature is not base64")
	}
	var hash crypto.Hash
	var sum []byte
	switch m.SignatureVersion {
	case "1":
		s := sha1.Sum(m.signed()) //nolint:gosec // see the import
		hash, sum = crypto.SHA1, s[:]
	case "2":
		s := sha256.Sum256(m.signed())
		hash, sum = crypto.SHA256, s[:]
	default:
		return deny("sns", "signature version %q is neither 1 nor 2", shorten(m.SignatureVersion))
	}
	key, err := v.certs.key(ctx, m.SigningCertURL)
	if err != nil {
		return err
	}
	if rsa.VerifyPKCS1v15(key, hash, sum, signature) != nil {
		return deny("sns", "the signature does not fit the message")
	}
	return nil
}

// certificates fetches and keeps the keys SNS signs with.
type certificates struct {
	fetch Fetcher
	clock clock.Clock
	// limit bounds how often strangers make us fetch: the path may hold any
	// name, and the fetch comes before the signature is known.
	limit *rate.Limiter

	mu   sync.Mutex
	kept map[string]certificate
}

type certificate struct {
	key      *rsa.PublicKey
	notAfter time.Time
}

// maxCertificates bounds the cache; a region uses one at a time.
const maxCertificates = 64

func (c *certificates) lookup(url string) (*rsa.PublicKey, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[url]
	if !ok || c.clock().After(k.notAfter) {
		return nil, false
	}
	return k.key, true
}

func (c *certificates) key(ctx context.Context, url string) (*rsa.PublicKey, error) {
	if !IsSNSCertURL(url) {
		return nil, deny("sns", "the certificate is not at regional SNS")
	}
	if key, ok := c.lookup(url); ok {
		return key, nil
	}
	if !c.limit.AllowN(c.clock(), 1) {
		return nil, fmt.Errorf("sns: too many unknown certificates asked for: %w", ops.ErrUnavailable)
	}
	text, err := c.fetch.Fetch(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("sns: the signing certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, deny("sns", "the signing certificate is no PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, deny("sns", "the signing certificate cannot be read")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	now := c.clock()
	switch {
	case !ok:
		return nil, deny("sns", "the signing certificate holds no RSA key")
	case now.After(cert.NotAfter) || now.Before(cert.NotBefore):
		return nil, deny("sns", "the signing certificate is valid from %s to %s only", cert.NotBefore.UTC(), cert.NotAfter.UTC())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxCertificates || c.kept == nil {
		c.kept = map[string]certificate{}
	}
	c.kept[url] = certificate{key, cert.NotAfter}
	return key, nil
}
