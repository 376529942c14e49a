package cli

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/detect/kernel/baseline"
	"github.com/fettleops/fettle/detect/kernel/detector"
)

func newChampion() *cobra.Command {
	var show remote
	var days int
	var trials baseline.Trials
	names := detector.Names()
	c := show.command("champion ID", "Rank the detectors by a back-test on the past of a series", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		if days < 1 || days > 30 {
			return usageError{fmt.Errorf("--days %d: give 1 to 30", days)}
		}
		if err := known(names...); err != nil {
			return err
		}
		to := time.Now().UTC() //nolint:forbidigo // a person asks for what was up to now
		v, err := c.OneSeries(cmd.Context(), args[0], query("from", to.AddDate(0, 0, -days).Format(time.RFC3339), "to", to.Format(time.RFC3339)))
		if err != nil {
			return err
		}
		g, err := c.Group(cmd.Context(), v.Group)
		if err != nil {
			return err
		}
		step, err := time.ParseDuration(g.Step)
		if err != nil {
			return fmt.Errorf("the server says step %q: %w", g.Step, err)
		}
		past := pastOf(v)
		standings, err := baseline.Champion(past, candidates(names, len(v.Features), step, trials.Seed), trials)
		if err != nil {
			return err
		}
		return show.print(cmd.OutOrStdout(), rankingOf(v, past, standings), "RANK\tDETECTOR\tPRECISION\tROC AUC\tSPIKE\tDIP\tSHIFT\tSTUCK\tOUT OF PLACE", func(w io.Writer) {
			for i, s := range standings {
				fmt.Fprintf(w, "%d\t%s\t%.3f\t%.3f", i+1, s.Name, s.AveragePrecision, s.ROCAUC)
				for _, p := range s.ByKind {
					if math.IsNaN(p) {
						fmt.Fprint(w, "\t-")
					} else {
						fmt.Fprintf(w, "\t%.3f", p)
					}
				}
				fmt.Fprintln(w)
			}
		})
	})
	c.Long = `Rank the detectors by a back-test on the past of one series: anomalies of five
kinds are planted into copies of its readings, and each detector is measured by
the average precision with which it tells the stretches that hold one from
those that hold none. Nothing is switched: a ranking by planted anomalies tells
how well a detector knows the series, and is no better guide to what people call
an anomaly than the shipped choice (docs/detect.md has the figures).

The past is the readings that the server keeps, by the minute or the step,
whichever is longer; at least 256 of them, and the last 4096 at most.`
	c.Flags().IntVar(&days, "days", 30, "how many days of the past")
	c.Flags().StringSliceVar(&names, "detector", names, "`names` of the detectors to rank, separated by commas")
	c.Flags().IntVar(&trials.Rounds, "rounds", 8, "how many times anomalies are planted, 1 to 32")
	c.Flags().Uint64Var(&trials.Seed, "seed", 1, "seed of the planted anomalies")
	return c
}

// pastOf returns the readings of a series as points, evenly: those of late are
// kept by the step and become means of their minute as the others are.
func pastOf(v client.SeriesView) []baseline.Point {
	out := make([]baseline.Point, 0, len(v.At))
	var counts []int // of the values in the last point
	for i, at := range v.At {
		if i == 0 || !v.At[i-1].Truncate(time.Minute).Equal(at.Truncate(time.Minute)) {
			p := baseline.Point{At: at.UnixMilli(), Values: make([]float64, len(v.Features))}
			for f := range p.Values {
				p.Values[f] = math.NaN()
			}
			out, counts = append(out, p), make([]int, len(v.Features))
		}
		values := out[len(out)-1].Values
		for f := range v.Features {
			x := v.Features[f].Value[i]
			switch {
			case x == nil:
				continue
			case counts[f] == 0:
				values[f] = *x
			default:
				values[f] += (*x - values[f]) / float64(counts[f]+1)
			}
			counts[f]++
		}
	}
	return out
}

// ranking is the answer of fettle series champion --json.
type ranking struct {
	Series    string     `json:"series"`
	Entity    string     `json:"entity"`
	Detector  string     `json:"detector"` // that watches it
	Points    int        `json:"points"`
	Standings []standing `json:"standings"`
}

type standing struct {
	Detector         string              `json:"detector"`
	AveragePrecision float64             `json:"average_precision"`
	ROCAUC           float64             `json:"roc_auc"`
	ByKind           map[string]*float64 `json:"by_kind"`
	Planted          int                 `json:"planted"`
	Judged           int                 `json:"judged"`
}

func rankingOf(v client.SeriesView, past []baseline.Point, standings []baseline.Standing) ranking {
	out := ranking{Series: v.ID, Entity: v.Entity, Detector: v.Detector, Points: min(len(past), 4096)}
	for _, s := range standings {
		row := standing{Detector: s.Name, AveragePrecision: s.AveragePrecision, ROCAUC: s.ROCAUC, ByKind: map[string]*float64{}, Planted: s.Planted, Judged: s.Judged}
		for k, p := range s.ByKind {
			var known *float64
			if !math.IsNaN(p) {
				known = &p
			}
			row.ByKind[baseline.Kind(k).String()] = known
		}
		out.Standings = append(out.Standings, row)
	}
	return out
}

// contender lets a whole detector be measured beside the companions.
type contender struct {
	detector.Detector
	reading detector.Reading
}

// Process implements baseline.Processor.
func (c *contender) Process(at int64, x []float64, hold bool) (float64, error) {
	err := c.Detector.Process(detector.Point{At: at, Values: x, Hold: hold}, &c.reading)
	return c.reading.Score, err
}

// candidates are detectors as they would watch a series.
func candidates(names []string, features int, step time.Duration, seed uint64) []baseline.Candidate {
	var out []baseline.Candidate
	for _, name := range names {
		out = append(out, baseline.Candidate{Name: name, NewFunc: func() (baseline.Processor, error) {
			d, err := detector.New(name, detector.Settings{Features: features, Step: max(step, time.Minute), Seed: seed})
			return &contender{Detector: d}, err
		}})
	}
	return out
}
