package slack_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fettleops/fettle/notify/notifytest"
	"github.com/fettleops/fettle/notify/slack"
)

const (
	path  = "/services/T0000000001/B0000000001/abcdefghijklmnopqrstuvwx"
	token = "xoxb-1234567890-abcdefghijkl"
)

type payload struct {
	Channel string `json:"channel"`
	Text    string `json:"text"`
	Blocks  []struct {
		Type   string `json:"type"`
		Text   *text  `json:"text"`
		Fields []text `json:"fields"`
	} `json:"blocks"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func read(got []byte) (payload, error) {
	var p payload
	d := json.NewDecoder(bytes.NewReader(got))
	return p, d.Decode(&p)
}

// check holds a message against the limits of Block Kit.
func check(got []byte) error {
	p, err := read(got)
	if err != nil {
		return err
	}
	if p.Text == "" || len(p.Blocks) == 0 || len(p.Blocks) > 50 {
		return fmt.Errorf("text %q and %d blocks", p.Text, len(p.Blocks))
	}
	fits := func(t text, most int) error {
		n := utf8.RuneCountInString(t.Text)
		switch {
		case n == 0 || n > most:
			return fmt.Errorf("a text of %d characters, at most %d fit", n, most)
		case t.Type != "plain_text" && t.Type != "mrkdwn":
			return fmt.Errorf("a text of type %q", t.Type)
		}
		// What is not ours to say stands escaped: < only begins our own links.
		for i, part := range strings.Split(t.Text, "<") {
			if t.Type == "mrkdwn" && i > 0 && !strings.HasPrefix(part, "https://") {
				return fmt.Errorf("markup in %q", t.Text)
			}
		}
		return nil
	}
	for _, b := range p.Blocks {
		switch {
		case b.Type == "header" && b.Text != nil && b.Text.Type == "plain_text":
			err = fits(*b.Text, 150)
		case b.Type == "section" && b.Text != nil:
			err = fits(*b.Text, 3000)
		case b.Type == "section" && len(b.Fields) > 0 && len(b.Fields) <= 10:
			for _, f := range b.Fields {
				err = errors.Join(err, fits(f, 2000))
			}
		default:
			err = fmt.Errorf("a block %+v", b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func says(got []byte) string {
	p, err := read(got)
	if err != nil {
		return err.Error()
	}
	out := p.Text
	for _, b := range p.Blocks {
		if b.Text != nil {
			out += "\n" + b.Text.Text
		}
		for _, f := range b.Fields {
			out += "\n" + f.Text
		}
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(out)
}

func TestWebhook(t *testing.T) {
	notifytest.Run(t, notifytest.Harness{
		Driver: slack.Driver, Check: check, Says: says, Golden: "testdata/webhook",
		Start: func(t *testing.T) notifytest.Receiver {
			return notifytest.StartServer(t, &notifytest.Server{
				YAML: "{webhook: \"file:/secret/hook\", allow: [127.0.0.0/8]}", Hidden: map[string]string{"hook": "%s" + path}, Fail: notifytest.Statuses,
				Taken: func(r *http.Request, body []byte) ([]byte, notifytest.Reply) {
					if r.URL.Path != path || r.Header.Get("Content-Type") != "application/json" {
						return nil, notifytest.Reply{Status: 404, Body: "no_service"}
					}
					return body, notifytest.Reply{Status: 200, Body: "ok"}
				},
			})
		},
	})
}

func TestApp(t *testing.T) {
	notifytest.Run(t, notifytest.Harness{
		Driver: slack.Driver, Says: says, Golden: "testdata/app",
		Check: func(got []byte) error {
			if p, err := read(got); err != nil || p.Channel != "C024BE91L" {
				return fmt.Errorf("channel %q, %w", p.Channel, err)
			}
			return check(got)
		},
		Start: func(t *testing.T) notifytest.Receiver {
			return notifytest.StartServer(t, &notifytest.Server{
				YAML: "{token: \"file:/secret/token\", channel: C024BE91L, api: \"%s/api\", allow: [127.0.0.0/8]}", Hidden: map[string]string{"token": token},
				Fail: func(f notifytest.Fault, quote string) notifytest.Reply {
					word := map[notifytest.Fault]string{notifytest.Refuse: "wrong_thing", notifytest.Deny: "invalid_auth"}[f]
					if word == "" {
						return notifytest.Statuses(f, quote)
					}
					return notifytest.Reply{Status: 200, Body: `{"ok":false,"error":"` + word + `","was":` + fmt.Sprintf("%q", quote) + `}`}
				},
				Taken: func(r *http.Request, body []byte) ([]byte, notifytest.Reply) {
					if r.URL.Path != "/api/chat.postMessage" || r.Header.Get("Authorization") != "Bearer "+token {
						return nil, notifytest.Reply{Status: 200, Body: `{"ok":false,"error":"not_authed"}`}
					}
					return body, notifytest.Reply{Status: 200, Body: `{"ok":true,"channel":"C024BE91L","ts":"1503435956.000247"}`}
				},
			})
		},
	})
}
