// Package dbtest gives the databases of tests a place.
package dbtest

import (
	"os"
	"testing"
)

// Dir returns a folder for the databases of one test, which is removed when the
// test ends. It is in memory where the machine has room for that: each commit is
// flushed, and most of what a test of a room would wait for is the disk. Whether
// something survives is tested on the disk, in t.TempDir.
func Dir(t testing.TB) string {
	t.Helper()
	if !roomy(memory) {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "fettle-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}
