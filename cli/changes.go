package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/ops"
)

func newChanges() *cobra.Command {
	var list, show, raise, approve, deny, cancel, settle, glass, review remote
	var states, text string
	lc := list.command("list", "List changes, newest first", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Changes(cmd.Context(), query("state", states, "q", text))
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "CHANGE\tTYPE\tSTATE\tOUTCOME\tCREATED\tDIGEST\tTITLE", func(w io.Writer) {
			for _, x := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.12s\t%s\n", x.Key, x.Type, x.State, dash(string(x.Outcome)), when(x.CreatedAt), dash(x.PlanDigest), plain(x.Title))
			}
		})
	})
	lc.Flags().StringVar(&states, "state", "", "states, comma separated")
	lc.Flags().StringVarP(&text, "text", "q", "", "part of the title or resource")
	sc := show.command("show ID", "Show a change with exactly the plan that counts", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		x, err := c.Change(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show.print(cmd.OutOrStdout(), x, x.Key+"\t"+plain(x.Title), func(w io.Writer) { describeChange(w, x) })
	})
	n := client.NewChange{Via: "cli"}
	var key string
	var risk float64
	nc := raise.command("raise --title TITLE --executor NAME --action ACTION [ARG...]", "Raise a change by hand; nothing runs before its plan is approved", cobra.ArbitraryArgs, func(cmd *cobra.Command, c *client.Client, args []string) error {
		switch {
		case n.Title == "":
			return usageError{errors.New("--title is missing: say what is changed")}
		case n.Executor == "":
			return usageError{errors.New("--executor is missing: name a configured executor")}
		case n.Action == "":
			return usageError{errors.New("--action is missing: say what the executor is to do")}
		}
		if n.Args = args; cmd.Flags().Changed("risk") {
			n.Risk = &risk
		}
		x, err := c.RaiseChange(cmd.Context(), key, n)
		if err != nil {
			return err
		}
		return raise.print(cmd.OutOrStdout(), x, x.Key()+"\t"+string(x.State), func(io.Writer) {})
	})
	nc.Flags().StringVar(&n.Title, "title", "", "what is changed")
	nc.Flags().StringVar(&n.Reason, "reason", "", "why")
	nc.Flags().StringVar(&n.Type, "type", "normal", "normal or emergency")
	nc.Flags().StringVar(&n.Executor, "executor", "", "name of a configured executor")
	nc.Flags().StringVar(&n.Action, "action", "", "what it is to do; what follows the flags are the action's arguments")
	nc.Flags().StringVar(&n.Resource, "resource", "", "id of the resource it is done to")
	nc.Flags().StringVar(&n.Incident, "incident", "", "id or number of the incident it is for")
	nc.Flags().StringVar(&n.Team, "team", "", "whose change it is")
	nc.Flags().Float64Var(&risk, "risk", 1, "0 to 1; unknown counts as 1")
	nc.Flags().StringVar(&n.VerifyWithin, "verify-within", "", "how long the cause may take to go away (default 10m)")
	nc.Flags().StringVar(&key, "idempotency-key", "", "any text: raised again with it, nothing new is raised")
	decide := func(r *remote, verb, short string, d ops.Decision) *cobra.Command {
		var digest, comment string
		dc := r.command(verb+" ID --digest DIGEST", short, cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
			if digest == "" {
				return usageError{errors.New("--digest is missing: copy it from fettle changes show, so that you decide about the plan you saw")}
			}
			x, err := c.Decide(cmd.Context(), args[0], d, digest, comment, "cli")
			if err != nil {
				return err
			}
			return r.print(cmd.OutOrStdout(), x, x.Key()+"\t"+string(d)+"\tnow "+string(x.State), func(io.Writer) {})
		})
		dc.Flags().StringVar(&digest, "digest", "", "digest of the plan you saw, or its first 12 characters or more")
		dc.Flags().StringVar(&comment, "comment", "", "why")
		return dc
	}
	var why string
	cc := cancel.command("cancel ID", "Withdraw a change that has not started", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		if why == "" {
			return usageError{errors.New("--why is missing")}
		}
		x, err := c.CancelChange(cmd.Context(), args[0], why)
		if err != nil {
			return err
		}
		return cancel.print(cmd.OutOrStdout(), x, x.Key()+"\t"+string(x.State), func(io.Writer) {})
	})
	cc.Flags().StringVar(&why, "why", "", "the reason")
	var clash remote
	var hops int
	xc := clash.command("conflicts ID", "List changes that may run at the same time on the same resource or a connected one", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		found, err := c.Conflicts(cmd.Context(), args[0], query("hops", strconv.Itoa(hops)))
		if err != nil {
			return err
		}
		return clash.print(cmd.OutOrStdout(), found, "CHANGE\tFROM\tTO\tWHY", func(w io.Writer) {
			for _, x := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.Key, when(x.From), when(x.To), plain(x.Why))
			}
		})
	})
	xc.Flags().IntVar(&hops, "hops", 1, "how many edges of the graph may lie between the resources")
	var freeze, reason, note string
	gc := glass.command("break-glass ID --freeze NAME --reason REASON", "Override a freeze for one change; a second person does the same to confirm", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		switch {
		case freeze == "":
			return usageError{errors.New("--freeze is missing: name the freeze that is to be overridden")}
		case reason == "":
			return usageError{errors.New("--reason is missing: say why the freeze cannot be waited for")}
		}
		x, err := c.BreakGlass(cmd.Context(), args[0], freeze, reason)
		if err != nil {
			return err
		}
		return glass.print(cmd.OutOrStdout(), x, x.Key()+"\t"+glassWords(x, freeze), func(io.Writer) {})
	})
	gc.Flags().StringVar(&freeze, "freeze", "", "name of the freeze")
	gc.Flags().StringVar(&reason, "reason", "", "why it cannot be waited for")
	var found string
	hc := settle.command("settle ID succeeded|failed|roll_back --why TEXT", "Say what became of a run that is held for a person", cobra.ExactArgs(2), func(cmd *cobra.Command, c *client.Client, args []string) error {
		switch {
		case !slices.Contains([]string{"succeeded", "failed", "roll_back"}, args[1]):
			return usageError{fmt.Errorf("%q is none of succeeded, failed, roll_back", args[1])}
		case found == "":
			return usageError{errors.New("--why is missing: write what you found")}
		}
		x, err := c.SettleChange(cmd.Context(), args[0], args[1], found)
		if err != nil {
			return err
		}
		return settle.print(cmd.OutOrStdout(), x, x.Key()+"\t"+string(x.State)+"\t"+string(x.Outcome), func(io.Writer) {})
	})
	hc.Flags().StringVar(&found, "why", "", "what you found")
	rc := review.command("review ID --note NOTE", "Sign the review that a broken freeze demands, which closes the change", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		if note == "" {
			return usageError{errors.New("--note is missing: write what the review found")}
		}
		x, err := c.SignReview(cmd.Context(), args[0], note)
		if err != nil {
			return err
		}
		return review.print(cmd.OutOrStdout(), x, x.Key()+"\t"+string(x.State)+"\t"+string(x.Outcome), func(io.Writer) {})
	})
	rc.Flags().StringVar(&note, "note", "", "what the review found")
	return noun("changes", "Changes to infrastructure, each behind the gate", lc, sc, nc,
		decide(&approve, "approve", "Approve exactly the plan with this digest", ops.Approved),
		decide(&deny, "deny", "Deny the plan with this digest", ops.Refused), cc, hc, gc, rc, xc)
}

