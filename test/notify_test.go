package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// chatPath is the part of the chat's address that is a secret.
const chatPath = "/services/T01/B01/chat-secret-5f2a9c"

// Chat is a Slack that remembers what was posted to it.
type Chat struct {
	mu    sync.Mutex
	texts []string
	down  bool
	gone  bool // it refuses for good
}

// ServeHTTP implements http.Handler.
func (c *Chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var p struct {
		Text   string            `json:"text"`
		Blocks []json.RawMessage `json:"blocks"`
	}
	body, err := io.ReadAll(r.Body)
	switch {
	case c.gone:
		http.Error(w, "no_service", http.StatusNotFound)
	case c.down:
		http.Error(w, "rollup_error at "+r.URL.Path, http.StatusInternalServerError)
	case err != nil || r.URL.Path != chatPath || json.Unmarshal(body, &p) != nil:
		http.Error(w, "invalid_payload", http.StatusBadRequest)
	default:
		c.texts = append(c.texts, p.Text+"\n"+string(body))
		_, _ = io.WriteString(w, "ok")
	}
}

// ChatDown makes the chat fail or work.
func ChatDown(down bool) Act {
	return func(h *House) error {
		c := &h.chat
		c.mu.Lock()
		defer c.mu.Unlock()
		c.down = down
		return nil
	}
}

// ChatGone makes the chat refuse for good, or take again.
func ChatGone(gone bool) Act {
	return func(h *House) error {
		c := &h.chat
		c.mu.Lock()
		defer c.mu.Unlock()
		c.gone = gone
		return nil
	}
}

// resendGivenUp has everything sent again that was given up.
func resendGivenUp(who string) Act {
	return func(h *House) error {
		all, err := h.as("vic").Notifications(h.t.Context(), url.Values{"state": {string(ops.NotificationGivenUp)}})
		if err == nil && len(all.Items) == 0 {
			err = fmt.Errorf("nothing was given up")
		}
		for _, n := range all.Items {
			if err == nil {
				_, err = h.as(who).ResendNotification(h.t.Context(), n.ID, "api")
			}
		}
		return err
	}
}

// resendSent asks for something to be sent again that was sent.
func resendSent(h *House) error {
	all, err := h.as("mia").Notifications(h.t.Context(), url.Values{"state": {string(ops.NotificationSent)}})
	if err == nil && len(all.Items) == 0 {
		err = fmt.Errorf("nothing was sent")
	}
	if err != nil {
		return err
	}
	_, err = h.as("mia").ResendNotification(h.t.Context(), all.Items[0].ID, "api")
	return err
}

// WantResent wants the story of an incident to say who had how many
// notifications sent again.
func WantResent(key, by string, n int) Act {
	return func(h *House) error {
		v, err := h.as("vic").Trail(h.t.Context(), key, true)
		if err != nil {
			return err
		}
		got := 0
		for _, e := range v.Entries {
			if e.Fact != nil && e.Fact.Kind == ops.NotificationResent && e.Fact.Principal == by {
				got++
			}
		}
		if got != n || !v.Intact {
			return fmt.Errorf("the story of %s says %d times that %s had something sent again, want %d (intact: %v)", key, got, by, n, v.Intact)
		}
		return nil
	}
}

// OpenChat makes the chat answer on the network.
func OpenChat(h *House) error {
	h.serve("chat.test", &h.chat)
	return nil
}

// WantPosts wants exactly these posts, each by the beginning of its text.
func WantPosts(want ...string) Act {
	return func(h *House) error {
		c := &h.chat
		c.mu.Lock()
		defer c.mu.Unlock()
		ok := len(c.texts) == len(want)
		for i, w := range want {
			ok = ok && strings.HasPrefix(c.texts[i], w)
		}
		if !ok {
			return fmt.Errorf("the chat shows %d posts, want %q: %.300q", len(c.texts), want, c.texts)
		}
		return nil
	}
}

// WantPostSays wants the last post to say something.
func WantPostSays(words ...string) Act {
	return func(h *House) error {
		c := &h.chat
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, w := range words {
			if len(c.texts) == 0 || !strings.Contains(c.texts[len(c.texts)-1], w) {
				return fmt.Errorf("no post says %q: %q", w, c.texts)
			}
		}
		return nil
	}
}

