package azuremonitor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

const commonSchema = "azureMonitorCommonAlertSchema"

type envelope struct {
	SchemaID *text           `json:"schemaId"`
	Data     json.RawMessage `json:"data"`
}

type data struct {
	Essentials *essentials     `json:"essentials"`
	Context    json.RawMessage `json:"alertContext"`
	Custom     fields          `json:"customProperties"`
}

type essentials struct {
	AlertID       text `json:"alertId"`
	Rule          text `json:"alertRule"`
	RuleID        text `json:"alertRuleId"`
	Severity      text `json:"severity"`
	SignalType    text `json:"signalType"`
	Condition     text `json:"monitorCondition"`
	Service       text `json:"monitoringService"`
	Targets       list `json:"alertTargetIDs"`
	Items         list `json:"configurationItems"`
	OriginAlertID text `json:"originAlertId"`
	Fired         text `json:"firedDateTime"`
	Resolved      text `json:"resolvedDateTime"`
	Description   text `json:"description"`
	Investigation text `json:"investigationLink"`
}

var severities = map[string]ops.Severity{"sev0": ops.Critical, "sev1": ops.High, "sev2": ops.Medium, "sev3": ops.Low, "sev4": ops.Info}

// Decode implements intake.Source.
func (s *source) Decode(r *intake.Request) (intake.Delivery, error) {
	var e envelope
	if err := json.Unmarshal(r.Body, &e); err != nil {
		return intake.Delivery{}, intake.NotJSON(err, "an Azure Monitor alert in the common alert schema")
	}
	isObject := len(e.Data) > 0 && e.Data[0] == '{'
	switch {
	case e.SchemaID != nil && strings.EqualFold(string(*e.SchemaID), commonSchema):
	case e.SchemaID != nil && *e.SchemaID != "":
		return wrongSchema(r, string(*e.SchemaID), e.Data), nil
	case isObject:
		return wrongSchema(r, "none", e.Data), nil
	default:
		return intake.Delivery{}, &intake.Fault{Field: "schemaId", Fix: "send the body of an Azure Monitor action group with the common alert schema enabled"}
	}
	var d data
	if isObject {
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return intake.Delivery{}, intake.NotJSON(err, "an Azure Monitor alert in the common alert schema")
		}
	}
	if d.Essentials == nil {
		return intake.Delivery{}, &intake.Fault{Field: "data.essentials", Fix: "send the essentials of the alert; the object is missing"}
	}
	c := s.alert(r, d.Essentials, &d)
	return intake.Delivery{Dedupe: c.dedupe(r.Body), Signals: []ops.Signal{{Alert: c.alert}}}, nil
}

// alert is first made from the essentials alone, so that a service nobody has
// heard of gives a signal too, and then refined by its context.
func (s *source) alert(r *intake.Request, e *essentials, d *data) *reading {
	a := &ops.Alert{
		Rule:        string(e.Rule),
		Description: string(e.Description),
		State:       ops.Firing,
		StartsAt:    intake.ParseTime(string(e.Fired), r.ReceivedAt),
		ExternalID:  string(e.AlertID),
		Labels:      map[string]string{},
	}
	c := &reading{source: s, request: r, essentials: e, alert: a, service: squash(string(e.Service)), identity: map[string]string{}}
	var ok bool
	if a.Severity, ok = severities[strings.ToLower(string(e.Severity))]; !ok {
		a.Severity = s.fallback
	}
	if strings.EqualFold(string(e.Condition), "Resolved") {
		// The field is documented for metric alerts only.
		c.resolve(intake.ParseTime(string(e.Resolved), r.ReceivedAt))
	}
	c.link("Investigate in Azure", string(e.Investigation))
	c.label("azure_service", string(e.Service))
	c.label("azure_signal_type", string(e.SignalType))
	c.label("azure_origin_alert_id", string(e.OriginAlertID))
	c.context(d.Context)
	for k, v := range d.Custom {
		c.label(k, string(v))
	}
	c.finish()
	return c
}

