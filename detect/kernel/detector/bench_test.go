package detector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// stream is a made-up metric per feature: a daily wave, noise, and now and then
// a spike.
func stream(seed uint64, points, features int) []Point {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]Point, points)
	for i := range out {
		p := Point{At: 1_700_000_000_000 + int64(i)*60_000, Values: make([]float64, features)}
		for d := range p.Values {
			p.Values[d] = 50 + 20*math.Sin((float64(i)+float64(d)*37)*2*math.Pi/1440) + 3*rng.NormFloat64()
			if rng.IntN(2000) == 0 {
				p.Values[d] += 40
			}
		}
		out[i] = p
	}
	return out
}

// BenchmarkProcess is one point read and learned by a warm model. live-B is the
// model with what the reading lends it, which models share.
func BenchmarkProcess(b *testing.B) {
	one := func(name, label string, s Settings) {
		b.Run(fmt.Sprintf("%s/features=%d", label, s.Features), func(b *testing.B) {
			const warm = 12000
			points := stream(17, 2*warm, s.Features)
			before := liveBytes()
			d, err := New(name, s)
			if err != nil {
				b.Fatal(err)
			}
			var r Reading
			for _, p := range points[:warm] {
				if err := d.Process(p, &r); err != nil {
					b.Fatal(err)
				}
			}
			live := liveBytes() - before
			state, err := d.AppendState(nil)
			if err != nil {
				b.Fatal(err)
			}
			at := points[warm].At
			b.ReportAllocs()
			i, begin := 0, int64(0)
			for b.Loop() {
				if i == 0 {
					begin = cpuNanos()
				}
				p := points[warm+i%warm]
				p.At = at + int64(i)*60_000
				if err := d.Process(p, &r); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(cpuNanos()-begin)/float64(i), "cpu-ns/op")
			b.ReportMetric(float64(len(state)), "state-B")
			b.ReportMetric(float64(live), "live-B")
		})
	}
	for _, features := range []int{1, 4} {
		for _, name := range Names() {
			one(name, name, Settings{Features: features, Seed: 1})
		}
		one("default", "default-small", Settings{Features: features, Seed: 1, Tier: Small})
	}
}

func liveBytes() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
