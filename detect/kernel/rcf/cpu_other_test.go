//go:build !unix

package rcf

func cpuNanos() int64 { return 0 }
