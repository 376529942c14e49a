#include "go_asm.h"
#include "textflag.h"

// AHEAD asks for the next slot of a tree.
#define AHEAD(off) \
	MOVL       off(R11)(R12*4), R9 \
	PREFETCHT0 (SI)(R9*8)

// func descend8(s Set, w *Way, from, to int)
//
// A tree's next slot takes a chain of loads; eight trees go in each register,
// and all of these level by level together, so that many chains are under way
// at once and nothing depends on a branch but the end. A tree that is at its
// leaf stays there while others of its register go on.
TEXT ·descend8(SB), NOSPLIT, $0-32
	CMPB s_wide+0(FP), $0
	JEQ  portable
	MOVQ w+8(FP), BX
	MOVQ from+16(FP), AX
	MOVQ to+24(FP), CX
	MOVQ Way_Arena(BX), SI
	MOVQ Way_Point(BX), DI
	MOVQ Way_Paths(BX), R8    // this level
	MOVQ Way_Trees(BX), R11
	LEAQ (R8)(R11*4), R11     // next level
	MOVQ Way_Going(BX), R10   // the first trees of the registers going
	MOVQ Way_Starts(BX), R13
	MOVQ Way_Depths(BX), R14
	VPBROADCASTD Way_DimMask(BX), Y15
	VPBROADCASTD Way_PairMask(BX), Y14
	VMOVQ   Way_DimBits(BX), X13
	VMOVUPS (DI), Y12
	VPXOR   Y11, Y11, Y11
	XORL    DX, DX            // registers going

each:
	CMPQ AX, CX
	JGE  level
	MOVL AX, (R10)(DX*4)
	VMOVDQU Y11, (R14)(AX*4)
	ADDQ $8, AX
	INCQ DX
	JMP  each

level:
	TESTQ DX, DX
	JEQ   done
	XORL  AX, AX              // index in going
	XORL  R15, R15            // registers going on
	MOVQ  Way_Paths(BX), CX

eight:
	MOVL         (R10)(AX*4), R12
	VMOVDQU      (R8)(R12*4), Y0       // slots
	VPERMQ       $0xD8, Y0, Y1         // of trees 0 1 4 5 and 2 3 6 7
	VEXTRACTI128 $1, Y1, X2
	VPCMPEQD     Y3, Y3, Y3
	VPCMPEQD     Y4, Y4, Y4
	VPXOR        Y5, Y5, Y5            // a gather waits for what it overwrites
	VPXOR        Y6, Y6, Y6
	VPGATHERDQ   Y3, (SI)(X1*8), Y5
	VPGATHERDQ   Y4, (SI)(X2*8), Y6
	VSHUFPS      $0x88, Y6, Y5, Y7     // the low halves, in order
	VSHUFPS      $0xDD, Y6, Y5, Y8     // cuts
	VPAND        Y15, Y7, Y9           // dimensions
	VPSRLD       X13, Y7, Y7
	VPAND        Y14, Y7, Y7           // pairs
	TESTQ        R13, R13
	JNE          own
	CMPQ         Way_Dims(BX), $8
	JNE          values
	VPERMPS      Y12, Y9, Y9

compare:
	VCMPPS     $0x1E, Y8, Y9, Y9       // all ones to the right
	VPADDD     Y7, Y7, Y10
	VPADDD     (CX)(R12*4), Y10, Y10
	VPSUBD     Y9, Y10, Y10
	VPCMPGTD   Y11, Y7, Y7             // all ones for a node
	VPBLENDVB  Y7, Y10, Y0, Y0
	VMOVDQU    Y0, (R11)(R12*4)
	VMOVDQU    (R14)(R12*4), Y1
	VPSUBD     Y7, Y1, Y1
	VMOVDQU    Y1, (R14)(R12*4)
	VMOVMSKPS  Y7, R9
	MOVL       R12, (R10)(R15*4)
	CMPL       R9, $1
	SBBQ       $-1, R15                // one more unless all are at a leaf
	AHEAD(0)
	AHEAD(4)
	AHEAD(8)
	AHEAD(12)
	AHEAD(16)
	AHEAD(20)
	AHEAD(24)
	AHEAD(28)
	INCQ       AX
	CMPQ       AX, DX
	JLT        eight

	MOVQ R11, R8
	MOVQ Way_Trees(BX), R9
	LEAQ (R11)(R9*4), R11
	MOVQ R15, DX
	JMP  level

