// Package archtest proves the floor plan of the house: which package may
// import which, where test kits and simulators may be linked, and that every
// package says what it is for.
//
// It reads the source files in the process that tests them. A test that asks
// `go list` is served from Go's test cache, which cannot see the files the
// child read, and so misses a violation made after the first run.
//
// The table in rooms.go mirrors the package table of the architecture;
// docs/floorplan.md is generated from it and a test compares the two.
package archtest
