package rcf

import "math"

// points keeps the points that trees refer to. Rows stand in a ring, so that
// overlapping shingles share them; a point that is still referred to when the
// ring comes round to its oldest row is copied behind the ring. All of it is
// one array, and the id of a point is where it starts, counted in rows.
type points struct {
	data  []float32
	holds counts // how many trees hold a point, by id
	width int    // values in a row
	span  int    // rows in a point
	ring  int    // rows in the ring
	total int    // rows in data
	slack int    // values behind the last row, which whole vectors reach over
	free  int32  // head of the list of free places behind the ring, -1 for none
}

func newPoints(width, span, ring, slack int, wide bool) points {
	p := points{width: width, span: span, ring: ring, total: ring + span - 1, slack: slack, free: -1}
	p.data = make([]float32, p.total*width+slack)
	p.holds = newCounts(p.total, wide)
	return p
}

// ringRows chooses the rows of the ring so that ring and copies together are
// smallest. A point of age a (in units of the decay) is still held by some
// tree with a chance of about trees*samples*decay*exp(-a) when that is small,
// and then costs a copy of span rows.
func ringRows(o *Options, span int) int {
	least, most := ringBounds(o, span)
	decay := o.decay()
	if decay == 0 {
		return least
	}
	age := math.Log(float64(span*o.Trees*o.Samples) * decay)
	return int(math.Max(float64(least), math.Min(float64(most), age/decay)))
}

// ringBounds are the least rows that a ring works with and the most that make
// sense: then copies of all points would take as much.
func ringBounds(o *Options, span int) (least, most int) {
	return 2 * span, max(2, o.Trees*o.Samples) * span
}

// write puts a row in place at of the ring. No point may be held there.
func (p *points) write(at int, row []float32) {
	copy(p.data[at*p.width:(at+1)*p.width], row)
	if at < p.span-1 {
		// Shingles that start near the end of the ring run over it.
		copy(p.data[(at+p.ring)*p.width:(at+p.ring+1)*p.width], row)
	}
}

func (p *points) at(id uint32) []float32 {
	from := int(id) * p.width
	return p.data[from : from+p.span*p.width : from+p.span*p.width]
}

// reserve finds a place behind the ring.
func (p *points) reserve() uint32 {
	if p.free < 0 {
		more := max(16, (p.total-p.ring)/p.span/4)
		from := p.total
		p.total += more * p.span
		data := make([]float32, p.total*p.width+p.slack)
		copy(data, p.data)
		p.data = data
		p.holds.grow(p.total)
		for i := more - 1; i >= 0; i-- {
			p.release(uint32(from + i*p.span))
		}
	}
	id := uint32(p.free)
	p.free = int32(math.Float32bits(p.data[int(id)*p.width]))
	return id
}

// release puts a place behind the ring on the free list.
func (p *points) release(id uint32) {
	p.data[int(id)*p.width] = math.Float32frombits(uint32(p.free))
	p.free = int32(id)
}

// drop says that one tree less holds the point.
func (p *points) drop(id uint32) {
	if p.holds.add(id, -1) == 0 && int(id) >= p.ring+p.span-1 {
		p.release(id)
	}
}

// counts are numbers in a byte each, or in two where they may be larger.
type counts struct {
	low, high []uint8
}

func newCounts(n int, wide bool) counts {
	c := counts{low: make([]uint8, n)}
	if wide {
		c.high = make([]uint8, n)
	}
	return c
}

func (c *counts) grow(n int) {
	c.low = append(make([]uint8, 0, n), c.low...)[:n]
	if c.high != nil {
		c.high = append(make([]uint8, 0, n), c.high...)[:n]
	}
}

func (c *counts) get(i uint32) int {
	n := int(c.low[i])
	if c.high != nil {
		n |= int(c.high[i]) << 8
	}
	return n
}

func (c *counts) add(i uint32, by int) int {
	n := c.get(i) + by
	c.low[i] = uint8(n)
	if c.high != nil {
		c.high[i] = uint8(n >> 8)
	}
	return n
}

// refs are ids of points in two bytes each; the two high bytes exist from the
// first id on that needs them.
type refs struct {
	low, high []uint16
}

func (r *refs) get(i int) uint32 {
	id := uint32(r.low[i])
	if r.high != nil {
		id |= uint32(r.high[i]) << 16
	}
	return id
}

func (r *refs) set(i int, id uint32) {
	r.low[i] = uint16(id)
	if r.high == nil {
		if id>>16 == 0 {
			return
		}
		r.high = make([]uint16, len(r.low))
	}
	r.high[i] = uint16(id >> 16)
}
