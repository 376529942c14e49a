package feature

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// The form of a saved entity: a version byte; the fingerprint of its group; a
// byte of flags; varints of its newest sample, open step, newest begin and
// missing steps; the number of its streams, and for each its slot, hash, kind
// with flags, newest time, the time and value of its base where it has them,
// and the samples that wait, their times as differences; the CRC-32C of all
// that.
const (
	stateVersion = 1

	flagBegun   = 1
	flagFixed   = 2
	flagEmitted = 4

	flagEnded = 1 << 4 // beside the kind
	flagTaken = 1 << 5 // a base time
	flagBase  = 1 << 6 // and a value
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendState appends the entity, versioned and checksummed, to dst. What comes
// out of the loaded entity is what would have come out of this one.
func (e *Entity) AppendState(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint64(dst, e.sel.print)
	dst = append(dst, flag(e.begun, flagBegun)|flag(e.fixed, flagFixed)|flag(e.emitted, flagEmitted))
	for _, v := range []int64{e.newest, e.open, e.joined, e.missed} {
		dst = binary.AppendVarint(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.streams)))
	for i := range e.streams {
		dst = e.streams[i].append(dst)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

func flag(on bool, f byte) byte {
	if on {
		return f
	}
	return 0
}

func (s *stream) append(dst []byte) []byte {
	taken := s.baseAt != math.MinInt64
	dst = binary.AppendUvarint(dst, uint64(s.slot))
	dst = binary.LittleEndian.AppendUint64(dst, s.id)
	dst = append(dst, byte(s.kind)|flag(s.ended, flagEnded)|flag(taken, flagTaken)|flag(s.hasBase, flagBase))
	dst = binary.AppendVarint(dst, s.last)
	if taken {
		dst = binary.AppendVarint(dst, s.baseAt)
	}
	if s.hasBase {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.base))
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.pending)))
	var at int64
	for _, p := range s.pending {
		dst = binary.AppendVarint(dst, p.At-at)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(p.Value))
		at = p.At
	}
	return dst
}

// Load returns the entity saved in state. The error is of the class
// ops.ErrConflict when the state is of a group with another fingerprint, and
// ops.ErrInvalid when it is broken; either way the entity begins anew with New.
func (s *Selector) Load(key string, state []byte) (*Entity, error) {
	broken := func(why string) (*Entity, error) {
		return nil, fmt.Errorf("feature: group %s: the state of entity %q is broken: %s: %w", s.Group.Name, key, why, ops.ErrInvalid)
	}
	if len(state) < 1+8+1+4 {
		return broken("too short")
	}
	if state[0] != stateVersion {
		return broken(fmt.Sprintf("version %d, this program reads %d", state[0], stateVersion))
	}
	body, sum := state[:len(state)-4], binary.LittleEndian.Uint32(state[len(state)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return broken("its checksum is wrong")
	}
	if binary.LittleEndian.Uint64(body[1:]) != s.print {
		return nil, fmt.Errorf("feature: group %s: the state of entity %q is of other features or of another step: %w", s.Group.Name, key, ops.ErrConflict)
	}
	r := reader{rest: body[9:]}
	e := s.New(key)
	flags := r.byte()
	e.begun, e.fixed, e.emitted = flags&flagBegun != 0, flags&flagFixed != 0, flags&flagEmitted != 0
	e.newest, e.open, e.joined, e.missed = r.time(), r.varint(), r.varint(), r.varint()
	steps := int64(maxAt) / s.step
	r.bad = r.bad || e.open < 0 || e.open > steps || e.joined < 0 || e.joined > steps || e.missed < 0 || e.missed > steps
	n := r.uvarint()
	if r.bad || n > MaxSeries || n > 0 && !e.begun {
		return broken("its numbers are out of range")
	}
	e.move(e.open)
	e.streams = make([]stream, n)
	for i := range e.streams {
		t := &e.streams[i]
		t.read(&r)
		if r.bad || int(t.slot) >= len(s.slots) || i > 0 && !before(&e.streams[i-1], t) ||
			len(t.pending) > 0 && (t.pending[0].At < e.end-s.step || t.pending[len(t.pending)-1].At != t.last) || t.last > e.newest {
			return broken(fmt.Sprintf("its series %d is out of range", i))
		}
	}
	if len(r.rest) > 0 {
		return broken("it goes on after its end")
	}
	e.count()
	return e, nil
}

func before(a, b *stream) bool { return a.slot < b.slot || a.slot == b.slot && a.id < b.id }

func (s *stream) read(r *reader) {
	slot := r.uvarint()
	s.slot, s.id = uint16(min(slot, math.MaxUint16)), r.bits()
	flags := r.byte()
	s.kind, s.ended, s.hasBase = kind(flags&0xf), flags&flagEnded != 0, flags&flagBase != 0
	s.last, s.baseAt = r.time(), math.MinInt64
	if flags&flagTaken != 0 {
		s.baseAt = r.time()
	}
	if s.hasBase {
		s.base = math.Float64frombits(r.bits())
		r.bad = r.bad || !finite(s.base) || flags&flagTaken == 0
	}
	n := r.uvarint()
	if r.bad || s.kind >= kinds || n > uint64(len(r.rest))/9 {
		r.bad = true
		return
	}
	s.pending = make([]series.RawPoint, n)
	at := int64(0)
	for i := range s.pending {
		d := r.varint()
		p := series.RawPoint{At: at + d, Value: math.Float64frombits(r.bits())}
		if r.bad || d < 0 || i > 0 && d == 0 || p.At >= maxAt || p.At <= s.baseAt || !finite(p.Value) && !series.IsStale(p.Value) {
			r.bad = true
			return
		}
		s.pending[i], at = p, p.At
	}
	if n > 0 && s.ended != series.IsStale(s.pending[n-1].Value) || n == 0 && s.last != s.baseAt {
		r.bad = true
	}
}

// reader reads numbers; bad stays set once one was not there.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) byte() byte {
	if len(r.rest) < 1 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) bits() uint64 {
	if len(r.rest) < 8 {
		r.bad = true
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// time reads a time a sample may have.
func (r *reader) time() int64 {
	v := r.varint()
	r.bad = r.bad || v < 0 || v >= maxAt
	return v
}
