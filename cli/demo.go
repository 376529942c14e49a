package cli

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/app/demo"
)

func newDemo() *cobra.Command {
	var o demo.Options
	var verbose bool
	c := &cobra.Command{
		Use:   "demo [--once] [--data-dir D] [--listen ADDR]",
		Short: "Watch a real incident go around the whole loop",
		Long: `Start everything embedded, with a simulated ServiceNow next to the desk, replay
a recorded CPU trace with its incident, and narrate how it goes around the
loop. With --once it runs to the end and exits 0 only if every station was
reached, which is read back from outside. --break keeps a station from working,
to show that the demo would notice.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			o.Scale = []string{exe, "demo", scaleVerb}
			o.Out, o.Version = cmd.OutOrStdout(), build().Version
			o.Logger = slog.New(slog.DiscardHandler)
			if verbose {
				o.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	c.Flags().BoolVar(&o.Once, "once", false, "run to the end and exit")
	c.Flags().StringVar(&o.DataDir, "data-dir", "", "where data is kept (default a temporary directory)")
	c.Flags().StringVar(&o.Listen, "listen", "", "address to listen on (default 127.0.0.1:8420, or a free port)")
	c.Flags().StringVar(&o.Break, "break", "", "keep a station from working: "+strings.Join(demo.Breaks, ", "))
	c.Flags().BoolVar(&verbose, "verbose", false, "print the server's log too")
	c.AddCommand(newScale())
	return c
}

// scaleVerb is the hidden command that the demo's change runs: a real process
// with a real effect, a file whose content is the size of the instance.
const scaleVerb = "scale"

func newScale() *cobra.Command {
	return &cobra.Command{
		Use: scaleVerb + " SIZE FILE", Hidden: true, Args: cobra.ExactArgs(2),
		Short: "Write the size of the demo's instance into its file",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.WriteFile(args[1], []byte(args[0]+"\n"), 0o600); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "web-1 is now %s\n", args[0])
			return err
		},
	}
}
