package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/ops"
)

// Senses answers what detection watches and what it saw.
type Senses interface {
	Series(ctx context.Context, f ops.WatchedFilter) (page []ops.Watched, total int, err error)
	View(ctx context.Context, id string, from, to time.Time) (detect.View, error)
	Anomalies(ctx context.Context, f ops.AnomalyFilter) ([]ops.Anomaly, error)
	Anomaly(ctx context.Context, id string) (detect.Finding, error)
}

// SeriesSummary is a watched entity in a list.
type SeriesSummary struct {
	ops.Watched
	State    ops.WatchedState `json:"state" doc:"learning, normal or anomalous"`
	Progress string           `json:"progress" doc:"the state for people: learning, 41 of 128 points"`
}

// SeriesView is a watched entity over a span of time. The columns are as long
// as at; a value is null where it was not measured or nothing is known.
type SeriesView struct {
	SeriesSummary
	Gone     bool             `json:"gone,omitempty" doc:"it is watched no more; only its anomalies are left"`
	Resource string           `json:"resource,omitempty" doc:"id of the resource it is measured on"`
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	At       []time.Time      `json:"at" doc:"start of each reading, oldest first; by the step of late, by the minute before"`
	Score    []*float64       `json:"score" doc:"how strange, in [0,1], comparable between series"`
	Raw      []*float64       `json:"raw" doc:"the detector's own score"`
	Limit    []*float64       `json:"threshold" doc:"of raw"`
	Grade    []*float64       `json:"grade" doc:"0 as expected, otherwise up to 1"`
	Features []FeatureColumns `json:"features"`

	Anomalies []AnomalyView    `json:"anomalies" doc:"that meet the span, newest first"`
	Changes   []ops.Change     `json:"changes" doc:"of the resource, that ran in the span"`
	Windows   []ops.Occurrence `json:"windows" doc:"of maintenance about the resource, in the span"`
}

// FeatureColumns is a feature over time.
type FeatureColumns struct {
	Name     string     `json:"name"`
	Unit     string     `json:"unit,omitempty"`
	Value    []*float64 `json:"value"`
	Expected []*float64 `json:"expected"`
	Low      []*float64 `json:"low"`
	High     []*float64 `json:"high"`
}

// AnomalyView is an anomaly with the incident it belongs to.
type AnomalyView struct {
	ops.Anomaly
	Incident string `json:"incident,omitempty" doc:"number of the incident, INC-42; absent where none was opened"`
}

