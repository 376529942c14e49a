package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/ops"
)

func newIntegrations() *cobra.Command {
	var list, test remote
	show := func(r *remote, onlyBad bool) func(cmd *cobra.Command, c *client.Client, args []string) error {
		return func(cmd *cobra.Command, c *client.Client, args []string) error {
			found, err := c.Integrations(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				found.Items = named(found.Items, args[0])
				if len(found.Items) == 0 {
					return fmt.Errorf("there is no integration %q: %w", args[0], ops.ErrNotFound)
				}
			}
			bad := 0
			err = r.print(cmd.OutOrStdout(), found, "INTEGRATION\tSOURCE\tURL\tWHAT IS WRONG\tFIX", func(w io.Writer) {
				for _, i := range found.Items {
					if i.URL == "" {
						i.URL = "(fetches)"
					}
					if len(i.Findings) == 0 {
						fmt.Fprintf(w, "%s\t%s\t%s\t-\t-\n", i.Name, i.Source, i.URL)
					}
					for _, f := range i.Findings {
						bad++
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", i.Name, i.Source, i.URL, f.What, f.Fix)
					}
				}
			})
			if err == nil && onlyBad && bad > 0 {
				return fmt.Errorf("%d things are wrong", bad)
			}
			return err
		}
	}
	return noun("integrations", "The senders of signals",
		list.command("list", "List integrations", cobra.NoArgs, show(&list, false)),
		test.command("test [NAME]", "Say what is wrong with each integration; exit 1 if anything is", cobra.MaximumNArgs(1), show(&test, true)))
}

func named(in []client.IntegrationView, name string) []client.IntegrationView {
	for _, i := range in {
		if i.Name == name {
			return []client.IntegrationView{i}
		}
	}
	return nil
}

// maxPayload bounds what send reads; the front door takes no more.
const maxPayload = 8 << 20

func newSend() *cobra.Command {
	var r remote
	var contentType string
	c := r.command("send SOURCE FILE", "Deliver a payload to test a set-up (- for standard input)", cobra.ExactArgs(2), func(cmd *cobra.Command, c *client.Client, args []string) error {
		in := cmd.InOrStdin()
		if args[1] != "-" {
			f, err := os.Open(args[1])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		b, err := io.ReadAll(io.LimitReader(in, maxPayload+1))
		if err != nil {
			return fmt.Errorf("read %s: %w", args[1], err)
		}
		if len(b) > maxPayload {
			return fmt.Errorf("%s is larger than %d bytes: %w", args[1], maxPayload, ops.ErrInvalid)
		}
		outcome, err := c.Send(cmd.Context(), args[0], contentType, b)
		if err != nil {
			return err
		}
		return r.print(cmd.OutOrStdout(), map[string]string{"outcome": outcome}, outcome, func(io.Writer) {})
	})
	c.Flags().StringVar(&contentType, "content-type", "application/json", "content type of the payload")
	return c
}
