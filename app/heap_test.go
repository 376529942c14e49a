package app

import "testing"

func TestHeapPercent(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	f := func(alive uint64, want int) {
		t.Helper()
		if got := heapPercent(alive); got != want {
			t.Errorf("%d MiB alive: %d, want %d", alive/mib, got, want)
		}
	}
	f(0, 200)
	f(512*mib, 200)
	f(gib, 100)
	f(4*gib, 25)
	f(100*gib, 20)
}
