package otlp

import (
	"bytes"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/series"
)

// The limits of one body beside its size. A resource is sent once and is part
// of the name of each of its series, so a small body can name more than memory
// holds; and an empty message of JSON takes a hundred times its two bytes.
const (
	maxBatch    = 64 << 20 // bytes of the batch: what the sample log takes at once
	maxMessages = 2 << 20  // braces of a JSON body
	maxLabels   = 1000     // per series
	maxNames    = 64 << 10 // bytes of names and values per series
	maxDepth    = 16       // of an attribute in lists and maps
)

// message is what a body holds.
const message = "ExportMetricsServiceRequest"

var broken = &intake.Fault{Field: "body", Fix: "send a whole " + message + "; the protobuf is broken or was cut off"}

// stale is Prometheus' mark that a series has ended.
var stale = math.Float64frombits(0x7ff0000000000002)

// decoder holds what is needed to decode one body. Its strings are parts of
// the body or of scratch and are not kept.
type decoder struct {
	keep    rule
	batch   series.Batch
	refused int           // data points
	first   *intake.Fault // why one was refused; nil when none was

	index    [3]int // of the resource, the scope and the metric
	resource []series.Label
	bad      fault // of the resource
	own      []series.Label
	labels   []series.Label
	scratch  []byte // values that are no text in the body
	mark     int    // how much of scratch belongs to the resource
	values   []quantile
	desc     series.Descriptor
	plain    []byte // a JSON body as protobuf
	newest   int64  // the time, in milliseconds, that no data point may be after
	release  func()
}

// fault says why data points are refused.
type fault struct{ field, fix string }

// reset makes the decoder ready for another body and lets go of this one.
func (d *decoder) reset() {
	d.batch.Reset()
	for _, l := range []*[]series.Label{&d.resource, &d.own, &d.labels} {
		clear((*l)[:cap(*l)])
		*l = (*l)[:0]
	}
	d.desc, d.refused, d.first = series.Descriptor{}, 0, nil
}

// decode reads a body in protobuf.
func (d *decoder) decode(body []byte) error {
	d.index[0] = -1
	r := reader{rest: body}
	for r.next() {
		if r.is(1, protowire.BytesType) {
			d.index[0]++
			if err := d.resourceMetrics(r.v); err != nil {
				return err
			}
		}
	}
	return r.err()
}

// decodeJSON reads a body in the JSON mapping of OTLP. It differs from that of
// protobuf in the ids of exemplars, which are hex there and happen to be base64
// too; they are left out either way.
func (d *decoder) decodeJSON(body []byte) error {
	if bytes.Count(body, []byte{'{'}) > maxMessages {
		return intake.ErrTooLarge
	}
	var m collector.ExportMetricsServiceRequest
	err := protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, &m)
	if err != nil {
		// The rest of the error repeats what stands there.
		return &intake.Fault{Field: "body", Value: place.FindString(err.Error()), Fix: "send " + message + " as JSON with lowerCamelCase keys; the body is not valid, or was cut off"}
	}
	if d.plain, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(d.plain[:0], &m); err != nil {
		return &intake.Fault{Field: "body", Fix: "send " + message + " as JSON in UTF-8"}
	}
	return d.decode(d.plain)
}

var place = regexp.MustCompile(`line \d+:\d+`)

// resourceMetrics reads what came of one resource: first its attributes, which
// need not stand before the metrics.
func (d *decoder) resourceMetrics(b []byte) error {
	d.resource, d.own, d.bad, d.scratch, d.mark = d.resource[:0], d.own[:0], fault{}, d.scratch[:0], 0
	var resource merged
	r := reader{rest: b}
	for r.next() {
		if r.is(1, protowire.BytesType) {
			resource.add(r.v)
		}
	}
	if r.broken {
		return broken
	}
	for r = (reader{rest: resource.b}); r.next(); {
		if r.is(1, protowire.BytesType) {
			if err := d.attribute(r.v, &d.bad, &d.keep); err != nil {
				return err
			}
		}
	}
	if r.broken {
		return broken
	}
	d.resource = append(d.resource, inOrder(d.own)...)
	d.mark = len(d.scratch)
	d.index[1] = -1
	for r = (reader{rest: b}); r.next(); {
		if !r.is(2, protowire.BytesType) {
			continue
		}
		d.index[1]++
		d.index[2] = -1
		s := reader{rest: r.v}
		for s.next() {
			if s.is(2, protowire.BytesType) {
				d.index[2]++
				if err := d.metric(s.v); err != nil {
					return err
				}
			}
		}
		if s.broken {
			return broken
		}
	}
	return nil
}

// The kinds of metric, as fields of a Metric.
const (
	gauge                = 5
	sum                  = 7
	histogram            = 9
	exponentialHistogram = 10
	summary              = 11
)

