package cloudevents_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/notify/cloudevents"
	"github.com/fettleops/fettle/notify/notifytest"
)

const (
	path  = "/events/0123456789abcdefghij"
	token = "token-0123456789abcdefghij"
)

// event is a CloudEvent as either mode carries it.
type event struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Time        string          `json:"time"`
	Subject     string          `json:"subject,omitempty"`
	ContentType string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data"`
}

// decode reads either mode, by the HTTP binding of CloudEvents 1.0.
func decode(r *http.Request, body []byte) (e event, err error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/cloudevents+json") {
		return e, json.Unmarshal(body, &e)
	}
	attribute := func(name string) string {
		v, fault := url.PathUnescape(r.Header.Get("ce-" + name))
		err = errors.Join(err, fault)
		return v
	}
	e = event{
		SpecVersion: attribute("specversion"), ID: attribute("id"), Source: attribute("source"), Type: attribute("type"), Time: attribute("time"), Subject: attribute("subject"),
		ContentType: r.Header.Get("Content-Type"), Data: body,
	}
	return e, err
}

func check(got []byte) error {
	var e event
	if err := json.Unmarshal(got, &e); err != nil {
		return err
	}
	_, err := time.Parse(time.RFC3339, e.Time)
	if err != nil || e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || !strings.HasPrefix(e.Type, cloudevents.Type) || e.ContentType != "application/json" || !json.Valid(e.Data) || len(got) > 64<<10 {
		return fmt.Errorf("an event of %d bytes: %+v, %w", len(got), e, err)
	}
	return nil
}

func run(t *testing.T, mode string) {
	notifytest.Run(t, notifytest.Harness{
		Driver: cloudevents.Driver, Check: check, Golden: "testdata/" + mode,
		Skip: map[notifytest.Fault]string{notifytest.Empty: "any 2xx is success"},
		ID: func(got []byte) string {
			var e event
			_ = json.Unmarshal(got, &e)
			return e.ID
		},
		Says: func(got []byte) string {
			var e event
			var data map[string]any
			return fmt.Sprint(errors.Join(json.Unmarshal(got, &e), json.Unmarshal(e.Data, &data)), data)
		},
		Start: func(t *testing.T) notifytest.Receiver {
			return notifytest.StartServer(t, &notifytest.Server{
				YAML:   "{url: \"file:/secret/url\", token: \"file:/secret/token\", mode: " + mode + ", allow: [127.0.0.0/8]}",
				Hidden: map[string]string{"url": "%s" + path, "token": token}, Fail: notifytest.Statuses,
				Taken: func(r *http.Request, body []byte) ([]byte, notifytest.Reply) {
					e, err := decode(r, body)
					if err != nil || r.Header.Get("Authorization") != "Bearer "+token {
						return nil, notifytest.Reply{Status: 400, Body: fmt.Sprint(err)}
					}
					kept, err := json.Marshal(e)
					if err != nil {
						return nil, notifytest.Reply{Status: 400, Body: err.Error()}
					}
					return kept, notifytest.Reply{Status: 202}
				},
			})
		},
	})
}

func TestStructured(t *testing.T) { run(t, "structured") }
func TestBinary(t *testing.T)     { run(t, "binary") }
