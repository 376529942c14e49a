package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/lease"
	"github.com/fettleops/fettle/store/storetest"
)

func TestMemoryKeepsTheSpecificationOfTheStore(t *testing.T) {
	storetest.LeaseTable(t, new(lease.Memory))
}

func TestMemoryGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := new(lease.Memory)
	_, err := m.Take(ctx, "x", "a", time.Time{}, time.Time{})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFree(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := func(l lease.Lease, want bool) {
		t.Helper()
		if got := l.Free(now); got != want {
			t.Errorf("%+v: %v", l, got)
		}
	}
	f(lease.Lease{}, true)
	f(lease.Lease{Owner: "a", Until: now}, true)
	f(lease.Lease{Owner: "a", Until: now.Add(time.Millisecond)}, false)
}
