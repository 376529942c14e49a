package feature_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/series"
)

// BenchmarkAdd is one sample of entities that are fed four gauges every ten
// seconds, in steps of a minute, as the end-to-end bar has them.
func BenchmarkAdd(b *testing.B) {
	for _, entities := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("entities=%d", entities), func(b *testing.B) { add(b, entities, "host", hostSeries, 10_000) })
	}
	// Counters of 16 processors, two links and two disks, and an expression.
	b.Run("node_exporter", func(b *testing.B) { add(b, 100, "node_exporter", nodeSeries, 15_000) })
}

func hostSeries(entity string) []series.Descriptor {
	var out []series.Descriptor
	for _, m := range []string{"cpu_utilization", "memory_utilization", "network_receive_bytes_per_second", "disk_read_bytes_per_second"} {
		out = append(out, series.Descriptor{Metric: m, Temporality: series.Gauge, Labels: labels("resource", entity)})
	}
	return out
}

func nodeSeries(entity string) []series.Descriptor {
	var out []series.Descriptor
	one := func(metric string, pairs ...string) {
		out = append(out, series.Descriptor{Metric: metric, Labels: labels(append(pairs, "instance", entity)...)})
	}
	for c := range 16 {
		one("node_cpu_seconds_total", "cpu", fmt.Sprint(c), "mode", "idle")
		one("node_cpu_seconds_total", "cpu", fmt.Sprint(c), "mode", "iowait")
	}
	one("node_memory_MemAvailable_bytes")
	one("node_memory_MemTotal_bytes")
	for _, d := range []string{"eth0", "eth1"} {
		one("node_network_receive_bytes_total", "device", d)
		one("node_network_transmit_bytes_total", "device", d)
	}
	for _, d := range []string{"sda", "sdb"} {
		one("node_disk_read_bytes_total", "device", d)
		one("node_disk_written_bytes_total", "device", d)
	}
	return out
}

func add(b *testing.B, entities int, name string, of func(string) []series.Descriptor, every int64) {
	set, _ := compiled(b, feature.Group{Name: name, Features: []feature.Feature{{Set: name}}})
	type fed struct {
		e        *feature.Entity
		bindings []feature.Binding
	}
	all := make([]fed, entities)
	for i := range all {
		for _, d := range of(fmt.Sprint(i)) {
			bindings, err := set.Bind(&d)
			if err != nil || len(bindings) != 1 {
				b.Fatal(bindings, err)
			}
			all[i].bindings = append(all[i].bindings, bindings...)
		}
	}
	before := heap()
	for i := range all {
		all[i].e = set.Selectors()[0].New(all[i].bindings[0].Entity)
	}
	var at int64
	var i, j, points int
	step := func() {
		closed, err := all[i].e.Add(&all[i].bindings[j], series.RawPoint{At: at, Value: float64(at)})
		if err != nil {
			b.Fatal(err)
		}
		points += len(closed)
		if j++; j == len(all[i].bindings) {
			j, i = 0, i+1
		}
		if i == len(all) {
			i, at = 0, at+every
		}
	}
	for at < 5*minute {
		step() // until every buffer has its size
	}
	size := float64(heap()-before) / float64(entities)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		step()
	}
	b.ReportMetric(size, "bytes/entity")
	if points == 0 {
		b.Fatal("no points")
	}
}

// heap is what is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkBind(b *testing.B) {
	var groups []feature.Group
	for _, set := range feature.Sets() {
		groups = append(groups, feature.Group{Name: set, Features: []feature.Feature{{Set: set}}})
	}
	set, err := feature.Compile(groups)
	if err != nil {
		b.Fatal(err)
	}
	bind := func(metric string, want int) {
		b.Run(metric, func(b *testing.B) {
			d := series.Descriptor{Metric: metric, Labels: labels("cpu", "1", "instance", "web-1:9100", "job", "node", "mode", "idle")}
			b.ReportAllocs()
			for b.Loop() {
				if got, err := set.Bind(&d); err != nil || len(got) != want {
					b.Fatal(got, err)
				}
			}
		})
	}
	bind("node_load1", 0) // nobody selects it
	bind("node_cpu_seconds_total", 1)
}

func BenchmarkState(b *testing.B) {
	set, sel := compiled(b, feature.Group{Name: "host", Features: []feature.Feature{{Set: "host"}}})
	e := sel.New("a")
	for at := int64(0); at < 5*minute; at += 10_000 {
		for _, d := range hostSeries("a") {
			bindings, err := set.Bind(&d)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := e.Add(&bindings[0], series.RawPoint{At: at, Value: 1}); err != nil {
				b.Fatal(err)
			}
		}
	}
	state := e.AppendState(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			state = e.AppendState(state[:0])
		}
		b.ReportMetric(float64(len(state)), "bytes")
	})
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := sel.Load("a", state); err != nil {
				b.Fatal(err)
			}
		}
	})
}
