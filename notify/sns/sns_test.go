package sns_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/notify/notifytest"
	"github.com/fettleops/fettle/notify/sns"
	"github.com/fettleops/fettle/ops"
)

const topic = "arn:aws:sns:eu-west-1:123456789012:ops"

func fault(status int, code, text string) notifytest.Reply {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return notifytest.Reply{Status: status, Header: http.Header{"Content-Type": {"text/xml"}}, Body: `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>` + code + `</Code><Message>` + b.String() + `</Message></Error><RequestId>r</RequestId></ErrorResponse>`}
}

// refusal is what Publish refuses, after its API reference.
func refusal(f url.Values) string {
	subject, message := f.Get("Subject"), f.Get("Message")
	size := len(message)
	for k, v := range f {
		if strings.HasPrefix(k, "MessageAttributes.") {
			size += len(v[0])
		}
	}
	fifo := strings.HasSuffix(f.Get("TopicArn"), ".fifo")
	switch {
	case f.Get("Action") != "Publish" || f.Get("Version") != "2010-03-31":
		return "InvalidAction"
	case !strings.HasPrefix(f.Get("TopicArn"), topic):
		return "NotFound"
	case message == "" || size > 256<<10:
		return "InvalidParameter: Message"
	case len(subject) > 100 || strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r > '~' }) || strings.HasPrefix(subject, " "):
		return "InvalidParameter: Subject"
	case fifo != (f.Get("MessageGroupId") != ""):
		return "InvalidParameter: MessageGroupId"
	case len(f.Get("MessageGroupId")) > 128 || len(f.Get("MessageDeduplicationId")) > 128:
		return "InvalidParameter: id"
	}
	return ""
}

func start(t *testing.T, config string) *notifytest.Server {
	return notifytest.StartServer(t, &notifytest.Server{
		YAML: config,
		Fail: func(f notifytest.Fault, quote string) notifytest.Reply {
			switch f {
			case notifytest.Throttle:
				return fault(400, "Throttled", quote)
			case notifytest.Broken:
				return fault(500, "InternalError", quote)
			case notifytest.Refuse:
				return fault(400, "InvalidParameter", quote)
			case notifytest.Deny:
				return fault(403, "AuthorizationError", quote)
			}
			return notifytest.Reply{Status: 200}
		},
		Taken: func(_ *http.Request, body []byte) ([]byte, notifytest.Reply) {
			f, err := url.ParseQuery(string(body))
			if err != nil {
				return nil, fault(400, "MalformedInput", err.Error())
			}
			if why := refusal(f); why != "" {
				return nil, fault(400, strings.TrimRight(strings.SplitAfter(why, ":")[0], ":"), why)
			}
			kept, err := json.MarshalIndent(f, "", "  ")
			if err != nil {
				return nil, fault(400, "MalformedInput", err.Error())
			}
			return kept, notifytest.Reply{Status: 200, Header: http.Header{"Content-Type": {"text/xml"}}, Body: `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId></PublishResult></PublishResponse>`}
		},
	})
}

func run(t *testing.T, config, golden string) {
	awsxtest.Credentials(t)
	read := func(got []byte) url.Values {
		var f url.Values
		_ = json.Unmarshal(got, &f)
		return f
	}
	notifytest.Run(t, notifytest.Harness{
		Driver: sns.Driver, Golden: "testdata/" + golden,
		Start: func(t *testing.T) notifytest.Receiver { return start(t, config) },
		Check: func(got []byte) error {
			if why := refusal(read(got)); why != "" {
				return errors.New(why)
			}
			return nil
		},
		Says: func(got []byte) string {
			var data map[string]any
			m := read(got).Get("Message")
			if json.Unmarshal([]byte(m), &data) == nil {
				m = fmt.Sprint(data)
			}
			return read(got).Get("Subject") + "\n" + m
		},
	})
}

func TestText(t *testing.T) { run(t, `{topic: "`+topic+`", endpoint: "%s"}`, "text") }
func TestFIFO(t *testing.T) {
	run(t, `{topic: "`+topic+`.fifo", format: json, endpoint: "%s"}`, "fifo")
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	f := func(config, want string) {
		t.Helper()
		if err := sns.Driver.Check(notifytest.Decode(config)); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
	f("{topic: ops}", "ARN")
	f("{topic: \"arn:aws:sqs:eu-west-1:1:ops\"}", "ARN")
	f("{topic: \""+topic+"\", role: x}", "role")
	f("{topic: \""+topic+"\", format: yaml}", "format")
}

func TestMoto(t *testing.T) {
	at := peer.Moto(t)
	awsxtest.Credentials(t)
	client := api.New(api.Options{Region: "eu-west-1", BaseEndpoint: &at, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	made, err := client.CreateTopic(t.Context(), &api.CreateTopicInput{Name: aws.String("ops")})
	if err != nil {
		t.Fatal(err)
	}
	send := func(arn string) error {
		ch, err := sns.Driver.Open(t.Context(), notifytest.Decode(`{topic: "`+arn+`", endpoint: "`+at+`"}`), notifytest.Env(nil, slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		return ch.Send(t.Context(), notifytest.Message())
	}
	if err := send(*made.TopicArn); err != nil {
		t.Error(err)
	}
	if err := send(topic + "-gone"); !errors.Is(err, ops.ErrNotFound) {
		t.Errorf("a topic that is not there: %v", err)
	}
}
