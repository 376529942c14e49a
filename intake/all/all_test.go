package all_test

import (
	"os"
	"slices"
	"testing"

	"github.com/fettleops/fettle/intake/all"
)

// TestEveryFolderIsListed compares the list with the folders, so that a source
// that was forgotten here is noticed.
func TestEveryFolderIsListed(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var folders, listed []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "all" && e.Name() != "intaketest" && e.Name() != "testdata" {
			folders = append(folders, e.Name())
		}
	}
	for _, d := range all.Drivers() {
		listed = append(listed, d.Name)
	}
	if !slices.Equal(folders, listed) {
		t.Errorf("listed %q, folders %q", listed, folders)
	}
}
