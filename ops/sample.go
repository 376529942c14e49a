package ops

import (
	"math"
	"time"
)

// Point is one value of a series at one instant.
type Point struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`
}

// SeriesID names a series: one metric of one resource with its labels.
type SeriesID struct {
	Resource string            `json:"resource"` // resource id
	Metric   string            `json:"metric"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Sample is a point of a series as it comes in.
type Sample struct {
	Series SeriesID `json:"series"`
	Unit   string   `json:"unit,omitempty"` // UCUM-like: 1 for a ratio, By, By/s, s
	Point
}

// Series is a stretch of one series, oldest point first.
type Series struct {
	SeriesID
	Unit   string  `json:"unit,omitempty"`
	Points []Point `json:"points"`
}

// Stats returns the least, mean and greatest value of the series and the
// number of points; all zero when it is empty. NaN points are skipped.
func (s Series) Stats() (low, mean, high float64, n int) {
	low, high = math.Inf(1), math.Inf(-1)
	var sum float64
	for _, p := range s.Points {
		if math.IsNaN(p.Value) {
			continue
		}
		n++
		sum += p.Value
		low, high = math.Min(low, p.Value), math.Max(high, p.Value)
	}
	if n == 0 {
		return 0, 0, 0, 0
	}
	return low, sum / float64(n), high, n
}

// SeriesChunk is a stretch of one series, summarised by steps and compressed.
type SeriesChunk struct {
	Series SeriesID
	Unit   string
	Step   time.Duration
	Start  time.Time
	Body   []byte
}
