// Package rcf is a streaming robust random cut forest: it says of every point
// of a stream how strange it is beside what came before, and then learns it.
package rcf
