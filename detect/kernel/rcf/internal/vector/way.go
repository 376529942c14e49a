package vector

import "unsafe"

// Way is what the kernels that walk through trees work on. A tree is an array
// of slots; a slot is, from its low end, the dimension of a cut, the pair of
// slots it leads to (0 in a leaf), more that the kernels skip, and in its high
// half the cut as float32 or in a leaf the point's row. All pointers must be to
// enough memory: nothing is checked.
type Way struct {
	Arena  *uint64  // the slots of all trees
	Point  *float32 // Dims of them
	Boxes  *float32 // numbered
	Names  *uint16  // the number of the box of each pair of all trees, 1<<Wide values each, and one value more; nil where it is the pair's
	Paths  *uint32  // for each level, the slot in each of Trees trees
	Depths *int32   // the level of the leaf in each tree
	Going  *uint32  // the trees to go down
	Rows   *float32 // rows of Width values, and behind them as many as a point lacks of Dims
	Mask   *uint32  // ones for each dimension of a point, zeros up to Dims
	Padded *float32 // room for Dims, zeros where Mask is
	Old    *float32 // room for a box

	// A node whose mass, shifted, is less than Few has no box. Lists has, for each
	// tree, room for List numbers: how many such nodes lead to the leaf, and for
	// each of them, from the leaf up, the rows of the points beside the way, the
	// last one marked. Waiting has room for twice as many
	// numbers as List, Light for a box of each of the nodes.
	Lists   *uint32
	Waiting *uint32
	Light   *float32

	// For each level: what it is worth to be cut off there, the chance that a cut
	// at that level does it, and the sum of the sides that it is drawn from.
	Worth, Chance, Whole *float64

	Trees, Slots, Dims, Width, List int
	DimBits, MassShift, Wide        uint
	DimMask, PairMask, NameMask     uint32
	Few                             uint32
}

// Descend goes down the first n trees of Going, from the roots in the first
// level of Paths, and fills in Paths and Depths: right where the point's value
// in the dimension of the cut exceeds the cut, else left. It overwrites Going.
func (s Set) Descend(w *Way, n int) { descend8(s, w, n) }

// Gather lists the points under the light nodes on the way that Descend has
// found in a tree, and asks the processor to bring near what Climb will read.
func (s Set) Gather(w *Way, tree int) { gather8(s, w, tree) }

// Climb goes up from the leaf of a tree, box by box, until one contains the
// point. At each level above that one it notes Chance and Whole and moves score
// towards Worth by the chance. It returns the highest level noted, the leaf's
// if there is none, and the score. Where Whole of that level exceeds float32,
// what was noted may be wrong. Gather must have listed the light nodes; their
// boxes are left in Light, from the leaf up, as far as it climbed.
func (s Set) Climb(w *Way, tree int, score float64) (top int, total float64) {
	return climb8(s, w, tree, score)
}

// Near asks the processor to bring near some memory, up to 4096 bytes of it.
func Near[T any](data []T) {
	var x T
	near8(unsafe.Pointer(unsafe.SliceData(data)), min(len(data)*int(unsafe.Sizeof(x)), 4096))
}

// Hull makes box the smallest box that contains the points that begin in some
// rows, of which there is at least one, and reports whether that changed it.
func (s Set) Hull(w *Way, box []float32, rows []uint32) bool {
	return hull8(s, w, unsafe.SliceData(box), unsafe.SliceData(rows), len(rows))
}

// Around makes box the smallest box that contains the boxes from lower to upper
// and from otherLower to otherUpper, each dims long, and reports whether that
// changed it. A point is a box whose bounds are the same. Box may be one of them.
func (s Set) Around(box, lower, upper, otherLower, otherUpper []float32) bool {
	return around8(s, unsafe.SliceData(box), unsafe.SliceData(lower), unsafe.SliceData(upper),
		unsafe.SliceData(otherLower), unsafe.SliceData(otherUpper), len(box)/2)
}
