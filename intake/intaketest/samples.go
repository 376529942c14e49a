package intaketest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/series"
)

// SoundSamples returns how many samples a record's body holds and what is
// wrong with it: a series without a metric, or whose labels are not sorted,
// each once and with a value.
func SoundSamples(body []byte) (n int, err error) {
	var r series.BatchReader
	if err := r.Open(body); err != nil {
		return 0, err
	}
	for r.Next() {
		d, err := series.ParseKey(r.Key())
		if err != nil {
			return n, err
		}
		if d.Metric == "" || d.Temporality > series.Delta {
			return n, fmt.Errorf("series %+v", d)
		}
		for i, l := range d.Labels {
			if l.Name == "" || l.Value == "" || i > 0 && d.Labels[i-1].Name >= l.Name {
				return n, fmt.Errorf("labels of %s: %q", d.Metric, d.Labels)
			}
		}
		n += len(r.Points())
	}
	return n, r.Err()
}

// FuzzSamples feeds the decoder of a Speaker with mutations of bodies that are
// not compressed. Whatever comes in, it does not panic, refuses with an error of
// class ops.ErrInvalid or gives sound samples, and decodes the same body the
// same way again.
func FuzzSamples(f *testing.F, driver intake.Driver, options string, header http.Header, seeds ...[]byte) {
	for _, b := range seeds {
		f.Add(b)
	}
	speaker, ok := source(f, driver, options).(intake.Speaker)
	if !ok {
		f.Fatalf("the sources of %s are no Speakers", driver.Name)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		first := samplesOf(t, speaker, header, body)
		if again := samplesOf(t, speaker, header, body); !slices.EqualFunc(first, again, bytes.Equal) {
			t.Errorf("decoded twice:\n%q\n%q", first, again)
		}
	})
}

// samplesOf decodes a body, checks what comes of it and lets it go.
func samplesOf(t *testing.T, speaker intake.Speaker, header http.Header, body []byte) [][]byte {
	t.Helper()
	r := &intake.Request{Integration: Name, Header: header, Body: bytes.Clone(body), ReceivedAt: Now}
	d, err := speaker.Decode(r)
	if d.Release != nil {
		defer d.Release()
	}
	if a := speaker.Answer(r, d, d.Outcome, time.Second, err); a.Status < 200 || err != nil && a.Status < 300 {
		t.Errorf("answer %d to %v", a.Status, err)
	}
	if err != nil {
		var fault *intake.Fault
		if !errors.As(err, &fault) && !errors.Is(err, intake.ErrTooLarge) && !errors.Is(err, intake.ErrMediaType) && !errors.Is(err, intake.ErrCoding) {
			t.Errorf("an error of a decoder is a *intake.Fault or of a class of its own, got %T: %v", err, err)
		}
		return nil
	}
	if d.Samples == nil {
		return nil
	}
	parts, n := d.Samples.Parts(), 0
	for _, part := range parts {
		samples, err := SoundSamples(part)
		if err != nil {
			t.Error(err)
		}
		n += samples
	}
	if n != d.Samples.Samples() {
		t.Errorf("%d samples read back of %d", n, d.Samples.Samples())
	}
	return parts
}
