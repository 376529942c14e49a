#include "textflag.h"

// Operands are in Go's order, the reverse of Intel's: VSUBPS b, a, c is c = a-b,
// and VMAXPS b, a, c is c = a > b ? a : b, so b when one of them is NaN or both
// are zeros; VMINPS likewise.

// EXCESS adds one block of 8 to the excess in Y0 and to the span in Y1.
// SI point, DI lower, DX upper bounds, Y15 zeros.
#define EXCESS(off) \
	VMOVUPS off(SI), Y8           \
	VMOVUPS off(DI), Y9           \
	VMOVUPS off(DX), Y10          \
	VSUBPS  Y9, Y10, Y11          \
	VSUBPS  Y8, Y9, Y9            \
	VSUBPS  Y10, Y8, Y8           \
	VMAXPS  Y15, Y9, Y9           \
	VMAXPS  Y15, Y8, Y8           \
	VADDPS  Y8, Y9, Y9            \
	VADDPS  Y11, Y1, Y1           \
	VADDPS  Y9, Y0, Y0

// func excess8(s Set, p, box *float32, dims int) (excess, span float32)
TEXT ·excess8(SB), NOSPLIT, $0-40
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   p+8(FP), SI
	MOVQ   box+16(FP), DI
	MOVQ   dims+24(FP), CX
	LEAQ   (DI)(CX*4), DX
	VXORPS Y15, Y15, Y15
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	SUBQ   $16, CX
	JLT    tail

pair:
	EXCESS(0)
	EXCESS(32)
	ADDQ $64, SI
	ADDQ $64, DI
	ADDQ $64, DX
	SUBQ $16, CX
	JGE  pair

tail:
	CMPQ CX, $-8
	JNE  total
	EXCESS(0)

total:
	VEXTRACTF128 $1, Y0, X2
	VEXTRACTF128 $1, Y1, X3
	VADDPS       X2, X0, X0
	VADDPS       X3, X1, X1
	VUNPCKLPD    X1, X0, X2          // e0 e1 r0 r1
	VUNPCKHPD    X1, X0, X3          // e2 e3 r2 r3
	VADDPS       X3, X2, X0
	VMOVSHDUP    X0, X1
	VADDPS       X1, X0, X0
	VMOVSS       X0, excess+32(FP)
	VEXTRACTPS   $2, X0, span+36(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableExcess(SB)

// func l18(s Set, a, b *float32, dims int) float32
TEXT ·l18(SB), NOSPLIT, $0-36
	CMPB     s_wide+0(FP), $0
	JEQ      portable
	MOVQ     a+8(FP), SI
	MOVQ     b+16(FP), DI
	MOVQ     dims+24(FP), CX
	VPCMPEQD Y15, Y15, Y15
	VPSRLD   $1, Y15, Y15  // all but the sign
	VXORPS   Y0, Y0, Y0
	SUBQ     $16, CX
	JLT      tail

pair:
	VMOVUPS (SI), Y8
	VMOVUPS 32(SI), Y9
	VSUBPS  (DI), Y8, Y8
	VSUBPS  32(DI), Y9, Y9
	VANDPS  Y15, Y8, Y8
	VANDPS  Y15, Y9, Y9
	VADDPS  Y8, Y0, Y0
	VADDPS  Y9, Y0, Y0
	ADDQ    $64, SI
	ADDQ    $64, DI
	SUBQ    $16, CX
	JGE     pair

tail:
	CMPQ    CX, $-8
	JNE     total
	VMOVUPS (SI), Y8
	VSUBPS  (DI), Y8, Y8
	VANDPS  Y15, Y8, Y8
	VADDPS  Y8, Y0, Y0

total:
	VEXTRACTF128 $1, Y0, X1
	VADDPS       X1, X0, X0
	VMOVHLPS     X0, X0, X1
	VADDPS       X1, X0, X0
	VMOVSHDUP    X0, X1
	VADDPS       X1, X0, X0
	VMOVSS       X0, ret+32(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableL1(SB)

// func union8(s Set, box, lower, upper *float32, dims int) bool
TEXT ·union8(SB), NOSPLIT, $0-41
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   box+8(FP), DI
	MOVQ   lower+16(FP), SI
	MOVQ   upper+24(FP), BX
	MOVQ   dims+32(FP), CX
	LEAQ   (DI)(CX*4), DX
	VXORPS Y15, Y15, Y15       // what changed
	XORL   AX, AX

block:
	VMOVUPS (DI)(AX*4), Y0
	VMOVUPS (DX)(AX*4), Y1
	VMOVUPS (SI)(AX*4), Y2
	VMOVUPS (BX)(AX*4), Y3
	VMINPS  Y0, Y2, Y2
	VMAXPS  Y1, Y3, Y3
	VMOVUPS Y2, (DI)(AX*4)
	VMOVUPS Y3, (DX)(AX*4)
	VXORPS  Y0, Y2, Y2
	VXORPS  Y1, Y3, Y3
	VORPS   Y2, Y3, Y3
	VORPS   Y3, Y15, Y15
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLT     block
	VPTEST  Y15, Y15
	SETNE   ret+40(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableUnion(SB)

// func blend8(s Set, high, low, p, box *float32, dims int, scale, keep float32)
TEXT ·blend8(SB), NOSPLIT, $0-56
	CMPB         s_wide+0(FP), $0
	JEQ          portable
	MOVQ         high+8(FP), R8
	MOVQ         low+16(FP), R9
	MOVQ         p+24(FP), SI
	MOVQ         box+32(FP), DI
	MOVQ         dims+40(FP), CX
	VBROADCASTSS scale+48(FP), Y13
	VBROADCASTSS keep+52(FP), Y14
	LEAQ         (DI)(CX*4), DX
	VXORPS       Y15, Y15, Y15
	XORL         AX, AX

block:
	VMOVUPS (SI)(AX*4), Y0
	VMOVUPS (DI)(AX*4), Y1
	VSUBPS  (DX)(AX*4), Y0, Y2  // above the upper bound
	VSUBPS  Y0, Y1, Y1          // below the lower one
	VMAXPS  Y15, Y2, Y2
	VMAXPS  Y15, Y1, Y1
	VMULPS  Y13, Y2, Y2
	VMULPS  Y13, Y1, Y1
	VMULPS  (R8)(AX*4), Y14, Y3
	VMULPS  (R9)(AX*4), Y14, Y4
	VADDPS  Y2, Y3, Y3
	VADDPS  Y1, Y4, Y4
	VMOVUPS Y3, (R8)(AX*4)
	VMOVUPS Y4, (R9)(AX*4)
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLT     block
	VZEROUPPER
	RET

portable:
	JMP ·portableBlend(SB)
