package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
)

func newStop() *cobra.Command {
	return executionSwitch("stop", "Stop all execution (kill switch)", true)
}

func newResume() *cobra.Command { return executionSwitch("resume", "Let execution go on", false) }

func executionSwitch(use, short string, stopped bool) *cobra.Command {
	var r remote
	var reason string
	c := r.command(use, short, cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		if reason == "" {
			return usageError{errors.New("--why is missing")}
		}
		e, err := c.SetExecution(cmd.Context(), stopped, reason)
		if err != nil {
			return err
		}
		return r.print(cmd.OutOrStdout(), e, map[bool]string{true: "execution is stopped", false: "execution may go on"}[e.Stopped], func(io.Writer) {})
	})
	c.Flags().StringVar(&reason, "why", "", "the reason")
	return c
}
