package rcf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A saved forest is its options, its counters, the points that trees hold and,
// for each tree, its cuts from the root on, left before right, and its sample.
// Masses and boxes follow from these. All of it is followed by a checksum.

const (
	magic   = "rcf\x00"
	version = 1
)

// ErrState is what every error about a saved forest wraps.
var ErrState = errors.New("rcf: saved forest refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrState, fmt.Sprintf(format, args...))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendBinary appends the forest to dst, for [Load]. A loaded forest goes on
// exactly as the saved one would have. It takes about two thirds of the memory of
// a resting forest, see [Forest.Rest]. The error is always nil.
func (f *Forest) AppendBinary(dst []byte) ([]byte, error) {
	from := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, version)
	o := &f.opts
	for _, n := range []int{o.Dims, o.Shingle, o.Trees, o.Samples, o.OutputAfter} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = append(dst, flag(o.External), byte(o.Scoring))
	for _, x := range []float64{o.TimeDecay, o.InitialAccept, f.decayed} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
	}
	dst = binary.LittleEndian.AppendUint64(dst, o.Seed)
	for _, n := range []uint64{uint64(f.points.ring), f.rows, f.learned, f.decayedAt} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst, names := f.appendPoints(dst)
	numbers := make([]uint32, f.points.total)
	for t := range f.trees {
		dst = f.appendTree(dst, t, names, numbers)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli)), nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// appendPoints appends the rows that points need and returns what points are
// called in the saved form: twice the age of the first row, or one more than
// twice the number of the place behind the ring.
func (f *Forest) appendPoints(dst []byte) (out []byte, names []uint32) {
	w := &f.points
	names = make([]uint32, w.total)
	var behind []uint32
	needed := make([]bool, w.ring+1) // by age
	for age := 1; age < w.span && uint64(age) <= f.rows; age++ {
		needed[age] = true
	}
	for t := range f.trees {
		f.leaves(t, func(id uint32) {
			if int(id) < w.ring {
				age := f.age(id)
				names[id] = 2 * uint32(age)
				for row := range w.span {
					needed[age-row] = true
				}
			} else if names[id] == 0 {
				names[id] = uint32(2*len(behind) + 1)
				behind = append(behind, id)
			}
		})
	}
	bits := make([]byte, w.ring/8+1)
	for age, need := range needed {
		if need {
			bits[age/8] |= 1 << (age % 8)
		}
	}
	dst = append(dst, bits...)
	for age, need := range needed {
		if need {
			at := f.aged(age)
			dst = appendFloats(dst, w.data[at*w.width:(at+1)*w.width])
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(behind)))
	for _, id := range behind {
		dst = appendFloats(dst, w.at(id))
	}
	return dst, names
}

// age is how many rows ago the row at a place of the ring was written, from 1.
func (f *Forest) age(at uint32) int {
	ring := f.points.ring
	return (int(f.rows%uint64(ring))-int(at)+ring-1)%ring + 1
}

// aged is the place in the ring of the row of an age.
func (f *Forest) aged(age int) int {
	ring := f.points.ring
	return (int(f.rows%uint64(ring)) - age + ring) % ring
}

func appendFloats(dst []byte, xs []float32) []byte {
	for _, x := range xs {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// leaves calls visit with the point of each leaf of a tree, from left to right.
func (f *Forest) leaves(t int, visit func(id uint32)) {
	if f.trees[t].size > 0 {
		f.leavesUnder(uint32(t*f.slots), uint32(t*f.slots), visit)
	}
}

func (f *Forest) leavesUnder(base, at uint32, visit func(id uint32)) {
	for {
		pair := f.pairOf(f.arena[at])
		if pair == 0 {
			visit(uint32(f.arena[at] >> 32))
			return
		}
		f.leavesUnder(base, base+2*pair, visit)
		at = base + 2*pair + 1
	}
}

// appendTree appends a tree; numbers is room for the number of each point's
// leaf, from left to right.
func (f *Forest) appendTree(dst []byte, t int, names, numbers []uint32) []byte {
	tr := &f.trees[t]
	dst = binary.LittleEndian.AppendUint64(dst, tr.rng)
	dst = binary.AppendUvarint(dst, uint64(tr.size))
	if tr.size == 0 {
		return dst
	}
	if int(tr.size) == f.opts.Samples {
		dst = binary.AppendUvarint(dst, tr.next-f.learned)
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(tr.want))
	}
	base := uint32(t * f.slots)
	dst = f.appendNode(dst, base, base, names)
	leaves := uint32(0)
	f.leaves(t, func(id uint32) {
		numbers[id] = leaves
		leaves++
	})
	for i := t * f.opts.Samples; i < t*f.opts.Samples+int(tr.size); i++ {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f.weights[i]))
		dst = binary.AppendUvarint(dst, uint64(numbers[f.refs.get(i)]))
	}
	return dst
}

