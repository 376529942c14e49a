package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A saved model is the kind's four letters, a version byte, the settings, the
// order of points, the statistics, and a CRC-32C of all before it.
const stateVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writer appends fixed-size little-endian values.
type writer struct {
	buf   []byte
	start int
}

func newWriter(dst []byte, kind string) *writer {
	w := &writer{buf: append(dst, kind...), start: len(dst)}
	w.buf = append(w.buf, stateVersion)
	return w
}

func (w *writer) u8(v uint8)   { w.buf = append(w.buf, v) }
func (w *writer) u32(v uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, v) }
func (w *writer) u64(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }
func (w *writer) f64(v float64) {
	w.u64(math.Float64bits(v))
}

func (w *writer) flag(v bool) {
	if v {
		w.u8(1)
		return
	}
	w.u8(0)
}

func (w *writer) text(v string) {
	w.u32(uint32(len(v)))
	w.buf = append(w.buf, v...)
}

func (w *writer) frame(f *frame) {
	w.u64(uint64(f.last))
	w.flag(f.begun)
	w.u64(f.learned)
	for i := range f.deviation {
		w.f64(f.deviation[i])
		w.f64(f.expected[i])
	}
}

func (w *writer) moments(m *moments) {
	w.u32(m.n)
	w.f64(m.mean)
	w.f64(m.variance)
}

func (w *writer) sum() []byte {
	return binary.LittleEndian.AppendUint32(w.buf, crc32.Checksum(w.buf[w.start:], castagnoli))
}

// reader reads what a writer wrote. The first fault sticks and every later
// value reads as zero.
type reader struct {
	buf []byte
	err error
}

func newReader(src []byte, kind string) *reader {
	r := &reader{}
	switch {
	case len(src) < len(kind)+1+4:
		r.err = errors.New("state is cut short")
	case string(src[:len(kind)]) != kind:
		r.err = fmt.Errorf("state is of kind %q: load one of kind %q", src[:len(kind)], kind)
	case src[len(kind)] != stateVersion:
		r.err = fmt.Errorf("state has version %d: this program reads version %d", src[len(kind)], stateVersion)
	case crc32.Checksum(src[:len(src)-4], castagnoli) != binary.LittleEndian.Uint32(src[len(src)-4:]):
		r.err = errors.New("state is damaged: its checksum does not match")
	default:
		r.buf = src[len(kind)+1 : len(src)-4]
	}
	return r
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) take(n int) []byte {
	if r.err != nil || len(r.buf) < n {
		r.fail(errors.New("state is cut short"))
		return nil
	}
	b := r.buf[:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) flag() bool { return r.u8() == 1 }

// maybe reads a value that may be NaN.
func (r *reader) maybe() float64 {
	v := math.Float64frombits(r.u64())
	if math.IsInf(v, 0) {
		r.fail(errors.New("state holds an infinite value"))
		return 0
	}
	return v
}

// f64 reads a finite value.
func (r *reader) f64() float64 {
	v := r.maybe()
	if math.IsNaN(v) {
		r.fail(errors.New("state holds a value that is not a number"))
		return 0
	}
	return v
}

// scale reads a finite value that is not negative.
func (r *reader) scale() float64 {
	v := r.f64()
	if v < 0 {
		r.fail(errors.New("state holds a negative scale"))
		return 0
	}
	return v
}

// count reads a number that is at most limit.
func (r *reader) count(limit int) int {
	n := r.u32()
	if uint64(n) > uint64(limit) {
		r.fail(fmt.Errorf("state counts %d where at most %d fit", n, limit))
		return 0
	}
	return int(n)
}

// same reads a whole setting and refuses another value than the model's.
func (r *reader) same(name string, want int) {
	if got := r.u32(); r.err == nil && uint64(got) != uint64(want) {
		r.fail(fmt.Errorf("state was saved with %s %d: this model has %d", name, got, want))
	}
}

// sameValue is same for a real setting.
func (r *reader) sameValue(name string, want float64) {
	if got := math.Float64frombits(r.u64()); r.err == nil && got != want {
		r.fail(fmt.Errorf("state was saved with %s %v: this model has %v", name, got, want))
	}
}

// sameText is same for a setting in words.
func (r *reader) sameText(name, want string) {
	n := r.u32()
	if uint64(n) > uint64(len(r.buf)) {
		r.fail(errors.New("state is cut short"))
		return
	}
	if got := string(r.take(int(n))); r.err == nil && got != want {
		r.fail(fmt.Errorf("state was saved with %s %q: this model has %q", name, got, want))
	}
}

func (r *reader) frame(f *frame) {
	f.last = int64(r.u64())
	f.begun = r.flag()
	f.learned = r.u64()
	for i := range f.deviation {
		f.deviation[i] = r.scale()
		f.expected[i] = r.maybe()
	}
}

func (r *reader) moments(m *moments, window int) {
	m.n = uint32(r.count(window))
	m.mean = r.f64()
	m.variance = r.scale()
}

// end returns the fault of the whole read, named after the kind of model.
func (r *reader) end(kind string) error {
	if r.err == nil && len(r.buf) != 0 {
		r.err = fmt.Errorf("state has %d bytes too many", len(r.buf))
	}
	if r.err != nil {
		return fmt.Errorf("%s: load: %w", kind, r.err)
	}
	return nil
}
