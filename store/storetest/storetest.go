// Package storetest is the specification of the store: rules that hold on
// every database, each with the reason it exists, which a failure prints.
package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/store/blob"
)

// rule is one thing the store promises.
type rule struct {
	name  string
	why   string
	check func(t *testing.T, h *house)
}

// Run holds a database against every rule. open returns a fresh, empty
// database each time and closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) *db.DB) {
	t.Helper()
	var rules []rule
	for _, group := range [][]rule{writeRules, factRules, principalRules, resourceRules, keepRules, incidentRules, ticketRules, changeRules, detectRules, anomalyRules, leaseRules, graphRules, recommendationRules, notificationRules} {
		rules = append(rules, group...)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel() // each has a database and a clock of its own, and mostly waits for the disk
			defer func() {
				if t.Failed() {
					t.Logf("why this rule: %s", r.why)
				}
			}()
			r.check(t, newHouse(t, open(t)))
		})
	}
}

// house is a migrated store with a clock of its own.
type house struct {
	t     *testing.T
	ctx   context.Context
	db    *db.DB
	store *store.Store
	blobs *blob.Blobs
	now   atomic.Int64 // milliseconds
}

func newHouse(t *testing.T, d *db.DB) *house {
	t.Helper()
	h := &house{t: t, ctx: t.Context(), db: d}
	h.now.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	must(t, store.Migrate(h.ctx, d))
	h.store = store.New(d, h.clock)
	blobs, err := blob.New(d, h.clock, make([]byte, blob.KeySize))
	must(t, err)
	h.blobs = blobs
	return h
}

func (h *house) clock() time.Time     { return time.UnixMilli(h.now.Load()).UTC() }
func (h *house) pass(d time.Duration) { h.now.Add(d.Milliseconds()) }

func (h *house) write(fn func(tx db.Tx) error) {
	h.t.Helper()
	must(h.t, h.db.Write(h.ctx, fn))
}

func (h *house) exec(statement string, args ...any) {
	h.t.Helper()
	h.write(func(tx db.Tx) error {
		_, err := tx.Exec(h.ctx, statement, args...)
		return err
	})
}

func (h *house) count(query string, args ...any) int64 {
	h.t.Helper()
	var n int64
	must(h.t, h.db.Read().QueryRow(h.ctx, query, args...).Scan(&n))
	return n
}

func (h *house) tell(facts ...ops.Fact) []ops.Fact {
	h.t.Helper()
	var out []ops.Fact
	h.write(func(tx db.Tx) (err error) {
		out, err = h.store.Tell(h.ctx, tx, facts...)
		return err
	})
	return out
}

// fact is any fact about a subject.
func (h *house) fact(subject, reason string) ops.Fact {
	return ops.NewFact(subject, h.clock(), ops.SystemPrincipal, "", ops.ExecutionSwitchBody{Reason: reason})
}

// crowd is how many goroutines the rules about concurrency use.
const crowd = 64

// together runs f in a crowd of goroutines.
func together(f func(i int)) {
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantClass(t *testing.T, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: got %v, want %v", what, err, class)
	}
}
