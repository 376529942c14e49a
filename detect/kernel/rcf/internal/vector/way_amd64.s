#include "go_asm.h"
#include "textflag.h"

// func descend8(s Set, w *Way, n int)
//
// A tree's next slot takes a chain of loads; trees go level by level together,
// so that many chains are under way at once, and nothing depends on a branch.
TEXT ·descend8(SB), NOSPLIT, $0-24
	CMPB s_wide+0(FP), $0
	JEQ  portable
	MOVQ w+8(FP), BX
	MOVQ n+16(FP), DX         // trees going
	MOVQ Way_Arena(BX), SI
	MOVQ Way_Point(BX), DI
	MOVQ Way_Paths(BX), R8    // this level
	MOVQ Way_Trees(BX), R11
	LEAQ (R8)(R11*4), R11     // next level
	MOVQ Way_Going(BX), R10
	MOVQ Way_DimBits(BX), CX
	XORL R14, R14             // level
	TESTQ DX, DX
	JLE  done

level:
	XORL AX, AX               // index in going
	XORL R15, R15             // trees going on

tree:
	MOVL     (R10)(AX*4), R12 // tree
	MOVL     (R8)(R12*4), R13 // its slot
	VMOVSS   4(SI)(R13*8), X1 // cut
	MOVL     (SI)(R13*8), R13
	MOVL     R13, R9
	ANDL     Way_DimMask(BX), R9
	VMOVSS   (DI)(R9*4), X0
	MOVQ     Way_Depths(BX), R9
	MOVL     R14, (R9)(R12*4)
	SHRL     CX, R13
	ANDL     Way_PairMask(BX), R13
	XORL     R9, R9
	VUCOMISS X1, X0
	SETHI    R9
	LEAL     (R9)(R13*2), R9
	MOVL     R12, (R10)(R15*4)
	CMPL     R13, $1
	SBBQ     $-1, R15         // one more unless the pair is 0
	MOVL     Way_Slots(BX), R13
	IMULL    R12, R13
	ADDL     R13, R9
	MOVL     R9, (R11)(R12*4)
	PREFETCHT0 (SI)(R9*8)
	INCQ     AX
	CMPQ     AX, DX
	JLT      tree

	MOVQ  R11, R8
	MOVQ  Way_Trees(BX), R9
	LEAQ  (R11)(R9*4), R11
	INCL  R14
	MOVQ  R15, DX
	TESTQ DX, DX
	JNE   level

done:
	RET

portable:
	JMP ·portableDescend(SB)

// func gather8(s Set, w *Way, tree int)
//
// BOXES is how many boxes above the light nodes are brought near.
#define BOXES 5

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

	// The leaf's point.
	MOVL  (R10), AX
	MOVL  4(SI)(AX*8), DI
	IMULQ Way_Width(BX), DI
	MOVQ  Way_Rows(BX), DX
	LEAQ  (DX)(DI*4), DI
	MOVQ  Way_Dims(BX), DX

near:
	PREFETCHT0 (DI)
	ADDQ       $64, DI
	SUBQ       $16, DX
	JGT        near
	PREFETCHT0 -4(DI)

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

// BLOCK is EXCESS of wide_amd64.s for the point at AX and the bounds at DI and CX.
#define BLOCK(off) \
	VMOVUPS off(AX), Y8  \
	VMOVUPS off(DI), Y9  \
	VMOVUPS off(CX), Y10 \
	SUMS

#define SUMS \
	VSUBPS  Y9, Y10, Y11 \
	VSUBPS  Y8, Y9, Y9   \
	VSUBPS  Y10, Y8, Y8  \
	VMAXPS  Y15, Y9, Y9  \
	VMAXPS  Y15, Y8, Y8  \
	VADDPS  Y8, Y9, Y9   \
	VADDPS  Y11, Y1, Y1  \
	VADDPS  Y9, Y0, Y0

// TOTALS makes the excess in Y0 and the span in Y1 the numbers 0 and 2 of X0.
#define TOTALS \
	VEXTRACTF128 $1, Y0, X2 \
	VEXTRACTF128 $1, Y1, X3 \
	VADDPS       X2, X0, X0 \
	VADDPS       X3, X1, X1 \
	VUNPCKLPD    X1, X0, X2 \
	VUNPCKHPD    X1, X0, X3 \
	VADDPS       X3, X2, X0 \
	VMOVSHDUP    X0, X1 \
	VADDPS       X1, X0, X0

// GROW makes Y9 and Y10 the bounds at R15 and R11 with the row at DI in them.
#define GROW \
	VMOVUPS (CX)(AX*4), Y8       \
	VANDPS  (DI)(AX*4), Y8, Y8   \
	VMINPS  (R15)(AX*4), Y8, Y9  \
	VMAXPS  (R11)(AX*4), Y8, Y10 \
	VMOVUPS Y9, (R14)(AX*4)      \
	VMOVUPS Y10, (R9)(AX*4)

