// Package host is Fettle's own senses: it samples CPU, memory, disk and
// network of the machine Fettle runs on, so that there is real input from the
// first second.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
)

// The metrics, in the units of the OpenTelemetry host semantic conventions:
// ratios from 0 to 1, bytes per second.
const (
	CPUUtilization    = "cpu_utilization"
	MemoryUtilization = "memory_utilization"
	DiskUtilization   = "disk_utilization" // of the fullest local file system; each one carries its mountpoint
	DiskRead          = "disk_read_bytes_per_second"
	DiskWrite         = "disk_write_bytes_per_second"
	NetworkReceive    = "network_receive_bytes_per_second"
	NetworkTransmit   = "network_transmit_bytes_per_second"
)

// Reading is one look at the machine's counters.
type Reading struct {
	At              time.Time
	CPUBusy, CPUAll float64            // seconds since boot, over all cores
	MemoryUsed      float64            // ratio
	Disks           map[string]float64 // mountpoint -> ratio used
	Read, Written   uint64             // bytes since boot
	Received, Sent  uint64             // bytes since boot, without loopback
}

// Read looks at the machine. What it cannot read it leaves out and names in
// the error, so that one missing counter does not blind the rest.
func Read(ctx context.Context, now clock.Clock) (Reading, error) {
	r := Reading{At: now().UTC(), Disks: map[string]float64{}}
	var errs []error
	if t, err := cpu.TimesWithContext(ctx, false); err != nil || len(t) == 0 {
		errs = append(errs, fmt.Errorf("host: read CPU times: %w", errors.Join(err, ctx.Err())))
	} else {
		idle := t[0].Idle + t[0].Iowait
		r.CPUAll = t[0].User + t[0].System + t[0].Nice + t[0].Irq + t[0].Softirq + t[0].Steal + idle
		r.CPUBusy = r.CPUAll - idle
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err != nil {
		errs = append(errs, fmt.Errorf("host: read memory: %w", err))
	} else if m.Total > 0 {
		r.MemoryUsed = 1 - float64(m.Available)/float64(m.Total)
	}
	parts, err := disk.PartitionsWithContext(ctx, false)
	if err != nil {
		errs = append(errs, fmt.Errorf("host: list file systems: %w", err))
	}
	for _, p := range parts {
		if strings.HasPrefix(p.Device, "/dev/loop") {
			continue // read-only images are always full
		}
		if u, err := disk.UsageWithContext(ctx, p.Mountpoint); err == nil && u.Total > 0 {
			r.Disks[p.Mountpoint] = u.UsedPercent / 100
		}
	}
	if io, err := disk.IOCountersWithContext(ctx); err == nil {
		for name, c := range io {
			if !strings.HasPrefix(name, "loop") {
				r.Read += c.ReadBytes
				r.Written += c.WriteBytes
			}
		}
	}
	if nics, err := net.IOCountersWithContext(ctx, true); err == nil {
		for _, n := range nics {
			if n.Name != "lo" {
				r.Received += n.BytesRecv
				r.Sent += n.BytesSent
			}
		}
	}
	return r, errors.Join(errs...)
}

// Samples turns two readings into samples of resource. A counter that went
// back (a reboot, a wrap) gives no rate for that interval.
func Samples(resource string, before, after Reading) []ops.Sample {
	var out []ops.Sample
	add := func(metric, unit string, v float64, labels map[string]string) {
		out = append(out, ops.Sample{
			Series: ops.SeriesID{Resource: resource, Metric: metric, Labels: labels}, Unit: unit,
			Point: ops.Point{At: after.At, Value: v},
		})
	}
	secs := after.At.Sub(before.At).Seconds()
	if all := after.CPUAll - before.CPUAll; all > 0 && after.CPUBusy >= before.CPUBusy {
		add(CPUUtilization, "1", min((after.CPUBusy-before.CPUBusy)/all, 1), nil)
	}
	if after.MemoryUsed > 0 {
		add(MemoryUtilization, "1", after.MemoryUsed, nil)
	}
	for mount, used := range after.Disks {
		add(DiskUtilization, "1", used, map[string]string{"mountpoint": mount})
	}
	rate := func(metric string, before, after uint64) {
		if secs > 0 && after >= before {
			add(metric, "By/s", float64(after-before)/secs, nil)
		}
	}
	rate(DiskRead, before.Read, after.Read)
	rate(DiskWrite, before.Written, after.Written)
	rate(NetworkReceive, before.Received, after.Received)
	rate(NetworkTransmit, before.Sent, after.Sent)
	return out
}

// Sampler reads the machine again and again.
type Sampler struct {
	Resource string        // resource id of this machine
	Every    time.Duration // how often
	Clock    clock.Clock
	Logger   *slog.Logger
	// Read looks at the machine; nil means Read of this package.
	Read func(ctx context.Context) (Reading, error)
	// Sink takes the samples of one reading.
	Sink func(ctx context.Context, samples []ops.Sample) error
}

// Run samples until ctx ends.
func (s Sampler) Run(ctx context.Context) error {
	if s.Read == nil {
		s.Read = func(ctx context.Context) (Reading, error) { return Read(ctx, s.Clock) }
	}
	before, err := s.Read(ctx)
	if err != nil {
		s.Logger.LogAttrs(ctx, slog.LevelWarn, "some of the host's counters cannot be read", slog.Any("error", err))
	}
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		after, err := s.Read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.Logger.LogAttrs(ctx, slog.LevelDebug, "some of the host's counters cannot be read", slog.Any("error", err))
		}
		if err := s.Sink(ctx, Samples(s.Resource, before, after)); err != nil && ctx.Err() == nil {
			s.Logger.LogAttrs(ctx, slog.LevelError, "host samples not taken in", slog.Any("error", err))
		}
		before = after
	}
}
