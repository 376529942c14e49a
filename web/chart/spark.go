package chart

import (
	"math"
	"strings"
)

// Spark is the shape of a tile's number over time, in a box of 80 by 28.
type Spark struct {
	Line, Area string
	EndX, EndY string
	Hot        bool // going the wrong way
}

// NewSpark draws values, oldest first. Fewer than two give nil.
func NewSpark(values []float64, hot bool) *Spark {
	if len(values) < 2 {
		return nil
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = math.Min(low, v), math.Max(high, v)
	}
	if high == low {
		high, low = high+1, low-1
	}
	var b strings.Builder
	var x, y float64
	for i, v := range values {
		x = float64(i) * 80 / float64(len(values)-1)
		y = 25 - (v-low)/(high-low)*22
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(px(x) + " " + px(y))
	}
	line := "M" + b.String()
	return &Spark{Line: line, Area: line + " L80 28 L0 28Z", EndX: px(x), EndY: px(y), Hot: hot}
}

// Bar is one of the sixteen bars of a plan's digest mark.
type Bar struct{ X, Y, Height int }

// Bars returns the digest mark: sixteen bars drawn from the first sixteen hex
// digits. Same bars, same plan. Anything that is no digest gives nil.
func Bars(digest string) []Bar {
	if len(digest) < 16 {
		return nil
	}
	out := make([]Bar, 16)
	for i := range out {
		v := strings.IndexByte("0123456789abcdef", digest[i])
		if v < 0 {
			return nil
		}
		out[i] = Bar{X: i * 4, Y: 15 - v, Height: v + 1}
	}
	return out
}

// Fours returns the first sixteen hex digits of a digest in groups of four.
func Fours(digest string) string {
	if len(digest) < 16 {
		return digest
	}
	return digest[:4] + " " + digest[4:8] + " " + digest[8:12] + " " + digest[12:16]
}
