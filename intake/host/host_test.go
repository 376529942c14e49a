package host_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake/host"
)

func TestThisMachineCanBeRead(t *testing.T) {
	r, err := host.Read(context.Background(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if r.CPUAll <= 0 || r.MemoryUsed <= 0 || r.MemoryUsed >= 1 {
		t.Errorf("implausible reading: %+v", r)
	}
}

func TestSamples(t *testing.T) {
	at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	before := host.Reading{At: at, CPUBusy: 100, CPUAll: 1000, Read: 500, Written: 700, Received: 100, Sent: 5000}
	after := host.Reading{At: at.Add(10 * time.Second), CPUBusy: 115, CPUAll: 1020, MemoryUsed: 0.5, Disks: map[string]float64{"/": 0.9}, Read: 1500, Written: 700, Received: 1100, Sent: 10}
	got := map[string]float64{}
	for _, s := range host.Samples("res", before, after) {
		if s.Series.Resource != "res" || !s.At.Equal(after.At) {
			t.Errorf("sample of the wrong place or time: %+v", s)
		}
		got[s.Series.Metric] = s.Value
	}
	f := func(metric string, want float64) {
		t.Helper()
		if v, ok := got[metric]; !ok || math.Abs(v-want) > 1e-9 {
			t.Errorf("%s = %v (present %t), want %v", metric, v, ok, want)
		}
	}
	f(host.CPUUtilization, 0.75)
	f(host.MemoryUtilization, 0.5)
	f(host.DiskUtilization, 0.9)
	f(host.DiskRead, 100)
	f(host.DiskWrite, 0)
	f(host.NetworkReceive, 100)
	if _, ok := got[host.NetworkTransmit]; ok {
		t.Error("a counter that went back must give no rate")
	}
	if len(got) != 6 {
		t.Errorf("got %d metrics: %v", len(got), got)
	}
}
