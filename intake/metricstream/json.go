package metricstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/series"
)

// datum is a line of the JSON format.
type datum struct {
	AccountID  string              `json:"account_id"`
	Region     string              `json:"region"`
	Namespace  string              `json:"namespace"`
	MetricName string              `json:"metric_name"`
	Dimensions map[string]string   `json:"dimensions"`
	Timestamp  int64               `json:"timestamp"`
	Value      map[string]*float64 `json:"value"`
	Unit       string              `json:"unit"`
}

// lines reads a record of JSON objects, one a line. Objects that follow each
// other without a line break between are read too: not everything that joins
// records puts one in.
func (r *Reader) lines(record []byte, where string) {
	n := 0
	for line := range bytes.Lines(record) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		at := fmt.Sprintf("%s.line %d", where, n)
		var d datum
		err := json.Unmarshal(line, &d)
		if err == nil {
			r.datum(&d, at)
			continue
		}
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			r.joined(line, at)
			continue
		}
		r.Refuse(misfit(err, at))
	}
}

// joined reads objects without a line break between them, up to the first that
// is none.
func (r *Reader) joined(line []byte, at string) {
	dec := json.NewDecoder(bytes.NewReader(line))
	for {
		var d datum
		err := dec.Decode(&d)
		var wrongType *json.UnmarshalTypeError
		switch {
		case err == nil:
			r.datum(&d, at)
		case errors.Is(err, io.EOF):
			return
		case errors.As(err, &wrongType): // the decoder has gone past it
			r.Refuse(misfit(err, at))
		default:
			r.Refuse(misfit(err, at))
			return
		}
	}
}

func misfit(err error, at string) *intake.Fault {
	f := intake.NotJSON(err, "a datum of a metric stream")
	if f.Field == "body" {
		f.Field = ""
	}
	f.Field = strings.TrimSuffix(at+"."+f.Field, ".")
	return f
}

// The statistics that every datum has, under their names in JSON.
const (
	jsonMax   = "max"
	jsonMin   = "min"
	jsonSum   = "sum"
	jsonCount = "count"
)

func (r *Reader) datum(d *datum, at string) {
	if d.Namespace == "" || d.MetricName == "" {
		r.Refuse(&intake.Fault{Field: at, Fix: "send data of a CloudWatch metric stream; this has no namespace or metric_name"})
		return
	}
	for _, name := range [...]string{jsonMax, jsonMin, jsonSum, jsonCount} {
		if d.Value[name] == nil {
			r.Refuse(&intake.Fault{Field: at + ".value." + name, Fix: "is missing; a metric stream sends max, min, sum and count"})
			return
		}
	}
	r.desc.Labels, r.stats = r.desc.Labels[:0], r.stats[:0]
	for name, value := range d.Dimensions {
		r.dimension(name, value)
	}
	for name, v := range d.Value {
		switch {
		case name == jsonSum, name == jsonCount:
		case v == nil, name == "", name == "avg": // avg is computed and must not be there twice
			r.Refuse(&intake.Fault{Field: at + ".value", Fix: "is no statistic of a metric stream; the others of this datum were kept"})
		default:
			r.stats = append(r.stats, stat{name, *v})
		}
	}
	slices.SortFunc(r.stats, func(a, b stat) int { return strings.Compare(a.name, b.name) })
	bad := r.take(&period{
		metric: metricPrefix + d.Namespace + "/" + d.MetricName, unit: d.Unit, account: d.AccountID, region: d.Region,
		at: d.Timestamp, sum: *d.Value[jsonSum], count: *d.Value[jsonCount],
	}, at)
	if bad != nil {
		r.Refuse(bad)
	}
}

// dimension adds a dimension as a label.
func (r *Reader) dimension(name, value string) { r.label(dimensionLabel(name), value) }

func sortLabels(l []series.Label) {
	slices.SortFunc(l, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
}
