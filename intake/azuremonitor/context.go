package azuremonitor

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// reading is an alert being read.
type reading struct {
	source     *source
	request    *intake.Request
	essentials *essentials
	alert      *ops.Alert
	service    string // monitoringService, squashed
	dims       []dimension
	identity   map[string]string // what tells this alert from others of its rule
	stage      string            // tells messages of one alert apart where the condition does not
}

type dimension struct {
	Name  text `json:"name"`
	Value text `json:"value"`
}

func (c *reading) label(k, v string) {
	if k != "" && v != "" {
		c.alert.Labels[k] = v
	}
}

func (c *reading) link(title, u string) {
	if strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
		c.alert.Links = append(c.alert.Links, ops.Link{Title: title, URL: u})
	}
}

func (c *reading) resolve(at time.Time) { c.alert.State, c.alert.EndsAt = ops.Resolved, at }

// context reads what the monitoring service adds. A context that cannot be
// read leaves the alert as the essentials have it.
func (c *reading) context(raw json.RawMessage) {
	switch {
	case c.service == "platform" || c.service == "logalertsv2":
		c.criteria(raw)
	case c.service == "loganalytics" || c.service == "applicationinsights":
		c.alert.Stateless = true
		c.logV1(raw)
	case c.service == "servicehealth":
		c.health(raw, "title", "trackingId")
	case c.service == "resourcehealth":
		c.health(raw, "title")
	case strings.HasPrefix(c.service, "activitylog"):
		c.alert.Stateless = true
		c.activity(raw)
	case c.service == "smartdetector":
		c.alert.Stateless = true
		c.smart(raw)
	case strings.Contains(c.service, "prometheus"):
		c.prometheus(raw)
	case c.service == "costalerts":
		c.alert.Stateless = true
		c.cost(raw)
	}
}

// read fills v and reports whether there was something to read.
func read(raw json.RawMessage, v any) bool {
	return len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, v) == nil
}

// criteria are metric alerts and log alerts of version 2.
func (c *reading) criteria(raw json.RawMessage) {
	var x struct {
		Properties fields `json:"properties"`
		Condition  struct {
			Window text `json:"windowSize"`
			AllOf  []struct {
				Metric      text        `json:"metricName"`
				Column      text        `json:"metricMeasureColumn"`
				Query       text        `json:"searchQuery"`
				Operator    text        `json:"operator"`
				Threshold   text        `json:"threshold"`
				Sensitivity text        `json:"alertSensitivity"`
				Aggregation text        `json:"timeAggregation"`
				Dimensions  []dimension `json:"dimensions"`
				Value       text        `json:"metricValue"`
				WebTest     text        `json:"webTestName"`
				Results     text        `json:"linkToFilteredSearchResultsUI"`
				AllResults  text        `json:"linkToSearchResultsUI"`
			} `json:"allOf"`
		} `json:"condition"`
	}
	if !read(raw, &x) {
		return
	}
	for k, v := range x.Properties {
		c.label(k, string(v))
	}
	var all []string
	for i, q := range x.Condition.AllOf {
		metric := q.Metric
		if metric == "" {
			metric = q.Column
		}
		all = append(all, strings.TrimSpace(strings.Join([]string{string(q.Aggregation), string(metric), operator(string(q.Operator)), string(q.Threshold), "was", string(q.Value)}, " ")))
		c.dims = append(c.dims, q.Dimensions...)
		c.label("web_test", string(q.WebTest))
		if i > 0 {
			continue
		}
		c.alert.Context = ops.AlertContext{
			Metric: string(metric), Operator: operator(string(q.Operator)), Threshold: string(q.Threshold),
			Actual: string(q.Value), Value: q.Value.number(), Query: string(q.Query), Window: isoDuration(string(x.Condition.Window)),
		}
		if q.Sensitivity != "" {
			c.alert.Context.Reason = "dynamic threshold, sensitivity " + string(q.Sensitivity)
		}
		if q.Results != "" {
			c.link("Query results", string(q.Results))
		} else {
			c.link("Query results", string(q.AllResults))
		}
	}
	if len(all) > 1 {
		c.alert.Context.Reason = strings.Join(all, "; ")
	}
}

