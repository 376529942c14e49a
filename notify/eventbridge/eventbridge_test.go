package eventbridge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/notify/eventbridge"
	"github.com/fettleops/fettle/notify/notifytest"
	"github.com/fettleops/fettle/ops"
)

type entry struct {
	Source, DetailType, Detail, EventBusName string
	Time                                     float64
}

// refusal is what PutEvents refuses of an entry, after its API reference.
func refusal(e entry) string {
	var detail map[string]any
	switch {
	case e.Source == "" || strings.HasPrefix(e.Source, "aws."):
		return "NotAuthorizedForSourceException"
	case e.DetailType == "" || len(e.DetailType) > 128:
		return "InvalidArgument"
	case json.Unmarshal([]byte(e.Detail), &detail) != nil:
		return "MalformedDetail"
	case 14+len(e.Source)+len(e.DetailType)+len(e.Detail) > 256<<10:
		return "EntryTooLarge"
	case e.EventBusName != "ops":
		return "ResourceNotFound"
	}
	return ""
}

func answer(status int, v any, kind string) notifytest.Reply {
	b, err := json.Marshal(v)
	if err != nil {
		return notifytest.Reply{Status: 500}
	}
	h := http.Header{"Content-Type": {"application/x-amz-json-1.1"}}
	if kind != "" {
		h.Set("X-Amzn-Errortype", kind)
	}
	return notifytest.Reply{Status: status, Header: h, Body: string(b)}
}

func failed(code, text string) notifytest.Reply {
	return answer(200, map[string]any{"FailedEntryCount": 1, "Entries": []any{map[string]any{"ErrorCode": code, "ErrorMessage": text}}}, "")
}

func start(t *testing.T) *notifytest.Server {
	return notifytest.StartServer(t, &notifytest.Server{
		YAML: `{bus: ops, region: eu-west-1, endpoint: "%s"}`,
		Fail: func(f notifytest.Fault, quote string) notifytest.Reply {
			switch f {
			case notifytest.Throttle: // of the entry, with 200
				return failed("ThrottlingException", quote)
			case notifytest.Broken:
				return failed("InternalFailure", quote)
			case notifytest.Refuse:
				return failed("MalformedDetail", quote)
			case notifytest.Deny:
				return answer(400, map[string]any{"__type": "AccessDeniedException", "message": quote}, "AccessDeniedException")
			}
			return answer(200, map[string]any{}, "")
		},
		Taken: func(r *http.Request, body []byte) ([]byte, notifytest.Reply) {
			var in struct{ Entries []entry }
			if err := json.Unmarshal(body, &in); err != nil || r.Header.Get("X-Amz-Target") != "AWSEvents.PutEvents" || len(in.Entries) != 1 {
				return nil, answer(400, map[string]any{"__type": "ValidationException", "message": fmt.Sprint(err)}, "ValidationException")
			}
			if why := refusal(in.Entries[0]); why != "" {
				return nil, failed(why, why)
			}
			kept, err := json.MarshalIndent(in.Entries[0], "", "  ")
			if err != nil {
				return nil, notifytest.Reply{Status: 500}
			}
			return kept, answer(200, map[string]any{"FailedEntryCount": 0, "Entries": []any{map[string]any{"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"}}}, "")
		},
	})
}

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	read := func(got []byte) (e entry) {
		_ = json.Unmarshal(got, &e)
		return e
	}
	notifytest.Run(t, notifytest.Harness{
		Driver: eventbridge.Driver, Golden: "testdata", Defaults: "every account has a default bus",
		Start: func(t *testing.T) notifytest.Receiver { return start(t) },
		Check: func(got []byte) error {
			if why := refusal(read(got)); why != "" {
				return errors.New(why)
			}
			return nil
		},
		Says: func(got []byte) string {
			var data map[string]any
			return fmt.Sprint(json.Unmarshal([]byte(read(got).Detail), &data), data)
		},
	})
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	if err := eventbridge.Driver.Check(notifytest.Decode("{source: aws.fettle}")); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "source") {
		t.Errorf("a source of AWS: %v", err)
	}
}

func TestMoto(t *testing.T) {
	at := peer.Moto(t)
	awsxtest.Credentials(t)
	client := api.New(api.Options{Region: "eu-west-1", BaseEndpoint: &at, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	if _, err := client.CreateEventBus(t.Context(), &api.CreateEventBusInput{Name: aws.String("ops")}); err != nil {
		t.Fatal(err)
	}
	ch, err := eventbridge.Driver.Open(t.Context(), notifytest.Decode(`{bus: ops, region: eu-west-1, endpoint: "`+at+`"}`), notifytest.Env(nil, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Send(t.Context(), notifytest.Message()); err != nil {
		t.Error(err)
	}
}
