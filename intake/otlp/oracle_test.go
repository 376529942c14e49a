package otlp_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/otlp"
	"github.com/fettleops/fettle/series"
)

// inTime reports whether a data point has a time that may be: one there is, and
// no more than ten minutes ahead of the house.
func inTime(nanos uint64) bool {
	return nanos > 0 && int64(nanos/1e6) <= now.Add(10*time.Minute).UnixMilli()
}

// update reads the flag of intaketest.
func update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

// oracle reads a request from the messages of the library with maps and
// without a thought about speed, keeping every attribute of the resource. It
// knows no limits.
func oracle(m *collector.ExportMetricsServiceRequest) (out []string, refused int) {
	for _, rm := range m.ResourceMetrics {
		bad := tooDeep(rm.GetResource().GetAttributes())
		for _, sm := range rm.ScopeMetrics {
			for _, metric := range sm.Metrics {
				var kind series.Temporality
				base := func(attributes []*common.KeyValue, more ...string) []series.Label {
					all := map[string]string{}
					for _, kv := range append(slices.Clone(rm.GetResource().GetAttributes()), attributes...) {
						if kv.Key != "" {
							all[kv.Key] = plain(kv.Value)
						}
					}
					if len(more) > 0 {
						all["quantile"] = more[0]
					}
					var labels []series.Label
					for _, name := range slices.Sorted(maps.Keys(all)) {
						if all[name] != "" {
							labels = append(labels, series.Label{Name: name, Value: all[name]})
						}
					}
					return labels
				}
				aggregated := func(t metrics.AggregationTemporality) {
					kind = map[metrics.AggregationTemporality]series.Temporality{1: series.Delta, 2: series.Cumulative}[t]
				}
				ends := func(flags uint32, v float64) float64 {
					if flags&1 != 0 {
						return math.Float64frombits(0x7ff0000000000002)
					}
					return v
				}
				numbers := func(points []*metrics.NumberDataPoint) {
					for _, p := range points {
						v := p.GetAsDouble()
						if i, ok := p.Value.(*metrics.NumberDataPoint_AsInt); ok {
							v = float64(i.AsInt)
						}
						if bad || tooDeep(p.Attributes) || metric.Name == "" || !inTime(p.TimeUnixNano) || p.Value == nil && p.Flags&1 == 0 {
							refused++
							continue
						}
						out = append(out, line(metric.Name, metric.Unit, kind, base(p.Attributes), int64(p.TimeUnixNano/1e6), ends(p.Flags, v)))
					}
				}
				switch data := metric.Data.(type) {
				case *metrics.Metric_Gauge:
					kind = series.Gauge
					numbers(data.Gauge.GetDataPoints())
				case *metrics.Metric_Sum:
					if aggregated(data.Sum.GetAggregationTemporality()); kind != series.Delta && !data.Sum.GetIsMonotonic() {
						kind = series.Gauge
					}
					numbers(data.Sum.GetDataPoints())
				case *metrics.Metric_Histogram:
					aggregated(data.Histogram.GetAggregationTemporality())
					for _, p := range data.Histogram.GetDataPoints() {
						if bad || tooDeep(p.Attributes) || metric.Name == "" || !inTime(p.TimeUnixNano) {
							refused++
							continue
						}
						out = append(out, line(metric.Name+".count", "1", kind, base(p.Attributes), int64(p.TimeUnixNano/1e6), ends(p.Flags, float64(p.Count))))
						if p.Sum != nil || p.Flags&1 != 0 {
							out = append(out, line(metric.Name+".sum", metric.Unit, kind, base(p.Attributes), int64(p.TimeUnixNano/1e6), ends(p.Flags, p.GetSum())))
						}
					}
				case *metrics.Metric_ExponentialHistogram:
					refused += len(data.ExponentialHistogram.GetDataPoints())
				case *metrics.Metric_Summary:
					for _, p := range data.Summary.GetDataPoints() {
						if bad || tooDeep(p.Attributes) || metric.Name == "" || !inTime(p.TimeUnixNano) {
							refused++
							continue
						}
						at := int64(p.TimeUnixNano / 1e6)
						out = append(out,
							line(metric.Name+".count", "1", series.Cumulative, base(p.Attributes), at, ends(p.Flags, float64(p.Count))),
							line(metric.Name+".sum", metric.Unit, series.Cumulative, base(p.Attributes), at, ends(p.Flags, p.Sum)))
						for _, q := range p.QuantileValues {
							out = append(out, line(metric.Name, metric.Unit, series.Gauge, base(p.Attributes, float(q.Quantile)), at, ends(p.Flags, q.Value)))
						}
					}
				}
			}
		}
	}
	return out, refused
}

