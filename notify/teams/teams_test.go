package teams_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fettleops/fettle/notify/notifytest"
	"github.com/fettleops/fettle/notify/teams"
)

const path = "/workflows/0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sig=AbCdEfGhIjKlMnOpQrStUvWx"

type message struct {
	Type        string `json:"type"`
	Attachments []struct {
		ContentType string `json:"contentType"`
		Content     struct {
			Type    string `json:"type"`
			Version string `json:"version"`
			Body    []struct {
				Type  string                          `json:"type"`
				Text  string                          `json:"text"`
				Facts []struct{ Title, Value string } `json:"facts"`
			} `json:"body"`
			Actions []struct{ Type, Title, URL string } `json:"actions"`
		} `json:"content"`
	} `json:"attachments"`
}

// check holds a card against what Workflows takes: one Adaptive Card of a
// version Teams knows, within 28 KB.
func check(got []byte) error {
	var m message
	if err := json.Unmarshal(got, &m); err != nil {
		return err
	}
	if len(got) > 28<<10 || m.Type != "message" || len(m.Attachments) != 1 || m.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
		return fmt.Errorf("%d bytes, a %q with %d attachments", len(got), m.Type, len(m.Attachments))
	}
	c := m.Attachments[0].Content
	if c.Type != "AdaptiveCard" || c.Version != "1.4" || len(c.Body) == 0 || len(c.Actions) > 6 {
		return fmt.Errorf("a %s %s with %d elements and %d actions", c.Type, c.Version, len(c.Body), len(c.Actions))
	}
	for _, e := range c.Body {
		switch {
		case e.Type == "TextBlock" && e.Text != "":
			if i := strings.Index(e.Text, "["); i >= 0 && (i == 0 || e.Text[i-1] != '\\') {
				return fmt.Errorf("a link of others in %q", e.Text)
			}
		case e.Type == "FactSet" && len(e.Facts) > 0:
		default:
			return fmt.Errorf("an element %+v", e)
		}
	}
	for _, a := range c.Actions {
		if a.Type != "Action.OpenUrl" || a.Title == "" || !strings.HasPrefix(a.URL, "https://") {
			return fmt.Errorf("an action %+v", a)
		}
	}
	return nil
}

func says(got []byte) string {
	var m message
	if err := json.Unmarshal(got, &m); err != nil {
		return err.Error()
	}
	var out []string
	for _, e := range m.Attachments[0].Content.Body {
		out = append(out, e.Text)
		for _, f := range e.Facts {
			out = append(out, f.Title+" "+f.Value)
		}
	}
	for _, a := range m.Attachments[0].Content.Actions {
		out = append(out, a.Title+" "+a.URL)
	}
	return strings.NewReplacer("\\*", "*", "\\_", "_", "\\[", "[", "\\]", "]", "\\`", "`", "\\#", "#", "\\\\", "\\").Replace(strings.Join(out, "\n"))
}

func TestConformance(t *testing.T) {
	notifytest.Run(t, notifytest.Harness{
		Driver: teams.Driver, Check: check, Says: says, Golden: "testdata",
		Skip: map[notifytest.Fault]string{notifytest.Empty: "a workflow answers 202 with nothing"},
		Start: func(t *testing.T) notifytest.Receiver {
			return notifytest.StartServer(t, &notifytest.Server{
				YAML: "{webhook: \"file:/secret/hook\", allow: [127.0.0.0/8]}", Hidden: map[string]string{"hook": "%s" + path}, Fail: notifytest.Statuses,
				Taken: func(r *http.Request, body []byte) ([]byte, notifytest.Reply) {
					if r.URL.RequestURI() != path || r.Header.Get("Content-Type") != "application/json" {
						return nil, notifytest.Reply{Status: 401, Body: `{"error":{"code":"DirectApiAuthorizationRequired"}}`}
					}
					return body, notifytest.Reply{Status: 202}
				},
			})
		},
	})
}
