// Package graph is the one graph of resources: what needs what, as the
// configuration, CloudFormation stacks and Terraform states say it. Conflicts
// of changes, blast radius and order are read off it. Everything here is pure.
package graph

import (
	"cmp"
	"maps"
	"slices"
)

// Edge says that the resource From needs the resource To. Both are resource
// ids. Source is who says so: config, cloudformation:<stack> or
// terraform:<state>.
type Edge struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Source string `json:"source"`
}

// Graph is a set of edges. It is immutable, and the zero value is empty.
type Graph struct {
	edges  []Edge
	needs  map[string][]string // by what needs
	needed map[string][]string // by what is needed
}

// New makes a graph. An edge from a resource to itself says nothing and is left
// out; what several sources say counts once.
func New(edges []Edge) *Graph {
	g := &Graph{needs: map[string][]string{}, needed: map[string][]string{}}
	for _, e := range edges {
		if e.From != "" && e.To != "" && e.From != e.To {
			g.edges = append(g.edges, e)
		}
	}
	slices.SortFunc(g.edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Source, b.Source))
	})
	g.edges = slices.Compact(g.edges)
	for i, e := range g.edges {
		if i > 0 && g.edges[i-1].From == e.From && g.edges[i-1].To == e.To {
			continue
		}
		g.needs[e.From] = append(g.needs[e.From], e.To)
		g.needed[e.To] = append(g.needed[e.To], e.From)
	}
	return g
}

// Edges returns all edges, sorted.
func (g *Graph) Edges() []Edge { return slices.Clone(g.edges) }

// Node is a resource that was reached from another one.
type Node struct {
	ID    string `json:"id"`
	Depth int    `json:"depth"` // edges from where the walk began
	Via   string `json:"via"`   // the resource before it on a shortest way
}

// Dependencies returns what a resource needs, over at most so many edges,
// nearest first and then by id. It is not among them, even in a cycle.
func (g *Graph) Dependencies(id string, depth int) []Node { return walk(id, depth, next(g.needs)) }

// Dependents returns what needs a resource, over at most so many edges: its
// blast radius.
func (g *Graph) Dependents(id string, depth int) []Node { return walk(id, depth, next(g.needed)) }

// Near returns what is connected with a resource in either direction, over at
// most so many edges.
func (g *Graph) Near(id string, depth int) []Node { return walk(id, depth, g.either) }

func next(of map[string][]string) func(string) []string {
	return func(id string) []string { return of[id] }
}

func (g *Graph) either(id string) []string {
	return append(slices.Clone(g.needs[id]), g.needed[id]...)
}

func walk(from string, depth int, next func(string) []string) []Node {
	var out []Node
	seen := map[string]bool{from: true}
	ring := []string{from}
	for d := 1; d <= depth && len(ring) > 0; d++ {
		var found []Node
		for _, id := range ring {
			for _, other := range next(id) {
				if !seen[other] {
					seen[other] = true
					found = append(found, Node{other, d, id})
				}
			}
		}
		slices.SortFunc(found, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
		ring = ring[:0:0]
		for _, n := range found {
			ring = append(ring, n.ID)
		}
		out = append(out, found...)
	}
	return out
}

// Way returns a shortest way between two resources, both included, whichever
// direction the edges have; false when there is none of at most so many edges.
// A resource is connected with itself over none.
func (g *Graph) Way(a, b string, hops int) ([]string, bool) {
	if a == b {
		return []string{a}, a != ""
	}
	via := map[string]string{}
	for _, n := range g.Near(a, hops) {
		via[n.ID] = n.Via
		if n.ID != b {
			continue
		}
		way := []string{b}
		for at := b; at != a; {
			at = via[at]
			way = append(way, at)
		}
		slices.Reverse(way)
		return way, true
	}
	return nil, false
}

// Order returns the given resources so that each comes after what it needs,
// even where what lies between is not given. Resources that need each other
// in a circle cannot be ordered: they stand together, by id, and each circle,
// with what in it was not given, is returned as well. Where the order is free
// it goes by id.
func (g *Graph) Order(ids []string) (order []string, circles [][]string) {
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	roots := slices.Sorted(maps.Keys(wanted))
	// Tarjan, SIAM J. Comput. 1(2), 1972: components come out with what they
	// need before them. The stack is our own, because a graph may be deep.
	index, low, on := map[string]int{}, map[string]int{}, map[string]bool{}
	var stack []string
	type frame struct {
		id   string
		next int
	}
	for _, root := range roots {
		if _, seen := index[root]; seen {
			continue
		}
		calls := []frame{{id: root}}
		for len(calls) > 0 {
			f := &calls[len(calls)-1]
			if _, seen := index[f.id]; !seen {
				index[f.id] = len(index)
				low[f.id] = index[f.id]
				stack, on[f.id] = append(stack, f.id), true
			}
			if f.next < len(g.needs[f.id]) {
				other := g.needs[f.id][f.next]
				f.next++
				if _, seen := index[other]; !seen {
					calls = append(calls, frame{id: other})
				} else if on[other] {
					low[f.id] = min(low[f.id], index[other])
				}
				continue
			}
			done := *f
			calls = calls[:len(calls)-1]
			if len(calls) > 0 {
				caller := calls[len(calls)-1].id
				low[caller] = min(low[caller], low[done.id])
			}
			if low[done.id] != index[done.id] {
				continue
			}
			at := slices.Index(stack, done.id)
			component := slices.Clone(stack[at:])
			stack = stack[:at]
			slices.Sort(component)
			for _, id := range component {
				on[id] = false
				if wanted[id] {
					order = append(order, id)
				}
			}
			if len(component) > 1 {
				circles = append(circles, component)
			}
		}
	}
	return order, circles
}
