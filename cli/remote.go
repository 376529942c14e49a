package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/ops"
)

// remote is how a command reaches the server.
type remote struct {
	server, dataDir string
	asJSON          bool
}

func (r *remote) flags(c *cobra.Command) {
	c.Flags().StringVar(&r.server, "server", "", "URL of the server (default $FETTLE_SERVER, else the server running on the data directory)")
	c.Flags().StringVar(&r.dataDir, "data-dir", "", "data directory of a server on this machine, to find its address and token")
	c.Flags().BoolVar(&r.asJSON, "json", false, "print as JSON")
}

// client finds the server and a token: $FETTLE_TOKEN, then ~/.config/fettle/token,
// then the admin token of a server on this machine.
func (r *remote) client() (*client.Client, error) {
	dir := r.dataDir
	if dir == "" {
		dir, _ = stateDir() // without a home there is still FETTLE_TOKEN
	}
	server, token := r.server, os.Getenv("FETTLE_TOKEN")
	if server == "" {
		server = os.Getenv("FETTLE_SERVER")
	}
	if server == "" {
		server = firstLine(filepath.Join(dir, app.AddressFile))
	}
	if server == "" {
		server = "http://127.0.0.1:8420"
	}
	if home, err := os.UserConfigDir(); token == "" && err == nil {
		token = firstLine(filepath.Join(home, "fettle", "token"))
	}
	if token == "" {
		token = firstLine(filepath.Join(dir, app.AdminTokenFile))
	}
	if token == "" {
		return nil, fmt.Errorf("no token: set FETTLE_TOKEN, write ~/.config/fettle/token, or name the server's --data-dir: %w", ops.ErrDenied)
	}
	return client.New(server, token), nil
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// command makes a command that talks to the server.
func (r *remote) command(use, short string, args cobra.PositionalArgs, run func(cmd *cobra.Command, c *client.Client, args []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		c, err := r.client()
		if err != nil {
			return err
		}
		return run(cmd, c, args)
	}}
	r.flags(cmd)
	return cmd
}

// print writes v as JSON, or rows as a table.
func (r *remote) print(out io.Writer, v any, heading string, rows func(w io.Writer)) error {
	if r.asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	return table(out, heading, rows)
}

func newIncidents() *cobra.Command {
	var list, show, move remote
	var states, severities, team, text string
	var limit int
	lc := list.command("list", "List incidents, newest first", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Incidents(cmd.Context(), query("state", states, "severity", severities, "team", team, "q", text, "limit", strconv.Itoa(limit)))
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "INCIDENT\tSEVERITY\tSTATE\tFIRING\tOPENED\tTITLE", func(w io.Writer) {
			for _, i := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%s\t%s\n", i.Key, i.Severity, i.State, i.Firing, i.Total, when(i.OpenedAt), plain(i.Title))
			}
		})
	})
	lc.Flags().StringVar(&states, "state", "", "states, comma separated")
	lc.Flags().StringVar(&severities, "severity", "", "severities, comma separated")
	lc.Flags().StringVar(&team, "team", "", "team")
	lc.Flags().StringVarP(&text, "text", "q", "", "part of the title, rule or resource")
	lc.Flags().IntVar(&limit, "limit", 100, "how many at most")
	sc := show.command("show ID", "Show an incident with its alerts and tickets", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		i, err := c.Incident(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show.print(cmd.OutOrStdout(), i, i.Key+"\t"+plain(i.Title), func(w io.Writer) {
			fmt.Fprintf(w, "state\t%s\nseverity\t%s\nresource\t%s\nopened\t%s\nalerts\t%d firing of %d\n", i.State, i.Severity, plain(i.Resource), when(i.OpenedAt), i.Firing, i.Total)
			for _, t := range i.Tickets {
				fmt.Fprintf(w, "ticket\t%s %s %s %s\n", t.Platform, t.Display, t.Sync, t.URL)
			}
			for _, a := range i.Alerts {
				fmt.Fprintf(w, "alert\t%s %s %s since %s\n", a.State, a.Severity, plain(a.Title), when(a.StartsAt))
			}
		})
	})
	var why string
	mc := move.command("resolve ID", "Resolve an incident", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		i, err := c.MoveIncident(cmd.Context(), args[0], string(ops.IncidentResolved), why)
		if err != nil {
			return err
		}
		return move.print(cmd.OutOrStdout(), i, i.Key()+"\t"+string(i.State), func(io.Writer) {})
	})
	mc.Flags().StringVar(&why, "why", "", "what was done")
	return noun("incidents", "Incidents: one cause each", lc, sc, mc)
}

func newChanges() *cobra.Command {
	var list, show, approve, deny, cancel remote
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
	return noun("changes", "Changes to infrastructure, each behind the gate", lc, sc,
		decide(&approve, "approve", "Approve exactly the plan with this digest", ops.Approved),
		decide(&deny, "deny", "Deny the plan with this digest", ops.Refused), cc)
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
	row("digest", x.PlanDigest)
	if x.Window != nil {
		row("window", fmt.Sprintf("%s %s to %s", x.Window.Window, when(x.Window.Start), when(x.Window.End)))
	}
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

func newBacklog() *cobra.Command {
	var r remote
	var team string
	c := r.command("backlog", "Print the daily backlog per team", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		list, err := c.BacklogSnapshots(cmd.Context(), query("team", team))
		if err != nil {
			return err
		}
		return r.print(cmd.OutOrStdout(), list, "DAY\tTEAM\tBACKLOG\tCOUNTED AT", func(w io.Writer) {
			for _, b := range list.Items {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", b.Day, plain(b.Team), b.Count, when(b.At))
			}
		})
	})
	c.Flags().StringVar(&team, "team", "", "team (default all)")
	return c
}

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

func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000Z") }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// plain keeps text from outside from moving the cursor or colouring the
// terminal: control characters become spaces.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}
