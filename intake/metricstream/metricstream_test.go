package metricstream_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fettleops/fettle/intake/metricstream"
	"github.com/fettleops/fettle/series"
)

const newest = 1795252200000 // ten minutes after 10:00

// read returns what becomes of records: a line "metric unit temporality
// {labels} at value" for each sample, sorted, then the refusals.
func read(t testing.TB, records ...[]byte) (samples []string, r *metricstream.Reader) {
	t.Helper()
	r = new(metricstream.Reader)
	r.Reset(newest)
	for _, rec := range records {
		r.Read(rec)
	}
	return lines(t, &r.Batch), r
}

func lines(t testing.TB, b *series.Batch) (out []string) {
	t.Helper()
	kinds := map[series.Temporality]string{series.Gauge: "gauge", series.Delta: "delta"}
	var br series.BatchReader
	for _, part := range b.Parts() {
		if err := br.Open(part); err != nil {
			t.Fatal(err)
		}
		for br.Next() {
			d, err := series.ParseKey(br.Key())
			if err != nil {
				t.Fatal(err)
			}
			var labels []string
			for _, l := range d.Labels {
				labels = append(labels, l.Name+"="+l.Value)
			}
			for _, p := range br.Points() {
				out = append(out, fmt.Sprintf("%s %s %s {%s} %d %v", d.Metric, d.Unit, kinds[d.Temporality], strings.Join(labels, ","), p.At, p.Value))
			}
		}
		if err := br.Err(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

const line = `{"metric_stream_name":"s","account_id":"123456789012","region":"us-east-1","namespace":"AWS/EC2","metric_name":"CPUUtilization","dimensions":{"InstanceId":"i-0abc"},"timestamp":1795251540000,"value":{"max":97.0,"min":88.0,"sum":372.0,"count":4.0,"p99":96.9,"TM(25%:75%)":93.5},"unit":"Percent"}`

const about = "cloud.account.id=123456789012,cloud.region=us-east-1,"

var want = []string{
	"amazonaws.com/AWS/EC2/CPUUtilization 1 delta {InstanceId=i-0abc," + about + "stat=count} 1795251540000 4",
	"amazonaws.com/AWS/EC2/CPUUtilization Percent delta {InstanceId=i-0abc," + about + "stat=sum} 1795251540000 372",
	"amazonaws.com/AWS/EC2/CPUUtilization Percent gauge {InstanceId=i-0abc," + about + "stat=TM(25%:75%)} 1795251540000 93.5",
	"amazonaws.com/AWS/EC2/CPUUtilization Percent gauge {InstanceId=i-0abc," + about + "stat=avg} 1795251540000 93",
	"amazonaws.com/AWS/EC2/CPUUtilization Percent gauge {InstanceId=i-0abc," + about + "stat=max} 1795251540000 97",
	"amazonaws.com/AWS/EC2/CPUUtilization Percent gauge {InstanceId=i-0abc," + about + "stat=min} 1795251540000 88",
	"amazonaws.com/AWS/EC2/CPUUtilization Percent gauge {InstanceId=i-0abc," + about + "stat=p99} 1795251540000 96.9",
}

func attribute(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

// summary is a message as CloudWatch sends it.
func summary(change func(m *metrics.Metric, p *metrics.SummaryDataPoint)) []byte {
	p := &metrics.SummaryDataPoint{
		Attributes: []*common.KeyValue{
			attribute("Namespace", "AWS/EC2"), attribute("MetricName", "CPUUtilization"),
			{Key: "Dimensions", Value: &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: []*common.KeyValue{attribute("InstanceId", "i-0abc")}}}}},
		},
		StartTimeUnixNano: 1795251480000e6, TimeUnixNano: 1795251540000e6, Count: 4, Sum: 372,
		QuantileValues: []*metrics.SummaryDataPoint_ValueAtQuantile{{Quantile: 0, Value: 88}, {Quantile: 0.99, Value: 96.9}, {Quantile: 0.999, Value: 96.99}, {Quantile: 1, Value: 97}},
	}
	m := &metrics.Metric{Name: "amazonaws.com/AWS/EC2/CPUUtilization", Unit: "Percent", Data: &metrics.Metric_Summary{Summary: &metrics.Summary{DataPoints: []*metrics.SummaryDataPoint{p}}}}
	if change != nil {
		change(m, p)
	}
	b, err := proto.Marshal(&collector.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{
			attribute("cloud.provider", "aws"), attribute("cloud.account.id", "123456789012"), attribute("cloud.region", "us-east-1"),
			attribute("aws.exporter.arn", "arn:aws:cloudwatch:us-east-1:123456789012:metric-stream/s"),
		}},
		ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: []*metrics.Metric{m}}},
	}}})
	if err != nil {
		panic(err)
	}
	return b
}

func frame(messages ...[]byte) (out []byte) {
	for _, m := range messages {
		out = append(binary.AppendUvarint(out, uint64(len(m))), m...)
	}
	return out
}

