package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go test -run ^TestReferenceIsCurrent$ -update .

var update = flag.Bool("update", false, "write docs/cli.md instead of comparing it")

// TestReferenceIsCurrent compares docs/cli.md with the commands.
func TestReferenceIsCurrent(t *testing.T) {
	const name = "../docs/cli.md"
	want := reference(t)
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the commands say; run make generate", name)
	}
}

func reference(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<!-- Code generated from the commands of cli by "make generate"; DO NOT EDIT. -->
# Command line reference

`+"`serve`, `demo`, `simulate`, `detect`, `config` and `version`"+` work by themselves. Every other command talks to a running server through its
public API. It finds the server by `+"`--server`, then `$FETTLE_SERVER`"+`, then the data directory of a server on this machine, and a
token by `+"`$FETTLE_TOKEN`, then `fettle/token`"+` in the user's configuration directory (`+"`~/.config` on Linux"+`), then the admin token in that
data directory. Results go to standard output, as a table or with `+"`--json`"+` as JSON; progress and errors to standard error.

Exit codes: %d done, %d failed, %d wrong usage, %d refused by policy.
`, exitDone, exitFailed, exitUsage, exitRefused)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short text %q, want a few words without a full stop", c.CommandPath(), c.Short)
		}
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", c.CommandPath(), text)
		if len(c.Aliases) > 0 {
			fmt.Fprintf(&b, "\n`%s` may also be written `%s`.\n", c.Name(), strings.Join(c.Aliases, "`, `"))
		}
		if !c.HasSubCommands() || c.HasAvailableLocalFlags() {
			fmt.Fprintf(&b, "\n```text\n%s\n```\n", c.UseLine())
			flags(t, &b, c)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	return b.String()
}

func flags(t *testing.T, b *strings.Builder, c *cobra.Command) {
	if !c.HasAvailableLocalFlags() {
		return
	}
	b.WriteString("\n| flag | meaning |\n|---|---|\n")
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Usage == "" {
			t.Errorf("%s --%s says nothing", c.CommandPath(), f.Name)
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" && !strings.Contains(usage, "default") {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", name, usage)
	})
}
