package otlp

import (
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// reader goes through the fields of a protobuf message. After next, v is the
// value of a field with a length and n that of any other.
type reader struct {
	rest   []byte
	num    protowire.Number
	typ    protowire.Type
	v      []byte
	n      uint64
	broken bool
}

// next goes to the next field; false at the end and when the rest is no field.
// Tags and lengths of one byte, nearly all there are, are read without a call.
func (r *reader) next() bool {
	b := r.rest
	if len(b) == 0 || r.broken {
		return false
	}
	size := 1
	r.num, r.typ = protowire.Number(b[0]>>3), protowire.Type(b[0]&7)
	if b[0] >= 0x80 || r.num == 0 {
		if r.num, r.typ, size = protowire.ConsumeTag(b); size < 0 {
			return r.fail()
		}
	}
	b = b[size:]
	r.v, r.n = nil, 0
	switch r.typ {
	case protowire.BytesType:
		if len(b) > 0 && b[0] < 0x80 && int(b[0]) < len(b) {
			size = 1 + int(b[0])
			r.v = b[1:size:size]
		} else {
			r.v, size = protowire.ConsumeBytes(b)
		}
	case protowire.VarintType:
		r.n, size = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		r.n, size = protowire.ConsumeFixed64(b)
	default:
		size = protowire.ConsumeFieldValue(r.num, r.typ, b)
	}
	if size < 0 {
		return r.fail()
	}
	r.rest = b[size:]
	return true
}

func (r *reader) fail() bool {
	r.broken = true
	return false
}

// err says whether the message was whole.
func (r *reader) err() error {
	if r.broken {
		return broken
	}
	return nil
}

// is reports whether the field has a number and a type; one of another type is
// an unknown field.
func (r *reader) is(num protowire.Number, typ protowire.Type) bool {
	return r.num == num && r.typ == typ
}

// merged is an embedded message. One that comes twice is one with the fields of
// both, which is what their bytes one after the other mean.
type merged struct {
	b   []byte
	has bool
	own bool // b is no part of the body
}

func (m *merged) add(v []byte) {
	switch {
	case !m.has:
		m.b, m.has = v, true
	case m.own:
		m.b = append(m.b, v...)
	default:
		m.b, m.own = append(m.b[:len(m.b):len(m.b)], v...), true
	}
}

// text makes a string of a part of the body, which outlives its use here.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
