package shift

import (
	"cmp"
	"math/bits"
	"slices"
)

// order sorts any stretch of one series without comparing its points again:
// each point that is there has a place among all of them, and a stretch marks
// the places of its points and reads them back from the least on. A comparison
// sorts some thousand stretches that overlap; this is several times as fast as
// sorting each, and the same to the last bit.
type order struct {
	sorted []float64 // all points that are there
	place  []int32   // of each point in sorted, -1 for a missing one
	at     []int32   // the point at each place
	marks  []uint64  // a bit per place, none set between stretches
}

// of takes a series. Its length must fit into 31 bits.
func (o *order) of(points []float64) {
	o.sorted, o.at, o.place = o.sorted[:0], o.at[:0], o.place[:0]
	for i, v := range points {
		o.place = append(o.place, -1)
		if there(v) {
			o.at = append(o.at, int32(i))
		}
	}
	slices.SortFunc(o.at, func(a, b int32) int { return cmp.Compare(points[a], points[b]) })
	for p, i := range o.at {
		o.place[i] = int32(p)
		o.sorted = append(o.sorted, points[i])
	}
	if words := (len(o.at) + 63) / 64; len(o.marks) < words {
		o.marks = make([]uint64, words)
	}
}

// stretch sorts the points from a to before b that are there into buf; nil when
// fewer than half are.
func (o *order) stretch(a, b int, buf []float64) []float64 {
	buf = buf[:0]
	n, low, high := 0, len(o.marks), -1
	for _, p := range o.place[a:b] {
		if p < 0 {
			continue
		}
		word := int(p >> 6)
		o.marks[word] |= 1 << (p & 63)
		n, low, high = n+1, min(low, word), max(high, word)
	}
	for word := low; word <= high; word++ {
		places := o.sorted[word<<6:]
		for set := o.marks[word]; set != 0; set &= set - 1 {
			buf = append(buf, places[bits.TrailingZeros64(set)])
		}
		o.marks[word] = 0
	}
	if 2*n < b-a || n == 0 {
		return nil
	}
	return buf
}
