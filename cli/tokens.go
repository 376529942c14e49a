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

func newTokens() *cobra.Command {
	var create, list, revoke remote
	req := client.NewToken{}
	cc := create.command("create --for NAME --role ROLE", "Make a token; its secret is printed once", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		if req.For == "" {
			return usageError{errors.New("--for is missing: whose token is it?")}
		}
		for _, role := range req.Roles {
			if _, err := ops.ParseRole(role); err != nil {
				return usageError{err}
			}
		}
		t, err := c.CreateToken(cmd.Context(), req)
		if err != nil {
			return err
		}
		if create.asJSON {
			return create.print(cmd.OutOrStdout(), t, "", nil)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), t.Token)
		return err
	})
	cc.Flags().StringVar(&req.For, "for", "", "name of the principal")
	cc.Flags().StringSliceVar(&req.Roles, "role", nil, "viewer, responder, approver, change-manager or admin; may be repeated")
	cc.Flags().StringVar(&req.Kind, "kind", "person", "person or service; only persons approve")
	cc.Flags().StringVar(&req.Name, "name", "", "what the token is for")
	cc.Flags().IntVar(&req.Days, "days", 0, "days until it expires (default never)")
	lc := list.command("list", "List tokens, without their secrets", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Tokens(cmd.Context())
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "ID\tFOR\tROLES\tNAME\tCREATED\tEXPIRES\tREVOKED\tLAST USED", func(w io.Writer) {
			for _, t := range found.Items {
				roles := make([]string, len(t.Roles))
				for i, r := range t.Roles {
					roles[i] = string(r)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, plain(t.For), strings.Join(roles, ","), plain(dash(t.Name)), when(t.CreatedAt), when(t.ExpiresAt), when(t.RevokedAt), when(t.LastUsedAt))
			}
		})
	})
	rc := revoke.command("revoke ID", "Make a token open nothing from now on", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		return c.RevokeToken(cmd.Context(), args[0])
	})
	return noun("tokens", "Credentials of people and services", cc, lc, rc)
}
