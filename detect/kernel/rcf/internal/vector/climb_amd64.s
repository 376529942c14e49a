#include "textflag.h"

// EXCESS is as in wide_amd64.s; the point is read through R8.
#define EXCESS(off, excess, span) \
	VMOVUPS off(R8), Y8           \
	VMOVUPS off(DI), Y9           \
	VMOVUPS off(DX), Y10          \
	VSUBPS  Y9, Y10, Y11          \
	VSUBPS  Y8, Y9, Y9            \
	VSUBPS  Y10, Y8, Y8           \
	VMAXPS  Y15, Y9, Y9           \
	VMAXPS  Y15, Y8, Y8           \
	VADDPS  Y8, Y9, Y9            \
	VADDPS  Y11, span, span       \
	VADDPS  Y9, excess, excess

// func climb8(s Set, p, boxes *float32, path *uint32, stride, dims, levels int, out *[2]float32) int
TEXT ·climb8(SB), NOSPLIT, $0-72
	CMPB   s_wide+0(FP), $0
	JEQ    portable
	MOVQ   p+8(FP), SI
	MOVQ   boxes+16(FP), R9
	MOVQ   path+24(FP), R10
	MOVQ   stride+32(FP), R11
	SHLQ   $2, R11
	MOVQ   dims+40(FP), R12
	MOVQ   levels+48(FP), R13
	MOVQ   out+56(FP), BX
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
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	SUBQ   $16, CX
	JLT    tail

pair:
	EXCESS(0, Y0, Y1)
	EXCESS(32, Y2, Y3)
	ADDQ $64, R8
	ADDQ $64, DI
	ADDQ $64, DX
	SUBQ $16, CX
	JGE  pair

tail:
	CMPQ CX, $-8
	JNE  total
	EXCESS(0, Y0, Y1)

total:
	VADDPS       Y2, Y0, Y0
	VADDPS       Y3, Y1, Y1
	VEXTRACTF128 $1, Y0, X2
	VEXTRACTF128 $1, Y1, X3
	VADDPS       X2, X0, X0
	VADDPS       X3, X1, X1
	VUNPCKLPD    X1, X0, X2      // e0 e1 r0 r1
	VUNPCKHPD    X1, X0, X3      // e2 e3 r2 r3
	VADDPS       X3, X2, X0
	VMOVSHDUP    X0, X1
	VADDPS       X1, X0, X0
	VPERMILPS    $8, X0, X0      // excess, span
	VMOVQ        X0, AX
	MOVQ         AX, (BX)
	TESTL        AX, AX
	JEQ          done
	ADDQ         $8, BX
	SUBQ         R11, R10
	SUBQ         $1, R13
	JNE          level

done:
	MOVQ levels+48(FP), AX
	SUBQ R13, AX
	MOVQ AX, ret+64(FP)
	VZEROUPPER
	RET

portable:
	JMP ·portableClimb(SB)
