//go:build !unix

package secret

import "io/fs"

// worldReadable says no: the permission bits of this system do not tell.
func worldReadable(fs.FileMode) bool { return false }
