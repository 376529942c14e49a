//go:build race

package test

// raced reports whether the race detector is on.
const raced = true
