package ops

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run ^TestFactTableIsCurrent$ -update .

var update = flag.Bool("update", false, "write docs/facts.md instead of comparing it")

// bodies lists one body of each kind, so that its type can be named.
var bodies = []FactBody{
	IncidentOpenedBody{},
	IncidentGrewBody{},
	IncidentShrankBody{},
	IncidentResolvedBody{},
	IncidentReopenedBody{},
	IncidentMovedBody{},
	IncidentCommentedBody{},
	TicketOpenedBody{},
	TicketUpdatedBody{},
	TicketEditedBody{},
	TicketTroubledBody{},
	TicketDuplicateBody{},
	ApprovalSeenBody{},
	WithdrawalSeenBody{},
	WindowOfferedBody{},
	ChangeRaisedBody{},
	ApprovalRequestedBody{},
	ApprovalGivenBody{},
	ApprovalVoidedBody{},
	ChangeScheduledBody{},
	ChangeWaitingBody{},
	RunStartedBody{},
	RunMovedBody{},
	ChangeEditedBody{},
	PlatformWordVoidBody{},
	WindowTakenBody{},
	BreakGlassAskedBody{},
	GlassBrokenBody{},
	ChangeReviewedBody{},
	ChangeEndedBody{},
	RecommendationMovedBody{},
	NotificationResentBody{},
	PlanMadeBody{},
	PlanFailedBody{},
	PlanMovedBody{},
	RunBeganBody{},
	RunAppliedBody{},
	RunFailedBody{},
	RunRolledBackBody{},
	VerdictGivenBody{},
	ResourceMergedBody{},
	TokenBody{},
	TokenRevokedBody{},
	ConfigLoadedBody{},
	ExecutionSwitchBody{},
	ExecutionResumedBody{},
	BacklogCountedBody{},
}

// TestEachFactHasABodyAndARow keeps the table, the constants and the bodies one list.
func TestEachFactHasABodyAndARow(t *testing.T) {
	var rows, kinds []FactKind
	for _, r := range Facts {
		if slices.Contains(rows, r.Kind) {
			t.Errorf("%s has two rows", r.Kind)
		}
		rows = append(rows, r.Kind)
	}
	for _, b := range bodies {
		if slices.Contains(kinds, b.FactKind()) {
			t.Errorf("%s has two bodies", b.FactKind())
		}
		kinds = append(kinds, b.FactKind())
	}
	slices.Sort(rows)
	slices.Sort(kinds)
	if !slices.Equal(rows, kinds) {
		t.Errorf("the table has rows for\n%v\nand there are bodies of\n%v", rows, kinds)
	}
}

// TestFactTableIsCurrent compares docs/facts.md with Facts, the bodies and the
// commands, and the comments over them.
func TestFactTableIsCurrent(t *testing.T) {
	const name = "../docs/facts.md"
	want := factTable(t)
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
		t.Errorf("%s is not what ops says; run make generate", name)
	}
}

func factTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`<!-- Code generated from ops/facts.go and ops/command.go by "make generate"; DO NOT EDIT. -->
# Facts and commands

Rooms meet in the store only: a room tells a fact in the transaction that changes its state, and rooms that hear the fact
read it from there, in order. Facts are never rewritten; they are hash-chained per subject and are the audit trail that
` + "`fettle trail`" + ` prints. ` + "`internal/archtest`" + ` fails when a room tells or hears what this table does not list.

| fact | told by | heard by | tells |
|---|---|---|---|
`)
	docs := typeComments(t, "facts.go", "facts_change.go")
	for _, r := range Facts {
		i := slices.IndexFunc(bodies, func(b FactBody) bool { return b.FactKind() == r.Kind })
		if i < 0 {
			t.Fatalf("%s has no body", r.Kind)
		}
		typ := reflect.TypeOf(bodies[i]).Name()
		meaning, ok := strings.CutPrefix(docs[typ], typ+" tells ")
		if !ok || !strings.HasSuffix(meaning, ".") {
			t.Errorf("the comment of %s is %q, want one sentence \"%s tells ...\"", typ, docs[typ], typ)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Kind, rooms(r.Tells), rooms(r.Hears), meaning)
	}
	b.WriteString("\nCommands are orders in the durable queue. Each is carried out at least once, so its handler is idempotent.\n\n| command | carried out by | meaning |\n|---|---|---|\n")
	for _, line := range constComments(t, "command.go", "CommandKind") {
		room, meaning, ok := strings.Cut(line[1], ": ")
		if !ok {
			t.Errorf("the comment of %s is %q, want \"room: meaning\"", line[0], line[1])
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", line[0], room, meaning)
	}
	return b.String()
}

func rooms(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}

func parse(t *testing.T, name string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// typeComments returns the comment of each type of the files, on one line.
func typeComments(t *testing.T, names ...string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		for _, d := range parse(t, name).Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				for _, s := range g.Specs {
					out[s.(*ast.TypeSpec).Name.Name] = strings.Join(strings.Fields(g.Doc.Text()), " ")
				}
			}
		}
	}
	return out
}

// constComments returns name and line comment of each constant of a type.
func constComments(t *testing.T, name, typ string) [][2]string {
	var out [][2]string
	for _, d := range parse(t, name).Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == typ {
				out = append(out, [2]string{v.Names[0].Name, strings.TrimSpace(v.Comment.Text())})
			}
		}
	}
	return out
}
