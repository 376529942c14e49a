package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// scored is a line of the part models.
type scored struct {
	Detector string  `json:"detector"`
	Models   int     `json:"models"`
	Tier     string  `json:"tier"`
	Features int     `json:"features"`
	Dims     int     `json:"dims"` // features x shingle of 8
	Points   float64 `json:"points_per_second_and_core"`
	Each     float64 `json:"cpu_us_per_point"`
	Memory   float64 `json:"kib_per_model"`
	Saved    float64 `json:"kib_per_saved_model"`
}

const modelsHead = "detector|models|tier|features|dims|points/s and core|CPU us/point|KiB/model|KiB/saved model"

func (s scored) cells() []any {
	return []any{
		s.Detector, s.Models, s.Tier, s.Features, s.Dims, fmt.Sprintf("%.0f", s.Points), fmt.Sprintf("%.1f", s.Each), fmt.Sprintf("%.0f", s.Memory),
		fmt.Sprintf("%.0f", s.Saved),
	}
}

// fullTier is how many full models a group has of the tier auto.
const fullTier = 1000

// learnt is how many points a model has before it is measured: its forests
// are full by then.
const learnt = 300

func measureModels(o options) ([]scored, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(200)) // as the server runs
	var out []scored
	for _, name := range strings.Split(o.detectors, ",") {
		if !slices.Contains(detector.Names(), name) {
			fmt.Fprintf(os.Stderr, "detector %s: not run: there is none of that name\n", name)
			continue
		}
		for _, features := range []int{1, 4} {
			for _, n := range []int{1, 100, 1000, 10_000} {
				if n > max(o.models, 1) {
					continue
				}
				s, err := score(o, name, features, n)
				if err != nil {
					return out, err
				}
				fmt.Fprintln(os.Stderr, s.cells()...) // as it goes on
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// score gives each of n models a point in turn, in this process, and reads
// what processor time that took.
func score(o options, name string, features, n int) (scored, error) {
	s := scored{Detector: name, Models: n, Tier: string(detector.Full), Features: features, Dims: 8 * features}
	before := heap()
	models := make([]detector.Detector, n)
	for i := range models {
		tier := detector.Full
		switch {
		case o.tier == string(detector.Small):
			tier, s.Tier = detector.Small, o.tier
		case o.tier != string(detector.Full) && i >= fullTier:
			tier, s.Tier = detector.Small, o.tier
		}
		d, err := detector.New(name, detector.Settings{Features: features, Step: o.interval, Seed: uint64(i), Tier: tier})
		if err != nil {
			return s, err
		}
		models[i] = d
	}
	var r detector.Reading
	values := make([]float64, features)
	step := 0
	round := func() error {
		for i, d := range models {
			for f := range values {
				values[f] = o.value(i, f, step)
			}
			if err := d.Process(detector.Point{At: int64(step+1) * o.interval.Milliseconds(), Values: values}, &r); err != nil {
				return err
			}
		}
		step++
		return nil
	}
	for range learnt {
		if err := round(); err != nil {
			return s, err
		}
	}
	s.Memory = float64(heap()-before) / float64(n) / 1024
	begin, rounds := processor(), 0
	for ; processor()-begin < time.Duration(o.budget*float64(time.Second)); rounds++ {
		if err := round(); err != nil {
			return s, err
		}
	}
	used := processor() - begin
	s.Points = float64(rounds*n) / used.Seconds()
	s.Each = used.Seconds() * 1e6 / float64(rounds*n)
	saved, err := models[n-1].AppendState(nil)
	s.Saved = float64(len(saved)) / 1024
	runtime.KeepAlive(models)
	return s, err
}

// heap is what is alive.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// processor is the processor time of this process, the collector's with it.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
