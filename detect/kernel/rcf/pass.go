package rcf

import "math"

// A Pass goes through a forest with one point: it is what is asked, what came
// out and the memory needed on the way. The zero value is ready to use. Use one
// for every goroutine, for as many forests as you like: it holds nothing of
// them between calls, and after the first call with the largest forest nothing
// is allocated.
type Pass struct {
	// Attribute asks for High and Low.
	Attribute bool

	// Score is how strange the point is, see [Scoring]; 0 where the forest is not
	// ready.
	Score float64
	// High and Low are the parts of the score that are due to the point being
	// above and below what the forest knows, for each dimension of the point,
	// the oldest row first. They sum to Score. Without Attribute they are empty.
	High, Low []float64

	point  []float32 // padded
	row    []float32
	other  []float32
	box    []float32
	nearby []float32
	high   []float32
	low    []float32

	// What the way through one tree left: the slots from the root to the leaf, the
	// depth of the leaf, the first level whose box does not contain the point and
	// the chances of being cut off at it and those below.
	path   []uint32
	cutOff []float64
	worth  []float64
	near   []float32
	depth  int
	top    int
	equal  bool
}

func (p *Pass) fit(f *Forest) {
	if n := f.opts.Samples + 2; len(p.path) < n {
		p.path = make([]uint32, n)
		p.cutOff = make([]float64, n)
		p.worth = make([]float64, n)
	}
	if len(p.point) != f.pad {
		all := make([]float32, 9*f.pad)
		take := func(n int) []float32 {
			part := all[: n*f.pad : n*f.pad]
			all = all[n*f.pad:]
			return part
		}
		p.point, p.row, p.other, p.high, p.low = take(1), take(1), take(1), take(1), take(1)
		p.box, p.nearby = take(2), take(2)
	} else if f.pad != f.dims {
		clear(p.point[f.dims:])
		clear(p.other[f.dims:])
		clear(p.nearby)
	}
}

// Process scores the next row and then learns it. On an error, which wraps
// [ErrRow], the forest is as it was.
func (f *Forest) Process(row []float64, p *Pass) error {
	return f.step(row, p, true)
}

// Observe scores the next row and does not learn it: it only becomes part of
// later shingles. It takes no part in the time decay.
func (f *Forest) Observe(row []float64, p *Pass) error {
	return f.step(row, p, false)
}

// Score scores a row as if it were the next and leaves the forest as it was.
func (f *Forest) Score(row []float64, p *Pass) error {
	if err := f.check(row); err != nil {
		return err
	}
	p.fit(f)
	f.shingle(row, p)
	f.judge(p, false, 0)
	return nil
}

func (f *Forest) step(row []float64, p *Pass, learn bool) error {
	if err := f.check(row); err != nil {
		return err
	}
	p.fit(f)
	f.shingle(row, p)
	complete := f.rows+1 >= uint64(f.points.span)

	// Make room in the ring and write the row.
	at := int(f.rows % uint64(f.points.ring))
	if from := uint32(at); f.points.holds.get(from) > 0 {
		to := f.points.reserve()
		copy(f.points.at(to), f.points.at(from))
		f.rename(from, to, p)
	}
	for i, x := range row {
		p.row[i] = float32(x)
	}
	f.points.write(at, p.row[:len(row)])

	var id uint32
	if complete {
		ring := uint64(f.points.ring)
		id = uint32((f.rows + ring - uint64(f.points.span-1)) % ring)
	}
	learn = learn && complete
	if learn {
		f.learned++
		f.rebase()
	}
	f.judge(p, learn, id)
	f.rows++
	return nil
}

// shingle puts together the point that a row completes.
func (f *Forest) shingle(row []float64, p *Pass) {
	w := &f.points
	have := (w.span - 1) * w.width
	if have > 0 && f.rows > 0 {
		// Where the row will be written ends the shingle; its other rows stand
		// before it, in the copy behind the ring if need be.
		end := int(f.rows % uint64(w.ring))
		if end < w.span-1 {
			end += w.ring
		}
		copy(p.point[:have], w.data[(end-w.span+1)*w.width:end*w.width])
	}
	for i, x := range row {
		p.point[have+i] = float32(x)
	}
}

// judge scores the point in p and, if told, has every tree learn it.
func (f *Forest) judge(p *Pass, learn bool, id uint32) {
	score := f.Ready()
	p.Score, p.High, p.Low = 0, p.High[:0], p.Low[:0]
	if score && p.Attribute {
		clear(p.high)
		clear(p.low)
	}
	if !score && !learn {
		return
	}
	total := 0.0
	for t := range f.trees {
		tr := &f.trees[t]
		var weight float32
		accepted, replaces := false, false
		if learn {
			if int(tr.size) < f.opts.Samples {
				weight, accepted, replaces = f.offer(t)
			} else if tr.next == f.learned {
				weight, accepted, replaces = tr.want, true, true
			}
		}
		if tr.size == 0 {
			if accepted {
				f.plant(t, id)
				f.push(t, weight, id)
			}
			continue
		}
		if score || accepted {
			s := f.walk(t, p)
			total += s
			if score && p.Attribute {
				f.blame(t, p, s)
			}
		}
		if !accepted {
			continue
		}
		kept := f.insert(t, p, id)
		if replaces {
			old := f.refs.get(t * f.opts.Samples)
			f.replaceTop(t, weight, kept)
			f.evict(t, old, p)
		} else {
			f.push(t, weight, kept)
		}
		if int(tr.size) == f.opts.Samples {
			f.schedule(t)
		}
	}
	if !score {
		return
	}
	p.Score = total / float64(len(f.trees))
	if p.Attribute {
		f.account(p)
	}
}

// walk goes down a tree with the point in p and back up as far as boxes do not
// contain it. It returns the tree's score.
func (f *Forest) walk(t int, p *Pass) float64 {
	slots := f.slotsOf(t)
	p.depth = f.descend(slots, p.point, p.path)
	end := slots[p.path[p.depth]]
	p.near = f.pointAt(uint32(end>>32), p.other)
	size := float64(f.trees[t].size)
	norm := math.Log2(1 + size)
	p.top = p.depth
	p.equal = f.kernels.L1(p.point, p.near) == 0
	if p.equal {
		mass := float64(f.massOf(end))
		return (1 - mass/(2*size)) / (float64(p.depth) + math.Log2(1+mass)) * norm
	}
	s := 1 / float64(p.depth+1)
	for level := p.depth - 1; level >= 0; level-- {
		box := f.box(t, p.path[level+1]/2)
		excess, span := f.kernels.Excess(p.point, box)
		if excess == 0 {
			break
		}
		chance := float64(excess) / (float64(excess) + float64(span))
		if !(excess+span <= math.MaxFloat32) {
			chance = wideChance(p.point, box)
		}
		p.cutOff[level] = chance
		p.top = level
		s = chance/float64(level+1) + (1-chance)*s
	}
	return s * norm
}

// wideChance is the chance of a cut between p and box where its parts exceed
// float32.
func wideChance(p, box []float32) float64 {
	excess, span := 0.0, 0.0
	lower, upper := box[:len(p)], box[len(p):]
	for i, x := range p {
		excess += math.Max(float64(lower[i])-float64(x), 0) + math.Max(float64(x)-float64(upper[i]), 0)
		span += float64(upper[i]) - float64(lower[i])
	}
	return excess / (excess + span)
}

func (f *Forest) blame(t int, p *Pass, s float64) {}

func (f *Forest) account(p *Pass) {}
