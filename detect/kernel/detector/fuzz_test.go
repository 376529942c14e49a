package detector_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// FuzzLoad hands any bytes to Load, with a checksum that fits, so that what
// is behind it is reached. What loads goes on without a panic.
func FuzzLoad(f *testing.F) {
	s := detector.Settings{Features: 2, Seed: 3, Tier: detector.Small}
	for i, name := range []string{"rcf", "mad", "null"} {
		d := build(f, name, s)
		read(f, d, stream(1, 120, s))
		state, err := d.AppendState(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), state[:len(state)-4])
		f.Add(byte(i), state[:len(state)/2])
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		name := []string{"rcf", "mad", "null"}[which%3]
		state := binary.LittleEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		d, err := detector.Load(name, s, state)
		if err != nil {
			if !errors.Is(err, detector.ErrState) {
				t.Fatal(err)
			}
			return
		}
		var r detector.Reading
		for i := range 20 {
			_ = d.Process(detector.Point{At: math.MaxInt64 - 20 + int64(i), Values: []float64{float64(i), 1}}, &r)
		}
	})
}

// FuzzStream hands any values and times to the default.
func FuzzStream(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	huge := binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.MaxFloat64))
	low := binary.LittleEndian.AppendUint64(nil, math.Float64bits(-math.MaxFloat64))
	tiny := binary.LittleEndian.AppendUint64(nil, 1)
	f.Add(bytes.Repeat(append(append(huge, low...), tiny...), 80))
	f.Fuzz(func(t *testing.T, b []byte) {
		for features := 1; features <= 2; features++ {
			d := build(t, "default", detector.Settings{Features: features, Tier: detector.Small})
			var r detector.Reading
			at := int64(0)
			for rest := b; len(rest) >= 8*features; rest = rest[8*features:] {
				p := detector.Point{At: at, Values: make([]float64, features)}
				at += 1 + int64(rest[0])*1000
				p.Hold = rest[1]%16 == 0
				infinite := false
				for k := range p.Values {
					p.Values[k] = math.Float64frombits(binary.LittleEndian.Uint64(rest[8*k:]))
					infinite = infinite || math.IsInf(p.Values[k], 0)
				}
				if err := d.Process(p, &r); (err != nil) != infinite {
					t.Fatalf("%v: %v", p, err)
				}
				if infinite {
					continue
				}
				if why := wrong(p, &r); why != "" {
					t.Fatalf("%v: %s: %s", p, why, text(&r))
				}
			}
		}
	})
}
