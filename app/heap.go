package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent lets a small heap grow to three times what is alive between two
	// collections: an idle server keeps a dozen megabytes alive, and under a storm
	// about a tenth of the processor time went into collecting at 100. GOGC in the
	// environment overrules it.
	gcPercent = 200
	// gcSlack is how far a large heap may grow beyond what is alive: ten thousand
	// models are gigabytes, hold no pointers and cost little to collect around.
	gcSlack = 1 << 30
	// gcLeast is the percentage that no heap goes below.
	gcLeast = 20
	// gcEvery is how often it is looked at.
	gcEvery = 10 * time.Second
)

// heapPercent is the GOGC of a heap with so many bytes alive.
func heapPercent(alive uint64) int {
	if alive <= gcSlack*100/gcPercent {
		return gcPercent
	}
	return max(int(gcSlack*100/alive), gcLeast)
}

// boundHeap keeps the slack of the heap bounded until ctx ends, and puts back
// the percentage it found.
func boundHeap(ctx context.Context) {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(gcEvery)
	defer ticker.Stop()
	for now := gcPercent; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(sample)
		if want := heapPercent(sample[0].Value.Uint64()); want != now {
			debug.SetGCPercent(want)
			now = want
		}
	}
}
