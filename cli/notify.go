package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
)

func newNotify() *cobra.Command {
	var channels, test, log remote
	var channel, states string
	cc := channels.command("channels", "List the channels that are told, and what waits for each", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Channels(cmd.Context())
		if err != nil {
			return err
		}
		return channels.print(cmd.OutOrStdout(), found, "CHANNEL\tKIND\tPER HOUR\tWAITING\tHELD BACK\tSINCE", func(w io.Writer) {
			for _, x := range found.Items {
				most := "any"
				if x.PerHour > 0 {
					most = fmt.Sprint(x.PerHour)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", x.Name, x.Driver, most, x.Waiting, x.Held, when(x.Since))
			}
		})
	})
	tc := test.command("test CHANNEL", "Send a test message; exit 1 if it is not taken", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		got, err := c.TestChannel(cmd.Context(), args[0])
		if err == nil && !got.OK {
			err = fmt.Errorf("%s: %s", args[0], got.Error)
		}
		if err != nil {
			return err
		}
		return test.print(cmd.OutOrStdout(), map[string]string{"channel": args[0], "done": "sent"}, args[0]+"\tsent", func(io.Writer) {})
	})
	lc := log.command("log", "List notifications with what became of each, newest first", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Notifications(cmd.Context(), query("channel", channel, "state", states))
		if err != nil {
			return err
		}
		return log.print(cmd.OutOrStdout(), found, "TIME\tCHANNEL\tSTATE\tATTEMPTS\tTITLE\tERROR", func(w io.Writer) {
			for _, x := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", when(x.MadeAt), x.Channel, x.State, x.Attempts, plain(x.Notice.Title), dash(plain(x.Error)))
			}
		})
	})
	lc.Flags().StringVar(&channel, "channel", "", "name of a channel")
	lc.Flags().StringVar(&states, "state", "", "states, comma separated: waiting, sending, sent, held, unsure, listed, given_up")
	return noun("notify", "Who is told what, and whether it got there", cc, tc, lc)
}
