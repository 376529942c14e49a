// Command metrics measures the way of a sample: from remote write through the
// sample log and a model to a committed anomaly.
//
//	go build -o bin/fettle ./cmd/fettle && go run ./bench/metrics -fettle bin/fettle
//
// It has three parts, named by -parts:
//
//   - accept: samples per second that are answered once they are durable, and
//     how long the answer takes. A few connections send one body after the
//     other, as fast as they are answered; Prometheus with
//     --web.enable-remote-write-receiver gets the same bodies in the same run.
//   - models: points scored per second of processor time in this process, by
//     number of models and dimensions.
//   - together: entities that are watched and series that are not, at the pace
//     of real senders; backlog, processor time, memory, how long it takes from
//     the sample that closes a step to the committed anomaly, and how long a
//     server that was killed needs until it has caught up.
//
// The bodies are recorded ones (-bodies), each with an instance of its own.
// Sender and server share the machine; compare the lines of one run.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

type options struct {
	fettle    string
	bodies    string
	parts     string
	seconds   int
	senders   int
	models    int
	idle      int
	interval  time.Duration
	warm      int
	anomalies int
	budget    float64
	detectors string
	tier      string
	json      bool
}

func main() {
	var o options
	flag.StringVar(&o.fettle, "fettle", "bin/fettle", "the binary to measure")
	flag.StringVar(&o.bodies, "bodies", "intake/remotewrite/testdata", "folder of recorded bodies")
	flag.StringVar(&o.parts, "parts", "accept,models,together", "what to measure, in this order")
	flag.IntVar(&o.seconds, "seconds", 60, "how long to send, per target")
	flag.IntVar(&o.senders, "senders", 8, "connections, each with one request at a time")
	flag.IntVar(&o.models, "models", 10_000, "entities of four metrics that are watched together")
	flag.IntVar(&o.idle, "idle", 96_000, "samples per second that no group selects")
	flag.DurationVar(&o.interval, "interval", 10*time.Second, "how often a series is sent, and the step of models")
	flag.IntVar(&o.warm, "warm", 480, "steps of the past that each entity gets first, as fast as they are taken; models grade after 448")
	flag.IntVar(&o.anomalies, "anomalies", 5, "entities with a strange value, each step")
	flag.Float64Var(&o.budget, "cpu", 1, "seconds of processor time for each line of the part models")
	flag.StringVar(&o.detectors, "detectors", "default,rcf", "detectors of the part models")
	flag.StringVar(&o.tier, "tier", "auto", "size of the models that are watched: auto, full or small")
	flag.BoolVar(&o.json, "json", false, "print JSON on standard output, and the tables on standard error")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/metrics:", err)
		os.Exit(1)
	}
}

// report is everything that was measured.
type report struct {
	Load     string     `json:"load_average_before"`
	Accept   []accepted `json:"accept,omitempty"`
	Models   []scored   `json:"models,omitempty"`
	Together *together  `json:"together,omitempty"`
	After    string     `json:"load_average_after"`
}

func run(o options) error {
	r := report{Load: load()}
	out := os.Stdout
	if o.json {
		out = os.Stderr
	}
	fmt.Fprintf(out, "load average before: %s\n", r.Load)
	var err error
	for _, part := range strings.Split(o.parts, ",") {
		switch part {
		case "accept":
			r.Accept, err = measureAccept(o)
			table(out, acceptHead, r.Accept)
		case "models":
			r.Models, err = measureModels(o)
			table(out, modelsHead, r.Models)
		case "together":
			r.Together, err = measureTogether(o)
			if r.Together != nil {
				r.Together.print(out)
			}
		default:
			err = fmt.Errorf("part %q is none of accept, models, together", part)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	r.After = load()
	fmt.Fprintf(out, "load average after: %s\n", r.After)
	if !o.json {
		return nil
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// row is a line of a table.
type row interface{ cells() []any }

func table[R row](out *os.File, head string, rows []R) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, "|", "\t"))
	for _, r := range rows {
		for i, c := range r.cells() {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

// load is the machine's load average, of which the figures are to be read.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}

// quantile returns the q-th quantile of durations, which it sorts.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

// ms is a duration in milliseconds, for JSON and tables.
func ms(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
