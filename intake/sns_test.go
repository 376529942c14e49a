package intake_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
)

func TestSNSCertificateURL(t *testing.T) {
	f := func(url string, want bool) {
		t.Helper()
		if got := intake.IsSNSCertURL(url); got != want {
			t.Errorf("IsSNSCertURL(%q) = %v", url, got)
		}
	}
	const path = "/SimpleNotificationService-0123456789abcdef.pem"
	f("https://sns.us-east-1.amazonaws.com"+path, true)
	f("https://sns.us-gov-west-1.amazonaws.com"+path, true)
	f("https://sns.cn-north-1.amazonaws.com.cn"+path, true)
	f("https://sns.ap-southeast-2.amazonaws.com"+path, true)
	f("http://sns.us-east-1.amazonaws.com"+path, false)
	f("https://sns.us-east-1.amazonaws.com:443"+path, false)
	f("https://u@sns.us-east-1.amazonaws.com"+path, false)
	f("https://sns.amazonaws.com"+path, false)
	f("https://sns.s3-ap-southeast-2.amazonaws.com"+path, false) // a bucket named sns
	f("https://sns.us-east-1.amazonaws.com.evil.example"+path, false)
	f("https://sns.us-east-1.amazonaws.com/x"+path, false)
	f("https://sns.us-east-1.amazonaws.com"+path+"?x", false)
	f("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-../x.pem", false)
	f("https://evil.example/"+"https://sns.us-east-1.amazonaws.com"+path, false)
	f("https://sns.us-east-1.amazonaws.com"+path+"\n", false)
	f("", false)
}

func message() intaketest.Message {
	return intaketest.Message{Type: "Notification", MessageID: "m-1", TopicArn: intaketest.Topic, Message: `{"id":"1","rule":"cpu"}`, Timestamp: "2026-11-21T10:00:00.456Z"}
}

