package servicenow

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/fettleops/fettle/connector"
)

// Files implements connector.Attacher.
func (p *platform) Files(ctx context.Context, ref string) ([]string, error) {
	table, id := incidentTable, ref
	if change, ok := changeRef(ref); ok {
		table, id = changeTable, change
	}
	if !idPattern.MatchString(id) {
		return nil, notFound(ref)
	}
	q := view([]string{"sys_id", "file_name", "table_sys_id"})
	q.Set("sysparm_query", "table_name="+table+"^table_sys_id="+id)
	a, err := p.c.send(ctx, call{method: http.MethodGet, path: "/api/now/attachment", query: q, effect: connector.Read})
	if err != nil {
		return nil, err
	}
	if err := p.c.failure(a, connector.Read, http.StatusOK); err != nil {
		return nil, fmt.Errorf("attachments: %w", err)
	}
	rows, err := result[[]row](a, connector.Read)
	var out []string
	for _, r := range rows {
		if r.get("table_sys_id") == id {
			out = append(out, r.get("file_name"))
		}
	}
	slices.Sort(out)
	return out, err
}

// Attach implements connector.Attacher.
func (p *platform) Attach(ctx context.Context, ref string, f connector.File) error {
	there, err := p.Files(ctx, ref)
	if err != nil || slices.Contains(there, f.Name) {
		return err
	}
	table, id := incidentTable, ref
	if change, ok := changeRef(ref); ok {
		table, id = changeTable, change
	}
	q := url.Values{"table_name": {table}, "table_sys_id": {id}, "file_name": {f.Name}}
	a, err := p.c.send(ctx, call{method: http.MethodPost, path: "/api/now/attachment/file", query: q, raw: f.Content, rawType: f.Type, effect: connector.Once})
	if err != nil {
		return err
	}
	return p.c.failure(a, connector.Once, http.StatusCreated)
}
