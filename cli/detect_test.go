package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// TestDetectPrintsEachPointAsItComes writes a row, reads what is printed of it,
// and only then writes the next; an interrupt ends the command while it waits.
func TestDetectPrintsEachPointAsItComes(t *testing.T) {
	in, rows := io.Pipe()
	printed, out := io.Pipe()
	defer rows.Close()
	var notes bytes.Buffer
	d := detecting{detector: "null", settings: detector.Settings{Step: time.Minute}, out: out, notes: &notes}
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx, in) }()
	lines := bufio.NewScanner(printed)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("the output ended")
		}
		return lines.Text()
	}
	fmt.Fprintln(rows, "time,value")
	for i := range 3 {
		fmt.Fprintf(rows, "2026-11-21 12:0%d:00,%d\n", i, i)
		if i == 0 {
			next() // the heading
		}
		if got, want := next(), fmt.Sprintf("2026-11-21T12:0%d:00Z", i); !strings.HasPrefix(got, want) {
			t.Fatalf("printed %q, want it to begin %s", got, want)
		}
	}
	interrupt()
	if err := <-done; err != nil {
		t.Errorf("an interrupted command ends with %v", err)
	}
	if got := notes.String(); got != "3 points, 0 of them anomalous\n" {
		t.Errorf("told %q", got)
	}
}

// TestDetectMeasuresTheStepFirst: rows wait for the step, and none is lost.
func TestDetectMeasuresTheStepFirst(t *testing.T) {
	f := func(rows int) {
		t.Helper()
		var in, out, notes bytes.Buffer
		for i := range rows {
			fmt.Fprintf(&in, "2026-11-21 12:%02d:00,%d\n", i, i)
		}
		d := detecting{detector: "random", asJSON: true, out: &out, notes: &notes}
		if err := d.run(t.Context(), &in); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "\n"); got != rows {
			t.Errorf("%d lines for %d rows", got, rows)
		}
	}
	f(1)
	f(15)
	f(16)
	f(40)
}
