package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
)

func newConnectors() *cobra.Command {
	var list, test, sync, audit remote
	each := func(r *remote, use, short, done string, do func(cmd *cobra.Command, c *client.Client, name string) error) *cobra.Command {
		return r.command(use, short, cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
			if err := do(cmd, c, args[0]); err != nil {
				return err
			}
			return r.print(cmd.OutOrStdout(), map[string]string{"platform": args[0], "done": done}, args[0]+"\t"+done, func(io.Writer) {})
		})
	}
	return noun("connectors", "The platforms where tickets live",
		list.command("list", "List platforms and how they are doing", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
			found, err := c.Platforms(cmd.Context())
			if err != nil {
				return err
			}
			return list.print(cmd.OutOrStdout(), found, "PLATFORM\tCONNECTOR\tSTATE\tSINCE\tWHAT IS WRONG", func(w io.Writer) {
				for _, p := range found.Items {
					state := map[bool]string{true: "up", false: "troubled"}[p.Up]
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.Connector, state, when(p.Since), plain(dash(p.Error)))
				}
			})
		}),
		each(&test, "test PLATFORM", "Try the connection and say what is wrong; exit 1 if anything is", "the connection works", func(cmd *cobra.Command, c *client.Client, name string) error {
			got, err := c.CheckPlatform(cmd.Context(), name)
			if err == nil && !got.OK {
				err = fmt.Errorf("%s: %s", name, got.Error)
			}
			return err
		}),
		each(&sync, "sync PLATFORM", "Fetch what people did there now", "fetched", func(cmd *cobra.Command, c *client.Client, name string) error {
			return c.SyncPlatform(cmd.Context(), name)
		}),
		each(&audit, "audit PLATFORM", "Merge work items that slipped through twice", "audited", func(cmd *cobra.Command, c *client.Client, name string) error {
			return c.AuditPlatform(cmd.Context(), name)
		}))
}
