package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/ops"
)

func newTrail() *cobra.Command {
	var r remote
	var verify bool
	c := r.command("trail ID [--verify]", "Print every fact and command of an incident or a change, in order", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		t, err := c.Trail(cmd.Context(), args[0], verify)
		if err != nil {
			return err
		}
		err = r.print(cmd.OutOrStdout(), t, "WHEN\tWHAT\tWHO\tWHY", func(w io.Writer) {
			for _, e := range t.Entries {
				switch {
				case e.Fact != nil:
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", stamp(e.Fact.At), e.Fact.Kind, plain(e.Fact.Principal), plain(why(e.Fact.Body)))
				case e.Command != nil:
					fmt.Fprintf(w, "%s\t> %s\t%s\t%s\n", stamp(e.Command.QueuedAt), e.Command.Command.Kind, e.Command.State, plain(attempts(*e.Command)))
				}
			}
		})
		if err != nil || !verify {
			return err
		}
		if !t.Intact {
			return fmt.Errorf("the trail was tampered with: %s", t.Verified)
		}
		fmt.Fprintln(cmd.ErrOrStderr(), t.Verified)
		return nil
	})
	c.Flags().BoolVar(&verify, "verify", false, "check the hash chain; exit 1 when it does not hold")
	return c
}

// why returns what a fact's body says for people.
func why(body json.RawMessage) string {
	var b struct {
		Why     string `json:"why"`
		Error   string `json:"error"`
		Moved   string `json:"moved"`
		Display string `json:"display"`
		Verdict struct {
			Word string `json:"word"`
			Why  string `json:"why"`
		} `json:"verdict"`
		Approval struct {
			Decision string `json:"decision"`
			Name     string `json:"name"`
			Comment  string `json:"comment"`
		} `json:"approval"`
	}
	if json.Unmarshal(body, &b) != nil {
		return ""
	}
	var out []string
	for _, s := range []string{b.Display, b.Why, b.Moved, b.Error, b.Verdict.Word, b.Verdict.Why, b.Approval.Decision, b.Approval.Comment} {
		if s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, ": ")
}

func attempts(c ops.CommandRecord) string {
	s := fmt.Sprintf("%d attempts", c.Attempts)
	if c.Attempts == 1 {
		s = "1 attempt"
	}
	if c.Error != "" {
		s += ", last: " + c.Error
	}
	return s
}
