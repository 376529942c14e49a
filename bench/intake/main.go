// Command intake measures how fast alerts are accepted durably and how long it
// takes until the last one is in an incident.
//
// It starts each target itself on a free loopback port, posts one alert per
// request over a fixed number of connections for a while, then posts one
// marker alert and waits until that has become an incident: the signal log is
// worked in order, so everything before it has too. All targets get the same
// alerts in the same run; compare the lines, not runs of different days.
//
//	go build -o bin/fettle ./cmd/fettle && go run ./bench/intake -fettle bin/fettle -seconds 60
//
// It needs no network beyond loopback.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/bench/server"
	"github.com/fettleops/fettle/internal/peer"
)

type options struct {
	fettle      string
	seconds     int
	connections int
	distinct    int
	rules       int
	targets     string
	postgres    string
}

func main() {
	var o options
	flag.StringVar(&o.fettle, "fettle", "bin/fettle", "the binary to measure")
	flag.IntVar(&o.seconds, "seconds", 60, "how long to post alerts at each target")
	flag.IntVar(&o.connections, "connections", 64, "connections, each with one request at a time")
	flag.IntVar(&o.distinct, "distinct", 100_000, "different alerts; later ones repeat the first")
	flag.IntVar(&o.rules, "rules", 100, "different rules, which is how many incidents there will be")
	flag.StringVar(&o.targets, "targets", "embedded,postgres,alertmanager", "what to measure, in this order")
	flag.StringVar(&o.postgres, "postgres", os.Getenv("FETTLE_BENCH_POSTGRES"), "URL of an empty PostgreSQL database for the target postgres; empty: a temporary cluster is started where PostgreSQL is installed")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/intake:", err)
		os.Exit(1)
	}
}

// target is a server under measurement.
type target interface {
	// start runs it and returns the URL to post to.
	start(ctx context.Context, dir string) (string, error)
	// body is one request that carries alert number i.
	body(buf []byte, rule, instance string, at time.Time) []byte
	header() http.Header
	// seen reports whether an alert of this rule has been worked.
	seen(ctx context.Context, rule string) (bool, error)
	Stop()
	Memory() (now, peak float64)
	CPU() time.Duration
}

