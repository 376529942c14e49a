package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
)

func newBacklog() *cobra.Command {
	var r remote
	var team string
	c := r.command("backlog", "Print the daily backlog per team", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		list, err := c.BacklogSnapshots(cmd.Context(), query("team", team))
		if err != nil {
			return err
		}
		return r.print(cmd.OutOrStdout(), list, "DAY\tTEAM\tBACKLOG\tCOUNTED AT", func(w io.Writer) {
			for _, b := range list.Items {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", b.Day, plain(b.Team), b.Count, when(b.At))
			}
		})
	})
	c.Flags().StringVar(&team, "team", "", "team (default all)")
	return c
}
