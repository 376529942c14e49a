// Command generate writes the list of failpoints anew, in the folder it is
// started in.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fettleops/fettle/internal/failpoint/points"
)

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write() error {
	s, err := points.Scan(os.DirFS(filepath.Join("..", "..", "..")))
	if err != nil {
		return err
	}
	return os.WriteFile("points.txt", []byte(strings.Join(s.Points, "\n")+"\n"), 0o644) //nolint:gosec // a source file, for everybody to read
}