// WantNotifications wants so many notifications in a state.
func WantNotifications(state ops.NotificationState, n int) Act {
	return func(h *House) error {
		all, err := h.as("vic").Notifications(h.t.Context(), url.Values{"state": {string(state)}})
		if err == nil && len(all.Items) != n {
			err = fmt.Errorf("%d notifications are %s, want %d", len(all.Items), state, n)
		}
		return err
	}
}

// testChannel sends a test message.
func testChannel(who, name string) Act {
	return func(h *House) error {
		got, err := h.as(who).TestChannel(h.t.Context(), name)
		if err == nil && !got.OK {
			err = fmt.Errorf("%s", got.Error)
		}
		return err
	}
}

// told is a configuration with a chat for owners, its address in a file.
func told(t *testing.T, on string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "chat")
	if err := os.WriteFile(file, []byte("http://chat.test"+chatPath+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "notify: [{name: owners, slack: \"file:" + file + "\", " + on + "}]\n"
}

// An owner hears of a change that waits for approval once, with its ticket and
// its page, whatever restarts in between, and of its end once.
func TestAnOwnerHearsOfAChangeOnce(t *testing.T) {
	Play(t, Story{Config: gate + always + told(t, "on: [ApprovalRequested, ChangeEnded], when: 'change.team == \"\" || change.team == \"Shop\"'"), Events: []Event{
		At(0, OpenChat, Fire("HighCPU", "web1")),
		Between(0, 30*sec, WantPosts("CHG-1 waits for approval"), WantPostSays("http://fettle.test/changes/CHG-1", "approver")),
		At(1*minute, Fire("HighCPU", "web1")),
		At(2*minute, Off),
		At(3*minute, On),
		Throughout(3*minute, 5*minute, WantPosts("CHG-1 waits for approval")),
		At(5*minute, Approve("ann")),
		At(6*minute, Resolve("HighCPU", "web1")),
		Between(6*minute, 9*minute, WantChange(ops.ChangeClosed, ops.Successful), WantPosts("CHG-1 waits for approval", "CHG-1 is closed, successful")),
		At(10*minute, WantPosts("CHG-1 waits for approval", "CHG-1 is closed, successful"), WantNotifications(ops.NotificationSent, 2)),
	}})
}

// A chat that fails for a while gets what it missed, and nobody reads its
// address anywhere.
func TestAChatThatFailsGetsItLater(t *testing.T) {
	secretSafe := func(h *House) error {
		all, err := h.text("admin", "/api/v1/notifications")
		if err == nil && (strings.Contains(all, "chat-secret") || strings.Contains(string(h.logs.bytes()), "chat-secret")) {
			err = fmt.Errorf("the address of the chat is told: %s", all)
		}
		return err
	}
	Play(t, Story{Config: told(t, "on: [IncidentOpened]"), Events: []Event{
		At(0, OpenChat, ChatDown(true), Fire("DiskFull", "db1")),
		Between(0, 1*minute, WantNotifications(ops.NotificationWaiting, 1)),
		At(1*minute, Refused(0, "answered 500", testChannel("mia", "owners")), Refused(0, "may not manage changes", testChannel("vic", "owners"))),
		At(10*minute, secretSafe, WantPosts(), ChatDown(false)),
		Between(10*minute, 20*minute, WantPosts("INC-1 opened"), WantNotifications(ops.NotificationSent, 1)),
		At(21*minute, testChannel("mia", "owners")),
		At(21*minute, WantPosts("INC-1 opened", "Fettle reaches the channel owners"), secretSafe),
	}})
}

// What a chat refused for good is sent again when a person says so, once, and
// the story of the incident says who did.
func TestWhatWasGivenUpIsSentAgain(t *testing.T) {
	peer.Long(t)
	Play(t, Story{Config: told(t, "on: [IncidentOpened]"), Events: []Event{
		At(0, OpenChat, ChatGone(true), Fire("DiskFull", "db1")),
		Between(0, 1*minute, WantNotifications(ops.NotificationGivenUp, 1)),
		At(1*minute, Refused(0, "may not manage changes", resendGivenUp("vic"))),
		At(2*minute, ChatGone(false)),
		Throughout(2*minute, 3*minute, WantPosts()),
		At(3*minute, resendGivenUp("mia")),
		Between(3*minute, 4*minute, WantPosts("INC-1 opened"), WantNotifications(ops.NotificationSent, 1), WantResent("INC-1", "mia", 1)),
		At(4*minute, Refused(0, "only one that was given up is sent again", resendSent)),
		At(5*minute, WantPosts("INC-1 opened"), WantResent("INC-1", "mia", 1)),
	}})
}
