package vector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// wood is what ways go through: trees over the same rows, in the layout that
// Way describes.
type wood struct {
	trees, samples, dims, pad, width, few, wide int

	arena  []uint64
	rows   []float32
	boxes  []float32
	names  []uint16
	point  []float32
	starts []uint32
	worth  []float64
}

const (
	dimBits   = 6
	pairBits  = 10
	massShift = dimBits + pairBits
)

// woodOf plants trees that hold samples points each. Pairs that have no box have
// names that lead nowhere.
func woodOf(random *rand.Rand, trees, samples, dims, few, wide int, scale float32) *wood {
	w := &wood{trees: trees, samples: samples, dims: dims, pad: (dims + 7) &^ 7, few: few, wide: wide, width: dims}
	if dims%2 == 0 && random.IntN(2) == 0 {
		w.width = dims / 2 // points of two rows, which overlap
	}
	number := func() float32 {
		if random.IntN(2) == 0 {
			return float32(random.IntN(5)-2)*scale + 0 // often equal
		}
		return (random.Float32()-0.5)*scale + 0 // rows have no -0
	}
	w.rows = make([]float32, 2*samples*w.width+dims+w.pad)
	for i := range w.rows {
		w.rows[i] = number()
	}
	w.point = make([]float32, w.pad)
	for i := range w.point[:dims] {
		w.point[i] = number()
	}
	w.worth = make([]float64, samples+2)
	for i := range w.worth {
		w.worth[i] = 1 / float64(i+1)
	}
	w.arena = make([]uint64, trees*w.slots())
	if wide >= 0 {
		w.names = make([]uint16, len(w.arena)/2<<wide+1)
		for i := range w.names {
			w.names[i] = math.MaxUint16
		}
	}
	for t := range trees {
		ids := make([]uint32, samples)
		for i := range ids {
			ids[i] = random.Uint32N(uint32(2 * samples))
		}
		free := uint32(1)
		w.plant(random, uint32(t*w.slots()), 0, ids, &free)
	}
	return w
}

func (w *wood) slots() int { return 2 * (w.samples + 1) }

func (w *wood) at(id uint32) []float32 { return w.rows[int(id)*w.width:][:w.dims] }

// plant puts a tree of some points into a slot of the tree at base.
func (w *wood) plant(random *rand.Rand, base, slot uint32, ids []uint32, free *uint32) {
	box := w.bounds(ids)
	var cuttable []int
	for d := range w.dims {
		if box[d] < box[w.pad+d] {
			cuttable = append(cuttable, d)
		}
	}
	mass := uint64(len(ids)-1) << massShift
	if len(cuttable) == 0 {
		w.arena[base+slot] = uint64(ids[0])<<32 | mass
		return
	}
	dim := cuttable[random.IntN(len(cuttable))]
	cut := box[dim] + (box[w.pad+dim]-box[dim])*random.Float32()
	if cut >= box[w.pad+dim] {
		cut = box[dim]
	}
	pair := *free
	*free++
	w.arena[base+slot] = uint64(math.Float32bits(cut))<<32 | mass | uint64(pair)<<dimBits | uint64(dim)
	if number := int(base/2 + pair); w.names == nil {
		w.boxes = append(w.boxes, make([]float32, max(0, (number+1)*2*w.pad-len(w.boxes)))...)
		copy(w.boxes[number*2*w.pad:], box)
	} else if len(ids)-1 >= w.few {
		name := len(w.boxes) / (2 * w.pad)
		w.boxes = append(w.boxes, box...)
		w.names[number<<w.wide] = uint16(name)
		if w.wide > 0 {
			w.names[number<<w.wide+1] = uint16(name >> 16)
		}
	}
	var left, right []uint32
	for _, id := range ids {
		if w.at(id)[dim] > cut {
			right = append(right, id)
		} else {
			left = append(left, id)
		}
	}
	w.plant(random, base, 2*pair, left, free)
	w.plant(random, base, 2*pair+1, right, free)
}