// metric reads a metric, whose data say what they are after the data points.
func (d *decoder) metric(b []byte) error {
	var name, unit []byte
	var data merged
	var kind protowire.Number
	r := reader{rest: b}
	for r.next() {
		if r.typ != protowire.BytesType {
			continue
		}
		switch r.num {
		case 1:
			name = r.v
		case 3:
			unit = r.v
		case gauge, sum, histogram, exponentialHistogram, summary:
			if kind != r.num {
				kind, data = r.num, merged{}
			}
			data.add(r.v)
		}
	}
	if r.broken {
		return broken
	}
	var temporality uint64
	var monotonic bool
	points := 0
	for r = (reader{rest: data.b}); r.next(); {
		switch {
		case r.is(1, protowire.BytesType):
			points++
		case kind == gauge || kind == summary:
		case r.is(2, protowire.VarintType):
			temporality = uint64(uint32(r.n)) // an enum has 32 bits
		case r.is(3, protowire.VarintType) && kind == sum:
			monotonic = r.n != 0
		}
	}
	if r.broken {
		return broken
	}
	if points == 0 {
		return nil
	}
	bad := d.bad
	switch {
	case bad.fix != "":
	case len(name) == 0:
		bad = fault{"name", "send the name of the metric"}
	case !utf8.Valid(name) || !utf8.Valid(unit):
		bad = fault{"name", "send UTF-8"}
	case len(name)+len(unit) > maxNames:
		bad = tooLong
	case kind == exponentialHistogram:
		bad = fault{"exponential_histogram", "send explicit bucket histograms: exponential ones are not taken"}
	}
	d.desc = series.Descriptor{Metric: text(name), Unit: text(unit), Temporality: temporalityOf(kind, temporality, monotonic)}
	if bad.fix != "" {
		d.refuse(points, bad)
		return nil
	}
	m := metric{name: d.desc.Metric, unit: d.desc.Unit, kind: kind}
	if kind == histogram || kind == summary {
		m.count, m.sum = m.name+".count", m.name+".sum"
	}
	for r = (reader{rest: data.b}); r.next(); {
		if r.is(1, protowire.BytesType) {
			if err := d.point(r.v, &m); err != nil {
				return err
			}
		}
	}
	return r.err()
}

// temporalityOf is what the kind of a metric makes of the values of its series.
func temporalityOf(kind protowire.Number, aggregation uint64, monotonic bool) series.Temporality {
	const delta, cumulative = 1, 2
	switch {
	case kind == gauge:
		return series.Gauge
	case kind == summary:
		return series.Cumulative
	case aggregation == delta:
		return series.Delta
	case kind == sum && !monotonic:
		return series.Gauge
	case aggregation == cumulative:
		return series.Cumulative
	}
	return series.Unspecified
}

// metric is what the points of a metric have in common.
type metric struct {
	name, unit string
	kind       protowire.Number
	count, sum string // names of the series of a histogram or summary
}

// quantile is a value of a summary.
type quantile struct{ quantile, value float64 }

// layout is how a kind of data point numbers its fields.
type layout struct{ attributes, value, flags protowire.Number }

func layoutOf(kind protowire.Number) layout {
	switch kind {
	case histogram:
		return layout{attributes: 9, flags: 10}
	case summary:
		return layout{attributes: 7, flags: 8}
	}
	return layout{attributes: 7, value: 6, flags: 8}
}

