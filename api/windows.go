package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// Windows are the windows and freezes of the configuration.
type Windows interface {
	Windows() []*window.Window
	Window(name string) (*window.Window, error)
}

// Conflicts answers which changes are in each other's way.
type Conflicts interface {
	Conflicts(ctx context.Context, c ops.Change, hops int) ([]window.Conflict, error)
}

// Conflict is another change in the way of one, or the other way round.
type Conflict = window.Conflict

// Resources answers about resources and what they need.
type Resources interface {
	Resource(ctx context.Context, idOrAlias string) (ops.Resource, error)
	Graph(ctx context.Context) (*graph.Graph, error)
	ResourceNames(ctx context.Context, ids []string) (map[string]string, error)
}

// WindowView is a window or freeze with its next opening.
type WindowView struct {
	Name     string          `json:"name"`
	Kind     window.Kind     `json:"kind" doc:"window, freeze or maintenance"`
	Rule     string          `json:"rule" doc:"when it opens, as it was written"`
	TimeZone string          `json:"time_zone"`
	Applies  string          `json:"applies,omitempty"`
	Open     *ops.Occurrence `json:"open,omitempty" doc:"the opening that is open now"`
	Next     *ops.Occurrence `json:"next,omitempty" doc:"absent when it opens no more"`
}

// GraphView is what a resource needs and what needs it.
type GraphView struct {
	Resource     ops.Resource `json:"resource"`
	Dependencies []GraphNode  `json:"dependencies" doc:"what it needs, nearest first"`
	Dependents   []GraphNode  `json:"dependents" doc:"what needs it: its blast radius, nearest first"`
	Edges        []graph.Edge `json:"edges" doc:"among all of these, with who says so"`
}

// GraphNode is a resource that was reached.
type GraphNode struct {
	graph.Node
	Name string `json:"name"`
}

// ByWindow names a window or freeze in a path.
type ByWindow struct {
	Name string `path:"name" doc:"name of the window or freeze"`
}

type occurrenceQuery struct {
	ByWindow
	From  time.Time `query:"from" doc:"RFC 3339; default now"`
	Count int       `query:"count" minimum:"1" maximum:"1000" default:"50" doc:"how many at most"`
}

type conflictQuery struct {
	ByID
	Hops int `query:"hops" minimum:"0" maximum:"5" default:"1" doc:"how many edges of the graph may lie between the resources; 0: the same resource only"`
}

type graphQuery struct {
	ID    string `path:"id" doc:"id or alias, such as host:web-1"`
	Depth int    `query:"depth" minimum:"1" maximum:"20" default:"3" doc:"how many edges away"`
}

func (a *API) windowRoutes() {
	op(a, http.MethodGet, "/windows", "list-windows", "List windows and freezes with their next opening", ops.MayRead,
		func(context.Context, ops.Principal, *none) (List[WindowView], error) {
			now := a.Clock()
			items := []WindowView{}
			for _, w := range a.Windows.Windows() {
				items = append(items, windowView(w, now))
			}
			return newList(items, 0, nil), nil
		})
	op(a, http.MethodGet, "/windows/{name}/occurrences", "list-occurrences", "The next openings of a window or freeze", ops.MayRead,
		func(_ context.Context, _ ops.Principal, in *occurrenceQuery) (List[ops.Occurrence], error) {
			w, err := a.Windows.Window(in.Name)
			if err != nil {
				return List[ops.Occurrence]{}, err
			}
			from := in.From
			if from.IsZero() {
				from = a.Clock()
			}
			found, _ := w.Between(from, window.Forever, in.Count)
			return newList(append([]ops.Occurrence{}, found...), 0, nil), nil
		})
	op(a, http.MethodGet, "/changes/{id}/conflicts", "list-conflicts", "Which changes may run at the same time on the same resource or a connected one", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, in *conflictQuery) (List[window.Conflict], error) {
			c, err := a.Changes.Change(ctx, in.ID)
			if err != nil {
				return List[window.Conflict]{}, err
			}
			found, err := a.Conflicts.Conflicts(ctx, c, in.Hops)
			return newList(append([]window.Conflict{}, found...), 0, nil), err
		})
	op(a, http.MethodGet, "/resources/{id}/graph", "get-resource-graph", "What a resource needs and what needs it", ops.MayRead, a.graph)
	a.calendars()
}

func windowView(w *window.Window, now time.Time) WindowView {
	v := WindowView{Name: w.Name, Kind: w.Kind(), Rule: w.Rule(), TimeZone: w.Zone().String(), Applies: w.Applies}
	if o, open := w.At(now); open {
		v.Open = &o
	}
	if next := w.Next(now, 1); len(next) == 1 {
		v.Next = &next[0]
	}
	return v
}