// finish sets what depends on everything else.
func (c *reading) finish() {
	a, e := c.alert, c.essentials
	if a.Rule == "" {
		a.Rule = "unnamed"
	}
	if a.Title == "" {
		a.Title = a.Rule
	}
	a.ObservedAt = intake.ParseTime(string(e.Fired), a.StartsAt)
	if a.State == ops.Resolved {
		a.ObservedAt, a.Stateless = a.EndsAt, false
	}
	a.Resource = resource(e, c.dims)
	for _, d := range c.dims {
		c.label(string(d.Name), string(d.Value))
		v := string(d.Value)
		if isARM(v) {
			v = strings.ToLower(v)
		}
		c.identity["dimension "+string(d.Name)] = v
	}
	targets := make([]string, len(e.Targets))
	for i, t := range e.Targets {
		targets[i] = strings.ToLower(t)
	}
	slices.Sort(targets)
	if len(targets) > 0 {
		arm := parseARM(targets[0])
		c.label("subscription", arm.subscription)
		c.label("resource_group", arm.group)
	}
	if len(targets) > 1 {
		c.label("targets", strings.Join(targets, " "))
	}
	c.identity["targets"] = strings.Join(targets, " ")
	c.identity["service"] = c.service
	a.Fingerprint = ops.Fingerprint(c.request.Integration, strings.ToLower(a.Rule), c.identity)
	// Test notifications reuse placeholder ids; no change may follow from one.
	a.Test = a.Test || strings.HasPrefix(strings.ToLower(a.Rule), "test-") || strings.Contains(strings.ToLower(string(e.AlertID)), "/test_alert")
}

// dedupe is (alertId, monitorCondition, firedDateTime), and for alerts that
// stay Fired for ever what else tells their stages apart. A test notification
// has none: Azure gives all of them the same ids.
func (c *reading) dedupe(body []byte) string {
	e := c.essentials
	switch {
	case c.alert.Test:
		return ""
	case e.AlertID == "":
		sum := sha256.Sum256(body)
		return "sha256 " + hex.EncodeToString(sum[:])
	}
	key := strings.Join([]string{strings.ToLower(string(e.AlertID)), string(e.Condition), string(e.Fired), c.stage}, "|")
	return strings.TrimRight(key, "|")
}

// wrongSchema tells people what to change at Azure. The alert itself cannot be
// read, and refusing it would only make Azure drop it.
func wrongSchema(r *intake.Request, schema string, raw json.RawMessage) intake.Delivery {
	var d struct {
		AlertRuleName text `json:"AlertRuleName"`
		Context       struct {
			Name text `json:"name"`
		} `json:"context"`
	}
	rule := ""
	if json.Unmarshal(raw, &d) == nil {
		rule = string(d.Context.Name)
		if rule == "" {
			rule = string(d.AlertRuleName)
		}
	}
	labels := map[string]string{"azure_schema": schema, "fettle_integration": r.Integration}
	if rule != "" {
		labels["azure_rule"] = rule
	}
	sum := sha256.Sum256(r.Body)
	return intake.Delivery{
		Outcome: intake.WrongSchema,
		Dedupe:  "sha256 " + hex.EncodeToString(sum[:]),
		Note:    "Azure sends alerts in another schema than the common alert schema; enable it in the action group",
		Signals: []ops.Signal{{Alert: &ops.Alert{
			Fingerprint: ops.Fingerprint(r.Integration, "azure-wrong-schema", map[string]string{"schema": schema, "rule": rule}),
			Rule:        "azure-wrong-schema",
			Title:       "Azure alerts arrive in the wrong schema",
			Description: "Integration " + r.Integration + " received an alert in schema " + schema + ", which holds too little to act on. In the action group, open the webhook action and set \"Enable the common alert schema\" to Yes. The payload is kept with this alert.",
			Severity:    ops.High, State: ops.Firing, Stateless: true,
			StartsAt: r.ReceivedAt, ObservedAt: r.ReceivedAt, Labels: labels,
		}}},
	}
}
