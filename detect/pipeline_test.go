package detect_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func hosts(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// uninterrupted is what one run over everything leaves.
func uninterrupted(t *testing.T, dir string, n, steps int) outcome {
	t.Helper()
	l := newLab(t, dir)
	defer l.close()
	l.start()
	l.append(records(hosts(n), 2, 0, steps, 10*time.Second, 4)...)
	l.settle()
	l.halt()
	return l.outcome()
}

func TestSamplesBecomeAnomalies(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := uninterrupted(t, filepath.Join(dir, "x"), 4, 500)
		if len(o.watched) != 4 || len(o.readings) != 4*499 {
			t.Errorf("%d watched, %d readings", len(o.watched), len(o.readings))
		}
		for _, a := range o.alerts {
			t.Log(a)
		}
		for _, a := range o.anomalies {
			t.Log(a)
		}
		t.Log(len(o.chunks))
	})
}