type seriesQuery struct {
	Limit  int      `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
	Cursor string   `query:"cursor" doc:"next of the page before; empty for the first"`
	State  []string `query:"state" doc:"learning, normal, anomalous; comma separated"`
	Group  string   `query:"group"`
	Entity string   `query:"entity"`
	Text   string   `query:"q" doc:"part of the group, the entity, a feature or metric it is watched by, or a label: instance=web1:9100"`
}

type anomalyQuery struct {
	Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
	Cursor string    `query:"cursor" doc:"next of the page before; empty for the first"`
	State  []string  `query:"state" doc:"open, over; comma separated"`
	Series string    `query:"series" doc:"id of the series"`
	Group  string    `query:"group"`
	Entity string    `query:"entity"`
	Text   string    `query:"q" doc:"part of the group, the entity or a feature to blame"`
	From   time.Time `query:"from" doc:"RFC 3339; those that go on after it"`
	To     time.Time `query:"to" doc:"RFC 3339; those that begin before it"`
}

// bySeries names a watched entity in the path.
type bySeries struct {
	ID   string    `path:"id" doc:"id, as in the list"`
	From time.Time `query:"from" doc:"RFC 3339; default 24 h before to"`
	To   time.Time `query:"to" doc:"RFC 3339; default now"`
}

type byAnomaly struct {
	ID string `path:"id" doc:"id, as in the list"`
}

func (a *API) senseRoutes() {
	op(a, http.MethodGet, "/series", "list-series", "List watched series, by group and entity", ops.MayRead, a.listSeries)
	op(a, http.MethodGet, "/series/{id}", "get-series", "Show a watched series: readings, anomalies, changes and windows", ops.MayRead, a.series)
	op(a, http.MethodGet, "/anomalies", "list-anomalies", "List anomalies, newest first", ops.MayRead, a.listAnomalies)
	op(a, http.MethodGet, "/anomalies/{id}", "get-anomaly", "Show an anomaly with its incident", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, in *byAnomaly) (AnomalyView, error) {
			f, err := a.Senses.Anomaly(ctx, in.ID)
			return finding(f), err
		})
}

func summary(w ops.Watched) SeriesSummary { return SeriesSummary{w, w.State(), w.Progress()} }

func (a *API) listSeries(ctx context.Context, _ ops.Principal, in *seriesQuery) (List[SeriesSummary], error) {
	f := ops.WatchedFilter{Group: in.Group, Entity: in.Entity, Text: in.Text, After: in.Cursor, Limit: in.Limit}
	out := List[SeriesSummary]{Items: []SeriesSummary{}}
	var err error
	if f.States, err = words(in.State, ops.ParseWatchedState); err != nil {
		return out, err
	}
	found, _, err := a.Senses.Series(ctx, f)
	for _, w := range found {
		out.Items = append(out.Items, summary(w))
	}
	if n := len(found); n > 0 && n == in.Limit {
		out.Next = found[n-1].Cursor()
	}
	return out, err
}

func (a *API) listAnomalies(ctx context.Context, _ ops.Principal, in *anomalyQuery) (List[ops.Anomaly], error) {
	f := ops.AnomalyFilter{Series: in.Series, Group: in.Group, Entity: in.Entity, Text: in.Text, From: in.From, To: in.To, Before: in.Cursor, Limit: in.Limit}
	out := List[ops.Anomaly]{Items: []ops.Anomaly{}}
	var err error
	if f.States, err = words(in.State, ops.ParseAnomalyState); err != nil {
		return out, err
	}
	found, err := a.Senses.Anomalies(ctx, f)
	out.Items = append(out.Items, found...)
	if n := len(found); n > 0 && n == in.Limit {
		out.Next = found[n-1].Cursor()
	}
	return out, err
}

func finding(f detect.Finding) AnomalyView {
	v := AnomalyView{Anomaly: f.Anomaly}
	if f.Incident != nil {
		v.Incident = f.Incident.Key()
	}
	return v
}

func (a *API) series(ctx context.Context, _ ops.Principal, in *bySeries) (SeriesView, error) {
	from, to := in.From, in.To
	if to.IsZero() {
		to = a.Clock().UTC()
	}
	if from.IsZero() {
		from = to.Add(-24 * time.Hour)
	}
	v, err := a.Senses.View(ctx, in.ID, from, to)
	if err != nil {
		return SeriesView{}, err
	}
	n := len(v.Readings)
	out := SeriesView{
		SeriesSummary: summary(v.Watched), Gone: v.Gone, Resource: v.Resource.ID, From: v.From, To: v.To,
		At: make([]time.Time, n), Features: make([]FeatureColumns, len(v.Features)),
		Anomalies: make([]AnomalyView, len(v.Findings)), Changes: append([]ops.Change{}, v.Changes...), Windows: append([]ops.Occurrence{}, v.Windows...),
	}
	column := func(value func(r *detect.Reading) float32) []*float64 {
		c := make([]*float64, n)
		for i := range v.Readings {
			if x := detect.Widen(value(&v.Readings[i])); !math.IsNaN(x) && !math.IsInf(x, 0) {
				c[i] = &x
			}
		}
		return c
	}
	for i := range v.Readings {
		out.At[i] = time.UnixMilli(v.Readings[i].At).UTC()
	}
	out.Score = column(func(r *detect.Reading) float32 { return r.Score })
	out.Raw = column(func(r *detect.Reading) float32 { return r.Raw })
	out.Limit = column(func(r *detect.Reading) float32 { return r.Threshold })
	out.Grade = column(func(r *detect.Reading) float32 { return r.Grade })
	for k, f := range v.Features {
		out.Features[k] = FeatureColumns{
			Name: f.Name, Unit: f.Unit,
			Value:    column(func(r *detect.Reading) float32 { return r.Values[k] }),
			Expected: column(func(r *detect.Reading) float32 { return r.Expected[k] }),
			Low:      column(func(r *detect.Reading) float32 { return r.Low[k] }),
			High:     column(func(r *detect.Reading) float32 { return r.High[k] }),
		}
	}
	for i, f := range v.Findings {
		out.Anomalies[i] = finding(f)
	}
	return out, nil
}
