package alertmanager

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// payload is the webhook of Alertmanager. What we do not use is not decoded.
type payload struct {
	Version         string  `json:"version"`
	Alerts          []alert `json:"alerts"`
	TruncatedAlerts int     `json:"truncatedAlerts"`
	ExternalURL     string  `json:"externalURL"`
}

type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     string            `json:"startsAt"`
	EndsAt       string            `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// Decode implements intake.Source.
func (s *source) Decode(r *intake.Request) (intake.Delivery, error) {
	var p payload
	if err := json.Unmarshal(r.Body, &p); err != nil {
		return intake.Delivery{}, intake.NotJSON(err, "an Alertmanager webhook of version 4")
	}
	if p.Version != "4" {
		return intake.Delivery{}, &intake.Fault{Field: "version", Value: p.Version, Fix: `send Alertmanager's own webhook body, version "4"; leave the receiver's custom payload out`}
	}
	if p.Alerts == nil {
		return intake.Delivery{}, &intake.Fault{Field: "alerts", Fix: "send the alerts of the group; the list is missing"}
	}
	d := intake.Delivery{Signals: make([]ops.Signal, len(p.Alerts))}
	alerts := make([]ops.Alert, len(p.Alerts)) // one allocation for all
	for i := range p.Alerts {
		if err := s.alert(&alerts[i], &p.Alerts[i], i, &p, r); err != nil {
			return intake.Delivery{}, err
		}
		d.Signals[i].Alert = &alerts[i]
	}
	if p.TruncatedAlerts > 0 {
		d.Note = fmt.Sprintf("Alertmanager left %d alerts out because of the receiver's max_alerts; raise it, or resolved alerts may be missed", p.TruncatedAlerts)
	}
	return d, nil
}

func (s *source) alert(out *ops.Alert, in *alert, i int, p *payload, r *intake.Request) error {
	out.StartsAt = intake.ParseTime(in.StartsAt, r.ReceivedAt)
	out.ObservedAt = out.StartsAt
	switch in.Status {
	case "firing":
		// endsAt is zero here, or the moment at which Alertmanager would give up
		// hearing of it; neither is an end.
		out.State = ops.Firing
	case "resolved":
		out.State = ops.Resolved
		out.EndsAt = intake.ParseTime(in.EndsAt, r.ReceivedAt)
		out.ObservedAt = out.EndsAt
	default:
		return &intake.Fault{Field: "alerts[" + strconv.Itoa(i) + "].status", Value: in.Status, Fix: "write firing or resolved"}
	}
	out.Rule = in.Labels["alertname"]
	if out.Rule == "" {
		out.Rule = "unnamed"
	}
	out.ExternalID = in.Fingerprint
	if in.Fingerprint != "" {
		out.Fingerprint = s.prefix + in.Fingerprint
	} else {
		out.Fingerprint = ops.Fingerprint(r.Integration, out.Rule, in.Labels)
	}
	out.Title = first(in.Annotations, "summary", "title", "message")
	if out.Title == "" {
		out.Title = out.Rule
	}
	out.Description = first(in.Annotations, "description", "message")
	out.Severity = s.severity(in.Labels)
	out.Labels = in.Labels
	out.Resource = s.resource(in.Labels)
	out.Links = links(in, p.ExternalURL)
	evidence(&out.Context, in)
	return nil
}

// first returns the first annotation present.
func first(m map[string]string, keys ...string) string {
	for _, k := range keys {
		if v := m[k]; v != "" {
			return v
		}
	}
	return ""
}

// evidence fills in what Prometheus alerts carry of condition and value: the
// expression in the generator's URL, the value in an annotation by custom.
func evidence(c *ops.AlertContext, in *alert) {
	// Cut out by hand: parsing the whole URL would cost a tenth of the decoding.
	if _, rest, ok := strings.Cut(in.GeneratorURL, "g0.expr="); ok {
		expr, _, _ := strings.Cut(rest, "&")
		if q, err := url.QueryUnescape(expr); err == nil {
			c.Query = q
		}
	}
	c.Threshold = in.Annotations["threshold"]
	c.Unit = in.Annotations["unit"]
	c.Metric = in.Annotations["metric"]
	c.Actual = first(in.Annotations, "value", "current_value")
	if v, err := strconv.ParseFloat(c.Actual, 64); err == nil && v-v == 0 {
		c.Value = &v
	}
}

func links(in *alert, external string) []ops.Link {
	var out []ops.Link
	add := func(title, u string) {
		if strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
			out = append(out, ops.Link{Title: title, URL: u})
		}
	}
	add("Runbook", first(in.Annotations, "runbook_url", "runbook"))
	add("Dashboard", first(in.Annotations, "dashboard_url", "dashboard"))
	add("Query", in.GeneratorURL)
	add("Alertmanager", external)
	return out
}

// resource names what the alert is about by the first label that is there and
// not blank.
func (s *source) resource(labels map[string]string) ops.ResourceRef {
	for _, l := range s.config.ResourceLabels {
		v := strings.TrimSpace(labels[l])
		if v == "" {
			continue
		}
		switch l {
		case "instance":
			return s.instance(v)
		case "host", "hostname", "nodename":
			return ops.ResourceRef{Kind: "host", Name: v, Aliases: []string{s.local("host", v)}}
		case "pod":
			if ns := strings.TrimSpace(labels["namespace"]); ns != "" {
				v = ns + "/" + v
			}
		}
		return ops.ResourceRef{Kind: l, Name: v, Aliases: []string{s.local(l, v)}}
	}
	return ops.ResourceRef{}
}

// instance is a scrape target: host:port, a bare host, or a URL that was
// probed. Of a host it is also an alias of that host.
func (s *source) instance(v string) ops.ResourceRef {
	ref := ops.ResourceRef{Kind: "instance", Name: v, Aliases: []string{s.local("instance", v)}}
	if strings.Contains(v, "/") {
		return ref
	}
	host, _, err := net.SplitHostPort(v)
	if err != nil {
		host = v
	}
	if host = strings.TrimSpace(host); host != "" && !loopback(host) {
		ref.Kind, ref.Name = "host", host
		ref.Aliases = append(ref.Aliases, ops.Alias("host", host))
	}
	return ref
}

// local makes an alias. Every Prometheus calls itself localhost, so such a name
// stands for a thing of this integration only.
func (s *source) local(scheme, v string) string {
	host, _, err := net.SplitHostPort(v)
	if err != nil {
		host = v
	}
	if loopback(host) {
		v = s.prefix + v
	}
	return ops.Alias(scheme, v)
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if host == "" || host[0] != '1' && host[0] != ':' && host[0] != '[' {
		return false
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
