package job

import (
	"errors"
	"time"
)

// Snoozed returns how long err, made by Snooze, asks to wait. It is how a
// queue that stands in for this one in tests tells a snooze from a failure.
func Snoozed(err error) (after time.Duration, ok bool) {
	var s *snooze
	if !errors.As(err, &s) {
		return 0, false
	}
	return s.after, true
}
