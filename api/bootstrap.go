package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/ops"
)

// Bootstraps teaches the models of a group a past that is kept elsewhere.
type Bootstraps interface {
	Group(ctx context.Context, name string) (detect.GroupState, error)
	BeginBootstrap(ctx context.Context, group, source string, replace bool) (b ops.Bootstrap, resumed bool, err error)
	LearnPast(ctx context.Context, id string, from, to time.Time, batch []byte) (detect.Taken, error)
	EndBootstrap(ctx context.Context, id string) (ops.Bootstrap, error)
}

// GroupView is a group of features and how far its models are.
type GroupView struct {
	Name     string   `json:"name"`
	Step     string   `json:"step" doc:"distance of its points, such as 1m0s"`
	Detector string   `json:"detector"`
	Features []string `json:"features"`
	Metrics  []string `json:"metrics" doc:"names of the metrics its features read"`
	Unnamed  bool     `json:"unnamed,omitempty" doc:"some feature reads metrics of any name"`
	Entities int      `json:"entities" doc:"that have a model"`
	Ready    int      `json:"ready" doc:"of them, those that have learned enough"`
}

// BootstrapView is a bootstrap.
type BootstrapView struct {
	ops.Bootstrap
	Resumed bool `json:"resumed,omitempty" doc:"it was begun before and goes on after covered"`
}

// Taken is what became of a part of a past.
type Taken = detect.Taken

// maxPart bounds the body of a part of a past.
const maxPart = 32 << 20

// ByGroup names a group in the path.
type ByGroup struct {
	Name string `path:"name" doc:"name of the group in detect.groups"`
}

type beginInput struct {
	ByGroup
	Body struct {
		Source  string `json:"source" minLength:"1" maxLength:"1000" doc:"where the past is kept, without credentials; the same source goes on where it was left"`
		Replace bool   `json:"replace,omitempty" doc:"models that have learned enough learn anew, too"`
	}
}

// ByBootstrap names a bootstrap in the path.
type ByBootstrap struct {
	ID string `path:"id" doc:"id of the bootstrap"`
}

type partInput struct {
	ByBootstrap
	From    time.Time `query:"from" required:"true" doc:"RFC 3339; no sample of the part is before it"`
	To      time.Time `query:"to" required:"true" doc:"RFC 3339; all samples of the part are before it"`
	RawBody []byte    `contentType:"application/vnd.fettle.samples" doc:"what Batch of Fettle's package series writes"`
}

func (a *API) bootstrapRoutes() {
	op(a, http.MethodGet, "/groups/{name}", "get-group", "Show a group of features and how far its models are", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, in *ByGroup) (GroupView, error) {
			g, err := a.Bootstraps.Group(ctx, in.Name)
			return groupView(g), err
		})
	op(a, http.MethodPost, "/groups/{name}/bootstraps", "begin-bootstrap", "Begin to teach the models of a group their past, or go on with it", ops.MayAdminister,
		func(ctx context.Context, _ ops.Principal, in *beginInput) (BootstrapView, error) {
			b, resumed, err := a.Bootstraps.BeginBootstrap(ctx, in.Name, in.Body.Source, in.Body.Replace)
			return BootstrapView{b, resumed}, err
		})
	op(a, http.MethodPost, "/bootstraps/{id}/end", "end-bootstrap", "Say that a past is complete: its models go on with what comes live", ops.MayAdminister,
		func(ctx context.Context, _ ops.Principal, in *ByBootstrap) (BootstrapView, error) {
			b, err := a.Bootstraps.EndBootstrap(ctx, in.ID)
			return BootstrapView{Bootstrap: b}, err
		})
	huma.Register(a.huma, huma.Operation{
		OperationID: "teach-bootstrap", Method: http.MethodPut, Path: "/api/v1/bootstraps/{id}/parts", Summary: "Teach a part of a past: the samples of a span, in the order of time",
		Errors: append(problems(), http.StatusRequestEntityTooLarge), MaxBodyBytes: maxPart, BodyReadTimeout: time.Minute,
	}, func(ctx context.Context, in *partInput) (*body[detect.Taken], error) {
		if err := caller(ctx).Require(ops.MayAdminister); err != nil {
			return nil, a.fail(ctx, "teach-bootstrap", err)
		}
		out, err := a.Bootstraps.LearnPast(ctx, in.ID, in.From, in.To, in.RawBody)
		if err != nil {
			return nil, a.fail(ctx, "teach-bootstrap", err)
		}
		return &body[detect.Taken]{out}, nil
	})
}

func groupView(g detect.GroupState) GroupView {
	v := GroupView{Name: g.Name, Step: g.Settings.Step.String(), Detector: g.Detector, Metrics: append([]string{}, g.Metrics...), Unnamed: g.Unnamed, Entities: g.Entities, Ready: g.Ready, Features: []string{}}
	for _, f := range g.Features {
		v.Features = append(v.Features, f.Name)
	}
	return v
}
