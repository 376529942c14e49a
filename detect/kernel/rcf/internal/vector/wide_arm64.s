#include "textflag.h"

// Go's assembler has no mnemonics for these. Operands are in its order, the
// last one is the result, all of them numbers of registers V of 4 float32.

// FADD Vd.4S, Vn.4S, Vm.4S
#define FADD(m, n, d) WORD $(0x4E20D400 | (m)<<16 | (n)<<5 | (d))
// FADDP Vd.4S, Vn.4S, Vm.4S
#define FADDP(m, n, d) WORD $(0x6E20D400 | (m)<<16 | (n)<<5 | (d))
// FSUB Vd.4S, Vn.4S, Vm.4S: d = n-m
#define FSUB(m, n, d) WORD $(0x4EA0D400 | (m)<<16 | (n)<<5 | (d))
// FABD Vd.4S, Vn.4S, Vm.4S: d = |n-m|
#define FABD(m, n, d) WORD $(0x6EA0D400 | (m)<<16 | (n)<<5 | (d))
// FMUL Vd.4S, Vn.4S, Vm.4S
#define FMUL(m, n, d) WORD $(0x6E20DC00 | (m)<<16 | (n)<<5 | (d))
// FMAXNM Vd.4S, Vn.4S, Vm.4S: the number where one is NaN, 0 of 0 and -0
#define FMAXNM(m, n, d) WORD $(0x4E20C400 | (m)<<16 | (n)<<5 | (d))
// FCMGT Vd.4S, Vn.4S, Vm.4S: all ones where n > m
#define FCMGT(m, n, d) WORD $(0x6EA0E400 | (m)<<16 | (n)<<5 | (d))
// UMAXV Sd, Vn.4S
#define UMAXV(n, d) WORD $(0x6EB0A800 | (n)<<5 | (d))

// EXCESS adds one block of 8 to the excess in V0 and V1 and to the span in V4
// and V5. R0 point, R1 lower, R3 upper bounds, all moved on; V31 zeros.
#define EXCESS \
	VLD1.P 32(R0), [V16.S4, V17.S4] \
	VLD1.P 32(R1), [V18.S4, V19.S4] \
	VLD1.P 32(R3), [V20.S4, V21.S4] \
	FSUB(18, 20, 22)                \
	FSUB(19, 21, 23)                \
	FSUB(16, 18, 18)                \
	FSUB(17, 19, 19)                \
	FSUB(20, 16, 20)                \
	FSUB(21, 17, 21)                \
	FMAXNM(31, 18, 18)              \
	FMAXNM(31, 19, 19)              \
	FMAXNM(31, 20, 20)              \
	FMAXNM(31, 21, 21)              \
	FADD(20, 18, 18)                \
	FADD(21, 19, 19)                \
	FADD(22, 4, 4)                  \
	FADD(23, 5, 5)                  \
	FADD(18, 0, 0)                  \
	FADD(19, 1, 1)

// func excess8(s Set, p, box *float32, dims int) (excess, span float32)
TEXT ·excess8(SB), NOSPLIT|NOFRAME, $0-40
	MOVBU s_wide+0(FP), R0
	CBZ   R0, portable
	MOVD  p+8(FP), R0
	MOVD  box+16(FP), R1
	MOVD  dims+24(FP), R2
	ADD   R2<<2, R1, R3
	VEOR  V31.B16, V31.B16, V31.B16
	VEOR  V0.B16, V0.B16, V0.B16
	VEOR  V1.B16, V1.B16, V1.B16
	VEOR  V4.B16, V4.B16, V4.B16
	VEOR  V5.B16, V5.B16, V5.B16
	SUBS  $16, R2
	BLT   tail

pair:
	EXCESS
	EXCESS
	SUBS $16, R2
	BGE  pair

tail:
	CMN $8, R2
	BNE total
	EXCESS

total:
	FADD(1, 0, 0)
	FADD(5, 4, 4)
	VZIP1 V4.D2, V0.D2, V1.D2    // e0 e1 r0 r1
	VZIP2 V4.D2, V0.D2, V2.D2    // e2 e3 r2 r3
	FADD(2, 1, 0)
	FADDP(0, 0, 0)
	VDUP  V0.S[1], V1.S4
	FMOVS F0, excess+32(FP)
	FMOVS F1, span+36(FP)
	RET

portable:
	JMP ·portableExcess(SB)

// func l18(s Set, a, b *float32, dims int) float32
TEXT ·l18(SB), NOSPLIT|NOFRAME, $0-36
	MOVBU s_wide+0(FP), R0
	CBZ   R0, portable
	MOVD  a+8(FP), R0
	MOVD  b+16(FP), R1
	MOVD  dims+24(FP), R2
	VEOR  V0.B16, V0.B16, V0.B16
	VEOR  V1.B16, V1.B16, V1.B16
	SUBS  $16, R2
	BLT   tail

