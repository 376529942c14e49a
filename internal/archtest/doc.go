// Package archtest proves the floor plan of the house: which package may
// import which, where test kits and simulators may be linked, that every
// package says what it is for, and that rooms tell and hear the facts that
// the table in ops/facts.go lists, and no others.
//
// It reads the source files in the process that tests them. A test that asks
// `go list` is served from Go's test cache, which cannot see the files the
// child read, and so misses a violation made after the first run.
//
// The table in rooms.go mirrors the package table of the architecture;
// docs/floorplan.md is generated from it and a test compares the two.
package archtest
