package app

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/config"
	connectors "github.com/fettleops/fettle/connector/all"
	executors "github.com/fettleops/fettle/execute/all"
	sources "github.com/fettleops/fettle/intake/all"
	"github.com/fettleops/fettle/internal/db/dbtest"
	channels "github.com/fettleops/fettle/notify/all"
)

//go:generate go test -run ^(TestMetricsPageIsCurrent|TestDriversPageIsCurrent)$ -update .

var update = flag.Bool("update", false, "write the generated pages instead of comparing them")

func current(t *testing.T, name, want string) {
	t.Helper()
	name = filepath.Join("..", "docs", name)
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says; run make generate", name)
	}
}

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "([^"]*)"(?:, unit: "[^"]*")?, constLabels: \{\}, variableLabels: \{([^}]*)\}\}$`)

// TestMetricsPageIsCurrent compares docs/metrics.md with what a built house
// has registered.
func TestMetricsPageIsCurrent(t *testing.T) {
	a, err := New(t.Context(), Options{Config: config.Default(), DataDir: dbtest.Dir(t), Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	ch := make(chan *prometheus.Desc)
	go func() {
		a.metrics.Describe(ch)
		close(ch)
	}()
	var rows []string
	for d := range ch {
		if !strings.Contains(d.String(), `fqName: "fettle_`) {
			continue // those of Go and the process are documented by their library
		}
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Errorf("cannot read %s", d)
			continue
		}
		if !strings.HasSuffix(m[2], ".") {
			t.Errorf("%s: help %q, want a sentence", m[1], m[2])
		}
		labels := "-"
		if m[3] != "" {
			labels = "`" + strings.Join(strings.Split(m[3], ","), "`, `") + "`"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", m[1], labels, m[2]))
	}
	if len(rows) < 10 {
		t.Fatalf("%d metrics are registered", len(rows))
	}
	slices.Sort(rows)
	current(t, "metrics.md", `<!-- Code generated from the registered metrics by "make generate"; DO NOT EDIT. -->
# Metrics

`+"`GET /metrics`"+` serves these in the Prometheus text format, with the usual `+"`go_*` and `process_*`"+`. It needs a token, as everything
but `+"`/healthz`"+` does. Names end in `+"`_total`"+` for counters and in `+"`_seconds`"+` for histograms; the others are gauges.

| metric | labels | meaning |
|---|---|---|
`+strings.Join(rows, ""))
}

// TestDriversPageIsCurrent compares docs/drivers.md with the lists of drivers
// and the first sentence of each one's page.
func TestDriversPageIsCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<!-- Code generated from the lists of drivers by "make generate"; DO NOT EDIT. -->
# Drivers

Each is a folder; its page says what it needs, how it reads or writes, and its limits.
`)
	section := func(title, key, room string, names []string) {
		fmt.Fprintf(&b, "\n## %s\n\n| `%s` | what it does |\n|---|---|\n", title, key)
		slices.Sort(names)
		for _, n := range names {
			page := "../" + room + "/" + n + "/README.md"
			if says, ok := firstSentence(t, page); ok {
				fmt.Fprintf(&b, "| [`%s`](%s) | %s |\n", n, page, says)
			} else {
				fmt.Fprintf(&b, "| `%s` | %s |\n", n, says)
			}
		}
	}
	var names []string
	for _, d := range sources.Drivers() {
		names = append(names, d.Name)
	}
	section("Sources of signals", "source", "intake", names)
	names = nil
	for _, d := range connectors.Drivers() {
		names = append(names, d.Name())
	}
	section("Ticket platforms", "connector", "connector", names)
	names = nil
	for _, d := range executors.Drivers() {
		names = append(names, d.Tool)
	}
	section("Executors", "tool", "execute", names)
	names = nil
	for _, d := range channels.Drivers() {
		names = append(names, d.Name)
	}
	section("Channels", "notify", "notify", names)
	current(t, "drivers.md", b.String())
}

// firstSentence returns the first sentence of a driver's page, or of its
// package comment when it has no page.
func firstSentence(t *testing.T, page string) (string, bool) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err == nil {
		_, body, _ := strings.Cut(string(text), "\n\n")
		paragraph, _, _ := strings.Cut(strings.TrimSpace(body), "\n\n")
		return sentence(paragraph), true
	}
	dir := filepath.Dir(page)
	src, err := os.ReadFile(filepath.Join(dir, filepath.Base(dir)+".go"))
	if err != nil {
		t.Fatalf("%s has neither a README.md nor %s.go: %v", dir, filepath.Base(dir), err)
	}
	comment, _, _ := strings.Cut(string(src), "\npackage ")
	comment = strings.ReplaceAll(strings.ReplaceAll(comment, "\n//", " "), "//", "")
	says := strings.TrimPrefix(sentence(comment), "Package "+filepath.Base(dir)+" is ")
	return strings.ToUpper(says[:1]) + says[1:], false
}

func sentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if first, _, ok := strings.Cut(text, ". "); ok {
		return first + "."
	}
	return text
}
