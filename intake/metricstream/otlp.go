package metricstream

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fettleops/fettle/intake"
)

// framed reads a record of OpenTelemetry messages, each with its length as an
// unsigned varint before it. It returns false, and has taken nothing, when the
// lengths do not add up to the record: then it is of another format. (A length
// of 123 is the byte of an opening brace, so the first byte alone does not
// tell.)
func (r *Reader) framed(record []byte, where string) bool {
	count := 0
	for rest := record; len(rest) > 0; count++ {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return false
		}
		body := rest[size:][:n]
		if len(body) > 0 && body[0] != resourceMetricsTag {
			return false
		}
		rest = rest[size:][n:]
	}
	messages := make([]*collector.ExportMetricsServiceRequest, 0, count)
	for rest := record; len(rest) > 0; {
		n, size := binary.Uvarint(rest)
		m := new(collector.ExportMetricsServiceRequest)
		if proto.Unmarshal(rest[size:][:n], m) != nil {
			if record[0] == '{' {
				return false
			}
			m = nil
		}
		messages, rest = append(messages, m), rest[size:][n:]
	}
	for i, m := range messages {
		at := fmt.Sprintf("%s.message %d", where, i+1)
		if m == nil {
			r.Refuse(&intake.Fault{Field: at, Fix: "send whole ExportMetricsServiceRequest messages; this one is broken"})
			continue
		}
		r.request(m, at)
	}
	return count > 0
}

// resourceMetricsTag is the first byte of every message that is not empty:
// field 1, length-delimited.
const resourceMetricsTag = 1<<3 | byte(protowire.BytesType)

func (r *Reader) request(m *collector.ExportMetricsServiceRequest, at string) {
	for _, resource := range m.GetResourceMetrics() {
		var p period
		for _, kv := range resource.GetResource().GetAttributes() {
			switch kv.GetKey() {
			case labelAccount:
				p.account = kv.GetValue().GetStringValue()
			case labelRegion:
				p.region = kv.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeMetrics() {
			for _, metric := range scope.GetMetrics() {
				r.metric(metric, p, at)
			}
		}
	}
}

func (r *Reader) metric(m *metrics.Metric, p period, at string) {
	points := m.GetSummary().GetDataPoints()
	if m.GetSummary() == nil || !strings.HasPrefix(m.GetName(), metricPrefix) {
		r.Refuse(&intake.Fault{Field: at + ".metric", Value: m.GetName(), Fix: "send the summaries of a CloudWatch metric stream here, and other OpenTelemetry metrics to an integration of their own protocol"})
		return
	}
	p.metric, p.unit = m.GetName(), m.GetUnit()
	for i, point := range points {
		where := fmt.Sprintf("%s.data_points[%d]", at, i)
		if bad := r.point(point, p, where); bad != nil {
			r.Refuse(bad)
		}
	}
}

func (r *Reader) point(point *metrics.SummaryDataPoint, p period, where string) *intake.Fault {
	if len(point.GetAttributes()) == 0 && hasField(point.ProtoReflect().GetUnknown(), labelsOf07) {
		return &intake.Fault{Field: where, Fix: "choose JSON or OpenTelemetry 1.0 as output format of the metric stream; this is OpenTelemetry 0.7, which is not read"}
	}
	if at := point.GetTimeUnixNano() / 1e6; at <= math.MaxInt64 {
		p.at = int64(at)
	}
	p.sum, p.count = point.GetSum(), float64(point.GetCount())
	r.desc.Labels, r.stats = r.desc.Labels[:0], r.stats[:0]
	for _, kv := range point.GetAttributes() {
		if kv.GetKey() == "Dimensions" {
			for _, d := range kv.GetValue().GetKvlistValue().GetValues() {
				r.dimension(d.GetKey(), text(d.GetValue()))
			}
		}
	}
	for _, q := range point.GetQuantileValues() {
		name := quantile(q.GetQuantile())
		if name == "" || slices.ContainsFunc(r.stats, func(s stat) bool { return s.name == name }) {
			return &intake.Fault{Field: where + ".quantile_values", Fix: "send each quantile once, from 0 to 1"}
		}
		r.stats = append(r.stats, stat{name, q.GetValue()})
	}
	return r.take(&p, where)
}

// labelsOf07 is the field in which 0.7 has what are attributes in 1.0.
const labelsOf07 = 1

func hasField(unknown []byte, field protowire.Number) bool {
	for len(unknown) > 0 {
		num, _, n := protowire.ConsumeField(unknown)
		if n < 0 {
			return false
		}
		if num == field {
			return true
		}
		unknown = unknown[n:]
	}
	return false
}

// text is an attribute's value as a label's; CloudWatch sends strings.
func text(v *common.AnyValue) string {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	}
	return ""
}

// quantile names a quantile as JSON does; empty for what is none.
func quantile(q float64) string {
	switch {
	case q == 0:
		return jsonMin
	case q == 1:
		return jsonMax
	case q > 0 && q < 1:
		return "p" + strconv.FormatFloat(math.Round(q*1e12)/1e10, 'f', -1, 64)
	}
	return ""
}