// func climb8(s Set, w *Way, tree int, score float64) (top int, total float64)
TEXT ·climb8(SB), NOSPLIT, $0-48
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   w+8(FP), BX
	MOVQ   tree+16(FP), AX
	VMOVSD score+24(FP), X6
	MOVQ   Way_Depths(BX), R10
	MOVL   (R10)(AX*4), R13     // level
	MOVQ   Way_Trees(BX), CX
	IMULQ  R13, CX
	ADDQ   AX, CX
	MOVQ   Way_Paths(BX), R10
	LEAQ   (R10)(CX*4), R10     // the slot at the level
	MOVQ   Way_List(BX), R8
	IMULQ  AX, R8
	MOVQ   Way_Lists(BX), CX
	LEAQ   (CX)(R8*4), R8       // the list
	MOVQ   Way_Dims(BX), R12
	MOVQ   Way_Point(BX), SI
	VXORPS Y15, Y15, Y15
	TESTQ  R13, R13
	JLE    done
	MOVL   (R8), DX             // light nodes left
	TESTL  DX, DX
	JEQ    boxed

	// The box around the leaf alone.
	MOVL  (R10), AX
	MOVQ  Way_Arena(BX), DI
	MOVL  4(DI)(AX*8), DI
	IMULQ Way_Width(BX), DI
	MOVQ  Way_Rows(BX), CX
	LEAQ  (CX)(DI*4), DI
	MOVQ  Way_Mask(BX), CX
	MOVQ  Way_Light(BX), R14
	LEAQ  (R14)(R12*4), R9
	MOVQ  R14, R15
	MOVQ  R9, R11
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
	MOVQ  Way_Rows(BX), CX
	LEAQ  (CX)(DI*4), DI
	MOVQ  Way_Mask(BX), CX
	TESTL AX, AX
	JLT   last
	XORL  AX, AX

grow:
	GROW
	ADDQ $8, AX
	CMPQ AX, R12
	JLT  grow
	MOVQ R14, R15
	MOVQ R9, R11
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
	MOVQ R14, R15
	MOVQ R9, R11
	LEAQ (R14)(R12*8), R14     // the next node's box
	LEAQ (R9)(R12*8), R9
	DECL DX

total:
	TOTALS
	VMOVD        X0, AX
	TESTL        AX, AX
	JEQ          done
	VMOVHLPS     X0, X0, X1
	VCVTSS2SD    X0, X0, X4
	VCVTSS2SD    X1, X1, X5
	VADDSD       X5, X4, X5      // whole
	VDIVSD       X5, X4, X4      // chance
	MOVQ         Way_Whole(BX), AX
	VMOVSD       X5, -8(AX)(R13*8)
	MOVQ         Way_Chance(BX), AX
	VMOVSD       X4, -8(AX)(R13*8)
	MOVQ         Way_Worth(BX), AX
	VMOVSD       -8(AX)(R13*8), X9
	VSUBSD       X6, X9, X9
	VMULSD       X4, X9, X9
	VADDSD       X9, X6, X6
	MOVQ         Way_Trees(BX), AX
	SHLQ         $2, AX
	SUBQ         AX, R10
	SUBQ         $1, R13
	JEQ          done
	TESTL        DX, DX
	JNE          row

boxed:
	MOVQ Way_Trees(BX), R11
	SHLQ $2, R11
	MOVQ Way_Boxes(BX), R9
	MOVQ Way_Names(BX), R8
	MOVQ Way_Chance(BX), R14
	MOVQ Way_Whole(BX), R15

level:
	MOVL  (R10), DI
	SHRQ  $1, DI
	TESTQ R8, R8
	JNE   name

named:
	IMULQ  R12, DI
	LEAQ   (R9)(DI*8), DI
	LEAQ   (DI)(R12*4), CX
	LEAQ   -16(R12), DX
	MOVQ   SI, AX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	TESTQ  DX, DX
	JLT    tail

pair:
	BLOCK(0)
	BLOCK(32)
	ADDQ $64, AX
	ADDQ $64, DI
	ADDQ $64, CX
	SUBQ $16, DX
	JGE  pair

tail:
	CMPQ DX, $-8
	JNE  boxTotal
	BLOCK(0)

boxTotal:
	TOTALS
	VMOVD     X0, AX
	TESTL     AX, AX
	JEQ       done
	MOVQ      Way_Worth(BX), AX
	VMOVHLPS  X0, X0, X1
	VCVTSS2SD X0, X0, X4
	VCVTSS2SD X1, X1, X5
	VADDSD    X5, X4, X5       // whole
	VDIVSD    X5, X4, X4       // chance
	VMOVSD    X5, -8(R15)(R13*8)
	VMOVSD    X4, -8(R14)(R13*8)
	VMOVSD    -8(AX)(R13*8), X9
	VSUBSD    X6, X9, X9
	VMULSD    X4, X9, X9
	VADDSD    X9, X6, X6
	SUBQ      R11, R10
	SUBQ      $1, R13
	JNE       level

done:
	MOVQ   R13, top+32(FP)
	VMOVSD X6, total+40(FP)
	VZEROUPPER
	RET

name:
	MOVQ Way_Wide(BX), CX
	SHLQ CX, DI
	MOVL (R8)(DI*2), DI
	ANDL Way_NameMask(BX), DI
	JMP  named

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
