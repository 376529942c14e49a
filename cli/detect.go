package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/detect/evaluate"
	"github.com/fettleops/fettle/detect/kernel/detector"
)

// detecting is a command line of fettle detect.
type detecting struct {
	detector   string
	timeColumn string
	values     []string
	settings   detector.Settings
	asJSON     bool
	out, notes io.Writer
}

func newDetect() *cobra.Command {
	var d detecting
	c := &cobra.Command{
		Use:   "detect FILE|- [--detector NAME] [--json]",
		Short: "Stream a CSV file through a detector and print what it says of every point",
		Long: `Stream a CSV file, or standard input for -, through a detector and print what
it says of every point: time, value, score, grade and the value that was
expected. A grade above 0 is an anomaly. Points are printed as they come, so
that the command can stand in a pipe. Without --step the first ` + strconv.Itoa(evaluate.StepRows) + ` rows are
waited for, to measure the distance of the points.

The file has one row a point, with a heading or without. The time column is
found by its name (timestamp, time, date, datetime or ts) or is the first one
of a file without a heading; times are like 2006-01-02 15:04:05, with T, zone or
fraction if need be, or Unix time. The values are all other columns with a
number in the first row, but for one named label: several are features of one
model. An empty value is missing. Rows whose time does not come after that of
the row before are left out and told on standard error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.out, d.notes = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := known(d.detector); err != nil {
				return err
			}
			if d.settings.Step < 0 {
				return usageError{fmt.Errorf("--step %s is below zero", d.settings.Step)}
			}
			name, in := "standard input", cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close() //nolint:errcheck // only read
				name, in = args[0], f
			}
			if err := d.run(cmd.Context(), in); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&d.detector, "detector", "default", "detector to use")
	c.Flags().BoolVar(&d.asJSON, "json", false, "print one JSON object a line")
	c.Flags().StringVar(&d.timeColumn, "time-column", "", "`name` of the column with the time (default by name, see above)")
	c.Flags().StringSliceVar(&d.values, "value-columns", nil, "`names` of the columns with the values, separated by commas (default all with numbers)")
	c.Flags().DurationVar(&d.settings.Step, "step", 0, "distance of the points in time (default the median of the first rows)")
	c.Flags().Uint64Var(&d.settings.Seed, "seed", 1, "seed of the detector's chance")
	c.Flags().Float64Var(&d.settings.AlarmsPerWeek, "alarms-per-week", 1, "wished number of false alarms a week")
	c.AddCommand(newDetectBench(), newBootstrap())
	return c
}

// known refuses names of detectors that do not exist.
func known(names ...string) error {
	for _, n := range names {
		if !slices.Contains(detector.Names(), n) {
			return usageError{fmt.Errorf("detector %q is none of %s", n, strings.Join(detector.Names(), ", "))}
		}
	}
	return nil
}

// run reads on its own goroutine, so that what was scored is shown while the
// next row is awaited, and an interrupt, which is how a command in a
// pipe ends, is heard meanwhile.
func (d *detecting) run(ctx context.Context, in io.Reader) error {
	file, err := openPoints(in, d.timeColumn, d.values)
	if err != nil {
		return err
	}
	rows := make(chan pointRow, 256)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(rows)
		for {
			r, err := file.next()
			if errors.Is(err, io.EOF) {
				return
			}
			r.err = err
			select {
			case rows <- r:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	p := &printer{detecting: d, features: file.features, out: bufio.NewWriter(d.out)}
	for {
		if len(rows) == 0 {
			if err := p.out.Flush(); err != nil {
				return err
			}
		}
		select {
		case r, more := <-rows:
			if !more {
				return p.end()
			}
			if r.err != nil {
				return errors.Join(r.err, p.out.Flush())
			}
			if err := p.add(r); err != nil {
				return errors.Join(err, p.out.Flush())
			}
		case <-ctx.Done():
			return p.end()
		}
	}
}

// printer holds rows back until the step is known, and then scores and prints
// each.
type printer struct {
	*detecting
	features []string
	out      *bufio.Writer
	model    detector.Detector
	reading  detector.Reading
	held     []pointRow
	last     pointRow
	points   int
	graded   int
}

func (p *printer) add(r pointRow) error {
	if p.points+len(p.held) > 0 && !r.at.After(p.last.at) {
		fmt.Fprintf(p.notes, "line %d: time %s does not come after %s; left out\n", r.line, precise(r.at), precise(p.last.at))
		return nil
	}
	p.last = r
	if p.model != nil {
		return p.score(r)
	}
	p.held = append(p.held, r)
	if p.settings.Step == 0 && len(p.held) < evaluate.StepRows {
		return nil
	}
	return p.begin()
}

// begin makes the model and scores the rows held back.
func (p *printer) begin() error {
	settings := p.settings
	settings.Features = len(p.features)
	if settings.Step == 0 {
		var at []int64
		for _, r := range p.held {
			at = append(at, r.at.UnixMilli())
		}
		settings.Step = evaluate.Step(at)
	}
	model, err := detector.New(p.detector, settings)
	if err != nil {
		return err
	}
	p.model = model
	if !p.asJSON {
		fmt.Fprintf(p.out, "%-20s  %12s  %6s  %6s  %12s\n", "TIME", "VALUE", "SCORE", "GRADE", "EXPECTED")
	}
	for _, r := range p.held {
		if err := p.score(r); err != nil {
			return err
		}
	}
	p.held = nil
	return nil
}

func (p *printer) score(r pointRow) error {
	if err := p.model.Process(detector.Point{At: r.at.UnixMilli(), Values: r.values}, &p.reading); err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	p.points++
	if p.reading.Grade > 0 {
		p.graded++
	}
	if p.asJSON {
		return json.NewEncoder(p.out).Encode(p.line(r))
	}
	_, err := fmt.Fprintf(p.out, "%-20s  %12s  %6.4f  %6.4f  %12s\n", precise(r.at), p.numbers(r.values), p.reading.Score, p.reading.Grade, p.numbers(p.reading.Expected))
	return err
}

func (p *printer) end() error {
	if p.model == nil && len(p.held) > 0 {
		if err := p.begin(); err != nil {
			return errors.Join(err, p.out.Flush())
		}
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(p.notes, "%d points, %d of them anomalous\n", p.points, p.graded)
	return nil
}

// reading is a line of fettle detect --json. What is not known is null.
type reading struct {
	Time       string                     `json:"time"`
	Values     map[string]evaluate.Number `json:"values"`
	Score      evaluate.Number            `json:"score"`
	Raw        evaluate.Number            `json:"raw"`
	Threshold  evaluate.Number            `json:"threshold"`
	Grade      evaluate.Number            `json:"grade"`
	Confidence evaluate.Number            `json:"confidence"`
	Learned    int                        `json:"learned"`
	Needed     int                        `json:"needed"`
	Expected   map[string]evaluate.Number `json:"expected"`
	Low        map[string]evaluate.Number `json:"low"`
	High       map[string]evaluate.Number `json:"high"`
	Blame      map[string]evaluate.Number `json:"blame"`
}

func (p *printer) line(r pointRow) reading {
	named := func(v []float64) map[string]evaluate.Number {
		out := make(map[string]evaluate.Number, len(v))
		for i, x := range v {
			out[p.features[i]] = evaluate.Number(x)
		}
		return out
	}
	d := &p.reading
	return reading{
		Time: precise(r.at), Values: named(r.values), Score: evaluate.Number(d.Score), Raw: evaluate.Number(d.Raw),
		Threshold: evaluate.Number(d.Threshold), Grade: evaluate.Number(d.Grade), Confidence: evaluate.Number(d.Confidence),
		Learned: d.Learned, Needed: d.Needed, Expected: named(d.Expected), Low: named(d.Low), High: named(d.High), Blame: named(d.Blame),
	}
}

// numbers prints one value plainly and several with the names of their
// features.
func (p *printer) numbers(v []float64) string {
	parts := make([]string, len(v))
	for i, x := range v {
		parts[i] = "-"
		if !math.IsNaN(x) {
			parts[i] = strconv.FormatFloat(x, 'g', 6, 64)
		}
		if len(v) > 1 {
			parts[i] = plain(p.features[i]) + "=" + parts[i]
		}
	}
	return strings.Join(parts, ",")
}

// precise prints a time with its milliseconds, if it has any.
func precise(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }
