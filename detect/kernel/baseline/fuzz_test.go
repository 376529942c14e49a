package baseline

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// FuzzStream feeds every scorer one stream decoded from bytes: a byte of
// flags, two of time and, for each of two features, a byte that chooses a
// special value or eight that are one. Whatever comes, scores are finite and
// not negative, blame sums to 1 or 0, errors leave the model alone, and a model
// loaded halfway goes on to the same state.
func FuzzStream(f *testing.F) {
	ramp := make([]byte, 0, 1024)
	for i := range 200 {
		ramp = append(ramp, 0, 60, 0, byte(i%7), byte(i%5+1))
	}
	f.Add(ramp)
	f.Add(bytes.Repeat([]byte{0, 1, 0, 3, 3}, 150))
	f.Add(bytes.Repeat([]byte{1, 255, 255, 200, 201, 0, 1, 2, 202, 203, 2, 1, 0, 204, 205}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, k := range all() {
			s, l := k.fresh(t, 2), k.fresh(t, 2)
			loadAt := 0
			if len(data) > 0 {
				loadAt = int(data[0])
			}
			at, begun := int64(0), false
			for i, in := 0, data; i < 400; i++ {
				var p fuzzPoint
				if in = p.read(in); in == nil {
					break
				}
				at += p.after
				before := []byte(nil)
				bad := p.after <= 0 && begun || math.IsInf(p.x[0], 0) || math.IsInf(p.x[1], 0)
				if bad {
					before = s.AppendState(nil)
				}
				if i == loadAt {
					if err := l.LoadState(s.AppendState(nil)); err != nil {
						t.Fatalf("%s: %v", k.name, err)
					}
				}
				score, err := s.Process(at, p.x[:], p.hold)
				if bad != (err != nil) {
					t.Fatalf("%s: point %d %+v: %v", k.name, i, p, err)
				}
				if i >= loadAt {
					if again, _ := l.Process(at, p.x[:], p.hold); again != score {
						t.Fatalf("%s: point %d scores %v, loaded %v", k.name, i, score, again)
					}
				}
				if bad {
					if !bytes.Equal(before, s.AppendState(nil)) {
						t.Fatalf("%s: a refused point changed the model", k.name)
					}
					at -= p.after
					continue
				}
				begun = true
				check(t, k.name, s, score)
			}
		}
	})
}

func check(t *testing.T, name string, s Scorer, score float64) {
	t.Helper()
	if !(score >= 0) || math.IsInf(score, 0) {
		t.Fatalf("%s: score %v", name, score)
	}
	sum := 0.0
	for _, b := range s.Blame(nil) {
		if !(b >= 0) {
			t.Fatalf("%s: blame %v", name, s.Blame(nil))
		}
		sum += b
	}
	if score > 0 && math.Abs(sum-1) > 1e-9 || score == 0 && sum != 0 {
		t.Fatalf("%s: score %v, blame %v", name, score, s.Blame(nil))
	}
	for _, e := range s.Expected(nil) {
		if math.IsInf(e, 0) {
			t.Fatalf("%s: expected %v", name, s.Expected(nil))
		}
	}
}

type fuzzPoint struct {
	hold  bool
	after int64
	x     [2]float64
}

var special = []float64{
	math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1e-320, 1e150, -1e150,
	math.MaxFloat64, -math.MaxFloat64, 1e-9, 1e9,
}

func (p *fuzzPoint) read(in []byte) []byte {
	if len(in) < 5 {
		return nil
	}
	p.hold = in[0]&1 == 1
	p.after = int64(int16(binary.LittleEndian.Uint16(in[1:]))) << (in[0] & 0x1e)
	in = in[3:]
	for i := range p.x {
		switch {
		case len(in) == 0:
			return nil
		case in[0] < 200:
			p.x[i], in = float64(in[0]), in[1:]
		case int(in[0])-200 < len(special):
			p.x[i], in = special[in[0]-200], in[1:]
		case len(in) < 9:
			return nil
		default:
			p.x[i], in = math.Float64frombits(binary.LittleEndian.Uint64(in[1:])), in[9:]
		}
	}
	return in[:len(in):len(in)]
}

// FuzzState loads what is no state, and what only has a state's checksum, into
// every scorer: it never panics, then or at the next points, and what a loaded
// model is saved as loads again.
func FuzzState(f *testing.F) {
	for _, k := range all() {
		s, err := k.newFor(1)
		if err != nil {
			f.Fatal(err)
		}
		for i := range 60 {
			if _, err := s.Process(int64(i)*minute, []float64{float64(i * i % 17)}, false); err != nil {
				f.Fatal(err)
			}
		}
		state := s.AppendState(nil)
		f.Add(state[:len(state)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		w := writer{buf: bytes.Clone(body)}
		state := w.sum()
		for _, k := range all() {
			s := k.fresh(t, 1)
			if err := s.LoadState(body); err == nil && len(body) < 8 {
				t.Fatalf("%s: loaded %d bytes", k.name, len(body))
			}
			if s.LoadState(state) != nil {
				continue
			}
			if !bytes.Equal(s.AppendState(nil), state) {
				again := k.fresh(t, 1)
				if err := again.LoadState(s.AppendState(nil)); err != nil {
					t.Fatalf("%s: a loaded state does not load again: %v", k.name, err)
				}
			}
			for _, x := range []float64{1, 2, math.NaN(), 1e300, -5} {
				_, _ = s.Process(math.MaxInt64, []float64{x}, false)
			}
		}
	})
}
