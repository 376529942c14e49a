// Package clock names the one way time comes into a room: it is handed in.
package clock

import "time"

// Clock tells the time. The app hands in time.Now; tests hand in their own or
// run under testing/synctest.
type Clock func() time.Time
