package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/test/sender"
)

// recorded reads the series of the recorded body of 500 samples.
func recorded(o options, v sender.Version) ([]series.Descriptor, error) {
	packed, err := os.ReadFile(filepath.Join(o.bodies, fmt.Sprintf("v%d-samples.snappy", v)))
	if err != nil {
		return nil, err
	}
	plain, err := snappy.Decode(nil, packed)
	if err != nil {
		return nil, err
	}
	s, err := remotewrite.Driver.Open(intaketest.YAML(""), intake.Env{})
	if err != nil {
		return nil, err
	}
	got, err := s.Decode(&intake.Request{Header: http.Header{"Content-Type": {v.ContentType()}}, Body: plain, ReceivedAt: time.Now()})
	if err != nil {
		return nil, err
	}
	var r series.BatchReader
	if err := r.Open(got.Samples.Append(nil)); err != nil {
		return nil, err
	}
	var out []series.Descriptor
	for r.Next() {
		d, err := series.ParseKey(r.Key())
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, r.Err()
}

// instances makes n bodies out of the series of one, each with an instance of
// its own.
func instances(v sender.Version, of []series.Descriptor, n int) ([]*sender.Template, error) {
	var out []*sender.Template
	for i := range n {
		own := slices.Clone(of)
		for j := range own {
			own[j].Labels = slices.Clone(own[j].Labels)
			named := false
			for k := range own[j].Labels {
				if l := &own[j].Labels[k]; l.Name == "instance" {
					l.Value, named = fmt.Sprintf("host-%06d.example:9100", i), true
				}
			}
			if !named {
				own[j].Labels = append(own[j].Labels, series.Label{Name: "instance", Value: fmt.Sprintf("host-%06d.example:9100", i)})
				slices.SortFunc(own[j].Labels, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
			}
		}
		t, err := sender.New(v, own)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// watched are the four metrics of each entity that a group selects.
var watched = []string{"fleet_cpu_ratio", "fleet_memory_ratio", "fleet_network_bytes", "fleet_disk_bytes"}

// perBody is how many entities are in one body, which makes 500 samples.
const perBody = 125

// fleet makes the bodies of n entities.
func fleet(v sender.Version, n int) ([]*sender.Template, error) {
	var out []*sender.Template
	for from := 0; from < n; from += perBody {
		var all []series.Descriptor
		for e := from; e < min(n, from+perBody); e++ {
			for _, m := range watched {
				all = append(all, series.Descriptor{Metric: m, Temporality: series.Gauge, Labels: []series.Label{
					{Name: "cluster", Value: "bench"}, {Name: "instance", Value: entity(e)}, {Name: "job", Value: "fleet"},
				}})
			}
		}
		t, err := sender.New(v, all)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func entity(e int) string { return fmt.Sprintf("m%05d:9100", e) }

// watch is the group of the fleet.
func watch(o options) string {
	text := fmt.Sprintf("    - name: fleet\n      entity: instance\n      step: %s\n      lateness: 0s\n      tier: %s\n      max_entities: %d\n      features:\n", o.interval, o.tier, max(o.models, 1))
	for i, name := range []string{"cpu", "memory", "network", "disk"} {
		text += fmt.Sprintf("        - {name: %s, metric: %s}\n", name, watched[i])
	}
	return text
}

// watchNothing is a group that selects none of what is sent.
const watchNothing = `    - {name: nothing, entity: instance, features: [{name: nothing, metric: nobody_sends_this}]}
`

// mix is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): noise that costs nothing.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// value is what an entity measures: an hour's wave, noise, and now and then a
// strange step.
func (o *options) value(e, metric, step int) float64 {
	noise := float64(mix(uint64(e)<<40|uint64(metric)<<36|uint64(step))>>11) / (1 << 53)
	v := 0.4 + 0.15*math.Sin(2*math.Pi*float64(step)/360+float64(e%97)+float64(metric)) + 0.03*noise
	if o.strange(e, step) {
		v += 3
	}
	return v
}

// strange says whether a step of an entity is planted; never during warm-up.
func (o *options) strange(e, step int) bool {
	if step < o.warm || o.anomalies == 0 {
		return false
	}
	every := max(1, o.models/o.anomalies)
	return (e+step*7919)%every == 0
}

// link sends bodies over its connections.
type link struct {
	client      *http.Client
	url, bearer string
}

func newLink(url, bearer string, connections int) *link {
	return &link{&http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}, Timeout: 60 * time.Second,
	}, url, bearer}
}

func (l *link) post(ctx context.Context, v sender.Version, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = http.Header{"Content-Type": {v.ContentType()}, "Content-Encoding": {"snappy"}, "X-Prometheus-Remote-Write-Version": {[]string{"", "0.1.0", "2.0.0"}[v]}}
	if l.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+l.bearer)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
