package test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/job/jobtest"
)

const (
	sec    = time.Second
	minute = time.Minute
	hour   = time.Hour
)

// Story is what happens to an installation, and what it must do about it.
type Story struct {
	// Begin is the local time the story begins at, "2026-03-28 18:00 Europe/Berlin".
	Begin string
	// Config is added to the configuration all stories share.
	Config string
	// Base is the configuration it is added to instead of the shared one.
	Base string
	// World puts more around the installation than all stories have.
	World func(h *House)
	// Orders sends work orders to OpsCenter.
	Orders bool
	Events []Event
}

// Act does something at an instant, or reports why what must hold does not.
type Act func(h *House) error

// Event is one line of a story.
type Event struct {
	from, to time.Duration
	acts     []Act
	always   bool // acts must hold throughout
}

// At does what people, senders and platforms do at an instant, and checks what
// must hold by then.
func At(at time.Duration, acts ...Act) Event { return Event{from: at, to: at, acts: acts} }

// Between says what must come about within a span, at its end at the latest.
func Between(from, to time.Duration, wants ...Act) Event {
	return Event{from: from, to: to, acts: wants}
}

// Throughout says what must hold at all times within a span.
func Throughout(from, to time.Duration, wants ...Act) Event {
	return Event{from: from, to: to, acts: wants, always: true}
}

// schema is what every database here begins with.
var schema = dbtest.Laid(jobtest.Migrate)

// Play plays a story; among the long tests once more with the server stopped
// and started again on its data directory after each thing that happens, which
// must not change anything. Stories share nothing and wait for the disk, so that
// the next one plays meanwhile.
func Play(t *testing.T, s Story) {
	t.Helper()
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		name := "straight"
		if restarts {
			name = "restarted"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if restarts {
				peer.Long(t)
			}
			dir := dbtest.Dir(t)
			schema.Put(t, filepath.Join(dir, dataDir, "fettle.db"))
			synctest.Test(t, func(t *testing.T) {
				h := open(t, dir, s)
				defer h.close()
				h.play(s.Events, restarts)
			})
		})
	}
}

// play goes through the events in the order of time; of the same instant, in
// the order of the story.
func (h *House) play(events []Event, restarts bool) {
	h.t.Helper()
	type pending struct {
		Event
		next time.Duration
	}
	var queue []*pending
	for _, e := range events {
		queue = append(queue, &pending{e, e.from})
	}
	begin := time.Now()
	for len(queue) > 0 {
		p := slices.MinFunc(queue, func(a, b *pending) int { return int(a.next - b.next) })
		time.Sleep(p.next - time.Since(begin))
		synctest.Wait()
		err := h.do(p.acts)
		switch {
		case err == nil && p.always && p.next < p.to, err != nil && !p.always && p.next < p.to:
			p.next = min(p.to, p.next+pace(p.to-p.from))
			continue
		case err != nil:
			h.fatalf("at %s (%s): %v", time.Since(begin), h.local(), err)
		}
		queue = slices.DeleteFunc(queue, func(q *pending) bool { return q == p })
		if restarts && p.from == p.to && len(queue) > 0 {
			h.restart()
		}
	}
}

// pace is how often a span is looked at.
func pace(span time.Duration) time.Duration { return max(sec, span/40) }

func (h *House) do(acts []Act) error {
	for _, act := range acts {
		if err := act(h); err != nil {
			return err
		}
	}
	return nil
}

// parseBegin reads a story's begin.
func parseBegin(t testing.TB, s string) time.Time {
	t.Helper()
	if s == "" {
		s = "2026-06-01 08:00 Europe/Berlin"
	}
	i := strings.LastIndex(s, " ")
	zone, err := time.LoadLocation(s[i+1:])
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", s[:i], zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
