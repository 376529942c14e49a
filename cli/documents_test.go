package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/config"
)

// page is one Markdown document.
type page struct {
	name   string // from the repository's root
	text   string // without fenced blocks
	blocks []block
}

// block is a fenced block: ```yaml is Fettle's configuration, ```yaml with a
// further word belongs to another program, ```sh holds commands, ```json data.
type block struct {
	line int
	info string
	text string
}

// documents reads the pages people wrote: generated ones have tests of their own.
func documents(t *testing.T, patterns ...string) []page {
	t.Helper()
	var out []page
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(pattern)))
		if err != nil || len(names) == 0 {
			t.Fatalf("no document matches %s (%v)", pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if p := parsePage(strings.TrimPrefix(filepath.ToSlash(name), "../"), string(b)); !strings.HasPrefix(string(b), "<!-- Code generated") {
				out = append(out, p)
			}
		}
	}
	return out
}

func parsePage(name, text string) page {
	p := page{name: name}
	var open *block
	for i, line := range strings.Split(text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{line: i + 1, info: strings.TrimSpace(info)}
		case fence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		default:
			p.text += line + "\n"
		}
	}
	return p
}

var (
	guide   = []string{"README.md", "CONTRIBUTING.md", "docs/*.md", "docs/adr/*.md", "changelog/unreleased/*.md"}
	drivers = []string{"intake/*/README.md", "connector/*/README.md", "execute/*/README.md"}
)

// TestDocumentedConfigurationIsValid holds every YAML block of the guide and
// of the drivers' pages against what fettle config check finds without secrets.
func TestDocumentedConfigurationIsValid(t *testing.T) {
	seen := 0
	for _, p := range documents(t, slices.Concat(guide, drivers)...) {
		for _, b := range p.blocks {
			if b.info != "yaml" {
				continue
			}
			seen++
			c, err := config.Load(p.name, []byte(b.text))
			if err == nil {
				err = app.CheckConfig(c)
			}
			if err != nil {
				t.Errorf("%s:%d: fettle config check refuses this block (mark what is another program's: ```yaml name):\n%v", p.name, b.line, err)
			}
		}
	}
	if seen < 8 {
		t.Errorf("%d blocks of configuration found, the guide has more", seen)
	}
}

// TestDocumentedDataIsWellFormed reads blocks of JSON and of other programs' YAML.
func TestDocumentedDataIsWellFormed(t *testing.T) {
	for _, p := range documents(t, slices.Concat(guide, drivers)...) {
		for _, b := range p.blocks {
			var v any
			kind, _, _ := strings.Cut(b.info, " ")
			switch {
			case kind == "json" && json.Unmarshal([]byte(b.text), &v) != nil:
				t.Errorf("%s:%d: is no JSON", p.name, b.line)
			case kind == "yaml" && yaml.Unmarshal([]byte(b.text), &v) != nil:
				t.Errorf("%s:%d: is no YAML", p.name, b.line)
			case !slices.Contains([]string{"json", "yaml", "sh", "text", "go", "mermaid"}, kind):
				t.Errorf("%s:%d: the fence says %q, want json, yaml, sh, text, go or mermaid", p.name, b.line, b.info)
			}
		}
	}
}

var inline = regexp.MustCompile("`([^`\n]+)`")

// spans returns the code in running text, also where a line ends inside.
func (p page) spans() []string {
	var out []string
	for _, paragraph := range strings.Split(p.text, "\n\n") {
		for _, m := range inline.FindAllStringSubmatch(strings.ReplaceAll(paragraph, "\n", " "), -1) {
			out = append(out, strings.Join(strings.Fields(m[1]), " "))
		}
	}
	return out
}

// TestDocumentedCommandsExist parses every fettle command line, in blocks and
// in running text, with the flags it gives, and looks up every make target.
func TestDocumentedCommandsExist(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	try := func(where, line string, mention bool) {
		if words := splitShell(line); len(words) > 0 {
			if err := commandExists(words, string(makefile), mention); err != nil {
				t.Errorf("%s: %s: %v", where, line, err)
			} else if words[0] == "fettle" && len(words) > 1 {
				seen[words[1]] = true
			}
		}
	}
	for _, p := range documents(t, guide...) {
		for _, b := range p.blocks {
			if b.info != "sh" {
				continue
			}
			for i, line := range strings.Split(strings.ReplaceAll(b.text, "\\\n", " "), "\n") {
				for _, part := range strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == ';' }) {
					try(fmt.Sprintf("%s:%d", p.name, b.line+1+i), strings.TrimSpace(part), false)
				}
			}
		}
		for _, span := range p.spans() {
			try(p.name, span, true)
		}
	}
	for _, c := range newRoot().Commands() {
		if !c.Hidden && !seen[c.Name()] {
			t.Errorf("the guide never shows fettle %s", c.Name())
		}
	}
}

// commandExists checks a fettle command line or a make call, and takes
// anything else for somebody else's. A mention may leave the arguments out.
func commandExists(words []string, makefile string, mention bool) error {
	for len(words) > 0 && strings.Contains(words[0], "=") { // NAME=value before a command
		words = words[1:]
	}
	if len(words) > 2 && words[0] == "go" && words[1] == "run" && words[2] == "./cmd/fettle" {
		words = append([]string{"fettle"}, words[3:]...)
	}
	switch {
	case len(words) > 1 && words[0] == "make":
		for _, target := range words[1:] {
			if !strings.Contains(target, "=") && !strings.Contains(makefile, "\n"+target+":") {
				return fmt.Errorf("the Makefile has no target %q", target)
			}
		}
	case len(words) > 0 && words[0] == "fettle":
		root := newRoot()
		c, rest, err := root.Find(words[1:])
		if err != nil {
			return err
		}
		if err := c.ParseFlags(rest); err != nil {
			return err
		}
		if mention && len(rest) == 0 {
			return nil
		}
		return c.ValidateArgs(c.Flags().Args())
	}
	return nil
}

