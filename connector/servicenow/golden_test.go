package servicenow_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var update = flag.Bool("update", false, "write the golden exchanges under testdata anew")

// request and reply are what is kept of an exchange.
type request struct {
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Query  map[string]string `json:"query,omitempty"`
	Body   json.RawMessage   `json:"body,omitempty"`
}

type reply struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// TestExchanges compares what goes over the wire with testdata/<rule>/req.json
// and resp.json: a change of fields.go shows there, in the vendor's words.
func TestExchanges(t *testing.T) {
	f := func(rule string, do func(c *connection, made connector.Copy)) {
		t.Run(rule, func(t *testing.T) {
			i := start(t)
			set := i.settings(nil)
			if strings.HasPrefix(rule, "change_") {
				set = i.settings(withChanges)
			}
			c := i.open(t, set)
			var made connector.Copy
			switch rule {
			case "create", "change_create":
			case "change_approve", "change_close":
				made = c.createChange(ops.ChangeNormal)
			default:
				made = c.create(fields())
			}
			var reqs []request
			var replies []reply
			c.wire.each = func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				q := request{Method: req.Method, Path: req.URL.Path, Query: map[string]string{}}
				for k, v := range req.URL.Query() {
					q.Query[k] = v[0]
				}
				if req.GetBody != nil {
					b, err := req.GetBody()
					if err != nil {
						return nil, err
					}
					if q.Body, err = io.ReadAll(b); err != nil {
						return nil, err
					}
				}
				resp, err := next.RoundTrip(req)
				if err != nil {
					return nil, err
				}
				b, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				resp.Body = io.NopCloser(bytes.NewReader(b))
				reqs, replies = append(reqs, q), append(replies, reply{resp.StatusCode, b})
				return resp, err
			}
			do(c, made)
			golden(t, filepath.Join("testdata", rule, "req.json"), reqs)
			golden(t, filepath.Join("testdata", rule, "resp.json"), replies)
		})
	}
	edit := func(change func(*ops.TicketFields), changed ...connector.Field) func(*connection, connector.Copy) {
		return func(c *connection, made connector.Copy) {
			f := fields()
			change(&f)
			c.update(made, f, changed...)
		}
	}
	resolved := func(f *ops.TicketFields) {
		f.State, f.ResolveCode, f.ResolveNote = "resolved", "resolved", "CPU is back at 40 %."
	}
	f("create", func(c *connection, _ connector.Copy) { c.create(fields()) })
	f("severity", edit(func(f *ops.TicketFields) { f.Severity = ops.Critical }, connector.Severity))
	f("hold", edit(func(f *ops.TicketFields) { f.State = "on_hold" }, connector.State))
	f("resolve", edit(resolved, connector.State, connector.ResolveCode, connector.ResolveNote))
	f("reopen", func(c *connection, made connector.Copy) {
		f := fields()
		resolved(&f)
		made = c.update(made, f, connector.State)
		f.State = "in_progress"
		c.update(made, f, connector.State)
	})
	f("note", func(c *connection, made connector.Copy) {
		if err := c.AddNote(c.Context(), made.Ref, ops.Note{ID: "0192f1c0-0000-7000-8000-000000000001", Text: "Change CHG-1 waits for approval."}); err != nil {
			c.Fatal(err)
		}
		if _, err := c.Get(c.Context(), made.Ref); err != nil {
			c.Fatal(err)
		}
	})
	f("change_create", func(c *connection, _ connector.Copy) { c.createChange(ops.ChangeNormal) })
	f("change_approve", func(c *connection, made connector.Copy) {
		if _, err := c.RequestApproval(c.Context(), made.Ref, made.Fields.Plan); err != nil {
			c.Fatal(err)
		}
		c.i.wait(time.Second)
		c.i.decide(c.T, made.Ref, "carl", ops.Approved, "fits")
		if _, err := c.Get(c.Context(), made.Ref); err != nil {
			c.Fatal(err)
		}
	})
	f("change_close", func(c *connection, made connector.Copy) {
		if _, err := c.RequestApproval(c.Context(), made.Ref, made.Fields.Plan); err != nil {
			c.Fatal(err)
		}
		c.i.decide(c.T, made.Ref, "carl", ops.Approved, "fits")
		asked, err := c.Get(c.Context(), made.Ref)
		if err != nil {
			c.Fatal(err)
		}
		if _, err := c.moveTo(asked, ops.ChangeClosed); err != nil {
			c.Fatal(err)
		}
	})
	f("changes", func(c *connection, made connector.Copy) {
		cursor := c.start()
		c.i.edit(c.T, made.Ref, "beth.anglin", []connector.Field{connector.State}, ops.TicketFields{State: "in_progress"}, "I take it.")
		c.pull(cursor)
	})
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v; write it with go test ./connector/servicenow -run TestExchanges -update", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; see the difference with -update and git diff:\n%s", name, got)
	}
}
