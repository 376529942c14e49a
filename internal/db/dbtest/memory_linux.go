package dbtest

import "syscall"

const memory = "/dev/shm"

// roomy tells whether a file system has a gigabyte left; containers often get
// 64 MiB of shared memory.
func roomy(path string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(path, &s) == nil && s.Bavail*uint64(s.Bsize) > 1<<30
}
