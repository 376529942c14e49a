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
	Starts *uint32  // where behind Point the point of each tree is; nil where all have the first
	Boxes  *float32 // numbered
	Names  *uint16  // the number of the box of each pair of all trees, 1<<Wide values each, and one value more; nil where it is the pair's
	Paths  *uint32  // for each level, the slot in each of Trees trees
	Depths *int32   // the level of the leaf in each tree
	Going  *uint32  // trees
	Rows   *float32 // rows of Width values, and behind them as many as a point lacks of Dims
	Mask   *uint32  // ones for each dimension of a point, zeros up to Dims
	Padded *float32 // room for Dims, zeros where Mask is
	Old    *float32 // room for a box

	// A node whose mass, shifted, is less than Few has no box. Lists has, for each
	// tree, room for List numbers: how many such nodes lead to the leaf, and for
	// each of them, from the leaf up, the rows of the points beside the way, in any
	// order, the last one marked. Waiting has room for twice as many numbers as List, Light
	// for a box.
	Lists   *uint32
	Waiting *uint32
	Light   *float32

	// For each level, what it is worth to be cut off there.
	Worth *float64
	// For each level but the first, and each of Trees trees: how far the point is
	// outside the box of the node one level above, and the sum of its sides.
	Gaps *[2]float32
	// For each tree: the highest level whose box does not contain the point, the
	// leaf's if there is none, -1 if the leaf is the point; and its score.
	Tops   *int32
	Scores *float64
	// No less than the largest sum of a node's gaps so far; nodes that contain the
	// point may count too. If it exceeds float32, scores may be wrong.
	Most float64

	Trees, Slots, Dims, Width, List int // Trees is a multiple of 8
	DimBits, MassShift, Wide        uint
	DimMask, PairMask, NameMask     uint32
	Few                             uint32
}

// Descend goes down the trees from one to another, both multiples of 8, from
// the roots in the first level of Paths, and fills in Paths and Depths: right
// where the point's value in the dimension of the cut exceeds the cut, else
// left. Below a leaf Paths is undefined. It overwrites Going.
func (s Set) Descend(w *Way, from, to int) { descend8(s, w, from, to) }

// Meet compares the point with the leaves that Descend has found in the first n
// trees of Going: it sets Tops and, to what the level of the leaf is worth,
// Scores. It leaves in Going those trees in which there is a way up to go, and
// returns their number.
func (s Set) Meet(w *Way, n int) int { return meet8(s, w, n) }

// Scout asks the processor to bring near what Meet and Gather will read in the
// trees from one to another, in which Descend has found ways.
func (s Set) Scout(w *Way, from, to int) { scout8(s, w, from, to) }

// Gather lists the points under the light nodes on the way that Descend has
// found in a tree, and asks the processor to bring near what Rise and Climb
// will read.
func (s Set) Gather(w *Way, tree int) { gather8(s, w, tree) }

// Rise goes up from the leaf of a tree as Climb does, as long as nodes are
// light; Gather must have listed them. It returns what Climb would set Tops and
// Scores to, and does not.
func (s Set) Rise(w *Way, tree int, score float64) (top int, total float64) {
	return rise8(s, w, tree, score)
}

// Climb goes up the first n trees of Going from their levels in Tops, box by
// box, until one contains the point. At each level above that one it notes Gaps
// and moves the score towards Worth by the chance to be cut off there, which is
// the first gap by the sum of both. It overwrites Going.
func (s Set) Climb(w *Way, n int) { climb8(s, w, n) }

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
