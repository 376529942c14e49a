package cloudwatch_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/cloudwatch"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
)

func alarm(n int) string {
	return fmt.Sprintf(`{"AlarmName":"cpu-%d","AWSAccountId":"123456789012","NewStateValue":"ALARM","NewStateReason":"Threshold Crossed","StateChangeTime":"2026-11-21T10:00:00.123+0000","Region":"US East (N. Virginia)","AlarmArn":"arn:aws:cloudwatch:us-east-1:123456789012:alarm:cpu-%d","OldStateValue":"OK","Trigger":{"MetricName":"CPUUtilization","Namespace":"AWS/EC2","Dimensions":[{"value":"i-0abc","name":"InstanceId"}],"Period":60,"EvaluationPeriods":5,"ComparisonOperator":"GreaterThanThreshold","Threshold":80.0}}`, n, n)
}

func notification(n int) intaketest.Message {
	return intaketest.Message{Type: "Notification", MessageID: fmt.Sprintf("m-%d", n), TopicArn: intaketest.Topic, Subject: `ALARM: "cpu"`, Message: alarm(n), Timestamp: "2026-11-21T10:00:00.456Z"}
}

func post(body []byte) intaketest.Request {
	// SNS sends JSON as text.
	return intaketest.Request{Header: http.Header{"Content-Type": {"text/plain; charset=UTF-8"}, "X-Amz-Sns-Message-Type": {"Notification"}}, Body: body}
}

// retriesSNS is what SNS repeats after: facts, section 0.
func retriesSNS(status int) bool { return status >= 500 || status == http.StatusTooManyRequests }

func auth() string { return "sns: {topics: ['" + intaketest.Topic + "']}" }

// member replaces a member of a JSON object.
func member(t *testing.T, body []byte, key, value string) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	m[key] = value
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConformanceSNS(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		t.Run("signature version "+version, func(t *testing.T) {
			sns := intaketest.NewSNS(t)
			intaketest.Run(t, cloudwatch.Driver, intaketest.Harness{
				Auth: auth(), Fetch: sns, Numbered: true, Signed: true, Retries: retriesSNS,
				Request: func(n int) intaketest.Request { return post(sns.Sign(t, version, notification(n))) },
				Forge: func(r intaketest.Request) intaketest.Request {
					r.Body = member(t, r.Body, "Message", strings.ReplaceAll(alarm(1), "80.0", "8.0"))
					return r
				},
				Strip: func(r intaketest.Request) intaketest.Request {
					r.Body = member(t, r.Body, "Signature", "")
					return r
				},
			})
		})
	}
}

func event(n int) []byte {
	return fmt.Appendf(nil, `{"version":"0","id":"e-%d","detail-type":"CloudWatch Alarm State Change","source":"aws.cloudwatch","account":"123456789012","time":"2026-11-21T10:00:00Z","region":"us-east-1","resources":["arn:aws:cloudwatch:us-east-1:123456789012:alarm:cpu-%d"],"detail":{"alarmName":"cpu-%d","state":{"value":"ALARM","reason":"Threshold Crossed","timestamp":"2026-11-21T10:00:00.989+0000"},"previousState":{"value":"OK","timestamp":"2026-11-21T09:00:00.000+0000"},"configuration":{"metrics":[{"id":"m1","metricStat":{"metric":{"namespace":"AWS/EC2","name":"CPUUtilization","dimensions":{"InstanceId":"i-0abc"}},"period":60,"stat":"Average"},"returnData":true}]}}}`, n, n, n)
}

func TestConformanceEventBridge(t *testing.T) {
	intaketest.Run(t, cloudwatch.Driver, intaketest.Harness{
		Auth: "header: {name: X-Api-Key, value: env:KEY}", Secrets: intaketest.Secrets{"env:KEY": "key-of-eventbridge"}, Numbered: true,
		Request: func(n int) intaketest.Request {
			return intaketest.Request{Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}, "X-Api-Key": {"key-of-eventbridge"}}, Body: event(n)}
		},
		Forge: func(r intaketest.Request) intaketest.Request {
			r.Header.Set("X-Api-Key", "key-of-somebody")
			return r
		},
		Strip: func(r intaketest.Request) intaketest.Request {
			r.Header.Del("X-Api-Key")
			return r
		},
		Retries: func(status int) bool { // facts, section 0
			return status >= 500 || slices.Contains([]int{401, 407, 409, 429}, status)
		},
	})
}

func TestGolden(t *testing.T) { intaketest.Golden(t, cloudwatch.Driver) }

func FuzzDecode(f *testing.F) {
	intaketest.Fuzz(f, cloudwatch.Driver, "raw_delivery: true\ninsufficient_data: firing")
}

func decode(t *testing.T, name string) intake.Delivery {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name, "in.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := cloudwatch.Driver.Open(intaketest.YAML("insufficient_data: firing"), intake.Env{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Decode(&intake.Request{Integration: "aws", Body: body, ReceivedAt: intaketest.Now})
	if err != nil || len(d.Signals) != 1 {
		t.Fatalf("%s: %+v, %v", name, d, err)
	}
	return d
}

func TestIdentity(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		if x, y := decode(t, a).Signals[0].Alert, decode(t, b).Signals[0].Alert; (x.Fingerprint == y.Fingerprint) != same {
			t.Errorf("%s and %s: fingerprints %s %s, want same = %v", a, b, x.Fingerprint, y.Fingerprint, same)
		}
	}
	f("sns-alarm", "sns-ok", true)
	f("sns-alarm", "sns-insufficient-firing", true)
	f("event-alarm", "event-ok", true)
	f("sns-alarm", "event-alarm", true) // one alarm, two ways in
	f("event-detail-only", "event-detail-member", true)
	f("event-alarm", "event-contributor", false)
	f("sns-alarm", "sns-contributor", false)
	f("sns-contributor", "event-contributor", true)
	f("sns-alarm", "sns-composite", false)
	f("sns-alarm", "sns-china", false)
}

