package archtest

import (
	"fmt"
	"strings"
)

// FloorPlan renders the table as Markdown, for docs/floorplan.md.
func FloorPlan() string {
	var b strings.Builder
	b.WriteString(`<!-- Code generated from internal/archtest/rooms.go by "make generate"; DO NOT EDIT. -->
# Floor plan

Each row is a folder, or a kind of folder: ` + "`*`" + ` stands for one name, ` + "`/...`" + ` for everything below. A package may import
what its row lists and packages of its own row and name, besides the standard library and third parties.
` + "`internal/archtest`" + ` fails, with the reason, on any other import.

| folder | purpose | may import |
|---|---|---|
`)
	for _, r := range Rooms() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Path, r.Purpose, mayColumn(r))
	}
	b.WriteString("\n## Why\n\n")
	reasons := make(map[string][]string)
	var order []string
	for _, r := range Rooms() {
		if r.Why == "" {
			continue
		}
		if reasons[r.Why] == nil {
			order = append(order, r.Why)
		}
		reasons[r.Why] = append(reasons[r.Why], "`"+r.Path+"`")
	}
	for _, why := range order {
		fmt.Fprintf(&b, "- %s: %s.\n", strings.Join(reasons[why], ", "), why)
	}
	b.WriteString("\n## Foreign modules with one home\n\n")
	for _, r := range reserved {
		fmt.Fprintf(&b, "- `%s` only in `%s`: %s.\n", r.prefix, r.home, r.why)
	}
	fmt.Fprintf(&b, `
## Tests

Tests and test kits (`+"`<room>/<room>test`, `%s`"+`) may add: `+"`%s`"+` and every test kit. Tests of `+"`ops`, the kernels and `internal`"+`
add `+"`internal/...`"+` only. No other code links a test kit. Simulators are started by `+"`app`, `cli`, `test`, `bench`"+` and tests only.
`, strings.Join(kits, "`, `"), strings.Join(testMay, "`, `"))
	return b.String()
}

func mayColumn(r Room) string {
	var limits []string
	if r.StdlibOnly {
		limits = append(limits, "standard library only")
	}
	if len(r.Deny) > 0 {
		limits = append(limits, "not `"+strings.Join(r.Deny, "` `")+"`")
	}
	may := "nothing of ours"
	if len(r.May) == 1 && r.May[0] == "..." {
		may = "everything"
	} else if len(r.May) > 0 {
		may = "`" + strings.Join(r.May, "` `") + "`"
	}
	return strings.Join(append([]string{may}, limits...), "; ")
}
