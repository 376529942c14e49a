package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/ops"
)

func newWindows() *cobra.Command {
	var list, next, export remote
	lc := list.command("list", "List windows and freezes with their next opening", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		found, err := c.Windows(cmd.Context())
		if err != nil {
			return err
		}
		return list.print(cmd.OutOrStdout(), found, "NAME\tKIND\tRULE\tZONE\tNOW\tNEXT", func(w io.Writer) {
			for _, x := range found.Items {
				now, upcoming := "closed", "-"
				if x.Open != nil {
					now = "open until " + when(x.Open.End)
				}
				if x.Next != nil {
					upcoming = when(x.Next.Start)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", plain(x.Name), x.Kind, plain(x.Rule), x.TimeZone, now, upcoming)
			}
		})
	})
	var count int
	var from, zone string
	nc := next.command("next NAME", "Show the next openings of a window or freeze", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		in, err := time.LoadLocation(zone)
		if err != nil {
			return usageError{fmt.Errorf("--time-zone %q is no IANA name such as Europe/Berlin", zone)}
		}
		found, err := c.Occurrences(cmd.Context(), args[0], query("from", from, "count", strconv.Itoa(count)))
		if err != nil {
			return err
		}
		const layout = "Mon 2006-01-02 15:04 MST"
		return next.print(cmd.OutOrStdout(), found, "OPENS\tCLOSES\tLAST START", func(w io.Writer) {
			for _, o := range found.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\n", o.Start.In(in).Format(layout), o.End.In(in).Format(layout), o.Cutoff.In(in).Format(layout))
			}
		})
	})
	nc.Flags().IntVar(&count, "count", 50, "how many at most")
	nc.Flags().StringVar(&from, "from", "", "those that close after this time, such as 2026-11-19T03:00:00Z (default now)")
	nc.Flags().StringVar(&zone, "time-zone", "UTC", "zone the times are shown in")
	var name string
	ec := export.command("export", "Write the openings of twelve months as iCalendar", cobra.NoArgs, func(cmd *cobra.Command, c *client.Client, _ []string) error {
		b, err := c.Calendar(cmd.Context(), name)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(b)
		return err
	})
	ec.Flags().StringVar(&name, "name", "", "only this window or freeze")
	return noun("windows", "Windows and freezes: when changes may run", lc, nc, ec, newWindowsImport())
}

// maxImport bounds what is read of a calendar file.
const maxImport = 8 << 20

func newWindowsImport() *cobra.Command {
	var zone string
	var freezes bool
	c := &cobra.Command{
		Use: "import FILE.ics", Short: "Print the windows of an iCalendar file as configuration; nothing is changed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("read the calendar: %w: %w", err, ops.ErrInvalid)
				}
				defer f.Close()
				in = f
			}
			file, err := io.ReadAll(io.LimitReader(in, maxImport+1))
			if err != nil {
				return fmt.Errorf("read the calendar: %w", err)
			}
			text, err := app.ImportWindows(file, zone, freezes)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringVar(&zone, "time-zone", "", "IANA zone of events that have none, or one that nobody knows")
	c.Flags().BoolVar(&freezes, "freezes", false, "events that do not say what they are become freezes")
	return c
}

func newResources() *cobra.Command {
	var show remote
	var depth int
	gc := show.command("graph ID", "Show what a resource needs and what needs it", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) error {
		g, err := c.Graph(cmd.Context(), args[0], query("depth", strconv.Itoa(depth)))
		if err != nil {
			return err
		}
		return show.print(cmd.OutOrStdout(), g, "RELATION\tHOPS\tNAME\tID\tVIA", func(w io.Writer) {
			for _, n := range g.Dependencies {
				fmt.Fprintf(w, "needs\t%d\t%s\t%s\t%s\n", n.Depth, dash(plain(n.Name)), plain(n.ID), plain(n.Via))
			}
			for _, n := range g.Dependents {
				fmt.Fprintf(w, "is needed by\t%d\t%s\t%s\t%s\n", n.Depth, dash(plain(n.Name)), plain(n.ID), plain(n.Via))
			}
		})
	})
	gc.Flags().IntVar(&depth, "depth", 3, "how many edges away")
	return noun("resources", "Resources: what is observed and changed", gc)
}
