package servicenow

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/fettleops/fettle/connector"
)

const (
	// journalChunk is how many incidents are asked about at once; more would
	// make an address that servers refuse (2048 characters).
	journalChunk = 30
	journalPage  = 10_000
)

// journals returns the work notes and comments of incidents by their sys_ids,
// oldest first. Where access rules hide the table of journals, they are read
// as people see them.
func (p *platform) journals(ctx context.Context, table string, refs []string, me string) (map[string][]connector.Note, error) {
	out := map[string][]connector.Note{}
	seen := map[string]bool{}
	for offset := 0; ; offset += journalPage {
		got, err := p.c.list(ctx, journalTable, journalQuery(table, refs), view(journalFields), offset, journalPage)
		if lacksRight(err) || got.hidden {
			return p.shownJournals(ctx, table, refs)
		}
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		for _, r := range got.rows {
			ref := r.get("element_id")
			if !slices.Contains(refs, ref) || seen[r.get("sys_id")] {
				continue
			}
			seen[r.get("sys_id")] = true
			n, err := noteIn(r, me)
			if err != nil {
				return nil, err
			}
			out[ref] = append(out[ref], n)
		}
		if !got.more {
			return out, nil
		}
	}
}

func (p *platform) shownJournals(ctx context.Context, table string, refs []string) (map[string][]connector.Note, error) {
	out := map[string][]connector.Note{}
	for _, ref := range refs {
		params := view(shownFields)
		params.Set("sysparm_display_value", "true")
		a, err := p.c.send(ctx, call{method: http.MethodGet, table: table, sysID: ref, query: params})
		if err != nil {
			return nil, err
		}
		r, err := p.c.record(a, connector.Read, http.StatusOK)
		if err != nil {
			return nil, err
		}
		out[ref] = shownNotes(r)
	}
	return out, nil
}