// logV1 are log alerts of version 1, of Log Analytics and Application Insights.
func (c *reading) logV1(raw json.RawMessage) {
	var x struct {
		SearchQuery text
		ResultCount text
		Operator    text
		Threshold   text
		Minutes     text `json:"SearchIntervalDurationMin"`
		Results     text `json:"LinkToFilteredSearchResultsUI"`
		AllResults  text `json:"LinkToSearchResults"`
		Items       list `json:"AffectedConfigurationItems"`
		Dimensions  []dimension
		AlertType   text
	}
	if !read(raw, &x) {
		return
	}
	if len(x.Items) > 0 && len(c.essentials.Items) == 0 {
		c.essentials.Items = x.Items
	}
	c.dims = x.Dimensions
	c.alert.Context = ops.AlertContext{
		Metric: "result count", Operator: operator(string(x.Operator)), Threshold: string(x.Threshold),
		Actual: string(x.ResultCount), Value: x.ResultCount.number(), Query: string(x.SearchQuery),
	}
	if m := x.Minutes.number(); m != nil && *m > 0 && *m < 1e6 {
		c.alert.Context.Window = time.Duration(*m * float64(time.Minute))
	}
	c.label("azure_alert_type", string(x.AlertType))
	if x.Results != "" {
		c.link("Query results", string(x.Results))
	} else {
		c.link("Query results", string(x.AllResults))
	}
}

// event is the shell of everything that comes from the activity log. In test
// payloads some of its texts are numbers.
//
// Who did it (caller, claims) is left in the raw payload, where it can be
// redacted: an alert needs to know what happened, not to whom to speak.
type event struct {
	Operation   text   `json:"operationName"`
	Level       text   `json:"level"`
	Status      text   `json:"status"`
	Timestamp   text   `json:"eventTimestamp"`
	EventDataID text   `json:"eventDataId"`
	Correlation text   `json:"correlationId"`
	Properties  fields `json:"properties"`
	Description text   `json:"Activity Log Event Description"`
}

// activity are events: they happened, and nothing ends them.
func (c *reading) activity(raw json.RawMessage) {
	var x event
	if !read(raw, &x) {
		return
	}
	c.identity["operation"] = strings.ToLower(string(x.Operation))
	c.stage = string(x.EventDataID)
	c.label("azure_operation", string(x.Operation))
	c.label("azure_status", string(x.Status))
	c.label("azure_level", string(x.Level))
	c.label("azure_correlation_id", string(x.Correlation))
	if c.alert.Description == "" {
		c.alert.Description = string(x.Description)
	}
	c.alert.Context.Reason = strings.TrimSpace(string(x.Operation) + " " + string(x.Status))
	c.synthetic(x.Properties)
}

func (c *reading) synthetic(p fields) {
	if strings.EqualFold(p.get("IsSynthetic"), "true") {
		c.alert.Test = true
	}
}