// glassWords says how far the overriding of a freeze has come.
func glassWords(x ops.Change, freeze string) string {
	for _, b := range x.BreakGlass {
		switch {
		case b.Freeze != freeze || b.Void != "":
		case b.InForce():
			return fmt.Sprintf("the freeze %s is overridden by %s and %s; the review must be signed", freeze, plain(b.ByName), plain(b.SecondName))
		default:
			return fmt.Sprintf("the freeze %s is overridden once a second person confirms it with the same command", freeze)
		}
	}
	return ""
}

// approveIn says where a change that waits is approved, when it is not anywhere.
func approveIn(x client.ChangeView) string {
	switch {
	case x.State != ops.ChangeAuthorize || x.ApproveIn == "":
		return ""
	case x.ApproveIn == ops.DeskPlatform:
		return "Fettle only"
	}
	for _, t := range x.Tickets {
		if t.Platform == x.ApproveIn && t.Kind == ops.TicketChangeRequest {
			return strings.TrimSpace(x.ApproveIn + " only: " + t.Display + " " + t.URL)
		}
	}
	return x.ApproveIn + " only; its ticket there is not opened yet"
}

func opening(o ops.Occurrence) string {
	if o.Always() {
		return o.Window + ", always open"
	}
	return fmt.Sprintf("%s %s to %s", o.Window, when(o.Start), when(o.End))
}

func describeChange(w io.Writer, x client.ChangeView) {
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "%s\t%s\n", k, plain(v))
		}
	}
	row("state", strings.TrimSpace(string(x.State)+" "+string(x.Outcome)))
	row("type", string(x.Type))
	row("why", x.Reason)
	row("resource", x.Resource)
	row("risk", strconv.FormatFloat(x.Risk, 'f', 2, 64))
	row("approval", x.Approve)
	row("approve in", approveIn(x))
	row("digest", x.PlanDigest)
	if x.Window != nil {
		row("window", opening(*x.Window))
	}
	if o := x.Offered; o != nil {
		row("window given", opening(*o))
	}
	for _, b := range x.BreakGlass {
		row("break-glass", strings.TrimSpace(fmt.Sprintf("freeze %s by %s %s %s %s", b.Freeze, b.ByName, b.SecondName, b.Reason, b.Void)))
	}
	if r := x.Review; r != nil {
		row("review", strings.TrimSpace(r.Why+" "+r.Name+" "+r.Note))
	}
	row("revision", strconv.Itoa(x.Revision))
	for _, a := range x.Approvals {
		row(string(a.Decision), fmt.Sprintf("%s %s via %s %s", a.Name, when(a.At), a.Via, a.Void))
	}
	if x.Run != nil {
		row("run", strings.TrimSpace(string(x.Run.State)+" "+x.Run.Error))
	}
	if x.Verdict != nil {
		row("verdict", string(x.Verdict.Word)+": "+x.Verdict.Why)
	}
	if x.Plan != nil {
		fmt.Fprintln(w, "plan")
		for line := range strings.SplitSeq(strings.TrimRight(x.Plan.Text, "\n"), "\n") {
			fmt.Fprintf(w, "  %s\n", plain(line))
		}
	}
}
