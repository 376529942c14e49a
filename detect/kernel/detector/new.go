package detector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
)

// Names lists the detectors that New makes.
func Names() []string { return []string{"null", "random"} }

// New returns a new detector, one of Names. Settings out of range are an error.
func New(name string, s Settings) (Detector, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("detector %q is none of %s", name, strings.Join(Names(), ", "))
	}
	if s.Features < 1 || s.Features > 64 {
		return nil, fmt.Errorf("%d features: a model has 1 to 64", s.Features)
	}
	return &crude{features: s.Features, seed: s.Seed, random: name == "random", last: math.MinInt64}, nil
}

// crude scores without looking at the values: 0, or a number drawn from the
// seed and the number of points before.
type crude struct {
	features int
	random   bool
	seed     uint64
	last     int64
	seen     uint64
}

func (c *crude) Process(p Point, r *Reading) error {
	switch {
	case len(p.Values) != c.features:
		return fmt.Errorf("%d values for %d features", len(p.Values), c.features)
	case p.At <= c.last:
		return errors.New("the time of a point does not come after that of the one before")
	case slices.ContainsFunc(p.Values, func(v float64) bool { return math.IsInf(v, 0) }):
		return errors.New("an infinite value")
	}
	r.Reset(c.features)
	c.last = p.At
	c.seen++
	if c.random { // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)
		z := c.seed + c.seen*0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		r.Score = float64((z^z>>31)>>11) / (1 << 53)
	}
	r.Raw = r.Score
	return nil
}

func (c *crude) AppendState(dst []byte) ([]byte, error) {
	from := len(dst)
	kind := byte(0)
	if c.random {
		kind = 1
	}
	dst = append(dst, 'C', 'R', 1, kind, byte(c.features))
	for _, v := range []uint64{c.seed, uint64(c.last), c.seen} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[from:])), nil
}
