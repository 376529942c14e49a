package execute_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/dryrun"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// linking is an executor that knows what its resources need, or does not get to
// know it.
type linking struct {
	execute.Executor
	links []graph.Link
	fails error
	panic bool
}

func (l *linking) Links(context.Context, ops.Plan) (string, []graph.Link, error) {
	if l.panic {
		panic("a defect")
	}
	return "terraform:shop", l.links, l.fails
}

// What a planning learns of the resources is known with its plan. Not learning
// it keeps what was known, and no plan from being made.
func TestPlanningLearnsWhatResourcesNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dryrun.Config{})
		defer h.close()
		named := func(name string) ops.ResourceRef {
			return ops.ResourceRef{Kind: "test", Name: name, Aliases: []string{"test:" + name}}
		}
		x := &linking{Executor: h.opts.Executors["rehearsal"], links: []graph.Link{{From: named("web"), To: named("db")}}}
		h.opts.Executors["rehearsal"], h.opts.Edges = x, h.store
		h.reopen()
		needs := func(step string) {
			t.Helper()
			web, err := h.store.Resource(t.Context(), "test:web")
			if err != nil {
				t.Fatal(err)
			}
			db, err := h.store.Resource(t.Context(), "test:db")
			if err != nil {
				t.Fatal(err)
			}
			if len(web.DependsOn) != 1 || web.DependsOn[0] != db.ID {
				t.Errorf("%s: web needs %v, want %s", step, web.DependsOn, db.ID)
			}
		}
		h.propose("c1")
		needs("learned")
		x.fails = errors.New("the tool does not answer")
		h.propose("c2")
		needs("not learned")
		x.panic = true
		h.propose("c3")
		needs("panicked")
	})
}
