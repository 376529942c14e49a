package rcf

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/fettleops/fettle/detect/kernel/rcf/internal/vector"
)

// A Pass goes through a forest with one point: it is what is asked, what came
// out and the memory needed on the way. The zero value is ready to use. Use one
// for every goroutine, for as many forests as you like: a forest itself has no
// such memory, and after the first call with the largest of them nothing is
// allocated. A pass keeps the last forest that it was used with from being
// collected.
type Pass struct {
	// Attribute asks for High and Low.
	Attribute bool
	// Precision, if positive, allows an approximate score: trees are asked only
	// until the standard error of the score is at most this, and at least 8 of
	// them. What is learned stays exact.
	Precision float64

	// Score is how strange the point is, see [Scoring]; 0 where the forest is not
	// ready.
	Score float64
	// High and Low are the parts of the score that are due to the point being
	// above and below what the forest knows, for each dimension of the point,
	// the oldest row first. They sum to Score. Without Attribute they are empty.
	High, Low []float64
	// Trees is how many trees the score is the mean of.
	Trees int

	all    []float32 // what the vectors from here on are parts of
	point  []float32 // padded
	row    []float32
	other  []float32
	box    []float32
	nearby []float32
	high   []float32 // sums over the trees
	low    []float32
	beside []float32
	padded []float32
	up     []float32 // of one tree
	down   []float32

	// The ways through all trees: for each level, the slot in every tree and how
	// far the point is outside the box above, and what vector.Way has of a tree.
	paths  []uint32
	gaps   [][2]float32
	depths []int32
	tops   []int32
	scores []float64
	going  []uint32
	trees  int // the length of a level: of the forest, and up to whole vectors
	slots  int // of the trees that the first level has the roots of
	rooted int // trees that the first level has the roots of
	way    vector.Way

	// The same for the points that leave, how many have left, and where the
	// last point put in stands: the level and the slot of what it pushed down.
	takers   []int32 // the trees that may take in the point being learned
	exiting  []int32 // those of them that a point leaves for it
	exits    vector.Way
	left     int
	cutLevel int
	moved    uint32

	order, names []uint32  // of the pairs of a tree that is tidied
	moving       []float32 // its boxes

	exitPaths  []uint32 // as paths and so on, each point in the place of a tree
	exitDepths []int32
	exitStarts []uint32
	exitPoints []float32

	light []float32 // the box of a light node
	lists []uint32  // the points under the light nodes on the ways, see vector.Way
	mask  []uint32
	under []uint32
	spare boxes // of a forest at rest

	// What the way through one tree left: the depth of the leaf, the first level
	// whose box does not contain the point and the chances of being cut off at it
	// and those below.
	tree   int
	path   []uint32
	cutOff []float64
	whole  []float64 // the sides of the boxes with the point in them
	worth  []float64
	near   []float32
	norm   float64
	size   int // of the sample that norm is for

	inverse, worths []float64
	depth           int
	top             int
	equal, wide     bool
}

func (p *Pass) fit(f *Forest) {
	if n := f.opts.Samples + 2; len(p.path) < n {
		p.path = make([]uint32, n)
		p.cutOff = make([]float64, n)
		p.whole = make([]float64, n)
		p.worths = make([]float64, n)
		p.inverse = make([]float64, n)
		for level := range p.inverse {
			p.inverse[level] = 1 / float64(level+1)
		}
	}
	p.fitTrees(f)
	p.worth, p.size = p.inverse, -1
	if f.opts.Scoring != InverseDepth {
		p.worth = p.worths
	}
	if len(p.point) != f.pad {
		if cap(p.all) < 14*f.pad {
			p.all = make([]float32, 14*f.pad)
		}
		all := p.all[:14*f.pad]
		clear(all)
		take := func(n int) []float32 {
			part := all[: n*f.pad : n*f.pad]
			all = all[n*f.pad:]
			return part
		}
		p.point, p.row, p.other, p.high, p.low = take(1), take(1), take(1), take(1), take(1)
		p.up, p.down, p.padded = take(1), take(1), take(1)
		p.box, p.nearby, p.beside = take(2), take(2), take(2)
	} else if f.pad != f.dims {
		clear(p.point[f.dims:])
		clear(p.padded[f.dims:])
		clear(p.other[f.dims:])
		clear(p.nearby)
		clear(p.beside)
	}
	p.fitLight(f)
	p.way = vector.Way{
		Arena: &f.arena[0], Point: &p.point[0], Paths: &p.paths[0], Depths: &p.depths[0], Going: &p.going[0], Rows: &f.points.data[0],
		Mask: &p.mask[0], Padded: &p.padded[0], Old: &p.box[0],
		Lists: &p.lists[0], Waiting: &p.lists[p.trees*int(f.few+2)], Light: &p.light[0],
		Worth: &p.worth[0], Gaps: &p.gaps[0], Tops: &p.tops[0], Scores: &p.scores[0],
		Trees: p.trees, Slots: f.slots, Dims: f.pad, Width: f.points.width, List: int(f.few + 2),
		DimBits: f.dimBits, DimMask: f.dimMask, PairMask: f.pairMask, MassShift: f.massShift, Few: f.few,
	}
	if least := leastTrees * f.pad; cap(p.exitPoints) < least {
		p.exitPoints = make([]float32, least)
	}
	p.exits = vector.Way{
		Arena: p.way.Arena, Starts: &p.exitStarts[0], Paths: &p.exitPaths[0], Depths: &p.exitDepths[0], Going: p.way.Going,
		Trees: p.trees, DimBits: f.dimBits, DimMask: f.dimMask, PairMask: f.pairMask,
	}
	f.wake(p)
	p.way.Boxes, p.way.Names = unsafe.SliceData(f.boxes.data), unsafe.SliceData(f.boxes.names)
	p.way.Wide, p.way.NameMask = f.boxes.wide, 1<<(16<<f.boxes.wide)-1
}

