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

// BLOCK is EXCESS of wide_amd64.s with the point read through R8.
#define BLOCK(off) \
	VMOVUPS off(R8), Y8  \
	VMOVUPS off(DI), Y9  \
	VMOVUPS off(DX), Y10 \
	VSUBPS  Y9, Y10, Y11 \
	VSUBPS  Y8, Y9, Y9   \
	VSUBPS  Y10, Y8, Y8  \
	VMAXPS  Y15, Y9, Y9  \
	VMAXPS  Y15, Y8, Y8  \
	VADDPS  Y8, Y9, Y9   \
	VADDPS  Y11, Y1, Y1  \
	VADDPS  Y9, Y0, Y0

// func climb8(s Set, w *Way, tree int, score float64) (top int, total float64)
TEXT ·climb8(SB), NOSPLIT, $0-48
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   w+8(FP), BX
	MOVQ   tree+16(FP), AX
	VMOVSD score+24(FP), X6
	MOVQ   Way_Depths(BX), R10
	MOVL   (R10)(AX*4), R13     // level
	MOVQ   Way_Trees(BX), R11
	MOVQ   R11, CX
	IMULQ  R13, CX
	ADDQ   AX, CX
	MOVQ   Way_Paths(BX), R10
	LEAQ   (R10)(CX*4), R10
	SHLQ   $2, R11
	MOVQ   Way_Boxes(BX), R9
	MOVQ   Way_Dims(BX), R12
	MOVQ   Way_Point(BX), SI
	MOVQ   Way_Chance(BX), R14
	MOVQ   Way_Whole(BX), R15
	MOVQ   Way_Worth(BX), BX
	VXORPS Y15, Y15, Y15
	TESTQ  R13, R13
	JLE    done

level:
	MOVL   (R10), DI
	SHRQ   $1, DI
	IMULQ  R12, DI
	LEAQ   (R9)(DI*8), DI
	LEAQ   (DI)(R12*4), DX
	MOVQ   SI, R8
	MOVQ   R12, CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	SUBQ   $16, CX
	JLT    tail

pair:
	BLOCK(0)
	BLOCK(32)
	ADDQ $64, R8
	ADDQ $64, DI
	ADDQ $64, DX
	SUBQ $16, CX
	JGE  pair

tail:
	CMPQ CX, $-8
	JNE  total
	BLOCK(0)

total:
	VEXTRACTF128 $1, Y0, X2
	VEXTRACTF128 $1, Y1, X3
	VADDPS       X2, X0, X0
	VADDPS       X3, X1, X1
	VUNPCKLPD    X1, X0, X2      // e0 e1 r0 r1
	VUNPCKHPD    X1, X0, X3      // e2 e3 r2 r3
	VADDPS       X3, X2, X0
	VMOVSHDUP    X0, X1
	VADDPS       X1, X0, X0      // excess . span .
	VMOVD        X0, AX
	TESTL        AX, AX
	JEQ          done
	VMOVHLPS     X0, X0, X1
	VCVTSS2SD    X0, X0, X4
	VCVTSS2SD    X1, X1, X5
	VADDSD       X5, X4, X5      // whole
	VDIVSD       X5, X4, X4      // chance
	VMOVSD       X5, -8(R15)(R13*8)
	VMOVSD       X4, -8(R14)(R13*8)
	VMOVSD       -8(BX)(R13*8), X9
	VSUBSD       X6, X9, X9
	VMULSD       X4, X9, X9
	VADDSD       X9, X6, X6
	SUBQ         R11, R10
	SUBQ         $1, R13
	JNE          level

done:
	MOVQ   R13, top+32(FP)
	VMOVSD X6, total+40(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableClimb(SB)

// func ahead8(s Set, w *Way, tree int)
TEXT ·ahead8(SB), NOSPLIT, $0-24
	MOVQ  w+8(FP), BX
	MOVQ  tree+16(FP), AX
	MOVQ  Way_Depths(BX), R10
	MOVL  (R10)(AX*4), R13
	MOVQ  Way_Trees(BX), R11
	MOVQ  R11, CX
	IMULQ R13, CX
	ADDQ  AX, CX
	MOVQ  Way_Paths(BX), R10
	LEAQ  (R10)(CX*4), R10
	SHLQ  $2, R11
	MOVQ  Way_Dims(BX), R12

	// The leaf's point.
	MOVL  (R10), DI
	MOVQ  Way_Arena(BX), SI
	MOVL  4(SI)(DI*8), DI
	IMULQ Way_Width(BX), DI
	MOVQ  Way_Rows(BX), SI
	LEAQ  (SI)(DI*4), DI
	MOVQ  R12, DX

point:
	PREFETCHT0 (DI)
	ADDQ       $64, DI
	SUBQ       $16, DX
	JGT        point
	PREFETCHT0 -4(DI)

	// The boxes of the six levels above.
	MOVQ  Way_Boxes(BX), R9
	MOVQ  $6, CX
	CMPQ  R13, CX
	CMOVQLT R13, CX
	TESTQ CX, CX
	JLE   done

level:
	MOVL  (R10), DI
	SHRQ  $1, DI
	IMULQ R12, DI
	LEAQ  (R9)(DI*8), DI
	MOVQ  R12, DX

line:
	PREFETCHT0 (DI)
	ADDQ       $64, DI
	SUBQ       $8, DX
	JGT        line
	SUBQ       R11, R10
	DECQ       CX
	JNE        level

done:
	RET

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
