package cli

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/ops"
)

func newIncidents() *cobra.Command {
	var list, show, move remote
	var states, severities, team, text string
	var limit int
	lc := list.command("list", "List incidents, newest first", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Incidents(cmd.Context(), query("state", states, "severity", severities, "team", team, "q", text, "limit", strconv.Itoa(limit)))
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "INCIDENT\tSEVERITY\tSTATE\tFIRING\tOPENED\tTITLE", func(w io.Writer) {
			for _, i := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%s\t%s\n", i.Key, i.Severity, i.State, i.Firing, i.Total, when(i.OpenedAt), plain(i.Title))
			}
		})
	})
	lc.Flags().StringVar(&states, "state", "", "states, comma separated")
	lc.Flags().StringVar(&severities, "severity", "", "severities, comma separated")
	lc.Flags().StringVar(&team, "team", "", "team")
	lc.Flags().StringVarP(&text, "text", "q", "", "part of the title, rule or resource")
	lc.Flags().IntVar(&limit, "limit", 100, "how many at most")
	sc := show.command("show ID", "Show an incident with its alerts and tickets", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		i, err := c.Incident(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show.print(cmd.OutOrStdout(), i, i.Key+"\t"+plain(i.Title), func(w io.Writer) {
			fmt.Fprintf(w, "state\t%s\nseverity\t%s\nresource\t%s\nopened\t%s\nalerts\t%d firing of %d\n", i.State, i.Severity, plain(i.Resource), when(i.OpenedAt), i.Firing, i.Total)
			for _, t := range i.Tickets {
				fmt.Fprintf(w, "ticket\t%s %s %s %s\n", t.Platform, t.Display, t.Sync, t.URL)
			}
			for _, a := range i.Alerts {
				fmt.Fprintf(w, "alert\t%s %s %s since %s\n", a.State, a.Severity, plain(a.Title), when(a.StartsAt))
			}
			if more := i.Total - len(i.Alerts); more > 0 {
				fmt.Fprintf(w, "alert\tand %d more\n", more)
			}
		})
	})
	var why string
	mc := move.command("resolve ID", "Resolve an incident", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		i, err := c.MoveIncident(cmd.Context(), args[0], string(ops.IncidentResolved), why)
		if err != nil {
			return err
		}
		return move.print(cmd.OutOrStdout(), i, i.Key()+"\t"+string(i.State), func(io.Writer) {})
	})
	mc.Flags().StringVar(&why, "why", "", "what was done")
	return noun("incidents", "Incidents: one cause each", lc, sc, mc)
}