func set(t *testing.T, body []byte, key string, value any) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	if m[key] = value; value == nil {
		delete(m, key)
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSNSSignature(t *testing.T) {
	sns, stranger := intaketest.NewSNS(t), intaketest.NewSNS(t)
	h := intaketest.Open(t, intaketest.Setup{Driver: plain, Auth: "sns: {topics: ['" + intaketest.Topic + "']}", Fetch: sns})
	f := func(what string, want int, body []byte) {
		t.Helper()
		// The plain source finds no rule in an envelope: what passes is ignored.
		if rec := h.Send(t, intaketest.Request{Body: body}); rec.Code != want {
			t.Errorf("%s: answer %d %s, want %d; log:\n%s", what, rec.Code, rec.Body, want, h.Logs())
		}
	}
	const ok, no = http.StatusAccepted, http.StatusUnauthorized
	with := func(change func(*intaketest.Message)) intaketest.Message {
		m := message()
		change(&m)
		return m
	}
	f("version 1", ok, sns.Sign(t, "1", message()))
	f("version 2", ok, sns.Sign(t, "2", message()))
	f("with a subject", ok, sns.Sign(t, "2", with(func(m *intaketest.Message) { m.Subject = "ALARM: \"cpu\" <é>" })))
	f("text with escapes", ok, sns.Sign(t, "1", with(func(m *intaketest.Message) { m.Message = "a\nb\t\"c\" \u2028 <&>" })))
	f("confirmation", ok, sns.Sign(t, "1", with(func(m *intaketest.Message) {
		m.Type, m.Token, m.SubscribeURL = "SubscriptionConfirmation", "t", "https://x"
	})))
	f("end of a subscription", ok, sns.Sign(t, "2", with(func(m *intaketest.Message) {
		m.Type, m.Token, m.SubscribeURL = "UnsubscribeConfirmation", "t", "https://x"
	})))
	f("unsigned fields may differ", ok, set(t, sns.Sign(t, "2", message()), "UnsubscribeURL", "https://y"))

	f("signed by somebody else", no, stranger.Sign(t, "2", message()))
	for _, k := range []string{"Message", "MessageId", "Timestamp", "TopicArn", "Type"} {
		f("changed "+k, no, set(t, sns.Sign(t, "2", message()), k, "2026-11-21T10:00:01.456Z"))
	}
	f("a subject added", no, set(t, sns.Sign(t, "2", message()), "Subject", "x"))
	f("an empty subject added", no, set(t, sns.Sign(t, "2", message()), "Subject", ""))
	f("version 1 called 2", no, set(t, sns.Sign(t, "1", message()), "SignatureVersion", "2"))
	f("version 3", no, set(t, sns.Sign(t, "2", message()), "SignatureVersion", "3"))
	f("no signature", no, set(t, sns.Sign(t, "2", message()), "Signature", nil))
	f("signature no base64", no, set(t, sns.Sign(t, "2", message()), "Signature", "!"))
	f("certificate elsewhere", no, set(t, sns.Sign(t, "2", message()), "SigningCertURL", "https://evil.example/SimpleNotificationService-0.pem"))
	f("topic of somebody else", no, sns.Sign(t, "2", with(func(m *intaketest.Message) { m.TopicArn = "arn:aws:sns:us-east-1:999999999999:ops" })))
	f("59 minutes old", ok, sns.Sign(t, "2", with(func(m *intaketest.Message) {
		m.Timestamp = intaketest.Now.Add(-59 * time.Minute).Format(time.RFC3339Nano)
	})))
	f("61 minutes old", no, sns.Sign(t, "2", with(func(m *intaketest.Message) {
		m.Timestamp = intaketest.Now.Add(-61 * time.Minute).Format(time.RFC3339Nano)
	})))
	f("61 minutes ahead", no, sns.Sign(t, "2", with(func(m *intaketest.Message) {
		m.Timestamp = intaketest.Now.Add(61 * time.Minute).Format(time.RFC3339Nano)
	})))
	f("no time", no, sns.Sign(t, "2", with(func(m *intaketest.Message) { m.Timestamp = "soon" })))
	f("another type", no, sns.Sign(t, "2", with(func(m *intaketest.Message) { m.Type = "Other" })))
	if got := sns.Fetched(); len(got) != 1 {
		t.Errorf("the certificate was fetched %d times, want once: %q", len(got), got)
	}
}

func TestSNSCertificate(t *testing.T) {
	f := func(what string, sns *intaketest.SNS, want int) {
		t.Helper()
		h := intaketest.Open(t, intaketest.Setup{Driver: plain, Auth: "sns: {topics: ['" + intaketest.Topic + "']}", Fetch: sns})
		rec := h.Send(t, intaketest.Request{Body: sns.Sign(t, "2", message())})
		if rec.Code != want || want == http.StatusServiceUnavailable && rec.Header().Get("Retry-After") == "" {
			t.Errorf("%s: answer %d, want %d; log:\n%s", what, rec.Code, want, h.Logs())
		}
	}
	f("expired", intaketest.NewSNSValid(t, intaketest.Now.Add(-48*time.Hour), intaketest.Now.Add(-time.Hour)), http.StatusUnauthorized)
	f("not yet valid", intaketest.NewSNSValid(t, intaketest.Now.Add(time.Hour), intaketest.Now.Add(48*time.Hour)), http.StatusUnauthorized)
	down := intaketest.NewSNS(t)
	down.Down = true
	f("SNS is away: it sends again", down, http.StatusServiceUnavailable)
	odd := intaketest.NewSNS(t)
	odd.CertURL = strings.Replace(odd.CertURL, "0123456789abcdef0123456789abcdef", "other", 1)
	f("another name of the certificate", odd, http.StatusAccepted)
}

func TestStrangersCannotMakeItFetchWithoutEnd(t *testing.T) {
	sns := intaketest.NewSNS(t)
	h := intaketest.Open(t, intaketest.Setup{Driver: plain, Auth: "sns: {topics: ['" + intaketest.Topic + "']}", Fetch: sns})
	good := sns.Sign(t, "2", message())
	for i := range 50 {
		h.Send(t, intaketest.Request{Body: set(t, good, "SigningCertURL", "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-"+strings.Repeat("a", i+1)+".pem")})
	}
	if n := len(sns.Fetched()); n > 10 {
		t.Errorf("%d fetches for 50 unknown certificates", n)
	}
}