own:
	VPADDD (R13)(R12*4), Y9, Y9

values:
	VPCMPEQD   Y3, Y3, Y3
	VPXOR      Y5, Y5, Y5
	VGATHERDPS Y3, (DI)(Y9*4), Y5
	VMOVAPS    Y5, Y9
	JMP        compare

done:
	VZEROUPPER
	RET

portable:
	JMP ·portableDescend(SB)

// func meet8(s Set, w *Way, n int) int
TEXT ·meet8(SB), NOSPLIT, $0-32
	CMPB  s_wide+0(FP), $0
	JEQ   portable
	MOVQ  w+8(FP), BX
	MOVQ  n+16(FP), DX
	MOVQ  Way_Going(BX), R8
	LEAQ  (R8)(DX*4), DX         // its end
	MOVQ  R8, R15                // trees going on
	MOVQ  Way_Arena(BX), SI
	MOVQ  Way_Paths(BX), R10
	MOVQ  Way_Trees(BX), R11
	MOVQ  Way_Dims(BX), R12
	MOVQ  Way_Point(BX), R9
	MOVQ  Way_Mask(BX), R14
	CMPQ  R8, DX
	JGE   done

tree:
	MOVL  (R8), CX
	MOVQ  Way_Depths(BX), AX
	MOVL  (AX)(CX*4), R13
	MOVQ  R11, DI
	IMULQ R13, DI
	ADDQ  CX, DI
	MOVL  (R10)(DI*4), AX
	MOVL  4(SI)(AX*8), DI
	IMULQ Way_Width(BX), DI
	MOVQ  Way_Rows(BX), AX
	LEAQ  (AX)(DI*4), DI         // the leaf's row
	MOVQ  Way_Worth(BX), AX
	VMOVSD (AX)(R13*8), X1
	MOVQ  Way_Scores(BX), AX
	VMOVSD X1, (AX)(CX*8)
	XORL  AX, AX

block:
	VMOVUPS   (R14)(AX*4), Y0
	VANDPS    (DI)(AX*4), Y0, Y0
	VCMPPS    $4, (R9)(AX*4), Y0, Y0 // not equal
	VPTEST    Y0, Y0
	JNE       differs
	ADDQ      $8, AX
	CMPQ      AX, R12
	JLT       block
	MOVL      $-1, R13

differs:
	MOVQ  Way_Tops(BX), AX
	MOVL  R13, (AX)(CX*4)
	MOVL  CX, (R15)
	XORL  AX, AX
	TESTL R13, R13
	SETGT AL
	LEAQ  (R15)(AX*4), R15
	ADDQ  $4, R8
	CMPQ  R8, DX
	JLT   tree

