package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/app"
)

func newServe() *cobra.Command {
	var o app.Options
	var configPath, logFormat string
	var debug bool
	c := &cobra.Command{
		Use:   "serve [--config F] [--data-dir D] [--listen ADDR]",
		Short: "Run the server",
		Long: `Run the server. No flag is needed: it keeps its data in the user's state
directory and listens on 127.0.0.1:8420. The first start writes an admin token
to admin.token in the data directory.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := readConfig(configPath)
			if err != nil {
				return err
			}
			if o.DataDir == "" {
				if o.DataDir, err = stateDir(); err != nil {
					return err
				}
			}
			o.Config = cfg
			o.Version = build().Version
			if o.Logger, err = newLogger(cmd, logFormat, debug); err != nil {
				return err
			}
			return app.Serve(cmd.Context(), o)
		},
	}
	c.Flags().StringVar(&configPath, "config", "", "configuration file (default fettle.yaml where there is one)")
	c.Flags().StringVar(&o.DataDir, "data-dir", "", "where data is kept (default fettle in the user's state directory)")
	c.Flags().StringVar(&o.Listen, "listen", "", "address to listen on (default server.listen of the configuration)")
	c.Flags().StringVar(&logFormat, "log-format", "text", "text or json")
	c.Flags().BoolVar(&debug, "debug", false, "log details")
	return c
}

func newLogger(cmd *cobra.Command, format string, debug bool) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if debug {
		opts.Level = slog.LevelDebug
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), opts)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q is neither text nor json", format)}
}

// stateDir is fettle in the user's state directory, by the XDG base directory
// specification.
func stateDir() (string, error) {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "fettle"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("there is no home directory to keep data in; name one with --data-dir")
	}
	return filepath.Join(home, ".local", "state", "fettle"), nil
}
