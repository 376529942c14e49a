package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
)

func newNotify() *cobra.Command {
	var channels, test, log, resend remote
	var channel, states string
	cc := channels.command("channels", "List the channels that are told, and what waits for each", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Channels(cmd.Context())
		if err != nil {
			return err
		}
		return channels.print(cmd.OutOrStdout(), found, "CHANNEL\tKIND\tTHIS HOUR\tLAST DAY\tWAITING\tHELD BACK\tNEXT DIGEST\tGIVEN UP\tSINCE", func(w io.Writer) {
			for _, x := range found.Items {
				hour := fmt.Sprint(x.ThisHour)
				if x.PerHour > 0 {
					hour += fmt.Sprintf(" of %d", x.PerHour)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\t%s\n", x.Name, x.Driver, hour, x.SentDay, x.Waiting, x.Held, when(x.NextDigest), x.GivenUp, when(x.Since))
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
		return log.print(cmd.OutOrStdout(), found, "NOTIFICATION\tTIME\tCHANNEL\tSTATE\tATTEMPTS\tTITLE\tERROR", func(w io.Writer) {
			for _, x := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", x.ID, when(x.MadeAt), x.Channel, x.State, x.Attempts, plain(x.Notice.Title), dash(plain(x.Error)))
			}
		})
	})
	lc.Flags().StringVar(&channel, "channel", "", "name of a channel")
	lc.Flags().StringVar(&states, "state", "", "states, comma separated: waiting, sending, sent, held, unsure, listed, given_up")
	lc.Aliases = []string{"list"}
	rc := resend.command("resend ID", "Send a notification again that was given up, under the same id", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		x, err := c.ResendNotification(cmd.Context(), args[0], "cli")
		if err != nil {
			return err
		}
		return resend.print(cmd.OutOrStdout(), x, x.ID+"\t"+string(x.State), func(io.Writer) {})
	})
	n := noun("notify", "Who is told what, and whether it got there", cc, tc, lc, rc)
	n.Aliases = []string{"notifications"}
	return n
}
