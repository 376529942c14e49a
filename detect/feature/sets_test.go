package feature_test

import (
	"bufio"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
)

// reception plays what a source would hand on to the entities of one set.
type reception struct {
	t        *testing.T
	set      *feature.Set
	entities map[string]*feature.Entity
	points   map[string][]feature.Closed
}

func receive(t *testing.T, g feature.Group) *reception {
	t.Helper()
	set, err := feature.Compile([]feature.Group{g})
	if err != nil {
		t.Fatal(err)
	}
	return &reception{t, set, map[string]*feature.Entity{}, map[string][]feature.Closed{}}
}

func (r *reception) add(d series.Descriptor, at int64, v float64) {
	r.t.Helper()
	slices.SortFunc(d.Labels, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
	bindings, err := r.set.Bind(&d)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range bindings {
		b := &bindings[i]
		e := r.entities[b.Entity]
		if e == nil {
			e = b.Selector.New(b.Entity)
			r.entities[b.Entity] = e
		}
		closed, err := e.Add(b, series.RawPoint{At: at, Value: v})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, c := range closed {
			c.Values = slices.Clone(c.Values)
			r.points[b.Entity] = append(r.points[b.Entity], c)
		}
	}
}

// want checks that a point has the seed's four features, near these values.
func (r *reception) want(c feature.Closed, near, cpu, memory, network, disk float64) {
	r.t.Helper()
	want := map[string]float64{"cpu_utilization": cpu, "memory_utilization": memory, "network_io": network, "disk_io": disk}
	dims := r.set.Selectors()[0].Dimensions
	if len(c.Values) != len(want) || len(dims) != len(want) {
		r.t.Fatalf("%d values of %v", len(c.Values), dims)
	}
	for i, d := range dims {
		w, ok := want[d.Name]
		if !ok || !(math.Abs(c.Values[i]-w) <= near*max(1, math.Abs(w))) {
			r.t.Errorf("%s = %v %s, want %v", d.Name, c.Values[i], d.Unit, w)
		}
	}
}

var (
	expositionLine  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	expositionLabel = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?`)
)

// scrape reads the text format of Prometheus, which says no unit, and hands on
// each sample as remote write 1.0 does: without a type either.
func scrape(t *testing.T, url string, add func(d series.Descriptor, v float64)) {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		m := expositionLine.FindStringSubmatch(lines.Text())
		if m == nil {
			t.Fatalf("cannot read %q", lines.Text())
		}
		d := series.Descriptor{Metric: m[1], Labels: labels("instance", "web-1:9100")}
		for _, l := range expositionLabel.FindAllStringSubmatch(m[2], -1) {
			d.Labels = append(d.Labels, series.Label{Name: l[1], Value: l[2]})
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		add(d, v)
		n++
	}
	if n < 100 {
		t.Fatalf("%d samples, %d", n, resp.StatusCode)
	}
}

// machine is what gopsutil says of this machine.
type machine struct {
	at               time.Time
	idle, all        float64
	memory           float64
	network, storage map[string]uint64
}

func look(t *testing.T) machine {
	t.Helper()
	c, err := cpu.Times(false)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mem.VirtualMemory()
	if err != nil {
		t.Fatal(err)
	}
	n, err := net.IOCounters(true)
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.IOCounters()
	if err != nil {
		t.Fatal(err)
	}
	out := machine{
		at: time.Now(), idle: c[0].Idle + c[0].Iowait,
		all:    c[0].User + c[0].System + c[0].Nice + c[0].Irq + c[0].Softirq + c[0].Steal + c[0].Idle + c[0].Iowait,
		memory: 1 - float64(m.Available)/float64(m.Total), network: map[string]uint64{}, storage: map[string]uint64{},
	}
	for _, x := range n {
		out.network[x.Name] = x.BytesRecv + x.BytesSent
	}
	for name, x := range d {
		out.storage[name] = x.ReadBytes + x.WriteBytes
	}
	return out
}

// between is the rate of all devices that ok accepts, per second.
func between(a, b map[string]uint64, span time.Duration, ok func(string) bool) float64 {
	sum := 0.0
	for name, v := range b {
		if ok(name) {
			sum += float64(v - a[name])
		}
	}
	return sum / span.Seconds()
}

func TestNodeExporter(t *testing.T) {
	url := peer.NodeExporter(t)
	r := receive(t, feature.Group{Name: "node_exporter", Step: time.Second, Features: []feature.Feature{{Set: "node_exporter"}}})
	var looks []machine
	for range 3 {
		m := look(t)
		looks = append(looks, m)
		scrape(t, url, func(d series.Descriptor, v float64) { r.add(d, m.at.UnixMilli(), v) })
		time.Sleep(1100 * time.Millisecond)
	}
	// A sample of a later time closes the last step.
	r.add(series.Descriptor{Metric: "node_memory_MemTotal_bytes", Labels: labels("instance", "web-1:9100")}, time.Now().Add(time.Minute).UnixMilli(), 1)
	points := r.points["web-1:9100"]
	if len(points) < 3 || len(r.points) != 1 {
		t.Fatalf("%d points of %d entities, want at least 3 of one", len(points), len(r.points))
	}
	last := points[len(points)-1]
	a, b := looks[1], looks[2]
	span := b.at.Sub(a.at)
	whole := func(name string) bool {
		return !regexp.MustCompile(`^(loop|ram|zram|dm-|md|sr|fd)|^(sd|vd|xvd|hd)[a-z]+[0-9]+$|^nvme.*p[0-9]+$`).MatchString(name)
	}
	link := func(name string) bool { return !regexp.MustCompile(`^(lo|veth|docker|br-|cni)`).MatchString(name) }
	busy := 1 - (b.idle-a.idle)/(b.all-a.all)
	network, storage := between(a.network, b.network, span, link), between(a.storage, b.storage, span, whole)
	t.Logf("features %.4g; gopsutil: %.4g %.4g %.4g %.4g", last.Values, busy, b.memory, network, storage)
	near := func(i int, want, slack float64) {
		t.Helper()
		if got := last.Values[i]; !(math.Abs(got-want) <= slack) {
			t.Errorf("%s = %v, gopsutil sees %v", r.set.Selectors()[0].Dimensions[i].Name, got, want)
		}
	}
	// The two look at slightly different instants of a machine that others use.
	near(0, busy, 0.35)
	near(1, b.memory, 0.1)
	near(2, network, 1e6+network/2)
	near(3, storage, 64e6+storage/2)
	for i, v := range last.Values {
		if v < 0 || i < 2 && v > 1 {
			t.Errorf("feature %d is %v", i, v)
		}
	}
}

func TestDevicesOfNodeExporterThatCount(t *testing.T) {
	set, err := feature.Compile([]feature.Group{{Name: "g", Features: []feature.Feature{{Set: "node_exporter"}}}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(metric string, want bool, devices ...string) {
		t.Helper()
		for _, device := range devices {
			b, err := set.Bind(&series.Descriptor{Metric: metric, Labels: labels("device", device, "instance", "a")})
			if err != nil || (len(b) == 1) != want {
				t.Errorf("%s of %s: %d bindings, %v", metric, device, len(b), err)
			}
		}
	}
	f("node_network_receive_bytes_total", true, "eth0", "ens5", "enp0s31f6", "wlan0", "bond0", "em1", "lan0")
	f("node_network_receive_bytes_total", false, "lo", "veth0a1b", "docker0", "br-12ab", "cali123", "tap0", "virbr0")
	f("node_disk_written_bytes_total", true, "sda", "vda", "xvda", "nvme0n1", "mmcblk0", "sdaa")
	f("node_disk_written_bytes_total", false, "sda1", "vda15", "nvme0n1p2", "mmcblk0p1", "loop7", "dm-0", "md127", "zram0", "sr0")
}

// TestOTelHostmetrics plays a request composed from the documents of the
// collector's hostmetrics receiver (names, units, attributes, temporality); it
// is not a recording.
func TestOTelHostmetrics(t *testing.T) {
	data, err := os.ReadFile("testdata/otel_hostmetrics.json")
	if err != nil {
		t.Fatal(err)
	}
	type attribute struct {
		Key   string
		Value struct{ StringValue string }
	}
	var request struct {
		ResourceMetrics []struct {
			Resource     struct{ Attributes []attribute }
			ScopeMetrics []struct {
				Metrics []struct {
					Name, Unit string
					Sum        struct {
						IsMonotonic bool
						DataPoints  []struct {
							Attributes   []attribute
							TimeUnixNano string
							AsDouble     *float64
							AsInt        *string
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(data, &request); err != nil {
		t.Fatal(err)
	}
	type sample struct {
		d  series.Descriptor
		at int64
		v  float64
	}
	var all []sample
	for _, rm := range request.ResourceMetrics {
		for _, m := range rm.ScopeMetrics[0].Metrics {
			for _, p := range m.Sum.DataPoints {
				d := series.Descriptor{Metric: m.Name, Unit: m.Unit, Temporality: series.Gauge}
				if m.Sum.IsMonotonic {
					d.Temporality = series.Cumulative
				}
				for _, a := range append(slices.Clone(rm.Resource.Attributes), p.Attributes...) {
					d.Labels = append(d.Labels, series.Label{Name: a.Key, Value: a.Value.StringValue})
				}
				nanos, err := strconv.ParseInt(p.TimeUnixNano, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				s := sample{d: d, at: nanos / 1e6}
				if p.AsDouble != nil {
					s.v = *p.AsDouble
				} else if s.v, err = strconv.ParseFloat(*p.AsInt, 64); err != nil {
					t.Fatal(err)
				}
				all = append(all, s)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b sample) int { return int(a.at - b.at) })
	r := receive(t, feature.Group{Name: "otel", Features: []feature.Feature{{Set: "otel_hostmetrics"}}})
	for _, s := range all {
		r.add(s.d, s.at, s.v)
	}
	points := r.points["web-1"]
	if len(points) != 3 {
		t.Fatalf("%d points, want 3", len(points))
	}
	r.want(points[2], 1e-9, 0.3, 6.0/16, 1500, 5000)
}

// TestCloudWatchEC2 plays lines of a metric stream in AWS' documented JSON form
// and names their series by the rule of the package comment.
func TestCloudWatchEC2(t *testing.T) {
	data, err := os.ReadFile("testdata/cloudwatch_ec2.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, feature.Group{Name: "ec2", Features: []feature.Feature{{Set: "cloudwatch_ec2"}}})
	for line := range strings.Lines(string(data)) {
		var m struct {
			AccountID  string `json:"account_id"`
			Region     string
			Namespace  string
			MetricName string `json:"metric_name"`
			Dimensions map[string]string
			Timestamp  int64
			Value      map[string]float64
			Unit       string
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		m.Value["avg"] = m.Value["sum"] / m.Value["count"]
		for stat, v := range m.Value {
			d := series.Descriptor{Metric: "amazonaws.com/" + m.Namespace + "/" + m.MetricName, Temporality: series.Gauge, Unit: m.Unit}
			switch stat {
			case "sum":
				d.Temporality = series.Delta
			case "count":
				d.Temporality, d.Unit = series.Delta, "1"
			}
			d.Labels = labels("stat", stat, "cloud.account.id", m.AccountID, "cloud.region", m.Region)
			for name, v := range m.Dimensions {
				d.Labels = append(d.Labels, series.Label{Name: name, Value: v})
			}
			r.add(d, m.Timestamp, v)
		}
	}
	points := r.points["i-0abc"]
	if len(r.points) != 1 || len(points) != 3 {
		t.Fatalf("%d points of %d entities, want 3 of one", len(points), len(r.points))
	}
	for i, p := range points {
		r.want(p, 1e-9, (240+float64(i))/400, 0.4, 15000, 5000)
	}
}
