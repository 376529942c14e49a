package web_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/webtest"
)

// stream opens the live updates and returns a function that reads the next
// event as "name id data".
func stream(t *testing.T, r *webtest.Reader, lastID string) (*http.Response, func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := r.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	return res, func() string {
		t.Helper()
		var name, id, data string
		for lines.Scan() {
			switch key, value, _ := strings.Cut(lines.Text(), ": "); key {
			case "event":
				name = value
			case "id":
				id = value
			case "data":
				data = value
			case "":
				if name != "" {
					return name + " " + id + " " + data
				}
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return ""
	}
}

func TestEventsReplayWhatWasMissed(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	last, err := h.Store.LastFact(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		h.Tell(h.Now(), ops.Principal{Name: "x"}, "incident/i-1", ops.IncidentCommentedBody{Note: ops.Note{Text: fmt.Sprintf("note %d", n)}})
	}
	res, next := stream(t, r, fmt.Sprint(last))
	if res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("X-Accel-Buffering") != "no" || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("headers are %v", res.Header)
	}
	for n := range 3 {
		want := fmt.Sprintf(`fact %d {"subject":"incident/i-1","kind":"IncidentCommented","text":"note %d"}`, last+int64(n)+1, n)
		if got := next(); got != want {
			t.Errorf("event %d is %s, want %s", n, got, want)
		}
	}
	h.Advance(2 * time.Second)
	_, again := stream(t, r, fmt.Sprint(last+1))
	if got := again(); !strings.Contains(got, "note 1") {
		t.Errorf("coming back after the first, the next is %s", got)
	}
	// A page from before the ring began is told to load itself anew.
	h.Advance(2 * time.Second)
	_, old := stream(t, r, "1")
	if got := old(); !strings.HasPrefix(got, "reset ") {
		t.Errorf("a page that missed too much gets %s", got)
	}
}

func TestEventsNeedASession(t *testing.T) {
	h := webtest.New(t)
	r := h.Stranger()
	if p := r.Get("/events"); p.URL.Path != "/login" {
		t.Errorf("a stranger gets %d at %s", p.Status, p.URL)
	}
	if p := h.Reader("vic").Get("/events?after=x"); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("a bad place gives %d", p.Status)
	}
}

// TestClosingEndsTheStreams holds that a server with open pages can drain.
func TestClosingEndsTheStreams(t *testing.T) {
	h := webtest.New(t)
	res, _ := stream(t, h.Reader("vic"), "")
	h.Web.Close()
	h.Web.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "event:") {
			t.Errorf("the stream went on with %q", lines.Text())
		}
	}
}