// health are service and resource health. Their monitorCondition is always
// Fired; their end stands in status, stage or currentHealthStatus.
func (c *reading) health(raw json.RawMessage, title string, identity ...string) {
	var x event
	if !read(raw, &x) {
		c.alert.Stateless = true // nothing in it could ever end it
		return
	}
	p := x.Properties
	c.alert.Title = p.get(title)
	for _, k := range identity {
		c.identity[k] = p.get(k)
	}
	for label, key := range map[string]string{
		"azure_tracking_id": "trackingId", "azure_incident_type": "incidentType", "azure_health_service": "service", "azure_region": "region",
		"azure_stage": "stage", "azure_health": "currentHealthStatus", "azure_health_before": "previousHealthStatus", "azure_cause": "cause",
	} {
		c.label(label, p.get(key))
	}
	c.stage = strings.Join([]string{string(x.Status), p.get("stage"), p.get("currentHealthStatus"), string(x.EventDataID)}, " ")
	if c.alert.Description == "" {
		c.alert.Description = p.get("details")
	}
	c.alert.Context.Reason = strings.TrimSpace(p.get("type") + " " + p.get("cause"))
	c.alert.StartsAt = intake.ParseTime(p.get("impactStartTime"), c.alert.StartsAt)
	resolves := c.source.config.resolves
	if resolves(string(x.Status)) || resolves(p.get("stage")) || resolves(p.get("currentHealthStatus")) {
		c.resolve(intake.ParseTime(p.get("impactMitigationTime"), intake.ParseTime(string(x.Timestamp), c.request.ReceivedAt)))
	}
	c.synthetic(p)
}

func (c *reading) smart(raw json.RawMessage) {
	var x struct {
		Summary  text `json:"DetectionSummary"`
		Detected text `json:"DetectedValue"`
		Normal   text `json:"NormalValue"`
		ID       text `json:"SmartDetectorId"`
		Name     text `json:"SmartDetectorName"`
	}
	if !read(raw, &x) {
		return
	}
	c.identity["detector"] = strings.ToLower(string(x.ID))
	c.label("azure_detector", string(x.Name))
	c.alert.Context = ops.AlertContext{Metric: string(x.Name), Threshold: string(x.Normal), Actual: string(x.Detected), Value: x.Detected.number(), Reason: string(x.Summary)}
	if c.alert.Description == "" {
		c.alert.Description = string(x.Summary)
	}
}

func (c *reading) prometheus(raw json.RawMessage) {
	var x struct {
		Expression  text   `json:"expression"`
		Value       text   `json:"expressionValue"`
		For         text   `json:"for"`
		Labels      fields `json:"labels"`
		Annotations fields `json:"annotations"`
		Group       text   `json:"ruleGroup"`
	}
	if !read(raw, &x) {
		return
	}
	for k, v := range x.Labels {
		c.label(k, string(v))
		c.identity["label "+k] = string(v)
	}
	c.label("azure_rule_group", string(x.Group))
	c.alert.Context = ops.AlertContext{Query: string(x.Expression), Actual: string(x.Value), Value: x.Value.number(), Window: isoDuration(string(x.For))}
	c.alert.Title = x.Annotations.get("summary")
	if d := x.Annotations.get("description"); d != "" {
		c.alert.Description = d
	}
	c.link("Runbook", x.Annotations.get("runbook_url"))
}

// cost are budget alerts. Most of their essentials are null.
func (c *reading) cost(raw json.RawMessage) {
	var x struct {
		Category text   `json:"AlertCategory"`
		Data     fields `json:"AlertData"`
	}
	if !read(raw, &x) {
		return
	}
	c.identity["category"] = string(x.Category)
	for _, k := range []string{"Scope", "ThresholdType", "BudgetName"} {
		c.identity[k] = strings.ToLower(x.Data.get(k))
	}
	c.label("azure_scope", x.Data.get("Scope"))
	c.label("azure_budget", x.Data.get("BudgetName"))
	if c.alert.Rule == "" {
		c.alert.Rule = "azure-" + strings.ToLower(string(x.Category))
	}
	if len(c.essentials.Targets) == 0 && isARM(strings.TrimSpace(x.Data.get("Scope"))) {
		c.essentials.Targets = list{strings.TrimSpace(x.Data.get("Scope"))}
	}
	c.alert.Context = ops.AlertContext{Metric: x.Data.get("ThresholdType"), Operator: ">", Threshold: x.Data.get("BudgetThreshold"), Actual: x.Data.get("SpentAmount")}
	if c.alert.Title == "" {
		c.alert.Title = strings.TrimSpace("Budget threshold reached " + x.Data.get("BudgetName"))
	}
}