func (f *Forest) appendNode(dst []byte, base, at uint32, names []uint32) []byte {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 {
		return binary.AppendUvarint(dst, uint64(names[slot>>32])<<1|1)
	}
	dst = binary.AppendUvarint(dst, uint64(uint32(slot)&f.dimMask)<<1)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(slot>>32))
	dst = f.appendNode(dst, base, base+2*pair, names)
	return f.appendNode(dst, base, base+2*pair+1, names)
}

// Saved returns the options of a saved forest. BoxMass and Scalar are not among
// them.
func Saved(data []byte) (Options, error) {
	r, err := open(data)
	if err != nil {
		return Options{}, err
	}
	o, _ := r.options()
	return o, r.err
}

// Load returns the forest that [Forest.AppendBinary] saved. It fails, with an
// error that wraps [ErrState], when data is damaged, of another version or was
// saved under options other than o: a forest cannot be resized, nor merged
// with another, as its sample would no longer be what it says. TimeDecay,
// BoxMass and Scalar may differ: the first is set as [Forest.SetTimeDecay] does.
func Load(o Options, data []byte) (*Forest, error) {
	l, err := o.complete()
	if err != nil {
		return nil, err
	}
	r, err := open(data)
	if err != nil {
		return nil, err
	}
	saved, decayed := r.options()
	if r.err != nil {
		return nil, r.err
	}
	if err := same(o, saved); err != nil {
		return nil, err
	}
	ring := r.uvarint()
	if least, most := ringBounds(&o, o.span()); ring < uint64(least) || ring > uint64(most) {
		return nil, refuse("its ring has %d rows", ring)
	}
	decay := o.TimeDecay
	o.TimeDecay = saved.TimeDecay
	f := empty(o, l, int(ring))
	f.decayed = decayed
	f.rows, f.learned, f.decayedAt = r.uvarint(), r.uvarint(), r.uvarint()
	if f.learned > f.rows || f.decayedAt > f.learned || !(decayed >= 0 && decayed <= 1e9) {
		return nil, refuse("its counters contradict each other")
	}
	r.load(f)
	if r.err == nil && len(r.data) > 0 {
		r.fail("%d bytes behind its end", len(r.data))
	}
	if r.err != nil {
		return nil, r.err
	}
	if decay != f.opts.TimeDecay {
		if err := f.SetTimeDecay(decay); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// same names the first option that differs.
func same(want, saved Options) error {
	f := func(name string, want, saved any) error {
		if want == saved {
			return nil
		}
		return refuse("%s is %v there and %v here: load it with what it was saved with, or start a new forest", name, saved, want)
	}
	return errors.Join(
		f("Dims", want.Dims, saved.Dims), f("Shingle", want.Shingle, saved.Shingle), f("External", want.External, saved.External),
		f("Trees", want.Trees, saved.Trees), f("Samples", want.Samples, saved.Samples), f("Scoring", want.Scoring, saved.Scoring),
		f("InitialAccept", want.InitialAccept, saved.InitialAccept), f("OutputAfter", want.OutputAfter, saved.OutputAfter),
		f("Seed", want.Seed, saved.Seed))
}

// reader takes a saved forest apart. After a failure it gives zeros.
type reader struct {
	data []byte
	err  error
}

func open(data []byte) (*reader, error) {
	if len(data) < len(magic)+1+4 || string(data[:len(magic)]) != magic {
		return nil, refuse("it is not a forest")
	}
	if v := data[len(magic)]; v != version {
		return nil, refuse("its version is %d: this program reads %d", v, version)
	}
	end := len(data) - 4
	if crc32.Checksum(data[:end], castagnoli) != binary.LittleEndian.Uint32(data[end:]) {
		return nil, refuse("its checksum is wrong")
	}
	return &reader{data: data[len(magic)+1 : end]}, nil
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = refuse(format, args...)
		r.data = nil
	}
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || len(r.data) < n {
		r.fail("it ends early")
		return make([]byte, n)
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	x, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail("it ends early")
		return 0
	}
	r.data = r.data[n:]
	return x
}

func (r *reader) float32() float32 {
	x := math.Float32frombits(binary.LittleEndian.Uint32(r.bytes(4)))
	if !(math.Abs(float64(x)) <= math.MaxFloat32) {
		r.fail("it has a number that is not finite")
		return 0
	}
	return x
}

func (r *reader) float64() float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(r.bytes(8)))
}

func (r *reader) options() (o Options, decayed float64) {
	for _, n := range []*int{&o.Dims, &o.Shingle, &o.Trees, &o.Samples, &o.OutputAfter} {
		*n = int(min(r.uvarint(), math.MaxInt32))
	}
	o.External = r.bytes(1)[0] != 0
	o.Scoring = Scoring(r.bytes(1)[0])
	o.TimeDecay, o.InitialAccept, decayed = r.float64(), r.float64(), r.float64()
	o.Seed = binary.LittleEndian.Uint64(r.bytes(8))
	if r.err == nil {
		was := o
		_, err := o.complete()
		if o.BoxMass = 0; err != nil || was != o {
			r.fail("its options are not valid")
		}
	}
	return o, decayed
}