func TestSubscriptionIsConfirmed(t *testing.T) {
	const url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + intaketest.Topic + "&Token=t0ken-of-sns"
	confirmation := intaketest.Message{Type: "SubscriptionConfirmation", MessageID: "c", Token: "t0ken-of-sns", TopicArn: intaketest.Topic, Message: "You have chosen", SubscribeURL: url, Timestamp: "2026-11-21T10:00:00.751Z"}
	sns := intaketest.NewSNS(t)
	h := intaketest.Open(t, intaketest.Setup{Driver: cloudwatch.Driver, Auth: auth(), Fetch: sns})
	rec := h.Send(t, post(sns.Sign(t, "1", confirmation)))
	if rec.Code != http.StatusAccepted || !slices.Equal(sns.Fetched(), []string{sns.CertURL, url}) {
		t.Errorf("answer %d %s, fetched %q", rec.Code, rec.Body, sns.Fetched())
	}
	if len(h.Stored(t)) != 0 || strings.Contains(h.Logs(), "t0ken") || !strings.Contains(h.Logs(), "confirmed") {
		t.Errorf("stored %d, log:\n%s", len(h.Stored(t)), h.Logs())
	}
	refused := func(what string, want int, m intaketest.Message) {
		t.Helper()
		before := len(sns.Fetched())
		if rec := h.Send(t, post(sns.Sign(t, "2", m))); rec.Code != want {
			t.Errorf("%s: answer %d %s, want %d", what, rec.Code, rec.Body, want)
		}
		if got := sns.Fetched()[before:]; len(got) > 0 {
			t.Errorf("%s: fetched %q", what, got)
		}
	}
	other := confirmation
	other.TopicArn = "arn:aws:sns:us-east-1:999999999999:ops"
	refused("a topic that is not allowed", http.StatusUnauthorized, other)
	for _, u := range []string{
		"https://evil.example/?Action=ConfirmSubscription&TopicArn=" + intaketest.Topic, "http" + url[5:], "https://sns.s3-ap-southeast-2.amazonaws.com" + url[35:],
		"https://user@sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + intaketest.Topic, strings.Replace(url, "Confirm", "Un", 1),
	} {
		m := confirmation
		m.SubscribeURL = u
		refused(u, http.StatusBadRequest, m)
	}
	// SNS does not answer: it is asked to send the confirmation again.
	sns.Down = true
	rec = h.Send(t, post(sns.Sign(t, "1", confirmation)))
	if rec.Code != http.StatusServiceUnavailable || !retriesSNS(rec.Code) || rec.Header().Get("Retry-After") == "" {
		t.Errorf("with SNS down: %d %s", rec.Code, rec.Body)
	}
}

func TestConfirmationNeedsTheSignatureCheck(t *testing.T) {
	sns := intaketest.NewSNS(t)
	h := intaketest.Open(t, intaketest.Setup{Driver: cloudwatch.Driver, Auth: "bearer: env:T", Secrets: intaketest.Secrets{"env:T": "token-of-aws"}, Fetch: sns})
	body, err := os.ReadFile("testdata/confirmation/in.json")
	if err != nil {
		t.Fatal(err)
	}
	r := post(body)
	r.Header.Set("Authorization", "Bearer token-of-aws")
	if rec := h.Send(t, r); rec.Code != http.StatusBadRequest || len(sns.Fetched()) > 0 {
		t.Errorf("answer %d %s, fetched %q", rec.Code, rec.Body, sns.Fetched())
	}
}

func TestRawDeliveryIsRefusedWhereSignaturesAreAsked(t *testing.T) {
	sns := intaketest.NewSNS(t)
	h := intaketest.Open(t, intaketest.Setup{Driver: cloudwatch.Driver, Auth: auth(), Options: "raw_delivery: true", Fetch: sns})
	r := post([]byte(alarm(1)))
	r.Header.Set("X-Amz-Sns-Rawdelivery", "true")
	if rec := h.Send(t, r); rec.Code != http.StatusUnauthorized || len(h.Stored(t)) > 0 {
		t.Errorf("answer %d %s", rec.Code, rec.Body)
	}
}

func TestResource(t *testing.T) {
	f := func(name, alias string) {
		t.Helper()
		if got := decode(t, name).Signals[0].Alert.Resource.Aliases; !slices.Equal(got, []string{alias}) {
			t.Errorf("%s: aliases %q, want %q", name, got, alias)
		}
	}
	f("sns-alarm", "arn:aws:ec2:us-east-1:123456789012:instance/i-0abc")
	f("sns-china", "arn:aws-cn:ec2:cn-north-1:123456789012:instance/i-0abc")
	f("event-alarm", "arn:aws:ec2:us-east-1:123456789012:instance/i-0abc")
	f("event-contributor", "arn:aws:dynamodb:us-east-1:123456789012:table/orders")
	f("sns-metric-math", "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/web/1")
	f("event-detail-only", "cloudwatch:AWS/EC2/InstanceId=i-0abc")
	if r := decode(t, "sns-composite").Signals[0].Alert; len(r.Resource.Aliases) != 0 || r.State != ops.Firing {
		t.Errorf("composite: %+v", r)
	}
}