done:
	SUBQ Way_Going(BX), R15
	SHRQ $2, R15
	MOVQ R15, ret+24(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableMeet(SB)

// BOXES is how many boxes above the light nodes are brought near.
#define BOXES 5

// func scout8(s Set, w *Way, from, to int)
//
// What Gather does in a tree hangs on what it reads, and cannot be guessed: what
// then still has to come from far keeps all trees waiting. Here nothing is read
// that the way down has not.
TEXT ·scout8(SB), NOSPLIT, $0-32
	CMPB  s_wide+0(FP), $0
	JEQ   done
	MOVQ  w+8(FP), BX
	MOVQ  from+16(FP), AX
	MOVQ  Way_Arena(BX), SI
	MOVQ  Way_Trees(BX), R11
	MOVQ  Way_Names(BX), R8
	MOVQ  Way_Rows(BX), R15
	MOVQ  Way_Slots(BX), R14
	IMULQ AX, R14                 // the tree's first slot

tree:
	CMPQ  AX, to+24(FP)
	JGE   done
	MOVQ  Way_Depths(BX), R10
	MOVL  (R10)(AX*4), R13        // level
	MOVQ  R11, CX
	IMULQ R13, CX
	ADDQ  AX, CX
	MOVQ  Way_Paths(BX), R10
	LEAQ  (R10)(CX*4), R10        // the slot at the level

	// The leaf's point.
	MOVL  (R10), DX
	MOVL  4(SI)(DX*8), DI
	IMULQ Way_Width(BX), DI
	LEAQ  (R15)(DI*4), DI
	MOVQ  Way_Dims(BX), DX

near:
	PREFETCHT0 (DI)
	ADDQ       $64, DI
	SUBQ       $16, DX
	JGT        near
	PREFETCHT0 -4(DI)

level:
	TESTQ R13, R13
	JLE   next
	MOVL  (R10), DX
	MOVQ  R11, CX
	NEGQ  CX
	LEAQ  (R10)(CX*4), R9
	MOVL  (R9), DI
	MOVL  (SI)(DI*8), DI
	MOVL  Way_MassShift(BX), CX
	SHRL  CX, DI
	CMPL  DI, Way_Few(BX)
	JCC   heavy
	XORL  $1, DX
	MOVL  (SI)(DX*8), DX
	MOVL  Way_DimBits(BX), CX
	SHRL  CX, DX
	ANDL  Way_PairMask(BX), DX
	LEAL  (R14)(DX*2), DX
	PREFETCHT0 (SI)(DX*8)
	MOVQ  R9, R10
	DECQ  R13
	JMP   level

heavy:
	TESTQ   R8, R8
	JEQ     next
	MOVQ    $BOXES, R12
	CMPQ    R13, R12
	CMOVQLT R13, R12
	MOVQ    Way_Wide(BX), CX
	LEAQ    0(R11*4), R9

name:
	MOVL (R10), DI
	SHRQ $1, DI
	SHLQ CX, DI
	PREFETCHT0 (R8)(DI*2)
	SUBQ R9, R10
	DECQ R12
	JNE  name

next:
	INCQ AX
	ADDQ Way_Slots(BX), R14
	JMP  tree

done:
	RET

// func gather8(s Set, w *Way, tree int)

TEXT ·gather8(SB), NOSPLIT, $0-24
	CMPB  s_wide+0(FP), $0
	JEQ   portable
	MOVQ  w+8(FP), BX
	MOVQ  tree+16(FP), AX
	MOVQ  Way_Depths(BX), R10
	MOVL  (R10)(AX*4), R13        // level
	MOVQ  Way_Trees(BX), R11
	MOVQ  R11, CX
	IMULQ R13, CX
	ADDQ  AX, CX
	MOVQ  Way_Paths(BX), R10
	LEAQ  (R10)(CX*4), R10        // the slot at the level
	SHLQ  $2, R11
	MOVQ  Way_Arena(BX), SI
	MOVQ  Way_Slots(BX), R14
	IMULQ AX, R14                 // the tree's first slot
	MOVQ  Way_List(BX), R8
	IMULQ AX, R8
	MOVQ  Way_Lists(BX), CX
	LEAQ  (CX)(R8*4), R8          // the list
	MOVQ  R8, R9                  // its last number
	MOVL  $0, (R8)                // light nodes

level:
	TESTQ R13, R13
	JLE   done
	MOVQ  R10, DX
	SUBQ  R11, DX
	MOVL  (DX), AX
	MOVL  (SI)(AX*8), AX
	MOVL  Way_MassShift(BX), CX
	SHRL  CX, AX
	CMPL  AX, Way_Few(BX)
	JCC   heavy
	INCL  (R8)
	MOVL  (R10), AX
	XORL  $1, AX
	MOVQ  DX, R10
	DECQ  R13

	// The slots beside wait in a row. What each of them is cannot be guessed, so
	// each is written down as a leaf and as a node, and only counts as what it is.
	MOVQ Way_Waiting(BX), R12
	LEAQ 4(R12), R15              // the end of the row
	MOVL AX, (R12)
	MOVL Way_DimBits(BX), CX

slot:
	MOVL  (R12), AX
	ADDQ  $4, R12
	MOVQ  (SI)(AX*8), DX
	MOVL  DX, DI
	SHRL  CX, DI
	SHRQ  $32, DX
	MOVL  DX, 4(R9)
	ANDL  Way_PairMask(BX), DI
	LEAL  (R14)(DI*2), AX
	MOVL  AX, (R15)
	INCL  AX
	MOVL  AX, 4(R15)
	CMPL  DI, $1
	SBBQ  AX, AX                  // all ones for a leaf
	ANDL  AX, DX
	SHLQ  $2, AX
	SUBQ  AX, R9
	LEAQ  8(R15)(AX*2), R15
	IMULQ Way_Width(BX), DX
	MOVQ  Way_Rows(BX), DI
	LEAQ  (DI)(DX*4), DI
	MOVQ  Way_Dims(BX), DX

point:
	PREFETCHT0 (DI)
	ADDQ       $64, DI
	SUBQ       $16, DX
	JGT        point
	PREFETCHT0 -4(DI)
	CMPQ       R12, R15
	JNE        slot
	ORL        $0x80000000, (R9)
	JMP        level

heavy:
	MOVQ    $BOXES, DX
	CMPQ    R13, DX
	CMOVQLT R13, DX
	MOVQ    Way_Names(BX), R9
	MOVQ    Way_Boxes(BX), R14
	MOVQ    Way_Dims(BX), R12
	MOVQ    Way_Wide(BX), CX

box:
	MOVL  (R10), DI
	SHRQ  $1, DI
	TESTQ R9, R9
	JEQ   named
	SHLQ  CX, DI
	MOVL  (R9)(DI*2), DI
	ANDL  Way_NameMask(BX), DI

named:
	IMULQ R12, DI
	LEAQ  (R14)(DI*8), DI
	MOVQ  R12, AX

line:
	PREFETCHT0 (DI)
	ADDQ       $64, DI
	SUBQ       $8, AX
	JGT        line
	SUBQ       R11, R10
	DECQ       DX
	JNE        box

done:
	RET

portable:
	JMP ·portableGather(SB)

// SUMS adds, for the point in Y8 and the bounds in Y9 and Y10, how far it is
// outside to Y0 and the sides to Y1. It is beyond one bound at most.
#define SUMS \
	VSUBPS Y9, Y10, Y11 \
	VSUBPS Y8, Y9, Y9   \
	VSUBPS Y10, Y8, Y8  \
	VMAXPS Y9, Y8, Y8   \
	VMAXPS Y15, Y8, Y8  \
	VADDPS Y11, Y1, Y1  \
	VADDPS Y8, Y0, Y0

// TOTALS makes the numbers 0 and 1 of X0 the sums over Y0 and Y1.
#define TOTALS \
	VEXTRACTF128 $1, Y0, X2 \
	VEXTRACTF128 $1, Y1, X3 \
	VADDPS       X2, X0, X0 \
	VADDPS       X3, X1, X1 \
	VUNPCKLPD    X1, X0, X2 \
	VUNPCKHPD    X1, X0, X3 \
	VADDPS       X3, X2, X0 \
	VMOVSHDUP    X0, X1 \
	VADDPS       X1, X0, X0 \
	VPERMILPS    $8, X0, X0

// MOVE takes the score in X12 past the box at level R13 with the sums in X0 and
// the largest sum of both, in X6, along.
#define MOVE \
	VCVTPS2PD X0, X4              \
	VPERMILPD $1, X4, X5          \
	VADDSD    X5, X4, X5          \
	VMAXSD    X6, X5, X6          \
	VDIVSD    X5, X4, X4          \
	MOVQ      Way_Worth(BX), AX   \
	VMOVSD    -8(AX)(R13*8), X9   \
	VSUBSD    X12, X9, X9         \
	VMULSD    X4, X9, X9          \
	VADDSD    X9, X12, X12

// GROW puts the row at DI into the bounds at R14 and R9, and makes them Y9 and Y10.
#define GROW \
	VMOVUPS (CX)(AX*4), Y8       \
	VANDPS  (DI)(AX*4), Y8, Y8   \
	VMINPS  (R14)(AX*4), Y8, Y9  \
	VMAXPS  (R9)(AX*4), Y8, Y10  \
	VMOVUPS Y9, (R14)(AX*4)      \
	VMOVUPS Y10, (R9)(AX*4)

// func rise8(s Set, w *Way, tree int, score float64) (top int, total float64)
TEXT ·rise8(SB), NOSPLIT, $0-48
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   w+8(FP), BX
	MOVQ   tree+16(FP), AX
	VMOVSD score+24(FP), X12
	VMOVSD Way_Most(BX), X6
	MOVQ   Way_Depths(BX), R10
	MOVL   (R10)(AX*4), R13     // level
	MOVQ   Way_Trees(BX), R10
	IMULQ  R13, R10
	ADDQ   AX, R10              // where paths and gaps have the level
	MOVQ   Way_List(BX), R8
	IMULQ  AX, R8
	MOVQ   Way_Lists(BX), CX
	LEAQ   (CX)(R8*4), R8       // the list
	MOVQ   Way_Dims(BX), R12
	MOVQ   Way_Point(BX), SI
	VXORPS Y15, Y15, Y15
	MOVL   (R8), DX             // light nodes left
	TESTL  DX, DX
	JEQ    done

	// The box around the leaf alone.
	MOVQ  Way_Paths(BX), AX
	MOVL  (AX)(R10*4), AX
	MOVQ  Way_Arena(BX), DI
	MOVL  4(DI)(AX*8), DI
	IMULQ Way_Width(BX), DI
	MOVQ  Way_Rows(BX), CX
	LEAQ  (CX)(DI*4), DI
	MOVQ  Way_Mask(BX), CX
	MOVQ  Way_Light(BX), R14
	LEAQ  (R14)(R12*4), R9
	XORL  AX, AX

leaf:
	VMOVUPS (CX)(AX*4), Y8
	VANDPS  (DI)(AX*4), Y8, Y8
	VMOVUPS Y8, (R14)(AX*4)
	VMOVUPS Y8, (R9)(AX*4)
	ADDQ    $8, AX
	CMPQ    AX, R12
	JLT     leaf

row:
	ADDQ  $4, R8
	MOVL  (R8), AX
	MOVL  AX, DI
	ANDL  $0x7fffffff, DI
	IMULQ Way_Width(BX), DI
	MOVQ  Way_Rows(BX), R11
	LEAQ  (R11)(DI*4), DI
	TESTL AX, AX
	JLT   last
	XORL  AX, AX

grow:
	GROW
	ADDQ $8, AX
	CMPQ AX, R12
	JLT  grow
	JMP  row

last:
	XORL   AX, AX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1

growLast:
	GROW
	VMOVUPS (SI)(AX*4), Y8
	SUMS
	ADDQ $8, AX
	CMPQ AX, R12
	JLT  growLast
	TOTALS
	VMOVD    X0, AX
	TESTL    AX, AX
	JEQ      done
	MOVQ     Way_Gaps(BX), AX
	VMOVLPS  X0, (AX)(R10*8)
	MOVE
	SUBQ     Way_Trees(BX), R10
	DECQ     R13
	DECL     DX
	JNE      row

done:
	MOVQ   R13, top+32(FP)
	VMOVSD X12, total+40(FP)
	VMOVSD X6, Way_Most(BX)
	VZEROUPPER
	RET

portable:
	JMP ·portableRise(SB)

// PAIR makes AX the pair on the way through tree CX, the next one going, that
// is at its level R13, and DI where paths and gaps have that level.
#define PAIR \
	MOVL  (R8), CX          \
	MOVL  (R14)(CX*4), R13  \
	MOVQ  R11, DI           \
	IMULQ R13, DI           \
	ADDQ  CX, DI            \
	MOVL  (R10)(DI*4), AX   \
	SHRQ  $1, AX

// NAME makes the pair in AX the number of its box.
#define NAME \
	MOVQ Way_Wide(BX), CX      \
	SHLQ CX, AX                \
	MOVQ Way_Names(BX), CX     \
	MOVL (CX)(AX*2), AX        \
	ANDL Way_NameMask(BX), AX  \
	MOVL (R8), CX

// NOTE finishes the level that PAIR has begun. Whether the box contains the
// point cannot be guessed: then the chance is 0 and the score moves by nothing,
// the level stays and the tree is not among those that go on.
#define NOTE \
	TOTALS                        \
	MOVQ    Way_Gaps(BX), AX      \
	VMOVLPS X0, (AX)(DI*8)        \
	MOVQ    Way_Scores(BX), DI    \
	VMOVSD  (DI)(CX*8), X12       \
	MOVE                          \
	VMOVSD  X12, (DI)(CX*8)       \
	VMOVD   X0, AX                \
	CMPL    AX, $1                \
	ADCL    $-1, R13              \
	MOVL    R13, (R14)(CX*4)      \
	TESTL   AX, AX                \
	CMOVLEQ AX, R13               \
	MOVL    CX, (R15)             \
	XORL    AX, AX                \
	TESTL   R13, R13              \
	SETNE   AL                    \
	LEAQ    (R15)(AX*4), R15      \
	ADDQ    $4, R8                \
	CMPQ    R8, DX

// func climb8(s Set, w *Way, n int)
//
// How far up a tree it goes cannot be guessed either, and boxes come from far.
// So trees go level by level together, as they came down.
TEXT ·climb8(SB), NOSPLIT, $0-24
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   w+8(FP), BX
	MOVQ   n+16(FP), DX
	MOVQ   Way_Going(BX), R15   // trees going on
	MOVQ   Way_Paths(BX), R10
	MOVQ   Way_Trees(BX), R11
	MOVQ   Way_Tops(BX), R14
	MOVQ   Way_Boxes(BX), R9
	MOVQ   Way_Dims(BX), R12
	LEAQ   (R15)(DX*4), R15
	VMOVSD Way_Most(BX), X6
	VXORPS Y15, Y15, Y15

level:
	MOVQ Way_Going(BX), R8
	MOVQ R15, DX                // the end of going
	MOVQ R8, R15
	CMPQ R8, DX
	JEQ  done
	CMPQ R12, $8
	JNE  tree
	MOVQ Way_Point(BX), SI
	VMOVUPS (SI), Y7

tree8:
	PAIR
	CMPQ Way_Names(BX), $0
	JNE  name8

named8:
	SHLQ    $6, AX
	VMOVUPS (R9)(AX*1), Y9
	VMOVUPS 32(R9)(AX*1), Y10
	VSUBPS  Y9, Y10, Y1
	VSUBPS  Y7, Y9, Y9
	VSUBPS  Y10, Y7, Y8
	VMAXPS  Y9, Y8, Y8
	VMAXPS  Y15, Y8, Y0
	NOTE
	JLT     tree8
	JMP     level

name8:
	NAME
	JMP named8

tree:
	PAIR
	CMPQ Way_Names(BX), $0
	JNE  name

named:
	IMULQ  R12, AX
	LEAQ   (R9)(AX*8), AX
	LEAQ   (AX)(R12*4), R13
	MOVQ   Way_Point(BX), SI
	SUBQ   AX, SI               // from the box to the point
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	MOVQ   R13, R12

block:
	VMOVUPS (AX)(SI*1), Y8
	VMOVUPS (AX), Y9
	VMOVUPS (R13), Y10
	SUMS
	ADDQ    $32, AX
	ADDQ    $32, R13
	CMPQ    AX, R12
	JLT     block
	MOVL    (R14)(CX*4), R13
	MOVQ    Way_Dims(BX), R12
	NOTE
	JLT     tree
	JMP     level

name:
	NAME
	JMP named

done:
	VMOVSD X6, Way_Most(BX)
	VZEROUPPER
	RET

portable:
	JMP ·portableClimb(SB)

// func hull8(s Set, w *Way, box *float32, ids *uint32, n int) bool
TEXT ·hull8(SB), NOSPLIT, $0-41
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   w+8(FP), BX
	MOVQ   box+16(FP), R14
	MOVQ   ids+24(FP), R8
	MOVQ   n+32(FP), R9
	MOVQ   Way_Rows(BX), SI
	MOVQ   Way_Mask(BX), R10
	MOVQ   Way_Width(BX), R11
	MOVQ   Way_Dims(BX), R12
	LEAQ   (R14)(R12*4), R15
	VXORPS Y15, Y15, Y15       // what changed
	XORL   AX, AX

block:
	VMOVUPS (R10)(AX*4), Y3
	LEAQ    (SI)(AX*4), DX
	MOVL    (R8), DI
	IMULQ   R11, DI
	VMOVUPS (DX)(DI*4), Y0
	VANDPS  Y3, Y0, Y0
	VMOVAPS Y0, Y1
	MOVQ    $1, CX
	CMPQ    CX, R9
	JGE     write

row:
	MOVL    (R8)(CX*4), DI
	IMULQ   R11, DI
	VMOVUPS (DX)(DI*4), Y2
	VANDPS  Y3, Y2, Y2
	VMINPS  Y0, Y2, Y0
	VMAXPS  Y1, Y2, Y1
	INCQ    CX
	CMPQ    CX, R9
	JLT     row

write:
	VCMPPS  $4, (R14)(AX*4), Y0, Y4 // not equal
	VCMPPS  $4, (R15)(AX*4), Y1, Y5
	VMOVUPS Y0, (R14)(AX*4)
	VMOVUPS Y1, (R15)(AX*4)
	VORPS   Y4, Y5, Y5
	VORPS   Y5, Y15, Y15
	ADDQ    $8, AX
	CMPQ    AX, R12
	JLT     block
	VPTEST  Y15, Y15
	SETNE   ret+40(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableHull(SB)

// func around8(s Set, box, lower, upper, otherLower, otherUpper *float32, dims int) bool
TEXT ·around8(SB), NOSPLIT, $0-57
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   box+8(FP), DI
	MOVQ   lower+16(FP), SI
	MOVQ   upper+24(FP), BX
	MOVQ   otherLower+32(FP), R8
	MOVQ   otherUpper+40(FP), R9
	MOVQ   dims+48(FP), CX
	LEAQ   (DI)(CX*4), DX
	VXORPS Y15, Y15, Y15        // what changed
	XORL   AX, AX

block:
	VMOVUPS (SI)(AX*4), Y0
	VMOVUPS (BX)(AX*4), Y1
	VMINPS  (R8)(AX*4), Y0, Y0
	VMAXPS  (R9)(AX*4), Y1, Y1
	VCMPPS  $4, (DI)(AX*4), Y0, Y2 // not equal
	VCMPPS  $4, (DX)(AX*4), Y1, Y3
	VMOVUPS Y0, (DI)(AX*4)
	VMOVUPS Y1, (DX)(AX*4)
	VORPS   Y2, Y3, Y3
	VORPS   Y3, Y15, Y15
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLT     block
	VPTEST  Y15, Y15
	SETNE   ret+56(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableAround(SB)

// func near8(p unsafe.Pointer, bytes int)
TEXT ·near8(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), DI
	MOVQ bytes+8(FP), CX

line:
	PREFETCHT0 (DI)
	ADDQ       $64, DI
	SUBQ       $64, CX
	JGT        line
	RET
