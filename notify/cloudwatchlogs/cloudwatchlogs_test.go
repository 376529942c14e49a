package cloudwatchlogs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/notify/cloudwatchlogs"
	"github.com/fettleops/fettle/notify/notifytest"
	"github.com/fettleops/fettle/ops"
)

const config = `{group: /fettle/remediation, stream: fettle, region: eu-west-1, endpoint: "%s"}`

type put struct {
	LogGroupName  string `json:"logGroupName"`
	LogStreamName string `json:"logStreamName"`
	LogEvents     []struct {
		Message   string `json:"message"`
		Timestamp int64  `json:"timestamp"`
	} `json:"logEvents"`
}

func answer(status int, v map[string]any) notifytest.Reply {
	b, err := json.Marshal(v)
	if err != nil {
		return notifytest.Reply{Status: 500}
	}
	h := http.Header{"Content-Type": {"application/x-amz-json-1.1"}}
	if kind, ok := v["__type"].(string); ok {
		h.Set("X-Amzn-Errortype", kind)
	}
	return notifytest.Reply{Status: status, Header: h, Body: string(b)}
}

func fault(status int, kind, text string) notifytest.Reply {
	return answer(status, map[string]any{"__type": kind, "message": text})
}

func start(t *testing.T) *notifytest.Server {
	var mu sync.Mutex
	streams := map[string]bool{}
	return notifytest.StartServer(t, &notifytest.Server{
		YAML: config,
		Fail: func(f notifytest.Fault, quote string) notifytest.Reply {
			switch f {
			case notifytest.Throttle:
				return fault(400, "ThrottlingException", quote)
			case notifytest.Broken:
				return fault(500, "ServiceUnavailableException", quote)
			case notifytest.Refuse:
				return fault(400, "InvalidParameterException", quote)
			}
			return fault(400, "AccessDeniedException", quote)
		},
		Taken: func(r *http.Request, body []byte) ([]byte, notifytest.Reply) {
			var in put
			if err := json.Unmarshal(body, &in); err != nil {
				return nil, fault(400, "SerializationException", err.Error())
			}
			mu.Lock()
			defer mu.Unlock()
			switch target := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "Logs_20140328."); {
			case in.LogGroupName != "/fettle/remediation":
				return nil, fault(400, "ResourceNotFoundException", "The specified log group does not exist.")
			case target == "CreateLogStream" && streams[in.LogStreamName]:
				return nil, fault(400, "ResourceAlreadyExistsException", "The specified log stream already exists")
			case target == "CreateLogStream":
				streams[in.LogStreamName] = true
				return nil, answer(200, map[string]any{})
			case target != "PutLogEvents":
				return nil, fault(400, "UnknownOperationException", target)
			case !streams[in.LogStreamName]:
				return nil, fault(400, "ResourceNotFoundException", "The specified log stream does not exist.")
			case len(in.LogEvents) != 1 || in.LogEvents[0].Message == "" || len(in.LogEvents[0].Message) > 256<<10:
				return nil, fault(400, "InvalidParameterException", "Log event too large or empty")
			case in.LogEvents[0].Timestamp < notifytest.Epoch.Add(-14*24*time.Hour).UnixMilli():
				return nil, answer(200, map[string]any{"rejectedLogEventsInfo": map[string]any{"tooOldLogEventEndIndex": 1}})
			}
			return body, answer(200, map[string]any{"nextSequenceToken": "1"})
		},
	})
}

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	read := func(got []byte) (p put, line map[string]any, err error) {
		if err = json.Unmarshal(got, &p); err == nil {
			err = json.Unmarshal([]byte(p.LogEvents[0].Message), &line)
		}
		return p, line, err
	}
	notifytest.Run(t, notifytest.Harness{
		Driver: cloudwatchlogs.Driver, Golden: "testdata",
		Start: func(t *testing.T) notifytest.Receiver { return start(t) },
		Skip:  map[notifytest.Fault]string{notifytest.Empty: "PutLogEvents answers nothing that is needed"},
		Check: func(got []byte) error {
			p, line, err := read(got)
			if err == nil && (line["id"] == "" || strings.Contains(p.LogEvents[0].Message, "\n")) {
				err = errors.New("a line without id, or two lines")
			}
			return err
		},
		Says: func(got []byte) string {
			_, line, err := read(got)
			return fmt.Sprint(line, err)
		},
	})
}

// What happened long ago is written at the time of writing: CloudWatch Logs
// would throw it away and say 200.
func TestOldNewsIsNotRejected(t *testing.T) {
	awsxtest.Credentials(t)
	s := start(t)
	ch, err := cloudwatchlogs.Driver.Open(t.Context(), notifytest.Decode(s.Config()), notifytest.Env(nil, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	m := notifytest.Message()
	m.At = notifytest.Epoch.Add(-30 * 24 * time.Hour)
	if err := ch.Send(t.Context(), m); err != nil || len(s.Got()) != 1 {
		t.Errorf("old news: %v, %d written", err, len(s.Got()))
	}
}

func TestMoto(t *testing.T) {
	at := peer.Moto(t)
	awsxtest.Credentials(t)
	client := api.New(api.Options{Region: "eu-west-1", BaseEndpoint: &at, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	env := notifytest.Env(nil, slog.New(slog.DiscardHandler))
	env.Clock = time.Now // moto has one of its own
	ch, err := cloudwatchlogs.Driver.Open(t.Context(), notifytest.Decode(strings.ReplaceAll(config, "%s", at)), env)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Send(t.Context(), notifytest.Message()); !errors.Is(err, ops.ErrNotFound) {
		t.Errorf("a group that is not there: %v", err)
	}
	if _, err := client.CreateLogGroup(t.Context(), &api.CreateLogGroupInput{LogGroupName: aws.String("/fettle/remediation")}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the stream is made, and then it is there
		if err := ch.Send(t.Context(), notifytest.Message()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := client.GetLogEvents(t.Context(), &api.GetLogEventsInput{LogGroupName: aws.String("/fettle/remediation"), LogStreamName: aws.String("fettle")})
	if err != nil || len(got.Events) != 2 || !strings.Contains(*got.Events[0].Message, "CHG-42") {
		t.Errorf("in the log: %+v, %v", got, err)
	}
}