func float(v float64) string {
	return strings.NewReplacer("+Inf", "Infinity", "-Inf", "-Infinity").Replace(strconv.FormatFloat(v, 'g', -1, 64))
}

// plain is an attribute as a label.
func plain(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return float(v.DoubleValue)
	case *common.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *common.AnyValue_ArrayValue, *common.AnyValue_KvlistValue:
	default:
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(tree(v)); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// tree is an attribute as encoding/json takes it.
func tree(v *common.AnyValue) any {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_ArrayValue:
		out := []any{}
		for _, v := range x.ArrayValue.GetValues() {
			out = append(out, tree(v))
		}
		return out
	case *common.AnyValue_KvlistValue:
		out := map[string]any{}
		for _, kv := range x.KvlistValue.GetValues() {
			out[kv.GetKey()] = tree(kv.GetValue())
		}
		return out
	case *common.AnyValue_BytesValue:
		return plain(v)
	case *common.AnyValue_DoubleValue:
		if math.IsNaN(x.DoubleValue) || math.IsInf(x.DoubleValue, 0) {
			return plain(v)
		}
	}
	if s := plain(v); s != "" {
		return json.RawMessage(s)
	}
	return nil
}

// depth is how many lists and maps an attribute is made of, one in the other.
func depth(v *common.AnyValue) int {
	deepest := -1
	switch x := v.GetValue().(type) {
	case *common.AnyValue_ArrayValue:
		for _, v := range x.ArrayValue.GetValues() {
			deepest = max(deepest, depth(v))
		}
	case *common.AnyValue_KvlistValue:
		last := map[string]*common.AnyValue{}
		for _, kv := range x.KvlistValue.GetValues() {
			last[kv.GetKey()] = kv.GetValue()
		}
		for _, v := range last {
			deepest = max(deepest, depth(v))
		}
	}
	return deepest + 1
}

func tooDeep(list []*common.KeyValue) bool {
	return slices.ContainsFunc(list, func(kv *common.KeyValue) bool { return kv.GetKey() != "" && depth(kv.GetValue()) > 16 })
}

