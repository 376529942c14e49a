package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/ops"
)

func newRecommendations() *cobra.Command {
	var list, show, dismiss, savings remote
	var states, service, text string
	lc := list.command("list", "List recommendations with why each is placed or not, newest first", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Recommendations(cmd.Context(), query("state", states, "service", service, "q", text))
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "RECOMMENDATION\tSTATE\tCHANGE\tRESOURCE\tNOW\tRECOMMENDED\tSAVING\tWHY", func(w io.Writer) {
			for _, x := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Key, x.State, dash(x.Change), dash(plain(x.Name)), dash(plain(x.Current.String())), dash(plain(x.Recommended.String())), saving(x.Saving), plain(x.Why))
			}
		})
	})
	lc.Flags().StringVar(&states, "state", "", "states, comma separated: new, placed, unplaced, superseded, done, withdrawn")
	lc.Flags().StringVar(&service, "service", "", "ec2, rds or asg")
	lc.Flags().StringVarP(&text, "text", "q", "", "part of the name, resource, stack or reason")
	sc := show.command("show ID", "Show a recommendation and what became of it", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		x, err := c.Recommendation(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show.print(cmd.OutOrStdout(), x, x.Key+"\t"+plain(x.Name), func(w io.Writer) { describeRecommendation(w, x) })
	})
	var why string
	dc := dismiss.command("dismiss ID --why REASON", "Withdraw a recommendation, with its change if that has not begun", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		if why == "" {
			return usageError{errors.New("--why is missing")}
		}
		x, err := c.DismissRecommendation(cmd.Context(), args[0], why, "cli")
		if err != nil {
			return err
		}
		return dismiss.print(cmd.OutOrStdout(), x, x.Key+"\t"+string(x.State), func(io.Writer) {})
	})
	dc.Flags().StringVar(&why, "why", "", "the reason")
	vc := savings.command("savings", "Predicted and realised saving per kind of recommendation", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Savings(cmd.Context())
		if err != nil {
			return err
		}
		return savings.print(cmd.OutOrStdout(), found, "KIND\tCURRENCY\tALL\tLIVE\tPLACED\tUNPLACED\tDONE\tOPEN PER HOUR\tPREDICTED\tREALISED\tRATIO\tREGRESSED", func(w io.Writer) {
			for _, x := range found.Items {
				predicted, realised, ratio := "-", "-", "-"
				if x.Measured > 0 {
					predicted, realised = fmt.Sprintf("%.2f", x.Predicted), fmt.Sprintf("%.2f", x.Realised)
				}
				if x.Ratio != nil {
					ratio = fmt.Sprintf("%.0f%%", *x.Ratio*100)
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%.4f\t%s\t%s\t%s\t%d\n", dash(plain(x.Kind)), dash(x.Currency), x.Count, x.Live, x.Placed, x.Unplaced, x.Done, x.Open, predicted, realised, ratio, x.Regressed)
			}
		})
	})
	return noun("recommendations", "Optimisation recommendations and what became of them", lc, sc, dc, vc)
}

func saving(s *ops.Saving) string {
	if s == nil {
		return "-"
	}
	out := strings.TrimSpace(fmt.Sprintf("%.2f %s", s.Amount, plain(s.Currency)))
	if s.Per != "" {
		out += "/" + s.Per
	}
	return out
}

func describeRecommendation(w io.Writer, x client.RecommendationView) {
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "%s\t%s\n", k, plain(v))
		}
	}
	row("state", string(x.State))
	row("why", x.Why)
	row("change", x.Change)
	row("rule", x.Rule)
	row("producer", x.Producer+" by "+x.Integration)
	row("resource", strings.TrimSpace(strings.Join([]string{x.Service, x.ResourceKey, x.Region, x.Account}, " ")))
	row("now", x.Current.String())
	row("recommended", x.Recommended.String())
	row("kind", x.Kind)
	if x.Saving != nil {
		row("saving", saving(x.Saving))
	}
	row("effort", x.Effort)
	if x.PredictedUptime != nil {
		row("predicted uptime", fmt.Sprintf("%.2f%%", *x.PredictedUptime))
	}
	row("stack", strings.TrimSpace(x.Stack+" "+x.LogicalID))
	row("report", x.Report)
	row("last seen", when(x.LastSeen))
	if v := x.Realised; v != nil {
		row("realised", fmt.Sprintf("%s over %.1f hours (%s)", amount(v.Amount, v.Currency), v.Hours, v.CountedBy))
		row("predicted", amount(v.Predicted, v.Currency))
		row("not known", v.Why)
		row("regressed", v.Regressed)
	}
}

func amount(v *float64, currency string) string {
	if v == nil {
		return "unknown"
	}
	return strings.TrimSpace(fmt.Sprintf("%.2f %s", *v, currency))
}
