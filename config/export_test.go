package config

import "strings"

// Sets reports whether the file sets path, in any entry of the lists on the way.
func Sets(c *Config, path string) bool {
	for p := range c.places {
		var b strings.Builder
		for part := range strings.SplitSeq(p, "[") {
			if _, after, ok := strings.Cut(part, "]"); ok {
				part = after
			}
			b.WriteString(part)
		}
		if b.String() == path {
			return true
		}
	}
	return false
}
