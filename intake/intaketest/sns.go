package intaketest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SNS signature version 1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
)

// SNS plays Amazon SNS: it signs messages with a key of its own and serves the
// certificate and the answer to a confirmation as a Fetcher.
type SNS struct {
	// CertURL is where its certificate is.
	CertURL string
	// Down makes every fetch fail.
	Down bool

	key  *rsa.PrivateKey
	cert []byte

	mu      sync.Mutex
	fetched []string
}

// Topic is the topic SNS sends from.
const Topic = "arn:aws:sns:us-east-1:123456789012:ops"

// NewSNS returns an SNS whose certificate is valid around Now.
func NewSNS(t testing.TB) *SNS {
	t.Helper()
	return NewSNSValid(t, Now.Add(-24*time.Hour), Now.Add(24*time.Hour))
}

// NewSNSValid returns an SNS whose certificate is valid in a span.
func NewSNSValid(t testing.TB, from, to time.Time) *SNS {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &SNS{
		CertURL: "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
		key:     key,
		cert:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}
}

// Fetch implements intake.Fetcher.
func (s *SNS) Fetch(_ context.Context, url string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched = append(s.fetched, url)
	switch {
	case s.Down:
		return nil, fmt.Errorf("no answer: %w", ops.ErrUnavailable)
	case url == s.CertURL:
		return s.cert, nil
	}
	return []byte("<ConfirmSubscriptionResponse/>"), nil
}

// Fetched returns every URL asked for.
func (s *SNS) Fetched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.fetched...)
}

// Message is a message to be signed. Empty optional fields are left out.
type Message struct {
	Type         string `json:"Type"`
	MessageID    string `json:"MessageId"`
	Token        string `json:"Token,omitempty"`
	TopicArn     string `json:"TopicArn"`
	Subject      string `json:"Subject,omitempty"`
	Message      string `json:"Message"`
	SubscribeURL string `json:"SubscribeURL,omitempty"`
	Timestamp    string `json:"Timestamp"`
}

// Sign returns the body of a message signed in version "1" or "2". The signed
// text is put together here as the facts spell it, field by field, without the
// code it tests.
func (s *SNS) Sign(t testing.TB, version string, m Message) []byte {
	t.Helper()
	text := "Message\n" + m.Message + "\nMessageId\n" + m.MessageID + "\n"
	if m.Type == "Notification" {
		if m.Subject != "" {
			text += "Subject\n" + m.Subject + "\n"
		}
		text += "Timestamp\n" + m.Timestamp + "\n"
	} else {
		text += "SubscribeURL\n" + m.SubscribeURL + "\nTimestamp\n" + m.Timestamp + "\nToken\n" + m.Token + "\n"
	}
	text += "TopicArn\n" + m.TopicArn + "\nType\n" + m.Type + "\n"
	var hash crypto.Hash
	var sum []byte
	if version == "1" {
		h := sha1.Sum([]byte(text)) //nolint:gosec // SNS signature version 1
		hash, sum = crypto.SHA1, h[:]
	} else {
		h := sha256.Sum256([]byte(text))
		hash, sum = crypto.SHA256, h[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, hash, sum)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(struct {
		Message
		SignatureVersion string
		Signature        string
		SigningCertURL   string
	}{m, version, base64.StdEncoding.EncodeToString(signature), s.CertURL})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
