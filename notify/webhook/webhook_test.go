package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/notify/notifytest"
	"github.com/fettleops/fettle/notify/webhook"
)

const (
	path = "/hooks/0123456789abcdefghij"
	old  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	now  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// The vector of the specification's reference implementations.
func TestSignature(t *testing.T) {
	key, err := webhook.ParseKey(redact.New(old))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := webhook.Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signed %s, want %s", got, want)
	}
	f := func(key string) {
		t.Helper()
		if _, err := webhook.ParseKey(redact.New(key)); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	f("whsec_too-short")
	f("whsec_" + strings.Repeat("A", 20))
	f("whsec_" + strings.Repeat("A", 200))
}

// verify is what docs/notifications.md asks of a receiver.
func verify(r *http.Request, body []byte, key string) error {
	k, err := webhook.ParseKey(redact.New(key))
	if err != nil {
		return err
	}
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	sent, err := strconv.ParseInt(at, 10, 64)
	if err != nil || sent < notifytest.Epoch.Unix()-300 || sent > notifytest.Epoch.Unix()+300 {
		return fmt.Errorf("timestamp %q is too old or too new", at)
	}
	want := webhook.Sign(k, id, at, body)
	for signature := range strings.SplitSeq(r.Header.Get("Webhook-Signature"), " ") {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return nil
		}
	}
	return fmt.Errorf("no signature of %q is by the key", r.Header.Get("Webhook-Signature"))
}

type payload struct {
	Type      string         `json:"type"`
	Timestamp string         `json:"timestamp"`
	Data      map[string]any `json:"data"`
}

func read(got []byte) (id string, p payload, err error) {
	first, body, _ := bytes.Cut(got, []byte("\n"))
	return string(first), p, json.Unmarshal(body, &p)
}

func TestConformance(t *testing.T) {
	notifytest.Run(t, notifytest.Harness{
		Driver: webhook.Driver, Golden: "testdata",
		Skip: map[notifytest.Fault]string{notifytest.Empty: "any 2xx is success"},
		Check: func(got []byte) error {
			_, p, err := read(got)
			if err == nil && (p.Type == "" || p.Data["event"] != p.Type || len(got) > 21<<10) {
				err = fmt.Errorf("%d bytes of type %q", len(got), p.Type)
			}
			return err
		},
		ID: func(got []byte) string { id, _, _ := read(got); return id },
		Says: func(got []byte) string {
			_, p, err := read(got)
			return fmt.Sprint(p.Data, err)
		},
		Start: func(t *testing.T) notifytest.Receiver {
			return notifytest.StartServer(t, &notifytest.Server{
				YAML:   "{url: \"file:/secret/url\", secrets: [\"file:/secret/now\", \"file:/secret/old\"], allow: [127.0.0.0/8]}",
				Hidden: map[string]string{"url": "%s" + path, "now": now, "old": old}, Fail: notifytest.Statuses,
				Taken: func(r *http.Request, body []byte) ([]byte, notifytest.Reply) {
					for _, key := range []string{now, old} { // a receiver may know either
						if err := verify(r, body, key); err != nil {
							return nil, notifytest.Reply{Status: 401, Body: err.Error()}
						}
					}
					return append([]byte(r.Header.Get("Webhook-Id")+"\n"), body...), notifytest.Reply{Status: 204}
				},
			})
		},
	})
}