func TestBothFormatsFollowOneRule(t *testing.T) {
	got, r := read(t, []byte(line+"\n"))
	if !slices.Equal(got, want) || r.Refused != 0 || r.Note() != "" {
		t.Errorf("JSON:\n%s\nrefused %d %v", strings.Join(got, "\n"), r.Refused, r.First)
	}
	got, r = read(t, frame(summary(nil)))
	for i, l := range want { // the formats differ in which statistics they have
		want[i] = strings.Replace(l, "{InstanceId=i-0abc,"+about+"stat=TM(25%:75%)} 1795251540000 93.5", "{InstanceId=i-0abc,"+about+"stat=p99.9} 1795251540000 96.99", 1)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) || r.Refused != 0 {
		t.Errorf("OpenTelemetry:\n%s\nwant\n%s\nrefused %d %v", strings.Join(got, "\n"), strings.Join(want, "\n"), r.Refused, r.First)
	}
}

func TestTheFormatIsToldPerRecord(t *testing.T) {
	got, r := read(t, []byte(line), frame(summary(nil), summary(nil)), nil, []byte(line+"\n"+line+"\n\n"+line+line))
	if len(got) != 7+2*7+4*7 || r.Refused != 0 {
		t.Errorf("%d samples, refused %d %v", len(got), r.Refused, r.First)
	}
	// A message of 123 bytes begins as JSON does.
	b, err := proto.Marshal(&collector.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{SchemaUrl: strings.Repeat("x", 119)}}})
	if err != nil || len(b) != 123 {
		t.Fatal(len(b), err)
	}
	if got, r := read(t, frame(b)); len(got) != 0 || r.Refused != 0 {
		t.Errorf("a message of 123 bytes: %d samples, refused %d %v", len(got), r.Refused, r.First)
	}
}

func TestOneBadDatumCostsNoOther(t *testing.T) {
	f := func(bad, say string) {
		t.Helper()
		got, r := read(t, []byte(line+"\n"+bad+"\n"+line))
		if len(got) != 14 || r.Refused != 1 {
			t.Errorf("%s: %d samples, refused %d", bad, len(got), r.Refused)
			return
		}
		if !strings.Contains(r.Note(), "records[0].line 2") || !strings.Contains(r.Note(), say) {
			t.Errorf("%s: says %q, want %q in it", bad, r.Note(), say)
		}
	}
	without := func(what string) string { return strings.Replace(line, what, "", 1) }
	f(`{"ticker_symbol":"QXZ","price":84.51}`, "no namespace")
	f(`{"a":`, "as JSON")
	f(`{"a"}`, "as JSON")
	f(`null`, "no namespace")
	f(`[]`, "datum of a metric stream")
	f(strings.Replace(line, `"AWS/EC2"`, `7`, 1), "a number stands where a string belongs")
	f(without(`"max":97.0,`), "value.max: is missing")
	f(without(`"namespace":"AWS/EC2",`), "no namespace")
	f(strings.Replace(line, "1795251540000", "1795252200001", 1), "10 minutes ahead")
	f(strings.Replace(line, "1795251540000", "0", 1), "since 1970")
	f(strings.Replace(line, `"count":4.0`, `"count":-4.0`, 1), "finite")
	f(strings.Replace(line, `"InstanceId":"i-0abc"`, `"":"i-0abc"`, 1), "each dimension once")
}

func TestWhatIsRefusedOfADatum(t *testing.T) {
	f := func(record []byte, samples, refused int, say string) {
		t.Helper()
		got, r := read(t, record)
		if len(got) != samples || r.Refused != refused || !strings.Contains(r.Note(), say) {
			t.Errorf("%d samples, refused %d: %q; want %d, %d, %q", len(got), r.Refused, r.Note(), samples, refused, say)
		}
	}
	f([]byte(strings.Replace(line, `"p99":96.9`, `"avg":1,"p99":96.9`, 1)), 7, 1, "no statistic")
	f([]byte(strings.Replace(line, `"p99":96.9`, `"p99":null`, 1)), 6, 1, "no statistic")
	f([]byte(strings.Replace(line, `"count":4.0`, `"count":0`, 1)), 6, 0, "")
	f(frame(summary(func(_ *metrics.Metric, p *metrics.SummaryDataPoint) { p.QuantileValues[1].Value = math.NaN() })), 6, 1, "others of this datum were kept")
	f(frame(summary(func(_ *metrics.Metric, p *metrics.SummaryDataPoint) { p.Sum = math.Inf(1) })), 0, 1, "finite sum")
	f(frame(summary(func(_ *metrics.Metric, p *metrics.SummaryDataPoint) { p.QuantileValues[1].Quantile = 1.5 })), 0, 1, "each quantile once")
	f(frame(summary(func(_ *metrics.Metric, p *metrics.SummaryDataPoint) { p.QuantileValues[1].Quantile = 0 })), 0, 1, "each quantile once")
	f(frame(summary(func(m *metrics.Metric, _ *metrics.SummaryDataPoint) {
		m.Data = &metrics.Metric_Gauge{Gauge: &metrics.Gauge{}}
	})), 0, 1, "summaries of a CloudWatch")
	f(frame(summary(func(m *metrics.Metric, _ *metrics.SummaryDataPoint) { m.Name = "http.requests" })), 0, 1, "integration of their own protocol")
	// 0.7 has labels in field 1 where 1.0 has attributes in field 7.
	old := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("\x0a\x0aInstanceId\x12\x06i-0abc"))
	f(frame(summary(func(_ *metrics.Metric, p *metrics.SummaryDataPoint) {
		p.Attributes = nil
		p.ProtoReflect().SetUnknown(old)
	}), summary(nil)), 7, 1, "OpenTelemetry 0.7")
	f(frame([]byte("\x0a\xff"), summary(nil)), 7, 1, "this one is broken")
	f([]byte("\x1f\x8b\x08 gzip"), 0, 1, "neither lines of JSON nor OpenTelemetry")
	f([]byte("ts,value\n1,2\n"), 0, 1, "neither lines of JSON nor OpenTelemetry")
	f([]byte(strings.Replace(line, `"p99":96.9`, `"p1":1`+many(70), 1)), 0, 1, "at most 64")
}

