package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

var graphRules = []rule{
	{"a source replaces its own edges", "what a stack no longer says must not order, block or blame anything, and what others say must stay", replacesEdges},
	{"declared resources take discovered ones in", "a database that alerts named before somebody wrote it down would otherwise be two things, each half known", declaresResources},
	{"a merge carries edges over", "a dependency on a name that is gone protects nothing", mergesEdges},
}

func (h *house) link(source string, pairs ...string) {
	h.t.Helper()
	var links []graph.Link
	for i := 0; i < len(pairs); i += 2 {
		links = append(links, graph.Link{From: ref(pairs[i]), To: ref(pairs[i+1])})
	}
	h.write(func(tx db.Tx) error { return h.store.ReplaceEdges(h.ctx, tx, source, links) })
}

// drawn returns the edges by the first alias of each end.
func (h *house) drawn() []string {
	h.t.Helper()
	g, err := h.store.Graph(h.ctx)
	must(h.t, err)
	var out []string
	for _, e := range g.Edges() {
		from, err := h.store.Resource(h.ctx, e.From)
		must(h.t, err)
		to, err := h.store.Resource(h.ctx, e.To)
		must(h.t, err)
		out = append(out, fmt.Sprintf("%s %s>%s", e.Source, from.Aliases[0], to.Aliases[0]))
	}
	slices.Sort(out)
	return out
}

func (h *house) wantEdges(want ...string) {
	h.t.Helper()
	if got := h.drawn(); !slices.Equal(got, want) {
		h.t.Errorf("edges %q, want %q", got, want)
	}
}

func replacesEdges(t *testing.T, h *house) {
	h.link("terraform:a", "host:web", "host:db", "host:db", "host:disk", "host:web", "host:web")
	h.link("cloudformation:b", "host:web", "host:db", "host:batch", "host:db")
	h.wantEdges("cloudformation:b host:batch>host:db", "cloudformation:b host:web>host:db", "terraform:a host:db>host:disk", "terraform:a host:web>host:db")
	h.link("terraform:a", "host:db", "host:disk")
	h.link("terraform:a", "host:db", "host:disk")
	h.wantEdges("cloudformation:b host:batch>host:db", "cloudformation:b host:web>host:db", "terraform:a host:db>host:disk")
	web, db1 := h.resolve(ref("host:web"))[0], h.resolve(ref("host:db"))[0]
	got, err := h.store.Resource(h.ctx, web)
	if err != nil || !slices.Equal(got.DependsOn, []string{db1}) {
		t.Errorf("web needs %v, %v", got.DependsOn, err)
	}
	near := func(hops int) int {
		g, err := h.store.GraphNear(h.ctx, h.db.Read(), web, hops)
		must(t, err)
		return len(g.Edges())
	}
	if near(0) != 0 || near(1) != 1 || near(2) != 3 || near(9) != 3 {
		t.Errorf("near web are %d, %d, %d and %d edges", near(0), near(1), near(2), near(9))
	}
	reaches := func(name string, f func(context.Context, string) ([]string, error), from string, want ...string) {
		t.Helper()
		got, err := f(h.ctx, from)
		if slices.Sort(want); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s %s: %v, %v, want %v", from, name, got, err, want)
		}
	}
	disk, batch := h.resolve(ref("host:disk"))[0], h.resolve(ref("host:batch"))[0]
	reaches("needs", h.store.Needs, web, db1, disk)
	reaches("needs", h.store.Needs, disk)
	reaches("is needed by", h.store.NeededBy, disk, db1, web, batch)
	h.link("terraform:circle", "host:disk", "host:web")
	reaches("needs", h.store.Needs, web, db1, disk)
	reaches("is needed by", h.store.NeededBy, web, db1, disk, batch)
	h.link("terraform:circle")
	names, err := h.store.ResourceNames(h.ctx, []string{web, "none"})
	if err != nil || len(names) != 1 || names[web] != "web" {
		t.Errorf("names %v, %v", names, err)
	}
	err = h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.ReplaceEdges(h.ctx, tx, "", nil) })
	wantClass(t, "a source without a name", err, ops.ErrInvalid)
	h.link("cloudformation:b")
	h.link("terraform:a")
	h.wantEdges()
}

func (h *house) declare(in ...ops.Resource) {
	h.t.Helper()
	h.write(func(tx db.Tx) error { return h.store.DeclareResources(h.ctx, tx, ops.SystemPrincipal, in) })
}

func declaresResources(t *testing.T, h *house) {
	found := h.resolve(ref("arn:db", "host:db-1"))[0]
	h.link("terraform:a", "host:web", "host:db-1")
	net := ops.Resource{ID: "net", Kind: "network", Aliases: []string{"arn:net"}}
	db1 := ops.Resource{ID: "shop-db", Kind: "database", Aliases: []string{"arn:db"}, Labels: map[string]string{"env": "prod"}, DependsOn: []string{"net"}}
	for range 2 { // every start declares them again
		h.declare(net, db1)
	}
	got, err := h.store.Resource(h.ctx, "host:db-1")
	if err != nil || got.ID != "shop-db" || got.Name != "shop-db" || got.Kind != "database" || got.Labels["env"] != "prod" || !slices.Equal(got.DependsOn, []string{"net"}) {
		t.Errorf("the declared database is %+v, %v", got, err)
	}
	if got, err = h.store.Resource(h.ctx, found); err != nil || got.ID != "shop-db" {
		t.Errorf("its old id leads to %q, %v", got.ID, err)
	}
	h.wantEdges("config arn:db>arn:net", "terraform:a host:web>arn:db")
	db1.DependsOn, db1.Aliases, net.Aliases = nil, []string{"arn:db", "arn:net"}, []string{"arn:net2"}
	h.declare(net, db1)
	if got, err = h.store.Resource(h.ctx, "arn:net"); err != nil || got.ID != "shop-db" {
		t.Errorf("an alias that moved in the configuration leads to %q, %v", got.ID, err)
	}
	h.wantEdges("terraform:a host:web>arn:db")
}

func mergesEdges(t *testing.T, h *house) {
	h.link("terraform:a", "host:web", "host:db-a", "host:db-b", "host:disk", "host:db-a", "host:db-b", "host:web", "host:db-b")
	keep, merge := h.resolve(ref("host:db-a"))[0], h.resolve(ref("host:db-b"))[0]
	h.write(func(tx db.Tx) error {
		return h.store.MergeResources(h.ctx, tx, ops.SystemPrincipal, keep, merge, "same")
	})
	h.wantEdges("terraform:a host:db-a>host:disk", "terraform:a host:web>host:db-a")
}