func run(o options) error {
	fmt.Println("target        accepted/s    p50       p99       max       refused  errors  last alert in an incident after  CPU/alert  CPU      idle RSS    RSS at the end   ready after")
	for _, name := range strings.Split(o.targets, ",") {
		var t target
		switch name {
		case "embedded":
			t = &fettle{options: o}
		case "postgres":
			url := o.postgres
			if url == "" {
				var err error
				if url, err = peer.OpenPostgres(context.Background()); errors.Is(err, peer.ErrNoPostgres) {
					fmt.Println("postgres      not run:", err)
					continue
				} else if err != nil {
					return err
				}
			}
			t = &fettle{options: o, database: url}
		case "alertmanager":
			path, err := exec.LookPath("prometheus-alertmanager")
			if err != nil {
				fmt.Println("alertmanager  not run: install the Debian package prometheus-alertmanager")
				continue
			}
			t = &alertmanager{path: path}
		default:
			return fmt.Errorf("target %q is none of embedded, postgres, alertmanager", name)
		}
		if err := measure(o, name, t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func measure(o options, name string, t target) error {
	dir, err := os.MkdirTemp("", "fettle-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.seconds)*time.Second+5*time.Minute)
	defer cancel()
	launched := time.Now()
	starting, started := context.WithTimeout(ctx, 30*time.Second)
	url, err := t.start(starting, dir)
	started()
	defer t.Stop()
	if err != nil {
		return err
	}
	ready := time.Since(launched)
	time.Sleep(3 * time.Second)
	idle, _ := t.Memory()
	used := t.CPU()

	var accepted, refused, failed, next atomic.Int64
	latencies := make([][]time.Duration, o.connections)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.connections, MaxConnsPerHost: o.connections}, Timeout: 30 * time.Second}
	begin := time.Now()
	end := begin.Add(time.Duration(o.seconds) * time.Second)
	var wg sync.WaitGroup
	for c := range o.connections {
		wg.Go(func() {
			var buf []byte
			for time.Now().Before(end) {
				i := int(next.Add(1)-1) % o.distinct
				buf = t.body(buf[:0], "Rule"+strconv.Itoa(i%o.rules), "host-"+strconv.Itoa(i), begin)
				at := time.Now()
				code, err := post(ctx, client, url, t.header(), buf)
				switch {
				case err != nil:
					failed.Add(1)
				case code/100 == 2:
					accepted.Add(1)
					latencies[c] = append(latencies[c], time.Since(at))
				case code == http.StatusServiceUnavailable:
					refused.Add(1)
					time.Sleep(100 * time.Millisecond)
				default:
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	done := time.Now()
	for {
		code, err := post(ctx, client, url, t.header(), t.body(nil, "BenchMarker", "marker", done))
		if err == nil && code/100 == 2 {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the marker was never accepted: %d, %w", code, errors.Join(err, ctx.Err()))
		}
		time.Sleep(50 * time.Millisecond)
	}
	for {
		seen, err := t.seen(ctx, "BenchMarker")
		if err != nil {
			return err
		}
		if seen {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	drained := time.Since(done)
	busy := t.CPU() - used
	atEnd, _ := t.Memory()
	all := slices.Concat(latencies...)
	slices.Sort(all)
	q := func(p float64) time.Duration {
		if len(all) == 0 {
			return 0
		}
		return all[min(len(all)-1, int(p*float64(len(all))))].Round(10 * time.Microsecond)
	}
	fmt.Printf("%-13s %10.0f    %-9s %-9s %-9s %-8d %-7d %-32s %-10s %-8s %-11s %-16s %s\n", name, float64(accepted.Load())/took.Seconds(), q(0.5), q(0.99), q(1), refused.Load(), failed.Load(), drained.Round(time.Millisecond),
		(busy / time.Duration(max(1, accepted.Load()))).Round(100*time.Nanosecond), busy.Round(100*time.Millisecond), mib(idle), mib(atEnd), ready.Round(time.Millisecond))
	return nil
}

func post(ctx context.Context, c *http.Client, url string, h http.Header, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = h
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = bufio.NewReader(resp.Body).WriteTo(discard{})
	return resp.StatusCode, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func mib(n float64) string { return fmt.Sprintf("%.0f MiB", n) }

// fettle measures our own binary, through its Alertmanager webhook.
type fettle struct {
	server.Process
	options
	database string
	base     string
	token    string
}

const webhookToken = "bench-token-0123456789abcdef"

const benchConfig = `integrations:
  - {name: am, source: alertmanager, auth: {bearer: env:BENCH_TOKEN}}
correlate:
  group_by: [rule]
  within: 1h
`

func (f *fettle) start(ctx context.Context, dir string) (string, error) {
	addr, err := server.FreeAddress()
	if err != nil {
		return "", err
	}
	cfg := benchConfig
	if f.database != "" {
		key := filepath.Join(dir, "data.key")
		if err := os.WriteFile(key, []byte(strings.Repeat("6b", 32)), 0o600); err != nil {
			return "", err
		}
		cfg += "store:\n  postgres: env:BENCH_POSTGRES\nserver:\n  data_key: file:" + key + "\n"
	}
	path := filepath.Join(dir, "fettle.yaml")
	if err := os.WriteFile(path, []byte(cfg), 0o600); err != nil {
		return "", err
	}
	env := []string{"BENCH_TOKEN=" + webhookToken, "BENCH_POSTGRES=" + f.database}
	if err := f.Run(filepath.Join(dir, "log"), f.fettle, []string{"serve", "--config", path, "--data-dir", dir, "--listen", addr}, env); err != nil {
		return "", err
	}
	f.base = "http://" + addr
	if err := f.Await(ctx, f.base+"/healthz"); err != nil {
		return "", err
	}
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		return "", err
	}
	f.token = strings.TrimSpace(string(token))
	return f.base + "/in/am", nil
}

func (f *fettle) header() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + webhookToken}}
}

func (f *fettle) body(b []byte, rule, instance string, at time.Time) []byte {
	b = append(b, `{"version":"4","groupKey":"{}","truncatedAlerts":0,"status":"firing","receiver":"fettle","groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am:9093","alerts":[{"status":"firing","labels":`...)
	b = appendLabels(b, rule, instance)
	b = append(b, `,"annotations":{"summary":"bench"},"startsAt":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prom/graph","fingerprint":"`...)
	b = append(b, rule...)
	b = append(b, instance...)
	return append(b, `"}]}`...)
}

func appendLabels(b []byte, rule, instance string) []byte {
	b = append(b, `{"alertname":"`...)
	b = append(b, rule...)
	b = append(b, `","instance":"`...)
	b = append(b, instance...)
	return append(b, `","job":"node","severity":"critical"}`...)
}

func (f *fettle) seen(ctx context.Context, rule string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.base+"/api/v1/incidents?limit=1&q="+rule, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var list struct {
		Items []struct {
			Rule string `json:"rule"`
		} `json:"items"`
	}
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("list incidents: %s", resp.Status)
	}
	err = json.NewDecoder(resp.Body).Decode(&list)
	return len(list.Items) > 0 && list.Items[0].Rule == rule, err
}

// alertmanager is the rival: the same alerts, in memory, lost on restart.
type alertmanager struct {
	server.Process
	path string
	base string
}

func (a *alertmanager) start(ctx context.Context, dir string) (string, error) {
	addr, err := server.FreeAddress()
	if err != nil {
		return "", err
	}
	cfg := filepath.Join(dir, "am.yml")
	if err := os.WriteFile(cfg, []byte("route: {receiver: none, group_by: [alertname]}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		return "", err
	}
	if err := a.Run(filepath.Join(dir, "log"), a.path, []string{"--config.file=" + cfg, "--storage.path=" + dir, "--web.listen-address=" + addr, "--cluster.listen-address=", "--log.level=error"}, nil); err != nil {
		return "", err
	}
	a.base = "http://" + addr
	return a.base + "/api/v2/alerts", a.Await(ctx, a.base+"/-/ready")
}

func (a *alertmanager) header() http.Header {
	return http.Header{"Content-Type": {"application/json"}}
}

func (a *alertmanager) body(b []byte, rule, instance string, at time.Time) []byte {
	b = append(b, `[{"labels":`...)
	b = appendLabels(b, rule, instance)
	b = append(b, `,"annotations":{"summary":"bench"},"generatorURL":"http://prom/graph","startsAt":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, `"}]`...)
}

// seen asks for the alert in its group, which is what Alertmanager has of an incident.
func (a *alertmanager) seen(ctx context.Context, rule string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+`/api/v2/alerts/groups?filter=alertname%3D%22`+rule+`%22`, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var groups []json.RawMessage
	err = json.NewDecoder(resp.Body).Decode(&groups)
	return len(groups) > 0, err
}
