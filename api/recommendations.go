package api

import (
	"context"
	"net/http"

	"github.com/fettleops/fettle/ops"
)

// Recommendations answers about optimisation recommendations.
type Recommendations interface {
	Recommendations(ctx context.Context, f ops.RecommendationFilter) ([]ops.Recommendation, error)
	Recommendation(ctx context.Context, idOrKey string) (ops.Recommendation, error)
	RecommendationTotals(ctx context.Context) ([]ops.RecommendationTotals, error)
}

// Dismisser is what people do to recommendations.
type Dismisser interface {
	Dismiss(ctx context.Context, by ops.Principal, idOrKey, reason, via string) (ops.Recommendation, error)
}

// RecommendationView is a recommendation. In a list it comes without the entry
// its producer sent.
type RecommendationView struct {
	ops.Recommendation
	Key string `json:"key" doc:"the number people use, REC-42"`
}

type recommendationQuery struct {
	Page
	State    []string `query:"state" doc:"states, comma separated: new, placed, unplaced, superseded, done, withdrawn"`
	Service  string   `query:"service" doc:"ec2, rds or asg"`
	Kind     string   `query:"kind" doc:"the producer's word, such as Downsize"`
	Resource string   `query:"resource" doc:"id of the resource"`
	Change   string   `query:"change" doc:"id of the change that carries it"`
	Text     string   `query:"q" doc:"part of the key, name, resource, stack or reason"`
}

// ByRecommendation names a recommendation in the path.
type ByRecommendation struct {
	ID string `path:"id" doc:"id or number (REC-42)"`
}

type dismissInput struct {
	ByRecommendation
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"4000"`
		Via    string `json:"via,omitempty" enum:"api,cli" default:"api"`
	}
}

func (a *API) recommendationRoutes() {
	op(a, http.MethodGet, "/recommendations", "list-recommendations", "List recommendations with why each is placed or not, newest first", ops.MayRead, a.listRecommendations)
	op(a, http.MethodGet, "/recommendations/{id}", "get-recommendation", "Show a recommendation as its producer sent it, and what became of it", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, in *ByRecommendation) (RecommendationView, error) {
			r, err := a.Recommendations.Recommendation(ctx, in.ID)
			return RecommendationView{r, r.Key()}, err
		})
	op(a, http.MethodPost, "/recommendations/{id}/dismiss", "dismiss-recommendation", "Withdraw a recommendation, with its change if that has not begun", ops.MayRead,
		func(ctx context.Context, by ops.Principal, in *dismissInput) (RecommendationView, error) {
			r, err := a.Dismisser.Dismiss(ctx, by, in.ID, in.Body.Reason, in.Body.Via)
			return RecommendationView{r, r.Key()}, err
		})
	op(a, http.MethodGet, "/analytics/savings", "get-savings", "Predicted and realised saving per kind of recommendation", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, _ *none) (List[ops.RecommendationTotals], error) {
			items, err := a.Recommendations.RecommendationTotals(ctx)
			return newList(items, 0, nil), err
		})
}

func (a *API) listRecommendations(ctx context.Context, _ ops.Principal, in *recommendationQuery) (List[RecommendationView], error) {
	f := ops.RecommendationFilter{Service: in.Service, Kind: in.Kind, Resource: in.Resource, Change: in.Change, Text: in.Text, Limit: in.Limit}
	var err error
	if f.States, err = words(in.State, ops.ParseRecommendationState); err != nil {
		return List[RecommendationView]{}, err
	}
	if f.Before, err = in.before(); err != nil {
		return List[RecommendationView]{}, err
	}
	found, err := a.Recommendations.Recommendations(ctx, f)
	items := make([]RecommendationView, len(found))
	for i, r := range found {
		r.Raw = nil
		items[i] = RecommendationView{r, r.Key()}
	}
	return newList(items, in.Limit, func(r RecommendationView) int64 { return r.Number }), err
}