func many(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(`,"x%d":1`, i)
	}
	return s
}

func TestLabelsNeverCollide(t *testing.T) {
	f := func(dimensions, labels string) {
		t.Helper()
		got, r := read(t, []byte(strings.Replace(line, `{"InstanceId":"i-0abc"}`, dimensions, 1)))
		if len(got) != 7 || !strings.Contains(got[0], "{"+labels+"}") {
			t.Errorf("%s: %q %s, want %s", dimensions, got, r.Note(), labels)
		}
	}
	f(`{}`, about+"stat=count")
	f(`null`, about+"stat=count")
	f(`{"stat":"x"}`, about+"dimension.stat=x,stat=count")
	f(`{"cloud.region":"x","z":"y"}`, about+"dimension.cloud.region=x,stat=count,z=y")
	f(`{"empty":""}`, about+"stat=count")
	f(`{"a\u0000":"b\u0000"}`, "a\ufffd=b\ufffd,"+about+"stat=count")
}

func TestWhatTheReadySetReads(t *testing.T) {
	recorded, err := os.ReadFile(filepath.FromSlash("../../detect/feature/testdata/cloudwatch_ec2.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	r := new(metricstream.Reader)
	r.Reset(math.MaxInt64)
	r.Read(recorded)
	if r.Refused != 0 || r.Batch.Samples() < 5*strings.Count(string(recorded), "\n") {
		t.Errorf("%d samples, %s", r.Batch.Samples(), r.Note())
	}
}

func TestAReaderIsUsedAgain(t *testing.T) {
	r := new(metricstream.Reader)
	var before []byte
	for range 3 {
		r.Reset(newest)
		r.Read([]byte(line))
		r.Read([]byte("x"))
		now := r.Batch.Append(nil)
		if before != nil && !slices.Equal(before, now) || r.Refused != 1 {
			t.Fatalf("another batch, refused %d", r.Refused)
		}
		before = now
	}
}

// FuzzRead wants of any record that what is kept is sound, that it is read the
// same way again, and that nothing is left out without being counted.
func FuzzRead(f *testing.F) {
	f.Add([]byte(line))
	f.Add([]byte(line + "\n" + line + line + "\n{"))
	f.Add(frame(summary(nil), summary(nil)))
	f.Add(frame([]byte("\x0a\xff")))
	f.Add([]byte("{\n\n\n"))
	f.Fuzz(func(t *testing.T, record []byte) {
		first, r := read(t, record)
		second, again := read(t, record)
		if !slices.Equal(first, second) || r.Refused != again.Refused {
			t.Errorf("read twice:\n%q\n%q", first, second)
		}
		if (r.Refused > 0) != (r.First != nil) {
			t.Errorf("refused %d: %v", r.Refused, r.First)
		}
		for _, part := range r.Batch.Parts() {
			sound(t, part)
		}
	})
}

func sound(t *testing.T, part []byte) {
	t.Helper()
	var br series.BatchReader
	if err := br.Open(part); err != nil {
		t.Fatal(err)
	}
	for br.Next() {
		d, err := series.ParseKey(br.Key())
		if err != nil {
			t.Fatal(err)
		}
		if stat, ok := d.Label("stat"); !ok || stat == "" || !strings.HasPrefix(d.Metric, "amazonaws.com/") {
			t.Errorf("series %+v", d)
		}
		if !slices.IsSortedFunc(d.Labels, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("labels %+v", d.Labels)
		}
		for _, p := range br.Points() {
			if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || p.At > newest || p.At <= 0 {
				t.Errorf("point %+v", p)
			}
		}
	}
	if br.Err() != nil {
		t.Error(br.Err())
	}
}

func BenchmarkRead(b *testing.B) {
	for name, record := range map[string][]byte{
		"json": []byte(strings.Repeat(line+"\n", 100)), "otlp": frame(slices.Repeat([][]byte{summary(nil)}, 100)...),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(record)))
			r := new(metricstream.Reader)
			for b.Loop() {
				r.Reset(newest)
				r.Read(record)
			}
		})
	}
}