pair:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1.P 64(R1), [V20.S4, V21.S4, V22.S4, V23.S4]
	FABD(20, 16, 16)
	FABD(21, 17, 17)
	FABD(22, 18, 18)
	FABD(23, 19, 19)
	FADD(16, 0, 0)
	FADD(17, 1, 1)
	FADD(18, 0, 0)
	FADD(19, 1, 1)
	SUBS   $16, R2
	BGE    pair

tail:
	CMN  $8, R2
	BNE  total
	VLD1 (R0), [V16.S4, V17.S4]
	VLD1 (R1), [V20.S4, V21.S4]
	FABD(20, 16, 16)
	FABD(21, 17, 17)
	FADD(16, 0, 0)
	FADD(17, 1, 1)

total:
	FADD(1, 0, 0)
	VDUP  V0.D[1], V1.D2
	FADD(1, 0, 0)
	FADDP(0, 0, 0)
	FMOVS F0, ret+32(FP)
	RET

portable:
	JMP ·portableL1(SB)

// func union8(s Set, box, lower, upper *float32, dims int) bool
//
// FMIN and FMAX would order the zeros, so the bounds are chosen by comparing.
TEXT ·union8(SB), NOSPLIT|NOFRAME, $0-41
	MOVBU s_wide+0(FP), R0
	CBZ   R0, portable
	MOVD  box+8(FP), R0
	MOVD  lower+16(FP), R1
	MOVD  upper+24(FP), R2
	MOVD  dims+32(FP), R4
	ADD   R4<<2, R0, R3
	VEOR  V31.B16, V31.B16, V31.B16 // what changed

block:
	VLD1   (R0), [V0.S4, V1.S4]
	VLD1   (R3), [V2.S4, V3.S4]
	VLD1.P 32(R1), [V4.S4, V5.S4]
	VLD1.P 32(R2), [V6.S4, V7.S4]
	FCMGT(4, 0, 16)
	FCMGT(5, 1, 17)
	FCMGT(2, 6, 18)
	FCMGT(3, 7, 19)
	VBIT   V16.B16, V4.B16, V0.B16
	VBIT   V17.B16, V5.B16, V1.B16
	VBIT   V18.B16, V6.B16, V2.B16
	VBIT   V19.B16, V7.B16, V3.B16
	VST1.P [V0.S4, V1.S4], 32(R0)
	VST1.P [V2.S4, V3.S4], 32(R3)
	VORR   V16.B16, V17.B16, V16.B16
	VORR   V18.B16, V19.B16, V18.B16
	VORR   V16.B16, V18.B16, V16.B16
	VORR   V16.B16, V31.B16, V31.B16
	SUBS   $8, R4
	BGT    block
	UMAXV(31, 0)
	FMOVS  F0, R3
	CMPW   $0, R3
	CSET   NE, R3
	MOVB   R3, ret+40(FP)
	RET

portable:
	JMP ·portableUnion(SB)

// func blend8(s Set, high, low, p, box *float32, dims int, scale, keep float32)
TEXT ·blend8(SB), NOSPLIT|NOFRAME, $0-56
	MOVBU s_wide+0(FP), R0
	CBZ   R0, portable
	MOVD  high+8(FP), R0
	MOVD  low+16(FP), R1
	MOVD  p+24(FP), R2
	MOVD  box+32(FP), R3
	MOVD  dims+40(FP), R4
	FMOVS scale+48(FP), F29
	FMOVS keep+52(FP), F30
	VDUP  V29.S[0], V29.S4
	VDUP  V30.S[0], V30.S4
	VEOR  V31.B16, V31.B16, V31.B16
	ADD   R4<<2, R3, R5

block:
	VLD1   (R0), [V0.S4, V1.S4]
	VLD1   (R1), [V2.S4, V3.S4]
	VLD1.P 32(R2), [V4.S4, V5.S4]
	VLD1.P 32(R3), [V6.S4, V7.S4]
	VLD1.P 32(R5), [V16.S4, V17.S4]
	FSUB(16, 4, 16)
	FSUB(17, 5, 17)
	FSUB(4, 6, 6)
	FSUB(5, 7, 7)
	FMAXNM(31, 16, 16)
	FMAXNM(31, 17, 17)
	FMAXNM(31, 6, 6)
	FMAXNM(31, 7, 7)
	FMUL(29, 16, 16)
	FMUL(29, 17, 17)
	FMUL(29, 6, 6)
	FMUL(29, 7, 7)
	FMUL(30, 0, 0)
	FMUL(30, 1, 1)
	FMUL(30, 2, 2)
	FMUL(30, 3, 3)
	FADD(16, 0, 0)
	FADD(17, 1, 1)
	FADD(6, 2, 2)
	FADD(7, 3, 3)
	VST1.P [V0.S4, V1.S4], 32(R0)
	VST1.P [V2.S4, V3.S4], 32(R1)
	SUBS   $8, R4
	BGT    block
	RET

portable:
	JMP ·portableBlend(SB)
