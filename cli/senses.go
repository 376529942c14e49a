package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/ops"
)

func newAnomalies() *cobra.Command {
	var list, show remote
	var states, series, group, entity, text, from, to string
	var limit int
	lc := list.command("list", "List anomalies, newest first", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Anomalies(cmd.Context(), query("state", states, "series", series, "group", group, "entity", entity, "q", text, "from", from, "to", to, "limit", strconv.Itoa(limit)))
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "ANOMALY\tSTATE\tGRADE\tFROM\tLASTED\tENTITY\tWHAT", func(w io.Writer) {
			for _, a := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.State(), figure(a.Grade), when(a.From), lasted(a), plain(a.Entity), dash(plain(worst(a))))
			}
		})
	})
	lc.Flags().StringVar(&states, "state", "", "open, over; comma separated")
	lc.Flags().StringVar(&series, "series", "", "id of a series")
	lc.Flags().StringVar(&group, "group", "", "group of features")
	lc.Flags().StringVar(&entity, "entity", "", "entity")
	lc.Flags().StringVarP(&text, "text", "q", "", "part of the group, the entity or a feature to blame")
	lc.Flags().StringVar(&from, "from", "", "those that go on after this time, such as 2026-11-19T03:00:00Z")
	lc.Flags().StringVar(&to, "to", "", "those that begin before this time")
	lc.Flags().IntVar(&limit, "limit", 100, "how many at most")
	sc := show.command("show ID", "Show an anomaly: expected against actual, and what to blame", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		a, err := c.Anomaly(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show.print(cmd.OutOrStdout(), a, "anomaly\t"+a.ID, func(w io.Writer) {
			fmt.Fprintf(w, "state\t%s\nentity\t%s\ngroup\t%s\nseries\t%s\ndetector\t%s\n", a.State(), plain(a.Entity), plain(a.Group), a.Series, plain(a.Detector))
			fmt.Fprintf(w, "from\t%s\nto\t%s, %s, %d steps\nworst\t%s\n", when(a.From), when(a.To), lasted(a.Anomaly), a.Points, when(a.At))
			fmt.Fprintf(w, "grade\t%s of 1, confidence %s, score %s\n", figure(a.Grade), figure(a.Confidence), figure(a.Score))
			for _, f := range a.Features {
				fmt.Fprintf(w, "feature\t%s, %.0f%% to blame\n", plain(detect.Sentence(f)), 100*f.Blame)
			}
			fmt.Fprintf(w, "incident\t%s\n", dash(a.Incident))
		})
	})
	return noun("anomalies", "Anomalies: where a series behaved unlike itself", lc, sc)
}

func newSeries() *cobra.Command {
	var list remote
	var states, group, entity, text string
	var limit int
	lc := list.command("list", "List watched series and how far each has learned", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Series(cmd.Context(), query("state", states, "group", group, "entity", entity, "q", text, "limit", strconv.Itoa(limit)))
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "SERIES\tGROUP\tENTITY\tDETECTOR\tSTATE\tSEEN\tANOMALY\tNOT LEARNED", func(w io.Writer) {
			for _, s := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, plain(s.Group), plain(s.Entity), plain(s.Detector), s.Progress, when(s.SeenAt), dash(s.Anomaly), dash(plain(s.HeldWhy())))
			}
		})
	})
	lc.Flags().StringVar(&states, "state", "", "learning, normal, anomalous; comma separated")
	lc.Flags().StringVar(&group, "group", "", "group of features")
	lc.Flags().StringVar(&entity, "entity", "", "entity")
	lc.Flags().StringVarP(&text, "text", "q", "", "part of the group, the entity, a feature or metric it is watched by, or a label: instance=web1:9100")
	lc.Flags().IntVar(&limit, "limit", 100, "how many at most")
	return noun("series", "Watched series: one model each", lc, newChampion())
}

func lasted(a ops.Anomaly) string { return a.To.Sub(a.From).Round(time.Second).String() }

// worst says what the feature most to blame was.
func worst(a ops.Anomaly) string {
	if len(a.Features) == 0 {
		return ""
	}
	return detect.Sentence(a.Features[0])
}

// figure writes three significant digits, and large numbers whole.
func figure(v float64) string {
	if math.Abs(v) >= 100 && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
