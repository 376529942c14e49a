package servicenow_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/servicenow"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/ops"
)

// over opens the driver over Fettle's own client.
func (i *instance) over(t *testing.T, s connector.Settings) *connector.Conn {
	t.Helper()
	client := httpx.New(httpx.Options{Backoff: time.Millisecond, Clock: i.clock})
	t.Cleanup(client.Close)
	c, err := servicenow.Driver.Open(t.Context(), s, connector.Env{
		Name: "snow", Installation: "inst-1", Clock: i.clock, HTTP: connector.Over(client), Secrets: vault(secrets),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLostAnswersAreMadeGood(t *testing.T) {
	i := start(t)
	c := i.over(t, i.settings(nil))
	lose := simulator.Fault{Mode: simulator.DropAnswer, Times: 1, Writes: true}
	i.sim.SetFault(lose)
	made, err := c.Create(t.Context(), strings.Repeat("1", 32), ops.TicketIncident, fields())
	if err != nil || i.count(t, made.Key) != 1 {
		t.Fatalf("%v, %d tickets; the client asks again, the key is taken, the ticket is read", err, i.count(t, made.Key))
	}
	i.sim.SetFault(lose)
	f := fields()
	f.Severity = ops.Low
	got, err := c.Update(t.Context(), made.Ref, connector.Edit{Want: f, Changed: []connector.Field{connector.Severity}, Version: made.Version})
	if err != nil || got.Version != "1" {
		t.Errorf("version %s, %v; twice the same edit is one change", got.Version, err)
	}
	i.sim.SetFault(lose)
	err = c.AddNote(t.Context(), made.Ref, ops.Note{ID: "n-1", Text: "once"})
	if n := len(i.sim.Journal(made.Ref)); err == nil || n != 1 {
		t.Errorf("%v, %d notes; a note is never sent again without a look", err, n)
	}
}

func TestRedirectToAnotherHost(t *testing.T) {
	i := start(t)
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer other.Close()
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/login", http.StatusFound)
	}))
	defer login.Close()
	s := i.settings(nil)
	s.URL = login.URL
	err := i.over(t, s).Check(t.Context())
	if asked != 0 || err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("%d requests with our credentials reached the other host, %v", asked, err)
	}
}

func TestConnectionsThatFail(t *testing.T) {
	i := start(t)
	untrusted := httptest.NewUnstartedServer(i.sim)
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it says what we expect
	untrusted.StartTLS()
	defer untrusted.Close()
	f := func(url, says string) {
		t.Helper()
		s := i.settings(nil)
		s.URL = url
		err := i.over(t, s).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", url, err, says)
		}
	}
	f(untrusted.URL, "certificate of your own")
	f("http://127.0.0.1:1", "look at host and port")
	f("https://"+strings.TrimPrefix(i.url, "http://"), "does not speak TLS")
}
