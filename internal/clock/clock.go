// Package clock lets time be handed in, so that a test can turn the hands.
//
// Only code that must read the time takes a Clock. Timers and sleeps use package
// time directly: testing/synctest makes those virtual.
package clock

import "time"

// Clock returns the current time. It is safe for concurrent use.
type Clock func() time.Time

// Real returns the time of the machine. It is a Clock: pass clock.Real.
func Real() time.Time { return time.Now() }
