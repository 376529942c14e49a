// Command gate measures the change gate at its busiest minute: many approved
// changes wait, the windows of all of them open at once, and several replicas
// work on one database.
//
// Each change runs a command that writes its resource and the time to a file.
// From that file come the time from the opening to each start, whether a
// resource was started twice, and whether one started before another that it
// depends on, as one resource in ten does on the one before it. A double or early
// start, or a change that never started, ends the program with 1.
//
//	go build -o bin/fettle ./cmd/fettle && go run ./bench/gate -fettle bin/fettle
//
// All targets run one after the other in the same run; compare the lines, not
// runs of different days. It needs PostgreSQL and no network beyond loopback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/peer"
)

type options struct {
	fettle   string
	changes  int
	windows  int
	replicas string
	lead     time.Duration
	patience time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.fettle, "fettle", "bin/fettle", "the binary to measure")
	flag.IntVar(&o.changes, "changes", 10_000, "changes that wait for a window")
	flag.IntVar(&o.windows, "windows", 1_000, "windows that open in the same minute")
	flag.StringVar(&o.replicas, "replicas", "embedded,1,3", "what to measure, in this order: the embedded database, or so many replicas on PostgreSQL")
	flag.DurationVar(&o.lead, "lead", 6*time.Minute, "from the start of the servers to the opening of the windows; all changes must wait by then")
	flag.DurationVar(&o.patience, "patience", 20*time.Minute, "how long to wait for the last start after the opening")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/gate:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.changes < 1 || o.windows < 1 {
		return errors.New("-changes and -windows must be at least 1")
	}
	fmt.Println("target        changes  windows  placed/s  first     p50       p99       last      started/s  twice  early  CPU       RSS peak")
	for _, name := range strings.Split(o.replicas, ",") {
		replicas, database := 1, ""
		if name != "embedded" {
			n, err := strconv.Atoi(name)
			if err != nil || n < 1 {
				return fmt.Errorf("-replicas: %q is neither embedded nor a number of replicas", name)
			}
			replicas = n
			if database, err = peer.OpenPostgres(context.Background()); err != nil {
				return err
			}
			name += " on PostgreSQL"
		}
		f, err := measure(o, replicas, database)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.print(name, o)
		if f.twice+f.early > 0 {
			return fmt.Errorf("%s: %d started twice, %d before what they depend on", name, f.twice, f.early)
		}
	}
	return nil
}

// figures are what one target came to.
type figures struct {
	placed float64         // changes a second, from the recommendation to waiting for its window
	starts []time.Duration // after the opening, sorted
	twice  int             // starts of a resource beyond its first
	early  int             // starts before that of what the resource depends on
	cpu    time.Duration   // of all replicas, from the opening to the last start
	memory float64         // greatest resident set of a replica, MiB
}

// read makes the figures of the lines the command wrote: resource and time.
func read(log []byte, opened time.Time) (figures, error) {
	var f figures
	first := map[int]time.Time{}
	for line := range strings.Lines(string(log)) {
		id, when, _ := strings.Cut(strings.TrimSpace(line), " ")
		i, err1 := strconv.Atoi(strings.TrimPrefix(id, "i-"))
		ns, err2 := strconv.ParseInt(when, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return f, fmt.Errorf("the command wrote %q: %w", line, err)
		}
		if _, again := first[i]; again {
			f.twice++
			continue
		}
		first[i] = time.Unix(0, ns)
	}
	for i, at := range first {
		f.starts = append(f.starts, at.Sub(opened))
		if before, ok := first[needs(i)]; needs(i) != i && (!ok || at.Before(before)) {
			f.early++
		}
	}
	slices.Sort(f.starts)
	return f, nil
}

// needs is the resource that resource i depends on, or itself.
func needs(i int) int {
	if i%10 == 1 {
		return i - 1
	}
	return i
}

func (f figures) print(name string, o options) {
	q := func(p float64) time.Duration {
		return f.starts[min(len(f.starts)-1, int(p*float64(len(f.starts))))].Round(10 * time.Millisecond)
	}
	last := f.starts[len(f.starts)-1]
	fmt.Printf("%-13s %-8d %-8d %-9.0f %-9s %-9s %-9s %-9s %-10.0f %-6d %-6d %-9s %.0f MiB\n", name, o.changes, o.windows, f.placed,
		f.starts[0].Round(time.Millisecond), q(0.5), q(0.99), last.Round(10*time.Millisecond), float64(len(f.starts))/last.Seconds(),
		f.twice, f.early, f.cpu.Round(100*time.Millisecond), f.memory)
}