// load fills the arenas of an empty forest.
func (r *reader) load(f *Forest) {
	w := &f.points
	bits := r.bytes(w.ring/8 + 1)
	row := make([]float32, w.span*w.width)
	has := func(age int) bool { return bits[age/8]>>(age%8)&1 != 0 }
	for age := range w.ring + 1 {
		if !has(age) {
			continue
		}
		if age == 0 || uint64(age) > f.rows {
			r.fail("it has a row from before its first")
			return
		}
		for i := range w.width {
			row[i] = r.float32()
		}
		w.write(f.aged(age), row[:w.width])
	}
	count := r.uvarint()
	if count > uint64(f.opts.Trees*f.opts.Samples) {
		r.fail("it has %d points behind its ring", count)
		return
	}
	behind := make([]uint32, count)
	for i := range behind {
		if r.err != nil {
			return
		}
		behind[i] = w.reserve()
		for j := range row {
			row[j] = r.float32()
		}
		copy(w.at(behind[i]), row)
	}
	point := func(name uint64) (id uint32, ok bool) {
		if name&1 != 0 {
			if name >>= 1; name >= count {
				return 0, false
			}
			return behind[name], true
		}
		age := int(min(name>>1, math.MaxInt32))
		if age > w.ring || age < w.span {
			return 0, false
		}
		for i := range w.span {
			if !has(age - i) {
				return 0, false
			}
		}
		return uint32(f.aged(age)), true
	}
	for t := range f.trees {
		if r.err != nil {
			return
		}
		r.tree(f, t, point)
	}
	for _, id := range behind {
		if w.holds.get(id) == 0 {
			r.fail("it has a point that no tree holds")
		}
	}
	if r.err != nil {
		return
	}
	var p Pass
	p.fit(f)
	for t := range f.trees {
		if base := uint32(t * f.slots); f.trees[t].size > 0 && !f.sound(base, base, &p) {
			r.fail("tree %d has a cut that does not cut", t)
		}
	}
}

func (r *reader) tree(f *Forest, t int, point func(uint64) (uint32, bool)) {
	tr := &f.trees[t]
	tr.rng = binary.LittleEndian.Uint64(r.bytes(8))
	size := r.uvarint()
	if size > uint64(f.opts.Samples) {
		r.fail("tree %d has a sample of %d", t, size)
	}
	if tr.size = uint32(size); tr.size == 0 || r.err != nil {
		return
	}
	if int(size) == f.opts.Samples {
		steps := r.uvarint()
		if steps == 0 || steps > never {
			r.fail("tree %d has accepted already", t)
		}
		tr.next = f.learned + steps
		tr.want = r.float32()
	}
	var ids []uint32
	r.node(f, t, uint32(t*f.slots), point, &ids)
	if r.err != nil {
		return
	}
	masses := make([]int, len(ids))
	from := t * f.opts.Samples
	for i := range int(size) {
		weight, number := r.float32(), r.uvarint()
		if number >= uint64(len(ids)) || i > 0 && f.weights[from+(i-1)/2] < weight {
			r.fail("the sample of tree %d is out of order", t)
			return
		}
		f.weights[from+i] = weight
		f.refs.set(from+i, ids[number])
		masses[number]++
	}
	for _, mass := range masses {
		if mass == 0 {
			r.fail("tree %d has a leaf outside its sample", t)
			return
		}
	}
	base := uint32(t * f.slots)
	f.remass(base, base, &masses)
}

// node reads what is to stand in slot at.
func (r *reader) node(f *Forest, t int, at uint32, point func(uint64) (uint32, bool), ids *[]uint32) {
	if r.err != nil {
		return
	}
	tag := r.uvarint()
	if tag&1 != 0 {
		id, ok := point(tag >> 1)
		if !ok {
			r.fail("tree %d holds a point that is not there", t)
			return
		}
		f.arena[at] = leaf(id)
		f.points.holds.add(id, 1)
		*ids = append(*ids, id)
		return
	}
	tr, base := &f.trees[t], uint32(t*f.slots)
	if tag>>1 >= uint64(f.dims) || int(tr.free) >= f.opts.Samples {
		r.fail("tree %d has a node too many or a dimension out of range", t)
		return
	}
	pair := tr.free
	tr.free = uint32(f.arena[base+2*pair])
	cut := r.float32()
	f.arena[at] = f.node(cut, int(tag>>1), pair, 2)
	r.node(f, t, base+2*pair, point, ids)
	r.node(f, t, base+2*pair+1, point, ids)
}