// point reads a data point of any kind that is taken.
func (d *decoder) point(b []byte, m *metric) error {
	d.own, d.values, d.scratch = d.own[:0], d.values[:0], d.scratch[:d.mark]
	var bad fault
	var nanos, count, flags uint64
	var value, total float64
	var hasValue, hasTotal bool
	l := layoutOf(m.kind)
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(l.attributes, protowire.BytesType):
			if err := d.attribute(r.v, &bad, nil); err != nil {
				return err
			}
		case r.is(3, protowire.Fixed64Type):
			nanos = r.n
		case r.is(l.flags, protowire.VarintType):
			flags = r.n
		case l.value != 0 && r.is(4, protowire.Fixed64Type):
			value, hasValue = math.Float64frombits(r.n), true
		case l.value != 0 && r.is(l.value, protowire.Fixed64Type):
			value, hasValue = float64(int64(r.n)), true
		case l.value == 0 && r.is(4, protowire.Fixed64Type):
			count = r.n
		case l.value == 0 && r.is(5, protowire.Fixed64Type):
			total, hasTotal = math.Float64frombits(r.n), true
		case m.kind == summary && r.is(6, protowire.BytesType):
			q, err := quantileOf(r.v)
			if err != nil {
				return err
			}
			d.values = append(d.values, q)
		}
	}
	if r.broken {
		return broken
	}
	ended := flags&1 != 0 // no recorded value
	switch {
	case bad.fix != "":
	case nanos == 0:
		bad = fault{"time_unix_nano", "send the time of the data point"}
	case int64(nanos/1e6) > d.newest:
		bad = fault{"time_unix_nano", "set the sender's clock: a data point is more than 10 minutes ahead of ours"}
	case l.value != 0 && !hasValue && !ended:
		bad = fault{"as_double", "send a value, as_double or as_int"}
	default:
		bad = d.name()
	}
	if bad.fix != "" {
		bad.field = "data_points." + bad.field
		d.refuse(1, bad)
		return nil
	}
	if d.batch.Size() > maxBatch {
		return intake.ErrTooLarge
	}
	at, kind := int64(nanos/1e6), d.desc.Temporality
	add := func(name, unit string, v float64) {
		if ended {
			v = stale
		}
		d.desc.Metric, d.desc.Unit, d.desc.Labels = name, unit, d.labels
		d.batch.Series(&d.desc)
		d.batch.Sample(at, v)
	}
	if l.value != 0 {
		add(m.name, m.unit, value)
		return nil
	}
	add(m.count, "1", float64(count))
	if hasTotal || ended || m.kind == summary {
		add(m.sum, m.unit, total)
	}
	d.desc.Temporality = series.Gauge
	for _, q := range d.values {
		d.setQuantile(q.quantile)
		add(m.name, m.unit, q.value)
	}
	d.desc.Temporality, d.desc.Metric = kind, m.name
	return nil
}

func quantileOf(b []byte) (q quantile, err error) {
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.Fixed64Type):
			q.quantile = math.Float64frombits(r.n)
		case r.is(2, protowire.Fixed64Type):
			q.value = math.Float64frombits(r.n)
		}
	}
	return q, r.err()
}

// setQuantile puts the label of a quantile among the labels.
func (d *decoder) setQuantile(q float64) {
	from := len(d.scratch)
	d.scratch = appendFloat(d.scratch, q)
	l := series.Label{Name: "quantile", Value: text(d.scratch[from:])}
	i, there := slices.BinarySearchFunc(d.labels, l, byName)
	if there {
		d.labels[i] = l
		return
	}
	d.labels = slices.Insert(d.labels, i, l)
}

// refuse counts data points that are not taken.
func (d *decoder) refuse(points int, f fault) {
	d.refused += points
	if d.first != nil {
		return
	}
	at := "resource_metrics[" + strconv.Itoa(d.index[0]) + "]"
	if f != d.bad || f.fix == "" {
		at += ".scope_metrics[" + strconv.Itoa(d.index[1]) + "].metrics[" + strconv.Itoa(d.index[2]) + "]"
	} else {
		at += ".resource"
	}
	d.first = &intake.Fault{Field: at + "." + f.field, Value: strings.Clone(d.desc.Metric), Fix: f.fix}
}

// told is what the sender and the log are told of what was refused.
func (d *decoder) told() string {
	return strconv.Itoa(d.refused) + " data points refused, " + strconv.Itoa(d.batch.Samples()) + " samples kept; the first: " + d.first.Error()
}

func byName(a, b series.Label) int { return strings.Compare(a.Name, b.Name) }

// inOrder sorts attributes by name and keeps the last of each name.
func inOrder(list []series.Label) []series.Label {
	sorted := true
	for i := 1; i < len(list) && sorted; i++ {
		sorted = list[i-1].Name < list[i].Name
	}
	if sorted {
		return list
	}
	slices.SortStableFunc(list, byName)
	out := list[:0]
	for i, l := range list {
		if i+1 == len(list) || list[i+1].Name != l.Name {
			out = append(out, l)
		}
	}
	return out
}

var tooLong = fault{"attributes", "send at most " + strconv.Itoa(maxNames) + " bytes of names and values per series"}

// name puts the labels of a data point together: the attributes of the resource
// and its own, which win, without those of no value.
func (d *decoder) name() fault {
	d.labels = d.labels[:0]
	bytes := len(d.desc.Metric) + len(d.desc.Unit)
	add := func(l series.Label) {
		if l.Value != "" {
			d.labels = append(d.labels, l)
			bytes += len(l.Name) + len(l.Value)
		}
	}
	own, rest := inOrder(d.own), d.resource
	for _, l := range own {
		for len(rest) > 0 && rest[0].Name < l.Name {
			add(rest[0])
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].Name == l.Name {
			rest = rest[1:]
		}
		add(l)
	}
	for _, l := range rest {
		add(l)
	}
	switch {
	case len(d.labels) > maxLabels:
		return fault{"attributes", "send at most " + strconv.Itoa(maxLabels) + " attributes per series"}
	case bytes > maxNames:
		return tooLong
	}
	return fault{}
}
