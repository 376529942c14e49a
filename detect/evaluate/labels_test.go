package evaluate_test

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// TestOnlyThisPackageOpensLabels looks for NAB's label files in the product's
// sources: a detector that could read them would be measured on what it knows.
func TestOnlyThisPackageOpensLabels(t *testing.T) {
	house := os.DirFS("../..")
	found, here := 0, 0
	err := fs.WalkDir(house, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || name == "cli/detect_bench.go" {
			return err // the command's help names the files
		}
		b, err := fs.ReadFile(house, name)
		if err != nil || !bytes.Contains(b, []byte("combined_")) && !bytes.Contains(b, []byte(`"labels/`)) {
			return err
		}
		found++
		if strings.HasPrefix(name, "detect/evaluate/") {
			here++
			return nil
		}
		t.Errorf("%s names a file of labels", name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if here == 0 {
		t.Errorf("the search found %d files and not the reader of this package", found)
	}
}
