// Package threshold turns raw anomaly scores into decisions: a grade with a
// confidence, a threshold that keeps an alarm budget, the expected value with
// its band, the season, and the moment at which a new level is the new normal.
//
// Every type is one model of one stream. It is fed in the order of time, never
// looks ahead, allocates nothing per point, and gives equal results for equal
// points over a save and load. Reading and learning are apart: Read, Threshold
// and Alarm change nothing, Learn changes the state, and Update reads, then
// learns unless the point is held. A held point (maintenance, an incident, a
// change that was rolled back) leaves the state as it was, to the bit. A value
// that is NaN or infinite is never learned; what it reads as is said at each
// type. No type is safe for concurrent use.
//
// AppendState writes settings and state with a kind and a version in front;
// LoadState reads them into a value made with equal settings, leaves it
// untouched on an error, and returns the bytes that follow, so that states can
// stand one after another. There is no checksum: the caller puts one around
// the whole model.
package threshold

import "math"

func finite(x float64) bool { return x-x == 0 }

func clamp(x, low, high float64) float64 { return math.Min(math.Max(x, low), high) }
