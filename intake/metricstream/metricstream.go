// Package metricstream reads the records of a CloudWatch metric stream, which
// reach the drivers for Firehose and for Kinesis: lines of JSON, and
// OpenTelemetry 1.0 with each message's length before it. How a datum becomes
// series is the rule in the documentation of detect/feature.
package metricstream

import (
	"fmt"
	"math"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/series"
)

// Reader decodes records into a Batch. What it cannot take it counts and
// leaves out, so that one bad datum does not cost the others. Equal records in
// equal order give equal batches. The zero value takes no samples: set Newest
// first. It is not safe for concurrent use.
type Reader struct {
	// Batch holds what was taken since Reset.
	Batch series.Batch
	// Newest is the newest time, Unix milliseconds, that a datum may have.
	Newest int64
	// Refused is how many data were left out since Reset: lines, data points,
	// and where not even those can be told, records.
	Refused int
	// First says why the first of them was; nil when none was. Its Value stands
	// for what the sender wrote and is never logged.
	First *intake.Fault
	// Over says that the records hold more than a Batch may, 384 MiB: five times
	// what the longest delivery of Firehose holds.
	Over bool

	records int
	desc    series.Descriptor
	stats   []stat
}

// stat is one statistic of a period.
type stat struct {
	name  string
	value float64
}

const (
	// maxPooled is how much memory a Reader keeps over Reset, in bytes.
	maxPooled = 4 << 20
	maxBatch  = 384 << 20
	// maxEach bounds the dimensions and the statistics of a datum, of which
	// CloudWatch allows 30 and 24: each statistic repeats all dimensions.
	maxEach = 64
)

// Reset makes r ready for other records.
func (r *Reader) Reset(newest int64) {
	if r.Batch.Size() > maxPooled {
		r.Batch = series.Batch{}
	}
	r.Batch.Reset()
	r.Newest, r.Refused, r.First, r.Over, r.records = newest, 0, nil, false, 0
}

// Read takes one record. The format is told anew for each: both come for a
// while after it was changed at the stream.
func (r *Reader) Read(record []byte) {
	where := fmt.Sprintf("records[%d]", r.records)
	r.records++
	if r.framed(record, where) {
		return
	}
	if start := strings.TrimLeft(string(record[:min(len(record), 64)]), " \t\r\n"); strings.HasPrefix(start, "{") {
		r.lines(record, where)
		return
	}
	if len(record) > 0 {
		r.Refuse(&intake.Fault{Field: where, Fix: fixFormat})
	}
}

// fixFormat is the advice for a record of neither format.
const fixFormat = "is neither lines of JSON nor OpenTelemetry 1.0 with lengths; choose one of the two as output format of the metric stream, and no record transformation"

// Refuse counts a datum that was left out, and keeps the first reason.
func (r *Reader) Refuse(f *intake.Fault) {
	r.Refused++
	if r.First == nil {
		r.First = f
	}
}

// Note tells a person what was left out, without the sender's words; empty
// when nothing was.
func (r *Reader) Note() string {
	if r.First == nil {
		return ""
	}
	return fmt.Sprintf("%d data refused, %d samples kept; the first: %s", r.Refused, r.Batch.Samples(), r.First.Error())
}

// The labels that are no dimensions. A dimension with such a name keeps its
// value under dimension.NAME: two series must not become one.
const (
	labelStat    = "stat"
	labelAccount = "cloud.account.id"
	labelRegion  = "cloud.region"
)

func dimensionLabel(name string) string {
	switch name {
	case labelStat, labelAccount, labelRegion:
		return "dimension." + name
	}
	return name
}

// metricPrefix stands before namespace and metric, as OpenTelemetry 1.0 has it.
const metricPrefix = "amazonaws.com/"

// period is one datum of a metric: its statistics over one period.
type period struct {
	metric, unit    string // metric with its prefix
	account, region string
	at              int64 // Unix milliseconds
	sum, count      float64
}

// take appends the series of a period. r.desc.Labels holds the dimensions and
// r.stats the statistics besides sum, count and their mean. The error is nil
// when all of them were taken.
func (r *Reader) take(p *period, where string) *intake.Fault {
	if p.at > r.Newest {
		return &intake.Fault{Field: where + ".timestamp", Fix: "set the clock of this server, or of who writes the records: the datum is more than 10 minutes ahead"}
	}
	if p.at <= 0 {
		return &intake.Fault{Field: where + ".timestamp", Fix: "send the time of the period in milliseconds since 1970"}
	}
	if !finite(p.sum) || !finite(p.count) || p.count < 0 {
		return &intake.Fault{Field: where + ".value", Fix: "send a finite sum, and a finite count of 0 or more"}
	}
	if len(r.desc.Labels) > maxEach || len(r.stats) > maxEach {
		return &intake.Fault{Field: where, Fix: "send at most 64 dimensions and 64 statistics of a datum"}
	}
	if r.Batch.Size() > maxBatch {
		r.Over = true
		return &intake.Fault{Field: where, Fix: "send less at a time; choose a smaller buffer size at the sender"}
	}
	r.label(labelAccount, p.account)
	r.label(labelRegion, p.region)
	r.desc.Metric, r.desc.Unit = clean(p.metric), clean(p.unit)
	at := r.place()
	if at < 0 {
		return &intake.Fault{Field: where + ".dimensions", Fix: "send each dimension once, with a name"}
	}
	var bad *intake.Fault
	one := func(name string, t series.Temporality, v float64) {
		if !finite(v) {
			bad = &intake.Fault{Field: where + ".value", Fix: "send finite statistics; the others of this datum were kept"}
			return
		}
		r.desc.Labels[at].Value, r.desc.Temporality = name, t
		r.Batch.Series(&r.desc)
		r.Batch.Sample(p.at, v)
	}
	one("sum", series.Delta, p.sum)
	if p.count != 0 {
		one("avg", series.Gauge, p.sum/p.count)
	}
	for _, s := range r.stats {
		one(clean(s.name), series.Gauge, s.value)
	}
	r.desc.Unit = "1"
	one("count", series.Delta, p.count)
	return bad
}

// label adds a label to the descriptor; an empty value is none.
func (r *Reader) label(name, value string) {
	if value != "" {
		r.desc.Labels = append(r.desc.Labels, series.Label{Name: clean(name), Value: clean(value)})
	}
}

// place adds the label stat, sorts the labels and returns the place of stat; -1
// when a name is empty or given twice.
func (r *Reader) place() int {
	r.desc.Labels = append(r.desc.Labels, series.Label{Name: labelStat})
	sortLabels(r.desc.Labels)
	at := -1
	for i, l := range r.desc.Labels {
		if l.Name == "" || i > 0 && l.Name == r.desc.Labels[i-1].Name {
			return -1
		}
		if l.Name == labelStat {
			at = i
		}
	}
	return at
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// clean replaces NUL, which no text column of PostgreSQL takes.
func clean(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "\ufffd")
}
