package client

import (
	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/ops"
)

// The shapes of requests and answers, as the server describes them.
type (
	// IncidentList is a page of incidents.
	IncidentList = api.List[api.IncidentSummary]
	// IncidentView is an incident with its alerts and tickets.
	IncidentView = api.IncidentView
	// ChangeList is a page of changes.
	ChangeList = api.List[api.ChangeView]
	// ChangeView is a change with the plan that counts.
	ChangeView = api.ChangeView
	// RecommendationList is a page of recommendations.
	RecommendationList = api.List[api.RecommendationView]
	// RecommendationView is a recommendation.
	RecommendationView = api.RecommendationView
	// SavingsList sums savings per kind.
	SavingsList = api.List[ops.RecommendationTotals]
	// ChannelList is the channels that are told.
	ChannelList = api.List[api.ChannelView]
	// NotificationList is a page of notifications.
	NotificationList = api.List[ops.Notification]
	// TrailView is the story of a record.
	TrailView = api.TrailView
	// SeriesList is a page of watched series.
	SeriesList = api.List[api.SeriesSummary]
	// SeriesView is a watched series over a span of time.
	SeriesView = api.SeriesView
	// AnomalyList is a page of anomalies.
	AnomalyList = api.List[ops.Anomaly]
	// GroupView is a group of features and how far its models are.
	GroupView = api.GroupView
	// BootstrapView is the teaching of a past.
	BootstrapView = api.BootstrapView
	// Taken is what became of a part of a past.
	Taken = api.Taken
	// AnomalyView is an anomaly with its incident.
	AnomalyView = api.AnomalyView
	// NewChange asks for a change by hand.
	NewChange = api.NewChange
	// NewToken asks for a token.
	NewToken = api.NewToken
	// PlatformList lists platforms.
	PlatformList = api.List[api.PlatformView]
	// IntegrationView is an integration with what is wrong with it.
	IntegrationView = api.IntegrationView
)
