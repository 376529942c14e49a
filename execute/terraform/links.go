package terraform

import (
	"context"
	"fmt"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

var _ execute.Linker = (*Executor)(nil)

// Links implements execute.Linker by the state of the plan's configuration.
func (x *Executor) Links(ctx context.Context, p ops.Plan) (source string, links []graph.Link, err error) {
	digest := p.Inputs[inputFiles]
	if err := x.present(digest); err != nil {
		return "", nil, err
	}
	a, err := x.call(ctx, x.root(digest), "show", "-json")
	if err != nil {
		return "", nil, err
	}
	if a.code != 0 {
		return "", nil, fmt.Errorf("terraform: show the state: %s: %w", x.env.Redact(brief(a.stderr.String())), ops.ErrUnavailable)
	}
	links, err = graph.FromTerraform(x.env.Name, a.stdout.Bytes())
	return graph.StateSource(x.env.Name), links, err
}
