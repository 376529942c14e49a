package remotewrite

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/series"
)

// The limits of one body beside its size. A symbol is sent once and used many
// times, so a small body can name more than memory holds.
const (
	maxBatch   = 64 << 20 // bytes of the batch: what the sample log takes at once
	maxSymbols = 1 << 20
	maxLabels  = 1000     // per series
	maxNames   = 64 << 10 // bytes of names and values per series
	maxRun     = 4096     // samples after which the names of a series are repeated, so that a batch can be cut
)

// decoder holds what is needed to decode one body. Its strings are parts of
// the body and are not kept.
type decoder struct {
	batch   series.Batch
	refused int           // samples and histograms
	first   *intake.Fault // why something was refused; nil when nothing was

	symbols []string
	valid   []bool // which symbols are UTF-8
	labels  []series.Label
	desc    series.Descriptor
	newest  int64 // the time, in milliseconds, that no sample may be after
	release func()
}

// reset makes the decoder ready for another body and lets go of this one.
func (d *decoder) reset() {
	d.batch.Reset()
	clear(d.symbols)
	clear(d.labels[:cap(d.labels)])
	d.desc = series.Descriptor{}
	d.refused, d.first, d.symbols, d.valid, d.labels = 0, nil, d.symbols[:0], d.valid[:0], d.labels[:0]
}

// text makes a string of a part of the body, which outlives its use here.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func broken(what string) *intake.Fault {
	return &intake.Fault{Field: "body", Fix: "send a whole " + what + "; the protobuf is broken or was cut off"}
}

// decode reads a body of version 1 or 2.
func (d *decoder) decode(body []byte, version int) error {
	if version == 1 {
		return d.decode1(body)
	}
	return d.decode2(body)
}

// decode1 reads a prometheus.WriteRequest. Metadata comes in requests of its
// own there, at its own time, so a series cannot have it from its first sample
// on and would change its name when it came: it is left out.
func (d *decoder) decode1(body []byte) error {
	index := 0
	err := fields(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		index++
		return d.series(v, index-1, 1)
	})
	return finish(err, message1)
}

// decode2 reads an io.prometheus.write.v2.Request: first the symbols, which
// need not stand before the series.
func (d *decoder) decode2(body []byte) error {
	err := fields(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 4 || typ != protowire.BytesType {
			return nil
		}
		if len(d.symbols) == maxSymbols {
			return intake.ErrTooLarge
		}
		d.symbols = append(d.symbols, text(v))
		d.valid = append(d.valid, utf8.Valid(v))
		return nil
	})
	if err != nil {
		return finish(err, message2)
	}
	if len(d.symbols) > 0 && d.symbols[0] != "" {
		return &intake.Fault{Field: "symbols[0]", Value: d.symbols[0], Fix: "send the empty string as the first symbol"}
	}
	index := 0
	return finish(fields(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 5 || typ != protowire.BytesType {
			return nil
		}
		index++
		return d.series(v, index-1, 2)
	}), message2)
}

// errWire says that the protobuf itself is broken.
const errWire = wireError("broken protobuf")

type wireError string

func (e wireError) Error() string { return string(e) }

func finish(err error, message string) error {
	if errors.Is(err, errWire) {
		return broken(message)
	}
	return err
}

// fields calls f with each field of a message: v is the value of one with a
// length, n of any other. Tags and lengths of one byte, nearly all there are,
// are read without a call.
func fields(b []byte, f func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error) error {
	for len(b) > 0 {
		num, typ, size := protowire.Number(b[0]>>3), protowire.Type(b[0]&7), 1
		if b[0] >= 0x80 || num == 0 {
			num, typ, size = protowire.ConsumeTag(b)
		}
		if size < 0 {
			return errWire
		}
		b = b[size:]
		var v []byte
		var n uint64
		switch typ {
		case protowire.BytesType:
			if len(b) > 0 && b[0] < 0x80 && int(b[0]) < len(b) {
				size = 1 + int(b[0])
				v = b[1:size]
			} else {
				v, size = protowire.ConsumeBytes(b)
			}
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			n, size = protowire.ConsumeFixed64(b)
		default:
			size = protowire.ConsumeFieldValue(num, typ, b)
		}
		if size < 0 {
			return errWire
		}
		b = b[size:]
		if err := f(num, typ, v, n); err != nil {
			return err
		}
	}
	return nil
}

