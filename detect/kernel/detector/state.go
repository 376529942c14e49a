package detector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/fettleops/fettle/detect/kernel/rcf"
)

// A saved model is "FDET", a version byte, the name and settings, the model's
// own numbers, its parts, each with its length in front, and a CRC-32C of all
// before it, little endian. Parts have versions of their own.
const (
	stateMagic   = "FDET"
	stateVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendState implements Detector.
func (m *model) AppendState(dst []byte) ([]byte, error) {
	from := len(dst)
	dst = append(append(dst, stateMagic...), stateVersion)
	dst = m.appendSettings(dst)
	for _, v := range m.numbers() {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	dst, err := m.appendParts(dst)
	if err != nil {
		return dst[:from], err
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli)), nil
}

func (m *model) appendSettings(dst []byte) []byte {
	s := &m.settings
	dst = append(append(dst, byte(len(m.name))), m.name...)
	dst = append(append(dst, byte(len(s.Tier))), s.Tier...)
	for _, v := range []uint64{uint64(s.Features), uint64(s.Step), s.Seed, math.Float64bits(s.AlarmsPerWeek), math.Float64bits(s.MinEffect)} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

// numbers are the model's own, in the order of setNumbers.
func (m *model) numbers() []uint64 {
	begun := uint64(0)
	if m.begun {
		begun = 1
	}
	out := []uint64{begun, uint64(m.last), uint64(m.learned), math.Float64bits(m.quality), math.Float64bits(m.smooth), uint64(m.judge.learned)}
	for i := range m.forests {
		out = append(out, uint64(m.forests[i].stale))
	}
	for i := range m.scales {
		known := uint64(0)
		if m.scales[i].known {
			known = 1
		}
		out = append(out, known, math.Float64bits(m.scales[i].origin))
	}
	for i := range m.forecast.features {
		f := &m.forecast.features[i]
		known := uint64(0)
		if f.known {
			known = 1
		}
		out = append(out, known)
		for k := range f.levels {
			out = append(out, math.Float64bits(f.levels[k]), math.Float64bits(f.errors[k]))
		}
		s := &m.judge.stills[i]
		for _, v := range []float64{s.last, s.run, s.longest, s.share, s.seen, s.told} {
			out = append(out, math.Float64bits(v))
		}
	}
	return out
}

func (m *model) setNumbers(in []uint64) {
	next := func() uint64 { v := in[0]; in = in[1:]; return v }
	number := func() float64 { return math.Float64frombits(next()) }
	m.begun, m.last, m.learned, m.quality, m.smooth = next() == 1, int64(next()), int(next()), number(), number()
	m.judge.learned = int(next())
	for i := range m.forests {
		m.forests[i].stale = int(next())
	}
	for i := range m.scales {
		m.scales[i].known, m.scales[i].origin = next() == 1, number()
	}
	for i := range m.forecast.features {
		f := &m.forecast.features[i]
		f.known = next() == 1
		for k := range f.levels {
			f.levels[k], f.errors[k] = number(), number()
		}
		m.judge.stills[i] = still{last: number(), run: number(), longest: number(), share: number(), seen: number(), told: number()}
	}
}

// chained is a part whose state ends by itself.
type chained interface {
	AppendState(dst []byte) []byte
	LoadState(src []byte) ([]byte, error)
}

// chain lists those parts.
func (m *model) chain() []chained {
	var out []chained
	if m.debounce != nil {
		out = append(out, m.debounce)
	}
	if m.rank != nil {
		out = append(out, m.rank)
	}
	if m.judge.plain != nil {
		out = append(out, m.judge.plain)
	} else {
		out = append(out, m.judge.spot, m.judge.drift)
	}
	for i := range m.scales {
		if n := m.scales[i].normal; n != nil {
			out = append(out, n)
		}
	}
	out = append(out, m.forecast.expected)
	for i := range m.forecast.features {
		out = append(out, m.forecast.features[i].season, &m.forecast.features[i].effect)
	}
	return out
}

func (m *model) appendParts(dst []byte) ([]byte, error) {
	part := func(appendTo func([]byte) ([]byte, error)) (err error) {
		at := len(dst)
		dst, err = appendTo(append(dst, 0, 0, 0, 0))
		if err == nil {
			binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		}
		return err
	}
	if err := part(func(b []byte) ([]byte, error) {
		for _, c := range m.chain() {
			b = c.AppendState(b)
		}
		return b, nil
	}); err != nil {
		return dst, err
	}
	for i := range m.forests {
		if err := part(m.forests[i].AppendBinary); err != nil {
			return dst, err
		}
	}
	for _, v := range m.voices {
		if err := part(func(b []byte) ([]byte, error) { return v.AppendState(b), nil }); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

var errShort = errors.New("it is cut short: load all bytes that were saved")

// load fills a new model with a saved one.
func (m *model) load(src []byte) error {
	head := len(stateMagic) + 1
	switch {
	case len(src) < head+4:
		return errShort
	case string(src[:len(stateMagic)]) != stateMagic:
		return errors.New("it is no saved detector")
	case crc32.Checksum(src[:len(src)-4], castagnoli) != binary.LittleEndian.Uint32(src[len(src)-4:]):
		return errors.New("it is damaged: its checksum does not match")
	case src[len(stateMagic)] != stateVersion:
		return fmt.Errorf("it has version %d and this program reads %d: learn the model anew", src[len(stateMagic)], stateVersion)
	}
	src = src[head : len(src)-4]
	want := m.appendSettings(nil)
	if len(src) < len(want) || string(src[:len(want)]) != string(want) {
		return fmt.Errorf("it was saved by another detector or under other settings than %s with %+v: learn the model anew", m.name, m.settings)
	}
	src = src[len(want):]
	numbers := m.numbers()
	if len(src) < 8*len(numbers) {
		return errShort
	}
	for i := range numbers {
		numbers[i] = binary.LittleEndian.Uint64(src[8*i:])
	}
	m.setNumbers(numbers)
	return m.loadParts(src[8*len(numbers):])
}

func (m *model) loadParts(src []byte) error {
	part := func(take func([]byte) error) error {
		if len(src) < 4 || uint64(len(src)-4) < uint64(binary.LittleEndian.Uint32(src)) {
			return errShort
		}
		n := binary.LittleEndian.Uint32(src)
		err := take(src[4 : 4+n])
		src = src[4+n:]
		return err
	}
	if err := part(func(b []byte) (err error) {
		for _, c := range m.chain() {
			if b, err = c.LoadState(b); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for i := range m.forests {
		f := &m.forests[i]
		if err := part(func(b []byte) (err error) {
			f.Forest, err = rcf.Load(f.Options(), b)
			return err
		}); err != nil {
			return err
		}
	}
	for _, v := range m.voices {
		if err := part(v.LoadState); err != nil {
			return err
		}
	}
	if len(src) > 0 {
		return fmt.Errorf("%d bytes are left over: load one model at a time", len(src))
	}
	return nil
}
