package crash

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/test/house"
)

// outages are the ways ServiceNow is away, for real seconds.
var outages = []struct {
	name  string
	fault simulator.Fault
	last  time.Duration
}{
	{"unavailable", simulator.Fault{Mode: simulator.Unavailable}, 30 * time.Second},
	{"hibernating", simulator.Fault{Mode: simulator.Hibernating}, 10 * time.Second},
	{"throttled", simulator.Fault{Mode: simulator.RateLimited, RetryAfter: 3 * time.Second}, 10 * time.Second},
	{"answers lost", simulator.Fault{Mode: simulator.DropAnswer}, 10 * time.Second},
}

func TestTheQueueDrainsInOrderAfterServiceNowWasAway(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	house.Binary(t)
	random := rand.New(rand.NewPCG(seed(t), 7))
	h := house.New(t, house.Options{})
	h.Start("")
	h.Ready(ready)
	alerts := []house.Alert{}
	for _, instance := range []string{"a", "b", "c", "d", "e", "f"} {
		alerts = append(alerts, house.Alert{Rule: "DiskFull", Instance: instance, Fingerprint: "disk-" + instance})
	}
	f := house.NewFlood(h)
	for _, a := range alerts {
		f.Tell(a, true)
	}
	h.Drain(drained)
	for _, o := range outages {
		written := h.Snow.Counts().Changes
		h.Snow.SetFault(o.fault)
		moves := 0
		for end := time.Now().Add(o.last); time.Now().Before(end); moves++ {
			a := alerts[random.IntN(len(alerts))]
			f.Tell(a, !f.Final()[a.Fingerprint].Firing)
			time.Sleep(time.Duration(200+random.IntN(800)) * time.Millisecond)
		}
		asked := h.Snow.Counts()
		h.Snow.SetDown(simulator.Off)
		back := time.Now()
		h.Drain(drained)
		t.Logf("%s for %v: %d moves meanwhile, %d requests so far; drained %.1f s after it was back with %d changes",
			o.name, o.last, moves, asked.Requests, time.Since(back).Seconds(), h.Snow.Counts().Changes-written)
		inOrder(t, h)
	}
	h.Chains(t.Context())
	h.Stop()
	h.Sound(f.Final())
}

// inOrder checks that every note arrived, once and in the order in which it was queued.
func inOrder(t *testing.T, h *house.House) {
	t.Helper()
	for _, r := range h.Snow.Incidents() {
		if r["correlation_id"] == "" {
			continue
		}
		var got []string
		for _, n := range h.Snow.Journal(r["sys_id"]) {
			if _, id, ours := strings.Cut(n.Value, "[fettle:"); ours {
				got = append(got, strings.TrimSuffix(strings.TrimSpace(id), "]"))
			}
		}
		want := h.Column("SELECT n.id FROM ticket_note n JOIN ticket t ON t.id = n.ticket_id WHERE t.platform = 'snow' AND t.ref = ? AND n.state = 'delivered' ORDER BY n.seq", r["sys_id"])
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s has the notes\n%s\nqueued were\n%s", r["number"], strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
