package demo

import (
	"context"
	_ "embed"
	"encoding/csv"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/intake/host"
	"github.com/fettleops/fettle/ops"
)

// The recorded trace: CPU utilization of an EC2 instance, one value every five
// minutes for two weeks, from the Numenta Anomaly Benchmark (MIT licence, see
// trace/LICENSE-NAB.txt). Its labelled incident begins where the first value
// exceeds 80 percent and lasts to the end of the recording.
//
//go:embed trace/ec2_cpu_utilization_ac20cd.csv
var recording string

const (
	before = 60                    // samples replayed before the incident
	pace   = 50 * time.Millisecond // between samples, which were five minutes apart
)

// trace returns the recorded ratios: the normal time before the incident and
// the incident itself.
func trace() (normal, incident []float64, err error) {
	rows, err := csv.NewReader(strings.NewReader(recording)).ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("read the recorded trace: %w", err)
	}
	for _, r := range rows[1:] {
		v, err := strconv.ParseFloat(r[1], 64)
		if err != nil {
			return nil, nil, fmt.Errorf("read the recorded trace: %w", err)
		}
		if v > 80 || len(incident) > 0 {
			incident = append(incident, v/100)
		} else {
			normal = append(normal, v/100)
		}
	}
	return normal, incident, nil
}

// replay feeds the trace as samples of the instance web-1, shifted to now: the
// normal time, the incident for as long as the instance has its small size,
// and the recorded normal time again once the change has taken effect. The
// recording itself never recovers, because nobody scaled that instance.
func (d *demo) replay(ctx context.Context, house *app.App) error {
	normal, incident, err := trace()
	if err != nil {
		return err
	}
	about, err := house.Resource(ctx, ops.ResourceRef{Kind: "instance", Name: "web-1", Aliases: []string{ops.Alias("host", "web-1")}})
	if err != nil {
		return err
	}
	observe := func(v float64) error {
		return house.Detect.Observe(ctx, about, []ops.Sample{{
			Series: ops.SeriesID{Resource: about.ID, Metric: host.CPUUtilization}, Unit: "1", Point: ops.Point{At: time.Now().UTC(), Value: v},
		}})
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	quiet := normal[len(normal)-before:]
	for i := 0; ; i++ {
		var v float64
		switch {
		case i < before:
			v = quiet[i]
		case d.Break != "verify" && d.size() == largeSize:
			v = normal[i%len(normal)]
		default:
			v = incident[(i-before)%len(incident)]
		}
		if err := observe(v); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// size reads what the executor left behind.
func (d *demo) size() string {
	b, err := os.ReadFile(d.effect)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
