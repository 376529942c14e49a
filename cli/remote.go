package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

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