// fitTrees makes room for the ways and writes down where they begin.
func (p *Pass) fitTrees(f *Forest) {
	if p.slots == f.slots && p.rooted == f.opts.Trees {
		return
	}
	p.slots, p.rooted = f.slots, f.opts.Trees
	if p.trees = (f.opts.Trees + 7) &^ 7; len(p.depths) < p.trees {
		p.depths = make([]int32, p.trees)
		p.tops = make([]int32, p.trees)
		p.scores = make([]float64, p.trees)
		p.going = make([]uint32, p.trees)
		p.exitDepths = make([]int32, p.trees)
		p.exitStarts = make([]uint32, p.trees)
		p.takers = make([]int32, 0, p.trees)
		p.exiting = make([]int32, 0, p.trees)
	}
	if n := (f.opts.Samples + 2) * p.trees; len(p.paths) < n {
		p.paths = make([]uint32, n)
		p.gaps = make([][2]float32, n)
		p.exitPaths = make([]uint32, n)
	}
	for t := range p.paths[:p.trees] {
		// What fills up the last vector goes through the first trees once more.
		p.paths[t] = uint32(t % f.opts.Trees * f.slots)
	}
}

// fitLight makes room for the light nodes of the ways.
func (p *Pass) fitLight(f *Forest) {
	if n := (p.trees + 2) * int(f.few+2); len(p.lists) < n+2 {
		p.lists = make([]uint32, n+2)
	}
	if n := 2 * f.pad; len(p.light) < n {
		p.light = make([]float32, n)
	}
	if len(p.mask) < f.pad {
		p.mask = make([]uint32, f.pad)
	}
	for i := range p.mask[:f.pad] {
		p.mask[i] = 0
		if i < f.dims {
			p.mask[i] = math.MaxUint32
		}
	}
}

// Process scores the next row and then learns it. On an error, which wraps
// [ErrRow], the forest is as it was.
func (f *Forest) Process(row []float64, p *Pass) error {
	if err := f.check(row); err != nil {
		return err
	}
	f.step(row, p, true)
	return nil
}

// AppendScores processes rows, one behind the other, and appends the score of
// each to dst: a backfill. On an error the forest is as it was and nothing is
// appended.
func (f *Forest) AppendScores(dst, rows []float64, p *Pass) ([]float64, error) {
	width := f.points.width
	if len(rows)%width != 0 {
		return dst, fmt.Errorf("%w: there are %d values: must be a multiple of %d", ErrRow, len(rows), width)
	}
	for i := 0; i < len(rows); i += width {
		if err := f.check(rows[i : i+width]); err != nil {
			return dst, fmt.Errorf("row %d: %w", i/width, err)
		}
	}
	for i := 0; i < len(rows); i += width {
		f.step(rows[i:i+width], p, true)
		dst = append(dst, p.Score)
	}
	return dst, nil
}

