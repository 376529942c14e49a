package archtest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

//go:generate go test -run ^TestFloorPlanIsCurrent$ -update .

var update = flag.Bool("update", false, "write docs/floorplan.md instead of comparing it")

func TestFloorPlanIsCurrent(t *testing.T) {
	name := filepath.Join(root, "docs", "floorplan.md")
	want := FloorPlan()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what internal/archtest/rooms.go says; run make generate", name)
	}
}
