//go:build !unix

package detector

func cpuNanos() int64 { return 0 }
