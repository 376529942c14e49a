//go:build unix

package secret

import "io/fs"

func worldReadable(m fs.FileMode) bool { return m&0o004 != 0 }
