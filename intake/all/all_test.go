package all_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/fettleops/fettle/intake/all"
)

// TestEveryDriverIsListed compares the list with the folders that hold a
// driver, so that a source that was forgotten here is noticed.
func TestEveryDriverIsListed(t *testing.T) {
	drivers, err := filepath.Glob("../*/driver.go")
	if err != nil || len(drivers) == 0 {
		t.Fatalf("no driver found (%v)", err)
	}
	var folders, listed []string
	for _, d := range drivers {
		folders = append(folders, filepath.Base(filepath.Dir(d)))
	}
	for _, d := range all.Drivers() {
		listed = append(listed, d.Name)
	}
	if !slices.Equal(folders, listed) {
		t.Errorf("listed %q, folders %q", listed, folders)
	}
}
