package chrome

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/story"
)

// The stream's measures.
const (
	pollEvery = time.Second
	pingEvery = 15 * time.Second
	keepFacts = 1000 // that a reconnecting page may ask for again
	maxReplay = 500
)

// hub holds the newest facts for all streams, so that any number of open pages
// costs one query a second.
type hub struct {
	mu    sync.Mutex
	asked time.Time
	begun bool
	floor int64   // the ring holds every fact after this one
	ring  []event // oldest first
}

type event struct {
	Seq     int64  `json:"-"`
	Subject string `json:"subject"`
	Kind    string `json:"kind"`
	Text    string `json:"text"`
}

func eventOf(f ops.Fact) event {
	return event{f.Seq, f.Subject, string(f.Kind), story.Of(f).Text}
}

// since returns what happened after seq. complete is false when more was
// missed than is replayed: the page then loads itself anew.
func (c *Chrome) since(ctx context.Context, seq int64) (events []event, complete bool, err error) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	now := c.o.Clock()
	if age := now.Sub(c.hub.asked); age >= pollEvery*9/10 || age < 0 {
		if err := c.refill(ctx, seq); err != nil {
			return nil, false, err
		}
		c.hub.asked = now
	}
	ring := c.hub.ring
	if seq < c.hub.floor {
		return nil, false, nil
	}
	i := len(ring)
	for i > 0 && ring[i-1].Seq > seq {
		i--
	}
	if len(ring)-i > maxReplay {
		return nil, false, nil
	}
	return append([]event(nil), ring[i:]...), true, nil
}

// refill reads new facts into the ring. The first reader's place begins it.
func (c *Chrome) refill(ctx context.Context, seq int64) error {
	if !c.hub.begun {
		c.hub.begun, c.hub.floor = true, seq
	}
	after := c.hub.floor
	if n := len(c.hub.ring); n > 0 {
		after = c.hub.ring[n-1].Seq
	}
	facts, err := c.o.Feed.FactsAfter(ctx, after, keepFacts)
	if err != nil {
		return err
	}
	for _, f := range facts {
		c.hub.ring = append(c.hub.ring, eventOf(f))
	}
	if n := len(c.hub.ring); n > keepFacts {
		c.hub.floor = c.hub.ring[n-keepFacts-1].Seq
		c.hub.ring = append([]event(nil), c.hub.ring[n-keepFacts:]...)
	}
	return nil
}

// Events streams facts as server-sent events: id is the fact's place in the
// record, data its subject, kind and text. A page that comes back with
// Last-Event-ID gets what it missed, or a reset event when that is too much.
func (c *Chrome) Events(w http.ResponseWriter, r *http.Request, _ *Visit) error {
	ctx := r.Context()
	seq, err := startAt(r)
	if err != nil {
		return err
	}
	if seq < 0 {
		if seq, err = c.o.Feed.LastFact(ctx); err != nil {
			return err
		}
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{}) // the stream outlives the server's write timeout
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if _, err := fmt.Fprintf(w, "retry: 2000\n: fettle\n\n"); err != nil || rc.Flush() != nil {
		return nil
	}
	poll, ping := time.NewTicker(pollEvery), time.NewTicker(pingEvery)
	defer poll.Stop()
	defer ping.Stop()
	for {
		events, complete, err := c.since(ctx, seq)
		if err != nil {
			return nil // the browser comes back with Last-Event-ID
		}
		if !complete {
			last, err := c.o.Feed.LastFact(ctx)
			if err != nil {
				return nil
			}
			seq = last
			if _, err := fmt.Fprintf(w, "id: %d\nevent: reset\ndata: {}\n\n", seq); err != nil || rc.Flush() != nil {
				return nil
			}
		}
		for _, e := range events {
			data, err := json.Marshal(e)
			if err != nil {
				return nil
			}
			if _, err := fmt.Fprintf(w, "id: %d\nevent: fact\ndata: %s\n\n", e.Seq, data); err != nil {
				return nil
			}
			seq = e.Seq
		}
		if len(events) > 0 && rc.Flush() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return nil
		case <-poll.C:
		case <-ping.C:
			if _, err := c.visit(r); err != nil {
				return nil // signed out meanwhile
			}
			if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil || rc.Flush() != nil {
				return nil
			}
		}
	}
}

// startAt returns the place a stream begins after, -1 for now.
func startAt(r *http.Request) (int64, error) {
	s := r.Header.Get("Last-Event-ID")
	if s == "" {
		s = r.URL.Query().Get("after")
	}
	if s = strings.TrimSpace(s); s == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("after: %q is no number of a fact: %w", s, ops.ErrInvalid)
	}
	return n, nil
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
