package vector

import "golang.org/x/sys/cpu"

const wideName = "avx2"

func wide() bool { return cpu.X86.HasAVX2 }
