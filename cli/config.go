package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/secret"
)

// defaultConfig is where the configuration is looked for when no flag names one.
const defaultConfig = "fettle.yaml"

func newConfig() *cobra.Command {
	return noun("config", "Make, check and explain the configuration file", newConfigInit(), newConfigCheck(), newConfigExplain(), newConfigSchema())
}

// readConfig loads the file at path. Without a path it takes fettle.yaml of
// the working directory if there is one, and the defaults otherwise.
func readConfig(path string) (*config.Config, error) {
	if path == "" {
		if _, err := os.Stat(defaultConfig); err != nil {
			return config.Default(), nil
		}
		path = defaultConfig
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return config.Load(path, b)
}

func newConfigInit() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "init [FILE]", Short: "Write a commented configuration file (fettle.yaml; - for standard output)",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := defaultConfig
			if len(args) == 1 {
				path = args[0]
			}
			if path == "-" {
				_, err := cmd.OutOrStdout().Write(config.Example())
				return err
			}
			flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
			if force {
				flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
			}
			f, err := os.OpenFile(path, flags, 0o644)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s exists; name another file or overwrite it with --force", path)
			}
			if err != nil {
				return err
			}
			_, err = f.Write(config.Example())
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write %s: %w", path, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; check it with: fettle config check %s\n", path, path)
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return c
}

func newConfigCheck() *cobra.Command {
	var noSecrets bool
	c := &cobra.Command{
		Use: "check [FILE]", Short: "Validate the configuration and try to resolve its secrets",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
			}
			c, err := readConfig(path)
			if err != nil {
				return err
			}
			if err := app.CheckConfig(c); err != nil {
				return err
			}
			var faults []error
			if !noSecrets {
				for _, r := range c.References() {
					if _, err := (secret.Local{}).Resolve(cmd.Context(), r); err != nil {
						faults = append(faults, err)
					}
				}
			}
			if err := errors.Join(faults...); err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "the configuration is valid")
			return nil
		},
	}
	c.Flags().BoolVar(&noSecrets, "no-secrets", false, "do not try to resolve secret references")
	return c
}

func newConfigExplain() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "explain [FILE]", Short: "Print every value in force with where it came from",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
			}
			c, err := readConfig(path)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(c.Explain())
			}
			return table(cmd.OutOrStdout(), "SETTING\tVALUE\tSOURCE", func(w io.Writer) {
				for _, s := range c.Explain() {
					fmt.Fprintf(w, "%s\t%s\t%s\n", s.Path, s.Value, s.Source)
				}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the file, for editors", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}

// table prints aligned columns under a heading.
func table(out io.Writer, heading string, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	rows(w)
	return w.Flush()
}
