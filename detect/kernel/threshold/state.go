package threshold

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// version is that of all layouts below; any change to one of them raises it.
const version = 1

// errShort is a state that ends before its last field.
var errShort = errors.New("it ends early: load the bytes that AppendState wrote, all of them")

// coder walks the fields of one value in one order, for saving and for loading,
// so that the two cannot drift apart.
type coder struct {
	buf  []byte // saving: all that was written; loading: what is left
	load bool
	err  error
}

func save(dst []byte, kind byte) coder { return coder{buf: append(dst, kind, version)} }

func load(src []byte, kind byte) coder {
	c := coder{buf: src, load: true}
	switch {
	case len(src) < 2:
		c.err = errShort
	case src[0] != kind:
		c.err = fmt.Errorf("it is of kind %q, not %q: load it into the type that saved it", src[0], kind)
	case src[1] != version:
		c.err = fmt.Errorf("it has version %d, this program reads %d: learn the model anew", src[1], version)
	default:
		c.buf = src[2:]
	}
	return c
}

// done returns the rest after a load, or the fault with the name of the type.
func (c *coder) done(name string) ([]byte, error) {
	if c.err != nil {
		return nil, fmt.Errorf("threshold: load state of %s: %w", name, c.err)
	}
	return c.buf, nil
}

func (c *coder) uint64(p *uint64) {
	if !c.load {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, *p)
		return
	}
	if c.err != nil {
		return
	}
	if len(c.buf) < 8 {
		c.err = errShort
		return
	}
	*p = binary.LittleEndian.Uint64(c.buf)
	c.buf = c.buf[8:]
}

func (c *coder) int64(p *int64) {
	u := uint64(*p)
	c.uint64(&u)
	if c.load && c.err == nil {
		*p = int64(u)
	}
}

// int takes a number of 0 to most.
func (c *coder) int(p *int, most int) {
	u := uint64(*p)
	c.uint64(&u)
	if !c.load || c.err != nil {
		return
	}
	if u > uint64(most) {
		c.err = fmt.Errorf("it holds the count %d where at most %d is possible: it was damaged", u, most)
		return
	}
	*p = int(u)
}

func (c *coder) bool(p *bool) {
	var n int
	if *p {
		n = 1
	}
	c.int(&n, 1)
	if c.load && c.err == nil {
		*p = n == 1
	}
}

// float takes a finite number.
func (c *coder) float(p *float64) {
	u := math.Float64bits(*p)
	c.uint64(&u)
	if !c.load || c.err != nil {
		return
	}
	f := math.Float64frombits(u)
	if !finite(f) {
		c.err = fmt.Errorf("it holds the number %v where only finite ones are possible: it was damaged", f)
		return
	}
	*p = f
}

func (c *coder) floats(s []float64) {
	for i := range s {
		c.float(&s[i])
	}
}

// setting writes a setting, and on loading demands that it is the same.
func (c *coder) setting(name string, have float64) {
	was := have
	c.float(&was)
	if c.load && c.err == nil && was != have {
		c.err = fmt.Errorf("it was saved with %s %v and is loaded with %v: use equal settings", name, was, have)
	}
}

func (c *coder) flag(name string, have bool) {
	var f float64
	if have {
		f = 1
	}
	c.setting(name, f)
}

// orDefault returns v, or the default for zero.
func orDefault(v, def float64) float64 {
	if v == 0 {
		return def
	}
	return v
}

// within refuses a setting that is not in [low, high].
func within(owner, name string, v, low, high float64) error {
	if v >= low && v <= high {
		return nil
	}
	return fmt.Errorf("threshold: %s: %s is %v: give a number from %v to %v", owner, name, v, low, high)
}
