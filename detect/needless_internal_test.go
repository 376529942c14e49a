package detect

import (
	"testing"
	"time"
)

func TestRecordsStayForAWhileAfterTheyAreOfUse(t *testing.T) {
	var n needless
	start := time.Unix(0, 0)
	f := func(after time.Duration, offset int64, filling bool, want int64) {
		t.Helper()
		if got := n.upTo(start.Add(after), offset, time.Minute, filling); got != want {
			t.Errorf("after %s with %d of no use: %d may go, want %d", after, offset, got, want)
		}
	}
	f(0, 10, false, 0)
	f(30*time.Second, 20, false, 0)
	f(60*time.Second, 20, false, 10)
	f(89*time.Second, 30, false, 0)
	f(90*time.Second, 30, false, 20)
	f(95*time.Second, 40, true, 40) // the log fills up
	f(96*time.Second, 50, false, 0)
	f(156*time.Second, 60, false, 50)
	f(10*time.Minute, 60, false, 60)
}