// fault says why a series or a sample is refused.
type fault struct{ field, fix string }

// refuse counts samples of a series that are not taken.
func (d *decoder) refuse(index, samples int, f fault) {
	d.refused += samples
	if d.first != nil {
		return
	}
	d.first = &intake.Fault{Field: "timeseries[" + strconv.Itoa(index) + "]", Value: strings.Clone(d.desc.Metric), Fix: f.fix}
	if f.field != "" {
		d.first.Field += "." + f.field
	}
}

// partial is what the sender is told of what was refused.
func (d *decoder) partial() *intake.Fault {
	f := *d.first
	f.Fix += "; " + strconv.Itoa(d.refused) + " samples were refused and " + strconv.Itoa(d.batch.Samples()) + " kept"
	return &f
}

// series reads one time series of either version. The samples are read in a
// second pass, once the names are known to be good.
func (d *decoder) series(b []byte, index, version int) error {
	d.labels, d.desc = d.labels[:0], series.Descriptor{}
	var bad fault
	var names, samples, histograms, refs int
	var kind uint64
	note := func(f fault) {
		if bad.fix == "" {
			bad = f
		}
	}
	add := func(name, value string) {
		switch {
		case len(d.labels) == maxLabels:
			note(fault{"labels", "send at most " + strconv.Itoa(maxLabels) + " labels"})
			return
		case name == "":
			note(fault{"labels", "send labels with names"})
		}
		names += len(name) + len(value)
		d.labels = append(d.labels, series.Label{Name: name, Value: value})
	}
	var pending string // the name whose value has not come
	ref := func(n uint64) {
		symbol, f := d.symbol(n, "labels_refs")
		note(f)
		if refs++; refs%2 == 1 {
			pending = symbol
		} else {
			add(pending, symbol)
		}
	}
	err := fields(b, func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error {
		switch {
		case num == 1 && version == 1 && typ == protowire.BytesType:
			name, value, err := label(v)
			if err != nil {
				return err
			}
			if !utf8.Valid(name) || !utf8.Valid(value) {
				note(fault{"labels", "send UTF-8"})
			}
			add(text(name), text(value))
		case num == 1 && version == 2 && typ == protowire.BytesType:
			for len(v) > 0 {
				n, size := protowire.ConsumeVarint(v)
				if size < 0 {
					return errWire
				}
				ref(n)
				v = v[size:]
			}
		case num == 1 && version == 2 && typ == protowire.VarintType:
			ref(n)
		case num == 2 && typ == protowire.BytesType:
			samples++
		case num == 3 && version == 2 && typ == protowire.BytesType, num == 4 && version == 1 && typ == protowire.BytesType:
			histograms++
		case num == 5 && version == 2 && typ == protowire.BytesType:
			return fields(v, func(num protowire.Number, typ protowire.Type, _ []byte, n uint64) error {
				switch {
				case num == 1 && typ == protowire.VarintType:
					kind = n
				case num == 4 && typ == protowire.VarintType:
					unit, f := d.symbol(n, "metadata.unit_ref")
					note(f)
					d.desc.Unit = unit
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	names += len(d.desc.Unit)
	switch {
	case refs%2 == 1:
		note(fault{"labels_refs", "send an even number of references: a name and a value for each label"})
	case names > maxNames:
		note(fault{"labels", "send at most " + strconv.Itoa(maxNames) + " bytes of names and values per series"})
	case version == 2 && samples > 0 && histograms > 0:
		note(fault{"", "send samples or histograms in a series, not both"})
	}
	if bad.fix == "" {
		bad = d.name()
	}
	if bad.fix != "" {
		d.refuse(index, samples+histograms, bad)
		return nil
	}
	if histograms > 0 {
		d.refuse(index, histograms, fault{"histograms", "set send_native_histograms to false: native histograms are not taken"})
	}
	if samples == 0 {
		return nil
	}
	d.desc.Temporality = temporality(kind, &d.desc)
	return d.samples(b, index)
}

// symbol resolves a reference.
func (d *decoder) symbol(ref uint64, field string) (string, fault) {
	switch {
	case ref >= uint64(len(d.symbols)):
		return "", fault{field, "send references below the number of symbols"}
	case !d.valid[ref]:
		return "", fault{field, "send UTF-8 symbols"}
	}
	return d.symbols[ref], fault{}
}

// label reads a label of version 1.
func label(b []byte) (name, value []byte, err error) {
	// As every sender writes one: the name, then the value, both short.
	if len(b) > 3 && b[0] == 0x0a && b[1] < 0x80 {
		if rest := 2 + int(b[1]); rest+1 < len(b) && b[rest] == 0x12 && b[rest+1] < 0x80 && rest+2+int(b[rest+1]) == len(b) {
			return b[2:rest], b[rest+2:], nil
		}
	}
	err = fields(b, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
		case num == 1:
			name = v
		case num == 2:
			value = v
		}
		return nil
	})
	return name, value, err
}

// name turns the labels read into those of a descriptor: sorted, each once,
// without __name__, and without empty values, which Prometheus takes for
// labels that are not there.
func (d *decoder) name() fault {
	byName := func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(d.labels, byName) {
		slices.SortStableFunc(d.labels, byName)
	}
	kept := d.labels[:0]
	last := ""
	for i, l := range d.labels {
		if i > 0 && l.Name == last {
			return fault{"labels", "send each label once"}
		}
		last = l.Name
		switch {
		case l.Name == "__name__":
			d.desc.Metric = l.Value
		case l.Value != "":
			kept = append(kept, l)
		}
	}
	d.desc.Labels = kept
	if d.desc.Metric == "" {
		return fault{"labels", "send the name of the metric as the label __name__"}
	}
	return fault{}
}

// The metric types of version 2 that say what the values of a series are.
const (
	counter        = 1
	gauge          = 2
	histogram      = 3
	gaugeHistogram = 4
	summary        = 5
	info           = 6
	stateSet       = 7
)

// temporality is what the type of a metric family makes of one of its series.
func temporality(kind uint64, desc *series.Descriptor) series.Temporality {
	switch kind {
	case counter, histogram, summary:
		if _, ok := desc.Label("quantile"); ok && kind == summary {
			return series.Gauge
		}
		if strings.HasSuffix(desc.Metric, "_created") { // a time, of OpenMetrics
			return series.Gauge
		}
		return series.Cumulative
	case gauge, gaugeHistogram, info, stateSet:
		return series.Gauge
	}
	return series.Unspecified
}

// samples reads the samples of the series described. Every value is kept, NaN
// with its bits: one of them says that the series has ended.
func (d *decoder) samples(b []byte, index int) error {
	run := 0
	return fields(b, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 2 || typ != protowire.BytesType {
			return nil
		}
		value, at, err := point(v)
		if err != nil {
			return err
		}
		if at > d.newest {
			d.refuse(index, 1, fault{"timestamp", "set the sender's clock: a sample is more than 10 minutes ahead of ours"})
			return nil
		}
		if run%maxRun == 0 {
			if d.batch.Size() > maxBatch {
				return intake.ErrTooLarge
			}
			d.batch.Series(&d.desc)
		}
		run++
		d.batch.Sample(at, value)
		return nil
	})
}

// point reads a sample of either version.
func point(b []byte) (value float64, at int64, err error) {
	// As every sender writes one: the value, then the time.
	if len(b) > 10 && b[0] == 0x09 && b[9] == 0x10 {
		if n, size := protowire.ConsumeVarint(b[10:]); size == len(b)-10 {
			return math.Float64frombits(binary.LittleEndian.Uint64(b[1:])), int64(n), nil
		}
	}
	err = fields(b, func(num protowire.Number, typ protowire.Type, _ []byte, n uint64) error {
		switch {
		case num == 1 && typ == protowire.Fixed64Type:
			value = math.Float64frombits(n)
		case num == 2 && typ == protowire.VarintType:
			at = int64(n)
		}
		return nil
	})
	return value, at, err
}
