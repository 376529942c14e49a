// Package cli is the command line of Fettle: fettle <noun> <verb>.
//
// serve, demo, simulate, detect, config and version work by themselves; everything
// else talks to a running server through its public API. Results go to
// standard output, as a table or with --json as JSON, progress and errors to
// standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by
// policy.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/ops"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
)

// usageError marks an error whose fix is another command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Main runs a command line and returns the exit code. SIGINT and SIGTERM end
// it gracefully.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "fettle: %s\n", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.Is(ops.Class(err), ops.ErrDenied):
		return exitRefused
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fettle",
		Short: "Close the loop of IT operations: signals, incidents, tickets, approved changes, verification",
		Long: `Fettle takes signals in, correlates them to incidents, keeps tickets in your
ITSM platform equal both ways, lets infrastructure change only after approval
of exactly that plan and only inside its window, and verifies the outcome.

Start with "fettle demo" to watch an incident go around the whole loop, or
"fettle serve" to run it.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newDemo(), newConfig(), newIncidents(), newChanges(), newRecommendations(), newWindows(), newResources(), newTrail(), newBacklog(), newDetect(), newAnomalies(), newSeries(), newTokens(), newIntegrations(), newConnectors(), newNotify(), newSend(), newStop(), newResume(), newSimulate(), newVersion())
	for _, c := range root.Commands() {
		misuse(c)
	}
	return root
}

// misuse makes every wrong number of arguments a usage error, down the tree.
func misuse(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		misuse(sub)
	}
}

// noun is a command that only groups its verbs.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(verbs...)
	return c
}
