package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/detect/evaluate"
	"github.com/fettleops/fettle/detect/kernel/detector"
)

// shippedDetectors are what is measured when nothing else is asked for: the
// configuration that is shipped, and the random cut forest alone.
var shippedDetectors = []string{"default", "rcf"}

func newDetectBench() *cobra.Command {
	var (
		dataset string
		names   []string
		asJSON  bool
		all     bool
		o       evaluate.Options
	)
	c := &cobra.Command{
		Use:   "bench --dataset nab|points DIR [--json] [--all] [--vus]",
		Short: "Measure detectors on a folder of labelled series",
		Long: `Measure detectors on a folder of labelled series, each with several seeds, and
print the means over the seeds with their standard deviation. Every detector
streams each series once, point by point, with equal settings for all series.

--dataset nab takes a folder laid out as the Numenta Anomaly Benchmark: data/,
labels/combined_windows.json and profiles.json. --dataset points takes a folder
of CSV files, at any depth, with the columns TimeStamp, Value and Label; it has
no NAB score. docs/detect.md says what each figure is.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := chosen(names, all)
			if err != nil {
				return err
			}
			switch {
			case o.Seeds < 1:
				return usageError{fmt.Errorf("--seeds %d: at least one is needed", o.Seeds)}
			case !(o.AlarmsPerWeek > 0):
				return usageError{fmt.Errorf("--alarms-per-week %v: it must be above zero", o.AlarmsPerWeek)}
			case o.Step < 0:
				return usageError{fmt.Errorf("--step %s is below zero", o.Step)}
			}
			set, err := readSet(dataset, args[0])
			if err != nil {
				return err
			}
			notes := cmd.ErrOrStderr()
			fmt.Fprintf(notes, "%d series, %d rows\n", len(set.Series), set.Rows())
			o.Progress = func(name string, seed, done, of int) {
				fmt.Fprintf(notes, "%s: seed %d is done (%d of %d)\n", name, seed, done, of)
			}
			results, err := evaluate.Run(cmd.Context(), set, teams(names), o)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
					Detectors []evaluate.Result `json:"detectors"`
				}{results})
			}
			return printBench(cmd.OutOrStdout(), set, results)
		},
	}
	c.Flags().StringVar(&dataset, "dataset", "", "`layout` of the folder: nab or points")
	c.Flags().StringArrayVar(&names, "detector", nil, "`name` of a detector to measure; may be repeated (default \"default\" and \"rcf\")")
	c.Flags().BoolVar(&all, "all", false, "measure every detector, with the companions and trivial baselines")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.Flags().BoolVar(&o.VUS, "vus", false, "take VUS-PR too, which takes long")
	c.Flags().IntVar(&o.Seeds, "seeds", 5, "how many seeds each detector runs with")
	c.Flags().DurationVar(&o.Step, "step", 0, "distance of the points in time (default measured on the first rows of each series)")
	c.Flags().Float64Var(&o.AlarmsPerWeek, "alarms-per-week", 1, "budget of false alarms per series and week, which detectors are told too")
	return c
}

// teams has the shipped detectors go through the series together: they are made
// of the same forests, so that both take little longer than one. They come first.
func teams(names []string) []evaluate.Team {
	shipped := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(shippedDetectors, n) })
	others := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(shippedDetectors, n) })
	var out []evaluate.Team
	if len(shipped) > 0 {
		out = append(out, evaluate.Team{Names: shipped, New: func(s detector.Settings) (evaluate.Panel, error) { return detector.NewPanel(shipped, s) }})
	}
	for _, n := range others {
		out = append(out, evaluate.Alone(n, func(s detector.Settings) (detector.Detector, error) { return detector.New(n, s) }))
	}
	return out
}

func chosen(names []string, all bool) ([]string, error) {
	switch {
	case all && len(names) > 0:
		return nil, usageError{errors.New("--all and --detector: give one of them")}
	case all:
		names = slices.Clone(detector.Names())
		slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	case len(names) == 0:
		names = shippedDetectors
	}
	return names, known(names...)
}

// rank puts the shipped detectors first.
func rank(name string) int {
	if i := slices.Index(shippedDetectors, name); i >= 0 {
		return i
	}
	return len(shippedDetectors)
}

func readSet(dataset, dir string) (*evaluate.Set, error) {
	read := map[string]func() (*evaluate.Set, error){
		"nab":    func() (*evaluate.Set, error) { return evaluate.ReadNAB(os.DirFS(dir)) },
		"points": func() (*evaluate.Set, error) { return evaluate.ReadPoints(os.DirFS(dir)) },
	}[dataset]
	switch {
	case dataset == "":
		return nil, usageError{errors.New("--dataset is missing: nab or points")}
	case read == nil:
		return nil, usageError{fmt.Errorf("--dataset %q is neither nab nor points", dataset)}
	}
	set, err := read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return set, nil
}

// printBench prints one row a detector, mean and standard deviation.
func printBench(out io.Writer, set *evaluate.Set, results []evaluate.Result) error {
	heading := []string{"DETECTOR"}
	var keys []string
	for _, p := range set.Profiles {
		keys = append(keys, p.Name)
		if p.Name == "standard" {
			keys = append(keys, "standard_leave_one_category_out")
		}
	}
	for _, k := range keys {
		heading = append(heading, "NAB "+strings.ToUpper(strings.ReplaceAll(plain(k), "_", " ")))
	}
	heading = append(heading, "AP", "ROC AUC", "VUS-PR", "EVENT RECALL", "RANGE RECALL", "DELAY", "AFFILIATION F1")
	return table(out, strings.Join(heading, "\t"), func(w io.Writer) {
		for _, r := range results {
			cells := []string{r.Name}
			for _, k := range keys {
				cells = append(cells, measured(r.NAB[k], r.Spread.NAB[k], 1))
			}
			cells = append(cells,
				measured(r.AveragePrecision, r.Spread.AveragePrecision, 3), measured(r.ROCAUC, r.Spread.ROCAUC, 3),
				measured(r.VUSPR, r.Spread.VUSPR, 3), measured(r.Alarms.EventRecall, r.Spread.Alarms.EventRecall, 3),
				measured(r.Alarms.RangeRecall, r.Spread.Alarms.RangeRecall, 3), delay(r.Alarms.DelaySeconds),
				measured(r.Alarms.AffiliationF1, r.Spread.Alarms.AffiliationF1, 3))
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
	})
}

func measured(mean evaluate.Number, spread evaluate.Range, digits int) string {
	if math.IsNaN(float64(mean)) {
		return "-"
	}
	return fmt.Sprintf("%.*f ±%.*f", digits, float64(mean), digits, float64(spread.SD))
}

func delay(seconds evaluate.Number) string {
	if math.IsNaN(float64(seconds)) {
		return "-"
	}
	return (time.Duration(seconds) * time.Second).String()
}