// splitShell splits a line as a shell would, as far as the documents need:
// words, quotes, a comment, and nothing after a redirection.
func splitShell(line string) []string {
	var words []string
	word, quote, started := "", rune(0), false
	flush := func() {
		if started {
			words = append(words, word)
		}
		word, started = "", false
	}
	for _, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
				continue
			}
			word += string(r)
		case r == '\'' || r == '"':
			quote, started = r, true
		case r == ' ' || r == '\t':
			flush()
		case (r == '#' || r == '>' || r == '&') && !started:
			return words
		default:
			word, started = word+string(r), true
		}
	}
	flush()
	return words
}

func TestSplitShell(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		if got := splitShell(in); !slices.Equal(got, want) {
			t.Errorf("splitShell(%q) = %q, want %q", in, got, want)
		}
	}
	f("")
	f("# a comment")
	f("fettle stop --why 'we look into it'  # all of it", "fettle", "stop", "--why", "we look into it")
	f(`a "" b > c`, "a", "", "b")
	f("fettle serve &", "fettle", "serve")
}

func TestCommandExistsBites(t *testing.T) {
	f := func(line string, ok bool) {
		t.Helper()
		if err := commandExists(splitShell(line), "all:\ntest: all\n", false); (err == nil) != ok {
			t.Errorf("%s: %v", line, err)
		}
	}
	f("fettle", true)
	f("fettle demo --once", true)
	f("FETTLE_TOKEN=x fettle incidents list --json", true)
	f("go run ./cmd/fettle demo", true)
	f("go run ./cmd/fettle dance", false)
	f("fettle dance", false)
	f("fettle incidents dance", false)
	f("fettle demo --twice", false)
	f("fettle trail", false)
	f("fettle trail INC-1 --verify", true)
	f("make test", true)
	f("make dance", false)
	f("systemctl restart shop", true)
}

var apiPath = regexp.MustCompile(`(?:(GET|POST|PUT|DELETE|PATCH) )?(?:https?://[^ /]+)?(/api/v1/[A-Za-z0-9_{}/.-]*[A-Za-z0-9_}])`)

// TestDocumentedPathsExist looks every API path up in the description.
func TestDocumentedPathsExist(t *testing.T) {
	b, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var description struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(b, &description); err != nil {
		t.Fatal(err)
	}
	find := func(method, path string) bool {
		for _, template := range slices.Collect(maps.Keys(description.Paths)) {
			want, have := strings.Split(template, "/"), strings.Split(path, "/")
			same := len(want) == len(have)
			for i := 0; same && i < len(want); i++ {
				same = want[i] == have[i] || strings.HasPrefix(want[i], "{") && have[i] != ""
			}
			if _, ok := description.Paths[template][strings.ToLower(method)]; same && (method == "" || ok) {
				return true
			}
		}
		return false
	}
	if find("GET", "/api/v1/nothing") || find("DELETE", "/api/v1/incidents") || !find("GET", "/api/v1/incidents/INC-1") {
		t.Fatal("the look-up finds the wrong things")
	}
	for _, p := range documents(t, guide...) {
		texts := p.spans()
		for _, b := range p.blocks {
			texts = append(texts, b.text)
		}
		for _, text := range texts {
			for _, m := range apiPath.FindAllStringSubmatch(text, -1) {
				if !find(m[1], m[2]) {
					t.Errorf("%s: the API has no %s %s", p.name, m[1], m[2])
				}
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	unsaid  = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// anchor returns the fragment GitHub gives a heading.
func anchor(title string) string {
	return strings.ReplaceAll(unsaid.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// TestDocumentedLinksLeadSomewhere follows every relative link, with its
// fragment, and wants each page of docs to be linked from somewhere.
func TestDocumentedLinksLeadSomewhere(t *testing.T) {
	linked := map[string]bool{}
	for _, p := range documents(t, slices.Concat(guide, drivers)...) {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := filepath.Join("..", filepath.Dir(p.name), target)
			if target == "" {
				file = filepath.Join("..", p.name)
			} else {
				linked[filepath.ToSlash(file)] = true
			}
			text, err := os.ReadFile(file)
			if info, serr := os.Stat(file); serr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s links to %s: %v", p.name, m[1], err)
				continue
			}
			if fragment == "" {
				continue
			}
			if !slices.ContainsFunc(heading.FindAllStringSubmatch(string(text), -1), func(h []string) bool { return anchor(h[1]) == fragment }) {
				t.Errorf("%s links to %s, which has no such heading", p.name, m[1])
			}
		}
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, name := range pages {
		if !linked[filepath.ToSlash(name)] {
			t.Errorf("no document links to %s", name)
		}
	}
}

// TestReadmeCommands keeps the two commands a newcomer copies: the same ones
// that .ci/run calls.
func TestReadmeCommands(t *testing.T) {
	readme := documents(t, "README.md")[0]
	var lines []string
	for _, b := range readme.blocks {
		if b.info == "sh" {
			for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
				command, _, _ := strings.Cut(line, "#")
				lines = append(lines, strings.TrimSpace(command))
			}
			break
		}
	}
	if want := []string{"go run ./cmd/fettle demo", "go test ./..."}; !slices.Equal(lines, want) {
		t.Errorf("the first commands of the README are %q, want %q", lines, want)
	}
	ci, err := os.ReadFile("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(ci), "\nstage readme go test ./...\n") {
		t.Error(".ci/run does not run the README's test command")
	}
}