// Observe scores the next row and does not learn it: it only becomes part of
// later shingles. It takes no part in the time decay.
func (f *Forest) Observe(row []float64, p *Pass) error {
	if err := f.check(row); err != nil {
		return err
	}
	f.step(row, p, false)
	return nil
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

func (f *Forest) step(row []float64, p *Pass, learn bool) {
	p.fit(f)
	f.shingle(row, p)
	complete := f.rows+1 >= uint64(f.points.span)

	// Make room in the ring and write the row.
	at := int(f.rows % uint64(f.points.ring))
	if from := uint32(at); f.points.holds.get(from) > 0 {
		to := f.points.reserve()
		p.way.Rows = &f.points.data[0]
		copy(f.points.at(to), f.points.at(from))
		f.rename(from, to, p)
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
	if learn {
		f.tidyOne(p)
	}
}

// shingle puts together the point that a row completes.
func (f *Forest) shingle(row []float64, p *Pass) {
	w := &f.points
	have := (w.span - 1) * w.width
	if have > 0 {
		// Where the row will be written ends the shingle; its other rows stand
		// before it, in the copy behind the ring if need be.
		end := int(f.rows % uint64(w.ring))
		if end < w.span-1 {
			end += w.ring
		}
		copy(p.point[:have], w.data[(end-w.span+1)*w.width:end*w.width])
	}
	for i, x := range row {
		// Adding 0 makes -0 of the input 0: they are equal and shall stay so.
		p.row[i] = float32(x) + 0
	}
	copy(p.point[have:], p.row[:len(row)])
}

// leastTrees is how many trees at least are asked before an approximate score
// is taken for good, and in what portions they are. It is a whole vector.
const leastTrees = 8

// judge scores the point in p and, if told, has every tree learn it.
func (f *Forest) judge(p *Pass, learn bool, id uint32) {
	score := f.Ready()
	p.Score, p.Trees, p.High, p.Low = 0, 0, p.High[:0], p.Low[:0]
	if score && p.Attribute {
		clear(p.high)
		clear(p.low)
	}
	if learn {
		f.choose(p)
	}
	if score {
		p.Score = f.ask(p, learn)
		if p.Attribute {
			f.account(p)
		}
	} else if learn {
		f.seeOff(p)
	}
	if learn {
		f.learn(p, id)
	}
}

// ask returns the score of the point in p, that of p.Trees trees. If it is to
// be learned, what leaves for it is seen off on the way: the memory for either
// arrives while the other is busy.
func (f *Forest) ask(p *Pass, learn bool) float64 {
	portion := len(f.trees)
	if p.Precision > 0 {
		portion = leastTrees
	}
	total, squares := 0.0, 0.0
	for from := 0; from < len(f.trees); from += portion {
		if n := float64(from); from > 0 && (squares-total*total/n)/(n-1)/n <= p.Precision*p.Precision {
			break
		}
		p.Trees = min(from+portion, len(f.trees))
		f.descendAll(p, from, p.Trees)
		if f.few > 0 {
			f.kernels.Scout(&p.way, from, p.Trees)
		}
		if learn && from == 0 {
			f.seeOff(p)
		}
		f.climbAll(p, from, p.Trees)
		for t := from; t < p.Trees; t++ {
			if f.trees[t].size == 0 {
				continue
			}
			s := f.scoreOf(t, p)
			total += s
			squares += s * s
			if p.Attribute {
				f.recall(t, p)
				f.blame(p, s)
			}
		}
	}
	return total / float64(p.Trees)
}

// learn has every tree that wants the point in p take it in. The trees are
// asked before any of them learns, so the ways through those that were are known.
func (f *Forest) learn(p *Pass, id uint32) {
	for _, taker := range p.takers {
		t := int(taker)
		tr := &f.trees[t]
		weight, replaces, full := tr.want, true, int(tr.size) == f.opts.Samples
		if !full {
			var accepted bool
			if weight, accepted, replaces = f.offer(t); !accepted {
				continue
			}
		}
		if tr.size == 0 {
			f.plant(t, id)
			f.push(t, weight, id)
			continue
		}
		if t < p.Trees {
			f.recall(t, p)
		} else {
			f.descendAll(p, t, t+1)
			f.walk(t, p)
		}
		kept := f.insert(t, p, id)
		if replaces {
			old := f.refs.get(t * f.opts.Samples)
			f.replaceTop(t, weight, kept)
			if full {
				f.evict(t, old, p.path, f.leave(p), p)
			} else {
				f.evict(t, old, p.path, f.descend(t, f.points.at(old), p.path), p)
			}
		} else {
			f.push(t, weight, kept)
		}
		if int(tr.size) == f.opts.Samples {
			f.schedule(t)
		}
	}
}
