package remotewrite_test

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
	"github.com/fettleops/fettle/series"
)

// The bodies in testdata were sent by real servers: those of version 1.0 by
// Debian's Prometheus 2.42.0, those of 2.0 by Prometheus 3.5.0 with
// send_native_histograms, both scraping themselves and a node_exporter 1.5.0.
// The stale ones are of the scrape after the exporter was stopped.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".snappy"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := snappy.Decode(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// writeRequest describes prometheus.WriteRequest as far as samples go.
func writeRequest(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	f := func(name string, number int32, typ descriptorpb.FieldDescriptorProto_Type, of string) *descriptorpb.FieldDescriptorProto {
		d := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &typ, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if of != "" {
			d.TypeName, d.Label = proto.String(".prometheus."+of), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		return d
	}
	m := func(name string, fields ...*descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
		return &descriptorpb.DescriptorProto{Name: &name, Field: fields}
	}
	const text, message = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("remote.proto"), Package: proto.String("prometheus"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			m("WriteRequest", f("timeseries", 1, message, "TimeSeries")),
			m("TimeSeries", f("labels", 1, message, "Label"), f("samples", 2, message, "Sample")),
			m("Label", f("name", 1, text, ""), f("value", 2, text, "")),
			m("Sample", f("value", 1, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, ""), f("timestamp", 2, descriptorpb.FieldDescriptorProto_TYPE_INT64, "")),
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("WriteRequest")
}

// said renders one sample without what the two versions differ in.
func said(labels []series.Label, at int64, v float64) string {
	return fmt.Sprint(labels, at, math.Float64bits(v))
}

// oracle1 reads a body of version 1.0 with the protobuf library.
func oracle1(t testing.TB, body []byte) (out []string) {
	t.Helper()
	m := dynamicpb.NewMessage(writeRequest(t))
	if err := proto.Unmarshal(body, m); err != nil {
		t.Fatal(err)
	}
	each := func(m protoreflect.Message, field protoreflect.Name, f func(protoreflect.Message)) {
		list := m.Get(m.Descriptor().Fields().ByName(field)).List()
		for i := range list.Len() {
			f(list.Get(i).Message())
		}
	}
	get := func(m protoreflect.Message, field protoreflect.Name) protoreflect.Value {
		return m.Get(m.Descriptor().Fields().ByName(field))
	}
	each(m, "timeseries", func(ts protoreflect.Message) {
		var labels []series.Label
		each(ts, "labels", func(l protoreflect.Message) {
			labels = append(labels, series.Label{Name: get(l, "name").String(), Value: get(l, "value").String()})
		})
		each(ts, "samples", func(s protoreflect.Message) {
			out = append(out, said(labels, get(s, "timestamp").Int(), get(s, "value").Float()))
		})
	})
	return out
}

// oracle2 reads a body of version 2.0 with the messages of the client library.
func oracle2(t testing.TB, body []byte) (out []string, histograms int) {
	t.Helper()
	var m writev2.Request
	if err := proto.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	for _, ts := range m.Timeseries {
		var labels []series.Label
		for i := 0; i < len(ts.LabelsRefs); i += 2 {
			labels = append(labels, series.Label{Name: m.Symbols[ts.LabelsRefs[i]], Value: m.Symbols[ts.LabelsRefs[i+1]]})
		}
		for _, s := range ts.Samples {
			out = append(out, said(labels, s.Timestamp, s.Value))
		}
		histograms += len(ts.Histograms)
	}
	return out, histograms
}

// inLog is what the log holds, said in the same way.
func inLog(t testing.TB, h *intaketest.House) (out []string, stale int) {
	t.Helper()
	for _, record := range h.Samples(t) {
		var r series.BatchReader
		if err := r.Open(record.Body); err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			d, err := series.ParseKey(r.Key())
			if err != nil {
				t.Fatal(err)
			}
			labels := append(d.Labels, series.Label{Name: "__name__", Value: d.Metric})
			slices.SortFunc(labels, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
			for _, p := range r.Points() {
				if series.IsStale(p.Value) {
					stale++
				}
				out = append(out, said(labels, p.At, p.Value))
			}
		}
	}
	return out, stale
}

func TestRecordedBodiesOfRealServers(t *testing.T) {
	h := house(t)
	f := func(name, contentType string, status, samples, histograms, stale int) {
		t.Helper()
		h.Forget(t)
		body := recorded(t, name)
		rec := send(t, h, request(contentType, body))
		if rec.Code != status {
			t.Errorf("%s: answer %d %s, want %d", name, rec.Code, rec.Body, status)
		}
		var want []string
		found := 0
		if contentType == type1 {
			want = oracle1(t, body)
		} else {
			want, found = oracle2(t, body)
			if got := rec.Header().Get(written + "Samples-Written"); got != fmt.Sprint(samples) {
				t.Errorf("%s: %s samples written", name, got)
			}
		}
		got, ended := inLog(t, h)
		if !slices.Equal(got, want) || len(got) != samples || ended != stale || found != histograms {
			t.Errorf("%s: %d samples, %d of them stale, and %d histograms, want %d, %d and %d; the same as the protobuf library reads: %v",
				name, len(got), ended, found, samples, stale, histograms, slices.Equal(got, want))
		}
	}
	f("v1-samples", type1, 204, 500, 0, 0)
	f("v1-stale", type1, 204, 500, 0, 236)
	f("v1-metadata", type1, 204, 0, 0, 0)
	f("v2-samples", type2, 204, 500, 0, 0)
	f("v2-stale", type2, 204, 500, 0, 500)
	f("v2-native-histograms", type2, 400, 149, 4, 0)
}

func FuzzVersion1(f *testing.F) {
	intaketest.FuzzSamples(f, remotewrite.Driver, "", http.Header{"Content-Type": {type1}},
		request1(3).Body, recorded(f, "v1-samples")[:4096], recorded(f, "v1-metadata")[:1024])
}

func FuzzVersion2(f *testing.F) {
	intaketest.FuzzSamples(f, remotewrite.Driver, "", http.Header{"Content-Type": {type2}}, request2(3).Body, recorded(f, "v2-native-histograms"))
}

// client is the sender of the client library.
func client(t *testing.T, url string) *remote.API {
	t.Helper()
	api, err := remote.NewAPI(url, remote.WithAPIHTTPClient(&http.Client{Transport: credential{}}), remote.WithAPIBackoff(remote.BackoffConfig{MaxRetries: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// credential adds the credential of the sender.
type credential struct{}

func (credential) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return http.DefaultTransport.RoundTrip(r)
}