func (w *wood) bounds(ids []uint32) []float32 {
	box := make([]float32, 2*w.pad)
	copy(box, w.at(ids[0]))
	copy(box[w.pad:], w.at(ids[0]))
	for _, id := range ids[1:] {
		for d, x := range w.at(id) {
			box[d], box[w.pad+d] = min(box[d], x), max(box[w.pad+d], x)
		}
	}
	return box
}

// walked is what the kernels leave behind, as far as Way promises it.
type walked struct {
	Depths []int32
	Paths  [][]uint32
	Met    []uint32     // trees that go on
	Leaves []int32      // Tops after Meet
	Starts []uint64     // Scores after Meet
	Lists  [][][]uint32 // the points of each node, sorted
	Tops   []int32
	Scores []uint64
	Gaps   [][][2]uint32
}

// walk goes through w with the kernels of a set, up past light nodes one tree at
// a time and past the others together, as the forest does.
func (w *wood) walk(s Set) (out walked, most float64) {
	levels := w.samples + 2
	paths, depths := make([]uint32, levels*w.trees), make([]int32, w.trees)
	tops, scores := make([]int32, w.trees), make([]float64, w.trees)
	gaps, going := make([][2]float32, levels*w.trees), make([]uint32, w.trees)
	list := w.few + 2
	lists := make([]uint32, (w.trees+2)*list+2)
	mask := make([]uint32, w.pad)
	for i := range w.dims {
		mask[i] = math.MaxUint32
	}
	padded, light, old := make([]float32, w.pad), make([]float32, 2*w.pad), make([]float32, 2*w.pad)
	way := &Way{
		Arena: &w.arena[0], Point: &w.point[0], Paths: &paths[0], Depths: &depths[0], Going: &going[0],
		Rows: &w.rows[0], Mask: &mask[0], Padded: &padded[0], Old: &old[0],
		Lists: &lists[0], Waiting: &lists[w.trees*list], Light: &light[0],
		Worth: &w.worth[0], Gaps: &gaps[0], Tops: &tops[0], Scores: &scores[0],
		Trees: w.trees, Slots: w.slots(), Dims: w.pad, Width: w.width, List: list,
		DimBits: dimBits, DimMask: 1<<dimBits - 1, PairMask: 1<<pairBits - 1, MassShift: massShift, Few: uint32(w.few),
	}
	if w.boxes != nil {
		way.Boxes = &w.boxes[0]
	}
	if w.names != nil {
		way.Names, way.Wide, way.NameMask = &w.names[0], uint(w.wide), 1<<(16<<w.wide)-1
	}
	if w.starts != nil {
		way.Starts = &w.starts[0]
	}
	for t := range w.trees {
		paths[t] = uint32(t * w.slots())
	}
	// In two parts, as where a precision is asked for.
	s.Descend(way, 0, 8)
	s.Descend(way, 8, w.trees)
	s.Scout(way, 0, w.trees)
	out.Depths = slices.Clone(depths)
	for t := range w.trees {
		var path []uint32
		for level := range int(depths[t]) + 1 {
			path = append(path, paths[level*w.trees+t])
		}
		out.Paths = append(out.Paths, path)
	}
	if w.starts != nil {
		return out, 0 // only Descend takes more than one point
	}
	for t := range going {
		going[t] = uint32(t)
	}
	n := s.Meet(way, w.trees)
	out.Met, out.Leaves = slices.Clone(going[:n]), slices.Clone(tops)
	for _, score := range scores {
		out.Starts = append(out.Starts, math.Float64bits(score))
	}
	on := 0
	for _, tree := range going[:n] {
		t := int(tree)
		s.Gather(way, t)
		row, nodes := lists[t*list:(t+1)*list], int(lists[t*list])
		var under [][]uint32
		for end := 1; len(under) < nodes; {
			from := end
			for ; row[end]&last == 0; end++ {
			}
			row[end] &^= last
			ids := slices.Sorted(slices.Values(row[from : end+1]))
			row[end] |= last
			under = append(under, ids)
			end++
		}
		out.Lists = append(out.Lists, under)
		top, score := s.Rise(way, t, scores[t])
		risen := int(tops[t]) - top
		tops[t], scores[t] = int32(top), score
		if risen == nodes && top > 0 {
			going[on] = tree
			on++
		}
	}
	s.Climb(way, on)
	out.Tops = slices.Clone(tops)
	for _, score := range scores {
		out.Scores = append(out.Scores, math.Float64bits(score))
	}
	for t := range w.trees {
		var all [][2]uint32
		for level := int(tops[t]) + 1; tops[t] >= 0 && level <= int(depths[t]); level++ {
			g := gaps[level*w.trees+t]
			all = append(all, [2]uint32{math.Float32bits(g[0]), math.Float32bits(g[1])})
		}
		out.Gaps = append(out.Gaps, all)
	}
	return out, way.Most
}