func decode(t testing.TB, media string, body []byte) (out []string, refused int, err error) {
	t.Helper()
	s, err := otlp.Open(intaketest.YAML(`resource_attributes: ["*"]`), intake.Env{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Decode(&intake.Request{Header: http.Header{"Content-Type": {media}}, Body: body, ReceivedAt: now})
	defer d.Release()
	if err != nil {
		return nil, 0, err
	}
	for _, part := range d.Samples.Parts() {
		out = append(out, lines(t, part)...)
	}
	return out, d.Refused, nil
}

// agree compares what is decoded with the oracle.
func agree(t interface {
	Fatalf(format string, args ...any)
}, tb testing.TB, body []byte,
) {
	var m collector.ExportMetricsServiceRequest
	broken := proto.Unmarshal(body, &m)
	got, refused, err := decode(tb, protobuf, body)
	if broken != nil {
		return // what is left out is not looked at, and text is refused by the data point
	}
	if err != nil {
		t.Fatalf("the library takes it: %v", err)
	}
	want, wantRefused := oracle(&m)
	if !slices.Equal(got, want) || refused != wantRefused {
		t.Fatalf("%d refused and\n%s\nwant %d and\n%s", refused, strings.Join(got, "\n"), wantRefused, strings.Join(want, "\n"))
	}
}

// anyRequest draws a request that is within the specification and one that is
// not quite.
func anyRequest(t *rapid.T) *collector.ExportMetricsServiceRequest {
	name := rapid.StringMatching(`[a-cé.]{0,3}`)
	var value func(depth int) *common.AnyValue
	value = func(depth int) *common.AnyValue {
		v := new(common.AnyValue)
		switch rapid.IntRange(0, 8-depth).Draw(t, "variant") {
		case 0:
		case 1:
			v.Value = &common.AnyValue_BoolValue{BoolValue: rapid.Bool().Draw(t, "bool")}
		case 2:
			v.Value = &common.AnyValue_IntValue{IntValue: rapid.Int64().Draw(t, "int")}
		case 3:
			v.Value = &common.AnyValue_DoubleValue{DoubleValue: rapid.SampledFrom([]float64{0, -0.5, 1e300, math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "double")}
		case 4:
			v.Value = &common.AnyValue_BytesValue{BytesValue: rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "bytes")}
		case 5, 6:
			v.Value = &common.AnyValue_StringValue{StringValue: rapid.StringN(0, 5, -1).Draw(t, "text")}
		case 7:
			list := new(common.ArrayValue)
			for range rapid.IntRange(0, 3).Draw(t, "list") {
				list.Values = append(list.Values, value(depth+1))
			}
			v.Value = &common.AnyValue_ArrayValue{ArrayValue: list}
		case 8:
			list := new(common.KeyValueList)
			for range rapid.IntRange(0, 3).Draw(t, "map") {
				list.Values = append(list.Values, &common.KeyValue{Key: name.Draw(t, "key"), Value: value(depth + 1)})
			}
			v.Value = &common.AnyValue_KvlistValue{KvlistValue: list}
		}
		return v
	}
	attributes := func() (out []*common.KeyValue) {
		for range rapid.IntRange(0, 4).Draw(t, "attributes") {
			out = append(out, &common.KeyValue{Key: name.Draw(t, "key"), Value: value(0)})
		}
		return out
	}
	nanos := rapid.SampledFrom([]uint64{0, 1, 999_999, 1_000_000, minute, math.MaxUint64})
	flags := rapid.SampledFrom([]uint32{0, 0, 1, 2, 3})
	bits := rapid.Custom(func(t *rapid.T) float64 { return math.Float64frombits(rapid.Uint64().Draw(t, "bits")) })
	numbers := func() (out []*metrics.NumberDataPoint) {
		for range rapid.IntRange(0, 3).Draw(t, "points") {
			p := &metrics.NumberDataPoint{Attributes: attributes(), TimeUnixNano: nanos.Draw(t, "at"), StartTimeUnixNano: nanos.Draw(t, "start"), Flags: flags.Draw(t, "flags")}
			switch rapid.IntRange(0, 3).Draw(t, "value") {
			case 0:
			case 1:
				p.Value = &metrics.NumberDataPoint_AsInt{AsInt: rapid.Int64().Draw(t, "int")}
			default:
				p.Value = &metrics.NumberDataPoint_AsDouble{AsDouble: bits.Draw(t, "double")}
			}
			p.Exemplars = []*metrics.Exemplar{{TimeUnixNano: 1, TraceId: []byte("0123456789abcdef"), FilteredAttributes: attributes()}}
			out = append(out, p)
		}
		return out
	}
	temporality := func() metrics.AggregationTemporality {
		return metrics.AggregationTemporality(rapid.IntRange(-1, 4).Draw(t, "temporality"))
	}
	metric := func() *metrics.Metric {
		m := &metrics.Metric{Name: name.Draw(t, "metric"), Unit: name.Draw(t, "unit"), Description: "Words."}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 1:
			m.Data = &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: numbers()}}
		case 2:
			m.Data = &metrics.Metric_Sum{Sum: &metrics.Sum{DataPoints: numbers(), AggregationTemporality: temporality(), IsMonotonic: rapid.Bool().Draw(t, "monotonic")}}
		case 3:
			h := &metrics.Histogram{AggregationTemporality: temporality()}
			for range rapid.IntRange(0, 2).Draw(t, "histograms") {
				p := &metrics.HistogramDataPoint{
					Attributes: attributes(), TimeUnixNano: nanos.Draw(t, "at"), Flags: flags.Draw(t, "flags"), Count: rapid.Uint64().Draw(t, "count"),
					BucketCounts: []uint64{1, 2}, ExplicitBounds: []float64{0.5},
				}
				if rapid.Bool().Draw(t, "has a sum") {
					p.Sum = new(bits.Draw(t, "sum"))
				}
				h.DataPoints = append(h.DataPoints, p)
			}
			m.Data = &metrics.Metric_Histogram{Histogram: h}
		case 4:
			m.Data = &metrics.Metric_ExponentialHistogram{ExponentialHistogram: &metrics.ExponentialHistogram{DataPoints: make([]*metrics.ExponentialHistogramDataPoint, rapid.IntRange(0, 2).Draw(t, "exponential"))}}
			for i := range m.GetExponentialHistogram().DataPoints {
				m.GetExponentialHistogram().DataPoints[i] = &metrics.ExponentialHistogramDataPoint{TimeUnixNano: minute}
			}
		case 5:
			s := new(metrics.Summary)
			for range rapid.IntRange(0, 2).Draw(t, "summaries") {
				p := &metrics.SummaryDataPoint{Attributes: append(attributes(), text(rapid.SampledFrom([]string{"quantile", "z"}).Draw(t, "key"), "x")), TimeUnixNano: nanos.Draw(t, "at"), Flags: flags.Draw(t, "flags"), Count: 5, Sum: bits.Draw(t, "sum")}
				for range rapid.IntRange(0, 3).Draw(t, "quantiles") {
					p.QuantileValues = append(p.QuantileValues, &metrics.SummaryDataPoint_ValueAtQuantile{Quantile: rapid.Float64().Draw(t, "quantile"), Value: bits.Draw(t, "value")})
				}
				s.DataPoints = append(s.DataPoints, p)
			}
			m.Data = &metrics.Metric_Summary{Summary: s}
		}
		return m
	}
	m := new(collector.ExportMetricsServiceRequest)
	for range rapid.IntRange(0, 2).Draw(t, "resources") {
		rm := &metrics.ResourceMetrics{SchemaUrl: "https://opentelemetry.io/schemas/1.38.0"}
		if rapid.Bool().Draw(t, "has a resource") {
			rm.Resource = &resource.Resource{Attributes: attributes()}
		}
		for range rapid.IntRange(0, 2).Draw(t, "scopes") {
			sm := &metrics.ScopeMetrics{Scope: &common.InstrumentationScope{Name: "scope", Attributes: attributes()}}
			for range rapid.IntRange(0, 3).Draw(t, "metrics") {
				sm.Metrics = append(sm.Metrics, metric())
			}
			rm.ScopeMetrics = append(rm.ScopeMetrics, sm)
		}
		m.ResourceMetrics = append(m.ResourceMetrics, rm)
	}
	return m
}

