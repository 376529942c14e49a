// Package crash kills the real binary at any moment and looks whether anything
// was lost or done twice. The tests are long: FETTLE_LONG=1.
package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/test/house"
)

func TestMain(m *testing.M) {
	awsxtest.CredentialsForAll()
	code := peer.Waiting(m)
	house.Remove()
	os.Exit(code)
}

// rules are what is flooded: two that only make tickets and one that a runbook
// answers.
var rules = []string{"DiskFull", "HighLatency", "Restart"}

const (
	connections = 8
	instances   = 8
	drained     = 6 * time.Minute
	ready       = time.Minute
)

// seed returns FETTLE_SEED, or a new one, and logs it.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if v := os.Getenv("FETTLE_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("FETTLE_SEED %q is no number: %v", v, err)
		}
		s = n
	}
	t.Logf("FETTLE_SEED=%d repeats what is sent and how long each life lasts", s)
	return s
}

func TestNothingIsLostOrDoneTwiceWhenTheServerIsKilled(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	house.Binary(t)
	s := seed(t)
	random := rand.New(rand.NewPCG(s, 99))
	h := house.New(t, house.Options{RT: requestTracker(t)})
	began := time.Now()
	h.Start("")
	h.Ready(ready)
	f := house.NewFlood(h)
	f.Moves = 2 * time.Second // each is a note in three platforms, and Request Tracker takes a few a second
	f.Start(s, connections, instances, rules...)
	const kills = 55
	for k := range kills {
		// Every fifth life is so short that it may end in the start itself.
		if k%5 == 4 {
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		} else {
			h.Ready(ready)
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
		}
		h.Kill()
		if !h.Killed() {
			t.Fatalf("life %d ended by itself:\n%s", k, h.Tail(10))
		}
		h.Start("")
	}
	h.Ready(ready)
	killed := time.Since(began)
	f.End()
	h.Drain(drained)
	chains := h.Chains(t.Context())
	h.Stop()
	h.Sound(f.Final())
	ran := len(h.Ran())
	t.Logf("%d kills in %.0f s, %d alerts acknowledged (%d deliveries lost with the server, %d refused), %d incidents, %d commands run, %d chains verified, drained after %.0f s",
		kills, killed.Seconds(), f.Acknowledged.Load(), f.Lost.Load(), f.Refused.Load(), h.Count("SELECT id FROM incident"), ran, chains, time.Since(began).Seconds())
	if ran == 0 || f.Acknowledged.Load() == 0 || f.Lost.Load() == 0 {
		t.Error("the flood did not do what it is for: no alerts, no kill between request and answer, or no command")
	}
}

// requestTracker starts one where the binary has a driver for it.
func requestTracker(t *testing.T) *peer.RT {
	t.Helper()
	list, err := os.ReadFile("../../connector/all/all.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(list), "connector/rt\"") {
		return nil
	}
	return peer.RequestTracker(t)
}