// sameWays fails unless both sets go the same ways through w.
func sameWays(tb rapid.TB, w *wood) walked {
	tb.Helper()
	want, least := w.walk(Portable())
	got, most := w.walk(Best())
	if most < least {
		tb.Fatalf("%v: the largest sum is %v, want at least %v", Best(), most, least)
	}
	if most > math.MaxFloat32 {
		// Then scores may be wrong, and the forest takes them from elsewhere.
		got.Scores, want.Scores = nil, nil
	}
	g, v := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if !reflect.DeepEqual(g.Field(i).Interface(), v.Field(i).Interface()) {
			tb.Fatalf("%v, %d trees of %d in %d dims, few %d, wide %d: %s is %v, want %v",
				Best(), w.trees, w.samples, w.dims, w.few, w.wide, g.Type().Field(i).Name, g.Field(i), v.Field(i))
		}
	}
	return want
}

func TestWaysAreTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	for _, dims := range []int{1, 7, 8, 9, 16, 31, 32, 40, 64} {
		for _, samples := range []int{1, 2, 3, 9, 10, 11, 60} {
			for _, few := range []int{0, 1, 9} {
				for wide := -1; wide < 2; wide++ {
					if few > 0 && wide < 0 {
						continue // every pair has a box then
					}
					w := woodOf(random, 16+8*random.IntN(2), samples, dims, few, wide, 1)
					sameWays(t, w)
				}
			}
		}
	}
}

func TestWaysAreTheSameForAnyTrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.IntRange(0, 12).Draw(t, "few")
		wide := rapid.IntRange(-1, 1).Draw(t, "wide")
		if few > 0 {
			wide = max(wide, 0)
		}
		// The largest sums exceed float32, the smallest numbers are denormal.
		scale := rapid.SampledFrom([]float32{1, 1e38, 1e-38, 1e-44, 1e6}).Draw(t, "scale")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		w := woodOf(random, 8*rapid.IntRange(2, 4).Draw(t, "trees/8"), rapid.IntRange(1, 40).Draw(t, "samples"),
			rapid.IntRange(1, 64).Draw(t, "dims"), few, wide, scale)
		sameWays(t, w)
	})
}

func TestBoxesWithLongNumbersAreFound(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 22))
	for _, dims := range []int{8, 16} {
		w := woodOf(random, 16, 40, dims, 5, 1, 1)
		w.boxes = append(make([]float32, (1<<16)*2*w.pad), w.boxes...)
		for i := 1; i < len(w.names); i += 2 {
			w.names[i] |= 1
		}
		got := sameWays(t, w)
		if top := slices.Min(got.Tops); top > 1 {
			t.Errorf("%d dims: no way goes up past level %d, so no box was needed", dims, top)
		}
	}
}

