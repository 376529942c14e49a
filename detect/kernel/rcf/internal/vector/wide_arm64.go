package vector

const wideName = "neon"

// Every arm64 that Go runs on has NEON.
func wide() bool { return true }