func TestAnyRequestIsReadAsTheLibraryReadsIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		body := encode(t, anyRequest(rt), protobuf)
		agree(rt, t, body)
		// Two requests one after the other are one, and so is each message in them.
		agree(rt, t, append(body, encode(t, anyRequest(rt), protobuf)...))
		// Any prefix is refused whole, or is a request of its own.
		cut := body[:rapid.IntRange(0, len(body)).Draw(rt, "cut")]
		agree(rt, t, cut)
	})
}

func TestJSONIsReadAsProtobuf(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := anyRequest(rt)
		want, wantRefused, err := decode(t, protobuf, encode(t, m, protobuf))
		if err != nil {
			rt.Fatal(err)
		}
		got, refused, err := decode(t, inJSON, encode(t, m, inJSON))
		for i := range want { // JSON has one NaN
			want[i], got[i] = oneNaN.ReplaceAllString(want[i], "NaN"), oneNaN.ReplaceAllString(got[i], "NaN")
		}
		if err != nil || refused != wantRefused || !slices.Equal(got, want) {
			rt.Fatalf("%v, %d refused and\n%s\nwant %d and\n%s", err, refused, strings.Join(got, "\n"), wantRefused, strings.Join(want, "\n"))
		}
	})
}

var oneNaN = regexp.MustCompile(`NaN [0-9a-f]+$|ended$`)

// TestWhatComesTwice holds the decoder against the library where protobuf says
// that embedded messages are merged and that the last of several values counts.
func TestWhatComesTwice(t *testing.T) {
	field := func(num protowire.Number, parts ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), slices.Concat(parts...))
	}
	fixed := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), v)
	}
	varint := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	a, b := field(1, []byte("a")), field(1, []byte("b"))
	list := field(5, field(1, a))
	f := func(value ...[]byte) {
		t.Helper()
		point := field(1, fixed(3, minute), fixed(4, 1), fixed(6, 5), field(7, append([][]byte{field(1, []byte("key"))}, value...)...))
		sums := slices.Concat(field(7, point, varint(2, 1)), field(7, point, varint(3, 1), varint(2, 2)))
		metric := slices.Concat(field(5, point), field(1, []byte("first")), sums, field(1, []byte("m")), varint(1, 5))
		agree(t, t, slices.Concat(field(1, field(2, field(2, metric)), field(1, field(1, a, field(2, b))), field(1, field(1, b, field(2, a))))))
	}
	f(field(2, a), field(2, b))
	f(field(2, a, b))
	f(field(2, list), field(2, list))
	f(field(2, list, list))
	f(field(2, list, a, list))
	f(field(2, list, varint(2, 1)))
	f(field(2, list, varint(8, 1)))
	f(field(2, list, fixed(1, 1), varint(4, 1)))
	f(field(2, list), field(2, a), field(2, list), field(2, list, list))
	f(field(2), field(2, list), field(2))
	f()
}