func (a *API) graph(ctx context.Context, _ ops.Principal, in *graphQuery) (GraphView, error) {
	var v GraphView
	var err error
	if v.Resource, err = a.Resources.Resource(ctx, in.ID); err != nil {
		return v, err
	}
	g, err := a.Resources.Graph(ctx)
	if err != nil {
		return v, err
	}
	needs, needed := g.Dependencies(v.Resource.ID, in.Depth), g.Dependents(v.Resource.ID, in.Depth)
	shown := map[string]bool{v.Resource.ID: true}
	var ids []string
	for _, n := range append(append([]graph.Node{}, needs...), needed...) {
		shown[n.ID] = true
		ids = append(ids, n.ID)
	}
	names, err := a.Resources.ResourceNames(ctx, ids)
	if err != nil {
		return v, err
	}
	named := func(nodes []graph.Node) []GraphNode {
		out := []GraphNode{}
		for _, n := range nodes {
			out = append(out, GraphNode{n, names[n.ID]})
		}
		return out
	}
	v.Dependencies, v.Dependents, v.Edges = named(needs), named(needed), []graph.Edge{}
	for _, e := range g.Edges() {
		if shown[e.From] && shown[e.To] {
			v.Edges = append(v.Edges, e)
		}
	}
	return v, nil
}

// calendars serves windows the way calendar programs subscribe to them.
func (a *API) calendars() {
	type answer struct {
		ContentType string `header:"Content-Type"`
		Disposition string `header:"Content-Disposition"`
		Body        []byte
	}
	serve := func(path, id, summary string, pick func(name string) ([]*window.Window, error)) {
		huma.Register(a.huma, huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: "/api/v1" + path, Summary: summary, Errors: problems(),
			Responses: map[string]*huma.Response{"200": {Description: "iCalendar (RFC 5545): every opening of twelve months in UTC", Content: map[string]*huma.MediaType{"text/calendar": {}}}},
		}, func(ctx context.Context, in *struct {
			Name string `query:"name" doc:"only the window or freeze of this name; default all"`
		},
		) (*answer, error) {
			if err := caller(ctx).Require(ops.MayRead); err != nil {
				return nil, a.fail(ctx, id, err)
			}
			picked, err := pick(in.Name)
			if err != nil {
				return nil, a.fail(ctx, id, err)
			}
			now := a.Clock()
			b, err := window.Calendar("Fettle windows", picked, now, now)
			if err != nil {
				return nil, a.fail(ctx, id, err)
			}
			return &answer{ContentType: "text/calendar; charset=utf-8", Disposition: `attachment; filename="windows.ics"`, Body: b}, nil
		})
	}
	serve("/windows.ics", "get-calendar", "All windows and freezes as a calendar", func(name string) ([]*window.Window, error) {
		if name == "" {
			return a.Windows.Windows(), nil
		}
		w, err := a.Windows.Window(name)
		return []*window.Window{w}, err
	})
	// A path segment cannot end after a parameter, so the file is the parameter.
	type fileQuery struct {
		File string `path:"file" doc:"name of the window or freeze, followed by .ics"`
	}
	huma.Register(a.huma, huma.Operation{
		OperationID: "get-window-calendar", Method: http.MethodGet, Path: "/api/v1/windows/{file}", Summary: "One window or freeze as a calendar", Errors: problems(),
		Responses: map[string]*huma.Response{"200": {Description: "iCalendar (RFC 5545): every opening of twelve months in UTC", Content: map[string]*huma.MediaType{"text/calendar": {}}}},
	}, func(ctx context.Context, in *fileQuery) (*answer, error) {
		if err := caller(ctx).Require(ops.MayRead); err != nil {
			return nil, a.fail(ctx, "get-window-calendar", err)
		}
		name, ok := strings.CutSuffix(in.File, ".ics")
		if !ok {
			return nil, a.fail(ctx, "get-window-calendar", fmt.Errorf("there is no file %q; write NAME.ics: %w", in.File, ops.ErrNotFound))
		}
		w, err := a.Windows.Window(name)
		if err != nil {
			return nil, a.fail(ctx, "get-window-calendar", err)
		}
		now := a.Clock()
		b, err := window.Calendar(w.Name, []*window.Window{w}, now, now)
		if err != nil {
			return nil, a.fail(ctx, "get-window-calendar", err)
		}
		return &answer{ContentType: "text/calendar; charset=utf-8", Disposition: `attachment; filename="window.ics"`, Body: b}, nil
	})
}