// A point that a tree holds leads to a leaf that equals it, from which nothing
// goes up.
func TestAPointThatIsHeldIsMet(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	for _, dims := range []int{5, 8, 24} {
		w := woodOf(random, 16, 20, dims, 4, 0, 1)
		first := w.arena[0]
		for at := uint32(0); uint32(first)>>dimBits&(1<<pairBits-1) != 0; first = w.arena[at] {
			at = 2 * (uint32(first) >> dimBits & (1<<pairBits - 1))
		}
		copy(w.point, w.at(uint32(first>>32)))
		got := sameWays(t, w)
		if got.Leaves[0] != -1 || got.Tops[0] != -1 || slices.Contains(got.Met, 0) {
			t.Errorf("%d dims: the leaf that equals the point is left at level %d for %d", dims, got.Leaves[0], got.Tops[0])
		}
	}
}

// Each tree may have a point of its own, as those have that leave.
func TestWaysOfManyPointsAreTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 16))
	for _, dims := range []int{1, 8, 13, 32} {
		w := woodOf(random, 24, 30, dims, 0, -1, 1)
		w.point = nil
		for tree := range w.trees {
			w.starts = append(w.starts, uint32(tree*dims))
			w.point = append(w.point, w.at(random.Uint32N(uint32(2*w.samples)))...)
		}
		w.point = append(w.point, make([]float32, w.pad)...)
		sameWays(t, w)
	}
}

func TestHullsAreTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 18))
	for _, dims := range []int{1, 7, 8, 9, 24, 32, 63, 64} {
		for n := 1; n <= 12; n++ {
			w := woodOf(random, 8, 8, dims, 0, -1, 1)
			ids := make([]uint32, n)
			for i := range ids {
				ids[i] = random.Uint32N(16)
			}
			want := w.bounds(ids)
			mask := make([]uint32, w.pad)
			for i := range dims {
				mask[i] = math.MaxUint32
			}
			padded, old := make([]float32, w.pad), make([]float32, 2*w.pad)
			way := &Way{Rows: &w.rows[0], Mask: &mask[0], Padded: &padded[0], Old: &old[0], Dims: w.pad, Width: w.width}
			for _, s := range []Set{Portable(), Best()} {
				box := make([]float32, 2*w.pad, 2*w.pad+1)
				box[dims-1] = 99
				if !s.Hull(way, box, ids) || !slices.Equal(box, want) {
					t.Errorf("%v: the hull of %d points in %d dims is %v, want %v", s, n, dims, box, want)
				}
				if s.Hull(way, box, ids) || !slices.Equal(box, want) {
					t.Errorf("%v: the hull of %d points in %d dims changes when made again", s, n, dims)
				}
			}
		}
	}
}

func TestBoxesAroundBoxesAreTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(19, 20))
	lengths(func(dims int) {
		a, b := inputOf(dims, random.Uint32), inputOf(dims, random.Uint32)
		want := make([]float32, 2*dims)
		for i := range dims {
			want[i] = min(a.box[i], b.box[i])
			want[dims+i] = max(a.box[dims+i], b.box[dims+i])
		}
		for _, s := range []Set{Portable(), Best()} {
			around := func(box []float32) bool {
				return s.Around(box, a.box[:dims], a.box[dims:], b.box[:dims], b.box[dims:])
			}
			box := slices.Clone(want)
			box[2*dims-1]++
			box[0]--
			changes := box[0] != want[0] || box[2*dims-1] != want[2*dims-1]
			for _, changed := range []bool{changes, false} {
				if got := around(box); got != changed || !slices.Equal(box, want) {
					t.Errorf("%v, %d dims: changed is %v, want %v; the box is %v, want %v", s, dims, got, changed, box, want)
				}
			}
			into := slices.Clone(a.box) // the box may be one of those it is around
			s.Around(into, into[:dims], into[dims:], b.box[:dims], b.box[dims:])
			if !slices.Equal(into, want) {
				t.Errorf("%v, %d dims: in place the box is %v, want %v", s, dims, into, want)
			}
		}
	})
}

func TestNearTakesAnyLength(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 5000} {
		t.Run(fmt.Sprint(n), func(*testing.T) { Near(make([]float32, n)) })
	}
}
